"""Memory of a GPU: what a fit takes, and how many tokens or rows go through the model at once."""

from dataclasses import dataclass
from typing import Any

import torch

from synth_assets.synthesizers.base import ModelError

TRAINED_BYTES = 30
"""Bytes of a weight that is trained: the weight, its gradient, two moments of AdamW, the moving average, the best one
and the one set aside in validation, 4 each, and 2 of a copy in bfloat16."""

BYTES_4_BIT = 0.6
"""Bytes of a weight that is kept in 4 bits, with its scale; the embeddings are kept in 16."""

MARGIN = 0.1
"""Share of the free memory that is left alone, for the workspaces of kernels and for fragments."""

FEW_ROWS = 8
"""Rows of a step that go through the model at once, below which its activations are computed twice rather than kept."""

CACHE_SHARE = 0.65
"""Maximum share of a GPU's memory for the keys and values of rows that are generated."""

NOT_LIMITED = 2**62


@dataclass
class Capacity:
    """How much goes through a model at once.

    Parameters
    ----------
    tokens : int
        Maximum number of tokens, padding included.
    checkpoints_gradients : bool
        Whether each layer keeps its inputs only, and computes the rest once more in the backward pass (Chen et al.,
        *Training Deep Nets with Sublinear Memory Cost*, 2016).
    """

    tokens: int = NOT_LIMITED
    checkpoints_gradients: bool = False

    def rows(self, length: int) -> int:
        """Return how many rows of some length go through the model at once."""
        return max(1, self.tokens // length)


@dataclass(frozen=True)
class Sizes:
    """What the memory of a fit depends on.

    Parameters
    ----------
    trained, weights : int
        Number of weights that are trained, and of all.
    stored_bytes, frozen_bytes : int
        Bytes of all weights before training, and of those that are not trained.
    layers, width, inner_width : int
        Number of layers, and the widths of their residual stream and of their MLP.
    """

    trained: int
    weights: int
    stored_bytes: int
    frozen_bytes: int
    layers: int
    width: int
    inner_width: int

    @classmethod
    def of(cls, model: Any) -> "Sizes":
        """Return the sizes of a causal language model."""
        config = model.config.get_text_config()
        parameters = list(model.parameters())
        return cls(
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            weights=model.num_parameters(),
            stored_bytes=sum(p.nbytes for p in parameters),
            frozen_bytes=sum(p.nbytes for p in parameters if not p.requires_grad),
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            inner_width=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        )

    @property
    def state_bytes(self) -> int:
        """Bytes of the weights and of all that training keeps for each of them."""
        return self.frozen_bytes + TRAINED_BYTES * self.trained

    def token_bytes(self, *, checkpoints_gradients: bool) -> int:
        """Return the bytes of activations for each token, under mixed precision, in the backward pass.

        A layer keeps its norms' inputs and outputs in single precision, and what its products and its activation read
        in bfloat16: some 60 bytes for each channel, and 16 for each channel of the MLP.
        """
        layer = 60 * self.width + 16 * self.inner_width
        return layer + 4 * self.width * self.layers if checkpoints_gradients else layer * self.layers


def free_bytes() -> int:
    """Return the free memory of the current GPU, with what torch has reserved and does not use."""
    free, _ = torch.cuda.mem_get_info()
    return int(free) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def rows_cached(model: Any, length: int) -> int:
    """Return how many rows of some length the current GPU keeps the keys and values of, in 16 bits."""
    config = model.config.get_text_config()
    n_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row_bytes = 2 * 2 * config.num_hidden_layers * n_heads * head_size * length
    return int(CACHE_SHARE * torch.cuda.mem_get_info()[1] / row_bytes)


def require_room(sizes: Sizes, free: int, base: str) -> None:
    """Raise a `ModelError` if a fit does not fit in the free memory of a GPU, whatever its batches.

    Parameters
    ----------
    sizes : Sizes
        The model's sizes, before it is on the GPU.
    free : int
        Free bytes.
    base : str
        The name of the base.
    """
    needed, usable = sizes.state_bytes, (1 - MARGIN) * free
    if needed <= usable:
        return
    trains_all = not sizes.frozen_bytes
    per_weight = TRAINED_BYTES if trains_all else sizes.stored_bytes / sizes.weights
    options = [f"choose a base of at most {_count(usable / per_weight)} weights"]
    if BYTES_4_BIT * sizes.weights <= usable:
        options.append(f"set lora: true and quantized: true ({_size(BYTES_4_BIT * sizes.weights)})")
    if trains_all and sizes.stored_bytes <= usable:
        options.append(f"set lora: true ({_size(sizes.stored_bytes)})")
    raise ModelError(
        f"training {'all' if trains_all else 'adapters of the'} {_count(sizes.weights)} weights of {base!r} takes "
        f"{_size(needed)} before any row, and {_size(free)} of the GPU's memory are free; expected at least "
        f"{_size(needed / (1 - MARGIN))}. To fit: {', or '.join(reversed(options))}. A smaller batch_size does not "
        "help, since a batch is split as needed."
    )


def capacity_for(sizes: Sizes, free: int, *, length: int, batch_size: int) -> Capacity:
    """Return how many tokens go through a model at once.

    Parameters
    ----------
    sizes : Sizes
        The model's sizes.
    free : int
        Free bytes beside the weights and all that training keeps for them.
    length, batch_size : int
        Tokens of the longest row, and rows of a step.

    Raises
    ------
    ModelError
        If not one row fits.
    """
    usable = int((1 - MARGIN) * free)
    plain = Capacity(usable // sizes.token_bytes(checkpoints_gradients=False))
    if plain.tokens >= min(FEW_ROWS, batch_size) * length:
        return plain
    capacity = Capacity(usable // sizes.token_bytes(checkpoints_gradients=True), checkpoints_gradients=True)
    if capacity.tokens < length:
        needed = length * sizes.token_bytes(checkpoints_gradients=True)
        raise ModelError(
            f"a row of {length} tokens takes {_size(needed)} of the GPU's memory beside the model, and {_size(free)} "
            "are free. Set lora: true, choose a smaller base, or leave columns out."
        )
    return capacity


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _count(n: float) -> str:
    return f"{n / 1e9:.1f} billion" if n >= 1e9 else f"{n / 1e6:.0f} million"
