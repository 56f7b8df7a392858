"""Base models: a small GPT-2 for the table, or a causal language model from the hub, a folder or a GGUF file."""

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from synth_assets.storage.files import sha256
from synth_assets.synthesizers.base import ModelError, refuse_pickles
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.settings import GGUF, SCRATCH, BaseModelSettings

HUB_TIMEOUT_S = 10
"""Seconds in which the model hub has to answer."""

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
        If the name leads to no folder, GGUF file or model on the hub, or to pickled weights.
    """
    if settings.base == SCRATCH:
        described = repr((settings.scratch.model_dump(), ACTIVATION, settings.type, seed))
        return f"scratch-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    path = _local_path(settings.base, base_models_dir)
    if path is None:
        return f"{settings.base}@{_ask_hub(settings.base)[0]}"
    if path.is_file():
        return f"gguf-{sha256(path)[:16]}"
    refuse_pickles(path)
    return f"files-{_hash_of_files(path)}"


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
    model : transformers.PreTrainedModel or ScratchModel
        The model. The second is a 'scratch' base on a CPU, where nothing else needs a model of transformers.
    tokenizer : transformers.PreTrainedTokenizerBase or ScratchTokenizer
        The tokenizer.
    """
    if settings.base == SCRATCH:
        import torch

        from synth_assets.synthesizers.language_model.scratch_model import make_scratch

        rows = [] if row_encoder else sentences(train)
        base = make_scratch(settings.scratch, rows, list(train.columns), seed=seed, row_encoder=row_encoder)
        needs_transformers = row_encoder is None or settings.lora or torch.cuda.is_available()
        return in_transformers(*base) if needs_transformers else base
    path = _local_path(settings.base, base_models_dir)
    if path is not None and path.is_dir():
        refuse_pickles(path)
    return load_pretrained(settings.base, path, **options)


def load_pretrained(base: str, path: Path | None = None, **options: Any) -> tuple[Any, Any]:
    """Load a pretrained causal language model in single precision, and its tokenizer.

    Parameters
    ----------
    base : str
        Its name in messages, and on the model hub if there is no path.
    path : pathlib.Path, optional
        A folder of safetensors, or a GGUF file, whose weights are dequantised.
    **options
        Further arguments of `from_pretrained`.

    Returns
    -------
    model : transformers.PreTrainedModel
        The model.
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.

    Raises
    ------
    ModelError
        If weights, configuration or tokenizer are missing or damaged, or the model is no causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    is_gguf = path is not None and path.is_file()
    if path is None:
        commit, is_cached = _ask_hub(base)
        source, arguments = base, {"revision": commit, "local_files_only": is_cached}
    elif is_gguf:
        reader = _read_gguf(base, path)
        source, arguments = str(path.parent), {"gguf_file": path.name}
    else:
        source, arguments = str(path), {}
    with _loading(base), _as_reader(reader) if is_gguf else nullcontext():
        model, report = AutoModelForCausalLM.from_pretrained(
            source, output_loading_info=True, **{"dtype": torch.float32, **arguments, **options}
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **arguments)
    if not tokenizer("a")["input_ids"]:
        raise ModelError(
            f"base model {base!r} has no tokenizer, or one that knows no letter. Expected tokenizer.json beside its "
            "weights, as `save_pretrained` of its tokenizer writes it."
        )
    if not _is_causal(model):
        raise ModelError(
            f"base model {base!r} is a {type(model).__name__} in which a token sees the ones after it: an encoder. "
            "Expected a causal language model, such as GPT-2, Llama, Qwen or Gemma. Choose another base, or 'scratch'."
        )
    absent = sorted(report["missing_keys"])
    if absent:
        raise ModelError(
            f"base model {base!r} lacks {len(absent)} of the weights of a {type(model).__name__}, such as {absent[0]}; "
            "they would be random. Download it again, or choose another base."
        )
    if is_gguf:
        # Its weights are dequantised: it is trained, saved and loaded as any other.
        model.hf_quantizer.remove_quantization_config(model)
    return model, tokenizer


def load_folder(path: Path | str) -> tuple[Any, Any]:
    """Load a model and its tokenizer from a folder that `save_base` wrote."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    return AutoModelForCausalLM.from_pretrained(str(path)), AutoTokenizer.from_pretrained(str(path))


def save_base(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer to a folder that transformers loads."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _local_path(base: str, base_models_dir: Path | None) -> Path | None:
    """Return the folder or GGUF file of a base; None if it can only be a name on the model hub."""
    path = Path(base) if base_models_dir is None else base_models_dir / base
    if path.is_dir() or (path.is_file() and path.suffix.lower() == GGUF):
        return path
    if path.suffix.lower() == GGUF:
        raise ModelError(f"there is no GGUF file {base!r} in base_models/. Put it there, or correct synthesizer.base.")
    return None


@contextmanager
def _loading(base: str) -> Iterator[None]:
    """Turn what transformers raises for a base that it cannot load into a `ModelError`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        if "Unrecognized configuration class" in str(error):
            reason = "its architecture is none of a causal language model"
        elif "no file named" in str(error):
            reason = "it has no weights: expected model.safetensors, or model.safetensors.index.json and its parts"
        else:
            reason = f"transformers reports: {first_line(error)}"
        raise ModelError(
            f"base model {base!r} cannot be loaded; {reason}. Expected the weights, config.json and tokenizer of a "
            "causal language model, as `save_pretrained` of transformers writes them, or a GGUF file. Choose another "
            "base, or 'scratch'."
        ) from error


def _read_gguf(base: str, path: Path) -> Any:
    """Return a reader of a GGUF file; a `ModelError` if it is not whole, or the package that reads it is missing."""
    if find_spec("gguf") is None:
        raise ModelError(
            f"base model {base!r} is a GGUF file, which the package gguf reads: `pip install 'synth-assets[gguf]'`."
        )
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, MemoryError, OSError, struct.error) as error:
        raise ModelError(
            f"base model {base!r} is no complete GGUF file ({first_line(error)}); its {path.stat().st_size:,} bytes "
            "may be a part of a download. Download it again."
        ) from error


@contextmanager
def _as_reader(reader: Any) -> Iterator[None]:
    """Let transformers load a GGUF file with a reader that has read it, and without a progress bar of its own.

    It would read the file for the configuration, the weights and the tokenizer, each time for seconds.
    """
    import gguf

    package = vars(gguf)
    before = package["GGUFReader"]
    package["GGUFReader"] = lambda path: reader
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        package["GGUFReader"] = before


def _is_causal(model: Any) -> bool:
    """Return whether the last hidden state of a token is independent of the tokens after it."""
    import torch

    from synth_assets.synthesizers.language_model.backbone import backbone

    rows = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 0]], device=model.device)
    with torch.inference_mode():
        one, other = backbone(model.eval())(input_ids=rows).last_hidden_state[:, 2]
    return bool(torch.allclose(one, other, atol=1e-4, rtol=1e-4))


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return each row as the sentence of be_great, columns in the given order: 'Sex is 2, Length is 0.455, ...'."""
    columns = [[f"{name} is {value}" for value in frame[name].tolist()] for name in frame.columns]
    return [", ".join(cells) for cells in zip(*columns, strict=True)]


def in_transformers(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Return a 'scratch' base, of `make_scratch`, as a model and a tokenizer of transformers."""
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    quiet_transformers()
    found = GPT2LMHeadModel(GPT2Config(**vars(model.config)))
    found.transformer.load_state_dict(model.transformer.state_dict())
    specials = {"eos_token": tokenizer.eos_token, "unk_token": tokenizer.unk_token}
    return found, PreTrainedTokenizerFast(tokenizer_object=tokenizer.tokenizer, **specials)


def _hash_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()[:16]


def _ask_hub(name: str) -> tuple[str, bool]:
    """Return the commit of a model on the hub, and whether it is of the hub's cache, since the hub does not answer."""
    from transformers.utils import cached_file

    reason = ""
    try:
        reason = _silence_of_hub(name)
        arguments = {"local_files_only": True} if reason else {}
        config = cached_file(name, "config.json", **arguments)
        has_weights = any(
            cached_file(name, file, _raise_exceptions_for_missing_entries=False, **arguments)
            for file in ("model.safetensors", "model.safetensors.index.json")
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"base model {name!r} cannot be loaded: it is no folder or GGUF file in base_models/, and asking the model "
            f"hub for it failed ({reason or first_line(error)}). Check the name and the network, or set "
            "synthesizer.base to a folder, a GGUF file or 'scratch'."
        ) from error
    if not has_weights:
        raise ModelError(
            f"base model {name!r} has no safetensors on the model hub, and pickled weights are not loaded. "
            "Take another model."
        )
    # The hub's cache keeps a snapshot's files in a folder of its commit's name.
    return Path(str(config)).parent.name, bool(reason)


def _silence_of_hub(name: str) -> str:
    """Return why the hub gives no answer at all to a question for a model, else an empty text.

    The hub's client itself would ask again for minutes.
    """
    import httpx2  # the client of huggingface_hub
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_TIMEOUT_S)
    except HfHubHTTPError:
        return ""  # an answer, which the client explains better
    except httpx2.TimeoutException:
        return f"no answer within {HUB_TIMEOUT_S} s"
    except (httpx2.HTTPError, OSError) as error:
        return first_line(error)
    return ""


def quiet_transformers() -> None:
    """Turn off the progress bars and hints of transformers, which would fill a run's log."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def first_line(error: Exception) -> str:
    """Return the first line of an error's text without its full stop; libraries add pages."""
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
