"""`fidelity` and `fidelity_plots`: metrics and figures of the similarity of a sample to real rows."""

from collections.abc import Sequence
from dataclasses import asdict

import dagster as dg
import pandas as pd

from synth_assets.evaluation.evaluate import NOT_COMPUTED, fidelity_results
from synth_assets.evaluation.report import describe_columns
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
from synth_assets.schema.constraints import Constraint
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse

NAME, PLOTS = "fidelity", "fidelity_plots"

COLUMNS = "columns"
"""Key of the provenance of the figures: what the report says of each column."""

_SAMPLE_AND_SPLIT = (sample_asset.NAME, raw_asset.NAME, encoded_split_asset.NAME)


def build(
    table: Table, constraints: Sequence[Constraint], *, execution: Execution = LOCAL
) -> list[dg.AssetsDefinition]:
    """Build the assets.

    Parameters
    ----------
    table : Table
        The table.
    constraints : sequence of Constraint
        Conditions that valid rows satisfy.
    execution : Execution
        Where the metrics of a long table are computed.

    Returns
    -------
    list
        The two assets.
    """
    return [_fidelity(table, constraints, execution), _plots(table)]


def _fidelity(table: Table, constraints: Sequence[Constraint], execution: Execution) -> dg.AssetsDefinition:
    """Build the asset of the metrics."""

    @table.asset(
        NAME,
        code_version="5",
        kinds={"python", "scikitlearn", "duckdb"},
        columns=result_columns(),
        of_sample=True,
        inputs=_SAMPLE_AND_SPLIT,
        description=(
            "Similarity of the sample to holdout rows by columns, by pairs and to classifiers, and validity of its "
            "rows, each with its reference from real rows."
        ),
    )
    def fidelity(
        context: dg.AssetExecutionContext,
        synthetic_sample: pd.DataFrame,
        raw: pd.DataFrame,
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        samples = samples_of(table, synthetic_sample, raw, encoded_split)
        with as_dagster_failure():
            found = fidelity_results(samples, constraints, log=context.log.info, execution=execution)
        whole = found[found["column_name"].isna()].set_index("metric")
        frame = found.assign(model_version=synthetic_sample["model_version"].iloc[0])
        return result(
            frame,
            **{
                f"{metric}{suffix}": round(float(row[number]), 4)
                for metric, row in whole.iterrows()
                for number, suffix in (("value", ""), ("reference", "_reference"))
            },
            rows_evaluated=len(samples.subsample),
            table=markdown_table(found),
            **{NOT_COMPUTED: found.attrs[NOT_COMPUTED]},
        )

    return fidelity


def _plots(table: Table) -> dg.AssetsDefinition:
    """Build the asset of the figures."""

    @table.asset(
        PLOTS,
        code_version="4",
        kinds={"python", "matplotlib"},
        of_sample=True,
        inputs=(*_SAMPLE_AND_SPLIT, NAME),
        description="Densities, correlations, and the pairs by which synthetic rows are detected.",
    )
    def fidelity_plots(
        context: dg.AssetExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        synthetic_sample: pd.DataFrame,
        raw: pd.DataFrame,
        encoded_split: pd.DataFrame,
        fidelity: pd.DataFrame,
    ) -> dg.MaterializeResult[None]:
        from synth_assets.evaluation import figures

        partition = context.partition_key
        folder = paths.plots(table.name, partition)
        source = raw_asset.source_label(warehouse, table.name)
        samples = samples_of(table, synthetic_sample, raw, encoded_split)
        title = table.sample_title(partition, str(synthetic_sample["model_version"].iloc[0]))
        drawn = figures.fidelity_figures(samples, fidelity, title=title, source=source)
        metadata = {
            key: value
            for name, figure in drawn.items()
            for key, value in picture(figure, folder / f"{name}.png").items()
        }
        with as_dagster_failure():
            warehouse.record(
                table.name,
                PLOTS,
                resample_date=partition,
                provenance=Provenance(
                    run_id=context.run.run_id,
                    details={
                        "folder": str(folder),
                        "source": source,
                        "figures": list(drawn),
                        COLUMNS: [asdict(column) for column in describe_columns(samples)],
                    },
                ),
            )
        return dg.MaterializeResult(metadata=metadata)

    return fidelity_plots
