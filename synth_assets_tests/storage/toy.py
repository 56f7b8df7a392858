"""A small table in the warehouse, judged as the lineage would judge it, and what is offered of it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from synth_assets.publishing.builder import PublishSpec, TableDescription
from synth_assets.schema.columns import Categorical, Integer
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets.synthesizers.base import SampleSettings

MONDAY, TUESDAY, WEDNESDAY = "2026-01-05", "2026-01-06", "2026-01-07"
TABLES = ("raw", "synthetic_sample", "fidelity", "report")


def offer(name: str = "toy", tables: Sequence[str] = TABLES) -> PublishSpec:
    """Return what is published of these tables."""
    described = {
        table: TableDescription(f"It's {table}.", {"x": f"The x of {table}; it's one."}, of_sample=table != "raw")
        for table in tables
    }
    schema = TableSchema(columns=(Categorical(name="Sex", categories=("F", "M")), Integer(name="x")), target="x")
    return PublishSpec(name, Encoding(schema, "Rings"), SampleSettings(), described)


def write(warehouse: Warehouse, table: str, values: Sequence[Any], day: str | None = None, schema: str = "toy") -> None:
    """Write a table of one column, or a day of it."""
    frame = pd.DataFrame({"x": values})
    warehouse.write(
        schema, table, frame, provenance=Provenance("a run", data_version=content_hash(frame)), partition=day
    )


def write_sample(
    warehouse: Warehouse, day: str, values: Sequence[Any], *, passed: bool = True, schema: str = "toy"
) -> None:
    """Write a day's sample, evidence that says what it is about, and the verdict over it."""
    sample = pd.DataFrame({"x": values, "model_version": "m1"})
    fidelity = pd.DataFrame({"x": [values[0]]})
    report = pd.DataFrame(
        {
            "gate": ["fidelity", "utility"],
            "blocking": [True, False],
            "passed": [passed, False],
            "said": [f"It's about {values[0]}.", "It's of little use."],
        }
    )
    read: dict[str, str] = {}
    for table, frame in (("synthetic_sample", sample), ("fidelity", fidelity), ("report", report)):
        version = content_hash(frame)
        provenance = Provenance("a run", data_version=version, details={"inputs": read})
        warehouse.write(schema, table, frame, provenance=provenance, partition=day)
        read = {table: version}
