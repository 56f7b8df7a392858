"""Incremental decoding with any model of transformers and its key-value cache.

Separate from `decoding`, since importing transformers takes longer than sampling. Import this module inside functions.
"""

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from synth_assets.synthesizers.language_model.decoding import Decoder


class _PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """The k and v of one layer in memory allocated once; transformers' own layer copies them at every token."""

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            B, n_head, _T, hs = key_states.shape
            self.buffers = [part.new_empty(B, n_head, self.max_length, hs) for part in (key_states, value_states)]
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values


class CachedDecoder(Decoder):
    """Decoder of any model of transformers, with its key-value cache.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model below the head.
    rows : int
        Number of rows.
    device : torch.device
        The model's device.
    ragged : bool
        Whether `append` skips rows.
    max_length : int
        Maximum number of tokens of a row.
    """

    def __init__(self, model: Any, rows: int, device: torch.device, *, ragged: bool, max_length: int) -> None:
        super().__init__(rows, device)
        self.model, self.ragged = model, ragged
        self.cache = DynamicCache(config=model.config)
        # Other kinds of layers, such as sliding windows, stay as they are.
        self.cache.layers = [
            _PreallocatedLayer(max_length) if type(layer) is DynamicLayer else layer for layer in self.cache.layers
        ]
        self.skipped: list[torch.Tensor] = []
        self.attention_mask = torch.ones((rows, 0), dtype=torch.long, device=device)

    def append(self, ids: torch.Tensor, skip: torch.Tensor | None = None) -> None:
        """Append a token to every row but those that are skipped; see `Decoder.append`."""
        super().append(ids)
        self.skipped.append(torch.zeros(self.rows, dtype=torch.bool, device=self.device) if skip is None else skip)

    def forward(self) -> torch.Tensor:
        """Run the model on the tokens appended since the last call; see `Decoder.forward`."""
        ids = torch.stack(self.pending, 1)  # (B, T)
        arguments: dict[str, Any] = {}
        if self.ragged:
            self.attention_mask = torch.cat([self.attention_mask, (~torch.stack(self.skipped, 1)).long()], 1)
            position_ids = (self.attention_mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            arguments = {"attention_mask": self.attention_mask, "position_ids": position_ids}
        output = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True, **arguments)
        self.pending, self.skipped = [], []
        last: torch.Tensor = output.last_hidden_state[:, -1]
        return last
