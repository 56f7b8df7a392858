"""Validity of single cells and rows: missing, out of range or off the grid, and violated constraints."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import ANY, NUMERIC, SHARE, Metric, ResultRow, result_row
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Column
from synth_assets.schema.constraints import DECIMALS, Constraint, violations

CONSTRAINT_VIOLATIONS = "constraint_violations"


def _shares(samples: Samples, metric: str, name: str, synthetic: np.ndarray, real: np.ndarray) -> ResultRow:
    """Compare the share of invalid synthetic rows, all of them, with the share in as many real rows."""
    scores = [float(real[split.train[: len(synthetic)]].mean()) for split in samples.splits]
    return result_row(metric, name, float(synthetic.mean()), reference_of(scores))


def _by_column(
    metric: str, is_invalid: Callable[[pd.Series, pd.Series, Column], np.ndarray], types: tuple[str, ...]
) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        for column in samples.schema.columns:
            if column.type in types:
                real = samples.real[column.name]
                invalid = (is_invalid(rows, real, column) for rows in (samples.synthetic[column.name], real))
                yield _shares(samples, metric, column.name, *invalid)

    return compute


def _missing(values: pd.Series, _: pd.Series, column: Column) -> np.ndarray:
    return np.asarray(values.isna())


def _out_of_range(values: pd.Series, _: pd.Series, column: Column) -> np.ndarray:
    return np.asarray(values.notna() & ~column.in_range(values))


def _off_grid(values: pd.Series, real: pd.Series, _: Column) -> np.ndarray:
    """Return which values are not a whole number of grid steps from the least real one."""
    known = np.unique(real.to_numpy("float64"))
    decimals = next((d for d in range(DECIMALS) if np.array_equal(np.round(known, d), known)), None)
    if decimals is None:  # real values have no grid
        return np.zeros(len(values), bool)
    units = np.rint(known * 10**decimals).astype(np.int64)
    step = max(int(np.gcd.reduce(np.diff(units))), 1) if len(units) > 1 else 1
    scaled = values.to_numpy("float64") * 10**decimals
    nearest = np.rint(scaled)
    on_grid: np.ndarray = np.isclose(scaled, nearest, rtol=1e-12, atol=1e-6) & ((nearest - units[0]) % step == 0)
    return ~on_grid


def _constraint_violations(samples: Samples, constraints: Sequence[Constraint] = ()) -> Iterator[ResultRow]:
    synthetic, real = (violations(rows, constraints, samples.schema) for rows in (samples.synthetic, samples.real))
    for constraint in constraints:
        both = (rows[constraint.name].to_numpy() for rows in (synthetic, real))
        yield _shares(samples, CONSTRAINT_VIOLATIONS, constraint.name, *both)


METRICS = (
    Metric(
        "missing_cells",
        "Missing cells of a column",
        *SHARE,
        ANY,
        "Share of the synthetic cells that are missing.",
        "A count",
        _by_column("missing_cells", _missing, ANY),
        tolerance=0.0,
    ),
    Metric(
        "out_of_range",
        "Cells of a column out of range",
        *SHARE,
        ANY,
        "Share of the synthetic cells with a label that the schema lacks, or a number outside the schema's limits.",
        "A count",
        _by_column("out_of_range", _out_of_range, ANY),
        tolerance=0.0,
    ),
    Metric(
        "off_grid",
        "Numbers of a column off the grid",
        *SHARE,
        NUMERIC,
        "Share of the synthetic numbers that are not a whole number of steps from the least real one; the step is the "
        "greatest common divisor of the differences between real values.",
        "A count",
        _by_column("off_grid", _off_grid, NUMERIC),
        # A model that generates digits may end a number early.
        tolerance=0.01,
    ),
    Metric(
        CONSTRAINT_VIOLATIONS,
        "Rows that violate the constraint",
        *SHARE,
        ANY,
        "Share of the synthetic rows for which the constraint is not true.",
        "A count",
        _constraint_violations,
        # The real table satisfies a constraint except for its own errors: one row in fifty more than there.
        tolerance=0.02,
    ),
)
