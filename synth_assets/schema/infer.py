"""A schema inferred from rows: the type of each column, why it was chosen, and what no type holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from synth_assets.schema.columns import (
    ALPHABETS,
    MAX_EXACT_INTEGER,
    Boolean,
    Categorical,
    Column,
    Date,
    Datetime,
    Float,
    Id,
    Integer,
    TableError,
    Text,
    with_numeric_offset,
    without_arrow,
)
from synth_assets.schema.number_formats import find_format, parse_format
from synth_assets.schema.table import TableSchema, refuse_duplicates

MIN_ROWS = 2
"""Minimum number of rows that a schema is inferred from."""

FEW_LABELS = 50
"""Up to so many different strings are labels if there are at most half as many as rows."""

ROWS_PER_LABEL = 5
"""More strings are labels if as many rows have one on average, or if most rows have one that as many rows have."""

FREQUENT_SHARE = 0.8
"""Share of the rows that are most rows."""

MAX_LABELS = 100_000
"""Maximum number of labels of an inferred column."""

MIN_RUN = 10
"""Rows from which on consecutive numbers are a key, whatever the name of the column."""

MIN_KEY_DIGITS = 12
"""Digits from which on unique whole numbers are a key, whatever the name of the column."""

MIN_TOKEN_LENGTH = 8
"""Characters from which on unique codes of one length are a key, whatever the name of the column."""

MAX_SPAN = 2**62
"""Whole numbers that differ by so much are no numbers to a model: keys, such as hashes, or labels."""

MIN_LONG_DIGITS = 19
"""Digits of whole numbers that may be so far apart."""

KEY_ROOM = 10**9
"""Consecutive numbers that new keys need to have as many digits as the real ones: those of 1,000 days."""

MAX_KEY_DIGITS = 18
"""Digits of a number that is counted; of a longer one, the first digits stay as they are."""

MIN_KEY_LENGTH = 4
"""Digits that whole numbers that repeat need to be keys where their column is called a number, no or key."""

MIN_CODE_DIGITS, MAX_CODE_DIGITS = 2, 7
"""Digits of a short code, such as a zip code, which many have in common: longer ones may be a person's own."""

MAX_NAMES = 5
"""Names of columns, or texts, that a notice lists."""

NEARLY_ALL = 0.9
"""Share of the different texts of a column that are numbers, for the other ones to be named."""

MAX_TEXT_LENGTH = 200
"""Maximum length of an inferred column of text."""

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

_SAMPLE = 1000
"""Values that are looked at before all are, to rule a type out."""

_UNSUPPORTED = {
    "bytes": "bytes",
    "complex": "complex numbers",
    "interval": "intervals",
    "period": "periods",
    "timedelta": "time differences",
}
"""What `pandas.api.types.infer_dtype` calls the values that no column type holds, and the noun for them."""

_KEY_WORDS = {"id", "ids", "uuid", "guid"}
"""Words of a name that say that unique values are keys."""

_LAST_KEY_WORDS = {
    *("key", "number", "no", "nr", "num", "serial", "index", "account", "card", "iban", "ssn", "passport"),
    *("phone", "telephone", "tel", "mobile", "isbn", "ean"),
}
"""Words that say so at the end of a name: an order number is a key, a number of rooms is not."""

_REPEATED_KEY_WORDS = {"id", "ids", "uuid", "guid", "account", "card", "iban", "phone", "serial", "ssn"}
"""Words at the end of a name that say that values are keys even if they repeat, such as a customer's in orders."""

_REPEATED_NUMBER_WORDS = {"key", "number", "no", "nr"}
"""Words that say so of texts, and of numbers with as many digits: a customer number, not a house number."""

_TIME_WORDS = {
    *("time", "timestamp", "date", "datetime", "ts", "epoch", "created", "updated", "at"),
    *("year", "quarter", "month", "week", "day", "hour", "minute", "second"),
}
"""Words of a name that say that whole numbers are points in time, even if they are long or consecutive."""

_EPOCH_MILLISECONDS = (631_152_000_000, 4_102_444_800_000)
"""The years 1990 to 2100: 12 or 13 digits, and no keys."""

_TOTALS = {
    *("total", "totals", "grand total", "sum", "subtotal", "average", "summe", "gesamt", "gesamtsumme", "insgesamt"),
    *("somme", "totale", "suma", "итого", "всего", "合计", "总计", "合計", "총계"),
}
"""What the last row begins with, in lower case, if it is the total of the others."""

_SIGNS = r"[$€£¥%]|(?<=[0-9]),(?=[0-9]{3})|\s|^\((?=[^()]*\)$)|(?<=[0-9])[)-]$"
_UNIT = r"(?<=[0-9])\s?([A-Za-zµ°/]+[²³]?)$"
_CLOCK = r"(?:-?[0-9]+ days?,? )?-?[0-9]{1,3}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[AaPp][Mm])?"
_WHOLE = r"[+-]?[0-9]+(?:\.0*)?"
_DIGITS = r"[+-]?[0-9]+"
_ZERO_LED = r"[+-]?0[0-9]+"
_CODE_WITH_E = r"[0-9]+E[0-9]+"
"""Codes such as 3E5, which read as numbers: as one, it is written 3E+5, 3.0E5 or 3e5."""
_UUID = r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_WORD = r"[A-Za-z0-9_-]{1,64}"
_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_ISO_TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_OFFSET = r" ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})"
_YEAR, _MONTH, _DAY = r"(?:19|20)\d{2}", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"

_DATE_FORMATS = (
    (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{4}\.\d{1,2}\.\d{1,2}", ("%Y.%m.%d",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%m/%d/%Y", "%d/%m/%Y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d{1,2}\.\d{1,2}\.\d{2}", ("%d.%m.%y",)),
    (r"\d{1,2}/\d{1,2}/\d{2}", ("%m/%d/%y", "%d/%m/%y")),
    *(
        (pattern.replace("MONTH", month), (format_.replace("MONTH", name),))
        for month, name in ((r"[A-Za-z]{3}", "%b"), (r"[A-Za-z]+", "%B"))
        for pattern, format_ in (
            (r"\d{1,2}-MONTH-\d{4}", "%d-MONTH-%Y"),
            (r"\d{1,2}-MONTH-\d{2}", "%d-MONTH-%y"),
            (r"\d{1,2} MONTH \d{4}", "%d MONTH %Y"),
            (r"\d{1,2}\. MONTH \d{4}", "%d. MONTH %Y"),
            (r"\d{4}-MONTH-\d{1,2}", "%Y-MONTH-%d"),
            (r"MONTH \d{1,2} \d{4}", "MONTH %d %Y"),
            (r"MONTH \d{1,2}, \d{4}", "MONTH %d, %Y"),
            (r"[A-Za-z]{3}, \d{1,2} MONTH \d{4}", "%a, %d MONTH %Y"),
            (r"[A-Za-z]+, \d{1,2} MONTH \d{4}", "%A, %d MONTH %Y"),
            (r"[A-Za-z]+, MONTH \d{1,2}, \d{4}", "%A, MONTH %d, %Y"),
        )
    ),
)
_SHORT_FORMATS = (
    (r"[A-Za-z]{3} \d{4}", "%b %Y"),
    (r"[A-Za-z]{3}-\d{4}", "%b-%Y"),
    (r"[A-Za-z]{3}-\d{2}", "%b-%y"),
    (r"[A-Za-z]+ \d{4}", "%B %Y"),
    (f"{_MONTH}/{_YEAR}", "%m/%Y"),
    (f"{_YEAR}{_MONTH}", "%Y%m"),
    (f"{_YEAR}-{_MONTH}", "%Y-%m"),
    (f"{_YEAR}{_MONTH}{_DAY}", "%Y%m%d"),
    (rf"{_YEAR}{_MONTH}{_DAY}(?:[01]\d|2[0-3])[0-5]\d", "%Y%m%d%H%M"),
    (rf"{_YEAR}{_MONTH}{_DAY}\d{{6}}", "%Y%m%d%H%M%S"),
)
"""Formats of what may be a number, a label or a name: dates if there are `MIN_RUN` different ones, and all are."""
_TIME_FORMATS = (
    ("", ""),
    (r" \d{1,2}:\d{2}", " %H:%M"),
    (r" \d{1,2}:\d{2}:\d{2}", " %H:%M:%S"),
    (r" \d{1,2}:\d{2} [AaPp][Mm]", " %I:%M %p"),
    (r" \d{1,2}:\d{2}:\d{2} [AaPp][Mm]", " %I:%M:%S %p"),
)


@dataclass(frozen=True)
class Inference:
    """A schema that was inferred from rows.

    Parameters
    ----------
    schema : TableSchema
        The columns, in the order of the frame, without those that are left out.
    reasons : dict
        For each column of the schema, why it has its type, as a phrase.
    left_out : dict
        For each column that no type holds, what it holds.
    notices : tuple of str
        What a person should decide, each as a sentence.
    """

    schema: TableSchema
    reasons: dict[str, str]
    left_out: dict[str, str]
    notices: tuple[str, ...] = ()

    @property
    def left_out_text(self) -> str:
        """The columns that are left out and why, as a sentence; empty if there are none."""
        if not self.left_out:
            return ""
        names: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            names.setdefault(reason, []).append(repr(name))
        found = "; ".join(
            f"{', '.join(each)} {reason if len(each) == 1 else reason.replace('holds', 'hold', 1)}"
            for reason, each in names.items()
        )
        return f"Left out: {found}. Convert them to numbers, dates or text to have them."


@dataclass(frozen=True)
class _Guess:
    column: Column
    reason: str
    readings: tuple["_Guess", ...] = ()
    """For text that could be dates with the day or the month first: both."""
    instead: str = ""
    """For a key that repeats: the type that its values would have if they were learned."""


class _Unsupported(Exception):
    """No column type holds the values; the message says what they are."""


def infer_schema(
    frame: pd.DataFrame, target: str | None = None, *, origin: str = "the frame", private: bool = True
) -> TableSchema:
    """Infer a schema from rows; arguments and errors are as in `infer`.

    Examples
    --------
    >>> infer_schema(pd.DataFrame({"Sex": ["M", "F"] * 2, "Rings": [9, 7, 8, 7]})).column("Sex").categories
    ('F', 'M')
    """
    return infer(frame, target, origin=origin, private=private).schema


def infer(
    frame: pd.DataFrame, target: str | None = None, *, origin: str = "the frame", private: bool = True
) -> Inference:
    """Infer the type of each column from its values, its dtype and its name.

    Text that reads as whole numbers, decimals, true and false, dates or datetimes in every cell becomes a column of
    that type, and so do numbers in one format, such as $1,234.50, 12 kg or 08:30; whole numbers with leading zeros do
    not: they are labels, or text. Unique values that are consecutive, long, UUIDs or of a pattern
    such as AB-0001 become keys, and so do unique whole numbers beside empty cells if their name says so. So do, if
    their name says so, whole numbers and codes that repeat, but for few or, in a table that is not private, frequent
    ones. Other strings are labels if they repeat, and text if not. A column is nullable where a cell is empty. No
    limits are inferred.

    Parameters
    ----------
    frame : pandas.DataFrame
        At least two rows: text, as from a CSV file, or values of any dtype. Column names that are no text, such as 7,
        are converted with `str`.
    target : str, optional
        Name of the column that is predicted from the others; it is never taken for a key.
    origin : str
        Where the rows came from, for the messages.
    private : bool
        Whether the rows are confidential.

    Returns
    -------
    Inference
        The schema, the reason of each type, and the columns that no type holds.

    Raises
    ------
    TableError
        If the frame has fewer than two rows or no column, a column has no name, or one that is reserved or occurs
        twice, the target is not a column, or a number is infinite.
    """
    if not len(frame.columns):
        raise TableError(f"{origin} has no column; expected at least one.")
    frame = frame.set_axis([_name(name, i, origin) for i, name in enumerate(frame.columns)], axis="columns")
    refuse_duplicates(frame, origin)
    if len(frame) < MIN_ROWS:
        found = "no row" if frame.empty else "1 row"
        raise TableError(f"{origin} has {found}; at least {MIN_ROWS} are needed to learn a table.")
    guesses: dict[str, _Guess] = {}
    left_out: dict[str, str] = {}
    for name in frame.columns:
        try:
            guess = _infer_column(frame[name], is_target=name == target, origin=origin)
            guesses[name] = guess if name == target else _repeated_key(guess, frame[name], private=private)
        except _Unsupported as error:
            left_out[name] = str(error)
    guesses = _by_other_dates(guesses)
    if not guesses:
        raise TableError(f"{origin} has no column that can be learned: {'; '.join(map(_left_out, left_out.items()))}.")
    if target in left_out:
        raise TableError(
            f"target: {target!r} {left_out[target]}, which cannot be predicted. Convert it, or choose another."
        )
    notices = tuple(_notice(guess) for guess in guesses.values() if guess.readings or guess.instead)
    notices += tuple(filter(None, (_nearly_numbers(guess.column, frame[name]) for name, guess in guesses.items())))
    if target in guesses and (two := _two_numbers(guesses[target].column, frame[target])):
        notices = (*notices, two)
    if total := _total_row(frame, guesses):
        notices = (total, *notices)
    if undivided := _undivided(frame):
        notices = (undivided, *notices)
    if repeated := _repeated_header(frame):
        notices = (repeated, *notices)
    elif _has_values_as_names(frame, guesses):
        notices = (_no_header(frame), *notices)
    if all(guess.column.role == "id" for guess in guesses.values()):
        guesses = {name: _not_a_key(guess, frame[name]) for name, guess in guesses.items()}
    schema = TableSchema(columns=tuple(guess.column for guess in guesses.values()), target=target, private=private)
    return Inference(schema, {name: guess.reason for name, guess in guesses.items()}, left_out, notices)


def _name(name: object, position: int, origin: str) -> str:
    is_named = name is not None and name == name and str(name).strip() != ""  # NaN differs from itself
    if not is_named:
        raise TableError(f"{origin}: column {position + 1} has no name; name it in the source, or drop it.")
    return str(name)


def _left_out(item: tuple[str, str]) -> str:
    return f"{item[0]!r} {item[1]}"


def _infer_column(values: pd.Series, *, is_target: bool, origin: str) -> _Guess:
    name = str(values.name)
    values = without_arrow(values.reset_index(drop=True))
    if values.isna().all():
        return _Guess(Float(name=name, nullable=True), "every cell is empty")
    if isinstance(values.dtype, pd.CategoricalDtype):
        return _from_categories(name, values, is_target=is_target)
    kind = types.infer_dtype(values, skipna=True)
    if kind in _UNSUPPORTED:
        raise _Unsupported(f"holds {_UNSUPPORTED[kind]}")
    if kind == "timedelta64" or types.is_timedelta64_dtype(values.dtype):
        seconds = values.dt.total_seconds()
        column = (Integer if (seconds.dropna() % 1 == 0).all() else Float)(
            name=name, unit="s", nullable=_has_gaps(values)
        )
        return _Guess(column, "time differences, in seconds")
    if kind == "boolean":
        return _Guess(Boolean(name=name, nullable=_has_gaps(values)), "true and false")
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _from_numbers(name, values, kind, is_target=is_target, origin=origin)
    if kind in ("datetime", "datetime64", "date"):
        return _from_times(name, values)
    if kind != "string" and any(map(_is_nested, values.dropna().head(_SAMPLE))):
        raise _Unsupported("holds lists or other nested values")
    return _from_text(name, values.astype("str").where(values.notna()), is_target=is_target, origin=origin)


def _is_nested(value: object) -> bool:
    return isinstance(value, list | tuple | dict | set | np.ndarray)


# typed values


def _from_categories(name: str, values: pd.Series, *, is_target: bool) -> _Guess:
    present = values.cat.remove_unused_categories()
    labels = [str(label) for label in present.cat.categories]
    counts = present.cat.codes[present.notna()].value_counts()
    if is_target or len(labels) <= FEW_LABELS or _are_labels(counts.to_numpy(), int(present.notna().sum())):
        ordered = labels if values.cat.ordered else sorted(labels)
        column = Categorical(name=name, categories=tuple(dict.fromkeys(ordered)), nullable=_has_gaps(values))
        return _Guess(column, f"pandas categories, {_counted(len(ordered), 'label')}")
    return _text(name, values.astype("str").where(values.notna()), nullable=_has_gaps(values))


def _from_numbers(name: str, values: pd.Series, kind: str, *, is_target: bool, origin: str) -> _Guess:
    has_gaps = _has_gaps(values)
    if kind == "integer":
        numbers = values.dropna().map(int) if types.is_object_dtype(values.dtype) else values.dropna()
        low, high = int(numbers.min()), int(numbers.max())
        if high >= 2**63 or low < -(2**63) or high - low >= MAX_SPAN:
            return _from_text(name, values.astype("str").where(values.notna()), is_target=is_target, origin=origin)
        return _integers(name, numbers.astype("int64").to_numpy(), has_gaps=has_gaps, is_target=is_target)
    floats = pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)
    _refuse_infinite(name, values, np.isinf(floats), origin)
    if kind == "decimal":
        whole = values.dropna().map(lambda number: number == number.to_integral_value() and abs(number) < 2**63)
        if whole.all() and all(number.as_tuple().exponent >= 0 for number in values.dropna()):
            numbers = values.dropna().map(int).astype("int64").to_numpy()
            return _integers(name, numbers, has_gaps=has_gaps, is_target=is_target)
        return _Guess(Float(name=name, nullable=has_gaps), "decimals")
    present = floats[~np.isnan(floats)]
    if has_gaps and (present % 1 == 0).all() and np.abs(present).max() < MAX_EXACT_INTEGER:
        key = _integers(name, present.astype("int64"), has_gaps=True, is_target=is_target)
        whole = _Guess(Integer(name=name, nullable=True), "whole numbers, stored as floats because of empty cells")
        return key if key.column.type == "id" else whole
    return _Guess(Float(name=name, nullable=has_gaps), "floats")


def _from_times(name: str, values: pd.Series) -> _Guess:
    nullable = _has_gaps(values)
    zone = None
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        zone = str(values.dtype.tz)
    elif types.is_object_dtype(values.dtype) and any(getattr(value, "tzinfo", None) for value in values.dropna()):
        zone = "UTC"
    if zone is not None:
        try:
            return _Guess(Datetime(name=name, timezone=zone, nullable=nullable), f"datetimes in the zone {zone}")
        except ValueError:  # a fixed offset, which is no zone
            return _Guess(Datetime(name=name, timezone="UTC", nullable=nullable), "datetimes with an offset")
    times = pd.to_datetime(values).dropna()
    if (times == times.dt.normalize()).all():
        return _Guess(Date(name=name, nullable=nullable), "dates")
    return _Guess(Datetime(name=name, nullable=nullable), "dates with a time")


# text


def _from_text(name: str, values: pd.Series, *, is_target: bool, origin: str) -> _Guess:
    values = values.mask(values == "")
    if (values.isna() | values.str.isspace().fillna(True).astype(bool)).all():
        return _Guess(Float(name=name, nullable=True), "every cell is empty")
    codes, distinct = pd.factorize(values)
    unique = pd.Series(distinct, dtype="str")
    bare = unique.str.strip()
    is_gap = bare.str.lower().isin(MISSING_TEXTS).to_numpy()
    is_word = bare.str.lower().isin(MISSING_WORDS).to_numpy()
    if (~is_gap & ~is_word).sum() >= MIN_RUN:
        is_gap = is_gap | is_word
    gaps = tuple(unique[is_gap & (bare != "").to_numpy()])  # cells of spaces alone are empty anyway
    has_gaps = bool((codes < 0).any())
    counts = np.bincount(codes[codes >= 0], minlength=len(unique))
    is_unique = bool((counts[~is_gap] == 1).all())
    readings: tuple[_Guess, ...] = ()
    if not is_gap.all():
        kept = bare[~is_gap]
        common: dict[str, Any] = {"name": name, "nullable": has_gaps or bool(is_gap.any()), "missing_values": gaps}
        if (dates := _short_dates(kept, common)) is not None:
            return dates
        numbers = _numbers_as_text(values, kept, common, is_unique=is_unique, is_target=is_target, origin=origin)
        if numbers is not None:
            return numbers
        if (formatted := _formatted_numbers(kept, common, is_unique=is_unique)) is not None:
            return formatted
        readings = _times_as_text(kept, common)
        if len(readings) == 1:
            return readings[0]
        if set(kept.str.lower()) <= {"true", "false"}:
            return _Guess(Boolean(**common), f"true and false{_said_of_gaps(common)}")
    may_be_key = is_unique and not is_gap.all() and not is_target and not readings
    is_complete = len(unique) == len(values) and not is_gap.any()
    may_be_key &= is_complete or _key_word(name) is not None
    if may_be_key and (key := _key_of_text(name, kept)) is not None:
        where = "unique in every row" if is_complete else "unique where not empty"
        return _Guess(key.column.model_copy(update=common), f"{where}, {key.reason}{_said_of_gaps(common)}")
    if is_target or _are_labels(counts, int(counts.sum())):
        column = Categorical(name=name, categories=tuple(sorted(unique)), nullable=has_gaps)
        has_zeros = bare.str.fullmatch(_DIGITS).all() and bare.str.fullmatch(_ZERO_LED).any()
        zeros = ", whose leading zeros are kept" if has_zeros else ""
        return _either(_Guess(column, f"{_counted(len(unique), 'label')}{zeros}"), readings)
    if not is_gap.all():
        is_number = kept.str.fullmatch(_DIGITS).all() and not kept.str.fullmatch(_ZERO_LED).any()
        if is_number and kept.str.len().max() >= MIN_LONG_DIGITS:
            return _long_numbers(kept, common, is_unique=is_unique)
        is_personal = bool(readings) or (is_unique and _key_word(name) is not None)
        if not is_personal and (code := _code(kept, common)) is not None:
            return code
    return _either(_text(name, values, nullable=has_gaps, unique=unique), readings)


def _numbers_as_text(
    values: pd.Series, kept: pd.Series, common: dict[str, Any], *, is_unique: bool, is_target: bool, origin: str
) -> _Guess | None:
    """Return a column of numbers if all different texts read as one."""
    name = common["name"]
    if pd.to_numeric(kept.head(_SAMPLE), errors="coerce").isna().any():
        return None
    floats = pd.to_numeric(kept, errors="coerce").to_numpy("float64", na_value=np.nan)
    if np.isnan(floats).any():
        return None
    if kept.str.fullmatch(_ZERO_LED).any() or kept.str.fullmatch(_CODE_WITH_E).all():
        return None
    said = _said_of_gaps(common)
    if not kept.str.fullmatch(_WHOLE).all():
        infinite = kept[np.isinf(floats)]
        _refuse_infinite(name, values, values.str.strip().isin(infinite).to_numpy(), origin)
        return _Guess(Float(**common), f"numbers with decimals{said}")
    numbers = pd.to_numeric(kept.str.replace(r"\.0*$", "", regex=True), errors="coerce")
    if not types.is_integer_dtype(numbers.dtype) or int(numbers.max()) >= 2**63:
        return None  # beyond 64 bits: a key or a label
    if int(numbers.max()) - int(numbers.min()) >= MAX_SPAN:
        return None
    whole = numbers.astype("int64").to_numpy()
    guess = _integers(name, whole, has_gaps=common["nullable"], is_target=is_target or not is_unique)
    if guess.column.type == "id":
        column = guess.column.model_copy(update={"missing_values": common["missing_values"]})
        return _Guess(column, f"{guess.reason}{said}")
    return _Guess(Integer(**common), f"{guess.reason}{said}")


def _formatted_numbers(kept: pd.Series, common: dict[str, Any], *, is_unique: bool) -> _Guess | None:
    """Return a column of numbers if all different texts are numbers in one format, such as $1,234.50 or 08:30."""
    if is_unique and _key_word(common["name"]) is not None:
        return None
    if find_format(kept.head(_SAMPLE)) is None or (pattern := find_format(kept)) is None:
        return None
    format_ = parse_format(pattern)
    numbers = pd.to_numeric(format_.read(kept), errors="coerce")
    kind = Integer if types.is_integer_dtype(numbers.dtype) else Float
    reason = f"{format_.noun} in the format {pattern}{_said_of_gaps(common)}"
    return _Guess(kind(**common, format=pattern, unit=format_.unit or None), reason)


def _long_numbers(kept: pd.Series, common: dict[str, Any], *, is_unique: bool) -> _Guess:
    """Return a key for whole numbers that are too far apart to be learned as numbers; `kept` are the different ones."""
    numbers = [int(text) for text in kept]
    low, high = min(numbers), max(numbers)
    is_stored = low >= -(2**63) and high < 2**63
    pattern, start = ("integer", _first_new(numbers)) if is_stored else _pattern_of(kept.str.lstrip("+-"))
    column = Id(**common, pattern=pattern, start=start, repeats=not is_unique)
    reason = "whole numbers that differ by more than 62 bits" if high - low >= MAX_SPAN else "very long whole numbers"
    return _Guess(column, f"{reason}, taken for keys{_said_of_gaps(common)}")


def _short_dates(kept: pd.Series, common: dict[str, Any]) -> _Guess | None:
    """Return a column of dates if all different texts are such as 20240131, 202401, 2024-01 or Jan 2024."""
    if len(kept) < MIN_RUN:
        return None
    possible = (each for each in _SHORT_FORMATS if re.fullmatch(each[0], kept.iloc[0]))
    found = next((each for each in possible if kept.head(_SAMPLE).str.fullmatch(each[0]).all()), None)
    if found is None or not kept.str.fullmatch(found[0]).all() or not _reads(kept, found[1]):
        return None
    if found[1] == "%Y-%m":
        years, months = kept.str.slice(0, 4).astype("int64"), kept.str.slice(-2).astype("int64")
        if (months == (years + 1) % 100).all():  # seasons, such as 2009-10
            return None
    kind = Datetime if "%H" in found[1] else Date
    return _Guess(kind(**common, format=found[1]), f"dates in the format {found[1]}{_said_of_gaps(common)}")


def _times_as_text(kept: pd.Series, common: dict[str, Any]) -> tuple[_Guess, ...]:
    """Return a column of dates or datetimes if all texts read as one; two if day and month could be either."""
    said = _said_of_gaps(common)
    head = kept.head(_SAMPLE)
    if head.str.fullmatch(_ISO_DATE).all() and kept.str.fullmatch(_ISO_DATE).all():
        return (_Guess(Date(**common), f"dates{said}"),) if _reads(kept, "%Y-%m-%d") else ()
    if head.str.fullmatch(f"{_ISO_DATE}|{_ISO_TIME}(?:{_OFFSET})?").all():
        naive = kept.str.fullmatch(f"{_ISO_DATE}|{_ISO_TIME}").all()
        zoned = kept.str.fullmatch(_ISO_TIME + _OFFSET).all()
        if not (naive or zoned) or not _reads(kept, "ISO8601"):
            return ()
        if zoned:
            return (_Guess(Datetime(**common, timezone="UTC"), f"datetimes with an offset from UTC{said}"),)
        if kept.str.fullmatch(r".{10}(?:[T ]00:00(?::00(?:\.0+)?)?)?").all():
            return (_Guess(Date(**common), f"dates, written with the time 00:00{said}"),)
        return (_Guess(Datetime(**common), f"dates with a time{said}"),)
    for date_pattern, date_formats in _DATE_FORMATS:
        for time_pattern, time_format in _TIME_FORMATS:
            pattern = date_pattern + time_pattern
            if (
                re.fullmatch(pattern, kept.iloc[0])
                and head.str.fullmatch(pattern).all()
                and kept.str.fullmatch(pattern).all()
            ):
                kind = Datetime if time_format else Date
                return tuple(
                    _Guess(kind(**common, format=each), f"dates in the format {each}{said}")
                    for each in (f"{date_format}{time_format}" for date_format in date_formats)
                    if _reads(kept, each)
                )
    return ()


def _either(guess: _Guess, readings: tuple[_Guess, ...]) -> _Guess:
    """Return a guess for text that could also be dates, and say so."""
    if not readings:
        return guess
    type_ = readings[0].column.type
    reason = f"{guess.reason}; could be dates, day or month first: state type: {type_} and format"
    return _Guess(guess.column, reason, readings)


def _by_other_dates(guesses: Mapping[str, _Guess]) -> dict[str, _Guess]:
    """Read dates in which day and month could be either as the other columns of such dates are read, if all agree."""
    formats = [guess.column.format for guess in guesses.values() if isinstance(guess.column, Date | Datetime)]
    first = {each[:2] for each in formats if each is not None and re.match("%[dm][/-]%[dm]", each)}
    if len(first) != 1:
        return dict(guesses)
    decided = {}
    for name, guess in guesses.items():
        fitting = [each for each in guess.readings if _format(each)[:2] in first]
        decided[name] = _Guess(fitting[0].column, f"{fitting[0].reason}, as in other columns") if fitting else guess
    return decided


def _notice(guess: _Guess) -> str:
    if guess.instead:
        return (
            f"{guess.column.name!r} is taken for a key that repeats: synthetic rows have new keys, which are repeated "
            f"as often and depend on no other column. State type: {guess.instead} for it to have its values learned."
        )
    formats = " or ".join(repr(_format(each)) for each in guess.readings)
    return (
        f"{guess.column.name!r} is read as {guess.column.type}, and could be dates with the day or the month first: "
        f"state type: {guess.readings[0].column.type} and format: {formats} for the column to have it read so."
    )


def _two_numbers(column: Column, values: pd.Series) -> str | None:
    """Return a sentence on a target of whole numbers that has two values; else None."""
    unique = sorted(pd.to_numeric(values, errors="coerce").dropna().unique())
    if not isinstance(column, Integer) or len(unique) != 2:
        return None
    return (
        f"{column.name!r}, the target, is read as integer and has two values, {unique[0]:.0f} and {unique[1]:.0f}: "
        "regressors predict it. State type: categorical for it to be predicted by classifiers."
    )


def _nearly_numbers(column: Column, values: pd.Series) -> str | None:
    """Return a sentence on labels or text that are numbers or times, but for signs or a few texts; else None."""
    if not isinstance(column, Categorical | Text):
        return None
    unique = pd.Series(values.dropna().astype("str").str.strip().unique(), dtype="str")
    unique = unique[~unique.str.lower().isin(MISSING_TEXTS)]
    is_number = pd.to_numeric(unique, errors="coerce").notna()
    others = unique[~is_number]
    if unique[is_number].str.fullmatch(_ZERO_LED).any() or len(unique) < MIN_RUN:
        return None
    if 0 < len(others) <= MAX_NAMES and is_number.mean() >= NEARLY_ALL:
        return (
            f"{column.name!r} is read as {column.type}, and holds numbers but for {_quoted(list(others))}: correct the "
            f"source, or state type: float and missing_values: [{_quoted(list(others))}] for the column."
        )
    if not len(others):
        return None
    bare = others.str.replace(_SIGNS, "", regex=True)
    units = others.str.extract(_UNIT, expand=False)
    if units.notna().all() and units.nunique() == 1 and len(others) == len(unique):
        bare = bare.str.replace(_UNIT, "", regex=True)
    if pd.to_numeric(bare, errors="coerce").notna().all():
        return (
            f"{column.name!r} is read as {column.type}, and holds numbers with signs, such as {others.iloc[0]!r}: "
            "remove the signs in the source to have it learned as numbers."
        )
    if isinstance(column, Text) and unique.str.fullmatch(_CLOCK).all():
        return (
            f"{column.name!r} is read as text, and holds times of day or durations, such as {unique.iloc[0]!r}: "
            "convert them to a number of minutes or seconds in the source to have them learned as numbers."
        )
    return _nearly_dates(column, unique)


def _nearly_dates(column: Column, unique: pd.Series) -> str | None:
    """Return a sentence on labels or text that are dates but for a few texts, or in several formats; else None."""
    shapes = unique.str.replace(r"[0-9]+", "0", regex=True)
    usual = unique[shapes == shapes.mode()[0]]
    found = {}
    for kind, format_ in _formats_of(usual.iloc[0]):
        is_other = pd.to_datetime(with_numeric_offset(unique), errors="coerce", format=format_, utc=True).isna()
        if 0 < is_other.sum() <= MAX_NAMES and is_other.mean() <= 1 - NEARLY_ALL:
            found[format_] = (kind, _quoted(list(unique[is_other])))
    if found:
        kind, others = next(iter(found.values()))
        formats = " or ".join(repr(each) for each in found if each != "ISO8601")
        return (
            f"{column.name!r} is read as {column.type}, and holds dates but for {others}: correct the source, or state "
            f"type: {kind}{f', format: {formats}' if formats else ''} and missing_values: [{others}] for the column."
        )
    groups = [texts for _, texts in unique.groupby(shapes)]
    common = {"name": column.name, "missing_values": ()}
    if 1 < len(groups) <= MAX_NAMES and all(_times_as_text(texts, common) for texts in groups):
        return (
            f"{column.name!r} is read as {column.type}, and holds dates in several formats, such as "
            f"{_quoted([texts.iloc[0] for texts in groups])}: write them in one format in the source."
        )
    return None


def _formats_of(text: str) -> list[tuple[str, str]]:
    """Return the formats that a text of a date may have, each with the type of its column."""
    if re.fullmatch(f"{_ISO_DATE}|{_ISO_TIME}(?:{_OFFSET})?", text):
        return [("date" if re.fullmatch(_ISO_DATE, text) else "datetime", "ISO8601")]
    return [
        ("datetime" if time_format else "date", f"{date_format}{time_format}")
        for date_pattern, date_formats in _DATE_FORMATS
        for time_pattern, time_format in _TIME_FORMATS
        if re.fullmatch(date_pattern + time_pattern, text)
        for date_format in date_formats
    ]


def _total_row(frame: pd.DataFrame, guesses: Mapping[str, _Guess]) -> str | None:
    """Return a sentence on a last row that is the total of the others, by its first word or its numbers; else None."""
    last = frame.iloc[-1].dropna()
    first = str(last.iloc[0]).strip() if len(last) else ""
    is_total = first.casefold().rstrip(":") in _TOTALS and (frame[last.index[0]].astype("str") == first).sum() == 1
    summed = [name for name, guess in guesses.items() if guess.column.type in ("integer", "float")]
    if not is_total and not (len(frame) > MIN_RUN and any(_ends_with_sum(frame[name]) for name in summed)):
        return None
    found = f"begins with {first!r}" if is_total else "is the sum of the rows above"
    return (
        f"The last row {found} and may hold totals: it would be learned as a row like the others. Remove it from the "
        "source if it does."
    )


def _repeated_header(frame: pd.DataFrame) -> str | None:
    """Return a sentence on rows that repeat the names of the columns above numbers; None if there are none."""
    if not all(isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes):
        return None
    is_header = np.ones(len(frame), bool)
    for name in frame.columns:
        is_header &= (frame[name] == name).fillna(False).to_numpy(bool)
        if not is_header.any():
            return None
    is_number = {name: pd.to_numeric(frame[name], errors="coerce").notna() for name in frame.columns}
    if not any((numbers ^ is_header).all() for numbers in is_number.values()):
        return None
    count, row = int(is_header.sum()), int(is_header.argmax()) + 1
    return (
        f"{_counted(count, 'row')} {'repeats' if count == 1 else 'repeat'} the names of the columns, such as data row "
        f"{row}: they would be learned as values. Remove them from the source, and run `synth-assets init` again."
    )


def _undivided(frame: pd.DataFrame) -> str | None:
    """Return a sentence on a single column of text that seems to be several, between other delimiters; else None."""
    if len(frame.columns) > 1 or not isinstance(frame.dtypes.iloc[0], pd.StringDtype):
        return None
    name, cells = str(frame.columns[0]).strip(), frame.iloc[:_SAMPLE, 0].dropna().str.strip()
    for delimiter in (" ", ":", "^", "~"):
        parts = cells.str.split(r"\s+" if delimiter == " " else delimiter, regex=delimiter == " ", expand=True)
        names = re.split(r"\s+", name) if delimiter == " " else name.split(delimiter)
        if len(names) == parts.shape[1] > 1 and parts.notna().all(axis=None):
            is_number = [pd.to_numeric(parts[i], errors="coerce").notna().all() for i in parts]
            if any(is_number) and not re.search(r"\d{4}-\d\d", str(cells.iloc[0])):
                first = "separate them by one space, and " if "  " in cells.iloc[0] else ""
                return (
                    f"The source has one column, {name!r}, whose cells seem to be {len(names)}: {first}state "
                    f"`dialect: {{ delimiter: {delimiter!r} }}` under `source` in defs.yaml, and run "
                    "`synth-assets init` on it."
                )
    return None


def _ends_with_sum(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.StringDtype) and not re.search("[1-9]", str(values.iloc[-1])):
        return False
    numbers = pd.to_numeric(values.dropna(), errors="coerce").to_numpy("float64", na_value=np.nan)
    rest, last = numbers[:-1], float(numbers[-1]) if len(numbers) else 0.0
    is_greatest = len(rest) >= MIN_RUN and abs(last) > np.abs(rest).max()
    return is_greatest and bool(np.isclose(rest.sum(), last, rtol=1e-9, atol=0.0))


def _has_values_as_names(frame: pd.DataFrame, guesses: Mapping[str, _Guess]) -> bool:
    """Return whether the names of a frame of text are like its values: a first row that is no header.

    Names that are consecutive whole numbers are names: positions, or years.
    """
    if not all(isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes):
        return False
    columns = [guess.column for guess in guesses.values()]
    typed = [column for column in columns if column.is_numeric or column.type in ("boolean", "id")]
    typed = [column for column in typed if not (isinstance(column, Id) and column.pattern != "integer")]
    filled = [column for column in typed if not frame[column.name].isna().all()]
    if not filled:
        return all(column.name in set(frame[column.name]) for column in columns)
    whole = [int(column.name) for column in filled if re.fullmatch(_DIGITS, column.name)]
    if len(whole) == len(filled) > 1 and (np.diff(whole) == 1).all():
        return False
    return all(bool(column.is_readable(pd.Series([column.name], dtype="str")).all()) for column in filled)


def _no_header(frame: pd.DataFrame) -> str:
    names = _quoted([str(name) for name in frame.columns[:MAX_NAMES]]) + (", ..." if frame.shape[1] > MAX_NAMES else "")
    return (
        f"The source may have no header: the names of the columns, {names}, look like values. If so, write names above "
        "the first row, or state `dialect: { header: false }` under `source` in defs.yaml and run `synth-assets init` "
        "on it: the columns are then named column_1, column_2, ..."
    )


def _format(guess: _Guess) -> str:
    return str(getattr(guess.column, "format", None))


def _said_of_gaps(common: Mapping[str, Any]) -> str:
    return f"; {_quoted(common['missing_values'])} where a cell is empty" if common["missing_values"] else ""


def _reads(texts: pd.Series, format_: str) -> bool:
    texts = with_numeric_offset(texts)
    return bool(pd.to_datetime(texts, errors="coerce", format=format_, utc=True).notna().all())


# keys, labels, text


def _integers(name: str, numbers: np.ndarray, *, has_gaps: bool, is_target: bool) -> _Guess:
    """Return a key, or else a column of whole numbers."""
    whole = _Guess(Integer(name=name, nullable=has_gaps), "whole numbers")
    if is_target or (has_gaps and _key_word(name) is None):
        return whole
    low, high = int(numbers.min()), int(numbers.max())
    why = _why_key(name, low, high, len(numbers))
    if why is None:
        return whole
    if len(np.unique(numbers)) < len(numbers):
        return whole
    start = _first_new(numbers)
    where = "unique where not empty" if has_gaps else "unique in every row"
    return _Guess(Id(name=name, pattern="integer", start=start, nullable=has_gaps), f"{where}, {why}")


def _why_key(name: str, low: int, high: int, rows: int) -> str | None:
    key_word, is_time = _key_word(name), bool(_TIME_WORDS & {*_words(name)})
    if key_word is not None:
        return f"and its name says {key_word!r}"
    if rows >= MIN_RUN and high - low == rows - 1 and not is_time:
        return "and consecutive"
    is_time = is_time or (_EPOCH_MILLISECONDS[0] <= low and high <= _EPOCH_MILLISECONDS[1])
    if low >= 10 ** (MIN_KEY_DIGITS - 1) and not is_time:
        return f"with {len(str(low))} digits"
    return None


def _repeated_key(guess: _Guess, values: pd.Series, *, private: bool) -> _Guess:
    """Return a key that may repeat in place of whole numbers, labels or text, if the name says that they are keys."""
    column, words = guess.column, _words(guess.column.name)
    is_key = {*words[-1:]} & (_REPEATED_KEY_WORDS | _REPEATED_NUMBER_WORDS)
    if not isinstance(column, Integer | Categorical | Text) or not is_key or getattr(column, "format", None):
        return guess
    texts = values[values.notna()].astype("str").str.strip()
    counts = texts[~texts.isin([*column.missing_values, ""])].value_counts()
    unique = counts.index.to_series()
    if len(counts) <= FEW_LABELS or (not private and _are_labels(counts.to_numpy(), int(counts.sum()))):
        return guess
    reason = f"{len(counts):,} values that repeat, and its name says {words[-1]!r}"
    common: dict[str, Any] = {"name": column.name, "nullable": column.nullable, "repeats": True}
    common["missing_values"] = column.missing_values
    if isinstance(column, Integer):
        numbers = pd.to_numeric(unique)
        low, high = int(numbers.min()), int(numbers.max())
        is_number = words[-1] in _REPEATED_NUMBER_WORDS
        if low < 0 or (is_number and not MIN_KEY_LENGTH <= len(str(low)) == len(str(high))):
            return guess
        key = Id(**common, pattern="integer", start=_first_new(numbers))
        return _Guess(key, reason, instead="integer")
    if not unique.str.fullmatch(_WORD).all() or unique.str.contains("[0-9]").mean() <= 0.5:
        return guess
    numbered = _numbered_key(column.name, unique)
    if numbered is not None:
        return _Guess(numbered.column.model_copy(update=common), reason, instead=column.type)
    return _Guess(_token_key(common, unique), reason, instead=column.type)


def _key_word(name: str) -> str | None:
    """Return the word of a name that says that its values are keys; None if there is none."""
    words = _words(name)
    found = [word for word in words if word in _KEY_WORDS]
    found += [word for word in words[-1:] if word in _LAST_KEY_WORDS]
    return found[0] if found else None


def _words(name: str) -> list[str]:
    """Return the words of a name: `orderId`, `order_id` and `Order ID` have the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall("[a-z]+", spaced.lower())


def _key_of_text(name: str, unique: pd.Series) -> _Guess | None:
    """Return a key if unique texts are UUIDs, numbered, or tokens such as hashes."""
    if unique.head(_SAMPLE).str.fullmatch(_UUID).all() and unique.str.fullmatch(_UUID).all():
        return _Guess(Id(name=name, pattern="uuid"), "UUIDs")
    if _key_word(name) is None and _TIME_WORDS & {*_words(name)}:
        return None  # such as weeks, 2024-W01
    return _numbered_key(name, unique) or _key_of_digits(name, unique) or _key_of_tokens(name, unique)


def _key_of_tokens(name: str, unique: pd.Series) -> _Guess | None:
    """Return a key if unique texts are single words, and the name says so or all have one length, digits and letters.

    New ones have the same length and alphabet, or are UUIDs.
    """
    if not unique.head(_SAMPLE).str.fullmatch(_WORD).all() or not unique.str.fullmatch(_WORD).all():
        return None
    if unique.str.fullmatch(_DIGITS).all() and not unique.str.fullmatch(_ZERO_LED).any():
        return None  # numbers, whose new ones are numbers
    key_word = _key_word(name)
    lengths = unique.str.len()
    is_mixed = unique.str.contains("[0-9]").mean() > 0.5 and unique.str.contains("[A-Za-z]").mean() > 0.5
    is_code = len(unique) >= MIN_RUN and lengths.min() == lengths.max() >= MIN_TOKEN_LENGTH and is_mixed
    if key_word is None and not is_code:
        return None
    why = f"and its name says {key_word!r}" if key_word else f"codes of {lengths.min()} characters"
    key = _token_key({"name": name}, unique)
    made = "UUIDs" if key.pattern == "uuid" else f"made as {key.generate(1)[0]!r}"
    return _Guess(key, f"{why}; new ones are {made}")


def _token_key(stated: Mapping[str, Any], unique: pd.Series) -> Id:
    """Return a column of keys for single words: as long, and of the same alphabet, if no new one can be real.

    Of long words, chance keeps them apart; of shorter ones, the numbers that new ones are made from.
    """
    lengths = unique.str.len()
    common = _common_beginning(unique.min(), unique.max())
    before = common[: max(common.rfind("_"), common.rfind("-")) + 1]
    length, size = int(lengths.min()) - len(before), 0
    for name, alphabet in ALPHABETS.items():
        is_of_it = unique.str.slice(len(before)).str.fullmatch(f"[{alphabet}]+").all()
        if 0 < length < 100 and lengths.max() == lengths.min() and is_of_it:
            key, size = Id(**stated, pattern=f"{before}{name}{length}"), len(alphabet) ** length
            break
    if size >= MAX_SPAN:
        return key
    if size >= KEY_ROOM:
        real = [-1, *sorted(key.numbers_of(unique)), size]
        gap, last = max((after - each, each) for each, after in pairwise(real))
        if gap > KEY_ROOM:
            return key.model_copy(update={"start": last + 1})
    return Id(**stated, pattern="uuid")


def _key_of_digits(name: str, unique: pd.Series) -> _Guess | None:
    """Return a key if unique texts have digits at the same places alone, such as 120-28-5286, and the name says so."""
    key_word, pattern = _key_word(name), re.sub("[0-9]", "#", unique.iloc[0])
    if key_word is None or "#" not in pattern or "#" in unique.iloc[0] or pattern.count("#") > MAX_KEY_DIGITS:
        return None
    if not (unique.str.replace("[0-9]", "#", regex=True) == pattern).all():
        return None
    numbers = unique.str.replace("[^0-9]", "", regex=True).astype("object").map(int)
    key = Id(name=name, pattern=pattern, start=_first_new(numbers))
    return _Guess(key, f"and its name says {key_word!r}")


def _numbered_key(name: str, unique: pd.Series) -> _Guess | None:
    """Return a key if unique texts are numbers between a common beginning and a common end, such as AB-0001."""
    least, greatest = unique.min(), unique.max()
    backwards = unique.str[::-1]
    before = _common_beginning(least, greatest).rstrip("0123456789")
    after = _common_beginning(backwards.min(), backwards.max())[::-1].lstrip("0123456789")
    if len(before) + len(after) >= min(len(least), len(greatest)) or "#" in before + after:
        return None
    digits = unique.str.slice(len(before), -len(after) if after else None)
    if not digits.str.fullmatch("[0-9]{1,40}").all():
        return None
    lengths, numbers = digits.str.len(), digits.astype("object").map(int)
    has_one_length, has_zeros = lengths.min() == lengths.max(), digits.str.fullmatch("0[0-9]+").any()
    if has_zeros and not has_one_length:
        return None  # 07 and 7 are different texts of one number
    is_numbered = len(unique) >= MIN_RUN and before + after
    if not is_numbered and _why_key(name, int(numbers.min()), int(numbers.max()), len(unique)) is None:
        return None
    run, start = _pattern_of(digits)
    return _Guess(Id(name=name, pattern=f"{before}{run}{after}", start=start), f"numbered as {least!r}")


def _pattern_of(digits: pd.Series) -> tuple[str, int]:
    """Return the pattern of new keys for different texts of digits, and the first number of the new ones."""
    lengths = digits.str.len()
    length = int(lengths.mode()[0])
    if length <= MAX_KEY_DIGITS:
        counted = digits[lengths <= MAX_KEY_DIGITS].astype("object").map(int)
        return "#" * (length if (lengths == length).all() else 1), _first_new(counted)
    usual = digits[lengths == length]
    first = usual.str.slice(0, length - MAX_KEY_DIGITS).mode()[0]
    rest = usual[usual.str.startswith(first)].str.slice(length - MAX_KEY_DIGITS)
    return first + "#" * MAX_KEY_DIGITS, _first_new(rest.astype("object").map(int))


def _first_new(numbers: Sequence[int] | pd.Series | np.ndarray) -> int:
    """Return the first of the numbers that new keys have, of which no real key has one.

    It follows the greatest. If those after it would have more digits, or are too great, it is the first of the widest
    gap between numbers with as many digits, should one have room for keys of many days.
    """
    greatest = int(max(numbers))
    low, high = 10 ** (len(str(abs(greatest))) - 1), min(10 ** len(str(abs(greatest))), MAX_SPAN)
    if 0 <= greatest + 1 < MAX_SPAN and (high - greatest > KEY_ROOM or high - low <= KEY_ROOM):
        return greatest + 1
    real = sorted({int(number) for number in numbers if low <= number < high})
    gap, last = max((after - before, before) for before, after in pairwise([low - 1, *real, high]))
    if gap > KEY_ROOM:
        return int(last) + 1
    return greatest + 1 if 0 <= greatest + 1 < MAX_SPAN else 1


def _common_beginning(one: str, other: str) -> str:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _not_a_key(guess: _Guess, values: pd.Series) -> _Guess:
    """Return whole numbers for a key that its name does not state: with keys alone, nothing is learned."""
    column = guess.column
    if isinstance(column, Id) and column.pattern == "integer" and _key_word(column.name) is None:
        return _Guess(Integer(name=column.name), "whole numbers; a key if the table had another column")
    return guess


def _are_labels(counts: np.ndarray, rows: int) -> bool:
    """Return whether strings repeat so often that they are labels; `counts` are the rows of each."""
    distinct = len(counts)
    if distinct <= FEW_LABELS and (2 * distinct <= rows or (rows < 20 and distinct < rows)):
        return True
    if distinct > MAX_LABELS:
        return False
    frequent = int(counts[counts >= ROWS_PER_LABEL].sum())
    return rows >= ROWS_PER_LABEL * distinct or frequent >= FREQUENT_SHARE * rows


def _text(name: str, values: pd.Series, *, nullable: bool, unique: pd.Series | None = None) -> _Guess:
    longest = int((values if unique is None else unique).str.len().max())
    length = min(-(-longest // 10) * 10, MAX_TEXT_LENGTH)
    distinct = values.nunique() if unique is None else len(unique)
    reason = f"{distinct:,} different strings, the longest of {_counted(longest, 'character')}"
    return _Guess(Text(name=name, max_length=max(length, 10), nullable=nullable), reason)


def _code(kept: pd.Series, common: dict[str, Any]) -> _Guess | None:
    """Return a column of codes if different texts have few digits at the same places, and all else in common."""
    shapes = kept.str.replace("[0-9]", "0", regex=True)
    shape = shapes.iloc[0]
    is_short = MIN_CODE_DIGITS <= shape.count("0") <= MAX_CODE_DIGITS
    if len(kept) < MIN_RUN or not is_short or not (shapes == shape).all():
        return None
    column = Text(**common, max_length=max(len(shape), 10), code=True)
    return _Guess(column, f"{len(kept):,} codes with {shape.count('0')} digits each, such as {kept.iloc[0]!r}")


def _has_gaps(values: pd.Series) -> bool:
    return bool(values.isna().any())


def _refuse_infinite(name: str, values: pd.Series, infinite: np.ndarray, origin: str) -> None:
    count = int(infinite.sum())
    if count:
        row = int(infinite.argmax())
        raise TableError(
            f"{origin}: column {name!r} has {values[row]} in data row {row + 1}, which is not a finite number "
            f"({_counted(count, 'such cell')}). Replace the value, empty the cell, or drop the row."
        )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in texts)
