"""`report`: the verdicts of the gates on a sample, and its HTML report."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.evaluate import LIBRARIES, NOT_COMPUTED
from synth_assets.evaluation.gates import Gate, Verdict, evaluate_gates, is_publishable, verdict_table
from synth_assets.evaluation.metrics.base import NotComputed
from synth_assets.evaluation.metrics.utility import NO_SCORE, NO_TARGET, utility_results
from synth_assets.evaluation.report import ColumnRow, Origin, Utility, report_html
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import fidelity as fidelity_asset
from synth_assets.orchestration.assets import privacy as privacy_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets import regression_comparison as comparison_asset
from synth_assets.orchestration.assets import synthetic_sample as sample_asset
from synth_assets.orchestration.assets.common import Table, column, markdown_table, picture, result
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.constraints import Constraint
from synth_assets.storage.files import atomic_write
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import RESAMPLE_DATE, Warehouse
from synth_assets.synthesizers.model_store import ModelStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "report"

_COLUMNS = [
    column("gate", "varchar", "Name of the gate."),
    column("blocking", "boolean", "Whether a sample that fails it stays unpublished."),
    column("passed", "boolean", "Whether every number is within its limit."),
    column("message", "varchar", "What was found, what was expected, what to do."),
    column("model_version", "varchar", "Version of the model that generated the rows."),
]


def build(
    table: Table, gates: Mapping[str, Gate], constraints: Sequence[Constraint]
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Build the asset and its checks, one a gate.

    Parameters
    ----------
    table : Table
        The table.
    gates : mapping of str to Gate
        The gates, by name.
    constraints : sequence of Constraint
        Conditions that valid rows satisfy.

    Returns
    -------
    list
        The asset, and its checks.
    """
    inputs = tuple(
        module.NAME
        for module in (fidelity_asset, privacy_asset, comparison_asset)
        if table.schema.target or module is not comparison_asset
    )

    @table.asset(
        NAME,
        code_version="4",
        kinds={"python", "pandas", "duckdb"},
        columns=_COLUMNS,
        of_sample=True,
        inputs=inputs,
        deps=[table.key(fidelity_asset.PLOTS)],
        description=(
            "Verdicts of the gates, which decide whether the sample is published, and an HTML report. A gate "
            "limits how much worse than real rows a sample may be; defs.yaml can state other tolerances."
        ),
    )
    def report(
        context: dg.AssetExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        **tables: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        day, model_version = context.partition_key, str(tables[fidelity_asset.NAME]["model_version"].iloc[0])
        results = _results(tables)
        verdicts = evaluate_gates(gates.values(), results)
        frame = verdict_table(verdicts).assign(model_version=model_version)
        page = paths.report(table.name, day)
        with as_dagster_failure():
            compared = tables.get(comparison_asset.NAME)
            with warehouse.kept_open():
                origin = _origin(table, warehouse, ModelStore(paths.models(table.name)), day, model_version)
                history = _history(table, warehouse, inputs, gates, day)
                stored = warehouse.latest_details(table.name, fidelity_asset.PLOTS, resample_date=day)
                utility = None if compared is None else _utility(table, warehouse, compared, day)
                not_computed = _not_computed(table, warehouse, day, results)
            drawn = _figures(table, day, verdicts, history, origin)
            plots = paths.plots(table.name, day)
            shown = [picture(figure, plots / f"{name}.png") for name, figure in drawn.items()]
            pictures = [*drawn, *stored["figures"]]
            pictures += [privacy_asset.FIGURE] if table.schema.compared else []
            pictures += [comparison_asset.NAME] if compared is not None else []
            html = report_html(
                origin,
                verdicts,
                results,
                constraints=constraints,
                utility=utility,
                pictures=_pictures(table, plots, pictures),
                columns=[ColumnRow(**each) for each in stored.get(fidelity_asset.COLUMNS, ())],
                not_computed=not_computed,
            )
            atomic_write(page, html.encode())
        return result(
            frame,
            publishable=is_publishable(verdicts),
            verdicts=markdown_table(
                frame.assign(verdict=[each.status for each in verdicts])[["gate", "verdict", "message"]]
            ),
            page=dg.MetadataValue.path(page),
            **{name: value for each in shown for name, value in each.items()},
        )

    return [report, _checks(table, gates)]


def _checks(table: Table, gates: Mapping[str, Gate]) -> dg.AssetChecksDefinition:
    """Build the checks of the asset, one a gate."""
    key = table.key(NAME)
    specs = [
        dg.AssetCheckSpec(
            name, asset=key, blocking=gate.blocking, description=gate.description, partitions_def=table.partitions
        )
        for name, gate in gates.items()
    ]

    @dg.multi_asset_check(name=f"{table.name}_{NAME}_gates", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[dg.AssetCheckResult]:
        page = dg.MetadataValue.path(paths.report(table.name, context.partition_key))
        verdicts = warehouse.read(table.name, NAME, resample_date=context.partition_key).set_index("gate")
        for selected in sorted(context.selected_asset_check_keys, key=lambda each: each.name):
            verdict = verdicts.loc[selected.name]
            if not verdict["passed"]:
                log = context.log.error if verdict["blocking"] else context.log.warning
                log(f"{table.name}: the gate {selected.name} found: {verdict['message']}")
            yield dg.AssetCheckResult(
                check_name=selected.name,
                asset_key=key,
                passed=bool(verdict["passed"]),
                severity=dg.AssetCheckSeverity.ERROR if verdict["blocking"] else dg.AssetCheckSeverity.WARN,
                description=str(verdict["message"]),
                metadata={"report": page},
            )

    return checks


def _results(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the metric results of a sample by gate."""
    compared = tables.get(comparison_asset.NAME)
    return {
        **{name: frame for name, frame in tables.items() if name != comparison_asset.NAME},
        **({} if compared is None else {"utility": utility_results(compared)}),
    }


def _figures(
    table: Table, day: str, verdicts: Sequence[Verdict], history: pd.DataFrame, origin: Origin
) -> dict[str, "Figure"]:
    """Draw the findings on a sample and, if there are earlier ones, on all samples up to it."""
    from synth_assets.evaluation import figures

    findings = pd.concat([verdict.findings for verdict in verdicts], ignore_index=True)
    title = table.sample_title(day, str(origin.model_version))
    drawn = {"metrics": figures.metric_dots(findings, title=title, source=origin.source)}
    if history[RESAMPLE_DATE].nunique() > 1:
        title = f"{table.name}, samples up to {day}"
        drawn["history"] = figures.metric_history(history, title=title, source=origin.source)
    return drawn


def _utility(table: Table, warehouse: Warehouse, compared: pd.DataFrame, day: str) -> Utility:
    """Return what models learn from a sample, with its verdict from the provenance."""
    details = warehouse.latest_details(table.name, comparison_asset.NAME, resample_date=day)
    return Utility(compared, verdict=_fact(details, "verdict", "{}"), unit=table.target_unit)


def _not_computed(
    table: Table, warehouse: Warehouse, day: str, results: Mapping[str, pd.DataFrame]
) -> list[NotComputed]:
    """Return the metrics that have no value in a sample, each with its reason."""
    found = []
    for name in (fidelity_asset.NAME, privacy_asset.NAME):
        details = warehouse.latest_details(table.name, name, resample_date=day)
        # Rows that were written by hand or by an earlier version do not say it.
        found += [NotComputed(**each) for each in details.get(NOT_COMPUTED, ())]
    if not len(results.get("utility", ())):
        found.append(NotComputed("tstr_score", None, NO_SCORE if table.schema.target else NO_TARGET))
    return found


def _history(
    table: Table, warehouse: Warehouse, names: Sequence[str], gates: Mapping[str, Gate], day: str
) -> pd.DataFrame:
    """Return the findings of the current gates in the samples up to this resample date."""
    stored = {name: dict(iter(warehouse.read(table.name, name).groupby(RESAMPLE_DATE))) for name in names}
    days = set.intersection(*(set(by_day) for by_day in stored.values()))
    return pd.concat(
        [
            verdict.findings.assign(**{RESAMPLE_DATE: each})
            for each in sorted(days)
            if each <= pd.Timestamp(day)
            for verdict in evaluate_gates(
                gates.values(), _results({name: by_day[each] for name, by_day in stored.items()})
            )
        ],
        ignore_index=True,
    )


def _pictures(table: Table, plots: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read the figures of the sample."""
    absent = [name for name in names if not (plots / f"{name}.png").exists()]
    if absent:
        assets = [fidelity_asset.PLOTS, privacy_asset.NAME]
        assets += [comparison_asset.NAME] if table.schema.target else []
        raise ForeseenError(
            f"found no {', '.join(f'{name}.png' for name in absent)} in {plots}, the folder of the figures of this "
            f"sample. Materialize {', '.join(f'{table.name}/{name}' for name in assets)} of this date, then report."
        )
    return {name: (plots / f"{name}.png").read_bytes() for name in names}


def _origin(table: Table, warehouse: Warehouse, store: ModelStore, day: str, model_version: str) -> Origin:
    """Return the origin of a sample, from the provenance."""
    raw = warehouse.latest_details(table.name, raw_asset.NAME)
    split = warehouse.latest_details(table.name, encoded_split_asset.NAME)
    sample = warehouse.latest_details(table.name, sample_asset.NAME, resample_date=day)
    card = store.card(model_version)
    conditions = [f"{name} {condition}" for name, condition in sample.get("conditions", {}).items()]
    return Origin(
        table=table.name,
        day=day,
        model_version=model_version,
        source=raw["source"],
        is_real=raw["source_kind"] != "placeholder",
        facts={
            "Synthetic rows": _fact(sample, "dagster/partition_row_count", "{:,}"),
            "Train rows": _fact(split, "train_rows", "{:,}"),
            "Holdout rows": _fact(split, "test_rows", "{:,}"),
            "Seed of the sample": _fact(sample, "seed", "{}"),
            "Temperature": _fact(sample, "temperature", "{:g}"),
            "Conditions": ", ".join(conditions) or "none",
            "Model": f"{card.synthesizer}, base {card.inputs.get('base', 'none')}, {card.parameters:,} parameters, "
            f"seed {card.inputs['seed']}, fitted {card.fitted_at}",
            "Trained with": _listed(card.inputs["libraries"]),
            "Evaluated with": _listed({name: version_of(name) for name in LIBRARIES}),
        },
    )


def _fact(details: Mapping[str, Any], name: str, form: str) -> str:
    # Rows that were written by hand or by an earlier version have fewer details.
    return form.format(details[name]) if name in details else "not on record"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
