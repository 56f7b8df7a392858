"""`fidelity` and `fidelity_plots`: how much a sample looks like the real table, in numbers and in pictures."""

import dagster as dg
import pandas as pd

from synth_assets.assets import encoded_split as encoded_split_asset
from synth_assets.assets import raw as raw_asset
from synth_assets.assets import synthetic_sample as sample_asset
from synth_assets.assets.common import Table, column, markdown_table, picture, row_count
from synth_assets.evaluation import fidelity as measures
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.warehouse import Provenance, Warehouse
from synth_assets.tables.schema import content_hash
from synth_assets.tables.split import rows_of

NAME, PLOTS = "fidelity", "fidelity_plots"

_COLUMNS = [
    column(
        "metric",
        "varchar",
        "The measure; its module says how it is made and in which direction it is better.",
    ),
    column("column_name", "varchar", "The column that was measured; empty for the whole table.", nullable=True),
    column("value", "double", "What the synthetic rows score against the held-out rows."),
    column("floor", "double", "What the real train rows score against the same held-out rows."),
    column("model_version", "varchar", "The model that wrote the rows."),
]


def build(table: Table) -> list[dg.AssetsDefinition]:
    """Build the assets.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    list
        The numbers, and the pictures.
    """
    sample_and_split = {
        "synthetic_sample": dg.AssetIn(table.key(sample_asset.NAME)),
        "encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME)),
    }

    @dg.asset(
        **table.asset(
            NAME,
            code_version="1",
            kinds={"python", "pandas", "duckdb"},
            columns=_COLUMNS,
            of_sample=True,
            ins=sample_and_split,
            description="How alike the sample's columns are to those of held-out rows, beside what real rows score.",
        )
    )
    def fidelity(synthetic_sample: pd.DataFrame, encoded_split: pd.DataFrame) -> dg.MaterializeResult[pd.DataFrame]:
        decode = table.encoding.decode
        found = measures.fidelity_table(
            synthetic_sample,
            decode(rows_of(encoded_split, "train")),
            decode(rows_of(encoded_split, "test")),
            table.schema,
        )
        whole = found[found["column_name"].isna()].set_index("metric")
        frame = found.assign(model_version=synthetic_sample["model_version"].iloc[0])
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame, partition=True),
                **{metric: round(float(row["value"]), 4) for metric, row in whole.iterrows()},
                **{f"{metric}_floor": round(float(row["floor"]), 4) for metric, row in whole.iterrows()},
                "table": markdown_table(found),
            },
        )

    @dg.asset(
        **table.asset(
            PLOTS,
            code_version="1",
            kinds={"python", "matplotlib"},
            of_sample=True,
            ins={**sample_and_split, "fidelity": dg.AssetIn(table.key(NAME))},
            description="The densities of each column and the correlations, of real rows and of the sample.",
        )
    )
    def fidelity_plots(
        context: dg.AssetExecutionContext,
        data_folder: DataFolder,
        warehouse: Warehouse,
        synthetic_sample: pd.DataFrame,
        encoded_split: pd.DataFrame,
        fidelity: pd.DataFrame,
    ) -> dg.MaterializeResult[None]:
        from synth_assets.evaluation import figures

        partition = context.partition_key
        folder = data_folder.paths.plots(table.name, partition)
        source = raw_asset.source_label(warehouse, table.name)
        held_out = table.encoding.decode(rows_of(encoded_split, "test"))
        title = f"{table.name}, sample of {partition}, model {synthetic_sample['model_version'].iloc[0]}"
        densities = figures.density_grid(held_out, synthetic_sample, table.schema, fidelity, title=title, source=source)
        correlations = figures.correlation_matrices(
            held_out, synthetic_sample, table.schema, title=title, source=source
        )
        metadata = {
            **picture(densities, folder / "densities.png"),
            **picture(correlations, folder / "correlations.png"),
        }
        warehouse.record(
            table.name,
            PLOTS,
            partition=partition,
            provenance=Provenance(run_id=context.run.run_id, details={"folder": str(folder), "source": source}),
        )
        return dg.MaterializeResult(metadata=metadata)

    return [fidelity, fidelity_plots]
