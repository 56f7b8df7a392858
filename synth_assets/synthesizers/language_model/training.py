"""The training loop: loss over what may come next; best weights kept; checkpoints that resume bit for bit."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from synth_assets.storage.files import sha256
from synth_assets.synthesizers.language_model.checkpoints import read_state, write_state
from synth_assets.synthesizers.language_model.loss import TokenBatch, backbone, rows_loss

Report = Callable[[str], None]
"""Takes one line of progress."""

REPORT_EVERY_S = 5.0

SMALL_MODEL = 5_000_000
"""Weights below which one thread computes as fast as many, and far faster where other work wants the cores too: with
two threads on two busy cores, sampling from the 'scratch' model of abalone fell from 100 rows a second to 5. Nor is
such a model worth compiling, which takes a minute."""


@dataclass(frozen=True)
class Phase:
    """One pass of training: some rows, for some epochs, at a learning rate that rises and falls.

    Parameters
    ----------
    name : str
        As it is reported.
    written : TokenBatch
        The rows.
    epochs, batch_size : int
        How often, and how many rows a step.
    learning_rate : float
        At its height, after `WARM_UP` of the steps; it falls to 0 as a cosine.
    patience : int
        Epochs without a better validation loss after which the phase ends.
    averaging : float
        Of the exponential moving average of the weights, which is what is validated and kept (Polyak and Juditsky,
        1992; the form with a decay is that of Tarvainen and Valpola, 2017, section 2).
    """

    name: str
    written: TokenBatch
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    averaging: float

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.written)


WARM_UP = 0.05
WEIGHT_DECAY = 0.1
CLIP = 1.0


def seed_of(*parts: object) -> int:
    """Derive a seed from whatever it depends on.

    Parameters
    ----------
    *parts : object
        Whose texts count.

    Returns
    -------
    int
        From 0 to 2**32 - 1, as torch's and NumPy's generators take it.
    """
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:4])


def train(
    model: Any,
    phases: list[Phase],
    validation: TokenBatch,
    *,
    seed: int,
    checkpoints: Path,
    save_every: int,
    report: Report,
) -> list[dict[str, float]]:
    """Train a model in place, phase by phase, from the last checkpoint where there is one.

    A run that was killed and resumed gives the same weights as one that was not: each epoch draws its own random
    numbers from the seed, the phase and its own number, and a checkpoint is written between epochs.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model; afterwards it has the weights of the last phase's best epoch.
    phases : list of Phase
        In order. A phase starts from the best weights of the one before it.
    validation : TokenBatch
        Train rows that no phase learns from.
    seed : int
        Of the order of rows, and of dropout.
    checkpoints : pathlib.Path
        A folder of this training's own.
    save_every : int
        Epochs between two checkpoints.
    report : callable
        Takes lines of progress.

    Returns
    -------
    list of dict
        One for each epoch: 'phase' (from 0), 'epoch' (counted on over phases), 'step', 'loss' and 'eval_loss' in nats
        a row, 'learning_rate'.
    """
    device = next(model.parameters()).device
    validation = validation.to(device)
    state = _load(checkpoints, report)
    history: list[dict[str, float]] = state["history"] if state else []
    for number, phase in enumerate(phases):
        if state and state["phase"] > number:
            continue
        runner = _Phase(model, phase, seed=f"{seed}/{number}", steps_before=int(history[-1]["step"]) if history else 0)
        if state:
            runner.load(state)
            state = None
        elif number:
            report(f"{phase.name}: {phase.rows:,} rows")
        started, reported = time.monotonic(), 0.0
        first = runner.epoch
        while not runner.ended:
            loss = runner.run_epoch()
            eval_loss = runner.validate(validation)
            history.append(
                {
                    "phase": float(number),
                    "epoch": float(len(history) + 1),
                    "step": float(runner.step),
                    "loss": loss,
                    "eval_loss": eval_loss,
                    "learning_rate": runner.rate(),
                }
            )
            now = time.monotonic()
            if now - reported >= REPORT_EVERY_S or runner.ended:
                reported = now
                left = (phase.epochs - runner.epoch) * (now - started) / (runner.epoch - first)
                report(
                    f"{phase.name}: epoch {runner.epoch} of at most {phase.epochs}, loss {loss:.3f} nats a row, "
                    f"validation {eval_loss:.3f} (best {runner.best:.3f}), at most {left:.0f} s left"
                )
            if len(history) % save_every == 0:
                _save(checkpoints, {"phase": number, "history": history, **runner.state()})
        model.load_state_dict(runner.best_weights)
        runner.weights.release()
    model.eval()
    return history


class _Weights:
    """A model's weights and their slopes, each side by side in one tensor.

    A step is then a few long operations instead of many short ones.
    """

    def __init__(self, model: Any) -> None:
        self.learned = sorted(
            (weight for weight in model.parameters() if weight.requires_grad), key=lambda w: w.ndim < 2
        )
        self.values = torch.cat([weight.detach().flatten() for weight in self.learned])
        self.slopes = torch.zeros_like(self.values)
        sizes = [weight.numel() for weight in self.learned]
        for weight, values, slopes in zip(
            self.learned, torch.split(self.values, sizes), torch.split(self.slopes, sizes), strict=True
        ):
            weight.data, weight.grad = values.view_as(weight), slopes.view_as(weight)
        split = sum(weight.numel() for weight in self.learned if weight.ndim >= 2)
        self.matrices, self.vectors = map(torch.nn.Parameter, self.values.tensor_split([split]))
        self.matrices.grad, self.vectors.grad = self.slopes.tensor_split([split])

    def release(self) -> None:
        """Give each weight a tensor of its own again, as whoever saves a model expects."""
        for weight in self.learned:
            weight.data, weight.grad = weight.data.clone(), None


class _Phase:
    """A phase under way."""

    def __init__(self, model: Any, phase: Phase, *, seed: str, steps_before: int) -> None:
        self.model, self.phase, self.seed = model, phase, seed
        self.weights = _Weights(model)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [self.weights.matrices], "weight_decay": WEIGHT_DECAY},
                {"params": [self.weights.vectors], "weight_decay": 0.0},
            ],
            lr=phase.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.average = self.weights.values.clone()
        self.epoch = self.best_epoch = 0
        self.step, self.steps_before = steps_before, steps_before
        self.best = math.inf
        self.best_weights: dict[str, torch.Tensor] = {}
        self.steps_an_epoch = -(-phase.rows // phase.batch_size)

    @property
    def ended(self) -> bool:
        return self.epoch >= self.phase.epochs or self.epoch - self.best_epoch >= self.phase.patience

    def rate(self) -> float:
        done = (self.step - self.steps_before) / (self.steps_an_epoch * self.phase.epochs)
        if done < WARM_UP:
            return self.phase.learning_rate * done / WARM_UP
        return self.phase.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))

    def run_epoch(self) -> float:
        torch.manual_seed(seed_of(self.seed, self.epoch))
        self.model.train()
        device = self.weights.values.device
        phase = self.phase
        total = torch.zeros((), device=device)
        for batch in torch.randperm(phase.rows).split(phase.batch_size):  # type: ignore[no-untyped-call]
            rate = self.rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            written = phase.written.take(batch.sort().values).to(device)  # neighbours may begin alike
            with _mixed_precision(device):
                loss = rows_loss(self.model, written)
            self.weights.slopes.zero_()
            (loss / (written.levels >= 0).sum()).backward()  # type: ignore[no-untyped-call]
            self.weights.slopes *= (CLIP / self.weights.slopes.norm()).clamp(max=1.0)
            self.optimizer.step()
            self.step += 1
            taken = self.step - self.steps_before
            # The average forgets its random start as fast as there are steps.
            self.average.lerp_(self.weights.values, 1 - min(phase.averaging, taken / (taken + 9)))
            total += loss.detach()
        self.epoch += 1
        return float(total) / phase.rows

    @torch.no_grad()
    def validate(self, validation: TokenBatch) -> float:
        """Give the validation loss of the averaged weights, in nats a row, and keep them if they are the best."""
        trained = self.weights.values.clone()
        self.weights.values.copy_(self.average)
        self.model.eval()
        found = math.fsum(
            float(rows_loss(self.model, validation.take(rows))) / len(validation)
            for rows in torch.arange(len(validation), device=validation.ids.device).split(self.phase.batch_size)  # type: ignore[no-untyped-call]
        )
        if found < self.best or not self.best_weights:
            self.best, self.best_epoch = found, self.epoch
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.weights.values.copy_(trained)
        return found

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "best_weights": self.best_weights,
            "counts": [self.epoch, self.best_epoch, self.step, self.steps_before],
            "best": self.best,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.copy_(state["average"])
        self.best_weights = state["best_weights"]
        self.epoch, self.best_epoch, self.step, self.steps_before = state["counts"]
        self.best = state["best"]


def _save(folder: Path, state: dict[str, Any]) -> None:
    building = folder / f".{uuid4().hex}.building"
    try:
        write_state(building, state)
        # Its hash is in its name: a rename puts both there at once.
        checkpoint = folder / f"checkpoint-{state['history'][-1]['step']:.0f}-{sha256(building)[:16]}.safetensors"
        building.replace(checkpoint)
    finally:
        building.unlink(missing_ok=True)
    for other in folder.glob(CHECKPOINTS):
        if other != checkpoint:
            other.unlink()


def _load(folder: Path, report: Report) -> dict[str, Any] | None:
    path = last_whole_checkpoint(folder, report)
    if path is None:
        return None
    state: dict[str, Any] = read_state(path)
    report(f"resuming after epoch {int(state['history'][-1]['epoch'])}, step {int(state['history'][-1]['step'])}")
    return state


CHECKPOINTS = "checkpoint-*.safetensors"


def last_whole_checkpoint(folder: Path, report: Report) -> Path | None:
    """Find the checkpoint of the most steps; one whose hash is not that in its name is reported and removed."""
    for path in sorted(folder.glob(CHECKPOINTS), key=step_of, reverse=True):
        if sha256(path).startswith(path.stem.rsplit("-", 1)[1]):
            return path
        report(f"the checkpoint {path} is damaged: its SHA-256 is not the one in its name. Training goes on without it")
        path.unlink()
    return None


def step_of(checkpoint: Path) -> int:
    """Give the training step after which a checkpoint was written."""
    return int(checkpoint.name.split("-")[1])


def _mixed_precision(device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _is_small(model: Any) -> bool:
    return bool(sum(p.numel() for p in model.parameters()) < SMALL_MODEL)


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """Compute with one thread where a model is small; see `SMALL_MODEL`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if _is_small(model) else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Compile what lies below the head where that pays, for batches of one shape; see `SMALL_MODEL`."""
    inner = backbone(model)
    if not _compiling_pays(model):
        yield
        return
    inner.compile(dynamic=False)
    try:
        yield
    finally:
        inner._compiled_call_impl = None  # where torch keeps it, beside the module as it was


def _compiling_pays(model: Any) -> bool:
    # torch's builds for CUDA bring Triton along on Linux; where it is missing, nothing can be compiled for a GPU.
    on_gpu = next(model.parameters()).device.type == "cuda"
    return on_gpu and not _is_small(model) and find_spec("triton") is not None
