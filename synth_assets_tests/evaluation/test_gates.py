"""Tests of the gates: limits, verdicts and messages."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import metrics
from synth_assets.evaluation.gates import GATES, MAX_NAMED, Gate, evaluate_gate, evaluate_gates, gates_with
from synth_assets.evaluation.metrics import METRICS, RESULT_COLUMNS, Metric, result_frame
from synth_assets.evaluation.metrics.copies import identifying_columns
from synth_assets.evaluation.reference import SPLITS, reference_of
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Float
from synth_assets.schema.table import TableSchema

LIKE = Metric("like", "Similarity", "maximize", 1.0, 0.0, (), "How alike.", "None.", list)
COPIES = Metric("copies", "Share of copies", "minimize", 0.0, 1.0, (), "How many.", "None.", list)
GATE = Gate("looks", "It looks real.", True, {"like": 0.03, "copies": 0.01}, "Do more.")
NAN = float("nan")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    for metric in (LIKE, COPIES):
        monkeypatch.setitem(metrics.METRICS, metric.name, metric)


def results(*rows: tuple[str, str | None, float, float, float, float]) -> pd.DataFrame:
    """Return metric results of metric, column, value, reference and its interval."""
    found = pd.DataFrame(
        rows, columns=["metric", "column_name", "value", "reference", "reference_low", "reference_high"]
    )
    return found.assign(value_low=NAN, value_high=NAN)[list(RESULT_COLUMNS)]


@pytest.mark.parametrize(
    ("metric", "value", "passed", "limit"),
    [
        ("like", 0.92, True, 0.92),  # the lower end of the reference's interval, 0.95, less the tolerance
        ("like", 0.9199, False, 0.92),
        ("like", 1.0, True, 0.92),
        ("copies", 0.99, True, 0.99),  # the upper end, 0.98, and the tolerance
        ("copies", 0.9901, False, 0.99),
        ("copies", 0.0, True, 0.99),
    ],
)
def test_the_limit_is_the_worse_end_of_the_reference_and_the_tolerance(
    metric: str, value: float, passed: bool, limit: float
) -> None:
    verdict = evaluate_gate(GATE, results((metric, None, value, 0.965, 0.95, 0.98)))
    assert verdict.passed is passed
    assert verdict.findings["limit"].tolist() == pytest.approx([limit])


def test_a_limit_stays_within_the_metrics_range() -> None:
    found = evaluate_gate(
        GATE, results(("copies", None, 1.0, 0.99, 0.98, 1.02), ("like", None, 0.0, 0.01, -0.05, 0.07))
    )
    assert sorted(found.findings["limit"]) == [0.0, 1.0]


@pytest.mark.parametrize("count", [3, 30, 300])
@pytest.mark.parametrize(
    "draw", [lambda rng, size: rng.normal(0.5, 0.1, size), lambda rng, size: abs(rng.normal(0, 0.1, size))]
)
def test_fresh_real_rows_fail_a_gate_as_rarely_as_stated(
    count: int, draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
) -> None:
    rng = np.random.default_rng(0)
    fails = 0
    for _ in range(100):
        real = draw(rng, (count, SPLITS + 1))  # chance is ten times the tolerance, as in short tables
        found = [reference_of(row[1:]) for row in real]
        rows = [("copies", f"c{i}", real[i, 0], r.mean, r.low, r.high) for i, r in enumerate(found)]
        fails += not evaluate_gate(GATE, results(*rows)).passed
    assert fails <= 11  # of 100 at 5%, twelve or more are rarer than 0.5%


@pytest.mark.parametrize(
    ("copied", "fails"),
    [
        (0, range(4)),  # of 40 at 5%, four or more are as rare as 14%; they were 13
        (13, range(40, 41)),  # 5% copies; 29 were found
    ],
)
def test_rows_of_two_columns_that_are_equal_by_chance_are_no_copies(copied: int, fails: range) -> None:
    def rows(count: int) -> pd.DataFrame:
        x = rng.normal(50, 10, count)
        return pd.DataFrame({"x": x.round(1), "y": (2 * x + rng.normal(0, 8, count)).round(1)})

    schema = TableSchema(columns=(Float(name="x"), Float(name="y")))
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        train = rows(256)
        synthetic = pd.concat([train.sample(copied, random_state=seed), rows(256 - copied)], ignore_index=True)
        samples = Samples(train, rows(64), synthetic, schema)
        computed = [row for name in ("exact_copies", "partial_copies") for row in METRICS[name].compute(samples)]
        found.append(evaluate_gate(GATES["privacy"], result_frame(computed)).passed)
    assert found.count(False) in fails


@pytest.mark.parametrize(("copied", "passes"), [(0, True), (30, False)])
def test_rows_of_a_panel_are_no_copies_for_their_subject_and_day(copied: int, passes: bool) -> None:
    """Real rows have each subject and day once, and synthetic ones draw them from the same few."""

    def measured(size: int) -> dict[str, np.ndarray]:
        return {name: rng.normal(size=size).round(3) for name in ("x", "y")}

    rng = np.random.default_rng(0)
    subject, day = (each.ravel() for each in np.meshgrid(np.arange(20), np.arange(12)))
    names = {"subject": "integer", "day": "integer", "x": "float", "y": "float"}
    schema = TableSchema.model_validate({"columns": [{"name": n, "type": t} for n, t in names.items()]})
    real = pd.DataFrame({"subject": subject, "day": day, **measured(240)}).sample(frac=1, random_state=0)
    train, holdout = real[:192], real[192:]
    drawn = pd.DataFrame({"subject": rng.integers(20, size=192), "day": rng.integers(12, size=192), **measured(192)})
    samples = Samples(train, holdout, pd.concat([train[:copied], drawn[copied:]]), schema)

    assert identifying_columns(samples.real, schema) == ["subject", "day"]
    computed = result_frame(METRICS["partial_copies"].compute(samples))
    assert evaluate_gate(GATES["privacy"], computed).passed is passes


def test_without_an_interval_the_reference_counts_and_without_a_reference_the_best_value() -> None:
    found = evaluate_gate(
        GATE, results(("like", "a", 0.93, 0.95, NAN, NAN), ("copies", "b", 0.011, NAN, NAN, NAN))
    ).findings
    assert found.set_index("column_name")["limit"].to_dict() == pytest.approx({"a": 0.92, "b": 0.01})
    assert found.set_index("column_name")["passed"].to_dict() == {"a": True, "b": False}


def test_what_is_not_defined_does_not_pass() -> None:
    verdict = evaluate_gate(GATE, results(("like", "a", NAN, 0.95, 0.9, 1.0), ("like", "b", 0.99, 0.95, 0.9, 1.0)))
    assert not verdict.passed
    assert verdict.findings["column_name"].tolist() == ["a", "b"]  # the worst first


def test_other_metrics_are_not_looked_at() -> None:
    verdict = evaluate_gate(GATE, results(("like", None, 0.99, 0.95, 0.9, 1.0), ("other", None, 99.0, 0.0, 0.0, 0.0)))
    assert verdict.passed
    assert verdict.findings["metric"].tolist() == ["like"]
    assert verdict.message == "It looks real. 1 number is within its limit."


def test_the_message_of_a_failure_states_found_expected_and_remediation() -> None:
    verdict = evaluate_gate(
        GATE, results(("like", "Length", 0.5, 0.965, 0.95, 0.98), ("copies", None, 0.2, 0.01, 0.0, 0.02))
    )
    assert verdict.message == (
        "Similarity, Length: 0.5000; real rows score 0.9650, expected at least 0.9200. "
        "Share of copies: 0.2000; real rows score 0.0100, expected at most 0.0300. Do more."
    )


def test_a_metric_may_have_a_remedy_of_its_own_that_names_the_columns() -> None:
    gate = replace(GATE, remedies={"copies": "Hide {columns}."})
    copies, like = ("copies", "Name", 0.2, 0.01, 0.0, 0.02), ("like", "Length", 0.5, 0.965, 0.95, 0.98)

    assert evaluate_gate(gate, results(copies)).message.endswith("at most 0.0300. Hide Name.")
    assert evaluate_gate(gate, results(copies, like)).message.endswith("Hide Name. Do more.")


def test_a_message_about_copied_rows_names_the_columns_that_are_copied() -> None:
    cells = [("copied_cells", name, value, 0.5, 0.4, 0.6) for name, value in (("a", 0.7), ("b", 0.9), ("c", 0.6))]
    verdict = evaluate_gate(GATES["privacy"], results(("exact_copies", None, 0.5, 0.0, 0.0, 0.0), *cells))

    assert " Rows agree with train rows most in b, a. Do not publish" in verdict.message


def test_a_number_without_a_reference_is_said_without_one() -> None:
    message = evaluate_gate(GATE, results(("copies", "b", 0.02, NAN, NAN, NAN))).message
    assert message == "Share of copies, b: 0.0200; expected at most 0.0100. Do more."


def test_a_gate_whose_metrics_are_not_computed_is_skipped() -> None:
    computed = {"fidelity": results(("like", None, 0.99, 0.95, 0.9, 1.0)), "utility": results()}
    gates = [GATE, Gate("utility", "It is useful.", False, {"tstr_score": 0.05}, "Do less.")]

    assert [verdict.gate.name for verdict in evaluate_gates(gates, computed)] == ["looks"]


def test_only_the_farthest_are_named() -> None:
    rows = [("like", f"c{i}", 0.1 * i, 1.0, 1.0, 1.0) for i in range(9)]
    message = evaluate_gate(GATE, results(*rows)).message
    assert [f", c{i}:" in message for i in range(9)] == [True] * MAX_NAMED + [False] * (9 - MAX_NAMED)
    assert "4 more numbers are beyond their limits. Do more." in message


def test_a_gate_without_results_is_refused() -> None:
    with pytest.raises(ForeseenError, match="gate 'looks' needs like, copies; the metric results have none of these"):
        evaluate_gate(GATE, results(("other", None, 1.0, 1.0, 1.0, 1.0)))


def test_tolerances_can_be_changed_one_by_one() -> None:
    changed = GATE.with_tolerances({"copies": 0.5})
    assert dict(changed.tolerances) == {"like": 0.03, "copies": 0.5}
    assert dict(GATE.tolerances) == {"like": 0.03, "copies": 0.01}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"beauty": 0.1}, "name beauty; its metrics are like, copies"),
        ({"like": -0.1}, "negative tolerance for like"),
        ({"like": np.nan}, "negative tolerance for like"),
    ],
)
def test_invalid_tolerances_are_refused(changed: dict[str, float], words: str) -> None:
    with pytest.raises(ForeseenError, match=words):
        GATE.with_tolerances(changed)


def test_a_gate_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ForeseenError, match="tolerances name the gate beauty; the gates are fidelity"):
        gates_with({"beauty": {}})
