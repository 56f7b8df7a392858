"""Constrained generation of rows: each is valid and on its grid, within the bounds of the train rows and the caller's.

All rows of a batch are generated in parallel. Column names are forced; in a value, the head is evaluated over the
tokens that may come next in the column's trie, and those that lead out of the row's bounds are masked. The probability
that masking takes away is recorded, which makes rejection sampling and importance weights exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synth_assets.synthesizers.language_model.backbone import decoder_for
from synth_assets.synthesizers.language_model.encoders import ColumnEncoder, RowEncoder
from synth_assets.synthesizers.language_model.token_trie import PAD, TokenTrie, TrieLevel

NEG_INF = float("-inf")
UNREACHABLE = np.iinfo(np.int64).max
"""A code beyond the codes of any column."""


@dataclass(frozen=True)
class Bounds:
    """Bounds on the quantised values of a column.

    Parameters
    ----------
    low, high : numpy.ndarray
        Smallest and largest value of each row.
    excluded : numpy.ndarray, optional
        A value between them that the row may not have.
    """

    low: np.ndarray
    high: np.ndarray
    excluded: np.ndarray | None = None


class Generator:
    """Generator of rows.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    row_encoder : RowEncoder
        The encoder of the table.
    trie : TokenTrie
        The tokens of its rows.
    temperature : float
        Temperature of the softmax over the next token.
    """

    def __init__(self, model: Any, row_encoder: RowEncoder, trie: TokenTrie, *, temperature: float = 1.0) -> None:
        self.model, self.row_encoder, self.trie = model, row_encoder, trie
        self.device = next(model.parameters()).device
        self.levels = [
            [_Level.build(level, model.get_output_embeddings(), temperature) for level in column.levels]
            for column in trie.columns
        ]
        self.ragged = any((column.values == PAD).any() for column in trie.columns)

    @torch.inference_mode()
    def generate(self, n: int, bounds: Mapping[int, Bounds], *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Generate rows in parallel.

        Parameters
        ----------
        n : int
            Number of rows.
        bounds : mapping of int to Bounds
            By column index: bounds tighter than in the train rows. Equal bounds force a value.
        seed : int
            Seed of the random numbers.

        Returns
        -------
        quantised : numpy.ndarray
            (n, m) quantised rows.
        log_weights : numpy.ndarray
            (n) log of the probability that the model without bounds keeps them, given the tokens before; -inf if a row
            cannot keep them, and is not to be used. The first token does not count: it has the same probability in all
            rows with the same bounds.
        """
        random = torch.Generator(self.device).manual_seed(seed)
        quantised = np.zeros((n, len(self.row_encoder.columns)), np.int64)
        log_weights = torch.zeros(n, device=self.device)
        decoder = decoder_for(self.model, n, ragged=self.ragged, max_length=self.trie.max_length)
        for i, (column, encoder) in enumerate(zip(self.trie.columns, self.row_encoder.columns, strict=True)):
            decoder.prefill(column.prefix)
            offsets = encoder.offsets(quantised)
            train_bounds = Bounds(np.full(n, encoder.low), np.full(n, encoder.high))
            train_low, train_high, _ = self._to_codes(encoder, train_bounds, offsets)
            low, high, excluded = self._to_codes(encoder, bounds.get(i, train_bounds), offsets)
            low, high = torch.maximum(low, train_low), torch.minimum(high, train_high)
            low = low.masked_fill(low > high, UNREACHABLE)
            node = torch.zeros(n, dtype=torch.long, device=self.device)
            code = torch.zeros(n, dtype=torch.long, device=self.device)
            is_complete = torch.zeros(n, dtype=torch.bool, device=self.device)
            for depth, level in enumerate(self.levels[i]):
                logits = level.logits(decoder.forward())  # (n, u)
                first, last = level.code_range(node)  # (n, u) or (1, u)
                valid = (first <= high[:, None]) & (last >= low[:, None])
                if excluded is not None:
                    smallest, largest = torch.maximum(first, low[:, None]), torch.minimum(last, high[:, None])
                    valid &= (smallest < largest) | (smallest != excluded[:, None])
                masked = torch.where(valid, logits, NEG_INF)
                choice, is_stuck = _stratified_choice(masked, random)
                if i in bounds and (i or depth):
                    in_train = (first <= train_high[:, None]) & (last >= train_low[:, None])
                    kept = masked.logsumexp(1) - torch.where(in_train, logits, NEG_INF).logsumexp(1)
                    log_weights += torch.where(is_complete, 0.0, kept.nan_to_num(nan=NEG_INF, neginf=NEG_INF))
                else:
                    log_weights = log_weights.masked_fill(is_stuck & ~is_complete, NEG_INF)
                # A row that is stuck continues with any token, since all rows of a batch advance together.
                choice = torch.where(is_stuck, level.any_token[node], choice)
                decoder.append(level.tokens[choice], skip=is_complete)
                child = level.children[node, choice].clamp(min=0)
                code = torch.where(is_complete, code, level.first[child])
                is_complete = is_complete | level.is_terminal[child]
                node = torch.where(is_complete, 0, child)
            quantised[:, i] = code.cpu().numpy() * encoder.grid_step + offsets
        return quantised, log_weights.cpu().numpy().astype("float64")

    def _to_codes(
        self, encoder: ColumnEncoder, bounds: Bounds, offsets: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Convert bounds on the quantised values of a column to bounds on its codes."""
        step = encoder.grid_step
        low = torch.as_tensor(np.maximum(-((offsets - bounds.low) // step), 0), device=self.device)
        high = torch.as_tensor(np.minimum((bounds.high - offsets) // step, encoder.cardinality - 1), device=self.device)
        if bounds.excluded is None:
            return low, high, None
        code, remainder = np.divmod(bounds.excluded - offsets, step)
        return low, high, torch.as_tensor(np.where(remainder == 0, code, PAD), device=self.device)


@dataclass(frozen=True)
class _Level:
    """A level of a column's trie, with the part of the head that scores its tokens: k nodes, u tokens."""

    tokens: torch.Tensor  # these four as in `TrieLevel`
    children: torch.Tensor
    first: torch.Tensor
    is_terminal: torch.Tensor
    child_first: torch.Tensor  # (k, u) first and last code that a token leads to; an empty range if it leads nowhere
    child_last: torch.Tensor
    any_token: torch.Tensor  # (k) index of a token that leads on
    weight: torch.Tensor  # (C, u) weights of the head, divided by the temperature
    bias: torch.Tensor | None  # (u) bias of the head, divided by the temperature

    @classmethod
    def build(cls, level: TrieLevel, head: Any, temperature: float) -> "_Level":
        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, device=head.weight.device)

        exists = level.children != PAD
        bias = getattr(head, "bias", None)
        return cls(
            tokens=tensor(level.tokens),
            children=tensor(level.children),
            first=tensor(level.first),
            is_terminal=tensor(level.is_terminal),
            child_first=tensor(np.where(exists, level.first[level.children], UNREACHABLE)),
            child_last=tensor(np.where(exists, level.last[level.children], PAD)),
            any_token=tensor(exists.argmax(axis=1)),
            weight=head.weight.detach()[level.tokens].T.contiguous() / temperature,
            bias=None if bias is None else bias.detach()[level.tokens] / temperature,
        )

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Score the tokens, (n, u), from hidden states, (n, C)."""
        return (hidden @ self.weight if self.bias is None else torch.addmm(self.bias, hidden, self.weight)).float()

    def code_range(self, node: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first and last code that each token leads to from each row's node."""
        if len(self.child_first) == 1:
            return self.child_first, self.child_last
        return self.child_first[node], self.child_last[node]


def _stratified_choice(logits: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token for each row from logits, (n, u), by inversion of uniform numbers that are stratified over the rows.

    Each number is uniform and independent of the others of its row, so each row is a draw of the model; but the n
    numbers of one position lie in n different intervals of length 1/n: a Latin hypercube (McKay, Beckman and Conover,
    1979). Frequencies in a batch then vary less around the model's than in independent rows.

    Returns the index of each row's token, (n), and whether the row has no token to choose, (n).
    """
    n = len(logits)
    strata = torch.randperm(n, generator=random, device=logits.device)
    uniform = (strata + torch.rand(n, generator=random, device=logits.device, dtype=torch.float64)) / n
    cumulative = logits.softmax(1).cumsum(1, dtype=torch.float64)
    # Scaled by the last sum, which rounding may leave short of 1: a token of zero probability is never chosen.
    total = cumulative[:, -1]
    choice = torch.searchsorted(cumulative, (uniform * total)[:, None], right=True)[:, 0]
    return choice.clamp(max=logits.shape[1] - 1), total.isnan()
