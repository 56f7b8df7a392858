"""SQL conditions that rows should satisfy: checked against a schema, and evaluated on rows."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synth_assets.schema.columns import Datetime, TableError
from synth_assets.schema.table import TableSchema
from synth_assets.storage.sql import quoted

if TYPE_CHECKING:
    import duckdb

DECIMALS = 9
"""Numbers are compared as decimals of so many places: 0.1 + 0.2 is no more than 0.3."""

_TYPES = {"DOUBLE": f"DECIMAL(27, {DECIMALS})"}


class Constraint(BaseModel):
    """A condition that rows of a table should satisfy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the constraint.")
    sql: str = Field(min_length=1, description="Condition on the raw columns, in DuckDB's SQL.")
    description: str = Field(default="", description="Meaning, in a sentence.")

    @field_validator("name")
    @classmethod
    def _is_identifier(cls, value: str) -> str:
        if not value.isidentifier():
            raise ValueError(
                f"found {value!r}; expected a name of letters, digits and '_' that does not begin with a digit"
            )
        return value


def check_constraints(constraints: Sequence[Constraint], schema: TableSchema) -> None:
    """Refuse constraints that are not conditions on the columns of a table. No row is needed.

    Parameters
    ----------
    constraints : sequence of Constraint
        The constraints.
    schema : TableSchema
        The table's schema.

    Raises
    ------
    TableError
        If a name is given twice, or a constraint cannot be read, names no column, or is neither true nor false.
    """
    names = [constraint.name for constraint in constraints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"constraints: {', '.join(twice)} stated twice; every constraint needs its own name.")
    with closing(_connect(schema)) as connection:
        columns = ", ".join(f"{quoted(column.name)} {_type_of(column.sql_type)}" for column in schema.columns)
        connection.execute(f"CREATE TABLE rows ({columns})")
        for constraint in constraints:
            _violations(connection, constraint)


def violations(rows: pd.DataFrame, constraints: Sequence[Constraint], schema: TableSchema) -> pd.DataFrame:
    """Find the rows that violate each constraint.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows in the schema's columns and dtypes. A column that they lack is missing in every row.
    constraints : sequence of Constraint
        The constraints.
    schema : TableSchema
        The table's schema.

    Returns
    -------
    pandas.DataFrame
        n booleans for each constraint, by its name. A row violates a constraint that is not true of it. Where a cell
        is missing or infinite, a constraint may be neither true nor false; that is no violation in a row in which a
        nullable column is empty, as with a CHECK of SQL.

    Raises
    ------
    TableError
        As `check_constraints`.
    """
    found = {}
    present = [name for name in schema.names if name in rows]
    nullable = [column.name for column in schema.columns if column.nullable and column.name in rows]
    may_be_unknown = rows[nullable].isna().any(axis="columns").to_numpy() | (len(present) < len(schema.names))
    with closing(_connect(schema)) as connection:
        connection.register("given", rows[present])
        # A value that its type cannot hold, such as an infinite decimal, counts as missing.
        columns = ", ".join(
            f"TRY_CAST({quoted(c.name) if c.name in rows else 'NULL'} AS {_type_of(c.sql_type)}) AS {quoted(c.name)}"
            for c in schema.columns
        )
        connection.execute(f"CREATE TABLE rows AS SELECT {columns} FROM given")
        for constraint in constraints:
            is_false, is_unknown = _violations(connection, constraint)
            found[constraint.name] = is_false | (is_unknown & ~may_be_unknown)
    return pd.DataFrame(found, index=rows.index)


def count_violations(
    connection: "duckdb.DuckDBPyConnection", source: str, constraints: Sequence[Constraint], schema: TableSchema
) -> dict[str, int]:
    """Count the rows of a relation of a connection, in SQL, that violate each constraint, as `violations` does.

    Raises
    ------
    TableError
        As `check_constraints`.
    """
    if not constraints:
        return {}
    check_constraints(constraints, schema)
    columns = ", ".join(
        f"TRY_CAST({quoted(c.name)} AS {_type_of(c.sql_type)}) AS {quoted(c.name)}" for c in schema.columns
    )
    nullable = [f"{quoted(column.name)} IS NULL" for column in schema.columns if column.nullable]
    may_be_unknown = " OR ".join(nullable) or "false"
    counts = ", ".join(f"count(*) FILTER (NOT coalesce(({each.sql}), {may_be_unknown}))" for each in constraints)
    found = connection.execute(f"SELECT {counts} FROM (SELECT {columns} FROM {source}) AS rows").fetchone() or ()
    return {each.name: int(count) for each, count in zip(constraints, found, strict=True)}


def timezone_of(schema: TableSchema) -> str:
    """Return the zone, as DuckDB names it, whose hours and dates times with a zone have: theirs, or UTC of several."""
    zones = {column.timezone for column in schema.columns if isinstance(column, Datetime) and column.timezone}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    return f"GMT{zone}" if zone[0] in "+-" else zone  # of UTC+05:30, DuckDB ignores the minutes


def _type_of(sql_type: str) -> str:
    return _TYPES.get(sql_type, sql_type)


def _connect(schema: TableSchema) -> "duckdb.DuckDBPyConnection":
    import duckdb

    # Constraints come from a file: they may read the rows of the query and nothing else on the machine.
    connection = duckdb.connect(config={"enable_external_access": False})
    connection.execute(f"SET TimeZone = '{timezone_of(schema).replace(chr(39), chr(39) * 2)}'")
    connection.execute("SET lock_configuration = true")
    return connection


def _violations(connection: "duckdb.DuckDBPyConnection", constraint: Constraint) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each row, whether a constraint is false, and whether it is neither true nor false."""
    import duckdb

    condition = constraint.sql
    try:
        relation = connection.sql(f"SELECT ({condition}) AS kept FROM rows")
        kept = relation.types[0]
        if len(relation.types) == 1 and kept == "BOOLEAN":
            values = connection.execute(f"SELECT ({condition}) AS kept FROM rows").fetchnumpy()["kept"]
            is_unknown: np.ndarray = np.ma.getmaskarray(values)
            is_true: np.ndarray = np.ma.filled(values, False).astype(bool)
            return ~is_true & ~is_unknown, is_unknown
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise TableError(
            f"constraint {constraint.name!r} ({condition}) cannot be evaluated: {reason}. Expected a condition on "
            'columns, such as "Diameter" <= "Length".'
        ) from error
    raise TableError(
        f"constraint {constraint.name!r} ({condition}) has the type {kept}; expected a condition, which is true or "
        "false of a row."
    )
