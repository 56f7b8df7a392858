"""GPT-2 by hand gives what transformers gives: hidden states, gradients, and the states of rows under way."""

import copy
from typing import Any
from unittest import mock

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from synth_assets.synthesizers.language_model import decoding
from synth_assets.synthesizers.language_model import fast_gpt2 as gpt2
from synth_assets.synthesizers.language_model.backbone import decoder_for
from synth_assets.synthesizers.language_model.kernels import hidden_states_at, is_plain_gpt2

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


@pytest.mark.parametrize("places", [[0], [11], [0, 3, 4, 9], list(range(LONGEST))])
@pytest.mark.parametrize("settings", [{}, {"n_layer": 1}, {"activation_function": "relu"}], ids=str)
def test_states_are_those_of_transformers(places: list[int], settings: dict[str, Any]) -> None:
    model, ids = model_of(**settings), rows_that_begin_alike(5)
    with torch.no_grad():
        found = hidden_states_at(model, ids, torch.tensor(places))
        expected = model.transformer(input_ids=ids).last_hidden_state[:, places]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def gradients(model: GPT2LMHeadModel, states: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
    return [weight.grad.clone() for weight in model.transformer.parameters()]


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("settings", [{}, {"n_layer": 1}, {"n_layer": 2, "activation_function": "relu"}], ids=str)
def test_gradients_are_those_of_transformers(rounded: bool, settings: dict[str, Any]) -> None:
    model, ids, places = model_of(**settings).train(), rows_that_begin_alike(40), torch.tensor([1, 2, 5])
    expected = gradients(model, model.transformer(input_ids=ids).last_hidden_state[:, places])
    with mock.patch.object(gpt2, "has_bfloat16", return_value=rounded):
        found = gradients(model, hidden_states_at(model, ids, places))
    # Of bfloat16, a product's factors keep eight bits; and a rectifier's slope jumps where they move it past 0.
    most = (12e-2 if "activation_function" in settings else 5e-2) if rounded else 1e-4
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= most * other.norm() + 1e-4
    assert all(gradient.dtype == torch.float32 for gradient in found)
    differs = any(not torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(found, expected, strict=True))
    assert differs == rounded


def test_what_neighbours_begin_with_is_computed_once() -> None:
    model, ids, places = model_of().train(), rows_that_begin_alike(100), torch.arange(LONGEST)
    ids = torch.tensor(sorted(ids.tolist()))
    with (
        mock.patch.object(gpt2, "has_bfloat16", return_value=False),
        mock.patch.object(gpt2, "_linear", side_effect=gpt2._linear) as linear,
    ):
        found = hidden_states_at(model, ids, places)
    beginnings = {tuple(row[: place + 1]) for row in ids.tolist() for place in range(LONGEST)}
    assert len(beginnings) < 1000
    computed = [len(call.args[0]) for call in linear.call_args_list]
    # The first are the queries, keys and values of the tokens at their places.
    assert computed[1:] == [-(-len(beginnings) // gpt2.ALIKE) * gpt2.ALIKE] * 11
    assert computed[0] == len({(place, token) for row in ids.tolist() for place, token in enumerate(row)})
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
    with mock.patch.object(gpt2, "has_bfloat16", return_value=False):
        states = hidden_states_at(model, ids, places)
    torch.testing.assert_close(
        states, model.transformer(input_ids=ids).last_hidden_state[:, places], atol=1e-3, rtol=1e-3
    )
    assert all(slope.isfinite().all() for slope in gradients(model, states))


def test_what_is_not_learned_from_is_computed_in_single_precision() -> None:
    model, ids, places = model_of(), rows_that_begin_alike(5), torch.tensor([2, 5])
    with torch.no_grad(), mock.patch.object(gpt2, "has_bfloat16", return_value=True):
        rounded = hidden_states_at(model, ids, places)
        torch.testing.assert_close(rounded, model.transformer(input_ids=ids).last_hidden_state[:, places])


@pytest.mark.parametrize("name", ["resid_pdrop", "embd_pdrop", "attn_pdrop"])
def test_in_training_as_much_is_dropped(name: str) -> None:
    """Its mean over many draws is that of transformers, and so is its spread."""
    model, places = model_of(**{name: 0.3}).train(), torch.tensor([4, 7])
    ids = rows_that_begin_alike(1).expand(4000, -1)
    with torch.no_grad(), mock.patch.object(gpt2, "has_bfloat16", return_value=False):
        torch.manual_seed(1)
        found = hidden_states_at(model, ids, places)
        expected = model.transformer(input_ids=ids).last_hidden_state[:, places]
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


@pytest.mark.parametrize("alike", [True, False])
def test_rows_that_begin_alike_go_through_a_gpt2_once(alike: bool) -> None:
    model, rows = model_of(), 60
    ids = rows_that_begin_alike(rows) if alike else torch.randint(VOCABULARY, (rows, LONGEST))
    counted = []
    embeddings = model.transformer.wte.forward
    decoder = decoder_for(model, rows, ragged=False, max_length=LONGEST)
    with (
        torch.inference_mode(),
        mock.patch.object(
            model.transformer.wte, "forward", side_effect=lambda ids: counted.append(ids.numel()) or embeddings(ids)
        ),
    ):
        for place in range(6):
            decoder.append(ids[:, place])
            decoder.forward()
    assert counted == ([1, 3, 6, 60, 60, 60] if alike else [len(ids[:, 0].unique()), *[60] * 5])


def test_a_decoder_leaves_the_model_as_it_was() -> None:
    model = model_of()
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        decoder = decoder_for(model, 3, ragged=False, max_length=LONGEST)
        decoder.prefill([1, 2, 3])
        decoder.forward()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
