"""Processes that train a model together end with the weights of one that trains it alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from synth_assets.execution.processes import together
from synth_assets.synthesizers.language_model import kernels
from synth_assets.synthesizers.language_model.parallel import environments
from synth_assets_tests.synthesizers.language_model.test_training import Killed, model_of, rows_of, run, stage


def stages() -> list[Any]:
    return [stage(rows_of(47, 1), epochs=2), stage(rows_of(33, 2), epochs=2)]  # the last steps have 15 rows and 1


def single_precision() -> Any:
    """Compute alike on each CPU: in bfloat16, rows that are summed in another order change the third digit."""
    return mock.patch.object(kernels, "has_bfloat16", return_value=False)


def interrupted_and_resumed(folder: Path, environment: dict[str, str]) -> Iterator[Any]:
    os.environ.update(environment)
    model, n_forward = model_of(), 0

    def kill(*_: Any) -> None:
        nonlocal n_forward
        n_forward += 1
        if n_forward == 8:  # 3 steps and 3 batches of validation an epoch: in the second
            raise Killed

    model.transformer.ln_f.register_forward_pre_hook(kill)
    lines: list[str] = []
    with single_precision():
        with pytest.raises(Killed):
            run(model, stages(), folder)
        model = model_of()
        history = run(model, stages(), folder, log=lines.append)
    yield history, lines, [parameter.detach().numpy() for parameter in model.parameters()]


def test_two_processes_train_and_resume_as_one(tmp_path: Path) -> None:
    alone = model_of()
    with single_precision():
        expected = run(alone, stages(), tmp_path / "alone")
    calls = [(tmp_path / "together", environment) for environment in environments(2)]
    ((history, lines, weights),) = together(interrupted_and_resumed, calls)
    assert lines[0].startswith("resuming after epoch 1")
    for epoch, alike in zip(history, expected, strict=True):
        assert epoch == pytest.approx(alike, rel=1e-4)
    for found, parameter in zip(weights, alone.parameters(), strict=True):
        assert found == pytest.approx(parameter.detach().numpy(), abs=1e-3)
