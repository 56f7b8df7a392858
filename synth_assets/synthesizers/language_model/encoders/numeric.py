"""Encoder of a numeric column."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders.residuals import Predictor

MAX_DECIMALS = 12
MAX_CARDINALITY = 1_000_000
"""A column with more points on its grid is encoded with fewer decimals; `NumericEncoder.is_lossy` records it."""

SUFFIX_THRESHOLD = 256
"""From this many values on, the last two digits of a number are a token of their own."""

SUFFIX_SIZE = 100
"""Number of values of the last two digits."""

RESIDUAL_MARGIN = 0.1
"""How far residuals may exceed the range in the train rows, as a fraction of it."""


@dataclass(frozen=True)
class NumericEncoder:
    """Encoder of a column of numbers on a grid.

    A quantised value is the number in units of its last decimal. The quantised value itself is encoded or,
    with a `predictor`, its residual: predictions are rounded to whole hundreds of units, so that the last two digits,
    and with them any digit preference of the measurement, are preserved.

    Parameters
    ----------
    name : str
        Name of the column.
    decimals : int
        Decimals: a quantised value is in units of 10**-decimals.
    grid_step : int
        Step of the grid, in these units.
    low, high : int
        Smallest and largest quantised value of the train rows.
    is_integer : bool
        Whether the column has an integer type.
    is_lossy : bool
        Whether the train rows have more decimals than are encoded.
    code_low, code_high : int
        Smallest and largest number that is encoded: a quantised value, or a residual plus `bias`.
    bias : int
        Constant added to residuals, so that none is negative.
    predictor : Predictor, optional
        Predictor whose residuals are encoded; None to encode the values.
    """

    name: str
    decimals: int
    grid_step: int
    low: int
    high: int
    is_integer: bool
    is_lossy: bool
    code_low: int
    code_high: int
    bias: int = 0
    predictor: Predictor | None = None

    type: ClassVar[str] = "numeric"
    is_numeric: ClassVar[bool] = True

    @classmethod
    def fit(cls, values: pd.Series) -> "NumericEncoder":
        """Fit the encoder to the values of a column, without a predictor.

        Raises
        ------
        ModelError
            If a value has more digits than a float represents exactly.
        """
        numbers = values.to_numpy(dtype="float64")
        exact = next((d for d in range(MAX_DECIMALS) if (np.round(numbers, d) == numbers).all()), MAX_DECIMALS)
        decimals = exact
        value_range = numbers.max() - numbers.min()
        while decimals and value_range * 10**decimals / _common_step(numbers, decimals) > MAX_CARDINALITY:
            decimals -= 1
        if np.abs(numbers).max() * 10**decimals >= 2**53:
            raise ModelError(
                f"column {values.name!r} has values up to {np.abs(numbers).max():g}, with more digits than can be "
                "encoded exactly; divide them by a power of ten."
            )
        quantised = np.rint(numbers * 10**decimals).astype(np.int64)
        low, high = int(quantised.min()), int(quantised.max())
        return cls(
            name=str(values.name),
            decimals=decimals,
            grid_step=_common_step(numbers, decimals),
            low=low,
            high=high,
            is_integer=pd.api.types.is_integer_dtype(values),
            is_lossy=decimals < exact,
            code_low=low,
            code_high=high,
        )

    def with_predictor(self, predictor: Predictor, quantised: np.ndarray, values: np.ndarray) -> "NumericEncoder":
        """Return an encoder of a predictor's residuals, fitted to quantised train rows, (n, m), and values, (n)."""
        step = self.prediction_step
        residuals = values - self._rounded(predictor(quantised))
        low, high = int(residuals.min()), int(residuals.max())
        margin = -(-int(RESIDUAL_MARGIN * (high - low)) // step) * step
        bias = -(-(margin - low) // step) * step
        code_low, code_high = low - margin + bias, high + margin + bias
        return replace(self, code_low=code_low, code_high=code_high, bias=bias, predictor=predictor)

    @property
    def cardinality(self) -> int:
        """Number of values that can be encoded."""
        return (self.code_high - self.code_low) // self.grid_step + 1

    @property
    def has_suffix_token(self) -> bool:
        """Whether the last two digits are a token of their own."""
        return (self.high - self.low) // self.grid_step >= SUFFIX_THRESHOLD

    @property
    def prediction_step(self) -> int:
        """Multiple that predictions are rounded to."""
        return math.lcm(SUFFIX_SIZE, self.grid_step) if self.has_suffix_token else self.grid_step

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return values in units of the last decimal; a missing value becomes an arbitrary number."""
        quantised: np.ndarray = np.rint(values.to_numpy(dtype="float64", na_value=0.0) * 10**self.decimals)
        return quantised.astype(np.int64)

    def predictions(self, quantised: np.ndarray) -> np.ndarray:
        """Return the predictions for (n, m) quantised rows; without a predictor, `code_low`."""
        if self.predictor is None:
            return np.full(len(quantised), float(self.code_low))
        return self.predictor(quantised)

    def offsets(self, quantised: np.ndarray) -> np.ndarray:
        """Return the offset of each row: code = (quantised value - offset) / grid step."""
        if self.predictor is None:
            return np.full(len(quantised), self.code_low, np.int64)
        return self._rounded(self.predictor(quantised)) - self.bias + self.code_low

    def to_values(self, quantised: np.ndarray) -> np.ndarray:
        """Return the numbers that quantised values stand for."""
        if self.is_integer:
            return quantised
        return quantised / 10**self.decimals if self.decimals else quantised.astype("float64")

    def vocabulary(self) -> list[str]:
        """Return the text of each code; all have the same number of digits."""
        numbers = range(self.code_low, self.code_high + 1, self.grid_step)
        base = 10**self.decimals
        width = max(len(str(abs(number) // base)) for number in (numbers[0], numbers[-1]))
        texts = []
        for number in numbers:
            whole, fraction = divmod(abs(number), base)
            decimals = f".{fraction:0{self.decimals}d}" if self.decimals else ""
            texts.append(f"{'-' if number < 0 else ''}{str(whole).zfill(width)}{decimals}")
        return texts

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        return {"type": self.type, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NumericEncoder":
        """Restore an encoder from `to_json`."""
        fields = {name: value for name, value in data.items() if name != "type"}
        predictor = fields["predictor"]
        return cls(**{**fields, "predictor": predictor and Predictor.from_json(predictor)})

    def _rounded(self, predictions: np.ndarray) -> np.ndarray:
        rounded: np.ndarray = np.rint(predictions / self.prediction_step).astype(np.int64) * self.prediction_step
        return rounded


def _common_step(numbers: np.ndarray, decimals: int) -> int:
    """Return the greatest common divisor of the differences between values, in units of the last decimal."""
    quantised = np.unique(np.rint(numbers * 10**decimals).astype(np.int64))
    return max(int(np.gcd.reduce(np.diff(quantised))), 1) if len(quantised) > 1 else 1
