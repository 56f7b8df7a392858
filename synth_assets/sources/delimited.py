"""CSV files in any dialect. Each cell comes as text, an empty one as missing; DuckDB splits the rows."""

import codecs
import csv
import glob
import gzip
import io
import itertools
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd

from synth_assets.sources.base import SourceError, reason_of, refuse_names
from synth_assets.sources.dialects import GAPS, Dialect, find_dialect, sample_text, thousands_pattern
from synth_assets.sources.encodings import LATIN_ENCODINGS, find_latin_encoding
from synth_assets.sources.frames import to_frame

SAMPLE_CHARACTERS = 2**20
"""Characters at the head of a file in which its dialect is looked for."""

BLOCK = 2**20

MAX_EXAMPLES = 5
"""Texts that are shown where the encoding may be mistaken."""

_NO_HEADER = (
    " If the first row has values and no names, state `dialect: {header: false}` in the source, or `--dialect "
    "header=false`."
)

_STATED_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n')
"""The line that spreadsheets understand, above the header."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_EAST_ASIAN = {
    "cp932": ((b"\x81\x40", b"\x83\x96"), (b"\x88\x9f", b"\x98\x72")),
    "euc_jp": ((b"\xa1\xa1", b"\xa5\xf6"), (b"\xb0\xa1", b"\xcf\xd3"), (b"\x8e\xa1", b"\x8e\xdf")),
    "gb18030": ((b"\xa1\xa1", b"\xa3\xfe"), (b"\xb0\xa1", b"\xd7\xf9")),
    "big5": ((b"\xa1\x40", b"\xa3\xbf"), (b"\xa4\x40", b"\xc6\x7e")),
    "cp949": ((b"\xa1\xa1", b"\xa3\xfe"), (b"\xb0\xa1", b"\xc8\xfe")),
}
"""Encodings of two bytes a character, and where their signs, kana and frequent characters are."""

_WESTERN_SIGNS = re.compile(rb"\xb0[CF]?|[\x80\xa3\xa7\xa9\xae\xb1-\xb3\xb5\xbc-\xbe]")
"""Signs of cp1252 that are in tables of any language: degrees, currencies, squares, fractions."""

_ASCII = bytes(range(128))

_STATE_IT = (
    "State it in the source, such as `dialect: {encoding: cp1251}`, or on the command line, `--dialect "
    "encoding=cp1251`; or save the file again as UTF-8."
)


def read_csv(path: Path, stated: Dialect | None = None) -> pd.DataFrame:
    """Read a CSV file, also one compressed by gzip or zstd.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    stated : Dialect, optional
        What is known of its dialect; the rest is found.

    Returns
    -------
    pandas.DataFrame
        Text columns; an empty cell is missing. A first column without a name that numbers the rows is left out. Where
        the dialect has a decimal comma or a thousands separator, columns in which every cell is a number are rewritten
        with a decimal point: `1.092,5` becomes `1092.5`.

    Raises
    ------
    SourceError
        If the file is empty or no text, a row has too many or too few cells, or the names are not unique.
    """
    dialect = dialect_of(path, stated)
    names, skip = _header(path, dialect)
    numbers = [name for name in names if re.fullmatch(dialect.number_pattern(), name)]
    hint = _NO_HEADER if numbers and dialect.header else ""
    named = names
    while len(named) > 1 and not named[-1].strip():  # every line may end with delimiters
        named = named[:-1]
    is_numbered = len(named) > 1 and not named[0] and all(named[1:])  # perhaps, as pandas writes its index
    if not is_numbered:
        refuse_names(named if all(named) else names, origin=str(path), hint=hint)
    with _as_utf8(path, dialect) as (file, compression):
        try:
            table = _rows(file, dialect, len(names), skip=skip, compression=compression)
        except _MixedLineBreaks:
            with _rewritten(path, dialect, skip) as rewritten:
                table = _rows(rewritten, _PLAIN, len(names), skip=0, compression="none", named=(path, dialect))
        except _UnreadableRows as error:
            raise _located(path, dialect, len(names), str(error)) from error
    if any(column.null_count < len(column) for column in table.columns[len(named) :]):
        refuse_names(names, origin=str(path), hint=hint)
    if is_numbered:
        if not _counts_rows(table.column(0)):
            refuse_names(named, origin=str(path), hint=hint)
        refuse_names(named[1:], origin=str(path), hint=hint)
    table = table.select(range(int(is_numbered), len(named)))
    named = named[int(is_numbered) :]
    if dialect.rewrites_numbers:
        table = _with_decimal_points(table, dialect)
    frame = to_frame(table)
    frame.columns = pd.Index(named)
    return frame


def dialect_of(path: Path, stated: Dialect | None = None) -> Dialect:
    """Return the complete dialect of a CSV file: what is stated, and what is found of the rest.

    Parameters and errors are as in `read_csv`.
    """
    stated = stated or Dialect()
    encoding = stated.encoding or _find_encoding(path)
    try:
        with _text(path, encoding) as stream:
            sample = sample_text(stream, SAMPLE_CHARACTERS).lstrip(_MARK)
    except UnicodeError as error:
        raise _undecodable(path, encoding) from error
    if line := _STATED_DELIMITER.match(sample):
        sample = sample[line.end() :]
        stated = stated.model_copy(update={"delimiter": stated.delimiter or line[1]})
    return find_dialect(sample, stated, encoding=encoding)


def encoding_notice(frame: pd.DataFrame, found: Dialect, stated: Dialect | None) -> str:
    """Return a sentence on an encoding that was told by letters alone, with texts to check; empty if it was not."""
    if (stated and stated.encoding) or found.encoding not in LATIN_ENCODINGS:
        return ""
    values = itertools.chain.from_iterable(frame[name].dropna().unique() for name in frame)
    texts = itertools.chain(frame.columns, values)
    examples = [repr(text) for text in itertools.islice((t for t in texts if not t.isascii()), MAX_EXAMPLES)]
    return (
        f"The file is not in UTF-8; by its letters, {found.encoding} was taken: {', '.join(examples)}. If these are "
        "wrong, state the encoding: `--dialect encoding=...`, or `dialect: {encoding: ...}` under `source` in "
        "defs.yaml."
    )


_MARK = "\ufeff"
"""A byte order mark as text: programs that do not know of the first one write a second."""

Compression = Literal["gzip", "zstd", "none"]


class _UnreadableRows(Exception):
    """DuckDB cannot split the rows."""


class _MixedLineBreaks(_UnreadableRows):
    """Lines end in different ways, which DuckDB refuses."""


_PLAIN = Dialect(delimiter=",", decimal=".", thousands="", encoding="utf-8", quote='"', escape='"')


def compression_of(path: Path) -> Compression:
    """Return how a file is compressed by its first bytes: gzip, zstd or none."""
    with path.open("rb") as file:
        head = file.read(4)
    return "gzip" if head.startswith(b"\x1f\x8b") else "zstd" if head == b"\x28\xb5\x2f\xfd" else "none"


def _bytes(path: Path) -> IO[bytes]:
    compression = compression_of(path)
    if compression == "gzip":
        return gzip.open(path)  # type: ignore[return-value]
    if compression == "zstd":
        import pyarrow as pa

        return pa.input_stream(str(path), compression="zstd")  # type: ignore[no-any-return]
    return path.open("rb")


def _text(path: Path, encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    # utf-8-sig strips a byte order mark, and needs none.
    name = "utf-8-sig" if _is_utf8(encoding) else encoding
    return io.TextIOWrapper(_bytes(path), encoding=name, errors=errors, newline="")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _find_encoding(path: Path) -> str:
    with _bytes(path) as file:
        head = file.read(BLOCK)
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if marked:
        return marked
    if b"\0" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        if max(even, odd) > len(head) / 5 and min(even, odd) < max(even, odd) / 10:
            return "utf-16-le" if odd > even else "utf-16-be"
        raise SourceError(
            f"{path} is not text, so no CSV table; expected one with a header, "
            "or Parquet, JSON or Excel. Convert the file."
        )
    if _decodes(path, "utf-8"):
        return "utf-8"
    counts = {"valid": 0, "invalid": 0}
    with _text(path, "utf-8", errors="replace") as stream:
        while block := stream.read(BLOCK):
            replaced = block.count("\ufffd")
            counts["invalid"] += replaced
            counts["valid"] += len(re.findall(r"[^\x00-\x7f]", block)) - replaced
    if counts["valid"] > counts["invalid"]:
        raise _undecodable(path, "utf-8")
    asian = [encoding for encoding in _EAST_ASIAN if _is_east_asian(head, encoding)]
    # In a language that is written in Latin letters, three letters outside ASCII hardly follow each other.
    outside = re.findall(rb"[\x80-\xff]+", head)
    encoding = find_latin_encoding(head)
    is_latin = sum(len(run) > 2 for run in outside) <= max(5, len(outside) / 2) and _decodes(path, encoding)
    if asian or not is_latin:
        found = f"may be in {' or '.join(asian)}" if asian else "in no other encoding that can be told"
        raise SourceError(f"{path} is not in UTF-8, and {found}. {_STATE_IT.replace('cp1251', [*asian, 'cp1251'][0])}")
    return encoding


def _is_east_asian(head: bytes, encoding: str) -> bool:
    """Return whether bytes may be Chinese, Japanese or Korean in an encoding, and are not plausible in cp1252.

    Each character is then one of the frequent ones or kana, and none touches Latin letters, as letters of European
    languages and their quotes and dashes do. Signs such as a degree or a currency are in any cp1252 file.
    """
    if not re.sub(_WESTERN_SIGNS, b"", head).strip(_ASCII):
        return False
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    outside = re.findall(r"[^\x00-\x7f]+", text)
    if not all(_is_frequent(character, encoding) for character in set("".join(outside))):
        return False
    touching = re.findall(r"[A-Za-z][^\x00-\x7f]+|[^\x00-\x7f]+[A-Za-z]", text)
    return 10 * len(touching) <= len(outside)


def _is_frequent(character: str, encoding: str) -> bool:
    """Return whether a character is kana, a sign, or of the level of an encoding that has the frequent characters."""
    code = character.encode(encoding)
    return len(code) == 1 or any(low <= code[:2] <= high for low, high in _EAST_ASIAN[encoding])


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with _bytes(path) as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _undecodable(path: Path, encoding: str) -> SourceError:
    with _text(path, encoding, errors="replace") as stream:
        line = next((number for number, text in enumerate(stream, start=1) if "\ufffd" in text), None)
    place = f"{path}: line {line}" if line else f"{path}"
    expected = "UTF-8" if _is_utf8(encoding) else encoding.upper().replace("_", "-")
    return SourceError(f"{place} is not in {expected}, as expected. {_STATE_IT}")


def _header(path: Path, dialect: Dialect) -> tuple[list[str], int]:
    """Return the names of the columns, and the number of lines above the first row."""
    with _text(path, dialect.encoding or "utf-8") as stream:
        above = 0
        line = stream.readline().lstrip(_MARK)
        if _STATED_DELIMITER.match(line):
            above, line = 1, stream.readline()
        for _ in range(dialect.skip or 0):
            above, line = above + 1, stream.readline()
        while line and not line.strip("\r\n"):
            above += 1
            line = stream.readline()
        try:
            for first in dialect.reader(itertools.chain([line], stream)):
                if first:
                    names = first if dialect.header else [f"column_{i}" for i in range(1, len(first) + 1)]
                    return names, above
        except csv.Error as error:
            raise SourceError(
                f"{path}: the first row does not end within {csv.field_size_limit():,} characters; expected a CSV "
                "table with a header. Check its quotes, or state `dialect: {quote: ''}` in the source."
            ) from error
    raise SourceError(f"{path} is empty; expected a header and at least one row.")


@contextmanager
def _as_utf8(path: Path, dialect: Dialect) -> Iterator[tuple[Path, Compression]]:
    """Yield the file, or a copy of it in UTF-8, and how it is compressed."""
    if _is_utf8(dialect.encoding or "utf-8"):
        yield path, compression_of(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "table.csv"
        try:
            with _text(path, str(dialect.encoding)) as source, copy.open("w", encoding="utf-8", newline="") as target:
                while block := source.read(BLOCK):
                    target.write(block)
        except UnicodeError as error:
            raise _undecodable(path, str(dialect.encoding)) from error
        yield copy, "none"


@contextmanager
def _rewritten(path: Path, dialect: Dialect, skip: int) -> Iterator[Path]:
    """Yield a copy of the file in a plain dialect whose lines all end alike."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "table.csv"
        with _text(path, str(dialect.encoding)) as source, copy.open("w", encoding="utf-8", newline="") as target:
            lines = itertools.islice(source, skip, None)
            csv.writer(target, lineterminator="\n").writerows(row for row in dialect.reader(lines) if row)
        yield copy


def _rows(
    file: Path,
    dialect: Dialect,
    width: int,
    *,
    skip: int,
    compression: Compression,
    named: tuple[Path, Dialect] | None = None,
) -> Any:
    import duckdb

    with duckdb.connect() as connection:
        try:
            return connection.read_csv(
                glob.escape(str(file)),
                auto_detect=False,
                header=dialect.header,
                skiprows=skip,
                delimiter=dialect.delimiter,
                quotechar=dialect.quote,
                escapechar=dialect.escape,
                compression=compression,
                columns={f"c{i}": "VARCHAR" for i in range(width)},
            ).to_arrow_table()
        except duckdb.Error as error:
            reason = str(error)
            if named:
                raise _located(*named, width, reason) from error
            if "invalid state" in reason:
                raise _MixedLineBreaks(reason) from error
            raise _UnreadableRows(reason) from error


def _located(path: Path, dialect: Dialect, width: int, reason: str) -> SourceError:
    """Return the error for rows that DuckDB cannot split, with the number of the line in the file."""
    if "Invalid unicode" in reason:
        return _undecodable(path, str(dialect.encoding))
    line = above = 1 + (dialect.skip or 0)
    with _text(path, str(dialect.encoding), errors="replace") as stream:
        reader: Any = dialect.reader(itertools.islice(stream, above - 1, None), strict=True)
        try:
            for row in reader:
                if row and len(row) != width:
                    header = "the header has" if dialect.header else "the first row has"
                    return SourceError(
                        f"{path}: line {line} has {len(row)} cell{'s' if len(row) != 1 else ''}, and {header} {width}. "
                        f"Correct the line, or state the dialect in the source; the delimiter {dialect.delimiter!r} "
                        f"and the quote {dialect.quote!r} were used."
                    )
                line = above + reader.line_num
        except csv.Error as error:
            what = "is followed by text" if "expected after" in str(error) else "does not end"
            return SourceError(
                f"{path}: a quoted cell in line {line} {what}. Correct the line, or state the dialect in the "
                "source: `quote: ''` if its quotes are part of the text, or another delimiter than "
                f"{dialect.delimiter!r}."
            )
    return SourceError(
        f"{path} cannot be split into rows: {reason_of(Exception(reason))}. State its dialect in the source; "
        f"the delimiter {dialect.delimiter!r} and the quote {dialect.quote!r} were used."
    )


def _counts_rows(column: Any) -> bool:
    """Return whether texts are the numbers of the rows, from 0 or 1 on."""
    first = str(column[0]) if len(column) else ""
    return first in ("0", "1") and column.to_pylist() == [str(int(first) + i) for i in range(len(column))]


def _with_decimal_points(table: Any, dialect: Dialect) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    number, gaps = dialect.number_pattern(), "|".join(re.escape(gap) for gap in GAPS)
    for position, name in enumerate(table.column_names):
        column = table.column(position)
        numbers = compute.match_substring_regex(column, f"^(?:{number})$")
        others = compute.filter(column, compute.invert(numbers))
        if not compute.any(numbers).as_py() or not _all(compute.match_substring_regex(others, rf"^\s*(?:{gaps})?\s*$")):
            continue
        rewritten = column
        if dialect.thousands:
            rewritten = compute.replace_substring_regex(rewritten, thousands_pattern(dialect.thousands), "")
        if dialect.decimal == ",":
            rewritten = compute.replace_substring(rewritten, ",", ".")
        table = table.set_column(position, pa.field(name, column.type), compute.if_else(numbers, rewritten, column))
    return table


def _all(matches: Any) -> bool:
    from pyarrow import compute

    return bool(compute.all(matches, min_count=0).as_py())
