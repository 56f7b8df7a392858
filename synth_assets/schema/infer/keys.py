"""Keys: which values are keys, and the pattern and the first number of new ones."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from synth_assets.schema.columns import ALPHABETS, Categorical, Id, Integer, Text
from synth_assets.schema.infer.guess import Guess
from synth_assets.schema.infer.labels import FEW_LABELS, are_labels
from synth_assets.schema.infer.texts import DIGITS, MIN_RUN, SAMPLE, ZERO_LED

MIN_KEY_DIGITS = 12
"""Digits from which on unique whole numbers are a key, whatever the name of the column."""

MIN_TOKEN_LENGTH = 8
"""Characters from which on unique codes of one length are a key, whatever the name of the column."""

MAX_SPAN = 2**62
"""Whole numbers that differ by so much are no numbers to a model: keys, such as hashes, or labels."""

KEY_ROOM = 10**9
"""Consecutive numbers that new keys need to have as many digits as the real ones: those of 1,000 days."""

MAX_KEY_DIGITS = 18
"""Digits of a number that is counted; of a longer one, the first digits stay as they are."""

MIN_KEY_LENGTH = 4
"""Digits that whole numbers that repeat need to be keys where their column is called a number, no or key."""

_KEY_WORDS = {"id", "ids", "uuid", "guid", "identifier"}
"""Words of a name that say that unique values are keys."""

_LAST_KEY_WORDS = {
    *("key", "number", "no", "nr", "num", "serial", "index", "account", "card", "iban", "ssn", "passport"),
    *("phone", "telephone", "tel", "mobile", "isbn", "ean", "nummer", "numero", "numer"),
}
"""Words that say so at the end of a name: an order number is a key, a number of rooms is not."""

_REPEATED_KEY_WORDS = {
    *("id", "ids", "uuid", "guid", "identifier", "account", "card", "iban", "phone", "serial", "ssn"),
}
"""Words at the end of a name that say that values are keys even if they repeat, such as a customer's in orders."""

_REPEATED_NUMBER_WORDS = {"key", "number", "no", "nr", "nummer", "numero", "numer"}
"""Words that say so of texts, and of numbers with as many digits: a customer number, not a house number."""

_TIME_WORDS = {
    *("time", "timestamp", "date", "datetime", "ts", "epoch", "created", "updated", "at"),
    *("year", "quarter", "month", "week", "day", "hour", "minute", "second", "t", "trend", "period"),
}
"""Words of a name that say that whole numbers are points in time, even if they are long or consecutive."""

_MEASURE_WORDS = {"age", "ages", "rank", "ranking", "score", "grade", "level", "degree", "count", "freq", "frequency"}
"""Words of a name that say that whole numbers are measured or counted, even if they are consecutive."""

_BEARERS = {
    *("subject", "subj", "patient", "case", "participant", "respondent", "person", "individual", "animal", "specimen"),
    *("customer", "member", "user", "employee", "student", "worker", "child"),
}
"""Words at the end of a name that say that unique whole numbers are keys, although the name of no key is in it."""

_COMPOUND = (
    r"(?<![a-z])(account|animal|article|author|book|buyer|case|child|claim|client|contract|cust|customer|device|doc|doctor|"
    r"driver|emp|employee|event|fam|family|hh|household|id|indiv|individual|invoice|item|listing|loan|match|member|message|"
    r"movie|obs|order|participant|pat|patient|pers|person|player|policy|post|prod|product|pupil|rec|record|resp|"
    r"respondent|row|sample|seller|seq|session|specimen|staff|stud|student|study|subj|subject|supplier|ticket|trans|"
    r"transaction|trip|user|vehicle|vendor|visit|worker)(ids?|no|num|number)(?![a-z])"
)
"""A noun and a key word in one: `userid`, and not `paid`. Of places and groups, there are few."""

MIN_SERIAL = 100
"""Number from which on consecutive ones are a key in any order: ranks and ages are below."""

_YEARS = (1700, 2100)
"""Consecutive numbers in this range are years."""

_EPOCH_MILLISECONDS = (631_152_000_000, 4_102_444_800_000)
"""The years 1990 to 2100: 12 or 13 digits, and no keys."""

_UUID = r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_WORD = r"[A-Za-z0-9_-]{1,64}"


def why_key(name: str, numbers: Sequence[int] | pd.Series | np.ndarray) -> str | None:
    """Return why unique whole numbers, in the order of the rows, are keys, as a phrase; None if they are not.

    Consecutive numbers are keys if they count the rows from 0 or 1 on, or are no ranks, ages or years by their size.
    """
    values = np.asarray(numbers)
    low, high = int(values.min()), int(values.max())
    words = {*_words(name)}
    key_word = key_word_in(name) or next((word for word in _words(name)[-1:] if word in _BEARERS), None)
    is_time = bool(_TIME_WORDS & words)
    is_count = _words(name) in (["number"], ["num"]) and not (np.diff(values) > 0).all()
    if key_word is not None and not is_count:
        return f"and its name says {key_word!r}"
    if len(values) >= MIN_RUN and high - low == len(values) - 1 and not (is_time or _MEASURE_WORDS & words):
        is_counted = low in (0, 1) and bool((np.diff(values) == 1).all())
        is_year = _YEARS[0] <= low and high <= _YEARS[1]
        if is_counted or (low >= MIN_SERIAL and not is_year):
            return "and consecutive"
    is_time = is_time or (_EPOCH_MILLISECONDS[0] <= low and high <= _EPOCH_MILLISECONDS[1])
    if low >= 10 ** (MIN_KEY_DIGITS - 1) and not is_time:
        return f"with {len(str(low))} digits"
    return None


def repeated_key(guess: Guess, values: pd.Series, *, private: bool) -> Guess:
    """Return a key that may repeat in place of whole numbers, labels or text, if the name says that they are keys."""
    column, words = guess.column, _words(guess.column.name)
    is_key = {*words[-1:]} & (_REPEATED_KEY_WORDS | _REPEATED_NUMBER_WORDS)
    if not isinstance(column, Integer | Categorical | Text) or not is_key or getattr(column, "format", None):
        return guess
    texts = values[values.notna()].astype("str").str.strip()
    counts = texts[~texts.isin([*column.missing_values, ""])].value_counts()
    unique = counts.index.to_series()
    if len(counts) <= FEW_LABELS or (not private and are_labels(counts.to_numpy(), int(counts.sum()))):
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
        key = Id(**common, pattern="integer", start=first_new(numbers))
        return Guess(key, reason, instead="integer")
    if not unique.str.fullmatch(_WORD).all() or unique.str.contains("[0-9]").mean() <= 0.5:
        return guess
    numbered = _numbered_key(column.name, unique)
    if numbered is not None:
        return Guess(numbered.column.model_copy(update=common), reason, instead=column.type)
    return Guess(_token_key(common, unique), reason, instead=column.type)


def key_word_in(name: str) -> str | None:
    """Return the word of a name that says that its values are keys; None if there is none."""
    words = _words(name)
    found = [word for word in words if word in _KEY_WORDS]
    found += [word for word in words[-1:] if word in _LAST_KEY_WORDS]
    return found[0] if found else None


def _words(name: str) -> list[str]:
    """Return the words of a name without accents: `orderId`, `order_id` and `Order ID` have the same.

    A compound of a number, such as `Kundennummer`, `Bestellnr` or `userid`, has two.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    compounds = re.sub(_COMPOUND, r"\1 \2", re.sub(r"(?<=[a-z]{3})(?=(?:nummer|nr)(?![a-z]))", " ", spaced.lower()))
    return re.findall("[a-z]+", compounds)


def key_of_text(name: str, unique: pd.Series) -> Guess | None:
    """Return a key if unique texts are UUIDs, numbered, or tokens such as hashes."""
    if unique.head(SAMPLE).str.fullmatch(_UUID).all() and unique.str.fullmatch(_UUID).all():
        return Guess(Id(name=name, pattern="uuid"), "UUIDs")
    if key_word_in(name) is None and _TIME_WORDS & {*_words(name)}:
        return None  # such as weeks, 2024-W01
    return _numbered_key(name, unique) or _key_of_digits(name, unique) or _key_of_tokens(name, unique)


def _key_of_tokens(name: str, unique: pd.Series) -> Guess | None:
    """Return a key if unique texts are single words, and the name says so or all have one length, digits and letters.

    New ones have the same length and alphabet, or are UUIDs.
    """
    if not unique.head(SAMPLE).str.fullmatch(_WORD).all() or not unique.str.fullmatch(_WORD).all():
        return None
    if unique.str.fullmatch(DIGITS).all() and not unique.str.fullmatch(ZERO_LED).any():
        return None  # numbers, whose new ones are numbers
    key_word = key_word_in(name)
    lengths = unique.str.len()
    is_mixed = unique.str.contains("[0-9]").mean() > 0.5 and unique.str.contains("[A-Za-z]").mean() > 0.5
    is_code = len(unique) >= MIN_RUN and lengths.min() == lengths.max() >= MIN_TOKEN_LENGTH and is_mixed
    if key_word is None and not is_code:
        return None
    why = f"and its name says {key_word!r}" if key_word else f"codes of {lengths.min()} characters"
    key = _token_key({"name": name}, unique)
    made = "UUIDs" if key.pattern == "uuid" else f"made as {key.generate(1)[0]!r}"
    return Guess(key, f"{why}; new ones are {made}")


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


def _key_of_digits(name: str, unique: pd.Series) -> Guess | None:
    """Return a key if unique texts have digits at the same places alone, such as 120-28-5286, and the name says so."""
    key_word, pattern = key_word_in(name), re.sub("[0-9]", "#", unique.iloc[0])
    if key_word is None or "#" not in pattern or "#" in unique.iloc[0] or pattern.count("#") > MAX_KEY_DIGITS:
        return None
    if not (unique.str.replace("[0-9]", "#", regex=True) == pattern).all():
        return None
    numbers = unique.str.replace("[^0-9]", "", regex=True).astype("object").map(int)
    key = Id(name=name, pattern=pattern, start=first_new(numbers))
    return Guess(key, f"and its name says {key_word!r}")


def _numbered_key(name: str, unique: pd.Series) -> Guess | None:
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
    if not is_numbered and why_key(name, numbers) is None:
        return None
    run, start = pattern_of(digits)
    return Guess(Id(name=name, pattern=f"{before}{run}{after}", start=start), f"numbered as {least!r}")


def pattern_of(digits: pd.Series) -> tuple[str, int]:
    """Return the pattern of new keys for different texts of digits, and the first number of the new ones."""
    lengths = digits.str.len()
    length = int(lengths.mode()[0])
    if length <= MAX_KEY_DIGITS:
        counted = digits[lengths <= MAX_KEY_DIGITS].astype("object").map(int)
        return "#" * (length if (lengths == length).all() else 1), first_new(counted)
    usual = digits[lengths == length]
    first = usual.str.slice(0, length - MAX_KEY_DIGITS).mode()[0]
    rest = usual[usual.str.startswith(first)].str.slice(length - MAX_KEY_DIGITS)
    return first + "#" * MAX_KEY_DIGITS, first_new(rest.astype("object").map(int))


def first_new(numbers: Sequence[int] | pd.Series | np.ndarray) -> int:
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


def not_a_key(guess: Guess) -> Guess:
    """Return whole numbers for a key that its name does not state: with keys alone, nothing is learned."""
    column = guess.column
    if isinstance(column, Id) and column.pattern == "integer" and key_word_in(column.name) is None:
        return Guess(Integer(name=column.name), "whole numbers; a key if the table had another column")
    return guess
