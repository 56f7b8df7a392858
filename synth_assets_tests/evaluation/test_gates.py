"""Tests of the gates: what passes, what does not, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import metrics
from synth_assets.evaluation.gates import MOST_SAID, Gate, judge
from synth_assets.evaluation.metrics import EVIDENCE_COLUMNS, Metric

LIKE = Metric("like", "Likeness", "higher", 1.0, 0.0, "How alike.", "None.")
COPIES = Metric("copies", "Share of copies", "lower", 0.0, 1.0, "How many.", "None.")
GATE = Gate("looks", "It looks real.", True, {"like": 0.03, "copies": 0.01}, "Do more.")
NAN = float("nan")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    for metric in (LIKE, COPIES):
        monkeypatch.setitem(metrics.METRICS, metric.name, metric)


def evidence(*rows: tuple[str, str | None, float, float, float, float]) -> pd.DataFrame:
    """Give a table of metric, column, value, floor, and the floor's interval."""
    found = pd.DataFrame(rows, columns=["metric", "column_name", "value", "floor", "floor_low", "floor_high"])
    return found.assign(value_low=NAN, value_high=NAN)[list(EVIDENCE_COLUMNS)]


@pytest.mark.parametrize(
    ("metric", "value", "passed", "limit"),
    [
        ("like", 0.92, True, 0.92),  # the lower end of the floor's interval, 0.95, less the allowance
        ("like", 0.9199, False, 0.92),
        ("like", 1.0, True, 0.92),
        ("copies", 0.99, True, 0.99),  # the upper end, 0.98, and the allowance
        ("copies", 0.9901, False, 0.99),
        ("copies", 0.0, True, 0.99),
    ],
)
def test_the_limit_is_the_worse_end_of_the_floor_and_the_allowance(
    metric: str, value: float, passed: bool, limit: float
) -> None:
    verdict = judge(GATE, evidence((metric, None, value, 0.965, 0.95, 0.98)))
    assert verdict.passed is passed
    assert verdict.findings["limit"].tolist() == pytest.approx([limit])


def test_a_limit_stays_within_the_metrics_range() -> None:
    found = judge(GATE, evidence(("copies", None, 1.0, 0.99, 0.98, 1.02), ("like", None, 0.0, 0.01, -0.05, 0.07)))
    assert sorted(found.findings["limit"]) == [0.0, 1.0]


def test_without_an_interval_the_floor_counts_and_without_a_floor_the_best_value() -> None:
    found = judge(GATE, evidence(("like", "a", 0.93, 0.95, NAN, NAN), ("copies", "b", 0.011, NAN, NAN, NAN))).findings
    assert found.set_index("column_name")["limit"].to_dict() == pytest.approx({"a": 0.92, "b": 0.01})
    assert found.set_index("column_name")["passed"].to_dict() == {"a": True, "b": False}


def test_what_is_not_defined_does_not_pass() -> None:
    verdict = judge(GATE, evidence(("like", "a", NAN, 0.95, 0.9, 1.0), ("like", "b", 0.99, 0.95, 0.9, 1.0)))
    assert not verdict.passed
    assert verdict.findings["column_name"].tolist() == ["a", "b"]  # the worst first


def test_other_metrics_are_not_looked_at() -> None:
    verdict = judge(GATE, evidence(("like", None, 0.99, 0.95, 0.9, 1.0), ("other", None, 99.0, 0.0, 0.0, 0.0)))
    assert verdict.passed
    assert verdict.findings["metric"].tolist() == ["like"]
    assert verdict.said == "It looks real. 1 number is within its limit."


def test_a_failed_gate_says_what_was_found_and_expected_and_what_to_do() -> None:
    verdict = judge(GATE, evidence(("like", "Length", 0.5, 0.965, 0.95, 0.98), ("copies", None, 0.2, 0.01, 0.0, 0.02)))
    assert verdict.said == (
        "Likeness of Length is 0.5000; real rows score 0.9650, and at least 0.9200 was expected. "
        "Share of copies is 0.2000; real rows score 0.0100, and at most 0.0300 was expected. Do more."
    )


def test_only_the_farthest_are_named() -> None:
    rows = [("like", f"c{i}", 0.1 * i, 1.0, 1.0, 1.0) for i in range(9)]
    said = judge(GATE, evidence(*rows)).said
    assert [f"of c{i} " in said for i in range(9)] == [True] * MOST_SAID + [False] * (9 - MOST_SAID)
    assert "4 more numbers are beyond their limits. Do more." in said


def test_a_gate_without_evidence_is_refused() -> None:
    with pytest.raises(ForeseenError, match="gate 'looks' looks at like, copies; the evidence has none of these"):
        judge(GATE, evidence(("other", None, 1.0, 1.0, 1.0, 1.0)))


def test_allowances_can_be_changed_one_by_one() -> None:
    changed = GATE.with_allowances({"copies": 0.5})
    assert dict(changed.allowances) == {"like": 0.03, "copies": 0.5}
    assert dict(GATE.allowances) == {"like": 0.03, "copies": 0.01}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"likeness": 0.1}, "allowances for likeness; it looks at like, copies"),
        ({"like": -0.1}, "negative allowance for like"),
        ({"like": np.nan}, "negative allowance for like"),
    ],
)
def test_allowances_that_make_no_sense_are_refused(changed: dict[str, float], words: str) -> None:
    with pytest.raises(ForeseenError, match=words):
        GATE.with_allowances(changed)
