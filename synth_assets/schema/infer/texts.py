"""Texts of which nothing is known yet: what stands for an empty cell, and how messages list them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

MIN_RUN = 10
"""Rows from which on consecutive numbers are a key, whatever the name of the column."""

MAX_NAMES = 5
"""Names of columns, or texts, that a notice lists."""

MISSING_TEXTS = (
    "",
    "?",
    "-",
    "--",
    ".",
    "na",
    "n/a",
    "#n/a",
    "nan",
    "null",
    "none",
    "nil",
    "missing",
    "k.a.",
    "<na>",
    "nat",
    "#div/0!",
    "#value!",
    "#num!",
    "0000-00-00",
    "0000-00-00 00:00:00",
)
"""Texts, in lower case, that stand for an empty cell where every other value is a number, a date, or true or false."""

MISSING_WORDS = (
    *("—", "\u2013", "..", "...", "*", "\\n", "(null)", "(blank)", "#ref!", "#name?"),
    *("n.a.", "n.a", "n.d.", "unknown", "not available", "not applicable", "no data", "tbd"),
)
"""Texts, in lower case, that do so where there are `MIN_RUN` different other values: beside a few, they are labels."""

SAMPLE = 1000
"""Values that are looked at before all are, to rule a type out."""

DIGITS = r"[+-]?[0-9]+"
ZERO_LED = r"[+-]?0[0-9]+"


@dataclass(frozen=True)
class Texts:
    """The different texts of a column, and which of them stand for an empty cell.

    Parameters
    ----------
    name : str
        Name of the column.
    unique : pandas.Series
        The n different texts.
    counts : numpy.ndarray
        (n) rows of each.
    is_gap : numpy.ndarray
        (n) whether each stands for an empty cell, unless all are labels or text.
    rows : int
        Number of rows, those with an empty cell included.
    """

    name: str
    unique: pd.Series
    counts: np.ndarray
    is_gap: np.ndarray
    rows: int

    @classmethod
    def of(cls, values: pd.Series) -> "Texts":
        """Return the different texts of a column in which empty texts are missing."""
        codes, distinct = pd.factorize(values)
        unique = pd.Series(distinct, dtype="str")
        folded = unique.str.strip().str.lower()
        is_gap, is_word = folded.isin(MISSING_TEXTS).to_numpy(), folded.isin(MISSING_WORDS).to_numpy()
        if (~is_gap & ~is_word).sum() >= MIN_RUN:
            is_gap = is_gap | is_word
        counts = np.bincount(codes[codes >= 0], minlength=len(unique))
        return cls(str(values.name), unique, counts, is_gap, len(values))

    @cached_property
    def bare(self) -> pd.Series:
        """The texts, without spaces around them."""
        return self.unique.str.strip()

    @cached_property
    def kept(self) -> pd.Series:
        """The bare texts that do not stand for an empty cell."""
        return self.bare[~self.is_gap]

    @property
    def kept_counts(self) -> tuple[np.ndarray, int]:
        """The rows of each of the kept texts, and of all of them."""
        counts = self.counts[~self.is_gap]
        return counts, int(counts.sum())

    @property
    def has_empty(self) -> bool:
        """Whether a cell is empty."""
        return bool(self.counts.sum() < self.rows)

    @property
    def is_unique(self) -> bool:
        """Whether each of the kept texts is in one row."""
        return bool((self.counts[~self.is_gap] == 1).all())

    @property
    def is_complete(self) -> bool:
        """Whether every row has a text of its own."""
        return len(self.unique) == self.rows and not self.is_gap.any()

    @property
    def common(self) -> dict[str, Any]:
        """What a column of the kept texts states, whatever its type."""
        gaps = self.unique[self.is_gap & (self.bare != "").to_numpy()]  # cells of spaces alone are empty anyway
        nullable = self.has_empty or bool(self.is_gap.any())
        return {"name": self.name, "nullable": nullable, "missing_values": tuple(gaps)}


def said_of_gaps(common: Mapping[str, Any]) -> str:
    """Return the texts that stand for an empty cell, as the end of a reason."""
    return f"; {quoted(common['missing_values'])} where a cell is empty" if common["missing_values"] else ""


def counted(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def quoted(texts: Sequence[str]) -> str:
    """Return texts in quotes, as a list in a sentence."""
    return ", ".join(repr(text) for text in texts)
