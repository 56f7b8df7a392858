"""Publications: complete, immutable versions of the published tables, and the pointer to the current one.

    published/
      synthetic.duckdb -> publications/current/synthetic.duckdb
      <table>          -> publications/current/<table>
      publications/
        current        -> <id>      replaced by a rename, which switches all links above at once
        <id>/                       immutable
          synthetic.duckdb
          <table>/synthetic_sample/resample_date=<date>/<hash>.parquet, or for a large sample
                                   resample_date=<date>/model_version=<version>/part-<number>-<hash>.parquet
          manifest.json
        history.json                every switch of `current`

DuckDB identifies an open file by its resolved path. A process that still reads an earlier publication therefore gets
the current one when it opens `published/synthetic.duckdb`; if the file were replaced in place, it would get the earlier
one again. A view over Parquet files names its folder, or takes the one in the variable `synth_assets_folder` of the
connection: `connect` sets it.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from synth_assets.errors import ForeseenError
from synth_assets.storage.files import MANIFEST, sync, verify_manifest, write_manifest
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import is_damage

FORMAT = 2
"""Version of the layout of manifests and published tables. Increase it when either changes."""

FOLDER = "publications"
"""Folder of the publications, beside the folders of tables: no table may have this name."""

FOLDER_VARIABLE = "synth_assets_folder"
"""Variable of a connection: the folder of a publication, where it is not the one in which its views were written."""

CURRENT, HISTORY = "current", "history.json"
_UNFINISHED, _REMOVED = ".building-", ".removed-"


class PublicationError(ForeseenError, RuntimeError):
    """Something cannot be published or read; earlier publications are unchanged."""


@dataclass(frozen=True)
class Publication:
    """A version of the published tables.

    Parameters
    ----------
    folder : pathlib.Path
        Its folder, named by its id.
    manifest : mapping
        `publication` (the id), `format`, `number` (increases with every publication; the order does not depend on a
        clock), `published_at`, `previous`, `state` (a hash of all rows), `versions`, `files` with their SHA-256, and
        `tables`. An entry of `tables` is a `PublishSpec` with the row counts of its tables, and `samples`: the verdicts
        of the gates by resample date.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The id."""
        return self.folder.name

    @property
    def file(self) -> Path:
        """The path of its DuckDB file, without links."""
        return self.folder / "synthetic.duckdb"

    def samples(self, table: str) -> dict[str, dict[str, Any]]:
        """Return the samples of a table by resample date, oldest first, with their verdicts."""
        return dict(self.manifest["tables"].get(table, {}).get("samples", {}))

    def require_format(self) -> None:
        """Refuse a publication of another format.

        Raises
        ------
        PublicationError
            If another version of this package wrote it.
        """
        if self.manifest["format"] != FORMAT:
            raise PublicationError(
                f"publication {self.id} was written by another version of synth-assets (format "
                f"{self.manifest['format']}; this version needs {FORMAT}): materialize the lineage to publish a new "
                "one; until then `tables`, `query`, `export`, `connect` and `read_table` read this one."
            )

    def verify(self) -> None:
        """Compare every file with its hash in the manifest.

        Raises
        ------
        PublicationError
            If files are missing or changed; the message names each.
        """
        if damaged := verify_manifest(self.folder, self.manifest):
            raise PublicationError(
                f"publication {self.id} in {self.folder} is damaged: {'; '.join(damaged)}. "
                "`synth-assets rollback` makes an earlier one current; the next publication does not build on it."
            )


@dataclass(frozen=True)
class Publications:
    """The publications of a data folder.

    Parameters
    ----------
    paths : DataPaths
        The layout of the data folder.
    """

    paths: DataPaths

    @property
    def folder(self) -> Path:
        """The folder with one folder for each publication."""
        return self.paths.published.parent / FOLDER

    def current(self) -> Publication:
        """Return the publication that consumers read.

        Raises
        ------
        PublicationError
            If nothing is published yet, or its manifest cannot be read.
        """
        found = self.current_id()
        if found is None:
            raise PublicationError(
                f"nothing is published in {self.paths.published} yet; run `make demo` or the lineage of a table, or "
                "name another data folder with --data or SYNTH_ASSETS_DATA."
            )
        return self.get(found)

    def current_id(self) -> str | None:
        """Return the id of the current publication; None if nothing is published."""
        pointer = self.folder / CURRENT
        if pointer.is_symlink():
            return str(pointer.readlink())
        # In a copy that followed links, `current` is a copy of the publication.
        copied = pointer / MANIFEST
        return str(json.loads(copied.read_text(encoding="utf-8"))["publication"]) if copied.exists() else None

    def get(self, id_: str) -> Publication:
        """Return a publication.

        Raises
        ------
        PublicationError
            If no publication has this id, or its manifest cannot be read.
        """
        if id_ not in self._ids():
            known = ", ".join(each.id for each in self.all()) or "none"
            raise PublicationError(f"there is no publication {id_!r}; kept are: {known}.")
        path = self.folder / id_ / MANIFEST
        try:
            return Publication(self.folder / id_, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise PublicationError(f"publication {id_} is damaged: {path} cannot be read ({error}).") from error

    def all(self) -> list[Publication]:
        """Return the publications with a readable manifest, newest first."""
        found = []
        for id_ in self._ids():
            try:
                found.append(self.get(id_))
            except PublicationError:
                continue  # `get` reports a damaged one
        return sorted(found, key=lambda each: each.manifest["number"], reverse=True)

    def history(self) -> list[dict[str, Any]]:
        """Return every switch of the current publication, and its reason, oldest first.

        An entry is written before its switch; entries without a switch, after a kill, are left out.

        Raises
        ------
        PublicationError
            If the history cannot be read.
        """
        path = self.folder / HISTORY
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        except ValueError as error:
            raise PublicationError(
                f"{path} is damaged ({error}). Move it away: publications are unchanged, and a new history begins."
            ) from error
        current = self.current_id()
        while entries and entries[-1]["publication"] != current:
            entries.pop()
        return list(entries)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the publications against other processes, and remove the unfinished work of killed ones."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.paths.root / ".publishing.lock"):
            for folder in (self.folder, self.folder.parent):
                for left in (*folder.glob(f"{_UNFINISHED}*"), *folder.glob(f"{_REMOVED}*")):
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield

    @contextmanager
    def building(self) -> Iterator[Path]:
        """Create a folder for a publication under construction; unless `add` was called, remove it at the end."""
        folder = self.folder / f"{_UNFINISHED}{uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, building: Path, manifest: Mapping[str, Any]) -> Publication:
        """Turn a finished folder from `building` into a publication, not yet current: hash and flush its files."""
        number = 1 + max((each.manifest["number"] for each in self.all()), default=0)
        publication = Publication(
            self.folder / manifest["publication"], write_manifest(building, number=number, **manifest)
        )
        building.rename(publication.folder)
        sync(self.folder)
        return publication

    def make_current(self, publication: Publication, action: str, **details: Any) -> None:
        """Switch consumers to a publication: a 'publish', 'rollback' or 'delete'; details are added to the history."""
        change = {"at": now(), "action": action, "publication": publication.id, "previous": self.current_id()}
        entries = json.dumps([*self.history(), {**change, **details}], indent=1, ensure_ascii=False)
        unfinished = self.folder / f"{_UNFINISHED}{uuid4().hex}"
        unfinished.write_text(entries, encoding="utf-8")
        sync(unfinished)
        unfinished.replace(self.folder / HISTORY)
        _link(self.folder / CURRENT, Path(publication.id))
        self.link_for_consumers(publication)

    def rollback(self, id_: str | None = None) -> Publication:
        """Make an earlier publication current again; by default the one before the current one.

        The current one, named by its id, is shared again, if the data folder has an object store.

        The next publication builds on it, and again adds the samples in the warehouse that passed their gates. To
        remove a sample permanently, delete it.

        Raises
        ------
        PublicationError
            If it does not exist, is current, or is damaged.
        """
        with self.locked(), as_publication_error(self.paths.published):
            current = self.current_id()
            if id_ is None:
                id_ = self.current().manifest["previous"]
            if id_ is None:
                raise PublicationError(f"{current} is the first publication: there is none before it.")
            if id_ == current:
                if self.paths.storage is None:
                    raise PublicationError(f"publication {id_} is current already.")
                self.share()  # where an earlier attempt failed
                return self.current()
            publication = self.get(id_)
            publication.verify()
            self.make_current(publication, "rollback")
            self.share()
            return publication

    def share(self) -> None:
        """Write the current publication to the object store of the data folder, if it has one, and switch consumers.

        Raises
        ------
        PublicationError
            If the store cannot be written to, or another data folder writes to it. Its consumers keep what they have.
        """
        if self.paths.storage is None:
            return
        from synth_assets.publishing.shared import SharedPublications
        from synth_assets.storage.objects import ObjectStore, StorageError

        current, kept = self.current(), self.all()
        known = {each.id for each in kept} | {entry["publication"] for entry in self.history()}
        try:
            SharedPublications(ObjectStore(self.paths.storage)).share(current, kept, known)
        except StorageError as error:
            raise PublicationError(
                f"publication {current.id} is current in {self.paths.published.parent}, and is not shared yet: {error} "
                f"Run `synth-assets rollback {current.id}` to share it."
            ) from error

    def remove(self, publication: Publication) -> None:
        """Remove a publication that is not current; open connections read its tables still, but no Parquet files."""
        removed = self.folder / f"{_REMOVED}{publication.id}"
        publication.folder.rename(removed)
        shutil.rmtree(removed)

    def prune(self, *, keep: int, grace: timedelta) -> None:
        """Remove all but the newest publications; one that was current is kept for its readers during `grace`."""
        entries = self.history()
        replaced_at = {entry["previous"]: datetime.fromisoformat(entry["at"]) for entry in entries}
        for publication in self.all()[keep:]:
            since = replaced_at.get(publication.id, datetime.fromisoformat(publication.manifest["published_at"]))
            if publication.id != self.current_id() and datetime.now(UTC) - since > grace:
                self.remove(publication)

    def link_for_consumers(self, publication: Publication) -> None:
        """Create or repair the links `published/synthetic.duckdb` and `published/<table>`."""
        published = self.paths.published.parent
        current = Path(self.folder.name) / CURRENT
        folders = {folder_name(table) for table in publication.manifest["tables"] if publication.samples(table)}
        for name in (self.paths.published.name, *sorted(folders)):
            path = published / name
            if not path.is_symlink() or path.readlink() != current / name:
                _link(path, current / name)
        for path in published.iterdir():
            if path.is_symlink() and path.readlink().parent == current and not path.exists():
                path.unlink()  # the table has no samples left

    def _ids(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return [
            path.name
            for path in self.folder.iterdir()
            if path.is_dir() and path.name[0] != "." and path.name != CURRENT
        ]


@contextmanager
def as_publication_error(path: Path) -> Iterator[None]:
    """Turn an error of the disk or of DuckDB into a `PublicationError`."""
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:
        advice = " `synth-assets verify` names the damaged file." if is_damage(error) else ""
        raise PublicationError(
            f"{path} could not be replaced ({error}). Consumers keep the current publication.{advice}"
        ) from error


def folder_name(table: str) -> str:
    """Return a valid folder name for any table name."""
    name = quote(table, safe=" ")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def now() -> str:
    """Return the current time, in ISO 8601 and UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _link(path: Path, target: Path) -> None:
    # Created under another name and renamed: the link exists, and is valid, at every moment.
    unfinished = path.with_name(f"{_UNFINISHED}{uuid4().hex}")
    unfinished.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # from a copy that followed links
    unfinished.replace(path)
    sync(path.parent)
