"""Transformer over key-value tokens with a mixture for numbers (ORIGAMI, arXiv 2603.01444), by origami-ml.

Its own settings, with a schema that it infers and, as its authors have it for tables (`rueckstiess/origami-jsynth`),
numbers of more than 100 values as mixtures and the backbone that keeps keys and values while it samples. It trains
10,000 steps of 32 rows, which are its own 10 epochs on adult: on 3,000 rows, 10 epochs end before the 1,000 steps in
which its learning rate rises. Its authors train 400 epochs on a GPU, which takes half a day on a CPU core for adult.
"""

from math import ceil
from typing import Any

import pandas as pd
from common import MISSING, Sampler, run_peer
from origami import DataConfig, InferenceConfig, ModelConfig, OrigamiConfig, OrigamiPipeline, TrainingConfig

STEPS = 10_000
BATCH = 32
"""Rows of a step, its own number."""


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the network; see `run_peer`."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    pipeline = OrigamiPipeline(
        OrigamiConfig(
            data=DataConfig(numeric_mode="scale", infer_schema=True),
            model=ModelConfig(backbone="cached_transformer"),
            training=TrainingConfig(
                num_epochs=ceil(STEPS / ceil(len(train) / BATCH)), batch_size=BATCH, eval_strategy="no"
            ),
            inference=InferenceConfig(constrain_schema=True),
            device="cpu",
        )
    )
    records = [
        {name: None if value == MISSING or value != value else value for name, value in row.items()}
        for row in train.astype("object").to_dict("records")
    ]
    pipeline.fit(records, callbacks=[])

    def sample(rows: int) -> pd.DataFrame:
        options = {"batch_size": 512, "max_length": 2048, "seed": seed, "allow_complex_values": False}
        return pd.DataFrame(pipeline.generate(num_samples=rows, **options), columns=list(train))

    return pipeline.state_dict(include_training_state=False), sample


if __name__ == "__main__":
    run_peer("origami-ml", fit, takes_gaps=True)
