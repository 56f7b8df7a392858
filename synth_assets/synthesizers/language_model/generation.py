"""Rows written by a model, each valid and on its grid: names forced, and only values of the table within reach.

All rows of a shard are written side by side. In a value, the head is evaluated over the
tokens that may come next in the column's trie and nothing else. A row's limits, column by column, are the values that
the train rows have, tightened by what was asked for; how much of the model's probability they leave is counted, which
makes rejection and importance weights exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synth_assets.synthesizers.language_model.decoding import decoder_for
from synth_assets.synthesizers.language_model.row_encoder import CategoricalEncoder, RowEncoder
from synth_assets.synthesizers.language_model.tokens import PAD, TokenTrie, TrieLevel

NEVER = float("-inf")
BEYOND = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Bounds:
    """What rows may have in a column.

    Parameters
    ----------
    low, high : numpy.ndarray
        For each row the least and the greatest unit (for a category, label by position).
    excluded : numpy.ndarray, optional
        For each row a unit in between that it may not have.
    """

    low: np.ndarray
    high: np.ndarray
    excluded: np.ndarray | None = None


class Generator:
    """Writes rows with a model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    row_encoder : RowEncoder
        The table's row_encoder.
    tokens : TokenTrie
        Its tokens.
    temperature : float
        Of the softmax over the next token.
    """

    def __init__(self, model: Any, row_encoder: RowEncoder, tokens: TokenTrie, *, temperature: float = 1.0) -> None:
        self.model, self.row_encoder, self.tokens = model, row_encoder, tokens
        self.device = next(model.parameters()).device
        head = model.get_output_embeddings()
        bias = getattr(head, "bias", None)
        self.heads = [
            [
                (
                    head.weight.detach()[level.options].T.contiguous() / temperature,
                    None if bias is None else bias.detach()[level.options] / temperature,
                )
                for level in column.levels
            ]
            for column in tokens.columns
        ]
        self.steps = [[_Step.of(level, self.device) for level in column.levels] for column in tokens.columns]
        self.ragged = any((column.values == PAD).any() for column in tokens.columns)

    @torch.inference_mode()
    def write(self, n: int, asked: dict[int, Bounds], *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Write rows side by side.

        Parameters
        ----------
        n : int
            How many.
        asked : dict of int to Bounds
            By position of the column: what is asked for beyond the limits of the train rows. A column whose low and
            high are the same is given.
        seed : int
            Of the draws.

        Returns
        -------
        units : numpy.ndarray
            n by m rows in units.
        weights : numpy.ndarray
            For each row, the log of the probability that the model, asked for nothing, keeps to what was asked for,
            given what it wrote before; -inf if it cannot, and then the row is not to be used. The first token does not
            count: nothing stands before it, so its share is the same for all rows with the same limits.
        """
        draws = torch.Generator(self.device).manual_seed(seed)
        units = np.zeros((n, len(self.row_encoder.columns)), np.int64)
        weights = torch.zeros(n, device=self.device)
        decoder = decoder_for(self.model, n, ragged=self.ragged, longest=self.tokens.longest)
        for place, column in enumerate(self.tokens.columns):
            decoder.force(column.prefix)
            shifts = self.row_encoder.shifts(place, units)
            widest = Bounds(*(np.full(n, limit) for limit in self.row_encoder.limits(place)))
            open_low, open_high, _ = self._codes(place, widest, shifts)
            wanted = asked.get(place)
            low, high, excluded = self._codes(place, wanted or widest, shifts)
            low, high = torch.maximum(low, open_low), torch.minimum(high, open_high)
            low = low.masked_fill(low > high, BEYOND)  # which no option reaches
            node = torch.zeros(n, dtype=torch.long, device=self.device)
            done = torch.zeros(n, dtype=torch.bool, device=self.device)
            code = torch.zeros(n, dtype=torch.long, device=self.device)
            for step, (weight, bias) in zip(self.steps[place], self.heads[place], strict=True):
                hidden = decoder.hidden()
                logits = (hidden @ weight if bias is None else torch.addmm(bias, hidden, weight)).float()
                least, greatest = step.reach(node)
                allowed = (least <= high[:, None]) & (greatest >= low[:, None])
                if excluded is not None:
                    lowest, highest = torch.maximum(least, low[:, None]), torch.minimum(greatest, high[:, None])
                    allowed &= (lowest < highest) | (lowest != excluded[:, None])
                kept = torch.where(allowed, logits, NEVER)
                choice, stuck = _drawn(kept, draws)
                if wanted is not None and (place or step is not self.steps[0][0]):
                    possible = (least <= open_high[:, None]) & (greatest >= open_low[:, None])
                    share = kept.logsumexp(1) - torch.where(possible, logits, NEVER).logsumexp(1)
                    weights += torch.where(done, 0.0, share.nan_to_num(nan=NEVER, neginf=NEVER))
                else:
                    weights = weights.masked_fill(stuck & ~done, NEVER)
                # A row that is stuck goes on, as anything, so that its neighbours can.
                choice = torch.where(stuck, step.some[node], choice)
                decoder.append(step.options[choice], skip=done)
                reached = step.child[node, choice].clamp(min=0)
                code = torch.where(done, code, step.first[reached])
                done = done | step.ends[reached]
                node = torch.where(done, 0, reached)
            units[:, place] = self.row_encoder.units_of(place, code.cpu().numpy(), shifts)
        return units, weights.cpu().numpy().astype("float64")

    def _codes(
        self, place: int, limits: Bounds, shifts: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        column = self.row_encoder.columns[place]
        step = 1 if isinstance(column, CategoricalEncoder) else column.step
        low = torch.as_tensor(np.maximum(-((shifts - limits.low) // step), 0), device=self.device)
        high = torch.as_tensor(np.minimum((limits.high - shifts) // step, column.size - 1), device=self.device)
        if limits.excluded is None:
            return low, high, None
        code, rest = np.divmod(limits.excluded - shifts, step)
        return low, high, torch.as_tensor(np.where(rest == 0, code, PAD), device=self.device)


@dataclass(frozen=True)
class _Step:
    """A level of a column's trie, as rows are drawn by it: k nodes by u options.

    Attributes
    ----------
    options, child, first, ends : torch.Tensor
        As in `TrieLevel`.
    least, greatest : torch.Tensor
        k by u: the codes that an option leads to; of one that leads nowhere, no code lies between them.
    some : torch.Tensor
        For each node, an option that leads on.
    """

    options: torch.Tensor
    child: torch.Tensor
    first: torch.Tensor
    ends: torch.Tensor
    least: torch.Tensor
    greatest: torch.Tensor
    some: torch.Tensor

    @classmethod
    def of(cls, level: TrieLevel, device: torch.device) -> "_Step":
        there = level.child != PAD
        least = np.where(there, level.first[level.child], BEYOND)
        greatest = np.where(there, level.last[level.child], PAD)
        parts = (level.options, level.child, level.first, level.ends, least, greatest, there.argmax(axis=1))
        return cls(*(torch.as_tensor(part, device=device) for part in parts))

    def reach(self, node: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the least and the greatest codes of the options of each row's node."""
        if len(self.least) == 1:
            return self.least, self.greatest
        return self.least[node], self.greatest[node]


def _drawn(logits: torch.Tensor, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one option for each row, by inversion of numbers that are spread evenly over the rows of the shard.

    Each number is uniform, and independent of the others of its row, so each row is a draw of the model; but the n
    numbers of one place lie in n different intervals of 1/n: a Latin hypercube (McKay, Beckman and Conover, 1979). The
    shares of values in a shard vary less about the model's than those of independent rows.

    Parameters
    ----------
    logits : torch.Tensor
        n by u; -inf for an option that cannot be taken.
    draws : torch.Generator
        Of the numbers.

    Returns
    -------
    choice : torch.Tensor
        The option of each row.
    stuck : torch.Tensor
        Whether a row had none.
    """
    n = len(logits)
    places = torch.randperm(n, generator=draws, device=logits.device)
    spread = (places + torch.rand(n, generator=draws, device=logits.device, dtype=torch.float64)) / n
    below = logits.softmax(1).cumsum(1, dtype=torch.float64)
    # Scaled by the last sum, which rounding may leave short of 1: an option of no probability is never taken.
    whole = below[:, -1]
    choice = torch.searchsorted(below, (spread * whole)[:, None], right=True)[:, 0]
    return choice.clamp(max=logits.shape[1] - 1), whole.isnan()


def shards(n: int, width: int) -> Iterator[tuple[int, int]]:
    """Cut n rows into shards.

    Parameters
    ----------
    n : int
        How many rows are wanted.
    width : int
        Rows a shard.

    Yields
    ------
    tuple of int
        The shard's number, and how many of its rows are wanted: all but in the last one.
    """
    for shard in range(-(-n // width)):
        yield shard, min(width, n - shard * width)
