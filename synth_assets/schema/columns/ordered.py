"""Base of the columns whose values have an order and distances: limits."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import model_validator

from synth_assets.schema.columns.base import BaseColumn, Role, TableError


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


def _within(numbers: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    return np.asarray(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))


def _plain(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:g}"
