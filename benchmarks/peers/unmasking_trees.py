"""Autoregressive boosted trees over masked columns (UnmaskingTrees, McCarter 2024), by utrees, own settings."""

from typing import Any

import pandas as pd
from common import Sampler, run_peer, to_codes
from sklearn.utils.validation import validate_data
from utrees import KDIQuantizer, UnmaskingTrees

# utrees 0.3.0 calls a method that scikit-learn 1.7 no longer has.
KDIQuantizer._validate_data = validate_data


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the trees of each column; see `run_peer`."""
    matrix, decode = to_codes(train, categories)
    kinds = {"i": "integer", "f": "continuous"}
    types = ["categorical" if name in categories else kinds[train[name].dtype.kind] for name in train]
    model = UnmaskingTrees(random_state=seed)
    model.fit(matrix, quantize_cols=types)
    return model, lambda rows: decode(model.generate(n_generate=rows))


if __name__ == "__main__":
    run_peer("utrees", fit, takes_gaps=True)
