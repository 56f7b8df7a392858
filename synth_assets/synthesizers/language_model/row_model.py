"""A causal language model of encoded rows: what `LanguageModel` and `GReaT` have in common.

Importing this module imports torch: do so inside functions only.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from synth_assets.execution.processes import cores
from synth_assets.schema.conditions import Condition
from synth_assets.synthesizers.base import BATCH_ROWS, Log, ModelError, silent
from synth_assets.synthesizers.density_ratio import MIN_HELD_BACK, Rejection, features_of
from synth_assets.synthesizers.forest import ForestSettings, SequentialForest
from synth_assets.synthesizers.language_model.bounds import Bounds
from synth_assets.synthesizers.language_model.conditions import bounds_of, known_bounds
from synth_assets.synthesizers.language_model.encoders import UNENCODABLE, CategoricalEncoder, RowEncoder
from synth_assets.synthesizers.language_model.generation import EnsembleGenerator, Generator
from synth_assets.synthesizers.language_model.loss import TokenBatch
from synth_assets.synthesizers.language_model.memory import rows_cached
from synth_assets.synthesizers.language_model.parallel import current_group
from synth_assets.synthesizers.language_model.settings import SCRATCH, LanguageModelSettings
from synth_assets.synthesizers.language_model.token_trie import TokenTrie
from synth_assets.synthesizers.language_model.training import (
    LOG_INTERVAL_S,
    Stage,
    derive_seed,
    is_large_on_cpu,
    is_small,
    latest_checkpoint,
    step_of,
    threads_for,
    train,
)

MAX_DRAWS = 1000
"""Maximum number of rows drawn for each row of a batch, where conditions are met by rejection."""

MAX_DRAWS_OF_NONE = 50
"""The same, where none of them was accepted."""

PRETRAIN_EMA_DECAY, PRETRAIN_BATCH_SIZE = 0.998, 128
"""Decay of the moving average of the weights in pretraining, and rows of a step."""

MANY_ROWS = 20_000
FEW_ROWS_STEP, MANY_ROWS_STEP = (64, 2e-3), (128, 6e-3)
"""Rows of a step and learning rate of a 'scratch' base where the settings state none: below `MANY_ROWS` train rows, and
from there on. The second takes two thirds of the time on adult. Boosted trees then told rows as easily, within what a
seed changes (AUC 0.513 and 0.516 on folds, 0.523 and 0.521 on held-out rows); on folds of 9,000 rows of shoppers, more
easily (0.551 and 0.539), though their likelihood was higher."""

FEW_ROWS, FEW_ROWS_BATCH, BATCH = 1_000, 16, 64
"""Rows of a step of any other base where the settings state none: below `FEW_ROWS` train rows, and from there on. On
300 rows of abalone, validation rows took 34.1 nats with SmolLM2-135M and steps of 16 rows, 34.3 with steps of 64."""

MAX_VALIDATION_ROWS = 2_000
"""Maximum number of rows that are held back to choose the best epoch."""

MAX_PRETRAIN_ROWS, PRETRAIN_TOKENS = 120_000, 7_500_000
"""Rows, and tokens, of the pretraining where the settings state no number of rows."""

MIN_PRETRAIN_ROWS, PRETRAIN_RATIO = 60_000, 100
"""Rows of the pretraining, and rows of it for each train row: the greater bounds it. From 100 rows of abalone, the
validation loss was 42.8 nats a row with 20,000 pretraining rows, 42.3 with 60,000 and 43.5 with 300,000; from 2,400
rows, 120,000 did as well as 240,000."""

FULL_PRETRAIN_UP_TO, PRETRAIN_UP_TO = 20_000, 40_000
"""Train rows up to which the pretraining has all of these rows, and from which on it has none. On folds of adult
(24,000 train rows), boosted trees told rows at a mean AUC of 0.507 with 96,000 of them (six fits) and of 0.511 without
(five fits), where unseen rows were as likely and the fit took a fifth less time; on a fold of shoppers (8,000), at
0.536 with all, 0.542 with 40,000 and 0.555 with none. Before the density ratio, beijing was better without (0.526; with
it 0.536; 30,000 train rows)."""

MAX_RATIO_CELLS = 20_000_000
"""Maximum number of features of the train rows that the density ratio is fitted to, and of the generated ones: 240 MB
each."""

SPARE = 1.05
"""Rows that are generated for each one that `Rejection` is to keep, on average: seldom too few."""

FOREST_ROWS = 10_000
"""Maximum number of train rows that the forest of the pretraining is fitted to."""

LARGE_MODEL_ROWS = 100
"""Rows that a large model generates in parallel on a CPU, whatever is asked for: one of 135 million weights keeps 5 MB
of keys and values for a row of 100 tokens, and products over more rows are a sixth faster at most."""

GPU_ROWS = 40_000
"""Maximum number of rows that a GPU generates in parallel. The more, the more of them share their beginnings: an H200
sampled a tenth more rows of abalone a second with SmolLM2-135M than by 20,000."""

SWITCH_INTERVAL_S = 1e-4
"""How long a thread that makes data frames holds the interpreter while the one that starts a GPU's work waits. On an
H200, the architecture of distilgpt2 sampled 45,100 rows of abalone a second; with Python's own 5 ms, 41,500."""

PARTICLES = 64
"""Completions drawn for a row with missing cells, of which one is chosen by its weight."""


def default_n_models(base: str, n_train: int) -> int:
    """Return how many models are trained where the settings state no number."""
    return 2 if base == SCRATCH and n_train >= MANY_ROWS else 1


def seed_of_model(seed: int, number: int) -> int:
    """Return the seed of a model, by its number from 0, of several that are trained on the same rows."""
    return derive_seed(seed, "model", number) if number else seed


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class RowModel:
    """A causal language model, or several that share the rows of a sample, and how rows are encoded for it.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model, on the device where it is to compute.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer.
    row_encoder : RowEncoder
        The encoder of the table's rows.
    others : tuple of transformers.PreTrainedModel
        Further models of the same shape and tokenizer. Rows are draws of the mean of all models' distributions.
    rejection : Rejection, optional
        Which of the generated rows are kept; all of them by default.
    """

    model: Any
    tokenizer: Any
    row_encoder: RowEncoder
    others: tuple[Any, ...] = ()
    rejection: Rejection | None = None

    @property
    def models(self) -> tuple[Any, ...]:
        """All models."""
        return (self.model, *self.others)

    @cached_property
    def trie(self) -> TokenTrie:
        """The tokens of every value of every column."""
        return TokenTrie.build(self.row_encoder, self.tokenizer)

    def fit(
        self,
        rows: pd.DataFrame,
        settings: LanguageModelSettings,
        *,
        seed: int,
        checkpoints: Path | None = None,
        log: Log = silent,
    ) -> tuple[list[dict[str, float]], int]:
        """Train the model, or each of them on the same rows.

        A share of the rows is held back to choose the best epoch. Neither the model nor the forest of the pretraining
        is trained on it.

        Parameters
        ----------
        rows, seed, checkpoints, log
            As in `Synthesizer.fit`.
        settings : LanguageModelSettings
            How the model is trained. Its base is not loaded; it decides what is not stated.

        Returns
        -------
        losses : list of dict
            One for each epoch of the first model, as `training.train` returns it.
        resumed_from_step : int
            The step of the checkpoint that the first model's training was resumed from; 0 if there was none.

        Raises
        ------
        ModelError
            If a row cannot be encoded, or is longer than the model's context.
        """
        settings = settings.resolved()
        self._refuse_long_rows()
        for column in self.row_encoder.columns:
            if not isinstance(column, CategoricalEncoder) and column.grid.rounded_share > 0:
                share = f"{column.grid.rounded_share:.2%} of the values"
                log(f"{column.name}: {share} are rounded to {column.grid.resolution}")
        trained, validation = _split(self.row_encoder.quantise(rows), settings.validation_fraction, seed)
        stages = self._stages(trained, settings, seed=seed, log=log)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if checkpoints is None else checkpoints
            checkpoint = latest_checkpoint(folder, log)
            losses = self._train(stages, self._batch(validation), settings, seed=seed, checkpoints_dir=folder, log=log)
        return losses, 0 if checkpoint is None else step_of(checkpoint)

    def _refuse_long_rows(self) -> None:
        """Raise a `ModelError` if a row may be longer than the model's context."""
        context = getattr(self.model.config, "max_position_embeddings", None)  # some architectures have no limit
        if context is not None and self.trie.max_length > context:
            raise ModelError(
                f"a row takes up to {self.trie.max_length} tokens and the base has room for {context}; choose another "
                "base, leave columns out, or lower the max_length of a column of text."
            )

    def _stages(self, trained: np.ndarray, settings: LanguageModelSettings, *, seed: int, log: Log) -> list[Stage]:
        """Return the stages of the training on quantised train rows: the pretraining, if any, and the fine-tuning."""
        muon = settings.base == SCRATCH and not settings.lora
        batch_size, learning_rate = MANY_ROWS_STEP if len(trained) >= MANY_ROWS else FEW_ROWS_STEP
        if settings.base != SCRATCH:
            batch_size = BATCH if len(trained) >= FEW_ROWS else FEW_ROWS_BATCH
        finetune = Stage(
            name="finetune",
            rows=self._batch(trained),
            epochs=settings.epochs,
            learning_rate=settings.learning_rate or learning_rate,
            batch_size=settings.batch_size or batch_size,
            patience=settings.patience,
            ema_decay=settings.ema_decay,
            muon=muon,
        )
        n_pretrain = self._pretrain_rows(settings.pretrain.rows, len(trained))
        if not n_pretrain:
            return [finetune]
        pretrain = Stage(
            name="pretrain",
            rows=self._generated(trained, n_pretrain, settings.pretrain.forest, seed, log),
            epochs=settings.pretrain.epochs,
            learning_rate=cast(float, settings.pretrain.learning_rate),
            batch_size=PRETRAIN_BATCH_SIZE,
            patience=settings.patience,
            ema_decay=PRETRAIN_EMA_DECAY,
            muon=muon,
        )
        return [pretrain, finetune]

    def fit_rejection(
        self, rows: pd.DataFrame, settings: LanguageModelSettings, *, seed: int, batch_rows: int, log: Log
    ) -> None:
        """Fit which of the generated rows are kept, to the rows that the trained model was fitted to.

        Parameters
        ----------
        rows, settings, seed, log
            As in `fit`: the rows that it holds back decide whether any row is rejected.
        batch_rows : int
            Rows generated in parallel.
        """
        trained, validation = _split(self.row_encoder.quantise(rows), settings.validation_fraction, seed)
        if not self.row_encoder.columns or len(validation) < MIN_HELD_BACK:
            return
        started, seed = time.monotonic(), derive_seed(seed, "rejection")
        held_back = features_of(self.row_encoder, validation)
        most = MAX_RATIO_CELLS // held_back.shape[1]
        if len(trained) > most:
            trained = trained[np.random.default_rng(seed).permutation(len(trained))[:most]]
        groups = self._quantised_batches(len(trained) + len(validation), seed=seed, batch_rows=batch_rows)
        generated = features_of(self.row_encoder, np.concatenate([batch for group in groups for batch in group]))
        held_back_generated, generated = np.split(generated, [len(validation)])
        real = features_of(self.row_encoder, trained)
        self.rejection, gain = Rejection.fit(real, generated, (held_back, held_back_generated), seed=seed)
        found = f"boosted trees tell generated rows from held-back ones by {gain:.4f} nats a row"
        kept = "all rows" if self.rejection is None else f"{self.rejection.kept_share:.0%} of the rows"
        log(f"density ratio: {found}; {kept} are kept ({time.monotonic() - started:.1f} s)")

    def _train(
        self,
        stages: list[Stage],
        validation: TokenBatch,
        settings: LanguageModelSettings,
        *,
        seed: int,
        checkpoints_dir: Path,
        log: Log,
    ) -> list[dict[str, float]]:
        """Train each model, and return the losses of the first. On a CPU, small ones are trained in threads."""
        is_cancelled, n_models = Event(), len(self.models)

        def train_one(number: int, log: Log) -> list[dict[str, float]]:
            with threads_for(self.models[number]):
                return train(
                    self.models[number],
                    [_share_of_pretraining(stage, number, n_models) for stage in stages],
                    validation,
                    seed=seed_of_model(seed, number),
                    checkpoints_dir=checkpoints_dir / f"model-{number + 1}" if number else checkpoints_dir,
                    checkpoint_every=settings.checkpoint_every,
                    log=log,
                    is_cancelled=is_cancelled.is_set,
                )

        if n_models == 1:
            return train_one(0, log)
        log(f"training {n_models} models, each of which will draw an equal share of a sample")
        # Threads have one random state of torch, on which dropout depends, and one place among the group's processes.
        # On a GPU, nothing else may run while the graph of a step is captured.
        is_apart = self.model.device.type == "cpu" and is_small(self.model) and not settings.scratch.dropout
        is_apart &= current_group().size == 1
        lines: SimpleQueue[str | None] = SimpleQueue()  # and None where a model is trained
        with ThreadPoolExecutor(min(cores(), n_models) if is_apart else 1) as threads:
            fits = [threads.submit(train_one, number, partial(_put, lines, number + 1)) for number in range(n_models)]
            for fit in fits:
                fit.add_done_callback(lambda _: lines.put(None))
            try:
                for _ in fits:
                    for line in iter(lines.get, None):
                        log(line)
                    for fit in filter(Future.done, fits):
                        fit.result()
            except BaseException:
                is_cancelled.set()
                raise
        return fits[0].result()

    def _pretrain_rows(self, stated: int | None, n_train: int) -> int:
        """Return how many rows of the forest the model is pretrained on."""
        if not self.row_encoder.columns:
            return 0  # of a table of text alone, there is no forest
        if stated is not None:
            return stated
        n_tokens = sum(len(c.prefix) + len(c.parts) for c in self.trie.columns[: len(self.row_encoder.columns)])
        share = np.clip((PRETRAIN_UP_TO - n_train) / (PRETRAIN_UP_TO - FULL_PRETRAIN_UP_TO), 0.0, 1.0)
        n_rows = min(MAX_PRETRAIN_ROWS, max(MIN_PRETRAIN_ROWS, PRETRAIN_RATIO * n_train), PRETRAIN_TOKENS // n_tokens)
        return int(n_rows * share)

    def _generated(self, trained: np.ndarray, n: int, settings: ForestSettings, seed: int, log: Log) -> TokenBatch:
        """Return n rows of a forest that is fitted to the train rows, without text."""
        started = time.monotonic()
        subset = np.random.default_rng(derive_seed(seed, "forest")).permutation(len(trained))[:FOREST_ROWS]
        forest = SequentialForest(
            self.row_encoder,
            trained[np.sort(subset), : len(self.row_encoder.columns)],
            settings,
            seed=derive_seed(seed, "forest"),
        )
        generated = self._batch(forest.resample(n, seed=derive_seed(seed, "pretrain")))
        log(f"forest: generated {n:,} rows in {time.monotonic() - started:.1f} s")
        return generated

    def _batch(self, quantised: np.ndarray) -> TokenBatch:
        # Rows of the forest have no text.
        n_columns = None if quantised.shape[1] == self.row_encoder.n_cells else len(self.row_encoder.columns)
        indices = self.row_encoder.to_indices(quantised, n_columns)
        # A residual of the forest may be outside the encoder's range: such a row is left out.
        indices = indices[(indices != UNENCODABLE).all(axis=1)]
        # Sorted, since neighbouring rows with the same prefix share its computation.
        return TokenBatch.build(self.trie, indices[np.lexsort(indices.T[::-1])])

    def sample_batches(
        self,
        n: int,
        batches: range | None = None,
        *,
        seed: int = 0,
        conditions: Mapping[str, str | Condition] | None = None,
        temperature: float = 1.0,
        batch_rows: int = BATCH_ROWS,
        log: Log = silent,
    ) -> Iterator[pd.DataFrame]:
        """Sample rows, batch by batch.

        With conditions, rows are sampled within their bounds and kept with the probability that the unconditioned
        model would have kept to them: they are a sample of the model's rows that meet the conditions, by rejection
        sampling (von Neumann, 1951). With one condition, on the first column in the column order, every row
        is kept where its values are one token each. Of rare rows, a higher share is kept: see `_accepted`.

        Parameters
        ----------
        n, seed, conditions, temperature, log
            As in `Synthesizer.sample`. A longer sample begins with the shorter one.
        batches : range, optional
            Numbers of the batches to sample; all by default.
        batch_rows : int
            Rows generated in parallel. Another number gives other rows.

        Yields
        ------
        pandas.DataFrame
            The rows of a batch: `batch_rows` of them, fewer in the last one.

        Raises
        ------
        ModelError
            If a condition cannot be read or met, or `MAX_DRAWS` rows were drawn for each row of a batch and were not
            enough, or `MAX_DRAWS_OF_NONE` and none was accepted.
        """
        started = reported = time.monotonic()
        done = 0
        arguments: dict[str, Any] = {"conditions": conditions, "temperature": temperature, "batch_rows": batch_rows}
        for group in self._quantised_batches(n, batches, seed=seed, **arguments):
            frame = self.row_encoder.to_frame(np.concatenate(group))
            for quantised in group:
                rows, frame = frame.iloc[: len(quantised)], frame.iloc[len(quantised) :]
                yield rows.reset_index(drop=True)
                done += len(quantised)
                now = time.monotonic()
                if now - reported >= LOG_INTERVAL_S or done == n:
                    reported = now
                    rate = done / (now - started)
                    log(f"{done:,} of {n:,} rows, {rate:,.0f} rows/s, {(n - done) / rate:.0f} s left")

    def _quantised_batches(
        self,
        n: int,
        batches: range | None = None,
        *,
        seed: int,
        conditions: Mapping[str, str | Condition] | None = None,
        temperature: float = 1.0,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[list[np.ndarray]]:
        """Sample quantised rows, those of one batch or, on a GPU, of several at a time; see `sample_batches`."""
        drawn_rows = min(batch_rows, LARGE_MODEL_ROWS) if is_large_on_cpu(self.model) else batch_rows
        if self.rejection is not None:
            drawn_rows = math.ceil(drawn_rows * SPARE / self.rejection.kept_share)
        batches = range(-(-n // batch_rows)) if batches is None else batches
        together = self._batches_at_once(drawn_rows)
        bounds_for = lru_cache(lambda n_rows: bounds_of(conditions or {}, self.row_encoder, n_rows))
        with threads_for(self.model):
            generator = self._generator(temperature)

            def draw(numbers: range) -> list[np.ndarray]:
                wanted = [min(batch_rows, n - number * batch_rows) for number in numbers]
                seeds = [derive_seed(seed, number) for number in numbers]
                bounds = bounds_for(drawn_rows * len(numbers))
                return self._accepted(generator, drawn_rows, wanted, bounds, seeds, conditions or {})

            groups = [batches[start : start + together] for start in range(0, len(batches), together)]
            yield from _one_ahead(draw, groups) if self._is_on_gpu else map(draw, groups)

    def _generator(self, temperature: float) -> Generator | EnsembleGenerator:
        generators = [
            Generator(model.eval(), self.row_encoder, self.trie, temperature=temperature) for model in self.models
        ]
        return generators[0] if len(generators) == 1 else EnsembleGenerator(generators)

    @property
    def _is_on_gpu(self) -> bool:
        return bool(next(self.model.parameters()).device.type == "cuda")

    def _batches_at_once(self, batch_rows: int) -> int:
        """Return how many batches are generated together: on a GPU, as many as keep it busy and fit in its memory."""
        if not self._is_on_gpu:
            return 1
        return max(1, min(GPU_ROWS, rows_cached(self.model, self.trie.max_length)) // batch_rows)

    def _accepted(
        self,
        generator: Generator | EnsembleGenerator,
        n_drawn: int,
        wanted: list[int],
        bounds: dict[int, Bounds],
        seeds: list[int],
        conditions: Mapping[str, str | Condition],
    ) -> list[np.ndarray]:
        """Return the rows of several batches, as many as are wanted of each; `n_drawn` of each are drawn at a time.

        The weight of a row is the probability that the unconditioned model would have kept to the bounds, times that of
        `rejection`. A row is accepted with the probability that its weight is of the greatest one possible: 1, as long
        as the first rows drawn of a batch are enough. If not, the rows after them are compared with the greatest weight
        that a row of the batch had (Caffo, Booth and Davis, *Empirical supremum rejection sampling*, 2002): of a
        condition that the model meets in one row of 100,000, whatever the rest of the row, nearly every row is accepted
        then.
        """
        parts: list[list[np.ndarray]] = [[] for _ in seeds]
        rngs = [np.random.default_rng(seed) for seed in seeds]
        greatest = np.full(len(seeds), -np.inf)  # log of the greatest weight, by batch
        drawn = 0
        while any(sum(map(len, found)) < n for found, n in zip(parts, wanted, strict=True)):
            n_met = sum(len(rows) for found in parts for rows in found)
            if drawn >= (MAX_DRAWS if n_met else MAX_DRAWS_OF_NONE) * n_drawn:
                stated = {name: str(condition) for name, condition in conditions.items()}
                raise ModelError(
                    f"of {drawn * len(seeds):,} rows that the model generated, {n_met:,} met {stated}: too "
                    "rare to be sampled. Loosen the conditions, or put their columns first in column_order and fit "
                    "again."
                )
            quantised, log_weights = generator.generate(
                n_drawn * len(seeds), bounds, seeds=[derive_seed(seed, drawn) for seed in seeds]
            )
            log_weights += self._log_kept(quantised)
            greatest = np.maximum(greatest, log_weights.reshape(len(seeds), -1).max(axis=1))
            bound = np.repeat(
                np.where(np.isfinite(greatest), greatest, 0.0) if drawn else np.zeros(len(seeds)), n_drawn
            )
            # A row with weight -inf could not keep to its bounds and is never accepted; one with weight 0 always is.
            is_accepted = np.log(1.0 - np.concatenate([rng.random(n_drawn) for rng in rngs])) <= log_weights - bound
            is_accepted &= np.isfinite(log_weights)
            for found, rows, kept in zip(
                parts, np.split(quantised, len(seeds)), np.split(is_accepted, len(seeds)), strict=True
            ):
                found.append(rows[kept])
            drawn += n_drawn
        return [np.concatenate(found)[:n] for found, n in zip(parts, wanted, strict=True)]

    def _log_kept(self, quantised: np.ndarray) -> np.ndarray | float:
        """Return the log of the probability that each row is kept by `rejection`: 0 without one."""
        if self.rejection is None:
            return 0.0
        return self.rejection.log_probability(features_of(self.row_encoder, quantised))

    def impute(
        self,
        rows: pd.DataFrame,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        batch_rows: int = 512,
        log: Log = silent,
    ) -> pd.DataFrame:
        """Fill in missing cells, given the rest of their row.

        For each row, `PARTICLES` completions are generated with its known cells forced, and one is chosen with the
        probability that the model gives to the known cells after the first missing one: importance resampling (Rubin,
        1987). It is exact where no known cell comes after a missing one in the column order.

        Parameters
        ----------
        rows, seed, temperature, log
            As in `LanguageModel.impute`, as are the result and the errors.
        batch_rows : int
            Completions generated in parallel.
        """
        encoder = self.row_encoder
        if set(rows.columns) != set(encoder.names):
            raise ModelError(
                f"impute was given the columns {', '.join(map(str, rows.columns))}; the model's are "
                f"{', '.join(encoder.names)}."
            )
        filled = rows.copy()
        incomplete = np.flatnonzero(rows.isna().any(axis="columns").to_numpy())
        if not len(incomplete):
            return filled
        known = rows.iloc[incomplete]
        quantised, is_open = _nearest(encoder, encoder.quantise(known))
        is_open |= known.isna()[[column.name for column in encoder.all_columns]].to_numpy()
        per_batch = max(1, batch_rows // PARTICLES)
        with threads_for(self.model):
            generator = self._generator(temperature)
            for start in range(0, len(quantised), per_batch):
                part = slice(start, start + per_batch)
                quantised[part] = self._complete(generator, quantised[part], is_open[part], derive_seed(seed, start))
                log(f"{min(start + per_batch, len(quantised)):,} of {len(quantised):,} rows filled in")
        complete = encoder.to_frame(quantised)
        for name in rows.columns:
            is_empty = rows[name].isna().to_numpy()
            if not is_empty.any():
                continue
            values = rows[name].astype("object").to_numpy(copy=True)
            values[is_empty] = complete[name].astype("object").to_numpy()[is_empty[incomplete]]
            filled[name] = pd.Series(values, index=rows.index).astype(complete[name].dtype)
        return filled

    def _complete(
        self, generator: Generator | EnsembleGenerator, quantised: np.ndarray, is_open: np.ndarray, seed: int
    ) -> np.ndarray:
        """Return completed rows. Where no completion fits the known cells, those of numbers, then all, are opened."""
        is_number = np.array([not isinstance(column, CategoricalEncoder) for column in self.row_encoder.all_columns])
        completed = quantised.copy()
        failed = np.arange(len(quantised))
        for opened in (np.zeros_like(is_number), is_number, np.ones_like(is_number)):
            rows, is_possible = self._completions(
                generator, quantised[failed], is_open[failed] | opened, derive_seed(seed, *opened)
            )
            completed[failed[is_possible]] = rows[is_possible]
            failed = failed[~is_possible]
            if not len(failed):
                return completed
        raise ModelError(f"{len(failed)} rows cannot be filled in: the model draws no valid row.")

    def _completions(
        self, generator: Generator | EnsembleGenerator, quantised: np.ndarray, is_open: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a completion of each row, and whether it fits the known cells."""
        known, gaps = np.repeat(quantised, PARTICLES, axis=0), np.repeat(is_open, PARTICLES, axis=0)
        bounds: dict[int, Bounds] = known_bounds(known, gaps, self.row_encoder)
        generated, log_weights = generator.generate(len(known), bounds, seeds=[seed])
        log_weights = (log_weights + self._log_kept(generated)).reshape(len(quantised), PARTICLES)
        best = log_weights.max(axis=1, keepdims=True)
        is_possible = np.isfinite(best[:, 0])
        weights = np.exp(log_weights - np.where(np.isfinite(best), best, 0.0))
        cumulative = weights.cumsum(axis=1) / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        drawn = np.random.default_rng(seed).random((len(quantised), 1))
        choice = (cumulative < drawn).sum(axis=1).clip(max=PARTICLES - 1)
        completed: np.ndarray = generated.reshape(len(quantised), PARTICLES, -1)[np.arange(len(quantised)), choice]
        return completed, is_possible


def _split(quantised: np.ndarray, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on, and those that are held back for validation; a single row is both."""
    is_held_back = np.zeros(len(quantised), bool)
    held_back = max(1, min(round(validation_fraction * len(quantised)), MAX_VALIDATION_ROWS))
    order = np.random.default_rng(derive_seed(seed, "validation")).permutation(len(quantised))
    is_held_back[order[:held_back]] = len(quantised) > 1
    return quantised[~is_held_back], quantised[is_held_back] if is_held_back.any() else quantised


def _share_of_pretraining(stage: Stage, number: int, n_models: int) -> Stage:
    """Return a stage as one of several models trains it: each is pretrained on rows of its own."""
    if stage.name != "pretrain" or n_models == 1:
        return stage
    return replace(stage, rows=stage.rows.select(torch.arange(number, len(stage.rows), n_models)))


def _put(lines: "SimpleQueue[str | None]", number: int, line: str) -> None:
    lines.put(f"model {number}: {line}")


def _one_ahead(function: Callable[[range], list[np.ndarray]], items: Sequence[range]) -> Iterator[list[np.ndarray]]:
    """Yield results in order; a thread computes the next one while the caller works on the one before."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with ThreadPoolExecutor(1) as thread:
            pending = None
            for item in items:
                following = thread.submit(function, item)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()
    finally:
        sys.setswitchinterval(before)


def _nearest(encoder: RowEncoder, quantised: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move known numbers to the nearest value of the train rows' grid; say which cells have no value that is near.

    Those are labels and characters that the train rows do not have: (n, m) in the order in which columns are generated.
    """
    is_unknown = np.zeros((len(quantised), len(encoder.all_columns)), bool)
    for i, column in enumerate(encoder.all_columns):
        cells = encoder.cells_of(i)
        quantised[:, cells], is_unknown[:, i] = column.nearest(quantised[:, cells])
    return quantised, is_unknown
