"""`regression_comparison`: what synthetic rows are good for when the target is predicted, as the experiment asked."""

import dagster as dg
import pandas as pd

from synth_assets.evaluation.metrics.utility import compare_training_sets
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets import synthetic_sample as sample_asset
from synth_assets.orchestration.assets.common import Table, column, markdown_table, picture, row_count, samples_of
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.table import content_hash
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

NAME = "regression_comparison"

_COLUMNS = [
    column("regressor", "varchar", "What was trained; a classifier, where the target is a category."),
    column("trained_on", "varchar", "'real', 'synthetic', or 'augmented': both together."),
    column(
        "metric",
        "varchar",
        "On held-out rows: 'r2', and 'rmse' and 'mae' in the target's unit; for a category 'roc_auc', 'accuracy' and "
        "'balanced_accuracy'.",
    ),
    column("value", "double", "The mean over the seeds; empty where there is no such score.", nullable=True),
    column("ci_low", "double", "The lower end of the 95% bootstrap interval.", nullable=True),
    column("ci_high", "double", "Its upper end.", nullable=True),
    column(
        "difference",
        "double",
        "By how much the value is above that of the real rows, for the first metric; all of it paired.",
        nullable=True,
    ),
    column("difference_ci_low", "double", "The lower end of its 95% bootstrap interval.", nullable=True),
    column("difference_ci_high", "double", "Its upper end.", nullable=True),
    column("verdict", "varchar", "What the difference and its interval mean, in words.", nullable=True),
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
    target = table.schema.target
    assert target is not None  # noqa: S101 - the component refuses a table without one

    @dg.asset(
        **table.asset(
            NAME,
            code_version="3",
            kinds={"python", "scikitlearn", "duckdb"},
            columns=_COLUMNS,
            of_sample=True,
            ins={
                "synthetic_sample": dg.AssetIn(table.key(sample_asset.NAME)),
                "raw": dg.AssetIn(table.key(raw_asset.NAME)),
                "encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME)),
            },
            description=(
                f"Prediction of `{target}` of holdout rows by estimators trained on the real train rows, on the "
                "synthetic rows, and on both."
            ),
        )
    )
    def regression_comparison(
        context: dg.AssetExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        synthetic_sample: pd.DataFrame,
        raw: pd.DataFrame,
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from synth_assets.evaluation.figures import regression_points

        version = str(synthetic_sample["model_version"].iloc[0])
        samples = samples_of(table, synthetic_sample, raw, encoded_split)
        with as_dagster_failure():
            found = compare_training_sets(samples)
        context.log.info(found.verdict)
        frame = found.table().assign(model_version=version)
        partition = context.partition_key
        sample = f"sample of {partition}, model {version}"
        figure = regression_points(
            found.scores,
            found.differences,
            unit=table.target_unit,
            title=f"{target} of {table.name} holdout rows, {sample}",
            source=raw_asset.source_label(warehouse, table.name),
        )
        path = paths.plots(table.name, partition) / "regression_comparison.png"
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame, partition=True),
                "verdict": found.verdict,
                "training_rows": len(samples.subsample),
                "scores": markdown_table(found.scores),
                "differences": markdown_table(found.differences),
                **picture(figure, path),
            },
        )

    return [regression_comparison]
