"""`regression_comparison`: prediction of the target by estimators trained on real rows, synthetic rows, and both."""

import dagster as dg
import pandas as pd

from synth_assets.evaluation.evaluate import compared_training_sets
from synth_assets.execution import LOCAL, Execution
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets import synthetic_sample as sample_asset
from synth_assets.orchestration.assets.common import Table, column, markdown_table, picture, result, samples_of
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

NAME = "regression_comparison"

_COLUMNS = [
    column("regressor", "varchar", "Estimator: a regressor, or a classifier if the target is categorical."),
    column("trained_on", "varchar", "Training rows: 'real', 'synthetic', or 'augmented' (both)."),
    column(
        "metric",
        "varchar",
        "Score on holdout rows: 'r2', and 'rmse' and 'mae' in the unit of the target; for a categorical "
        "target 'roc_auc', 'accuracy' and 'balanced_accuracy'.",
    ),
    column("value", "double", "Mean over the seeds; empty where the score is undefined.", nullable=True),
    column("ci_low", "double", "Lower end of the 95% bootstrap interval.", nullable=True),
    column("ci_high", "double", "Upper end of the interval.", nullable=True),
    column(
        "difference",
        "double",
        "Paired difference to the value of the real rows, for the first metric.",
        nullable=True,
    ),
    column("difference_ci_low", "double", "Lower end of the 95% bootstrap interval of the difference.", nullable=True),
    column("difference_ci_high", "double", "Upper end of the interval.", nullable=True),
    column("verdict", "varchar", "Interpretation of the difference and its interval.", nullable=True),
    column("model_version", "varchar", "Version of the model that generated the synthetic rows."),
]


def build(table: Table, *, execution: Execution = LOCAL) -> list[dg.AssetsDefinition]:
    """Build the asset, for a table with a target.

    Parameters
    ----------
    table : Table
        The table.
    execution : Execution
        Where the estimators of a long table are trained.

    Returns
    -------
    list
        The asset.
    """
    target = table.schema.target
    assert target is not None  # noqa: S101 - the component asks for it then only

    @table.asset(
        NAME,
        code_version="3",
        kinds={"python", "scikitlearn", "duckdb"},
        columns=_COLUMNS,
        of_sample=True,
        inputs=(sample_asset.NAME, raw_asset.NAME, encoded_split_asset.NAME),
        description=(
            f"Prediction of `{target}` of holdout rows by estimators trained on the real train rows, on the "
            "synthetic rows, and on both."
        ),
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
            found = compared_training_sets(samples, log=context.log.info, execution=execution)
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
        return result(
            frame,
            verdict=found.verdict,
            training_rows=len(samples.subsample),
            scores=markdown_table(found.scores),
            differences=markdown_table(found.differences),
            **picture(figure, path),
        )

    return [regression_comparison]
