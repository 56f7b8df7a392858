"""What starts runs by itself: the daily schedule, and the watch over a table's source."""

import dagster as dg
from dagster._core.definitions.partitions.partitioned_schedule import UnresolvedPartitionedAssetScheduleDefinition
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from synth_assets.errors import ForeseenError
from synth_assets.orchestration.assets import raw
from synth_assets.orchestration.assets.common import Table
from synth_assets.sources import Source
from synth_assets.storage.paths import DataPaths


def daily(
    table: Table, resample: UnresolvedAssetJobDefinition, *, hour: int, minute: int
) -> UnresolvedPartitionedAssetScheduleDefinition | dg.ScheduleDefinition:
    """Build the schedule that samples a table anew each day.

    Parameters
    ----------
    table : Table
        The table.
    resample : dagster job
        Makes a day's sample and publishes it.
    hour, minute : int
        When, in the time zone of the table's partitions.

    Returns
    -------
    dagster schedule
        It runs unless it is switched off.
    """
    return dg.build_schedule_from_partitioned_job(
        resample,
        name=f"{table.name}_daily",
        hour_of_day=hour,
        minute_of_hour=minute,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Samples {table.name} anew each day.",
    )


def source_watch(
    table: Table, source: Source, lineage: UnresolvedAssetJobDefinition, *, every_minutes: int
) -> dg.SensorDefinition:
    """Build the sensor that runs the whole lineage, for today, when a table's source has changed.

    A sensor and no automation condition: it asks outside of any run, for next to nothing, and what follows is one run
    of one day in the order of the lineage, whereas conditions on assets would ask for all days of a new model's
    samples, each asset by itself.

    Parameters
    ----------
    table : Table
        The table.
    source : Source
        Where the table comes from.
    lineage : dagster job
        Makes everything of the table.
    every_minutes : int
        How often it asks.

    Returns
    -------
    dagster.SensorDefinition
        The sensor; it runs unless it is switched off.
    """

    @dg.sensor(
        name=f"{table.name}_source",
        job=lineage,
        minimum_interval_seconds=60 * every_minutes,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Runs the lineage of {table.name} when its source has changed. A file is hashed; OpenML is asked for the "
            "checksum of its data set. The same rows in other bytes give the same model, which is not trained again."
        ),
    )
    def watch(context: dg.SensorEvaluationContext, paths: dg.ResourceParam[DataPaths]) -> dg.RunRequest | dg.SkipReason:
        made = context.instance.get_latest_materialization_event(table.key(raw.NAME))
        if made is None or made.asset_materialization is None:
            return dg.SkipReason(f"{table.name}/{raw.NAME} was never materialized: launch {lineage.name} once.")
        try:
            found = source.fingerprint(paths.root)
        except ForeseenError as error:
            return dg.SkipReason(str(error))
        known = made.asset_materialization.metadata.get(raw.SOURCE_FINGERPRINT)
        if known is not None and known.value == found:
            return dg.SkipReason(f"the source is as it was when {table.name}/{raw.NAME} was materialized.")
        # One request for a change. It names the run that it follows: a source may change back, and forth again.
        request = f"{found} after run {made.run_id}"
        if context.cursor == request:
            return dg.SkipReason(
                f"a run of {lineage.name} was asked for when the source changed. If it failed, mend what it says and "
                "launch it again, or change the source."
            )
        context.update_cursor(request)
        context.log.info(f"the source of {table.name} has changed to {found}")
        return dg.RunRequest(run_key=request, partition_key=table.partitions.get_last_partition_key())

    return watch
