"""A table in a file, or in the files of a folder or a glob pattern."""

import hashlib
import itertools
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from synth_assets.schema.columns import TableError
from synth_assets.sources.base import DataFile, LoadedTable, Source, SourceError, Variable, missing_extra, refuse_names
from synth_assets.sources.delimited import dialect_of, encoding_notice, read_csv
from synth_assets.sources.dialects import Dialect
from synth_assets.sources.formats import (
    FORMATS,
    PACKED,
    format_of,
    read_table,
    sheets_of,
    unpacked,
    with_plain_values,
    write_workbook,
)
from synth_assets.sources.frames import to_frame
from synth_assets.storage.sql import text

DELIMITERS_OF = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS_OF, ".parquet", ".jsonl", ".ndjson", ".json", ".xlsx")
"""The suffixes of files that are written: text with delimiters, and the others."""

_ONE_HEADER = " If titles or several lines of names are above the rows, keep one line with a name for each column."

HASHED_BYTES = 100 * 2**20
"""Larger files are not hashed for a fingerprint: their size and time of modification count."""


class FileSource(Source):
    """A file of CSV, Parquet, JSON or Excel, or several with the same columns."""

    type: Literal["file"] = "file"
    path: DataFile = Field(
        description="File (CSV, Parquet, JSON, Excel), folder or pattern such as `sales/*.csv`, inside the data folder."
    )
    variable: Variable | None = Field(default=None, description="Environment variable that names another file.")
    dialect: Dialect | None = Field(
        default=None, description="Dialect of a CSV file; what is not stated is found in the file."
    )
    sheet: str | None = Field(default=None, description="Sheet of an Excel workbook; by default the first.")

    def exists(self, data_dir: Path) -> bool:
        """Return whether the variable names a file, or the file is in the data folder."""
        return bool(self._named()) or bool(self._matches(data_dir))

    def load(self, data_dir: Path) -> LoadedTable:
        """Load the file, or the rows of all files in the order of their names."""
        paths = self._found(data_dir)
        fingerprint = fingerprint_of(paths)  # before reading, so that a write in between is found to be a change
        frame = read_together(paths, self.dialect, self.sheet)
        origin = paths[0].name if len(paths) == 1 else self.path
        found = found_dialect(paths[0], self.dialect)
        notice = reading_notice(paths[0], frame, self.dialect, self.sheet, found)
        return LoadedTable(frame, "file", origin, fingerprint, found, notice)

    def fingerprint(self, data_dir: Path) -> str:
        """Return the SHA-256 of the file; of a large one its size and time; of several files a hash of all."""
        return fingerprint_of(self._found(data_dir))

    def _named(self) -> str | None:
        return os.environ.get(self.variable) if self.variable else None

    def _matches(self, data_dir: Path) -> list[Path]:
        path = data_dir / self.path
        if path.is_file():
            return [path]
        if path.is_dir():
            found = path.iterdir()
            known = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
            return sorted(p for p in found if p.is_file() and _unpacked_name(p).endswith(known + PACKED))
        return sorted(p for p in data_dir.glob(self.path) if p.is_file()) if set(self.path) & set("*?[") else []

    def _found(self, data_dir: Path) -> list[Path]:
        named = self._named()
        if named:
            path = Path(named).expanduser().resolve()
            paths = [path] if path.is_file() else []
        else:
            path = data_dir / self.path
            paths = self._matches(data_dir)
        if not paths:
            stated = f"{self.variable}={named}" if named else f"{self.path} in the data folder"
            or_set = f", or set {self.variable} to its path" if self.variable else ""
            raise SourceError(
                f"{stated}: there is no file {path}. Put the table there, as CSV with a header, Parquet, JSON or "
                f"Excel{or_set}."
            )
        return paths


def _unpacked_name(path: Path) -> str:
    """Return the name of a file in lower case, without the suffix of a compression that is read as it is."""
    return path.name.lower().removesuffix(".gz").removesuffix(".zst")


def read_file(path: Path, *, dialect: Dialect | None = None, sheet: str | None = None) -> pd.DataFrame:
    """Read a table from a file; the suffix tells the format.

    Parameters
    ----------
    path : pathlib.Path
        A file of CSV, Parquet, JSON (lines, or an array of objects), Excel or Arrow (Feather), or a ZIP archive of
        one. A file with any other suffix is read as CSV, unless its content is of another of these formats.
    dialect : Dialect, optional
        What is known of the dialect of a CSV file; the rest is found.
    sheet : str, optional
        Name of the sheet of an Excel workbook; by default the first.

    Returns
    -------
    pandas.DataFrame
        The rows. From CSV, text columns in which an empty cell is missing; else each column in its own dtype.

    Raises
    ------
    SourceError
        If there is no such file, it is empty, it cannot be read, a column has no name, or a name occurs twice.
    """
    if not path.is_file():
        raise SourceError(f"there is no file {path}. Expected a table, as CSV with a header, Parquet, JSON or Excel.")
    try:
        if not path.stat().st_size:
            raise SourceError(f"{path} is empty; expected a header and at least one row.")
        with unpacked(path) as inner:
            return _read(inner, dialect, sheet)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path} cannot be read: {reason.rstrip('.')}.") from error


def _read(path: Path, dialect: Dialect | None, sheet: str | None) -> pd.DataFrame:
    kind = format_of(path)
    if sheet is not None and kind != "Excel":
        raise SourceError(f"{path} has no sheets, and {sheet!r} is stated; remove `sheet` from the source.")
    if kind == "CSV":
        return read_csv(path, dialect)
    if dialect is not None:
        raise SourceError(f"{path} is no CSV file, and a dialect is stated; remove `dialect` from the source.")
    table = read_table(path, kind, sheet=sheet)
    refuse_names(table.column_names, origin=str(path), hint=_ONE_HEADER if kind == "Excel" else "")
    return to_frame(table)


def require_suffix(path: Path) -> None:
    """Raise a `TableError` if a suffix is none of `SUFFIXES`, or what writes its format is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise TableError(
            f"{path}: the suffix is {path.suffix!r}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        )
    if path.suffix.lower() == ".xlsx" and find_spec("openpyxl") is None:
        raise missing_extra("openpyxl", "excel", origin=str(path))


def dialect_for(frame: pd.DataFrame, suffix: str, source: Dialect | None) -> Dialect:
    """Return the dialect of a file of text: delimiter, decimal mark and encoding of the source, if it is CSV.

    A `.tsv` file has tabs, and a `.csv` file none. The encoding is UTF-8 if that of the source lacks a character.
    """
    source = source or Dialect()
    delimiter = source.delimiter if suffix.lower() == ".csv" and source.delimiter != "\t" else None
    delimiter, decimal = delimiter or DELIMITERS_OF[suffix.lower()], source.decimal or "."
    texts = itertools.chain(frame.columns, *(frame[name].dropna() for name in frame.select_dtypes(["str", "object"])))
    encoding = source.encoding or "utf-8"
    try:
        "".join(map(str, texts)).encode(encoding)
    except UnicodeEncodeError:
        encoding = "utf-8"
    return Dialect(delimiter=";" if delimiter == decimal else delimiter, decimal=decimal, encoding=encoding)


def write_file(
    frame: pd.DataFrame,
    path: Path,
    *,
    suffix: str,
    dialect: Dialect | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a table to a file.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows.
    path : pathlib.Path
        The file.
    suffix : str
        Its format, one of `SUFFIXES`. Parquet keeps dtypes. A column of dtype `datetime64[s]` becomes one of dates.
    dialect : Dialect, optional
        Delimiter, decimal mark and encoding of a file of text; by default those of `dialect_for` without a source.
    metadata : mapping of str to str, optional
        Facts by their keys, for the metadata of a Parquet file; other formats have no place for them.

    Raises
    ------
    TableError
        If the format cannot hold the rows.
    """
    suffix = suffix.lower()
    if suffix in DELIMITERS_OF:
        dialect = dialect or dialect_for(frame, suffix, None)
        frame.to_csv(path, index=False, sep=dialect.delimiter, decimal=dialect.decimal, encoding=dialect.encoding)
    elif suffix == ".xlsx":
        write_workbook(frame, path)
    elif suffix == ".parquet":
        from pyarrow import parquet

        parquet.write_table(_with_dates(frame).replace_schema_metadata(metadata), path, compression="zstd")
    else:
        import duckdb

        with duckdb.connect() as connection:
            connection.register("rows", _with_dates(with_plain_values(frame)))
            is_array = "true" if suffix == ".json" else "false"
            connection.execute(f"COPY rows TO {text(str(path))} (FORMAT json, ARRAY {is_array})")


def _with_dates(frame: pd.DataFrame) -> Any:
    """Return a table of Arrow in which columns of dtype `datetime64[s]` are dates."""
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    for position, field in enumerate(table.schema):
        if field.type == pa.timestamp("s"):
            dates = table.column(position).cast(pa.date32())
            table = table.set_column(position, pa.field(field.name, pa.date32()), dates)
    return table


def fingerprint_of(paths: list[Path]) -> str:
    """Return the fingerprint of a file, or one of several files and their names.

    Raises
    ------
    SourceError
        If a file cannot be read.
    """
    each = [_fingerprint_of(path) for path in paths]
    if len(paths) == 1:
        return each[0]
    together = "\n".join(f"{path.name} {fingerprint}" for path, fingerprint in zip(paths, each, strict=True))
    return f"sha256:{hashlib.sha256(together.encode()).hexdigest()}"


def _fingerprint_of(path: Path) -> str:
    try:
        status = path.stat()
        if status.st_size > HASHED_BYTES:
            return f"size-mtime:{status.st_size}-{status.st_mtime_ns}"
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error


def found_dialect(path: Path, stated: Dialect | None) -> Dialect | None:
    """Return the complete dialect of a file that can be read; None if it is no CSV file."""
    with unpacked(path) as inner:
        return dialect_of(inner, stated) if format_of(inner) == "CSV" else None


def reading_notice(
    path: Path, frame: pd.DataFrame, dialect: Dialect | None, sheet: str | None, found: Dialect | None
) -> str:
    """Return a sentence on what was chosen when a file was read, which a person should check; empty if nothing was.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    frame : pandas.DataFrame
        What `read_file` returned.
    dialect, sheet
        What was stated, as for `read_file`.
    found : Dialect, optional
        What `found_dialect` returned.
    """
    if found is not None:
        return encoding_notice(frame, found, dialect)
    with unpacked(path) as inner:
        sheets = sheets_of(inner) if format_of(inner) == "Excel" and sheet is None else []
    if len(sheets) < 2:
        return ""
    return (
        f"{path.name} has the sheets {', '.join(map(repr, sheets))}; the first was read. State another by "
        "`--sheet NAME`, or by `sheet` under `source` in defs.yaml."
    )


def _format_inside(path: Path) -> str:
    with unpacked(path) as inner:
        return format_of(inner)


def read_together(paths: list[Path], dialect: Dialect | None, sheet: str | None) -> pd.DataFrame:
    """Read files of one format with the same columns; arguments and errors are as in `read_file`."""
    formats = {path: _format_inside(path) for path in paths} if len(paths) > 1 else {}
    other = next((path for path in formats if formats[path] != formats[paths[0]]), None)
    if other is not None:
        raise SourceError(
            f"{paths[0].name} is a file of {formats[paths[0]]} and {other.name} one of {formats[other]}; expected one "
            f"format. Name the files of one format by a pattern, such as *{paths[0].suffix}."
        )
    frames: list[pd.DataFrame] = []
    for path in paths:
        frame = read_file(path, dialect=dialect, sheet=sheet)
        if frames and set(frame) != set(frames[0]):
            lacking, further = set(frames[0]) - set(frame), set(frame) - set(frames[0])
            difference = [f"lacks {', '.join(map(repr, sorted(lacking)))}"] * bool(lacking)
            difference += [f"has {', '.join(map(repr, sorted(further)))} besides"] * bool(further)
            raise SourceError(
                f"{path.name} {' and '.join(difference)}, unlike {paths[0].name}; expected the same columns in every "
                "file."
            )
        frames.append(frame[list(frames[0])] if frames else frame)
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
