"""What a table states in another way: codes of a few forms, which are numbers, and columns that are parts of dates."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from synth_assets.schema.columns import Categorical, Column, Date, Integer, Text, TimeColumn

MIN_CODES = 50
"""Different texts of a few forms from which on they are learned as numbers."""

MAX_FORMS, CODES_PER_FORM = 100, 5
"""Forms that codes have, at most, and codes that a form has on average; one with fewer may have any digits."""

MAX_WORDS = 50
"""Different sequences of letters at one place, up to which each stays as it is."""

MAX_CODES = 2**60
"""Texts that forms have, at most."""

ROWS_PER_PART = 5
"""Train rows that each part of a date has on average, such as each month, for a column to be found to state it."""

_SAMPLE = 1000
"""Rows that are looked at before all are."""

PARTS = ("year", "quarter", "month", "day_of_week", "day", "hour", "minute", "year_quarter", "year_month", "year_week")


class TextForm(BaseModel):
    """The forms that texts have, such as 12345-0123, or A-12 and AB-123: at each place, one of a few strings.

    Parameters
    ----------
    forms : tuple of tuple of tuple of str
        By form and place, the strings that there are, ascending: digits, letters, sequences of letters, or a character
        that is always the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    forms: tuple[tuple[tuple[str, ...], ...], ...]

    @classmethod
    def fit(cls, texts: pd.Series) -> Self | None:
        """Find the forms of codes; None if texts are none.

        Texts have one form if they have digits, sequences of letters and other characters at the same places; letters
        by themselves, if the sequences are many. A form of codes has at least as many places of digits as of letters,
        so that words are no codes.
        """
        unique = pd.Series(texts.dropna().unique(), dtype="str")
        for letters in ("[A-Za-z]+", "[A-Za-z]"):
            forms = _forms(unique, letters)
            if forms and any(sum(len(place) > 1 for place in places) > 1 for places in forms):
                return cls(forms=forms) if sum(map(_size, forms)) <= MAX_CODES else None
        return None

    def to_numbers(self, texts: pd.Series) -> pd.Series:
        """Return the numbers of texts; -1 for a text of another form, missing where one is missing."""
        numbers, first = pd.Series(-1, index=texts.index, name=texts.name, dtype="int64"), 0
        for places in self.forms:
            cells = texts.str.extract(_pattern(places))
            cells = cells[cells[0].notna()]
            found = np.full(len(cells), first, np.int64)
            scale = 1
            for position in _ascending(places):
                found += scale * pd.Index(places[position]).get_indexer(cells[position])
                scale *= len(places[position])
            numbers[cells.index] = found
            first += _size(places)
        return numbers.astype("Int64").mask(texts.isna()) if texts.isna().any() else numbers

    def to_texts(self, numbers: pd.Series) -> pd.Series:
        """Return the texts of numbers; missing where one is missing."""
        left = numbers.fillna(0).to_numpy("int64")
        written, first = np.full(len(left), "", dtype=object), 0
        for places in self.forms:
            is_of_form = (left >= first) & (left < first + _size(places))
            rest, cells = left[is_of_form] - first, np.empty((len(places), int(is_of_form.sum())), dtype=object)
            for position in _ascending(places):
                rest, index = np.divmod(rest, len(places[position]))
                cells[position] = np.array(places[position], dtype=object)[index]
            written[is_of_form] = cells.sum(axis=0)
            first += _size(places)
        return pd.Series(written, index=numbers.index, name=numbers.name, dtype="str").mask(
            numbers.isna().to_numpy(bool)
        )


class DatePart(BaseModel):
    """What a column states of another one, of dates: the year, the month, the weekday, ..., in its own words.

    Parameters
    ----------
    of : str
        The column of dates.
    part : str
        One of `PARTS`.
    values : dict of int to str or int
        The value of the column for each part of the train rows; of a column of dates, the day in ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str
    part: str
    values: dict[int, int | str]

    def apply(self, values: pd.Series, times: pd.Series) -> pd.Series:
        """Return values in which each row with a known part of a date has the part's value."""
        parts = _part(times, self.part)
        stated = pd.Series([self.values.get(part) for part in parts], index=values.index, dtype="object")
        if pd.api.types.is_datetime64_dtype(values.dtype):
            return values.where(stated.isna(), pd.to_datetime(stated).astype(values.dtype))
        return values.astype("object").where(stated.isna(), stated)


def find_date_parts(train: pd.DataFrame, columns: Sequence[Column]) -> dict[str, DatePart]:
    """Find the columns of labels, whole numbers and dates that state a part of a date in every train row.

    Of two columns of dates that state a part of each other, the first one does.

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
        if isinstance(column, Categorical | Integer | Date):
            codes, labels = pd.factorize(train[column.name].head(_SAMPLE))
            stated = (
                _stated_part(train[column.name], each, parts, codes, len(labels))
                for each, parts in heads
                if each.name != column.name
                and each.name not in found
                and np.array_equal(codes == -1, each.head(_SAMPLE).isna())
            )
            part = next(filter(None, stated), None)
            found.update({} if part is None else {column.name: part})
    return found


def learned_column(column: Text) -> Integer:
    """Return the column of the numbers of texts that have a form."""
    return Integer(name=column.name, description=column.description, nullable=column.nullable)


def _parts(times: pd.Series) -> dict[str, np.ndarray]:
    """Return the parts of dates as whole numbers, by name; -1 where one is missing."""
    return {part: _part(times, part).fillna(-1).to_numpy("int64") for part in PARTS}


def _part(times: pd.Series, part: str) -> pd.Series:
    """Return a part of dates, one of `PARTS`, as numbers."""
    if part == "year_week":
        calendar = times.dt.isocalendar()
        return (100 * calendar["year"].astype("Int64") + calendar["week"]).astype("Float64")
    year, _, within = part.partition("_")
    if year != "year" or not within:
        return getattr(times.dt, part)
    return 100 * times.dt.year + getattr(times.dt, within)


def _stated_part(
    values: pd.Series, times: pd.Series, head: Mapping[str, np.ndarray], codes: np.ndarray, n_labels: int
) -> DatePart | None:
    """Return the part of dates that values state; of the first rows, `head` has the parts, and `codes` the values."""
    for part, numbers in head.items():
        n_parts = len(np.unique(numbers))
        if n_labels > n_parts or len(np.unique(numbers * (n_labels + 1) + codes)) > n_parts:
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
    parts = _part(times[present], part).astype("int64")
    shown = values[present]
    if pd.api.types.is_datetime64_dtype(shown.dtype):
        shown = shown.dt.strftime("%Y-%m-%d")
    pairs = pd.DataFrame({"part": parts, "value": shown}).drop_duplicates()
    if pairs["part"].duplicated().any():
        return None
    return dict(zip(pairs["part"].tolist(), pairs["value"].tolist(), strict=True))


def _forms(texts: pd.Series, letters: str) -> tuple[tuple[tuple[str, ...], ...], ...] | None:
    """Return the forms of texts in which letters, one or a sequence of them, are a place; None if they are no codes."""
    if len(texts) < MIN_CODES or _shapes(texts[:_SAMPLE], letters).nunique() > MAX_FORMS:
        return None
    shapes = _shapes(texts, letters)
    counts = shapes.value_counts().sort_index()
    if len(counts) > min(MAX_FORMS, len(texts) / CODES_PER_FORM):
        return None
    found = [_places(shape, texts[shapes == shape], letters) for shape in counts.index]
    forms = tuple(places for places in found if places is not None)
    return forms if len(forms) == len(found) else None


def _shapes(texts: pd.Series, letters: str) -> pd.Series:
    """Return texts in which a digit is 0 and letters, one or a sequence of them, are a."""
    return texts.str.replace("[0-9]", "0", regex=True).str.replace(letters, "a", regex=True)


def _places(shape: str, texts: pd.Series, letters: str) -> tuple[tuple[str, ...], ...] | None:
    """Return the strings at each place of texts of a shape; None if they are no codes."""
    kinds = {"a": f"({letters})", "0": "([0-9])"}
    cells = texts.str.extract("".join(kinds.get(each, f"({re.escape(each)})") for each in shape))
    places = [tuple(np.unique(cells[position].to_numpy("str")).tolist()) for position in range(len(shape))]
    varying = [kind for kind, place in zip(shape, places, strict=True) if len(place) > 1]
    if max(map(len, places), default=0) > MAX_WORDS or varying.count("0") < varying.count("a"):
        return None
    if len(texts) < CODES_PER_FORM:
        places = [
            tuple("0123456789" if "0" in place else "123456789") if kind == "0" else place
            for kind, place in zip(shape, places, strict=True)
        ]
    return tuple(places)


def _ascending(places: tuple[tuple[str, ...], ...]) -> list[int]:
    """Return positions by their weight in a number, the least first: digits, which other columns hardly depend on."""
    return sorted(range(len(places)), key=lambda position: (not places[position][0].isdigit(), -position))


def _size(places: tuple[tuple[str, ...], ...]) -> int:
    """Return the number of texts of a form."""
    return math.prod(map(len, places))


def _pattern(places: tuple[tuple[str, ...], ...]) -> str:
    """Return the regular expression of a form, with a group for each place."""
    return "^" + "".join(f"({'|'.join(map(re.escape, place))})" for place in places) + r"\Z"
