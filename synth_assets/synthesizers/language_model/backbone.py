"""The backbone of a causal language model: the hidden states that its head reads, by the fastest available route.

`hidden_states_at` serves training, `decoder_for` generation. A GPT-2 in single precision on a CPU, which is what a
'scratch' base is, goes through `kernels` and `decoding.GPT2Decoder`; any other model goes through transformers. Both
compute the same function (`model` spells it out), up to rounding.
"""

from typing import Any

import torch

from synth_assets.synthesizers.language_model import kernels
from synth_assets.synthesizers.language_model.decoding import CachedDecoder, Decoder, GPT2Decoder
from synth_assets.synthesizers.language_model.fused_decoding import FusedDecoder, can_fuse, has_triton


def backbone(model: Any) -> Any:
    """Return the module below the head of a causal language model, with or without low-rank adapters."""
    return (model.get_base_model() if hasattr(model, "peft_config") else model).base_model


def is_plain_gpt2(model: Any) -> bool:
    """Return whether a model is a GPT-2 without adapters or attention variants, in single precision on a CPU."""
    return (
        type(model).__name__ in ("GPT2LMHeadModel", "ScratchModel")  # by name, since importing transformers is slow
        and model.device.type == "cpu"
        and next(model.parameters()).dtype == torch.float32
        and model.config.scale_attn_weights
        and not model.config.scale_attn_by_inverse_layer_idx
        and not model.config.add_cross_attention
    )


def hidden_states_at(model: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Compute the last hidden states at some positions of every row.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    ids : torch.Tensor
        (B, T) token ids.
    positions : torch.Tensor
        (K) positions, ascending.

    Returns
    -------
    torch.Tensor
        (B, K, C) states.
    """
    if is_plain_gpt2(model):
        return kernels.hidden_states_at(model, ids, positions)
    states: torch.Tensor = backbone(model)(input_ids=ids, use_cache=False).last_hidden_state[:, positions]
    return states


def decoder_for(model: Any, rows: int, *, ragged: bool, max_length: int) -> Decoder:
    """Return an incremental decoder of `rows` rows of up to `max_length` tokens.

    If `ragged`, its `append` may skip rows, so that rows may differ in length.
    """
    if is_plain_gpt2(model) and not ragged:
        return GPT2Decoder(model.transformer, rows, max_length)
    device = next(model.parameters()).device
    if device.type == "cuda" and has_triton() and can_fuse(model):
        return FusedDecoder(model, rows, device, ragged=ragged, max_length=max_length)
    return CachedDecoder(backbone(model), rows, device, ragged=ragged, max_length=max_length)
