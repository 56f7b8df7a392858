"""The entry point: everything below `defs/`."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load what is deployed: the tables of `defs/` and the resources that they share."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
