"""Columns of strings that are no labels."""

from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from synth_assets.schema.columns.base import BaseColumn, Role

MOCK_WORDS = (
    "ad", "adipiscing", "aliqua", "aliquip", "amet", "commodo", "consectetur", "consequat", "do", "dolor", "dolore",
    "ea", "eiusmod", "elit", "enim", "et", "ex", "exercitation", "incididunt", "ipsum", "labore", "laboris", "lorem",
    "magna", "minim", "nisi", "nostrud", "quis", "sed", "sit", "tempor", "ullamco", "ut", "veniam",
)  # fmt: skip
"""The words of mock text."""

MOCK_TEXT_WORDS = 8
"""Maximum number of words of a mock text."""


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
