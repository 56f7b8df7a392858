"""Rows written by a model, each valid and on its grid: names forced, and only values of the table within reach.

All rows of a shard are written side by side with one key-value cache. In a value, the head is evaluated over the
tokens that may come next in the column's trie and nothing else. A row's limits, column by column, are the values that
the train rows have, tightened by what was asked for; how much of the model's probability they leave is counted, which
makes rejection and importance weights exact.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from synth_assets.great.coding import CategoryColumn, TableCoding
from synth_assets.great.tokens import HOLE, RowTokens
from synth_assets.great.training import trunk

NEVER = float("-inf")


@dataclass(frozen=True)
class Limits:
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


class Writer:
    """Writes rows with a model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    coding : TableCoding
        The table's coding.
    tokens : RowTokens
        Its tokens.
    temperature : float
        Of the softmax over the next token.
    """

    def __init__(self, model: Any, coding: TableCoding, tokens: RowTokens, *, temperature: float = 1.0) -> None:
        self.model, self.coding, self.tokens, self.temperature = model, coding, tokens, temperature
        self.device = next(model.parameters()).device
        head = model.get_output_embeddings()
        self.heads = [
            [
                (
                    head.weight.detach()[level.options].T.contiguous(),
                    None if getattr(head, "bias", None) is None else head.bias.detach()[level.options],
                )
                for level in column.levels
            ]
            for column in tokens.columns
        ]
        self.tries = [
            [
                tuple(
                    torch.as_tensor(part, device=self.device)
                    for part in (level.options, level.child, level.first, level.last, level.ends)
                )
                for level in column.levels
            ]
            for column in tokens.columns
        ]
        self.ragged = any((column.values == HOLE).any() for column in tokens.columns)

    @torch.inference_mode()
    def write(self, n: int, asked: dict[int, Limits], *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Write rows side by side.

        Parameters
        ----------
        n : int
            How many.
        asked : dict of int to Limits
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
        with _attention_for(self.model, self.device):
            return self._write(n, asked, torch.Generator(self.device).manual_seed(seed))

    def _write(self, n: int, asked: dict[int, Limits], draws: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        units = np.zeros((n, len(self.coding.columns)), np.int64)
        weights = torch.zeros(n, device=self.device)
        cache = _Cache(self.model, n, self.device, ragged=self.ragged, longest=self.tokens.longest)
        for place, column in enumerate(self.tokens.columns):
            cache.force(column.prefix)
            shifts = self.coding.shifts(place, units)
            widest = Limits(*(np.full(n, limit) for limit in self.coding.limits(place)))
            open_low, open_high, _ = self._codes(place, widest, shifts)
            wanted = asked.get(place)
            low, high, excluded = self._codes(place, wanted or widest, shifts)
            low, high = torch.maximum(low, open_low), torch.minimum(high, open_high)
            node = torch.zeros(n, dtype=torch.long, device=self.device)
            done = torch.zeros(n, dtype=torch.bool, device=self.device)
            code = torch.zeros(n, dtype=torch.long, device=self.device)
            for depth, (options, child, first, last, ends) in enumerate(self.tries[place]):
                logits = self._logits(cache.hidden(), place, depth)
                to = child[node]
                there = to != HOLE
                least, greatest = first[to.clamp(min=0)], last[to.clamp(min=0)]
                lowest, highest = torch.maximum(least, low[:, None]), torch.minimum(greatest, high[:, None])
                allowed = there & (lowest <= highest)
                if excluded is not None:
                    allowed &= (lowest < highest) | (lowest != excluded[:, None])
                stuck = ~allowed.any(1)
                if wanted is not None and (place or depth):
                    possible = there & (least <= open_high[:, None]) & (greatest >= open_low[:, None])
                    kept = logits.masked_fill(~allowed, NEVER).logsumexp(1)
                    share = kept - logits.masked_fill(~possible, NEVER).logsumexp(1)
                    weights += torch.where(done, 0.0, share.nan_to_num(nan=NEVER, neginf=NEVER))
                else:
                    weights = weights.masked_fill(stuck & ~done, NEVER)
                # A row that is stuck goes on, as anything, so that its neighbours can.
                allowed = torch.where(stuck[:, None], there | ~there.any(1, keepdim=True), allowed)
                choice = _drawn(logits.masked_fill(~allowed, NEVER), draws)
                cache.append(options[choice], skip=done)
                reached = to.gather(1, choice[:, None])[:, 0].clamp(min=0)
                code = torch.where(done, code, first[reached])
                done = done | ends[reached]
                node = torch.where(done, 0, reached)
            units[:, place] = self.coding.units_of(place, code.cpu().numpy(), shifts)
        return units, weights.cpu().numpy().astype("float64")

    def _codes(
        self, place: int, limits: Limits, shifts: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        column = self.coding.columns[place]
        step = 1 if isinstance(column, CategoryColumn) else column.step
        low = torch.as_tensor(np.maximum(-((shifts - limits.low) // step), 0), device=self.device)
        high = torch.as_tensor(np.minimum((limits.high - shifts) // step, column.size - 1), device=self.device)
        if limits.excluded is None:
            return low, high, None
        code, rest = np.divmod(limits.excluded - shifts, step)
        return low, high, torch.as_tensor(np.where(rest == 0, code, HOLE), device=self.device)

    def _logits(self, hidden: torch.Tensor, place: int, depth: int) -> torch.Tensor:
        weight, bias = self.heads[place][depth]
        logits = hidden @ weight if bias is None else hidden @ weight + bias
        scaled: torch.Tensor = logits.float() / self.temperature
        return scaled


def _drawn(logits: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Draw one option for each row, by inversion of numbers that are spread evenly over the rows of the shard.

    Each number is uniform, and independent of the others of its row, so each row is a draw of the model; but the n
    numbers of one place lie in n different intervals of 1/n: a Latin hypercube (McKay, Beckman and Conover, 1979). The
    shares of values in a shard vary less about the model's than those of independent rows.
    """
    n = len(logits)
    places = torch.randperm(n, generator=draws, device=logits.device)
    spread = (places + torch.rand(n, generator=draws, device=logits.device, dtype=torch.float64)) / n
    below = logits.double().softmax(1).cumsum(1)
    # Scaled by the last sum, which rounding may leave short of 1: an option of no probability is never taken.
    choice: torch.Tensor = torch.searchsorted(below, (spread * below[:, -1])[:, None], right=True)[:, 0]
    return choice.clamp(max=logits.shape[1] - 1)


def _few_queries(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from one or two tokens of many rows, on a CPU.

    torch's kernels there go through one head of one row after the other; here all rows of a token stand side by side in
    memory, which is three to six times as fast (1,000 rows, 4 heads of 16, 8 to 20 keys).
    """
    if (query.shape[2] > 1 and attention_mask is None) or query.shape[1] != key.shape[1] or options.get("dropout"):
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return found, None
    queries, keys, values = (_rows_last(part) for part in (query, key, value))
    scores = (queries.contiguous()[:, None] * keys).sum(3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask.permute(2, 3, 1, 0), NEVER)
    found = (scores.softmax(1)[:, :, :, None] * values).sum(1)
    return found.permute(3, 0, 1, 2).contiguous(), None


FEW_QUERIES = "synth_assets_few_queries"
AttentionInterface.register(FEW_QUERIES, _few_queries)
AttentionMaskInterface.register(FEW_QUERIES, sdpa_mask)


def _rows_last(states: torch.Tensor) -> torch.Tensor:
    """Turn rows by heads by tokens by width into tokens by heads by width by rows."""
    return states.permute(2, 1, 3, 0)


@contextmanager
def _attention_for(model: Any, device: torch.device) -> Iterator[None]:
    """Let a model attend as it is fastest where rows are written token by token."""
    before = model.config._attn_implementation
    if device.type == "cpu" and before == "sdpa":
        model.set_attn_implementation(FEW_QUERIES)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in memory that is taken once; transformers' own copies them all at every token."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            rows, heads, _tokens, width = key_states.shape
            self.room = [
                part.new_empty(self.longest, heads, width, rows).permute(3, 1, 0, 2)
                if self.device.type == "cpu"
                else part.new_empty(rows, heads, self.longest, width)
                for part in (key_states, value_states)
            ]
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, start:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values


class _Cache:
    """The key-value cache of rows under way, and the tokens that have not gone through the model yet."""

    def __init__(self, model: Any, rows: int, device: torch.device, *, ragged: bool, longest: int) -> None:
        self.trunk, self.rows, self.device, self.ragged = trunk(model), rows, device, ragged
        self.past = DynamicCache(config=model.config)
        # Of architectures with other kinds of layers, those stay as they are.
        self.past.layers = [_Layer(longest) if type(layer) is DynamicLayer else layer for layer in self.past.layers]
        self.waiting: list[torch.Tensor] = []
        self.skipped: list[torch.Tensor] = []
        self.seen = torch.ones((rows, 0), dtype=torch.long, device=device)

    def force(self, ids: list[int]) -> None:
        """Append the same tokens to every row."""
        for token in ids:
            self.append(torch.full((self.rows,), token, device=self.device))

    def append(self, ids: torch.Tensor, skip: torch.Tensor | None = None) -> None:
        """Append a token to every row, but for rows to be skipped: there, nothing that comes later sees it."""
        self.waiting.append(ids)
        self.skipped.append(torch.zeros(self.rows, dtype=torch.bool, device=self.device) if skip is None else skip)

    def hidden(self) -> torch.Tensor:
        """Send what is waiting through the model, and give the last token's hidden state, rows by width."""
        ids = torch.stack(self.waiting, 1)
        arguments: dict[str, Any] = {}
        if self.ragged:
            new = (~torch.stack(self.skipped, 1)).long()
            self.seen = torch.cat([self.seen, new], 1)
            arguments = {
                "attention_mask": self.seen,
                "position_ids": (self.seen.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            }
        found = self.trunk(input_ids=ids, past_key_values=self.past, use_cache=True, **arguments)
        self.waiting, self.skipped = [], []
        last: torch.Tensor = found.last_hidden_state[:, -1]
        return last


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
