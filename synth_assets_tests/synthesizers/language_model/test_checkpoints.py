"""Checkpoints: tensors and plain values come back as they were, and nothing else is written or read."""

import json
import math
import pickle
from pathlib import Path

import pytest

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.checkpoints import read_state, write_state


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    import torch

    weight = torch.randn(4, 3)
    state = {
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "betas": (0.9, 0.99)},
        "tied": [weight, weight],
        "turned": weight.T,
        "half": torch.ones(2, dtype=torch.bfloat16),
        "random": torch.get_rng_state(),
        "empty": [torch.empty(0), torch.empty(0)],
        "plain": [None, True, 0.1 + 0.2, "tensor", math.inf, {}],
    }
    write_state(tmp_path / "deep" / "a.safetensors", state)
    found = read_state(tmp_path / "deep" / "a.safetensors")
    assert found["optimizer"]["betas"] == (0.9, 0.99)
    assert list(found["optimizer"]["state"]) == [0]
    assert found["plain"] == state["plain"]
    for name in ("tied", "turned", "half", "random", "empty"):
        pairs = (
            zip(found[name], state[name], strict=True) if name in ("tied", "empty") else [(found[name], state[name])]
        )
        for one, other in pairs:
            assert one.dtype == other.dtype
            assert torch.equal(one, other), name
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_what_is_no_plain_value_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="found PosixPath; expected tensors"):
        write_state(tmp_path / "a.safetensors", {"where": tmp_path})
    assert list(tmp_path.iterdir()) == []


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("it_was_run"),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.safetensors"
    for content in (pickle.dumps(Hostile()), b"", json.dumps({"state": 1}).encode()):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"a\.safetensors is damaged or none of ours"):
            read_state(path)
    torch.save({"a": 1}, path)
    with pytest.raises(ModelError, match="damaged or none of ours"):
        read_state(path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.safetensors"
    write_state(path, [torch.arange(1000)])
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 20):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged"):
            read_state(path)
