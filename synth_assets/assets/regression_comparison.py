"""`regression_comparison`: whether synthetic rows help to predict the target, which the experiment asked."""

import dagster as dg
import pandas as pd

from synth_assets.assets import encoded_split as encoded_split_asset
from synth_assets.assets import raw as raw_asset
from synth_assets.assets import synthetic_sample as sample_asset
from synth_assets.assets.common import Table, column, markdown_table, picture, row_count
from synth_assets.evaluation.floors import Floor
from synth_assets.evaluation.metrics import evidence
from synth_assets.evaluation.utility import AUGMENTED, compare_regressions
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.warehouse import Warehouse
from synth_assets.tables.schema import content_hash
from synth_assets.tables.split import rows_of

NAME = "regression_comparison"

_COLUMNS = [
    column("regressor", "varchar", "What was trained."),
    column("trained_on", "varchar", "'real', 'synthetic', or 'augmented': both together."),
    column("metric", "varchar", "'r2', or 'rmse' and 'mae' in the target's unit; on held-out rows."),
    column("value", "double", "The mean over the regressor's seeds."),
    column("ci_low", "double", "The lower end of the 95% bootstrap interval."),
    column("ci_high", "double", "Its upper end."),
    column("model_version", "varchar", "The model that wrote the synthetic rows."),
]


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
            code_version="1",
            kinds={"python", "scikitlearn", "duckdb"},
            columns=_COLUMNS,
            of_sample=True,
            ins={
                "synthetic_sample": dg.AssetIn(table.key(sample_asset.NAME)),
                "encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME)),
            },
            description=(
                f"Regressions of `{table.schema.target_renamed}` trained on the real train rows, on the synthetic "
                "rows, and on both, scored on the held-out rows: does augmentation help?"
            ),
        )
    )
    def regression_comparison(
        context: dg.AssetExecutionContext,
        data_folder: DataFolder,
        warehouse: Warehouse,
        synthetic_sample: pd.DataFrame,
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from synth_assets.evaluation.figures import regression_points

        version = str(synthetic_sample["model_version"].iloc[0])
        found = compare_regressions(
            rows_of(encoded_split, "train"),
            table.encoding.encode(synthetic_sample[table.schema.names]),
            rows_of(encoded_split, "test"),
            target=table.schema.target_renamed,
            categories=[c.name for c in table.schema.columns if c.kind == "category"],
        )
        context.log.info(found.verdict)
        frame = found.scores.assign(model_version=version)
        partition = context.partition_key
        sample = f"sample of {partition}, model {version}"
        figure = regression_points(
            found.scores,
            found.gains.assign(trained_on=AUGMENTED, metric="r2"),
            unit=table.schema.column(table.schema.target).unit or "in the target's unit",
            title=f"{table.schema.target_renamed} of held-out {table.name} rows, {sample}",
            source=raw_asset.source_label(warehouse, table.name),
        )
        path = data_folder.paths.plots(table.name, partition) / "regression_comparison.png"
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame, partition=True),
                "verdict": found.verdict,
                "scores": markdown_table(found.scores),
                "augmentation_gain": markdown_table(found.gains),
                **picture(figure, path),
            },
        )

    return [regression_comparison]


def evidence_of(comparison: pd.DataFrame) -> pd.DataFrame:
    """Give a stored comparison as evidence: R2 trained on synthetic rows, beside R2 trained on real ones."""
    r2 = comparison[comparison["metric"] == "r2"].set_index(["regressor", "trained_on"])
    rows = []
    for regressor in r2.index.unique("regressor"):
        synthetic, real = (r2.loc[(regressor, trained_on)] for trained_on in ("synthetic", "real"))
        floor = Floor(real["value"], real["ci_low"], real["ci_high"])
        interval = synthetic["ci_low"], synthetic["ci_high"]
        rows.append(evidence("tstr_score", regressor, synthetic["value"], floor, interval))
    return pd.DataFrame(rows)
