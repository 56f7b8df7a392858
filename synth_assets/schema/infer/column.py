"""The type of a column, from its values, its dtype and its name."""

import numpy as np
import pandas as pd
from pandas.api import types

from synth_assets.schema.columns import MAX_EXACT_INTEGER, Boolean, Categorical, Float, Integer, in_common_dtype
from synth_assets.schema.infer.guess import Guess, Unsupported
from synth_assets.schema.infer.keys import MAX_SPAN, key_of_text, key_word_in
from synth_assets.schema.infer.labels import FEW_LABELS, are_labels, free_text, label_column, short_code
from synth_assets.schema.infer.numbers import (
    formatted_numbers,
    key_or_integers,
    long_numbers,
    numbers_as_text,
    refuse_infinite,
)
from synth_assets.schema.infer.texts import MIN_RUN, SAMPLE, Texts, counted, said_of_gaps
from synth_assets.schema.infer.times import from_times, short_dates, times_as_text

_UNSUPPORTED = {
    "bytes": "bytes",
    "complex": "complex numbers",
    "interval": "intervals",
}
"""What `pandas.api.types.infer_dtype` calls the values that no column type holds, and the noun for them."""


def infer_column(values: pd.Series, *, is_target: bool, origin: str) -> Guess:
    """Return the type of a column, taken for itself; raise `Unsupported` if no type holds its values."""
    name = str(values.name)
    values = in_common_dtype(values.reset_index(drop=True))
    if values.isna().all():
        return Guess(Float(name=name, nullable=True), "every cell is empty")
    if isinstance(values.dtype, pd.CategoricalDtype):
        return _from_categories(name, values, is_target=is_target)
    kind = types.infer_dtype(values, skipna=True)
    if kind in _UNSUPPORTED:
        raise Unsupported(f"holds {_UNSUPPORTED[kind]}")
    if kind == "timedelta64" or types.is_timedelta64_dtype(values.dtype):
        seconds = values.dt.total_seconds()
        column = (Integer if (seconds.dropna() % 1 == 0).all() else Float)(name=name, unit="s", nullable=values.hasnans)
        return Guess(column, "time differences, in seconds")
    if kind == "boolean":
        return Guess(Boolean(name=name, nullable=values.hasnans), "true and false")
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _from_numbers(name, values, kind, is_target=is_target, origin=origin)
    if kind in ("datetime", "datetime64", "date"):
        return from_times(name, values)
    if kind != "string" and any(map(_is_nested, values.dropna().head(SAMPLE))):
        raise Unsupported("holds lists or other nested values")
    return _from_text(name, values.astype("str").where(values.notna()), is_target=is_target, origin=origin)


def _is_nested(value: object) -> bool:
    return isinstance(value, list | tuple | dict | set | np.ndarray)


def _from_categories(name: str, values: pd.Series, *, is_target: bool) -> Guess:
    present = values.cat.remove_unused_categories()
    labels = [str(label) for label in present.cat.categories]
    counts = present.cat.codes[present.notna()].value_counts()
    if is_target or len(labels) <= FEW_LABELS or are_labels(counts.to_numpy(), int(present.notna().sum())):
        ordered = labels if values.cat.ordered else sorted(labels)
        column = Categorical(name=name, categories=tuple(dict.fromkeys(ordered)), nullable=values.hasnans)
        return Guess(column, f"pandas categories, {counted(len(ordered), 'label')}")
    return free_text(name, values.astype("str").where(values.notna()), nullable=values.hasnans)


def _from_numbers(name: str, values: pd.Series, kind: str, *, is_target: bool, origin: str) -> Guess:
    has_gaps = values.hasnans
    if kind == "integer":
        numbers = values.dropna().map(int) if types.is_object_dtype(values.dtype) else values.dropna()
        low, high = int(numbers.min()), int(numbers.max())
        if high >= 2**63 or low < -(2**63) or high - low >= MAX_SPAN:
            return _from_text(name, values.astype("str").where(values.notna()), is_target=is_target, origin=origin)
        return key_or_integers(name, numbers.astype("int64").to_numpy(), has_gaps=has_gaps, is_target=is_target)
    floats = pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)
    refuse_infinite(name, values, np.isinf(floats), origin)
    if kind == "decimal":
        whole = values.dropna().map(lambda number: number == number.to_integral_value() and abs(number) < 2**63)
        if whole.all() and all(number.as_tuple().exponent >= 0 for number in values.dropna()):
            numbers = values.dropna().map(int).astype("int64").to_numpy()
            return key_or_integers(name, numbers, has_gaps=has_gaps, is_target=is_target)
        return Guess(Float(name=name, nullable=has_gaps), "decimals")
    present = floats[~np.isnan(floats)]
    if has_gaps and (present % 1 == 0).all() and np.abs(present).max() < MAX_EXACT_INTEGER:
        key = key_or_integers(name, present.astype("int64"), has_gaps=True, is_target=is_target)
        whole = Guess(Integer(name=name, nullable=True), "whole numbers, stored as floats because of empty cells")
        return key if key.column.type == "id" else whole
    return Guess(Float(name=name, nullable=has_gaps), "floats")


def _from_text(name: str, values: pd.Series, *, is_target: bool, origin: str) -> Guess:
    values = values.mask(values == "")
    if (values.isna() | values.str.isspace().fillna(True).astype(bool)).all():
        return Guess(Float(name=name, nullable=True), "every cell is empty")
    texts = Texts.of(values)
    has_values = len(texts.kept) > 0
    readings = _typed(values, texts, is_target=is_target, origin=origin) if has_values else ()
    if len(readings) == 1:
        return readings[0]
    if has_values and not is_target and not readings and (key := _key(texts)) is not None:
        return key
    is_label = are_labels(texts.counts, int(texts.counts.sum()))
    # In a column of text with many cells such as N/A, only these repeat.
    is_sparse_text = is_label and len(texts.kept) >= MIN_RUN and not are_labels(*texts.kept_counts)
    if is_target or (is_label and not is_sparse_text):
        return _either(label_column(texts), readings)
    if has_values and (numbers := long_numbers(texts.kept, texts.common, is_unique=texts.is_unique)) is not None:
        return numbers
    is_personal = bool(readings) or (texts.is_unique and key_word_in(name) is not None)
    if has_values and not is_personal and (code := short_code(texts.kept, texts.common)) is not None:
        return code
    text = free_text(name, values, nullable=texts.has_empty, unique=texts.unique)
    if is_sparse_text:
        text = Guess(text.column.model_copy(update=texts.common), f"{text.reason}{said_of_gaps(texts.common)}")
    return _either(text, readings)


def _typed(values: pd.Series, texts: Texts, *, is_target: bool, origin: str) -> tuple[Guess, ...]:
    """Return a column of dates, numbers, or true and false, if all texts read so; two if day and month could be either.

    Texts that read as none of them have no guess.
    """
    kept, common, is_unique = texts.kept, texts.common, texts.is_unique
    if (dates := short_dates(kept, common)) is not None:
        return (dates,)
    numbers = numbers_as_text(values, kept, common, is_unique=is_unique, is_target=is_target, origin=origin)
    if numbers is None:
        numbers = formatted_numbers(kept, common, is_unique=is_unique)
    if numbers is not None:
        return (numbers,)
    if set(kept.str.lower()) <= {"true", "false"}:
        return (Guess(Boolean(**common), f"true and false{said_of_gaps(common)}"),)
    return times_as_text(kept, common)


def _key(texts: Texts) -> Guess | None:
    """Return a key if texts that are unique, where they are not empty, are keys."""
    if not texts.is_unique:
        return None
    key = key_of_text(texts.name, texts.kept)
    if key is None:
        return None
    where = "unique in every row" if texts.is_complete else "unique where not empty"
    column = key.column.model_copy(update=texts.common)
    return Guess(column, f"{where}, {key.reason}{said_of_gaps(texts.common)}")


def _either(guess: Guess, readings: tuple[Guess, ...]) -> Guess:
    """Return a guess for text that could also be dates, and say so."""
    if not readings:
        return guess
    type_ = readings[0].column.type
    reason = f"{guess.reason}; could be dates, day or month first: state type: {type_} and format"
    return Guess(guess.column, reason, readings)
