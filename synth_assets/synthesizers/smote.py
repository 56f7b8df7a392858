"""Baseline: SMOTE, interpolation between neighbouring rows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from synth_assets.schema.conditions import Condition
from synth_assets.synthesizers.base import (
    BATCH_ROWS,
    Log,
    Synthesizer,
    SynthesizerSettings,
    load_rows,
    rows_of,
    save_rows,
)
from synth_assets.synthesizers.language_model.encoders import MISSING, CategoricalEncoder, NumericEncoder, RowEncoder


class SmoteSettings(SynthesizerSettings):
    """Settings of SMOTE."""

    type: Literal["smote"] = "smote"
    n_neighbors: int = Field(default=5, ge=1, description="Number of nearest neighbours to interpolate towards.")


class Smote(Synthesizer):
    """Interpolation between a train row and one of its nearest neighbours, target and all.

    SMOTE (Chawla et al., Journal of Artificial Intelligence Research 16, 2002) as it is used for regression (Torgo et
    al., SMOTE for Regression, 2013): a row is drawn, and one of its nearest neighbours; the new row lies at a random
    point of the line between the two. Distances are Euclidean, with every number at a standard deviation of 1 and two
    labels that differ as far apart as two numbers that differ by one standard deviation, as in the paper's SMOTE-NC.
    Labels and missing values are copied from the nearer end, and numbers are rounded to their column's grid.
    """

    name: ClassVar[str] = "smote"
    Settings: ClassVar[type[SynthesizerSettings]] = SmoteSettings
    settings: SmoteSettings

    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        del seed, checkpoints
        row_encoder = RowEncoder.fit(train, use_residuals=False)
        self._index(row_encoder, row_encoder.quantise(train))
        log(f"smote: indexed {len(train):,} rows")

    def _index(self, row_encoder: RowEncoder, quantised: np.ndarray) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.row_encoder, self.quantised = row_encoder, quantised
        features = []
        for column, values in zip(row_encoder.columns, quantised.T, strict=True):
            if isinstance(column, CategoricalEncoder):
                features.append(np.sqrt(0.5) * (values[:, None] == np.unique(values)))
            else:
                is_missing = values == MISSING
                present = values[~is_missing].astype("float64")
                mean, std = (present.mean(), present.std() or 1.0) if len(present) else (0.0, 1.0)
                features.append(np.where(is_missing, 0.0, (values - mean) / std)[:, None])
                if column.has_missing:
                    features.append(np.sqrt(0.5) * is_missing[:, None])
        points = np.hstack(features)
        k = min(self.settings.n_neighbors + 1, len(quantised))  # a row is its own nearest neighbour, or one like it
        self.neighbours = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(points, return_distance=False)

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        del conditions, temperature
        for batch in batches:
            rng = np.random.default_rng((seed, batch))
            yield self.row_encoder.to_frame(self._interpolate(BATCH_ROWS, rng)[: rows_of(batch, n)])
            log(f"{batch * BATCH_ROWS + rows_of(batch, n):,} of {n:,} rows")

    def _interpolate(self, n: int, rng: np.random.Generator) -> np.ndarray:
        k = self.neighbours.shape[1]
        row = rng.integers(len(self.quantised), size=n)
        other = self.neighbours[row, rng.integers(min(1, k - 1), k, size=n)]
        share = rng.random(n)
        nearer = self.quantised[np.where(share < 0.5, row, other)]
        interpolated = np.empty_like(nearer)
        for i, column in enumerate(self.row_encoder.columns):
            if isinstance(column, NumericEncoder):
                ends = self.quantised[row, i], self.quantised[other, i]
                # Of two ends of which one is missing or a value of its own, the nearer one is copied.
                is_between = column.has_digits(ends[0]) & column.has_digits(ends[1])
                difference = np.where(is_between, ends[1] - ends[0], 0)
                steps = np.rint(share * difference / column.grid_step).astype("int64")
                values = ends[0] + steps * column.grid_step
                interpolated[:, i] = np.where(is_between, values, nearer[:, i])
            else:
                interpolated[:, i] = nearer[:, i]
        return interpolated

    def _save(self, folder: Path) -> dict[str, Any]:
        save_rows(self.quantised, folder)
        return {"row_encoder": self.row_encoder.to_json()}

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        self._index(RowEncoder.from_json(learned["row_encoder"]), load_rows(folder))
