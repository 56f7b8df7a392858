"""Columns of labels."""

from collections import Counter
from datetime import date
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from synth_assets.schema.columns.base import BaseColumn, Role, TableError, listed
from synth_assets.schema.columns.values import may_hold_text

TRUE_TEXTS, FALSE_TEXTS = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
"""Spellings of a boolean, in any case."""


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
        return [f"one of {listed(self.labels)}"]

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
                f"{listed([repr(label) for label in unknown])}; expected one of {listed(self.labels)}. "
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
            raise ValueError(f"found {listed(twice)} twice; expected each label once")
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
        return values.mask(values.isin(missing)) if may_hold_text(values) and missing else values

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


def _folded(values: pd.Series) -> pd.Series:
    return values.astype("str").str.strip().str.lower()


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
