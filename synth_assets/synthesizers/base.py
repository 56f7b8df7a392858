"""The interface of a synthesizer, its settings, and its files."""

import hashlib
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from synth_assets.errors import ModelError as ModelError
from synth_assets.execution import LOCAL, Execution
from synth_assets.execution.processes import cores, in_turn, keep_memory
from synth_assets.schema.conditions import Condition
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.preparation import Preparation, refuse_missing_cells

if TYPE_CHECKING:
    from synth_assets.synthesizers.parts import Manifest

Log = Callable[[str], None]
"""Receives one line of progress."""

SYNTHESIZER_JSON = "synthesizer.json"
"""In the folder of a saved synthesizer: its name, its settings, the table's schema without hidden labels, and the
fitted state."""

ROWS_FILE = "rows.safetensors"
"""In the same folder: the quantised train rows, where a synthesizer is fitted to them again when it is loaded."""

PREPARED = tuple(field.alias or name for name, field in Preparation.model_fields.items())
"""Keys of that file that describe the preparation of the table."""

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of files that usually hold pickles: loading one may run arbitrary code."""

BATCH_ROWS = 1000
"""Rows of a batch of `sample_batches`, unless a synthesizer states another number, which gives other rows for the same
seed."""

FIRST_MORE_ROWS, MAX_MORE_ROWS, MAX_ROWS_OF_NONE = 16, 1_000_000, 20_000
"""Rows that are drawn to replace those of a batch whose computed columns do not meet conditions: at first, or twice the
rows that are missing, if those are more, then twice as many again and again; at most; and at most while none meets
them."""

ROWS_PER_PROCESS = 100_000
"""Rows for which another process is started by default: it takes some three seconds to begin."""

LOG_INTERVAL_S = 5.0
"""Seconds between two lines of progress of several processes."""


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

    n_samples: int = Field(default=3000, ge=1, le=10**12, description="Number of rows.")
    temperature: float = Field(default=1.0, gt=0.0, description="Temperature of the softmax over the next token.")
    conditions: dict[str, str] | None = Field(
        default=None, description="Conditions on columns, such as `Rings: '>= 15'`; rows are sampled given these."
    )


class Synthesizer(ABC):
    """A method that is fitted to the train rows of a table and samples synthetic rows.

    What is the same for every method happens in this class: keys are made and not learned, text that is not published
    is left out, and labels that few train rows have are hidden. A method implements `_fit` and `_sample_batches` on
    the rows that are left, which have the columns, labels and dtypes of `learned_schema`; cells may be missing in its
    nullable columns.

    Parameters
    ----------
    settings : SynthesizerSettings, optional
        The settings; the defaults of the class if not given.
    base_models_dir : pathlib.Path, optional
        The folder in which the names of base models are looked up first.

    Attributes
    ----------
    schema : TableSchema
        The table's schema, without the labels that are hidden.
    learned_schema : TableSchema
        The schema of the rows that are learned.
    hidden_labels : dict of str to int
        Number of labels that are hidden, by column: fewer train rows than `schema.label_threshold` have them.
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
    supports_text: ClassVar[bool] = False
    supports_likelihood: ClassVar[bool] = False
    max_columns: ClassVar[int | None] = None
    """Maximum number of columns that are learned; None if there is none."""
    draws_in_sequence: ClassVar[bool] = False
    """Whether rows depend on the ones drawn before them, so that one process draws them all."""
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")
    """Packages whose versions the fitted model depends on."""

    settings: SynthesizerSettings
    preparation: Preparation
    schema: TableSchema
    learned_schema: TableSchema
    hidden_labels: dict[str, int]

    def __init__(self, settings: SynthesizerSettings | None = None, *, base_models_dir: Path | None = None) -> None:
        self.settings = self.Settings() if settings is None else settings  # type: ignore[call-arg]
        if type(self.settings) is not self.Settings:
            raise TypeError(f"found {type(self.settings).__name__}; expected {self.Settings.__name__}")
        self.base_models_dir = base_models_dir
        self.losses: list[dict[str, float]] = []
        self.n_parameters = 0
        self.resumed_from_step = 0

    @classmethod
    def written_schema(cls, schema: TableSchema) -> TableSchema:
        """Return the schema of a table whose rows this synthesizer writes: without text published if it writes none.

        Raises
        ------
        ModelError
            If the synthesizer writes no text, and the schema states `publish_text: true`; or if it does not learn so
            many columns.
        """
        n_learned = len(schema.learned)
        if cls.max_columns is not None and n_learned > cls.max_columns:
            raise ModelError(
                f"the table has {n_learned:,} columns to learn, and the {cls.name} synthesizer takes at most "
                f"{cls.max_columns}: it would take too long on longer rows. Choose the forest, which takes any number "
                '(`synthesizer: { type: forest }` in defs.yaml, `--synthesizer forest`, synthesizer="forest" in '
                "Python), or state fewer columns in the schema."
            )
        texts = schema.published_texts
        if cls.supports_text or not texts:
            return schema
        if schema.publish_text:
            raise ModelError(
                f"the {cls.name} synthesizer writes no text, and the schema states publish_text: true for "
                f"{', '.join(texts)}. Remove publish_text to leave the text out, or use 'language_model', which "
                "writes it."
            )
        return schema.model_copy(update={"publish_text": False})

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
            The train rows, with the schema's columns; cells may be missing in nullable ones.
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
            If a column is missing or cannot be converted to its type, a label is unknown, or there is no row.
        ModelError
            If a cell is missing in a column that is not nullable, no label of a column may be shown, or the model
            cannot be fitted.
        """
        schema = self.written_schema(schema)
        rows = schema.coerce(train, origin="train")
        refuse_missing_cells(rows, schema)
        self._use(Preparation.fit(rows, schema))
        for line in self.preparation.describe(writes_text=self.supports_text):
            log(line)
        self._fit(self.preparation.prepare(rows), seed=seed, checkpoints=checkpoints, log=log)
        return self

    @property
    def batch_rows(self) -> int:
        """Rows of a batch."""
        return BATCH_ROWS

    @property
    def supports_processes(self) -> bool:
        """Whether several processes draw rows faster than one, and the same rows."""
        return True

    def _use(self, preparation: Preparation) -> None:
        self.preparation = preparation
        self.schema, self.learned_schema = preparation.table_schema, preparation.learned_schema
        self.hidden_labels = preparation.hidden_labels

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        temperature: float = 1.0,
        log: Log = silent,
        first_key: int = 0,
        processes: int | None = None,
    ) -> pd.DataFrame:
        """Draw rows.

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int
            The same seed and arguments give the same rows.
        conditions : mapping of str to str, optional
            Conditions by column, such as `{"Rings": ">= 15", "Sex": "in ('I', 'F')"}`; see `Condition.parse`.
        temperature : float
            Temperature of the softmax over the next token; 1.0 samples the learned distribution.
        log : callable
            Receives lines of progress.
        first_key : int
            Number of keys that other samples of the table have already.
        processes : int, optional
            Number of processes that draw rows, which do not depend on it; by default one for each core and
            `ROWS_PER_PROCESS` rows. Several take some seconds to begin.

        Returns
        -------
        pandas.DataFrame
            n rows with the columns `schema.published`, in the schema's dtypes. A longer sample begins with the
            shorter one.

        Raises
        ------
        ModelError
            If the synthesizer is not fitted, does not support an argument, or cannot draw the rows.
        """
        batches = list(
            self.sample_batches(
                n,
                seed=seed,
                conditions=conditions,
                temperature=temperature,
                log=log,
                first_key=first_key,
                processes=processes,
            )
        )
        if not batches:
            none = pd.DataFrame({name: [] for name in self.learned_schema.names}, dtype="object")
            return self.preparation.restore(none, seed=seed, batch=0, first_key=first_key)
        return pd.concat(batches, ignore_index=True)

    def sample_batches(
        self,
        n: int,
        *,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        temperature: float = 1.0,
        log: Log = silent,
        first_key: int = 0,
        processes: int | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Draw rows batch by batch, in memory that does not grow with their number.

        Parameters
        ----------
        n, seed, conditions, temperature, log, first_key, processes
            As in `sample`.

        Yields
        ------
        pandas.DataFrame
            The rows of a batch.
        """
        self._refuse_arguments(conditions, temperature)
        if processes is not None and (processes < 1 or (processes > 1 and not self.supports_processes)):
            expected = "at least 1" if self.supports_processes else f"1: several draw no faster from this {self.name}"
            raise ModelError(f"processes is {processes}; expected {expected}.")
        n_batches = -(-n // self.batch_rows)
        if processes is None:
            processes = min(cores(), n // ROWS_PER_PROCESS) if self.supports_processes else 1
        processes = max(1, min(processes, n_batches))
        arguments: dict[str, Any] = {
            "seed": seed,
            "conditions": conditions,
            "temperature": temperature,
            "first_key": first_key,
        }
        if processes == 1:
            yield from self.draw_batches(n, range(n_batches), log=log, **arguments)
            return
        done, started, reported = 0, time.monotonic(), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder)
            calls = [(type(self), folder, n, range(i, n_batches, processes), arguments) for i in range(processes)]
            for rows in in_turn(_loaded_batches, calls):
                yield rows
                done, now = done + len(rows), time.monotonic()
                if now - reported >= LOG_INTERVAL_S or done == n:
                    reported, rate = now, done / (now - started)
                    log(
                        f"{done:,} of {n:,} rows, {rate:,.0f} rows/s from {processes} processes, "
                        f"{(n - done) / rate:.0f} s left"
                    )

    def sample_to(
        self,
        path: Path | str,
        n: int,
        *,
        seed: int = 0,
        conditions: Mapping[str, str] | None = None,
        temperature: float = 1.0,
        first_key: int = 0,
        execution: Execution = LOCAL,
        log: Log = silent,
    ) -> "Manifest":
        """Draw rows into a folder of Parquet files, in memory that does not grow with their number.

        The rows are the ones of `sample`, wherever they are drawn. A call that was killed resumes when it is repeated:
        parts that are whole, as their footers say, are kept.

        Parameters
        ----------
        path : pathlib.Path or str
            The folder: a new one, or one of an unfinished sample of the same arguments. For a cluster, it is on storage
            that all its machines share, or the address of an object store: s3://bucket/prefix.
        n, seed, conditions, temperature, first_key, log
            As in `sample`.
        execution : Execution
            Where the rows are drawn: in processes of this machine, or on a Ray cluster.

        Returns
        -------
        Manifest
            The parts and their hashes, which the folder holds as `manifest.json`.

        Raises
        ------
        ModelError
            If the folder holds another sample, another process writes to it, it cannot be written to, or as in
            `sample`.
        ForeseenError
            If a process dies, or there is no cluster to use.
        """
        from synth_assets.synthesizers.parts import write_sample

        self._refuse_arguments(conditions, temperature)
        return write_sample(
            self,
            path,
            n,
            seed=seed,
            conditions=conditions,
            temperature=temperature,
            first_key=first_key,
            execution=execution,
            log=log,
        )

    def _refuse_arguments(self, conditions: Mapping[str, str] | None, temperature: float) -> None:
        """Refuse what cannot be sampled, before a process is started."""
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
        self.preparation.restrict(conditions or {})

    def draw_batches(
        self,
        n: int,
        batches: range,
        *,
        seed: int,
        conditions: Mapping[str, str] | None,
        temperature: float,
        first_key: int,
        log: Log = silent,
    ) -> Iterator[pd.DataFrame]:
        """Draw some of the batches of n rows, by their numbers; see `sample_batches`."""
        stated = conditions or {}
        arguments: dict[str, Any] = {"conditions": self.preparation.restrict(stated), "temperature": temperature}
        drawn = self._sample_batches(n, batches, seed=seed, log=log, **arguments)
        for batch, learned in zip(batches, drawn, strict=False):
            kept = self._acceptable(learned, stated, seed=seed, batch=batch, arguments=arguments)
            first = first_key + batch * self.batch_rows
            yield self.preparation.restore(kept, seed=seed, batch=batch, first_key=first)

    def _acceptable(
        self, learned: pd.DataFrame, conditions: Mapping[str, str], *, seed: int, batch: int, arguments: dict[str, Any]
    ) -> pd.DataFrame:
        """Replace the rows of a batch that are not acceptable, one after the other, by acceptable ones of more rows."""
        is_acceptable = self.preparation.is_acceptable(learned, conditions)
        if is_acceptable is None or is_acceptable.all():
            return learned
        missing = np.flatnonzero(~is_acceptable)
        found, n_found, n_drawn, n_more = [], 0, 0, max(FIRST_MORE_ROWS, 2 * len(missing))
        while n_found < len(missing) and n_drawn < (MAX_MORE_ROWS if n_found else MAX_ROWS_OF_NONE):
            more_seed = int(np.random.SeedSequence((seed, batch, 1, n_drawn)).generate_state(1)[0])
            more = range(-(-n_more // self.batch_rows))
            for rows in self._sample_batches(n_more, more, seed=more_seed, log=silent, **arguments):
                accepted = rows[self.preparation.is_acceptable(rows, conditions)]
                n_found += len(accepted)
                n_drawn += len(rows)
                found.append(accepted)
                if n_found >= len(missing):
                    break
            n_more = min(2 * n_more, MAX_ROWS_OF_NONE)
        if n_found < len(missing):
            raise ModelError(
                f"of {n_drawn:,} rows that the model generated, {n_found:,} met "
                f"{dict(conditions) or 'the ranges of the train rows'} in columns that are computed from others: too "
                "rare to be sampled. Loosen the conditions, or state them on the columns that these are computed from."
            )
        order = np.arange(len(learned))
        order[missing] = len(learned) + np.arange(len(missing))
        return pd.concat([learned, *found], ignore_index=True).iloc[order].reset_index(drop=True)

    def log_likelihood(self, rows: pd.DataFrame) -> np.ndarray:
        """Compute the log-likelihood of real rows under the fitted model, in nats.

        Keys and columns that are not published have no part in it. A label that is hidden counts as any hidden label of
        its column.

        Parameters
        ----------
        rows : pandas.DataFrame
            n rows with the table's columns; cells may be missing in nullable ones.

        Returns
        -------
        numpy.ndarray
            (n) nats; minus infinity for a row that the model cannot generate.

        Raises
        ------
        ModelError
            If the synthesizer is not fitted, or has no likelihood.
        TableError
            If a column is missing, or cannot be converted to its type.
        """
        if not hasattr(self, "schema"):
            raise ModelError(f"this {self.name} synthesizer is not fitted; call fit first.")
        if not self.supports_likelihood:
            raise ModelError(f"the {self.name} synthesizer computes no likelihood of a row; use 'language_model'.")
        formulas = self.preparation.formulas
        typed = self.schema.select([*self.learned_schema.names, *formulas]).coerce(rows, origin="the rows")
        likelihood = self._log_likelihood(self.preparation.prepare(typed))
        for name, formula in formulas.items():
            likelihood = np.where(formula.holds(typed, name), likelihood, -np.inf)
        return likelihood

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
            **self.preparation.model_dump(mode="json", by_alias=True),
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
            loaded._use(Preparation.model_validate({name: described[name] for name in PREPARED}))
            loaded.losses, loaded.n_parameters = described["losses"], described["n_parameters"]
            loaded._load(folder, described["learned"])
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(_other_version(folder)) from error
        return loaded

    def fingerprint(self) -> str:
        """Return a hash of the fitted model: equal for models that sample the same rows."""
        digest = hashlib.sha256()
        for name, content in sorted(_saved_files(self).items()):
            # transformers writes this file, and keys without a value, after a fit, and not after loading.
            if Path(name).name == "generation_config.json":
                continue
            if name.endswith(".json"):
                found = json.loads(content)
                stated = {key: value for key, value in found.items() if value is not None and key != "losses"}
                content = json.dumps(stated, sort_keys=True).encode()
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a fitted synthesizer as the files that `save` writes, for processes of the same work."""
        return (_from_files, (type(self), _saved_files(self))) if hasattr(self, "schema") else super().__reduce__()

    @abstractmethod
    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None: ...

    @abstractmethod
    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        """Yield some of the batches of n rows, by their numbers: `batch_rows` rows each, the last one the rest."""

    def _log_likelihood(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the log-likelihood of rows of `learned_schema`, where `supports_likelihood`."""
        raise NotImplementedError

    @abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """Write files to a folder, and return the rest of the fitted state, as JSON values."""

    @abstractmethod
    def _load(self, folder: Path, learned: dict[str, Any]) -> None: ...


def rows_of(batch: int, n: int) -> int:
    """Return the number of rows of a batch of n rows."""
    return min(BATCH_ROWS, n - batch * BATCH_ROWS)


def _saved_files(synthesizer: Synthesizer) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        synthesizer.save(folder)
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _from_files(kind: type[Synthesizer], files: dict[str, bytes]) -> Synthesizer:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return kind.load(folder)


def _loaded_batches(
    kind: type[Synthesizer], folder: str, n: int, batches: range, arguments: dict[str, Any]
) -> Iterator[pd.DataFrame]:
    keep_memory()
    return kind.load(folder).draw_batches(n, batches, **arguments)


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
