"""Rows in the dtypes of another frame: a column comes back as it came."""

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from pandas.api import types

from synth_assets.schema.table import TableSchema

_ZONED = r"^.{10}(.)\d\d:\d\d(:\d\d)?(\.\d+)?( ?)(Z|UTC|GMT|[+-][\d:]+)$"
"""A point in time in ISO 8601: separator, seconds, fraction, and its offset from UTC."""


def restore_dtypes(rows: pd.DataFrame, like: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Convert rows to the dtypes and the column names of a frame, where no value is lost.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows in the dtypes of a schema.
    like : pandas.DataFrame
        The frame that the schema describes; names that are no text are compared as text.
    schema : TableSchema
        The schema.

    Returns
    -------
    pandas.DataFrame
        The n rows. Numbers and dates that are text of a format in the frame, such as `$1,234.50` or `31.01.2024`, are
        text again, and so are times with their offset from UTC, such as `2024-01-31T08:00Z`. Other text that the schema
        reads as numbers, dates or booleans stays typed; so does a column whose dtype cannot hold a value, for instance
        a missing one.
    """
    names = {str(name): name for name in like.columns}
    written = as_in_source(rows, schema)
    restored = {names.get(name, name): restore_dtype(written[name], like.get(names.get(name))) for name in rows.columns}
    return pd.DataFrame(restored, index=rows.index)


def with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return a copy of a frame with other columns, whatever their names: `assign` takes none that is named self."""
    changed = frame.copy()
    for name, values in columns.items():
        changed[name] = values
    return changed


def as_in_source(rows: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Return rows with numbers and dates in the formats of the source, so that a CSV file can stand in for it."""
    columns = [column for column in schema.columns if column.name in rows]
    return with_columns(rows, {column.name: column.as_in_source(rows[column.name]) for column in columns})


def restore_dtype(values: pd.Series, like: pd.Series | None) -> pd.Series:
    """Convert values to the dtype of a column, where no value is lost; return them as they are if not."""
    if like is None or values.dtype == like.dtype:
        return values
    try:
        converted = _converted(values, like)
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        return values
    return converted if np.array_equal(converted.isna(), values.isna()) else values


def _converted(values: pd.Series, like: pd.Series) -> pd.Series:
    dtype: Any = like.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        known = {str(category): category for category in dtype.categories}
        return values.map(known).astype(dtype)
    if isinstance(dtype, pd.SparseDtype):
        return values.astype(dtype)
    if isinstance(dtype, pd.PeriodDtype):
        return values.dt.to_period(dtype.freq)
    if isinstance(values.dtype, pd.DatetimeTZDtype) and types.infer_dtype(like) == "string":
        return _zoned_texts(values, like.dropna().astype("str")).astype(dtype)
    if types.is_object_dtype(dtype):
        return _as_objects(values, like.dropna())
    if isinstance(dtype, pd.StringDtype):
        return values.astype(dtype) if isinstance(values.dtype, pd.StringDtype) else values
    if isinstance(dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert(dtype.tz).astype(dtype) if values.dt.tz is not None else values
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if types.is_timedelta64_dtype(dtype) or str(arrow).startswith("duration"):
        unit = np.datetime_data(dtype)[0] if arrow is None else arrow.unit
        return pd.to_timedelta(values.astype("float64"), unit="s").dt.round(unit).astype(dtype)
    if str(arrow).startswith("decimal") and types.is_integer_dtype(values.dtype):
        values = values.astype("str").where(values.notna())  # all integers of 64 bits may have too many digits
    is_whole = types.is_integer_dtype(dtype)
    if is_whole and isinstance(values.dtype, pd.StringDtype):  # keys beyond 64 bits with a sign
        values = values.astype("object").map(int, na_action="ignore")
    converted = values.astype(dtype)
    return values if is_whole and (converted != values).any() else converted  # NumPy drops digits that do not fit


def _zoned_texts(values: pd.Series, like: pd.Series) -> pd.Series:
    """Return points in time as texts in ISO 8601 of the form that most texts of a column have."""
    forms = like.str.extract(_ZONED)
    separator, seconds, fraction, space, offset = (forms[i].fillna("").mode().iloc[0] for i in range(5))
    micro = values.dt.microsecond.fillna(0)
    digits = max(len(fraction) - 1, 6 if (micro % 10 ** (7 - len(fraction or ".")) != 0).any() else 0)
    has_seconds = seconds or digits > 0 or (values.dt.second.fillna(0) != 0).any()
    texts = values.dt.strftime(f"%Y-%m-%d{separator}%H:%M" + (":%S" if has_seconds else ""))
    if digits:
        texts += "." + micro.astype("int64").astype("str").str.zfill(6).str.ljust(9, "0").str.slice(0, digits)
    ends = values.dt.strftime("%z")
    if ":" in offset:
        ends = ends.str.slice(0, 3) + ":" + ends.str.slice(3)
    elif len(offset) == 3 and offset[0] in "+-" and ends.dropna().str.endswith("00").all():
        ends = ends.str.slice(0, 3)
    if offset[0] not in "+-" and ends.dropna().eq("+0000").all():
        ends = ends.mask(ends.notna(), offset)
    return texts + space + ends


def _as_objects(values: pd.Series, like: pd.Series) -> pd.Series:
    present = values.notna()
    if isinstance(like.iloc[0] if len(like) else None, UUID):
        return values.map(UUID, na_action="ignore").astype("object").where(present, None)
    match types.infer_dtype(like):
        case "boolean" | "integer":
            python_type = type(like.iloc[0])
            return values.astype("object").map(python_type, na_action="ignore").where(present, None)
        case "timedelta":
            found = pd.to_timedelta(values.astype("float64"), unit="s").dt.round("us")
            times = [None if each is pd.NaT else each.to_pytimedelta() for each in found]
            return pd.Series(times, index=values.index, name=values.name, dtype="object")
        case "date":
            return values.dt.date.astype("object").where(present, None)
        case "decimal":
            step = Decimal(1).scaleb(min(int(value.as_tuple().exponent) for value in like))
            return values.astype("object").map(lambda value: Decimal(str(value)).quantize(step), na_action="ignore")
        case "string":
            return values.astype("object") if isinstance(values.dtype, pd.StringDtype) else values
        case "time":
            return values.map(time.fromisoformat, na_action="ignore").astype("object").where(present, None)
        case _:
            return values
