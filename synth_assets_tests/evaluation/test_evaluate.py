"""Tests of a whole evaluation: metrics, verdicts and the report of a sample, with a target and without one."""

from pathlib import Path

import pandas as pd
import pytest

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.evaluate import evaluate
from synth_assets.evaluation.metrics import RESULT_COLUMNS
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema
from synth_assets_tests.evaluation.test_metrics import rows, schema

__all__ = ["schema"]

TRAIN, HOLDOUT, OTHER = rows(100, 1), rows(50, 2), rows(100, 3)
LEGS = [Constraint(name="legs", sql="Legs <= 6 * Size")]


pytestmark = pytest.mark.usefixtures("fast_evaluation")


@pytest.mark.parametrize("target", ["Legs", "Colour", None])
def test_an_evaluation_has_metrics_verdicts_and_a_report(
    schema: TableSchema, target: str | None, tmp_path: Path
) -> None:
    samples = Samples(TRAIN, HOLDOUT, OTHER, schema.model_copy(update={"target": target}))
    tolerances = {"fidelity": {"ks_complement": 1.0}, "privacy": {}}
    found = evaluate(samples, LEGS, tolerances, title="creatures", details={"Seed": "17"})

    assert tuple(found.metrics) == RESULT_COLUMNS
    gates = ["fidelity", "validity", "privacy", *(["utility"] if target else [])]
    assert [verdict.gate.name for verdict in found.gates] == gates
    findings = found.gates[0].findings
    assert (findings.loc[findings["metric"] == "ks_complement", "limit"] == 0).all()
    assert (found.comparison is None) == (target is None)
    assert found.passed == all(verdict.passed for verdict in found.gates if verdict.gate.blocking)
    if target != "Colour":  # drawing takes longest
        found.save_html(tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        assert page.count("<img") == 5 + (target is not None)
        assert "creatures: " in page
        assert '<th scope="row">Seed</th><td class="text">17</td>' in page
    assert "<strong>fidelity</strong>" in found._repr_html_()


def test_a_bad_sample_does_not_pass(schema: TableSchema) -> None:
    found = evaluate(_samples(TRAIN, schema), LEGS)

    assert not found.passed
    assert "privacy" in [verdict.gate.name for verdict in found.gates if not verdict.passed]
    assert "Failed" in found._repr_html_()


def test_an_unknown_gate_is_refused(schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match="tolerances name the gate beauty"):
        evaluate(_samples(OTHER, schema), tolerances={"beauty": {"ks_complement": 1.0}})


def _samples(synthetic: pd.DataFrame, schema: TableSchema) -> Samples:
    return Samples(TRAIN, HOLDOUT, synthetic, schema.model_copy(update={"target": None}))
