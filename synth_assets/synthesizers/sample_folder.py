"""Where a sample in parts is written: a folder of this machine or of shared storage, or a prefix of an object store."""

import errno
import json
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256 as sha256_of
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock, Timeout

from synth_assets.errors import ModelError
from synth_assets.storage.files import atomic_write, sha256, sync
from synth_assets.storage.objects import PREFIX, ConflictError, ObjectStore, StorageError

if TYPE_CHECKING:
    import pyarrow as pa

FOOTER = b"synth_assets"
"""Key of the metadata of a part."""

_LOCK = ".lock"

_RESUMES = "Complete parts are kept: once the cause is removed, run the same command again; it resumes."


@dataclass(frozen=True)
class StoredPart:
    """A file of rows that is whole: what its footer states of it, and the SHA-256 of the file."""

    footer: Mapping[str, Any]
    sha256: str


class SampleFolder(ABC):
    """Files of a sample, each of which is whole or not there."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """Make the folder, and keep other writers from it where they would write something else.

        Raises
        ------
        ModelError
            If there is such a writer, or, in the context, a file cannot be written; the message says how to go on.
        """

    @abstractmethod
    def clearly(self) -> AbstractContextManager[None]:
        """Raise a `ModelError` where a file cannot be written, such as on a full disk."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is none."""

    @abstractmethod
    def begin(self, name: str, content: bytes) -> None:
        """Write the file that says what the sample is, unless another writer has just written it."""

    @abstractmethod
    def finish(self, name: str, content: bytes) -> None:
        """Write the file that says that the sample is complete."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Remove files that may be there."""

    @abstractmethod
    def has_parts(self) -> bool:
        """Return whether there is a Parquet file."""

    @abstractmethod
    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the files that are missing."""

    @abstractmethod
    def has_arrived(self, name: str) -> bool:
        """Return whether a file that another machine has written is here."""

    @abstractmethod
    def sha256(self, name: str) -> str | None:
        """Return the SHA-256 of a file; None if there is none."""

    @abstractmethod
    def part(self, name: str) -> StoredPart | None:
        """Return what is stored of a part; None if it is not whole."""

    @abstractmethod
    def write_part(self, name: str, table: "pa.Table", footer: Mapping[str, Any], check: Callable[[], None]) -> str:
        """Write a part, and return the SHA-256 of the file; `check` raises an error if this is no longer wanted."""


@dataclass(frozen=True)
class DiskFolder(SampleFolder):
    """A folder of a file system."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the folder and lock it. The lock ends with its process, so that a killed run leaves none."""
        if self.path.exists() and not self.path.is_dir():
            raise ModelError(f"{self} is a file; expected a folder, or a name that is not taken. Name another one.")
        with self.clearly():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise ModelError(
                    f"another process is writing a sample to {self}. Wait until it is done, end it, or name another "
                    "folder."
                ) from error
            try:
                yield
            finally:
                lock.release()

    @contextmanager
    def clearly(self) -> Iterator[None]:
        """State the machine, the folder and the free space."""
        try:
            yield
        except OSError as error:
            free = ""
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                existing = next(path for path in (self.path, *self.path.parents) if path.exists())
                free = f" On its disk {shutil.disk_usage(existing).free / 1e6:,.0f} MB are free."
            raise ModelError(
                f"the sample could not be written to {self} on the machine {socket.gethostname()}: "
                f"{error.strerror or error}.{free} {_RESUMES}"
            ) from error

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def begin(self, name: str, content: bytes) -> None:
        """Write the file, and remove what a killed run has left."""
        atomic_write(self.path / name, content)
        for left in self.path.glob(".part-*"):
            left.unlink(missing_ok=True)

    def finish(self, name: str, content: bytes) -> None:
        """Write the file."""
        atomic_write(self.path / name, content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def has_parts(self) -> bool:
        """Look for Parquet files."""
        return next(self.path.glob("*.parquet"), None) is not None

    def missing(self, names: Iterable[str]) -> list[str]:
        """Look for files."""
        return [name for name in names if not (self.path / name).is_file()]

    def has_arrived(self, name: str) -> bool:
        """Look for a file: the folder may not be shared."""
        return not self.missing([name])

    def sha256(self, name: str) -> str | None:
        """Hash a file."""
        return None if self.missing([name]) else sha256(self.path / name)

    def part(self, name: str) -> StoredPart | None:
        """Read the footer, which is written last, and hash the file."""
        import pyarrow.parquet as pq

        path = self.path / name
        try:
            metadata = pq.read_metadata(path)
            return StoredPart({**json.loads(metadata.metadata[FOOTER]), "rows": metadata.num_rows}, sha256(path))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def write_part(self, name: str, table: "pa.Table", footer: Mapping[str, Any], check: Callable[[], None]) -> str:
        """Write a file under a temporary name, and rename it when it is on the disk."""
        del check  # the folder is locked
        unfinished = self.path / f".{name}.{uuid4().hex}"
        with self.clearly():
            try:
                _write(table, footer, unfinished)
                sync(unfinished)
                digest = sha256(unfinished)
                unfinished.replace(self.path / name)
            finally:
                unfinished.unlink(missing_ok=True)
            sync(self.path)
        return digest


@dataclass(frozen=True)
class StoreFolder(SampleFolder):
    """A prefix of an object store.

    There is no lock. Two writers of one sample write the same parts, and either keeps what the other has written. Each
    part is written on condition that it is still what was read before the sample was last seen to be this one: a
    writer of another sample, which has begun since, loses nothing.
    """

    store: ObjectStore

    def __str__(self) -> str:
        return self.store.url

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address: the connection stays here."""
        return sample_folder, (self.store.url,)

    def writing(self) -> AbstractContextManager[None]:
        """State what to do about a store that cannot be written."""
        return self.clearly()

    @contextmanager
    def clearly(self) -> Iterator[None]:
        """State how to go on."""
        try:
            yield
        except StorageError as error:
            raise ModelError(f"{error} {_RESUMES}") from error

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        found = self.store.read(name)
        return None if found is None else found[0]

    def begin(self, name: str, content: bytes) -> None:
        """Write the object on condition that nobody else has since it was read."""
        self._replace(name, content)

    def finish(self, name: str, content: bytes) -> None:
        """Write the object, unless another writer of the sample has."""
        self._replace(name, content)

    def _replace(self, name: str, content: bytes) -> None:
        found = self.store.read(name)
        if found is not None and found[0] == content:
            return
        try:
            self.store.replace(name, content, etag=None if found is None else found[1])
        except ConflictError as error:
            # Also where the store was silent after it had written, and was asked again.
            if self.read(name) != content:
                raise ModelError(
                    f"another process has begun another sample in {self}. Name another folder, or end that process and "
                    "empty this one."
                ) from error

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects."""
        self.store.delete(names)

    def has_parts(self) -> bool:
        """Look for Parquet files."""
        return any(name.endswith(".parquet") for name in self.store.names(""))

    def missing(self, names: Iterable[str]) -> list[str]:
        """List the objects, a thousand in a request."""
        found = set(self.store.names(""))
        return [name for name in names if name not in found]

    def has_arrived(self, name: str) -> bool:
        """Return true: every machine sees the store."""
        del name
        return True

    def sha256(self, name: str) -> str | None:
        """Read the hash that was stored with an object."""
        found = self.part(name)
        return None if found is None else found.sha256

    def part(self, name: str) -> StoredPart | None:
        """Read the footer that was stored with an object, and its hash."""
        found = self.store.stated(name)
        try:
            return None if found is None else StoredPart(json.loads(found.metadata["footer"]), found.metadata["sha256"])
        except (ValueError, LookupError):
            return None

    def write_part(self, name: str, table: "pa.Table", footer: Mapping[str, Any], check: Callable[[], None]) -> str:
        """Write an object on condition that nobody else has since it was read."""
        file = BytesIO()
        _write(table, footer, file)
        content = file.getvalue()
        digest = sha256_of(content).hexdigest()
        stated = {"footer": json.dumps({**footer, "rows": table.num_rows}), "sha256": digest}
        with self.clearly():
            found = self.store.stated(name)
            check()
            try:
                self.store.replace(name, content, etag=None if found is None else found.etag, metadata=stated)
            except ConflictError:
                other = self.part(name)
                if other is None or other.sha256 != digest:
                    raise
        return digest


def sample_folder(address: Path | str) -> SampleFolder:
    """Return the folder at a path, or at an address such as s3://bucket/prefix."""
    text = str(address)
    if not text.startswith("s3:"):
        return DiskFolder(Path(address).resolve())
    return _store_folder(f"{PREFIX}{text.removeprefix('s3:').strip('/')}")  # a `Path` has one slash of two


@lru_cache(maxsize=4)
def _store_folder(url: str) -> StoreFolder:
    return StoreFolder(ObjectStore(url))  # with a connection that further parts use


def _write(table: "pa.Table", footer: Mapping[str, Any], file: Path | BytesIO) -> None:
    import pyarrow.parquet as pq

    table = table.replace_schema_metadata({FOOTER: json.dumps(dict(footer)).encode()})
    pq.write_table(table, file, compression="zstd", row_group_size=table.num_rows)
