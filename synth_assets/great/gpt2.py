"""The GPT-2 that 'scratch' makes, by hand, for training on a CPU: transformers' function, and only what is asked for.

`decoding` has the same for rows that are written token by token.
"""

import math
from typing import Any

import torch
from transformers import GPT2LMHeadModel


def is_plain_gpt2(model: Any) -> bool:
    """Say whether a model is a GPT-2 without adapters or variants of attention, in single precision on a CPU."""
    return (
        type(model) is GPT2LMHeadModel
        and model.device.type == "cpu"
        and model.dtype == torch.float32
        and model.config.scale_attn_weights
        and not model.config.scale_attn_by_inverse_layer_idx
        and not model.config.add_cross_attention
    )


def states_at(model: GPT2LMHeadModel, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Give the last hidden states at some places of every row.

    The last layer is left out at the other places, but for keys and values. Attention is two products of matrices,
    which for rows of twenty tokens is faster on a CPU than torch's kernel for long ones. In training, the products with
    weights are in bfloat16 where the CPU has instructions for it; all else, and the weights themselves, stay in single
    precision (Micikevicius et al., 2018, section 3.1).

    Parameters
    ----------
    model : transformers.GPT2LMHeadModel
        See `is_plain_gpt2`.
    ids : torch.Tensor
        n by t token ids.
    places : torch.Tensor
        The k places, in order.

    Returns
    -------
    torch.Tensor
        n by k by width.
    """
    inner = model.transformer
    rows, tokens = ids.shape
    precision = torch.bfloat16 if model.training and has_bfloat16() else torch.float32
    mask = torch.full((tokens, tokens), -math.inf).triu(1)
    states = inner.drop(inner.wte(ids) + inner.wpe.weight[:tokens])
    for block in inner.h:
        attn, mlp = block.attn, block.mlp
        normed = block.ln_1(states).to(precision)
        asking = normed
        if block is inner.h[-1]:
            states, asking, mask = states[:, places], normed[:, places], mask[places]
        weights, biases = attn.c_attn.weight.split(attn.embed_dim, 1), attn.c_attn.bias.split(attn.embed_dim)
        queries, keys, values = (
            _product(each, weight, bias)
            .view(rows, -1, attn.num_heads, attn.head_dim)
            .transpose(1, 2)
            .to(torch.float32, memory_format=torch.contiguous_format)
            .flatten(0, 1)
            for each, weight, bias in zip((asking, normed, normed), weights, biases, strict=True)
        )
        shares = torch.baddbmm(mask, queries, keys.transpose(1, 2), alpha=attn.scaling).softmax(2)
        attended = (
            (attn.attn_dropout(shares) @ values)
            .view(rows, attn.num_heads, -1, attn.head_dim)
            .transpose(1, 2)
            .to(precision, memory_format=torch.contiguous_format)
            .flatten(2)
        )
        states = states + attn.resid_dropout(_product(attended, attn.c_proj.weight, attn.c_proj.bias))
        inside = mlp.act(_product(block.ln_2(states).to(precision), mlp.c_fc.weight, mlp.c_fc.bias))
        states = states + mlp.dropout(_product(inside, mlp.c_proj.weight, mlp.c_proj.bias))
    last: torch.Tensor = inner.ln_f(states)
    return last


def has_bfloat16() -> bool:
    """Say whether the CPU multiplies matrices in bfloat16 faster than in single precision."""
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    found = torch.addmm(bias.to(states.dtype), states.flatten(0, 1), weight.to(states.dtype))
    return found.view(*states.shape[:2], -1)
