"""`privacy`: what a sample reveals about train rows, and which rows are leaked."""

import dagster as dg
import pandas as pd

from synth_assets.evaluation.evaluate import NOT_COMPUTED, privacy_results
from synth_assets.evaluation.metrics.attacks import leaked_rows
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets import synthetic_sample as sample_asset
from synth_assets.orchestration.assets.common import (
    Table,
    markdown_table,
    picture,
    result,
    result_columns,
    samples_of,
)
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

NAME = "privacy"

FIGURE = "distances"
"""Name of its figure, of a table with a column of labels or numbers."""

LEAKS_SHOWN = 20
"""Leaked rows that the UI lists."""


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

    @table.asset(
        NAME,
        code_version="6",
        kinds={"python", "pandas", "duckdb"},
        columns=result_columns(),
        of_sample=True,
        inputs=(sample_asset.NAME, raw_asset.NAME, encoded_split_asset.NAME),
        description=("Copies of train rows, distances to them, and membership inference attacks, with references."),
    )
    def privacy(
        context: dg.AssetExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        synthetic_sample: pd.DataFrame,
        raw: pd.DataFrame,
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from synth_assets.evaluation.figures import distance_figure

        version = str(synthetic_sample["model_version"].iloc[0])
        samples = samples_of(table, synthetic_sample, raw, encoded_split)
        row_ids = encoded_split.loc[encoded_split["split"] == "train", "row_id"].to_numpy()
        with as_dagster_failure():
            found = privacy_results(samples, row_ids, log=context.log.info)
            leaks = leaked_rows(samples)
        leaks.insert(0, "row_id", row_ids[leaks.pop("row")])
        frame = found.assign(model_version=version)
        not_computed = found.attrs[NOT_COMPUTED]
        found = found[found["column_name"].isna()]
        drawn = {}
        if table.schema.compared:  # else there is no distance
            figure = distance_figure(
                samples,
                title=table.sample_title(context.partition_key, version),
                source=raw_asset.source_label(warehouse, table.name),
            )
            drawn = picture(figure, paths.plots(table.name, context.partition_key) / f"{FIGURE}.png")
        return result(
            frame,
            **{row.metric: round(float(row.value), 4) for row in found.itertuples()},
            rows_evaluated=len(samples.subsample),
            table=markdown_table(found),
            leaks_named=len(leaks),
            leaks=markdown_table(leaks.head(LEAKS_SHOWN)),
            **{NOT_COMPUTED: not_computed},
            **drawn,
        )

    return [privacy]
