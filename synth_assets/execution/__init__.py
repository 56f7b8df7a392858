"""Where calls are made: in processes of this machine, or as tasks of a Ray cluster. Results do not depend on it."""

from synth_assets.execution.setting import LOCAL, AnyExecution, Completed, Execution, LocalExecution, RayExecution

__all__ = ["LOCAL", "AnyExecution", "Completed", "Execution", "LocalExecution", "RayExecution"]
