"""Run monitoring learns that the process of a run is gone, and leaves a run alone that works."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from synth_assets.orchestration.run_launcher import WatchfulRunLauncher
from synth_assets_tests.conftest import PROJECT

pytestmark = pytest.mark.slow

_RUN = """
import time
import dagster as dg

@dg.asset
def patient():
    print("working", flush=True)
    time.sleep(120)

with dg.DagsterInstance.get() as instance:
    dg.materialize([patient], instance=instance)
"""


def test_a_run_is_running_until_its_process_is_killed(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    messages = tmp_path / "messages.txt"
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance, messages.open("w") as output:
        launcher = instance.run_launcher
        assert isinstance(launcher, WatchfulRunLauncher)
        # Two processes cannot create the tables of one new instance: they exist before the other process starts.
        assert not instance.get_runs()
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN],
            env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            run = _started(instance, process, messages)
            assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
            process.send_signal(signal.SIGKILL)
            process.wait()
            health = launcher.check_run_worker_health(run)
            assert health.status == WorkerStatus.FAILED
            assert f"its process {process.pid} is gone" in str(health.msg)
        finally:
            process.kill()


def _started(instance: dg.DagsterInstance, process: subprocess.Popen[bytes], messages: Path) -> dg.DagsterRun:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
            if events:
                return run
        time.sleep(0.2)
    raise AssertionError(f"the run did not start: {messages.read_text()}")
