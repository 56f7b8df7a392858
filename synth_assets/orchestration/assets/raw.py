"""`raw`: the table as its source provides it, checked, with its provenance."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from synth_assets.orchestration.assets.common import Table, preview, result
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.validation import validate
from synth_assets.sources import Source
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

NAME = "raw"
SOURCE_FINGERPRINT = "source_fingerprint"
"""Metadata key of the fingerprint of the source, which the sensor compares."""

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def build(table: Table, source: Source, *, minimum_rows: int) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Build the asset and its checks.

    Parameters
    ----------
    table : Table
        The table.
    source : Source
        The source of the table.
    minimum_rows : int
        The minimum number of rows, given by the split.

    Returns
    -------
    list
        The asset, and its checks.
    """

    @table.asset(
        NAME,
        code_version="1",
        kinds={"python", "pandas", "duckdb"},
        columns=table.raw_columns(),
        description=f"The real `{table.name}` table from its source: a file, OpenML, or the placeholder.",
    )
    def raw(
        context: dg.AssetExecutionContext, paths: dg.ResourceParam[DataPaths]
    ) -> dg.MaterializeResult[pd.DataFrame]:
        with as_dagster_failure():
            loaded = source.load(paths.root)
            frame = table.schema.coerce(loaded.frame, origin=loaded.label)
        if loaded.kind == "placeholder":
            context.log.warning(f"{table.name}: these rows are not real data but the {loaded.label}.")
        ignored = [str(name) for name in loaded.frame.columns if name not in table.schema.names]
        return result(
            frame,
            source=loaded.label,
            source_kind=loaded.kind,
            **{SOURCE_FINGERPRINT: loaded.fingerprint},
            ignored_columns=ignored,
            preview=preview(frame),
        )

    return [raw, _checks(table, minimum_rows)]


def source_label(warehouse: Warehouse, table: str) -> str:
    """Return the label of the source of the stored raw table, for figures."""
    return str(warehouse.latest_details(table, NAME)["source"])


def _checks(table: Table, minimum_rows: int) -> dg.AssetChecksDefinition:
    key = table.key(NAME)
    blocking = {
        "columns": "The table has the declared columns, in order.",
        "types": "Each column has its declared type.",
        "row_count": f"The table has at least {minimum_rows:,} rows, so that some are held out.",
        "no_missing_values": "No cell is missing.",
        "labels": "Each label is a category of its column.",
        "ranges": "Each number is within the range of its column.",
    }
    specs = [
        dg.AssetCheckSpec(name, asset=key, description=description, blocking=True)
        for name, description in blocking.items()
    ]
    specs.append(dg.AssetCheckSpec("is_real", asset=key, description="The rows are real, not of the placeholder."))

    # The UI can run checks without the asset only if they can be subset.
    @dg.multi_asset_check(name=f"{table.name}_{NAME}_checks", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        problems = validate(warehouse.read(table.name, NAME), table.schema, minimum_rows=minimum_rows)
        details = warehouse.latest_details(table.name, NAME)
        if details["source_kind"] == "placeholder":
            problems["is_real"] = [
                f"these rows are the {details['source']}: results from them are for development only. "
                "Provide the real table as the README describes"
            ]
        for selected in context.selected_asset_check_keys:
            found = problems.get(selected.name, [])
            yield dg.AssetCheckResult(
                check_name=selected.name,
                asset_key=key,
                passed=not found,
                severity=ERROR if selected.name in blocking else WARN,
                description="; ".join(found) or "as expected",
            )

    return checks
