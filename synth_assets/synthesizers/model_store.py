"""Fitted synthesizers as folders, each under the hash of its inputs; a folder is complete or not there.

A folder holds what `Synthesizer.save` writes (for a language model: weights as safetensors, tokenizer and
configuration, which transformers and `be_great.GReaT(llm=folder)` load; `synthesizer.json`), `card.json`, the model
card, and `manifest.json`, the hashes of all these, which are compared when it is loaded.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pandas as pd
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from synth_assets.execution import LOCAL, Execution, RayExecution
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.storage.files import atomic_write, sync, verify_manifest, write_manifest
from synth_assets.synthesizers import SYNTHESIZERS, create, load
from synth_assets.synthesizers.base import SYNTHESIZER_JSON, Log, ModelError, Synthesizer, SynthesizerSettings, silent

ALGORITHM_VERSION = 22
"""Raised whenever this package would fit another model to the same inputs."""

ATTACKS_FILE = "attacks.json"
"""In the folder of a model: what an evaluation measured of attackers who hold it."""

PRESENTATION = {"description", "unit"}
"""Fields of a column that no model depends on."""


class ModelCard(BaseModel):
    """The inputs of a fitted model, and how its training went.

    Parameters
    ----------
    version : str
        The hash of `inputs`.
    inputs : dict
        The synthesizer's settings, the base model's fingerprint, the seed, the hashes of the train rows and of the
        table's schema, the versions of the libraries.
    rows : int
        Number of train rows.
    hidden_labels : dict of str to int
        Number of labels that are hidden, by column.
    parameters : int
        Number of learned parameters.
    losses : list of dict
        The training loss over time: 'step', 'epoch', 'loss', ...
    seconds : float
        Duration of the fit, from its last start.
    resumed_from_step : int
        The step of the checkpoint that a killed fit was resumed from; 0 if it was not.
    fitted_at : str
        When, in ISO 8601.
    attacks : dict of str to float
        Success of attackers who hold the model, by metric and score; empty before a sample is evaluated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    inputs: dict[str, Any]
    rows: int
    hidden_labels: dict[str, int] = {}
    parameters: int
    losses: list[dict[str, float]]
    seconds: float
    resumed_from_step: int
    fitted_at: str
    attacks: dict[str, float] = {}

    @property
    def synthesizer(self) -> str:
        """The name of the synthesizer."""
        return str(self.inputs["settings"]["type"])

    @property
    def final_loss(self) -> float | None:
        """The last training loss in nats, of a row (language_model) or a token (be_great); None if there is none."""
        return self.losses[-1]["loss"] if self.losses else None


class ModelStore:
    """A folder of fitted models.

    Parameters
    ----------
    folder : pathlib.Path
        Holds one folder a version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, version: str) -> Path:
        """Return the folder of a model."""
        return self.folder / version

    def versions(self) -> list[str]:
        """Return the versions that are stored, sorted."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and not path.name.startswith("."))

    def card(self, version: str) -> ModelCard:
        """Read the card of a model.

        Raises
        ------
        ModelError
            If the store has no such model, an earlier version of synth_assets stored it, or its card cannot be read.
        """
        folder = self.path(version)
        if not folder.is_dir():
            raise ModelError(f"the model store has no model {version!r} in {self.folder}; materialize it again.")
        if (folder / "great.json").exists() and not (folder / SYNTHESIZER_JSON).exists():
            raise ModelError(
                f"model {version} in {folder} was stored by an earlier version of synth_assets; materialize "
                "fine_tuned_model again to fit it with this version."
            )
        try:
            card = ModelCard.model_validate_json((folder / "card.json").read_bytes())
            attacks = folder / ATTACKS_FILE
            return card.model_copy(update={"attacks": json.loads(attacks.read_bytes())}) if attacks.exists() else card
        except (OSError, ValueError) as error:
            raise ModelError(self._damaged(version, f"card.json cannot be read ({error})")) from error

    def record_attacks(self, version: str, measured: Mapping[str, float]) -> None:
        """Record on the card of a model how successful attackers are who hold it.

        The manifest does not list this file: it is written later, when evaluation has read the holdout rows.
        """
        atomic_write(self.path(version) / ATTACKS_FILE, json.dumps(dict(measured), indent=1).encode())

    def verify(self, version: str) -> None:
        """Compare every file of a model with its hash.

        Raises
        ------
        ModelError
            If the store has no such model, or a file is missing or has changed; the message names each.
        """
        self.card(version)
        if damaged := verify_manifest(self.path(version)):
            raise ModelError(self._damaged(version, "; ".join(damaged)))

    def load(self, version: str) -> Synthesizer:
        """Load a fitted model.

        Raises
        ------
        ModelError
            If the store has no such model, a file of it is damaged, or its folder holds a pickle.
        """
        self.verify(version)
        return load(self.path(version))

    def fit(
        self,
        train: pd.DataFrame,
        schema: TableSchema,
        settings: SynthesizerSettings,
        *,
        seed: int,
        base_models_dir: Path | None = None,
        checkpoints_dir: Path,
        execution: Execution = LOCAL,
        log: Log = silent,
    ) -> ModelCard:
        """Fit a synthesizer to rows, unless the store already has the model that this would give.

        Parameters
        ----------
        train, schema, seed, log
            As in `Synthesizer.fit`.
        settings : SynthesizerSettings
            The settings of the synthesizer.
        base_models_dir : pathlib.Path, optional
            The folder in which the names of base models are looked up first.
        checkpoints_dir : pathlib.Path
            Folder of the checkpoints, by the model's version, until the model is complete.
        execution : Execution
            Where it is fitted: in this process, or on a Ray cluster whose machines see these folders, in as many
            processes as the settings have `devices`.

        Returns
        -------
        ModelCard
            The model's card; the model is in the store.

        Raises
        ------
        ModelError
            If the model cannot be fitted, or the disk cannot be written to.
        """
        with self._failing_clearly():
            synthesizer = create(settings, base_models_dir=base_models_dir)
            base = synthesizer.base_fingerprint(seed)
            inputs: dict[str, Any] = {
                "settings": settings.inputs(),
                **({} if base is None else {"base": base}),
                "seed": seed,
                "train_rows": content_hash(train[schema.names]),
                "schema": _hash(schema.model_dump(mode="json", exclude={"columns": {"__all__": PRESENTATION}})),
                "algorithm": ALGORITHM_VERSION,
                "libraries": {name: version_of(name) for name in SYNTHESIZERS[settings.type].libraries},
            }
            version = _hash(inputs)
            log(f"model {version}: {settings.type}" + (f", base {base}" if base else ""))
            self.folder.mkdir(parents=True, exist_ok=True)
            checkpoints_dir.mkdir(parents=True, exist_ok=True)
            with _exclusive(checkpoints_dir / f"{version}.lock", log):
                for left in self.folder.glob(f".{version}-*"):
                    shutil.rmtree(left)  # by a killed process
                card = self._stored(version, log)
                if card is None:
                    started = time.monotonic()
                    checkpoints = checkpoints_dir / version
                    if isinstance(execution, RayExecution):
                        size = getattr(settings, "devices", 1)
                        log(f"fitting on Ray{f', in {size} processes' if size > 1 else ''}")
                        call = (train, settings, schema, seed, base_models_dir, checkpoints)
                        for item in execution.together(_fit_in_group, call, size=size):
                            if isinstance(item, str):
                                log(item)
                            else:
                                synthesizer = item
                    else:
                        synthesizer.fit(train, schema, seed=seed, checkpoints=checkpoints, log=log)
                    card = ModelCard(
                        version=version,
                        inputs=inputs,
                        rows=len(train),
                        hidden_labels=synthesizer.hidden_labels,
                        parameters=synthesizer.n_parameters,
                        losses=synthesizer.losses,
                        seconds=round(time.monotonic() - started, 1),
                        resumed_from_step=synthesizer.resumed_from_step,
                        fitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    )
                    self._save(synthesizer, card)
                shutil.rmtree(checkpoints_dir / version, ignore_errors=True)
                return card

    def _stored(self, version: str, log: Log) -> ModelCard | None:
        if not self.path(version).exists():
            return None
        try:
            self.verify(version)
        except ModelError as error:
            log(f"{error} The model is now fitted again.")
            shutil.rmtree(self.path(version))
            return None
        log("the store has this model already")
        return self.card(version)

    def _damaged(self, version: str, how: str) -> str:
        return (
            f"model {version} in {self.path(version)} is damaged: {how}. Materialize fine_tuned_model again to fit it "
            "again."
        )

    def _save(self, synthesizer: Synthesizer, card: ModelCard) -> None:
        building = self.folder / f".{card.version}-{uuid4().hex}"
        try:
            synthesizer.save(building)
            (building / "card.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
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
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ModelError(
                f"no model could be fitted and saved in {self.folder}: {reason}. On its disk "
                f"{_free_megabytes(self.folder):,.0f} MB are free. No stored model has changed; once the cause is "
                "removed, a fit of a language model resumes from its last complete checkpoint."
            ) from error


def fit_one(
    train: pd.DataFrame,
    settings: SynthesizerSettings,
    schema: TableSchema,
    seed: int,
    base_models_dir: Path | None = None,
    checkpoints: Path | None = None,
) -> Synthesizer:
    """Fit a synthesizer in any process, which `Execution.results` calls side by side; see `Synthesizer.fit`."""
    synthesizer = create(settings, base_models_dir=base_models_dir)
    return synthesizer.fit(train, schema, seed=seed, checkpoints=checkpoints)


def _fit_in_group(
    train: pd.DataFrame,
    settings: SynthesizerSettings,
    schema: TableSchema,
    seed: int,
    base_models_dir: Path | None,
    checkpoints: Path,
    rank: int,
) -> Iterator[str | Synthesizer]:
    """Fit a synthesizer as one of a group; yield lines of progress, and in the first process the synthesizer."""
    synthesizer = create(settings, base_models_dir=base_models_dir)
    lines: SimpleQueue[str | None] = SimpleQueue()
    with ThreadPoolExecutor(1) as thread:
        fit = thread.submit(synthesizer.fit, train, schema, seed=seed, checkpoints=checkpoints, log=lines.put)
        fit.add_done_callback(lambda _: lines.put(None))
        yield from iter(lines.get, None)
    fitted = fit.result()
    if rank == 0:
        yield fitted


@contextmanager
def _exclusive(path: Path, log: Log) -> Iterator[None]:
    # The lock dies with its process. A process that outlived its killed run still holds it: this one waits, and then
    # uses what the other fitted.
    lock = FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        log("another process is fitting this model; waiting for it")
        held = lock.acquire()
    with held:
        yield


def _hash(inputs: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _free_megabytes(folder: Path) -> float:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e6
