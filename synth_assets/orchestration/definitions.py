"""The Dagster entry point: all tables of `defs/`, the resources that they share, and how their steps are executed."""

from pathlib import Path

import dagster as dg

from synth_assets.orchestration.executor import step_executor
from synth_assets.orchestration.loading import load_tables
from synth_assets.orchestration.resources import shared_resources


@dg.definitions
def defs() -> dg.Definitions:
    """Load the tables of `defs/`, with their shared resources and the executor."""
    shared = dg.Definitions(resources=shared_resources(), executor=step_executor)
    return load_tables(Path(__file__).parent, shared)
