"""Base models: a small GPT-2 made from the table, or any that transformers loads by name or path."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version as version_of
from pathlib import Path
from uuid import uuid4

import pandas as pd
from filelock import FileLock

from synth_assets.storage.files import verify_manifest, write_manifest
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.tokenizer import scratch_tokenizer
from synth_assets.synthesizers.settings import SCRATCH, ModelError, ModelSpec, ScratchBase

ACTIVATION = "relu"
"""Activation of 'scratch' models. GPT-2's own GELU takes a CPU three to seven times as long, without a better loss."""

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of files that hold pickles, as a rule: loading one may run whatever its author wished."""


def resolve_base(spec: ModelSpec, train: pd.DataFrame, folder: Path) -> tuple[str, str]:
    """Find the base model that a spec names, or make it.

    Parameters
    ----------
    spec : ModelSpec
        What is to be trained.
    train : pandas.DataFrame
        The train rows, whose columns and values the 'scratch' tokenizer knows.
    folder : pathlib.Path
        Where bases are looked for, and where 'scratch' ones are kept, each under the release of torch and its
        fingerprint.

    Returns
    -------
    path : str
        What `be_great.GReaT` takes as `llm`: a folder, or a name on the hub.
    fingerprint : str
        What the base is, as part of a model's version: equal fingerprints mean equal weights and tokenizers.

    Raises
    ------
    ModelError
        If the name or path leads to no causal language model, or to weights that are pickled.
    """
    if spec.base == SCRATCH:
        row_encoder = row_encoder_of(spec, train) if spec.engine == "great" else None
        rows = sentences(row_encoder.to_text(train) if row_encoder else train)
        fingerprint = _scratch_fingerprint(spec, rows)
        # Random weights of one seed may differ from release to release of torch.
        path = folder / f"torch-{version_of('torch')}" / fingerprint
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{fingerprint}.lock"):
            for left in path.parent.glob(f".{fingerprint}-*"):
                shutil.rmtree(left)  # by a killed process
            if path.exists() and verify_manifest(path):
                shutil.rmtree(path)
            if not path.exists():
                make_scratch_base(
                    path, spec.scratch, rows, list(train.columns), seed=spec.seed, row_encoder=row_encoder
                )
        return str(path), fingerprint
    local = folder / spec.base
    if local.is_dir():
        refuse_pickles(local)
        return str(local), f"files-{_hash_of_files(local)}"
    return spec.base, f"{spec.base}@{_commit_on_hub(spec.base)}"


def refuse_pickles(folder: Path) -> None:
    """Raise if a model's folder holds a pickle.

    Raises
    ------
    ModelError
        With the names of the files.
    """
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    if found:
        raise ModelError(
            f"the model in {folder} is not loaded, since {', '.join(found)} may hold pickles, which can run anything. "
            "Keep weights as safetensors (`model.save_pretrained` of transformers writes them) and delete the rest."
        )


def row_encoder_of(spec: ModelSpec, train: pd.DataFrame) -> RowEncoder:
    """Fit the row encoder of a language model; see `RowEncoder.fit`."""
    return RowEncoder.fit(train, spec.order, use_residuals=spec.differences)


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return each row as the sentence of be_great, columns in the given order: 'Sex is 2, Length is 0.455, ...'.

    Parameters
    ----------
    frame : pandas.DataFrame
        n rows.

    Returns
    -------
    list of str
        n sentences.
    """
    columns = [[f"{name} is {value}" for value in frame[name].tolist()] for name in frame.columns]
    return [", ".join(cells) for cells in zip(*columns, strict=True)]


def make_scratch_base(
    folder: Path,
    shape: ScratchBase,
    rows: Sequence[str],
    names: Sequence[str],
    *,
    seed: int,
    row_encoder: RowEncoder | None = None,
) -> None:
    """Save a GPT-2 with random weights, and a tokenizer for these rows, in a folder that transformers loads.

    The tokenizer is `tokenizer.scratch_tokenizer`'s.

    Parameters
    ----------
    folder : pathlib.Path
        Destination; written to a temporary folder and renamed, so that it is never incomplete.
    shape : ScratchBase
        Layers, heads, width and dropout.
    rows : sequence of str
        The rows as sentences, which determine the characters and the number of positions.
    names : sequence of str
        The column names.
    seed : int
        Seed of the random weights.
    row_encoder : RowEncoder, optional
        Encoder of the rows, for the tokenizer.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    quiet_transformers()

    tokenizer = scratch_tokenizer(rows, names, row_encoder)
    longest = max(len(ids) for ids in tokenizer(list(rows))["input_ids"])
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=-(-2 * longest // 64) * 64,  # room for be_great's prompts and for rows that it never ends
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
        activation_function=ACTIVATION,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
    building = folder.with_name(f".{folder.name}-{uuid4().hex}")
    try:
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        write_manifest(building)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _scratch_fingerprint(spec: ModelSpec, rows: Sequence[str]) -> str:
    described = repr((asdict(spec.scratch), ACTIVATION, spec.engine, spec.seed, rows))
    return f"scratch-{hashlib.sha256(described.encode()).hexdigest()[:16]}"


def _hash_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _commit_on_hub(name: str) -> str:
    from transformers.utils import cached_file

    try:
        config = cached_file(name, "config.json")
        has_weights = any(
            cached_file(name, file, _raise_exceptions_for_missing_entries=False)
            for file in ("model.safetensors", "model.safetensors.index.json")
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"base model {name!r} cannot be loaded: it is no folder in base_models/, and asking the model hub for it "
            f"failed ({first_line(error)}). Check the name and the network, or set language_model.base to "
            "a folder or to 'scratch'."
        ) from error
    if not has_weights:
        raise ModelError(
            f"base model {name!r} has no safetensors on the model hub, and pickled weights are not loaded. "
            "Take another model."
        )
    return Path(str(config)).parent.name  # the hub's cache keeps a snapshot's files in a folder of its commit's name


def quiet_transformers() -> None:
    """Turn off the progress bars and hints of transformers, which would fill a run's log."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, to which libraries add pages."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
