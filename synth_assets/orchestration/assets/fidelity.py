"""`fidelity` and `fidelity_plots`: how much a sample looks like the real table, in numbers and in pictures."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from synth_assets.evaluation import fidelity as measures
from synth_assets.evaluation.detection import PAIR, detection_table, pairs_told_apart
from synth_assets.evaluation.metrics import EVIDENCE_COLUMNS
from synth_assets.evaluation.rows import judged_rows
from synth_assets.evaluation.validity import validity_table
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
from synth_assets.schema.constraints import Constraint
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse

NAME, PLOTS = "fidelity", "fidelity_plots"


def build(table: Table, constraints: Sequence[Constraint]) -> list[dg.AssetsDefinition]:
    """Build the assets.

    Parameters
    ----------
    table : Table
        The table.
    constraints : sequence of Constraint
        What its rows keep to.

    Returns
    -------
    list
        The numbers, and the pictures.
    """
    sample_and_split = (sample_asset.NAME, raw_asset.NAME, encoded_split_asset.NAME)

    @table.asset(
        NAME,
        code_version="3",
        kinds={"python", "scikitlearn", "duckdb"},
        columns=evidence_columns(),
        of_sample=True,
        inputs=sample_and_split,
        description=(
            "How alike the sample is to held-out rows, by columns, by pairs and to classifiers, and whether its "
            "rows could exist: each number beside what real rows score."
        ),
    )
    def fidelity(
        synthetic_sample: pd.DataFrame, raw: pd.DataFrame, encoded_split: pd.DataFrame
    ) -> dg.MaterializeResult[pd.DataFrame]:
        rows, train, held_out = judged_and_real(table, synthetic_sample, raw, encoded_split)
        with as_dagster_failure():
            found = pd.concat(
                [
                    measures.fidelity_table(rows, train, held_out, table.schema),
                    detection_table(rows, train, held_out, table.schema),
                    pairs_told_apart(rows, train, held_out, table.schema),
                    validity_table(rows, train, held_out, table.schema, constraints),
                ],
                ignore_index=True,
            )
        whole = found[found["column_name"].isna()].set_index("metric")
        frame = found.assign(model_version=synthetic_sample["model_version"].iloc[0])
        return result(
            frame,
            **{metric: round(float(row["value"]), 4) for metric, row in whole.iterrows()},
            **{f"{metric}_floor": round(float(row["floor"]), 4) for metric, row in whole.iterrows()},
            rows_judged=min(len(rows), len(train)),
            table=markdown_table(found[list(EVIDENCE_COLUMNS)]),
        )

    @table.asset(
        PLOTS,
        code_version="3",
        kinds={"python", "matplotlib"},
        of_sample=True,
        inputs=(*sample_and_split, NAME),
        description="Densities, correlations, and the pairs that give a sample away, beside those of real rows.",
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
        sample, train, held_out = judged_and_real(table, synthetic_sample, raw, encoded_split)
        rows = judged_rows(sample, train)
        title = table.sample_title(partition, str(synthetic_sample["model_version"].iloc[0]))
        told_apart = fidelity[fidelity["metric"] == PAIR]
        drawn = {
            "densities": figures.density_grid(
                rows, train, held_out, table.schema, fidelity, title=title, source=source
            ),
            "correlations": figures.correlation_matrices(held_out, rows, table.schema, title=title, source=source),
            "pairs": figures.pair_grid(rows, held_out, table.schema, told_apart, title=title, source=source),
        }
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
                provenance=Provenance(run_id=context.run.run_id, details={"folder": str(folder), "source": source}),
            )
        return dg.MaterializeResult(metadata=metadata)

    return [fidelity, fidelity_plots]
