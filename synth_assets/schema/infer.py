"""A schema inferred from the rows of a frame in memory."""

import pandas as pd
from pandas.api import types

from synth_assets.schema.columns import MAX_EXACT_INTEGER, Categorical, Column, Float, Integer, TableError
from synth_assets.schema.table import TableSchema, refuse_duplicates

MAX_LABELS = 1000
"""Maximum number of labels of an inferred column."""

MIN_ROWS = 2
"""Minimum number of rows that a schema is inferred from."""

_UNSUPPORTED = {
    "bytes": "bytes",
    "complex": "complex numbers",
    "date": "dates",
    "datetime": "datetimes",
    "datetime64": "datetimes",
    "decimal": "decimals",
    "interval": "intervals",
    "period": "periods",
    "time": "times",
    "timedelta": "time differences",
    "timedelta64": "time differences",
}
"""What `pandas.api.types.infer_dtype` calls the values that no column type holds, and the noun for them."""


def infer_schema(frame: pd.DataFrame, target: str | None = None, *, origin: str = "the frame") -> TableSchema:
    """Infer a schema from rows.

    Text, booleans and pandas categories become categorical columns, whose labels are the sorted values as text.
    Integers become integer columns. Floats become float columns, also where all of them are whole. No limits are
    inferred.

    Parameters
    ----------
    frame : pandas.DataFrame
        At least two rows.
    target : str, optional
        Name of the column that is predicted from the others.
    origin : str
        Where the rows came from, for the messages.

    Returns
    -------
    TableSchema
        The columns of the frame, in order.

    Raises
    ------
    TableError
        If the frame has fewer than two rows or no column, a column name is not text or occurs twice, the target is
        not a column, or no column type holds the values of a column.

    Examples
    --------
    >>> infer_schema(pd.DataFrame({"Sex": ["M", "F"], "Rings": [9, 7]})).column("Sex").categories
    ('F', 'M')
    """
    if not len(frame.columns):
        raise TableError(f"{origin} has no column; expected at least one.")
    unnamed = [name for name in frame.columns if not isinstance(name, str) or not name]
    if unnamed:
        raise TableError(
            f"{origin} has a column named {unnamed[0]!r}; expected names that are text. "
            "Rename it, for instance with `frame.columns = frame.columns.astype(str)`."
        )
    refuse_duplicates(frame, origin)
    if len(frame) < MIN_ROWS:
        found = "no row" if frame.empty else "1 row"
        raise TableError(f"{origin} has {found}; at least {MIN_ROWS} are needed to learn a table.")
    columns = tuple(_infer_column(frame[name], origin) for name in frame.columns)
    return TableSchema(columns=columns, target=target)


def _infer_column(values: pd.Series, origin: str) -> Column:
    name = str(values.name)
    where = f"{origin}: column {name!r}"
    present = values.dropna()
    if present.empty:
        raise TableError(f"{where} is empty in every row. Drop the column.")
    if isinstance(values.dtype, pd.CategoricalDtype):
        return _categorical(name, present, where)
    kind = types.infer_dtype(present, skipna=True)
    if kind in _UNSUPPORTED:
        raise TableError(
            f"{where} holds {_UNSUPPORTED[kind]}, which are not supported. Convert it to numbers or labels, or drop it."
        )
    if kind in ("integer", "floating", "mixed-integer-float"):
        numbers = present.infer_objects() if types.is_object_dtype(present.dtype) else present
        # In an object column, an empty cell does not turn integers into floats.
        return _number(name, pd.to_numeric(numbers), where)
    return _categorical(name, present, where)


def _number(name: str, numbers: pd.Series, where: str) -> Column:
    infinite = int((numbers.abs() == float("inf")).sum())
    if infinite:
        raise TableError(
            f"{where} has {infinite:,} infinite value{'s' if infinite > 1 else ''}. Replace the value, or drop the row."
        )
    if not types.is_integer_dtype(numbers.dtype):
        return Float(name=name)
    largest = max(abs(int(numbers.min())), abs(int(numbers.max())))
    if largest >= MAX_EXACT_INTEGER:
        raise TableError(
            f"{where} has an integer of {len(str(largest))} digits; expected integers below 2^53. Drop the column if "
            "it is a key, or rescale it."
        )
    return Integer(name=name)


def _categorical(name: str, present: pd.Series, where: str) -> Categorical:
    labels = sorted(present.astype("str").unique())
    if len(labels) > MAX_LABELS:
        raise TableError(
            f"{where} has {len(labels):,} different labels; at most {MAX_LABELS:,} are supported. Drop the column, or "
            "group its labels."
        )
    return Categorical(name=name, categories=tuple(labels))
