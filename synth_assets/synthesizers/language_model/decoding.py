"""What a language model makes of rows under way, token by token: the hidden state that the next token is drawn from.

`decoder_for` chooses: a GPT-2 on a CPU, which is what 'scratch' makes, goes by hand, any other model by transformers
with a key-value cache. Both give the same states but for rounding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import layer_norm

from synth_assets.synthesizers.language_model.fast_gpt2 import has_bfloat16, is_plain_gpt2
from synth_assets.synthesizers.language_model.loss import backbone

SHARED = 2
"""Rows that begin alike go through the model once while there are at least so many rows to each beginning."""


class Decoder(ABC):
    """Rows under way, all of one length.

    Parameters
    ----------
    rows : int
        How many.
    device : torch.device
        Where the model is.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self.rows, self.device = rows, device
        self.waiting: list[torch.Tensor] = []

    def force(self, ids: list[int]) -> None:
        """Append the same tokens to every row."""
        for token in ids:
            self.append(torch.full((self.rows,), token, device=self.device))

    def append(self, ids: torch.Tensor, skip: torch.Tensor | None = None) -> None:
        """Append a token to every row, but for rows to be skipped: there, nothing that comes later sees it."""
        del skip
        self.waiting.append(ids)

    @abstractmethod
    def hidden(self) -> torch.Tensor:
        """Send what is waiting through the model, and give the last token's hidden state, rows by width."""


def decoder_for(model: Any, rows: int, *, ragged: bool, longest: int) -> Decoder:
    """Begin rows with a model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    rows : int
        How many rows are written side by side.
    ragged : bool
        Whether rows may be skipped in `append`.
    longest : int
        The most tokens that a row can have.

    Returns
    -------
    Decoder
        With nothing written yet.
    """
    if is_plain_gpt2(model) and not ragged:
        return _Gpt2(model.transformer, rows, longest)
    from synth_assets.synthesizers.language_model.cached_decoding import CachedDecoder

    return CachedDecoder(backbone(model), rows, next(model.parameters()).device, ragged=ragged, longest=longest)


@dataclass(frozen=True)
class _Block:
    """A layer: its biases and weights, in some precision, as `torch.addmm` wants them.

    Queries, keys and values are products with rows on the right.
    """

    norms: list[tuple[torch.Tensor, torch.Tensor, float]]
    query: list[torch.Tensor]
    key_value: list[torch.Tensor]
    out: list[torch.Tensor]
    inside: list[torch.Tensor]
    active: Callable[[torch.Tensor], torch.Tensor]
    back: list[torch.Tensor]

    @classmethod
    def of(cls, block: Any, precision: torch.dtype) -> "_Block":
        attn, mlp = block.attn, block.mlp
        bias, weight = attn.c_attn.bias[:, None], attn.c_attn.weight.T
        width = attn.embed_dim
        products = (
            (bias[:width] * attn.scaling, weight[:width] * attn.scaling),
            (bias[width:], weight[width:]),
            *((layer.bias, layer.weight) for layer in (attn.c_proj, mlp.c_fc, mlp.c_proj)),
        )
        query, key_value, out, inside, back = ([part.to(precision).contiguous() for part in each] for each in products)
        norms = [(norm.weight, norm.bias, norm.eps) for norm in (block.ln_1, block.ln_2)]
        return cls(norms, query, key_value, out, inside, mlp.act, back)


class _Gpt2(Decoder):
    """A GPT-2 by hand, with what the generic one cannot know.

    - Rows that begin alike go through the model once: of abalone's rows, written with `Rings` and `Sex` first, that is
      a fifth of the arithmetic.
    - Of tokens after which the next one is forced, the last layer gives keys and values and nothing else.
    - Products with weights are in bfloat16 where the CPU has instructions for it, as in training.
    - Keys and values lie with all rows of a token side by side, so that attending from one token of many rows is a few
      long vector operations; torch's kernels for a CPU go through one head of one row after the other.
    """

    def __init__(self, inner: Any, rows: int, longest: int) -> None:
        super().__init__(rows, torch.device("cpu"))
        self.inner, self.longest = inner, longest
        self.heads = inner.config.n_head
        self.precision = torch.bfloat16 if has_bfloat16() else torch.float32
        self.blocks = [_Block.of(block, self.precision) for block in inner.h]
        self.length = 0
        # Beginnings of rows: which of them each row has. None once each row goes its own way.
        self.beginning: torch.Tensor | None = torch.zeros(rows, dtype=torch.long)
        self.past = [self._room(1) for _ in self.blocks]

    def _room(self, rows: int) -> torch.Tensor:
        return torch.empty(self.longest, 2 * self.inner.embed_dim, rows)

    def force(self, ids: list[int]) -> None:
        self.waiting += [torch.tensor([token]) for token in ids]

    def hidden(self) -> torch.Tensor:
        waiting, self.waiting = self._distinct(self.waiting), []
        start, self.length = self.length, self.length + len(waiting)
        # Of a token that is forced, one row stands for all until they attend to what differs.
        states = [self.inner.wte(ids) + self.inner.wpe.weight[place] for place, ids in enumerate(waiting, start=start)]
        for block, past in zip(self.blocks, self.past, strict=True):
            normed = [self._normed(each, block.norms[0]) for each in states]
            bias, weight = block.key_value
            for place, each in enumerate(normed, start=start):
                past[place] = torch.addmm(bias, weight, each.T)
            if past is self.past[-1]:
                states, normed = states[-1:], normed[-1:]
            bias, weight = block.query
            for place, each in enumerate(normed):
                end = self.length - len(normed) + place + 1
                attended = self._attended(torch.addmm(bias, weight, each.T).float(), past[:end]).T
                state = states[place] + _product(attended.to(self.precision), block.out)
                inside = block.active(_product(self._normed(state, block.norms[1]), block.inside))
                states[place] = state + _product(inside, block.back)
        found: torch.Tensor = self.inner.ln_f(states[0])
        return found if self.beginning is None else found[self.beginning]

    def _normed(self, states: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor, float]) -> torch.Tensor:
        return layer_norm(states, states.shape[-1:], *norm).to(self.precision)

    def _attended(self, query: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        """Attend from a token, width by rows, to all before it and itself, tokens by twice the width by rows."""
        tokens, _, rows = past.shape
        keys, values = past.view(tokens, 2, self.heads, -1, rows).unbind(1)
        scores = (query.view(1, self.heads, -1, query.shape[1]) * keys).sum(2)
        return (scores.softmax(0)[:, :, None] * values).sum(0).view(-1, rows)

    def _distinct(self, waiting: list[torch.Tensor]) -> list[torch.Tensor]:
        """Give the tokens that are waiting for each beginning once, and make room for as many."""
        drawn = [ids for ids in waiting if len(ids) == self.rows]
        if self.beginning is None or not drawn:
            return waiting
        before = self.beginning
        for ids in drawn:
            told = self.beginning * self.inner.wte.num_embeddings + ids
            found, self.beginning = torch.unique(told, return_inverse=True)
        rows = len(found)
        if rows * SHARED > self.rows:
            rows, self.beginning = self.rows, None
            one_of = torch.arange(rows)
        else:
            one_of = torch.empty(rows, dtype=torch.long).scatter_(0, self.beginning, torch.arange(self.rows))
        for layer, past in enumerate(self.past):
            room = self._room(rows)
            torch.index_select(past[: self.length], 2, before[one_of], out=room[: self.length])
            self.past[layer] = room
        return [ids[one_of] if len(ids) == self.rows else ids for ids in waiting]


def _product(states: torch.Tensor, layer: list[torch.Tensor]) -> torch.Tensor:
    bias, weight = layer
    return torch.addmm(bias, states, weight)
