"""A data set on OpenML.

Each state of a data set has a cache folder of its own, named by the MD5 that OpenML states, since scikit-learn never
asks again for what it has cached.
"""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from urllib.request import urlopen

from pydantic import Field

from synth_assets.sources.base import LoadedTable, Source, SourceError

API = "https://www.openml.org/api/v1/json"
TIMEOUT_S = 20.0
"""How long one answer of OpenML may take. scikit-learn itself has no limit."""

CACHE = "openml"
"""Folder of OpenML's answers in the data folder."""

log = logging.getLogger(__name__)


class OpenMLSource(Source):
    """A data set on OpenML."""

    type: Literal["openml"] = "openml"
    name: str = Field(min_length=1, description="Name of the data set.")
    version: int = Field(default=1, ge=1, description="Version of the data set.")

    def load(self, data_dir: Path) -> LoadedTable:
        """Load the data set; without network, as it was last fetched."""
        from sklearn.datasets import fetch_openml

        with self._reaching_openml():
            cache = self._cache_dir(data_dir / CACHE)
            with _socket_timeout(TIMEOUT_S):
                bunch = fetch_openml(
                    name=self.name,
                    version=self.version,
                    as_frame=True,
                    target_column=None,
                    data_home=cache,
                    # 'auto' reads with pandas, and scikit-learn 1.9 with pandas 3.1 fails there on labels that are
                    # numbers, such as the rings (scikit-learn issue 34892). This parser returns them as text.
                    parser="liac-arff",
                    n_retries=1,
                )
        os.utime(cache)  # the newest folder is used without network
        label = f"openml.org {self.name} v{self.version}"
        return LoadedTable(bunch.frame, "openml", label, _fingerprint(bunch.details["md5_checksum"]))

    def fingerprint(self, data_dir: Path) -> str:
        """Return the MD5 that OpenML states of the data set."""
        with self._reaching_openml():
            return _fingerprint(self._stated_md5())

    def _stated_md5(self) -> str:
        # Two small requests: the number of the data set, and its description.
        name = quote(self.name.lower())
        listed = _request(f"data/list/data_name/{name}/limit/2/data_version/{self.version}")
        number = int(listed["data"]["dataset"][0]["did"])
        md5 = str(_request(f"data/{number}")["data_set_description"]["md5_checksum"])
        if not md5.isalnum():
            raise ValueError(f"md5_checksum {md5!r}")
        return md5

    def _cache_dir(self, folder: Path) -> Path:
        prefix = f"{quote(self.name.lower(), safe='')}-v{self.version}-"
        try:
            cache = folder / f"{prefix}{self._stated_md5()}"
        except (OSError, HTTPException) as error:
            fetched = [path for path in folder.glob("*") if path.name.startswith(prefix)]
            if not fetched:
                raise
            log.info("OpenML cannot be reached (%r); using the data set as last fetched", error)
            return max(fetched, key=lambda path: path.stat().st_mtime)
        cache.mkdir(parents=True, exist_ok=True)
        return cache

    @contextmanager
    def _reaching_openml(self) -> Iterator[None]:
        label = f"OpenML data set {self.name!r}, version {self.version}"
        try:
            yield
        except (OSError, HTTPException) as error:  # urllib's errors and timeouts are OSErrors
            if getattr(error, "code", None) == 412:  # OpenML's answer for a data set that it does not have
                raise SourceError(f"{label} does not exist. Check the name and the version on openml.org.") from error
            raise SourceError(
                f"{label} cannot be reached ({error}). Check the network, or use the table in a file instead."
            ) from error
        except (ValueError, LookupError) as error:
            raise SourceError(
                f"{label} cannot be read ({error!r}). Check the name and the version on openml.org."
            ) from error


def _request(path: str) -> dict[str, Any]:
    with urlopen(f"{API}/{path}", timeout=TIMEOUT_S) as answer:  # noqa: S310 - https
        return dict(json.load(answer))


def _fingerprint(md5: str) -> str:
    return f"openml-md5:{md5}"


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
