"""The checks of `validation`, counted by DuckDB over Parquet files of any size, in bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from synth_assets.schema.columns import MAX_LISTED, Column, Id, OrderedColumn, TableError, TimeColumn
from synth_assets.schema.constraints import Constraint, count_violations, timezone_of
from synth_assets.schema.table import TableSchema
from synth_assets.schema.validation import (
    missing_cells,
    outside_limits,
    problems_of_shape,
    repeated_keys,
    unknown_labels,
    wrong_type,
)
from synth_assets.storage.sql import quoted

if TYPE_CHECKING:
    import duckdb

MEMORY_MB = 1000
"""Memory of a count; what needs more is spilled to the disk."""

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")

_TYPES = {
    **dict.fromkeys(_INTEGERS, "integer"),
    "FLOAT": "float",
    "DOUBLE": "float",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "datetime",
    "TIMESTAMP_S": "datetime",
    "TIMESTAMP_MS": "datetime",
    "TIMESTAMP_NS": "datetime",
    "TIMESTAMP WITH TIME ZONE": "datetime in a time zone",
}
"""The type of a column that holds values of a type of DuckDB; of any other one, 'text'."""


def validate_files(
    files: Sequence[Path],
    schema: TableSchema,
    constraints: Sequence[Constraint] = (),
    *,
    minimum_rows: int = 1,
    memory_mb: int = MEMORY_MB,
) -> dict[str, list[str]]:
    """Check rows in Parquet files against a schema, in memory that does not grow with their number.

    Parameters
    ----------
    files : sequence of pathlib.Path
        The files of one table, such as the parts of its samples of all days: keys are unique in all of them together.
    schema : TableSchema
        The schema of their columns.
    constraints : sequence of Constraint
        Conditions on every row.
    minimum_rows : int
        Least number of rows.
    memory_mb : int
        Memory of DuckDB; what needs more, such as the keys of a billion rows, is spilled to temporary files.

    Returns
    -------
    dict
        The problems by check, as in `validation.validate`, and the violated 'constraints'.

    Raises
    ------
    TableError
        If a file cannot be read, or a constraint is invalid.
    """
    import duckdb

    if not files:
        raise TableError("there is no file to check; expected at least one.")
    try:
        with _connected(files, schema, memory_mb) as connection:
            described = connection.execute("DESCRIBE files").fetchall()
            types = {str(row[0]): str(row[1]) for row in described}
            return _problems(connection, types, schema, constraints, minimum_rows)
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise TableError(
            f"the {len(files):,} files of {files[0].parent} cannot be checked: {reason}. Expected Parquet files of the "
            "same columns, and room for temporary files."
        ) from error


def _problems(
    connection: "duckdb.DuckDBPyConnection",
    types: dict[str, str],
    schema: TableSchema,
    constraints: Sequence[Constraint],
    minimum_rows: int,
) -> dict[str, list[str]]:
    present = [column for column in schema.columns if column.name in types]
    readable = {column.name: _is_readable(column, types[column.name]) for column in present}
    wanted = ["count(*)"]
    for column in present:
        wanted.append(f"count(*) FILTER ({_is_missing(column, types)})")
        condition = _valid(column) if readable[column.name] else "true"
        wanted.append(f"count(*) FILTER (NOT {_is_missing(column, types)} AND NOT ({condition}))")
    rows, *counts = connection.execute(f"SELECT {', '.join(wanted)} FROM files").fetchone() or (0,)
    problems = problems_of_shape(list(types), rows, schema, minimum_rows)
    for column, empty, invalid in zip(present, counts[::2], counts[1::2], strict=True):
        if empty and not column.nullable:
            problems["no_missing_values"].append(missing_cells(column, empty, rows))
        if not readable[column.name]:
            if empty < rows:  # of an empty column, the type says nothing
                problems["types"].append(wrong_type(column, _TYPES.get(types[column.name], "text")))
        elif isinstance(column, Id):
            if not column.repeats and (repeated := rows - empty - _count_keys(connection, column)):
                problems["keys"].append(repeated_keys(column, repeated, rows))
        elif invalid and column.role == "label":
            labels = _unknown_labels(connection, column)
            problems["labels"].append(unknown_labels(column, labels, invalid, rows))
        elif invalid:
            problems["ranges"].append(outside_limits(column, invalid, rows))
    problems["constraints"] = []
    if len(present) == len(schema.columns) and all(readable.values()):
        violated = count_violations(connection, "files", constraints, schema)
        problems["constraints"] = [
            f"{each.name} ({each.sql}): {violated[each.name]:,} of {rows:,} rows violate it; fit the model for longer, "
            "or correct the constraint"
            for each in constraints
            if violated[each.name]
        ]
    return problems


def _is_readable(column: Column, type_: str) -> bool:
    found = _TYPES.get(type_, "text")
    match column.type:
        case "integer" | "float" | "boolean":
            return found == column.type
        case "date":
            return found in ("date", "datetime")
        case "datetime":
            return found in (("datetime in a time zone",) if column.timezone else ("date", "datetime"))
        case "id" if column.sql_type == "BIGINT":
            return found == "integer"
        case _:
            return type_ == "VARCHAR"


def _is_missing(column: Column, types: dict[str, str]) -> str:
    name = quoted(column.name)
    return f"({name} IS NULL OR isnan({name}))" if types[column.name] in ("FLOAT", "DOUBLE") else f"({name} IS NULL)"


def _valid(column: Column) -> str:
    """Return the SQL of what is true of a value that is in range, as `Column.in_range` computes it."""
    name = quoted(column.name)
    if column.type == "categorical":
        return f"{name} IN ({', '.join(map(_literal, column.labels))})"
    if not isinstance(column, OrderedColumn):
        return "true"
    value = f"epoch_us({name}::TIMESTAMP) / 86400e6" if isinstance(column, TimeColumn) else f"{name}::DOUBLE"
    if column.type == "datetime" and column.timezone:
        value = f"epoch_us({name}) / 86400e6"
    limits = [
        f"{value} {sign} {limit!r}::DOUBLE"
        for sign, limit in ((">=", column.limit("minimum")), ("<=", column.limit("maximum")))
        if limit is not None
    ]
    return " AND ".join([f"isfinite({value})", *limits])


def _count_keys(connection: "duckdb.DuckDBPyConnection", column: Column) -> int:
    name = quoted(column.name)
    # Groups are spilled to the disk where they need more than the memory; `count(DISTINCT)` is not.
    keys = f"SELECT {name} FROM files WHERE {name} IS NOT NULL GROUP BY {name}"
    found = connection.execute(f"SELECT count(*) FROM ({keys})").fetchone()
    return int(found[0]) if found else 0


def _unknown_labels(connection: "duckdb.DuckDBPyConnection", column: Column) -> list[str]:
    name = quoted(column.name)
    found = connection.execute(
        f"SELECT {name} FROM files WHERE NOT ({_valid(column)}) GROUP BY {name} ORDER BY count(*) DESC, {name}"
    )
    return [str(row[0]) for row in found.fetchmany(100 * MAX_LISTED)]


@contextmanager
def _connected(files: Sequence[Path], schema: TableSchema, memory_mb: int) -> "Iterator[duckdb.DuckDBPyConnection]":
    import duckdb

    with tempfile.TemporaryDirectory() as spilled, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{memory_mb}MB'")
        connection.execute(f"SET temp_directory = {_literal(spilled)}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(f"SET TimeZone = {_literal(timezone_of(schema))}")
        # Constraints come from a file: they may read these rows and nothing else on the machine.
        listed = ", ".join(_literal(str(file)) for file in files)
        connection.execute(f"SET allowed_paths = [{listed}]")
        connection.execute(f"SET allowed_directories = [{_literal(spilled)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        connection.execute(f"CREATE VIEW files AS SELECT * FROM read_parquet([{listed}])")
        yield connection


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
