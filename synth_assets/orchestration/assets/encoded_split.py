"""`encoded_split`: the table with labels as codes, and the split into train and holdout rows."""

import dagster as dg
import pandas as pd

from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets.common import Table, column, preview, result
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.split import ROW_ID, SPLIT, Split

NAME = "encoded_split"

MAX_CODES_RECORDED = 1000
"""Labels of a column whose codes the provenance records; the codes of more are in the order of the schema."""


def build(table: Table, split: Split) -> list[dg.AssetsDefinition]:
    """Build the asset.

    Parameters
    ----------
    table : Table
        The table.
    split : Split
        The split.

    Returns
    -------
    list
        The asset.
    """
    columns = [
        *table.raw_columns(encoded=True),
        column(SPLIT, "varchar", "'train' for rows that the model learns from, 'test' for holdout rows."),
        column(ROW_ID, "bigint", "Position of the row in the raw table, from 0."),
    ]

    name = table.schema.target and table.encoding.name_of(table.schema.column(table.schema.target))
    target = f" and the target as `{name}`" if name else ""

    @table.asset(
        NAME,
        code_version="1",
        kinds={"python", "scikitlearn", "duckdb"},
        columns=columns,
        inputs=(raw_asset.NAME,),
        description=(
            f"The raw table with labels encoded as codes{target}, split by "
            f"`train_test_split(train_size={split.train_size:g}, random_state={split.random_state})`."
        ),
    )
    def encoded_split(raw: pd.DataFrame) -> dg.MaterializeResult[pd.DataFrame]:
        with as_dagster_failure():
            membership = split.membership(len(raw), split.strata(raw, table.schema))
            encoded = table.encoding.encode(raw).iloc[membership[ROW_ID].to_numpy()].reset_index(drop=True)
            frame = pd.concat([encoded, membership], axis="columns")
        counts = frame[SPLIT].value_counts()
        codes = {
            c.name: {label: code for code, label in enumerate(c.labels)}
            for c in table.schema.columns
            if c.role == "label" and len(c.labels) <= MAX_CODES_RECORDED
        }
        return result(
            frame,
            train_rows=int(counts["train"]),
            test_rows=int(counts["test"]),
            codes=codes,
            preview=preview(frame),
        )

    return [encoded_split]
