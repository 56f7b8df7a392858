"""`SyntheticTable`: the component that builds the lineage of a table from one YAML file."""

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
from synth_assets.orchestration.days import Days
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.lock import SchemaLock


@dataclass(frozen=True)
class SyntheticTable(dg.Component):
    """The lineage of a table: raw rows, encoded split, model, daily samples, their evaluation and their publication.

    Parameters
    ----------
    settings : SyntheticTableSettings
        The settings of the table, as its `defs.yaml` states them.
    inferred : tuple of str
        The columns that were inferred from the source.
    left_out : tuple of str
        The columns of the source that were known when the others were inferred, and are no part of the table.
    """

    settings: SyntheticTableSettings
    inferred: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the pydantic model of a `defs.yaml`.

        Dagster's `Resolvable` would also allow templates, but its message for a mistake in a nested key only says that
        the whole block is wrong.
        """
        return SyntheticTableSettings

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "SyntheticTable":
        """Create the component from validated settings."""
        if not isinstance(attributes, SyntheticTableSettings):
            raise TypeError(f"found {type(attributes).__name__}; expected the attributes of a SyntheticTable")
        folder = context.path if context.path.is_dir() else context.path.parent
        if not attributes.is_inferred:
            return cls(attributes)
        lock = SchemaLock.read(folder)
        stated = {column.name for column in attributes.override}
        inferred = tuple(column.name for column in lock.columns if column.name not in stated)
        return cls(attributes.resolved(folder), inferred, tuple(lock.left_out))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the assets, checks, jobs, schedule and sensor of the table."""
        settings = self.settings
        partitions = Days(settings.schedule.start_date, timezone=settings.schedule.timezone)
        freshness = settings.freshness.policy()
        table = Table(settings.table, settings.owner, settings.encoding(), partitions, self.inferred)
        fitted_once = [
            *raw.build(
                table,
                settings.source,
                minimum_rows=settings.split.minimum_rows,
                max_missing_share=settings.max_missing_share,
                known_columns=(*table.schema.names, *self.left_out) if self.inferred else None,
            ),
            *encoded_split.build(table, settings.split),
            *fine_tuned_model.build(
                table,
                settings.synthesizer,
                seed=settings.seed,
                checkpoints_dir=settings.checkpoints_dir,
                execution=settings.execution,
            ),
        ]
        each_day = [
            *synthetic_sample.build(table, settings.sample, freshness=freshness, execution=settings.execution),
            *fidelity.build(table, settings.constraints, execution=settings.execution),
            *privacy.build(table, execution=settings.execution),
            *(regression_comparison.build(table, execution=settings.execution) if table.schema.target else ()),
            *report.build(table, settings.gates(), settings.constraints),
        ]
        definitions = [*fitted_once, *each_day]
        definitions += published.build(
            table,
            [each for each in definitions if isinstance(each, dg.AssetsDefinition)],
            sample=settings.sample,
            real_rows=settings.real_rows_are_published,
            retention=settings.retention,
            freshness=freshness,
        )
        resampled = dg.AssetSelection.keys(table.key(synthetic_sample.NAME)).downstream()
        resample = dg.define_asset_job(
            f"{settings.table}_resample",
            resampled,
            partitions_def=partitions,
            description=f"Sample {settings.table} from the current model, evaluate the sample, and publish it.",
        )
        lineage = dg.define_asset_job(
            f"{settings.table}_lineage",
            dg.AssetSelection.groups(settings.table),
            partitions_def=partitions,
            description=f"Materialize all assets of {settings.table}, from its source to the publication.",
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
