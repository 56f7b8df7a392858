"""Negative log-likelihood of tokenised rows, over the tokens that are valid at each position."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synth_assets.synthesizers.language_model.backbone import hidden_states_at
from synth_assets.synthesizers.language_model.token_trie import TokenTrie


@dataclass(frozen=True)
class TokenBatch:
    """Tokenised rows.

    Parameters
    ----------
    ids : torch.Tensor
        (n, T) token ids; these three in 32 bits, but in 64, as operations expect, once rows are selected.
    slots : torch.Tensor
        (n, T) index in `candidates` of the set that a token is chosen from; -1 where it is fixed.
    targets : torch.Tensor
        (n, T) index of the token in that set; 0 where it is fixed.
    candidates : list of torch.Tensor
        Sets of token ids.
    """

    ids: torch.Tensor
    slots: torch.Tensor
    targets: torch.Tensor
    candidates: list[torch.Tensor]

    @classmethod
    def build(cls, trie: TokenTrie, indices: np.ndarray) -> "TokenBatch":
        """Tokenise encoded rows, (n, p)."""
        ids, slots, targets = map(torch.as_tensor, trie.tokenise(indices))
        return cls(ids, slots, targets, [torch.as_tensor(tokens) for tokens in trie.candidates])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> torch.Tensor:
        """(n) number of tokens of each row, up to the last one that is not fixed."""
        positions = torch.arange(1, self.slots.shape[1] + 1, device=self.slots.device)
        return ((self.slots >= 0) * positions).amax(1)

    def trimmed(self) -> "TokenBatch":
        """Return the rows without the tokens after the longest row."""
        end = int(self.lengths.max())
        return TokenBatch(self.ids[:, :end], self.slots[:, :end], self.targets[:, :end], self.candidates)

    def select(self, rows: torch.Tensor) -> "TokenBatch":
        """Return some of the rows, by their indices, which may be on any device."""
        rows = rows.to(self.ids.device)
        ids, slots, targets = (part.index_select(0, rows).long() for part in (self.ids, self.slots, self.targets))
        return TokenBatch(ids, slots, targets, self.candidates)

    def to(self, device: torch.device) -> "TokenBatch":
        """Return the rows on a device."""
        ids, slots, targets = (part.to(device) for part in (self.ids, self.slots, self.targets))
        return TokenBatch(ids, slots, targets, [tokens.to(device) for tokens in self.candidates])


def negative_log_likelihood(model: Any, batch: TokenBatch) -> torch.Tensor:
    """Compute the negative log-likelihood of rows under a model that sees only valid tokens, as in generation.

    The result is a scalar in nats: the sum over all rows and all tokens that are not fixed. The rows stay in main
    memory: what the model needs of them is copied to its device while the device computes, and nothing waits for it.
    """
    device = next(model.parameters()).device
    sizes = [len(tokens) for tokens in batch.candidates]
    slots = batch.slots[:, 1:]
    has_choice = torch.tensor([*(size > 1 for size in sizes), False])[slots]  # the last one for -1
    if has_choice.any():
        slots = slots.where(has_choice, -1)
    positions = (slots >= 0).any(0).nonzero()[:, 0]  # whose next token is not fixed in some row
    ids = batch.ids[:, : int(positions.max()) + 1]
    slots = slots[:, positions].flatten()
    by_slot = slots.argsort(stable=True)
    counts = (slots + 1).bincount(minlength=len(batch.candidates) + 1).tolist()  # of -1, slot 0, slot 1, ...
    rows = by_slot[counts[0] :]
    targets = batch.targets[:, 1:].index_select(1, positions).flatten()[rows]
    ids, positions, rows, targets, candidates = (
        _to_device(part, device) for part in (ids, positions, rows, targets, torch.cat(batch.candidates))
    )
    hidden = hidden_states_at(model, ids, positions).flatten(0, 1)  # (n*K, C)
    head = model.get_output_embeddings()
    states, weights = hidden.index_select(0, rows), head.weight.index_select(0, candidates)
    if getattr(head, "bias", None) is not None:
        states = torch.cat([states, states.new_ones(len(states), 1)], 1)
        weights = torch.cat([weights, head.bias.index_select(0, candidates)[:, None]], 1)
    loss: torch.Tensor = _SlotCrossEntropy.apply(states, weights, targets, counts[1:], sizes)  # type: ignore[no-untyped-call]
    return loss


def _to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return tensor.contiguous().pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class _SlotCrossEntropy(torch.autograd.Function):
    """Cross-entropy, summed over slots with candidates of their own, in single precision.

    Gradients are computed in the forward pass, in a third of the operations that autograd takes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,  # (N, C), slot after slot
        weights: torch.Tensor,  # (V, C) rows of the head for the candidates, slot after slot
        targets: torch.Tensor,  # (N) index of the true token among its slot's candidates
        counts: list[int],  # states of each slot
        sizes: list[int],  # candidates of each slot
    ) -> torch.Tensor:
        ctx.dtypes = states.dtype, weights.dtype
        states, weights, targets = states.float(), weights.float(), targets[:, None]
        d_states, d_weights = torch.empty_like(states), torch.empty_like(weights)
        minus_one = -torch.ones_like(states[:, :1])
        log_likelihoods = []
        for state, target, minus, d_state, weight, d_weight in zip(
            *(torch.split(each, counts) for each in (states, targets, minus_one, d_states)),
            *(torch.split(each, sizes) for each in (weights, d_weights)),
            strict=True,
        ):
            if not len(state):
                d_weight.zero_()
                continue
            log_probabilities = torch.mm(state, weight.t()).float().log_softmax(1)
            log_likelihoods.append(log_probabilities.gather(1, target))
            if any(ctx.needs_input_grad):
                d_logits = log_probabilities.exp_().scatter_add_(1, target, minus)
                torch.mm(d_logits, weight, out=d_state)
                torch.mm(d_logits.t(), state, out=d_weight)
        ctx.save_for_backward(d_states, d_weights)
        return -torch.cat(log_likelihoods).sum()

    @staticmethod
    def backward(ctx: Any, d_loss: torch.Tensor) -> Any:
        d_states, d_weights = (
            (d_loss * saved).to(dtype) for saved, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return d_states, d_weights, None, None, None
