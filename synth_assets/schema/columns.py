"""The column types. Each knows its dtype, its SQL type, and how its values are coerced, checked and encoded.

A column is a pydantic model: YAML, JSON and the Python object are the same.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synth_assets.errors import ForeseenError

MAX_EXACT_INTEGER = 2**53
"""From here on a float no longer represents every integer."""

MAX_LISTED = 10
"""Labels that a message lists; it counts the others."""


class TableError(ForeseenError):
    """A table does not match its schema; the message states what was found, what was expected and what to do."""


class BaseColumn(BaseModel, ABC):
    """Base of the column types."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql_type: ClassVar[str]
    """The DuckDB type of the stored values."""
    is_numeric: ClassVar[bool]
    """Whether values are numbers, with an order and distances."""

    type: str
    name: str = Field(min_length=1, description="Name in the source.")
    description: str = Field(default="", description="Meaning of a value.")
    unit: str | None = Field(default=None, description="Unit, as written on an axis.")

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
            n values; numbers may come as text or as pandas categories.
        origin : str
            Where they came from, for the message.

        Returns
        -------
        pandas.Series
            The n values; the index counts from 0.

        Raises
        ------
        TableError
            If a value cannot be converted.
        """
        values = values.reset_index(drop=True)
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("str").where(values.notna())
        return self._converted(values, origin)

    @abstractmethod
    def _converted(self, values: pd.Series, origin: str) -> pd.Series: ...

    @abstractmethod
    def is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value of any dtype, whether it is present and `coerce` accepts it."""

    @abstractmethod
    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a dtype of this column."""

    @abstractmethod
    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value in the column's dtype, whether it is one of the labels, or within the limits.

        A missing or infinite value is not in range.
        """

    def count_out_of_range(self, values: pd.Series) -> int:
        """Count the values that are not in range; missing ones do not count."""
        return int((~self.in_range(values.dropna())).sum())

    @abstractmethod
    def encode(self, values: pd.Series) -> pd.Series:
        """Return values as numbers, as `encoded_split` stores them.

        Raises
        ------
        TableError
            If a label is not one of the column's.
        """


class Categorical(BaseColumn):
    """A column of labels."""

    sql_type: ClassVar[str] = "VARCHAR"
    is_numeric: ClassVar[bool] = False

    type: Literal["categorical"] = "categorical"
    categories: tuple[str, ...] = Field(min_length=1, description="Labels in the order of their codes.")

    @field_validator("categories")
    @classmethod
    def _are_unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted(label for label, count in Counter(value).items() if count > 1)
        if twice:
            raise ValueError(f"found {_listed(twice)} twice; expected each label once")
        return value

    @property
    def encoded_sql_type(self) -> str:
        """The DuckDB type of the codes."""
        return "TINYINT" if len(self.categories) <= 2**7 else "SMALLINT" if len(self.categories) <= 2**15 else "INTEGER"

    @property
    def range_text(self) -> list[str]:
        """The labels; of many, the first."""
        return [f"one of {_listed(self.categories)}"]

    def _converted(self, values: pd.Series, origin: str) -> pd.Series:
        return values.astype("str").where(values.notna())

    def is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is one of the labels."""
        return self.in_range(values)

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values are text, or missing."""
        return not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)

    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is one of the labels."""
        return np.asarray(values.isin(self.categories), dtype=bool)

    def encode(self, values: pd.Series) -> pd.Series:
        """Return the position of each label, as `pandas.Categorical.codes`."""
        known = self.in_range(values)
        if not known.all():
            unknown = sorted(set(values[~known].astype(str)))
            raise TableError(
                f"column {self.name!r} has the label{'s' if len(unknown) > 1 else ''} "
                f"{_listed([repr(label) for label in unknown])}; expected one of {_listed(self.categories)}. "
                "Add the label to the column's categories, or correct the source."
            )
        codes = pd.Categorical(values, categories=list(self.categories)).codes
        return pd.Series(codes, index=values.index, name=values.name)


class NumericColumn(BaseColumn):
    """Base of the columns of numbers."""

    is_numeric: ClassVar[bool] = True
    categories: ClassVar[tuple[str, ...]] = ()
    noun: ClassVar[str]

    minimum: float | None = Field(default=None, description="Least plausible value.")
    maximum: float | None = Field(default=None, description="Greatest plausible value.")

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> "NumericColumn":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(
                f"found minimum {self.minimum:g} and maximum {self.maximum:g} of column {self.name!r}; "
                "expected the minimum to be no greater"
            )
        return self

    @property
    def range_text(self) -> list[str]:
        """The limits that are stated."""
        stated = ((">=", self.minimum), ("<=", self.maximum))
        return [f"{sign} {limit:g}" for sign, limit in stated if limit is not None]

    def is_readable(self, values: pd.Series) -> np.ndarray:
        """Return, for each value, whether it is a finite number of this type."""
        numbers = pd.to_numeric(values, errors="coerce")
        return np.asarray(numbers.notna() & (numbers.abs() != float("inf")) & ~self._not_of_type(numbers))

    def _converted(self, values: pd.Series, origin: str) -> pd.Series:
        numbers = pd.to_numeric(values, errors="coerce")
        wrong = values.notna() & ~self.is_readable(values)
        if wrong.any():
            row = int(wrong.idxmax())
            value = values[row].item() if isinstance(values[row], np.generic) else values[row]
            raise TableError(
                f"{origin}: column {self.name!r} has {value!r} in data row {row + 1}, which is not {self.noun} "
                f"({int(wrong.sum())} such cell{'s' if wrong.sum() > 1 else ''}). Correct the source, or state another "
                "type for the column."
            )
        return self._as_dtype(numbers)

    @abstractmethod
    def _not_of_type(self, numbers: pd.Series) -> pd.Series: ...

    @abstractmethod
    def _as_dtype(self, numbers: pd.Series) -> pd.Series: ...

    def in_range(self, values: pd.Series) -> np.ndarray:
        """Return, for each number, whether it is finite and within the limits."""
        numbers = values.to_numpy("float64", na_value=np.nan)
        low = -np.inf if self.minimum is None else self.minimum
        high = np.inf if self.maximum is None else self.maximum
        return np.asarray(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))

    def encode(self, values: pd.Series) -> pd.Series:
        """Return the values as they are."""
        return values


class Integer(NumericColumn):
    """A column of whole numbers."""

    sql_type: ClassVar[str] = "BIGINT"
    noun: ClassVar[str] = "a whole number"

    type: Literal["integer"] = "integer"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have an integer dtype."""
        return bool(pd.api.types.is_integer_dtype(values.dtype))

    def _not_of_type(self, numbers: pd.Series) -> pd.Series:
        return numbers.notna() & ((numbers % 1 != 0) | (numbers.abs() >= MAX_EXACT_INTEGER))

    def _as_dtype(self, numbers: pd.Series) -> pd.Series:
        return numbers.astype("Int64" if numbers.isna().any() else "int64")


class Float(NumericColumn):
    """A column of decimal numbers."""

    sql_type: ClassVar[str] = "DOUBLE"
    noun: ClassVar[str] = "a number"

    type: Literal["float"] = "float"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have a float dtype."""
        return bool(pd.api.types.is_float_dtype(values.dtype))

    def _not_of_type(self, numbers: pd.Series) -> pd.Series:
        return pd.Series(False, index=numbers.index)

    def _as_dtype(self, numbers: pd.Series) -> pd.Series:
        return numbers.astype("float64")


Column = Annotated[Categorical | Integer | Float, Field(discriminator="type")]
"""Any column, chosen by its `type`."""


def describe_type(values: pd.Series) -> str:
    """Return the column type that values in memory have: 'integer', 'float' or 'categorical'."""
    kinds: tuple[Any, ...] = (Integer(name="x"), Float(name="x"))
    return next((kind.type for kind in kinds if kind.has_dtype(values)), "categorical")


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - MAX_LISTED
    return ", ".join(labels[:MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")
