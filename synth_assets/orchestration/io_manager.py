"""The I/O manager: tables of assets in the warehouse, with the metadata of their materialization as provenance."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import dagster as dg
import pandas as pd

from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.table import content_hash
from synth_assets.storage.warehouse import INPUTS, Parts, Provenance, Warehouse

COLUMN_SCHEMA = "dagster/column_schema"
"""Metadata of an asset: its columns with their SQL types, in which they are stored."""

DATA_VERSION = "data_version"
"""Metadata of a result: the version of its rows, computed once, in the asset."""


class WarehouseIOManager(dg.IOManager):
    """Store the table of the asset `<table>/<name>` as `<table>.<name>` in the warehouse.

    Parameters
    ----------
    warehouse : Warehouse
        The warehouse.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        # Data versions of the inputs of each step. Rows that were evaluated may have been replaced since.
        self._read: dict[str, dict[str, str]] = {}

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame | Parts) -> None:
        """Write a table, or record the files of a large sample, with its metadata as provenance."""
        schema, table = context.asset_key.path
        partition = context.partition_key if context.has_asset_partitions else None
        row_count = {"dagster/row_count" if partition is None else "dagster/partition_row_count": len(obj)}
        details = _plain(context.output_metadata)
        # An asset that returns a bare frame states no version.
        version = details.pop(DATA_VERSION, None) or (obj.content if isinstance(obj, Parts) else content_hash(obj))
        provenance = Provenance(
            run_id=context.run_id,
            code_version=context.asset_spec.code_version,
            data_version=version,
            details={**row_count, **details, INPUTS: self._read.pop(context.step_context.step.key, {})},
        )
        with as_dagster_failure():
            if isinstance(obj, Parts):
                self.warehouse.write_parts(
                    schema, table, obj, resample_date=context.partition_key, provenance=provenance
                )
            else:
                types = _types(context.definition_metadata)
                self.warehouse.write(schema, table, obj, resample_date=partition, types=types, provenance=provenance)
        context.add_output_metadata(row_count)

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        """Read a table, and remember its data version for the provenance of what is computed from it."""
        schema, table = context.asset_key.path
        partition = context.partition_key if context.has_asset_partitions else None
        with as_dagster_failure():
            frame, version = self.warehouse.read_with_version(schema, table, resample_date=partition)
        with suppress(dg.DagsterInvariantViolationError):  # `load_asset_value` reads outside of a step
            inputs = self._read.setdefault(context.step_context.step.key, {})
            inputs[table] = version or content_hash(frame)  # rows that were written by hand may have no version
        return frame


def _types(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the SQL types of the columns that an asset declares."""
    declared = metadata.get(COLUMN_SCHEMA)
    return {column.name: column.type for column in declared.columns} if declared else {}


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: getattr(value, "value", value) for name, value in metadata.items()}
    pictures = {name for name, value in metadata.items() if isinstance(value, dg.MarkdownMetadataValue)}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN
        for name, value in values.items()
        if name not in pictures and isinstance(value, str | int | float | bool | list | dict)
    }
