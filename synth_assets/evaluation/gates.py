"""Which samples may be published: statements about how far a measure lies from what real rows score.

A gate never looks at a bare number. A measure may be worse than the worse end of its floor's interval by an allowance:
the interval is what chance does to real rows, the allowance is what a model may add to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.metrics import METRICS


@dataclass(frozen=True)
class Gate:
    """A question that is asked of a sample.

    Parameters
    ----------
    name : str
        What it asks about.
    asks : str
        The question, as a sentence that holds where the gate is passed.
    blocking : bool
        Whether a sample that fails it stays unpublished; otherwise it is a warning.
    allowances : mapping of str to float
        By metric: how much worse than real rows a sample may be, in the metric's own unit.
    advice : str
        What to do when it fails.
    """

    name: str
    asks: str
    blocking: bool
    allowances: Mapping[str, float]
    advice: str

    def with_allowances(self, changed: Mapping[str, float]) -> "Gate":
        """Give this gate with other allowances for some metrics.

        Raises
        ------
        ForeseenError
            If a metric is none of this gate's, or an allowance is negative.
        """
        unknown = sorted(set(changed) - set(self.allowances))
        if unknown:
            raise ForeseenError(
                f"gate {self.name!r} was given allowances for {', '.join(unknown)}; it looks at "
                f"{', '.join(self.allowances)}."
            )
        negative = sorted(metric for metric, allowance in changed.items() if not allowance >= 0)
        if negative:
            raise ForeseenError(
                f"gate {self.name!r} was given a negative allowance for {', '.join(negative)}: it would stop real rows "
                "too. Give 0 or more."
            )
        return Gate(self.name, self.asks, self.blocking, {**self.allowances, **changed}, self.advice)


# The allowances are on top of what chance does to real rows. Of 14 samples of 1,392 real abalones, judged as if they
# were synthetic, none failed a gate; 11 were measured in full: by 0.006 at most worse than a floor's interval.
# Of one of 800 rows, a column was worse by 0.029: the greatest gap between two samples has a long tail.

FIDELITY = Gate(
    "fidelity",
    "The sample looks like real rows.",
    True,
    {
        # Nowhere is the share of rows below a value, or with a label, off by more than 3 in 100 beyond chance.
        "ks_complement": 0.03,
        "tv_complement": 0.03,
        # On this scale, 0.015 is a correlation that is off by 0.03. Of columns that go together closely, as those of
        # abalone, that is much.
        "correlation_similarity": 0.015,
        # 2 in 100 rows lie in another cell of the pair's table.
        "contingency_similarity": 0.02,
        # Who sees a synthetic and a real row, and may ask a classifier, is right 6 times in 100 more often than of two
        # real rows. Plain methods are told apart by 9 in 100 (CART, 0.59 on abalone) and more; a good model by 5.
        "detection_auc_boosting": 0.06,
        "detection_auc_forest": 0.06,
    },
    "The sample is not published. Train the model for more epochs, or on more rows; the report's pairs and columns "
    "say where it is told apart.",
)

VALIDITY = Gate(
    "validity",
    "The sample's rows could exist.",
    True,
    {
        "missing_cells": 0.0,
        "out_of_range": 0.0,
        # A model that writes digits may end a number early now and then.
        "off_grid": 0.01,
        # A constraint is what the real table keeps to, but for errors of its own: one row in fifty more than there.
        "constraint_violations": 0.02,
    },
    "The sample is not published. Look at the rows that violate the constraint; where the real table is at fault, "
    "correct the limits or the constraint in defs.yaml.",
)

PRIVACY = Gate(
    "privacy",
    "The sample gives no more away of the train rows than held-out rows do.",
    True,
    {
        # Three rows of 3,000, which a sampler may draw by chance where rows have few values.
        "exact_copies": 0.001,
        # Three train rows of 3,000. Means over all rows, as below, do not see a few rows that are known for certain.
        "leaked_rows": 0.001,
        # A fifth of what held-out rows have on abalone, 7 to 8%.
        "partial_copies": 0.015,
        # Of 100 synthetic rows, 3 more than by chance lie closer to a train row than to a held-out row.
        "dcr_share": 0.03,
        # An attack that is right in 3 of 100 pairs of a train row and another more than by chance knows next to
        # nothing; one sample in twenty-five copied from train rows is as much.
        "membership_auc": 0.03,
        "domias_auc": 0.03,
        "levenshtein_auc": 0.03,
    },
    "The sample is not published: it repeats train rows, and the report names them. Train the model for fewer epochs, "
    "or on more rows.",
)

UTILITY = Gate(
    "utility",
    "The sample trains nearly as well as real rows.",
    False,
    # Half of what the seed of a regressor and the choice of held-out rows move R2 by on abalone.
    {"tstr_score": 0.05},
    "The sample may be published all the same; whoever trains on it alone loses this much.",
)

GATES = {gate.name: gate for gate in (FIDELITY, VALIDITY, PRIVACY, UTILITY)}
"""By name, with their default allowances; a table's defs.yaml may state others."""


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Parameters
    ----------
    gate : Gate
        The gate.
    findings : pandas.DataFrame
        One row for each number that it looked at: the columns of the evidence, `limit` (the worst value that passes)
        and `passed`.
    """

    gate: Gate
    findings: pd.DataFrame

    @property
    def passed(self) -> bool:
        """Whether every number is within its limit."""
        return bool(self.findings["passed"].all())

    @property
    def said(self) -> str:
        """The verdict in words: what was found, what was expected, what to do."""
        failed = self.findings[~self.findings["passed"]]
        if failed.empty:
            many = len(self.findings)
            within = "1 number is within its limit" if many == 1 else f"{many} numbers are within their limits"
            return f"{self.gate.asks} {within}."
        sentences = [_sentence(row) for row in failed.head(MOST_SAID).itertuples()]
        if len(failed) > MOST_SAID:
            sentences.append(f"{len(failed) - MOST_SAID} more numbers are beyond their limits.")
        return " ".join([*sentences, self.gate.advice])


MOST_SAID = 5
"""Numbers that a verdict names, the farthest from their limits first."""


def judge(gate: Gate, evidence: pd.DataFrame) -> Verdict:
    """Ask a gate's question of a sample.

    Parameters
    ----------
    gate : Gate
        What is asked.
    evidence : pandas.DataFrame
        Rows with the columns of `metrics.EVIDENCE_COLUMNS`; metrics that the gate does not look at are ignored.

    Returns
    -------
    Verdict
        A number that is not defined does not pass. Its limit is the floor's interval and the allowance; where the
        floor has no interval, the floor itself and the allowance; where there is no floor either, the best value of
        the metric's range and the allowance.

    Raises
    ------
    ForeseenError
        If the evidence has none of the gate's metrics.
    """
    looked_at = evidence[evidence["metric"].isin(gate.allowances)].reset_index(drop=True)
    if looked_at.empty:
        raise ForeseenError(
            f"gate {gate.name!r} looks at {', '.join(gate.allowances)}; the evidence has none of these. Materialize "
            "the sample's evaluation anew."
        )
    limits, passed, beyond = [], [], []
    for row in looked_at.itertuples():
        metric = METRICS[row.metric]
        up = 1.0 if metric.better == "lower" else -1.0  # the direction in which it is worse
        edges = (row.floor_high if up > 0 else row.floor_low, row.floor, metric.best)
        limit = next(edge for edge in edges if not np.isnan(edge)) + up * gate.allowances[row.metric]
        limit = min(limit, metric.worst) if up > 0 else max(limit, metric.worst)
        limits.append(limit)
        passed.append(bool(up * (row.value - limit) <= 0))  # not so for NaN
        beyond.append(np.inf if np.isnan(row.value) else up * (row.value - limit))
    findings = looked_at.assign(limit=limits, passed=passed)
    return Verdict(gate, findings.iloc[np.argsort(-np.array(beyond), kind="stable")].reset_index(drop=True))


def _sentence(row: object) -> str:
    metric = METRICS[row.metric]  # type: ignore[attr-defined]
    of = "" if pd.isna(row.column_name) else f" of {row.column_name}"  # type: ignore[attr-defined]
    most = "at most" if metric.better == "lower" else "at least"
    return (
        f"{metric.title}{of} is {row.value:.4f}; real rows score {row.floor:.4f}, "  # type: ignore[attr-defined]
        f"and {most} {row.limit:.4f} was expected."  # type: ignore[attr-defined]
    )
