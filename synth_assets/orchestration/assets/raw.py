"""`raw`: the table as its source provides it, checked, with its provenance."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from synth_assets.orchestration.assets.common import Table, check_results, preview, result
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.validation import validate
from synth_assets.sources import Source
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse

NAME = "raw"
SOURCE_FINGERPRINT = "source_fingerprint"
"""Metadata key of the fingerprint of the source, which the sensor compares."""

MISSING_SHARE, IS_REAL = "missing_share", "is_real"
"""Checks of the source beside the ones of the schema."""

_EXPECTED = {
    "columns": ("The table has the declared columns, in order.", "Correct the source, or the columns in defs.yaml."),
    "types": ("Each column has its declared type.", "Correct the column's type in defs.yaml, and materialize raw."),
    "row_count": (
        "The table has at least {rows:,} rows, so that some are held out.",
        "Provide more rows, or lower split.train_size.",
    ),
    "no_missing_values": (
        "Only nullable columns have empty cells.",
        "If cells may be empty, state `nullable: true` for the column; otherwise fill them in the source.",
    ),
    "labels": (
        "Each label is a category of its column.",
        "Add new labels to the column's categories, or correct them in the source.",
    ),
    "ranges": (
        "Each number and date is within the limits of its column.",
        "If the values are right, widen the column's minimum or maximum; otherwise correct the source.",
    ),
    "keys": (
        "No key occurs twice.",
        "Remove the repeated rows from the source, or state another type than id for the column.",
    ),
    MISSING_SHARE: (
        "At most {share:.0%} of the cells of a column are empty.",
        "Find out why the source has more gaps, or raise max_missing_share.",
    ),
    IS_REAL: (
        "The rows are real, not of the placeholder.",
        "Results from them are for development only; provide the real table as the README describes.",
    ),
}
"""By check: what is expected, and what to do if it is not found."""


def build(
    table: Table, source: Source, *, minimum_rows: int, max_missing_share: float | None
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

    return [raw, _checks(table, minimum_rows, max_missing_share)]


def source_label(warehouse: Warehouse, table: str) -> str:
    """Return the label of the source of the stored raw table, for figures."""
    return str(warehouse.latest_details(table, NAME)["source"])


def _checks(table: Table, minimum_rows: int, max_missing_share: float | None) -> dg.AssetChecksDefinition:
    key = table.key(NAME)
    # The names of the checks are the ones of the problems that `validate` looks for.
    names = list(validate(pd.DataFrame(columns=table.schema.names), table.schema))
    names += [MISSING_SHARE] if max_missing_share is not None else []
    names += [IS_REAL]
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=key,
            description=_EXPECTED.get(name, (name.replace("_", " "), ""))[0].format(
                rows=minimum_rows, share=max_missing_share
            ),
            blocking=name != IS_REAL,
        )
        for name in names
    ]

    # The UI can run checks without the asset only if they can be subset.
    @dg.multi_asset_check(name=f"{table.name}_{NAME}_checks", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        frame = warehouse.read(table.name, NAME)
        problems = validate(frame, table.schema, minimum_rows=minimum_rows)
        if max_missing_share is not None:
            problems[MISSING_SHARE] = [
                f"{name}: {share:.1%} of the cells are empty, expected at most {max_missing_share:.1%}"
                for name, share in frame.isna().mean().items()
                if share > max_missing_share
            ]
        details = warehouse.latest_details(table.name, NAME)
        is_placeholder = details["source_kind"] == "placeholder"
        problems[IS_REAL] = [f"these rows are the {details['source']}"] if is_placeholder else []
        advised = {
            name: [f"{'; '.join(found)}. {_EXPECTED.get(name, ('', ''))[1]}"] if found else []
            for name, found in problems.items()
        }
        yield from check_results(context, warehouse, key, advised, warnings=(IS_REAL,), passed="as expected")

    return checks
