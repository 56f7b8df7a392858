"""The interface of a source, and the table that it loads."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict

from synth_assets.schema.columns import TableError

SourceKind = Literal["file", "openml", "placeholder"]


class SourceError(TableError):
    """A source of rows cannot be read; the message states what was found and what to do."""


@dataclass(frozen=True)
class LoadedTable:
    """A table as its source returned it.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows, not converted yet.
    kind : {"file", "openml", "placeholder"}
        The kind of source that was used.
    origin : str
        Name of the file, or of the data set on OpenML.
    fingerprint : str
        What `Source.fingerprint` returns while the source is unchanged.
    """

    frame: pd.DataFrame
    kind: SourceKind
    origin: str
    fingerprint: str

    @property
    def label(self) -> str:
        """Name of the table's origin, for instance on a plot."""
        return {
            "file": f"file {self.origin}",
            "openml": self.origin,
            "placeholder": f"PLACEHOLDER {self.origin}, not real data",
        }[self.kind]


class Source(BaseModel, ABC):
    """A source of rows: its settings, and how they are loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
