"""Samples of a lineage on a Ray cluster: the rows of one process, and a cancelled run that leaves no task behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import ray
from ray.cluster_utils import Cluster

from synth_assets.execution import LOCAL, Execution, RayExecution
from synth_assets.orchestration.assets import synthetic_sample
from synth_assets.orchestration.assets.common import Table
from synth_assets.orchestration.days import Days
from synth_assets.orchestration.io_manager import WarehouseIOManager
from synth_assets.orchestration.settings import FreshnessSettings
from synth_assets.schema.columns import Integer
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets.synthesizers import parts
from synth_assets.synthesizers.base import Log, SampleSettings
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets_tests.live.server import wait_for, with_this_checkout
from synth_assets_tests.stub_synthesizer import Stub

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which tasks of `Slow` touch files."""
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def cluster(signs: Path) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("SIGNS", str(signs))  # the workers inherit it
        node = {"num_cpus": 1, "object_store_memory": 80_000_000}
        found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        found.add_node(**node)
        yield found
        ray.shutdown()
        found.shutdown()


def materialize(root: Path, synthesizer: Stub, execution: Execution) -> dg.ExecuteInProcessResult:
    """Materialize `synthetic_sample` of a table in a data folder, whose current model is this one."""
    table = Table("toy", "team:toy", Encoding(SCHEMA, None), Days("2026-01-01", timezone="UTC"))
    settings, freshness = SampleSettings(n_samples=N), FreshnessSettings().policy()
    assets = synthetic_sample.build(table, settings, freshness=freshness, execution=execution)
    warehouse = Warehouse(DataPaths(root))
    warehouse.write("toy", "raw", TRAIN, provenance=None)
    warehouse.write("toy", "fine_tuned_model", pd.DataFrame({"model_version": ["v1"]}), provenance=Provenance("a run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelStore, "load", lambda *_: synthesizer)
        patch.setattr(synthetic_sample, "SHARD_ROWS", PART)
        patch.setattr(parts, "SHARD_ROWS", PART)
        return dg.materialize(
            [*assets, dg.AssetSpec(["toy", "fine_tuned_model"])],
            partition_key=DAY,
            resources={
                "io_manager": WarehouseIOManager(warehouse),
                "warehouse": warehouse,
                "paths": warehouse.paths,
            },
            instance=dg.DagsterInstance.ephemeral(),
        )


def test_a_sample_of_a_lineage_has_the_rows_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    found = {}
    stub = Stub().fit(TRAIN, SCHEMA)
    for execution in (LOCAL, RayExecution(address=cluster.address)):
        root = tmp_path / execution.type
        assert materialize(root, stub, execution).success
        warehouse = Warehouse(DataPaths(root))
        found[execution.type] = warehouse.read("toy", "synthetic_sample", resample_date=DAY)
        stored = warehouse.parts("toy", "synthetic_sample", DAY)
        assert (stored is not None) == (execution.type == "ray")
    pd.testing.assert_frame_equal(found["ray"], found["local"])


def test_a_cancelled_run_ends_its_tasks_within_ten_seconds(cluster: Cluster, signs: Path, tmp_path: Path) -> None:
    call = f"from {__name__} import run_slowly; run_slowly({str(tmp_path)!r}, {cluster.address!r})"
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-c", call], env=with_this_checkout({}), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for("two tasks", lambda: len(list(signs.iterdir())) == 2 or run.poll() is not None, seconds=120)
        assert run.poll() is None, (tmp_path / "log").read_text()
        run.send_signal(signal.SIGINT)  # as Dagster cancels a run
        cancelled = time.time()
        time.sleep(10)
        assert max(path.stat().st_mtime for path in signs.iterdir()) < cancelled + 9
        assert run.wait(timeout=60) != 0
    finally:
        run.kill()
    assert "DagsterExecutionInterruptedError" in (tmp_path / "log").read_text()


def run_slowly(root: str, address: str) -> None:
    """Run in a process of its own, as a run of Dagster's."""
    materialize(Path(root), Slow().fit(TRAIN, SCHEMA), RayExecution(address=address))
