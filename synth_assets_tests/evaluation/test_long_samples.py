"""A long sample costs little more than a short one, and the same rows of it are judged each time, in every process."""

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from synth_assets.evaluation.fidelity import fidelity_table
from synth_assets.evaluation.privacy import privacy_table
from synth_assets.evaluation.validity import validity_table

from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema
from synth_assets_tests.conftest import PROJECT

pytestmark = pytest.mark.slow

LONG = 300_000


def _rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "Colour": pd.Series(rng.choice(["blue", "red"], count), dtype="str"),
            "Size": rng.uniform(1, 9, count).round(3),
            "Legs": rng.integers(0, 12, count),
        }
    )


def _cost(action: Callable[[], object]) -> tuple[float, float]:
    """Give the seconds of CPU that something takes, and the megabytes that it holds at its height."""
    started = time.process_time()
    action()
    seconds = time.process_time() - started
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak / 1e6


def test_a_long_sample_costs_little_more_than_a_short_one(small_schema: TableSchema) -> None:
    parts = _rows(2000, 1), _rows(1000, 2)
    constraints = [Constraint("legs", "Legs < 3 * Size")]
    measures: tuple[Callable[[pd.DataFrame], object], ...] = (
        lambda rows: fidelity_table(rows, *parts, small_schema),
        lambda rows: validity_table(rows, *parts, small_schema, constraints),
        lambda rows: privacy_table(rows, *parts, small_schema),
    )
    short, long = _rows(2000, 3), _rows(LONG, 4)
    rows_mb = long.memory_usage(deep=True).sum() / 1e6
    for measure in measures:
        seconds, megabytes = _cost(lambda measure=measure: measure(short))
        more_seconds, more_megabytes = _cost(lambda measure=measure: measure(long))
        # Some passes over the rows, and no copy of them for each of twenty floors.
        assert more_seconds < seconds + 10
        assert more_megabytes < megabytes + 5 * rows_mb


def test_a_fault_and_a_copy_are_seen_wherever_they_stand(small_schema: TableSchema) -> None:
    parts = _rows(2000, 1), _rows(1000, 2)
    long = _rows(LONG, 4).astype({"Legs": "float64"})
    before = privacy_table(long, *parts, small_schema).set_index("metric").loc["exact_copies", "value"]
    long.loc[LONG - 1, ["Size", "Legs"]] = [99.0, 1.0]
    long.iloc[LONG - 7] = parts[0].iloc[3].to_numpy()
    long = long.astype({"Size": "float64", "Legs": "int64"})

    found = validity_table(long, *parts, small_schema).set_index(["metric", "column_name"])["value"]
    copies = privacy_table(long, *parts, small_schema).set_index("metric").loc["exact_copies", "value"]

    assert found["out_of_range", "Size"] == 1 / LONG
    assert copies * LONG == pytest.approx(before * LONG + 1, abs=1e-6)


_SCRIPT = """
import hashlib
import pandas as pd
from synth_assets.evaluation.detection import detection_table, pairs_told_apart
from synth_assets.evaluation.fidelity import fidelity_table
from synth_assets.evaluation.privacy import attacks_on, leaked_rows, privacy_table
from synth_assets.evaluation.validity import validity_table
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.columns import Column
from synth_assets.schema.table import TableSchema
from synth_assets_tests.evaluation.test_long_samples import _rows

schema = TableSchema(
    (Column("Colour", "category", categories=("blue", "red")), Column("Size", "number"), Column("Legs", "integer")),
    "Legs", "Count",
)
sets = _rows(500, 1), _rows(300, 2), _rows(150, 3)
attacks = attacks_on(*sets, schema)
for table in (
    fidelity_table(*sets, schema), detection_table(*sets, schema), pairs_told_apart(*sets, schema),
    validity_table(*sets, schema, [Constraint("legs", "Legs < 3 * Size")]), privacy_table(*sets, schema),
    leaked_rows(attacks, *sets[:2], schema),
):
    print(table.map(lambda cell: cell.hex() if isinstance(cell, float) else cell).to_csv())
"""


def test_two_processes_give_the_same_numbers_to_the_last_digit() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            cwd=PROJECT,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "PATH": ""},
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    ]

    assert said[0] == said[1]
    assert said[0].count("0x") > 100
