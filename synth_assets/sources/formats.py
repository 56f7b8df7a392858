"""File formats: which one a file has, and how it is read."""

import glob
from pathlib import Path
from typing import Any

from synth_assets.sources.base import SourceError, missing_extra, reason_of
from synth_assets.sources.delimited import compression_of
from synth_assets.sources.frames import table_of_rows
from synth_assets.storage.sql import quoted

FORMATS = {
    "CSV": (".csv", ".tsv", ".txt"),
    "Parquet": (".parquet",),
    "JSON": (".jsonl", ".ndjson", ".json"),
    "Excel": (".xlsx", ".xls", ".xlsb", ".ods"),
}
"""The formats that are read, with the suffixes that tell them; CSV and JSON may also be compressed (.gz, .zst)."""

_FIRST_BYTES = {
    b"PAR1": ("Parquet file", ".parquet"),
    b"PK\x03\x04": ("Excel workbook or other ZIP archive", ".xlsx"),
    b"\xd0\xcf\x11\xe0": ("Excel workbook", ".xls"),
    b"SQLite format 3": ("SQLite database", ""),
    b"%PDF": ("PDF document", ""),
    b"BZh": ("bzip2 archive", ""),
    b"\xfd7zXZ": ("xz archive", ""),
}


def format_of(path: Path) -> str:
    """Return the format of a file by its suffix: CSV, Parquet, JSON or Excel; without a known suffix, by its content.

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
        elif "archive" in content:
            use = " Unpack it, or compress it by gzip or zstd."
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
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "web page or XML document", ""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"[{", b'{"')) or (text[:1] == b"[" and text[1:].lstrip().startswith(b"{")):
        return "JSON file", ".json"
    return next((found for first, found in _FIRST_BYTES.items() if head.startswith(first)), (None, ""))


def read_table(path: Path, format_: str, *, sheet: str | None = None) -> Any:
    """Read a file of Parquet, JSON or Excel as an Arrow table.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    format_ : {"Parquet", "JSON", "Excel"}
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
    return _read_json(path) if format_ == "JSON" else _read_excel(path, sheet)


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise SourceError(f"{path} is not a Parquet file: {reason_of(error)}.") from error


def _read_json(path: Path) -> Any:
    import duckdb

    compression = compression_of(path)
    with duckdb.connect() as connection:
        try:
            found = connection.read_json(glob.escape(str(path)), format="auto", sample_size=-1, compression=compression)
            if len(found.columns) == 1 and found.columns[0] == "json":
                raise SourceError(f"{path} has values that are no objects; expected one JSON object a row.")
            # A text that looks like a date stays text, and a nested value comes as JSON.
            typed = ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "BOOLEAN")
            types = [str(each) for each in found.types]
            columns = {
                name: kind
                if kind in typed
                else "JSON"
                if "STRUCT" in kind or "[]" in kind or "MAP" in kind
                else "VARCHAR"
                for name, kind in zip(found.columns, types, strict=True)
            }
            if set(columns.values()) == {"JSON"} and len(found.limit(2).fetchall()) == 1:
                raise SourceError(f"{path} is one JSON object of lists; expected an array of objects, or one a line.")
            rows = connection.read_json(glob.escape(str(path)), columns=columns, format="auto", compression=compression)
            texts = ", ".join(
                f"{quoted(n)}::VARCHAR AS {quoted(n)}" if k == "JSON" else quoted(n) for n, k in columns.items()
            )
            return rows.project(texts).to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(
                f"{path} is not a JSON table: {reason_of(error)}. Expected an array of objects, or one object a line."
            ) from error


def _read_excel(path: Path, sheet: str | None) -> Any:
    try:
        import python_calamine
    except ImportError as error:
        raise missing_extra("python-calamine", "excel", origin=str(path)) from error
    try:
        workbook = python_calamine.CalamineWorkbook.from_path(str(path))
        names = workbook.sheet_names
        if sheet is not None and sheet not in names:
            raise SourceError(f"{path} has no sheet {sheet!r}; its sheets are {_listed([repr(n) for n in names])}.")
        cells = workbook.get_sheet_by_name(sheet if sheet is not None else names[0]).to_python()
    except python_calamine.CalamineError as error:
        raise SourceError(
            f"{path} is not an Excel workbook: {reason_of(error)}. If it is an archive of other files, unpack it."
        ) from error
    used = [i for i in range(len(cells[0]) if cells else 0) if any(row[i] != "" for row in cells)]
    rows = [[None if row[i] == "" else row[i] for i in used] for row in cells if any(cell != "" for cell in row)]
    if not rows:
        raise SourceError(f"{path}: the sheet {sheet or names[0]!r} is empty; expected a header and at least one row.")
    header = [
        "" if name is None else str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)
        for name in rows[0]
    ]
    return _with_whole_numbers(table_of_rows(header, [rows[1:]] if rows[1:] else []))


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
