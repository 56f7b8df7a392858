"""What every metric has: a declaration, a function that computes it, and rows of results in one format."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from synth_assets.evaluation.reference import Reference
from synth_assets.schema.columns import Role

RESULT_COLUMNS = (
    "metric", "column_name", "value", "value_low", "value_high", "reference", "reference_low", "reference_high",
)  # fmt: skip
"""Columns of a frame of metric results.

`column_name` is a column, 'one, other' for a pair, the name of a constraint, or None for the whole table. `value_low`
to `value_high` is the 95% confidence interval of `value`, NaN where there is none. `reference` is the mean score of
real rows at the same sizes, `reference_low` to `reference_high` its 95% prediction interval.
"""

ResultRow = Mapping[str, Any]

NUMERIC: tuple[Role, ...] = ("number",)
CATEGORICAL: tuple[Role, ...] = ("label",)
ANY: tuple[Role, ...] = (*NUMERIC, *CATEGORICAL)
EVERY: tuple[Role, ...] = (*ANY, "text", "id")
TEXT: tuple[Role, ...] = ("text",)
KEY: tuple[Role, ...] = ("id",)

Goal = Literal["maximize", "minimize"]

Step = Callable[[int, int, str], None]
"""Called between the steps of a computation that may take long: how many have ended, of how many, and what they are."""

# Goal, best and worst value of a metric.
SHARE: tuple[Goal, float, float] = ("minimize", 0.0, 1.0)
AREA: tuple[Goal, float, float] = ("minimize", 0.5, 1.0)
SIMILARITY: tuple[Goal, float, float] = ("maximize", 1.0, 0.0)
DISTANCE: tuple[Goal, float, float] = ("minimize", 0.0, float("inf"))


def no_step(ended: int, count: int, steps: str) -> None:
    """Ignore a step."""
    del ended, count, steps


@dataclass(frozen=True)
class Metric:
    """A metric of synthetic rows.

    Parameters
    ----------
    name : str
        Name in stored results: the field's standard term.
    title : str
        Heading or axis label.
    goal : {"maximize", "minimize"}
        Whether greater or smaller values are better.
    best, worst : float
        Ends of its range; infinite where it has none.
    roles : tuple of str
        Roles of the columns that it is computed for; without such a column in the table, it is not computed.
    description : str
        How it is computed and what a value means, in one or two sentences.
    citation : str
        The paper with its section, or the library with its name for the metric.
    compute : callable
        Takes `Samples` and returns rows of results, or `NotComputed` where there is no number.
    tolerance : float, optional
        How much worse than real rows a sample may be, in the metric's unit; None where no gate uses the metric.
    signed : bool
        Whether values may lie as far on the other side of the best as on this one.
    is_count : bool
        Whether it counts rare rows, so that the interval of its reference is skewed already.
    heading : str
        What `column_name` of its results names.
    """

    name: str
    title: str
    goal: Goal
    best: float
    worst: float
    roles: tuple[Role, ...]
    description: str
    citation: str
    compute: Callable[..., Iterable["ResultRow | NotComputed"]]
    tolerance: float | None = None
    signed: bool = False
    is_count: bool = False
    heading: str = "Column"

    @property
    def better(self) -> str:
        """'higher' or 'lower'."""
        return "higher" if self.goal == "maximize" else "lower"

    @property
    def possible(self) -> tuple[float, float]:
        """The least and the greatest value that it can have; an area under a ROC curve is best at 0.5."""
        ends = sorted((self.best, self.worst))
        if self.signed:
            return -ends[1], ends[1]
        return (0.0, 1.0) if ends == [0.5, 1.0] else (ends[0], ends[1])


@dataclass(frozen=True)
class NotComputed:
    """A metric that has no value for a column, a pair of columns, or, if `column_name` is None, the table."""

    metric: str
    column_name: str | None
    reason: str


def result_row(
    metric: str,
    column_name: str | None,
    value: float,
    reference: Reference,
    interval: tuple[float, float] = (float("nan"), float("nan")),
) -> ResultRow:
    """Return one row of a frame of metric results."""
    cells = (metric, column_name, float(value), *interval, reference.mean, reference.low, reference.high)
    return dict(zip(RESULT_COLUMNS, cells, strict=True))


def result_frame(rows: Iterable[ResultRow | NotComputed]) -> pd.DataFrame:
    """Return rows of results as a frame, with the same dtypes however few rows there are.

    What is not computed is left out.
    """
    dtypes = {name: "str" if name in ("metric", "column_name") else "float64" for name in RESULT_COLUMNS}
    computed = [row for row in rows if not isinstance(row, NotComputed)]
    return pd.DataFrame(computed, columns=list(RESULT_COLUMNS)).astype(dtypes)
