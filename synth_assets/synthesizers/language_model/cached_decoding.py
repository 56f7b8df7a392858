"""Incremental decoding of any model of transformers, with a key-value cache.

Apart from `decoding`, since importing transformers takes longer than sampling. Importing this module imports torch and
transformers: do so inside functions only.
"""

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from synth_assets.synthesizers.language_model.decoding import Decoder


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
            self.room = [part.new_empty(rows, heads, self.longest, width) for part in (key_states, value_states)]
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, start:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values


class CachedDecoder(Decoder):
    """Any model, by transformers with a key-value cache."""

    def __init__(self, inner: Any, rows: int, device: torch.device, *, ragged: bool, longest: int) -> None:
        super().__init__(rows, device)
        self.inner, self.ragged = inner, ragged
        self.past = DynamicCache(config=inner.config)
        # Of architectures with other kinds of layers, those stay as they are.
        self.past.layers = [_Layer(longest) if type(layer) is DynamicLayer else layer for layer in self.past.layers]
        self.skipped: list[torch.Tensor] = []
        self.seen = torch.ones((rows, 0), dtype=torch.long, device=device)

    def append(self, ids: torch.Tensor, skip: torch.Tensor | None = None) -> None:
        """Append a token to every row, except those to skip."""
        super().append(ids)
        self.skipped.append(torch.zeros(self.rows, dtype=torch.bool, device=self.device) if skip is None else skip)

    def hidden(self) -> torch.Tensor:
        """Return the hidden state of the last token, (B, C)."""
        ids = torch.stack(self.waiting, 1)
        arguments: dict[str, Any] = {}
        if self.ragged:
            new = (~torch.stack(self.skipped, 1)).long()
            self.seen = torch.cat([self.seen, new], 1)
            arguments = {
                "attention_mask": self.seen,
                "position_ids": (self.seen.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            }
        found = self.inner(input_ids=ids, past_key_values=self.past, use_cache=True, **arguments)
        self.waiting, self.skipped = [], []
        last: torch.Tensor = found.last_hidden_state[:, -1]
        return last
