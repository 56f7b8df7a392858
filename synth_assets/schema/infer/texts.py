"""Texts of which nothing is known yet: what stands for an empty cell, and how messages list them."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def said_of_gaps(common: Mapping[str, Any]) -> str:
    """Return the texts that stand for an empty cell, as the end of a reason."""
    return f"; {quoted(common['missing_values'])} where a cell is empty" if common["missing_values"] else ""


def counted(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def quoted(texts: Sequence[str]) -> str:
    """Return texts in quotes, as a list in a sentence."""
    return ", ".join(repr(text) for text in texts)
