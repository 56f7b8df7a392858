"""Sequential synthesis by classification and regression trees (synthpop, Nowok et al. 2016), by py-synthpop.

py-synthpop is a port of the R package that its authors call alpha. Its trees have synthpop's defaults: leaves
of five rows or more, values drawn from the rows of a leaf, columns in the order of the table.
"""

from typing import Any

import pandas as pd
from common import Sampler, run_peer
from synthpop import Synthpop


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Fit a tree a column; see `run_peer`."""
    kinds = {"i": "int", "f": "float"}
    types = {name: "category" if name in categories else kinds[train[name].dtype.kind] for name in train}
    # The seed is for the trees; the draws from their leaves come from NumPy's global generator.
    model = Synthpop(seed=seed)
    model.fit(train.astype(dict.fromkeys(categories, "category")), types)
    return model, model.generate


if __name__ == "__main__":
    run_peer("py-synthpop", fit)
