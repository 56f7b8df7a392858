"""`raw`: the table as its source provides it, checked, with its provenance."""

from collections.abc import Collection, Iterator

import dagster as dg
import pandas as pd

from synth_assets.orchestration.assets.common import Table, check_results, preview, result
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.columns import TableError
from synth_assets.schema.lock import changes
from synth_assets.schema.table import TableSchema
from synth_assets.schema.validation import validate
from synth_assets.sources import Source
from synth_assets.sources.base import LoadedTable
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

NAME = "raw"
SOURCE_FINGERPRINT = "source_fingerprint"
"""Metadata key of the fingerprint of the source, which the sensor compares."""

MISSING_SHARE, NEW_COLUMNS, IS_REAL = "missing_share", "new_columns", "is_real"
"""Checks of the source beside the ones of the schema."""

_EXPECTED = {
    "columns": "The table has the declared columns, in order.",
    "types": "Each column has its declared type.",
    "row_count": "The table has at least {rows:,} rows, so that some are held out.",
    "no_missing_values": "Only nullable columns have empty cells.",
    "labels": "Each label is a category of its column.",
    "ranges": "Each number and date is within the limits of its column.",
    "keys": "No key occurs twice, but those that may repeat.",
    MISSING_SHARE: "At most {share:.0%} of the cells of a column are empty.",
    NEW_COLUMNS: "The source has no column that it did not have when the columns were inferred.",
    IS_REAL: "The rows are real, not of the placeholder.",
}
"""By check: what is expected."""


def build(
    table: Table,
    source: Source,
    *,
    minimum_rows: int,
    max_missing_share: float | None = None,
    known_columns: Collection[str] | None = None,
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Build the asset and its checks.

    Parameters
    ----------
    table : Table
        The table.
    source : Source
        The source of the table.
    minimum_rows : int
        The minimum number of rows, given by the split.
    max_missing_share : float, optional
        Share of the cells of a column that may be empty; without one, there is no such check.
    known_columns : collection of str, optional
        For inferred columns: all that the source had, in the table or not. Others are reported as new.

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
        description=f"The real `{table.name}` table as its source provides it.",
    )
    def raw(
        context: dg.AssetExecutionContext, paths: dg.ResourceParam[DataPaths]
    ) -> dg.MaterializeResult[pd.DataFrame]:
        if context.job_name == f"{table.name}_lineage":
            table.partitions.require(context)  # before a model is fitted: what follows needs a day
        with as_dagster_failure():
            loaded = source.load(paths.root)
            frame = _typed(loaded, table.schema)
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

    return [raw, _checks(table, minimum_rows, max_missing_share, known_columns)]


def _typed(loaded: LoadedTable, schema: TableSchema) -> pd.DataFrame:
    """Convert the rows of a source; if that fails, for more than one reason, raise a `TableError` with all."""
    try:
        return schema.coerce(loaded.frame, origin=loaded.label)
    except TableError as error:
        names = [str(name) for name in loaded.frame.columns]
        found = [] if len(set(names)) < len(names) else changes(loaded.frame, schema.columns, left_out=names)
        if len(found) < 2:
            raise
        raise TableError(f"{loaded.label}: {'; '.join(found)}.") from error


def source_label(warehouse: Warehouse, table: str) -> str:
    """Return the label of the source of the stored raw table, for figures."""
    return str(warehouse.latest_details(table, NAME)["source"])


def _checks(
    table: Table, minimum_rows: int, max_missing_share: float | None, known_columns: Collection[str] | None
) -> dg.AssetChecksDefinition:
    key = table.key(NAME)
    warnings = (NEW_COLUMNS, IS_REAL)
    # The names of the checks are the ones of the problems that `validate` looks for.
    names = list(validate(pd.DataFrame(columns=table.schema.names), table.schema))
    if not table.schema.names_of("id"):
        names.remove("keys")
    names += [MISSING_SHARE] if max_missing_share is not None else []
    names += [IS_REAL] if known_columns is None else warnings
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=key,
            description=_EXPECTED[name].format(rows=minimum_rows, share=max_missing_share),
            blocking=name not in warnings,
        )
        for name in names
    ]

    # The UI can run checks without the asset only if they can be subset.
    @dg.multi_asset_check(name=f"{table.name}_{NAME}_checks", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        frame = warehouse.read(table.name, NAME)
        details = warehouse.latest_details(table.name, NAME)
        problems = validate(frame, table.schema, minimum_rows=minimum_rows)
        if max_missing_share is not None:
            problems[MISSING_SHARE] = [
                f"{name}: {share:.1%} of the cells are empty, expected at most {max_missing_share:.1%}; find out why "
                "the source has more gaps, or raise max_missing_share"
                for name, share in frame.isna().mean().items()
                if share > max_missing_share
            ]
        new = [] if known_columns is None else [n for n in details["ignored_columns"] if n not in known_columns]
        problems[NEW_COLUMNS] = [
            f"{name!r} is new in the source and no part of the table; run `synth-assets init` on defs.yaml to have it"
            for name in new
        ]
        problems[IS_REAL] = (
            [
                f"these rows are the {details['source']}: results from them are for development only. "
                "Provide the real table as the README describes"
            ]
            if details["source_kind"] == "placeholder"
            else []
        )
        yield from check_results(
            context,
            warehouse,
            key,
            {name: problems[name] for name in names},
            warnings=warnings,
            passed="as expected",
        )

    return checks
