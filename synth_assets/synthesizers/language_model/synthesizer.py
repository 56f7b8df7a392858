"""`LanguageModel`: a causal language model that is trained on rows and samples them."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from synth_assets.execution.processes import together
from synth_assets.schema.columns import Column
from synth_assets.schema.conditions import Condition
from synth_assets.schema.dtypes import restore_dtype, with_columns
from synth_assets.synthesizers.base import BATCH_ROWS, Log, ModelError, Synthesizer, SynthesizerSettings, silent
from synth_assets.synthesizers.density_ratio import DensityRatio, Rejection
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.settings import SCRATCH, LanguageModelSettings
from synth_assets.synthesizers.preparation import Preparation

if TYPE_CHECKING:
    from synth_assets.synthesizers.language_model.row_model import RowModel


class LanguageModel(Synthesizer):
    """A language model of rows.

    A row is a sentence ('Rings is 09, Sex is M, ...'). The model is pretrained on rows of a sequential forest,
    fine-tuned on the train rows, and generates tokens of valid values only.
    """

    name: ClassVar[str] = "language_model"
    Settings: ClassVar[type[SynthesizerSettings]] = LanguageModelSettings
    supports_conditions: ClassVar[bool] = True
    supports_temperature: ClassVar[bool] = True
    supports_text: ClassVar[bool] = True
    supports_likelihood: ClassVar[bool] = True
    max_columns: ClassVar[int | None] = 400
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn")

    settings: LanguageModelSettings
    row_model: "RowModel"

    def base_fingerprint(self, seed: int) -> str:
        """Return what identifies the base model: equal fingerprints mean equal weights and tokenizers for a table."""
        from synth_assets.synthesizers.language_model.base_models import fingerprint

        return fingerprint(self.settings, seed, self.base_models_dir)

    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        from synth_assets.synthesizers.language_model.base_models import load_base
        from synth_assets.synthesizers.language_model.memory import Sizes, free_bytes, require_room
        from synth_assets.synthesizers.language_model.parallel import current_group
        from synth_assets.synthesizers.language_model.row_model import (
            RowModel,
            best_device,
            default_n_models,
            seed_of_model,
        )

        if current_group().size == 1 and self.settings.devices > 1:
            self._fit_in_processes(train, seed=seed, checkpoints=checkpoints, log=log)
            return
        device = best_device()
        in_4_bits = _in_4_bits(device) if self.settings.quantized else {}
        if len(train) > self.settings.max_train_rows:
            drawn = np.random.default_rng(seed).permutation(len(train))[: self.settings.max_train_rows]
            log(f"learning from {len(drawn):,} of {len(train):,} train rows, drawn at random (max_train_rows)")
            train = train.iloc[np.sort(drawn)].reset_index(drop=True)
        texts = {column.name: column.max_length for column in self.learned_schema.columns if column.type == "text"}
        # The tokenizer of a scratch base is made for the encoder; the text of another is encoded in its tokens.
        is_scratch = self.settings.base == SCRATCH
        tokenizer = None
        if not is_scratch:
            model, tokenizer = load_base(
                self.settings, train, None, seed=seed, base_models_dir=self.base_models_dir, **in_4_bits
            )
        encoder = RowEncoder.fit(
            train,
            [name for name in self.settings.column_order if name not in self.preparation.formulas],
            use_residuals=self.settings.use_residuals,
            texts=texts,
            tokenizer=tokenizer,
        )
        if is_scratch:
            model, tokenizer = load_base(self.settings, train, encoder, seed=seed, base_models_dir=self.base_models_dir)
        seeds = [
            seed_of_model(seed, number)
            for number in range(self.settings.n_models or default_n_models(self.settings.base, len(train)))
        ]
        models = [model]
        for each in seeds[1:]:
            models.append(
                load_base(self.settings, train, encoder, seed=each, base_models_dir=self.base_models_dir, **in_4_bits)[
                    0
                ]
            )
        if self.settings.lora:
            models = [_with_adapters(model, each) for model, each in zip(models, seeds, strict=True)]
        if not in_4_bits:
            for number, model in enumerate(models):
                if device.type == "cuda":
                    require_room(Sizes.of(model), free_bytes(), self.settings.base)
                models[number] = model.to(device)
        self.row_model = RowModel(models[0], tokenizer, encoder, tuple(models[1:]))
        self.losses, self.resumed_from_step = self.row_model.fit(
            train, self.settings, seed=seed, checkpoints=checkpoints, log=log
        )
        if in_4_bits:
            models = [_in_16_bits(model) for model in models]
        if self.settings.lora:
            models = [model.merge_and_unload() for model in models]
        self.row_model = RowModel(models[0], tokenizer, encoder, tuple(models[1:]))
        if self.settings.resolved().use_density_ratio:
            self.row_model.fit_rejection(train, self.settings, seed=seed, batch_rows=self.batch_rows, log=log)
        self.n_parameters = sum(model.num_parameters() for model in models)

    def _fit_in_processes(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        """Fit in a process for each device, and load what the first of them saved."""
        import torch

        from synth_assets.synthesizers.language_model.parallel import environments

        n, gpus = self.settings.devices, torch.cuda.device_count()
        if torch.cuda.is_available() and n > gpus:
            raise ModelError(f"devices is {n}, and this machine has {gpus} GPUs; expected at most {gpus}.")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            calls = [
                (self.settings, self.base_models_dir, self.preparation, train, seed, checkpoints, folder, environment)
                for environment in environments(n)
            ]
            for item in together(_fit_in_group, calls):
                if isinstance(item, str):
                    log(item)
                else:
                    self.losses, self.resumed_from_step, self.n_parameters, learned = item
            self._load(folder, learned)

    @property
    def batch_rows(self) -> int:
        """Rows of a batch: twice as many of several models, each of which draws a share of them."""
        return BATCH_ROWS if len(self.row_model.models) == 1 else 2 * BATCH_ROWS

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        arguments: dict[str, Any] = {"seed": seed, "conditions": conditions, "temperature": temperature}
        return self.row_model.sample_batches(n, batches, batch_rows=self.batch_rows, log=log, **arguments)

    @property
    def supports_processes(self) -> bool:
        """Whether several processes draw rows faster than one, and the same rows: a large model uses all cores."""
        from synth_assets.synthesizers.language_model.training import is_small

        return bool(self.row_model.model.device.type == "cpu") and is_small(self.row_model.model)

    def _log_likelihood(self, rows: pd.DataFrame) -> np.ndarray:
        from synth_assets.synthesizers.language_model.likelihood import log_likelihood

        return log_likelihood(self.row_model, rows)

    def impute(self, rows: pd.DataFrame, *, seed: int = 0, temperature: float = 1.0, log: Log = silent) -> pd.DataFrame:
        """Fill in missing cells, given the rest of their row.

        Parameters
        ----------
        rows : pandas.DataFrame
            Rows with the table's columns; NaN or None where a cell is missing.
        seed : int
            The seed of the draws.
        temperature : float
            Temperature of the softmax over the next token.
        log : callable
            Receives lines of progress.

        Returns
        -------
        pandas.DataFrame
            The same rows under the same index; known cells are as they were. Columns keep their dtypes, except numbers,
            dates and booleans that are text without a format, and whole numbers that are floats for their missing
            cells.

        Raises
        ------
        ModelError
            If the model is not fitted, a column is missing, or a known cell has a value that the model cannot generate
            in this row.
        """
        if not hasattr(self, "row_model"):
            raise ModelError("this language_model synthesizer is not fitted; call fit first.")
        missing = [name for name in self.schema.published if name not in rows.columns]
        if missing:
            raise ModelError(
                f"the rows lack the columns {', '.join(missing)}; expected {', '.join(self.schema.published)}."
            )
        nullable = [column.model_copy(update={"nullable": True}) for column in self.schema.columns]
        names = {*self.learned_schema.names, *self.preparation.formulas}
        learned = [column for column in nullable if column.name in names]
        typed = pd.DataFrame({column.name: column.coerce(rows[column.name], origin="rows") for column in learned})
        solved = self.preparation.solve(typed)
        filled = self.row_model.impute(self.preparation.prepare(solved), seed=seed, temperature=temperature, log=log)
        restored = self.preparation.restore(filled, seed=seed, batch=0, first_key=0)
        known = {name: solved[name].where(solved[name].notna(), restored[name]) for name in self.preparation.computed}
        restored = self.preparation.solve(with_columns(restored, known), given=solved)
        result = rows.copy()
        for column in learned:
            is_empty = typed[column.name].isna().to_numpy()
            if is_empty.any():
                values = pd.concat([typed[column.name][~is_empty], restored[column.name][is_empty]]).sort_index()
                values = self.schema.column(column.name).coerce(values, origin="rows")
                result[column.name] = _like(rows[column.name], column, values, is_empty)
        return result

    def _save(self, folder: Path) -> dict[str, Any]:
        from synth_assets.synthesizers.language_model.base_models import save_base

        for model, path in zip(self.row_model.models, _folders(folder, len(self.row_model.models)), strict=True):
            path.mkdir(exist_ok=True)
            save_base(model, self.row_model.tokenizer, path)
        rejection = self.row_model.rejection
        if rejection is not None:
            rejection.ratio.save(folder)
        return {
            "row_encoder": self.row_model.row_encoder.to_json(),
            "n_models": len(self.row_model.models),
            "rejection": rejection and {"log_bound": rejection.log_bound, "kept_share": rejection.kept_share},
        }

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        from synth_assets.synthesizers.language_model.row_model import RowModel, best_device

        device = best_device()
        if self.settings.base == SCRATCH and device.type == "cpu":
            from synth_assets.synthesizers.language_model.scratch_model import load_scratch

            load: Callable[[Path], tuple[Any, Any]] = load_scratch
        else:
            from synth_assets.synthesizers.language_model.base_models import load_folder

            load = load_folder
        loaded = [load(each) for each in _folders(folder, learned["n_models"])]
        model, *others = (model.to(device) for model, _ in loaded)
        tokenizer = loaded[0][1]
        encoder = RowEncoder.from_json(learned["row_encoder"], tokenizer)
        stated = learned["rejection"]
        rejection = stated and Rejection(DensityRatio.load(folder), **stated)
        self.row_model = RowModel(model, tokenizer, encoder, tuple(others), rejection)


def _folders(folder: Path, n_models: int) -> list[Path]:
    """Return the folders of a synthesizer's models: its own, where be_great finds the first, and below it."""
    return [folder / f"model-{number}" if number > 1 else folder for number in range(1, n_models + 1)]


def _fit_in_group(
    settings: LanguageModelSettings,
    base_models_dir: Path | None,
    preparation: Preparation,
    train: pd.DataFrame,
    seed: int,
    checkpoints: Path | None,
    folder: Path,
    environment: dict[str, str],
) -> Iterator[Any]:
    """Fit as one of several processes; yield lines of progress, and at last what is not in the folder."""
    os.environ.update(environment)
    model = LanguageModel(settings, base_models_dir=base_models_dir)
    model._use(preparation)
    lines: SimpleQueue[str | None] = SimpleQueue()
    with ThreadPoolExecutor(1) as thread:
        fit = thread.submit(model._fit, train, seed=seed, checkpoints=checkpoints, log=lines.put)
        fit.add_done_callback(lambda _: lines.put(None))
        yield from iter(lines.get, None)
    fit.result()
    if environment["RANK"] == "0":
        yield model.losses, model.resumed_from_step, model.n_parameters, model._save(folder)


def _with_adapters(model: Any, seed: int = 0) -> Any:
    if find_spec("peft") is None:
        raise ModelError("lora needs the package peft: `pip install peft`, or set lora to false.")
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    known = (("q_proj", "v_proj"), ("c_attn", "c_proj"), ("c_attn",), ("query_key_value", "dense"))
    targets = next((list(each) for each in known if names.issuperset(each)), "all-linear")
    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=targets, task_type=TaskType.CAUSAL_LM)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def _in_4_bits(device: Any) -> dict[str, Any]:
    """Return the arguments with which transformers loads a base in 4 bits (Dettmers et al., *QLoRA*, 2023)."""
    if device.type != "cuda":
        raise ModelError("quantized needs a CUDA GPU, and this machine has none; set quantized to false.")
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            "quantized needs the package bitsandbytes: `pip install 'synth-assets[quantized]'`, or set quantized to "
            "false."
        )
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": device}, "dtype": torch.bfloat16}


def _in_16_bits(model: Any) -> Any:
    """Return a model with adapters on a base in 4 bits as the same adapters on the base's values in 16."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    adapters = get_peft_model_state_dict(model)
    restored = _with_adapters(model.unload().dequantize())
    set_peft_model_state_dict(restored, adapters)
    return restored


def _like(known: pd.Series, column: Column, values: pd.Series, is_empty: np.ndarray) -> pd.Series:
    """Return filled values of a column in the dtype of the known ones, which stay as they are."""
    is_text = not pd.api.types.is_numeric_dtype(known.dtype)
    values = pd.Series((column.as_in_source(values) if is_text else values).array, index=known.index)
    filled = values if known.dtype == "float64" else restore_dtype(values, known)
    return known.where(~is_empty, filled) if filled.dtype == known.dtype else filled
