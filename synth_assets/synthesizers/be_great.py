"""be_great.GReaT as it is, with the taps that a pipeline needs: progress, checkpoints that can be trusted, a count.

be_great offers no hooks for these, so this module puts its own parts in the places of be_great's for the length of
one call. What is trained and what is drawn stays be_great's. Importing this module imports torch: do so inside
functions only.
"""

import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import be_great.great
import pandas as pd
import torch
from be_great.great_dataset import GReaTDataset
from be_great.great_trainer import GReaTTrainer
from transformers import PrinterCallback, TrainerCallback, set_seed

from synth_assets.storage.files import MANIFEST, verify_manifest, write_manifest
from synth_assets.synthesizers.language_model.base_models import quiet_transformers
from synth_assets.synthesizers.language_model.checkpoints import read_state, write_state
from synth_assets.synthesizers.language_model.training import LOG_INTERVAL_S, Log, threads_for
from synth_assets.synthesizers.settings import ModelError, SampleSpec

OPTIMIZER, RANDOM = "optimizer.safetensors", "random.safetensors"
"""What a checkpoint holds beside the weights."""


def make_great(llm: str, **arguments: Any) -> be_great.GReaT:
    """Make a `be_great.GReaT` of a base, without the progress bars and hints that would fill a run's log.

    Parameters
    ----------
    llm : str
        A folder, or a name on the hub.
    **arguments
        Of `be_great.GReaT`.

    Returns
    -------
    be_great.GReaT
        Unfitted.
    """
    quiet_transformers()
    return be_great.GReaT(llm, **arguments)


def fit(
    great: be_great.GReaT,
    train: pd.DataFrame,
    *,
    seed: int,
    report: Log,
) -> list[dict[str, float]]:
    """Fit a model to rows with `be_great.GReaT.fit`, from the last whole checkpoint where there is one.

    A fit that was killed and resumed gives the same weights as one that was not. transformers restores its random
    states too late for the order of the rows in a begun epoch and of the columns in the first batch, so these are
    drawn from the number of the epoch and of the row.

    Parameters
    ----------
    great : be_great.GReaT
        An unfitted model; its `experiment_dir` holds the checkpoints of this fit and of no other.
    train : pandas.DataFrame
        The encoded train rows.
    seed : int
        Of the column order.
    report : callable
        Takes a line of progress at every report of the loss.

    Returns
    -------
    list of dict
        The reports: 'step', 'epoch', 'loss', 'learning_rate', ...
    """
    checkpoint = last_whole_checkpoint(Path(great.experiment_dir), report)
    steps_done = 0 if checkpoint is None else step_of(checkpoint)
    if checkpoint is not None:
        report(f"resuming from {checkpoint.name}")
    epochs_done, steps_in_epoch = divmod(steps_done, -(-len(train) // great.batch_size))
    order = _RowOrder(len(train), seed, rows_drawn=epochs_done * len(train) + steps_in_epoch * great.batch_size)

    class NumberedRows(GReaTDataset):  # type: ignore[misc]
        def _getitem(self, *args: Any, **kwargs: Any) -> Any:
            random.seed(f"{seed}/row {order.rows_drawn}")
            order.rows_drawn += 1
            return super()._getitem(*args, **kwargs)

    class OrderedTrainer(GReaTTrainer):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.remove_callback(PrinterCallback)  # `Progress` says the same, in words

        def _get_train_sampler(self, *_: Any) -> "_RowOrder":
            return order

        # What transformers would pickle. Its `_save` adds the tokenizer and the arguments, which nothing reads.
        def _save(self, output_dir: str, state_dict: dict[str, Any] | None = None) -> None:
            self.model.save_pretrained(output_dir, state_dict=state_dict)

        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            state = {"optimizer": self.optimizer.state_dict(), "scheduler": self.lr_scheduler.state_dict()}
            write_state(Path(output_dir) / OPTIMIZER, state)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is not None:
                state = read_state(Path(checkpoint) / OPTIMIZER)
                self.optimizer.load_state_dict(state["optimizer"])
                self.lr_scheduler.load_state_dict(state["scheduler"])

        def _save_rng_state(self, output_dir: str) -> None:
            state = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
            write_state(Path(output_dir) / RANDOM, state)

        def _load_rng_state(self, checkpoint: str | None) -> None:
            if checkpoint is not None:
                state = read_state(Path(checkpoint) / RANDOM)
                torch.set_rng_state(state["cpu"])
                torch.cuda.set_rng_state_all(state["cuda"])

    class Progress(_Progress):
        def __init__(self) -> None:
            super().__init__(report)

    with (
        threads_for(great.model),
        _in_place_of_be_greats(GReaTDataset=NumberedRows, GReaTTrainer=OrderedTrainer, ChugProgressCallback=Progress),
    ):
        trainer = great.fit(train, resume_from_checkpoint=str(checkpoint) if checkpoint else False)
    # be_great drew the column that a sample starts from at the end of the last epoch, which a fit that is resumed
    # after it never sees: it is drawn again.
    random.seed(f"{seed}/start")
    great._update_conditional_information(train, random.choice(great.columns))
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def last_whole_checkpoint(experiment_dir: Path, report: Log) -> Path | None:
    """Find the checkpoint of the most steps; one that is not as it was sealed is reported and removed.

    One that a kill cut off was never sealed.
    """
    for path in sorted((path.parent for path in experiment_dir.glob(f"checkpoint-*/{MANIFEST}")), key=step_of)[::-1]:
        damaged = verify_manifest(path)
        if not damaged:
            return path
        report(f"the checkpoint {path} is damaged: {'; '.join(damaged)}. Training goes on without it")
        shutil.rmtree(path)
    return None


def step_of(checkpoint: Path) -> int:
    """Give the training step after which a checkpoint was written."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def sample(
    great: be_great.GReaT,
    decode: Callable[[pd.DataFrame], pd.DataFrame],
    spec: SampleSpec,
    *,
    seed: int,
    report: Log,
) -> tuple[pd.DataFrame, int]:
    """Draw rows with `be_great.GReaT.sample` until the wanted number can be decoded.

    Parameters
    ----------
    great : be_great.GReaT
        A fitted model.
    decode : callable
        Gives, of a frame of encoded rows, those that are rows of the table.
    spec : SampleSpec
        How many rows, and how they are drawn.
    seed : int
        The same seed and the same spec give the same rows.
    report : callable
        Takes a line of progress every few seconds.

    Returns
    -------
    rows : pandas.DataFrame
        Exactly `spec.n_samples` decoded rows, in the order in which they were drawn.
    drawn : int
        How many rows the model wrote to give them.

    Raises
    ------
    ModelError
        If `spec.max_draws` rows were drawn for each one wanted and it was not enough, if the model has no room for
        `spec.max_length` tokens, or if be_great fails.
    """
    room = getattr(great.model.config, "max_position_embeddings", None)  # some architectures have no limit
    if room is not None and spec.max_length > room:
        raise ModelError(
            f"sample.max_length is {spec.max_length} and the model has room for {room} tokens; lower it in defs.yaml."
        )
    counter = _Counter(limit=spec.max_draws * spec.n_samples)
    set_seed(seed)
    great.model.eval()
    parts: list[pd.DataFrame] = []
    rows = 0
    started = reported = time.monotonic()
    with (
        threads_for(great.model),
        _in_place_of_be_greats(tqdm=_Silent, print=counter.hear, _convert_tokens_to_text=counter.wrap(be_great.great)),
    ):
        while rows < spec.n_samples:
            wanted = min(spec.batch_size, spec.n_samples - rows)
            batch = great.sample(
                wanted,
                temperature=spec.temperature,
                k=wanted,
                max_length=spec.max_length,
                drop_nan=True,
            )
            if counter.exhausted or (batch.empty and not counter.errors):
                raise ModelError(_no_rows(counter, rows, spec))
            if counter.errors:
                raise ModelError(f"be_great gave up sampling: {counter.errors[0]}.")
            part = decode(batch)
            parts.append(part)
            rows += len(part)
            now = time.monotonic()
            if now - reported >= LOG_INTERVAL_S or rows >= spec.n_samples:
                reported = now
                rate = rows / (now - started)
                left = (spec.n_samples - rows) / rate if rate else float("inf")
                report(f"{rows} of {spec.n_samples} rows, {rate:.0f} rows/s, {left:.0f} s left")
    return pd.concat(parts, ignore_index=True).head(spec.n_samples), counter.drawn


def _no_rows(counter: "_Counter", rows: int, spec: SampleSpec) -> str:
    written = "\n".join(f"  {text!r}" for text in counter.last_texts)
    return (
        f"the model wrote {counter.drawn} rows and only {rows} of the {spec.n_samples} wanted could be read back as "
        f"rows of the table. The last that it wrote:\n{written}\n"
        "Train it for more epochs, sample at a lower temperature, or raise sample.max_length if rows are cut off."
    )


_ERROR = "An error has occurred: "
_NOTHING_READ_BACK = "Breaking the generation loop!"
"""How be_great prints an error, and the one that says only that no row could be read back."""


class _Counter:
    """Counts the rows that be_great draws, remembers the last ones, hears its errors, ends its loop at a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.drawn = 0
        self.last_texts: list[str] = []
        self.errors: list[str] = []

    def hear(self, *said: object) -> None:
        """Take the place of `print`, which is all that be_great does with an error."""
        text = re.sub(r"\x1b\[\d*m", "", " ".join(map(str, said)))
        if text.startswith(_ERROR) and not text.endswith(_NOTHING_READ_BACK):
            self.errors.append(text.removeprefix(_ERROR))

    @property
    def exhausted(self) -> bool:
        return self.drawn > self.limit

    def wrap(self, module: Any) -> Callable[..., Sequence[str]]:
        convert = module._convert_tokens_to_text

        def counted(*args: Any) -> Sequence[str]:
            texts: Sequence[str] = convert(*args)
            self.drawn += len(texts)
            self.last_texts = list(texts[-3:])
            if self.exhausted:
                # be_great's loop has no other way out: it catches this and gives the rows that it has.
                raise ModelError("the limit of draws is reached")
            return texts

        return counted


class _RowOrder:
    """The order in which an epoch goes through the rows, drawn from the seed and the number of the epoch."""

    def __init__(self, rows: int, seed: int, rows_drawn: int) -> None:
        self.rows, self.seed, self.rows_drawn = rows, seed, rows_drawn

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        epoch = self.rows_drawn // self.rows
        return iter(random.Random(f"{self.seed}/epoch {epoch}").sample(range(self.rows), self.rows))


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Reports epoch, step, loss and time left, and marks the checkpoints that are whole."""

    def __init__(self, report: Log) -> None:
        self.report = report

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "loss" not in logs:
            return
        rate = (state.global_step - self.first_step) / (time.monotonic() - self.started)
        left = (state.max_steps - state.global_step) / rate if rate else float("inf")
        self.report(
            f"epoch {state.epoch:.1f} of {state.num_train_epochs}, step {state.global_step} of {state.max_steps}, "
            f"loss {float(logs['loss']):.4f}, {left:.0f} s left"
        )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        write_manifest(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class _Silent:
    """Takes the place of be_great's progress bar; `report` says what it would."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, count: int) -> None:
        pass


@contextmanager
def _in_place_of_be_greats(**parts: Any) -> Iterator[None]:
    names = vars(be_great.great)
    before = {name: names[name] for name in parts if name in names}
    names.update(parts)
    try:
        yield
    finally:
        for name in parts:
            if name in before:
                names[name] = before[name]
            else:
                del names[name]  # a builtin that was covered
