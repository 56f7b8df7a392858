"""Two daemons on one instance: all runs end, and there is one state."""

import collections
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pandas as pd
import psutil
import pytest
import yaml
from dagster._core.storage.tags import SCHEDULED_EXECUTION_TIME_TAG

from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.faults import minutely
from synth_assets_tests.faults.record import Record
from synth_assets_tests.live.server import wait_for, with_this_checkout
from synth_assets_tests.live.tiny_location import tiny_table
from synth_assets_tests.storage.processes import contents
from synth_assets_tests.world import World

KIND = "a run of two daemons on one instance"
RUNS, RUNS_S = 4, 1200.0


def test_runs_of_two_daemons_end_in_one_state(
    record: Record, full: bool, empty_world: World, tmp_path: Path, placeholder_csv: Path
) -> None:
    if not full:
        pytest.skip("takes minutes: FAULTS=full runs it")
    world = empty_world
    tiny_table(pd.read_csv(placeholder_csv)).to_csv(world.csv, index=False)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    workspace = tmp_path / "workspace.yaml"
    module = {"module_name": minutely.__name__, "location_name": "minutely"}
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}), encoding="utf-8")
    environment = with_this_checkout(
        {
            "DAGSTER_HOME": str(home),
            "SYNTH_ASSETS_DATA": str(world.root),
            "OMP_NUM_THREADS": "1",
            minutely.STOP: str(tmp_path / "stop"),
        }
    )
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(workspace)]
    instance = dg.DagsterInstance.from_config(str(home))

    def count() -> int:
        return len(instance.get_runs())

    def ended() -> bool:
        return all(run.is_finished for run in instance.get_runs())

    with ExitStack() as stack:
        for number in (1, 2):
            log = stack.enter_context((tmp_path / f"daemon_{number}.log").open("w"))
            daemon = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
            stack.callback(_end, daemon)
        wait_for(f"{RUNS} runs", lambda: count() >= RUNS, seconds=RUNS_S)
        (tmp_path / "stop").touch()
        wait_for("the runs to end", ended, seconds=RUNS_S)

    found = instance.get_runs()
    with record.fault(KIND, count=len(found)):
        # Dagster does not support it, and says so in the daemons' logs: a tick may give two runs, and a run that both
        # take from the queue may be given up by one of them.
        ticks = collections.Counter(run.tags[SCHEDULED_EXECUTION_TIME_TAG] for run in found)
        assert max(ticks.values()) <= 2
        succeeded = {run.run_id for run in found if run.is_success}
        assert succeeded
        stored = contents(world.paths.warehouse)
        assert len(stored["abalone.raw"]) == len(world.csv.read_text().splitlines()) - 1
        written = collections.Counter(row[3] for row in stored["abalone.provenance"])
        assert succeeded <= set(written) <= {run.run_id for run in found}
        record.note(
            KIND,
            ticks=len(ticks),
            ticks_with_two_runs=sum(count == 2 for count in ticks.values()),
            runs_that_Dagster_gave_up=len(found) - len(succeeded),
        )


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    started = [psutil.Process(daemon.pid), *psutil.Process(daemon.pid).children(recursive=True)]
    daemon.terminate()
    _, alive = psutil.wait_procs(started, timeout=30)
    for each in alive:
        each.kill()
