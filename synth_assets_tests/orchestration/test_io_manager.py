"""What assets find in the warehouse, and leave there, when Dagster runs them."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from synth_assets.orchestration import io_manager
from synth_assets.orchestration.assets import common
from synth_assets.orchestration.assets.common import result
from synth_assets.orchestration.io_manager import WarehouseIOManager
from synth_assets.schema.table import content_hash
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.processes import contents

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
MONDAY, TUESDAY = "2026-01-05", "2026-01-06"
FRAME = pd.DataFrame(
    {
        "text": pd.Series(["b", "a", None], dtype="str"),
        "whole": pd.Series([3, 1, 2], dtype="int64"),
        "whole or none": pd.Series([1, None, 2**60 + 1], dtype="Int64"),
        "decimal": [0.1, 0.2, float("nan")],
    }
)


class Runs:
    """Materializes assets into one warehouse, each time in a run of its own."""

    def __init__(self, warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
        self.warehouse = warehouse
        self._instance = instance

    def materialize(self, *assets: dg.AssetsDefinition, select: str, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            assets,
            selection=[dg.AssetKey(["toy", select])],
            resources={"io_manager": WarehouseIOManager(self.warehouse)},
            instance=self._instance,
            **options,
        )


@pytest.fixture
def runs(warehouse: Warehouse) -> Iterator[Runs]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Runs(warehouse, instance)


def giving(frame: pd.DataFrame, name: str = "up", **options: Any) -> dg.AssetsDefinition:
    """Make an asset that gives a frame."""

    @dg.asset(key=["toy", name], **options)
    def asset() -> pd.DataFrame:
        return frame

    return asset


def keeping(found: list[pd.DataFrame], **options: Any) -> dg.AssetsDefinition:
    """Make the asset `toy/down`, which keeps what it is given of `toy/up`, and gives the first row of it."""

    @dg.asset(key=["toy", "down"], ins={"up": dg.AssetIn(key=["toy", "up"])}, **options)
    def asset(up: pd.DataFrame) -> pd.DataFrame:
        found.append(up)
        return up.head(1)

    return asset


def provenance(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.read("toy", "provenance").to_dict("records")


def test_what_an_asset_gives_is_what_the_next_one_gets(runs: Runs) -> None:
    found: list[pd.DataFrame] = []
    up, down = giving(FRAME), keeping(found)

    runs.materialize(up, down, select="up")
    runs.materialize(up, down, select="down")

    pd.testing.assert_frame_equal(found[0], FRAME, check_exact=True)
    pd.testing.assert_frame_equal(runs.warehouse.read("toy", "up"), FRAME, check_exact=True)
    assert runs.warehouse.read("toy", "down")["whole"].tolist() == [3]


def test_each_day_is_stored_and_loaded_by_itself(runs: Runs) -> None:
    found: list[pd.DataFrame] = []

    @dg.asset(key=["toy", "up"], partitions_def=DAYS)
    def up(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame({"x": [2, 1], "of": [context.partition_key] * 2})

    down = keeping(found, partitions_def=DAYS)
    for select in ("up", "down"):
        for day in (TUESDAY, MONDAY):
            runs.materialize(up, down, select=select, partition_key=day)

    assert [frame.to_dict("list") for frame in found] == [{"x": [2, 1], "of": [day, day]} for day in (TUESDAY, MONDAY)]
    tuesday, monday = date.fromisoformat(TUESDAY), date.fromisoformat(MONDAY)
    assert contents(runs.warehouse.path)["toy.down"] == [(tuesday, 2, TUESDAY), (monday, 2, MONDAY)]
    assert [(row["asset"], row["partition_key"]) for row in provenance(runs.warehouse)] == [
        (asset, day) for asset in ("up", "down") for day in (TUESDAY, MONDAY)
    ]


def test_a_partitioned_asset_loads_all_of_one_that_is_not(runs: Runs) -> None:
    found: list[pd.DataFrame] = []
    up, down = giving(FRAME), keeping(found, partitions_def=DAYS)

    runs.materialize(up, down, select="up")
    runs.materialize(up, down, select="down", partition_key=MONDAY)

    pd.testing.assert_frame_equal(found[0], FRAME, check_exact=True)


@pytest.mark.parametrize("day", [None, MONDAY])
def test_running_again_changes_only_the_provenance(runs: Runs, day: str | None) -> None:
    up = giving(FRAME, partitions_def=DAYS if day else None)

    first = runs.materialize(up, select="up", partition_key=day)
    before = contents(runs.warehouse.path)
    second = runs.materialize(up, select="up", partition_key=day)

    after = contents(runs.warehouse.path)
    # NaN, which is unlike itself, is stored as NULL.
    assert after["toy.up"] == before["toy.up"]
    assert len(after["toy.up"]) == 3
    rows = provenance(runs.warehouse)
    assert [row["run_id"] for row in rows] == [first.run_id, second.run_id]
    assert rows[0]["data_version"] == rows[1]["data_version"]


def test_provenance_names_run_versions_and_rows(runs: Runs) -> None:
    up, bare = giving(FRAME, code_version="7"), giving(FRAME.head(2), name="bare")

    ids = {name: runs.materialize(up, bare, select=name).run_id for name in ("up", "bare")}

    fields = ("asset", "run_id", "code_version", "data_version", "row_count")
    rows = contents(runs.warehouse.path)["toy.provenance"]
    assert [dict(zip(fields, (row[0], *row[3:7]), strict=True)) for row in rows] == [
        dict(zip(fields, values, strict=True))
        for values in (
            ("up", ids["up"], "7", content_hash(FRAME), 3),
            ("bare", ids["bare"], None, content_hash(FRAME.head(2)), 2),
        )
    ]
    assert rows[0][5] == content_hash(runs.warehouse.read("toy", "up"))


def test_plain_metadata_is_kept_and_pictures_are_not(runs: Runs) -> None:
    kept = {
        "text": "ä \"quoted\" 'text'",
        "whole": 3,
        "decimal": 0.1,
        "yes": True,
        "list": [1, "a", None],
        "mapping": {"a": {"b": [1.5]}},
    }

    @dg.asset(key=["toy", "up"])
    def up() -> dg.MaterializeResult[pd.DataFrame]:
        metadata = {
            **kept,
            "path": dg.MetadataValue.path("a/b"),
            "picture": dg.MetadataValue.md("![picture](data:image/png;base64,AAAA)"),
            "columns": dg.TableSchema(columns=[dg.TableColumn("x")]),
            "nothing": None,
        }
        return dg.MaterializeResult(value=FRAME, metadata=metadata)

    runs.materialize(up, select="up")

    assert runs.warehouse.latest_details("toy", "up") == {
        **kept,
        "path": "a/b",
        "dagster/row_count": 3,
        "inputs": {},
    }
    assert isinstance(json.loads(contents(runs.warehouse.path)["toy.provenance"][0][7])["yes"], bool)


@pytest.mark.parametrize("day", [None, MONDAY])
def test_an_asset_that_fails_leaves_its_table_as_it_was(runs: Runs, day: str | None) -> None:
    partitions = DAYS if day else None
    runs.materialize(giving(FRAME, partitions_def=partitions), select="up", partition_key=day)
    before = contents(runs.warehouse.path)

    @dg.asset(key=["toy", "up"], partitions_def=partitions)
    def broken() -> pd.DataFrame:
        raise ValueError("broken")

    empty = giving(FRAME.head(0), partitions_def=partitions)
    for asset, error in ((broken, ValueError), (empty, dg.Failure)):
        with pytest.raises(error):
            runs.materialize(asset, select="up", partition_key=day)
        assert contents(runs.warehouse.path) == before


def test_a_day_with_other_columns_fails_its_run_and_changes_nothing(runs: Runs) -> None:
    runs.materialize(giving(FRAME, partitions_def=DAYS), select="up", partition_key=MONDAY)
    before = contents(runs.warehouse.path)
    other = giving(FRAME.assign(surplus=1), partitions_def=DAYS)

    result = runs.materialize(other, select="up", partition_key=TUESDAY, raise_on_error=False)

    (failure,) = result.get_step_failure_events()
    assert not result.success
    assert "surplus" in str(failure.step_failure_data.error)
    assert contents(runs.warehouse.path) == before


def test_an_asset_whose_input_is_missing_says_what_to_materialize(runs: Runs) -> None:
    found: list[pd.DataFrame] = []
    up, down = giving(FRAME, partitions_def=DAYS), keeping(found, partitions_def=DAYS)
    runs.materialize(up, down, select="up", partition_key=MONDAY)

    with pytest.raises(dg.Failure, match=rf"no toy\.up of {TUESDAY} yet: materialize toy/up first"):
        runs.materialize(up, down, select="down", partition_key=TUESDAY)

    assert found == []
    assert "toy.down" not in contents(runs.warehouse.path)


def test_the_record_names_the_rows_that_were_read(runs: Runs) -> None:
    """Not those that are stored at the end of the step: they may have been replaced meanwhile."""
    first, second = FRAME.head(1), FRAME.head(2)

    @dg.asset(key=["toy", "down"], ins={"up": dg.AssetIn(key=["toy", "up"])})
    def down(up: pd.DataFrame) -> pd.DataFrame:
        runs.materialize(giving(second), select="up")
        return up

    runs.materialize(giving(first), select="up")
    runs.materialize(giving(first), down, select="down")
    runs.materialize(giving(first), down, select="down")

    found = [json.loads(row["details"])["inputs"] for row in provenance(runs.warehouse) if row["asset"] == "down"]
    assert found == [{"up": content_hash(first)}, {"up": content_hash(second)}]


def test_a_table_is_hashed_once(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the asset that computed it; what reads it takes the version from the provenance."""
    hashed: list[int] = []

    def counted(frame: pd.DataFrame) -> str:
        hashed.append(len(frame))
        return content_hash(frame)

    for module in (common, io_manager):
        monkeypatch.setattr(module, "content_hash", counted)

    @dg.asset(key=["toy", "up"])
    def up() -> dg.MaterializeResult[pd.DataFrame]:
        return result(FRAME, source="a test")

    @dg.asset(key=["toy", "down"], ins={"up": dg.AssetIn(key=["toy", "up"])})
    def down(up: pd.DataFrame) -> dg.MaterializeResult[pd.DataFrame]:
        return result(up.head(1))

    made = runs.materialize(up, select="up")
    runs.materialize(up, down, select="down")

    assert hashed == [3, 1]
    (event,) = made.get_asset_materialization_events()
    assert event.materialization.tags["dagster/data_version"] == content_hash(FRAME)
    assert event.materialization.metadata["dagster/row_count"].value == 3
    first, second = provenance(runs.warehouse)
    assert first["data_version"] == content_hash(FRAME)
    assert json.loads(second["details"])["inputs"] == {"up": content_hash(FRAME)}


def test_a_table_may_be_loaded_outside_of_a_run(runs: Runs) -> None:
    up = giving(FRAME)
    runs.materialize(up, select="up")
    manager = WarehouseIOManager(runs.warehouse)
    definitions = dg.Definitions(assets=[up], resources={"io_manager": manager})
    found = definitions.load_asset_value(["toy", "up"])
    pd.testing.assert_frame_equal(found, FRAME, check_exact=True)
