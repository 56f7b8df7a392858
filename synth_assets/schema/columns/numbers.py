"""Columns of numbers."""

import math
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from synth_assets.schema.columns.ordered import OrderedColumn
from synth_assets.schema.columns.values import floats_of, may_hold_text, whole_numbers
from synth_assets.schema.number_formats import NumberFormat, parse_format

MOCK_SPAN, MOCK_STEPS = 100, 10_000
"""Mock numbers without limits are from 0 to this; a float has so many steps between its limits, or some more."""


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
        return values if self.number_format is None or not may_hold_text(values) else self.number_format.read(values)

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
        return np.asarray(whole_numbers(values).notna())

    def _converted(self, values: pd.Series) -> pd.Series:
        whole = whole_numbers(values)
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
        return np.asarray(np.isfinite(floats_of(values)))

    def _converted(self, values: pd.Series) -> pd.Series:
        return pd.Series(floats_of(values) + 0.0, index=values.index, name=values.name)  # -0.0 becomes 0.0
