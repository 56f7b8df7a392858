"""Encoder of a categorical column."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class CategoricalEncoder:
    """Encoder of a column of labels: a label's position is both its quantised value and its code.

    Parameters
    ----------
    name : str
        Name of the column.
    labels : tuple of str
        Labels of the train rows, sorted.
    """

    name: str
    labels: tuple[str, ...]

    type: ClassVar[str] = "categorical"
    is_numeric: ClassVar[bool] = False
    grid_step: ClassVar[int] = 1
    low: ClassVar[int] = 0
    has_suffix_token: ClassVar[bool] = False
    predictor: ClassVar[None] = None

    @classmethod
    def fit(cls, values: pd.Series) -> "CategoricalEncoder":
        """Fit the encoder to the values of a column."""
        return cls(str(values.name), tuple(sorted(values.astype("str").unique())))

    @property
    def cardinality(self) -> int:
        """Number of values that can be encoded."""
        return len(self.labels)

    @property
    def high(self) -> int:
        """Largest quantised value; the smallest is 0."""
        return len(self.labels) - 1

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return the position of each label, or -1 if it is unknown."""
        positions: np.ndarray = pd.Index(self.labels).get_indexer(values.astype("str"))
        return positions.astype(np.int64)

    def predictions(self, quantised: np.ndarray) -> np.ndarray:
        """Return the prediction for each row: 0."""
        return np.zeros(len(quantised))

    def offsets(self, quantised: np.ndarray) -> np.ndarray:
        """Return the offset of each row: 0."""
        return np.zeros(len(quantised), np.int64)

    def to_values(self, quantised: np.ndarray) -> Any:
        """Return the labels at these positions."""
        return pd.array(list(self.labels), dtype="str").take(quantised)

    def vocabulary(self) -> list[str]:
        """Return the text of each code."""
        return list(self.labels)

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        return {"type": self.type, "name": self.name, "labels": list(self.labels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CategoricalEncoder":
        """Restore an encoder from `to_json`."""
        return cls(data["name"], tuple(data["labels"]))
