"""SQL conditions that rows should satisfy: checked against a schema, and evaluated on rows."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synth_assets.schema.columns import TableError
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
    with closing(_connect()) as connection:
        columns = ", ".join(f"{quoted(column.name)} {_type_of(column.sql_type)}" for column in schema.columns)
        connection.execute(f"CREATE TABLE rows ({columns})")
        for constraint in constraints:
            _violations(connection, constraint)


def violations(rows: pd.DataFrame, constraints: Sequence[Constraint], schema: TableSchema) -> pd.DataFrame:
    """Find the rows that violate each constraint.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows in the schema's columns and dtypes.
    constraints : sequence of Constraint
        The constraints.
    schema : TableSchema
        The table's schema.

    Returns
    -------
    pandas.DataFrame
        n booleans for each constraint, by its name. A row violates a constraint unless it is true of the row; where a
        cell in it is missing or infinite, it is neither true nor false.

    Raises
    ------
    TableError
        As `check_constraints`.
    """
    found = {}
    with closing(_connect()) as connection:
        connection.register("given", rows[schema.names])
        # A value that its type cannot hold, such as an infinite decimal, counts as missing.
        columns = ", ".join(
            f"TRY_CAST({quoted(c.name)} AS {_type_of(c.sql_type)}) AS {quoted(c.name)}" for c in schema.columns
        )
        connection.execute(f"CREATE TABLE rows AS SELECT {columns} FROM given")
        for constraint in constraints:
            found[constraint.name] = _violations(connection, constraint)
    return pd.DataFrame(found, index=rows.index)


def _type_of(sql_type: str) -> str:
    return _TYPES.get(sql_type, sql_type)


def _connect() -> "duckdb.DuckDBPyConnection":
    import duckdb

    # Constraints come from a file: they may read the rows of the query and nothing else on the machine.
    return duckdb.connect(config={"enable_external_access": False, "lock_configuration": True})


def _violations(connection: "duckdb.DuckDBPyConnection", constraint: Constraint) -> np.ndarray:
    import duckdb

    condition = constraint.sql
    try:
        relation = connection.sql(f"SELECT ({condition}) AS kept FROM rows")
        kept = relation.types[0]
        if len(relation.types) == 1 and kept == "BOOLEAN":
            frame = connection.execute(f"SELECT coalesce(({condition}), false) AS kept FROM rows").df()
            violated: np.ndarray = ~frame["kept"].to_numpy(dtype=bool)
            return violated
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
