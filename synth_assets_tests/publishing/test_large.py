"""Tables with more synthetic rows than are copied: their samples are Parquet files, and consumers see no difference."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth_assets.publishing import client
from synth_assets.publishing.publications import PublicationError
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, WEDNESDAY, spec, write, write_large_sample, write_sample

ROWS = "SELECT resample_date::VARCHAR, x, sample_id, model_version FROM toy.synthetic_all"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def large(publisher: Publisher, warehouse: Warehouse) -> Publisher:
    """Publish five rows in three parts, and a small sample, by a publisher that copies three rows at most."""
    write(warehouse, "raw", [0])
    write_large_sample(warehouse, MONDAY, [9, 8, 7, 6, 5])
    write_large_sample(warehouse, TUESDAY, [4, 3])
    publisher = replace(publisher, copied_rows=3)
    publisher.publish(spec())
    return publisher


def test_a_view_has_the_rows_numbers_and_comments_of_a_table(
    large: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monday = [(MONDAY, x, number, "m1") for number, x in enumerate([9, 8, 7, 6, 5])]
    tuesday = [(TUESDAY, 4, 0, "m1"), (TUESDAY, 3, 1, "m1")]
    assert rows(large.path, ROWS) == [*monday, *tuesday]
    assert rows(large.path, ROWS.replace("_all", "_latest")) == tuesday
    assert rows(large.path, "SELECT row_count FROM publication WHERE table_name = 'synthetic_sample'") == [(7,)]
    described = rows(large.path, "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL")
    assert described[2] == ("synthetic_sample", "It's synthetic_sample.")
    of_x = (
        "SELECT DISTINCT data_type, comment FROM duckdb_columns() WHERE table_name LIKE 'synth%' AND column_name = 'x'"
    )
    assert rows(large.path, of_x) == [("BIGINT", "The x of synthetic_sample; it's one.")]
    assert client.read_table("toy", date=MONDAY, data=large.paths.root)["x"].tolist() == [9, 8, 7, 6, 5]
    with pytest.raises(client.ReadError, match=f"has no rows of {WEDNESDAY}; it has rows of {MONDAY}, {TUESDAY}"):
        client.read_table("toy", date=WEDNESDAY, data=large.paths.root)


@pytest.mark.parametrize("query", [f"toy.synthetic_sample WHERE resample_date = '{TUESDAY}'", "toy.synthetic_latest"])
def test_a_query_of_a_date_reads_the_files_of_that_date(large: Publisher, query: str) -> None:
    plan = rows(large.path, f"EXPLAIN ANALYZE SELECT sum(x) FROM {query}")[0][1]
    assert "Scanning Files: 1/4" in plan


def test_parts_are_shared_and_not_copied(large: Publisher, warehouse: Warehouse) -> None:
    parts = warehouse.parts("toy", "synthetic_sample", MONDAY)
    assert parts is not None
    write_sample(warehouse, WEDNESDAY, [1], numbered=True)
    large.publish(spec())
    before, after = large.publications.all()[::-1]
    for part, name in zip(parts.files, after.samples("toy")[MONDAY]["parts"], strict=True):
        inodes = {
            path.stat().st_ino for path in (large.paths.root / part.file, before.folder / name, after.folder / name)
        }
        assert len(inodes) == 1
    assert rows(large.path, "SELECT x, sample_id FROM toy.synthetic_latest") == [(1, 0)]
    assert not large.publish(spec()).is_new


def test_a_moved_data_folder_is_read_through_connect(large: Publisher, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.move(large.paths.root, moved)
    with client.connect(moved) as connection:
        client.restrict(connection)
        assert connection.execute("SELECT count(*) FROM toy.synthetic_all").fetchone() == (7,)
        with pytest.raises(duckdb.PermissionException):
            connection.execute(f"FROM read_text('{os.devnull}')")


def test_rollback_and_carried_over_samples_keep_their_parts(large: Publisher, warehouse: Warehouse) -> None:
    write_sample(warehouse, WEDNESDAY, [1], numbered=True)
    warehouse.delete_sample("toy", MONDAY)  # the publication keeps it
    large.publish(spec())
    assert [row[1] for row in rows(large.path, ROWS)] == [9, 8, 7, 6, 5, 4, 3, 1]
    large.publications.current().verify()
    large.publications.rollback()
    assert [row[1] for row in rows(large.path, ROWS)] == [9, 8, 7, 6, 5, 4, 3]


def test_a_deleted_sample_leaves_no_file(large: Publisher, warehouse: Warehouse) -> None:
    assert large.delete("toy", MONDAY) > 5
    assert list(large.paths.root.rglob(f"*{MONDAY}*")) == []
    assert warehouse.parts("toy", "synthetic_sample", MONDAY) is None
    assert rows(large.path, ROWS) == [(TUESDAY, 4, 0, "m1"), (TUESDAY, 3, 1, "m1")]


def test_many_rows_are_a_view_and_few_are_a_table_again(publisher: Publisher, warehouse: Warehouse) -> None:
    publisher = replace(publisher, copied_rows=3)
    of_sample = spec(tables=("synthetic_sample", "fidelity", "report"))
    for day, values in ((MONDAY, [9, 8]), (TUESDAY, [7, 6])):
        write_sample(warehouse, day, values, numbered=True)
    kinds = "SELECT table_name FROM duckdb_tables() WHERE table_name = 'synthetic_sample'"
    publisher.publish(of_sample)
    assert rows(publisher.path, kinds) == []
    assert [row[1:3] for row in rows(publisher.path, ROWS)] == [(9, 0), (8, 1), (7, 0), (6, 1)]
    publisher.delete("toy", MONDAY)
    assert rows(publisher.path, kinds) == [("synthetic_sample",)]
    assert [row[1:3] for row in rows(publisher.path, ROWS)] == [(7, 0), (6, 1)]


def test_a_sample_in_parts_is_published_however_few_rows_it_has(publisher: Publisher, warehouse: Warehouse) -> None:
    write_large_sample(warehouse, MONDAY, [9, 8, 7])
    publisher.publish(spec(tables=("synthetic_sample", "fidelity", "report")))
    assert [row[1] for row in rows(publisher.path, ROWS)] == [9, 8, 7]


def test_a_damaged_part_is_not_published(publisher: Publisher, warehouse: Warehouse) -> None:
    parts = write_large_sample(warehouse, MONDAY, [9, 8, 7])
    with (publisher.paths.root / parts.files[1].file).open("ab") as file:
        file.write(b"more")
    with pytest.raises(
        PublicationError, match=r"part-00001\.parquet, rows of the sample .* materialize the sample again"
    ):
        replace(publisher, copied_rows=2).publish(spec(tables=("synthetic_sample", "fidelity", "report")))
    assert publisher.publications.current_id() is None
