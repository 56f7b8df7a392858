"""Faster layers for models of transformers on a GPU: attention, norms and activations in fewer passes over its memory.

They compute what the layers of transformers do, up to rounding.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import gelu, rms_norm, scaled_dot_product_attention

ATTENTION = "synth_assets"
"""The name of `attend` among transformers' attention functions."""


def replace_layers(model: Any) -> Callable[[], None]:
    """Replace the layers of a model of transformers that have a faster one; return a function that puts them back."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attend)
    attention = model.config._attn_implementation
    if attention == "sdpa":  # others, such as capped scores, have no faster one
        model.set_attn_implementation(ATTENTION)
    replaced = []
    for module in model.modules():
        forward = _faster(module)
        if forward is not None:
            module.forward = forward
            replaced.append(module)

    def restore() -> None:
        for module in replaced:
            del module.forward
        model.set_attn_implementation(attention)

    return restore


def _faster(module: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    name = type(module).__name__
    if name == "NewGELUActivation":
        return lambda x: gelu(x, approximate="tanh")
    if name.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):  # Llama's; Gemma's has an `eps`, and adds 1
        return lambda x: rms_norm(x, module.weight.shape, module.weight.to(x.dtype), module.variance_epsilon)
    return None


def attend(
    module: Any,
    query: torch.Tensor,  # (B, nh, T, hs)
    key: torch.Tensor,  # (B, n_kv, S, hs), of the same tokens and of those before them
    value: torch.Tensor,  # (B, n_kv, S, hs)
    attention_mask: torch.Tensor | None,  # (B or 1, 1, T, S), added to the scores; causal attention where there is none
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend, as one of transformers' attention functions. Keys and values of grouped heads are not copied.

    The queries of the heads that share them, of all T tokens, are one block of queries.
    """
    del module
    B, nh, T, hs = query.shape
    n_kv, S = key.shape[1:3]
    options: dict[str, Any] = {"dropout_p": dropout, "scale": scaling}
    if attention_mask is None and (sliding_window is None or sliding_window >= S) and T in (1, S):
        y = scaled_dot_product_attention(query, key, value, is_causal=T > 1, enable_gqa=n_kv < nh, **options)
    else:
        if attention_mask is None:
            attention_mask = _causal_mask(T, S, sliding_window, query.dtype, query.device)
        mask = attention_mask.repeat(1, 1, nh // n_kv, 1)
        grouped = query.reshape(B, n_kv, nh // n_kv * T, hs)
        y = scaled_dot_product_attention(grouped, key, value, attn_mask=mask, **options).view(B, nh, T, hs)
    return y.transpose(1, 2).contiguous(), None


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _causal_mask(T: int, S: int, window: int | None, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return mask_of(torch.arange(S - T, S, device=device)[None], S, window, dtype)


def mask_of(positions: torch.Tensor, n_keys: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to the scores of tokens at `positions`, (B, T), for keys from 0 on: (B, 1, T, S)."""
    distance = positions[:, None, :, None] - torch.arange(n_keys, device=positions.device)
    is_hidden = distance < 0
    if window:
        is_hidden = is_hidden | (distance >= window)
    return torch.zeros_like(is_hidden, dtype=dtype).masked_fill(is_hidden, torch.finfo(dtype).min)
