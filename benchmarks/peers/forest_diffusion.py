"""Flow matching with boosted trees (ForestFlow, Jolicoeur-Martineau et al., AISTATS 2024), by ForestDiffusion.

Its own settings. Labels are codes, of which those with three labels or more are declared as such, as it asks.
"""

from typing import Any

import pandas as pd
from common import Sampler, run_peer, to_codes
from ForestDiffusion import ForestDiffusionModel


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the trees of each noise level; see `run_peer`."""
    matrix, decode = to_codes(train, categories)
    names = list(train)
    binary = [name for name in categories if train[name].nunique() <= 2]
    model = ForestDiffusionModel(
        matrix,
        bin_indexes=[names.index(name) for name in binary],
        cat_indexes=[names.index(name) for name in categories if name not in binary],
        int_indexes=[names.index(name) for name in train if train[name].dtype.kind == "i"],
        n_jobs=1,
        seed=seed,
    )
    return model, lambda rows: decode(model.generate(batch_size=rows))


if __name__ == "__main__":
    run_peer("ForestDiffusion", fit)
