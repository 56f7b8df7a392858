"""The kernels in Triton compute the same as the operations of torch, in Triton's interpreter, which needs no GPU.

torch's builds for a CPU come without Triton: these tests are then skipped.
"""

from typing import Any

import pytest
import torch

from synth_assets.synthesizers.language_model import fused_decoding


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # read when Triton is imported
    pytest.importorskip("triton")
    from synth_assets.synthesizers.language_model import triton_kernels

    return triton_kernels


@pytest.mark.parametrize("is_rotated", [False, True])
@pytest.mark.parametrize(("n_heads", "n_kv", "T", "end"), [(3, 3, 1, 1), (6, 2, 3, 70), (9, 3, 23, 23)])
def test_keys_and_values_are_stored_and_attended_to(
    kernels: Any, n_heads: int, n_kv: int, T: int, end: int, is_rotated: bool
) -> None:
    B, hs, length, random = 4, 16, 90, torch.Generator().manual_seed(1)
    qkv = torch.randn(B * T, (n_heads + 2 * n_kv) * hs, generator=random)
    cache = torch.randn(B, 2 * n_kv, length, hs, generator=random)
    cache[:, :, end:] = float("nan")  # not read
    positions = torch.arange(end - T, end, dtype=torch.int32).repeat(B, 1)
    positions[1:, T // 2] = -1  # skipped
    cos_sin = torch.randn(length, hs, generator=random) if is_rotated else None
    found_qkv, found_cache = qkv.clone(), cache.clone()
    kernels.store(found_qkv, found_cache, positions, cos_sin)
    fused_decoding.store(qkv, cache, positions, cos_sin)
    torch.testing.assert_close(found_qkv[:, : n_heads * hs], qkv[:, : n_heads * hs])
    torch.testing.assert_close(found_cache, cache, equal_nan=True)
    found = kernels.attend(qkv, cache, positions, end, 0.3)
    torch.testing.assert_close(found, fused_decoding.attend(qkv, cache, positions, end, 0.3), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("has_bias", [False, True])
def test_states_are_normalised(kernels: Any, has_bias: bool) -> None:
    random = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*shape, generator=random) for shape in ((6, 24), (24,), (24,)))
    for options in ((None, weight, None), (bias, weight, bias if has_bias else None)):
        expected = fused_decoding.normalise(x, *options, 0.1)
        torch.testing.assert_close(kernels.normalise(x, *options, 0.1), expected)


def test_gates_are_multiplied(kernels: Any) -> None:
    x = torch.randn(5, 2 * 1500, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(kernels.silu_and_multiply(x), fused_decoding.silu_and_multiply(x))


def test_rows_of_a_cache_are_reordered_with_room_for_more(kernels: Any) -> None:
    cache, rows = torch.randn(3, 4, 5, 16), torch.tensor([2, 0, 2, 1])
    expected = fused_decoding.reorder(cache, rows, 9)
    found = kernels.reorder(cache, rows, torch.empty_like(expected))
    assert torch.equal(found[:, :, :5], expected[:, :, :5])
