"""The column types. Each knows its dtype, its SQL type, and how its values are coerced, checked, compared and encoded.

A column is a pydantic model: YAML, JSON and the Python object are the same.
"""

import hashlib
import math
import re
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from itertools import product
from numbers import Number
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synth_assets.errors import ForeseenError
from synth_assets.schema.number_formats import NumberFormat, parse_format

MAX_EXACT_INTEGER = 2**53
"""From here on a float no longer represents every integer."""

MAX_LISTED = 10
"""Labels that a message lists; it counts the others."""

Role = Literal["label", "number", "text", "id"]
"""What a column is to models and metrics.

- label: one of a set of labels;
- number: a value with an order and distances, such as a number or a date;
- text: a string that is no label;
- id: a key, which is neither learned nor compared, and made by a pattern.
"""

TRUE_TEXTS, FALSE_TEXTS = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
"""Spellings of a boolean, in any case."""


MOCK_SPAN, MOCK_STEPS = 100, 10_000
"""Mock numbers without limits are from 0 to this; a float has so many steps between its limits, or some more."""

MOCK_START, MOCK_DAYS = date(2020, 1, 1), 1826
"""Mock dates without limits are from this day to so many days later: 2020 to 2024."""

MOCK_MISSING_SHARE = 0.1
"""Share of the mock cells of a nullable column that are empty."""

MOCK_ROWS_PER_KEY = 3
"""Mock rows that have a key which may repeat, on average."""

MOCK_WORDS = (
    "ad", "adipiscing", "aliqua", "aliquip", "amet", "commodo", "consectetur", "consequat", "do", "dolor", "dolore",
    "ea", "eiusmod", "elit", "enim", "et", "ex", "exercitation", "incididunt", "ipsum", "labore", "laboris", "lorem",
    "magna", "minim", "nisi", "nostrud", "quis", "sed", "sit", "tempor", "ullamco", "ut", "veniam",
)  # fmt: skip
"""The words of mock text, of which a text has 1 to `MOCK_TEXT_WORDS`."""

MOCK_TEXT_WORDS = 8

_DIGITS, _SMALL = "0123456789", "abcdefghijklmnopqrstuvwxyz"

ALPHABETS = {
    "hex": _DIGITS + "abcdef",
    "HEX": _DIGITS + "ABCDEF",
    "alnum": _DIGITS + _SMALL,
    "ALNUM": _DIGITS + _SMALL.upper(),
    "Alnum": _DIGITS + _SMALL.upper() + _SMALL,
}
"""The characters of keys that look random, by the name that their patterns have: smaller sets first."""

MAX_SEQUENCES = 100_000
"""Sequences of characters of an alphabet that are kept in memory."""

TOKEN_PATTERN = re.compile(rf"(.*?)({'|'.join(ALPHABETS)})([1-9][0-9]?)")
"""The pattern of keys of so many characters of an alphabet, after a text that all have."""

_MICROSECONDS_PER_DAY = 86_400_000_000

_OFFSET = r"[T ]\d.*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)\s*$"
"""A time in ISO 8601 that ends with its offset from UTC."""


class TableError(ForeseenError):
    """A table does not match its schema; the message states what was found, what was expected and what to do."""


class BaseColumn(BaseModel, ABC):
    """Base of the column types."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql_type: ClassVar[str]
    """The DuckDB type of the stored values."""
    role: ClassVar[Role]
    noun: ClassVar[str]
    """What a value is, for messages."""
    spaces_are_missing: ClassVar[bool] = False
    """Whether a cell of spaces alone is empty."""

    type: str
    name: str = Field(min_length=1, description="Name in the source.")
    description: str = Field(default="", description="Meaning of a value.")
    unit: str | None = Field(default=None, description="Unit, as written on an axis.")
    nullable: bool = Field(default=False, description="Whether cells may be empty.")
    missing_values: tuple[str, ...] = Field(
        default=(), description="Texts that stand for an empty cell, such as '?'; an empty text always does."
    )

    @property
    def is_numeric(self) -> bool:
        """Whether values have an order and distances: numbers, dates and datetimes."""
        return self.role == "number"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of their codes; none of a column that has no labels."""
        return ()

    @property
    def encoded_sql_type(self) -> str:
        """The DuckDB type of the values in `encoded_split`."""
        return self.sql_type

    @property
    def range_text(self) -> list[str]:
        """The stated limits of a value, each as a short phrase."""
        return []

    def coerce(self, values: pd.Series, *, origin: str) -> pd.Series:
        """Convert values as a source returns them to the column's dtype.

        Parameters
        ----------
        values : pandas.Series
            n values: text, pandas categories, or any dtype that holds values of this type.
        origin : str
            Where they came from, for the message.

        Returns
        -------
        pandas.Series
            The n values; the index counts from 0. Cells that are empty, or one of `missing_values`, are missing; of
            numbers, dates and booleans also cells of spaces alone.

        Raises
        ------
        TableError
            If a value cannot be converted.
        """
        values = self._without_missing_texts(without_arrow(values.reset_index(drop=True)))
        wrong = values.notna().to_numpy() & ~self._is_readable(values)
        if wrong.any():
            row = int(wrong.argmax())
            count = int(wrong.sum())
            raise TableError(
                f"{origin}: column {self.name!r} has {_shown(values[row])} in data row {row + 1}, which is not "
                f"{self.noun} ({count:,} such cell{'s' if count > 1 else ''}). {self._remedy}"
            )
        return self._converted(values)

    def is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value of any dtype, whether `coerce` accepts it; a missing one only if `nullable`."""
        values = self._without_missing_texts(without_arrow(values))
        missing = values.isna().to_numpy()
        readable: np.ndarray = np.where(missing, self.nullable, self._is_readable(values))
        return readable

    def count_out_of_range(self, values: pd.Series) -> int:
        """Count the values that are not in range; missing ones do not count."""
        return int((~self.in_range(values.dropna())).sum())

    def mock(self, n: int, rng: np.random.Generator, *, offset: int = 0) -> pd.Series:
        """Draw n values from what the column states alone, uniformly; no row is needed.

        Parameters
        ----------
        n : int
            Number of values.
        rng : numpy.random.Generator
            Source of the random numbers.
        offset : int
            Number of values that were drawn before: keys of disjoint ranges differ.

        Returns
        -------
        pandas.Series
            n values in the column's dtype, each in range; of a nullable column, `MOCK_MISSING_SHARE` are missing.

        Raises
        ------
        TableError
            If no value is within the limits.
        """
        values = self._mock_values(n, rng, offset)
        if self.nullable:
            values = values.mask(rng.random(n) < MOCK_MISSING_SHARE)
        return self.coerce(values.rename(self.name), origin="mock rows")

    @abstractmethod
    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        """Draw n values, in a dtype that also holds missing ones."""

    @property
    def _remedy(self) -> str:
        return "Correct the source, list the text in the column's missing_values, or state another type for the column."

    def _without_missing_texts(self, values: pd.Series) -> pd.Series:
        """Return values in which empty texts, and those in `missing_values`, are missing."""
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("object")
        if not _may_hold_text(values):
            return values
        is_missing = values.isin(("", *self.missing_values))
        if self.spaces_are_missing:
            is_missing |= values.astype("str").str.isspace().fillna(False).astype(bool)
        return values.mask(is_missing)

    @abstractmethod
    def _is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value of any dtype, whether it can be converted; of missing ones, anything."""

    @abstractmethod
    def _converted(self, values: pd.Series) -> pd.Series:
        """Convert values, of which each is missing or can be converted."""

    @abstractmethod
    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a dtype of this column."""

    @abstractmethod
    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value in the column's dtype, whether it is valid: a known label, within the limits.

        A missing or infinite value is not in range.
        """

    def encode(self, values: pd.Series) -> pd.Series:
        """Return values as `encoded_split` stores them: labels as codes, anything else as it is.

        Raises
        ------
        TableError
            If a label is not one of the column's.
        """
        return values

    def as_in_source(self, values: pd.Series) -> pd.Series:
        """Return values as the source's texts, where these have a format; else as they are."""
        return values

    def comparable(self, values: pd.Series) -> pd.Series:
        """Return values in the dtype that metrics and models of tables take.

        Returns
        -------
        pandas.Series
            Labels and text as `str`; numbers as `float64`, dates and datetimes in days since 1970. NaN where missing.
        """
        return values.astype("str").where(values.notna())


class LabelColumn(BaseColumn):
    """Base of the columns of labels."""

    role: ClassVar[Role] = "label"

    @property
    def encoded_sql_type(self) -> str:
        """The DuckDB type of the codes."""
        return "TINYINT" if len(self.labels) <= 2**7 else "SMALLINT" if len(self.labels) <= 2**15 else "INTEGER"

    @property
    def range_text(self) -> list[str]:
        """The labels; of many, the first."""
        return [f"one of {_listed(self.labels)}"]

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        del offset
        return pd.Series(np.array(self.labels, dtype=object)[rng.integers(len(self.labels), size=n)], dtype="str")

    def encode(self, values: pd.Series) -> pd.Series:
        """Return the position of each label; missing where the value is."""
        known = self.in_range(values) | values.isna().to_numpy()
        if not known.all():
            unknown = sorted(set(values[~known].astype(str)))
            raise TableError(
                f"column {self.name!r} has the label{'s' if len(unknown) > 1 else ''} "
                f"{_listed([repr(label) for label in unknown])}; expected one of {_listed(self.labels)}. "
                "Add the label to the column's categories, or correct the source."
            )
        codes = pd.Series(
            pd.Categorical(self.comparable(values), categories=list(self.labels)).codes,
            index=values.index,
            name=values.name,
        )
        return codes.astype(codes.dtype.name.replace("i", "I")).mask(codes < 0) if (codes < 0).any() else codes


class Categorical(LabelColumn):
    """A column of labels."""

    sql_type: ClassVar[str] = "VARCHAR"
    noun: ClassVar[str] = "a label"

    type: Literal["categorical"] = "categorical"
    categories: tuple[str, ...] = Field(min_length=1, description="Labels in the order of their codes.")

    @field_validator("categories", mode="before")
    @classmethod
    def _are_texts(cls, value: Any) -> Any:
        return [_label(each) for each in value] if isinstance(value, list | tuple) else value

    @field_validator("categories")
    @classmethod
    def _are_unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted(label for label, count in Counter(value).items() if count > 1)
        if twice:
            raise ValueError(f"found {_listed(twice)} twice; expected each label once")
        return value

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of their codes."""
        return self.categories

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values are text, or missing."""
        return isinstance(values.dtype, pd.StringDtype) or values.dtype == object

    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is one of the labels."""
        return np.asarray(values.isin(self.categories), dtype=bool)

    def is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is one of the labels, or missing and may be."""
        values = self._without_missing_texts(values)
        return np.asarray(np.where(values.isna(), self.nullable, self.in_range(self._converted(values))))

    def _without_missing_texts(self, values: pd.Series) -> pd.Series:
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("object")
        missing = {"", *self.missing_values} - set(self.categories)
        return values.mask(values.isin(missing)) if _may_hold_text(values) and missing else values

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.ones(len(values), bool)

    def _converted(self, values: pd.Series) -> pd.Series:
        texts = values.astype("str").where(values.notna())
        unknown = texts.notna() & ~texts.isin(self.categories)
        if unknown.any():  # a whole number beside empty cells is written 2.0
            whole = texts[unknown].str.replace(r"\.0+$", "", regex=True)
            texts[unknown] = whole.where(whole.isin(self.categories), texts[unknown])
        return texts


class Boolean(LabelColumn):
    """A column of true and false."""

    sql_type: ClassVar[str] = "BOOLEAN"
    noun: ClassVar[str] = "true or false"
    spaces_are_missing: ClassVar[bool] = True

    type: Literal["boolean"] = "boolean"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, as models and metrics see them."""
        return ("false", "true")

    @property
    def range_text(self) -> list[str]:
        """Nothing: both values are valid."""
        return []

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a boolean dtype."""
        return bool(pd.api.types.is_bool_dtype(values.dtype))

    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is present."""
        return np.asarray(values.notna())

    def comparable(self, values: pd.Series) -> pd.Series:
        """Return 'true' and 'false'; NaN where missing."""
        texts = values.astype("str").str.lower()
        return texts.where(values.notna())

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.asarray(_folded(values).isin((*TRUE_TEXTS, *FALSE_TEXTS)), dtype=bool)

    def _converted(self, values: pd.Series) -> pd.Series:
        true = _folded(values).isin(TRUE_TEXTS)
        return true.astype("boolean").mask(values.isna()) if self.nullable or values.isna().any() else true


class OrderedColumn(BaseColumn):
    """Base of the columns whose values have an order and distances."""

    role: ClassVar[Role] = "number"
    spaces_are_missing: ClassVar[bool] = True

    def _without_missing_texts(self, values: pd.Series) -> pd.Series:
        """Return values in which missing texts are missing, and others have no spaces around them."""
        values = super()._without_missing_texts(values)
        if isinstance(values.dtype, pd.StringDtype):
            return values.str.strip()
        if values.dtype != object:
            return values
        bare = [value.strip() if isinstance(value, str) else value for value in values]
        return pd.Series(bare, index=values.index, name=values.name, dtype="object")

    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is present and within the limits."""
        return _within(self.comparable(values).to_numpy("float64"), self.limit("minimum"), self.limit("maximum"))

    @property
    def range_text(self) -> list[str]:
        """The limits that are stated."""
        stated = ((">=", "minimum"), ("<=", "maximum"))
        return [f"{sign} {_plain(getattr(self, n))}" for sign, n in stated if getattr(self, n) is not None]

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> "OrderedColumn":
        low, high = self.limit("minimum"), self.limit("maximum")
        if low is not None and high is not None and low > high:
            found = [_plain(getattr(self, name)) for name in ("minimum", "maximum")]
            raise ValueError(
                f"found minimum {found[0]} and maximum {found[1]} of column {self.name!r}; "
                "expected the minimum to be no greater"
            )
        return self

    def _mock_limits(self, start: float, span: float) -> tuple[float, float]:
        """Return both limits in the unit of `comparable`: a default for one that is not stated."""
        low, high = self.limit("minimum"), self.limit("maximum")
        if low is None:
            low = start if high is None or high > start else high - span
        return low, low + span if high is None else high

    def _mock_integers(self, n: int, rng: np.random.Generator, low: int, high: int) -> np.ndarray:
        """Draw n of the integers from low to high."""
        if low > high:
            raise TableError(
                f"mock rows: column {self.name!r} has no value that is {' and '.join(self.range_text)} and "
                f"{self.noun}; correct its limits."
            )
        return rng.integers(low, high, size=n, endpoint=True)

    @abstractmethod
    def limit(self, name: str) -> float | None:
        """Return the limit `minimum` or `maximum` in the unit of `comparable`; None if it is not stated."""


class NumericColumn(OrderedColumn):
    """Base of the columns of numbers."""

    minimum: float | None = Field(default=None, description="Least plausible value.")
    maximum: float | None = Field(default=None, description="Greatest plausible value.")
    format: str | None = Field(
        default=None,
        description="Format of the source's texts, such as '$#,##0.00', '0 kg', or '%H:%M' for a number of minutes; "
        "plain numbers if not.",
    )

    @field_validator("format")
    @classmethod
    def _is_format(cls, value: str | None) -> str | None:
        if value is not None:
            parse_format(value)
        return value

    @property
    def number_format(self) -> NumberFormat | None:
        """The format of the source's texts; None if they are plain numbers."""
        return None if self.format is None else parse_format(self.format)

    def limit(self, name: str) -> float | None:
        """Return the limit `minimum` or `maximum`; None if it is not stated."""
        limit: float | None = getattr(self, name)
        return limit

    def as_in_source(self, values: pd.Series) -> pd.Series:
        """Return values as the source's texts, where these have a format; else as they are."""
        is_number = pd.api.types.is_numeric_dtype(values.dtype)
        return self.number_format.write(values) if self.number_format is not None and is_number else values

    def _without_missing_texts(self, values: pd.Series) -> pd.Series:
        values = super()._without_missing_texts(values)
        return values if self.number_format is None or not _may_hold_text(values) else self.number_format.read(values)

    def comparable(self, values: pd.Series) -> pd.Series:
        """Return the numbers as `float64`; NaN where missing."""
        return pd.Series(values.to_numpy("float64", na_value=np.nan), index=values.index, name=values.name)


class Integer(NumericColumn):
    """A column of whole numbers, exact up to 64 bits."""

    sql_type: ClassVar[str] = "BIGINT"
    noun: ClassVar[str] = "a whole number of at most 64 bits"

    type: Literal["integer"] = "integer"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have an integer dtype."""
        return bool(pd.api.types.is_integer_dtype(values.dtype))

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        del offset
        low, high = self._mock_limits(0, MOCK_SPAN)
        drawn = self._mock_integers(n, rng, max(math.ceil(low), -(2**63)), min(math.floor(high), 2**63 - 1))
        return pd.Series(drawn, dtype="Int64")

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.asarray(_whole(values).notna())

    def _converted(self, values: pd.Series) -> pd.Series:
        whole = _whole(values)
        return whole if self.nullable or whole.isna().any() else whole.astype("int64")


class Float(NumericColumn):
    """A column of decimal numbers."""

    sql_type: ClassVar[str] = "DOUBLE"
    noun: ClassVar[str] = "a finite number"

    type: Literal["float"] = "float"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a float dtype."""
        return bool(pd.api.types.is_float_dtype(values.dtype))

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        del offset
        low, high = self._mock_limits(0, MOCK_SPAN)
        share = rng.random(n)
        numbers = low * (1 - share) + high * share  # high - low may be infinite
        if 0 < high - low < np.inf:
            numbers = numbers.round(max(math.ceil(math.log10(MOCK_STEPS / (high - low))), 0))
        return pd.Series(numbers.clip(low, high))

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.asarray(np.isfinite(_floats(values)))

    def _converted(self, values: pd.Series) -> pd.Series:
        return pd.Series(_floats(values) + 0.0, index=values.index, name=values.name)  # -0.0 becomes 0.0


_MOCK_TIMES = (float((MOCK_START - date(1970, 1, 1)).days), float(MOCK_DAYS))


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
        if pd.api.types.is_datetime64_dtype(values.dtype):
            return values.astype("datetime64[us]")
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
        description="Time zone, such as 'UTC' or 'Europe/Berlin'; times without an offset are its local times. Of a "
        "time that occurs twice, the first is meant; one that clocks skip is moved to the end of the gap. By default, "
        "times are as they stand.",
    )

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str | None) -> str | None:
        if value is not None and value != "UTC" and value not in available_timezones():
            raise ValueError(f"found {value!r}; expected a time zone of the IANA database, such as 'Europe/Berlin'")
        return value

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


class StringColumn(BaseColumn):
    """Base of the columns of strings that are no labels."""

    sql_type: ClassVar[str] = "VARCHAR"
    noun: ClassVar[str] = "a text"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values are text, or missing."""
        return isinstance(values.dtype, pd.StringDtype) or values.dtype == object

    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is present."""
        return np.asarray(values.notna())

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.ones(len(values), bool)

    def _converted(self, values: pd.Series) -> pd.Series:
        return values.astype("str").where(values.notna())


class Text(StringColumn):
    """A column of strings that are no labels, such as names, addresses and notes."""

    role: ClassVar[Role] = "text"

    type: Literal["text"] = "text"
    max_length: int = Field(
        default=200, ge=1, le=2000, description="Number of characters that are learned; longer texts are cut off."
    )
    code: bool = Field(
        default=False,
        description="Whether the texts are short codes of digits, such as zip codes, which are published for a private "
        "table too.",
    )

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        del offset
        words = np.array(MOCK_WORDS)[rng.integers(len(MOCK_WORDS), size=(n, MOCK_TEXT_WORDS))].tolist()
        lengths = rng.integers(1, MOCK_TEXT_WORDS, size=n, endpoint=True).tolist()
        texts = [" ".join(row[:length])[: self.max_length].strip() for row, length in zip(words, lengths, strict=True)]
        return pd.Series(texts, dtype="str")


class Id(StringColumn):
    """A column of keys, which are never learned and never compared: a synthetic row gets one that a pattern makes.

    Examples
    --------
    >>> Id(name="order", pattern="AB-####", start=17).generate(2).tolist()
    ['AB-0017', 'AB-0018']
    """

    role: ClassVar[Role] = "id"
    noun: ClassVar[str] = "a key of the column's pattern"

    type: Literal["id"] = "id"
    pattern: str = Field(
        default="integer",
        description="'integer', 'uuid', 'hex' or 'HEX' with a number of hexadecimal digits, such as hex24, 'alnum', "
        "'ALNUM' or 'Alnum' with a number of digits and letters, such as Alnum11 or cus_Alnum14, or a text "
        "with '#' for the digits of a number, such as AB-#### or ###-##-####.",
    )
    start: int = Field(
        default=1, ge=0, lt=2**62, description="First number of the synthetic keys; greater than the real ones."
    )
    repeats: bool = Field(
        default=False,
        description="Whether several rows may have one key, such as the rows of a customer in a table of orders; "
        "synthetic keys are in as many rows as the train rows' are.",
    )

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        if value not in ("integer", "uuid") and "#" not in value and not TOKEN_PATTERN.fullmatch(value):
            raise ValueError(
                f"found {value!r}; expected 'integer', 'uuid', 'hex' with a number of digits (hex24), 'alnum' with a "
                "number of characters (alnum11), or a text with '#' for the digits of a number"
            )
        return value

    @property
    def sql_type(self) -> str:  # type: ignore[override]
        """The DuckDB type of the stored values."""
        return "BIGINT" if self.pattern == "integer" else "VARCHAR"

    @property
    def spaces_are_missing(self) -> bool:  # type: ignore[override]
        """Whether a cell of spaces alone is empty."""
        return self.pattern == "integer"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have an integer dtype, or are text, as the pattern says."""
        if self.pattern == "integer":
            return bool(pd.api.types.is_integer_dtype(values.dtype))
        return super().has_dtype(values)

    def generate(self, n: int, *, offset: int = 0, seed: int = 0) -> pd.Series:
        """Make n keys.

        Parameters
        ----------
        n : int
            Number of keys.
        offset : int
            Number of keys that were made before: keys of disjoint ranges differ.
        seed : int
            Seed of UUIDs, which chance alone keeps apart. Others do not depend on it.

        Returns
        -------
        pandas.Series
            n keys, each different.
        """
        numbers = range(self.start + offset, self.start + offset + n)
        if self.pattern == "integer":
            return pd.Series(numbers, dtype="int64", name=self.name)
        if self.pattern == "uuid":
            digests = (hashlib.blake2b(f"{self.name}/{seed}/{i}".encode(), digest_size=16).digest() for i in numbers)
            return pd.Series([str(uuid.UUID(bytes=d, version=4)) for d in digests], dtype="str", name=self.name)
        if "#" not in self.pattern:
            return pd.Series(list(self._tokens(numbers)), dtype="str", name=self.name)
        before, after, *rest = self.pattern.split("#")
        keys = []
        for digits in (f"{i:0{len(rest) + 1}d}" for i in numbers):
            first, others = digits[: len(digits) - len(rest)], digits[len(digits) - len(rest) :]
            keys.append(f"{before}{first}{after}{''.join(map(''.join, zip(others, rest, strict=True)))}")
        return pd.Series(keys, dtype="str", name=self.name)

    def numbers_of(self, tokens: pd.Series) -> list[int]:
        """Return the numbers that tokens of the column's pattern are made from."""
        before, alphabet, _ = self._token_parts
        size, factor, shift = self._permutation
        inverse, value_of = pow(factor, -1, size), {character: i for i, character in enumerate(alphabet)}
        found = []
        for token in tokens:
            permuted = 0
            for character in token[len(before) :]:
                permuted = permuted * len(alphabet) + value_of[character]
            found.append((permuted - shift) * inverse % size)
        return found

    def _tokens(self, numbers: range) -> Iterator[str]:
        """Yield the tokens of numbers."""
        before, alphabet, length = self._token_parts
        size, factor, shift = self._permutation
        sequences = _sequences(alphabet)
        characters = len(sequences[0])
        for number in numbers:
            left, written = (number * factor + shift) % size, []
            for _ in range(-(-length // characters)):
                left, index = divmod(left, len(sequences))
                written.append(sequences[index])
            yield before + "".join(reversed(written))[-length:]

    @property
    def _token_parts(self) -> tuple[str, str, int]:
        """The text that tokens begin with, their alphabet, and how many characters of it they have."""
        found = TOKEN_PATTERN.fullmatch(self.pattern)
        assert found is not None  # noqa: S101 - as `_is_pattern` checks
        return found[1], ALPHABETS[found[2]], int(found[3])

    @property
    def _permutation(self) -> tuple[int, int, int]:
        """The number of tokens, and the factor and the shift of a permutation of them: they look random, and differ."""
        _, alphabet, length = self._token_parts
        size, drawn = len(alphabet) ** length, hashlib.shake_128(self.name.encode()).digest(length)
        factor = int.from_bytes(drawn) | 1
        while math.gcd(factor, size) > 1:
            factor += 2
        return size, factor, int.from_bytes(drawn[::-1])

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        seed = int(rng.integers(2**32))
        if not self.repeats:
            keys = self.generate(n, offset=offset, seed=seed)
        else:
            n_keys = -(-n // MOCK_ROWS_PER_KEY)
            chosen = np.sort(rng.integers(n_keys, size=n))
            keys = self.generate(n_keys, offset=offset, seed=seed).iloc[chosen].reset_index(drop=True)
        return keys.astype("Int64") if self.pattern == "integer" else keys

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.asarray(_whole(values).notna()) if self.pattern == "integer" else np.ones(len(values), bool)

    def _converted(self, values: pd.Series) -> pd.Series:
        if self.pattern != "integer":
            return super()._converted(values)
        whole = _whole(values)
        return whole if self.nullable or whole.isna().any() else whole.astype("int64")


Column = Annotated[Categorical | Boolean | Integer | Float | Date | Datetime | Text | Id, Field(discriminator="type")]
"""Any column, chosen by its `type`."""


@lru_cache
def _sequences(alphabet: str) -> list[str]:
    """Return all sequences of a few characters, in order: tokens are written several characters at a time."""
    characters = int(math.log(MAX_SEQUENCES, len(alphabet)))
    return ["".join(each) for each in product(alphabet, repeat=characters)]


def describe_type(values: pd.Series) -> str:
    """Return the column type that values in memory have: 'boolean', 'integer', 'float', 'datetime' or 'text'."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return "datetime"
    kinds: tuple[Any, ...] = (Boolean(name="x"), Integer(name="x"), Float(name="x"), Datetime(name="x"))
    return next((kind.type for kind in kinds if kind.has_dtype(values)), "text")


def without_arrow(values: pd.Series) -> pd.Series:
    """Return values of a dtype of Arrow that pandas does not convert, such as decimals, in another dtype."""
    arrow = getattr(values.dtype, "pyarrow_dtype", None)
    zone = getattr(arrow, "tz", None)
    if zone is not None:
        return values.astype(pd.DatetimeTZDtype("us", zone))
    if str(arrow).startswith("duration"):
        return values.astype(f"timedelta64[{arrow.unit}]")  # type: ignore[union-attr]
    if str(arrow) == "halffloat":
        return values.astype("float32")
    return values.astype("object").where(values.notna(), None) if str(arrow).startswith(("decimal", "time")) else values


def _may_hold_text(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.StringDtype) or values.dtype == object


def with_numeric_offset(values: pd.Series) -> pd.Series:
    """Return points in time, as text or not, in which `UTC` or `GMT` at the end is written +00:00, as in ISO 8601."""
    named = values.astype("str").str.fullmatch(r".*\d ?(?:UTC|GMT)\s*").fillna(False).astype(bool)
    return values.mask(named, values.astype("str").str.replace(r" ?(?:UTC|GMT)\s*$", "+00:00", regex=True))


def _has_offset(values: pd.Series, format_: str | None) -> np.ndarray:
    """Return, for each point in time, text in a format or in ISO 8601 or not, whether it states its offset from UTC."""
    if not _may_hold_text(values):
        return np.zeros(len(values), bool)
    has_offset = values.astype("str").str.contains(_OFFSET).fillna(False).to_numpy(bool)
    if format_ is not None:
        is_text = np.array([isinstance(value, str) for value in values], dtype=bool)
        return np.where(is_text, "%z" in format_.lower(), has_offset)
    return np.asarray(has_offset)


def _folded(values: pd.Series) -> pd.Series:
    return values.astype("str").str.strip().str.lower()


def _floats(values: pd.Series) -> np.ndarray:
    """Return values as floats, time differences in seconds; NaN where one is missing or no number."""
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype):
        return np.full(len(values), np.nan)
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        values = values.dt.total_seconds()
    numbers: np.ndarray = pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)
    return numbers


def _whole(values: pd.Series) -> pd.Series:
    """Return values as `Int64`, exactly; missing where one is missing or no whole number of 64 bits."""
    if pd.api.types.is_integer_dtype(values.dtype):
        # Of unsigned integers, those beyond 64 bits with a sign become missing.
        fits = (values <= np.iinfo(np.int64).max).fillna(False)
        return values.where(fits, 0).astype("Int64").where(fits)
    if _may_hold_text(values):
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
            found[rest] = _whole(pd.Series(_floats(values[rest]), index=values.index[rest]))
        return found
    floats = _floats(values)
    with np.errstate(invalid="ignore"):
        is_whole = np.isfinite(floats) & (floats % 1 == 0) & (np.abs(floats) < MAX_EXACT_INTEGER)
    numbers = pd.array(np.where(is_whole, floats, 0).astype("int64"), dtype="Int64")
    return pd.Series(numbers, index=values.index, name=values.name).where(is_whole)


def _within(numbers: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    return np.asarray(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))


def _label(value: Any) -> Any:
    """Return a label that YAML has read as another type, as the text that stands in the file."""
    if isinstance(value, bool):
        spelled, example = ("yes, on or true", "yes") if value else ("no, off or false", "no")
        raise ValueError(  # noqa: TRY004 - pydantic shows a ValueError to the user
            f'YAML reads {spelled} without quotes as {str(value).lower()}: write the label in quotes, "{example}"'
        )
    if value is None:
        raise ValueError('YAML reads an empty label, null or ~ as no value: write the label in quotes, "null"')
    if isinstance(value, int | date):
        return str(value)
    if isinstance(value, float):
        raise ValueError(  # noqa: TRY004
            f'YAML reads {value} without quotes as a number: write the label in quotes, "{value}"'
        )
    return value


def _plain(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:g}"


def _shown(value: object) -> str:
    """Return a value as a person writes it."""
    if isinstance(value, np.generic):
        value = value.item()
    return repr(value) if isinstance(value, str) else str(value)


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - MAX_LISTED
    return ", ".join(labels[:MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")
