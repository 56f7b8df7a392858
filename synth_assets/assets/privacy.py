"""`privacy`: what a sample gives away of the train rows, and which of them."""

import dagster as dg
import pandas as pd

from synth_assets.assets import encoded_split as encoded_split_asset
from synth_assets.assets import synthetic_sample as sample_asset
from synth_assets.assets.common import Table, evidence_columns, judged_and_real, markdown_table, row_count
from synth_assets.evaluation import privacy as measures
from synth_assets.resources.failures import failing_clearly
from synth_assets.tables.schema import content_hash

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

    @dg.asset(
        **table.asset(
            NAME,
            code_version="3",
            kinds={"python", "pandas", "duckdb"},
            columns=evidence_columns(),
            of_sample=True,
            ins={
                "synthetic_sample": dg.AssetIn(table.key(sample_asset.NAME)),
                "encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME)),
            },
            description=(
                "Copies of train rows, distances to them, and attacks that infer who was one, beside what chance gives."
            ),
        )
    )
    def privacy(synthetic_sample: pd.DataFrame, encoded_split: pd.DataFrame) -> dg.MaterializeResult[pd.DataFrame]:
        rows, train, held_out = judged_and_real(table, synthetic_sample, encoded_split)
        with failing_clearly():
            attacks = measures.attacks_on(rows, train, held_out, table.schema)
            found = measures.privacy_table(rows, train, held_out, table.schema, attacks=attacks)
        leaks = measures.leaked_rows(attacks, rows, train, table.schema)
        row_ids = encoded_split.loc[encoded_split["split"] == "train", "row_id"].to_numpy()
        named = measures.leak_evidence(leaks, row_ids, table.schema)
        leaks.insert(0, "row_id", row_ids[leaks.pop("row")])
        frame = pd.concat([found, named], ignore_index=True).assign(
            model_version=synthetic_sample["model_version"].iloc[0]
        )
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame, partition=True),
                **{row.metric: round(float(row.value), 4) for row in found.itertuples()},
                "rows_judged": min(len(rows), len(train)),
                "table": markdown_table(found),
                "leaks_named": len(leaks),
                "leaks": markdown_table(leaks.head(LEAKS_SHOWN)),
            },
        )

    return [privacy]
