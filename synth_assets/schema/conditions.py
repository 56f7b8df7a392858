"""Conditions on a column that sampled rows have to meet, such as `>= 15 and < 20`, `in ('a', 'b')` or `is null`.

This is the only place that reads them. What a value stands for is left to whoever knows the column.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from synth_assets.errors import ModelError

Operator = Literal["==", "!=", ">=", "<=", ">", "<", "in", "is null", "is not null"]

_SIGN = r">=|<=|==|!=|<>|=(?!>)|>|<"
_NULL = re.compile(r"is\s+(not\s+)?null", re.IGNORECASE)
_LIST = re.compile(r"(not\s+)?in\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
_BETWEEN = re.compile(r"between\s+(\S.*?)\s+and\s+(\S.*)", re.IGNORECASE | re.DOTALL)
_COMPARISON = re.compile(rf"({_SIGN})(?!=)\s*(\S.*)", re.DOTALL)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)

_BEGINNING = rf"(?:(?:{_SIGN})(?!=)\s*\S|\b(?:is\s+(?:not\s+)?null\b|(?:not\s+)?in\s*\(|between\s+\S))"
_FIRST = re.compile(r"\s*" + _BEGINNING, re.IGNORECASE)
_MORE = re.compile(r"\s+and\s+" + _BEGINNING, re.IGNORECASE)

_ITEM = re.compile(r"""\s*('(?:[^']|'')*'|"(?:[^"]|"")*"|[^,]*?)\s*(?:,|$)""", re.DOTALL)
"""A value of a list: in quotes, where a comma is part of it and a quote is written twice, or up to a comma."""

FORMS = (
    "one of >=, <=, >, <, ==, != and a value, such as >= 15 or == 'I', `between 15 and 20`, `in ('I', 'F')`, "
    "`not in ('I', 'F')`, `is null` or `is not null`"
)
"""What a clause may be, for messages."""


@dataclass(frozen=True)
class Clause:
    """One of the clauses of a condition, all of which have to be met.

    Parameters
    ----------
    operator : str
        An `Operator`.
    values : tuple of str
        Text of the value that it compares with; of `in`, of each; none of `is null` and `is not null`.
    """

    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Condition:
    """A condition on a column. `between a and b` is two clauses, and `not in` one for each value.

    Parameters
    ----------
    clauses : tuple of Clause
        The clauses, all of which have to be met.
    text : str
        The condition as it was stated.
    """

    clauses: tuple[Clause, ...]
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str, name: str, labels: Collection[str] = ()) -> Self:
        """Read a condition.

        Parameters
        ----------
        text : str
            Clauses, joined by `and`. A value may be in quotes.
        name : str
            The column, for the message.
        labels : collection of str
            Labels of the column: one that has quotes around it, or ` and ` within, is a value as it stands.

        Raises
        ------
        ModelError
            If the text is no condition.
        """
        clauses = _clauses(text.strip(), labels)
        if clauses is None:
            raise ModelError(
                f"the condition {text!r} on {name!r} cannot be read; expected {FORMS}; several are joined with ` and `."
            )
        return cls(clauses, text)

    @property
    def is_about_gaps(self) -> bool:
        """Whether it compares with no value, but says whether one is missing."""
        return not any(clause.values for clause in self.clauses)

    def with_values(self, convert: Callable[[str], str]) -> Self:
        """Return the condition with each value converted."""
        converted = (replace(clause, values=tuple(map(convert, clause.values))) for clause in self.clauses)
        return replace(self, clauses=tuple(converted))

    def excluding(self, value: str) -> Self:
        """Return the condition with a value excluded."""
        return replace(self, clauses=(*self.clauses, Clause("!=", (value,))))

    def __str__(self) -> str:
        """Return the condition as it was stated."""
        return self.text


def begins_condition(text: str) -> bool:
    """Return whether a text begins as a condition does."""
    return _FIRST.match(text) is not None


def split_column(text: str) -> tuple[str, str] | None:
    """Split a text at the first place where a condition begins, into a column and the condition; None if at none."""
    begins = re.compile(rf"(?:{_SIGN})|\s" + _BEGINNING, re.IGNORECASE).search(text)
    if begins is None or not begins_condition(text[begins.start() :]):
        return None
    name, condition = text[: begins.start()].strip(), text[begins.start() :].strip()
    return (name, condition) if name else None


def _clauses(text: str, labels: Collection[str]) -> tuple[Clause, ...] | None:
    """Read clauses joined by `and`, which a value may contain; None if a text is none."""
    whole = _clause(text, labels)
    if whole is not None:
        return whole
    for joint in _AND.finditer(text):
        first = _clause(text[: joint.start()], labels)
        rest = _clauses(text[joint.end() :], labels) if first else None
        if first and rest:
            return first + rest
    return None


def _clause(text: str, labels: Collection[str]) -> tuple[Clause, ...] | None:
    """Read a text as one clause, or as what it stands for; None if it is none, or several."""
    if null := _NULL.fullmatch(text):
        return (Clause("is not null" if null[1] else "is null"),)
    if listed := _LIST.fullmatch(text):
        values = _items(listed[2], labels)
        if not values or (_MORE.search(listed[2]) and not all(value in labels for value in values)):
            return None
        return tuple(Clause("!=", (value,)) for value in values) if listed[1] else (Clause("in", values),)
    if between := _BETWEEN.fullmatch(text):
        low, high = between.groups()
        if _AND.search(high):
            return None
        return (Clause(">=", (_plain(low, labels),)), Clause("<=", (_plain(high, labels),)))
    if comparison := _COMPARISON.fullmatch(text):
        value = _plain(comparison[2], labels)
        if _MORE.search(comparison[2]) and value not in labels:
            return None
        operator: Operator = {"=": "==", "<>": "!="}.get(comparison[1], comparison[1])  # type: ignore[assignment]
        return (Clause(operator, (value,)),)
    return None


def _items(text: str, labels: Collection[str]) -> tuple[str, ...]:
    """Return the values of a list; none if one is empty."""
    items, end = [], 0
    while end < len(text):
        item = _ITEM.match(text, end)
        if item is None or not item[1]:
            return ()
        items.append(_plain(item[1], labels))
        end = item.end()
    return tuple(items)


def _plain(value: str, labels: Collection[str]) -> str:
    """Return a value without the quotes around it, unless they are part of a label; within, two quotes are one."""
    if value in labels or len(value) < 2 or value[0] not in "'\"" or value[0] != value[-1]:
        return value
    inner, quote = value[1:-1], value[0]
    return inner if inner in labels else inner.replace(2 * quote, quote)
