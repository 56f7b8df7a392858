"""Columns drawn one by one from TabPFN's predictions (Hollmann et al., Nature 637, 2025), by tabpfn-extensions.

Its weights are fetched from a model hub, where their licence has to be accepted: without that it ends with a line that
says so.
"""

from typing import Any

import numpy as np
import pandas as pd
from common import Sampler, run_peer, to_codes
from tabpfn.errors import TabPFNHuggingFaceGatedRepoError


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Fit the predictors; see `run_peer`."""
    import torch
    from tabpfn import TabPFNClassifier, TabPFNRegressor
    from tabpfn_extensions.unsupervised import TabPFNUnsupervisedModel

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    matrix, decode = to_codes(train, categories)
    model = TabPFNUnsupervisedModel(TabPFNClassifier(random_state=seed), TabPFNRegressor(random_state=seed))
    model.set_categorical_features([list(train).index(name) for name in categories])
    model.fit(torch.tensor(matrix, dtype=torch.float32))
    return None, lambda rows: decode(np.asarray(model.generate_synthetic_data(n_samples=rows)))


if __name__ == "__main__":
    try:
        run_peer("tabpfn", fit)
    except TabPFNHuggingFaceGatedRepoError as error:
        raise SystemExit(f"it does not run without a download: {str(error).splitlines()[0]}") from error
