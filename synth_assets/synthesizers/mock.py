"""Mock rows: drawn from a schema, its limits, labels and constraints alone. They imitate no table."""

import zlib
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import pandas as pd

from synth_assets.schema.columns import TableError
from synth_assets.schema.constraints import Constraint, check_constraints, violations
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import Log, silent

METADATA_KEY = "synth_assets.mock"
"""Key of `notice` in the metadata of a Parquet file, and in `DataFrame.attrs`."""

BATCH_ROWS = 10_000
"""Rows that are drawn together, from a seed of their own, so that more rows begin with fewer."""

LEAST_SHARE, MIN_DRAWN = 0.001, 100_000
"""Drawing ends with an error if, of so many rows or more, less than this share meets the constraints."""

MIN_DRAWN_FROM_BASE = 1_000
"""The same number, where a base model chooses the values."""


def mock_rows(
    schema: TableSchema,
    n: int,
    *,
    seed: int = 0,
    constraints: Sequence[Constraint] = (),
    base: str | None = None,
    name: str = "",
    log: Log = silent,
) -> pd.DataFrame:
    """Draw rows from a schema alone.

    Parameters
    ----------
    schema : TableSchema
        The columns.
    n : int
        Number of rows.
    seed : int
        The same seed and arguments give the same rows; more rows begin with fewer.
    constraints : sequence of Constraint
        Conditions that every row satisfies: other rows are drawn again.
    base : str, optional
        A pretrained language model, as a folder or a name on the model hub, that chooses the values. By default, values
        are uniform and columns are independent.
    name : str
        Name of the table, for the base's prompt.
    log : callable
        Receives lines of progress.

    Returns
    -------
    pandas.DataFrame
        n rows in the schema's columns and dtypes; `notice` is in its `attrs`.

    Raises
    ------
    TableError
        If no value of a column is within its limits, or fewer than `LEAST_SHARE` of the rows meet the constraints.
    ModelError
        If the base cannot be loaded, or has no room for a row.
    """
    check_constraints(constraints, schema)

    def draw(batch: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                column.name: column.mock(
                    BATCH_ROWS,
                    np.random.default_rng((seed, batch, zlib.crc32(column.name.encode()))),
                    offset=batch * BATCH_ROWS,
                )
                for column in schema.columns
            }
        )

    if base is None:
        rows = _accepted(draw, n, schema, constraints, MIN_DRAWN)
    else:
        from synth_assets.synthesizers.language_model.untrained import UntrainedModel

        _accepted(draw, 1, schema, constraints, MIN_DRAWN)  # finds in a moment that constraints cannot be met
        model = UntrainedModel(schema, base, seed=seed, name=name)
        rows = _accepted(lambda batch: model.draw(batch, log=log), n, schema, constraints, MIN_DRAWN_FROM_BASE)
    rows.attrs[METADATA_KEY] = notice(seed, base)
    return rows


def notice(seed: int, base: str | None) -> str:
    """Return a sentence that says what mock rows are, and how they were drawn."""
    how = "uniformly and each column by itself" if base is None else f"by the base model {base}, which has seen no row"
    return (
        f"Mock data: drawn from the schema alone, {how} (synth-assets {version('synth-assets')}, seed {seed}). "
        "No real row was read, and nothing can be learned from these rows about real ones."
    )


def _accepted(
    draw: Callable[[int], pd.DataFrame], n: int, schema: TableSchema, constraints: Sequence[Constraint], min_drawn: int
) -> pd.DataFrame:
    """Return the first n of the rows, drawn batch by batch, that meet the constraints."""
    parts: list[pd.DataFrame] = []
    accepted = drawn = 0
    violated = pd.Series(0, index=[constraint.name for constraint in constraints])
    while accepted < n:
        if drawn >= min_drawn and accepted < LEAST_SHARE * drawn:
            raise TableError(_unmet(constraints, violated, accepted, drawn))
        rows = draw(len(parts))
        drawn += len(rows)
        if constraints:
            found = violations(rows, constraints, schema)
            violated += found.sum()
            rows = rows[~found.any(axis="columns")]
        accepted += len(rows)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True).head(n)


def _unmet(constraints: Sequence[Constraint], violated: pd.Series, accepted: int, drawn: int) -> str:
    sql = {constraint.name: constraint.sql for constraint in constraints}
    most = violated.sort_values(ascending=False, kind="stable")
    first = most.index[0]
    others = ", ".join(f"{name!r} by {drawn - count:,}" for name, count in most.iloc[1:].items() if count)
    return (
        f"mock rows: the constraint {first!r} ({sql[first]}) is met by {drawn - most[first]:,} of {drawn:,} rows that "
        f"were drawn within the limits and labels of the columns{f', {others}' if others else ''}, and all constraints "
        f"together by {accepted:,}; at least one row in {round(1 / LEAST_SHARE):,} is expected. State limits of the "
        "columns that make it likely, or remove the constraint."
    )
