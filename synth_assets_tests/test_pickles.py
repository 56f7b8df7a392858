"""A data folder in which a lineage has run holds no pickle; the search for them finds those that are there."""

import json
import pickle
from pathlib import Path

import pytest

from synth_assets_tests.pickles import pickles_in


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_found_whatever_it_is_called(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "card.json").write_bytes(pickle.dumps({"a": [1]}, protocol=protocol))
    (tmp_path / "other.json").write_text(json.dumps({"a": [1]}))
    (tmp_path / "empty").write_bytes(b"")
    assert pickles_in(tmp_path) == ["deep/card.json"]


def test_what_torch_pickles_is_found(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.save({"a": torch.ones(3)}, tmp_path / "new.safetensors")
    torch.save({"a": torch.ones(3)}, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    save_file({"a": torch.ones(3)}, tmp_path / "real.safetensors")
    assert pickles_in(tmp_path) == ["new.safetensors", "old.safetensors"]


@pytest.mark.slow
def test_a_data_folder_holds_no_pickle(finished: Path) -> None:
    assert any(finished.rglob("model.safetensors"))
    assert pickles_in(finished) == []
