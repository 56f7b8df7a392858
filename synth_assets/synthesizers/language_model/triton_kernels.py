"""Kernels of `fused_decoding` for a GPU, in Triton. What each computes stands there, in operations of torch.

Importing this module imports Triton, which torch's builds for CUDA have on Linux.
"""

import torch
import triton
import triton.language as tl

BLOCK = 32
"""Keys that are read at once."""

MAX_QUERIES = 64
"""Queries of a program."""

ATTENTION_WARPS, NORM_WARPS, GATE_WARPS = 1, 4, 4
"""Warps of a program. On an H200, attention so takes a quarter less time than with four of them and 64 keys."""

NORM_ROWS, GATES, COPIED = 2, 2048, 2048
"""States, channels of one, and numbers of a cache that a program reads."""


def store(qkv: torch.Tensor, cache: torch.Tensor, positions: torch.Tensor, cos_sin: torch.Tensor | None) -> None:
    """Compute what `fused_decoding.store` states."""
    n, T = positions.numel(), positions.shape[1]
    n_cached, length, hs = cache.shape[1:]
    n_heads = qkv.shape[1] // hs
    _store[(n,)](
        qkv,
        cache,
        positions,
        qkv if cos_sin is None else cos_sin,
        T,
        length,
        n_heads - n_cached,
        n_heads - n_cached // 2,
        n_heads,
        triton.next_power_of_2(n_heads),
        hs // 2,
        cos_sin is not None,
    )


@triton.jit(do_not_specialize=["T", "length"])
def _store(
    qkv,
    cache,
    positions,
    cos_sin,
    T,
    length,
    n_queries: tl.constexpr,
    n_rotated: tl.constexpr,
    n_heads: tl.constexpr,
    N_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    IS_ROTATED: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    position = tl.load(positions + token)
    place = tl.maximum(position, 0)
    head = tl.arange(0, N_HEADS)[:, None]
    d = tl.arange(0, HALF)[None, :]
    source = qkv + token * n_heads * 2 * HALF + head * 2 * HALF + d
    first = tl.load(source, mask=head < n_heads)
    second = tl.load(source + HALF, mask=head < n_heads)
    if IS_ROTATED:
        cos = tl.load(cos_sin + place * 2 * HALF + d)
        sin = tl.load(cos_sin + place * 2 * HALF + HALF + d)
        cos = tl.where(head < n_rotated, cos, 1.0)
        sin = tl.where(head < n_rotated, sin, 0.0)
        x, y = first.to(tl.float32), second.to(tl.float32)
        first = (x * cos - y * sin).to(first.dtype)
        second = (y * cos + x * sin).to(second.dtype)
        tl.store(source, first, mask=head < n_queries)
        tl.store(source + HALF, second, mask=head < n_queries)
    row = token // T
    target = cache + ((row * (n_heads - n_queries) + head - n_queries) * length + place) * 2 * HALF + d
    is_cached = (head >= n_queries) & (head < n_heads) & (position >= 0)
    tl.store(target, first, mask=is_cached)
    tl.store(target + HALF, second, mask=is_cached)


def attend(qkv: torch.Tensor, cache: torch.Tensor, positions: torch.Tensor, end: int, scaling: float) -> torch.Tensor:
    """Compute what `fused_decoding.attend` states."""
    B, T = positions.shape
    n_cached, length, hs = cache.shape[1:]
    n_kv, n_heads = n_cached // 2, qkv.shape[1] // hs
    group = (n_heads - n_cached) // n_kv
    y = qkv.new_empty(B * T, group * n_kv * hs)
    queries = min(max(16, triton.next_power_of_2(group * T)), MAX_QUERIES)
    _attend[(B * n_kv, triton.cdiv(group * T, queries))](
        qkv,
        cache,
        positions,
        y,
        T,
        length,
        scaling,
        n_heads,
        n_kv,
        group,
        hs,
        queries,
        BLOCK,
        triton.cdiv(end, BLOCK),
        num_warps=ATTENTION_WARPS,
    )
    return y


@triton.jit(do_not_specialize=["T", "length"])
def _attend(
    qkv,
    cache,
    positions,
    y,
    T,
    length,
    scaling,
    n_heads: tl.constexpr,
    n_kv: tl.constexpr,
    group: tl.constexpr,
    HS: tl.constexpr,
    QUERIES: tl.constexpr,
    BLOCK: tl.constexpr,
    N_BLOCKS: tl.constexpr,
):
    row = (tl.program_id(0) // n_kv).to(tl.int64)
    kv_head = tl.program_id(0) % n_kv
    query = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)  # of each head of the group, the tokens
    is_query = query < group * T
    token = row * T + query % T
    head = kv_head * group + query // T
    d = tl.arange(0, HS)
    position = tl.load(positions + token, mask=is_query, other=0)
    q = tl.load(qkv + (token * n_heads * HS + head * HS)[:, None] + d[None, :], mask=is_query[:, None], other=0.0)
    keys = cache + (row * 2 * n_kv + kv_head) * length * HS
    values = keys + n_kv * length * HS
    position = tl.maximum(position, 0)
    last = tl.max(position, 0)
    greatest = tl.full([QUERIES], -1e30, tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    found = tl.zeros([QUERIES, HS], tl.float32)
    for block in range(N_BLOCKS):
        s = block * BLOCK + tl.arange(0, BLOCK)
        is_key = (s <= last)[:, None]
        k = tl.load(keys + s[:, None] * HS + d[None, :], mask=is_key, other=0.0)
        v = tl.load(values + s[:, None] * HS + d[None, :], mask=is_key, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scaling
        scores = tl.where(s[None, :] <= position[:, None], scores, -1e30)
        before = greatest
        greatest = tl.maximum(before, tl.max(scores, 1))
        weights = tl.exp(scores - greatest[:, None])
        decay = tl.exp(before - greatest)
        total = total * decay + tl.sum(weights, 1)
        found = found * decay[:, None] + tl.dot(weights.to(v.dtype), v)
    found = found / total[:, None]
    target = y + (token * (group * n_kv) * HS + head * HS)[:, None] + d[None, :]
    tl.store(target, found.to(q.dtype), mask=is_query[:, None])


def reorder(cache: torch.Tensor, rows: torch.Tensor, reordered: torch.Tensor) -> torch.Tensor:
    """Write rows of a cache to one with room for more tokens, as `fused_decoding.reorder` states, and return it."""
    n_cached, before, hs = cache.shape[1:]
    blocks = triton.cdiv(before * hs, COPIED)
    _reorder[(len(rows) * n_cached, blocks)](
        cache, rows, reordered, n_cached, before * hs, reordered.shape[2] * hs, COPIED
    )
    return reordered


@triton.jit(do_not_specialize=["before", "after"])
def _reorder(cache, rows, reordered, n_cached: tl.constexpr, before, after, COPIED: tl.constexpr):
    row = (tl.program_id(0) // n_cached).to(tl.int64)
    head = tl.program_id(0) % n_cached
    i = tl.program_id(1) * COPIED + tl.arange(0, COPIED)
    source = (tl.load(rows + row) * n_cached + head) * before
    values = tl.load(cache + source + i, mask=i < before)
    tl.store(reordered + (row * n_cached + head) * after + i, values, mask=i < before)


def normalise(
    x: torch.Tensor, shift: torch.Tensor | None, weight: torch.Tensor, bias: torch.Tensor | None, epsilon: float
) -> torch.Tensor:
    """Compute what `fused_decoding.normalise` states."""
    n, width = x.shape
    y = torch.empty_like(x)
    _normalise[(triton.cdiv(n, NORM_ROWS),)](
        x,
        weight if shift is None else shift,
        weight,
        weight if bias is None else bias,
        y,
        n,
        epsilon,
        width,
        shift is not None,
        bias is not None,
        NORM_ROWS,
        triton.next_power_of_2(width),
        num_warps=NORM_WARPS,
    )
    return y


@triton.jit(do_not_specialize=["n"])
def _normalise(
    x,
    shift,
    weight,
    bias,
    y,
    n,
    epsilon,
    width: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    i = tl.arange(0, WIDTH)[None, :]
    is_channel = i < width
    is_state = (row < n) & is_channel
    states = tl.load(x + row * width + i, mask=is_state, other=0.0).to(tl.float32)
    if HAS_SHIFT:
        states += tl.load(shift + i, mask=is_channel, other=0.0)
    if HAS_BIAS:
        states = tl.where(is_channel, states - (tl.sum(states, 1) / width)[:, None], 0.0)
    states *= tl.rsqrt(tl.sum(states * states, 1) / width + epsilon)[:, None]
    states *= tl.load(weight + i, mask=is_channel, other=0.0).to(tl.float32)
    if HAS_BIAS:
        states += tl.load(bias + i, mask=is_channel, other=0.0).to(tl.float32)
    tl.store(y + row * width + i, states.to(y.dtype.element_ty), mask=is_state)


def silu_and_multiply(x: torch.Tensor) -> torch.Tensor:
    """Compute what `fused_decoding.silu_and_multiply` states."""
    n, width = x.shape[0], x.shape[1] // 2
    y = x.new_empty(n, width)
    _silu_and_multiply[(n, triton.cdiv(width, GATES))](x, y, width, GATES, num_warps=GATE_WARPS)
    return y


@triton.jit
def _silu_and_multiply(x, y, width, GATES: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * GATES + tl.arange(0, GATES)
    gate = tl.load(x + row * 2 * width + i, mask=i < width).to(tl.float32)
    up = tl.load(x + row * 2 * width + width + i, mask=i < width).to(tl.float32)
    tl.store(y + row * width + i, (gate * tl.sigmoid(gate) * up).to(y.dtype.element_ty), mask=i < width)
