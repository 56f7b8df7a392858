"""Numbers, in memory and as text."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from synth_assets.schema.columns import Float, Id, Integer, TableError
from synth_assets.schema.infer.guess import Guess
from synth_assets.schema.infer.keys import MAX_SPAN, first_new, key_word_in, pattern_of, why_key
from synth_assets.schema.infer.texts import DIGITS, SAMPLE, ZERO_LED, counted, said_of_gaps
from synth_assets.schema.number_formats import find_format, parse_format

MIN_LONG_DIGITS = 19
"""Digits of whole numbers that may be too far apart to be learned as numbers."""

_WHOLE = r"[+-]?[0-9]+(?:\.0*)?"
_CODE_WITH_E = r"[0-9]+E[0-9]+"
"""Codes such as 3E5, which read as numbers: as one, it is written 3E+5, 3.0E5 or 3e5."""


def numbers_as_text(
    values: pd.Series, kept: pd.Series, common: dict[str, Any], *, is_unique: bool, is_target: bool, origin: str
) -> Guess | None:
    """Return a column of numbers if all different texts read as one."""
    name = common["name"]
    if pd.to_numeric(kept.head(SAMPLE), errors="coerce").isna().any():
        return None
    floats = pd.to_numeric(kept, errors="coerce").to_numpy("float64", na_value=np.nan)
    if np.isnan(floats).any():
        return None
    if kept.str.fullmatch(ZERO_LED).any() or kept.str.fullmatch(_CODE_WITH_E).all():
        return None
    said = said_of_gaps(common)
    if not kept.str.fullmatch(_WHOLE).all():
        infinite = kept[np.isinf(floats)]
        refuse_infinite(name, values, values.str.strip().isin(infinite).to_numpy(), origin)
        return Guess(Float(**common), f"numbers with decimals{said}")
    numbers = pd.to_numeric(kept.str.replace(r"\.0*$", "", regex=True), errors="coerce")
    if not types.is_integer_dtype(numbers.dtype) or int(numbers.max()) >= 2**63:
        return None  # beyond 64 bits: a key or a label
    if int(numbers.max()) - int(numbers.min()) >= MAX_SPAN:
        return None
    whole = numbers.astype("int64").to_numpy()
    guess = key_or_integers(name, whole, has_gaps=common["nullable"], is_target=is_target or not is_unique)
    if guess.column.type == "id":
        column = guess.column.model_copy(update={"missing_values": common["missing_values"]})
        return Guess(column, f"{guess.reason}{said}")
    return Guess(Integer(**common), f"{guess.reason}{said}")


def formatted_numbers(kept: pd.Series, common: dict[str, Any], *, is_unique: bool) -> Guess | None:
    """Return a column of numbers if all different texts are numbers in one format, such as $1,234.50 or 08:30."""
    if is_unique and key_word_in(common["name"]) is not None:
        return None
    if find_format(kept.head(SAMPLE)) is None or (pattern := find_format(kept)) is None:
        return None
    format_ = parse_format(pattern)
    numbers = pd.to_numeric(format_.read(kept), errors="coerce")
    kind = Integer if types.is_integer_dtype(numbers.dtype) else Float
    reason = f"{format_.noun} in the format {pattern}{said_of_gaps(common)}"
    return Guess(kind(**common, format=pattern, unit=format_.unit or None), reason)


def long_numbers(kept: pd.Series, common: dict[str, Any], *, is_unique: bool) -> Guess | None:
    """Return a key if all different texts are whole numbers that are too far apart to be learned as numbers."""
    if not kept.str.fullmatch(DIGITS).all() or kept.str.fullmatch(ZERO_LED).any():
        return None
    if kept.str.len().max() < MIN_LONG_DIGITS:
        return None
    numbers = [int(text) for text in kept]
    low, high = min(numbers), max(numbers)
    is_stored = low >= -(2**63) and high < 2**63
    pattern, start = ("integer", first_new(numbers)) if is_stored else pattern_of(kept.str.lstrip("+-"))
    column = Id(**common, pattern=pattern, start=start, repeats=not is_unique)
    reason = "whole numbers that differ by more than 62 bits" if high - low >= MAX_SPAN else "very long whole numbers"
    return Guess(column, f"{reason}, taken for keys{said_of_gaps(common)}")


def key_or_integers(name: str, numbers: np.ndarray, *, has_gaps: bool, is_target: bool) -> Guess:
    """Return a key, or else a column of whole numbers."""
    whole = Guess(Integer(name=name, nullable=has_gaps), "whole numbers")
    if is_target or (has_gaps and key_word_in(name) is None):
        return whole
    why = why_key(name, numbers)
    if why is None:
        return whole
    if len(np.unique(numbers)) < len(numbers):
        return whole
    start = first_new(numbers)
    where = "unique where not empty" if has_gaps else "unique in every row"
    return Guess(Id(name=name, pattern="integer", start=start, nullable=has_gaps), f"{where}, {why}")


def refuse_infinite(name: str, values: pd.Series, infinite: np.ndarray, origin: str) -> None:
    """Raise a `TableError` if a number is infinite."""
    count = int(infinite.sum())
    if count:
        row = int(infinite.argmax())
        raise TableError(
            f"{origin}: column {name!r} has {values[row]} in data row {row + 1}, which is not a finite number "
            f"({counted(count, 'such cell')}). Replace the value, empty the cell, or drop the row."
        )
