"""Autoregressive network of discretised columns (TabularARGN, Tiwald et al. 2025), by mostlyai-engine, own settings."""

from typing import Any

import pandas as pd
from common import Sampler, run_peer
from mostlyai.engine import TabularARGN


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the network; see `run_peer`."""
    import torch

    torch.set_num_threads(1)
    types = {name: "TABULAR_CATEGORICAL" if name in categories else "TABULAR_NUMERIC_AUTO" for name in train}
    model = TabularARGN(tgt_encoding_types=types, random_state=seed, device="cpu", verbose=0)
    model.fit(train)
    return model, lambda rows: model.sample(n_samples=rows)


if __name__ == "__main__":
    run_peer("mostlyai-engine", fit, takes_gaps=True)
