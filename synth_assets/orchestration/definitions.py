"""The Dagster entry point: every table below `defs/`, and the resources that they share."""

from pathlib import Path

import dagster as dg

from synth_assets.orchestration.resources import shared_resources


@dg.definitions
def defs() -> dg.Definitions:
    """Load the tables of `defs/` and their shared resources."""
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(resources=shared_resources()),
    )
