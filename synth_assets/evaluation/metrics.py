"""What the measures are called, which way is better, and where each comes from: one entry a metric, for every reader.

The tables of evidence store a metric by its name; the report and the checks look up here what the name means.
"""

from dataclasses import dataclass
from typing import Literal

EVIDENCE_COLUMNS = ("metric", "column_name", "value", "value_low", "value_high", "floor", "floor_low", "floor_high")
"""The columns of every table of evidence.

`column_name` is what was measured: a column, 'one, other' for a pair, the name of a rule, or None for the whole table.
`value_low` to `value_high` is the 95% interval of `value` where one can be given, NaN elsewhere; `floor` is the mean
of what real rows score at the same sizes, `floor_low` to `floor_high` where another set of real rows would lie, 95
times in 100.
"""


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
            "Shape of a numeric column",
            "higher",
            1.0,
            0.0,
            "1 minus the greatest distance between the two cumulative shares of a numeric column (the two-sample "
            "Kolmogorov-Smirnov statistic).",
            "SDMetrics, KSComplement",
        ),
    )
}
