"""A code location whose schedule ticks every minute, and changes the real table each time."""

import os
from pathlib import Path

import dagster as dg

from synth_assets_tests.faults.days import settings
from synth_assets_tests.live.tiny_location import tiny_definitions

STOP = "STOP_TICKING"
"""The environment variable that names a file: once it is there, no tick gives a run."""


@dg.definitions
def defs() -> dg.Definitions:
    raw = dg.define_asset_job("abalone_raw", dg.AssetSelection.assets(["abalone", "raw"]))
    schedule = dg.ScheduleDefinition(
        name="each_minute",
        job=raw,
        cron_schedule="* * * * *",
        should_execute=lambda _: not Path(os.environ[STOP]).exists(),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions.merge(tiny_definitions(**settings()), dg.Definitions(jobs=[raw], schedules=[schedule]))
