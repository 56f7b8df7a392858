"""The interface of a source, and the table that it loads."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict

from synth_assets.schema.columns import TableError
from synth_assets.sources.dialects import Dialect

SourceKind = Literal["file", "openml", "placeholder", "sqlite", "duckdb", "postgresql", "mysql", "s3", "url"]

_LABELS: dict[SourceKind, str] = {
    "file": "file {}",
    "openml": "{}",
    "placeholder": "PLACEHOLDER {}, not real data",
    "sqlite": "SQLite {}",
    "duckdb": "DuckDB {}",
    "postgresql": "PostgreSQL {}",
    "mysql": "MySQL {}",
    "s3": "{}",
    "url": "{}",
}


class SourceError(TableError):
    """A source of rows cannot be read; the message states what was found and what to do."""


@dataclass(frozen=True)
class LoadedTable:
    """A table as its source returned it.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows, not converted yet: text columns from CSV, the dtypes of the source from anything else.
    kind : {"file", "openml", "placeholder", "sqlite", "duckdb", "postgresql", "mysql", "s3", "url"}
        The kind of source that was used.
    origin : str
        Name of the file, of the data set on OpenML, or of the table in its database.
    fingerprint : str
        What `Source.fingerprint` returns while the source is unchanged.
    dialect : Dialect, optional
        The complete dialect of a CSV file, of the first if there are several; None for another format or kind.
    notice : str
        What a person should check of how the rows were read, as sentences; empty if nothing.
    """

    frame: pd.DataFrame
    kind: SourceKind
    origin: str
    fingerprint: str
    dialect: Dialect | None = None
    notice: str = ""

    @property
    def label(self) -> str:
        """Name of the table's origin, for instance on a plot."""
        return _LABELS[self.kind].format(self.origin)


class Source(BaseModel, ABC):
    """A source of rows: its settings, and how they are loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @abstractmethod
    def load(self, data_dir: Path) -> LoadedTable:
        """Load the table.

        Parameters
        ----------
        data_dir : pathlib.Path
            The project's data folder.

        Raises
        ------
        SourceError
            If the source is missing, unreachable or unreadable.
        """

    @abstractmethod
    def fingerprint(self, data_dir: Path) -> str:
        """Return a fingerprint of the rows that `load` would return, without loading them.

        Arguments and errors are as in `load`.
        """


def refuse_names(names: Sequence[str], *, origin: str, hint: str = "") -> None:
    """Raise a `SourceError` if a column has no name, or two have the same; `hint` ends its message."""
    empty = [str(position) for position, name in enumerate(names, start=1) if not name]
    if empty:
        columns = f"columns {', '.join(empty)} have" if len(empty) > 1 else f"column {empty[0]} has"
        raise SourceError(
            f"{origin}: {columns} no name; name every column in the source, or delete those without.{hint}"
        )
    twice = [repr(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SourceError(
            f"{origin} has the column{'s' if len(twice) > 1 else ''} {', '.join(twice)} twice; every name must be "
            f"unique.{hint}"
        )


def reason_of(error: Exception) -> str:
    """Return the first line of a message of a library, without the class of the error and the full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^(?:[A-Z]\w* )+Error: ", "", lines[0]).rstrip(".: ")


def missing_extra(package: str, extra: str, *, origin: str) -> SourceError:
    """Return the error that an optional package is not installed."""
    return SourceError(f"{origin}: this needs the package {package}. Run `pip install 'synth-assets[{extra}]'`.")


def inside_data_folder(value: str) -> str:
    """Refuse a path that is absolute or leaves the folder; as a pydantic validator, `DataFile`."""
    path = PurePosixPath(value)
    if not value or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"found {value!r}; expected a path inside the data folder, relative and without '..'")
    return value


def _variable(value: str) -> str:
    if not value.isidentifier():
        raise ValueError(
            f"found {value!r}; expected a name of letters, digits and '_' that does not begin with a digit"
        )
    return value


DataFile = Annotated[str, AfterValidator(inside_data_folder)]
"""A path inside the data folder."""

Variable = Annotated[str, AfterValidator(_variable)]
"""The name of an environment variable."""
