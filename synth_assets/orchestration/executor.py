"""The executor: each step runs in a process of its own, forked from one that has imported the libraries already."""

import dagster as dg

PRELOADED = (
    "synth_assets.orchestration.preload",
    "synth_assets.orchestration.definitions",
)
"""Modules that the fork server imports once a run, for all steps."""

step_executor = dg.multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": list(PRELOADED)}}}, name="multiprocess_forkserver"
)
