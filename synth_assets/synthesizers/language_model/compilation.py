"""Compilation of a model's layers for a GPU, where it pays within the fit."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch

from synth_assets.synthesizers.language_model.backbone import backbone

BACKEND = "inductor"
"""What torch compiles with."""

COMPILE_S = 10.0
"""Estimated seconds of compiling one layer: on an H200, 30 layers of a Llama of 135 million weights took 160 s."""

MAX_COMPILE_SHARE = 0.1
"""Maximum share of a stage that compilation may take."""

FLOPS, LAYER_S = 1e14, 1e-3
"""Operations a second of training, and least seconds of a layer in a step (its kernels are launched one by one), by
which the duration of an epoch is estimated. For the same model on abalone they give 2.9 s; compiled, it took 1.8 s."""


def estimated_epoch_s(*, tokens: int, steps: int, layers: int, parameters: int) -> float:
    """Estimate how long an epoch takes on a GPU without compilation, in seconds.

    Parameters
    ----------
    tokens, steps : int
        Tokens and steps of an epoch.
    layers, parameters : int
        Size of the model.
    """
    return steps * layers * LAYER_S + 6 * tokens * parameters / FLOPS


def first_compiled_epoch(epoch_s: float) -> int:
    """Return the epoch, from 0, before which the layers are compiled.

    Training may stop after any epoch. The layers are therefore compiled once the epochs that have been trained, and the
    next one, take so long that compilation is at most `MAX_COMPILE_SHARE` of them. The estimate depends on sizes
    alone, so that the same fit compiles at the same epoch.
    """
    return max(0, math.ceil(COMPILE_S / MAX_COMPILE_SHARE / epoch_s) - 1)


def can_compile(model: Any) -> bool:
    """Return whether the layers of a model can be compiled where it is."""
    # torch's builds for CUDA include Triton on Linux; without it, nothing can be compiled for a GPU.
    on_gpu = next(model.parameters()).device.type == "cuda"
    return on_gpu and not getattr(model, "is_loaded_in_4bit", False) and find_spec("triton") is not None


def layers_of(model: Any) -> list[Any]:
    """Return the decoder layers of a causal language model."""
    lists = (module for module in backbone(model).modules() if isinstance(module, torch.nn.ModuleList))
    return list(next(lists, ()))


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Compile the layers of a model in training.

    Layers of one class share one compiled graph, for batches of any shape.
    """
    layers = layers_of(model)
    for layer in layers:
        layer.compile(backend=BACKEND, dynamic=True)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None
