"""Decoding with a cache, token by token, is the forward pass of transformers, for each architecture."""

import pytest
import torch

from synth_assets.synthesizers.language_model.backbone import decoder_for
from synth_assets.synthesizers.language_model.decoding import MIN_PROMPT
from synth_assets_tests.synthesizers.language_model.tiny_bases import ARCHITECTURES, tiny_model

VOCABULARY, ROWS, LENGTH = 30, 5, 14


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_of_one_length_have_the_states_of_transformers(architecture: str, several: int) -> None:
    model = tiny_model(architecture, VOCABULARY)
    ids = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.base_model(input_ids=ids).last_hidden_state
        decoder = decoder_for(model, ROWS, ragged=False, max_length=LENGTH)
        for position in range(LENGTH):
            decoder.append(ids[:, position])
            if position % several == 0:
                torch.testing.assert_close(decoder.forward(), expected[:, position], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_that_skip_tokens_have_the_states_of_rows_without_them(architecture: str, several: int) -> None:
    model, random = tiny_model(architecture, VOCABULARY), torch.Generator().manual_seed(1)
    ids = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=random)
    skip = torch.rand((ROWS, LENGTH), generator=random) < 0.4
    skip[:, 0] = False
    with torch.inference_mode():
        decoder = decoder_for(model, ROWS, ragged=True, max_length=LENGTH)
        for position in range(LENGTH):
            decoder.append(ids[:, position], skip=skip[:, position])
            if position % several == 0:
                found = decoder.forward()
                for row in range(ROWS):
                    kept = ids[row, : position + 1][~skip[row, : position + 1]]
                    expected = model.base_model(input_ids=kept[None]).last_hidden_state[0, -1]
                    torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_rows_that_begin_with_a_prompt_have_the_states_of_transformers(architecture: str, ragged: bool) -> None:
    model = tiny_model(architecture, VOCABULARY)
    random = torch.Generator().manual_seed(1)
    prompt = torch.randint(VOCABULARY, (MIN_PROMPT,), generator=random)
    ids = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=random)
    skip = (torch.rand((ROWS, LENGTH), generator=random) < 0.4) & ragged
    with torch.inference_mode():
        decoder = decoder_for(model, ROWS, ragged=ragged, max_length=MIN_PROMPT + LENGTH)
        decoder.prefill(prompt.tolist())
        for position in range(LENGTH):
            decoder.append(ids[:, position], skip=skip[:, position])
        found = decoder.forward()
        for row in range(ROWS):
            whole = torch.cat([prompt, ids[row][~skip[row]]])
            expected = model.base_model(input_ids=whole[None]).last_hidden_state[0, -1]
            torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)
