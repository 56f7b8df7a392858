"""A code location whose schedule ticks every minute, and makes the real table anew each time."""

import dagster as dg

from synth_assets_tests.faults.days import settings
from synth_assets_tests.live.tiny_location import tiny_definitions

SCHEDULE = "each_minute"


@dg.definitions
def defs() -> dg.Definitions:
    raw = dg.define_asset_job("abalone_raw", dg.AssetSelection.assets(["abalone", "raw"]))
    schedule = dg.ScheduleDefinition(
        name=SCHEDULE, job=raw, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    )
    return dg.Definitions.merge(tiny_definitions(**settings()), dg.Definitions(jobs=[raw], schedules=[schedule]))
