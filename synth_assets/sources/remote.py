"""A file that is fetched: an object of an S3 store, or what a web server has at a URL."""

import hashlib
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from pydantic import AfterValidator, Field

from synth_assets.sources.base import LoadedTable, Source, SourceError, missing_extra, reason_of
from synth_assets.sources.dialects import Dialect
from synth_assets.sources.file import found_dialect, read_file

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
        with self._fetched() as (path, fingerprint):
            frame = read_file(path, dialect=self.dialect, sheet=self.sheet)
            dialect = found_dialect(path, self.dialect)
        return LoadedTable(frame, self.type, self._origin, fingerprint, dialect)

    @property
    def _origin(self) -> str:
        return self.url.split("?")[0].split("#")[0]  # a query may have a token

    @contextmanager
    def _fetched(self) -> Iterator[tuple[Path, str]]:
        """Yield a copy of the file, and its fingerprint."""
        name = PurePosixPath(unquote(urlsplit(self.url).path)).name or "table"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            try:
                with self._answer() as (body, fingerprint), path.open("wb") as file:
                    shutil.copyfileobj(body, file, 2**20)
                if fingerprint is None:
                    with path.open("rb") as file:
                        fingerprint = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            except (OSError, HTTPException) as error:
                raise self._unreachable(error) from error
            try:
                yield path, fingerprint
            except SourceError as error:  # name the file by its address, not by the copy
                raise SourceError(str(error).replace(str(path), self._origin)) from error

    @contextmanager
    @abstractmethod
    def _answer(self) -> Iterator[tuple[IO[bytes], str | None]]:
        """Yield the content as a stream, and the fingerprint that the server states, if any."""

    def _unreachable(self, error: Exception) -> SourceError:
        reason = getattr(error, "reason", None) or error
        code = f"HTTP {error.code} " if hasattr(error, "code") else ""
        return SourceError(
            f"{self._origin} cannot be fetched: {code}{reason_of(Exception(reason))}. Check the address and the "
            "network, or use the table in a file instead."
        )


class S3Source(RemoteSource):
    """An object of an S3 store. Credentials, region and endpoint come from the standard variables of AWS."""

    type: Literal["s3"] = "s3"
    url: Annotated[str, AfterValidator(_s3_url)] = Field(
        description="Address of a file of CSV, Parquet, JSON or Excel, as s3://bucket/key. Credentials come from the "
        "standard variables of AWS, such as AWS_ACCESS_KEY_ID and AWS_PROFILE; AWS_ENDPOINT_URL names another server."
    )

    def fingerprint(self, data_dir: Path) -> str:
        """Return the ETag of the object, without fetching it."""
        with self._client() as client:
            return _etag(client.head_object(**self._object))

    @property
    def _object(self) -> dict[str, str]:
        parts = urlsplit(self.url, allow_fragments=False)
        return {"Bucket": parts.netloc, "Key": parts.path[1:]}

    @contextmanager
    def _answer(self) -> Iterator[tuple[IO[bytes], str | None]]:
        with self._client() as client:
            answer = client.get_object(**self._object)
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
            with self._answer() as (_, fingerprint):
                if fingerprint is not None:
                    return fingerprint
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        with self._fetched() as (_, fingerprint):
            return fingerprint

    @contextmanager
    def _answer(self) -> Iterator[tuple[IO[bytes], str | None]]:
        request = Request(self.url, headers={"User-Agent": "synth-assets"})  # noqa: S310 - http or https
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
            yield answer, f"etag:{etag}" if etag else f"modified:{modified}" if modified else None


def _etag(answer: dict[str, Any]) -> str:
    return f"etag:{answer['ETag'].strip(chr(34))}"
