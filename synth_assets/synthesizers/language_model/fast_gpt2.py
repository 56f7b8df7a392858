"""The GPT-2 that 'scratch' makes, by hand, for training on a CPU: transformers' function, and only what is asked for.

`decoding` has the same for rows that are written token by token.
"""

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

ALIKE = 64
"""Products of as many rows as some before are faster: for others, the kernels are chosen anew."""


def is_plain_gpt2(model: Any) -> bool:
    """Say whether a model is a GPT-2 without adapters or variants of attention, in single precision on a CPU."""
    return (
        not hasattr(model, "peft_config")
        and model.config.model_type == "gpt2"
        and model.device.type == "cpu"
        and next(model.parameters()).dtype == torch.float32
        and model.config.scale_attn_weights
        and not model.config.scale_attn_by_inverse_layer_idx
        and not model.config.add_cross_attention
    )


def hidden_states_at(model: "GPT2LMHeadModel", ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Give the last hidden states at some places of every row.

    - The first layer's queries, keys and values depend on a token and its place alone: they are made once for all rows
      that have the same, which of a batch of abalone's rows are nine tokens of ten.
    - What comes later depends on how a row begins: it is made once for neighbouring rows that begin alike. Of abalone's
      rows, sorted, it is a fifth of the tokens.
    - The last layer is left out at the other places, but for keys and values.
    - In training, the products with weights are in bfloat16 where the CPU has instructions for it; all else, and the
      weights themselves, stay in single precision (Micikevicius et al., 2018, section 3.1).

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
    (rows, tokens), vocabulary = ids.shape, inner.wte.num_embeddings
    precision = torch.bfloat16 if model.training and has_bfloat16() else torch.float32
    mask = torch.full((tokens, tokens), -math.inf).triu(1)
    inputs = (ids + vocabulary * torch.arange(tokens)).flatten()
    if model.training and max(model.config.embd_pdrop, model.config.attn_pdrop, model.config.resid_pdrop):
        which, anew = torch.arange(len(inputs)), torch.ones_like(ids, dtype=torch.bool)
    else:
        inputs, which = inputs.unique(return_inverse=True)
        anew = _begins_anew(ids)
    states = inner.drop(inner.wte(inputs % vocabulary) + inner.wpe(inputs // vocabulary))
    for block in inner.h:
        attn, mlp, asking = block.attn, block.mlp, which
        if block is inner.h[-1]:
            asking, anew, mask = which.view_as(ids)[:, places].flatten(), anew[:, places], mask[places]
        made = _linear(block.ln_1(states), attn.c_attn, precision)
        attended = _Attention.apply(  # type: ignore[no-untyped-call]
            made, asking, which, mask, attn.num_heads, attn.scaling, attn.attn_dropout
        )
        which, first = _numbered(anew)
        change = attn.resid_dropout(_linear(attended.index_select(0, first), attn.c_proj, precision))
        states = states.index_select(0, asking.index_select(0, first)) + change
        inside = _linear(block.ln_2(states), mlp.c_fc, precision)
        active = _Relu.apply(inside) if isinstance(mlp.act, torch.nn.ReLU) else mlp.act(inside)  # type: ignore[no-untyped-call]
        states = states + mlp.dropout(_linear(active, mlp.c_proj, precision))
    last: torch.Tensor = inner.ln_f(states)
    return last.index_select(0, which).view(rows, len(places), -1)


def _begins_anew(ids: torch.Tensor) -> torch.Tensor:
    """Say of each place whether a row has, up to there, other tokens than the row before it."""
    anew = torch.ones_like(ids, dtype=torch.bool)
    anew[1:] = (ids[1:] != ids[:-1]).cumsum(1) > 0
    return anew


def _numbered(anew: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the places of rows a number where they begin anew; the others have that of the place above them.

    Parameters
    ----------
    anew : torch.Tensor
        n by k; as `_begins_anew` says, true in the first row.

    Returns
    -------
    which : torch.Tensor
        The number of each of the n * k places.
    first : torch.Tensor
        The place that has each number first. The last are there to make their count a multiple of `ALIKE`.
    """
    numbers = anew.flatten().cumsum(0).sub_(1).view_as(anew)
    first = anew.flatten().nonzero()[:, 0]
    return (numbers * anew).cummax(0).values.flatten(), torch.cat([first, first[:1].expand(-len(first) % ALIKE)])


def has_bfloat16() -> bool:
    """Say whether the CPU multiplies matrices in bfloat16 faster than in single precision."""
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _linear(states: torch.Tensor, layer: Any, precision: torch.dtype) -> torch.Tensor:
    product: torch.Tensor = _Linear.apply(states, layer.weight, layer.bias, precision)  # type: ignore[no-untyped-call]
    return product


# Backward passes by hand: for matrices so small, autograd copies and launches for longer than it multiplies.


class _Linear(torch.autograd.Function):
    """A product with weights, and a bias added, in some precision."""

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype
    ) -> torch.Tensor:
        ctx.of_states = states.dtype
        states, weight = states.to(precision), weight.to(precision)
        ctx.save_for_backward(states, weight)
        return torch.addmm(bias.to(precision), states, weight)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        states, weight = ctx.saved_tensors
        return (slope @ weight.t()).to(ctx.of_states), (states.t() @ slope).float(), slope.sum(0).float(), None


class _Relu(torch.autograd.Function):
    """A rectifier that does without arithmetic: numbers of bfloat16 have the sign of the integers of the same bits."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor) -> torch.Tensor:
        _bits(states).clamp_(min=0)
        ctx.mark_dirty(states)
        ctx.save_for_backward(states)
        return states

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        (active,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(_bits(slope), _bits(active), 0).view(slope.dtype)


def _bits(states: torch.Tensor) -> torch.Tensor:
    return states.view(torch.int16 if states.dtype == torch.bfloat16 else torch.int32)


class _Attention(torch.autograd.Function):
    """Attention of a layer, in single precision.

    It is products of matrices, a head of all rows after the other; for rows of twenty tokens that is faster on a CPU
    than torch's kernel for long ones.
    """

    @staticmethod
    def forward(
        ctx: Any,
        made: torch.Tensor,
        asking: torch.Tensor,
        seen: torch.Tensor,
        mask: torch.Tensor,
        heads: int,
        scaling: float,
        dropout: Any,
    ) -> torch.Tensor:
        """Give what is attended to, n * k by width.

        Parameters
        ----------
        ctx : object
            Autograd's.
        made : torch.Tensor
            s by 3 * width: queries, keys and values of the states that differ.
        asking, seen : torch.Tensor
            n * k and n * t: which of them are at the places that ask, and at all.
        mask : torch.Tensor
            k by t: minus infinity where a place does not see another.
        heads : int
            Of attention.
        scaling : float
            Of the scores.
        dropout : torch.nn.Dropout
            Of the shares.
        """
        queries, keys, values = (
            part.index_select(1, which).view(-1, places, part.shape[2])
            for part, which, places in zip(
                torch.split(_by_head(made, 3 * heads), heads),
                (asking, seen, seen),
                (*mask.shape, mask.shape[1]),
                strict=True,
            )
        )
        shares = _shares(queries, keys, mask, scaling)
        kept = None
        if dropout.training and dropout.p:
            kept = torch.empty_like(shares).bernoulli_(1 - dropout.p) / (1 - dropout.p)
        ctx.save_for_backward(queries, keys, values, shares, kept, asking, seen)
        ctx.states, ctx.scaling = len(made), scaling
        return _by_row(torch.bmm(shares if kept is None else shares * kept, values), heads).to(made.dtype)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        queries, keys, values, shares, kept, asking, seen = ctx.saved_tensors
        states, precision = ctx.states, slope.dtype
        heads = slope.shape[1] // queries.shape[2]
        slope = _by_head(slope, heads).view_as(queries)
        of_shares = torch.bmm(slope, values.transpose(1, 2))
        if kept is not None:
            of_shares *= kept
        of_scores = torch._softmax_backward_data(of_shares, shares, 2, torch.float32)
        slopes = (
            torch.baddbmm(queries, of_scores, keys, beta=0, alpha=ctx.scaling),
            torch.baddbmm(keys, of_scores.transpose(1, 2), queries, beta=0, alpha=ctx.scaling),
            torch.bmm((shares if kept is None else shares * kept).transpose(1, 2), slope),
        )
        of_made = torch.cat(
            [
                part.new_zeros(states, part.shape[2] * heads).index_add_(0, which, _by_row(part, heads)).to(precision)
                for part, which in zip(slopes, (asking, seen, seen), strict=True)
            ],
            1,
        )
        return of_made, None, None, None, None, None, None


def _shares(queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
    """Give the softmax of the scores.

    By powers of 2, and without the maximum taken off, it takes a third of the time of torch's for rows so short; where
    the powers would leave the range of the numbers, it is torch's.
    """
    keys = keys.transpose(1, 2)
    shares = torch.baddbmm(mask, queries, keys, alpha=scaling / math.log(2)).exp2_()
    sums = shares.sum(2, keepdim=True)
    least, most = sums.aminmax()
    if least > 2.0**-100 and most < 2.0**100:
        return shares.div_(sums)
    return torch.baddbmm(mask, queries, keys, alpha=scaling).softmax(2)


def _by_head(states: torch.Tensor, heads: int) -> torch.Tensor:
    """Give states by heads * size as heads by states by size, in single precision."""
    return states.float().view(len(states), heads, -1).transpose(0, 1).contiguous()


def _by_row(states: torch.Tensor, heads: int) -> torch.Tensor:
    """Give heads * n by k by size as n * k by heads * size."""
    return torch.cat(list(states.view(heads, -1, states.shape[2])), 1)
