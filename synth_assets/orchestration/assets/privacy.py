"""`privacy`: what a sample reveals about train rows, and which rows are leaked."""

from collections.abc import Callable

import dagster as dg
import numpy as np
import pandas as pd

from synth_assets.evaluation.evaluate import LEAKED, NOT_COMPUTED, privacy_results
from synth_assets.evaluation.metrics.attacks import MOST_DRAWN, WITH_MODEL, Knowledge
from synth_assets.execution import LOCAL, Execution
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
from synth_assets.storage.warehouse import RESAMPLE_DATE, Warehouse, WarehouseError
from synth_assets.synthesizers import SYNTHESIZERS
from synth_assets.synthesizers.model_store import ModelStore

NAME = "privacy"

FIGURE = "distances"
"""Name of its figure, of a table with a column of labels or numbers."""

VERDICTS = "report"
"""The table of the gates' verdicts on earlier samples."""

LEAKS_SHOWN = 20
"""Leaked rows that the UI lists."""


def build(table: Table, *, execution: Execution = LOCAL) -> list[dg.AssetsDefinition]:
    """Build the asset.

    Parameters
    ----------
    table : Table
        The table.
    execution : Execution
        Where the metrics of a long table are computed.

    Returns
    -------
    list
        The asset.
    """

    @table.asset(
        NAME,
        code_version="7",
        kinds={"python", "pandas", "duckdb"},
        columns=result_columns(),
        of_sample=True,
        inputs=(sample_asset.NAME, raw_asset.NAME, encoded_split_asset.NAME),
        description=(
            "Copies of train rows, distances to them, and membership inference attacks with this sample, with every "
            "sample of the model, and with the model itself, with references."
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
        from synth_assets.evaluation.figures import distance_figure

        version = str(synthetic_sample["model_version"].iloc[0])
        samples = samples_of(table, synthetic_sample, raw, encoded_split)
        row_ids = encoded_split.loc[encoded_split["split"] == "train", "row_id"].to_numpy()
        with as_dagster_failure():
            store = ModelStore(paths.models(table.name))
            knowledge = Knowledge(
                _earlier(warehouse, table, context.partition_key, version), _log_likelihood(store, version)
            )
            found = privacy_results(samples, row_ids, knowledge=knowledge, log=context.log.info, execution=execution)
            if knowledge.log_likelihood is not None:
                store.record_attacks(version, _of_the_model(found))
        leaks = pd.DataFrame(found.attrs[LEAKED], columns=["row", "attacks", "agreeing_cells"])
        leaks.insert(0, "row_id", row_ids[leaks.pop("row").to_numpy(np.int64)])
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
            earlier_rows=0 if knowledge.earlier is None else len(knowledge.earlier),
            table=markdown_table(found),
            leaks_named=len(leaks),
            leaks=markdown_table(leaks.head(LEAKS_SHOWN)),
            **{NOT_COMPUTED: not_computed},
            **drawn,
        )

    return [privacy]


def _earlier(warehouse: Warehouse, table: Table, day: str, version: str) -> pd.DataFrame | None:
    """Return the rows of a model that were published before a resample date, the latest first, as many as are attacked.

    Samples that failed a gate were not published.
    """
    try:
        verdicts = warehouse.read(table.name, VERDICTS)
    except WarehouseError:
        return None  # this is the first sample
    verdicts = verdicts[(verdicts["model_version"] == version) & (verdicts[RESAMPLE_DATE] < pd.Timestamp(day))]
    passed = (verdicts["passed"] | ~verdicts["blocking"]).groupby(verdicts[RESAMPLE_DATE]).all()
    parts: list[pd.DataFrame] = []
    for each in sorted(passed.index[passed], reverse=True):
        rows = warehouse.read(table.name, sample_asset.NAME, resample_date=f"{each:%Y-%m-%d}")
        parts.append(rows.head(MOST_DRAWN - sum(map(len, parts))))
        if sum(map(len, parts)) >= MOST_DRAWN:
            break
    return (
        table.schema.select(table.schema.published).coerce(pd.concat(parts), origin="earlier samples")
        if parts
        else None
    )


def _log_likelihood(store: ModelStore, version: str) -> Callable[[pd.DataFrame], np.ndarray] | None:
    """Return the log-likelihood under a model; None if the store has it no longer, or it computes none."""
    if version not in store.versions() or not SYNTHESIZERS[store.card(version).synthesizer].supports_likelihood:
        return None
    return store.load(version).log_likelihood


def _of_the_model(found: pd.DataFrame) -> dict[str, float]:
    """Return the success of attackers who hold the model, for its card."""
    found = found[found["metric"].isin(WITH_MODEL)]
    names = found["metric"] + (", " + found["column_name"]).where(found["column_name"].notna(), "")
    return dict(zip(names, found["value"], strict=True)) if len(found) else {}
