"""The interface of a synthesizer, its settings, and its files."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from synth_assets.errors import ForeseenError
from synth_assets.schema.table import TableSchema

Log = Callable[[str], None]
"""Receives one line of progress."""

SYNTHESIZER_JSON = "synthesizer.json"
"""In the folder of a saved synthesizer: its name, its settings, the table's schema, and the fitted state."""

ROWS_FILE = "rows.safetensors"
"""In the same folder: the quantised train rows, where a synthesizer is fitted to them again when it is loaded."""

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of files that usually hold pickles: loading one may run arbitrary code."""

BATCH_ROWS = 1000
"""Rows of a batch of `sample_batches`. Another number gives other rows for the same seed."""


class ModelError(ForeseenError, RuntimeError):
    """A synthesizer cannot be fitted, read or sampled; the message says why and what to do."""


def silent(line: str) -> None:
    """Ignore a line of progress."""
    del line


class SynthesizerSettings(BaseModel):
    """Settings of a synthesizer; `type` is its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    execution_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that only say how training is carried out; they do not enter a model's version."""

    type: str

    def inputs(self) -> dict[str, Any]:
        """Return the settings that the fitted model depends on, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.execution_fields))


class SampleSettings(BaseModel):
    """How a sample is drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_samples: int = Field(default=3000, ge=1, description="Number of rows.")
    temperature: float = Field(default=1.0, gt=0.0, description="Temperature of the softmax over the next token.")
    conditions: dict[str, str] | None = Field(
        default=None, description="Conditions on columns, such as `Rings: '>= 15'`; rows are sampled given these."
    )


class Synthesizer(ABC):
    """A method that is fitted to the train rows of a table and samples synthetic rows.

    Parameters
    ----------
    settings : SynthesizerSettings, optional
        The settings; the defaults of the class if not given.
    base_models_dir : pathlib.Path, optional
        The folder in which the names of base models are looked up first.

    Attributes
    ----------
    schema : TableSchema
        The table's schema.
    losses : list of dict
        The training loss over time; empty where nothing is optimised step by step.
    n_parameters : int
        The number of learned parameters.
    resumed_from_step : int
        The step of the checkpoint that the fit was resumed from; 0 if it was not.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[SynthesizerSettings]]
    supports_conditions: ClassVar[bool] = False
    supports_temperature: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")
    """Packages whose versions the fitted model depends on."""

    settings: SynthesizerSettings
    schema: TableSchema

    def __init__(self, settings: SynthesizerSettings | None = None, *, base_models_dir: Path | None = None) -> None:
        self.settings = self.Settings() if settings is None else settings  # type: ignore[call-arg]
        if type(self.settings) is not self.Settings:
            raise TypeError(f"found {type(self.settings).__name__}; expected {self.Settings.__name__}")
        self.base_models_dir = base_models_dir
        self.losses: list[dict[str, float]] = []
        self.n_parameters = 0
        self.hidden_labels: dict[str, int] = {}
        self.resumed_from_step = 0

    def base_fingerprint(self, seed: int) -> str | None:
        """Return what identifies the base model that training starts from; None if there is none."""
        del seed
        return None

    def fit(
        self,
        train: pd.DataFrame,
        schema: TableSchema,
        *,
        seed: int = 0,
        checkpoints: Path | None = None,
        log: Log = silent,
    ) -> Self:
        """Fit the synthesizer to a table.

        Parameters
        ----------
        train : pandas.DataFrame
            The train rows, with the schema's columns and no missing value.
        schema : TableSchema
            The table's schema.
        seed : int
            The seed of everything random.
        checkpoints : pathlib.Path, optional
            A folder for checkpoints of this fit alone. A fit that was interrupted resumes from there.
        log : callable
            Receives lines of progress.

        Returns
        -------
        Synthesizer
            The synthesizer itself.

        Raises
        ------
        TableError
            If a column is missing or cannot be converted to its type, or there is no row.
        ModelError
            If a value is missing or infinite, or the model cannot be fitted.
        """
        rows = schema.coerce(train, origin="train")
        refuse_missing(rows)
        self.schema = schema
        self._fit(rows, seed=seed, checkpoints=checkpoints, log=log)
        return self

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        temperature: float = 1.0,
        log: Log = silent,
        first_key: int = 0,
    ) -> pd.DataFrame:
        """Draw rows.

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int
            The same seed and arguments give the same rows.
        conditions : mapping of str to str, optional
            Conditions by column, such as `{"Rings": ">= 15", "Sex": "== 'I'"}`.
        temperature : float
            Temperature of the softmax over the next token; 1.0 samples the learned distribution.
        log : callable
            Receives lines of progress.

        Returns
        -------
        pandas.DataFrame
            n rows in the schema's columns, order and dtypes.

        Raises
        ------
        ModelError
            If the synthesizer is not fitted, does not support an argument, or cannot draw the rows.
        """
        del first_key
        batches = list(self.sample_batches(n, seed=seed, conditions=conditions, temperature=temperature, log=log))
        if not batches:
            return self._typed(pd.DataFrame({name: [] for name in self.schema.names}))
        return pd.concat(batches, ignore_index=True)

    def sample_batches(
        self,
        n: int,
        *,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        temperature: float = 1.0,
        log: Log = silent,
    ) -> Iterator[pd.DataFrame]:
        """Draw rows batch by batch, in memory that does not grow with their number.

        Parameters
        ----------
        n, seed, conditions, temperature, log
            As in `sample`.

        Yields
        ------
        pandas.DataFrame
            The rows of a batch.
        """
        if not hasattr(self, "schema"):
            raise ModelError(f"this {self.name} synthesizer is not fitted; call fit first.")
        if conditions and not self.supports_conditions:
            raise ModelError(f"the {self.name} synthesizer takes no conditions; use 'language_model', which does.")
        if not isinstance(conditions or {}, Mapping) or not all(
            isinstance(c, str) for c in (conditions or {}).values()
        ):
            raise ModelError(f'conditions are {conditions!r}; expected texts by column, such as {{"Rings": ">= 15"}}.')
        if temperature != 1.0 and not self.supports_temperature:
            raise ModelError(f"the {self.name} synthesizer has no temperature; leave it at 1.")
        for batch in self._sample_batches(n, seed=seed, conditions=conditions or {}, temperature=temperature, log=log):
            yield self._typed(batch)

    def save(self, path: Path | str) -> None:
        """Save the fitted synthesizer to a folder; nothing is pickled.

        Parameters
        ----------
        path : pathlib.Path or str
            The folder; made if it does not exist.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        described = {
            "name": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "schema": self.schema.model_dump(mode="json"),
            "losses": self.losses,
            "n_parameters": self.n_parameters,
            "learned": self._save(folder),
        }
        (folder / SYNTHESIZER_JSON).write_text(json.dumps(described), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Load what `save` saved.

        Raises
        ------
        ModelError
            If the folder holds no synthesizer of this class, or holds a pickle.
        """
        folder = Path(path)
        described = read_description(folder)
        if described["name"] != cls.name:
            raise ModelError(
                f"{folder} holds a {described['name']} synthesizer; expected {cls.name}. Load it with "
                "synth_assets.synthesizers.load."
            )
        refuse_pickles(folder)
        try:
            loaded = cls(cls.Settings.model_validate(described["settings"]))
            loaded.schema = TableSchema.model_validate(described["schema"])
            loaded.losses, loaded.n_parameters = described["losses"], described["n_parameters"]
            loaded._load(folder, described["learned"])
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(_other_version(folder)) from error
        return loaded

    @abstractmethod
    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None: ...

    @abstractmethod
    def _sample_batches(
        self, n: int, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]: ...

    @abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """Write files to a folder, and return the rest of the fitted state, as JSON values."""

    @abstractmethod
    def _load(self, folder: Path, learned: dict[str, Any]) -> None: ...

    def _typed(self, rows: pd.DataFrame) -> pd.DataFrame:
        dtypes = {column.name: _DTYPES[column.type] for column in self.schema.columns}
        return rows[self.schema.names].astype(dtypes)


_DTYPES = {"categorical": "str", "integer": "int64", "float": "float64"}


def read_description(folder: Path) -> dict[str, Any]:
    """Read the description of a saved synthesizer.

    Raises
    ------
    ModelError
        If the folder is not there, or holds no synthesizer that this version of synth_assets can read.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; expected a folder that a synthesizer was saved to.")
    try:
        found: dict[str, Any] = json.loads((folder / SYNTHESIZER_JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(_other_version(folder)) from error
    if not isinstance(found, dict) or not {"name", "settings", "schema", "learned"} <= found.keys():
        raise ModelError(_other_version(folder))
    return found


def refuse_pickles(folder: Path) -> None:
    """Raise a `ModelError` if a model's folder holds a pickle."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    if found:
        raise ModelError(
            f"the model in {folder} is not loaded, since {', '.join(found)} may hold pickles, which can run anything. "
            "Keep weights as safetensors (`model.save_pretrained` of transformers writes them) and delete the rest."
        )


def save_rows(quantised: np.ndarray, folder: Path) -> None:
    """Save quantised train rows, for a synthesizer that is fitted to them again when it is loaded."""
    from safetensors.numpy import save_file

    save_file({"quantised": quantised}, folder / ROWS_FILE)


def load_rows(folder: Path) -> np.ndarray:
    """Load what `save_rows` saved.

    Raises
    ------
    ModelError
        If the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        rows: np.ndarray = load_file(folder / ROWS_FILE)["quantised"]
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / ROWS_FILE} cannot be read ({error}); fit the model again.") from error
    return rows


def _other_version(folder: Path) -> str:
    return f"{folder} holds no model that this version of synth_assets can read; fit the model again."


def refuse_missing(train: pd.DataFrame) -> None:
    """Raise a `ModelError` if a train row has a missing or infinite value."""
    counts = {}
    for name in train.columns:
        values = train[name]
        missing = values.isna()
        if pd.api.types.is_numeric_dtype(values):
            missing |= np.isinf(values.astype("float64"))
        if missing.any():
            counts[name] = int(missing.sum())
    if counts:
        listed = ", ".join(f"{count} in {name!r}" for name, count in counts.items())
        raise ModelError(
            f"the {len(train)} train rows have missing or infinite values ({listed}); expected none. "
            "Drop these rows or fill them in first."
        )
