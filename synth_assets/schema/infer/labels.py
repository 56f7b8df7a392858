"""Strings: labels, short codes or text."""

from typing import Any

import numpy as np
import pandas as pd

from synth_assets.schema.columns import Categorical, Text
from synth_assets.schema.infer.guess import Guess
from synth_assets.schema.infer.texts import DIGITS, MIN_RUN, ZERO_LED, Texts, counted

FEW_LABELS = 50
"""Up to so many different strings are labels if there are at most half as many as rows."""

ROWS_PER_LABEL = 5
"""More strings are labels if as many rows have one on average, or if most rows have one that as many rows have."""

MIN_HIDING_ROWS = 50
"""Rows of a table from which on labels are text that so few rows have; in a shorter one, all are rare."""

FREQUENT_SHARE = 0.8
"""Share of the rows that are most rows."""

MAX_LABELS = 100_000
"""Maximum number of labels of an inferred column."""

MIN_CODE_DIGITS, MAX_CODE_DIGITS = 2, 7
"""Digits of a short code, such as a zip code, which many have in common: longer ones may be a person's own."""

MAX_TEXT_LENGTH = 200
"""Maximum length of an inferred column of text."""


def are_labels(counts: np.ndarray, rows: int) -> bool:
    """Return whether strings repeat so often that they are labels; `counts` are the rows of each."""
    distinct = len(counts)
    if distinct <= FEW_LABELS and (2 * distinct <= rows or (rows < 20 and distinct < rows)):
        return True
    if distinct > MAX_LABELS:
        return False
    frequent = int(counts[counts >= ROWS_PER_LABEL].sum())
    return rows >= ROWS_PER_LABEL * distinct or frequent >= FREQUENT_SHARE * rows


def label_column(texts: Texts) -> Guess:
    """Return a column of labels, in alphabetical order."""
    column = Categorical(name=texts.name, categories=tuple(sorted(texts.unique)), nullable=texts.has_empty)
    has_zeros = texts.bare.str.fullmatch(DIGITS).all() and texts.bare.str.fullmatch(ZERO_LED).any()
    zeros = ", whose leading zeros are kept" if has_zeros else ""
    return Guess(column, f"{counted(len(texts.unique), 'label')}{zeros}")


def text_if_rare(guess: Guess, values: pd.Series, *, private: bool) -> Guess:
    """Return text in place of labels none of which as many rows have as may be shown of a private table."""
    if not private or not isinstance(guess.column, Categorical) or len(values) < MIN_HIDING_ROWS:
        return guess
    strings = values.astype("object").mask(values == "")
    if strings.value_counts().max() >= ROWS_PER_LABEL:
        return guess
    text = free_text(guess.column.name, strings.astype("str").where(strings.notna()), nullable=guess.column.nullable)
    return Guess(text.column, f"{text.reason}, none of them in {ROWS_PER_LABEL} rows")


def free_text(name: str, values: pd.Series, *, nullable: bool, unique: pd.Series | None = None) -> Guess:
    """Return a column of text that is as long as the longest string."""
    longest = int((values if unique is None else unique).str.len().max())
    length = min(-(-longest // 10) * 10, MAX_TEXT_LENGTH)
    distinct = values.nunique() if unique is None else len(unique)
    reason = f"{distinct:,} different strings, the longest of {counted(longest, 'character')}"
    return Guess(Text(name=name, max_length=max(length, 10), nullable=nullable), reason)


def short_code(kept: pd.Series, common: dict[str, Any]) -> Guess | None:
    """Return a column of codes if different texts have few digits at the same places, and all else in common."""
    shapes = kept.str.replace("[0-9]", "0", regex=True)
    shape = shapes.iloc[0]
    is_short = MIN_CODE_DIGITS <= shape.count("0") <= MAX_CODE_DIGITS
    if len(kept) < MIN_RUN or not is_short or not (shapes == shape).all():
        return None
    column = Text(**common, max_length=max(len(shape), 10), code=True)
    return Guess(column, f"{len(kept):,} codes with {shape.count('0')} digits each, such as {kept.iloc[0]!r}")
