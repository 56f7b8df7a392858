"""How rows are written: to a terminal, a pipe or a file."""

import json
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import click

from synth_assets.publishing.client import ReadError

if TYPE_CHECKING:
    import duckdb

BATCH = 10_000
"""Rows that are held at a time."""

_FORMULA = re.compile(r"^\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


def batches(connection: "duckdb.DuckDBPyConnection") -> Iterator[list[tuple[Any, ...]]]:
    """Give the rows of the query that was executed, some at a time."""
    while rows := connection.fetchmany(BATCH):
        yield rows


def write_csv(
    names: Sequence[str], rows: Iterable[Sequence[Sequence[Any]]], file: IO[str], *, guard_formulas: bool = False
) -> None:
    """Write rows as CSV.

    Parameters
    ----------
    names : sequence of str
        The columns' names.
    rows : iterable of sequences of tuples
        The rows, some at a time.
    file : text file
        Where to.
    guard_formulas : bool
        Whether text that a spreadsheet would take for a formula (it begins with =, +, - or @) gets an apostrophe
        before it, as OWASP advises against 'CSV injection'. Numbers stay as they are.
    """

    def cell(value: Any) -> str:
        if value is None:
            return ""
        text = _guarded(value) if guard_formulas and isinstance(value, str) else _as_text(value)
        # Not by the module csv, which (before Python 3.13) leaves a carriage return unquoted. Text that is empty is
        # told from what is not there.
        return '"' + text.replace('"', '""') + '"' if not text or any(c in text for c in ',"\r\n') else text

    for some in chain([[names]], rows):
        file.writelines(",".join(map(cell, row)) + "\n" for row in some)


def write_json(names: Sequence[str], rows: Iterable[Sequence[Sequence[Any]]], file: IO[str]) -> None:
    """Write rows as an array of objects in JSON, one a line; what is no number (NaN) or not there is null."""
    file.write("[")
    between = "\n"
    for some in rows:
        for row in some:
            file.write(between + as_json(dict(zip(names, row, strict=True))))
            between = ",\n"
    file.write("\n]\n")


def write_text(names: Sequence[str], rows: Iterable[Sequence[Sequence[Any]]], file: IO[str]) -> None:
    """Write rows as a person reads them, in columns."""
    cells = [[_for_reading(value) for value in row] for some in rows for row in some]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for line in ([*names], ["-" * width for width in widths], *cells):
        file.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JSON, with dates in ISO 8601 and null for what is no number."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent)


def write_file(relation: "duckdb.DuckDBPyRelation", format_: str, path: Path) -> None:
    """Write a relation to a file, as Parquet or as an Arrow (IPC) file.

    Raises
    ------
    ReadError
        If Arrow is asked for, and pyarrow is not installed.
    """
    if format_ == "parquet":
        relation.write_parquet(str(path), compression="zstd")
        return
    if find_spec("pyarrow") is None:
        raise ReadError("an Arrow file needs pyarrow: `pip install pyarrow`, or ask for --format parquet.")
    import pyarrow as pa

    with relation.to_arrow_reader() as reader, pa.ipc.new_file(str(path), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


@contextmanager
def text_to(output: Path | None) -> Iterator[IO[str]]:
    """Give where text is written to: stdout, or a file that is there once it is whole."""
    if output is None:
        yield sys.stdout
        return
    with _whole(output) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def bytes_to(output: Path | None) -> Iterator[Path]:
    """Give a file to write bytes to, which go to stdout at the end, or become the output once it is whole.

    Raises
    ------
    click.UsageError
        If stdout is a terminal.
    """
    if output is not None:
        with _whole(output) as unfinished:
            yield unfinished
        return
    if sys.stdout.isatty():
        raise click.UsageError("this format is not for a terminal: give --output FILE, or redirect stdout.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        yield file
        with file.open("rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    unfinished = output.with_name(f".{output.name}-{uuid4().hex}")
    try:
        yield unfinished
        unfinished.replace(output)
    except OSError as error:
        raise ReadError(f"{output} cannot be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case datetime() | date():
            return value.isoformat()
        case list() | dict():
            return as_json(value)
        case _:
            return str(value)


def _for_reading(value: Any) -> str:
    # A cell is one line, and whatever is in it stays there: no control sequence reaches the terminal.
    text = f"{value:.6g}" if isinstance(value, float) else _as_text(value)
    return "".join(character if character.isprintable() else " " for character in text)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return _as_text(value)
