"""`report`: the verdict over a sample, and the gates that keep one that fails from being published."""

from collections.abc import Iterator, Mapping

import dagster as dg
import pandas as pd

from synth_assets.assets import fidelity as fidelity_asset
from synth_assets.assets import privacy as privacy_asset
from synth_assets.assets import regression_comparison as comparison_asset
from synth_assets.assets.common import Table, column, markdown_table, row_count
from synth_assets.evaluation.gates import Gate, judge
from synth_assets.resources.warehouse import Warehouse
from synth_assets.tables.schema import content_hash

NAME = "report"

_COLUMNS = [
    column("gate", "varchar", "What was asked about."),
    column("blocking", "boolean", "Whether a sample that fails it stays unpublished."),
    column("passed", "boolean", "Whether every number was within its limit."),
    column("said", "varchar", "The verdict in words: what was found, what was expected, what to do."),
    column("model_version", "varchar", "The model that wrote the rows."),
]


def build(table: Table, gates: Mapping[str, Gate]) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Build the asset and its checks, one a gate.

    Parameters
    ----------
    table : Table
        The table.
    gates : mapping of str to Gate
        The gates, by name.

    Returns
    -------
    list
        The asset, and its checks.
    """
    key = table.key(NAME)

    @dg.asset(
        **table.asset(
            NAME,
            code_version="1",
            kinds={"python", "pandas", "duckdb"},
            columns=_COLUMNS,
            of_sample=True,
            ins={
                module.NAME: dg.AssetIn(table.key(module.NAME))
                for module in (fidelity_asset, privacy_asset, comparison_asset)
            },
            description=(
                "Whether the sample may be published: what each gate found. A gate is a statement about how much worse "
                "than real rows a sample may be; defs.yaml states by how much."
            ),
        )
    )
    def report(
        fidelity: pd.DataFrame, privacy: pd.DataFrame, regression_comparison: pd.DataFrame
    ) -> dg.MaterializeResult[pd.DataFrame]:
        evidence = pd.concat(
            [fidelity, privacy, comparison_asset.evidence_of(regression_comparison)], ignore_index=True
        )
        verdicts = [judge(gate, evidence) for gate in gates.values()]
        frame = pd.DataFrame(
            {
                "gate": [verdict.gate.name for verdict in verdicts],
                "blocking": [verdict.gate.blocking for verdict in verdicts],
                "passed": [verdict.passed for verdict in verdicts],
                "said": [verdict.said for verdict in verdicts],
                "model_version": fidelity["model_version"].iloc[0],
            }
        )
        publishable = bool(frame.loc[frame["blocking"], "passed"].all())
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame, partition=True),
                "publishable": publishable,
                "verdicts": markdown_table(frame[["gate", "passed", "said"]]),
            },
        )

    specs = [
        dg.AssetCheckSpec(
            name, asset=key, blocking=gate.blocking, description=gate.asks, partitions_def=table.partitions
        )
        for name, gate in gates.items()
    ]

    @dg.multi_asset_check(name=f"{table.name}_{NAME}_gates", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
        verdicts = warehouse.read(table.name, NAME, partition=context.partition_key).set_index("gate")
        for selected in sorted(context.selected_asset_check_keys, key=lambda each: each.name):
            verdict = verdicts.loc[selected.name]
            yield dg.AssetCheckResult(
                check_name=selected.name,
                asset_key=key,
                passed=bool(verdict["passed"]),
                severity=dg.AssetCheckSeverity.ERROR if verdict["blocking"] else dg.AssetCheckSeverity.WARN,
                description=str(verdict["said"]),
            )

    return [report, checks]
