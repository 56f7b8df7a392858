"""Constrained generation of rows: each is valid and on its grid, within the bounds of the train rows and the caller's.

All rows of a batch are generated in parallel. Column names are forced; in a value, the head is evaluated over the
tokens that may come next in the part's trie, and those that lead out of the row's bounds are masked. The probability
that masking takes away is recorded, which makes rejection sampling and importance weights exact.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from synth_assets.synthesizers.language_model.backbone import decoder_for
from synth_assets.synthesizers.language_model.bounds import Bounds, Support, on_device, support_of
from synth_assets.synthesizers.language_model.decoding import Decoder
from synth_assets.synthesizers.language_model.encoders import MISSING, RowEncoder
from synth_assets.synthesizers.language_model.layers import replace_layers
from synth_assets.synthesizers.language_model.token_trie import PAD, PartTokens, TokenTrie, TrieLevel
from synth_assets.synthesizers.language_model.training import derive_seed

NEG_INF = float("-inf")
UNREACHABLE = np.iinfo(np.int64).max
"""An index beyond those of any part."""


class Generator:
    """Generator of rows.

    On a GPU, a copy of the model in bfloat16 computes the states of the rows; the tokens are scored in the model's own
    precision.

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
        if self.device.type == "cuda":
            self.model = in_bfloat16(model)
            replace_layers(self.model)
        built: dict[int, list[_Level]] = {}  # by the slot of a part, which parts that are alike have in common
        for part in (part for column in trie.columns for part in column.parts):
            if part.first_slot not in built:
                built[part.first_slot] = [
                    _Level.build(level, model.get_output_embeddings(), temperature) for level in part.levels
                ]
        self.levels = built

    @torch.inference_mode()
    def generate(self, n: int, bounds: Mapping[int, Bounds], *, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Generate rows in parallel.

        Parameters
        ----------
        n : int
            Number of rows.
        bounds : mapping of int to Bounds
            By column index: bounds tighter than in the train rows.
        seeds : sequence of int
            Seeds of the random numbers, each of an equal share of the rows, one share after another. The rows of a
            share depend on its own seed, and on the others by rounding alone.

        Returns
        -------
        quantised : numpy.ndarray
            (n, `n_cells`) quantised rows.
        log_weights : numpy.ndarray
            (n) log of the probability that the model without bounds keeps them, given the tokens before; -inf if a row
            cannot keep them, and is not to be used. The first token does not count: it has the same probability in all
            rows with the same bounds.
        """
        randoms = [torch.Generator().manual_seed(seed) for seed in seeds]
        values = _Values(n, self.row_encoder, self.trie, bounds, self.device)
        log_weights = torch.zeros(n, device=self.device)
        decoder = decoder_for(self.model, n, ragged=self.trie.is_ragged, max_length=self.trie.max_length)
        for i, column in enumerate(self.trie.columns):
            decoder.prefill(column.prefix)
            has_ended = torch.zeros(n, dtype=torch.bool, device=self.device)
            for position, part in enumerate(column.parts):
                if position and has_ended.all():
                    self._fill(decoder, part, n, has_ended)
                    continue
                masks = partial(values.masks, i, position)
                index, kept = self._choose(decoder, part, masks, has_ended, randoms, 0 if i or position else 1)
                log_weights += kept
                values.choose(position, index)
                has_ended = has_ended | (index < part.n_ending) if part.n_ending else has_ended
        return values.quantised(), log_weights.cpu().numpy().astype("float64")

    def _choose(
        self,
        decoder: Decoder,
        part: PartTokens,
        masks: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        has_ended: torch.Tensor,
        randoms: Sequence[torch.Generator],
        n_uncounted: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the index of a part in each row, (n), and append its tokens.

        `masks` returns, each (n, K) or (1, K), the indices of valid rows, and those within the bounds too. It is called
        after the model, so that a GPU computes states while the CPU computes masks. Also returned, for each row, is the
        log of the share of the probability of valid rows that is within the bounds, without the first `n_uncounted`
        tokens; -inf if there was no index to choose.
        """
        n = len(has_ended)
        node = torch.zeros(n, dtype=torch.long, device=self.device)
        index = torch.zeros(n, dtype=torch.long, device=self.device)
        kept = torch.zeros(n, device=self.device)
        is_complete = has_ended
        levels = self.levels[part.first_slot]
        limits: _Limits | None = None
        for depth, level in enumerate(levels):
            if level.is_forced:  # appended without a look at the states before it
                choice = torch.zeros_like(node)
            else:
                hidden = decoder.forward()
                limits = limits or _Limits.of(masks(), levels)
                logits = level.logits(hidden)  # (n, u)
                masked = torch.where(level.leads_to(limits.allowed, limits.n_allowed, node), logits, NEG_INF)
                choice, is_stuck = _stratified_choice(masked, randoms)
                # A row that is stuck continues with any token, since all rows of a batch advance together.
                choice = torch.where(is_stuck, level.any_token[node], choice)
                if limits.allowed is not limits.in_train and depth >= n_uncounted:
                    valid = torch.where(level.leads_to(limits.in_train, limits.n_in_train, node), logits, NEG_INF)
                    share = (masked.logsumexp(1) - valid.logsumexp(1)).nan_to_num(nan=NEG_INF, neginf=NEG_INF)
                    kept += torch.where(is_complete, 0.0, share)
            token = level.tokens[choice]
            if self.trie.fills:
                token = torch.where(is_complete, self.trie.end, token)
            decoder.append(token, skip=is_complete)
            child = level.children[node, choice].clamp(min=0)
            index = torch.where(is_complete, index, level.first[child])
            is_complete = is_complete | level.is_terminal[child]
            node = torch.where(is_complete, 0, child)
        allowed = limits.allowed if limits else masks()[1]
        is_allowed = allowed.expand(n, -1).gather(1, index[:, None])[:, 0]
        return torch.where(has_ended, -1, index), kept.masked_fill(~is_allowed & ~has_ended, NEG_INF)

    def _fill(self, decoder: Decoder, part: PartTokens, n: int, has_ended: torch.Tensor) -> None:
        """Append what stands for a part that no row has."""
        if self.trie.fills:
            decoder.prefill([self.trie.end] * len(part.levels))
        else:
            for _ in part.levels:
                decoder.append(torch.full((n,), self.trie.end, device=self.device), skip=has_ended)


class _Values:
    """The values of n rows that are generated column by column, and the indices that the next part may have.

    What depends on the values before a column is computed when its first masks are asked for.
    """

    def __init__(
        self, n: int, row_encoder: RowEncoder, trie: TokenTrie, bounds: Mapping[int, Bounds], device: torch.device
    ) -> None:
        self.row_encoder, self.trie, self.bounds, self.device = row_encoder, trie, bounds, device
        self.rows = np.full((n, row_encoder.n_cells), MISSING, np.int64)
        self.supports: list[Support] = []

    def masks(self, i: int, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the masks of a part of column i, the present one or the one after it; see `Support.masks`."""
        if i == len(self.supports):
            rows = self.quantised()
            self.supports.append(support_of(self.row_encoder, i, rows, self.bounds.get(i), self.device))
        return self.supports[i].masks(position)

    def choose(self, position: int, index: torch.Tensor) -> None:
        """Record the index of a part of the present column in each row, (n)."""
        self.supports[-1].choose(position, index)

    def quantised(self) -> np.ndarray:
        """Return the quantised rows, (n, `n_cells`), up to the present column, which is complete."""
        if self.supports:
            i = len(self.supports) - 1
            indices, encoder = self.supports[i].chosen(len(self.trie.columns[i].parts)), self.row_encoder.all_columns[i]
            self.rows[:, self.row_encoder.cells_of(i)] = encoder.from_indices(self.rows, indices)
        return self.rows


class EnsembleGenerator:
    """A generator of rows of several models, each of which generates an equal share of them.

    Rows are then draws of the mean of the models' distributions (Lakshminarayanan, Pritzel and Blundell, *Simple and
    Scalable Predictive Uncertainty Estimation using Deep Ensembles*, 2017, section 2.4), at the cost of one model.

    Parameters
    ----------
    generators : sequence of Generator
        One for each model, of the same encoder.
    """

    def __init__(self, generators: Sequence[Generator]) -> None:
        self.generators = generators

    def generate(self, n: int, bounds: Mapping[int, Bounds], *, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Generate rows as `Generator.generate` does: of each share, row i is of model i modulo their number."""
        model_of_row = np.tile(np.arange(n // len(seeds)) % len(self.generators), len(seeds))
        quantised = np.full((n, self.generators[0].row_encoder.n_cells), MISSING, np.int64)
        log_weights = np.zeros(n)
        for number, generator in enumerate(self.generators):
            rows = np.flatnonzero(model_of_row == number)
            if len(rows):
                own_bounds = {i: each.select(rows) for i, each in bounds.items()}
                own_seeds = [derive_seed(seed, number) for seed in seeds] if number else seeds
                quantised[rows], log_weights[rows] = generator.generate(len(rows), own_bounds, seeds=own_seeds)
        return quantised, log_weights


def in_bfloat16(model: Any) -> Any:
    """Return a copy of a model with its weights in bfloat16; what it keeps beside them stays as it is."""
    weights = {id(each): torch.nn.Parameter(each.detach().to(torch.bfloat16), False) for each in model.parameters()}
    return deepcopy(model, weights)  # in place of the weights, without a copy of them


@dataclass(frozen=True)
class _Limits:
    """The indices of a part that rows may have, (n, K) or (1, K), and how many of them come before each.

    `in_train` are those of valid rows, `allowed` those within the bounds too; the same object where there are none.
    """

    in_train: torch.Tensor
    allowed: torch.Tensor
    n_in_train: torch.Tensor
    n_allowed: torch.Tensor

    @classmethod
    def of(cls, masks: tuple[torch.Tensor, torch.Tensor], levels: "Sequence[_Level]") -> "_Limits":
        in_train, allowed = masks
        n_allowed = _cumulative(allowed, levels)
        return cls(in_train, allowed, n_allowed if allowed is in_train else _cumulative(in_train, levels), n_allowed)


@dataclass(frozen=True)
class _Level:
    """A level of a column's trie, with the part of the head that scores its tokens: k nodes, u tokens."""

    tokens: torch.Tensor  # these four as in `TrieLevel`
    children: torch.Tensor
    first: torch.Tensor
    is_terminal: torch.Tensor
    child_first: torch.Tensor  # (k, u) first and last index that a token leads to; an empty range if it leads nowhere
    child_last: torch.Tensor
    any_token: torch.Tensor  # (k) index of a token that leads on
    weight: torch.Tensor  # (C, u) weights of the head, divided by the temperature
    bias: torch.Tensor | None  # (u) bias of the head, divided by the temperature
    is_last: bool  # whether this is the only level, so that each token stands for one index

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
            is_last=len(level.children) == 1 and bool(level.is_terminal.all()),
        )

    @property
    def is_forced(self) -> bool:
        """Whether there is one token, such as the space before a number or its decimal point."""
        return len(self.tokens) == 1

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Score the tokens, (n, u), from hidden states, (n, C)."""
        hidden = hidden.to(self.weight.dtype)
        return (hidden @ self.weight if self.bias is None else torch.addmm(self.bias, hidden, self.weight)).float()

    def leads_to(self, allowed: torch.Tensor, counts: torch.Tensor, node: torch.Tensor) -> torch.Tensor:
        """Return, for each row's node, whether each token leads to an index that is allowed: (n, u) or (1, u).

        Parameters
        ----------
        allowed, counts : torch.Tensor
            (n, K) or (1, K) whether each index is allowed; and, of a part with several levels, how many of those before
            each are, (n, K + 1) or (1, K + 1).
        node : torch.Tensor
            (n) each row's node of the level.
        """
        if self.is_last:
            # Each token leads to one index.
            return allowed[:, self.child_first[0]]
        counts = counts.expand(len(node), -1)
        first, last = self.child_first[node], self.child_last[node]  # (n, u)
        exists = last >= 0
        last = last.clamp(min=0) + 1
        return exists & (counts.gather(1, last) > counts.gather(1, first.clamp(max=counts.shape[1] - 1)))


def _cumulative(allowed: torch.Tensor, levels: Sequence[_Level]) -> torch.Tensor:
    return allowed if levels[0].is_last else torch.nn.functional.pad(allowed.cumsum(1), (1, 0))


def _stratified_choice(logits: torch.Tensor, randoms: Sequence[torch.Generator]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token for each row from logits, (n, u), by inversion of uniform numbers that are stratified over the rows.

    Each number is uniform and independent of the others of its row, so each row is a draw of the model; but the m
    numbers that a generator draws for one position lie in m different intervals of length 1/m: a Latin hypercube
    (McKay, Beckman and Conover, 1979). Frequencies in its share of the rows then vary less around the model's than in
    independent rows.

    Returns the index of each row's token, (n), and whether the row has no token to choose, (n).
    """
    m = len(logits) // len(randoms)
    # Drawn by the CPU, which needs less time for a few numbers than a GPU for its launches.
    strata = [torch.randperm(m, generator=random) for random in randoms]
    within = [torch.rand(m, generator=random, dtype=torch.float64) for random in randoms]
    uniform = on_device((torch.cat(strata) + torch.cat(within)) / m, logits.device)
    cumulative = logits.softmax(1).cumsum(1, dtype=torch.float64)
    # Scaled by the last sum, which rounding may leave short of 1: a token of zero probability is never chosen.
    total = cumulative[:, -1]
    choice = torch.searchsorted(cumulative, (uniform * total)[:, None], right=True)[:, 0]
    return choice.clamp(max=logits.shape[1] - 1), total.isnan()
