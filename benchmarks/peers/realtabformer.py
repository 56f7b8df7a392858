"""REaLTabFormer (Solatorio & Dupriez 2023): GPT-2 from random weights over the digits of the columns, by realtabformer.

Its own settings but two, which make it affordable on a CPU: a GPT-2 of 4 layers of 128 instead of 6 of 768, and at
most 100 epochs instead of 1,000. It ends sooner if its own test finds rows too close to the train rows.
"""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from common import Sampler, run_peer
from realtabformer import REaLTabFormer


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the network; see `run_peer`."""
    import torch
    from transformers import GPT2Config

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = REaLTabFormer(
            model_type="tabular",
            tabular_config=GPT2Config(n_layer=4, n_embd=128, n_head=4),
            epochs=100,
            # 32 rows a step, as by default: 8 rows, accumulated four times.
            batch_size=32,
            gradient_accumulation_steps=1,
            # It treats 0 as no seed.
            random_state=seed + 1,
            checkpoints_dir=str(Path(folder) / "checkpoints"),
            samples_save_dir=str(Path(folder) / "samples"),
            full_save_dir=str(Path(folder) / "full"),
            report_to="none",
            seed=seed,
            use_cpu=True,
        )
        model.fit(train, device="cpu", save_full_every_epoch=0, gen_kwargs={})
    torch.manual_seed(seed)
    return model.model, lambda rows: model.sample(n_samples=rows, device="cpu")


if __name__ == "__main__":
    run_peer("realtabformer", fit, takes_gaps=True)
