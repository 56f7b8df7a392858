"""Could these rows exist? Cells that are missing, out of range or off their grid, and constraints that rows violate."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.metrics import evidence, evidence_table
from synth_assets.evaluation.reference import SPLITS, floor_of, real_splits
from synth_assets.evaluation.rows import require_columns
from synth_assets.schema.constraints import DECIMALS, Constraint, violations
from synth_assets.schema.table import TableSchema

MISSING, OUT_OF_RANGE, OFF_GRID = "missing_cells", "out_of_range", "off_grid"
CONSTRAINTS = "constraint_violations"


def validity_table(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    schema: TableSchema,
    constraints: Sequence[Constraint] = (),
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Count what could not exist in a synthetic sample, beside what the real table has of it.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Every synthetic row is looked at: one that cannot exist is as bad in
        a million rows.
    schema : TableSchema
        The raw table's schema.
    constraints : sequence of Constraint
        What rows keep to.
    seed : int
        Of the splits of the real table.

    Returns
    -------
    pandas.DataFrame
        Evidence: the shares of cells that are missing, out of range and off the grid for each column, and the share of
        rows that violate each constraint. A floor is the real table's own share, with the interval of the shares
        of as many of its rows as are synthetic, but no more than are train rows.

    Raises
    ------
    ForeseenError
        If a set has no row, lacks a column or has one of another type, or a constraint cannot be evaluated.
    """
    require_columns(schema, synthetic=synthetic, train=train, held_out=held_out)
    for name, rows in {"synthetic": synthetic, "train": train, "held-out": held_out}.items():
        if rows.empty:
            raise ForeseenError(f"there are no {name} rows; validity is measured on one at least. Draw a sample first.")
    real = pd.concat([train, held_out], ignore_index=True)
    measured = _faults(synthetic, real, schema, constraints)
    of_real = _faults(real, real, schema, constraints)
    numbers = pd.DataFrame({"at": np.arange(len(real))})
    drawn = [
        split.train["at"].to_numpy()[: len(synthetic)]
        for split in real_splits(numbers.head(len(train)), numbers.tail(len(held_out)), splits=SPLITS, seed=seed)
    ]
    return evidence_table(
        evidence(
            metric,
            column,
            float(faults.mean()),
            floor_of([float(of_real[metric, column][places].mean()) for places in drawn]),
        )
        for (metric, column), faults in measured.items()
    )


def _faults(
    rows: pd.DataFrame, real: pd.DataFrame, schema: TableSchema, constraints: Sequence[Constraint]
) -> dict[tuple[str, str], np.ndarray]:
    found = {}
    for column in schema.columns:
        values = rows[column.name]
        missing = values.isna().to_numpy()
        found[MISSING, column.name] = missing
        found[OUT_OF_RANGE, column.name] = ~missing & ~column.in_range(values)
        if column.is_numeric:
            found[OFF_GRID, column.name] = ~missing & ~_on_grid(values, real[column.name])
    broken = violations(rows, constraints, schema)
    for constraint in constraints:
        found[CONSTRAINTS, constraint.name] = broken[constraint.name].to_numpy()
    return found


def _on_grid(values: pd.Series, real: pd.Series) -> np.ndarray:
    """Whether values are as many whole steps from the least real one as real values are: the steps' common divisor."""
    known = np.unique(real.to_numpy("float64", na_value=np.nan))
    known = known[np.isfinite(known)]
    decimals = next((d for d in range(DECIMALS) if np.array_equal(np.round(known, d), known)), None)
    numbers = values.to_numpy("float64", na_value=np.nan)
    if decimals is None or not len(known):  # real values keep to no grid
        return np.ones(len(numbers), bool)
    units = np.rint(known * 10**decimals).astype(np.int64)
    step = max(int(np.gcd.reduce(np.diff(units))), 1) if len(units) > 1 else 1
    finite = np.where(np.isfinite(numbers), numbers, 0.5 / 10**decimals)
    nearest = np.rint(finite * 10**decimals)
    exact = np.isclose(finite * 10**decimals, nearest, rtol=1e-12, atol=1e-6)
    on_grid: np.ndarray = exact & ((nearest - units[0]) % step == 0)
    return on_grid
