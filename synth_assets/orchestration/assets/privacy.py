"""`privacy`: what a sample gives away of the train rows, and which of them."""

from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from synth_assets.evaluation import privacy as measures
from synth_assets.evaluation.rows import judged_rows
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets import synthetic_sample as sample_asset
from synth_assets.orchestration.assets.common import (
    Table,
    evidence_columns,
    judged_and_real,
    markdown_table,
    picture,
    result,
)
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.table import TableSchema
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "privacy"

LEAKS_SHOWN = 20
"""Of the train rows that attacks agree on, as many are named in the UI."""


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
        code_version="4",
        kinds={"python", "pandas", "duckdb"},
        columns=evidence_columns(),
        of_sample=True,
        inputs=(sample_asset.NAME, raw_asset.NAME, encoded_split_asset.NAME),
        description=(
            "Copies of train rows, distances to them, and attacks that infer who was one, beside what chance gives."
        ),
    )
    def privacy(
        context: dg.AssetExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        synthetic_sample: pd.DataFrame,
        raw: pd.DataFrame,
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        version = str(synthetic_sample["model_version"].iloc[0])
        rows, train, held_out = judged_and_real(table, synthetic_sample, raw, encoded_split)
        with as_dagster_failure():
            attacks = measures.attacks_on(rows, train, held_out, table.schema)
            found = measures.privacy_table(rows, train, held_out, table.schema, attacks=attacks)
        leaks = measures.leaked_rows(attacks, rows, train, table.schema)
        row_ids = encoded_split.loc[encoded_split["split"] == "train", "row_id"].to_numpy()
        named = measures.leak_evidence(leaks, row_ids, table.schema)
        leaks.insert(0, "row_id", row_ids[leaks.pop("row")])
        frame = pd.concat([found, named], ignore_index=True).assign(model_version=version)
        figure = _distances(
            judged_rows(rows, train),
            train,
            held_out,
            table.schema,
            title=table.sample_title(context.partition_key, version),
            source=raw_asset.source_label(warehouse, table.name),
        )
        return result(
            frame,
            **{row.metric: round(float(row.value), 4) for row in found.itertuples()},
            rows_judged=min(len(rows), len(train)),
            table=markdown_table(found),
            leaks_named=len(leaks),
            leaks=markdown_table(leaks.head(LEAKS_SHOWN)),
            **picture(figure, paths.plots(table.name, context.partition_key) / "distances.png"),
        )

    return [privacy]


def _distances(
    rows: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, *, title: str, source: str
) -> "Figure":
    from synth_assets.evaluation.figures import distance_histograms

    # As many of either: the more rows there are, the closer is the closest.
    many = min(len(train), len(held_out))
    near, other = (real.sample(many, random_state=0) for real in (train, held_out))
    pairs = ((rows, near), (rows, other), (held_out, near))
    distances = (measures.closest_distances(these, those, train, schema) for these, those in pairs)
    return distance_histograms(*distances, title=title, source=source)
