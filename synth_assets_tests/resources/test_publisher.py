"""What consumers find in the published file, at every moment."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.publisher import Publisher, PublishError
from synth_assets.resources.warehouse import Provenance, Warehouse, WarehouseError
from synth_assets_tests.resources.processes import (
    BALLAST,
    HOLD,
    bound_by_permissions,
    contents,
    files_limited_to,
    on_a_small_disk,
    read_only,
    result_of,
    started,
)

MONDAY, TUESDAY, WEDNESDAY = "2026-01-05", "2026-01-06", "2026-01-07"
RUN = Provenance(run_id="a run")
OF_A_SAMPLE = ("fidelity", "privacy", "regression_comparison", "report", "synthetic_sample")
PROMISED = {"raw", "encoded_split", "provenance", *OF_A_SAMPLE}


def write(warehouse: Warehouse, table: str, values: list[Any], day: str | None = None, schema: str = "toy") -> None:
    warehouse.write(schema, table, pd.DataFrame({"x": values}), provenance=RUN, partition=day)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def published_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish `toy.raw` with one row and a sample of two days."""
    root = tmp_path_factory.mktemp("published")
    folder = DataFolder(root=str(root))
    warehouse = Warehouse(folder=folder)
    write(warehouse, "raw", ["old"])
    write(warehouse, "synthetic_sample", [1, 2], MONDAY)
    write(warehouse, "synthetic_sample", [4, 3], TUESDAY)
    Publisher(folder=folder, warehouse=warehouse).publish()
    return root


@pytest.fixture
def published(publisher: Publisher, published_folder: Path) -> Path:
    """Copy the data of `published_folder`, and give the published file."""
    shutil.copytree(published_folder, publisher.folder.root)
    return publisher.path


def test_the_file_holds_the_consumers_tables_as_they_are_in_the_warehouse(
    warehouse: Warehouse, publisher: Publisher
) -> None:
    frame = pd.DataFrame(
        {
            "x": pd.Series([3, None, 2**60 + 1], dtype="Int64"),
            "text": pd.Series(["b", "a", None], dtype="str"),
            "moment": pd.to_datetime(["2026-01-05 01:02:03.000004", None, "1969-12-31"], format="ISO8601"),
        }
    )
    for table in sorted(PROMISED - {"provenance"}):
        day = MONDAY if table in OF_A_SAMPLE else None
        warehouse.write("toy", table, frame, provenance=RUN, partition=day)
    write(warehouse, "model_weights", [1])
    write(warehouse, "raw_copy", [1])

    counts = publisher.publish()

    stored, copied = contents(warehouse.path), contents(publisher.path)
    assert set(copied) == {f"toy.{table}" for table in PROMISED}
    assert copied == {table: stored[table] for table in copied}
    assert counts == {table: len(stored[table]) for table in copied}
    types = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    consumed = [row for row in rows(warehouse.path, types) if row[0] in PROMISED]
    assert [row for row in rows(publisher.path, types) if row[0] in PROMISED] == consumed
    assert rows(publisher.path, "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal") == [
        ("toy", "synthetic_latest")
    ]


def test_many_rows_keep_their_order(warehouse: Warehouse, publisher: Publisher) -> None:
    values = [(7919 * i) % 200_003 for i in range(200_000)]
    write(warehouse, "raw", values)

    publisher.publish()

    assert [x for (x,) in rows(publisher.path, "SELECT x FROM toy.raw")] == values


def test_the_view_shows_the_newest_day_alone(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    latest = "SELECT resample_date::VARCHAR, x FROM toy.synthetic_latest"
    assert rows(published, latest) == [(TUESDAY, 4), (TUESDAY, 3)]

    # The newest day is the latest date, not what was written last.
    write(warehouse, "synthetic_sample", [9], WEDNESDAY)
    write(warehouse, "synthetic_sample", [8], MONDAY)
    assert rows(published, latest) == [(TUESDAY, 4), (TUESDAY, 3)]
    publisher.publish()

    assert rows(published, latest) == [(WEDNESDAY, 9)]
    assert len(rows(published, "FROM toy.synthetic_sample")) == 4


def test_without_a_sample_there_is_no_view(warehouse: Warehouse, publisher: Publisher) -> None:
    write(warehouse, "raw", [1])

    assert publisher.publish() == {"toy.raw": 1, "toy.provenance": 1}

    assert rows(publisher.path, "SELECT view_name FROM duckdb_views() WHERE NOT internal") == []


def test_several_tables_are_published_at_once_whatever_they_are_called(
    warehouse: Warehouse, publisher: Publisher
) -> None:
    names = ["first", 'x"; drop table y; --', "it's", "main"]
    for number, name in enumerate(names):
        write(warehouse, "raw", [number], schema=name)
        write(warehouse, "synthetic_sample", [number], MONDAY, schema=name)

    counts = publisher.publish()

    assert counts == {
        f"{name}.{table}": count
        for name in names
        for table, count in (("raw", 1), ("synthetic_sample", 1), ("provenance", 2))
    }
    for number, name in enumerate(names):
        quoted = name.replace('"', '""')
        assert rows(publisher.path, f'SELECT x FROM "{quoted}".synthetic_latest') == [(number,)]


def test_a_schema_may_be_called_like_the_file(warehouse: Warehouse, publisher: Publisher) -> None:
    write(warehouse, "synthetic_sample", [1], MONDAY, schema=publisher.path.stem)

    publisher.publish()

    name = publisher.path.stem
    assert rows(publisher.path, f"SELECT x FROM {name}.{name}.synthetic_latest") == [(1,)]


def test_the_file_needs_nothing_but_itself(warehouse: Warehouse, published: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copied.duckdb"
    shutil.copy(published, elsewhere)
    shutil.rmtree(warehouse.folder.root)

    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{elsewhere}' AS consumer (READ_ONLY)")
        assert connection.execute("SELECT x FROM consumer.toy.synthetic_latest").fetchall() == [(4,), (3,)]


def test_nothing_is_left_beside_the_file(publisher: Publisher, published: Path) -> None:
    assert left_in(published.parent) == [published.name]
    publisher.publish()
    assert left_in(published.parent) == [published.name]


def test_who_has_the_old_file_open_goes_on_reading_it(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write(warehouse, "raw", ["new"])

    with duckdb.connect(str(published), read_only=True) as reader:
        publisher.publish()
        assert reader.execute("SELECT x FROM toy.raw").fetchall() == [("old",)]
        assert reader.execute("SELECT x FROM toy.synthetic_latest").fetchall() == [(4,), (3,)]

    assert rows(published, "SELECT x FROM toy.raw") == [("new",)]


def test_a_consumer_in_another_process_does_not_stop_publishing(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write(warehouse, "raw", ["new"])

    with started(HOLD, published, 60, "write") as consumer:
        publisher.publish()
        assert consumer.poll() is None
        assert rows(published, "SELECT x FROM toy.raw") == [("new",)]


def test_publishing_waits_for_a_warehouse_that_is_written_to(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    with started(HOLD, warehouse.path, 1, "write") as writer:
        start = time.monotonic()
        publisher.publish()
        assert 0.6 < time.monotonic() - start < 6
        assert writer.wait(timeout=10) == 0


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("no database")], ids=["gone", "damaged"])
def test_without_a_readable_warehouse_the_old_file_stays(
    warehouse: Warehouse, publisher: Publisher, published: Path, damage: Callable[[Path], object]
) -> None:
    before = published.read_bytes()
    damage(warehouse.path)

    with pytest.raises((PublishError, WarehouseError), match=str(warehouse.path)):
        publisher.publish()

    assert published.read_bytes() == before
    assert left_in(published.parent) == [published.name]


def test_an_error_halfway_leaves_the_old_file(
    warehouse: Warehouse, publisher: Publisher, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the error is: here, one that is none of DuckDB's and none of the system's."""
    before = published.read_bytes()
    attach_to = Warehouse.attach_to

    def attach_and_fail(self: Warehouse, connection: duckdb.DuckDBPyConnection, alias: str) -> None:
        attach_to(self, connection, alias)
        raise KeyboardInterrupt

    monkeypatch.setattr(Warehouse, "attach_to", attach_and_fail)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish()

    assert published.read_bytes() == before
    assert left_in(published.parent) == [published.name]
    write(warehouse, "raw", ["the warehouse is free again"])


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_file_that_cannot_be_finished_is_not_published(
    warehouse: Warehouse, publisher: Publisher, published: Path, share: float
) -> None:
    write(warehouse, "raw", ["new"])
    before = published.read_bytes()

    # DuckDB writes the tables when the file is closed; what fails then is easily missed.
    with files_limited_to(int(share * len(before))), pytest.raises(PublishError, match="could not be replaced"):
        publisher.publish()

    assert published.read_bytes() == before
    assert left_in(published.parent) == [published.name]
    publisher.publish()
    assert rows(published, "SELECT x FROM toy.raw") == [("new",)]


_FILL = (
    BALLAST
    + """
import json, os, sys
import duckdb
import numpy as np
import pandas as pd
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.publisher import Publisher, PublishError
from synth_assets.resources.warehouse import Provenance, Warehouse

root, disk = sys.argv[1:]
folder = DataFolder(root=root)
warehouse = Warehouse(folder=folder)
publisher = Publisher(folder=folder, warehouse=warehouse)

def write(version, rows):
    noise = np.random.default_rng(version).integers(0, 2**62, rows)
    for table, day in (("raw", None), ("synthetic_sample", "2026-01-05")):
        frame = pd.DataFrame({"version": version, "x": noise})
        warehouse.write("toy", table, frame, provenance=Provenance(str(version)), partition=day)

def state():
    try:
        with duckdb.connect(str(publisher.path), read_only=True) as connection:
            return [
                connection.execute(f"SELECT min(version), max(version), count(*) FROM toy.{table}").fetchone()
                for table in ("raw", "synthetic_sample", "synthetic_latest")
            ]
    except duckdb.Error as error:
        return str(error)

write(0, 10)
publisher.publish()
attempts = []
# Few rows go through the write-ahead log and into the file when it is closed, many straight into the file.
for version, rows in ((1, 1000), (2, 150_000)):
    write(version, rows)
    for free in (64, 600, 9000):
        leave_free(disk, free)
        error = None
        try:
            publisher.publish()
        except PublishError as caught:
            error = str(caught)
        attempts.append([version, free, error, state(), sorted(os.listdir(disk))])
        if error is None:
            break
print(json.dumps(attempts))
"""
)


@pytest.mark.slow
def test_a_full_disk_never_costs_the_published_file(tmp_path: Path) -> None:
    disk = tmp_path / "published"
    disk.mkdir()

    attempts = result_of(_FILL, tmp_path, disk, prefix=on_a_small_disk(disk, "16m"))

    row_counts = {0: 10, 1: 1000, 2: 150_000}
    good = 0
    for version, free, error, state, left in attempts:
        if error is None:
            good = version
        else:
            assert "No space left on device" in error, (version, free)
            assert "What was published before is still there" in error, (version, free)
        assert state == [[good, good, row_counts[good]]] * 3, (version, free)
        assert set(left) <= {"ballast", "synthetic.duckdb"}, (version, free)
    assert good == 2
    assert any(error for version, _, error, *_ in attempts if version == 2)


_TRY_TO_PUBLISH = """
import json, sys
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.publisher import Publisher, PublishError
from synth_assets.resources.warehouse import Warehouse

folder = DataFolder(root=sys.argv[1])
try:
    Publisher(folder=folder, warehouse=Warehouse(folder=folder)).publish()
    error = None
except PublishError as caught:
    error = str(caught)
print(json.dumps(error))
"""


def test_a_folder_that_may_not_be_written_to_keeps_its_file(warehouse: Warehouse, published: Path) -> None:
    write(warehouse, "raw", ["new"])
    before = published.read_bytes()

    with read_only(published.parent):
        error = result_of(_TRY_TO_PUBLISH, warehouse.folder.root, prefix=bound_by_permissions())

    assert str(published) in error
    assert "Permission denied" in error
    assert "What was published before is still there" in error
    assert published.read_bytes() == before
    assert left_in(published.parent) == [published.name]


_POLL = """
import json, os, sys
import duckdb

print("ready", flush=True)
seen, problems, polls = [], [], 0
path, stop = sys.argv[1:]
while not os.path.exists(stop):
    polls += 1
    try:
        with duckdb.connect(path, read_only=True) as connection:
            versions = [
                version
                for table in ("raw", "synthetic_sample", "synthetic_latest", "fidelity")
                for (version,) in connection.execute(f"SELECT DISTINCT x FROM toy.{table}").fetchall()
            ]
    except duckdb.Error as error:
        problems.append(str(error))
        continue
    if len(versions) != 4 or len(set(versions)) != 1:
        problems.append(f"versions {versions}")
    elif versions[0] not in seen:
        seen.append(versions[0])
print(json.dumps([polls, seen, problems]))
"""


@pytest.mark.slow
def test_who_polls_the_file_always_finds_one_whole_state(
    warehouse: Warehouse, publisher: Publisher, tmp_path: Path
) -> None:
    def publish(version: int) -> None:
        # So many that a copy takes a while.
        write(warehouse, "raw", [version] * 50_000)
        write(warehouse, "synthetic_sample", [version] * 100, MONDAY)
        write(warehouse, "fidelity", [version])
        publisher.publish()

    publish(0)
    with started(_POLL, publisher.path, tmp_path / "stop") as poller:
        for version in range(1, 31):
            publish(version)
        time.sleep(0.5)
        (tmp_path / "stop").touch()
        output, _ = poller.communicate(timeout=30)

    polls, seen, problems = json.loads(output)
    assert problems == []
    assert polls > 30
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert seen[-1] == 30
    assert left_in(publisher.path.parent) == [publisher.path.name]
