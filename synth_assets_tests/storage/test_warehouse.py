"""What the warehouse keeps, refuses, waits for and survives."""

import json
import shutil
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.table import content_hash
from synth_assets.storage import warehouse as warehouse_module
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse, WarehouseError
from synth_assets_tests.any_table import COLUMNS, LONG, SQL_TYPES, any_rows, any_schema
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

MONDAY, TUESDAY, WEDNESDAY = "2026-01-05", "2026-01-06", "2026-01-07"
RUN = Provenance(run_id="a run")
HOSTILE = ['x"; drop table y; --', '"it\'s"', "a.b", "*", "select", "$1 ?\nGröße"]


def column(*values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": values})


@pytest.fixture(scope="module")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an unpartitioned table `toy.plain`, and `toy.daily` with two days of (x, y)."""
    warehouse = Warehouse(DataPaths(tmp_path_factory.mktemp("filled")))
    warehouse.write("toy", "plain", column(3, 1, 2), provenance=RUN)
    for day, x in ((MONDAY, [1, 2]), (TUESDAY, [3])):
        frame = pd.DataFrame({"x": x, "y": [f"{day} {value}" for value in x]})
        warehouse.write("toy", "daily", frame, provenance=RUN, resample_date=day)
    return warehouse.path


@pytest.fixture
def filled(warehouse: Warehouse, filled_file: Path) -> Warehouse:
    """Return a warehouse with a copy of `filled_file`."""
    warehouse.path.parent.mkdir()
    shutil.copy(filled_file, warehouse.path)
    return warehouse


@pytest.mark.parametrize("partition", [None, MONDAY])
def test_columns_of_every_type_are_stored_as_stated_and_come_back(warehouse: Warehouse, partition: str | None) -> None:
    rows = any_rows()
    types = {column.name: column.sql_type for column in COLUMNS}
    for frame in (rows, rows[rows[LONG].isna()]):  # what a column holds does not change its type
        warehouse.write("toy", "odd", frame, provenance=RUN, resample_date=partition, types=types)
        with duckdb.connect(str(warehouse.path), read_only=True) as connection:
            stored = {row[0]: row[1] for row in connection.execute("DESCRIBE toy.odd").fetchall()}
        assert {name: stored[name] for name in SQL_TYPES} == SQL_TYPES
        found = warehouse.read("toy", "odd", resample_date=partition)
        assert all(column.has_dtype(found[column.name]) for column in COLUMNS if not found[column.name].isna().all())
        expected = frame.reset_index(drop=True)
        pd.testing.assert_frame_equal(any_schema().coerce(found, origin="the warehouse"), expected)


@pytest.mark.parametrize("partition", [None, MONDAY])
def test_values_types_and_order_come_back(warehouse: Warehouse, partition: str | None) -> None:
    int64 = np.iinfo("int64")
    frame = pd.DataFrame(
        {
            "text": pd.Series(["b", "", None, "ä\n'\",;", "b"], dtype="str"),
            "whole": pd.Series([5, int64.max, int64.min, 0, -1], dtype="int64"),
            # Halfway through float64 the large one would lose its last digit.
            "whole or none": pd.Series([2**60 + 1, None, 3, None, -(2**60) - 1], dtype="Int64"),
            "decimal": [0.1 + 0.2, np.nan, np.inf, 5e-324, -1.7976931348623157e308],
            "moment": pd.to_datetime(
                ["2026-01-05 01:02:03.000004", None, "1969-12-31", "2026-01-05", "2200-01-01"], format="ISO8601"
            ),
            "yes or no": [True, False, True, True, False],
        }
    )

    warehouse.write("toy", "t", frame, provenance=RUN, resample_date=partition)

    stored = warehouse.read("toy", "t", resample_date=partition)
    pd.testing.assert_frame_equal(stored, frame, check_exact=True)
    assert content_hash(stored) == content_hash(frame)


def test_many_rows_keep_their_order_when_a_partition_is_replaced(warehouse: Warehouse) -> None:
    shuffled = pd.DataFrame({"x": np.random.default_rng(1).permutation(300_000)})
    reverse = shuffled.sort_index(ascending=False)
    for frame, day in ((shuffled, MONDAY), (shuffled, TUESDAY), (reverse, MONDAY)):
        warehouse.write("toy", "t", frame, provenance=RUN, resample_date=day)

    assert warehouse.read("toy", "t", resample_date=MONDAY)["x"].tolist() == shuffled["x"].tolist()[::-1]
    assert warehouse.read("toy", "t", resample_date=TUESDAY)["x"].tolist() == shuffled["x"].tolist()


def test_values_in_several_rows_are_counted_with_their_days(warehouse: Warehouse) -> None:
    for day, values in ((MONDAY, [1, 1, 2, None]), (TUESDAY, [2, 3, None, None])):
        frame = column(*values).astype("Int64")
        warehouse.write("toy", "t", frame, provenance=RUN, resample_date=day)
    assert warehouse.count_repeated("toy", "t", "x") == (2, [MONDAY, TUESDAY])
    assert warehouse.count_repeated("toy", "t", "x", within_a_day=False) == (1, [MONDAY, TUESDAY])


def test_writing_a_table_again_replaces_it_whole(filled: Warehouse) -> None:
    frame = pd.DataFrame({"other": ["a", "b"], "more": [0.5, 1.5]})

    filled.write("toy", "plain", frame, provenance=RUN)

    pd.testing.assert_frame_equal(filled.read("toy", "plain"), frame)


def test_writing_a_partition_again_replaces_it_alone(filled: Warehouse) -> None:
    filled.write("toy", "daily", pd.DataFrame({"x": [9], "y": ["new"]}), provenance=RUN, resample_date=MONDAY)

    tuesday, monday = (date.fromisoformat(day) for day in (TUESDAY, MONDAY))
    assert contents(filled.path)["toy.daily"] == [(tuesday, 3, f"{TUESDAY} 3"), (monday, 9, "new")]
    assert filled.read("toy", "daily", resample_date=MONDAY).to_dict("list") == {"x": [9], "y": ["new"]}


def test_a_whole_partitioned_table_is_read_with_its_days(filled: Warehouse) -> None:
    frame = filled.read("toy", "daily")

    assert list(frame.columns) == ["resample_date", "x", "y"]
    assert frame["resample_date"].astype("str").tolist() == [MONDAY, MONDAY, TUESDAY]


def test_columns_in_another_order_land_under_their_own_names(filled: Warehouse) -> None:
    # Both columns hold text, so that swapped ones would not be noticed by their types.
    first = pd.DataFrame({"a": ["a1"], "b": ["b1"]})
    second = pd.DataFrame({"b": ["b2"], "a": ["a2"]})

    filled.write("toy", "letters", first, provenance=RUN, resample_date=MONDAY)
    filled.write("toy", "letters", second, provenance=RUN, resample_date=TUESDAY)

    assert filled.read("toy", "letters", resample_date=TUESDAY).to_dict("list") == {"a": ["a2"], "b": ["b2"]}


@pytest.mark.parametrize("day", [MONDAY, WEDNESDAY])
@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (pd.DataFrame({"x": [1], "y": ["a"], "surplus": [1]}), "surplus"),
        (pd.DataFrame({"x": [1]}), "y"),
        (pd.DataFrame({"x": [1], "renamed": ["a"]}), "renamed"),
    ],
    ids=["one too many", "one missing", "one renamed"],
)
def test_other_columns_than_the_stored_ones_are_refused(
    filled: Warehouse, frame: pd.DataFrame, named: str, day: str
) -> None:
    before = contents(filled.path)

    with pytest.raises(WarehouseError, match=rf"toy\.daily has the columns .*\b{named}\b.*Nothing was changed"):
        filled.write("toy", "daily", frame, provenance=RUN, resample_date=day)

    assert contents(filled.path) == before


def test_a_table_without_partitions_takes_none(filled: Warehouse) -> None:
    before = contents(filled.path)

    with pytest.raises(WarehouseError, match=r"toy\.plain"):
        filled.write("toy", "plain", column(7), provenance=RUN, resample_date=MONDAY)

    assert contents(filled.path) == before


@pytest.mark.parametrize(("table", "partition"), [("plain", None), ("daily", MONDAY), ("daily", WEDNESDAY)])
@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"x": [], "y": []}), pd.DataFrame(), pd.DataFrame(index=[0, 1])], ids=str
)
def test_a_frame_without_cells_is_refused(
    filled: Warehouse, frame: pd.DataFrame, table: str, partition: str | None
) -> None:
    before = contents(filled.path)

    with pytest.raises(WarehouseError, match=rf"toy\.{table}.*no row"):
        filled.write("toy", table, frame, provenance=RUN, resample_date=partition)

    assert contents(filled.path) == before


def test_a_refused_first_write_leaves_no_table_behind(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="resample_date"):
        warehouse.write("toy", "t", pd.DataFrame({"resample_date": [1]}), provenance=RUN, resample_date=MONDAY)

    assert contents(warehouse.path) == {}
    with pytest.raises(WarehouseError, match="materialize toy/t first"):
        warehouse.read("toy", "t")


@pytest.mark.parametrize("value", ["text", 1.5], ids=str)
def test_a_value_that_the_stored_type_cannot_hold_changes_nothing(filled: Warehouse, value: object) -> None:
    before = contents(filled.path)

    with pytest.raises(WarehouseError, match=r"toy\.daily"):
        filled.write("toy", "daily", pd.DataFrame({"x": [value], "y": ["a"]}), provenance=RUN, resample_date=MONDAY)

    assert contents(filled.path) == before


def test_a_column_that_duckdb_cannot_store_changes_nothing(filled: Warehouse) -> None:
    before = contents(filled.path)

    with pytest.raises(WarehouseError, match=r"toy\.plain"):
        filled.write("toy", "plain", column(1j), provenance=RUN)

    assert contents(filled.path) == before


@pytest.mark.parametrize(("table", "partition"), [("plain", None), ("daily", MONDAY)])
def test_rows_whose_provenance_cannot_be_written_are_not_written(
    filled: Warehouse, table: str, partition: str | None
) -> None:
    before = contents(filled.path)
    no_json = Provenance(run_id="a run", details={"x": object()})

    with pytest.raises((WarehouseError, TypeError)):
        filled.write("toy", table, pd.DataFrame({"x": [9], "y": ["a"]}), provenance=no_json, resample_date=partition)

    assert contents(filled.path) == before


@pytest.mark.parametrize("partition", ["", "tomorrow", "2026-02-30", f"{MONDAY}'; DROP TABLE toy.daily; --"])
def test_a_partition_that_is_no_date_changes_nothing(filled: Warehouse, partition: str) -> None:
    before = contents(filled.path)

    with pytest.raises(WarehouseError, match=r"toy\.daily"):
        filled.write("toy", "daily", pd.DataFrame({"x": [9], "y": ["a"]}), provenance=RUN, resample_date=partition)

    assert contents(filled.path) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_may_be_a_name(filled: Warehouse, name: str) -> None:
    before = contents(filled.path)
    frame = pd.DataFrame({"x": [3, 1, 2], name: ["a", "b", "c"]})
    provenance = Provenance("a run", details={name: name})

    filled.write(name, "y", frame, provenance=provenance)
    # Twice, so that the columns are compared with those that are stored.
    for _ in range(2):
        filled.write(name, name, frame, provenance=provenance, resample_date=MONDAY)

    pd.testing.assert_frame_equal(filled.read(name, name, resample_date=MONDAY), frame)
    pd.testing.assert_frame_equal(filled.read(name, "y"), frame)
    assert filled.latest_details(name, name) == {name: name}
    after = contents(filled.path)
    assert set(after) == {*before, f"{name}.y", f"{name}.{name}", f"{name}.provenance"}
    assert {table: after[table] for table in before} == before


def test_a_schema_may_be_called_like_the_file(warehouse: Warehouse) -> None:
    warehouse.write(warehouse.path.stem, "t", column(1, 2), provenance=RUN, resample_date=MONDAY)

    assert warehouse.read(warehouse.path.stem, "t", resample_date=MONDAY)["x"].tolist() == [1, 2]


def test_reading_before_anything_was_written_says_what_to_materialize(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="materialize toy/raw first"):
        warehouse.read("toy", "raw")

    assert not warehouse.path.exists()


@pytest.mark.parametrize(
    ("schema", "table", "partition"),
    [("toy", "other", None), ("other", "plain", None), ("toy", "daily", WEDNESDAY), ("toy", "other", MONDAY)],
)
def test_reading_what_is_missing_says_what_to_materialize(
    filled: Warehouse, schema: str, table: str, partition: str | None
) -> None:
    expected = rf"no {schema}\.{table}" + (f" of {partition}" if partition else "") + f".*{schema}/{table} first"
    with pytest.raises(WarehouseError, match=expected):
        filled.read(schema, table, resample_date=partition)


def test_reading_a_partition_of_a_table_without_partitions_says_which_table(filled: Warehouse) -> None:
    with pytest.raises(WarehouseError, match=r"toy\.plain"):
        filled.read("toy", "plain", resample_date=MONDAY)


def test_each_write_adds_a_row_of_provenance(warehouse: Warehouse) -> None:
    start = datetime.now(UTC)
    details = {"text": "ä'\"", "number": 0.1, "list": [1, None], "nested": {"yes": True}}
    first = Provenance(run_id="first", code_version="7", data_version="abc", details=details)
    warehouse.write("toy", "t", column(1, 2), provenance=first, resample_date=MONDAY)
    warehouse.write("toy", "t", column(3), provenance=Provenance(run_id="second"), resample_date=MONDAY)

    rows = contents(warehouse.path)["toy.provenance"]

    assert [(*row[:2], *row[3:7]) for row in rows] == [
        ("t", MONDAY, "first", "7", "abc", 2),
        ("t", MONDAY, "second", None, None, 1),
    ]
    assert [json.loads(row[7]) for row in rows] == [details, {}]
    assert start <= rows[0][2] <= rows[1][2] <= datetime.now(UTC)


def test_what_wrote_no_table_is_recorded_too(filled: Warehouse) -> None:
    before = contents(filled.path)

    filled.record("toy", "model", provenance=Provenance("a run", details={"steps": 3}), resample_date=MONDAY)

    after = contents(filled.path)
    *earlier, recorded = after.pop("toy.provenance")
    assert earlier == before.pop("toy.provenance")
    assert (*recorded[:2], recorded[6]) == ("model", MONDAY, None)
    assert filled.latest_details("toy", "model") == {"steps": 3}
    assert after == before


def test_latest_details_are_those_of_the_assets_last_write(warehouse: Warehouse) -> None:
    for asset, day, number in (("a", TUESDAY, 1), ("b", None, 2), ("a", MONDAY, 3), ("b", None, 4)):
        provenance = Provenance(run_id="a run", details={"number": number})
        warehouse.write("toy", asset, column(1), provenance=provenance, resample_date=day)
    warehouse.write("other", "a", column(1), provenance=Provenance("a run", details={"number": 5}))

    assert [warehouse.latest_details("toy", asset) for asset in "ab"] == [{"number": 3}, {"number": 4}]
    assert warehouse.latest_details("toy", "a", resample_date=TUESDAY) == {"number": 1}


def test_a_step_that_is_retried_is_on_record_once(warehouse: Warehouse) -> None:
    for run, day in (("first", MONDAY), ("first", MONDAY), ("first", TUESDAY), ("second", MONDAY), ("second", MONDAY)):
        warehouse.write("toy", "a", column(1, 2), provenance=Provenance(run_id=run), resample_date=day)
        warehouse.record("toy", "plots", provenance=Provenance(run_id=run))

    records = warehouse.read("toy", "provenance")
    of_a = records[records["asset"] == "a"]
    assert list(zip(of_a["run_id"], of_a["partition_key"], strict=True)) == [
        ("first", MONDAY),
        ("first", TUESDAY),
        ("second", MONDAY),
    ]
    assert records.loc[records["asset"] == "plots", "run_id"].tolist() == ["first", "second"]
    assert warehouse.read("toy", "a", resample_date=MONDAY)["x"].tolist() == [1, 2]


def test_details_of_an_asset_that_was_never_materialized_are_refused(filled: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="toy/other was never materialized"):
        filled.latest_details("toy", "other")
    with pytest.raises(WarehouseError, match="toy/other of 2020-01-01 was never materialized"):
        filled.latest_details("toy", "other", resample_date="2020-01-01")


@pytest.mark.parametrize(
    ("hold", "write"),
    [("write", True), ("read", True), ("write", False)],
    ids=["write while written", "write while read", "read while written"],
)
def test_a_file_that_is_taken_is_waited_for(
    filled: Warehouse, hold: str, write: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(warehouse_module, "TELL_AFTER_S", 0.2)
    with started(HOLD, filled.path, 600, hold) as holder, released_when_waited_for(holder):
        if write:
            filled.write("toy", "plain", column(9), provenance=RUN)
        else:
            assert filled.read("toy", "plain")["x"].tolist() == [3, 1, 2]
        assert holder.wait(timeout=10) == 0

    (told,) = caplog.messages
    assert told.startswith("waiting up to 100 s for warehouse.duckdb: lock is held in ")
    assert f"(PID {holder.pid})" in told
    stored = contents(filled.path)
    assert ("main.made_while_held" in stored) == (hold == "write")
    assert stored["toy.plain"] == ([(9,)] if write else [(3,), (1,), (2,)])


def test_readers_do_not_wait_for_each_other(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse_module, "WAIT_FOR_LOCK_S", 0.0)
    with started(HOLD, filled.path, 600, "read"):
        assert filled.read("toy", "plain")["x"].tolist() == [3, 1, 2]


def test_a_file_that_stays_taken_gives_an_error_that_says_by_whom(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse_module, "WAIT_FOR_LOCK_S", 0.3)
    before = contents(filled.path)

    with started(HOLD, filled.path, 60, "write") as holder:
        taken = rf"{filled.path} cannot be opened: .*lock is held.*PID {holder.pid}"
        start = time.monotonic()
        with pytest.raises(WarehouseError, match=taken):
            filled.write("toy", "plain", column(9), provenance=RUN)
        with pytest.raises(WarehouseError, match=taken):
            filled.read("toy", "plain")
        assert 0.6 <= time.monotonic() - start < 60

    assert contents(filled.path) == before


@pytest.mark.parametrize("folder", ["plain", "locks"])
def test_a_file_that_is_no_database_is_neither_waited_for_nor_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(warehouse_module.time, "sleep", lambda _: pytest.fail("it waits"))
    warehouse = Warehouse(DataPaths(tmp_path / folder))
    warehouse.path.parent.mkdir()
    warehouse.path.write_bytes(b"something else" * 1000)

    with pytest.raises(WarehouseError, match=r"cannot be opened: .*not a valid DuckDB"):
        warehouse.write("toy", "t", column(1), provenance=RUN)

    assert warehouse.path.read_bytes() == b"something else" * 1000


_WRITE_DAYS = """
import json, sys
from pathlib import Path
import pandas as pd
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse

root, month = sys.argv[1:]
warehouse = Warehouse(DataPaths(Path(root)))
print("ready", flush=True)
sys.stdin.readline()
for day in range(1, 7):
    for attempt in range(2):
        frame = pd.DataFrame({"x": [100 * attempt + day] * 5})
        run = Provenance(f"{month}/{attempt}")
        warehouse.write("toy", "t", frame, provenance=run, resample_date=f"2026-{month}-{day:02}")
"""


@pytest.mark.slow
def test_processes_that_write_at_the_same_time_lose_nothing(warehouse: Warehouse) -> None:
    """Both start from no file at all, and a reader is in their way."""
    root = warehouse.paths.root
    with started(_WRITE_DAYS, root, "01") as first, started(_WRITE_DAYS, root, "02") as second:
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        while first.poll() is None or second.poll() is None:
            if warehouse.path.exists():
                assert len(warehouse.read("toy", "t")) % 5 == 0
            time.sleep(0.05)
        assert first.returncode == second.returncode == 0

    stored = contents(warehouse.path)
    expected = [(date(2026, month, day), 100 + day) for month in (1, 2) for day in range(1, 7) for _ in range(5)]
    assert sorted(stored["toy.t"]) == expected
    assert sorted((row[3], row[1]) for row in stored["toy.provenance"]) == [
        (f"{month:02}/{attempt}", f"2026-{month:02}-{day:02}")
        for month in (1, 2)
        for attempt in range(2)
        for day in range(1, 7)
    ]


_DIE_WRITING = """
import sys, time
import duckdb

connection = duckdb.connect(sys.argv[1])
# By default the first rows go to the file when there are more of them than this takes.
connection.execute("SET write_buffer_row_group_count = 1")
connection.execute("BEGIN")
connection.execute("DELETE FROM toy.daily")
connection.execute("CREATE OR REPLACE TABLE toy.plain AS SELECT 0 AS x")
connection.execute("INSERT INTO toy.daily SELECT DATE '2026-01-05', hash(i) >> 1, hash(i) FROM range(500_000) t(i)")
print("ready", flush=True)
time.sleep(60)
"""


def test_a_process_killed_while_it_writes_leaves_the_last_good_state(filled: Warehouse) -> None:
    before, size = contents(filled.path), filled.path.stat().st_size

    with started(_DIE_WRITING, filled.path) as process:
        process.kill()
        process.wait()

    assert filled.path.stat().st_size > size
    assert contents(filled.path) == before
    filled.write("toy", "plain", column(9), provenance=RUN)
    assert filled.read("toy", "plain")["x"].tolist() == [9]
    assert contents(filled.path)["toy.daily"] == before["toy.daily"]


_DIE_COMMITTED = """
import sys, time
import duckdb

connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO toy.plain VALUES (4)")
print("ready", flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_has_committed_is_there(filled: Warehouse) -> None:
    with started(_DIE_COMMITTED, filled.path) as process:
        process.kill()
        process.wait()

    assert filled.path.with_name(f"{filled.path.name}.wal").stat().st_size > 0
    assert filled.read("toy", "plain")["x"].tolist() == [3, 1, 2, 4]


@pytest.mark.parametrize(("table", "partition"), [("plain", None), ("daily", MONDAY)])
def test_a_file_that_cannot_grow_keeps_what_it_has(filled: Warehouse, table: str, partition: str | None) -> None:
    before, size = contents(filled.path), filled.path.stat().st_size
    x = np.random.default_rng(1).integers(0, 2**62, 150_000)
    large = pd.DataFrame({"x": x, "y": ["a"] * len(x)})

    for limit, frame in ((0, large.head(1)), (0, large), (size, large)):
        with files_limited_to(limit), pytest.raises(WarehouseError, match=r"Nothing was changed"):
            filled.write("toy", table, frame, provenance=RUN, resample_date=partition)
        assert contents(filled.path) == before

    filled.write("toy", table, large, provenance=RUN, resample_date=partition)
    assert len(filled.read("toy", table, resample_date=partition)) == len(large)


_FILL = (
    BALLAST
    + """
import json, sys
import numpy as np
import pandas as pd
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse, WarehouseError

root = sys.argv[1]
warehouse = Warehouse(DataPaths(Path(root)))
attempts = []
# Few rows go through the write-ahead log, many straight into the file.
for table, rows, partition in (("plain", 10_000, None), ("daily", 150_000, "2026-01-05")):
    good = pd.DataFrame({"x": range(10)})
    warehouse.write("toy", table, good, provenance=Provenance("first"), resample_date=partition)
    frame = pd.DataFrame({"x": np.random.default_rng(1).integers(0, 2**62, rows)})
    for free in (0, 600, 6000):
        leave_free(root, free)
        error = None
        try:
            warehouse.write("toy", table, frame, provenance=Provenance(f"second {free}"), resample_date=partition)
            good = frame
        except WarehouseError as caught:
            error = str(caught)
        intact = warehouse.read("toy", table, resample_date=partition).equals(good)
        recorded = warehouse.read("toy", "provenance").query("asset == @table")["run_id"].tolist()
        attempts.append([table, free, error, intact, recorded])
    leave_free(root, 6000)
print(json.dumps(attempts))
"""
)


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    attempts = result_of(_FILL, tmp_path, prefix=on_a_small_disk(tmp_path, "16m"))

    written: dict[str, list[str]] = {"plain": ["first"], "daily": ["first"]}
    for table, free, error, intact, recorded in attempts:
        if error is None:
            written[table].append(f"second {free}")
        else:
            assert "No space left on device" in error, (table, free)
            assert "Nothing was changed" in error, (table, free)
        assert intact, (table, free)
        assert recorded == written[table], (table, free)
    outcomes = {(table, free): error is None for table, free, error, *_ in attempts}
    for table in written:
        assert not outcomes[table, 0]
        assert outcomes[table, 6000]


_TRY_TO_WRITE = """
import json, os, sys
from pathlib import Path
import pandas as pd
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse, WarehouseError

warehouse = Warehouse(DataPaths(Path(sys.argv[1])))
attempts = []
for mode in (0o444, 0o644):
    os.chmod(warehouse.path, mode)
    error = None
    try:
        warehouse.write("toy", "plain", pd.DataFrame({"x": [9]}), provenance=Provenance("a run"))
    except WarehouseError as caught:
        error = str(caught)
    attempts.append([error, warehouse.read("toy", "plain")["x"].tolist()])
print(json.dumps(attempts))
"""


def test_a_folder_that_may_not_be_written_to_can_still_be_read(filled: Warehouse) -> None:
    before = contents(filled.path)

    with read_only(filled.path.parent):
        attempts = result_of(_TRY_TO_WRITE, filled.paths.root, prefix=bound_by_permissions())

    (whole_error, stored), (log_error, stored_again) = attempts
    assert f'{filled.path} cannot be opened: IO Error: Cannot open file "{filled.path}": Permission' in whole_error
    # The file itself may be written to this time, but not the log that has to be made beside it.
    assert f'"{filled.path}.wal": Permission denied' in log_error
    assert "Nothing was changed" in log_error
    assert stored == stored_again == [3, 1, 2]
    assert contents(filled.path) == before


def test_no_connection_outlives_a_failed_write(filled: Warehouse) -> None:
    with pytest.raises(WarehouseError):
        filled.write("toy", "daily", column(1), provenance=RUN, resample_date=MONDAY)

    # In one process DuckDB refuses two connections to a file that differ in this.
    with duckdb.connect(str(filled.path), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM toy.daily").fetchone() == (3,)


def test_a_day_is_deleted_from_all_tables_and_the_record(filled: Warehouse) -> None:
    hostile = HOSTILE[0]
    filled.write("toy", hostile, column(1, 2), provenance=RUN, resample_date=MONDAY)
    filled.write("other", "daily", column(1), provenance=RUN, resample_date=MONDAY)

    assert filled.delete_sample("toy", MONDAY) == 2 + 2 + 2  # and the record of either

    stored = contents(filled.path)
    assert [row[0] for row in stored["toy.daily"]] == [date.fromisoformat(TUESDAY)]
    assert stored[f"toy.{hostile}"] == []
    assert [row[:2] for row in stored["toy.provenance"]] == [("plain", None), ("daily", TUESDAY)]
    assert len(stored["toy.plain"]) == 3
    assert len(stored["other.daily"]) == 1
    assert filled.delete_sample("toy", MONDAY) == 0
    assert filled.delete_sample(hostile, MONDAY) == 0


def test_deleting_from_a_warehouse_that_is_not_there_makes_none(warehouse: Warehouse) -> None:
    assert warehouse.delete_sample("toy", MONDAY) == 0
    assert not warehouse.path.exists()
