"""A table in a CSV or Parquet file."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from synth_assets.schema.columns import TableError
from synth_assets.sources.base import DataFile, LoadedTable, Source, SourceError, Variable

SUFFIXES = (".csv", ".parquet")


class FileSource(Source):
    """A CSV or Parquet file."""

    type: Literal["file"] = "file"
    path: DataFile = Field(description="CSV or Parquet file, inside the data folder.")
    variable: Variable | None = Field(default=None, description="Environment variable that names another file.")

    def exists(self, data_dir: Path) -> bool:
        """Return whether the variable names a file, or the file is in the data folder."""
        return bool(self._named()) or (data_dir / self.path).exists()

    def load(self, data_dir: Path) -> LoadedTable:
        """Load the file."""
        path = self._found(data_dir)
        fingerprint = hash_file(path)  # before reading, so that a write in between is found to be a change
        return LoadedTable(read_file(path), "file", path.name, fingerprint)

    def fingerprint(self, data_dir: Path) -> str:
        """Return the SHA-256 of the file."""
        return hash_file(self._found(data_dir))

    def _named(self) -> str | None:
        return os.environ.get(self.variable) if self.variable else None

    def _found(self, data_dir: Path) -> Path:
        named = self._named()
        path = Path(named).expanduser().resolve() if named else data_dir / self.path
        if not path.is_file():
            stated = f"{self.variable}={named}" if named else f"{self.path} in the data folder"
            or_set = f", or set {self.variable} to its path" if self.variable else ""
            raise SourceError(
                f"{stated}: there is no file {path}. Put the table there, as CSV with a header or Parquet{or_set}."
            )
        return path


def read_file(path: Path, *, text_columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table from a file; the suffix tells the format.

    Parameters
    ----------
    path : pathlib.Path
        A `.parquet` file; a file with any other suffix is read as CSV.
    text_columns : sequence of str
        Columns of a CSV file that are read as text: `02116` keeps its zero.

    Returns
    -------
    pandas.DataFrame
        The rows, with the dtypes that the reader infers.

    Raises
    ------
    SourceError
        If there is no such file, it is empty, it cannot be read, or a column name occurs twice.
    """
    if not path.is_file():
        raise SourceError(f"there is no file {path}. Expected a table, as CSV with a header or Parquet.")
    try:
        if not path.stat().st_size:
            raise SourceError(f"{path} is empty; expected a header and at least one row.")
        return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, text_columns)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file; raise a `SourceError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error


def require_suffix(path: Path) -> None:
    """Raise a `TableError` if a suffix is neither .csv nor .parquet."""
    if path.suffix.lower() not in SUFFIXES:
        raise TableError(f"{path}: the suffix is {path.suffix!r}; expected {' or '.join(SUFFIXES)}.")


def write_file(frame: pd.DataFrame, path: Path, *, suffix: str) -> None:
    """Write a table to a file.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows.
    path : pathlib.Path
        The file.
    suffix : {".csv", ".parquet"}
        Its format.
    """
    if suffix.lower() == ".csv":
        frame.to_csv(path, index=False)
        return
    import duckdb

    with duckdb.connect() as connection:
        connection.from_df(frame).write_parquet(str(path), compression="zstd")


def _read_csv(path: Path, text_columns: Sequence[str]) -> pd.DataFrame:
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            raise SourceError(f"{path} is a Parquet file; rename it to {path.stem}.parquet.")
    try:
        # pandas renames the second 'a' to 'a.1', so the header is read as a row first.
        header = pd.read_csv(path, header=None, nrows=1, dtype="str", index_col=False).iloc[0]
        # Without index_col=False, a comma at the end of each line would make the first column the index.
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, index_col=False, dtype=dict.fromkeys(text_columns, "str"))
    except pd.errors.EmptyDataError as error:
        raise SourceError(f"{path} is empty; expected a header and at least one row.") from error
    except pd.errors.ParserWarning as error:
        raise SourceError(
            f"{path} has rows with more cells than its header has names; expected a comma-separated table, with a "
            "point in decimal numbers. Save it again as one."
        ) from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not a CSV table in UTF-8: {str(error).strip()}. Save it again as one.") from error
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in str(header.iloc[0])), None)):
        raise SourceError(
            f"{path} has one column, {header.iloc[0]!r}: its separator seems to be {separator!r}; expected commas. "
            "Save it again with commas."
        )
    twice = [repr(name) for name, count in Counter(header.dropna()).items() if count > 1]
    if twice:
        raise SourceError(
            f"{path} has the column{'s' if len(twice) > 1 else ''} {', '.join(twice)} twice; every name must be unique."
        )
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    import duckdb

    with duckdb.connect() as connection:
        try:
            return connection.read_parquet(str(path)).df()
        except duckdb.Error as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise SourceError(f"{path} is not a Parquet file: {reason}.") from error
