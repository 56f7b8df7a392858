"""Incremental decoding: rows are extended token by token, and the hidden state of the last token is computed.

`backbone.decoder_for` chooses between `GPT2Decoder`, for a plain GPT-2 on a CPU, `fused_decoding.FusedDecoder`, for
common models on a GPU, and `CachedDecoder`, for any model of transformers. All compute the same states, up to rounding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import layer_norm

from synth_assets.synthesizers.language_model.kernels import GEMM_MULTIPLE, has_bfloat16
from synth_assets.synthesizers.language_model.layers import mask_of

MIN_ROWS_PER_PREFIX = 2
"""Prefixes are shared while there are at least this many rows for each distinct one."""

MIN_PROMPT = 16
"""Tokens that all rows begin with, from which on `CachedDecoder` computes them once. The name of a first column has
fewer: computing them in one row, then one more in all, would not pay."""


class Decoder(ABC):
    """Rows that are generated in parallel, all of one length.

    Parameters
    ----------
    rows : int
        Number of rows, B.
    device : torch.device
        The model's device.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self.rows, self.device = rows, device
        self.pending: list[torch.Tensor] = []  # token ids that have not been through the model, one tensor a position

    def prefill(self, ids: list[int]) -> None:
        """Append the same tokens to every row."""
        for token in ids:
            self.append(torch.full((self.rows,), token, device=self.device))

    def append(self, ids: torch.Tensor, skip: torch.Tensor | None = None) -> None:
        """Append a token to every row.

        Parameters
        ----------
        ids : torch.Tensor
            (B) token ids.
        skip : torch.Tensor, optional
            (B) rows that get no token: later tokens do not attend to it, and it takes no position.
        """
        del skip
        self.pending.append(ids)

    @abstractmethod
    def forward(self) -> torch.Tensor:
        """Run the model on the tokens appended since the last call.

        Returns
        -------
        torch.Tensor
            (B, C) hidden states of each row's last token.
        """


class PackedDecoder(Decoder):
    """Decoder of rows that may skip tokens.

    Such rows are packed: each keeps its keys and values at positions of its own, without gaps, so that positions and
    sliding windows are as for the row by itself.
    """

    def __init__(self, rows: int, device: torch.device, *, ragged: bool) -> None:
        super().__init__(rows, device)
        self.ragged = ragged
        self.skipped: list[torch.Tensor] = []
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.n_appended = 0
        self.last: torch.Tensor | None = None

    def append(self, ids: torch.Tensor, skip: torch.Tensor | None = None) -> None:
        """Append a token to every row but those that are skipped; see `Decoder.append`."""
        super().append(ids)
        self.skipped.append(torch.zeros(self.rows, dtype=torch.bool, device=self.device) if skip is None else skip)

    def forward(self) -> torch.Tensor:
        """Run the model on the tokens appended since the last call; see `Decoder.forward`."""
        ids, has_token = torch.stack(self.pending, 1), ~torch.stack(self.skipped, 1)  # (B, T)
        self.pending, self.skipped = [], []
        positions = self.lengths[:, None] + has_token.cumsum(1) - 1  # (B, T); of the token before, where one is skipped
        self.lengths = positions[:, -1] + 1
        place = (has_token * torch.arange(1, ids.shape[1] + 1, device=self.device)).argmax(1)
        last = self._run(ids, positions, has_token, place)
        if self.ragged:
            last = last if self.last is None else torch.where(has_token.any(1)[:, None], last, self.last)
            self.last = last
        return last

    @abstractmethod
    def _run(
        self, ids: torch.Tensor, positions: torch.Tensor, has_token: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        """Return the states of one token of each row, (B, C).

        Parameters
        ----------
        ids, positions : torch.Tensor
            (B, T) tokens, and their positions in their row.
        has_token : torch.Tensor
            (B, T) whether a row has the token; of one that it has not, nothing is kept.
        place : torch.Tensor
            (B) which of the T tokens the state is of.
        """


class CachedDecoder(PackedDecoder):
    """Decoder of any model of transformers, with its key-value cache; `model` is the module below the head."""

    def __init__(self, model: Any, rows: int, device: torch.device, *, ragged: bool, max_length: int) -> None:
        super().__init__(rows, device, ragged=ragged)
        self.model = model
        self.cache = _PackedCache(model.config, max_length) if ragged else _preallocated_cache(model.config, max_length)

    def prefill(self, ids: list[int]) -> None:
        """Append the same tokens to every row. A prompt goes through the model once, but for its last token."""
        cache = self.cache.layers if isinstance(self.cache, _PackedCache) else self.cache
        is_beginning = not self.n_appended and not self.pending
        if is_beginning and len(ids) >= MIN_PROMPT and _has_attention_alone(cache):
            *shared, last = ids
            prompt = torch.tensor([shared], device=self.device)
            positions = torch.arange(len(shared), device=self.device)[None]
            self._run(prompt, positions, torch.ones_like(prompt, dtype=torch.bool), positions[:, -1])
            cache.batch_repeat_interleave(self.rows)
            self.lengths += len(shared)
            ids = [last]
        super().prefill(ids)

    def _run(
        self, ids: torch.Tensor, positions: torch.Tensor, has_token: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        self.n_appended += ids.shape[1]
        if isinstance(self.cache, _PackedCache):
            self.cache.place(positions.where(has_token, -1), self.n_appended)
            positions = positions.clamp(min=0)
            output = self.model(
                input_ids=ids,
                past_key_values=self.cache.layers,
                use_cache=True,
                position_ids=positions,
                attention_mask=self._masks(positions),
            )
        else:
            output = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)
        states: torch.Tensor = output.last_hidden_state
        return states[torch.arange(len(ids), device=self.device), place]

    def _masks(self, positions: torch.Tensor) -> Any:
        """Return what is added to attention scores, (B, 1, T, S); by the type of a layer where a model has several."""
        config = self.model.config
        window: int = getattr(config, "sliding_window", None) or 0
        types = set(getattr(config, "layer_types", None) or (["sliding_attention"] if window else ["full_attention"]))
        n_keys, dtype = min(self.n_appended, self.cache.max_length), next(self.model.parameters()).dtype
        masks = {
            each: mask_of(positions, n_keys, window if each == "sliding_attention" else None, dtype) for each in types
        }
        return masks if len(masks) > 1 else masks.popitem()[1]


class _PackedCache:
    """A key-value cache in memory allocated once, in which each row has positions of its own."""

    def __init__(self, config: Any, max_length: int) -> None:
        from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

        packed = self

        class PackedLayer(DynamicLayer):  # type: ignore[misc]
            def update(
                self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
            ) -> tuple[torch.Tensor, torch.Tensor]:
                if not self.is_initialized:
                    self.lazy_initialization(key_states, value_states)
                    B, n_head, _T, _hs = key_states.shape
                    # Zeros, since what is masked is multiplied by 0; one position more for tokens that are skipped.
                    self.buffers = [
                        part.new_zeros(B, n_head, max_length + 1, part.shape[-1]) for part in (key_states, value_states)
                    ]
                for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
                    buffer.scatter_(2, packed.places[:, None, :, None].expand_as(states), states)
                self.keys, self.values = (buffer[:, :, : packed.end] for buffer in self.buffers)
                return self.keys, self.values

            def batch_repeat_interleave(self, repeats: int) -> None:
                self.buffers = [buffer.repeat_interleave(repeats, 0) for buffer in self.buffers]

        self.max_length = max_length
        self.layers = DynamicCache(config=config)
        self.layers.layers = [
            PackedLayer() if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) else layer
            for layer in self.layers.layers
        ]

    def place(self, positions: torch.Tensor, n_appended: int) -> None:
        """Set where the next tokens go, (B, T), -1 for one that is skipped, and how many there are at most by then."""
        self.places = positions.where(positions >= 0, self.max_length)
        self.end = min(n_appended, self.max_length)


def _preallocated_cache(config: Any, max_length: int) -> Any:
    """Return a key-value cache in memory allocated once; transformers' own copies its tensors at every token."""
    from transformers.cache_utils import DynamicCache, DynamicLayer  # takes longer than sampling with `GPT2Decoder`

    class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                B, n_head, _T, hs = key_states.shape
                self.buffers = [part.new_empty(B, n_head, max_length, hs) for part in (key_states, value_states)]
            start = self.get_seq_length()
            end = start + key_states.shape[-2]
            for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
                buffer[:, :, start:end] = states
            self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
            return self.keys, self.values

        def batch_repeat_interleave(self, repeats: int) -> None:
            self.buffers = [buffer.repeat_interleave(repeats, 0) for buffer in self.buffers]

    cache = DynamicCache(config=config)
    # Other kinds of layers, such as sliding windows, stay as they are.
    cache.layers = [PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _has_attention_alone(cache: Any) -> bool:
    """Return whether every layer of a cache has keys and values alone: others cannot be repeated for more rows."""
    from transformers.cache_utils import DynamicLayer, LinearAttentionLayer

    return all(isinstance(each, DynamicLayer) and not isinstance(each, LinearAttentionLayer) for each in cache.layers)


@dataclass(frozen=True)
class _BlockWeights:
    """The weights of a layer, in some precision and laid out for `torch.addmm`.

    `query` and `key_value` multiply from the left, since q, k and v have rows in their last dimension.
    """

    norms: list[tuple[torch.Tensor, torch.Tensor, float]]
    query: list[torch.Tensor]
    key_value: list[torch.Tensor]
    attn_proj: list[torch.Tensor]
    mlp_fc: list[torch.Tensor]
    activation: Callable[[torch.Tensor], torch.Tensor]
    mlp_proj: list[torch.Tensor]

    @classmethod
    def from_block(cls, block: Any, dtype: torch.dtype) -> "_BlockWeights":
        attn, mlp = block.attn, block.mlp
        bias, weight = attn.c_attn.bias[:, None], attn.c_attn.weight.T
        C = attn.embed_dim
        layers = (
            (bias[:C] * attn.scaling, weight[:C] * attn.scaling),
            (bias[C:], weight[C:]),
            *((layer.bias, layer.weight) for layer in (attn.c_proj, mlp.c_fc, mlp.c_proj)),
        )
        query, key_value, attn_proj, mlp_fc, mlp_proj = (
            [part.to(dtype).contiguous() for part in layer] for layer in layers
        )
        norms = [(norm.weight, norm.bias, norm.eps) for norm in (block.ln_1, block.ln_2)]
        return cls(norms, query, key_value, attn_proj, mlp_fc, mlp.act, mlp_proj)


class GPT2Decoder(Decoder):
    """Decoder of a plain GPT-2 on a CPU; `gpt` is the module below the head.

    - Rows with the same prefix go through the model once. With `Rings` and `Sex` first, this saves a fifth of the
      arithmetic on the abalone table.
    - Of tokens after which the next one is forced, the last layer computes k and v only.
    - Products with weights are in bfloat16 where the CPU has instructions for it, as in training.
    - The cache is laid out as (T, 2C, B): attention from one token of many rows is then a few long vector operations,
      where torch's CPU kernels iterate over single heads of single rows.
    """

    def __init__(self, gpt: Any, rows: int, max_length: int) -> None:
        super().__init__(rows, torch.device("cpu"))
        self.gpt, self.max_length = gpt, max_length
        self.n_head = gpt.config.n_head
        self.dtype = torch.bfloat16 if has_bfloat16() else torch.float32
        self.blocks = [_BlockWeights.from_block(block, self.dtype) for block in gpt.h]
        self.length = 0
        # (B) the prefix of each row; None once every row is computed by itself.
        self.prefix_index: torch.Tensor | None = torch.zeros(rows, dtype=torch.long)
        self.cache = [self._allocate(1) for _ in self.blocks]

    def _allocate(self, rows: int) -> torch.Tensor:
        return torch.empty(self.max_length, 2 * self.gpt.embed_dim, rows)

    def prefill(self, ids: list[int]) -> None:
        """Append the same tokens to every row."""
        self.pending += [torch.tensor([token]) for token in ids]  # one row stands for all

    def forward(self) -> torch.Tensor:
        """Run the model on the tokens appended since the last call; see `Decoder.forward`."""
        pending, self.pending = self._share_prefixes(self.pending), []
        start, self.length = self.length, self.length + len(pending)
        # One (B, C) tensor a position, or (1, C) for a forced token until rows attend to different prefixes.
        xs = [self.gpt.wte(ids) + self.gpt.wpe.weight[position] for position, ids in enumerate(pending, start=start)]
        for block, cache in zip(self.blocks, self.cache, strict=True):
            normed = [self._layer_norm(x, block.norms[0]) for x in xs]
            bias, weight = block.key_value
            for position, each in enumerate(normed, start=start):
                cache[position] = torch.addmm(bias, weight, each.T)  # (2C, B)
            if cache is self.cache[-1]:
                xs, normed = xs[-1:], normed[-1:]
            bias, weight = block.query
            for i, each in enumerate(normed):
                end = self.length - len(normed) + i + 1
                q = torch.addmm(bias, weight, each.T).float()  # (C, B)
                y = self._attend(q, cache[:end]).T.to(self.dtype)  # (B, C)
                x = xs[i] + _linear(y, block.attn_proj)
                h = block.activation(_linear(self._layer_norm(x, block.norms[1]), block.mlp_fc))  # (B, 4C)
                xs[i] = x + _linear(h, block.mlp_proj)
        states: torch.Tensor = self.gpt.ln_f(xs[0])
        return states if self.prefix_index is None else states[self.prefix_index]

    def _layer_norm(self, x: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor, float]) -> torch.Tensor:
        return layer_norm(x, x.shape[-1:], *norm).to(self.dtype)

    def _attend(self, q: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
        """Attend from one token, (C, B), to those in the cache, (T, 2C, B)."""
        T, _, B = cache.shape
        k, v = cache.view(T, 2, self.n_head, -1, B).unbind(1)  # (T, nh, hs, B)
        q = q.view(self.n_head, -1, q.shape[1])  # (nh, hs, B)
        # One token after another: products of all of them would not fit in a CPU's cache.
        att = torch.stack([(q * k[t]).sum(1) for t in range(T)]).softmax(0)  # (T, nh, B)
        y = att[0, :, None] * v[0]  # (nh, hs, B)
        for t in range(1, T):
            y.addcmul_(att[t, :, None], v[t])
        return y.view(-1, B)  # (C, B)

    def _share_prefixes(self, pending: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the pending tokens once for each distinct prefix, and reorder the cache to match."""
        sampled = [ids for ids in pending if len(ids) == self.rows]
        if self.prefix_index is None or not sampled:
            return pending
        before = self.prefix_index
        for ids in sampled:
            extended = self.prefix_index * self.gpt.wte.num_embeddings + ids
            prefixes, self.prefix_index = torch.unique(extended, return_inverse=True)
        n_prefixes = len(prefixes)
        if n_prefixes * MIN_ROWS_PER_PREFIX > self.rows:
            n_prefixes, self.prefix_index = self.rows, None
            row_index = torch.arange(n_prefixes)
        else:  # any one row of each prefix
            row_index = torch.empty(n_prefixes, dtype=torch.long).scatter_(
                0, self.prefix_index, torch.arange(self.rows)
            )
            padding = row_index[:1].expand(-n_prefixes % GEMM_MULTIPLE)
            row_index, n_prefixes = torch.cat([row_index, padding]), n_prefixes + len(padding)
        for layer, cache in enumerate(self.cache):
            reordered = self._allocate(n_prefixes)
            torch.index_select(cache[: self.length], 2, before[row_index], out=reordered[: self.length])
            self.cache[layer] = reordered
        return [ids[row_index] if len(ids) == self.rows else ids for ids in pending]


def _linear(x: torch.Tensor, layer: list[torch.Tensor]) -> torch.Tensor:
    bias, weight = layer
    return torch.addmm(bias, x, weight)
