"""Incremental decoding on a GPU of a GPT-2, or of a Llama or one of its relatives, in few kernels a layer.

The kernels are written in Triton (`triton_kernels`); on any other device, the same functions are operations of torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn.functional import gelu, layer_norm, rms_norm, silu

from synth_assets.synthesizers.language_model.decoding import PackedDecoder

Linear = tuple[torch.Tensor, torch.Tensor | None]
"""Weights (in, out), and biases (out) if there are any."""

MIN_ROWS_PER_PREFIX = 1.25
"""Prefixes are shared while there are at least this many rows for each distinct one. On an H200, SmolLM2-135M sampled
15,500 rows of abalone a second with it, 14,700 with 2 and 14,400 with 1.02; on a CPU, 2 is faster."""

LLAMAS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")


def can_fuse(model: Any) -> bool:
    """Return whether `FusedDecoder` computes the states of a causal language model."""
    config, name = model.config, type(model).__name__
    if name == "GPT2LMHeadModel":
        return bool(
            config.activation_function == "gelu_new"
            and config.scale_attn_weights
            and not config.scale_attn_by_inverse_layer_idx
            and not config.add_cross_attention
            and _is_power_of_two(config.n_embd // config.n_head)
        )
    return bool(
        name in LLAMAS
        and config.hidden_act == "silu"
        and config.rope_parameters.get("rope_type") == "default"
        and not config.rope_parameters.get("partial_rotary_factor", 1.0) < 1.0
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and not (name == "MistralForCausalLM" and config.sliding_window)
        and _is_power_of_two(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    )


def has_triton() -> bool:
    """Return whether Triton is installed."""
    return find_spec("triton") is not None


def _is_power_of_two(n: int) -> bool:
    return n >= 16 and not n & (n - 1)


@dataclass(frozen=True)
class _Norm:
    """A norm of what earlier layers have written, to which it adds their biases."""

    shift: torch.Tensor | None  # (C) the biases, in single precision
    weight: torch.Tensor
    bias: torch.Tensor | None  # of a layer norm
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return normalise(x, self.shift, self.weight, self.bias, self.epsilon)

    @classmethod
    def of_gpt2(cls, norm: Any, shift: torch.Tensor | None) -> "_Norm":
        return cls(shift, norm.weight, norm.bias, norm.eps)

    @classmethod
    def of_llama(cls, norm: Any, shift: torch.Tensor | None) -> "_Norm":
        return cls(shift, norm.weight, None, norm.variance_epsilon)


@dataclass(frozen=True)
class _Layer:
    """A layer: what it adds to the residual stream by attention, and by the MLP, but for the biases."""

    attention_norm: _Norm
    qkv: Linear
    attention_out: Linear
    mlp_in: Callable[[torch.Tensor], torch.Tensor]  # up to its activation
    mlp_out: Linear

    @classmethod
    def of_gpt2(cls, block: Any, shift: torch.Tensor | None) -> "_Layer":
        attn, mlp = block.attn, block.mlp
        mlp_norm = _Norm.of_gpt2(block.ln_2, _sum(shift, attn.c_proj.bias))
        return cls(
            attention_norm=_Norm.of_gpt2(block.ln_1, shift),
            qkv=(attn.c_attn.weight, attn.c_attn.bias),
            attention_out=(attn.c_proj.weight, attn.c_proj.bias),
            mlp_in=lambda x: linear_and_gelu(mlp_norm(x), mlp.c_fc.weight, mlp.c_fc.bias),
            mlp_out=(mlp.c_proj.weight, mlp.c_proj.bias),
        )

    @classmethod
    def of_llama(cls, layer: Any, shift: torch.Tensor | None) -> "_Layer":
        attn, mlp = layer.self_attn, layer.mlp
        mlp_norm = _Norm.of_llama(layer.post_attention_layernorm, _sum(shift, attn.o_proj.bias))
        gate_up = _side_by_side(mlp.gate_proj, mlp.up_proj)
        return cls(
            attention_norm=_Norm.of_llama(layer.input_layernorm, shift),
            qkv=_side_by_side(attn.q_proj, attn.k_proj, attn.v_proj),
            attention_out=_side_by_side(attn.o_proj),
            mlp_in=lambda x: silu_and_multiply(_linear(mlp_norm(x), gate_up)),
            mlp_out=_side_by_side(mlp.down_proj),
        )


def _side_by_side(*modules: Any) -> Linear:
    weight = torch.cat([module.weight for module in modules]).T
    bias = None if modules[0].bias is None else torch.cat([module.bias for module in modules])
    return weight, bias


def _sum(*biases: torch.Tensor | None) -> torch.Tensor | None:
    found = [bias.float() for bias in biases if bias is not None]
    return torch.stack(found).sum(0) if found else None


def _linear(x: torch.Tensor, linear: Linear) -> torch.Tensor:
    weight, bias = linear
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


class FusedLayers:
    """The layers of a model for which `can_fuse` is true, in the precision and on the device of its weights."""

    def __init__(self, model: Any) -> None:
        body, config = model.base_model, model.config
        self.hs: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.n_kv: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.embeddings = body.get_input_embeddings().weight
        self.is_gpt2 = config.model_type == "gpt2"
        if self.is_gpt2:
            self.position_embeddings = body.wpe.weight
        else:
            self.frequencies = body.rotary_emb.inv_freq.float()
        self.layers: list[_Layer] = []
        shift = None
        for each in body.h if self.is_gpt2 else body.layers:
            layer = _Layer.of_gpt2(each, shift) if self.is_gpt2 else _Layer.of_llama(each, shift)
            shift = _sum(shift, layer.attention_out[1], layer.mlp_out[1])
            self.layers.append(layer)
        self.norm = _Norm.of_gpt2(body.ln_f, shift) if self.is_gpt2 else _Norm.of_llama(body.norm, shift)

    def rotations(self, length: int) -> torch.Tensor | None:
        """Return the cosines and the sines of each position, (T, hs), in single precision, if keys are rotated."""
        if self.is_gpt2:
            return None
        positions = torch.arange(length, device=self.frequencies.device)
        angles = positions[:, None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], 1)

    def embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the states that the first layer reads, (n, C), of n tokens."""
        x: torch.Tensor = self.embeddings.index_select(0, ids)
        if self.is_gpt2:
            x = x + self.position_embeddings.index_select(0, positions)
        return x


class FusedDecoder(PackedDecoder):
    """Decoder of a model for which `can_fuse` is true.

    Rows with the same prefix go through the model once. The cache is (B, 2 * n_kv, length, hs) a layer, keys, then
    values, of B rows or prefixes: of `max_length` tokens, or as many as there are while prefixes are shared.
    """

    def __init__(self, model: Any, rows: int, device: torch.device, *, ragged: bool, max_length: int) -> None:
        super().__init__(rows, device, ragged=ragged)
        self.fused, self.max_length = FusedLayers(model), max_length
        self.cos_sin = self.fused.rotations(max_length)
        # (rows) the prefix of each row; None once every row is computed by itself.
        self.prefix_index: torch.Tensor | None = torch.zeros(rows, dtype=torch.long, device=device)
        shape = 1, 2 * self.fused.n_kv, 0, self.fused.hs
        self.caches = [self.fused.embeddings.new_empty(shape) for _ in self.fused.layers]

    def _run(
        self, ids: torch.Tensor, positions: torch.Tensor, has_token: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        self.n_appended += ids.shape[1]
        end = min(self.n_appended, self.max_length)
        if self.prefix_index is not None:
            rows = self._share_prefixes(self.prefix_index, ids.where(has_token, -1))
            ids, positions, has_token, place = (each[rows] for each in (ids, positions, has_token, place))
        B, T = ids.shape
        x = self.fused.embed(ids.flatten(), positions.clamp(min=0).flatten())
        positions = positions.where(has_token, -1).int()
        for layer, cache in zip(self.fused.layers, self.caches, strict=True):
            qkv = _linear(layer.attention_norm(x), layer.qkv)
            store(qkv, cache, positions, self.cos_sin)
            if cache is self.caches[-1] and T > 1:  # of other tokens, no state is needed
                wanted = torch.arange(0, B * T, T, device=self.device) + place
                x, qkv, positions = x[wanted], qkv[wanted], positions.flatten()[wanted, None]
            y = attend(qkv, cache, positions, end, self.fused.hs**-0.5)
            x.addmm_(y, layer.attention_out[0])  # biases are added by the norms
            x.addmm_(layer.mlp_in(x), layer.mlp_out[0])
        states: torch.Tensor = self.fused.norm(x)
        return states if self.prefix_index is None else states[self.prefix_index]

    def _share_prefixes(self, before: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return a row of each prefix that `ids` prolong, (rows, T), and reorder the cache to match."""
        every_row = torch.arange(self.rows, device=self.device)
        prefixes, index = torch.unique(torch.cat([before[:, None], ids], 1), dim=0, return_inverse=True)
        if len(prefixes) * MIN_ROWS_PER_PREFIX > self.rows:
            rows, self.prefix_index = every_row, None
        else:
            rows, self.prefix_index = every_row.new_empty(len(prefixes)).scatter_(0, index, every_row), index
        length = self.max_length if self.prefix_index is None else min(self.n_appended, self.max_length)
        for number, cache in enumerate(self.caches):
            self.caches[number] = reorder(cache, before[rows], length)
        return rows


def reorder(cache: torch.Tensor, rows: torch.Tensor, length: int) -> torch.Tensor:
    """Return some rows of a cache, (B, 2 * n_kv, T, hs), with room for `length` tokens, T or more."""
    shape = len(rows), cache.shape[1], length, cache.shape[3]
    if cache.is_cuda and cache.numel():
        from synth_assets.synthesizers.language_model import triton_kernels

        return triton_kernels.reorder(cache, rows, cache.new_empty(shape))
    reordered = cache.new_empty(shape)
    reordered[:, :, : cache.shape[2]] = cache[rows]
    return reordered


def store(qkv: torch.Tensor, cache: torch.Tensor, positions: torch.Tensor, cos_sin: torch.Tensor | None) -> None:
    """Rotate the queries of tokens in place, and write their keys, rotated, and values to a cache.

    Parameters
    ----------
    qkv : torch.Tensor
        (B * T, (nh + 2 * n_kv) * hs) queries, keys and values.
    cache : torch.Tensor
        (B, 2 * n_kv, max_length, hs) keys and values.
    positions : torch.Tensor
        (B, T) positions; -1 for a token that is skipped, of which nothing is written.
    cos_sin : torch.Tensor, optional
        (max_length, hs) cosines and sines of each position, if keys are rotated (Su et al., *RoFormer*, 2021).
    """
    if qkv.is_cuda:
        from synth_assets.synthesizers.language_model import triton_kernels

        triton_kernels.store(qkv, cache, positions, cos_sin)
        return
    (B, T), (n_cached, _, hs) = positions.shape, cache.shape[1:]
    heads = qkv.view(B, T, -1, hs)
    n_heads = heads.shape[2]
    if cos_sin is not None:
        rotated = heads[:, :, : n_heads - n_cached // 2]
        cos, sin = cos_sin[positions.clamp(min=0)][:, :, None].chunk(2, 3)  # (B, T, 1, hs / 2)
        first, second = rotated.float().chunk(2, 3)
        rotated.copy_(torch.cat([first * cos - second * sin, second * cos + first * sin], 3))
    row, token = (positions >= 0).nonzero(as_tuple=True)
    cache[row, :, positions[row, token]] = heads[row, token, n_heads - n_cached :]


def attend(qkv: torch.Tensor, cache: torch.Tensor, positions: torch.Tensor, end: int, scaling: float) -> torch.Tensor:
    """Attend from the queries of tokens to the keys of their row up to their own position, (B * T, nh * hs).

    What comes after the last of these positions is not read.

    Parameters
    ----------
    qkv, cache, positions : torch.Tensor
        As in `store`.
    end : int
        Number of positions that are used in any row.
    scaling : float
        What products of queries and keys are multiplied by.
    """
    if qkv.is_cuda:
        from synth_assets.synthesizers.language_model import triton_kernels

        return triton_kernels.attend(qkv, cache, positions, end, scaling)
    (B, T), (n_cached, _, hs) = positions.shape, cache.shape[1:]
    n_kv = n_cached // 2
    q = qkv.view(B, T, -1, hs)[:, :, :-n_cached]
    q = q.reshape(B, T, n_kv, -1, hs)  # the heads of a group are neighbours
    positions = positions.clamp(min=0)
    is_hidden = torch.arange(end, device=positions.device) > positions[:, :, None]  # (B, T, S)
    is_empty = is_hidden.all(1)[:, None, :, None]  # (B, 1, S, 1)
    keys, values = cache[:, :, :end].masked_fill(is_empty, 0.0).chunk(2, 1)
    att = torch.einsum("btkgd,bksd->bkgts", q, keys) * scaling
    att = att.masked_fill(is_hidden[:, None, None], float("-inf")).softmax(-1)
    return torch.einsum("bkgts,bksd->btkgd", att, values).reshape(B * T, -1)


def normalise(
    x: torch.Tensor, shift: torch.Tensor | None, weight: torch.Tensor, bias: torch.Tensor | None, epsilon: float
) -> torch.Tensor:
    """Return the norm of states, (n, C), to which `shift` is added: a layer norm if it has a bias, else an RMS norm."""
    if x.is_cuda:
        from synth_assets.synthesizers.language_model import triton_kernels

        return triton_kernels.normalise(x, shift, weight, bias, epsilon)
    x = x if shift is None else x + shift.to(x.dtype)
    if bias is None:
        return rms_norm(x, x.shape[-1:], weight, epsilon)
    return layer_norm(x, x.shape[-1:], weight, bias, epsilon)


def linear_and_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the GELU, by its approximation with tanh, of a linear layer: (n, in) -> (n, out)."""
    if x.is_cuda:
        return torch._addmm_activation(bias, x, weight, use_gelu=True)  # one kernel
    return gelu(torch.addmm(bias, x, weight), approximate="tanh")


def silu_and_multiply(x: torch.Tensor) -> torch.Tensor:
    """Return the product of the second half of the columns and of the SiLU of the first half, (n, 2 * c) -> (n, c)."""
    if x.is_cuda:
        from synth_assets.synthesizers.language_model import triton_kernels

        return triton_kernels.silu_and_multiply(x)
    gate, up = x.chunk(2, 1)
    return silu(gate) * up
