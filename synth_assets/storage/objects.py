"""An object store that speaks the protocol of S3: what several machines share.

An object is written whole or not at all, and never renamed. What must change at one moment is one small object, which
is written on condition that it is still the one that was read.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from synth_assets.errors import ForeseenError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PREFIX = "s3://"

TIMEOUT_S = 20.0
"""How long the store may be silent."""

ATTEMPTS = 5
"""Requests that are made at most, when the store is busy (503), fails (500) or is silent."""

READ_BYTES = 1_000_000
"""Bytes of a file that are read at once, where a query reads it in place."""

DELETED_AT_ONCE = 1000
"""Objects that a request may delete."""


class StorageError(ForeseenError, RuntimeError):
    """The object store cannot be read or written."""


class ConflictError(StorageError):
    """Another process has changed an object since it was read."""


@dataclass(frozen=True)
class Stated:
    """The bytes of an object, its ETag, and what was stored with it."""

    size: int
    etag: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class ObjectStore:
    """The objects of an S3 store below a prefix.

    Credentials, region and endpoint come from the standard variables of AWS.

    Parameters
    ----------
    url : str
        The prefix, as s3://bucket/prefix.
    """

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise StorageError(f"found {self.url!r}; expected the address of a folder as s3://bucket/prefix.")

    @property
    def bucket(self) -> str:
        """The bucket."""
        return urlsplit(self.url).netloc

    def key(self, name: str) -> str:
        """Return the key of an object below the prefix."""
        return f"{urlsplit(self.url).path.strip('/')}/{name}".strip("/")

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return the content of an object, and its ETag; None if there is none."""
        with self._clearly("read"):
            try:
                return self._get(self.key(name))
            except self._client.exceptions.NoSuchKey:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        with self._clearly("written"):
            self._client.put_object(Bucket=self.bucket, Key=self.key(name), Body=content)

    def replace(
        self, name: str, content: bytes, *, etag: str | None, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write an object on condition that it is still the one with this ETag, or that there is none for None.

        Parameters
        ----------
        name : str
            The name below the prefix.
        content : bytes
            The content.
        etag : str, optional
            The ETag that the object is expected to have.
        metadata : mapping of str to str, optional
            What is stored with the object: ASCII, of 2 KB at most.

        Raises
        ------
        ConflictError
            If another process has written it.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with self._clearly("written"):
            self._client.put_object(
                Bucket=self.bucket, Key=self.key(name), Body=content, Metadata=dict(metadata or {}), **condition
            )

    def stated(self, name: str) -> "Stated | None":
        """Return the size of an object, and what is stored with it; None if there is none."""
        with self._clearly("read"):
            return self._head(name)

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Write files, except those that the store has under the same name in the same size."""
        with self._clearly("written"):
            for path, name in files:
                if self._size(name) != path.stat().st_size:
                    self._client.upload_file(str(path), self.bucket, self.key(name))

    def download(self, name: str, path: Path) -> bool:
        """Read an object into a file, which is whole or not there; return whether there is such an object."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{uuid4().hex}")
        with self._clearly("read"):
            try:
                if self._size(name) is None:
                    return False
                self._client.download_file(self.bucket, self.key(name), str(unfinished))
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        return True

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder."""
        with self._clearly("read"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=f"{self.key(folder)}/".lstrip("/")
            )
            start = len(self.key("x")) - 1
            return [each["Key"][start:] for page in pages for each in page.get("Contents", ())]

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects."""
        keys = [{"Key": self.key(name)} for name in names]
        with self._clearly("written"):
            for first in range(0, len(keys), DELETED_AT_ONCE):
                chunk = {"Objects": keys[first : first + DELETED_AT_ONCE], "Quiet": True}
                self._client.delete_objects(Bucket=self.bucket, Delete=chunk)

    def filesystem(self) -> "AbstractFileSystem":
        """Return the objects as a file system of fsspec, whose files are read in ranges; paths are as in `path`."""
        from fsspec import AbstractFileSystem
        from fsspec.spec import AbstractBufferedFile

        store = self

        class File(AbstractBufferedFile):  # type: ignore[misc] # fsspec has no types
            def _fetch_range(self, start: int, end: int) -> bytes:
                with store._clearly("read"):
                    return store._get(self.path, Range=f"bytes={start}-{end - 1}")[0]

        class Objects(AbstractFileSystem):  # type: ignore[misc]
            protocol = "synth-assets"
            cachable = False

            def info(self, path: str, **_: Any) -> dict[str, Any]:
                path = self._strip_protocol(path)
                with store._clearly("read"):
                    found = store._client.head_object(Bucket=store.bucket, Key=path)
                return {
                    "name": path,
                    "size": found["ContentLength"],
                    "type": "file",
                    "modified": found["LastModified"],
                }

            def modified(self, path: str) -> Any:
                return self.info(path)["modified"]

            def glob(self, path: str, **_: Any) -> list[str]:
                return [self._strip_protocol(path)]  # queries name each file

            def _open(self, path: str, mode: str = "rb", **_: Any) -> File:
                return File(self, path, mode, block_size=READ_BYTES, cache_type="readahead")

        return Objects()

    def path(self, name: str) -> str:
        """Return the path of an object in the file system."""
        return f"synth-assets://{self.key(name)}"

    @cached_property
    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise StorageError(f"{self.url} needs boto3: `pip install 'synth-assets[s3]'`.") from error
        patience = Config(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        return boto3.client("s3", config=patience)

    def _get(self, key: str, **options: str) -> tuple[bytes, str]:
        from botocore.exceptions import BotoCoreError

        attempts = ATTEMPTS
        while True:
            answer = self._client.get_object(Bucket=self.bucket, Key=key, **options)
            try:
                return answer["Body"].read(), answer["ETag"]
            except BotoCoreError:  # the connection ended within the answer, after which boto3 does not ask again
                attempts -= 1
                if not attempts:
                    raise

    def _size(self, name: str) -> int | None:
        found = self._head(name)
        return None if found is None else found.size

    def _head(self, name: str) -> "Stated | None":
        from botocore.exceptions import ClientError

        try:
            found = self._client.head_object(Bucket=self.bucket, Key=self.key(name))
            return Stated(found["ContentLength"], found["ETag"], found["Metadata"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise

    @contextmanager
    def _clearly(self, done: str) -> Iterator[None]:
        self._client  # noqa: B018 - without boto3, this raises its own message
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            code = ""
            with suppress(AttributeError, LookupError, TypeError):
                code = error.response["Error"]["Code"]
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                raise ConflictError(f"{self.url} was changed by another process meanwhile.") from error
            reason = " ".join(str(error).split()).rstrip(".")
            raise StorageError(
                f"{self.url} cannot be {done}: {reason}. Busy and silent stores were asked {ATTEMPTS} times. Check the "
                "address, the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE; "
                "AWS_ENDPOINT_URL), and the network."
            ) from error
