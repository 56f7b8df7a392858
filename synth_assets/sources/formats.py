"""File formats: which one a file has, and how it is read."""

import bz2
import glob
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from synth_assets.schema.columns import TableError, in_common_dtype
from synth_assets.schema.dtypes import with_columns
from synth_assets.sources.base import SourceError, missing_extra, reason_of
from synth_assets.sources.delimited import compression_of
from synth_assets.sources.dialects import MAX_ABOVE
from synth_assets.sources.frames import table_of_rows
from synth_assets.storage.sql import quoted

FORMATS = {
    "CSV": (".csv", ".tsv", ".txt"),
    "Parquet": (".parquet",),
    "JSON": (".jsonl", ".ndjson", ".json"),
    "Excel": (".xlsx", ".xls", ".xlsb", ".ods"),
    "Arrow": (".arrow", ".feather", ".ipc"),
}
"""The formats that are read, with the suffixes that tell them; CSV and JSON may also be compressed (.gz, .zst)."""

PACKED = (".zip", ".bz2", ".xz")
"""Suffixes of files that are unpacked before they are read."""

MAX_SHEET_ROWS, MAX_SHEET_COLUMNS = 2**20, 2**14
MAX_SHEET_INTEGER = 10**15
"""From here on, a sheet does not keep every digit."""

FIRST_SHEET_DAY = pd.Timestamp(1900, 3, 1)
"""Days before are not the same in all programs, or are no days."""

_OF_THE_SYSTEM = ("__MACOSX", ".")
"""What the names of files of an archive begin with that hold no table."""

_FIRST_BYTES = {
    b"PAR1": ("Parquet file", ".parquet"),
    b"PK\x03\x04": ("Excel workbook or other ZIP archive", ".xlsx"),
    b"\xd0\xcf\x11\xe0": ("Excel workbook", ".xls"),
    b"SQLite format 3": ("SQLite database", ""),
    b"%PDF": ("PDF document", ""),
    b"ARROW1": ("Arrow file", ".arrow"),
}


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a file, or where it is compressed by zip, bzip2 or xz, a temporary copy of what it contains.

    Raises
    ------
    SourceError
        If an archive is damaged, has a password, or contains other than one file.
    """
    with path.open("rb") as file:
        head = file.read(6)
    is_zip = head.startswith(b"PK\x03\x04") and path.suffix.lower() not in FORMATS["Excel"]
    opener: Any = bz2.open if head.startswith(b"BZh") else lzma.open if head == b"\xfd7zXZ\0" else None
    if not is_zip and opener is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            inner = _unzipped(path, Path(folder)) if is_zip else Path(folder, path.stem)
            if not is_zip:
                with opener(path) as source, inner.open("wb") as target:
                    shutil.copyfileobj(source, target, 2**20)
        except (zipfile.BadZipFile, lzma.LZMAError, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise SourceError(f"{path} cannot be unpacked: {reason_of(error)}. Unpack it by hand.") from error
        try:
            yield inner
        except SourceError as error:  # name the file, not the copy
            raise SourceError(str(error).replace(str(inner), str(path))) from error


def _unzipped(path: Path, folder: Path) -> Path:
    """Extract the only file of a ZIP archive, and return its path. A workbook, which is one too, is left as it is."""
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if "[Content_Types].xml" in names or "mimetype" in names:
            return path
        names = [name for name in names if not any(p.startswith(_OF_THE_SYSTEM) for p in PurePosixPath(name).parts)]
        if len(names) != 1:
            found = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
            raise SourceError(
                f"{path} contains {len(names)} files{': ' + found if found else ''}; expected one table. Unpack it: "
                "several files of the same columns can be a source together, as a folder."
            )
        inner = folder / PurePosixPath(names[0]).name
        with archive.open(names[0]) as source, inner.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
        return inner


def format_of(path: Path) -> str:
    """Return the format of a file by its suffix, one of `FORMATS`; without a known suffix, by its content.

    Raises
    ------
    SourceError
        If the content is of another format.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes and suffixes[-1] not in (".gz", ".zst") else "".join(suffixes[-2:-1])
    named = next((name for name, known in FORMATS.items() if last in known), None)
    content, suffix = _content_of(path)
    by_content = next((name for name, known in FORMATS.items() if suffix in known), None)
    if content is None:
        if named == "Excel":
            raise SourceError(
                f"{path} is not an Excel workbook; expected one, or a file with the suffix of its format."
            )
        return named or "CSV"
    if by_content is None:
        use = ""
        if "database" in content:
            kind = content.split()[0].lower()
            use = f" For a table in it, write a defs.yaml with the source `{{ type: {kind}, path: ..., table: ... }}`."
        raise SourceError(f"{path} is a {content}; expected a file of {_listed(list(FORMATS))}.{use}")
    if named not in (None, by_content):
        article = "an" if content[0] in "AEIOU" else "a"
        raise SourceError(f"{path} is {article} {content}; rename it to {path.stem}{suffix}.")
    return by_content


def _content_of(path: Path) -> tuple[str | None, str]:
    """Return the noun for a content that is neither CSV nor compressed, and the suffix that it should have."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[8:12] == b"DUCK":
        return "DuckDB database", ""
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<table", b"<?xml")):
        return "web page or XML document", ""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"[{", b'{"')) or (text[:1] == b"[" and text[1:].lstrip().startswith(b"{")):
        return "JSON file", ".json"
    return next((found for first, found in _FIRST_BYTES.items() if head.startswith(first)), (None, ""))


def read_table(path: Path, format_: str, *, sheet: str | None = None) -> Any:
    """Read a file of Parquet, JSON, Excel or Arrow as an Arrow table.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    format_ : {"Parquet", "JSON", "Excel", "Arrow"}
        Its format.
    sheet : str, optional
        Name of the sheet of an Excel workbook; by default the first.

    Returns
    -------
    pyarrow.Table
        The rows, each column in its own type.

    Raises
    ------
    SourceError
        If the file is not of this format.
    """
    if format_ == "Parquet":
        return _read_parquet(path)
    if format_ == "Arrow":
        return _read_arrow(path)
    return _read_json(path) if format_ == "JSON" else _read_excel(path, sheet)


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise SourceError(f"{path} is not a Parquet file: {reason_of(error)}.") from error


def _read_arrow(path: Path) -> Any:
    import pyarrow as pa

    try:
        with pa.ipc.open_file(str(path)) as file:
            return file.read_all()
    except pa.ArrowException as error:
        raise SourceError(f"{path} is not an Arrow file: {reason_of(error)}.") from error


def _read_json(path: Path) -> Any:
    import duckdb

    compression = compression_of(path)
    with duckdb.connect() as connection:
        try:
            found = connection.read_json(glob.escape(str(path)), format="auto", sample_size=-1, compression=compression)
            if len(found.columns) == 1 and found.columns[0] == "json":
                raise SourceError(f"{path} has values that are no objects; expected one JSON object a row.")
            # A text that looks like a date stays text. Values of type JSON are nested, or of several types.
            typed = ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "BOOLEAN")
            types = {name: str(each) for name, each in zip(found.columns, found.types, strict=True)}
            nested = {name for name, each in types.items() if any(part in each for part in ("STRUCT", "MAP", "[]"))}
            columns = {
                name: each if each in typed else "JSON" if each == "JSON" or name in nested else "VARCHAR"
                for name, each in types.items()
            }
            if nested == set(columns) and len(found.limit(2).fetchall()) == 1:
                raise SourceError(f"{path} is one JSON object of lists; expected an array of objects, or one a line.")
            rows = connection.read_json(glob.escape(str(path)), columns=columns, format="auto", compression=compression)
            mixed = [name for name, each in types.items() if each == "JSON"]
            if mixed:
                objects = ", ".join(f"bool_or(json_type({quoted(n)}) IN ('OBJECT', 'ARRAY'))" for n in mixed)
                nested |= {name for name, has in zip(mixed, rows.aggregate(objects).fetchall()[0], strict=True) if has}
            values = {name: quoted(name) for name in columns}
            values |= {name: f"{quoted(name)} ->> '$'" for name in mixed}
            values |= {
                name: f"CASE WHEN {quoted(name)} IS NOT NULL THEN [{quoted(name)}::VARCHAR] END" for name in nested
            }
            return rows.project(", ".join(f"{each} AS {quoted(n)}" for n, each in values.items())).to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(
                f"{path} is not a JSON table: {reason_of(error)}. Expected an array of objects, or one object a line."
            ) from error


def sheets_of(path: Path) -> list[str]:
    """Return the names of the sheets of an Excel workbook.

    Raises
    ------
    SourceError
        If it is none, or what reads it is not installed.
    """
    return list(_workbook(path).sheet_names)


def _workbook(path: Path) -> Any:
    try:
        import python_calamine
    except ImportError as error:
        raise missing_extra("python-calamine", "excel", origin=str(path)) from error
    try:
        return python_calamine.CalamineWorkbook.from_path(str(path))
    except python_calamine.CalamineError as error:
        raise SourceError(
            f"{path} is not an Excel workbook: {reason_of(error)}. If it is an archive of other files, unpack it."
        ) from error


def _read_excel(path: Path, sheet: str | None) -> Any:
    workbook = _workbook(path)
    names = workbook.sheet_names
    if sheet is not None and sheet not in names:
        raise SourceError(f"{path} has no sheet {sheet!r}; its sheets are {_listed([repr(n) for n in names])}.")
    cells = workbook.get_sheet_by_name(sheet if sheet is not None else names[0]).to_python()
    used = [i for i in range(len(cells[0]) if cells else 0) if any(row[i] != "" for row in cells)]
    rows = [[None if row[i] == "" else row[i] for i in used] for row in cells if any(cell != "" for cell in row)]
    if not rows:
        others = f" Its sheets are {_listed([repr(n) for n in names])}: state one by `sheet`." if len(names) > 1 else ""
        raise SourceError(
            f"{path}: the sheet {sheet or names[0]!r} is empty; expected a header and at least one row.{others}"
        )
    rows = rows[_titles_above(rows) :]
    header = [
        "" if name is None else str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)
        for name in rows[0]
    ]
    rows = rows[1:]
    if len(header) > 1 and not header[0] and all(header[1:]):  # perhaps row numbers, as pandas writes its index
        numbers = [row[0] for row in rows]
        if any(numbers == list(range(first, first + len(rows))) for first in (0, 1)):
            header, rows = header[1:], [row[1:] for row in rows]
    return _with_whole_numbers(table_of_rows(header, [rows] if rows else []))


def with_plain_values(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which times with a time zone are texts in ISO 8601, with their offset, and decimals numbers."""

    def plain(values: pd.Series) -> pd.Series:
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return values.map(pd.Timestamp.isoformat, na_action="ignore")
        return in_common_dtype(values) if str(values.dtype).startswith("decimal") else values

    return with_columns(frame, {name: plain(values) for name, values in frame.items()})


def write_workbook(frame: pd.DataFrame, path: Path) -> None:
    """Write a table to the only sheet of an Excel workbook.

    Texts are no formulas. Numbers that a sheet would round, times before 1900, and those with a time zone are texts.

    Raises
    ------
    TableError
        If a sheet cannot hold so many rows or columns, or one of the texts.
    """
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if len(frame) >= MAX_SHEET_ROWS or frame.shape[1] > MAX_SHEET_COLUMNS:
        raise TableError(
            f"a sheet has {MAX_SHEET_ROWS:,} rows, with the header, and {MAX_SHEET_COLUMNS:,} columns at most, and the "
            f"table {len(frame):,} and {frame.shape[1]:,}; name a .csv or .parquet file."
        )
    rows = with_plain_values(frame)
    columns = [[str(name), *_cells_of(rows.iloc[:, position])] for position, name in enumerate(frame.columns)]
    # Looked for before the sheet is begun, since a sheet that is not ended fails when it is collected.
    for text in (cell for column in columns for cell in column if isinstance(cell, str)):
        if ILLEGAL_CHARACTERS_RE.search(text):
            raise TableError(f"a sheet cannot hold the text {text[:50]!r}; name a .csv file.")
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet()

    def cell(value: Any) -> Any:
        if isinstance(value, str):
            written = WriteOnlyCell(sheet, value=value)
            written.data_type = "s"
            return written
        return value

    for row in zip(*columns, strict=True):
        sheet.append([cell(value) for value in row])
    workbook.save(path)


def _cells_of(values: pd.Series) -> list[Any]:
    """Return values as cells of a sheet."""
    if pd.api.types.is_datetime64_dtype(values.dtype):
        is_date = values.dtype == "datetime64[s]"
        if (values < FIRST_SHEET_DAY).any():
            return _cells_of(values.astype("str").where(values.notna()))
        values = (values.dt.date if is_date else values.dt.to_pydatetime()).astype("object").where(values.notna(), None)
    elif pd.api.types.is_integer_dtype(values.dtype) and (values.abs() >= MAX_SHEET_INTEGER).any():
        values = values.astype("str").where(values.notna())
    cells: list[Any] = values.astype("object").where(values.notna(), None).tolist()
    return cells


def _titles_above(rows: list[list[Any]]) -> int:
    """Return the number of rows above the header: titles, with fewer cells than the row of names below them."""
    filled = [sum(cell is not None for cell in row) for row in rows[:MAX_ABOVE]]
    first = next((i for i, count in enumerate(filled) if count == len(rows[0])), 0)
    is_title = max(filled[:first], default=0) <= len(rows[0]) / 2
    return first if is_title and all(isinstance(cell, str) for cell in rows[first]) else 0


def _with_whole_numbers(table: Any) -> Any:
    """Return a table in which floats without a fraction are integers: Excel has one type of number."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            try:
                whole = table.column(position).cast(pa.int64())
            except pa.ArrowException:
                continue
            table = table.set_column(position, pa.field(field.name, pa.int64()), whole)
    return table


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
