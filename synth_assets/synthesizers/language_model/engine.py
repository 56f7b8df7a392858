"""Our engine: be_great.GReaT with the same sentences, learned and written by other means.

Importing this module imports torch: do so inside functions only.
"""

import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import be_great
import numpy as np
import pandas as pd

from synth_assets.synthesizers.forest import Teacher
from synth_assets.synthesizers.language_model.base_models import quiet_transformers
from synth_assets.synthesizers.language_model.conditions import limits_of
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.generation import Bounds, Generator, batches
from synth_assets.synthesizers.language_model.loss import TokenBatch
from synth_assets.synthesizers.language_model.token_trie import TokenTrie
from synth_assets.synthesizers.language_model.training import (
    LOG_INTERVAL_S,
    Log,
    Stage,
    compiled,
    derive_seed,
    threads_for,
    train,
)
from synth_assets.synthesizers.settings import ModelError, TrainingSpec

MOST_DRAWS = 1000
"""Rows drawn for each one wanted, at most, where conditions have to be met by rejection."""

LESSONS_AVERAGING = 0.998
"""Of the moving average of the weights, on the forest's rows: these take far more steps than the real ones."""

PARTICLES = 64
"""Completions that are drawn for a row with missing cells, of which one is taken by its weight."""


def _silent(line: str) -> None:
    del line


class GReaT(be_great.GReaT):  # type: ignore[misc]
    """A language model of rows that can be used in the place of `be_great.GReaT`.

    What is not overridden is be_great's: bases, LoRA, `save`. A model that be_great saved is loaded, and sampled as
    be_great does, for it does not know its table's grid; one that this class saved can be loaded by be_great.

    Parameters
    ----------
    llm : str
        A folder, or a name on the hub.
    **arguments
        Of `be_great.GReaT`: `efficient_finetuning`, `lora_config`, `experiment_dir`, `batch_size`, ...
    """

    def __init__(self, llm: str, **arguments: Any) -> None:
        quiet_transformers()
        super().__init__(llm, **arguments)
        self.row_encoder_json: dict[str, Any] | None = None

    @property
    def row_encoder(self) -> RowEncoder:
        """How rows are written.

        Raises
        ------
        ModelError
            If the model has not been fitted by this engine.
        """
        if self.row_encoder_json is None:
            raise ModelError("this model does not know a table's grid: fit it with this engine first.")
        return RowEncoder.from_json(self.row_encoder_json)

    def fit(
        self,
        data: pd.DataFrame,
        *,
        row_encoder: RowEncoder | None = None,
        training: TrainingSpec | None = None,
        learning_rate: float = 5e-4,
        seed: int = 0,
        device: str = "auto",
        report: Log = _silent,
    ) -> list[dict[str, float]]:
        """Fit the model to rows.

        A part of the rows is held back to stop in time; no row that is given here is used for anything else. The
        forest learns from what is left, and never sees the part that is held back either.

        Parameters
        ----------
        data : pandas.DataFrame
            The train rows: labels as `str`, numbers as numbers, none missing.
        row_encoder : RowEncoder, optional
            How rows are written; found from `data` if not given. A 'scratch' base has it in its tokenizer.
        training : TrainingSpec, optional
            The forest, the part that is held back, and how the best weights are found.
        learning_rate : float
            At its height, on the real rows.
        seed : int
            Of everything that is drawn.
        device : str
            As in be_great: 'auto', 'cpu', 'cuda', ...
        report : callable
            Takes lines of progress.

        Returns
        -------
        list of dict
            One for each epoch, as `training.train` gives it.

        Raises
        ------
        ModelError
            If the rows cannot be written, or the model has no room for one.
        """
        spec = training or TrainingSpec()
        row_encoder = row_encoder or RowEncoder.fit(data)
        trie = _tokens_of(row_encoder, self.tokenizer)
        longest = trie.max_length
        room = getattr(self.model.config, "max_position_embeddings", None)  # some architectures have no limit
        if room is not None and longest > room:
            raise ModelError(
                f"a row takes up to {longest} tokens and the base has room for {room}; choose another base."
            )
        self._resolve_device(device)
        self._update_column_information(data)
        self._update_conditional_information(data, row_encoder.columns[0].name)
        self.row_encoder_json = row_encoder.to_json()
        units = row_encoder.quantise(data)
        held_back = np.zeros(len(units), bool)
        share = max(1, round(spec.validation * len(units)))
        permuted = np.random.default_rng(derive_seed(seed, "validation")).permutation(len(units))
        held_back[permuted[:share]] = len(units) > 1
        seen = units[~held_back]
        phases = []
        if spec.teacher_rows:
            started = time.monotonic()
            rows = Teacher(row_encoder, seen, spec.teacher, seed=derive_seed(seed, "trees")).resample(
                spec.teacher_rows, seed=derive_seed(seed, "teacher")
            )
            report(f"forest: wrote {len(rows):,} rows in {time.monotonic() - started:.1f} s")
            phases.append(
                Stage(
                    "pretrain",
                    _token_batch(row_encoder, trie, rows),
                    spec.teacher_epochs,
                    self.batch_size,
                    spec.teacher_learning_rate,
                    spec.patience,
                    LESSONS_AVERAGING,
                )
            )
        phases.append(
            Stage(
                "finetune",
                _token_batch(row_encoder, trie, seen),
                self.epochs,
                self.batch_size,
                learning_rate,
                spec.patience,
                spec.averaging,
            )
        )
        judged = units[held_back] if held_back.any() else units
        with threads_for(self.model), compiled(self.model):
            return train(
                self.model,
                phases,
                _token_batch(row_encoder, trie, judged),
                seed=seed,
                checkpoints_dir=Path(self.experiment_dir),
                checkpoint_every=spec.save_epochs,
                log=report,
            )

    def sample(
        self,
        n_samples: int,
        temperature: float = 1.0,
        k: int = 1000,
        *,
        conditions: Mapping[str, str] | None = None,
        seed: int = 0,
        device: str = "auto",
        report: Log = _silent,
        **arguments: Any,
    ) -> pd.DataFrame:
        """Write rows; see `sample_chunks`.

        Parameters
        ----------
        n_samples : int
            How many.
        temperature : float
            Of the softmax over the next token; 1.0 is what the model learned.
        k : int
            Rows a shard: as many are written side by side. Another number gives other rows.
        conditions : mapping of str to str, optional
            In be_great's syntax: `{"Rings": ">= 15", "Sex": "== 'I'"}`.
        seed : int
            The same model, seed, temperature, k and conditions give the same rows on the same machine, and a longer
            sample begins with the shorter one.
        device : str
            As in be_great.
        report : callable
            Takes lines of progress.
        **arguments
            Of be_great's own `sample`, for a model that be_great fitted.

        Returns
        -------
        pandas.DataFrame
            Exactly `n_samples` rows.
        """
        if self.row_encoder_json is None and self.columns is None:
            raise ModelError("this model has not been fitted: call fit first.")
        if self.row_encoder_json is None:
            return super().sample(
                n_samples, temperature=temperature, k=k, conditions=conditions, device=device, **arguments
            )
        chunks = self.sample_chunks(
            n_samples, temperature=temperature, k=k, conditions=conditions, seed=seed, device=device, report=report
        )
        empty = self.row_encoder.to_frame(np.zeros((0, len(self.row_encoder.columns)), np.int64))
        return pd.concat(list(chunks) or [empty], ignore_index=True)

    def sample_chunks(
        self,
        n_samples: int,
        temperature: float = 1.0,
        k: int = 1000,
        *,
        conditions: Mapping[str, str] | None = None,
        seed: int = 0,
        device: str = "auto",
        report: Log = _silent,
    ) -> Iterator[pd.DataFrame]:
        """Write rows, a shard at a time, in memory that does not grow with their number.

        With conditions, rows are written within them and kept with the probability that the model, asked for
        nothing, would have kept to them: what is kept is a sample of the model's rows that meet the conditions, by
        the argument of rejection sampling (von Neumann, 1951). With one condition, on the first column in the
        written order, every row is kept where its values are one token each.

        Parameters
        ----------
        n_samples, temperature, k, conditions, seed, device, report
            As in `sample`.

        Yields
        ------
        pandas.DataFrame
            The rows of a shard: `k` of them, fewer in the last one.

        Raises
        ------
        ModelError
            If a condition cannot be read or met, or `MOST_DRAWS` rows were drawn for each one wanted in a shard and
            were not enough.
        """
        self._resolve_device(device)
        self.model.eval()
        row_encoder = self.row_encoder
        asked = limits_of(conditions or {}, row_encoder, k)
        started = reported = time.monotonic()
        written = 0
        with threads_for(self.model):
            generator = Generator(
                self.model, row_encoder, _tokens_of(row_encoder, self.tokenizer), temperature=temperature
            )
            for shard, wanted in batches(n_samples, k):
                units = self._shard(generator, k, wanted, asked, derive_seed(seed, shard), conditions)
                yield row_encoder.to_frame(units)
                written += wanted
                now = time.monotonic()
                if now - reported >= LOG_INTERVAL_S or written == n_samples:
                    reported = now
                    rate = written / (now - started)
                    left = (n_samples - written) / rate
                    report(f"{written:,} of {n_samples:,} rows, {rate:,.0f} rows/s, {left:.0f} s left")

    def _shard(
        self,
        generator: Generator,
        width: int,
        wanted: int,
        asked: dict[int, Bounds],
        seed: int,
        conditions: Mapping[str, str] | None,
    ) -> np.ndarray:
        parts: list[np.ndarray] = []
        kept = drawn = 0
        rng = np.random.default_rng(seed)
        while kept < wanted:
            if drawn >= MOST_DRAWS * width:
                raise ModelError(
                    f"of {drawn:,} rows that the model wrote, {kept} met {dict(conditions or {})}: too rare to be "
                    "sampled. Ask for less, or put the columns of the conditions first in the order and fit anew."
                )
            units, weights = generator.generate(width, asked, seed=derive_seed(seed, drawn))
            # Never a row that could not keep to its limits, whose weight is -inf; always one whose weight is 0.
            keep = np.log(1.0 - rng.random(width)) <= weights
            keep &= np.isfinite(weights)
            parts.append(units[keep])
            kept, drawn = kept + int(keep.sum()), drawn + width
        return np.concatenate(parts)[:wanted]

    def impute(
        self,
        df_miss: pd.DataFrame,
        temperature: float = 1.0,
        k: int = 512,
        *,
        seed: int = 0,
        device: str = "auto",
        report: Log = _silent,
    ) -> pd.DataFrame:
        """Fill missing cells, given the rest of their row.

        For each row, `PARTICLES` completions are written with its known cells forced, and one is taken with the
        probability that the model gives to the known cells behind what was filled in: importance resampling (Rubin,
        1987). Where no known cell stands behind a missing one, this is exact; elsewhere the better, the more
        completions.

        Parameters
        ----------
        df_miss : pandas.DataFrame
            Rows with the table's columns; NaN or None where a cell is missing.
        temperature : float
            Of the softmax over the next token.
        k : int
            Rows that are written side by side.
        seed : int
            Of the draws.
        device : str
            As in be_great.
        report : callable
            Takes lines of progress.

        Returns
        -------
        pandas.DataFrame
            The same rows under the same index; known cells are as they were.

        Raises
        ------
        ModelError
            If a column is missing, or a known cell is none that the model can write in this row.
        """
        row_encoder = self.row_encoder
        if set(df_miss.columns) != set(row_encoder.names):
            raise ModelError(
                f"impute was given the columns {', '.join(map(str, df_miss.columns))}; the model's are "
                f"{', '.join(row_encoder.names)}."
            )
        self._resolve_device(device)
        self.model.eval()
        filled = df_miss.copy()
        rows = np.flatnonzero(df_miss.isna().any(axis="columns").to_numpy())
        if not len(rows):
            return filled
        known = df_miss.iloc[rows]
        units = row_encoder.quantise(known)
        missing = known[[column.name for column in row_encoder.columns]].isna().to_numpy()
        _check_known(row_encoder, units, missing, known)
        per_batch = max(1, k // PARTICLES)
        with threads_for(self.model):
            generator = Generator(
                self.model, row_encoder, _tokens_of(row_encoder, self.tokenizer), temperature=temperature
            )
            for start in range(0, len(rows), per_batch):
                part = slice(start, start + per_batch)
                units[part] = _completions(
                    generator, row_encoder, units[part], missing[part], derive_seed(seed, start), known.index[part]
                )
                report(f"{min(start + per_batch, len(rows)):,} of {len(rows):,} rows filled")
        complete = row_encoder.to_frame(units)
        for name in df_miss.columns:
            empty = df_miss[name].isna().to_numpy()
            if not empty.any():
                continue
            values = df_miss[name].astype("object").to_numpy(copy=True)
            values[empty] = complete[name].to_numpy()[empty[rows]]
            filled[name] = pd.Series(values, index=df_miss.index).astype(complete[name].dtype)
        return filled

    @classmethod
    def load_from_dir(cls, path: str) -> Self:
        """Load a model that `save` of this class or of be_great wrote; weights only, nothing is unpickled."""
        quiet_transformers()
        loaded: Self = super().load_from_dir(path)
        loaded.device = next(
            loaded.model.parameters()
        ).device  # be_great keeps the device that the model had when it was saved
        return loaded


@lru_cache(maxsize=32)
def _tokens_of(row_encoder: RowEncoder, tokenizer: Any) -> TokenTrie:
    # Every value of every column goes through the tokenizer: of abalone's, as long as a thousand rows take to write.
    return TokenTrie.build(row_encoder, tokenizer)


def _token_batch(row_encoder: RowEncoder, trie: TokenTrie, units: np.ndarray) -> TokenBatch:
    codes = row_encoder.codes(units)
    # Residuals of generated rows may lie outside those that can be encoded: these rows are left out.
    codes = codes[(codes >= 0).all(axis=1)]
    # Sorted, so that neighbours share prefixes, which are computed once.
    return TokenBatch.build(trie, codes[np.lexsort(codes.T[::-1])])


def _check_known(row_encoder: RowEncoder, units: np.ndarray, missing: np.ndarray, rows: pd.DataFrame) -> None:
    for place, column in enumerate(row_encoder.columns):
        low, high = row_encoder.bounds(place)
        outside = ~missing[:, place] & ((units[:, place] < low) | (units[:, place] > high))
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            raise ModelError(
                f"row {rows.index[row]!r} has {rows[column.name].iloc[row]!r} in column {column.name!r}, which no row "
                "that the model learned from has; leave the row out, or set the cell to missing too."
            )


def _completions(
    generator: Generator, row_encoder: RowEncoder, units: np.ndarray, missing: np.ndarray, seed: int, index: pd.Index
) -> np.ndarray:
    many, gaps = np.repeat(units, PARTICLES, axis=0), np.repeat(missing, PARTICLES, axis=0)
    asked = {}
    for place in range(len(row_encoder.columns)):
        low, high = row_encoder.bounds(place)
        asked[place] = Bounds(
            np.where(gaps[:, place], low, many[:, place]), np.where(gaps[:, place], high, many[:, place])
        )
    written, weights = generator.generate(len(many), asked, seed=seed)
    weights = weights.reshape(len(units), PARTICLES)
    best = weights.max(axis=1, keepdims=True)
    if not np.isfinite(best).all():
        row = int(np.flatnonzero(~np.isfinite(best[:, 0]))[0])
        raise ModelError(
            f"row {index[row]!r} cannot be filled: none of {PARTICLES} completions fits its known cells, which lie too "
            "far from those of the train rows."
        )
    shares = np.exp(weights - best)
    shares = shares.cumsum(axis=1) / shares.sum(axis=1, keepdims=True)
    drawn = np.random.default_rng(seed).random((len(units), 1))
    taken = (shares < drawn).sum(axis=1)
    found: np.ndarray = written.reshape(len(units), PARTICLES, -1)[np.arange(len(units)), taken]
    return found
