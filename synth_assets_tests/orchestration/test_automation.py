"""What starts runs by itself: the watch over the source asks cheaply, and once for each change."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from synth_assets.orchestration.assets import raw
from synth_assets.storage.paths import DataPaths
from synth_assets_tests.live.tiny_location import tiny_definitions, tiny_settings
from synth_assets_tests.world import World

RAW = dg.AssetKey(["abalone", "raw"])


class Watch:
    """The sensor, its cursor, and the instance that it asks."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.cursor: str | None = None

    def tick(self) -> dg.RunRequest | str:
        """Return the run that it asks for, or why it asks for none."""
        definitions = tiny_definitions()
        sensor = definitions.resolve_sensor_def("abalone_source")
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"paths": DataPaths(self.root)},
            repository_def=definitions.get_repository_def(),
        )
        ticked = sensor.evaluate_tick(context)
        self.cursor = ticked.cursor
        if ticked.run_requests:
            (request,) = ticked.run_requests
            return request
        assert ticked.skip_message
        return ticked.skip_message

    def materialized(self) -> None:
        """Put on record that `raw` was made from the source as it is."""
        fingerprint = tiny_settings().source.fingerprint(self.root)

        @dg.asset(key=RAW)
        def made() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={raw.SOURCE_FINGERPRINT: fingerprint})

        assert dg.materialize([made], instance=self.instance).success

    def write(self, values: str) -> None:
        (self.root / "abalone.csv").write_text(values, encoding="utf-8")


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    watch = Watch(tmp_path, dg.DagsterInstance.ephemeral())
    watch.write("one")
    return watch


def test_a_table_that_was_never_made_is_left_alone(watch: Watch) -> None:
    assert watch.tick() == "abalone/raw was never materialized: launch abalone_lineage once."


def test_a_source_that_did_not_change_starts_nothing(watch: Watch) -> None:
    watch.materialized()
    assert "has not changed since" in str(watch.tick())


def test_a_change_starts_the_lineage_of_today_once(watch: Watch) -> None:
    watch.materialized()
    watch.write("two")
    request = watch.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == datetime.now(UTC).date().isoformat()
    assert request.run_key
    assert "was requested when the source changed" in str(watch.tick())  # it runs, or it failed
    watch.materialized()
    assert "has not changed since" in str(watch.tick())


def test_a_source_that_changes_back_and_forth_is_followed(watch: Watch) -> None:
    watch.materialized()
    keys = []
    for values in ("two", "one", "two"):
        watch.write(values)
        request = watch.tick()
        assert isinstance(request, dg.RunRequest), request
        keys.append(request.run_key)
        watch.materialized()
    assert len(set(keys)) == 3


def test_a_source_that_is_gone_is_said_to_be(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.materialized()
    monkeypatch.setenv("ABALONE_CSV", str(watch.root / "nowhere.csv"))
    assert f"there is no file {watch.root / 'nowhere.csv'}" in str(watch.tick())


def test_the_day_that_is_asked_for_is_one_of_the_job(watch: Watch) -> None:
    watch.materialized()
    watch.write("two")
    request = watch.tick()
    assert isinstance(request, dg.RunRequest)
    partitions = tiny_definitions().resolve_job_def("abalone_lineage").partitions_def
    assert partitions is not None
    assert request.partition_key in partitions.get_partition_keys()


@pytest.mark.slow
def test_a_run_records_what_the_watch_compares(world: World) -> None:
    world.run("raw")
    watch = Watch(world.root, world.instance)
    assert "has not changed since" in str(watch.tick())
    pd.read_csv(world.csv).head(300).to_csv(world.csv, index=False)
    assert isinstance(watch.tick(), dg.RunRequest)
