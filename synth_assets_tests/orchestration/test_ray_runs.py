"""Samples of a lineage on a Ray cluster: the rows of one process, and a cancelled run that leaves no task behind."""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from synth_assets.execution import LOCAL, Execution, RayExecution
from synth_assets.orchestration.assets import synthetic_sample
from synth_assets.orchestration.assets.common import Table
from synth_assets.orchestration.days import Days
from synth_assets.orchestration.executor import step_executor
from synth_assets.orchestration.io_manager import WarehouseIOManager
from synth_assets.orchestration.settings import FreshnessSettings
from synth_assets.publishing import client
from synth_assets.schema.columns import Integer
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema
from synth_assets.storage.paths import STORAGE_VARIABLE, VARIABLE, DataPaths
from synth_assets.storage.warehouse import Parts, Provenance, Warehouse
from synth_assets.synthesizers import parts
from synth_assets.synthesizers.base import Log, SampleSettings
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.live.runs import all_ended, runs
from synth_assets_tests.live.server import dagster_dev, wait_for
from synth_assets_tests.live.tiny_location import SAMPLE_ROWS, tiny_table
from synth_assets_tests.services.databases import postgresql_server
from synth_assets_tests.stub_synthesizer import Stub
from synth_assets_tests.world import World

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

SCHEMA = TableSchema(columns=(Integer(name="legs"),), private=False)
TRAIN = pd.DataFrame({"legs": range(50)})
DAY = datetime.now(UTC).date().isoformat()
N, PART = 5500, 1000


class Slow(Stub):
    """A stub that draws a batch in minutes, and touches a file of its process until then."""

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        sign = Path(os.environ["SIGNS"]) / str(os.getpid())
        for _ in range(1200):
            sign.touch()
            time.sleep(0.1)
        yield from super()._sample_batches(
            n, batches, seed=seed, conditions=conditions, temperature=temperature, log=log
        )


class Paced(Stub):
    """A stub that draws a batch in half a second."""

    def _sample_batches(self, n: int, batches: range, **arguments: Any) -> Iterator[pd.DataFrame]:
        time.sleep(0.5)
        return super()._sample_batches(n, batches, **arguments)


def toy_assets(execution: Execution) -> list[Any]:
    """Return `synthetic_sample` of a table, its checks, and a stand for its model."""
    table = Table("toy", "team:toy", Encoding(SCHEMA, None), Days("2026-01-01", timezone="UTC"))
    settings, freshness = SampleSettings(n_samples=N), FreshnessSettings().policy()
    assets = synthetic_sample.build(table, settings, freshness=freshness, execution=execution)
    return [*assets, dg.AssetSpec(["toy", "fine_tuned_model"])]


def prepare(warehouse: Warehouse) -> None:
    """Write what the sample is drawn from."""
    warehouse.write("toy", "raw", TRAIN, provenance=None)
    warehouse.write("toy", "fine_tuned_model", pd.DataFrame({"model_version": ["v1"]}), provenance=Provenance("a run"))


def use(patch: pytest.MonkeyPatch, synthesizer: Stub) -> None:
    """Let this be the current model, and parts be small."""
    patch.setattr(ModelStore, "load", lambda *_: synthesizer)
    patch.setattr(synthetic_sample, "SHARD_ROWS", PART)
    patch.setattr(parts, "SHARD_ROWS", PART)


def resources(warehouse: Warehouse) -> dict[str, Any]:
    return {"io_manager": WarehouseIOManager(warehouse), "warehouse": warehouse, "paths": warehouse.paths}


@dg.definitions
def slow_location() -> dg.Definitions:
    """Load what the server below serves, in its processes; they end with it."""
    use(pytest.MonkeyPatch(), Slow().fit(TRAIN, SCHEMA))
    found = toy_assets(RayExecution(address=os.environ["SLOW_CLUSTER"]))
    return dg.Definitions(
        assets=[each for each in found if not isinstance(each, dg.AssetChecksDefinition)],
        asset_checks=[each for each in found if isinstance(each, dg.AssetChecksDefinition)],
        resources=resources(Warehouse(DataPaths.from_environment())),
        executor=step_executor,
    )


def test_a_sample_of_a_lineage_has_the_rows_of_one_process(
    cluster: "Cluster", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Stub().fit(TRAIN, SCHEMA))
    found = {}
    for execution in (LOCAL, RayExecution(address=cluster.address)):
        warehouse = Warehouse(DataPaths(tmp_path / execution.type))
        prepare(warehouse)
        done = dg.materialize(
            toy_assets(execution),
            partition_key=DAY,
            resources=resources(warehouse),
            instance=dg.DagsterInstance.ephemeral(),
        )
        assert done.success
        found[execution.type] = warehouse.read("toy", "synthetic_sample", resample_date=DAY)
        stored = warehouse.parts("toy", "synthetic_sample", DAY)
        assert (stored is not None) == (execution.type == "ray")
    pd.testing.assert_frame_equal(found["ray"], found["local"])


def test_machines_without_a_common_disk_draw_through_the_object_store(
    cluster: "Cluster", bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, lines = Stub().fit(TRAIN, SCHEMA), list[str]()
    use(monkeypatch, stub)
    paths = DataPaths(tmp_path, "s3://shop/our data")
    arguments, folder = {"seed": 3, "log": lines.append}, paths.samples("toy", DAY)

    def draw() -> Parts:
        execution = RayExecution(address=cluster.address)
        return synthetic_sample.draw_parts(stub, "v1", N, arguments, folder, paths, execution)

    found = draw()
    assert lines[-1].startswith(f"copied 5,500 rows from s3://shop/our data/samples/toy/{DAY}/")
    rows = pd.concat([pd.read_parquet(tmp_path / part.file) for part in found.files], ignore_index=True)
    pd.testing.assert_frame_equal(rows, stub.sample(N, seed=3))
    assert "Contents" not in bucket.list_objects_v2(Bucket="shop")
    lines.clear()
    assert (draw(), lines) == (found, [])


def test_the_whole_lineage_on_postgresql_ray_and_an_object_store(
    cluster: "Cluster", bucket: Any, placeholder_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, data, store = tmp_path / "home", tmp_path / "data", "s3://shop/data"
    for folder in (home, data):
        folder.mkdir()
    shutil.copy(PROJECT / "deploy" / "postgres" / "dagster.yaml", home)
    tiny_table(pd.read_csv(placeholder_csv)).to_csv(data / "abalone.csv", index=False)
    monkeypatch.setenv(STORAGE_VARIABLE, store)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(synthetic_sample, "SHARD_ROWS", SAMPLE_ROWS // 2)  # so that a sample is drawn in parts
    with postgresql_server() as server:
        for name, value in server.dagster_variables.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            outcome = World(data, instance=instance).run(execution={"type": "ray", "address": cluster.address})
            assert outcome.success, outcome.messages
            assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS]
    assert list(data.glob("samples/**/*.parquet"))
    shutil.rmtree(data)  # a consumer elsewhere has the object store alone
    with client.connect(store) as connection:
        assert connection.sql("SELECT count(*) FROM abalone.synthetic_latest").fetchall() == [(SAMPLE_ROWS,)]
        assert connection.sql("SELECT count(*) FROM abalone.fidelity").fetchall() > [(0,)]


def test_a_run_whose_cluster_dies_fails_with_one_message_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_assets.execution.cluster.LOST_S", 3.0)
    monkeypatch.setattr(synthetic_sample, "LARGE_SAMPLE_ROWS", PART)
    use(monkeypatch, Paced().fit(TRAIN, SCHEMA))
    warehouse = Warehouse(DataPaths(tmp_path))
    prepare(warehouse)

    def run(execution: Execution) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            toy_assets(execution),
            partition_key=DAY,
            resources=resources(warehouse),
            instance=dg.DagsterInstance.ephemeral(),
            raise_on_error=False,
        )

    def stored() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("part-*.parquet")}

    def kill_after_a_part() -> None:
        wait_for("a part", lambda: bool(stored()), seconds=120)
        doomed.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    doomed = Cluster(initialize_head=True, head_node_args=node)
    killer = Thread(target=kill_after_a_part)
    killer.start()
    failed = run(RayExecution(address=doomed.address))
    killer.join()
    assert not failed.success
    (event,) = [each for each in failed.all_events if each.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    assert re.match(r"the Ray cluster at .* was lost", str(event.step_failure_data.user_failure_data.description))
    kept = stored()
    assert run(LOCAL).success
    assert kept.items() <= stored().items()
    assert len(kept) < len(stored())


def test_a_run_that_is_cancelled_in_the_ui_ends_its_tasks_within_ten_seconds(
    cluster: "Cluster", signs: Path, tmp_path: Path
) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    prepare(Warehouse(DataPaths(data)))
    workspace = tmp_path / "workspace.yaml"
    module = {"module_name": __name__, "location_name": "slow"}
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}), encoding="utf-8")
    environment = {"DAGSTER_HOME": str(home), VARIABLE: str(data), "SLOW_CLUSTER": cluster.address}
    with dagster_dev(workspace, tmp_path, environment) as server:
        launched = server.ask(
            """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
                ... on LaunchRunSuccess { run { runId } } } }""",
            params={
                "selector": {
                    "repositoryLocationName": "slow",
                    "repositoryName": "__repository__",
                    "jobName": "__ASSET_JOB",
                    "assetSelection": [{"path": ["toy", "synthetic_sample"]}],
                },
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": DAY}]},
            },
        )
        run = launched["launchRun"]["run"]["runId"]
        wait_for("a task on each node", lambda: len(list(signs.iterdir())) == 2, seconds=180)
        cancelled = time.time()
        server.ask("mutation End($run: String!) { terminateRun(runId: $run) { __typename } }", run=run)
        time.sleep(10)
        assert max(path.stat().st_mtime for path in signs.iterdir()) < cancelled + 9  # 2.5 s on two busy cores
        wait_for("the run to end", lambda: all_ended(server, 1, partition=DAY), seconds=60)
        assert [each["status"] for each in runs(server, partition=DAY)] == ["CANCELED"]
