"""Adversarial random forest (Watson et al., AISTATS 2023), by arfpy with its own settings."""

from typing import Any

import pandas as pd
from arfpy import arf
from common import Sampler, run_peer


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Fit the forest and its densities; see `run_peer`."""
    # The seed is for the forests; arfpy's own draws come from NumPy's global generator.
    model = arf.arf(train.astype(dict.fromkeys(categories, "category")), random_state=seed, verbose=False)
    model.forde()
    return model, model.forge


if __name__ == "__main__":
    run_peer("arfpy", fit)
