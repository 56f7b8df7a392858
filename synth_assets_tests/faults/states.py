"""The data folder before and after a run that nothing has disturbed, and what is asked of one that a fault has hit."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from filelock import FileLock

from synth_assets.publishing.publications import Publication, Publications
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import CHECKS, Warehouse
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets_tests.faults.days import SECOND_DAY, change_table
from synth_assets_tests.faults.warm_process import WarmProcess
from synth_assets_tests.storage.processes import contents
from synth_assets_tests.world import World

TABLE = "abalone"
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class States:
    """A data folder, twice.

    Parameters
    ----------
    before : pathlib.Path
        The first day was made; then the real table changed, so that the second day makes everything again.
    after : pathlib.Path
        The same after the second day.
    seconds : dict of str to float
        How long each step of the second day took.
    """

    before: Path
    after: Path
    seconds: dict[str, float]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Find what `make_states` has made."""
        seconds = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
        return cls(folder / "before" / "data", folder / "after" / "data", seconds)

    def copied_to(self, root: Path) -> DataPaths:
        """Make a data folder as it was before the second day."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.before, root, symlinks=True)
        return DataPaths(root)

    def assert_whole(self, root: Path) -> None:
        """Find each table and what is published as before or as after, and every model whole."""
        paths = DataPaths(root)
        found, before, after = (rows_of(folder) for folder in (root, self.before, self.after))
        for table, rows in found.items():
            assert rows in (before.get(table), after.get(table)), f"{table} is neither as before nor as after"
        assert set(found) >= set(before)
        published = assert_published(paths)
        assert published.manifest["state"] in (state_of(self.before), state_of(self.after))
        assert_models_whole(paths)

    def assert_after(self, root: Path) -> None:
        """Find everything as it is after an undisturbed run, and nothing left behind."""
        paths = DataPaths(root)
        assert rows_of(root) == rows_of(self.after)
        assert assert_published(paths).manifest["state"] == state_of(self.after)
        assert_models_whole(paths)
        assert models_of(root) == models_of(self.after)
        assert left_behind(paths) == []


def make_states(warm: WarmProcess, finished: Path, folder: Path) -> States:
    """Take the first day from a finished run, change the real table, and make the second; time each step of that."""
    making = folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    before, after = making / "before" / "data", making / "after" / "data"
    shutil.copytree(finished, before, symlinks=True)
    change_table(World(before))
    shutil.copytree(before, after, symlinks=True)
    started: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def hear(told: dict[str, Any]) -> None:
        if told["event"] == "STEP_START":
            started[told["step"]] = time.monotonic()
        elif told["event"] == "STEP_SUCCESS":
            seconds[told["step"]] = time.monotonic() - started[told["step"]]

    warm.start(("lineage", {"root": str(after), "day": SECOND_DAY}))
    ((_, done),) = warm.until_ended(hear)
    assert done["success"], done
    old, new = rows_of(before), rows_of(after)
    assert [table for table in new if new[table] == old[table]] == [], "something was not made again"
    assert len(models_of(after)) == 2
    (making / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
    making.rename(folder)
    return States.load(folder)


def rows_of(root: Path) -> Rows:
    """Return all rows of the warehouse but the record of runs and checks; of a model, its version alone.

    The rest of a model tells the time, and what a check found is often the same on two days.
    """
    found = {table: rows for table, rows in contents(DataPaths(root).warehouse).items() if not table.endswith(CHECKS)}
    del found[f"{TABLE}.provenance"]
    if f"{TABLE}.fine_tuned_model" in found:
        found[f"{TABLE}.fine_tuned_model"] = [row[:1] for row in found[f"{TABLE}.fine_tuned_model"]]
    return {table: [tuple(map(str, row)) for row in rows] for table, rows in found.items()}  # NaN is not NaN


def state_of(root: Path) -> str:
    """Return the hash of all published rows."""
    return str(Publications(DataPaths(root)).current().manifest["state"])


def assert_published(paths: DataPaths) -> Publication:
    """Find what is published whole: its files by their hashes, its tables by their counts, all under one id."""
    publication = Publications(paths).current()
    publication.verify()
    assert read_whole(paths.published) == publication.id
    counts = {day: of["rows"] for day, of in publication.samples(TABLE).items()}
    samples = pd.read_parquet(paths.published.parent / TABLE / "synthetic_sample")
    assert samples["resample_date"].value_counts().to_dict() == counts
    return publication


def read_whole(file: Path) -> str:
    """Read all tables of a published file in one connection, find them of one publication, and give its id."""
    found = contents(file)
    stated = found.pop("main.publication")
    (id_,) = {row[0] for row in stated}
    assert {f"{schema}.{table}": rows for _, _, schema, table, rows, _ in stated} == {
        table: len(rows) for table, rows in found.items()
    }
    return str(id_)


def assert_models_whole(paths: DataPaths) -> None:
    """Find every stored model as it was stored."""
    store = ModelStore(paths.models(TABLE))
    for version in store.versions():
        store.verify(version)


def models_of(root: Path) -> dict[str, bytes]:
    """Return the weights of all models."""
    store = ModelStore(DataPaths(root).models(TABLE))
    return {version: (store.path(version) / "model.safetensors").read_bytes() for version in store.versions()}


def left_behind(paths: DataPaths) -> list[str]:
    """Return what was begun and not finished, and the locks that nobody lets go of."""
    published = paths.published.parent
    begun = [
        *published.glob(".*"),
        *(published / "publications").glob(".*"),
        *paths.models(TABLE).glob(".*"),
        *paths.base_models.glob("*/.*"),
        *paths.root.rglob("*.building"),
        *paths.root.rglob("checkpoint-*"),
        *paths.root.glob("*.wal"),
    ]
    for lock in (*paths.root.rglob("*.lock"), *paths.root.rglob(".*.lock")):
        FileLock(lock).acquire(timeout=0).lock.release()
    return [str(path) for path in begun]


def warehouse_of(paths: DataPaths) -> Warehouse:
    """Return the warehouse of a data folder."""
    return Warehouse(DataPaths(paths.root))
