"""Where the rows of a table come from: a file, OpenML, or the placeholder.

The order of 'auto' is a file, then OpenML, then the placeholder. A file that somebody names must exist: only the
absence of a file that nobody named leads on to OpenML.
"""

import gzip
import hashlib
import json
import logging
import os
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from urllib.request import urlopen

import pandas as pd

from synth_assets.schema.columns import TableError

SourceKind = Literal["file", "openml", "placeholder"]

OPENML_API = "https://www.openml.org/api/v1/json"
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
    use : {"auto", "file", "openml", "placeholder"}
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
    placeholder : str, optional
        The CSV file of the placeholder, relative to `data_dir`.
    """

    use: Literal["auto", "file", "openml", "placeholder"]
    data_dir: Path
    csv: str
    csv_variable: str
    openml_name: str | None = None
    openml_version: int = 1
    placeholder: str | None = None

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
        if self.use == "placeholder":
            return self._load_placeholder()
        if self.use == "openml":
            return self._load_openml()
        if self._is_a_file:
            return self._load_file()
        if self.openml_name is None:
            log.info("%s is not there, and no OpenML data set is named", self._file)
            return self._load_placeholder()
        try:
            return self._load_openml()
        except SourceError as unreachable:
            if self.placeholder is None:
                raise
            log.warning("%s", unreachable)
            return self._load_placeholder()

    def fingerprint(self) -> str:
        """Tell which rows `load` would give, without loading them: a file's hash, or the checksum that OpenML states.

        Returns
        -------
        str
            Equal to the `fingerprint` of a loaded table as long as its source is as it was.

        Raises
        ------
        SourceError
            If the source is missing or unreachable. OpenML out of reach is no reason to look at the placeholder:
            nothing is known to have changed then.
        """
        if self.use != "placeholder" and self._is_a_file:
            return _hash_of(self._found_file())
        if self.use != "placeholder" and self.openml_name is not None:
            with self._asking_openml():
                return _openml_fingerprint(self._openml_checksum())
        return _hash_of(self._found_placeholder())

    @property
    def _named_file(self) -> str | None:
        return os.environ.get(self.csv_variable)

    @property
    def _file(self) -> Path:
        named = self._named_file
        return Path(named).expanduser().resolve() if named else self.data_dir / self.csv

    @property
    def _is_a_file(self) -> bool:
        return self.use == "file" or (self.use == "auto" and (bool(self._named_file) or self._file.exists()))

    def _found_file(self) -> Path:
        named, path = self._named_file, self._file
        asked_by = f"{self.csv_variable}={named}" if named else f"{self.csv} in the data folder"
        if not path.is_file():
            raise SourceError(
                f"{asked_by}: there is no file {path}. Put the table there as CSV with a header, "
                f"or set {self.csv_variable} to where it is."
            )
        return path

    def _load_file(self) -> "LoadedTable":
        path = self._found_file()
        fingerprint = _hash_of(path)  # before reading: what is written in between is then found to be a change
        return LoadedTable(_read_csv(path), "file", path.name, fingerprint)

    def _load_openml(self) -> "LoadedTable":
        from sklearn.datasets import fetch_openml

        with self._asking_openml():
            self._forget_what_openml_changed()
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
        return LoadedTable(
            bunch.frame,
            "openml",
            f"openml.org {self.openml_name} v{self.openml_version}",
            _openml_fingerprint(bunch.details["md5_checksum"]),
        )

    @contextmanager
    def _asking_openml(self) -> Iterator[None]:
        if self.openml_name is None:
            raise SourceError("source is 'openml', but defs.yaml names no data set under openml.name.")
        label = f"OpenML data set {self.openml_name!r}, version {self.openml_version}"
        try:
            yield
        except (OSError, HTTPException) as error:  # urllib's errors and timeouts are all OSErrors
            raise SourceError(
                f"{label} cannot be reached ({error}). Check the network, or put the table at "
                f"{self.data_dir / self.csv} or name it in {self.csv_variable}."
            ) from error
        except (ValueError, LookupError) as error:
            raise SourceError(
                f"{label} cannot be read ({error!r}). Check the name and the version on openml.org."
            ) from error

    def _openml_checksum(self) -> str:
        # Two small answers: which data set that is, and what it says of itself.
        name = quote(str(self.openml_name).lower())
        listed = _openml_answer(f"data/list/data_name/{name}/limit/2/data_version/{self.openml_version}")
        number = listed["data"]["dataset"][0]["did"]
        return str(_openml_answer(f"data/{int(number)}")["data_set_description"]["md5_checksum"])

    def _forget_what_openml_changed(self) -> None:
        # scikit-learn never asks again for what it has in its cache.
        cache = self.data_dir / "openml" / "openml" / "openml.org"
        cached = {path: _cached_checksum(path) for path in cache.glob("api/v1/json/data/*.gz")}
        if not cached:
            return
        try:
            checksum = self._openml_checksum()
        except (OSError, HTTPException, ValueError, LookupError) as error:
            log.info("OpenML cannot be asked for changes (%r); what is in its cache is taken", error)
            return
        if checksum not in cached.values():
            log.info("OpenML has other rows than its cache: they are fetched anew")
            shutil.rmtree(cache)

    def _found_placeholder(self) -> Path:
        if self.placeholder is None:
            raise SourceError("source is 'placeholder', but defs.yaml names no file under placeholder.")
        path = self.data_dir / self.placeholder
        if not path.is_file():
            raise SourceError(f"the placeholder table {path} is missing. It is part of the repository: restore it.")
        return path

    def _load_placeholder(self) -> "LoadedTable":
        path = self._found_placeholder()
        return LoadedTable(_read_csv(path), "placeholder", path.name, _hash_of(path))


@dataclass(frozen=True)
class LoadedTable:
    """A table as it came, and where it came from.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows, nothing converted yet.
    kind : {"file", "openml", "placeholder"}
        The kind of source that was used.
    origin : str
        The file's name, or the data set's on OpenML.
    fingerprint : str
        What `Source.fingerprint` tells as long as the source is as it was.
    """

    frame: pd.DataFrame
    kind: SourceKind
    origin: str
    fingerprint: str

    @property
    def label(self) -> str:
        """What is written where the table is shown, for instance on a plot."""
        return {
            "file": f"file {self.origin}",
            "openml": self.origin,
            "placeholder": f"PLACEHOLDER {self.origin}, not real data",
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


def _hash_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error


def _openml_fingerprint(checksum: str) -> str:
    return f"openml-md5:{checksum}"


def _openml_answer(path: str) -> dict[str, Any]:
    with urlopen(f"{OPENML_API}/{path}", timeout=OPENML_TIMEOUT_S) as answer:  # noqa: S310 - https
        return dict(json.load(answer))


def _cached_checksum(path: Path) -> str | None:
    try:
        description = json.loads(gzip.decompress(path.read_bytes()))["data_set_description"]
        return str(description["md5_checksum"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError):
        return None  # no description, or damaged: scikit-learn says so, or fetches it anew


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
