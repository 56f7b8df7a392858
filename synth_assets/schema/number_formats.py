"""Formats of numbers that a source writes as text: `$1,234.50`, `12 kg`, `08:30`.

A format is a pattern as spreadsheets have it, such as `$#,##0.00`, or a clock as of `strptime`, such as `%H:%M`, or
`%d days %H:%M:%S`, as pandas writes time differences.
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

import numpy as np
import pandas as pd

MIN_DIFFERENT = 10
"""Different texts that a format is found in; fewer ones are labels."""

_SEPARATORS = ",.' \u00a0\u202f\u2019"
_NO_BREAK = ("\u00a0", "\u202f")
_NUMBER = re.compile(rf"([^0-9]*?)([0-9]+(?:[{_SEPARATORS}][0-9]+)*)([^0-9]*)")
_MARKS = ((",", "."), (".", ","), *((mark, decimal) for mark in _SEPARATORS[2:] for decimal in ",."))
"""Separators of thousands and decimal marks, in the order in which they are tried."""

_SIGNS = str.maketrans({"-": None, "\u2212": None, "(": None, ")": None})
_SUFFIX = re.compile(r"\s?(?:[^\W\d_]|[%‰°µ/²³€$£¥])+(?: [^\W\d_]+){0,2}")
_CURRENCIES = {
    *("AED", "ARS", "AUD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR"),
    *("ILS", "INR", "JPY", "KRW", "MXN", "MYR", "NGN", "NOK", "NZD", "PHP", "PLN", "RON", "RUB", "SAR", "SEK", "SGD"),
    *("THB", "TRY", "TWD", "UAH", "USD", "VND", "ZAR"),
}
"""Codes of currencies, which whole numbers may follow; after other letters, as in CSE 101, these are codes."""

_PATTERN = re.compile(rf"(?:#([{_SEPARATORS}])##)?0(?:([.,])(0+|#))?")
_CLOCK = re.compile(r"(-?)(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{2})(?:\.([0-9]{1,6}))?( ?)([AaPp][Mm])?")
_DAYS = re.compile(r"(-?[0-9]{1,7}) days \+?([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?")
_DAYS_PATTERN = "%d days %H:%M:%S"
_CLOCK_PATTERN = re.compile(r"%(-?)([HIM])(:%M)?(:%S)?(\.0+)?( ?)(%p|%P)?")


class NumberFormat(ABC):
    """A way to write numbers as text."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """The unit of the numbers; empty if there is none."""

    @property
    @abstractmethod
    def noun(self) -> str:
        """What the texts are, in words."""

    @abstractmethod
    def _number(self, text: str) -> str | None:
        """Return the number that a text stands for, with a decimal point; None if it has another format."""

    @abstractmethod
    def _text(self, number: float) -> str:
        """Return the text of a number."""

    def read(self, values: pd.Series) -> pd.Series:
        """Return values in which each text of the format is a number with a decimal point; others stay."""
        numbers = {text: self._number(str(text).strip()) for text in values[values.notna()].unique()}
        plain = {text: number for text, number in numbers.items() if number is not None}
        return values.astype("object").map(lambda value: plain.get(value, value)) if plain else values

    def write(self, numbers: pd.Series) -> pd.Series:
        """Return numbers as text; missing where one is missing."""
        texts = {number: self._text(number) for number in numbers[numbers.notna()].unique().tolist()}
        return numbers.astype("object").map(texts, na_action="ignore").astype("str").where(numbers.notna())


@dataclass(frozen=True)
class _Section:
    """How numbers of one sign are written: a text before, one after, and the digits between."""

    before: str
    after: str
    thousands: str
    decimal: str
    decimals: int | None
    """None if there are as many as a number needs."""

    @classmethod
    def parse(cls, pattern: str) -> Self:
        found = list(_PATTERN.finditer(pattern))
        if len(found) != 1:
            raise ValueError(
                f"found {pattern!r}; expected digits such as 0, 0.00, 0.# or #,##0.00 with a text before or after, or "
                "a clock such as %H:%M or %d days %H:%M:%S"
            )
        thousands, decimal, fraction = found[0].groups(default="")
        decimals = None if fraction == "#" else len(fraction)
        return cls(pattern[: found[0].start()], pattern[found[0].end() :], thousands, decimal, decimals)

    @property
    def digits(self) -> re.Pattern[str]:
        grouped = rf"[1-9][0-9]{{0,2}}(?:{re.escape(self.thousands)}[0-9]{{3}})+|" if self.thousands else ""
        fraction = rf"(?:{re.escape(self.decimal or '.')}([0-9]+))?"
        around = [r"\s*".join(map(re.escape, each.split())) for each in (self.before, self.after)]
        return re.compile(rf"([-+]?)\s*{around[0]}\s*([-+]?)({grouped}[0-9]+){fraction}\s*{around[1]}")

    def number(self, text: str) -> str | None:
        """Return the number without the sign that the section stands for."""
        found = self.digits.fullmatch(text)
        if found is None:
            return None
        sign, other, whole, fraction = found.groups(default="")
        digits = whole.replace(self.thousands, "") if self.thousands else whole
        return f"{'-' * ('-' in (sign, other))}{digits}{f'.{fraction}' if fraction else ''}"

    def text(self, size: float) -> str:
        if isinstance(size, int):
            whole, fraction = str(size), "0" * (self.decimals or 0)
        elif self.decimals is None:
            whole, _, fraction = np.format_float_positional(size, trim="-").partition(".")
        else:
            whole, _, fraction = f"{size:.{self.decimals}f}".partition(".")
        if self.thousands:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        return f"{self.before}{whole}{f'{self.decimal}{fraction}' if fraction else ''}{self.after}"


@dataclass(frozen=True)
class _Pattern(NumberFormat):
    """Numbers between texts, such as `$#,##0.00`; after a semicolon each, how negative ones and zero are written."""

    sections: tuple[_Section, ...]

    @property
    def unit(self) -> str:
        """The texts before and after."""
        first = self.sections[0]
        return " ".join(filter(None, (first.before.strip("+ \u00a0"), first.after.strip())))

    @property
    def noun(self) -> str:
        """What the texts are, in words."""
        return "numbers"

    def _number(self, text: str) -> str | None:
        for i, section in enumerate(self.sections):
            if (number := section.number(text)) is not None:
                return f"-{number.lstrip('-')}" if i == 1 else number
        return None

    def _text(self, number: float) -> str:
        positive = self.sections[0].text(abs(number))
        if not number and len(self.sections) > 2:
            return self.sections[2].text(0)
        if number >= 0 or not re.search("[1-9]", positive):
            return positive
        return self.sections[1].text(-number) if len(self.sections) > 1 else f"-{positive}"


@dataclass(frozen=True)
class _Clock(NumberFormat):
    """Times of day or durations, as a number of seconds, or of minutes where there are no seconds."""

    is_padded: bool
    fields: int
    has_seconds: bool
    decimals: int
    between: str
    half: str

    @property
    def unit(self) -> str:
        """The unit of the numbers."""
        return "s" if self.has_seconds else "min"

    @property
    def noun(self) -> str:
        """What the texts are, in words."""
        return f"times of day or durations, in {'seconds' if self.has_seconds else 'minutes'},"

    def _number(self, text: str) -> str | None:
        found = _CLOCK.fullmatch(text)
        if found is None:
            return None
        sign, first, middle, last, fraction, _, half = found.groups(default="")
        if (3 if first else 2) != self.fields or bool(half) != bool(self.half) or (fraction and not self.has_seconds):
            return None
        parts = [int(part) for part in (first, middle, last) if part]
        if half:
            if not 1 <= parts[0] <= 12:
                return None
            parts[0] = parts[0] % 12 + 12 * (half in ("PM", "pm"))
        if any(part >= 60 for part in parts[1:]):
            return None
        total = 0
        for part in parts:
            total = 60 * total + part
        return f"{sign}{total}{f'.{fraction}' if fraction else ''}"

    def _text(self, number: float) -> str:
        size = round(abs(number) * 10**6) if self.has_seconds else round(abs(number)) * 10**6
        if self.decimals or not self.has_seconds:
            step = 10 ** (6 - self.decimals)
            size = (size + step // 2) // step * step
        total, micro = divmod(size, 10**6)
        parts: list[str] = []
        for _ in range(self.fields - 1):
            total, part = divmod(total, 60)
            parts.insert(0, f"{part:02d}")
        half = ""
        if self.half:
            upper = "PM" if total % 24 >= 12 else "AM"
            half = f"{self.between}{upper if self.half == '%p' else upper.lower()}"
            total = total % 12 or 12
        shown = ":".join([f"{total:0{2 if self.is_padded else 1}d}", *parts])
        sign = "-" if number < 0 and size else ""
        fraction = f"{micro:06d}"[: self.decimals] if self.decimals else f"{micro:06d}".rstrip("0") if micro else ""
        return f"{sign}{shown}{'.' * bool(fraction)}{fraction}{half}"


@dataclass(frozen=True)
class _Days(NumberFormat):
    """Time differences in seconds, as pandas writes them: `3 days 11:20:00`, or `-1 days +23:00:00.500000`."""

    @property
    def unit(self) -> str:
        """The unit of the numbers."""
        return "s"

    @property
    def noun(self) -> str:
        """What the texts are, in words."""
        return "time differences, in seconds,"

    def _number(self, text: str) -> str | None:
        found = _DAYS.fullmatch(text)
        if found is None:
            return None
        days, hours, minutes, seconds = map(int, found.groups()[:4])
        if hours >= 24 or minutes >= 60 or seconds >= 60:
            return None
        total = 86_400 * days + 3600 * hours + 60 * minutes + seconds
        return f"{total + Decimal(f'0.{found[5]}'):f}" if found[5] else str(total)

    def _text(self, number: float) -> str:
        seconds, micro = divmod(round(number * 10**6), 10**6)
        days, seconds = divmod(seconds, 86_400)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{days} days {'+' if days < 0 else ''}{clock}{f'.{micro:06d}' if micro else ''}"


def parse_format(pattern: str) -> NumberFormat:
    """Return the format that a pattern states.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> parse_format("$#,##0.00;($#,##0.00)").write(pd.Series([1234.5, -3.0])).tolist()
    ['$1,234.50', '($3.00)']
    >>> parse_format("%H:%M").read(pd.Series(["08:30", "noon"])).tolist()
    ['510', 'noon']
    """
    if pattern == _DAYS_PATTERN:
        return _Days()
    if clock := _CLOCK_PATTERN.fullmatch(pattern):
        unpadded, first, minutes, seconds, fraction, between, half = clock.groups(default="")
        fields = 1 + bool(minutes) + bool(seconds)
        is_known = fields == (2 if first == "M" else 3) if seconds else fields == 2 and first != "M"
        if is_known and bool(half) == (first == "I") and (seconds or not fraction) and (half or not between):
            return _Clock(not unpadded, fields, bool(seconds), max(len(fraction) - 1, 0), between, half)
    patterns = pattern.split(";")
    if len(patterns) > 3:
        raise ValueError(
            f"found {len(patterns)} patterns; expected three at most, of positive numbers, negatives, zero"
        )
    return _Pattern(tuple(_Section.parse(each) for each in patterns))


def find_format(unique: pd.Series) -> str | None:
    """Return the pattern in which all of different texts, without spaces around them, are written; None if in none."""
    texts = unique.tolist()
    if len(texts) < MIN_DIFFERENT:
        return None
    found = _DAYS_PATTERN if _DAYS.fullmatch(texts[0]) else _find_clock(texts) or _find_pattern(texts)
    if found is None:
        return None
    format_ = parse_format(found)
    return found if all(format_._number(text) is not None for text in texts) else None


def _find_clock(texts: Sequence[str]) -> str | None:
    found = [_CLOCK.fullmatch(text) for text in texts]
    if not all(found):
        return None
    parts = [match.groups(default="") for match in found]  # type: ignore[union-attr]
    has_three = {first != "" for _, first, *_ in parts}
    halves = {(between if half else "", half[-1:]) for *_, between, half in parts}
    decimals = {len(fraction) for *_, fraction, _, _ in parts}
    if len(has_three) > 1 or len(halves) > 1:
        return None
    between, m = halves.pop()
    first = "I" if m else "M" if decimals != {0} and has_three == {False} else "H"
    rest = ":%M:%S" if has_three == {True} else ":%S" if first == "M" else ":%M"
    hours = [first or second for _, first, second, *_ in parts]
    padded = {len(each) > 1 for each in hours if int(each) < 10}
    fraction = f".{'0' * max(decimals)}" if len(decimals) == 1 and decimals != {0} else ""
    half = {"M": "%p", "m": "%P", "": ""}[m]
    return f"%{'-' if padded == {False} else ''}{first}{rest}{fraction}{between}{half}"


def _find_pattern(texts: Sequence[str]) -> str | None:
    found = [_NUMBER.fullmatch(text) for text in texts]
    if not all(found):
        return None
    around: dict[int, set[tuple[str, str]]] = {1: set(), -1: set(), 0: set()}
    cores = []
    for match in found:
        before, core, after = match.groups()  # type: ignore[union-attr]
        is_negative = before.translate(_SIGNS) != before or after.endswith("-")
        around[-1 if is_negative else 1 if re.search("[1-9]", core) else 0].add((before, after))
        cores.append(core)
    if not around[1]:
        around[1], around[0] = around[0] or {_unsigned(pair) for pair in around[-1]}, set()
    if any(len(pairs) > 1 for pairs in around.values()):
        return None
    before, after = positive = next(iter(around[1]))
    if any(_unsigned(pair, "+") != _unsigned(positive, "+") for pairs in around.values() for pair in pairs):
        return None
    digits = _find_digits(cores)
    negative, zero = next(iter(around[-1]), None), next(iter(around[0]), positive)
    has_sign = negative is not None and negative != (f"-{before}", after)
    if digits is None or not (_is_unit(before, after, digits, cores) or (has_sign and not (before + after).strip())):
        return None
    patterns = [f"{before}{digits}{after}"]
    if has_sign or zero != positive:
        before, after = negative or (f"-{before}", after)
        patterns.append(f"{before}{digits}{after}")
    if zero != positive:
        patterns.append(f"{zero[0]}{digits}{zero[1]}")
    return ";".join(patterns)


def _unsigned(pair: tuple[str, str], more: str = "") -> tuple[str, str]:
    before, after = (text.translate(_SIGNS) for text in pair)
    return before.replace(more, "") if more else before, after


def _find_digits(cores: Sequence[str]) -> str | None:
    """Return the pattern of digits, such as `#,##0.00`."""
    for thousands, decimal in (("", ""), *_MARKS):
        grouped = rf"[1-9][0-9]{{0,2}}(?:{re.escape(thousands)}[0-9]{{3}})+|" if thousands else ""
        fraction = rf"(?:{re.escape(decimal)}([0-9]+))?" if decimal else "()"
        found = [re.fullmatch(rf"({grouped}0|[1-9][0-9]*){fraction}", core) for core in cores]
        if not all(found):
            continue
        lengths = {len(match[2] or "") for match in found}  # type: ignore[index]
        if lengths == {0, 3} and _has_groups(cores, decimal):
            continue  # 950 and 1.234: thousands
        has_groups = bool(thousands) and any(thousands in core for core in cores)
        digits = f"#{thousands}##0" if has_groups else "0"
        if lengths == {0}:
            return digits
        return f"{digits}{decimal}{'0' * lengths.pop() if len(lengths) == 1 else '#'}"
    return None


def _has_groups(cores: Sequence[str], mark: str) -> bool:
    """Return whether a mark may separate thousands: numbers without it have at most three digits."""
    grouped = re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+|[0-9]{{1,3}}")
    return all(grouped.fullmatch(core) for core in cores)


def _is_unit(before: str, after: str, digits: str, cores: Sequence[str]) -> bool:
    """Return whether texts around numbers, or their separators alone, say that they are numbers.

    The texts are a sign, a currency or a unit, and no part of a code.
    """
    mark = before.strip("+ \u00a0")
    if any(character in before + after for character in "#;0"):
        return False
    if not mark and not after.strip():
        thousands, decimal, _ = _PATTERN.fullmatch(digits).groups(default="")  # type: ignore[union-attr]
        if decimal == "," and not thousands and 2 * sum("," in core for core in cores) < len(cores):
            return False  # 7 and 4,6: lists
        if "," in (thousands, decimal) or (thousands and decimal) or thousands in _NO_BREAK:
            return True
        # A point may be in a version, and a space or an apostrophe in a telephone number, where all have as many.
        varies = len({core.count(thousands) for core in cores}) > 1
        return thousands not in ("", ".") and _has_groups(cores, thousands) and varies
    has_currency = any(unicodedata.category(character) == "Sc" for character in mark)
    is_code = re.fullmatch("[A-Z]{3}", mark) is not None and re.search("[.,]", digits) is not None
    is_code |= mark in _CURRENCIES
    return (not mark or (has_currency and len(mark) <= 5) or is_code) and (
        not after.strip() or (len(after) <= 20 and _SUFFIX.fullmatch(after) is not None)
    )
