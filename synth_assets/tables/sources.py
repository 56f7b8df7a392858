"""Where the rows of a table come from: a file, OpenML, or the stand-in.

The order of 'auto' is a file, then OpenML, then the stand-in. A file that somebody names must exist: only the
absence of a file that nobody named leads on to OpenML.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import pandas as pd

from synth_assets.tables.schema import TableError

SourceKind = Literal["file", "openml", "stand_in"]

OPENML_TIMEOUT_S = 20.0
"""How long one answer of OpenML may take; scikit-learn itself would wait for ever."""

log = logging.getLogger(__name__)


class SourceError(TableError):
    """A source of rows cannot be read; the message says what was asked for and what to do."""


@dataclass(frozen=True)
class Source:
    """What a table may be loaded from.

    Parameters
    ----------
    use : {"auto", "file", "openml", "stand_in"}
        The one source to use, or 'auto' for the first that there is.
    data_dir : pathlib.Path
        The project's data folder; OpenML's answers are cached in it.
    csv : str
        The CSV file, relative to `data_dir`.
    csv_variable : str
        The environment variable that names another CSV file.
    openml_name : str, optional
        The data set's name on OpenML.
    openml_version : int
        Its version there.
    stand_in : str, optional
        The CSV file of the stand-in, relative to `data_dir`.
    """

    use: Literal["auto", "file", "openml", "stand_in"]
    data_dir: Path
    csv: str
    csv_variable: str
    openml_name: str | None = None
    openml_version: int = 1
    stand_in: str | None = None

    def load(self) -> "LoadedTable":
        """Load the table from the first source that `use` allows.

        Returns
        -------
        LoadedTable
            The table as it came.

        Raises
        ------
        SourceError
            If the source that has to be used is missing, unreachable or unreadable.
        """
        if self.use == "stand_in":
            return self._load_stand_in()
        if self.use == "openml":
            return self._load_openml()
        named = os.environ.get(self.csv_variable)
        path = Path(named).expanduser().resolve() if named else self.data_dir / self.csv
        if self.use == "file" or named or path.exists():
            return self._load_file(path, named=named)
        if self.openml_name is None:
            log.info("%s is not there, and no OpenML data set is named", path)
            return self._load_stand_in()
        try:
            return self._load_openml()
        except SourceError as unreachable:
            if self.stand_in is None:
                raise
            log.warning("%s", unreachable)
            return self._load_stand_in()

    def _load_file(self, path: Path, *, named: str | None) -> "LoadedTable":
        asked_by = f"{self.csv_variable}={named}" if named else f"{self.csv} in the data folder"
        if not path.is_file():
            raise SourceError(
                f"{asked_by}: there is no file {path}. Put the table there as CSV with a header, "
                f"or set {self.csv_variable} to where it is."
            )
        return LoadedTable(_read_csv(path), "file", path.name)

    def _load_openml(self) -> "LoadedTable":
        from sklearn.datasets import fetch_openml

        if self.openml_name is None:
            raise SourceError("source is 'openml', but defs.yaml names no data set under openml.name.")
        label = f"OpenML data set {self.openml_name!r}, version {self.openml_version}"
        try:
            with _socket_timeout(OPENML_TIMEOUT_S):
                bunch = fetch_openml(
                    name=self.openml_name,
                    version=self.openml_version,
                    as_frame=True,
                    target_column=None,
                    data_home=self.data_dir / "openml",
                    # 'auto' reads with pandas, and scikit-learn 1.9 with pandas 3.1 fails there on labels that are
                    # numbers, as those of the rings are (scikit-learn issue 34892); this parser gives them as text.
                    parser="liac-arff",
                    n_retries=1,
                )
        except (OSError, HTTPException) as error:  # urllib's errors and timeouts are all OSErrors
            raise SourceError(
                f"{label} cannot be reached ({error}). Check the network, or put the table at "
                f"{self.data_dir / self.csv} or name it in {self.csv_variable}."
            ) from error
        except (ValueError, KeyError) as error:
            raise SourceError(
                f"{label} cannot be read ({error!r}). Check the name and the version on openml.org."
            ) from error
        return LoadedTable(bunch.frame, "openml", f"openml.org {self.openml_name} v{self.openml_version}")

    def _load_stand_in(self) -> "LoadedTable":
        if self.stand_in is None:
            raise SourceError("source is 'stand_in', but defs.yaml names no file under stand_in.")
        path = self.data_dir / self.stand_in
        if not path.is_file():
            raise SourceError(f"the stand-in table {path} is missing. It is part of the repository: restore it.")
        return LoadedTable(_read_csv(path), "stand_in", path.name)


@dataclass(frozen=True)
class LoadedTable:
    """A table as it came, and where it came from.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows, nothing converted yet.
    kind : {"file", "openml", "stand_in"}
        The kind of source that was used.
    origin : str
        The file's name, or the data set's on OpenML.
    """

    frame: pd.DataFrame
    kind: SourceKind
    origin: str

    @property
    def label(self) -> str:
        """What is written where the table is shown, for instance on a plot."""
        return {
            "file": f"file {self.origin}",
            "openml": self.origin,
            "stand_in": f"STAND-IN {self.origin}, not real data",
        }[self.kind]


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # Without index_col=False, a comma at the end of the lines would make an index of the first column.
        return pd.read_csv(path, index_col=False)
    except pd.errors.EmptyDataError as error:
        raise SourceError(f"{path} is empty; expected a header and at least one row.") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is no CSV table in UTF-8: {str(error).strip()}. Save it again as one.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
