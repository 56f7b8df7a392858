"""Values as sources return them: of any dtype, text or not."""

from contextlib import suppress
from datetime import timedelta

import numpy as np
import pandas as pd

MAX_EXACT_INTEGER = 2**53
"""From here on a float no longer represents every integer."""


def in_common_dtype(values: pd.Series) -> pd.Series:
    """Return values of a dtype that is not converted like others in a dtype that is.

    Such are decimals and times of Arrow, periods, which become their first moments, and objects that are time
    differences.
    """
    if isinstance(values.dtype, pd.PeriodDtype):
        return values.dt.to_timestamp()
    if values.dtype == object and isinstance(_first(values), timedelta):
        with suppress(ValueError, TypeError):  # there are other objects too
            return pd.to_timedelta(values)
    arrow = getattr(values.dtype, "pyarrow_dtype", None)
    zone = getattr(arrow, "tz", None)
    if zone is not None:
        return values.astype(pd.DatetimeTZDtype("us", zone))
    if str(arrow).startswith("duration"):
        return values.astype(f"timedelta64[{arrow.unit}]")  # type: ignore[union-attr]
    if str(arrow) == "halffloat":
        return values.astype("float32")
    if str(arrow).startswith("decimal"):
        return _without_decimals(values)
    return values.astype("object").where(values.notna(), None) if str(arrow).startswith("time") else values


def _first(values: pd.Series) -> object:
    """Return the first value that is not missing; None if all are."""
    position = values.first_valid_index()
    return None if position is None else values[position]


def _without_decimals(values: pd.Series) -> pd.Series:
    """Return decimals of Arrow as the nearest floats; those without a fraction as integers, or text beyond 64 bits."""
    import pyarrow as pa

    column = pa.array(values.array)
    if column.type.scale > 0:  # a direct cast may miss the nearest float
        return values.astype(pd.ArrowDtype(pa.string())).astype(pd.ArrowDtype(pa.float64())).astype("float64")
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowException:
        return values.astype("str")
    dtype = "Int64" if numbers.null_count else "int64"
    return pd.Series(pd.array(numbers, dtype=pd.ArrowDtype(pa.int64())), values.index, name=values.name).astype(dtype)


def may_hold_text(values: pd.Series) -> bool:
    """Return whether values have a dtype of text, or of any objects."""
    return isinstance(values.dtype, pd.StringDtype) or values.dtype == object


def floats_of(values: pd.Series) -> np.ndarray:
    """Return values as floats, time differences in seconds; NaN where one is missing or no number."""
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype):
        return np.full(len(values), np.nan)
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        values = values.dt.total_seconds()
    numbers: np.ndarray = pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)
    return numbers


def whole_numbers(values: pd.Series) -> pd.Series:
    """Return values as `Int64`, exactly; missing where one is missing or no whole number of 64 bits."""
    if pd.api.types.is_integer_dtype(values.dtype):
        # Of unsigned integers, those beyond 64 bits with a sign become missing.
        fits = (values <= np.iinfo(np.int64).max).fillna(False)
        return values.where(fits, 0).astype("Int64").where(fits)
    if may_hold_text(values):
        texts = values.astype("str").str.strip().where(values.notna())
        texts = texts.str.replace(r"\.0*$", "", regex=True)
        digits = texts.str.fullmatch(r"[+-]?[0-9]{1,19}").fillna(False).astype(bool)
        found = pd.Series(pd.NA, index=values.index, dtype="Int64", name=values.name)
        exact = pd.to_numeric(texts[digits])
        if exact.dtype != "int64":  # one is beyond 64 bits: integers of Python are exact
            exact = texts[digits].astype("object").map(int)
            exact = exact[exact.map(lambda number: -(2**63) <= number < 2**63).astype(bool)]
        found[exact.index] = exact.astype("Int64")
        rest = ~digits & values.notna()
        if rest.any():
            found[rest] = whole_numbers(pd.Series(floats_of(values[rest]), index=values.index[rest]))
        return found
    floats = floats_of(values)
    with np.errstate(invalid="ignore"):
        is_whole = np.isfinite(floats) & (floats % 1 == 0) & (np.abs(floats) < MAX_EXACT_INTEGER)
    numbers = pd.array(np.where(is_whole, floats, 0).astype("int64"), dtype="Int64")
    return pd.Series(numbers, index=values.index, name=values.name).where(is_whole)
