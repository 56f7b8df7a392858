"""The kernels compute the function of the plain GPT-2 and of transformers: states, gradients, dropout, decoding."""

import copy
from typing import Any
from unittest import mock

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from synth_assets.synthesizers.language_model import decoding, kernels
from synth_assets.synthesizers.language_model.backbone import decoder_for, hidden_states_at, is_plain_gpt2
from synth_assets.synthesizers.language_model.model import GPT

VOCABULARY, LONGEST = 30, 12


def model_of(**settings: Any) -> GPT2LMHeadModel:
    torch.manual_seed(2)
    shape = {"n_layer": 3, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": VOCABULARY}
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    model = GPT2LMHeadModel(GPT2Config(**{**shape, **dropouts, "bos_token_id": 0, "eos_token_id": 0, **settings}))
    with torch.no_grad():
        for weight in model.parameters():  # random biases and norms too: those of a new model are 0 and 1
            weight += 0.3 * torch.randn_like(weight)
    return model.eval()


def rows_that_begin_alike(rows: int, tokens: int = LONGEST) -> torch.Tensor:
    ids = torch.randint(VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = 3
    ids[:, 1] %= 3
    ids[:, 2] %= 2
    return ids


@pytest.mark.parametrize("settings", [{}, {"n_layer": 1}, {"activation_function": "relu"}], ids=str)
def test_the_plain_model_is_that_of_transformers(settings: dict[str, Any]) -> None:
    model, ids = model_of(**settings), rows_that_begin_alike(5)
    plain = GPT.from_transformers(model)
    assert not plain.training
    torch.testing.assert_close(plain(ids), model(input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    (plain(ids) * torch.linspace(-1, 1, 5)[:, None, None]).sum().backward()
    (model(input_ids=ids).logits * torch.linspace(-1, 1, 5)[:, None, None]).sum().backward()
    for name, weight in plain.named_parameters():
        expected = model.transformer.get_parameter(name).grad
        expected = expected.T if name.endswith(("attn.weight", "proj.weight", "fc.weight")) else expected
        torch.testing.assert_close(weight.grad, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("positions", [[0], [11], [0, 3, 4, 9], list(range(LONGEST))])
@pytest.mark.parametrize("settings", [{}, {"n_layer": 1}, {"activation_function": "relu"}], ids=str)
def test_states_are_those_of_the_plain_model_and_of_transformers(
    positions: list[int], settings: dict[str, Any]
) -> None:
    model, ids = model_of(**settings), rows_that_begin_alike(5)
    with torch.no_grad():
        found = hidden_states_at(model, ids, torch.tensor(positions))
        plain = GPT.from_transformers(model).hidden_states(ids)[:, positions]
        expected = model.transformer(input_ids=ids).last_hidden_state[:, positions]
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def gradients(model: GPT2LMHeadModel, states: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
    return [weight.grad.clone() for weight in model.transformer.parameters()]


@pytest.mark.parametrize("positions", [[1, 2, 5, 9], list(range(LONGEST))])
def test_queries_of_long_rows_attend_in_blocks(positions: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = model_of().train(), rows_that_begin_alike(5)
    monkeypatch.setattr(kernels, "has_bfloat16", lambda: False)
    expected_states = hidden_states_at(model, ids, torch.tensor(positions))
    expected = gradients(model, expected_states)
    monkeypatch.setattr(kernels, "LONG_ROW", 8)
    monkeypatch.setattr(kernels, "BLOCK", 3)

    assert [mask.shape for mask in kernels._masks(torch.tensor([1, 2, 5, 9]), 12)] == [(3, 6), (1, 12)]
    states = hidden_states_at(model, ids, torch.tensor(positions))
    torch.testing.assert_close(states, expected_states, atol=1e-5, rtol=1e-5)
    for found, gradient in zip(gradients(model, states), expected, strict=True):
        torch.testing.assert_close(found, gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("settings", [{}, {"n_layer": 1}, {"n_layer": 2, "activation_function": "relu"}], ids=str)
def test_gradients_are_those_of_transformers(bfloat16: bool, settings: dict[str, Any]) -> None:
    model, ids, positions = model_of(**settings).train(), rows_that_begin_alike(40), torch.tensor([1, 2, 5])
    expected = gradients(model, model.transformer(input_ids=ids).last_hidden_state[:, positions])
    with mock.patch.object(kernels, "has_bfloat16", return_value=bfloat16):
        found = gradients(model, hidden_states_at(model, ids, positions))
    # bfloat16 keeps eight bits of a factor; and the gradient of ReLU jumps where they move its input past 0.
    tolerance = (12e-2 if "activation_function" in settings else 5e-2) if bfloat16 else 1e-4
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= tolerance * other.norm() + 1e-4
    assert all(gradient.dtype == torch.float32 for gradient in found)
    differs = any(not torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(found, expected, strict=True))
    assert differs == bfloat16


def test_sharing_prefixes_changes_neither_states_nor_gradients() -> None:
    model, ids, positions = model_of().train(), rows_that_begin_alike(100), torch.arange(LONGEST)
    ids = torch.tensor(sorted(ids.tolist()))
    with mock.patch.object(kernels, "has_bfloat16", return_value=False):
        found = hidden_states_at(model, ids, positions)
    expected = model.transformer(input_ids=ids).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(model, found), gradients(model, expected), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("far", [1.0, 100.0, 10_000.0])
def test_scores_may_be_of_any_size(far: float) -> None:
    """Powers of 2 of scores beyond 127, or of none above -127, are none in single precision."""
    model, ids, places = model_of(n_layer=1).train(), rows_that_begin_alike(40), torch.tensor([1, 2, 5])
    with torch.no_grad():
        model.transformer.h[0].attn.c_attn.weight[:, :16] *= far
    with mock.patch.object(kernels, "has_bfloat16", return_value=False):
        states = hidden_states_at(model, ids, places)
    torch.testing.assert_close(
        states, model.transformer(input_ids=ids).last_hidden_state[:, places], atol=1e-3, rtol=1e-3
    )
    assert all(gradient.isfinite().all() for gradient in gradients(model, states))


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({"cpu_name": "INTEL(R) XEON(R)", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "INTEL(R) XEON(R)", "avx512_bf16": True}, False),
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "AMD EPYC 7R13", "avx512_bf16": False}, False),
        ({"architecture": "arm64"}, False),
    ],
)
def test_products_are_in_bfloat16_on_cpus_that_are_faster_so(
    cpu: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert kernels.has_bfloat16() == expected


def test_what_is_not_learned_from_is_computed_in_single_precision() -> None:
    model, ids, places = model_of(), rows_that_begin_alike(5), torch.tensor([2, 5])
    with torch.no_grad(), mock.patch.object(kernels, "has_bfloat16", return_value=True):
        rounded = hidden_states_at(model, ids, places)
        torch.testing.assert_close(rounded, model.transformer(input_ids=ids).last_hidden_state[:, places])


@pytest.mark.parametrize("name", ["resid_pdrop", "embd_pdrop", "attn_pdrop"])
def test_dropout_has_the_mean_and_the_spread_of_the_plain_model(name: str) -> None:
    model, places = model_of(**{name: 0.3}).train(), torch.tensor([4, 7])
    ids = rows_that_begin_alike(1).expand(4000, -1)
    with torch.no_grad(), mock.patch.object(kernels, "has_bfloat16", return_value=False):
        torch.manual_seed(1)
        found = hidden_states_at(model, ids, places)
        expected = GPT.from_transformers(model).hidden_states(ids)[:, places]
    assert (expected.std(0) > 0.01).all()
    assert ((found.mean(0) - expected.mean(0)).abs() < 5 * expected.std(0) * (2 / 4000) ** 0.5).all()
    assert ((found.std(0) / expected.std(0)).log().abs() < 0.15).all()


def test_only_a_plain_gpt2_is_taken_for_one() -> None:
    assert is_plain_gpt2(model_of())
    assert not is_plain_gpt2(model_of(scale_attn_by_inverse_layer_idx=True))
    assert not is_plain_gpt2(model_of(scale_attn_weights=False))
    assert not is_plain_gpt2(model_of().to(torch.bfloat16))
    assert not is_plain_gpt2(torch.nn.Linear(2, 2))


# Rows under way.


def llama() -> LlamaForCausalLM:
    torch.manual_seed(2)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, **shape)).eval()


@pytest.mark.parametrize("asked", [[0, 1, 2, 5, 7, 11], [3, 11], list(range(LONGEST))])
@pytest.mark.parametrize("rows", [1, 2, 7, 60])
@pytest.mark.parametrize("make", [model_of, llama])
def test_a_decoder_gives_the_states_of_the_whole_row(make: Any, rows: int, asked: list[int]) -> None:
    model, ids = make(), rows_that_begin_alike(rows)
    with mock.patch.object(decoding, "has_bfloat16", return_value=False):
        decoder = decoder_for(model, rows, ragged=False, max_length=LONGEST)
    with torch.inference_mode():
        expected = model.base_model(input_ids=ids).last_hidden_state
        decoder.prefill([3])
        for place in range(LONGEST):
            if place:
                decoder.append(ids[:, place])
            if place in asked:
                torch.testing.assert_close(decoder.forward(), expected[:, place], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"activation_function": "relu"}], ids=str)
def test_a_decoder_in_bfloat16_rounds_and_no_more(settings: dict[str, Any]) -> None:
    model, ids = model_of(**settings), rows_that_begin_alike(60)
    with mock.patch.object(decoding, "has_bfloat16", return_value=True):
        decoder = decoder_for(model, 60, ragged=False, max_length=LONGEST)
    with torch.inference_mode():
        expected = model.transformer(input_ids=ids).last_hidden_state
        for place in range(LONGEST):
            decoder.append(ids[:, place])
            found = decoder.forward()
            assert found.dtype == torch.float32
            assert 1e-4 < (found - expected[:, place]).norm() / expected[:, place].norm() < 2e-2


def test_a_decoder_leaves_the_model_as_it_was() -> None:
    model = model_of()
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        decoder = decoder_for(model, 3, ragged=False, max_length=LONGEST)
        decoder.prefill([1, 2, 3])
        decoder.forward()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
