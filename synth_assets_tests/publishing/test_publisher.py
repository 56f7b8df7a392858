"""What consumers find published, at every moment, and what never gets there."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from synth_assets.publishing.publications import HISTORY, PublicationError
from synth_assets.publishing.publisher import Publisher
from synth_assets.publishing.retention import Retention
from synth_assets.schema.table import content_hash
from synth_assets.storage import warehouse as warehouse_module
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse, WarehouseError
from synth_assets_tests.storage.processes import (
    BALLAST,
    HOLD,
    bound_by_permissions,
    contents,
    files_limited_to,
    on_a_small_disk,
    read_only,
    released_when_waited_for,
    result_of,
    started,
)
from synth_assets_tests.storage.toy import MONDAY, TABLES, TUESDAY, WEDNESDAY, spec, write, write_sample

ODD = 'x"; drop table y; --'


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def days(publisher: Publisher) -> dict[str, list[Any]]:
    """Return the published samples, by day."""
    found: dict[str, list[Any]] = {}
    for day, value in rows(publisher.path, "SELECT resample_date::VARCHAR, x FROM toy.synthetic_all"):
        found.setdefault(day, []).append(value)
    return found


def state(publisher: Publisher) -> dict[str, Any]:
    """Return every published file, and the targets of links."""
    folder = publisher.path.parent
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def published(publisher: Publisher, toy_folder: Path) -> Path:
    """Copy the data of `toy_folder`, and give the published file."""
    shutil.copytree(toy_folder, publisher.paths.root, symlinks=True)
    return publisher.path


def test_the_file_holds_the_offered_tables_as_they_are_in_the_warehouse(
    warehouse: Warehouse, publisher: Publisher
) -> None:
    frame = pd.DataFrame(
        {
            "x": pd.Series([3, None, 2**60 + 1], dtype="Int64"),
            "text": pd.Series(["b", "a", None], dtype="str"),
            "moment": pd.to_datetime(["2026-01-05 01:02:03.000004", None, "1969-12-31"], format="ISO8601"),
            ODD: [1.5, float("nan"), -0.0],
        }
    )
    warehouse.write("toy", "raw", frame, provenance=Provenance("a run"))
    write_sample(warehouse, TUESDAY, [3, 1, 2])
    write_sample(warehouse, MONDAY, [9, 8])
    write(warehouse, "model_weights", [1])
    write(warehouse, "raw_copy", [1])

    publisher.publish(spec())

    stored, copied = contents(warehouse.path), contents(publisher.path)
    assert set(copied) == {"main.publication", "toy.provenance", *(f"toy.{table}" for table in TABLES)}
    assert repr(copied["toy.raw"]) == repr(stored["toy.raw"])
    for table in TABLES[1:]:
        assert copied[f"toy.{table}"] == sorted(stored[f"toy.{table}"], key=lambda row: row[0]), table
    types = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'toy' ORDER BY ALL"
    consumed = [row for row in rows(warehouse.path, types) if row[0] in (*TABLES, "provenance")]
    assert [row for row in rows(publisher.path, types) if row[0] in (*TABLES, "provenance")] == consumed
    assert rows(
        publisher.path, "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    ) == [
        ("toy", "synthetic_all"),
        ("toy", "synthetic_latest"),
    ]


def test_every_table_view_and_column_says_what_it_is(publisher: Publisher, published: Path) -> None:
    stated = dict(
        rows(
            published,
            "SELECT table_name, comment FROM duckdb_tables() UNION ALL "
            "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal",
        )
    )
    assert stated == {
        **{table: f"It's {table}." for table in TABLES},
        "synthetic_latest": "The synthetic rows of the latest resample date.",
        "synthetic_all": "The synthetic rows of all resample dates.",
        "provenance": "Materializations: time, run, inputs and versions of each asset.",
        "publication": "The tables of this publication.",
    }
    columns = rows(
        published,
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal AND column_name = 'x'",
    )
    assert sorted(columns) == [
        *((table, "x", f"The x of {table}; it's one.") for table in ("fidelity", "raw")),
        *((view, "x", "The x of synthetic_sample; it's one.") for view in ("synthetic_all", "synthetic_latest")),
        ("synthetic_sample", "x", "The x of synthetic_sample; it's one."),
    ]
    ours = "table_name IN ('provenance', 'publication')"
    assert rows(published, f"SELECT column_name FROM duckdb_columns() WHERE {ours} AND comment IS NULL") == []


def test_all_tables_carry_one_publications_id(publisher: Publisher, published: Path) -> None:
    current = publisher.publications.current()
    found = rows(published, "SELECT DISTINCT publication, published_at FROM publication")
    assert found == [(current.id, datetime.fromisoformat(current.manifest["published_at"]))]
    counts = dict(rows(published, "SELECT table_name, row_count FROM publication"))
    assert counts == {"raw": 1, "synthetic_sample": 4, "fidelity": 2, "report": 4, "provenance": 7}
    assert counts == {table: rows(published, f"SELECT count(*) FROM toy.{table}")[0][0] for table in counts}


def test_the_manifest_says_what_when_and_by_which_verdicts(publisher: Publisher, published: Path) -> None:
    current = publisher.publications.current()
    manifest = json.loads((current.folder / "manifest.json").read_text())
    assert manifest["publication"] == current.id
    assert manifest["previous"] is None
    assert abs(datetime.now(UTC) - datetime.fromisoformat(manifest["published_at"])).total_seconds() < 600
    assert set(manifest["versions"]) == {"python", "synth-assets", "duckdb", "pandas"}
    toy = manifest["tables"]["toy"]
    assert {table: of["rows"] for table, of in toy["tables"].items()} == {
        "raw": 1, "synthetic_sample": 4, "fidelity": 2, "report": 4,
    }  # fmt: skip
    assert {day: of["rows"] for day, of in toy["samples"].items()} == {MONDAY: 2, TUESDAY: 2}
    assert toy["samples"][TUESDAY]["gates"] == [
        {"gate": "fidelity", "blocking": True, "passed": True, "message": "It's about 4."},
        {"gate": "utility", "blocking": False, "passed": False, "message": "It's of little use."},
    ]
    files = {path.relative_to(current.folder).as_posix() for path in current.folder.rglob("*") if path.is_file()}
    assert files == {"manifest.json", *manifest["files"]}
    current.verify()


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
@pytest.mark.parametrize("kind", [".duckdb", ".parquet"])
def test_a_damaged_file_is_found_by_its_hash_and_named(
    publisher: Publisher, published: Path, damage: str, kind: str
) -> None:
    current = publisher.publications.current()
    name = next(name for name in current.manifest["files"] if name.endswith(kind))
    path = current.folder / name
    if damage == "gone":
        path.unlink()
    else:
        before = path.read_bytes()
        path.write_bytes(before[:-1] if damage == "cut" else bytes([*before[:-1], before[-1] ^ 1]))
    with pytest.raises(PublicationError, match=f"{current.id} .* is damaged: {name} "):
        current.verify()


def test_the_samples_are_parquet_too(publisher: Publisher, published: Path) -> None:
    folder = published.parent / "toy" / "synthetic_sample"
    frame = pd.read_parquet(folder)
    assert [tuple(row) for row in frame.to_numpy()] == [
        (1, "m1", MONDAY), (2, "m1", MONDAY), (4, "m1", TUESDAY), (3, "m1", TUESDAY),
    ]  # fmt: skip
    with duckdb.connect() as another:
        found = another.execute(
            "SELECT resample_date, x FROM read_parquet($1, hive_partitioning = true)", [f"{folder}/*/*.parquet"]
        ).fetchall()
    assert found == [(date.fromisoformat(MONDAY), 1), (date.fromisoformat(MONDAY), 2),
                     (date.fromisoformat(TUESDAY), 4), (date.fromisoformat(TUESDAY), 3)]  # fmt: skip


def test_a_day_that_did_not_change_takes_no_second_place_on_the_disk(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    before = publisher.publications.current()
    write_sample(warehouse, TUESDAY, [5])
    after = publisher.publish(spec()).publication

    of_monday = [each.folder / each.samples("toy")[MONDAY]["parquet"] for each in (before, after)]
    assert of_monday[0] != of_monday[1]
    assert of_monday[0].samefile(of_monday[1])
    assert before.samples("toy")[TUESDAY]["parquet"] != after.samples("toy")[TUESDAY]["parquet"]


def test_what_did_not_pass_is_not_published_with_a_later_day(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    """The warehouse holds all days; publishing one must not carry along another that a gate has stopped."""
    write_sample(warehouse, "2026-01-04", [987_654_321], passed=False)
    write_sample(warehouse, WEDNESDAY, [7])

    done = publisher.publish(spec(), resample_date=WEDNESDAY)

    assert done.left_out == {"2026-01-04": "it did not pass fidelity"}
    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3], WEDNESDAY: [7]}
    for table in ("fidelity", "report"):
        found = rows(published, f"SELECT DISTINCT resample_date::VARCHAR FROM toy.{table} ORDER BY ALL")
        assert [day for (day,) in found] == [MONDAY, TUESDAY, WEDNESDAY], table
    assert rows(published, "FROM toy.provenance WHERE partition_key = '2026-01-04'") == []
    assert b"987654321" not in (publisher.publications.current().folder / "manifest.json").read_bytes()


def test_consumers_keep_the_last_good_sample_of_a_date_whose_new_sample_fails(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write_sample(warehouse, MONDAY, [666], passed=False)
    before = state(publisher)
    with pytest.raises(PublicationError, match=f"toy of {MONDAY} is not published: it did not pass fidelity"):
        publisher.publish(spec(), resample_date=MONDAY)
    assert state(publisher) == before

    write_sample(warehouse, WEDNESDAY, [7])
    publisher.publish(spec(), resample_date=WEDNESDAY)

    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3], WEDNESDAY: [7]}
    assert rows(published, f"SELECT message FROM toy.report WHERE resample_date = '{MONDAY}' AND blocking") == [
        ("It's about 1.",)
    ]
    assert publisher.publications.current().samples("toy")[MONDAY]["gates"][0]["message"] == "It's about 1."


def test_a_verdict_on_other_rows_does_not_count(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    """The sample of a day is drawn again, and not yet evaluated, when another day is published."""
    write(warehouse, "raw", ["new"])
    evaluated = content_hash(warehouse.read("toy", "synthetic_sample", resample_date=MONDAY))
    for table, stale in (("synthetic_sample", "fidelity, report"), ("fidelity", "report")):
        warehouse_before = warehouse.path.read_bytes()
        frame = warehouse.read("toy", table, resample_date=MONDAY)
        frame["x"] = 666
        inputs = {"synthetic_sample": evaluated} if table == "fidelity" else {}
        new = Provenance("another run", data_version=content_hash(frame), details={"inputs": inputs})
        warehouse.write("toy", table, frame, provenance=new, resample_date=MONDAY)

        done = publisher.publish(spec())

        reason = done.left_out[MONDAY]
        assert reason == f"{stale} was computed from other rows than those stored now; materialize again"
        assert days(publisher)[MONDAY] == [1, 2]
        warehouse.path.write_bytes(warehouse_before)


def test_a_sample_that_no_gate_has_evaluated_is_not_published(warehouse: Warehouse, publisher: Publisher) -> None:
    write(warehouse, "synthetic_sample", [1], MONDAY)

    with pytest.raises(PublicationError, match=r"toy has no sample that passed its gates\. 2026-01-05: no gate"):
        publisher.publish(spec())

    assert not publisher.path.exists()


def test_a_table_that_is_not_offered_stays_in_the_warehouse(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write(warehouse, "raw", ["confidential"])
    publisher.publish(spec())
    assert b"confidential" in published.read_bytes()
    publisher.publish(spec(tables=TABLES[1:]))

    assert [table for (table,) in rows(published, "SELECT table_name FROM duckdb_tables() ORDER BY ALL")] == [
        "fidelity", "provenance", "publication", "report", "synthetic_sample",
    ]  # fmt: skip
    assert b"confidential" not in published.read_bytes()


def test_a_publication_of_one_table_leaves_the_others_as_they_are(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write_sample(warehouse, MONDAY, [5], namespace="other")
    write(warehouse, "raw", ["not yet published"])

    publisher.publish(spec("other"))

    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3]}
    assert rows(published, "FROM toy.raw") == [("old",)]
    assert rows(published, "SELECT x FROM other.synthetic_latest") == [(5,)]
    comment = "SELECT comment FROM duckdb_columns() WHERE schema_name = 'toy' AND table_name = 'raw'"
    assert rows(published, comment) == [("The x of raw; it's one.",)]
    assert [path.name for path in sorted(published.parent.iterdir())] == [
        "other", "publications", "synthetic.duckdb", "toy",
    ]  # fmt: skip


def test_an_unchanged_state_is_not_published_twice(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    before = state(publisher)
    for table in ("synthetic_sample", "fidelity", "report"):  # as a step that is retried does
        frame = warehouse.read("toy", table, resample_date=MONDAY)
        (record,) = [
            row
            for row in warehouse.read("toy", "provenance").to_dict("records")
            if (row["asset"], row["partition_key"]) == (table, MONDAY)
        ]
        again = Provenance("a retry", data_version=content_hash(frame), details=json.loads(record["details"]))
        warehouse.write("toy", table, frame, provenance=again, resample_date=MONDAY)

    done = publisher.publish(spec())

    assert not done.is_new
    assert state(publisher) == before


def test_many_rows_keep_their_order(warehouse: Warehouse, publisher: Publisher) -> None:
    values = [(7919 * i) % 200_003 for i in range(200_000)]
    write_sample(warehouse, MONDAY, values)

    publisher.publish(spec())

    assert days(publisher) == {MONDAY: values}
    assert pd.read_parquet(publisher.path.parent / "toy" / "synthetic_sample")["x"].tolist() == values


def test_the_view_shows_the_newest_day_alone(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    latest = "SELECT resample_date::VARCHAR, x FROM toy.synthetic_latest"
    assert rows(published, latest) == [(TUESDAY, 4), (TUESDAY, 3)]

    # The newest day is the latest date, not what was written last.
    write_sample(warehouse, WEDNESDAY, [9])
    write_sample(warehouse, MONDAY, [8])
    assert rows(published, latest) == [(TUESDAY, 4), (TUESDAY, 3)]
    publisher.publish(spec())

    assert rows(published, latest) == [(WEDNESDAY, 9)]
    assert days(publisher) == {MONDAY: [8], TUESDAY: [4, 3], WEDNESDAY: [9]}


@pytest.mark.parametrize("name", [ODD, "main", "base", "warehouse", "synthetic", "..", "a/b"])
def test_a_table_may_be_called_anything(warehouse: Warehouse, publisher: Publisher, published: Path, name: str) -> None:
    write_sample(warehouse, MONDAY, [1], namespace=name)
    write(warehouse, "raw", [1], namespace=name)

    publisher.publish(spec(name))

    quoted = name.replace('"', '""')
    assert rows(publisher.path, f'SELECT x FROM synthetic."{quoted}".synthetic_latest') == [(1,)]
    assert rows(publisher.path, f'SELECT x FROM synthetic."{quoted}".raw') == [(1,)]
    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3]}
    current = publisher.publications.current()
    files = {path.resolve() for path in publisher.paths.root.rglob("*.parquet")}
    assert all(path.is_relative_to(publisher.publications.folder) for path in files)
    assert (current.folder / current.samples(name)[MONDAY]["parquet"]).is_file()


def test_columns_may_be_called_anything(warehouse: Warehouse, publisher: Publisher) -> None:
    frame = pd.DataFrame({ODD: ["it's"], "it's": [1], "model_version": ["m1"]})
    sample, version = "synthetic_sample", content_hash(frame)
    warehouse.write("toy", sample, frame, provenance=Provenance("r", data_version=version), resample_date=MONDAY)
    report = pd.DataFrame({"gate": [ODD], "blocking": [True], "passed": [True], "message": [ODD]})
    evaluated = Provenance("r", data_version=content_hash(report), details={"inputs": {sample: version}})
    warehouse.write("toy", "report", report, provenance=evaluated, resample_date=MONDAY)
    described = spec(tables=("synthetic_sample", "report"))
    columns = {ODD: "Odd; it's said.", "it's": ODD}
    tables = {name: replace(table, columns=columns, description=ODD) for name, table in described.tables.items()}

    publisher.publish(replace(described, tables=tables))

    assert rows(publisher.path, 'SELECT "x""; drop table y; --", "it\'s" FROM toy.synthetic_latest') == [("it's", 1)]
    query = (
        "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'synthetic_sample' AND comment NOT NULL"
    )
    assert dict(rows(publisher.path, query)) == columns


def test_the_file_needs_nothing_but_itself(warehouse: Warehouse, published: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copied.duckdb"
    shutil.copy(published, elsewhere)
    shutil.rmtree(warehouse.paths.root)

    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{elsewhere}' AS consumer (READ_ONLY)")
        assert connection.execute("SELECT x FROM consumer.toy.synthetic_latest").fetchall() == [(4,), (3,)]


def test_the_folder_may_be_copied_and_moved(publisher: Publisher, published: Path, tmp_path: Path) -> None:
    shutil.copytree(published.parent, tmp_path / "elsewhere", symlinks=True)
    shutil.rmtree(published.parent)

    assert rows(tmp_path / "elsewhere" / published.name, "SELECT x FROM toy.synthetic_latest") == [(4,), (3,)]
    assert len(pd.read_parquet(tmp_path / "elsewhere" / "toy" / "synthetic_sample")) == 4


def test_a_copy_without_links_is_published_to_like_the_original(
    warehouse: Warehouse, publisher: Publisher, published: Path, tmp_path: Path
) -> None:
    shutil.copytree(publisher.paths.root, tmp_path / "restored")
    folder = DataPaths(tmp_path / "restored")
    restored = Publisher(folder, warehouse=Warehouse(folder))
    assert restored.publications.current_id() == publisher.publications.current_id()
    assert not restored.publish(spec()).is_new

    write_sample(restored.warehouse, WEDNESDAY, [7])
    restored.publish(spec())

    assert days(restored) == {MONDAY: [1, 2], TUESDAY: [4, 3], WEDNESDAY: [7]}
    assert len(pd.read_parquet(restored.path.parent / "toy" / "synthetic_sample")) == 5


def test_a_plain_file_of_an_earlier_release_gives_way(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    shutil.rmtree(published.parent)
    published.parent.mkdir()
    with duckdb.connect(str(published)) as connection:
        connection.execute("CREATE TABLE plain AS SELECT 1")

    publisher.publish(spec())

    assert published.is_symlink()
    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3]}


def test_nothing_is_left_beside(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    write(warehouse, "raw", ["new"])
    publisher.publish(spec())
    kept = {each.id for each in publisher.publications.all()}
    assert len(kept) == 2
    assert {path.name for path in publisher.publications.folder.iterdir()} == {*kept, "current", HISTORY}
    assert {path.name for path in published.parent.iterdir()} == {"publications", "synthetic.duckdb", "toy"}


def test_open_connections_read_the_old_file_and_new_connections_the_new_one(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write(warehouse, "raw", ["new"])

    with duckdb.connect(str(published), read_only=True) as reader:
        publisher.publish(spec())
        assert reader.execute("SELECT x FROM toy.raw").fetchall() == [("old",)]
        # In the same process, which still holds the old file.
        assert rows(published, "SELECT x FROM toy.raw") == [("new",)]
        assert reader.execute("SELECT x FROM toy.synthetic_latest").fetchall() == [(4,), (3,)]


def test_a_consumer_in_another_process_does_not_stop_publishing(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write(warehouse, "raw", ["new"])

    with started(HOLD, published, 60, "read") as consumer:
        publisher.publish(spec())
        assert consumer.poll() is None
        assert rows(published, "SELECT x FROM toy.raw") == [("new",)]


def test_publishing_waits_for_a_warehouse_that_is_written_to(
    warehouse: Warehouse, publisher: Publisher, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse_module, "TELL_AFTER_S", 0.2)
    with started(HOLD, warehouse.path, 600, "write") as writer, released_when_waited_for(writer):
        publisher.publish(spec())
        assert writer.wait(timeout=10) == 0


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("no database")], ids=["gone", "damaged"])
def test_without_a_readable_warehouse_the_last_publication_stays(
    warehouse: Warehouse, publisher: Publisher, published: Path, damage: Callable[[Path], object]
) -> None:
    before = state(publisher)
    damage(warehouse.path)

    with pytest.raises((PublicationError, WarehouseError), match=str(warehouse.path)):
        publisher.publish(spec())

    assert state(publisher) == before


def test_an_error_halfway_leaves_the_last_publication(
    warehouse: Warehouse, publisher: Publisher, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the error is: here, one that is none of DuckDB's and none of the system's."""
    before = state(publisher)
    attach_to = Warehouse.attach_to

    def attach_and_fail(self: Warehouse, connection: duckdb.DuckDBPyConnection, alias: str) -> None:
        attach_to(self, connection, alias)
        raise KeyboardInterrupt

    monkeypatch.setattr(Warehouse, "attach_to", attach_and_fail)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish(spec())

    assert state(publisher) == before
    write(warehouse, "raw", ["the warehouse is free again"])


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_file_that_cannot_be_finished_is_not_published(
    warehouse: Warehouse, publisher: Publisher, published: Path, share: float
) -> None:
    write(warehouse, "raw", ["new"])
    before = state(publisher)

    # DuckDB writes the tables when the file is closed; what fails then is easily missed.
    with files_limited_to(int(share * published.stat().st_size)), pytest.raises(PublicationError, match="replaced"):
        publisher.publish(spec())

    assert state(publisher) == before
    publisher.publish(spec())
    assert rows(published, "SELECT x FROM toy.raw") == [("new",)]


def test_what_is_damaged_is_not_built_on(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    write_sample(warehouse, WEDNESDAY, [7])
    good = publisher.publications.current()
    damaged = publisher.publish(spec()).publication
    damaged.file.write_bytes(damaged.file.read_bytes()[:-4096])

    done = publisher.publish(spec())

    assert done.is_new
    assert done.publication.id not in (good.id, damaged.id)
    (message,) = done.skipped_bases
    assert f"publication {damaged.id} in" in message
    assert "synthetic.duckdb has" in message
    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3], WEDNESDAY: [7]}


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        (Retention(), ["2026-01-01", "2026-01-04", MONDAY, TUESDAY]),
        (Retention(samples=3), ["2026-01-04", MONDAY, TUESDAY]),
        (Retention(samples=1), [TUESDAY]),
        (Retention(days=3), ["2026-01-04", MONDAY, TUESDAY]),
        (Retention(days=1), [TUESDAY]),
        (Retention(days=30, samples=2), [MONDAY, TUESDAY]),
    ],
)
def test_retention_counts_from_the_latest_sample(retention: Retention, left: list[str]) -> None:
    dates = [TUESDAY, "2026-01-01", "2026-01-04", MONDAY]
    assert retention.expired(dates) == set(dates) - set(left)


def test_expired_samples_are_deleted_everywhere(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    write_sample(warehouse, "2026-01-01", [9])
    write_sample(warehouse, "2026-01-02", [666], passed=False)
    plots = {day: publisher.paths.plots("toy", day) for day in ("2026-01-01", TUESDAY)}
    for folder in plots.values():
        folder.mkdir(parents=True)

    done = publisher.publish(spec(), retention=Retention(samples=2))

    assert list(days(publisher)) == sorted(publisher.publications.current().samples("toy")) == [MONDAY, TUESDAY]
    stored = rows(warehouse.path, "SELECT DISTINCT resample_date::VARCHAR FROM toy.synthetic_sample ORDER BY ALL")
    assert stored == [(MONDAY,), (TUESDAY,)]
    assert [day for day, folder in plots.items() if folder.exists()] == [TUESDAY]
    assert done.expired == ["2026-01-01", "2026-01-02"]  # a sample that failed expires with its neighbours
    assert not publisher.publish(spec(), retention=Retention(samples=2)).is_new


def test_earlier_publications_are_kept_for_rollbacks_and_readers(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    def publish(number: int, **kept: Any) -> list[str]:
        write(warehouse, "raw", [number])
        Publisher(publisher.paths, warehouse=warehouse, **kept).publish(spec())
        return [each.id for each in publisher.publications.all()]

    for number in range(4):
        ids = publish(number, keep=2)
    assert len(ids) == 5  # within the grace period
    assert publish(4, keep=2, grace_hours=0) == [publisher.publications.current_id(), ids[0]]


def test_a_deleted_day_is_gone_everywhere(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    write_sample(warehouse, WEDNESDAY, [4242])
    publisher.publish(spec())
    publisher.paths.plots("toy", WEDNESDAY).mkdir(parents=True)
    page = publisher.paths.report("toy", WEDNESDAY)
    page.parent.mkdir(parents=True)
    page.write_text("4242")
    without = publisher.publications.all()[-1]

    publisher.delete("toy", WEDNESDAY)

    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3]}
    for file in (warehouse.path, published):
        for table in ("synthetic_sample", "fidelity", "report"):
            assert rows(file, f"FROM toy.{table} WHERE resample_date = '{WEDNESDAY}'") == [], table
        assert rows(file, f"FROM toy.provenance WHERE partition_key = '{WEDNESDAY}'") == []
    assert list(publisher.paths.root.rglob(f"*{WEDNESDAY}*")) == []
    assert publisher.publications.current().id == without.id  # the same rows were published before
    assert [each.id for each in publisher.publications.all()] == [without.id]
    assert publisher.publications.history()[-1]["action"] == "delete"
    assert not publisher.publish(spec()).is_new

    with pytest.raises(PublicationError, match=f"toy has no sample of {WEDNESDAY}, neither published nor in the"):
        publisher.delete("toy", WEDNESDAY)


def test_a_day_is_deleted_from_what_is_damaged_too(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    write_sample(warehouse, WEDNESDAY, [4242])
    damaged = publisher.publish(spec()).publication
    damaged.file.write_bytes(damaged.file.read_bytes()[:-4096])

    publisher.delete("toy", WEDNESDAY)

    assert days(publisher) == {MONDAY: [1, 2], TUESDAY: [4, 3]}
    assert not damaged.folder.exists()


def test_all_days_may_be_deleted(warehouse: Warehouse, publisher: Publisher, published: Path) -> None:
    for day in (MONDAY, TUESDAY):
        publisher.delete("toy", day)

    assert days(publisher) == {}
    assert rows(published, "FROM toy.raw") == [("old",)]
    assert sorted(path.name for path in published.parent.iterdir()) == ["publications", "synthetic.duckdb"]
    assert len(publisher.publications.all()) == 1
    write_sample(warehouse, WEDNESDAY, [7])
    publisher.publish(spec())
    assert days(publisher) == {WEDNESDAY: [7]}
    assert len(pd.read_parquet(published.parent / "toy")) == 1


_FILL = (
    BALLAST
    + """
import json, os, sys
from pathlib import Path
import duckdb
import numpy as np
from synth_assets.publishing.publications import PublicationError
from synth_assets.storage.paths import DataPaths
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import MONDAY, spec, write, write_sample

root, disk = sys.argv[1:]
folder = DataPaths(Path(root))
warehouse = Warehouse(folder)
publisher = Publisher(folder, warehouse=warehouse)

def make(version, rows):
    write(warehouse, "raw", [version] + np.random.default_rng(version).integers(0, 2**62, rows).tolist())
    write_sample(warehouse, MONDAY, [version] + np.random.default_rng(version).integers(0, 2**62, rows).tolist())

def state():
    try:
        publisher.publications.current().verify()
        with duckdb.connect(str(publisher.path), read_only=True) as connection:
            return [
                # The first row in the order of the file, which `first(x)` is not where two threads read it.
                connection.execute(f"SELECT (SELECT x FROM toy.{table} LIMIT 1), count(*) FROM toy.{table}").fetchone()
                for table in ("raw", "synthetic_sample", "synthetic_latest")
            ]
    except (duckdb.Error, PublicationError) as error:
        return str(error)

make(0, 10)
publisher.publish(spec())
attempts = []
# Few rows go through the write-ahead log and into the file when it is closed, many straight into the file.
for version, rows in ((1, 1000), (2, 150_000)):
    make(version, rows)
    for free in (64, 4000, 16000):
        leave_free(disk, free)
        error = None
        try:
            publisher.publish(spec())
        except PublicationError as caught:
            error = str(caught)
        attempts.append([version, free, error, state(), sorted(os.listdir(disk))])
        if error is None:
            break
print(json.dumps(attempts))
"""
)


@pytest.mark.slow
def test_a_full_disk_never_costs_what_is_published(tmp_path: Path) -> None:
    disk = tmp_path / "published"
    disk.mkdir()

    attempts = result_of(_FILL, tmp_path, disk, prefix=on_a_small_disk(disk, "32m"))

    row_counts = {0: 11, 1: 1001, 2: 150_001}
    good = 0
    for version, free, error, state, left in attempts:
        if error is None:
            good = version
        else:
            assert "No space left on device" in error, (version, free)
            assert "Consumers keep the current publication" in error, (version, free)
        assert state == [[good, row_counts[good]]] * 3, (version, free)
        assert set(left) == {"ballast", "publications", "synthetic.duckdb", "toy"}, (version, free)
    assert good == 2
    assert any(error for version, _, error, *_ in attempts if version == 2)


_TRY_TO_PUBLISH = """
import json, sys
from pathlib import Path
from synth_assets.publishing.publications import PublicationError
from synth_assets.storage.paths import DataPaths
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import spec

folder = DataPaths(Path(sys.argv[1]))
try:
    Publisher(folder, warehouse=Warehouse(folder)).publish(spec())
    error = None
except PublicationError as caught:
    error = str(caught)
print(json.dumps(error))
"""


def test_a_folder_that_may_not_be_written_to_keeps_what_is_in_it(
    warehouse: Warehouse, publisher: Publisher, published: Path
) -> None:
    write(warehouse, "raw", ["new"])
    before = state(publisher)

    with read_only(published.parent):
        error = result_of(_TRY_TO_PUBLISH, warehouse.paths.root, prefix=bound_by_permissions())

    assert str(published) in error
    assert "Permission denied" in error
    assert "Consumers keep the current publication" in error
    assert state(publisher) == before


_STATES = """
import json, os, shutil, sys
from pathlib import Path
from synth_assets.storage.paths import DataPaths
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import TUESDAY, spec

CHANGES = ("os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir")
root, states, action = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
copied, copying = [], False

def copy():
    global copying
    copying = True
    status = {path: path.lstat() for path in root.rglob("*")}
    state = {str(path): (each.st_ino, each.st_size, each.st_mtime_ns) for path, each in status.items()}
    if state not in copied[-1:]:
        shutil.copytree(root, states / str(len(copied)), symlinks=True)
        copied.append(state)
    copying = False

def before_a_change(event, arguments):
    is_change = event in CHANGES or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if is_change and not copying:
        copy()

folder = DataPaths(root)
publisher = Publisher(folder, warehouse=Warehouse(folder), grace_hours=0, keep=1)
sys.addaudithook(before_a_change)
publisher.publish(spec()) if action == "publish" else publisher.delete("toy", TUESDAY)
copy()
print(json.dumps(len(copied)))
"""
"""Publishes or deletes, and copies the data folder before each change of it, and at the end."""


@pytest.mark.slow
@pytest.mark.parametrize("action", ["publish", "delete"])
def test_a_kill_between_any_two_steps_leaves_one_whole_state(
    publisher: Publisher, warehouse: Warehouse, published: Path, tmp_path: Path, action: str
) -> None:
    """What a kill before the first, second, third ... change leaves is whole; then it is done again, to the end."""
    before = {MONDAY: [1, 2], TUESDAY: [4, 3]}
    after = {MONDAY: [8], TUESDAY: [4, 3]} if action == "publish" else {MONDAY: [1, 2]}
    if action == "publish":
        write_sample(warehouse, MONDAY, [8])
    steps = result_of(_STATES, publisher.paths.root, tmp_path / "states", action)
    seen = set()
    for step in range(steps):
        folder = DataPaths(tmp_path / "states" / str(step))
        left = Publisher(folder, warehouse=Warehouse(folder))
        current = left.publications.current()
        current.verify()
        found = days(left)
        assert found in (before, after), step
        assert set(current.samples("toy")) == set(found), step
        assert left.publications.history()[-1]["publication"] == current.id, step
        seen.add(str(found))
        left.publish(spec()) if action == "publish" else _delete_again(left)
        assert days(left) == after, step
        names = [path.name for path in (*left.path.parent.iterdir(), *left.publications.folder.iterdir())]
        assert [name for name in names if name.startswith(".")] == [], step
    assert not left.publish(spec()).is_new
    assert steps > 10
    assert seen == {str(before), str(after)}


def _delete_again(publisher: Publisher) -> None:
    try:
        publisher.delete("toy", TUESDAY)
    except PublicationError as error:
        assert "has no sample of" in str(error)  # noqa: PT017 - it had come to its end
