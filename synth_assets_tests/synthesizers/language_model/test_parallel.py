"""Processes that train a model together end with the weights of one that trains it alone."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest

from synth_assets.execution.processes import together
from synth_assets.synthesizers.language_model import kernels
from synth_assets.synthesizers.language_model import synthesizer as module
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel
from synth_assets_tests.synthesizers.language_model.test_synthesizer import SCHEMA, SETTINGS, fitted, table
from synth_assets_tests.synthesizers.language_model.test_training import Killed, model_of, rows_of, run, stage

__all__ = ["fitted", "table"]

pytestmark = pytest.mark.slow

ON_TWO_DEVICES = SETTINGS.model_copy(update={"devices": 2})


def stages() -> list[Any]:
    return [stage(rows_of(47, 1), epochs=2), stage(rows_of(33, 2), epochs=2)]  # the last steps have 15 rows and 1


def single_precision() -> Any:
    """Compute alike on each CPU: in bfloat16, rows that are summed in another order change the third digit."""
    return mock.patch.object(kernels, "has_bfloat16", return_value=False)


def interrupted_and_resumed(folder: Path) -> tuple[Any, list[str], list[Any]]:
    """Train as one of the processes until the second epoch, and again; return history, log and weights."""
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
    return history, lines, [parameter.detach().numpy() for parameter in model.parameters()]


def resumed_and_fitted(folder: Path, arguments: Sequence[Any]) -> Iterator[Any]:
    """Yield what `interrupted_and_resumed` returns, and then what a language model's process yields."""
    os.environ.update(arguments[-1])
    yield interrupted_and_resumed(folder)
    yield from module._fit_in_group(*arguments)


@dataclass(frozen=True)
class OfTwo:
    """What two processes did.

    Parameters
    ----------
    resumed : tuple
        What `interrupted_and_resumed` returned.
    model : LanguageModel
        The model that they fitted after that.
    lines : list of str
        The log of that fit.
    """

    resumed: tuple[Any, list[str], list[Any]]
    model: LanguageModel
    lines: list[str]


@pytest.fixture(scope="module")
def of_two(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> OfTwo:
    """Fit a language model on two devices; its processes, which take long to start, first do something else."""
    resumed, lines = [], list[str]()

    def together_after(function: Callable[..., Any], calls: Sequence[Any]) -> Iterator[Any]:
        assert function is module._fit_in_group
        folder = tmp_path_factory.mktemp("together")
        items = together(resumed_and_fitted, [(folder, arguments) for arguments in calls])
        resumed.append(next(items))
        yield from items

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "together", together_after)
        model = LanguageModel(ON_TWO_DEVICES).fit(table, SCHEMA, seed=5, log=lines.append)
    return OfTwo(resumed[0], model, lines)


def test_two_processes_train_and_resume_as_one(of_two: OfTwo, tmp_path: Path) -> None:
    alone = model_of()
    with single_precision():
        expected = run(alone, stages(), tmp_path / "alone")
    history, lines, weights = of_two.resumed
    assert lines[0].startswith("resuming after epoch 1")
    for epoch, alike in zip(history, expected, strict=True):
        assert epoch == pytest.approx(alike, rel=1e-4)
    for found, parameter in zip(weights, alone.parameters(), strict=True):
        assert found == pytest.approx(parameter.detach().numpy(), abs=1e-3)


def test_two_devices_train_the_model_of_one(of_two: OfTwo, fitted: LanguageModel, table: pd.DataFrame) -> None:
    assert ON_TWO_DEVICES.inputs() == SETTINGS.inputs()
    assert any("finetune: epoch" in line for line in of_two.lines)
    assert of_two.model.n_parameters == fitted.n_parameters
    assert of_two.model.losses[-1]["eval_loss"] == pytest.approx(fitted.losses[-1]["eval_loss"], rel=1e-3)
    assert of_two.model.log_likelihood(table) == pytest.approx(fitted.log_likelihood(table), abs=0.05)
