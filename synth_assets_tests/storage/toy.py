"""A small table in the warehouse, with metrics and verdicts as the lineage writes them, and its publish spec."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from synth_assets.publishing.builder import PublishSpec, TableDescription
from synth_assets.schema.columns import Categorical, Integer
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.storage.files import sha256
from synth_assets.storage.warehouse import Part, Parts, Provenance, Warehouse
from synth_assets.synthesizers.base import SampleSettings

MONDAY, TUESDAY, WEDNESDAY = "2026-01-05", "2026-01-06", "2026-01-07"
TABLES = ("raw", "synthetic_sample", "fidelity", "report")


def spec(name: str = "toy", tables: Sequence[str] = TABLES) -> PublishSpec:
    """Return what is published of these tables."""
    described = {
        table: TableDescription(f"It's {table}.", {"x": f"The x of {table}; it's one."}, of_sample=table != "raw")
        for table in tables
    }
    schema = TableSchema(columns=(Categorical(name="Sex", categories=("F", "M")), Integer(name="x")), target="x")
    return PublishSpec(name, Encoding(schema, "Rings"), SampleSettings(), described)


def write(
    warehouse: Warehouse, table: str, values: Sequence[Any], day: str | None = None, namespace: str = "toy"
) -> None:
    """Write a table of one column, or a day of it."""
    frame = pd.DataFrame({"x": values})
    warehouse.write(
        namespace, table, frame, provenance=Provenance("a run", data_version=content_hash(frame)), resample_date=day
    )


def write_sample(
    warehouse: Warehouse,
    day: str,
    values: Sequence[Any],
    *,
    passed: bool = True,
    namespace: str = "toy",
    numbered: bool = False,
) -> None:
    """Write the sample of a day, its metrics, and the verdicts on it."""
    numbers = {"sample_id": range(len(values))} if numbered else {}
    sample = pd.DataFrame({"x": values, **numbers, "model_version": "m1"})
    version = content_hash(sample)
    provenance = Provenance("a run", data_version=version, details={"inputs": {}})
    warehouse.write(namespace, "synthetic_sample", sample, provenance=provenance, resample_date=day)
    write_verdicts(warehouse, day, values[0], version, passed=passed, namespace=namespace)


def write_large_sample(
    warehouse: Warehouse, day: str, values: Sequence[int], *, rows_per_part: int = 2, namespace: str = "toy"
) -> Parts:
    """Write the sample of a day in parts, its metrics, and the verdicts on it, which are passed."""
    folder = warehouse.paths.samples(namespace, day) / f"{sum(values)}"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for first in range(0, len(values), rows_per_part):
        rows = values[first : first + rows_per_part]
        path = folder / f"part-{len(files):05d}.parquet"
        pd.DataFrame({"x": rows}).to_parquet(path)
        files.append(Part(path.relative_to(warehouse.paths.root).as_posix(), len(rows), sha256(path)))
    parts = Parts(files, "m1")
    provenance = Provenance("a run", data_version=parts.content, details={"inputs": {}})
    warehouse.write_parts(namespace, "synthetic_sample", parts, provenance=provenance, resample_date=day)
    write_verdicts(warehouse, day, values[0], parts.content, namespace=namespace)
    return parts


def write_verdicts(
    warehouse: Warehouse, day: str, value: Any, version: str, *, passed: bool = True, namespace: str = "toy"
) -> None:
    """Write the metrics of a sample of a version, and the verdicts on it."""
    fidelity = pd.DataFrame({"x": [value]})
    report = pd.DataFrame(
        {
            "gate": ["fidelity", "utility"],
            "blocking": [True, False],
            "passed": [passed, False],
            "message": [f"It's about {value}.", "It's of little use."],
        }
    )
    read = {"synthetic_sample": version}
    for table, frame in (("fidelity", fidelity), ("report", report)):
        version = content_hash(frame)
        provenance = Provenance("a run", data_version=version, details={"inputs": read})
        warehouse.write(namespace, table, frame, provenance=provenance, resample_date=day)
        read = {table: version}
