"""A file that is fetched: an object of an S3 store, or what a web server has at a URL."""

import hashlib
import re
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from glob import has_magic
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from pydantic import AfterValidator, Field

from synth_assets.sources.base import LoadedTable, Source, SourceError, missing_extra, reason_of
from synth_assets.sources.dialects import Dialect
from synth_assets.sources.file import fingerprint_of, found_dialect, read_together, reading_notice

TIMEOUT_S = 30.0
"""How long a server may be silent."""


def _s3_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "s3" or not parts.netloc or len(parts.path) < 2 or parts.query:
        raise ValueError(f"found {value!r}; expected s3://bucket/key")
    return value


def _web_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"found {value!r}; expected an address that begins with https://")
    if parts.username or parts.password:
        raise ValueError("found a user or a password in the address; expected an address without")
    return value


class RemoteSource(Source):
    """Base of the sources that fetch a file."""

    type: Literal["s3", "url"]
    url: str
    dialect: Dialect | None = Field(
        default=None, description="Dialect of a CSV file; what is not stated is found in the file."
    )
    sheet: str | None = Field(default=None, description="Sheet of an Excel workbook; by default the first.")

    def load(self, data_dir: Path) -> LoadedTable:
        """Fetch the file and load it."""
        with self._fetched() as (paths, fingerprint):
            frame = read_together(paths, self.dialect, self.sheet)
            found = found_dialect(paths[0], self.dialect)
            notice = reading_notice(paths[0], frame, self.dialect, self.sheet, found)
        return LoadedTable(frame, self.type, self._origin, fingerprint, found, notice)

    @property
    def _origin(self) -> str:
        return self.url.split("?")[0].split("#")[0]  # a query may have a token

    @contextmanager
    def _fetched(self) -> Iterator[tuple[list[Path], str]]:
        """Yield copies of the files, and their fingerprint."""
        addresses: dict[Path, str] = {}
        stated: list[str | None] = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                for i, address in enumerate(self._addresses()):
                    path = Path(folder, str(i), PurePosixPath(unquote(urlsplit(address).path)).name or "table")
                    path.parent.mkdir()
                    addresses[path] = address.split("?")[0].split("#")[0]
                    with self._answer(address) as (body, fingerprint), path.open("wb") as file:
                        shutil.copyfileobj(body, file, 2**20)
                        stated.append(fingerprint)
                fingerprint = _together(list(addresses.values()), stated) or fingerprint_of(list(addresses))
            except (OSError, HTTPException) as error:
                raise self._unreachable(error) from error
            try:
                yield list(addresses), fingerprint
            except SourceError as error:  # name a file by its address, not by the copy
                message = str(error)
                for path, address in addresses.items():
                    message = message.replace(str(path), address)
                raise SourceError(message) from error

    def _addresses(self) -> list[str]:
        """Return the addresses of the files."""
        return [self.url]

    @contextmanager
    @abstractmethod
    def _answer(self, address: str) -> Iterator[tuple[IO[bytes], str | None]]:
        """Yield the content of a file as a stream, and the fingerprint that the server states, if any."""

    def _unreachable(self, error: Exception) -> SourceError:
        reason = getattr(error, "reason", None) or error
        code = f"HTTP {error.code} " if hasattr(error, "code") else ""
        return SourceError(
            f"{self._origin} cannot be fetched: {code}{reason_of(Exception(reason))}. Check the address and the "
            "network, or use the table in a file instead."
        )


class S3Source(RemoteSource):
    """An object of an S3 store, or several with the same columns.

    Credentials, region and endpoint come from the standard variables of AWS.
    """

    type: Literal["s3"] = "s3"
    url: Annotated[str, AfterValidator(_s3_url)] = Field(
        description="Address of a file of CSV, Parquet, JSON or Excel, as s3://bucket/key, or of several, as "
        "s3://bucket/folder/part-*.csv. Credentials come from the "
        "standard variables of AWS, such as AWS_ACCESS_KEY_ID and AWS_PROFILE; AWS_ENDPOINT_URL names another server."
    )

    def fingerprint(self, data_dir: Path) -> str:
        """Return the ETag of the object, or a hash of the keys and ETags of several, without fetching them."""
        with self._client() as client:
            addresses = self._addresses()
            etags = [_etag(client.head_object(**_object(address))) for address in addresses]
        return str(_together(addresses, list(etags)))

    def _addresses(self) -> list[str]:
        if not has_magic(self.url):
            return [self.url]
        bucket, pattern = _object(self.url).values()
        folder = re.split(r"[*?\[]", pattern)[0]
        with self._client() as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
            keys = [each["Key"] for page in pages for each in page.get("Contents", ()) if each["Size"]]
        found = sorted(key for key in keys if key == pattern or _matches(key, pattern))
        if not found:
            raise SourceError(f"{self.url}: no object of the bucket has such a key. Check the address.")
        return [f"s3://{bucket}/{key}" for key in found]

    @contextmanager
    def _answer(self, address: str) -> Iterator[tuple[IO[bytes], str | None]]:
        with self._client() as client:
            answer = client.get_object(**_object(address))
            yield answer["Body"], _etag(answer)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise missing_extra("boto3", "s3", origin=self._origin) from error
        try:
            patience = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 2})
            yield boto3.client("s3", config=patience)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise SourceError(
                f"{self._origin} cannot be fetched: {reason_of(error)}. Check the address, and the credentials in the "
                "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE; AWS_ENDPOINT_URL)."
            ) from error


class URLSource(RemoteSource):
    """A file on a web server."""

    type: Literal["url"] = "url"
    url: Annotated[str, AfterValidator(_web_url)] = Field(
        description="Address of a file of CSV, Parquet, JSON or Excel, as https://host/path."
    )

    def fingerprint(self, data_dir: Path) -> str:
        """Return the ETag or time of modification that the server states; without either, the SHA-256 of the file."""
        try:
            with self._answer(self.url) as (_, fingerprint):
                if fingerprint is not None:
                    return fingerprint
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        with self._fetched() as (_, fingerprint):
            return fingerprint

    @contextmanager
    def _answer(self, address: str) -> Iterator[tuple[IO[bytes], str | None]]:
        request = Request(address, headers={"User-Agent": "synth-assets"})  # noqa: S310 - http or https
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
            yield answer, f"etag:{etag}" if etag else f"modified:{modified}" if modified else None


def _object(address: str) -> dict[str, str]:
    parts = urlsplit(address, allow_fragments=False)
    return {"Bucket": parts.netloc, "Key": parts.path[1:]}


def _matches(key: str, pattern: str) -> bool:
    """Return whether a key is one of a pattern, in which `*` stays within a folder."""
    keys, patterns = key.split("/"), pattern.split("/")
    return len(keys) == len(patterns) and all(map(fnmatchcase, keys, patterns))


def _together(addresses: list[str], fingerprints: list[str | None]) -> str | None:
    """Return the fingerprint of files from those that a server states; None if it does not state all."""
    if None in fingerprints or len(addresses) == 1:
        return fingerprints[0]
    lines = "\n".join(f"{address} {each}" for address, each in zip(addresses, fingerprints, strict=True))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _etag(answer: dict[str, Any]) -> str:
    return f"etag:{answer['ETag'].strip(chr(34))}"
