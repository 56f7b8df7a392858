"""Data frames from Arrow tables and from rows of Python values, in dtypes that hold the values exactly."""

import datetime
import decimal
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

_PLAIN = (bool, int, float, str, decimal.Decimal, datetime.date, datetime.timedelta)
_NESTED = (list, tuple, dict, set)


def to_frame(table: Any) -> pd.DataFrame:
    """Convert an Arrow table.

    Parameters
    ----------
    table : pyarrow.Table
        The rows.

    Returns
    -------
    pandas.DataFrame
        Integers and booleans with missing values in pandas' nullable dtypes, dates as `datetime64[s]`, decimals in a
        dtype of Arrow. Times of day come as text; lists, structs, maps and bytes, which
        no column type holds, as Python objects.
    """
    frame = pd.DataFrame({i: _series(table.column(i)) for i in range(table.num_columns)}, index=range(table.num_rows))
    frame.columns = pd.Index(table.column_names)
    return frame


def table_of_rows(names: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]]) -> Any:
    """Return rows of Python values as an Arrow table.

    Parameters
    ----------
    names : sequence of str
        Names of the columns.
    batches : iterable
        Rows in batches, so that the values of one batch at a time are Python objects.

    Returns
    -------
    pyarrow.Table
        The rows. A column of values of several types comes as text.
    """
    import pyarrow as pa

    chunks: list[list[Any]] = [[] for _ in names]
    for rows in batches:
        for chunk, values in zip(chunks, zip(*rows, strict=True), strict=bool(rows)):
            chunk.append(_array(values))
    return pa.table([_chunked(each) for each in chunks], names=list(names))


def _array(values: Sequence[Any]) -> Any:
    import pyarrow as pa

    kinds = set(map(type, values)) - {type(None)}
    if datetime.datetime in kinds and datetime.date in kinds:
        values = [_as_datetime(value) for value in values]
    if any(issubclass(kind, _NESTED) for kind in kinds):  # as lists, since values of one column may differ in structure
        return pa.array([None if value is None else [_text(value)] for value in values], pa.list_(pa.large_string()))
    if kinds == {bytes}:  # MySQL's BIT(1) is a byte that is 0 or 1
        is_bit = set(values) <= {None, b"\0", b"\1"}
        return pa.array([None if value is None else value == b"\1" for value in values] if is_bit else values)
    if any(not issubclass(kind, _PLAIN) for kind in kinds) or (len(kinds & {bool, str}) and len(kinds) > 1):
        return _texts(values)
    if decimal.Decimal in kinds:
        values = [None if _is_nan(value) else value for value in values]
    for type_ in (None, *([pa.uint64()] if kinds == {int} else [])):
        try:
            return pa.array(values, type=type_)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    return _texts(values)


def _chunked(chunks: Sequence[Any]) -> Any:
    import pyarrow as pa

    if not chunks:
        return pa.chunked_array([], type=pa.string())
    tables = [pa.table([chunk], names=["values"]) for chunk in chunks]
    try:
        return pa.concat_tables(tables, promote_options="permissive").column(0)
    except pa.ArrowException:
        return pa.chunked_array([_texts(chunk.to_pylist()) for chunk in chunks])


def _texts(values: Iterable[Any]) -> Any:
    import pyarrow as pa

    return pa.array([None if value is None else _text(value) for value in values], type=pa.large_string())


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.hex() if isinstance(value, bytes) else str(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, decimal.Decimal) and value.is_nan()


def _as_datetime(value: Any) -> Any:
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return datetime.datetime.combine(value, datetime.time()) if is_date else value


def _series(column: Any) -> pd.Series:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_null(kind):
        return pd.Series([np.nan] * len(column), dtype="str")
    if pa.types.is_decimal(kind):  # the rows are restored to it
        return pd.Series(pd.arrays.ArrowExtensionArray(column))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pd.Series(column, dtype="str")
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("s")).to_pandas()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        nullable = pd.BooleanDtype() if pa.types.is_boolean(kind) else _nullable_integer(kind)
        return column.to_pandas(types_mapper=lambda _: nullable) if column.null_count else column.to_pandas()
    if pa.types.is_floating(kind) or pa.types.is_dictionary(kind):
        return column.to_pandas()
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return column.to_pandas()
    if pa.types.is_interval(kind):
        return _intervals(column.to_pylist())
    if pa.types.is_nested(kind) or "binary" in str(kind):
        return pd.Series(column.to_pylist(), dtype="object")
    return pd.Series(_texts(column.to_pylist()), dtype="str")


def _intervals(values: Sequence[Any]) -> pd.Series:
    """Return intervals of months, days and nanoseconds as time differences; as text if months are in one."""
    if any(value is not None and value.months for value in values):
        shown = [None if value is None else _shown_interval(*value) for value in values]
        return pd.Series(shown, dtype="str")
    micro = [None if value is None else value.days * 86_400_000_000 + value.nanoseconds // 1000 for value in values]
    return pd.Series(pd.array(micro, dtype="Int64").to_numpy("timedelta64[us]", na_value=np.timedelta64("NaT")))


def _shown_interval(months: int, days: int, nanoseconds: int) -> str:
    time = f" {datetime.timedelta(microseconds=nanoseconds // 1000)}" if nanoseconds else ""
    return f"{months} months {days} days{time}"


def _nullable_integer(kind: Any) -> Any:
    import pyarrow as pa

    unsigned = "U" if pa.types.is_unsigned_integer(kind) else ""
    return pd.api.types.pandas_dtype(f"{unsigned}Int{kind.bit_width}")
