"""Automation: the daily schedule, and the sensor of a table's source."""

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
    """Build the schedule that samples a table every day.

    Parameters
    ----------
    table : Table
        The table.
    resample : dagster job
        The job that samples, evaluates and publishes.
    hour, minute : int
        Time of day, in the time zone of the table's partitions.

    Returns
    -------
    dagster schedule
        The schedule; it is running by default.
    """
    return dg.build_schedule_from_partitioned_job(
        resample,
        name=f"{table.name}_daily",
        hour_of_day=hour,
        minute_of_hour=minute,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Sample {table.name} every day, evaluate the sample, and publish it.",
    )


def source_watch(
    table: Table, source: Source, lineage: UnresolvedAssetJobDefinition, *, every_minutes: int
) -> dg.SensorDefinition:
    """Build the sensor that runs the whole lineage, for today, when the source of a table has changed.

    A sensor, not an automation condition: it checks the source cheaply, outside of any run, and requests one run of one
    resample date. Automation conditions on assets would request all resample dates of a new model, asset by asset.

    Parameters
    ----------
    table : Table
        The table.
    source : Source
        The source of the table.
    lineage : dagster job
        The job that materializes all assets of the table.
    every_minutes : int
        Minutes between two checks.

    Returns
    -------
    dagster.SensorDefinition
        The sensor; it is running by default.
    """

    @dg.sensor(
        name=f"{table.name}_source",
        job=lineage,
        minimum_interval_seconds=60 * every_minutes,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Run the lineage of {table.name} when the fingerprint of its source has changed. If the rows are the "
            "same, the model is not trained again."
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
            return dg.SkipReason(f"the source has not changed since {table.name}/{raw.NAME} was materialized.")
        # One request a change. The key includes the run before it, since a source may change back and forth.
        request = f"{found} after run {made.run_id}"
        if context.cursor == request:
            return dg.SkipReason(
                f"a run of {lineage.name} was requested when the source changed. If it failed, correct what its "
                "message says and launch it again, or change the source."
            )
        context.update_cursor(request)
        context.log.info(f"the source of {table.name} has changed to {found}")
        return dg.RunRequest(run_key=request, partition_key=table.partitions.get_last_partition_key())

    return watch
