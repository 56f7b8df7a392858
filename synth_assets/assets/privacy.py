"""`privacy`: what a sample gives away of the train rows, and the gate that keeps a leaking one from being published."""

import dagster as dg
import pandas as pd

from synth_assets.assets import encoded_split as encoded_split_asset
from synth_assets.assets import synthetic_sample as sample_asset
from synth_assets.assets.common import Table, column, markdown_table, row_count
from synth_assets.evaluation import privacy as measures
from synth_assets.resources.warehouse import Warehouse
from synth_assets.tables.schema import content_hash
from synth_assets.tables.split import rows_of

NAME = "privacy"

_COLUMNS = [
    column("metric", "varchar", "The measure; its module says how it is made. Lower is better."),
    column("column_name", "varchar", "Empty: all are of the whole table.", nullable=True),
    column("value", "double", "What the synthetic rows give away of the train rows."),
    column("floor", "double", "What held-out rows in their place score, or chance for an attack."),
    column("limit", "double", "Above this, the sample is not published."),
    column("model_version", "varchar", "The model that wrote the rows."),
]


def build(table: Table) -> list[dg.AssetsDefinition]:
    """Build the asset and its gate.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    list
        The asset, and its check.
    """
    key = table.key(NAME)

    @dg.asset(
        **table.asset(
            NAME,
            code_version="1",
            kinds={"python", "pandas", "duckdb"},
            columns=_COLUMNS,
            of_sample=True,
            ins={
                "synthetic_sample": dg.AssetIn(table.key(sample_asset.NAME)),
                "encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME)),
            },
            description="Copies of train rows and an attack that infers membership, beside what real rows score.",
        )
    )
    def privacy(synthetic_sample: pd.DataFrame, encoded_split: pd.DataFrame) -> dg.MaterializeResult[pd.DataFrame]:
        decode = table.encoding.decode
        found = measures.privacy_table(
            synthetic_sample,
            decode(rows_of(encoded_split, "train")),
            decode(rows_of(encoded_split, "test")),
            table.schema,
        )
        frame = found.assign(model_version=synthetic_sample["model_version"].iloc[0])
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame, partition=True),
                **{row.metric: round(float(row.value), 4) for row in found.itertuples()},
                "table": markdown_table(found),
            },
        )

    @dg.asset_check(
        asset=key,
        name="no_leak",
        blocking=True,
        partitions_def=table.partitions,
        description="No more copies of train rows than held-out rows have by chance, and no attack that knows them.",
    )
    def no_leak(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        found = measures.leaks(warehouse.read(table.name, NAME, partition=context.partition_key))
        said = "; ".join(found)
        return dg.AssetCheckResult(
            passed=not found,
            description=(
                f"{said}. The sample is not published: train the model for fewer epochs, or on more rows."
                if found
                else "The sample gives no more away than real rows that were held out do."
            ),
        )

    return [privacy, no_leak]
