"""`raw`: the table as its source gives it, checked, with its provenance."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pandas as pd

from synth_assets.assets.common import Table, failing_clearly, preview, row_count
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.warehouse import Warehouse
from synth_assets.tables.schema import content_hash
from synth_assets.tables.sources import Source

NAME = "raw"


def build(
    table: Table, source_in: Callable[[Path], Source], *, minimum_rows: int
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Build the asset and its checks.

    Parameters
    ----------
    table : Table
        The table.
    source_in : callable
        Gives the table's source, for a data folder.
    minimum_rows : int
        The fewest rows that the split can be made of.

    Returns
    -------
    list
        The asset, and its checks.
    """

    @dg.asset(
        **table.asset(
            NAME,
            code_version="1",
            kinds={"python", "pandas", "duckdb"},
            columns=table.raw_columns(),
            description=f"The real `{table.name}` table as its source gives it: a file, OpenML, or the stand-in.",
        )
    )
    def raw(context: dg.AssetExecutionContext, data_folder: DataFolder) -> dg.MaterializeResult[pd.DataFrame]:
        with failing_clearly():
            loaded = source_in(data_folder.paths.root).load()
            frame = table.schema.conform(loaded.frame, origin=loaded.label)
        if loaded.kind == "stand_in":
            context.log.warning(f"{table.name}: these rows are no real data but the {loaded.label}.")
        ignored = [str(name) for name in loaded.frame.columns if name not in table.schema.names]
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(content_hash(frame)),
            metadata={
                **row_count(frame),
                "source": loaded.label,
                "source_kind": loaded.kind,
                "ignored_columns": ignored,
                "preview": preview(frame),
            },
        )

    return [raw, _checks(table, minimum_rows)]


def source_label(warehouse: Warehouse, table: str) -> str:
    """Give where the stored raw table came from, as it is written on plots."""
    return str(warehouse.latest_details(table, NAME)["source"])


def _checks(table: Table, minimum_rows: int) -> dg.AssetChecksDefinition:
    key = table.key(NAME)
    blocking = {
        "columns": "The stored table has the declared columns, in order.",
        "types": "Each column has its declared type.",
        "row_count": f"There are at least {minimum_rows:,} rows, so that some are held out.",
        "no_missing_values": "No cell is empty.",
        "ranges": "Each value is one of its column's labels, or within its column's limits.",
    }
    specs = [
        dg.AssetCheckSpec(name, asset=key, description=description, blocking=True)
        for name, description in blocking.items()
    ]
    specs.append(
        dg.AssetCheckSpec("is_real", asset=key, description="The rows are real ones, not those of the stand-in.")
    )

    # The UI runs checks by themselves only where they can be run one by one.
    @dg.multi_asset_check(name=f"{table.name}_{NAME}_checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
        for found in evaluate(warehouse):
            if dg.AssetCheckKey(key, str(found.check_name)) in context.selected_asset_check_keys:
                yield found

    def evaluate(warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
        frame = warehouse.read(table.name, NAME)
        columns = {column.name: column for column in table.schema.columns}

        def result(name: str, problems: list[str], **metadata: int) -> dg.AssetCheckResult:
            return dg.AssetCheckResult(
                check_name=name,
                asset_key=key,
                passed=not problems,
                description="; ".join(problems) or None,
                metadata={**metadata},
            )

        found = list(frame.columns)
        yield result(
            "columns",
            [] if found == list(columns) else [f"found {', '.join(found)}; expected {', '.join(columns)}"],
        )
        known = [name for name in found if name in columns]
        types = {name: _kind_of(frame[name]) for name in known}
        yield result(
            "types",
            [
                f"{name} holds {types[name]}, expected {columns[name].kind}"
                for name in known
                if types[name] != columns[name].kind
            ],
        )
        yield result(
            "row_count",
            []
            if len(frame) >= minimum_rows
            else [f"{len(frame):,} rows; expected at least {minimum_rows:,}. Lower split.train_size in defs.yaml"],
            rows=len(frame),
        )
        missing = {name: int(count) for name, count in frame.isna().sum().items() if count}
        yield result(
            "no_missing_values",
            [f"{name}: {count} empty cells" for name, count in missing.items()]
            + (["fill them or leave their rows out in the source"] if missing else []),
        )
        outside = {name: columns[name].count_out_of_range(frame[name]) for name in known}
        yield result(
            "ranges",
            [f"{name}: {count} values that are not {_limits(table, name)}" for name, count in outside.items() if count],
        )
        details = warehouse.latest_details(table.name, NAME)
        stand_in = details["source_kind"] == "stand_in"
        yield dg.AssetCheckResult(
            check_name="is_real",
            asset_key=key,
            passed=not stand_in,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"These rows are those of the {details['source']}. Everything made from them is for "
            "development only; put the real table where the README says."
            if stand_in
            else f"Source: {details['source']}.",
        )

    return checks


def _kind_of(values: pd.Series) -> str:
    if pd.api.types.is_integer_dtype(values.dtype):
        return "integer"
    if pd.api.types.is_float_dtype(values.dtype):
        return "number"
    return "category"


def _limits(table: Table, name: str) -> str:
    column = table.schema.column(name)
    if column.kind == "category":
        return f"one of {', '.join(column.categories)}"
    return f"from {column.minimum} to {column.maximum}"
