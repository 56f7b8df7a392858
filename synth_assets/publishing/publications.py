"""Publications: versions of what consumers read, each whole in a folder of its own, and which of them is current.

    published/
      synthetic.duckdb -> publications/current/synthetic.duckdb
      <table>          -> publications/current/<table>
      publications/
        current        -> <id>      replaced by a rename, and all of the above with it
        <id>/                       never changed once it is there
          synthetic.duckdb
          <table>/synthetic_sample/resample_date=<day>/<hash>.parquet
          manifest.json
        history.json                what was current when

DuckDB knows a file by the path that links lead to. So `published/synthetic.duckdb` gives the current publication also
to a process that still reads an earlier one; of a file that is replaced in its place, it would give the earlier again.
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

from filelock import FileLock

from synth_assets.errors import ForeseenError
from synth_assets.storage.files import MANIFEST, sync, verify_manifest, write_manifest
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import is_damage

FORMAT = 2
"""Raised by hand whenever a manifest, or the tables of a publication, are laid out in another way."""

FOLDER = "publications"
"""Where they lie among the folders of published tables: no table may be called so."""

CURRENT, HISTORY = "current", "history.json"
_UNFINISHED, _REMOVED = ".building-", ".removed-"


class PublicationError(ForeseenError, RuntimeError):
    """Something cannot be published or read; the message says why. What was published before is still there."""


@dataclass(frozen=True)
class Publication:
    """A version of what consumers read.

    Parameters
    ----------
    folder : pathlib.Path
        Its folder; the name is its id.
    manifest : mapping
        What is in it: `publication`, `number` (it counts publications up: no clock decides which one is newer),
        `published_at`, `previous`, `state` (a hash of all rows), `versions`, `files` with
        their SHA-256, and `tables`: by table that is synthesized, its `schema`, its `tables` with their rows, its
        `samples` by day with the verdicts of their gates, and its `sample_spec`.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def file(self) -> Path:
        """Its DuckDB file, under its own path."""
        return self.folder / "synthetic.duckdb"

    def days(self, table: str) -> dict[str, dict[str, Any]]:
        """Give the days of a table's samples, oldest first, with their verdicts."""
        return dict(self.manifest["tables"].get(table, {}).get("samples", {}))

    def verify(self) -> None:
        """Compare every file with its hash in the manifest.

        Raises
        ------
        PublicationError
            If a file is missing or is not what was published; the message names each.
        """
        if damaged := verify_manifest(self.folder, self.manifest):
            raise PublicationError(
                f"publication {self.id} in {self.folder} is damaged: {'; '.join(damaged)}. "
                "`synth-assets rollback` makes an earlier one current; the next publication is built anew."
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
        """Holds one folder a publication."""
        return self.paths.published.parent / FOLDER

    def current(self) -> Publication:
        """Give the publication that consumers read.

        Raises
        ------
        PublicationError
            If nothing is published yet, or its manifest cannot be read.
        """
        found = self.current_id()
        if found is None:
            raise PublicationError(f"nothing is published in {self.paths.published} yet; `make demo` does it.")
        return self.get(found)

    def current_id(self) -> str | None:
        """Give the id of the current publication; None if there is none."""
        pointer = self.folder / CURRENT
        if pointer.is_symlink():
            return str(pointer.readlink())
        # Who copies a folder without its links gets a copy of what they lead to.
        copied = pointer / MANIFEST
        return str(json.loads(copied.read_text(encoding="utf-8"))["publication"]) if copied.exists() else None

    def get(self, id_: str) -> Publication:
        """Give a publication.

        Raises
        ------
        PublicationError
            If there is none of that id, or its manifest cannot be read.
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
        """Give the publications that are kept and whose manifest can be read, newest first."""
        found = []
        for id_ in self._ids():
            try:
                found.append(self.get(id_))
            except PublicationError:
                continue  # `verify` and `get` report a damaged one when it is asked for
        return sorted(found, key=lambda each: each.manifest["number"], reverse=True)

    def history(self) -> list[dict[str, Any]]:
        """Give what became current when, and why, oldest first.

        An entry is written before its switch: one that a kill kept from happening is not given.

        Raises
        ------
        PublicationError
            If the record cannot be read.
        """
        path = self.folder / HISTORY
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        except ValueError as error:
            raise PublicationError(
                f"{path} is damaged ({error}). Move it away: publications stay as they are, and the record of what was "
                "current when begins anew."
            ) from error
        current = self.current_id()
        while entries and entries[-1]["publication"] != current:
            entries.pop()
        return list(entries)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time change publications; what a killed one left unfinished is removed first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.paths.root / ".publishing.lock"):
            for folder in (self.folder, self.folder.parent):
                for left in (*folder.glob(f"{_UNFINISHED}*"), *folder.glob(f"{_REMOVED}*")):
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield

    @contextmanager
    def building(self) -> Iterator[Path]:
        """Give a folder to build a publication in; it is removed at the end, unless `add` made it one."""
        folder = self.folder / f"{_UNFINISHED}{uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, building: Path, manifest: Mapping[str, Any]) -> Publication:
        """Make a folder that was built a publication: hashed, written to the disk, whole. It is not yet current.

        Parameters
        ----------
        building : pathlib.Path
            What `building` gave, with the files in it.
        manifest : mapping
            What is in it, but for its files.

        Returns
        -------
        Publication
            The publication.
        """
        number = 1 + max((each.manifest["number"] for each in self.all()), default=0)
        publication = Publication(
            self.folder / manifest["publication"], write_manifest(building, number=number, **manifest)
        )
        building.rename(publication.folder)
        sync(self.folder)
        return publication

    def make_current(self, publication: Publication, action: str, **details: Any) -> None:
        """Let consumers read this publication from now on.

        Parameters
        ----------
        publication : Publication
            The publication.
        action : str
            Why, in a word: 'publish', 'rollback', 'delete'.
        **details
            What else is put on record.
        """
        entry = {
            "at": now(),
            "action": action,
            "publication": publication.id,
            "previous": self.current_id(),
            **details,
        }
        entries = json.dumps([*self.history(), entry], indent=1, ensure_ascii=False)
        unfinished = self.folder / f"{_UNFINISHED}{uuid4().hex}"
        unfinished.write_text(entries, encoding="utf-8")
        sync(unfinished)
        unfinished.replace(self.folder / HISTORY)
        _link(self.folder / CURRENT, Path(publication.id))
        self.link_for_consumers(publication)

    def rollback(self, id_: str | None = None) -> Publication:
        """Make an earlier publication current again.

        The next publication builds on it. It takes samples from the warehouse that passed their gates, as ever: to keep
        a day's sample out for good, delete the day.

        Parameters
        ----------
        id_ : str, optional
            Which one; without it, the one before the current one.

        Returns
        -------
        Publication
            What is current now.

        Raises
        ------
        PublicationError
            If it is not kept, is current already, or is damaged.
        """
        with self.locked(), as_publication_error(self.paths.published):
            current = self.current_id()
            if id_ is None:
                id_ = self.current().manifest["previous"]
            if id_ is None:
                raise PublicationError(f"{current} is the first publication: there is none before it.")
            if id_ == current:
                raise PublicationError(f"publication {id_} is current already.")
            publication = self.get(id_)
            publication.verify()
            self.make_current(publication, "rollback")
            return publication

    def remove(self, publication: Publication) -> None:
        """Remove a publication that is not current; who has a file of it open reads on."""
        removed = self.folder / f"{_REMOVED}{publication.id}"
        publication.folder.rename(removed)
        shutil.rmtree(removed)

    def prune(self, *, keep: int, grace: timedelta) -> None:
        """Remove publications that are neither among the newest nor were current a short while ago.

        Parameters
        ----------
        keep : int
            As many of the newest stay, so that a rollback has somewhere to go.
        grace : datetime.timedelta
            For so long after its last day as the current one a publication stays, so that readers finish.
        """
        entries = self.history()
        given_up = {entry["previous"]: datetime.fromisoformat(entry["at"]) for entry in entries}
        for publication in self.all()[keep:]:
            since = given_up.get(publication.id, datetime.fromisoformat(publication.manifest["published_at"]))
            if publication.id != self.current_id() and datetime.now(UTC) - since > grace:
                self.remove(publication)

    def link_for_consumers(self, publication: Publication) -> None:
        """Let `published/synthetic.duckdb` and `published/<table>` lead to the current publication, if they do not."""
        published = self.paths.published.parent
        current = Path(self.folder.name) / CURRENT
        folders = {folder_name(table) for table, of in publication.manifest["tables"].items() if of["samples"]}
        for name in (self.paths.published.name, *sorted(folders)):
            path = published / name
            if not path.is_symlink() or path.readlink() != current / name:
                _link(path, current / name)
        for path in published.iterdir():
            if path.is_symlink() and path.readlink().parent == current and not path.exists():
                path.unlink()  # the table has no sample any more

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
    """Say of a disk or a DuckDB file that fails what it means for consumers."""
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:
        advice = " `synth-assets verify` tells which file is damaged, and what to do." if is_damage(error) else ""
        raise PublicationError(
            f"{path} could not be replaced ({error}). What was published before is still there.{advice}"
        ) from error


def folder_name(table: str) -> str:
    """Give the name of a folder for a table, whatever the table is called."""
    name = quote(table, safe=" ")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def now() -> str:
    """Give the time, in ISO 8601 and UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _link(path: Path, target: Path) -> None:
    # Made beside and renamed: at no moment is there no link, or one that leads elsewhere.
    unfinished = path.with_name(f"{_UNFINISHED}{uuid4().hex}")
    unfinished.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # a copy that was made without links
    unfinished.replace(path)
    sync(path.parent)
