"""The two days of these tests, and the lineage that is run on them: the tiny one, whose gates stop nothing."""

from typing import Any

import pandas as pd

from synth_assets.evaluation.gates import GATES
from synth_assets_tests.world import DAY, World

FIRST_DAY, SECOND_DAY = DAY, "2026-11-21"


def settings() -> dict[str, Any]:
    """Return what differs from the tiny lineage."""
    return {"tolerances": {name: dict.fromkeys(gate.tolerances, 1e6) for name, gate in GATES.items()}}


def change_table(world: World) -> None:
    """Change a column of the real table, so that the next run makes everything from it."""
    table = pd.read_csv(world.csv)
    table["Length"] = (table["Length"] + 0.1).round(1)
    table.to_csv(world.csv, index=False)
