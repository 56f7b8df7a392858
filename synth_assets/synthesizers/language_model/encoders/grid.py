"""Grids of numeric columns: values in memory as 64-bit integers, in steps that nearly all train values keep."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders.base import MISSING

MAX_DECIMALS = 12

KEPT_SHARE = 0.99
"""Share of the values that a grid must represent exactly; the others are rounded to it."""

MAX_ERROR = 0.1
"""Standard deviations by which these may differ from the grid. If they would by more, the most frequent value, such as
the zero of 99% of the rows, does not count: it is on every grid."""

MAX_POINTS = 10**9
"""Maximum number of points of a decimal grid whose values repeat or have few decimals; of others, a thousandth."""

FEW_DECIMALS = 3
"""Values with up to this many decimals, such as amounts, are kept exactly up to `MAX_POINTS` points of the grid."""

REPEATED_SHARE = 0.8
"""Values repeat if there are fewer different ones than this share of the rows."""

RELATIVE_STEP = 1e-5
"""Step of a grid that rounds, relative to the interquartile range."""

SIGNIFICANT_DIGITS = 4
"""Digits that are kept where values span many orders of magnitude."""

LEAST_EXPONENT = -323
"""Power of ten of the smallest floats."""

NORMAL_EXPONENT = -300
"""Numbers with smaller powers of ten are scaled up before a division: floats have fewer digits there."""

MIN_STEPS, MAX_COARSE_SHARE = 50, 0.02
"""A grid is too coarse if more than this share of the values, but for zeros, is within so many steps of zero."""

MAX_UNITS = 2**61
"""Quantised values are smaller than this, so that differences of two of them have 64 bits."""

MICROSECONDS = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000,
                "millisecond": 1000, "microsecond": 1}  # fmt: skip
"""Units of time, in microseconds."""


@dataclass(frozen=True)
class Grid:
    """Numbers, dates or datetimes as integers.

    Parameters
    ----------
    type : {"integer", "float", "date", "datetime"}
        Type of the values.
    decimals : int
        Decimals of a 'float' grid: a quantised value is in units of 10**-decimals.
    digits : int
        Number of significant digits of a 'float' grid that has no fixed unit, else 0.
    least_exponent : int
        Smallest power of ten of such a grid.
    unit : str
        Unit of time of a 'datetime' grid, a key of `MICROSECONDS`.
    timezone : str, optional
        Time zone of a 'datetime' grid.
    origin : int
        What quantised values of an 'integer' grid are counted from, where integers have more than 61 bits.
    rounded_share : float
        Share of the train values that the grid rounds.
    """

    type: Literal["integer", "float", "date", "datetime"]
    decimals: int = 0
    digits: int = 0
    least_exponent: int = 0
    unit: str = "microsecond"
    timezone: str | None = None
    origin: int = 0
    rounded_share: float = 0.0

    @classmethod
    def fit(cls, values: pd.Series, unit: str | None = None) -> "Grid":
        """Choose the grid of a column; of datetimes with a unit of time, if it is stated.

        Raises
        ------
        ModelError
            If integers differ by more than 62 bits, or a number is infinite.
        """
        dtype = values.dtype
        present = values.dropna()
        if isinstance(dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(dtype):
            if dtype == "datetime64[s]":
                return cls("date")
            zone = str(dtype.tz) if isinstance(dtype, pd.DatetimeTZDtype) else None
            micro = _microseconds(present)
            if not len(micro):
                return cls("datetime", timezone=zone)
            units = (unit for unit, size in MICROSECONDS.items() if np.mean(micro % size == 0) >= KEPT_SHARE)
            unit = unit or next(units, "microsecond")
            rounded_share = float(np.mean(micro % MICROSECONDS[unit] != 0))
            return cls("datetime", unit=unit, timezone=zone, rounded_share=rounded_share)
        if pd.api.types.is_integer_dtype(dtype):
            low, high = (int(present.min()), int(present.max())) if len(present) else (0, 0)
            if high - low >= 2 * MAX_UNITS:
                raise ModelError(
                    f"column {values.name!r} has integers from {low} to {high}, which differ by more than 62 bits; "
                    "declare the column as an id if it is a key, or as categorical."
                )
            if max(abs(low), abs(high)) >= MAX_UNITS:
                return cls("integer", origin=(low + high) // 2)
            return cls("integer")
        numbers = values.to_numpy("float64", na_value=np.nan)
        if np.isinf(numbers).any():
            row = int(np.isinf(numbers).argmax())
            raise ModelError(
                f"column {values.name!r} has {numbers[row]} in data row {row + 1}, which is not a number; correct the "
                "cell, or leave it empty."
            )
        with np.errstate(over="ignore"):  # a difference of two numbers may be infinite
            return cls._fit_floats(numbers[~np.isnan(numbers)])

    @classmethod
    def _fit_floats(cls, numbers: np.ndarray) -> "Grid":
        if not len(numbers):
            return cls("float")
        decimals = _kept_decimals(numbers)
        if decimals is not None and _rounding_error(numbers, decimals) > MAX_ERROR * numbers.std():
            decimals = _kept_decimals(_without_most_frequent(numbers), MAX_ERROR * numbers.std())
        repeats = len(np.unique(numbers)) < REPEATED_SHARE * len(numbers)
        is_read = decimals is not None and decimals <= FEW_DECIMALS
        max_points = MAX_POINTS if repeats or is_read else MAX_POINTS / 1000
        size = np.abs(numbers).max()
        if decimals is not None and size * 10.0**decimals < MAX_UNITS:
            n_points = _span(numbers) * 10.0**decimals / _gcd(numbers, decimals)
            if n_points <= max_points:
                return cls("float", decimals, rounded_share=_rounded_share(numbers, decimals))
        rest = _without_most_frequent(numbers)  # 90% may be zero
        spread = float(np.subtract(*np.quantile(rest, [0.75, 0.25]))) or _span(numbers) or size or 1.0
        spread = min(spread, float(np.finfo("float64").max))
        decimals = min(math.ceil(-math.log10(max(spread * RELATIVE_STEP, 1e-15))), 15)
        nonzero = np.abs(numbers[numbers != 0])
        is_coarse = len(nonzero) and np.mean(nonzero < MIN_STEPS * 10.0**-decimals) > MAX_COARSE_SHARE
        if is_coarse or size * 10.0 ** max(decimals, 0) >= MAX_UNITS:
            least = max(int(np.floor(np.log10(nonzero.min()))), LEAST_EXPONENT)
            return cls("float", digits=SIGNIFICANT_DIGITS, least_exponent=least, rounded_share=1.0)
        return cls("float", max(decimals, 0), rounded_share=_rounded_share(numbers, max(decimals, 0)))

    def is_comparable(self, other: "Grid") -> bool:
        """Return whether quantised values are of one order: of dates, times in one unit, numbers of equal decimals."""
        if self.type in ("integer", "float"):
            is_number = other.type in ("integer", "float") and not (self.digits or other.digits)
            return is_number and (self.decimals, self.origin) == (other.decimals, other.origin)
        return other.type in ("date", "datetime") and (self.timezone is None) == (other.timezone is None)

    @property
    def unit_size(self) -> int:
        """Microseconds of a unit of a date or datetime; 1 of numbers."""
        if self.type in ("integer", "float"):
            return 1
        return MICROSECONDS["day" if self.type == "date" else self.unit]

    def in_unit_of(self, other: "Grid", quantised: Any, *, latest: bool = False) -> Any:
        """Return quantised values of this grid in the unit of another one: of a day, its first or latest minute."""
        if self.unit_size <= other.unit_size:
            return quantised // (other.unit_size // self.unit_size)
        factor = self.unit_size // other.unit_size
        return quantised * factor + (factor - 1) * latest

    @property
    def mantissas(self) -> int:
        """Number of quantised values of an order of magnitude, where digits are significant."""
        return int(9 * 10 ** (self.digits - 1))

    @property
    def resolution(self) -> str:
        """What values are rounded to, in words."""
        if self.type == "datetime":
            return f"{self.unit}s"
        return f"{self.digits} significant digits" if self.digits else f"{self.decimals} decimals"

    @property
    def first_monday(self) -> int:
        """The first Monday of 1970 as a quantised value of a date or datetime."""
        return 4 * MICROSECONDS["day"] // self.unit_size

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return values as integers; `MISSING` where one is missing."""
        is_missing = values.isna().to_numpy()
        if self.type in ("date", "datetime"):
            size = self.unit_size
            quantised = np.full(len(values), MISSING, np.int64)
            quantised[~is_missing] = (_microseconds(values[~is_missing]) + size // 2) // size  # a float is inexact
            return quantised
        if pd.api.types.is_integer_dtype(values.dtype) and self.type == "integer":
            integers = np.asarray(values.fillna(0) if is_missing.any() else values, "int64")
            return np.where(is_missing, MISSING, integers - self.origin)
        return self.quantise_numbers(values.to_numpy("float64", na_value=np.nan))

    def quantise_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers as integers; `MISSING` where one is NaN."""
        is_missing = np.isnan(numbers)
        numbers = np.where(is_missing, 0.0, numbers)
        if not self.digits:
            units = np.rint(np.clip(numbers * 10.0**self.decimals, -MAX_UNITS, MAX_UNITS)).astype(np.int64)
        else:
            sizes = np.abs(numbers)
            least = 10.0**self.least_exponent
            exponents = np.floor(np.log10(np.maximum(sizes, least)))
            shift = _shift(exponents)
            mantissas = np.rint(sizes * 10.0**shift / 10.0 ** (exponents + shift) * 10 ** (self.digits - 1))
            orders = (exponents - self.least_exponent) * self.mantissas
            # A size that rounds up to the next order of magnitude has its first mantissa there.
            codes = orders + mantissas - 10 ** (self.digits - 1) + 1
            units = (np.sign(numbers) * np.where(sizes < least / 2, 0, np.maximum(codes, 1))).astype(np.int64)
        return np.where(is_missing, MISSING, units)

    def to_numbers(self, quantised: np.ndarray) -> np.ndarray:
        """Return quantised values, none of them missing, as numbers: floats, or integers of time or of the column."""
        if self.type == "integer":
            return quantised + self.origin
        if self.type != "float":
            return quantised
        if not self.digits:
            scale = 10.0**self.decimals
            return np.asarray(quantised / scale if self.decimals else quantised.astype("float64"))
        orders, mantissas = np.divmod(np.abs(quantised) - 1, self.mantissas)
        mantissas = mantissas + 10 ** (self.digits - 1)
        exponents = (orders + self.least_exponent - self.digits + 1).astype("float64")
        # A division by a power of ten is exact to the last digit, a product with a negative power is not.
        shift = _shift(exponents)
        small = mantissas / 10.0**shift / 10.0 ** (-exponents - shift)
        sizes = np.where(exponents < 0, small, mantissas * 10.0**exponents)
        return np.where(quantised == 0, 0.0, np.sign(quantised) * sizes)

    def to_values(self, quantised: np.ndarray) -> pd.Series:
        """Return the values that integers stand for, in the dtype of the column."""
        is_missing = quantised == MISSING
        present = np.where(is_missing, 0, quantised)
        if self.type == "float":
            return pd.Series(np.where(is_missing, np.nan, self.to_numbers(present)))
        if self.type == "integer":
            present = np.where(is_missing, 0, present + self.origin)
            return pd.Series(present, dtype="Int64").mask(is_missing) if is_missing.any() else pd.Series(present)
        size = self.unit_size
        times = pd.Series((present * size).astype("datetime64[us]")).mask(is_missing)
        if self.type == "date":
            return times.astype("datetime64[s]")
        return times if self.timezone is None else times.dt.tz_localize("UTC").dt.tz_convert(self.timezone)

    def parse(self, text: str) -> float | None:
        """Return the number that a text stands for, in quantised units with fractions; None if it stands for none."""
        try:
            if self.type in ("date", "datetime"):
                time = pd.Timestamp(text)
                if time is pd.NaT:
                    return None
                zone = self.timezone
                time = time.tz_localize(zone) if zone and time.tz is None else time
                time = time if time.tz is None else time.tz_convert("UTC").tz_localize(None)
                micro = int(time.to_datetime64().astype("datetime64[us]").astype("int64"))
                return micro / self.unit_size
            if self.type == "integer" and text.lstrip("+-").isdigit():
                return int(text) - self.origin
            number = float(text)
        except ValueError:
            return None
        if not math.isfinite(number):
            return None
        if not self.digits:
            return number * 10.0**self.decimals - self.origin
        nearest = int(self.quantise_numbers(np.array([number]))[0])
        found = float(self.to_numbers(np.array([nearest]))[0])
        is_exact = math.isclose(found, number, rel_tol=1e-12)
        return nearest if is_exact else nearest + (0.5 if number > found else -0.5)

    def to_json(self) -> dict[str, Any]:
        """Return the grid as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Grid":
        """Restore a grid from `to_json`."""
        return cls(**data)


def _shift(exponents: np.ndarray) -> np.ndarray:
    """Return by how many powers of ten numbers are scaled up, where a power of ten would be no normal float."""
    return np.where(exponents < NORMAL_EXPONENT, -float(NORMAL_EXPONENT), 0.0)


def common_step(quantised: np.ndarray) -> int:
    """Return the greatest common divisor of the differences between distinct values."""
    distinct = np.unique(quantised)
    return max(int(np.gcd.reduce(np.diff(distinct))), 1) if len(distinct) > 1 else 1


def _gcd(numbers: np.ndarray, decimals: int) -> float:
    scaled = numbers * 10.0**decimals
    return common_step(np.rint(scaled).astype(np.int64)) if np.abs(scaled).max() < MAX_UNITS else 1.0


def _microseconds(values: pd.Series) -> np.ndarray:
    times = values.dt.tz_convert("UTC").dt.tz_localize(None) if isinstance(values.dtype, pd.DatetimeTZDtype) else values
    return np.asarray(times.to_numpy("datetime64[us]").astype(np.int64))


def _kept_decimals(numbers: np.ndarray, max_error: float = math.inf) -> int | None:
    """Return the decimals of the coarsest grid that keeps the numbers, but for a few and these nearly; or None."""
    for decimals in range(MAX_DECIMALS + 1):
        is_kept = np.mean(np.round(numbers, decimals) == numbers) >= KEPT_SHARE
        if is_kept and _rounding_error(numbers, decimals) <= max_error:
            return decimals
    return None


def _without_most_frequent(numbers: np.ndarray) -> np.ndarray:
    distinct, counts = np.unique(numbers, return_counts=True)
    return numbers[numbers != distinct[counts.argmax()]] if len(distinct) > 1 else numbers


def _rounding_error(numbers: np.ndarray, decimals: int) -> float:
    return float(np.abs(np.round(numbers, decimals) - numbers).max())


def _rounded_share(numbers: np.ndarray, decimals: int) -> float:
    return float(np.mean(np.round(numbers, decimals) != numbers))


def _span(numbers: np.ndarray) -> float:
    return float(numbers.max() - numbers.min())
