"""Columns of dates and datetimes."""

import math
import re
from datetime import date
from numbers import Number
from typing import Any, ClassVar, Literal
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from synth_assets.schema.columns.ordered import OrderedColumn
from synth_assets.schema.columns.values import may_hold_text

MOCK_START, MOCK_DAYS = date(2020, 1, 1), 1826
"""Mock dates without limits are from this day to so many days later: 2020 to 2024."""

_MICROSECONDS_PER_DAY = 86_400_000_000

_OFFSET = r"[T ]\d.*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)\s*$"
"""A time in ISO 8601 that ends with its offset from UTC."""

_LIMITS = pd.Timestamp("0001-01-01"), pd.Timestamp("9999-12-31T23:59:59.999999")

_FIXED_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")

_MOCK_TIMES = (float((MOCK_START - date(1970, 1, 1)).days), float(MOCK_DAYS))
"""The same in days since 1970, and days."""


class TimeColumn(OrderedColumn):
    """Base of the columns of dates and datetimes."""

    minimum: str | None = Field(default=None, description="Earliest plausible value, in ISO 8601.")
    maximum: str | None = Field(default=None, description="Latest plausible value, in ISO 8601.")
    format: str | None = Field(
        default=None, description="Format of the source's texts, as of `strptime`, such as '%d.%m.%Y'; ISO 8601 if not."
    )

    @field_validator("minimum", "maximum", mode="before")
    @classmethod
    def _is_time(cls, value: Any) -> Any:
        if isinstance(value, date):  # YAML reads 2024-01-31 as a date; a datetime is one too
            return value.isoformat()
        if isinstance(value, str):
            try:
                pd.Timestamp(value)
            except ValueError:
                raise ValueError(f"found {value!r}; expected a date such as '2024-01-31'") from None
        return value

    def as_in_source(self, values: pd.Series) -> pd.Series:
        """Return values as the source's texts, where these have a format; else as they are."""
        is_time = pd.api.types.is_datetime64_any_dtype(values.dtype)
        return values.dt.strftime(self.format) if self.format is not None and is_time else values

    def limit(self, name: str) -> float | None:
        """Return the limit `minimum` or `maximum` in days since 1970; None if it is not stated."""
        limit = getattr(self, name)
        if limit is None:
            return None
        found = self._parsed_limit(pd.Timestamp(limit))
        return int(found.to_datetime64().astype("datetime64[us]").astype("int64")) / 86_400e6

    def comparable(self, values: pd.Series) -> pd.Series:
        """Return days since 1970, with fractions; NaN where missing."""
        times = values if values.dt.tz is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
        units = times.to_numpy("datetime64[us]")
        days = units.astype("int64") / 86_400e6
        return pd.Series(np.where(np.isnat(units), np.nan, days), index=values.index, name=values.name)

    def _parsed_limit(self, limit: pd.Timestamp) -> pd.Timestamp:
        return limit if limit.tz is None else limit.tz_convert("UTC").tz_localize(None)

    def _parsed(self, values: pd.Series) -> pd.Series:
        """Return naive times in UTC or as they stand; NaT where a value is missing or cannot be read."""
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return values.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
        if pd.api.types.is_datetime64_dtype(values.dtype):  # infinity of a database is a day beyond 64 bits
            return values.where(values.between(*_LIMITS)).astype("datetime64[us]")
        if pd.api.types.is_numeric_dtype(values.dtype):  # a number is no date, whatever its unit
            return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]")
        if values.dtype == object:
            values = values.where([not isinstance(value, Number) for value in values])
        values = values if self.format else with_numeric_offset(values)
        parsed = pd.to_datetime(values, errors="coerce", format=self.format or "ISO8601", utc=True)
        return parsed.dt.tz_localize(None).astype("datetime64[us]")


class Date(TimeColumn):
    """A column of days."""

    sql_type: ClassVar[str] = "DATE"
    noun: ClassVar[str] = "a date such as 2024-01-31"

    type: Literal["date"] = "date"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a datetime dtype."""
        return bool(pd.api.types.is_datetime64_dtype(values.dtype))

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        parsed = self._parsed(values)
        return np.asarray(parsed.notna() & (parsed == parsed.dt.normalize()))

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        del offset
        low, high = self._mock_limits(*_MOCK_TIMES)
        days = self._mock_integers(n, rng, math.ceil(low), math.floor(high))
        return pd.Series(days.astype("datetime64[D]").astype("datetime64[s]"))

    def _converted(self, values: pd.Series) -> pd.Series:
        return self._parsed(values).astype("datetime64[s]")


class Datetime(TimeColumn):
    """A column of points in time, to the microsecond: naive, or in a time zone."""

    noun: ClassVar[str] = "a date and time such as 2024-01-31 08:30:00"

    type: Literal["datetime"] = "datetime"
    timezone: str | None = Field(
        default=None,
        description="Time zone, such as 'UTC' or 'Europe/Berlin', or an offset from UTC such as '+02:00'; times "
        "without an offset are its local times. Of a time that occurs twice, the first is meant; one that clocks skip "
        "is moved to the end of the gap. By default, times are as they stand.",
    )

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str | None) -> str | None:
        if value is None or value == "UTC" or _FIXED_OFFSET.fullmatch(value) or value in available_timezones():
            return value
        raise ValueError(
            f"found {value!r}; expected a time zone of the IANA database, such as 'Europe/Berlin', or an offset from "
            "UTC such as '+02:00'"
        )

    @property
    def sql_type(self) -> str:  # type: ignore[override]
        """The DuckDB type of the stored values."""
        return "TIMESTAMP" if self.timezone is None else "TIMESTAMPTZ"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a datetime dtype, with a time zone where the column has one."""
        has_zone = isinstance(values.dtype, pd.DatetimeTZDtype)
        return has_zone if self.timezone else bool(pd.api.types.is_datetime64_dtype(values.dtype))

    def _parsed_limit(self, limit: pd.Timestamp) -> pd.Timestamp:
        if self.timezone is not None and limit.tz is None:
            limit = limit.tz_localize(self.timezone, ambiguous=True, nonexistent="shift_forward")
        return super()._parsed_limit(limit)

    def _parsed(self, values: pd.Series) -> pd.Series:
        parsed = super()._parsed(values)
        if self.timezone is None or isinstance(values.dtype, pd.DatetimeTZDtype):
            return parsed
        is_local = parsed.notna() & ~_has_offset(values, self.format)
        local = parsed[is_local]
        zoned = local.dt.tz_localize(self.timezone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")
        return parsed.mask(is_local, zoned.dt.tz_convert("UTC").dt.tz_localize(None))

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        del offset
        low, high = self._mock_limits(*_MOCK_TIMES)
        first, last = math.ceil(low * _MICROSECONDS_PER_DAY), math.floor(high * _MICROSECONDS_PER_DAY)
        # Times are compared as days, and a product with a float may be off by a microsecond.
        first += first / _MICROSECONDS_PER_DAY < low
        last -= last / _MICROSECONDS_PER_DAY > high
        drawn = self._mock_integers(n, rng, first, last)
        times = pd.Series((drawn - drawn % 1_000_000).clip(first, last).astype("datetime64[us]"))
        return times if self.timezone is None else times.dt.tz_localize("UTC")

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.asarray(self._parsed(values).notna())

    def _converted(self, values: pd.Series) -> pd.Series:
        parsed = self._parsed(values)
        return parsed if self.timezone is None else parsed.dt.tz_localize("UTC").dt.tz_convert(self.timezone)


def with_numeric_offset(values: pd.Series) -> pd.Series:
    """Return points in time, as text or not, in which `UTC` or `GMT` at the end is written +00:00, as in ISO 8601."""
    named = values.astype("str").str.fullmatch(r".*\d ?(?:UTC|GMT)\s*").fillna(False).astype(bool)
    return values.mask(named, values.astype("str").str.replace(r" ?(?:UTC|GMT)\s*$", "+00:00", regex=True))


def _has_offset(values: pd.Series, format_: str | None) -> np.ndarray:
    """Return, for each point in time, text in a format or in ISO 8601 or not, whether it states its offset from UTC."""
    if not may_hold_text(values):
        return np.zeros(len(values), bool)
    has_offset = values.astype("str").str.contains(_OFFSET).fillna(False).to_numpy(bool)
    if format_ is not None:
        is_text = np.array([isinstance(value, str) for value in values], dtype=bool)
        return np.where(is_text, "%z" in format_.lower(), has_offset)
    return np.asarray(has_offset)
