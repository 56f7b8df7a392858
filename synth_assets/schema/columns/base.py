"""Base of the column types: how values of any dtype are coerced, checked, compared, encoded and mocked."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from synth_assets.errors import ForeseenError
from synth_assets.schema.columns.values import in_common_dtype, may_hold_text

MAX_LISTED = 10
"""Labels that a message lists; it counts the others."""

Role = Literal["label", "number", "text", "id"]
"""What a column is to models and metrics.

- label: one of a set of labels;
- number: a value with an order and distances, such as a number or a date;
- text: a string that is no label;
- id: a key, which is neither learned nor compared, and made by a pattern.
"""

MOCK_MISSING_SHARE = 0.1
"""Share of the mock cells of a nullable column that are empty."""


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
        values = self._without_missing_texts(in_common_dtype(values.reset_index(drop=True)))
        wrong = values.notna().to_numpy() & ~self._is_readable(values)
        if wrong.any():
            row = int(wrong.argmax())
            count = int(wrong.sum())
            raise TableError(
                f"{origin}: column {self.name!r} has {shown(values[row])} in data row {row + 1}, which is not "
                f"{self.noun} ({count:,} such cell{'s' if count > 1 else ''}). {self._remedy}"
            )
        return self._converted(values)

    def is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value of any dtype, whether `coerce` accepts it; a missing one only if `nullable`."""
        values = self._without_missing_texts(in_common_dtype(values))
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
        if not may_hold_text(values):
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


def shown(value: object) -> str:
    """Return a value as a person writes it."""
    if isinstance(value, np.generic):
        value = value.item()
    return repr(value) if isinstance(value, str) else str(value)


def listed(labels: Sequence[str]) -> str:
    """Return labels as a list in a sentence: of many, the first."""
    more = len(labels) - MAX_LISTED
    return ", ".join(labels[:MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")
