"""Training loop: AdamW or Muon, a learning rate that decays once it gains little, weight averaging, exact resume."""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from synth_assets.storage.files import sha256
from synth_assets.synthesizers.base import Log, ModelError
from synth_assets.synthesizers.language_model.backbone import backbone
from synth_assets.synthesizers.language_model.loss import TokenBatch, negative_log_likelihood
from synth_assets.synthesizers.language_model.optimizers import FlatWeights

LOG_INTERVAL_S = 5.0

SMALL_MODEL = 5_000_000
"""Parameters below which a model is trained and sampled with one thread, and not compiled. One thread is then as fast
as many, and far faster where other work uses the cores: with two threads on two busy cores, sampling from the 'scratch'
model of abalone fell from 100 rows a second to 5. Compilation takes a minute."""

WARM_UP_STEPS = 100
"""Steps in which the learning rate rises, unless they are more than `WARM_UP` of the stage."""

WARM_UP = 0.05
"""Maximum fraction of the steps of a stage in which the learning rate rises."""

MIN_GAIN = 1e-3
"""Relative gain in validation loss below which an epoch counts towards the patience of a stage."""

DECAY = 0.25
"""Epochs of the decay, relative to the epochs before it."""

MAX_ATTENTION = 2_000_000
"""Pairs of tokens of all rows that go through the model at once on a CPU."""

MAX_GRADIENT_NORM = 1.0


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
) -> list[dict[str, float]]:
    """Train a model in place, stage by stage, from the latest checkpoint if there is one.

    A run that was killed and resumed ends with the same weights as one that was not: each epoch has a seed of its own,
    and checkpoints are written between epochs.

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

    Returns
    -------
    list of dict
        One for each epoch: 'stage' (from 0), 'epoch' (numbered over all stages), 'step', 'loss' and 'eval_loss' in
        nats a row, 'learning_rate'.
    """
    validation = validation.to(next(model.parameters()).device)
    checkpoint = _load_checkpoint(checkpoints_dir, log)
    history: list[dict[str, float]] = checkpoint[0]["history"] if checkpoint else []
    for number, stage in enumerate(stages):
        if checkpoint and checkpoint[0]["stage"] > number:
            continue
        first_step = int(history[-1]["step"]) if history else 0
        trainer = _StageTrainer(model, stage, seed=f"{seed}/{number}", first_step=first_step)
        if checkpoint:
            trainer.restore(*checkpoint)
            checkpoint = None
        elif number:
            log(f"{stage.name}: {len(stage.rows):,} rows")
        started, logged = time.monotonic(), 0.0
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
                    f"{stage.name}: epoch {trainer.epoch} of at most {trainer.last_epoch}, loss {loss:.3f} nats a row, "
                    f"validation {eval_loss:.3f} (best {trainer.best_loss:.3f}), at most {remaining:.0f} s left"
                )
            if len(history) % checkpoint_every == 0:
                progress = {"stage": number, "history": history, **trainer.progress()}
                _save_checkpoint(checkpoints_dir, progress, trainer.tensors())
        trainer.finish()
    model.eval()
    return history


class _StageTrainer:
    """The state of a stage that is being trained."""

    def __init__(self, model: Any, stage: Stage, *, seed: str, first_step: int) -> None:
        self.model, self.stage, self.seed = model, stage, seed
        self.weights = FlatWeights(model)
        self.optimizers = self.weights.optimizers(muon=stage.muon)
        self.ema = self.weights.values.clone()
        self.epoch = self.best_epoch = self.n_without_gain = 0
        self.first_decay_epoch, self.last_epoch = self._decay_at_the_latest()
        self.step = self.first_step = first_step
        self.best_loss = math.inf
        self.best: torch.Tensor | None = None
        self.steps_per_epoch = -(-len(stage.rows) // stage.batch_size)

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
            self.last_epoch = min(self.epoch + math.ceil(DECAY * self.epoch), self.stage.epochs)

    def run_epoch(self) -> float:
        """Train for one epoch, and return the mean loss of its batches in nats a row."""
        torch.manual_seed(derive_seed(self.seed, self.epoch))
        self.model.train()
        rows, weights = self.stage.rows, self.weights
        device = weights.values.device
        total = torch.zeros((), device=device)
        for indices in torch.randperm(len(rows)).split(self.stage.batch_size):  # type: ignore[no-untyped-call]
            learning_rate = self.learning_rate()
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                group["lr"] = learning_rate
            batch = rows.select(indices.sort().values).to(device)  # sorted, so that neighbours share prefixes
            n_predicted = (batch.slots >= 0).sum()
            weights.gradients.zero_()
            for chunk in _chunks(torch.arange(len(batch), device=device), batch, device):
                with _mixed_precision(device):
                    loss = negative_log_likelihood(self.model, batch.select(chunk))
                (loss / n_predicted).backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            weights.gradients *= (MAX_GRADIENT_NORM / weights.gradients.norm()).clamp(max=1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            # A smaller decay at first, so that the average soon forgets the initial weights.
            n = self.step - self.first_step
            self.ema.lerp_(weights.values, 1 - min(self.stage.ema_decay, n / (n + 9)))
        self.epoch += 1
        return float(total) / len(rows)

    @torch.no_grad()
    def validate(self, validation: TokenBatch) -> float:
        """Return the validation loss of the averaged weights in nats a row, and keep them if they are the best."""
        trained = self.weights.values.clone()
        self.weights.values.copy_(self.ema)
        self.model.eval()
        batches = torch.arange(len(validation)).split(self.stage.batch_size)  # type: ignore[no-untyped-call]
        eval_loss = math.fsum(
            float(negative_log_likelihood(self.model, validation.select(chunk))) / len(validation)
            for rows in batches
            for chunk in _chunks(rows, validation, self.weights.values.device)
        )
        self.n_without_gain = 0 if eval_loss < (1 - MIN_GAIN) * self.best_loss else self.n_without_gain + 1
        if eval_loss < self.best_loss or self.best is None:
            self.best_loss, self.best_epoch, self.best = eval_loss, self.epoch, self.ema.clone()
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
            for group, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{group}.{name}": value for name, value in state.items()}
        return {name: tensor.detach() for name, tensor in tensors.items() if tensor is not None}

    def restore(self, progress: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for name in self.progress():
            setattr(self, name, progress[name])
        self.weights.values.copy_(tensors["model.weights"])
        self.ema.copy_(tensors["model.ema"])
        self.best = tensors["model.best"].to(self.ema.device)
        for number, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"optimizer.{number}."):
                    _, _, group, key = name.split(".")
                    state.setdefault(int(group), {})[key] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _chunks(rows: torch.Tensor, batch: TokenBatch, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Split the rows of a step so that their attention fits in a CPU's cache and memory; a GPU takes them at once."""
    n = len(rows) if device.type != "cpu" else max(1, MAX_ATTENTION // batch.ids.shape[1] ** 2)
    chunks: tuple[torch.Tensor, ...] = rows.split(n)  # type: ignore[no-untyped-call]
    return chunks


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


def _mixed_precision(device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def is_small(model: Any) -> bool:
    """Return whether a model is trained and sampled with one thread; see `SMALL_MODEL`."""
    return bool(sum(p.numel() for p in model.parameters()) < SMALL_MODEL)


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """Compute with one thread if the model is small; see `SMALL_MODEL`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if is_small(model) else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Compile the backbone where that pays, for batches of one shape; see `SMALL_MODEL`."""
    if not _compiling_pays(model):
        yield
        return
    inner = backbone(model)
    inner.forward = torch.compile(inner.forward, dynamic=False)
    try:
        yield
    finally:
        del inner.forward


def _compiling_pays(model: Any) -> bool:
    # torch's builds for CUDA include Triton on Linux; without it, nothing can be compiled for a GPU.
    on_gpu = next(model.parameters()).device.type == "cuda"
    return on_gpu and not is_small(model) and find_spec("triton") is not None
