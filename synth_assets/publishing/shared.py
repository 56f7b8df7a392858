"""Publications and models in an object store, which consumers on other machines read.

current.json                      the current publication: written last, on condition that nobody else has
publications/<id>/                immutable
  synthetic.duckdb, manifest.json
files/<table>/synthetic_sample/   Parquet files of all publications, each named by its hash, written once
models/<table>/<version>/         what the model store holds, its manifest last
"""

import json
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import TYPE_CHECKING

from synth_assets.publishing.publications import FOLDER_VARIABLE, Publication, PublicationError, now
from synth_assets.storage.files import MANIFEST, sha256
from synth_assets.storage.objects import ConflictError, ObjectStore
from synth_assets.storage.sql import text

if TYPE_CHECKING:
    import duckdb

POINTER = "current.json"

_DATABASE, _PUBLICATIONS, _FILES, _MODELS = "synthetic.duckdb", "publications", "files", "models"


@dataclass(frozen=True)
class SharedPublications:
    """The publications in an object store.

    Parameters
    ----------
    store : ObjectStore
        The objects below a prefix, which one data folder writes.
    """

    store: ObjectStore

    @property
    def folder(self) -> Path:
        """The folder of this machine that holds copies from the store."""
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return root / "synth_assets" / sha256_of(self.store.url.encode()).hexdigest()[:16]

    def share(self, current: Publication, kept: Collection[Publication], known: Collection[str]) -> None:
        """Write a publication, switch consumers to it, and delete the publications that are kept no longer.

        Parameters
        ----------
        current : Publication
            The publication that consumers are to read.
        kept : collection of Publication
            The publications of the data folder.
        known : collection of str
            Ids of all publications that the data folder ever had. The store's current one must be one of these.

        Raises
        ------
        PublicationError
            If another data folder writes to the store.
        StorageError
            If the store cannot be written to. Consumers keep the publication that they have.
        """
        before = self.store.read(POINTER)
        found = json.loads(before[0])["publication"] if before else None
        if found is not None and found not in known:
            raise PublicationError(
                f"{self.store.url} has the publication {found}, which another data folder has shared. Expected a "
                "prefix that this data folder alone writes to: state another one."
            )
        self.store.upload((current.folder / name, _object(current.id, name)) for name in current.manifest["files"])
        manifest = (current.folder / MANIFEST).read_bytes()
        self.store.write(f"{_PUBLICATIONS}/{current.id}/{MANIFEST}", manifest)
        if found != current.id:
            pointer = {"publication": current.id, "manifest": sha256_of(manifest).hexdigest(), "at": now()}
            try:
                self.store.replace(POINTER, json.dumps(pointer).encode(), etag=before[1] if before else None)
            except ConflictError as error:
                raise PublicationError(f"{error} Publish again: nothing is lost.") from error
        needed = {_object(each.id, name) for each in kept for name in (*each.manifest["files"], MANIFEST)}
        stored = [*self.store.names(_PUBLICATIONS), *self.store.names(_FILES)]
        self.store.delete(name for name in stored if name not in needed)

    def current(self) -> Publication:
        """Return the current publication; its folder is where `connect` keeps a copy of its DuckDB file.

        Raises
        ------
        PublicationError
            If nothing is published there, or a file is damaged.
        StorageError
            If the store cannot be read.
        """
        while True:
            pointer = self.store.read(POINTER)
            if pointer is None:
                raise PublicationError(f"nothing is published in {self.store.url} yet.")
            stated = json.loads(pointer[0])
            manifest = self.store.read(f"{_PUBLICATIONS}/{stated['publication']}/{MANIFEST}")
            if manifest is not None:
                if sha256_of(manifest[0]).hexdigest() != stated["manifest"]:
                    raise PublicationError(f"publication {stated['publication']} in {self.store.url} is damaged.")
                return Publication(self.folder / _PUBLICATIONS / stated["publication"], json.loads(manifest[0]))
            if self.store.read(POINTER) == pointer:
                raise PublicationError(f"publication {stated['publication']} in {self.store.url} lacks its manifest.")

    def connect(self) -> "duckdb.DuckDBPyConnection":
        """Connect to the current publication: its DuckDB file is copied, its Parquet files are read in place.

        Raises
        ------
        PublicationError
            If nothing is published there, or a file is damaged.
        StorageError
            If the store cannot be read.
        """
        import duckdb

        while True:
            publication = self.current()
            expected = publication.manifest["files"][_DATABASE]["sha256"]
            if not publication.file.is_file() or sha256(publication.file) != expected:
                if not self.store.download(f"{_PUBLICATIONS}/{publication.id}/{_DATABASE}", publication.file):
                    if self.current().id != publication.id:
                        continue  # it was replaced and removed in between
                    raise PublicationError(f"publication {publication.id} in {self.store.url} lacks {_DATABASE}.")
                if sha256(publication.file) != expected:
                    raise PublicationError(f"publication {publication.id} in {self.store.url} is damaged.")
                for left in publication.folder.parent.iterdir():
                    if left != publication.folder:
                        shutil.rmtree(left, ignore_errors=True)
            connection = duckdb.connect(str(publication.file), read_only=True)
            connection.register_filesystem(self.store.filesystem())
            connection.execute(f"SET VARIABLE {FOLDER_VARIABLE} = {text(self.store.path(_FILES))}")
            return connection


def share_model(store: ObjectStore, table: str, folder: Path) -> None:
    """Write a fitted model, a folder of the model store, unless the store has it."""
    name = f"{_MODELS}/{table}/{folder.name}"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    store.upload([(path, f"{name}/{path.relative_to(folder).as_posix()}") for path in files])
    store.upload([(folder / MANIFEST, f"{name}/{MANIFEST}")])


def fetch_model(store: ObjectStore, table: str, folder: Path) -> bool:
    """Read a fitted model into a folder of the model store, unless it is there; return whether it is now.

    A model that the store does not have completely is not read.
    """
    if folder.is_dir():
        return True
    name = f"{_MODELS}/{table}/{folder.name}"
    manifest = store.read(f"{name}/{MANIFEST}")
    if manifest is None:
        return False
    building = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        for file in (*json.loads(manifest[0])["files"], MANIFEST):
            if not store.download(f"{name}/{file}", building / file):
                return False
        building.rename(folder)  # its files are compared with the manifest when it is loaded
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return True


def _object(publication: str, name: str) -> str:
    return f"{_FILES}/{name}" if name.endswith(".parquet") else f"{_PUBLICATIONS}/{publication}/{name}"
