"""What a table states in another way: codes of one form, which are numbers, and columns that are parts of dates."""

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from synth_assets.schema.columns import Categorical, Column, Integer, Text, TimeColumn

MIN_CODES = 50
"""Different texts of one form from which on they are learned as numbers."""

MAX_CODES = 2**60
"""Texts that a form has, at most."""

ROWS_PER_PART = 5
"""Train rows that each part of a date has on average, such as each month, for a column to be found to state it."""

_SAMPLE = 1000
"""Rows that are looked at before all are."""

PARTS = ("year", "quarter", "month", "day_of_week", "day", "hour", "minute")


class TextForm(BaseModel):
    """A form that texts have, such as 12345-0123: at each position, one of a few characters.

    Parameters
    ----------
    characters : tuple of str
        By position, the characters that there are, ascending.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    characters: tuple[str, ...]

    @classmethod
    def fit(cls, texts: pd.Series) -> Self | None:
        """Find the form of codes; None if texts are none.

        Codes have one length. At each position all have the same character, or digits, or letters, and there are at
        least as many positions of digits as of letters, so that words of one length are no codes.
        """
        unique = texts.dropna().unique()
        if len(unique) < MIN_CODES or len({len(text) for text in unique[:_SAMPLE]}) > 1:
            return None
        if len({len(text) for text in unique}) > 1:
            return None
        characters = tuple("".join(np.unique(column)) for column in _characters(unique).T)
        varying = [each for each in characters if len(each) > 1]
        n_digits = sum(each.isascii() and each.isdigit() for each in varying)
        n_letters = sum(each.isascii() and each.isalpha() for each in varying)
        is_code = n_digits + n_letters == len(varying) > 1 and n_digits >= n_letters
        return cls(characters=characters) if is_code and math.prod(map(len, characters)) <= MAX_CODES else None

    def to_numbers(self, texts: pd.Series) -> pd.Series:
        """Return the numbers of texts by their order; -1 for a text of another form, missing where one is missing."""
        numbers = np.full(len(texts), -1, np.int64)
        is_long = (texts.str.len() == len(self.characters)).fillna(False).to_numpy(bool)
        if is_long.any():
            cells = _characters(texts[is_long].to_numpy())
            known, found = np.ones(len(cells), bool), np.zeros(len(cells), np.int64)
            for position, characters in enumerate(self.characters):
                order = np.array(list(characters))
                index = np.minimum(np.searchsorted(order, cells[:, position]), len(order) - 1)
                known &= order[index] == cells[:, position]
                found = found * len(order) + index
            numbers[is_long] = np.where(known, found, -1)
        values = pd.Series(numbers, index=texts.index, name=texts.name)
        return values.astype("Int64").mask(texts.isna()) if texts.isna().any() else values

    def to_texts(self, numbers: pd.Series) -> pd.Series:
        """Return the texts of numbers; missing where one is missing."""
        is_missing = numbers.isna().to_numpy()
        left = numbers.fillna(0).to_numpy("int64")
        cells = np.empty((len(left), len(self.characters)), "U1")
        for position in range(len(self.characters) - 1, -1, -1):
            order = np.array(list(self.characters[position]))
            left, index = np.divmod(left, len(order))
            cells[:, position] = order[index]
        texts = cells.view(f"U{len(self.characters)}").ravel() if len(cells) else np.empty(0, "U1")
        return pd.Series(texts, index=numbers.index, name=numbers.name, dtype="str").mask(is_missing)


class DatePart(BaseModel):
    """What a column states of another one, of dates: the year, the month, the weekday, ..., in its own words.

    Parameters
    ----------
    of : str
        The column of dates.
    part : str
        One of `PARTS`.
    values : dict of int to str or int
        The value of the column for each part of the train rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str
    part: str
    values: dict[int, int | str]

    def apply(self, values: pd.Series, times: pd.Series) -> pd.Series:
        """Return values in which each row with a known part of a date has the part's value."""
        parts = getattr(times.dt, self.part)
        stated = pd.Series([self.values.get(part) for part in parts], index=values.index, dtype="object")
        return values.astype("object").where(stated.isna(), stated)


def find_date_parts(train: pd.DataFrame, columns: Sequence[Column]) -> dict[str, DatePart]:
    """Find the columns of labels and whole numbers that state a part of a date in every train row.

    Parameters
    ----------
    train : pandas.DataFrame
        Rows in the dtypes of the columns.
    columns : sequence of Column
        The columns.

    Returns
    -------
    dict of str to DatePart
        By column, the part of the first column of dates of which it states one.
    """
    times = [train[column.name] for column in columns if isinstance(column, TimeColumn)]
    heads = [(each, _parts(each.head(_SAMPLE))) for each in times]
    found: dict[str, DatePart] = {}
    for column in columns if heads else ():
        if isinstance(column, Categorical | Integer):
            stated = (_stated_part(train[column.name], each, parts) for each, parts in heads)
            part = next(filter(None, stated), None)
            found.update({} if part is None else {column.name: part})
    return found


def learned_column(column: Text) -> Integer:
    """Return the column of the numbers of texts that have a form."""
    return Integer(name=column.name, description=column.description, nullable=column.nullable)


def _parts(times: pd.Series) -> dict[str, np.ndarray]:
    """Return the parts of dates as whole numbers, by name; -1 where one is missing."""
    return {part: getattr(times.dt, part).fillna(-1).to_numpy("int64") for part in PARTS}


def _stated_part(values: pd.Series, times: pd.Series, head: Mapping[str, np.ndarray]) -> DatePart | None:
    """Return the part of dates that values state; `head` has the parts of the first dates."""
    codes, labels = pd.factorize(values.head(_SAMPLE))
    for part, numbers in head.items():
        n_pairs = len(np.unique(numbers * (len(labels) + 1) + codes))
        if n_pairs > len(np.unique(numbers)):
            continue
        stated = _stated(values, times, part)
        if stated is not None and 1 < len(stated) <= len(values) / ROWS_PER_PART and len(set(stated.values())) > 1:
            return DatePart(of=str(times.name), part=part, values=stated)
    return None


def _stated(values: pd.Series, times: pd.Series, part: str) -> dict[int, int | str] | None:
    """Return the value for each part of a date; None if a part has several, or cells are empty in one column alone."""
    present = times.notna()
    if not present.any() or not present.equals(values.notna()):
        return None
    parts = getattr(times[present].dt, part)
    pairs = pd.DataFrame({"part": parts, "value": values[present]}).drop_duplicates()
    if pairs["part"].duplicated().any():
        return None
    return dict(zip(pairs["part"].tolist(), pairs["value"].tolist(), strict=True))


def _characters(texts: np.ndarray) -> np.ndarray:
    """Return the characters of n texts of one length, (n, length)."""
    cells = np.asarray(texts.tolist(), dtype="U")
    return cells.view("U1").reshape(len(texts), -1)
