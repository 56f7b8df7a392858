"""What is wrong with a stored table, in words, by the name of the check that it fails."""

import pandas as pd

from synth_assets.schema.table import TableSchema


def validate(frame: pd.DataFrame, schema: TableSchema, *, minimum_rows: int = 1) -> dict[str, list[str]]:
    """Check a table against its schema.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table as it was stored.
    schema : TableSchema
        What it should be.
    minimum_rows : int
        The fewest rows that it should have.

    Returns
    -------
    dict
        For each of 'columns', 'types', 'row_count', 'no_missing_values', 'labels' and 'ranges', a sentence for each
        thing that is wrong; an empty list where nothing is.
    """
    columns = {column.name: column for column in schema.columns}
    found = [str(name) for name in frame.columns]
    known = [name for name in found if name in columns]
    kinds = {name: _kind_of(frame[name]) for name in known}
    missing = {name: int(count) for name, count in frame.isna().sum().items() if count}
    outside = {
        name: columns[name].count_out_of_range(frame[name]) for name in known if kinds[name] == columns[name].kind
    }
    return {
        "columns": [] if found == schema.names else [f"found {', '.join(found)}; expected {', '.join(schema.names)}"],
        "types": [
            f"{name} holds {kinds[name]}, expected {columns[name].kind}"
            for name in known
            if kinds[name] != columns[name].kind
        ],
        "row_count": [] if len(frame) >= minimum_rows else [f"{len(frame):,} rows; expected at least {minimum_rows:,}"],
        "no_missing_values": [f"{name}: {count} of {len(frame):,} cells are empty" for name, count in missing.items()],
        "labels": [
            f"{name}: {count} of {len(frame):,} values are not one of {', '.join(columns[name].categories)}"
            for name, count in outside.items()
            if count and columns[name].kind == "category"
        ],
        "ranges": [
            f"{name}: {count} of {len(frame):,} values are not from {columns[name].minimum} to {columns[name].maximum}"
            for name, count in outside.items()
            if count and columns[name].kind != "category"
        ],
    }


def _kind_of(values: pd.Series) -> str:
    if pd.api.types.is_integer_dtype(values.dtype):
        return "integer"
    if pd.api.types.is_float_dtype(values.dtype):
        return "number"
    return "category"
