"""The checks of a stored table against its schema."""

import re
from collections.abc import Sequence

import pandas as pd

from synth_assets.schema.columns import MAX_LISTED, Column, Id, TableError, describe_type
from synth_assets.schema.infer import MIN_ROWS
from synth_assets.schema.table import TableSchema


def refuse_invalid(frame: pd.DataFrame, schema: TableSchema, *, origin: str) -> None:
    """Refuse rows with an unknown label, a value outside the limits of its column, or a key that is not unique.

    Raises
    ------
    TableError
        With every such column.
    """
    problems = validate(frame, schema)
    if found := [*problems["labels"], *problems["ranges"], *problems["keys"]]:
        raise TableError(f"{origin}: {'; '.join(found)}.")


def refuse_unlearnable(schema: TableSchema, rows: int, *, origin: str) -> None:
    """Refuse a table that nothing can be learned from: a single row, or keys and withheld text alone.

    Raises
    ------
    TableError
        With the reason.
    """
    if rows < MIN_ROWS:
        raise TableError(f"{origin} has {rows} row; at least {MIN_ROWS} are needed to learn a table.")
    if not schema.compared and not schema.published_texts:
        held = ", ".join(f"{column.name} ({column.type})" for column in schema.columns)
        delimiter = ""
        if len(schema.columns) == 1 and re.search(r"\W", schema.names[0]):
            delimiter = (
                " If the file has another delimiter than a comma, a semicolon, a tab or '|', state "
                "`dialect: { delimiter: ... }` under `source` in defs.yaml or pass `--dialect delimiter=...`, or "
                "replace it in the file, as cells between several spaces need."
            )
        raise TableError(
            f"{origin} has nothing to learn: {held}. Add a column of labels, numbers or dates, state another type for "
            f"one of these, or publish the text of a table that is not private.{delimiter}"
        )


def validate(frame: pd.DataFrame, schema: TableSchema, *, minimum_rows: int = 1) -> dict[str, list[str]]:
    """Check a table against its schema.

    Parameters
    ----------
    frame : pandas.DataFrame
        The stored table.
    schema : TableSchema
        Its schema.
    minimum_rows : int
        Least number of rows.

    Returns
    -------
    dict
        For each of 'columns', 'types', 'row_count', 'no_missing_values', 'labels', 'ranges' and 'keys', the problems
        found, each as a sentence that says what to do.
    """
    rows, found = len(frame), [str(name) for name in frame.columns]
    problems = problems_of_shape(found, rows, schema, minimum_rows)
    for column in schema.columns:
        if column.name not in found:
            continue
        values = frame[column.name]
        empty = int(values.isna().sum())
        if empty and not column.nullable:
            problems["no_missing_values"].append(missing_cells(column, empty, rows))
        if not column.has_dtype(values):
            if empty < rows:  # of an empty column, the dtype says nothing
                problems["types"].append(wrong_type(column, describe_type(values)))
        elif isinstance(column, Id):
            if not column.repeats and (repeated := int(values.dropna().duplicated().sum())):
                problems["keys"].append(repeated_keys(column, repeated, rows))
        elif column.role == "label":
            present = values.dropna()
            unknown = present[~column.in_range(present)]
            if len(unknown):
                problems["labels"].append(
                    unknown_labels(column, unknown.value_counts().index.tolist(), len(unknown), rows)
                )
        elif column.role == "number" and (outside := column.count_out_of_range(values)):
            problems["ranges"].append(outside_limits(column, outside, rows))
    return problems


def problems_of_shape(found: Sequence[str], rows: int, schema: TableSchema, minimum_rows: int) -> dict[str, list[str]]:
    """Return the problems of a table by check: of its columns and its number of rows, and none yet of the others."""
    return {
        "columns": _wrong_columns(found, schema),
        "types": [],
        "row_count": [] if rows >= minimum_rows else [_too_few(rows, minimum_rows)],
        "no_missing_values": [],
        "labels": [],
        "ranges": [],
        "keys": [],
    }


def missing_cells(column: Column, empty: int, rows: int) -> str:
    """Return the problem of cells that are empty."""
    return (
        f"{column.name}: {_of(empty, rows, 'cell')} empty; state `nullable: true` for the column, or fill the "
        "cells in the source"
    )


def wrong_type(column: Column, found: str) -> str:
    """Return the problem of values of another type."""
    return (
        f"{column.name} holds values of the type {found}, expected {column.type}; correct the column's type, or the "
        "source"
    )


def repeated_keys(column: Column, repeated: int, rows: int) -> str:
    """Return the problem of keys that earlier rows have."""
    return (
        f"{column.name}: {_of(repeated, rows, 'key')} the key of an earlier row; remove the repeated rows, or state "
        "`repeats: true` for the column"
    )


def outside_limits(column: Column, outside: int, rows: int) -> str:
    """Return the problem of values outside the column's limits."""
    expected = " and ".join(column.range_text) or "finite"
    return (
        f"{column.name}: {_of(outside, rows, 'value')} not {expected}; correct the source, or the limits of the column"
    )


def unknown_labels(column: Column, labels: Sequence[object], count: int, rows: int) -> str:
    """Return the problem of values that are no label of the column: these labels, the most frequent first."""
    more = f" and {len(labels) - MAX_LISTED:,} more" if len(labels) > MAX_LISTED else ""
    listed = ", ".join(repr(str(label)) for label in labels[:MAX_LISTED])
    expected = " and ".join(column.range_text)
    return (
        f"{column.name}: {_of(count, rows, 'value')} not {expected}: {listed}{more}; add what is missing to the "
        "column's categories, or correct the source"
    )


def _wrong_columns(found: Sequence[str], schema: TableSchema) -> list[str]:
    if list(found) == schema.names:
        return []
    lacking = [name for name in schema.names if name not in found]
    if lacking:
        return [f"found {', '.join(found)}; expected {', '.join(schema.names)}: {', '.join(lacking)} is missing"]
    return [f"found {', '.join(found)}; expected {', '.join(schema.names)}, in this order"]


def _too_few(rows: int, minimum: int) -> str:
    return f"{rows:,} rows; expected at least {minimum:,}. Add rows, or lower `split.train_size`"


def _of(count: int, rows: int, noun: str) -> str:
    return f"{count:,} of {rows:,} {noun}s {'is' if count == 1 else 'are'}"
