"""Baseline: a thin adapter of `be_great.GReaT` to the interface of a synthesizer."""

import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import Field

from synth_assets.schema.columns import MAX_EXACT_INTEGER, Column, TimeColumn
from synth_assets.schema.conditions import Condition
from synth_assets.schema.table import TableSchema, readable_rows
from synth_assets.synthesizers.base import BATCH_ROWS, Log, ModelError, Synthesizer, SynthesizerSettings
from synth_assets.synthesizers.language_model.settings import BaseModelSettings

MAX_DRAWS = 20
"""Maximum number of rows drawn for each row of the sample."""

DRAWN_ROWS = 100
"""Rows that be_great generates in parallel."""

LOGGING_STEPS = 100
"""Training steps between two lines of the log."""

MISSING = "missing"
"""What be_great learns in place of an empty cell; extended where the column has this text. An empty cell itself would
be written 'None', which be_great reads as an empty cell also where it is a label."""

LEARNED = ("columns", "num_cols", "conditional_col", "conditional_col_dist", "col_stats", "float_precision")
"""Attributes of `be_great.GReaT` that a fit sets."""


class BeGreatSettings(BaseModelSettings):
    """Settings of be_great."""

    type: Literal["be_great"] = "be_great"
    epochs: int = Field(default=30, ge=1, description="Number of epochs on the train rows.")
    batch_size: int = Field(default=16, ge=1, description="Rows of a training step.")
    learning_rate: float = Field(default=5e-5, gt=0.0, description="Peak learning rate (linear decay).")


class BeGreat(Synthesizer):
    """be_great's own training and sampling.

    Rows that cannot be read as rows of the table are dropped and drawn again. A fit does not resume.
    """

    name: ClassVar[str] = "be_great"
    Settings: ClassVar[type[SynthesizerSettings]] = BeGreatSettings
    supports_temperature: ClassVar[bool] = True
    supports_text: ClassVar[bool] = True
    max_columns: ClassVar[int | None] = 400
    draws_in_sequence: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("be-great", "torch", "transformers", "tokenizers", "numpy")

    settings: BeGreatSettings

    def base_fingerprint(self, seed: int) -> str:
        """Return what identifies the base model."""
        from synth_assets.synthesizers.language_model.base_models import fingerprint

        return fingerprint(self.settings, seed, self.base_models_dir)

    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        import be_great
        from transformers import set_seed

        from synth_assets.synthesizers.language_model.base_models import load_base, save_base, sentences
        from synth_assets.synthesizers.language_model.training import threads_for

        del checkpoints
        self.missing_texts = {
            column.name: _missing_text(train[column.name]) for column in self.learned_schema.columns if column.nullable
        }
        cells = _to_cells(train, self.learned_schema, self.missing_texts)
        model, tokenizer = load_base(self.settings, cells, None, seed=seed, base_models_dir=self.base_models_dir)
        with tempfile.TemporaryDirectory() as folder:
            save_base(model, tokenizer, Path(folder))  # be_great takes a folder
            great = be_great.GReaT(
                folder,
                experiment_dir=folder,
                epochs=self.settings.epochs,
                batch_size=self.settings.batch_size,
                efficient_finetuning="lora" if self.settings.lora else "",
                learning_rate=self.settings.learning_rate,
                logging_steps=LOGGING_STEPS,
                save_strategy="no",
                seed=seed,
            )
            set_seed(seed)
            with threads_for(great.model), _output_to(log):
                history = great.fit(cells).state.log_history
        self.losses = [entry for entry in history if "loss" in entry]
        if self.settings.lora:
            great.model = great.model.merge_and_unload()
        self.great = great
        self.n_parameters = great.model.num_parameters()
        longest = max(len(ids) for ids in great.tokenizer(sentences(cells))["input_ids"])
        context = getattr(great.model.config, "max_position_embeddings", None) or 2 * longest
        self.max_length = min(context, longest + longest // 4)  # a row in another column order may be longer

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        from transformers import set_seed

        from synth_assets.synthesizers.language_model.training import threads_for

        del conditions, batches
        set_seed(seed)
        self.great.model.eval()
        kept = drawn = 0
        pending: list[pd.DataFrame] = []
        output = io.StringIO()
        while kept < n:
            if drawn >= MAX_DRAWS * max(n, DRAWN_ROWS):
                raise ModelError(self._too_few(drawn, kept, n, output.getvalue()))
            with threads_for(self.great.model), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                rows = self.great.sample(DRAWN_ROWS, k=DRAWN_ROWS, temperature=temperature, max_length=self.max_length)
            drawn += DRAWN_ROWS
            if rows.empty:
                raise ModelError(self._too_few(drawn, kept, n, output.getvalue()))
            batch = _from_cells(rows, self.learned_schema, self.missing_texts)[: n - kept]
            kept += len(batch)
            log(f"{kept:,} of {n:,} rows, {drawn:,} drawn")
            pending.append(batch)
            if kept == n or sum(map(len, pending)) >= BATCH_ROWS:
                together = pd.concat(pending, ignore_index=True)
                complete = len(together) - (len(together) % BATCH_ROWS if kept < n else 0)
                pending = [together[complete:]]
                for start in range(0, complete, BATCH_ROWS):
                    yield together[start : min(start + BATCH_ROWS, complete)]

    @property
    def supports_processes(self) -> bool:
        """Whether several processes draw rows faster than one, and the same rows; the draws of one are a sequence."""
        return False

    def _too_few(self, drawn: int, kept: int, n: int, output: str) -> str:
        failures = re.findall(r"An error has occurred: ([^\x1b\n]*)", output)
        reason = f" be_great reports: {failures[-1]}" if failures else ""
        return (
            f"be_great drew {drawn} rows, of which {kept} are rows of the table; expected {n}.{reason} "
            "Train it for more epochs, or sample at a lower temperature."
        )

    def _save(self, folder: Path) -> dict[str, Any]:
        from synth_assets.synthesizers.language_model.base_models import save_base

        save_base(self.great.model, self.great.tokenizer, folder)
        return {
            "max_length": self.max_length,
            "missing_texts": self.missing_texts,
            "great": {name: getattr(self.great, name) for name in LEARNED},
        }

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        import be_great

        from synth_assets.synthesizers.language_model.base_models import quiet_transformers

        quiet_transformers()
        self.great = be_great.GReaT(str(folder))
        self.max_length, self.missing_texts = learned["max_length"], learned["missing_texts"]
        for name in LEARNED:
            setattr(self.great, name, learned["great"][name])


def _missing_text(values: pd.Series) -> str:
    present, text = set(values.dropna().astype("str")), MISSING
    while text in present:
        text = f"({text})"
    return text


def _to_cells(rows: pd.DataFrame, schema: TableSchema, missing_texts: Mapping[str, str]) -> pd.DataFrame:
    """Return rows as be_great learns them: numbers where they are complete and exact as floats, else text."""
    cells = {}
    for column in schema.columns:
        values = rows[column.name]
        is_exact = column.type == "float" or (column.type == "integer" and values.abs().max() < MAX_EXACT_INTEGER)
        if not column.nullable and is_exact:
            cells[column.name] = values
            continue
        texts = _texts(column, values)
        cells[column.name] = texts.where(values.notna(), missing_texts[column.name]) if column.nullable else texts
    return pd.DataFrame(cells)


def _texts(column: Column, values: pd.Series) -> pd.Series:
    if column.type == "date":
        return values.dt.strftime("%Y-%m-%d").astype("str")
    return (values.astype("str").str.lower() if column.type == "boolean" else values.astype("str")).astype("str")


def _from_cells(cells: pd.DataFrame, schema: TableSchema, missing_texts: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows that can be read, in the schema's dtypes."""
    written = cells.astype("object").where(cells.notna(), "None")  # be_great reads the text None as an empty cell
    for name, text in missing_texts.items():
        written[name] = written[name].mask(written[name] == text)
    columns = tuple(
        column.model_copy(update={"format": None}) if isinstance(column, TimeColumn) else column
        for column in schema.columns
    )
    return readable_rows(written, schema.model_copy(update={"columns": columns}))


@contextlib.contextmanager
def _output_to(log: Log) -> Iterator[None]:
    """Pass the losses that transformers prints to `log`; be_great's progress bar goes nowhere."""
    stdout, stderr = sys.stdout, sys.stderr

    class Lines(io.StringIO):
        def write(self, text: str) -> int:
            if "'loss'" in text:
                # `log` may print.
                with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                    log(text.strip())
            return len(text)

    with contextlib.redirect_stdout(Lines()), contextlib.redirect_stderr(io.StringIO()):
        yield
