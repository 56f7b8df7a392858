"""The dialect of a CSV file: its delimiter, numbers, encoding and quotes; stated, or found in the file.

The delimiter is chosen by whether every row has as many cells as the header, because a sniffer that looks at the rows
alone reads `5,66;sweet;1092,5` as three cells. The number format is chosen by columns in which every cell is a number.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are looked for, in order of preference."""

MIN_SPACED = 3
"""Columns from which on spaces are looked for as delimiters: 12 kg are two cells, or one."""

SAMPLE_ROWS = 5000
"""Rows at the head of a file in which its dialect is looked for."""

MAX_ABOVE, SAMPLE_LINES = 20, 20
"""Lines above a header, at most, and lines from the header on that are compared with them."""

GAPS = (
    *("?", "-", "--", "NA", "N/A", "NaN", "NULL", "None", "#N/A", "k.A."),
    *("na", "n/a", "nan", "null", "none"),
)
"""Texts that may stand for an empty cell in a column of numbers."""

_SPACES = " \u00a0\u202f"
_SEPARATORS = {" ": f"[{_SPACES}]", "'": "['\u2019]", ".": r"\.", ",": ",", "": "(?!)"}
"""By thousands separator, the pattern that it has in a cell: a space may be a non-breaking one."""


class Dialect(BaseModel):
    """The dialect of a CSV file. What is not stated is found in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="Character between two cells.")
    decimal: Literal[".", ","] | None = Field(default=None, description="Decimal mark of numbers.")
    thousands: Literal["", ".", ",", " ", "'"] | None = Field(
        default=None, description="Thousands separator of numbers; an empty text if there is none."
    )
    encoding: str | None = Field(default=None, description="Encoding of the text, such as utf-8 or cp1252.")
    quote: Literal["", '"', "'"] | None = Field(
        default=None, description="Character around a cell that contains delimiters; an empty text if there is none."
    )
    escape: Literal["", '"', "'", "\\"] | None = Field(
        default=None, description="Character before a quote inside a quoted cell: the quote itself, or a backslash."
    )
    skip: int | None = Field(
        default=None, ge=0, description="Lines above the header, such as a title; blank ones alone need not be counted."
    )
    header: bool = Field(default=True, description="Whether the first row has the names of the columns.")

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, value: str | None) -> str | None:
        if value is not None and value in "\"'\\\r\n":
            raise ValueError(f"found {value!r}; expected a character that is no quote, backslash or line break")
        return value

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            codecs.lookup(value)
            "".encode(value)  # base64 and others are codecs of bytes
        except LookupError:
            raise ValueError(f"found {value!r}; expected an encoding such as utf-8, cp1252 or utf-16") from None
        return value

    @model_validator(mode="after")
    def _marks_differ(self) -> "Dialect":
        if self.thousands and self.thousands == self.decimal:
            raise ValueError(f"found {self.decimal!r} as both decimal and thousands; expected two characters")
        return self

    @property
    def rewrites_numbers(self) -> bool:
        """Whether numbers are written otherwise than with a decimal point and no thousands separator."""
        return self.decimal == "," or bool(self.thousands)

    def number_pattern(self) -> str:
        """Return the regular expression of a number of this dialect, for Python and RE2."""
        return _number(self.decimal or ".", self.thousands or "")

    def reader(self, lines: Iterator[str], *, strict: bool = False) -> Iterator[list[str]]:
        """Return Python's CSV reader of this dialect, which states the line number as `line_num`."""
        quote, escape = self.quote, self.escape
        return csv.reader(
            lines,
            delimiter=self.delimiter or ",",
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            doublequote=bool(quote) and escape != "\\",
            escapechar="\\" if quote and escape == "\\" else None,
            strict=strict,
        )


def find_dialect(sample: str, stated: Dialect, *, encoding: str) -> Dialect:
    """Find what is not stated of a dialect in the text at the head of a file.

    Parameters
    ----------
    sample : str
        Whole lines from the head of the file.
    stated : Dialect
        What is known.
    encoding : str
        The encoding of the file.

    Returns
    -------
    Dialect
        The dialect, complete.
    """
    skip = stated.skip if stated.skip is not None else _lines_above(sample, stated)
    sample = "".join(sample.splitlines(keepends=True)[skip:]) if skip else sample
    quote = stated.quote if stated.quote is not None else _find_quote(sample)
    known = stated.model_copy(update={"encoding": encoding, "quote": quote, "skip": skip})
    delimiters = DELIMITERS if stated.delimiter is None else (stated.delimiter,)
    escapes = (quote, "\\") if quote and f"\\{quote}" in sample else (quote,)
    split = [
        _split(sample, known.model_copy(update={"delimiter": delimiter, "escape": escape}))
        for delimiter in delimiters
        for escape in (escapes if stated.escape is None else (stated.escape,))
    ]
    best = max(split, key=lambda each: each.score)
    if stated.delimiter is None and stated.header and best.width < 2:
        best = _split_by_spaces(sample, known, stated) or best
    body = [row for row in best.rows[stated.header :] if len(row) == best.width]
    decimal, thousands = _find_number_format(body, str(best.dialect.delimiter), stated)
    return best.dialect.model_copy(update={"decimal": decimal, "thousands": thousands})


@dataclass(frozen=True)
class _Split:
    """The rows of the sample in a dialect; not whole where text follows a closing quote."""

    dialect: Dialect
    rows: list[list[str]]
    is_whole: bool

    @property
    def width(self) -> int:
        """Number of cells of the first row."""
        return len(self.rows[0]) if self.rows else 0

    @property
    def score(self) -> tuple[bool, bool, float, bool, bool, int]:
        """How well the dialect splits: the share of rows that have as many cells as the header, then the cells.

        A comma comes last, as it may be the decimal mark.
        """
        fitting = sum(len(row) == self.width for row in self.rows) / max(len(self.rows), 1)
        delimiter, escape = self.dialect.delimiter, self.dialect.escape
        return self.width > 1, self.is_whole, fitting, escape != "\\", delimiter != ",", self.width


def _split(sample: str, dialect: Dialect) -> _Split:
    rows = []
    try:
        for row in dialect.reader(io.StringIO(sample, newline=""), strict=True):
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error as error:  # a quoted cell may end after the sample
        return _Split(dialect, rows, is_whole="end of data" in str(error))
    return _Split(dialect, rows, is_whole=True)


def _split_by_spaces(sample: str, known: Dialect, stated: Dialect) -> _Split | None:
    """Return the rows split by spaces, as R and statistics programs write them; None if they may be text.

    All rows have as many cells as the header, three or more, which has no numbers above a column of numbers.
    """
    quote = known.quote if stated.quote is not None else _find_quote(sample, " ")
    found = _split(
        sample, known.model_copy(update={"delimiter": " ", "quote": quote, "escape": stated.escape or quote})
    )
    is_table = found.is_whole and found.width >= MIN_SPACED and {len(row) for row in found.rows} == {found.width}
    return found if is_table and _is_header(found.rows[0], found.rows[1:]) else None


def _lines_above(sample: str, stated: Dialect) -> int:
    """Return the number of lines above the header: comments, titles, and blank lines below them.

    The lines below, up to `SAMPLE_LINES`, have as many cells each, and more than one; a title has no delimiter, and the
    last comment not as many. A title is no comment: the line below it must be a header, without numbers above a column
    of numbers.
    """
    lines = sample.splitlines()[: MAX_ABOVE + SAMPLE_LINES]
    n_comments = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    for delimiter in DELIMITERS if stated.delimiter is None else (stated.delimiter,):
        dialect = stated.model_copy(update={"delimiter": delimiter, "quote": '"'})
        n_titles = next((i for i, line in enumerate(lines) if delimiter in line), 0)
        for start in (n_comments, n_titles):
            above = [line for line in lines[:start] if line.strip()]
            below = [line for line in lines[start : start + SAMPLE_LINES] if line.strip() and line[0] != "#"]
            is_name = "".join(above).count('"') % 2  # the name of a column, which has a line break
            if not above or is_name or start > MAX_ABOVE or len(below) <= 2 or not stated.header:
                continue
            rows = [next(dialect.reader(iter([line]))) for line in [*below, above[-1]]]
            widths = {len(row) for row in rows[:-1]}
            is_table = len(widths) == 1 and widths.isdisjoint((1, len(rows[-1])))
            if is_table and (start == n_comments or _is_header(rows[0], rows[1:-1])):
                return start
    return 0


def _is_header(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    number = "|".join(_number(*marks) for marks in ((".", ","), (",", ".")))
    if not all(name.strip() for name in names) or any(re.fullmatch(number, name) for name in names):
        return False
    return any(
        _all_match(number, [cell for cell in cells if cell.strip()] or ["-"]) for cells in zip(*rows, strict=True)
    )


def _find_quote(sample: str, delimiters: str = r",;\t|") -> str:
    if '"' in sample or "'" not in sample:
        return '"'
    # Apostrophes are quotes if each is at an end of a cell, by whatever delimiter.
    at_ends = re.findall(rf"(?:^|(?<=[{delimiters}]))'[^'\r\n]*'(?=[{delimiters}\r\n]|\Z)", sample, flags=re.MULTILINE)
    return "'" if 2 * len(at_ends) == sample.count("'") else '"'


def _number(decimal: str, thousands: str) -> str:
    mark = re.escape(decimal)
    whole = r"\d+" if not thousands else rf"(?:[1-9]\d{{0,2}}(?:{_SEPARATORS[thousands]}\d{{3}})+|\d+)"
    return rf"\s*[-+]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?\s*"


def _grouped(thousands: str) -> str:
    """Return the pattern of a whole number with thousands separators."""
    return rf"\s*[-+]?[1-9]\d{{0,2}}(?:{_SEPARATORS[thousands]}\d{{3}})+"


def thousands_pattern(thousands: str) -> str:
    """Return the regular expression of a thousands separator in a cell, for Python and RE2."""
    return _SEPARATORS[thousands]


def _find_number_format(rows: Sequence[Sequence[str]], delimiter: str, stated: Dialect) -> tuple[str, str]:
    columns = [[cell for cell in column if cell.strip() not in ("", *GAPS)] for column in zip(*rows, strict=True)]
    columns = [cells for cells in columns if cells]
    decimal = stated.decimal
    if decimal is None:
        other = {",": 0, ".": 0}
        for cells in columns:
            for mark, separator in ((",", "."), (".", ",")):
                other[mark] += stated.thousands != mark and _has_fractions(cells, mark, separator, delimiter)
        decimal = "," if stated.thousands == "." or (other[","] and (not other["."] or delimiter == ";")) else "."
    if stated.thousands is not None:
        return decimal, stated.thousands
    separators = [mark for mark in (".", ",", " ", "'") if mark != decimal]
    return decimal, next((mark for mark in separators if any(_has_groups(c, decimal, mark) for c in columns)), "")


def _has_fractions(cells: Sequence[str], decimal: str, separator: str, delimiter: str) -> bool:
    """Return whether all cells are numbers with this decimal mark, and one of them could not be of another format."""
    pattern = "|".join(_number(decimal, thousands) for thousands in (separator, " ", "'"))
    if not any(decimal in cell for cell in cells) or not _all_match(pattern, cells):
        return False
    if decimal == "," and delimiter == ";":  # what spreadsheets write where the decimal mark is a comma
        return True
    return not _all_match(_number("." if decimal == "," else ",", decimal), cells)


def _has_groups(cells: Sequence[str], decimal: str, thousands: str) -> bool:
    """Return whether all cells are numbers, and one of them has this thousands separator."""
    # Most columns have no separator, and this search takes far less time than to match each cell.
    if not re.search(_SEPARATORS[thousands], "\n".join(cells)):
        return False
    if not _all_match(_number(decimal, thousands), cells):
        return False
    if thousands == "," and decimal == ".":
        return any(re.match(_grouped(thousands), cell) for cell in cells)
    # A point, a space or an apostrophe may mean something else, such as the parts of a telephone number.
    fraction = rf"{_grouped(thousands)}{re.escape(decimal)}\d"
    twice = rf"{_grouped(thousands)}{_SEPARATORS[thousands]}\d{{3}}" if thousands == "." else "(?!)"
    return any(re.match(fraction, cell) or re.match(twice, cell) for cell in cells)


def _all_match(pattern: str, cells: Sequence[str]) -> bool:
    compiled = re.compile(pattern)
    return all(compiled.fullmatch(cell) for cell in cells)


def sample_text(stream: io.TextIOBase, size: int) -> str:
    """Return whole lines from the head of a text stream, about `size` characters."""
    text = stream.read(size)
    return text + stream.readline() if len(text) == size else text
