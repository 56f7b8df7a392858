"""The Dagster entry point: all tables of `defs/`, the resources that they share, and how their steps are executed."""

from pathlib import Path

import dagster as dg

from synth_assets.orchestration.executor import step_executor
from synth_assets.orchestration.resources import shared_resources


@dg.definitions
def defs() -> dg.Definitions:
    """Load the tables of `defs/`, with their shared resources and the executor."""
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(resources=shared_resources(), executor=step_executor),
    )
