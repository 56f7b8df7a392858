"""`published`: the publication for consumers, built from all samples that passed their gates."""

from collections.abc import Sequence

import dagster as dg

from synth_assets.orchestration.assets import (
    encoded_split,
    fidelity,
    privacy,
    raw,
    regression_comparison,
    report,
    synthetic_sample,
)
from synth_assets.orchestration.assets.common import Table
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.orchestration.io_manager import COLUMN_SCHEMA
from synth_assets.publishing.builder import PublishSpec, TableDescription
from synth_assets.publishing.publisher import Publisher
from synth_assets.publishing.retention import Retention
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets.synthesizers.base import SampleSettings

NAME = "published"

_REAL = (raw, encoded_split)
_OF_SAMPLE = (synthetic_sample, fidelity, privacy, regression_comparison, report)


def build(
    table: Table,
    assets: Sequence[dg.AssetsDefinition],
    *,
    sample: SampleSettings,
    real_rows: bool,
    retention: Retention,
    freshness: dg.FreshnessPolicy,
) -> list[dg.AssetsDefinition]:
    """Build the asset.

    Parameters
    ----------
    table : Table
        The table.
    assets : sequence of dagster.AssetsDefinition
        Its other assets; their descriptions of tables and columns are published too.
    sample : SampleSettings
        The settings of its samples.
    real_rows : bool
        Whether the real rows are published too.
    retention : Retention
        Retention of samples.
    freshness : dagster.FreshnessPolicy
        Maximum age of the publication.

    Returns
    -------
    list
        The asset.
    """
    of_sample = [module for module in _OF_SAMPLE if table.schema.target or module is not regression_comparison]
    names = [module.NAME for module in (*(_REAL if real_rows else ()), *of_sample)]
    spec = PublishSpec(table.name, table.encoding, sample, _descriptions(assets, names))

    @table.asset(
        NAME,
        code_version="4",
        kinds={"python", "duckdb", "parquet"},
        freshness_policy=freshness,
        deps=[*(table.key(module.NAME) for module in (*_REAL, *of_sample)), table.key(fidelity.PLOTS)],
        description=(
            "Publication for consumers, as one DuckDB file and as Parquet, of all samples that passed their gates. It "
            "is built beside the previous publication and replaces it atomically."
        ),
    )
    def published(
        context: dg.AssetExecutionContext,
        publisher: dg.ResourceParam[Publisher],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.MaterializeResult[None]:
        day = context.partition_key if context.has_partition_key else None
        with as_dagster_failure():
            done = publisher.publish(spec, retention=retention, resample_date=day, run_id=context.run.run_id)
            # Recorded after publishing; the published provenance covers all steps but this one.
            warehouse.record(
                table.name,
                NAME,
                resample_date=day,
                provenance=Provenance(run_id=context.run.run_id, details={"publication": done.publication.id}),
            )
        for message in (
            *done.skipped_bases,
            *(f"{day} stays unpublished: {reason}" for day, reason in done.left_out.items()),
        ):
            context.log.warning(message)
        size = done.publication.file.stat().st_size
        return dg.MaterializeResult(
            metadata={
                "publication": done.publication.id,
                "is_new": done.is_new,
                "path": dg.MetadataValue.path(publisher.path),
                "megabytes": round(size / 1e6, 2),
                "rows": {
                    name: of["rows"] for name, of in done.publication.manifest["tables"][table.name]["tables"].items()
                },
                "days": sorted(done.publication.samples(table.name)),
                "left_out": done.left_out,
                "expired": done.expired,
            }
        )

    return [published]


def _descriptions(assets: Sequence[dg.AssetsDefinition], names: Sequence[str]) -> dict[str, TableDescription]:
    specs = {spec.key.path[-1]: spec for each in assets for spec in each.specs}
    return {
        name: TableDescription(
            specs[name].description or "",
            {each.name: each.description or "" for each in specs[name].metadata[COLUMN_SCHEMA].columns},
            of_sample=specs[name].partitions_def is not None,
        )
        for name in names
    }
