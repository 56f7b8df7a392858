"""Fitted models as folders: made once under the hash of what they are made from, whole or not there.

A model's folder holds what `save_pretrained` of transformers writes (weights as safetensors, tokenizer, shape), so
that `be_great.GReaT(llm=folder)` loads it like any other model; `great.json` with what `be_great.GReaT` learned of
the table; `card.json`, the model card; and `manifest.json`, the hashes of all these, which are compared when it is
loaded.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd
from filelock import FileLock, Timeout

from synth_assets.schema.table import TableSchema, content_hash, readable_rows
from synth_assets.storage.files import sync, verify_manifest, write_manifest
from synth_assets.synthesizers.language_model.base_models import (
    first_line,
    refuse_pickles,
    resolve_base,
    row_encoder_of,
)
from synth_assets.synthesizers.settings import ModelError, ModelSpec, SampleSpec

if TYPE_CHECKING:
    import be_great

    from synth_assets.synthesizers.language_model.training import Log

ALGORITHM_VERSION = 6
"""Raised by hand whenever this package would make another model of the same inputs."""

LIBRARIES = ("be-great", "torch", "transformers", "tokenizers", "numpy", "scikit-learn")
"""Whose versions decide what a model learns."""

_LEARNED = ("columns", "num_cols", "conditional_col", "conditional_col_dist", "col_stats", "float_precision")
_LEARNED_BY_OURS = (*_LEARNED, "row_encoder_json")


@dataclass(frozen=True)
class ModelCard:
    """What a fitted model was made from, and how its training went.

    Parameters
    ----------
    version : str
        The hash of `made_from`.
    made_from : dict
        The base's fingerprint, the spec, the hash of the train rows, the versions of the libraries.
    rows : int
        How many train rows.
    parameters : int
        How many weights.
    losses : list of dict
        The reports of training: 'step', 'epoch', 'loss', ...
    seconds : float
        How long the fit took, from its last start.
    resumed_from_step : int
        0, or the step of the checkpoint that a killed fit was resumed from.
    fitted_at : str
        When, in ISO 8601.
    """

    version: str
    made_from: dict[str, Any]
    rows: int
    parameters: int
    losses: list[dict[str, float]]
    seconds: float
    resumed_from_step: int
    fitted_at: str

    @property
    def final_loss(self) -> float | None:
        """The last reported training loss, in nats (a row's for ours, a token's for be_great); None if unreported."""
        return self.losses[-1]["loss"] if self.losses else None

    def as_json(self) -> dict[str, Any]:
        """Give the card as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class ModelStore:
    """A folder of fitted models.

    Parameters
    ----------
    folder : pathlib.Path
        Holds one folder a version.
    """

    folder: Path

    def path(self, version: str) -> Path:
        """Give the folder of a model."""
        return self.folder / version

    def versions(self) -> list[str]:
        """Give the models that are stored."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and not path.name.startswith("."))

    def card(self, version: str) -> ModelCard:
        """Read the card of a model.

        Raises
        ------
        ModelError
            If the store has no such model, or its card cannot be read.
        """
        path = self.path(version) / "card.json"
        if not self.path(version).is_dir():
            raise ModelError(f"the model store has no model {version!r} in {self.folder}; materialize it again.")
        try:
            return ModelCard(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(self._damaged(version, f"card.json cannot be read ({error})")) from error

    def verify(self, version: str) -> None:
        """Compare every file of a model with its hash.

        Raises
        ------
        ModelError
            If the store has no such model, or a file is missing or is not what was stored; the message names each.
        """
        self.card(version)
        if damaged := verify_manifest(self.path(version)):
            raise ModelError(self._damaged(version, "; ".join(damaged)))

    def fit(
        self,
        train: pd.DataFrame,
        spec: ModelSpec,
        *,
        bases: Path,
        experiments: Path,
        report: "Log",
    ) -> ModelCard:
        """Fit a model to rows, unless the store already has the model that this would give.

        Parameters
        ----------
        train : pandas.DataFrame
            The train rows.
        spec : ModelSpec
            How the model is made.
        bases : pathlib.Path
            Where bases made from a table are kept.
        experiments : pathlib.Path
            Where checkpoints are kept, under the model's version, until the model is whole.
        report : callable
            Takes a line of progress.

        Returns
        -------
        ModelCard
            The model's card; the model is in the store.

        Raises
        ------
        ModelError
            If the base cannot be loaded, or the disk cannot be written to.
        """
        with self._failing_clearly():
            base, fingerprint = resolve_base(spec, train, bases)
            made_from = {
                "base": fingerprint,
                "spec": json.loads(json.dumps(asdict(spec))),  # as it will be read back
                "train_rows": content_hash(train),
                "recipe": ALGORITHM_VERSION,
                "libraries": {name: version_of(name) for name in LIBRARIES},
            }
            version = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
            report(f"model {version}, base {fingerprint}")
            self.folder.mkdir(parents=True, exist_ok=True)
            experiments.mkdir(parents=True, exist_ok=True)
            with _alone(experiments / f"{version}.lock", report):
                for left in self.folder.glob(f".{version}-*"):
                    shutil.rmtree(left)  # by a killed process
                card = self._stored(version, report) or self._fit(
                    train, spec, base, version, made_from, experiments / version, report
                )
                shutil.rmtree(experiments / version, ignore_errors=True)
                return card

    def load(self, version: str) -> "be_great.GReaT":
        """Load a fitted model.

        Raises
        ------
        ModelError
            If the store has no such model, a file of it is damaged, or its folder holds a pickle.
        """
        self.verify(version)
        refuse_pickles(self.path(version))
        learned = self.path(version) / "great.json"
        great = _make(self.card(version).made_from["spec"]["engine"], str(self.path(version)))
        for name, value in json.loads(learned.read_text()).items():
            setattr(great, name, value)
        return great

    def _stored(self, version: str, report: "Log") -> ModelCard | None:
        if not self.path(version).exists():
            return None
        try:
            self.verify(version)
        except ModelError as error:
            report(f"{error} That is done now.")
            shutil.rmtree(self.path(version))
            return None
        report("the store has this model already")
        return self.card(version)

    def _damaged(self, version: str, how: str) -> str:
        return (
            f"model {version} in {self.path(version)} is damaged: {how}. Materialize fine_tuned_model again: the model "
            "is then fitted anew."
        )

    def _fit(
        self,
        train: pd.DataFrame,
        spec: ModelSpec,
        base: str,
        version: str,
        made_from: dict[str, Any],
        experiment: Path,
        report: "Log",
    ) -> ModelCard:
        started = time.monotonic()
        great, losses, resumed_from = (_fit_ours if spec.engine == "great" else _fit_reference)(
            train, spec, base, experiment, report
        )
        card = ModelCard(
            version=version,
            made_from=made_from,
            rows=len(train),
            parameters=great.model.num_parameters(),
            losses=losses,
            seconds=round(time.monotonic() - started, 1),
            resumed_from_step=resumed_from,
            fitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._save(great, card)
        return card

    def _save(self, great: "be_great.GReaT", card: ModelCard) -> None:
        building = self.folder / f".{card.version}-{uuid4().hex}"
        try:
            great.model.save_pretrained(building)
            great.tokenizer.save_pretrained(building)
            ours = card.made_from["spec"]["engine"] == "great"
            learned = {name: getattr(great, name) for name in (_LEARNED_BY_OURS if ours else _LEARNED)}
            (building / "great.json").write_text(json.dumps(learned))
            (building / "card.json").write_text(json.dumps(card.as_json(), indent=1))
            write_manifest(building)
            building.rename(self.path(card.version))
            sync(self.folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        from safetensors import SafetensorError

        try:
            yield
        except ModelError:
            raise
        except (OSError, RuntimeError, SafetensorError) as error:
            # A full disk is an OSError to Python, a RuntimeError to torch and a SafetensorError to safetensors.
            raise ModelError(
                f"no model could be fitted and saved in {self.folder}: {first_line(error)}. On its disk "
                f"{_free_megabytes(self.folder):,.0f} MB are free. What was stored is still there; once the cause is "
                "mended, a fit goes on from its last whole checkpoint."
            ) from error


def sample_rows(
    store: ModelStore, version: str, schema: TableSchema, spec: SampleSpec, *, seed: int, report: "Log"
) -> tuple[pd.DataFrame, int]:
    """Draw rows of the raw table from a stored model, with the engine that fitted it.

    Parameters
    ----------
    store : ModelStore
        Has the model.
    version : str
        The model.
    schema : TableSchema
        The table's schema.
    spec : SampleSpec
        How many rows, and how they are drawn.
    seed : int
        The same model, seed and spec give the same rows.
    report : callable
        Takes lines of progress.

    Returns
    -------
    rows : pandas.DataFrame
        Exactly `spec.n_samples` rows in the raw table's columns, types and labels.
    drawn : int
        How many rows the model wrote to give them.

    Raises
    ------
    ModelError
        If the store has no such model, or it cannot write the rows; be_great as it is takes no conditions.
    """
    great = store.load(version)
    if store.card(version).made_from["spec"]["engine"] == "be_great":
        from synth_assets.synthesizers import be_great as reference

        if spec.conditions:
            raise ModelError(
                "be_great as it is cannot be held to conditions here; set language_model.engine to 'great'."
            )
        return reference.sample(great, lambda rows: readable_rows(rows, schema), spec, seed=seed, report=report)
    chunks = list(
        great.sample_chunks(
            spec.n_samples,
            temperature=spec.temperature,
            k=spec.batch_size,
            conditions=spec.conditions,
            seed=seed,
            report=report,
        )
    )
    return pd.concat(chunks, ignore_index=True)[schema.names], spec.n_samples


def _make(engine: str, llm: str, **arguments: Any) -> "be_great.GReaT":
    if arguments.get("efficient_finetuning") == "lora" and find_spec("peft") is None:
        raise ModelError("language_model.lora needs the package peft: `pip install peft`, or set lora to false.")
    if engine == "great":
        from synth_assets.synthesizers.language_model.engine import GReaT

        return GReaT(llm, **arguments)
    from synth_assets.synthesizers.be_great import make_great

    return make_great(llm, **arguments)


def _fit_ours(
    train: pd.DataFrame, spec: ModelSpec, base: str, experiment: Path, report: "Log"
) -> tuple["be_great.GReaT", list[dict[str, float]], int]:
    from synth_assets.synthesizers.language_model import training

    great = _make(
        spec.engine,
        base,
        experiment_dir=str(experiment),
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        efficient_finetuning="lora" if spec.lora else "",
    )
    checkpoint = training.latest_checkpoint(experiment, report)
    resumed_from = 0 if checkpoint is None else training.step_of(checkpoint)
    losses = great.fit(
        train,
        row_encoder=row_encoder_of(spec, train),
        training=spec.training,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
        report=report,
    )
    if spec.lora:
        great.model = great.model.merge_and_unload()  # the stored model is one that needs no adapters
    return great, losses, resumed_from


def _fit_reference(
    train: pd.DataFrame, spec: ModelSpec, base: str, experiment: Path, report: "Log"
) -> tuple["be_great.GReaT", list[dict[str, float]], int]:
    from synth_assets.synthesizers import be_great as reference

    great = _make(
        spec.engine,
        base,
        experiment_dir=str(experiment),
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        logging_steps=spec.logging_steps,
        save_steps=spec.save_steps,
        save_total_limit=2,
        seed=spec.seed,
        efficient_finetuning="lora" if spec.lora else "",
    )
    checkpoint = reference.last_whole_checkpoint(experiment, report)
    losses = reference.fit(great, train, seed=spec.seed, report=report)
    return great, losses, 0 if checkpoint is None else reference.step_of(checkpoint)


@contextmanager
def _alone(path: Path, report: "Log") -> Iterator[None]:
    # The lock dies with its process. One that outlived its killed run still holds it: this one waits, and then uses
    # what the other made.
    lock = FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        report("another process is fitting this model; waiting for it")
        held = lock.acquire()
    with held:
        yield


def _free_megabytes(folder: Path) -> float:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e6
