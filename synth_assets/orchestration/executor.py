"""The executor: each step runs in its own process, forked from one that has already imported the libraries."""

import dagster as dg

PRELOADED = (
    # What Dagster itself imports at the start of a step; a module that is missing is skipped.
    "dagster._cli",
    "dagster_dg_cli.cli",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.storage.local_compute_log_manager",
    "upath.core",
    "synth_assets.orchestration.definitions",
    "synth_assets.orchestration.preload",
)
"""Modules that the fork server imports, once a run."""

step_executor = dg.multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": list(PRELOADED)}}}, name="multiprocess_forkserver"
)
