"""Transformer over key-value tokens with a mixture for numbers (ORIGAMI, arXiv 2603.01444), by origami-ml.

The settings of its authors for adult (`configs/adult.yaml` of `rueckstiess/origami-jsynth`, 400 epochs), for every
table; a tenth of the train rows is held back to choose the best epoch.
"""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from common import MISSING, Sampler, run_peer
from origami import DataConfig, InferenceConfig, ModelConfig, OrigamiConfig, OrigamiPipeline, TrainingConfig

EPOCHS = 400


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the network; see `run_peer`."""
    import torch
    from origami.training.callbacks import TrainerCallback

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    pipeline = OrigamiPipeline(
        OrigamiConfig(
            data=DataConfig(numeric_mode="scale", cat_threshold=128, n_bins=100, infer_schema=True),
            model=ModelConfig(d_model=64, n_heads=4, n_layers=8, d_ff=512),
            training=TrainingConfig(
                batch_size=128,
                learning_rate=1e-4,
                num_epochs=EPOCHS,
                warmup_steps=1000,
                eval_epochs=5,
                eval_sample_size=500,
                constrain_schema=True,
            ),
            inference=InferenceConfig(constrain_schema=True),
            device="cpu",
        )
    )
    shuffled = train.sample(frac=1, random_state=seed)
    records = [
        {name: None if value == MISSING or value != value else value for name, value in row.items()}
        for row in shuffled.astype("object").to_dict("records")
    ]
    held_back = len(records) // 10
    with tempfile.TemporaryDirectory() as folder:
        best = Path(folder) / "best.pt"

        class KeepBest(TrainerCallback):
            """Save the model whenever its loss on the rows that are held back is the least so far."""

            def on_best(self, trainer: Any, state: Any, metrics: Any) -> None:
                pipeline.save(best, include_training_state=False)

        pipeline.fit(records[held_back:], eval_data=records[:held_back], callbacks=[KeepBest()])
        chosen = OrigamiPipeline.load(best) if best.exists() else pipeline

    def sample(rows: int) -> pd.DataFrame:
        drawn = chosen.generate(num_samples=rows, batch_size=512, max_length=2048, seed=seed, allow_complex_values=False)
        return pd.DataFrame(drawn, columns=list(train))

    return chosen.state_dict(include_training_state=False), sample


if __name__ == "__main__":
    run_peer("origami-ml", fit, takes_gaps=True)
