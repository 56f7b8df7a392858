"""Validity of single cells and rows: missing, out of range or off the grid, and violated constraints."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import ANY, EVERY, NUMERIC, SHARE, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import MOST_ROWS, Samples
from synth_assets.schema.columns import Column, TableError
from synth_assets.schema.constraints import DECIMALS, Constraint, violations
from synth_assets.schema.table import OTHER

CONSTRAINT_VIOLATIONS = "constraint_violations"

GRID_SHARE = 0.999
"""Share of the real values that lie on the grid of a column."""

_LARGEST = 2.0**63
"""Numbers from here on are compared with no grid: steps are counted in 64 bits."""

_TIME_STEPS = tuple(seconds * 1_000_000 for seconds in (86_400, 3_600, 1_800, 900, 600, 300, 60, 30, 10, 5, 1))
"""Steps of a grid of times, in microseconds."""


def _shares(samples: Samples, metric: str, name: str, synthetic: np.ndarray, real: np.ndarray) -> ResultRow:
    """Compare the share of invalid synthetic rows, all of them, with the share in at most as many real rows."""
    scores = [float(real[split.train[: len(synthetic)]].mean()) for split in samples.splits]
    return result_row(metric, name, float(synthetic.mean()), reference_of(scores))


def _by_column(
    metric: str,
    is_invalid: Callable[[pd.Series, pd.Series, Column, Samples], np.ndarray],
    applies: Callable[[Column], bool],
) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        short, made = samples.thinned(MOST_ROWS), samples.typed["synthetic"]
        for column in samples.schema.columns:
            if column.name in made and applies(column):
                real = pd.concat([short.typed[part][column.name] for part in ("train", "holdout")], ignore_index=True)
                invalid = (is_invalid(values, real, column, samples) for values in (made[column.name], real))
                yield _shares(short, metric, column.name, *invalid)

    return compute


def _missing(values: pd.Series, _: pd.Series, column: Column, samples: Samples) -> np.ndarray:
    return np.asarray(values.isna())


def _out_of_range(values: pd.Series, _: pd.Series, column: Column, samples: Samples) -> np.ndarray:
    invalid = values.notna().to_numpy() & ~column.in_range(values)
    if column.type == "categorical" and samples.schema.rare_labels == "other":
        invalid &= (values != OTHER).to_numpy(dtype=bool, na_value=False)
    return np.asarray(invalid)


def _off_grid(values: pd.Series, real: pd.Series, column: Column, samples: Samples) -> np.ndarray:
    """Return which values are not a whole number of grid steps from the least real one; missing ones are on the grid.

    The grid is the coarsest one that 99.9% of the real values keep.
    """
    if column.type in ("date", "datetime"):
        stamps = [part.dropna().to_numpy("datetime64[us]").astype("int64") for part in (real, values)]
        if not len(stamps[0]):
            return np.zeros(len(values), bool)
        step = next((each for each in _TIME_STEPS if (stamps[0] % each == 0).mean() >= GRID_SHARE), 1)
        off = np.zeros(len(values), bool)
        off[values.notna().to_numpy()] = stamps[1] % step != 0
        return off
    known = column.comparable(real).dropna().to_numpy("float64")
    if not len(known) or np.abs(known).max() >= _LARGEST:
        return np.zeros(len(values), bool)
    # A float represents no more than 15 digits.
    most = DECIMALS if not known.any() else min(DECIMALS, 15 - int(np.floor(np.log10(np.abs(known).max()))))
    decimals = next((d for d in range(max(1, most)) if (np.round(known, d) == known).mean() >= GRID_SHARE), None)
    if decimals is None:  # real values have no grid
        return np.zeros(len(values), bool)
    units = np.unique(np.rint(known[np.round(known, decimals) == known] * 10**decimals).astype(np.int64))
    step = max(int(np.gcd.reduce(np.diff(units))), 1) if len(units) > 1 else 1
    scaled = column.comparable(values).to_numpy("float64") * 10**decimals
    nearest = np.rint(scaled)
    on_grid: np.ndarray = np.isclose(scaled, nearest, rtol=1e-12, atol=1e-6) & ((nearest - units[0]) % step == 0)
    return np.asarray(~on_grid & ~np.isnan(scaled))


def _constraint_violations(
    samples: Samples, constraints: Sequence[Constraint] = ()
) -> Iterator[ResultRow | NotComputed]:
    short = samples.thinned(MOST_ROWS)
    made = samples.typed["synthetic"]
    real = pd.concat([short.typed[part] for part in ("train", "holdout")], ignore_index=True)
    schema = samples.schema.select(list(made))
    for constraint in constraints:
        try:
            both = [violations(rows, [constraint], schema)[constraint.name].to_numpy() for rows in (made, real)]
        except TableError as error:  # it names a column that is not published
            yield NotComputed(CONSTRAINT_VIOLATIONS, constraint.name, str(error))
        else:
            yield _shares(short, CONSTRAINT_VIOLATIONS, constraint.name, *both)


METRICS = (
    Metric(
        "missing_cells",
        "Missing cells of a column",
        *SHARE,
        EVERY,
        "Share of the synthetic cells that are missing, of a column that is not nullable.",
        "A count",
        _by_column("missing_cells", _missing, lambda column: not column.nullable),
        tolerance=0.0,
    ),
    Metric(
        "out_of_range",
        "Cells of a column out of range",
        *SHARE,
        ANY,
        "Share of the synthetic cells with a label that the schema lacks, or a number outside the schema's limits.",
        "A count",
        _by_column("out_of_range", _out_of_range, lambda column: column.role in ANY),
        tolerance=0.0,
    ),
    Metric(
        "off_grid",
        "Numbers of a column off the grid",
        *SHARE,
        NUMERIC,
        "Share of the synthetic numbers that are not a whole number of steps from the least real one; the step is the "
        "greatest common divisor of the differences between real values, of which 99.9% lie on the grid. Times have "
        "steps of a day, an hour, a minute, a second, or parts of these.",
        "A count",
        _by_column("off_grid", _off_grid, lambda column: column.is_numeric),
        # A model that generates digits may end a number early.
        tolerance=0.01,
    ),
    Metric(
        CONSTRAINT_VIOLATIONS,
        "Rows that violate the constraint",
        *SHARE,
        EVERY,
        "Share of the synthetic rows for which the constraint is not true.",
        "A count",
        _constraint_violations,
        # The real table satisfies a constraint except for its own errors: one row in fifty more than there.
        tolerance=0.02,
    ),
)
