"""The I/O manager: data frames of assets in the warehouse, with their metadata as provenance."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import dagster as dg
import pandas as pd

from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.table import content_hash
from synth_assets.storage.warehouse import INPUTS, Provenance, Warehouse


class WarehouseIOManager(dg.IOManager):
    """Keeps the data frames of assets in the warehouse, the asset `<table>/<name>` as the table `<table>.<name>`.

    Parameters
    ----------
    warehouse : Warehouse
        Where they are kept.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        # Data versions of what each step has read. Rows that were evaluated may have been replaced since.
        self._read: dict[str, dict[str, str]] = {}

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        """Write what an asset returned, with its metadata as provenance."""
        schema, table = context.asset_key.path
        with as_dagster_failure():
            self.warehouse.write(
                schema,
                table,
                obj,
                resample_date=context.partition_key if context.has_asset_partitions else None,
                provenance=Provenance(
                    run_id=context.run_id,
                    code_version=context.asset_spec.code_version,
                    data_version=content_hash(obj),
                    details={
                        **_plain(context.output_metadata),
                        INPUTS: self._read.pop(context.step_context.step.key, {}),
                    },
                ),
            )

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        """Read what an asset depends on."""
        schema, table = context.asset_key.path
        partition = context.partition_key if context.has_asset_partitions else None
        with as_dagster_failure():
            frame = self.warehouse.read(schema, table, resample_date=partition)
        with suppress(dg.DagsterInvariantViolationError):  # `load_asset_value` reads outside of a step
            self._read.setdefault(context.step_context.step.key, {})[table] = content_hash(frame)
        return frame


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: getattr(value, "value", value) for name, value in metadata.items()}
    pictures = {name for name, value in metadata.items() if isinstance(value, dg.MarkdownMetadataValue)}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN
        for name, value in values.items()
        if name not in pictures and isinstance(value, str | int | float | bool | list | dict)
    }
