"""Energy-based boosted trees (NRGBoost, Bravo, ICLR 2025), by nrgboost, with the settings of its README."""

from typing import Any

import pandas as pd
from common import Sampler, run_peer
from nrgboost import Dataset, NRGBooster


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Boost the trees; see `run_peer`. It learns numbers as at most 255 bins, and draws within a bin."""
    settings = {
        "num_trees": 200,
        "shrinkage": 0.15,
        "max_leaves": 256,
        "max_ratio_in_leaf": 2,
        "num_model_samples": 80_000,
        "p_refresh": 0.1,
        "num_chains": 16,
        "burn_in": 100,
        "num_threads": 1,
    }
    model = NRGBooster.fit(Dataset(train.astype(dict.fromkeys(categories, "category"))), settings, seed=seed)
    return (model.booster.serialize(), model.transform), lambda rows: model.sample(rows, num_threads=1, seed=seed)


if __name__ == "__main__":
    run_peer("nrgboost", fit)
