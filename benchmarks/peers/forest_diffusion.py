"""Flow matching with boosted trees (ForestFlow, Jolicoeur-Martineau et al., AISTATS 2024), by ForestDiffusion.

Its own settings, 50 noise levels and 100 noises a row among them, which are its authors'. Labels are codes, of which
those with three labels or more are declared as such, as it asks. They come first: it finds the dummies of a column by
the end of their names, and takes those of column 13 for column 3's. That holds for ten such columns, more than a table
here has.
"""

from typing import Any

import numpy as np
import pandas as pd
from common import Sampler, run_peer, to_codes
from ForestDiffusion import ForestDiffusionModel


class WritableRows(ForestDiffusionModel):
    """ForestDiffusion 1.0.6, which writes into what a data frame returns; since pandas 3 that is read-only."""

    def clean_onehot_data(self, X: np.ndarray) -> np.ndarray:
        """Return labels in place of dummies."""
        return np.array(super().clean_onehot_data(X))


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the trees of each noise level; see `run_peer`."""
    binary = [name for name in categories if train[name].nunique() <= 2]
    labels = [name for name in categories if name not in binary]
    ordered = train[[*labels, *(name for name in train if name not in labels)]]
    matrix, decode = to_codes(ordered, categories)
    names = list(ordered)
    model = WritableRows(
        matrix,
        bin_indexes=[names.index(name) for name in binary],
        cat_indexes=[names.index(name) for name in labels],
        int_indexes=[names.index(name) for name in names if ordered[name].dtype.kind == "i"],
        n_jobs=1,
        seed=seed,
    )
    return model, lambda rows: decode(model.generate(batch_size=rows))


if __name__ == "__main__":
    run_peer("ForestDiffusion", fit)
