"""`published`: the consumers' DuckDB file, replaced whole once a sample has been judged."""

import dagster as dg

from synth_assets.assets import encoded_split, fidelity, privacy, raw, regression_comparison, report, synthetic_sample
from synth_assets.assets.common import Table
from synth_assets.resources.failures import failing_clearly
from synth_assets.resources.publisher import Publisher
from synth_assets.resources.warehouse import Provenance, Warehouse

NAME = "published"


def build(table: Table) -> list[dg.AssetsDefinition]:
    """Build the asset.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    list
        The asset.
    """
    inputs = (raw, encoded_split, synthetic_sample, fidelity, privacy, regression_comparison, report)

    @dg.asset(
        **table.asset(
            NAME,
            code_version="3",
            kinds={"python", "duckdb"},
            deps=[*(table.key(module.NAME) for module in inputs), table.key(fidelity.PLOTS)],
            description="The DuckDB file for consumers: built beside the old one and put in its place by a rename.",
        )
    )
    def published(
        context: dg.AssetExecutionContext, publisher: Publisher, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        with failing_clearly():
            counts = publisher.publish()
            # Afterwards: a publication that failed is none. The file tells of every step but this one.
            warehouse.record(
                table.name,
                NAME,
                partition=context.partition_key if context.has_partition_key else None,
                provenance=Provenance(run_id=context.run.run_id, details={"path": str(publisher.path)}),
            )
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(publisher.path),
                "megabytes": round(publisher.path.stat().st_size / 1e6, 2),
                "rows": counts,
            }
        )

    return [published]
