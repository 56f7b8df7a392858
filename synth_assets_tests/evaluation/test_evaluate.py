"""Tests of a whole evaluation: metrics, verdicts and the report of a sample, with a target and without one."""

from pathlib import Path

import pandas as pd
import pytest

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import intervals
from synth_assets.evaluation.evaluate import Evaluation, evaluate
from synth_assets.evaluation.metrics import RESULT_COLUMNS, detection, utility
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema
from synth_assets_tests.evaluation.test_metrics import HOLDOUT, OTHER, TRAIN, rows, schema

__all__ = ["schema"]

LEGS = [Constraint(name="legs", sql="Legs <= 6 * Size")]


@pytest.fixture(autouse=True)
def _little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((utility, "REPEATS"), (utility, "SEEDS"), (detection, "N_REPEATS"), (intervals, "RESAMPLES")):
        monkeypatch.setattr(module, name, 2)


@pytest.mark.parametrize("target", ["Legs", "Colour", None])
def test_an_evaluation_has_metrics_verdicts_and_a_report(
    schema: TableSchema, target: str | None, tmp_path: Path
) -> None:
    samples = Samples(TRAIN, HOLDOUT, OTHER, schema.model_copy(update={"target": target}))
    found = evaluate(samples, LEGS, {gate: {} for gate in ("fidelity", "privacy")}, title="creatures")
    found.save_html(tmp_path / "report.html")

    assert tuple(found.metrics) == RESULT_COLUMNS
    gates = ["fidelity", "validity", "privacy", *(["utility"] if target else [])]
    assert [verdict.gate.name for verdict in found.gates] == gates
    assert (found.comparison is None) == (target is None)
    assert found.passed == all(verdict.passed for verdict in found.gates if verdict.gate.blocking)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 5 + (target is not None)
    assert "creatures: " in page
    assert "<strong>fidelity</strong>" in found._repr_html_()


def test_a_bad_sample_does_not_pass(schema: TableSchema) -> None:
    found = _evaluate(TRAIN, schema)

    assert not found.passed
    assert "privacy" in [verdict.gate.name for verdict in found.gates if not verdict.passed]
    assert "Failed" in found._repr_html_()


def test_tolerances_decide(schema: TableSchema) -> None:
    shifted = rows(300, 4).assign(Size=lambda frame: (frame["Size"] * 0.6).round(2))
    strict = _evaluate(shifted, schema)
    names = strict.gates[0].gate.tolerances

    assert not strict.gates[0].passed
    assert _evaluate(shifted, schema, {"fidelity": dict.fromkeys(names, 1.0)}).gates[0].passed


def test_an_unknown_gate_is_refused(schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match="tolerances name the gate beauty"):
        _evaluate(OTHER, schema, {"beauty": {"ks_complement": 1.0}})


def _evaluate(
    synthetic: pd.DataFrame, schema: TableSchema, tolerances: dict[str, dict[str, float]] | None = None
) -> Evaluation:
    return evaluate(Samples(TRAIN, HOLDOUT, synthetic, schema.model_copy(update={"target": None})), LEGS, tolerances)
