"""Decoding with a cache, token by token, is the forward pass of transformers, for each architecture."""

from typing import Any
from unittest import mock

import pytest
import torch

from synth_assets.synthesizers.language_model import decoding
from synth_assets.synthesizers.language_model.backbone import decoder_for
from synth_assets.synthesizers.language_model.decoding import MIN_PROMPT, CachedDecoder, Decoder
from synth_assets.synthesizers.language_model.fused_decoding import FusedDecoder, can_fuse
from synth_assets.synthesizers.language_model.layers import replace_layers
from synth_assets_tests.synthesizers.language_model.tiny_bases import ARCHITECTURES, tiny_model

VOCABULARY, ROWS, LENGTH = 30, 5, 14


def wide(architecture: str) -> dict[str, int]:
    """Return the settings by which heads have 16 channels, as kernels need at least."""
    return {"n_embd": 32} if architecture == "gpt2" else {"head_dim": 16}


def with_prefixes(rows: torch.Tensor) -> torch.Tensor:
    """Return rows of which all begin alike, and then some do."""
    rows[:, :4] = rows[:1, :4]
    rows[1:, 4:7] = rows[1:2, 4:7]
    return rows


def decoder_of(model: Any, kind: str, rows: int, *, ragged: bool, max_length: int) -> Decoder:
    """Return the decoder that is chosen on a CPU, or one that is chosen on a GPU."""
    options: dict[str, Any] = {"ragged": ragged, "max_length": max_length}
    if kind == "chosen":
        with mock.patch.object(decoding, "has_bfloat16", return_value=False):
            return decoder_for(model, rows, **options)
    if kind == "faster layers":
        replace_layers(model)
        return CachedDecoder(model.base_model, rows, model.device, **options)
    assert can_fuse(model)
    return FusedDecoder(model, rows, model.device, **options)


KINDS = [
    *((architecture, kind) for architecture in ARCHITECTURES for kind in ("chosen", "faster layers")),
    *((architecture, "fused") for architecture in ("gpt2", "llama", "qwen2")),
]


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_rows_of_one_length_have_the_states_of_transformers(architecture: str, kind: str, several: int) -> None:
    model = tiny_model(architecture, VOCABULARY, **wide(architecture) if kind == "fused" else {})
    ids = with_prefixes(torch.randint(VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        expected = model.base_model(input_ids=ids).last_hidden_state
        decoder = decoder_of(model, kind, ROWS, ragged=False, max_length=LENGTH)
        for position in range(LENGTH):
            decoder.append(ids[:, position])
            if position % several == 0:
                torch.testing.assert_close(decoder.forward(), expected[:, position], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize(("architecture", "kind"), KINDS)
def test_rows_that_skip_tokens_have_the_states_of_rows_without_them(architecture: str, kind: str, several: int) -> None:
    model = tiny_model(architecture, VOCABULARY, **wide(architecture) if kind == "fused" else {})
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=random)
    skip = torch.rand((ROWS, LENGTH), generator=random) < 0.4
    skip[:, 0] = False
    ids, skip = with_prefixes(ids), with_prefixes(skip)
    with torch.inference_mode():
        decoder = decoder_of(model, kind, ROWS, ragged=True, max_length=LENGTH)
        for position in range(LENGTH):
            decoder.append(ids[:, position], skip=skip[:, position])
            if position % several == 0:
                found = decoder.forward()
                for row in range(ROWS):
                    kept = ids[row, : position + 1][~skip[row, : position + 1]]
                    expected = model.base_model(input_ids=kept[None]).last_hidden_state[0, -1]
                    torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("architecture", "kind"), [("llama", "chosen"), ("gemma3_text", "chosen"), ("llama", "fused")])
def test_rows_that_begin_with_a_prompt_have_the_states_of_transformers(
    architecture: str, kind: str, ragged: bool
) -> None:
    model = tiny_model(architecture, VOCABULARY, **wide(architecture) if kind == "fused" else {})
    random = torch.Generator().manual_seed(1)
    prompt = torch.randint(VOCABULARY, (MIN_PROMPT,), generator=random)
    ids = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=random)
    skip = (torch.rand((ROWS, LENGTH), generator=random) < 0.4) & ragged
    with torch.inference_mode():
        decoder = decoder_of(model, kind, ROWS, ragged=ragged, max_length=MIN_PROMPT + LENGTH)
        decoder.prefill(prompt.tolist())
        for position in range(LENGTH):
            decoder.append(ids[:, position], skip=skip[:, position])
        found = decoder.forward()
        for row in range(ROWS):
            whole = torch.cat([prompt, ids[row][~skip[row]]])
            expected = model.base_model(input_ids=whole[None]).last_hidden_state[0, -1]
            torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)
