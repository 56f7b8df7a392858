"""Writing rows to a terminal, a pipe or a file."""

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
"""Rows in memory at a time."""

_FORMULA = re.compile(r"^\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


def batches(connection: "duckdb.DuckDBPyConnection") -> Iterator[list[tuple[Any, ...]]]:
    """Iterate over the rows of the executed query in batches."""
    while rows := connection.fetchmany(BATCH):
        yield rows


def write_csv(
    names: Sequence[str], rows: Iterable[Sequence[Sequence[Any]]], file: IO[str], *, guard_formulas: bool = False
) -> None:
    """Write rows as CSV.

    Parameters
    ----------
    names : sequence of str
        The column names.
    rows : iterable of sequences of tuples
        The rows, in batches.
    file : text file
        The output.
    guard_formulas : bool
        Whether to prefix text that a spreadsheet would run as a formula (beginning with =, +, - or @) with an
        apostrophe, as OWASP advises against CSV injection. Numbers are not changed.
    """

    def cell(value: Any) -> str:
        if value is None:
            return ""
        text = _guarded(value) if guard_formulas and isinstance(value, str) else _as_text(value)
        # The module csv (before Python 3.13) does not quote a carriage return, and writes empty text like a missing
        # value.
        return '"' + text.replace('"', '""') + '"' if not text or any(c in text for c in ',"\r\n') else text

    for batch in chain([[names]], rows):
        file.writelines(",".join(map(cell, row)) + "\n" for row in batch)


def write_json(names: Sequence[str], rows: Iterable[Sequence[Sequence[Any]]], file: IO[str]) -> None:
    """Write rows as a JSON array of objects, one per line; NaN and missing values become null."""
    file.write("[")
    between = "\n"
    for batch in rows:
        for row in batch:
            file.write(between + to_json(dict(zip(names, row, strict=True))))
            between = ",\n"
    file.write("\n]\n")


def write_text(names: Sequence[str], rows: Iterable[Sequence[Sequence[Any]]], file: IO[str]) -> None:
    """Write rows as aligned text."""
    cells = [[_printable(value) for value in row] for batch in rows for row in batch]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for line in ([*names], ["-" * width for width in widths], *cells):
        file.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def write_list(entries: Sequence[Any], names: Sequence[str], cells: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print entries as JSON, or their cells as text."""
    if as_json:
        click.echo(to_json(entries, indent=1))
    else:
        write_text(names, [cells], sys.stdout)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON; dates in ISO 8601, NaN as null."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent)


def write_file(relation: "duckdb.DuckDBPyRelation", format_: str, path: Path) -> None:
    """Write a relation to a Parquet or an Arrow (IPC) file.

    Raises
    ------
    ReadError
        If Arrow is requested and pyarrow is not installed.
    """
    if format_ == "parquet":
        relation.write_parquet(str(path), compression="zstd")
        return
    if find_spec("pyarrow") is None:
        raise ReadError("an Arrow file needs pyarrow: `pip install pyarrow`, or use --format parquet.")
    import pyarrow as pa

    with relation.to_arrow_reader() as reader, pa.ipc.new_file(str(path), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


@contextmanager
def text_to(output: Path | None) -> Iterator[IO[str]]:
    """Open the output for text: stdout, or a file that is written atomically."""
    if output is None:
        yield sys.stdout
        return
    with _atomic(output) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def bytes_to(output: Path | None) -> Iterator[Path]:
    """Return a temporary file, whose bytes go to stdout or become the output file at the end.

    Raises
    ------
    click.UsageError
        If stdout is a terminal.
    """
    if output is not None:
        with _atomic(output) as unfinished:
            yield unfinished
        return
    if sys.stdout.isatty():
        raise click.UsageError("this format cannot be printed on a terminal: use --output FILE, or redirect stdout.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        yield file
        with file.open("rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)


@contextmanager
def _atomic(output: Path) -> Iterator[Path]:
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
            return to_json(value)
        case _:
            return str(value)


def _printable(value: Any) -> str:
    # One line per cell, without control sequences that the terminal would interpret.
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
