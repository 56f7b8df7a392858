"""A synthesizer without a model: it draws train rows with replacement."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.synthesizers.base import Log, Synthesizer, SynthesizerSettings


class StubSettings(SynthesizerSettings):
    type: Literal["stub"] = "stub"


class Stub(Synthesizer):
    name = "stub"
    Settings = StubSettings
    supports_text = True

    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        del seed, checkpoints
        self.train = train
        log(f"fitted to {len(train)} rows")

    def _sample_batches(
        self, n: int, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        del conditions, temperature, log
        drawn = np.random.default_rng(seed).integers(len(self.train), size=n)
        for begin in range(0, n, 50):
            yield self.train.iloc[drawn[begin : begin + 50]]

    def _save(self, folder: Path) -> dict[str, Any]:
        self.train.to_parquet(folder / "train.parquet")
        return {}

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        del learned
        self.train = self.learned_schema.coerce(pd.read_parquet(folder / "train.parquet"), origin="train")
