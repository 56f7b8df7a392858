"""Training forward and backward of a plain GPT-2 on a CPU: the function of `model`, without redundant work.

Backward passes are written out: for matrices this small, autograd spends more time on copies and dispatch than on
products. Shapes: B rows, T tokens of a row, K positions that are queried, C channels, nh heads of hs channels; S is the
number of distinct states among the B * T.
"""

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

GEMM_MULTIPLE = 128
"""States are padded to a multiple of this, so that kernels of products are reused: in bfloat16, one is compiled for
each number of states, and kept. With the first layer's unpadded, a step on adult took a tenth more CPU time, and 200
steps another 95 MB; with prefixes unpadded in generation, 80,000 rows took another 170 MB."""

LONG_ROW, BLOCK = 128, 64
"""Tokens of a row beyond which its queries attend in blocks of so many. With 470 tokens, 300 columns, attention then
takes half of the time."""


def has_bfloat16() -> bool:
    """Return whether the CPU multiplies matrices faster in bfloat16 than in single precision.

    It does if it has AMX, or is one of AMD's with AVX512-BF16 (Zen 4 and later). On an AMD EPYC, products of the sizes
    of a 'scratch' model took less than half of the time, and a training step on adult took a fifth less. On an Intel
    Xeon with AVX512-BF16 and without AMX, these products took twice as long in bfloat16 as in single precision.
    """
    cpu = torch.cpu.get_capabilities()
    return bool(cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and cpu["cpu_name"].startswith("AMD")))


def hidden_states_at(model: "GPT2LMHeadModel", ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Compute what `backbone.hidden_states_at` states, for a model of which `backbone.is_plain_gpt2` is true.

    - The q, k, v of the first layer depend on the token and its position alone: they are computed once for each
      distinct pair, which saves nine in ten tokens of an abalone batch.
    - Later states depend on the prefix: they are computed once for neighbouring rows that share it. In a sorted abalone
      batch, a fifth of the tokens are shared.
    - The last layer computes k and v only, except at `positions`.
    - In training, products with weights are in bfloat16 where the CPU has instructions for it; everything else, and
      the weights themselves, stay in single precision (Micikevicius et al., 2018, section 3.1).
    """
    gpt, config = model.transformer, model.config
    (B, T), vocab_size = ids.shape, gpt.wte.num_embeddings
    dtype = torch.bfloat16 if model.training and has_bfloat16() else torch.float32
    queries = torch.arange(T)
    inputs = (ids + vocab_size * torch.arange(T)).flatten()  # (B*T), a number for each token at a position
    if model.training and max(config.embd_pdrop, config.attn_pdrop, config.resid_pdrop):
        # Dropout makes every state distinct.
        state_index, is_new_prefix = torch.arange(B * T), torch.ones_like(ids, dtype=torch.bool)
    else:
        inputs, state_index = inputs.unique(return_inverse=True)  # (S), (B*T)
        inputs = torch.cat([inputs, inputs[:1].expand(-len(inputs) % GEMM_MULTIPLE)])  # padded
        is_new_prefix = _is_new_prefix(ids)  # (B, T)
    x = gpt.drop(gpt.wte(inputs % vocab_size) + gpt.wpe(inputs // vocab_size))  # (S, C)
    for block in gpt.h:
        attn, mlp = block.attn, block.mlp
        query_index = key_index = state_index
        if block is gpt.h[-1]:
            query_index = key_index.view(B, T)[:, positions].flatten()  # (B*K)
            is_new_prefix, queries = is_new_prefix[:, positions], positions
        qkv = _linear(block.ln_1(x), attn.c_attn, dtype)  # (S, 3C)
        y = _Attention.apply(  # type: ignore[no-untyped-call]
            qkv, query_index, key_index, _masks(queries, T), attn.num_heads, attn.scaling, attn.attn_dropout
        )  # (B*K, C)
        state_index, first = _number_prefixes(is_new_prefix)  # (B*K), (S')
        y = attn.resid_dropout(_linear(y.index_select(0, first), attn.c_proj, dtype))
        x = x.index_select(0, query_index.index_select(0, first)) + y  # (S', C)
        h = _linear(block.ln_2(x), mlp.c_fc, dtype)  # (S', 4C)
        h = _ReLU.apply(h) if isinstance(mlp.act, torch.nn.ReLU) else mlp.act(h)  # type: ignore[no-untyped-call]
        x = x + mlp.dropout(_linear(h, mlp.c_proj, dtype))  # (S', C)
    x = gpt.ln_f(x)
    return x.index_select(0, state_index).view(B, len(positions), -1)  # type: ignore[no-any-return]


def _is_new_prefix(ids: torch.Tensor) -> torch.Tensor:
    """Return, for each position, whether the row's tokens up to it differ from the row above."""
    is_new_prefix = torch.ones_like(ids, dtype=torch.bool)
    is_new_prefix[1:] = (ids[1:] != ids[:-1]).cumsum(1) > 0
    return is_new_prefix


def _number_prefixes(is_new_prefix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of each position's prefix, (B*K), and each prefix's first position, (S), padded."""
    numbers = is_new_prefix.flatten().cumsum(0).sub_(1).view_as(is_new_prefix)
    first = is_new_prefix.flatten().nonzero()[:, 0]
    padding = first[:1].expand(-len(first) % GEMM_MULTIPLE)
    return (numbers * is_new_prefix).cummax(0).values.flatten(), torch.cat([first, padding])


def _linear(x: torch.Tensor, layer: Any, dtype: torch.dtype) -> torch.Tensor:
    product: torch.Tensor = _Linear.apply(x, layer.weight, layer.bias, dtype)  # type: ignore[no-untyped-call]
    return product


class _Linear(torch.autograd.Function):
    """A linear layer computed in some precision; gradients of its weights are in single precision."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        ctx.x_dtype = x.dtype
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        return torch.addmm(bias.to(dtype), x, weight)

    @staticmethod
    def backward(ctx: Any, d_out: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return (d_out @ weight.t()).to(ctx.x_dtype), (x.t() @ d_out).float(), d_out.sum(0).float(), None


class _ReLU(torch.autograd.Function):
    """ReLU on the bits: a float has the sign of the integer with the same bits, and integers are faster in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        _bits(x).clamp_(min=0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, d_out: torch.Tensor) -> Any:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(_bits(d_out), _bits(out), 0).view(d_out.dtype)


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.view(torch.int16 if x.dtype == torch.bfloat16 else torch.int32)


class _Attention(torch.autograd.Function):
    """Causal self-attention in single precision, as batched products of matrices, one head of all rows after another.

    For rows of twenty tokens this is faster on a CPU than torch's scaled_dot_product_attention. The queries of a long
    row attend in blocks, each to the keys up to its last query (see `_masks`): half of all products, and of the memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv: torch.Tensor,  # (S, 3C) queries, keys and values of the distinct states
        query_index: torch.Tensor,  # (B*K) the state at each position that queries
        key_index: torch.Tensor,  # (B*T) the state at each position
        masks: list[torch.Tensor],  # of each block, (k, t)
        n_head: int,
        scaling: float,
        dropout: Any,
    ) -> torch.Tensor:  # (B*K, C)
        K, T = sum(map(len, masks)), masks[-1].shape[1]
        q, k, v = (
            part.index_select(1, index).view(-1, length, part.shape[2])  # (nh*B, K or T, hs)
            for part, index, length in zip(
                torch.split(_split_heads(qkv, 3 * n_head), n_head),
                (query_index, key_index, key_index),
                (K, T, T),
                strict=True,
            )
        )
        outs, atts, keeps = [], [], []
        for own, mask in zip(_rows_of(masks), masks, strict=True):
            seen = slice(mask.shape[1])
            att = _attention_probabilities(q[:, own], k[:, seen], mask, scaling)  # (nh*B, k, t)
            keep = None
            if dropout.training and dropout.p:
                keep = torch.empty_like(att).bernoulli_(1 - dropout.p) / (1 - dropout.p)
            outs.append(torch.bmm(att if keep is None else att * keep, v[:, seen]))  # (nh*B, k, hs)
            atts.append(att)
            keeps.append(keep)
        ctx.save_for_backward(q, k, v, query_index, key_index, *atts, *keeps)
        ctx.n_states, ctx.scaling = len(qkv), scaling
        return _merge_heads(_joined(outs), n_head).to(qkv.dtype)

    @staticmethod
    def backward(ctx: Any, d_out: torch.Tensor) -> Any:
        q, k, v, query_index, key_index, *blocks = ctx.saved_tensors
        n_states, dtype = ctx.n_states, d_out.dtype
        atts, keeps = blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]
        n_head = d_out.shape[1] // q.shape[2]
        d_out = _split_heads(d_out, n_head).view_as(q)  # (nh*B, K, hs)
        d_qs: list[torch.Tensor] = []
        d_k = d_v = torch.empty(0)
        # The last block comes first: it has gradients for all keys, to which the others add.
        for own, att, keep in reversed(list(zip(_rows_of([att[0] for att in atts]), atts, keeps, strict=True))):
            queries, keys, values = q[:, own], k[:, : att.shape[2]], v[:, : att.shape[2]]
            d_att = torch.bmm(d_out[:, own], values.transpose(1, 2))  # (nh*B, k, t)
            if keep is not None:
                d_att *= keep
            d_scores = torch.ops.aten._softmax_backward_data(d_att, att, 2, torch.float32)
            d_qs.insert(0, torch.baddbmm(queries, d_scores, keys, beta=0, alpha=ctx.scaling))
            d_keys = torch.baddbmm(keys, d_scores.transpose(1, 2), queries, beta=0, alpha=ctx.scaling)
            d_values = torch.bmm((att if keep is None else att * keep).transpose(1, 2), d_out[:, own])
            if len(d_qs) == 1:
                d_k, d_v = d_keys, d_values
            else:
                d_k[:, : len(d_keys[0])] += d_keys
                d_v[:, : len(d_values[0])] += d_values
        d_q = _joined(d_qs)
        d_qkv = torch.cat(
            [
                part.new_zeros(n_states, part.shape[2] * n_head)
                .index_add_(0, index, _merge_heads(part, n_head))
                .to(dtype)
                for part, index in ((d_q, query_index), (d_k, key_index), (d_v, key_index))
            ],
            1,
        )  # (S, 3C)
        return d_qkv, None, None, None, None, None, None


def _masks(queries: torch.Tensor, T: int) -> list[torch.Tensor]:
    """Return, for each block of the (K) positions that query, a (k, t) mask of the t keys that they see at most.

    It is minus infinity where a position does not see another. Up to `LONG_ROW` tokens, there is one block.
    """
    blocks = queries.split(BLOCK if T > LONG_ROW else max(1, len(queries)))  # type: ignore[no-untyped-call]
    ends = [*(int(block[-1]) + 1 for block in blocks[:-1]), T]
    return [
        torch.zeros(len(block), end).masked_fill_(torch.arange(end) > block[:, None], -math.inf)
        for block, end in zip(blocks, ends, strict=True)
    ]


def _joined(blocks: list[torch.Tensor]) -> torch.Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 1)


def _rows_of(blocks: list[torch.Tensor]) -> list[slice]:
    """Return the rows of blocks, one below the other."""
    ends = list(accumulate(map(len, blocks)))
    return [slice(end - len(block), end) for end, block in zip(ends, blocks, strict=True)]


def _attention_probabilities(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
    """Compute the softmax of the scores.

    Powers of 2 without subtracting the maximum take a third of the time of torch's softmax for rows this short. Where
    they would leave the range of single precision, torch's softmax is used.
    """
    k = k.transpose(1, 2)
    att = torch.baddbmm(mask, q, k, alpha=scaling / math.log(2)).exp2_()
    sums = att.sum(2, keepdim=True)
    low, high = sums.aminmax()
    if low > 2.0**-100 and high < 2.0**100:
        return att.div_(sums)
    return torch.baddbmm(mask, q, k, alpha=scaling).softmax(2)


def _split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """(N, nh*hs) -> (nh, N, hs), in single precision."""
    return x.float().view(len(x), n_head, -1).transpose(0, 1).contiguous()


def _merge_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """(nh*B, K, hs) -> (B*K, nh*hs)."""
    return torch.cat(list(x.view(n_head, -1, x.shape[2])), 1)
