"""The instance of several machines, on a PostgreSQL server that this test starts."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
import yaml

from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.services.databases import postgresql_server
from synth_assets_tests.world import DAY, World

CONFIG = PROJECT / "deploy" / "postgres" / "dagster.yaml"


def test_it_differs_from_that_of_one_machine_in_storage_and_launcher_alone() -> None:
    several, one = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONFIG, PROJECT / "dagster.yaml"))
    assert several.pop("storage")
    assert one.pop("run_launcher")
    assert several == one


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, str]]:
    """Start a server with a database; return what the environment says of it."""
    with postgresql_server() as server:
        yield server.dagster_variables


@pytest.mark.slow
def test_assets_with_and_without_days_run_on_it(
    server: Mapping[str, str], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CONFIG, home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        assert [type(storage).__name__ for storage in storages] == [
            "PostgresRunStorage",
            "PostgresEventLogStorage",
            "PostgresScheduleStorage",
        ]
        outcome = World(world.root, instance=instance).run("raw", "synthetic_sample")
        assert outcome.success, outcome.messages

    # As another machine sees it.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        made = instance.get_latest_materialization_event(dg.AssetKey(["abalone", "raw"]))
        assert made is not None
        assert made.run_id == run.run_id
        assert instance.get_materialized_partitions(dg.AssetKey(["abalone", "synthetic_sample"])) == {DAY}
    left = [path.name for path in home.rglob("*.db")]
    assert left == []  # nothing of it in files of this machine
