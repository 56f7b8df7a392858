"""The state of a training as one safetensors file: tensors, and beside them, as JSON, what holds them. No pickle.

Reading it runs nothing: whatever is in a file, all that comes of it are tensors, numbers, texts and what groups them.
Importing this module imports torch: do so inside functions only.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from synth_assets.synthesizers.base import ModelError

_STATE = "state"


def write_state(path: Path, state: Any) -> None:
    """Write a state to a file, which is then whole or not there.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    state : object
        Tensors, numbers, texts, booleans and None, in lists, tuples and dicts of any depth.

    Raises
    ------
    TypeError
        If there is anything else in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    described = json.dumps(_described(state, tensors, {}))
    building = path.with_name(f".{uuid4().hex}.building")
    try:
        save_file(tensors, building, metadata={_STATE: described})
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def read_state(path: Path) -> Any:
    """Read what `write_state` wrote; all tensors are on the CPU.

    Raises
    ------
    ModelError
        If the file is none of these, or is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return _restored(json.loads(file.metadata()[_STATE]), file)
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ModelError(
            f"the checkpoint {path} is damaged or none of ours ({error}). Delete it, and the fit starts anew."
        ) from error


def _described(value: Any, tensors: dict[str, torch.Tensor], names: dict[tuple[Any, ...], str]) -> Any:
    if isinstance(value, torch.Tensor):
        # Weights that are tied are one tensor under two names; safetensors wants it once.
        place = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride()) if value.numel() else (id(value),)
        if place not in names:
            names[place] = str(len(names))
            tensors[names[place]] = value.detach().contiguous()
        return {"tensor": names[place]}
    if isinstance(value, dict):
        pairs = [[_described(part, tensors, names) for part in pair] for pair in value.items()]
        return {"dict": pairs}  # not as JSON's own, whose keys are texts
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_described(part, tensors, names) for part in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"found {type(value).__name__}; expected tensors and plain values")


def _restored(described: Any, file: Any) -> Any:
    if not isinstance(described, dict):
        return described
    ((kind, content),) = described.items()
    if kind == "tensor":
        return file.get_tensor(content)
    parts = [_restored(part, file) for part in (({"list": pair} for pair in content) if kind == "dict" else content)]
    return {"dict": dict, "list": list, "tuple": tuple}[kind](parts)
