"""A synthesizer without a model: it draws train rows with replacement, and makes keys."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.schema.columns import Id
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import Log, Synthesizer, SynthesizerSettings, silent


class StubSettings(SynthesizerSettings):
    type: Literal["stub"] = "stub"


class Stub(Synthesizer):
    name = "stub"
    Settings = StubSettings

    def fit(
        self,
        train: pd.DataFrame,
        schema: TableSchema,
        *,
        seed: int = 0,
        checkpoints: Path | None = None,
        log: Log = silent,
    ) -> "Stub":
        self.schema = schema
        self._fit(schema.coerce(train, origin="train"), seed=seed, checkpoints=checkpoints, log=log)
        return self

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        temperature: float = 1.0,
        log: Log = silent,
        first_key: int = 0,
    ) -> pd.DataFrame:
        batches = self._sample_batches(n, seed=seed, conditions=conditions or {}, temperature=temperature, log=log)
        rows = pd.concat(batches, ignore_index=True)[self.schema.published]
        for column in self.schema.columns:
            if isinstance(column, Id):
                rows[column.name] = column.generate(n, offset=first_key, seed=seed)
        return rows

    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        del seed, checkpoints
        self.train = train
        self.hidden_labels = dict.fromkeys(self.schema.categorical, 0)
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
        self.train = self.schema.coerce(pd.read_parquet(folder / "train.parquet"), origin="train")
