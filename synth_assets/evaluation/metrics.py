"""What the measures are called, which way is better, and where each comes from: one entry a metric, for every reader.

The tables of evidence store a metric by its name; the report and the checks look up here what the name means.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from synth_assets.evaluation.reference import Floor

EVIDENCE_COLUMNS = ("metric", "column_name", "value", "value_low", "value_high", "floor", "floor_low", "floor_high")
"""The columns of every table of evidence.

`column_name` is what was measured: a column, 'one, other' for a pair, the name of a constraint, or
None for the whole table.
`value_low` to `value_high` is the 95% interval of `value` where one can be given, NaN elsewhere; `floor` is the mean
of what real rows score at the same sizes, `floor_low` to `floor_high` where another set of real rows would lie, 95
times in 100.
"""


def evidence(
    metric: str,
    column_name: str | None,
    value: float,
    floor: "Floor",
    interval: tuple[float, float] = (float("nan"), float("nan")),
) -> dict[str, Any]:
    """Give one row of a table of evidence."""
    found = (metric, column_name, value, *interval, floor.mean, floor.low, floor.high)
    return dict(zip(EVIDENCE_COLUMNS, found, strict=True))


def evidence_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Give rows of evidence as a table, in the same types whatever is in it and however short it is."""
    types = {name: "str" if name in ("metric", "column_name") else "float64" for name in EVIDENCE_COLUMNS}
    return pd.DataFrame(list(rows), columns=list(EVIDENCE_COLUMNS)).astype(types)


@dataclass(frozen=True)
class Metric:
    """A measure of a synthetic sample.

    Parameters
    ----------
    name : str
        As it is stored, in the field's standard term.
    title : str
        As a heading or an axis says it.
    better : {"higher", "lower"}
        Which way is better.
    best, worst : float
        The ends of its range; infinite where it has none.
    meaning : str
        One or two sentences: how it is made, and what a value says.
    source : str
        The paper with its section, or the library with its name for it.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    best: float
    worst: float
    meaning: str
    source: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "ks_complement",
            "Likeness of a numeric column",
            "higher",
            1.0,
            0.0,
            "1 minus the greatest distance between the cumulative shares of the column's values in the sample and "
            "in the held-out rows (the two-sample Kolmogorov-Smirnov statistic).",
            "SDMetrics, KSComplement",
        ),
        Metric(
            "tv_complement",
            "Likeness of a category's shares",
            "higher",
            1.0,
            0.0,
            "1 minus half the sum of the differences between the labels' shares in the sample and in the held-out rows "
            "(the total variation distance).",
            "SDMetrics, TVComplement",
        ),
        Metric(
            "column_shapes",
            "Likeness of the columns, on average",
            "higher",
            1.0,
            0.0,
            "The mean over the columns of the two likenesses above.",
            "SDMetrics, Column Shapes",
        ),
        Metric(
            "wasserstein_distance",
            "Distance of a numeric column",
            "lower",
            0.0,
            float("inf"),
            "How far the column's values have to be moved, on average, to turn the sample's into those of the held-out "
            "rows, in standard deviations of the real values.",
            "scipy.stats.wasserstein_distance; Villani, Optimal Transport, 2009, chapter 6",
        ),
        Metric(
            "sliced_wasserstein_distance",
            "Distance of whole rows",
            "lower",
            0.0,
            float("inf"),
            "The same distance along 50 random directions through the space of all columns, on average: numbers count "
            "in standard deviations, a label as a coordinate of 0 or 1. It sees how columns go together.",
            "Bonneel, Rabin, Peyré and Pfister, Sliced and Radon Wasserstein Barycenters, JMIV 51, 2015, section 2",
        ),
        Metric(
            "correlation_similarity",
            "Likeness of a pair's correlation",
            "higher",
            1.0,
            0.0,
            "1 minus half the difference of the Spearman correlations of two numeric columns in the sample and in the "
            "held-out rows.",
            "SDMetrics, CorrelationSimilarity",
        ),
        Metric(
            "contingency_similarity",
            "Likeness of a pair's joint shares",
            "higher",
            1.0,
            0.0,
            "1 minus the total variation distance of the joint shares of two columns of which one is a category; a "
            "numeric column is cut into ten bins.",
            "SDMetrics, ContingencySimilarity",
        ),
        Metric(
            "pair_trends",
            "Likeness of the pairs, on average",
            "higher",
            1.0,
            0.0,
            "The mean over all pairs of columns of the two likenesses above.",
            "SDMetrics, Column Pair Trends",
        ),
        Metric(
            "detection_auc_boosting",
            "Detection by boosted trees",
            "lower",
            0.5,
            1.0,
            "Boosted trees learn to tell the sample from held-out rows and judge rows that they have not seen; the "
            "area under the ROC curve is 0.5 where they cannot, and 1 where they never err.",
            "Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3",
        ),
        Metric(
            "detection_auc_forest",
            "Detection by a random forest",
            "lower",
            0.5,
            1.0,
            "The same, by a forest of full-grown trees, which sees single values where boosting sees bins.",
            "Lopez-Paz and Oquab, as above",
        ),
        Metric(
            "detection_auc_logistic",
            "Detection by a logistic model",
            "lower",
            0.5,
            1.0,
            "The same, by a logistic regression. It sees means and little else: a low area says nearly nothing.",
            "SDMetrics, LogisticDetection, has this model; Lopez-Paz and Oquab, as above",
        ),
        Metric(
            "detection_importance",
            "What detection owes to a column",
            "lower",
            0.0,
            1.0,
            "By how much the area of the boosted trees falls when the column's values are shuffled among the rows that "
            "they judge: which columns gave the sample away, alone or together with others.",
            "Breiman, Random Forests, Machine Learning 45, 2001, section 10: permutation importance",
        ),
        Metric(
            "detection_auc_pair",
            "Detection by a pair of columns alone",
            "lower",
            0.5,
            1.0,
            "Detection by a few boosted trees that see two columns only: which pairs gave the sample away.",
            "Lopez-Paz and Oquab, as above, on two columns",
        ),
        Metric(
            "missing_cells",
            "Missing cells of a column",
            "lower",
            0.0,
            1.0,
            "The share of its cells that are empty.",
            "A count",
        ),
        Metric(
            "out_of_range",
            "Cells of a column out of range",
            "lower",
            0.0,
            1.0,
            "The share of its cells with an unknown label, or a number outside the limits that defs.yaml states.",
            "A count",
        ),
        Metric(
            "off_grid",
            "Numbers of a column off its grid",
            "lower",
            0.0,
            1.0,
            "The share of its numbers that are not a whole number of steps from the least real one; the step is the "
            "greatest common divisor of the real ones' differences.",
            "A count",
        ),
        Metric(
            "constraint_violations",
            "Rows that break the constraint",
            "lower",
            0.0,
            1.0,
            "The share of rows of which a constraint in defs.yaml is not true.",
            "A count",
        ),
        Metric(
            "exact_copies",
            "Exact copies",
            "lower",
            0.0,
            1.0,
            "The share of synthetic rows that are a train row, cell by cell; held-out rows have their share too.",
            "A count",
        ),
        Metric(
            "partial_copies",
            "Partial copies",
            "lower",
            0.0,
            1.0,
            "The share of synthetic rows that agree with one train row in more than half of the cells.",
            "A count",
        ),
        Metric(
            "dcr_share",
            "Rows closer to train rows than to held-out rows",
            "lower",
            0.5,
            1.0,
            "The share of synthetic rows whose closest record is one of the train rows rather than one of as many "
            "held-out rows. It is 0.5 where the sample treats both alike.",
            "SDMetrics, DCROverfittingProtection, has the same comparison",
        ),
        Metric(
            "membership_auc",
            "Attack by the nearest synthetic row",
            "lower",
            0.5,
            1.0,
            "A real row is called a train row the closer it lies to its nearest synthetic row; the area under the ROC "
            "curve is 0.5 where that says nothing. It is one attack: where it fails, another may not.",
            "Chen, Yu, Zhang and Fritz, GAN-Leaks, CCS 2020, the full black-box attack",
        ),
        Metric(
            "domias_auc",
            "Attack by a ratio of densities",
            "lower",
            0.5,
            1.0,
            "A real row is called a train row the denser the synthetic rows lie around it, beside real rows that "
            "nothing learned from; the area is 0.5 where that says nothing. It is one attack: where it fails, another "
            "may not.",
            "van Breugel, Sun, Qian and van der Schaar, Membership Inference Attacks against Synthetic Data through "
            "Overfitting Detection, AISTATS 2023: DOMIAS",
        ),
        Metric(
            "levenshtein_auc",
            "Attack by edit distance",
            "lower",
            0.5,
            1.0,
            "A real row is called a train row the fewer characters have to be changed to turn it into a synthetic row; "
            "language models may repeat strings of digits. The area is 0.5 where that says nothing. It is one attack: "
            "where it fails, another may not.",
            "Ward et al., When Tables Leak: Attacking String Memorization in LLM-Based Tabular Data Generation, 2025, "
            "arXiv:2512.08875: LevAtt",
        ),
        Metric(
            "leaked_rows",
            "Train rows that several attacks agree on",
            "lower",
            0.0,
            1.0,
            "The share of train rows that two or more of the three attacks suspect: each suspects a row that it scores "
            "above 999 in 1,000 held-out rows. The floor is what the same rule names where chance says who is a "
            "train row.",
            "The three attacks above; the constraint is our own",
        ),
        Metric(
            "leaked_row",
            "A train row that several attacks agree on",
            "lower",
            0.0,
            1.0,
            "One of these rows, by its row_id: the share of its cells that agree with the synthetic row most like it.",
            "As above",
        ),
        Metric(
            "tstr_score",
            "Score of a model trained on the sample",
            "higher",
            1.0,
            float("-inf"),
            "R2 on held-out rows of a regressor that learned from synthetic rows only; the floor is that of real rows.",
            "Esteban, Hyland and Rätsch, 2017, arXiv:1706.02633: train on synthetic, test on real",
        ),
    )
}
"""By name."""
