"""A synthesizer without a model: it draws train rows with replacement."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.synthesizers.base import Log, Synthesizer, SynthesizerSettings, rows_of


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
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        del conditions, temperature, log
        for batch in batches:
            drawn = np.random.default_rng((seed, batch)).integers(len(self.train), size=rows_of(batch, n))
            yield self.train.iloc[drawn]

    def _save(self, folder: Path) -> dict[str, Any]:
        self.train.to_parquet(folder / "train.parquet")
        return {}

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        del learned
        self.train = self.learned_schema.coerce(pd.read_parquet(folder / "train.parquet"), origin="train")
