"""A code location with the abalone lineage as `defs.yaml` states it, but with a model that is trained in seconds.

That model can only learn a table of few different values, which `tiny_table` gives.
"""

import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from synth_assets.evaluation.gates import GATES
from synth_assets.orchestration import SyntheticTable
from synth_assets.orchestration.executor import step_executor
from synth_assets.orchestration.resources import shared_resources
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets_tests import fast_evaluation

DEFS_YAML = Path(__file__).parents[2] / "synth_assets" / "defs" / "abalone" / "defs.yaml"
ROWS, TRAIN_ROWS, SAMPLE_ROWS = 400, 240, 40

# A few columns are learned in seconds; their kinds are all that there are.
COLUMNS = ("Sex", "Length", "Class_number_of_rings")

_TINY: dict[str, Any] = {
    "synthesizer": {
        "scratch": {"n_layer": 1, "n_head": 4, "n_embd": 64},
        "epochs": 3,
        "batch_size": 32,
        "pretrain": {"rows": 800, "forest": {"n_estimators": 10}},
    },
    "split": {"train_size": TRAIN_ROWS},
    "constraints": [{"name": "length_is_positive", "sql": "Length > 0"}],
    # So small a model repeats which combinations occur. What the gates stop as they are shipped is tested elsewhere.
    "tolerances": {name: dict.fromkeys(gate.tolerances, 0.3) for name, gate in GATES.items()},
    "sample": {"n_samples": SAMPLE_ROWS},
}


def tiny_settings(**changes: Any) -> SyntheticTableSettings:
    """Return abalone's settings with a tiny model and sample; `changes` replace whole keys of `defs.yaml`."""
    attributes: dict[str, Any] = yaml.safe_load(DEFS_YAML.read_text(encoding="utf-8"))["attributes"]
    tiny: dict[str, Any] = {
        key: {**attributes.get(key, {}), **values} if isinstance(values, dict) else values
        for key, values in _TINY.items()
    }
    tiny["columns"] = [column for column in attributes["columns"] if column["name"] in COLUMNS]
    return SyntheticTableSettings(**{**attributes, **tiny, **changes})


def tiny_definitions(**changes: Any) -> dg.Definitions:
    """Return the lineage of `tiny_settings`, and the resources in the data folder that the environment names."""
    table = dg.build_defs_for_component(SyntheticTable(tiny_settings(**changes)))
    return dg.Definitions.merge(table, dg.Definitions(resources=shared_resources(), executor=step_executor))


def tiny_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows of a table, with few different values: what the tiny model can learn."""
    return table.head(ROWS).round(1)


@dg.definitions
def defs() -> dg.Definitions:
    """Return the lineage; a test that waits for a tick says in `TINY_TICK` when (hour:minute, UTC)."""
    patch = pytest.MonkeyPatch()  # of this process, which is the server's or a step's
    fast_evaluation.reduce_constants(patch)
    if "sklearn.ensemble" in sys.modules:  # the fork server of steps has imported it; the others load definitions alone
        fast_evaluation.reduce_libraries(patch, draw_panels=True)
    tick = os.environ.get("TINY_TICK")
    if tick is None:
        return tiny_definitions()
    hour, minute = map(int, tick.split(":"))
    return tiny_definitions(schedule={"hour": hour, "minute": minute, "start_date": "2026-11-01"})
