"""Gates: which samples may be published, by how much worse than real rows their metrics are.

A limit is never a bare number. A metric may be worse than the worse end of its reference interval by a tolerance: the
interval covers chance in real rows, the tolerance is what a synthesizer may add. Of few rows, chance is greater than
any tolerance, and a gate has many numbers: no limit is stricter than what fresh real rows stay within in 95% of all
samples, in all numbers of the gate together.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.metrics import METRICS, Metric
from synth_assets.evaluation.reference import SPLITS

MAX_NAMED = 5
"""Failed numbers that a message names, the farthest beyond their limits first."""

LEVEL = 0.05
"""Share of samples of fresh real rows that may fail a gate by chance, in any of its numbers.

Measured on 150 tables of 600 rows with gaps in four of six columns (480 train rows, 120 held out): 3% failed fidelity.
With the tolerance alone, 35% did."""

COPIES = frozenset({"exact_copies", "partial_copies", "leaked_rows"})
"""Metrics of copied rows: after a failure, the message names the columns in which rows are copied."""


@dataclass(frozen=True)
class Gate:
    """A condition on a sample.

    Parameters
    ----------
    name : str
        Its name.
    description : str
        What holds where it is passed, as a sentence.
    blocking : bool
        Whether a sample that fails is not published; otherwise a failure is a warning.
    tolerances : mapping of str to float
        By metric: how much worse than real rows a sample may be, in the metric's unit.
    remediation : str
        What to do after a failure.
    remedies : mapping of str to str, optional
        By metric: what to do after a failure of this one, in which '{columns}' stands for the columns that fail. If
        each metric that fails has a remedy, `remediation` is left out.
    """

    name: str
    description: str
    blocking: bool
    tolerances: Mapping[str, float]
    remediation: str
    remedies: Mapping[str, str] = field(default_factory=dict)

    def with_tolerances(self, changed: Mapping[str, float]) -> "Gate":
        """Return the gate with other tolerances for some of its metrics.

        Raises
        ------
        ForeseenError
            If a metric is not one of the gate's, or a tolerance is negative.
        """
        unknown = sorted(set(changed) - set(self.tolerances))
        if unknown:
            raise ForeseenError(
                f"tolerances of gate {self.name!r} name {', '.join(unknown)}; its metrics are "
                f"{', '.join(self.tolerances)}."
            )
        negative = sorted(metric for metric, tolerance in changed.items() if not tolerance >= 0)
        if negative:
            raise ForeseenError(
                f"gate {self.name!r} has a negative tolerance for {', '.join(negative)}, which real rows would fail; "
                "expected 0 or more."
            )
        return replace(self, tolerances={**self.tolerances, **changed})


def _gate(
    name: str,
    description: str,
    metrics: Sequence[str],
    remediation: str,
    *,
    blocking: bool = True,
    remedies: Mapping[str, str] | None = None,
) -> Gate:
    tolerances = {metric: METRICS[metric].tolerance for metric in metrics}
    stated = {metric: tolerance for metric, tolerance in tolerances.items() if tolerance is not None}
    return Gate(name, description, blocking, stated, remediation, remedies or {})


_COPIED_TEXT = (
    "Texts of real rows are repeated in {columns}: state publish_text: false, or type: id if the values are keys, or "
    "fit the synthesizer to more rows."
)


# Calibration: 14 samples of 1,392 real abalones, evaluated as if they were synthetic, passed every gate. The 11 that
# were measured in full exceeded a reference interval by at most 0.006; one of 800 rows by 0.029 in a column, since the
# Kolmogorov-Smirnov statistic of two samples has a long tail.
GATES = {
    gate.name: gate
    for gate in (
        _gate(
            "fidelity",
            "Synthetic rows are distributed like real rows.",
            (
                "ks_complement",
                "tv_complement",
                "correlation_similarity",
                "contingency_similarity",
                "missing_share_difference",
                "missing_pairs_difference",
                "text_length",
                "text_characters",
                "text_words",
                "column_prediction_gap",
                "detection_auc_boosting",
                "detection_auc_forest",
            ),
            "Do not publish the sample. Fit the synthesizer to more rows or for more epochs; the report lists the "
            "columns and pairs by which synthetic rows are detected.",
        ),
        _gate(
            "validity",
            "Synthetic rows are valid: in range, on the grid, and within the constraints.",
            ("missing_cells", "out_of_range", "off_grid", "constraint_violations"),
            "Do not publish the sample. Inspect the invalid rows; if real rows are invalid too, correct the limits or "
            "the constraint in the table's settings.",
        ),
        _gate(
            "privacy",
            "Synthetic rows reveal no more about train rows than about holdout rows.",
            (
                "rare_labels",
                "key_copies",
                "text_copies",
                "text_near_copies",
                "exact_copies",
                "leaked_rows",
                "partial_copies",
                "dcr_share",
                "membership_auc",
                "dcr_difference_auc",
                "domias_auc",
                "gen_lra_auc",
                "levenshtein_auc",
                "every_sample_auc",
                "attack_auc",
                "attack_tpr_1",
                "attack_tpr_01",
                "outlier_auc",
                "outlier_tpr_1",
                "outlier_tpr_01",
            ),
            "Do not publish or share the sample: it repeats train rows, which the report lists. Fit the synthesizer to "
            "more rows or for fewer epochs, or use one that copies less.",
            remedies={
                "rare_labels": "Do not publish or share the sample: labels that identify few real rows are shown in "
                "{columns}. State type: text or type: id for a column whose labels are nearly unique, use a "
                "synthesizer that hides rare labels, or lower min_label_rows if the labels are not confidential.",
                "key_copies": "Do not publish or share the sample: real keys are repeated in {columns}. State a "
                "pattern or a start for the column that no real key has.",
                "every_sample_auc": "Publish no further sample of this model: with the earlier ones, it reveals which "
                "rows were train rows. Fit another model, to rows that no earlier one has seen, and publish fewer of "
                "its rows.",
                "text_copies": _COPIED_TEXT,
                "text_near_copies": _COPIED_TEXT,
            },
        ),
        _gate(
            "utility",
            "Estimators trained on synthetic rows score nearly as well as on real rows.",
            ("tstr_score",),
            "The sample may be published; an estimator trained on it alone scores this much worse.",
            blocking=False,
        ),
    )
}
"""By name, with the tolerances of the metrics; a table's settings may state others."""


def gates_with(tolerances: Mapping[str, Mapping[str, float]]) -> dict[str, Gate]:
    """Return all gates by name, with other tolerances for some, by gate and metric.

    Raises
    ------
    ForeseenError
        If a gate is unknown, or as `Gate.with_tolerances`.
    """
    unknown = sorted(set(tolerances) - set(GATES))
    if unknown:
        raise ForeseenError(f"tolerances name the gate {', '.join(unknown)}; the gates are {', '.join(GATES)}.")
    return {name: gate.with_tolerances(tolerances.get(name, {})) for name, gate in GATES.items()}


@dataclass(frozen=True, repr=False)
class Verdict:
    """The outcome of a gate.

    Parameters
    ----------
    gate : Gate
        The gate.
    findings : pandas.DataFrame
        One row for each number of its metrics: the columns of the metric results, `limit` (the worst value that
        passes) and `passed`; the farthest beyond their limits first.
    copied_columns : sequence of str
        The columns in which rows agree with train rows more often than real rows do, the most beyond them first.
    """

    gate: Gate
    findings: pd.DataFrame
    copied_columns: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Verdict({self.gate.name} {self.status}: {self.message})"

    @property
    def passed(self) -> bool:
        """Whether every number is within its limit."""
        return bool(self.findings["passed"].all())

    @property
    def status(self) -> str:
        """'passed', 'failed' or 'warning'."""
        return status(self.passed, self.gate.blocking)

    @property
    def message(self) -> str:
        """What was found, what was expected, what to do."""
        failed = self.findings[~self.findings["passed"]]
        if failed.empty:
            count = len(self.findings)
            within = "1 number is within its limit" if count == 1 else f"{count} numbers are within their limits"
            return f"{self.gate.description} {within}."
        sentences = [_sentence(row) for row in failed.head(MAX_NAMED).itertuples()]
        if len(failed) > MAX_NAMED:
            sentences.append(f"{len(failed) - MAX_NAMED} more numbers are beyond their limits.")
        return " ".join([*sentences, *self._remediation(failed)])

    def _remediation(self, failed: pd.DataFrame) -> Iterator[str]:
        metrics = list(dict.fromkeys(failed["metric"]))
        if COPIES.intersection(metrics) and self.copied_columns:
            more = len(self.copied_columns) - MAX_NAMED
            named = ", ".join(self.copied_columns[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
            yield f"Rows agree with train rows most in {named}."
        texts: dict[str, list[str]] = {}
        for metric in metrics:
            if metric in self.gate.remedies:
                columns = failed.loc[failed["metric"] == metric, "column_name"].dropna()
                texts.setdefault(self.gate.remedies[metric], []).extend(columns)
        for text, columns in texts.items():
            yield text.format(columns=", ".join(dict.fromkeys(columns)))
        if not set(metrics) <= set(self.gate.remedies):
            yield self.gate.remediation


def status(passed: bool, blocking: bool) -> str:
    """Return 'passed', 'failed' or 'warning'."""
    return "passed" if passed else "failed" if blocking else "warning"


def evaluate_gate(gate: Gate, results: pd.DataFrame) -> Verdict:
    """Compare metric results with the limits of a gate.

    Parameters
    ----------
    gate : Gate
        The gate.
    results : pandas.DataFrame
        Metric results (`metrics.RESULT_COLUMNS`); metrics of other gates are ignored.

    Returns
    -------
    Verdict
        An undefined number does not pass. The limit is the worse end of the reference interval plus the tolerance;
        without an interval, the reference plus the tolerance; without a reference, the best value of the metric's range
        plus the tolerance. No limit is stricter than chance allows at `LEVEL`, see `_chance_limit`.

    Raises
    ------
    ForeseenError
        If the results have none of the gate's metrics.
    """
    relevant = results[results["metric"].isin(gate.tolerances)].reset_index(drop=True)
    if relevant.empty:
        raise ForeseenError(
            f"gate {gate.name!r} needs {', '.join(gate.tolerances)}; the metric results have none of these. Evaluate "
            "the sample again."
        )
    copied = results[(results["metric"] == "copied_cells") & (results["value"] > results["reference_high"])]
    copied = copied.iloc[np.argsort(copied["reference_high"] - copied["value"], kind="stable")]
    limits, passed, excess = [], [], []
    for row in relevant.itertuples():
        metric = METRICS[row.metric]
        sign = 1.0 if metric.goal == "minimize" else -1.0  # the direction in which it is worse
        edge = row.reference_high if sign > 0 else row.reference_low
        limit = next(end for end in (edge, row.reference, metric.best) if not np.isnan(end))
        limit += sign * gate.tolerances[row.metric]
        if not np.isnan(edge):
            chance = _chance_limit(metric, row.reference, edge, len(relevant))
            limit = max(limit, chance) if sign > 0 else min(limit, chance)
        limit = min(limit, metric.worst) if sign > 0 else max(limit, metric.worst)
        limits.append(limit)
        passed.append(bool(sign * (row.value - limit) <= 0))  # False for NaN
        excess.append(np.inf if np.isnan(row.value) else sign * (row.value - limit))
    findings = relevant.assign(limit=limits, passed=passed)
    ordered = findings.iloc[np.argsort(-np.array(excess), kind="stable")].reset_index(drop=True)
    return Verdict(gate, ordered, tuple(copied["column_name"]))


def _chance_limit(metric: Metric, reference: float, edge: float, count: int) -> float:
    """Return the value beyond which one of so many numbers of real rows lies in a share of `LEVEL` of all samples.

    Each number has an equal part of the level (Bonferroni). `edge` is the worse end of its 95% interval, Student's with
    a degree of freedom less than there are real splits. A deviation from the best possible value, such as a difference
    of shares, is skewed; its square root is nearly normal (Hawkins and Wixley, The American Statistician 40, 1986),
    unless it varies more than the square of a normal variable of mean 0, as counts of rare rows do.
    """
    from scipy.special import stdtrit

    within = stdtrit(SPLITS - 1, 0.975)
    ratio = stdtrit(SPLITS - 1, 1 - LEVEL / count) / within
    if ratio <= 1:
        return edge
    margin = (edge - reference) * float(ratio)
    deviation = abs(reference - metric.best)
    is_skewed = metric.best in metric.possible and not metric.signed and not metric.is_count
    if is_skewed and 0 < abs(edge - reference) <= 2**0.5 * within * deviation:
        margin += np.sign(margin) * margin**2 / (4 * deviation)
    return float(reference + margin)


def evaluate_gates(gates: Iterable[Gate], results: Mapping[str, pd.DataFrame]) -> list[Verdict]:
    """Evaluate gates on metric results, by 'fidelity', 'privacy' and 'utility'.

    A gate is skipped where none of its metrics is computed: utility, where the table has no target or no score is
    defined, and fidelity, where no column is compared.
    """
    together = pd.concat(results.values(), ignore_index=True)
    computed = set(together["metric"])
    return [evaluate_gate(gate, together) for gate in gates if computed.intersection(gate.tolerances)]


def verdict_table(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """Return verdicts as a frame with the columns `gate`, `blocking`, `passed` and `message`."""
    rows = [(each.gate.name, each.gate.blocking, each.passed, each.message) for each in verdicts]
    return pd.DataFrame(rows, columns=["gate", "blocking", "passed", "message"])


def is_publishable(verdicts: Iterable[Verdict]) -> bool:
    """Return whether every blocking gate is passed."""
    return all(each.passed for each in verdicts if each.gate.blocking)


def _sentence(row: object) -> str:
    metric = METRICS[row.metric]  # type: ignore[attr-defined]
    column = "" if pd.isna(row.column_name) else f", {row.column_name}"  # type: ignore[attr-defined]
    bound = "at most" if metric.goal == "minimize" else "at least"
    real = "" if pd.isna(row.reference) else f"real rows score {row.reference:.4f}, "  # type: ignore[attr-defined]
    return f"{metric.title}{column}: {row.value:.4f}; {real}expected {bound} {row.limit:.4f}."  # type: ignore[attr-defined]
