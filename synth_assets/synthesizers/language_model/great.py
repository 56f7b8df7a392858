"""`GReaT`: a drop-in for `be_great.GReaT` that trains and samples as `LanguageModel` does.

Importing this module imports be_great and torch: do so inside functions only.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import be_great
import numpy as np
import pandas as pd

from synth_assets.schema.columns import Text
from synth_assets.schema.infer import MIN_ROWS, infer_schema
from synth_assets.synthesizers.base import SYNTHESIZER_JSON, Log, ModelError, read_description, refuse_pickles, silent
from synth_assets.synthesizers.language_model.base_models import quiet_transformers
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.row_model import RowModel
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings


class GReaT(be_great.GReaT):  # type: ignore[misc]
    """A language model of rows that replaces `be_great.GReaT`.

    The constructor, LoRA and `save` are inherited from be_great. A model that be_great saved is loaded, and sampled as
    be_great samples it, since it has no row encoder; a model that this class saved can be loaded by be_great.

    Parameters
    ----------
    llm : str
        A folder, or a name on the model hub.
    **arguments
        Arguments of `be_great.GReaT`: `epochs`, `batch_size`, `learning_rate`, `efficient_finetuning`,
        `experiment_dir`, ...
    """

    def __init__(self, llm: str, **arguments: Any) -> None:
        quiet_transformers()
        super().__init__(llm, **arguments)
        self.row_encoder_json: dict[str, Any] | None = None

    def fit(
        self,
        data: pd.DataFrame | np.ndarray,
        column_names: Sequence[str] | None = None,
        *,
        column_order: Sequence[str] = (),
        pretrain: PretrainSettings | None = None,
        seed: int = 0,
        device: str = "auto",
        log: Log = silent,
    ) -> list[dict[str, float]]:
        """Fit the model to rows; see `RowModel.fit`.

        Parameters
        ----------
        data : pandas.DataFrame or numpy.ndarray
            The train rows: labels and text as `str`, numbers as numbers. Strings that hardly repeat are text, written
            in the base's own tokens, unless `column_order` names the column.
        column_names : sequence of str, optional
            The column names, where `data` is an array.
        column_order : sequence of str
            Columns that come first in a row.
        pretrain : PretrainSettings, optional
            The pretraining on rows of a forest; by default there is none.
        seed, log
            As in `Synthesizer.fit`.
        device : str
            As in be_great: 'auto', 'cpu', 'cuda', ...

        Returns
        -------
        list of dict
            The losses of each epoch.

        Raises
        ------
        ModelError
            If the rows cannot be encoded, the tokenizer cannot write a text, or rows are longer than the context.
        """
        rows = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data, columns=column_names)
        settings = LanguageModelSettings(
            base=self.llm,
            epochs=self.epochs,
            batch_size=self.batch_size,
            column_order=tuple(column_order),
            pretrain=pretrain or PretrainSettings(),
            **{name: value for name, value in self.train_hyperparameters.items() if name == "learning_rate"},
        )
        encoder = RowEncoder.fit(
            rows, settings.column_order, texts=_texts(rows, settings.column_order), tokenizer=self.tokenizer
        )
        self._resolve_device(device)
        self.model.float()  # in half precision, small steps would be lost
        self._update_column_information(rows)
        self._update_conditional_information(rows, encoder.columns[0].name)
        losses, _ = RowModel(self.model, self.tokenizer, encoder).fit(
            rows, settings, seed=seed, checkpoints=Path(self.experiment_dir), log=log
        )
        self.row_encoder_json = encoder.to_json()
        return losses

    def sample(
        self,
        n_samples: int,
        temperature: float = 1.0,
        k: int = 1000,
        *,
        conditions: Mapping[str, str] | None = None,
        seed: int = 0,
        device: str = "auto",
        log: Log = silent,
        **arguments: Any,
    ) -> pd.DataFrame:
        """Sample rows; see `RowModel.sample_batches`.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        k : int
            Rows generated in parallel. Another number gives other rows.
        temperature, conditions, seed, log
            As in `Synthesizer.sample`.
        device : str
            As in be_great.
        **arguments
            Arguments of be_great's own `sample`, for a model that be_great fitted.

        Returns
        -------
        pandas.DataFrame
            The rows.
        """
        if self.row_encoder_json is None and self.columns is None:
            raise ModelError("this model is not fitted; call fit first.")
        if self.row_encoder_json is None:
            return super().sample(
                n_samples, temperature=temperature, k=k, conditions=conditions, device=device, **arguments
            )
        batches: Iterator[pd.DataFrame] = self._row_model(device).sample_batches(
            n_samples, seed=seed, conditions=conditions, temperature=temperature, batch_rows=k, log=log
        )
        encoder = RowEncoder.from_json(self.row_encoder_json)
        empty = encoder.to_frame(np.zeros((0, len(encoder.columns)), np.int64))
        return pd.concat(list(batches) or [empty], ignore_index=True)

    def impute(
        self,
        df_miss: pd.DataFrame,
        temperature: float = 1.0,
        k: int = 512,
        *,
        seed: int = 0,
        device: str = "auto",
        log: Log = silent,
    ) -> pd.DataFrame:
        """Fill in missing cells, given the rest of their row; see `RowModel.impute`.

        Parameters
        ----------
        df_miss, temperature, seed, log
            As in `LanguageModel.impute`, as is the result.
        k : int
            Completions generated in parallel.
        device : str
            As in be_great.
        """
        return self._row_model(device).impute(df_miss, seed=seed, temperature=temperature, batch_rows=k, log=log)

    @classmethod
    def load_from_dir(cls, path: str) -> Self:
        """Load a model that `save` of this class or of be_great wrote, or a folder of the model store."""
        quiet_transformers()
        folder = Path(path)
        if not (folder / SYNTHESIZER_JSON).exists():
            _require_saved(folder)
            loaded: Self = super().load_from_dir(path)
            # be_great keeps the device that the model had when it was saved.
            loaded.device = next(loaded.model.parameters()).device
            return loaded
        described = read_description(folder)
        if described["name"] != "language_model":
            raise ModelError(f"{folder} holds a {described['name']} synthesizer; expected language_model.")
        refuse_pickles(folder)
        loaded = cls(str(folder))
        loaded.row_encoder_json = described["learned"]["row_encoder"]
        columns = described["schema"]["columns"]
        loaded.columns = [column["name"] for column in columns]
        loaded.num_cols = [column["name"] for column in columns if column["type"] != "categorical"]
        loaded.conditional_col = loaded.columns[0]
        return loaded

    def _row_model(self, device: str) -> RowModel:
        if self.row_encoder_json is None:
            raise ModelError("this model has no row encoder; fit it with this class first.")
        self._resolve_device(device)
        encoder = RowEncoder.from_json(self.row_encoder_json, self.tokenizer)
        return RowModel(self.model, self.tokenizer, encoder)


def _texts(rows: pd.DataFrame, column_order: Sequence[str]) -> dict[str, int]:
    """Return the columns of text, and the length of the longest."""
    names = [name for name in rows.columns if name not in column_order and len(rows) >= MIN_ROWS]
    strings = [name for name in names if isinstance(rows[name].dtype, pd.StringDtype) or rows[name].dtype == object]
    inferred = [infer_schema(rows[[name]], private=False).columns[0] for name in strings]
    return {column.name: column.max_length for column in inferred if isinstance(column, Text)}


def _require_saved(folder: Path) -> None:
    """Raise a `ModelError` if a folder is none that `save` wrote."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; expected a folder that `save` wrote. Check the path.")
    has_weights = (folder / "model.pt").exists() or (folder / "lora_adapter").is_dir()
    if not ((folder / "config.json").exists() and has_weights):
        names = sorted(path.name for path in folder.iterdir())
        what = "is empty" if not names else f"holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        if any(name.startswith("checkpoint") for name in names) or folder.name.startswith("checkpoint"):
            what = "holds checkpoints of a training"
        raise ModelError(
            f"{folder} is no saved model: it {what}. Expected config.json with model.pt or lora_adapter, as `save` "
            "writes them, or a folder of the model store."
        )
