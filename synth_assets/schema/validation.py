"""The checks of a stored table against its schema."""

import pandas as pd

from synth_assets.schema.columns import TableError, describe_type
from synth_assets.schema.table import TableSchema


def refuse_invalid(frame: pd.DataFrame, schema: TableSchema, *, origin: str) -> None:
    """Refuse rows with an unknown label or a number outside the limits of its column.

    Raises
    ------
    TableError
        With every such column.
    """
    problems = validate(frame, schema)
    if found := [*problems["labels"], *problems["ranges"]]:
        raise TableError(f"{origin}: {'; '.join(found)}. Correct the rows, or the schema.")


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
        For each of 'columns', 'types', 'row_count', 'no_missing_values', 'labels' and 'ranges', the
        problems found, each as a sentence.
    """
    rows, found = len(frame), [str(name) for name in frame.columns]
    problems: dict[str, list[str]] = {
        "columns": [] if found == schema.names else [f"found {', '.join(found)}; expected {', '.join(schema.names)}"],
        "types": [],
        "row_count": [] if rows >= minimum_rows else [f"{rows:,} rows; expected at least {minimum_rows:,}"],
        "no_missing_values": [
            f"{name}: {count} of {rows:,} cells are empty" for name, count in frame.isna().sum().items() if count
        ],
        "labels": [],
        "ranges": [],
    }
    for column in schema.columns:
        if column.name not in found:
            continue
        values = frame[column.name]
        if not column.has_dtype(values):
            problems["types"].append(f"{column.name} holds {describe_type(values)}, expected {column.type}")
        elif outside := column.count_out_of_range(values):
            expected = " and ".join(column.range_text)
            problems["ranges" if column.is_numeric else "labels"].append(
                f"{column.name}: {outside} of {rows:,} values are not {expected}"
            )
    return problems
