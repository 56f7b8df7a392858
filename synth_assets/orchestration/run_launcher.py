"""The run launcher of `dagster.yaml`: notices when the process of a run is gone.

Dagster's own launcher starts runs on this machine but cannot tell a run whose process was killed from one that works
on; such a run would hold its pool until `max_runtime_seconds`. This one looks for the process.
"""

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus


class WatchfulRunLauncher(DefaultRunLauncher):
    """Launches runs as `dagster.DefaultRunLauncher` does, and answers run monitoring's question for their health."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Say that `check_run_worker_health` can be asked."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Look whether the process that executes a run is alive on this machine.

        Parameters
        ----------
        run : dagster.DagsterRun
            A run that has started.

        Returns
        -------
        CheckRunHealthResult
            RUNNING if its process is alive or has not said yet which it is, FAILED if it is gone.
        """
        told = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        for entry in told:
            event = entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event else None
            if pid is not None:
                return _health(int(str(pid.value)), started_before=entry.timestamp)
        return CheckRunHealthResult(WorkerStatus.RUNNING, msg="the run has not told its process yet")


def _health(pid: int, *, started_before: float) -> CheckRunHealthResult:
    try:
        process = psutil.Process(pid)
        # A number is given to another process in time: one that started after the run told it is not the run's.
        alive = process.create_time() <= started_before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        alive = False
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, msg=f"its process {pid} is gone; launch it again to go on")
