"""Encoder of a column of labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from synth_assets.synthesizers.language_model.encoders.base import MISSING, UNENCODABLE, Part, unused_text


@dataclass(frozen=True)
class CategoricalEncoder:
    """Encoder of a column of labels: a quantised value is the label's position, and so is its code.

    Parameters
    ----------
    name : str
        Name of the column.
    labels : tuple of str
        Labels of the train rows, sorted.
    has_missing : bool
        Whether train rows have missing values in this column.
    is_boolean : bool
        Whether the labels stand for false and true.
    """

    name: str
    labels: tuple[str, ...]
    has_missing: bool = False
    is_boolean: bool = False

    type: ClassVar[str] = "categorical"
    is_numeric: ClassVar[bool] = False
    predictor: ClassVar[None] = None
    grid_step: ClassVar[int] = 1
    base: ClassVar[int] = 0
    radices: ClassVar[tuple[int, ...]] = ()
    atoms: ClassVar[tuple[int, ...]] = ()
    listed: ClassVar[tuple[int, ...]] = ()

    @classmethod
    def fit(cls, values: pd.Series) -> "CategoricalEncoder":
        """Fit the encoder to the values of a column."""
        is_boolean = pd.api.types.is_bool_dtype(values.dtype)
        labels = tuple(sorted(_texts(values.dropna(), is_boolean).unique()))
        return cls(str(values.name), labels, bool(values.isna().any()), is_boolean)

    @property
    def low(self) -> int:
        """Smallest quantised value."""
        return 0

    @property
    def high(self) -> int:
        """Largest quantised value."""
        return len(self.labels) - 1

    @property
    def n_values(self) -> int:
        """Number of values, missing ones aside."""
        return len(self.labels)

    @property
    def cardinality(self) -> int:
        """Number of codes."""
        return len(self.labels)

    @property
    def n_ending(self) -> int:
        """Number of indices of the only part that stand for a missing value."""
        return int(self.has_missing)

    @cached_property
    def parts(self) -> list[Part]:
        """The only part of a value: its label, after the one for a missing value."""
        missing = (unused_text("missing", self.labels),) if self.has_missing else ()
        return [Part((*missing, *self.labels))]

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return the position of each label; -1 if it is unknown."""
        positions: np.ndarray = pd.Index(self.labels).get_indexer(_texts(values, self.is_boolean)).astype(np.int64)
        positions[values.isna().to_numpy()] = MISSING
        return positions

    def to_indices(self, quantised: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the (n, 1) indices of the parts of n cells."""
        del quantised
        indices = np.where(cells >= 0, cells + self.n_ending, UNENCODABLE)
        if self.has_missing:
            indices[cells == MISSING] = 0
        return indices[:, None]

    def from_indices(self, quantised: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return the n cells of the (n, 1) indices of their parts."""
        del quantised
        cells = indices[:, 0].astype(np.int64) - self.n_ending
        return np.where(cells < 0, MISSING, cells)

    def nearest(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return n cells, and which of them are labels that the train rows do not have."""
        return cells, cells < 0

    def predictions(self, quantised: np.ndarray) -> np.ndarray:
        """Return the prediction for each row: 0."""
        return np.zeros(len(quantised))

    def offsets(self, quantised: np.ndarray) -> np.ndarray:
        """Return the offset of each row: 0."""
        return np.zeros(len(quantised), np.int64)

    def to_values(self, quantised: np.ndarray) -> pd.Series:
        """Return the labels at these positions, as booleans if they stand for them."""
        if not self.labels:
            return pd.Series([None] * len(quantised), dtype="boolean" if self.is_boolean else "str")
        is_missing = quantised == MISSING
        texts = pd.Series(pd.array(list(self.labels), dtype="str").take(np.where(is_missing, 0, quantised)))
        if self.is_boolean:
            truths = texts == "true"
            return truths.astype("boolean").mask(is_missing) if is_missing.any() else truths
        return texts.mask(is_missing) if is_missing.any() else texts

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        return {
            "type": self.type,
            "name": self.name,
            "labels": list(self.labels),
            "has_missing": self.has_missing,
            "is_boolean": self.is_boolean,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CategoricalEncoder":
        """Restore an encoder from `to_json`."""
        return cls(data["name"], tuple(data["labels"]), data["has_missing"], data["is_boolean"])


def _texts(values: pd.Series, is_boolean: bool) -> pd.Series:
    texts = values.astype("str")
    return texts.str.lower() if is_boolean else texts
