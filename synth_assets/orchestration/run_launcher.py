"""The run launcher of `dagster.yaml`: detects runs whose process has died.

Dagster's default launcher cannot distinguish a run whose process was killed from one that is working; such a run would
block its pool until `max_runtime_seconds`. This launcher checks whether the process is alive.
"""

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus


class WatchfulRunLauncher(DefaultRunLauncher):
    """Launch runs as `dagster.DefaultRunLauncher` does, and check the health of their processes."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring calls `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Check whether the process that executes a run is alive on this machine.

        Parameters
        ----------
        run : dagster.DagsterRun
            A run that has started.

        Returns
        -------
        CheckRunHealthResult
            RUNNING if its process is alive or not yet recorded, FAILED if it has ended.
        """
        told = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        for entry in told:
            event = entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event else None
            if pid is not None:
                return _health(int(str(pid.value)), started_before=entry.timestamp)
        return CheckRunHealthResult(WorkerStatus.RUNNING, msg="the process of the run is not recorded yet")


def _health(pid: int, *, started_before: float) -> CheckRunHealthResult:
    try:
        process = psutil.Process(pid)
        # Process ids are reused: a process that started after the record is another one.
        alive = process.create_time() <= started_before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        alive = False
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, msg=f"its process {pid} is gone; launch it again to go on")
