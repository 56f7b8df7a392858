"""A table that a tiny model learns in seconds."""

import numpy as np
import pandas as pd
import pytest

from synth_assets.great.specs import ModelSpec, ScratchBase


@pytest.fixture(scope="session")
def easy_rows() -> pd.DataFrame:
    """Give 64 encoded rows with few distinct values."""
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2, 64)
    return pd.DataFrame(
        {
            "Colour": codes.astype("int8"),
            "Size": np.where(codes == 1, 2.5, 1.5) + rng.choice([0.0, 0.25], 64),
            "Count": (codes * 3 + rng.integers(1, 3, 64)).astype("float64"),
        }
    )


@pytest.fixture(scope="session")
def quick_spec() -> ModelSpec:
    """Describe a model of 18 thousand weights, trained for 3 epochs of 8 steps."""
    return ModelSpec(
        engine="be_great",
        scratch=ScratchBase(n_layer=1, n_head=2, n_embd=32, dropout=0.1),
        epochs=3,
        batch_size=8,
        learning_rate=0.005,
        logging_steps=4,
        save_steps=5,
        seed=7,
    )
