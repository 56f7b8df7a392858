"""`SyntheticTable`: one YAML file describes one table's whole lineage."""

from dataclasses import dataclass

import dagster as dg
from pydantic import BaseModel

from synth_assets.orchestration import automation
from synth_assets.orchestration.assets import (
    encoded_split,
    fidelity,
    fine_tuned_model,
    privacy,
    published,
    raw,
    regression_comparison,
    report,
    synthetic_sample,
)
from synth_assets.orchestration.assets.common import Table
from synth_assets.orchestration.settings import SyntheticTableSettings


@dataclass(frozen=True)
class SyntheticTable(dg.Component):
    """A table's lineage: raw, encoded split, model, daily samples, their evaluation, and their publication.

    Parameters
    ----------
    settings : SyntheticTableSettings
        What the table's `defs.yaml` states.
    """

    settings: SyntheticTableSettings

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Name the model that a `defs.yaml` is checked against.

        Dagster's own `Resolvable` would also take templates, but says of a mistake in a nested key only that the
        whole block is wrong.
        """
        return SyntheticTableSettings

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "SyntheticTable":
        """Make the component of the checked settings."""
        if not isinstance(attributes, SyntheticTableSettings):
            raise TypeError(f"found {type(attributes).__name__}; expected the attributes of a SyntheticTable")
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the assets, their checks, the jobs of the table and what starts them."""
        settings = self.settings
        partitions = dg.DailyPartitionsDefinition(
            start_date=settings.schedule.start_date,
            timezone=settings.schedule.timezone,
            end_offset=1,  # the day itself is a partition, not only the days that are over
        )
        freshness = settings.freshness.policy()
        table = Table(settings.table, settings.owner, settings.encoding(), partitions)
        fitted_once = [
            *raw.build(table, settings.source, minimum_rows=settings.split.train_size + 1),
            *encoded_split.build(table, settings.split),
            *fine_tuned_model.build(
                table, settings.synthesizer, seed=settings.seed, checkpoints_dir=settings.checkpoints_dir
            ),
        ]
        each_day = [
            *synthetic_sample.build(table, settings.sample, freshness=freshness),
            *fidelity.build(table, settings.constraints),
            *privacy.build(table),
            *regression_comparison.build(table),
            *report.build(table, settings.table_gates(), settings.constraints),
        ]
        definitions = [*fitted_once, *each_day]
        definitions += published.build(
            table,
            [each for each in definitions if isinstance(each, dg.AssetsDefinition)],
            sample=settings.sample,
            real_rows=settings.real_rows_are_published,
            retention=settings.sample_retention(),
            freshness=freshness,
        )
        resampled = dg.AssetSelection.keys(table.key(synthetic_sample.NAME)).downstream()
        resample = dg.define_asset_job(
            f"{settings.table}_resample",
            resampled,
            partitions_def=partitions,
            description=f"A new day's sample of {settings.table} from the current model, judged and published.",
        )
        lineage = dg.define_asset_job(
            f"{settings.table}_lineage",
            dg.AssetSelection.groups(settings.table),
            partitions_def=partitions,
            description=f"Everything of {settings.table}, from its source to the published file.",
        )
        daily = automation.daily(table, resample, hour=settings.schedule.hour, minute=settings.schedule.minute)
        watch = automation.source_watch(
            table, settings.source, lineage, every_minutes=settings.schedule.source_every_minutes
        )
        return dg.Definitions(
            assets=[d for d in definitions if not isinstance(d, dg.AssetChecksDefinition)],
            asset_checks=[d for d in definitions if isinstance(d, dg.AssetChecksDefinition)],
            jobs=[lineage, resample],
            schedules=[daily],
            sensors=[watch],
        )
