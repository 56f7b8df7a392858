"""Base models: a small GPT-2 for the table, or any model that transformers loads by name or path."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from synth_assets.synthesizers.base import ModelError, refuse_pickles
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.settings import SCRATCH, BaseModelSettings, ScratchSettings
from synth_assets.synthesizers.language_model.token_trie import TokenTrie
from synth_assets.synthesizers.language_model.tokenizer import scratch_tokenizer

ACTIVATION = "relu"
"""Activation of 'scratch' models. GPT-2's own GELU takes a CPU three to seven times as long, without a better loss."""


def fingerprint(settings: BaseModelSettings, seed: int, base_models_dir: Path | None) -> str:
    """Return what identifies a base model, without making or loading it.

    Parameters
    ----------
    settings : BaseModelSettings
        Names the base.
    seed : int
        The seed of a 'scratch' base's weights.
    base_models_dir : pathlib.Path, optional
        The folder in which a base's name is looked up first.

    Returns
    -------
    str
        Equal fingerprints mean equal weights and tokenizers; for a 'scratch' base, given the same train rows.

    Raises
    ------
    ModelError
        If the name or path leads to no causal language model, or to pickled weights.
    """
    if settings.base == SCRATCH:
        described = repr((settings.scratch.model_dump(), ACTIVATION, settings.type, seed))
        return f"scratch-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    folder = _local_folder(settings.base, base_models_dir)
    if folder is not None:
        refuse_pickles(folder)
        return f"files-{_hash_of_files(folder)}"
    return f"{settings.base}@{_commit_on_hub(settings.base)}"


def load_base(
    settings: BaseModelSettings,
    train: pd.DataFrame,
    row_encoder: RowEncoder | None,
    *,
    seed: int,
    base_models_dir: Path | None,
    **options: Any,
) -> tuple[Any, Any]:
    """Load a base model and its tokenizer, or make them for a table.

    Parameters
    ----------
    settings, seed, base_models_dir
        As in `fingerprint`.
    train : pandas.DataFrame
        The train rows, whose columns and values the tokenizer of a 'scratch' base knows.
    row_encoder : RowEncoder, optional
        The encoder of the rows; without one, rows are the sentences of be_great.
    **options
        Arguments with which transformers loads the model.

    Returns
    -------
    model : transformers.PreTrainedModel
        The model.
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.
    """
    if settings.base == SCRATCH:
        rows = [] if row_encoder else sentences(train)
        return make_scratch_base(settings.scratch, rows, list(train.columns), seed=seed, row_encoder=row_encoder)
    fingerprint(settings, seed, base_models_dir)  # refuses pickles, and names that are not found
    return load_folder(_local_folder(settings.base, base_models_dir) or settings.base, **options)


def load_folder(path: Path | str, **options: Any) -> tuple[Any, Any]:
    """Load a model and its tokenizer with transformers, from a folder or by a name on the model hub."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    return AutoModelForCausalLM.from_pretrained(str(path), **options), AutoTokenizer.from_pretrained(str(path))


def save_base(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer to a folder that transformers loads."""
    quiet_transformers()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _local_folder(base: str, base_models_dir: Path | None) -> Path | None:
    candidates = [Path(base)] if base_models_dir is None else [base_models_dir / base]
    return next((folder for folder in candidates if folder.is_dir()), None)


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return each row as the sentence of be_great, columns in the given order: 'Sex is 2, Length is 0.455, ...'."""
    columns = [[f"{name} is {value}" for value in frame[name].tolist()] for name in frame.columns]
    return [", ".join(cells) for cells in zip(*columns, strict=True)]


def make_scratch_base(
    shape: ScratchSettings,
    rows: Sequence[str],
    names: Sequence[str],
    *,
    seed: int,
    row_encoder: RowEncoder | None = None,
) -> tuple[Any, Any]:
    """Make a GPT-2 with random weights, and the tokenizer of `scratch_tokenizer`, for rows as sentences.

    The rows supply the characters, and the longest of them the number of positions; an encoder supplies both, and the
    tokens of its values.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    quiet_transformers()

    tokenizer = scratch_tokenizer(rows, names, row_encoder)
    if row_encoder is None:
        longest = max(len(ids) for ids in tokenizer(list(rows))["input_ids"])
    else:
        longest = TokenTrie.build(row_encoder, tokenizer).max_length
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
    return model, tokenizer


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
            f"failed ({first_line(error)}). Check the name and the network, or set synthesizer.base to "
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
