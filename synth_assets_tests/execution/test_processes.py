"""Several processes evaluate as one does, and their errors are raised here."""

import itertools
import os

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import evaluate as evaluation
from synth_assets.evaluation.metrics import FIDELITY_FAMILIES
from synth_assets.evaluation.samples import Samples
from synth_assets.execution import LocalExecution
from synth_assets.execution.processes import in_turn, started, together
from synth_assets.schema.table import TableSchema
from synth_assets_tests.evaluation.test_metrics import LEGS, rows, schema

__all__ = ["schema"]

CHEAP = [["similarity of columns", "validity"], ["detection by logistic regression"]]


def test_several_processes_find_what_one_does(schema: TableSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PARTS", CHEAP)
    monkeypatch.setattr(
        evaluation, "FIDELITY_FAMILIES", {name: FIDELITY_FAMILIES[name] for part in CHEAP for name in part}
    )
    samples = Samples(rows(40, 1), rows(30, 2), rows(40, 3), schema.model_copy(update={"target": None}))
    found: dict[int, pd.DataFrame] = {}
    for processes in (1, 2):
        monkeypatch.setattr(evaluation, "_processes", lambda samples, n=processes: n)
        found[processes] = evaluation.evaluate(samples, [LEGS]).metrics
    assert set(found[1]["metric"]) >= {"ks_complement", "detection_auc_logistic", "domias_auc"}
    assert_frame_equal(found[2], found[1], check_exact=True)


def test_an_error_of_a_child_is_raised_where_its_result_is_asked_for() -> None:
    with started(divmod, [(7, 2), (1, 0)], 2) as results:
        assert next(results) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_the_setting_limits_the_processes_that_are_started() -> None:
    with LocalExecution(processes=1).started(_pid, [()], processes=2) as results:
        assert next(results) == os.getpid()


def _pid(shared: object) -> int:
    del shared
    return os.getpid()


def test_a_child_that_dies_is_named() -> None:
    with started(os._exit, [(3,)], 2) as results, pytest.raises(ForeseenError, match="ended with status 3"):
        next(results)


def test_the_items_of_the_first_of_children_are_found_while_all_run() -> None:
    assert list(together(range, [(3,), (5,)])) == [0, 1, 2]
    with pytest.raises(TypeError):
        for _ in together(itertools.repeat, [(1,), (1, "x")]):  # the first would never end
            pass


def test_items_of_children_come_in_turn() -> None:
    assert list(in_turn(range, [(0, 5, 2), (1, 5, 2)])) == [0, 1, 2, 3, 4]
