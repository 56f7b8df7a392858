"""The two days of these tests, and the lineage that is run on them: the tiny one, smaller still."""

from pathlib import Path
from typing import Any

import pandas as pd

from synth_assets.evaluation.gates import GATES
from synth_assets_tests.live.tiny_location import tiny_settings
from synth_assets_tests.world import World

ROWS, TRAIN_ROWS = 240, 160
MONDAY, TUESDAY = "2026-11-16", "2026-11-17"


def settings() -> dict[str, Any]:
    """Give what is changed of the tiny lineage: it is smaller still, and no gate stops what few trees have judged."""
    tiny = tiny_settings()
    model = tiny.synthesizer.model_dump()
    return {
        "synthesizer": {**model, "epochs": 3, "pretrain": {**model["pretrain"], "rows": 400, "epochs": 2}},
        "split": {**tiny.split.model_dump(), "train_size": TRAIN_ROWS},
        "gates": {name: dict.fromkeys(gate.allowances, 1e6) for name, gate in GATES.items()},
    }


def write_table(world: World, placeholder: Path, *, changed: bool) -> None:
    """Write the real table: the first rows of the placeholder, or the same with a column that is another one."""
    table = pd.read_csv(placeholder).head(ROWS).round(1)
    if changed:
        table["Length"] = (table["Length"] + 0.1).round(1)
    table.to_csv(world.csv, index=False)
