"""A code location with the abalone lineage as `defs.yaml` states it, but with a model that is trained in seconds.

That model can only learn a table of few different values, which `tiny_table` gives.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import yaml

from synth_assets.components import SyntheticTable
from synth_assets.components.settings import SyntheticTableSettings
from synth_assets.defs import resources as shared

DEFS_YAML = Path(shared.__file__).parent / "abalone" / "defs.yaml"
ROWS, TRAIN_ROWS, SAMPLE_ROWS = 500, 300, 40

_TINY: dict[str, dict[str, Any]] = {
    "split": {"train_size": TRAIN_ROWS},
    "language_model": {
        # With fewer heads or steps, hardly a row has each column once.
        "scratch": {"n_layer": 1, "n_head": 8, "n_embd": 64},
        "epochs": 30,
        "batch_size": 32,
        "learning_rate": 0.01,
        "save_steps": 100_000,
        "logging_steps": 10,
        # The seed draws the column that a sample starts from: this one draws Sex. be_great writes a number with five
        # decimals there, as no row has that this model learned from, and it then fails on most.
        "seed": 1,
    },
    # One row in three can be read back. The day is part of a sample's seed, so that there must be room.
    "sample": {"n_samples": SAMPLE_ROWS, "temperature": 0.5, "max_draws": 200},
}


def tiny_settings(**changes: Any) -> SyntheticTableSettings:
    """Give abalone's settings with a tiny model and sample; `changes` replace whole keys of `defs.yaml`."""
    attributes: dict[str, Any] = yaml.safe_load(DEFS_YAML.read_text(encoding="utf-8"))["attributes"]
    tiny = {key: {**attributes[key], **values} for key, values in _TINY.items()}
    return SyntheticTableSettings(**{**attributes, **tiny, **changes})


def tiny_definitions(**changes: Any) -> dg.Definitions:
    """Give the lineage of `tiny_settings`, and the resources in the data folder that the environment names."""
    table = dg.build_defs_for_component(SyntheticTable(tiny_settings(**changes)))
    return dg.Definitions.merge(table, shared.resources())


def tiny_table(table: pd.DataFrame) -> pd.DataFrame:
    """Give the first rows of a table, with few different values: what the tiny model can learn."""
    return table.head(ROWS).round(1)


@dg.definitions
def defs() -> dg.Definitions:
    return tiny_definitions()
