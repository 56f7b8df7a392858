"""Training loop: AdamW or Muon, a learning rate that decays once it gains little, weight averaging, exact resume."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from synth_assets.storage.files import sha256
from synth_assets.synthesizers.base import Log, ModelError, silent
from synth_assets.synthesizers.language_model.backbone import is_plain_gpt2
from synth_assets.synthesizers.language_model.base_models import first_line
from synth_assets.synthesizers.language_model.graphs import GraphedLoss
from synth_assets.synthesizers.language_model.kernels import has_bfloat16
from synth_assets.synthesizers.language_model.layers import replace_layers
from synth_assets.synthesizers.language_model.loss import TokenBatch, negative_log_likelihood
from synth_assets.synthesizers.language_model.memory import Capacity, Sizes, capacity_for, free_bytes, require_room
from synth_assets.synthesizers.language_model.optimizers import FlatWeights
from synth_assets.synthesizers.language_model.parallel import Group, current_group

LOG_INTERVAL_S = 5.0

SMALL_MODEL = 5_000_000
"""Parameters below which a model is trained and sampled with one thread. One thread is then as fast
as many, and far faster where other work uses the cores: with two threads on two busy cores, sampling from the 'scratch'
model of abalone fell from 100 rows a second to 5."""

WARM_UP_STEPS = 100
"""Steps in which the learning rate rises, unless they are more than `WARM_UP` of the stage."""

WARM_UP = 0.05
"""Maximum fraction of the steps of a stage in which the learning rate rises."""

MIN_GAIN = 2e-3
"""Relative gain in validation loss below which an epoch counts towards the patience of a stage. With half of it, adult
took two more epochs, and on folds boosted trees told its rows from real ones as easily."""

DECAY = 0.25
"""Epochs of the decay, relative to the epochs before it, rounded, but at least one. Rounded up, there were two of adult
after five epochs, of which the second gained nothing; rounded down, one fewer of beijing, whose loss was higher."""

MAX_ATTENTION, MIN_ROWS_AT_ONCE = 2_000_000, 8
"""Pairs of tokens of all rows that go through the model at once on a CPU, and rows whatever their pairs: with rows of
470 tokens, 3 at once took half as long again as 9."""

MAX_ACTIVATION_BYTES = 2_000_000_000
"""Estimated memory of a large model's activations on a CPU, which bounds the tokens that go through it at once: the 64
rows of a step of SmolLM2-135M on abalone would take 11 GB."""

MIN_PADDING = 0.1
"""Share of padding in the batches of an epoch from which on rows of similar length share a batch."""

POOL_BATCHES = 16
"""Batches whose rows are sorted by length together. Rows are drawn at random for each of these pools."""

GPU_VALIDATION_ROWS = 500
"""Rows that go through the model at once on a GPU in validation, if they fit."""

MAX_GRADIENT_NORM = 1.0

CHECKPOINT_BYTES_S, CHECKPOINT_SHARE = 5e8, 0.1
"""Bytes of a large model's checkpoint that are written a second, about, and the share of the time that writing takes at
most: where an epoch takes a second, one of SmolLM2-135M, 2.7 GB, is not worth it."""


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Parameters
    ----------
    name : str
        Name in the log: 'pretrain' or 'finetune'.
    rows : TokenBatch
        Train rows.
    epochs, batch_size : int
        Maximum number of epochs, and rows of a step.
    learning_rate : float
        Learning rate, reached after a warm-up and kept until the validation loss gains little, or few epochs remain;
        it then decays linearly to 0 (Hägele et al., *Scaling Laws and Compute-Optimal Training Beyond Fixed Training
        Durations*, 2024, section 3). The stage ends there, or at the first of these epochs that gains nothing. The
        number of epochs so follows the table.
    patience : int
        Epochs that gain less than `MIN_GAIN` in a row, after which the learning rate decays.
    ema_decay : float
        Decay of the exponential moving average of the weights, which are validated and kept (Polyak and
        Juditsky, 1992; Tarvainen and Valpola, 2017, section 2).
    muon : bool
        Whether the matrices of the blocks are trained by Muon: for weights that begin at random. Those that AdamW has
        pretrained go on with it (Liu et al., *Muon is Scalable for LLM Training*, 2025, section 3.5).
    """

    name: str
    rows: TokenBatch
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    ema_decay: float
    muon: bool


def derive_seed(*parts: object) -> int:
    """Derive a seed, from 0 to 2**32 - 1, from the texts of everything that it depends on."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:4])


def train(
    model: Any,
    stages: list[Stage],
    validation: TokenBatch,
    *,
    seed: int,
    checkpoints_dir: Path,
    checkpoint_every: int,
    log: Log,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[dict[str, float]]:
    """Train a model in place, stage by stage, from the latest checkpoint if there is one.

    A run that was killed and resumed ends with the same weights as one that was not: each epoch has a seed of its own,
    and checkpoints are written between epochs. Of several processes that train the model together, the first writes
    checkpoints and the log.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model; afterwards it has the weights of the best epoch of the last stage.
    stages : list of Stage
        Stages in order. Each starts from the best weights of the one before.
    validation : TokenBatch
        Rows that no stage is trained on.
    seed : int
        Seed of the order of rows and of dropout.
    checkpoints_dir : pathlib.Path
        Folder for the checkpoints of this training alone.
    checkpoint_every : int
        Epochs between checkpoints.
    log : callable
        Receives lines of progress.
    is_cancelled : callable
        Asked before each step whether training is to end.

    Returns
    -------
    list of dict
        One for each epoch: 'stage' (from 0), 'epoch' (numbered over all stages), 'step', 'loss' and 'eval_loss' in
        nats a row, 'learning_rate'.

    Raises
    ------
    concurrent.futures.CancelledError
        If training was cancelled. Checkpoints stay.
    """
    group = current_group()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()  # in 8 or 11 bits, most steps would change nothing
    capacity = _capacity(model, stages)
    if group.rank:
        group.wait()
        log = silent
    checkpoint = _load_checkpoint(checkpoints_dir, log)
    if not group.rank:
        group.wait()  # a damaged checkpoint has been removed
    history: list[dict[str, float]] = checkpoint[0]["history"] if checkpoint else []
    with _faster(model), _gradient_checkpointing(model) if capacity.checkpoints_gradients else nullcontext():
        for number, stage in enumerate(stages):
            if checkpoint and checkpoint[0]["stage"] > number:
                continue
            first_step = int(history[-1]["step"]) if history else 0
            trainer = _StageTrainer(
                model,
                stage,
                group,
                capacity,
                seed=f"{seed}/{number}",
                first_step=first_step,
                log=log,
                is_cancelled=is_cancelled,
            )
            if checkpoint:
                trainer.restore(*checkpoint)
                checkpoint = None
            elif number:
                log(f"{stage.name}: {len(stage.rows):,} rows, and {len(validation):,} for validation")
            started = saved = time.monotonic()
            logged = 0.0
            first_epoch = trainer.epoch
            while not trainer.is_finished:
                loss = trainer.run_epoch()
                eval_loss = trainer.validate(validation)
                history.append(
                    {
                        "stage": float(number),
                        "epoch": float(len(history) + 1),
                        "step": float(trainer.step),
                        "loss": loss,
                        "eval_loss": eval_loss,
                        "learning_rate": trainer.learning_rate(),
                    }
                )
                now = time.monotonic()
                if now - logged >= LOG_INTERVAL_S or trainer.is_finished:
                    logged = now
                    remaining = (trainer.last_epoch - trainer.epoch) * (now - started) / (trainer.epoch - first_epoch)
                    log(
                        f"{stage.name}: epoch {trainer.epoch} of at most {trainer.last_epoch}, loss {loss:.3f} nats a "
                        f"row, validation {eval_loss:.3f} (best {trainer.best_loss:.3f}), at most {remaining:.0f} s "
                        "left"
                    )
                is_due = len(history) % checkpoint_every == 0 and now - saved >= trainer.least_s_between_checkpoints
                if is_due and not group.rank:
                    progress = {"stage": number, "history": history, **trainer.progress()}
                    _save_checkpoint(checkpoints_dir, progress, trainer.tensors())
                    saved = time.monotonic()
            trainer.finish()
    model.eval()
    return history


class _StageTrainer:
    """The state of a stage that is being trained."""

    def __init__(
        self,
        model: Any,
        stage: Stage,
        group: Group,
        capacity: Capacity,
        *,
        seed: str,
        first_step: int,
        log: Log,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.model, self.stage, self.seed, self.log, self.is_cancelled = model, stage, seed, log, is_cancelled
        self.group, self.capacity = group, capacity
        self.weights = FlatWeights(model)
        group.copy_from_first(self.weights.values)
        self.optimizers = self.weights.optimizers(muon=stage.muon)
        self.ema = self.weights.values.clone()
        self.epoch = self.best_epoch = self.n_without_gain = 0
        self.first_decay_epoch, self.last_epoch = self._decay_at_the_latest()
        self.step = self.first_step = first_step
        self.best_loss = math.inf
        self.best: torch.Tensor | None = None
        self.steps_per_epoch = -(-len(stage.rows) // stage.batch_size)
        self.lengths = _lengths_to_sort_by(model, stage.rows)
        self.graphed = self._graphed()

    def _graphed(self) -> GraphedLoss | None:
        """Return CUDA graphs of the steps, if they fit in a GPU's memory beside what a step without them takes."""
        batch_size, rows = self.stage.batch_size, self.stage.rows
        lengths = rows.lengths.amax().expand(len(rows)) if self.lengths is None else self.lengths
        share = self.group.share(torch.arange(batch_size))
        if (
            self.weights.values.device.type != "cuda"
            or getattr(self.model, "is_loaded_in_4bit", False)
            or self.capacity.checkpoints_gradients
            or self.capacity.rows(int(lengths.max())) < 2 * batch_size
            or GraphedLoss.scored_bytes(rows, batch_size) > free_bytes() / 4
            or len(rows) < batch_size
            or not len(share)
        ):
            return None
        gradients = self.weights.gradients
        return GraphedLoss(self.model, gradients, rows, lengths, batch_size=batch_size, share=share)

    @property
    def is_finished(self) -> bool:
        return self.epoch >= self.last_epoch

    def learning_rate(self) -> float:
        step = self.step - self.first_step
        warm_up = min(WARM_UP_STEPS, WARM_UP * self.steps_per_epoch * self.stage.epochs)
        decay = self.steps_per_epoch * (self.last_epoch - self.first_decay_epoch)
        remaining = (self.steps_per_epoch * self.last_epoch - step) / decay
        return self.stage.learning_rate * min(1.0, step / warm_up, remaining)

    def _decay_at_the_latest(self) -> tuple[int, int]:
        """Return the epochs after which the decay begins and ends, if every epoch gains much."""
        first = math.floor(self.stage.epochs / (1 + DECAY))
        return first, self.stage.epochs

    def _end_or_decay_if_due(self) -> None:
        if self.epoch > self.first_decay_epoch and self.best_epoch < self.epoch:
            self.last_epoch = self.epoch  # as smaller steps only overfit
        elif self.n_without_gain >= self.stage.patience and self.epoch < self.first_decay_epoch:
            self.first_decay_epoch = self.epoch
            self.last_epoch = min(self.epoch + max(1, round(DECAY * self.epoch)), self.stage.epochs)

    @property
    def least_s_between_checkpoints(self) -> float:
        """Seconds of training between checkpoints, of which writing them is `CHECKPOINT_SHARE` at most."""
        if is_small(self.model):
            return 0.0
        return sum(tensor.nbytes for tensor in self.tensors().values()) / CHECKPOINT_BYTES_S / CHECKPOINT_SHARE

    def _batches(self, random: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield the rows of each step of an epoch, in random order."""
        order: torch.Tensor = torch.randperm(len(self.stage.rows), generator=random)
        batches = _split(order, self.stage.batch_size)
        if self.lengths is not None:
            pools = _split(order, POOL_BATCHES * self.stage.batch_size)
            by_length = (pool[self.lengths[pool].argsort(stable=True)] for pool in pools)
            batches = tuple(batch for pool in by_length for batch in _split(pool, self.stage.batch_size))
            batches = tuple(batches[i] for i in torch.randperm(len(batches), generator=random).tolist())
        for batch in batches:
            yield batch.sort().values  # so that neighbours share prefixes

    def run_epoch(self) -> float:
        """Train for one epoch, and return the mean loss of its batches in nats a row."""
        self.model.train()
        rows, weights = self.stage.rows, self.weights
        batches = list(self._batches(torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))))
        torch.manual_seed(derive_seed(self.seed, self.epoch, self.group.rank))  # of dropout
        total = torch.zeros((), device=weights.values.device)
        for indices in batches:
            if self.is_cancelled():
                raise CancelledError
            learning_rate = self.learning_rate()
            graphed_loss = self.graphed(indices) if self.graphed else None
            if graphed_loss is None:
                batch = rows.select(indices)
                losses = self._in_chunks(batch, (batch.slots >= 0).sum())
            else:
                losses = [graphed_loss]
            for loss in losses:
                total += loss
            self.group.sum(weights.gradients)
            weights.gradients *= (MAX_GRADIENT_NORM / weights.gradients.norm()).clamp(max=1.0)
            for optimizer in self.optimizers:
                optimizer.learning_rate = learning_rate
                optimizer.step()
            self.step += 1
            # A smaller decay at first, so that the average soon forgets the initial weights.
            n = self.step - self.first_step
            self.ema.lerp_(weights.values, 1 - min(self.stage.ema_decay, n / (n + 9)))
        self.epoch += 1
        return float(self.group.sum(total)) / len(rows)

    def _in_chunks(self, batch: TokenBatch, n_predicted: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Return the loss of this process's share of a batch, in as many parts as memory requires.

        Where `n_predicted` is stated, the gradient of the loss over that number replaces the gradients. Where memory
        runs out, the share starts over in chunks of half as many rows, and later ones have no more.
        """
        if self.lengths is not None:
            batch = batch.trimmed()
        length = batch.ids.shape[1]
        rows = self.group.share(torch.arange(len(batch)))
        while True:
            n = min(self._rows_at_once(length), max(1, len(rows)))
            chunks = _split(rows, n) if len(rows) else ()  # the last batch may have fewer rows than there are processes
            try:
                if n_predicted is not None:
                    self.weights.gradients.zero_()
                return [self._loss(batch.select(chunk), n_predicted) for chunk in chunks]
            except torch.OutOfMemoryError as error:
                if n == 1:
                    raise ModelError(
                        f"the memory is too small for one row of {length} tokens beside the model "
                        f"({first_line(error)}). Set lora: true, choose a smaller base, or leave columns out."
                    ) from error
            # Here, the failed step's tensors are no longer kept by the error.
            self.capacity.tokens = n // 2 * length
            self.log(f"{self.stage.name}: out of memory with {n} rows at once; going on with {n // 2}")
            if self.weights.values.device.type == "cuda":
                torch.cuda.empty_cache()

    def _rows_at_once(self, length: int) -> int:
        """Return how many rows go through the model at once: on a CPU, as many as its cache holds the attention of."""
        n = self.capacity.rows(length)
        if self.weights.values.device.type != "cpu":
            return n
        return min(n, max(MIN_ROWS_AT_ONCE, MAX_ATTENTION // length**2))

    def _loss(self, batch: TokenBatch, n_predicted: torch.Tensor | None) -> torch.Tensor:
        with _mixed_precision(self.model):
            loss = negative_log_likelihood(self.model, batch)
        if n_predicted is not None:
            (loss / n_predicted).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @torch.no_grad()
    def validate(self, validation: TokenBatch) -> float:
        """Return the validation loss of the averaged weights in nats a row, and keep them if they are the best."""
        trained = self.weights.values.clone()
        self.weights.values.copy_(self.ema)
        self.model.eval()
        order, on_cpu = torch.arange(len(validation)), trained.device.type == "cpu"
        if self.lengths is not None:
            order = validation.lengths.argsort(stable=True)
        losses = [
            float(loss) / len(validation)
            for indices in _split(order, self.stage.batch_size if on_cpu else GPU_VALIDATION_ROWS)
            for loss in self._in_chunks(validation.select(indices))
        ]
        eval_loss = float(self.group.sum(torch.tensor(math.fsum(losses), dtype=torch.float64, device=trained.device)))
        self.n_without_gain = 0 if eval_loss < (1 - MIN_GAIN) * self.best_loss else self.n_without_gain + 1
        if eval_loss < self.best_loss or self.best is None:
            self.best_loss, self.best_epoch = eval_loss, self.epoch
            self.best = self.ema.clone() if self.best is None else self.best.copy_(self.ema)
        self.weights.values.copy_(trained)
        self._end_or_decay_if_due()
        return eval_loss

    def finish(self) -> None:
        """Set the model to the best weights."""
        if self.best is not None:
            self.weights.values.copy_(self.best)
        self.weights.release()

    def progress(self) -> dict[str, Any]:
        names = ["epoch", "best_epoch", "n_without_gain", "first_decay_epoch", "last_epoch"]
        names += ["step", "first_step", "best_loss"]
        return {name: getattr(self, name) for name in names}

    def tensors(self) -> dict[str, torch.Tensor]:
        tensors = {"model.weights": self.weights.values, "model.ema": self.ema, "model.best": self.best}
        for number, optimizer in enumerate(self.optimizers):
            for part, state in enumerate(optimizer.state):
                tensors |= {f"optimizer.{number}.{part}.{name}": value for name, value in state.items()}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def restore(self, progress: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for name in self.progress():
            setattr(self, name, progress[name])
        self.weights.values.copy_(tensors["model.weights"])
        self.ema.copy_(tensors["model.ema"])
        self.best = tensors["model.best"].to(self.ema.device)
        for number, optimizer in enumerate(self.optimizers):
            for part, state in enumerate(optimizer.state):
                for name, value in state.items():
                    value.copy_(tensors[f"optimizer.{number}.{part}.{name}"])


def _split(rows: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
    parts: tuple[torch.Tensor, ...] = rows.split(n)  # type: ignore[no-untyped-call]
    return parts


def _lengths_to_sort_by(model: Any, rows: TokenBatch) -> torch.Tensor | None:
    """Return the lengths of rows if batches of rows of similar length are worth it.

    The kernels of a plain GPT-2 compute neighbours with a common prefix once, which padding has little part in.
    """
    lengths = rows.lengths
    padding = 1 - float(lengths.double().mean()) / float(lengths.max())
    return None if is_plain_gpt2(model) or padding < MIN_PADDING else lengths


def _capacity(model: Any, stages: list[Stage]) -> Capacity:
    """Return how much goes through a model at once: on a GPU, what fits beside the state of its training."""
    if is_large_on_cpu(model):
        return Capacity(MAX_ACTIVATION_BYTES // Sizes.of(model).token_bytes(checkpoints_gradients=False))
    if next(model.parameters()).device.type != "cuda":
        return Capacity()
    sizes = Sizes.of(model)
    free = free_bytes() + sizes.stored_bytes
    require_room(sizes, free, model.config.name_or_path)
    return capacity_for(
        sizes,
        free - sizes.state_bytes,
        length=max(int(stage.rows.lengths.max()) for stage in stages),
        batch_size=max(stage.batch_size for stage in stages),
    )


@contextmanager
def _faster(model: Any) -> Iterator[None]:
    """Train a model on a GPU with the layers of `layers`."""
    if next(model.parameters()).device.type != "cuda":
        yield
        return
    restore = replace_layers(model.get_base_model() if hasattr(model, "peft_config") else model)
    try:
        yield
    finally:
        restore()


@contextmanager
def _gradient_checkpointing(model: Any) -> Iterator[None]:
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    inner.activation_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        inner.activation_checkpointing_disable()


CHECKPOINTS = "checkpoint-*.safetensors"


def _save_checkpoint(folder: Path, progress: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid4().hex}.building"
    try:
        save_file(tensors, temporary, metadata={"progress": json.dumps(progress)})
        # Its hash is part of its name, so that one rename stores both.
        step = progress["step"]
        checkpoint = folder / f"checkpoint-{step}-{sha256(temporary)[:16]}.safetensors"
        temporary.replace(checkpoint)
    finally:
        temporary.unlink(missing_ok=True)
    for other in folder.glob(CHECKPOINTS):
        if other != checkpoint:
            other.unlink()


def _load_checkpoint(folder: Path, log: Log) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    path = latest_checkpoint(folder, log)
    if path is None:
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dict
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ModelError(
            f"the checkpoint {path} was not written by this version of synth_assets ({error}). Delete it to train from "
            "the start."
        ) from error
    log(f"resuming after epoch {len(progress['history'])}, step {progress['step']}")
    return progress, tensors


def latest_checkpoint(folder: Path, log: Log) -> Path | None:
    """Return the checkpoint with the most steps; one whose hash does not match its name is logged and removed."""
    for path in sorted(folder.glob(CHECKPOINTS), key=step_of, reverse=True):
        if sha256(path).startswith(path.stem.rsplit("-", 1)[1]):
            return path
        log(f"the checkpoint {path} is damaged: its SHA-256 is not the one in its name. Training continues without it")
        path.unlink()
    return None


def step_of(checkpoint: Path) -> int:
    """Return the training step after which a checkpoint was written."""
    return int(checkpoint.name.split("-")[1])


def _mixed_precision(model: Any) -> Any:
    """Compute products in bfloat16 on a GPU, and of a large model on a CPU where they are faster so."""
    device = next(model.parameters()).device
    is_faster = device.type == "cuda" or (has_bfloat16() and is_large_on_cpu(model))
    return torch.autocast(device.type, torch.bfloat16, enabled=is_faster)


def is_small(model: Any) -> bool:
    """Return whether a model is trained and sampled with one thread; see `SMALL_MODEL`."""
    return bool(sum(p.numel() for p in model.parameters()) < SMALL_MODEL)


def is_large_on_cpu(model: Any) -> bool:
    """Return whether a model on a CPU is large, and no plain GPT-2 (as 'scratch' is), which has kernels of its own."""
    return bool(model.device.type == "cpu" and not is_small(model) and not is_plain_gpt2(model))


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """Compute with one thread if the model is small; see `SMALL_MODEL`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if is_small(model) else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
