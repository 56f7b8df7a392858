"""Text in the tokens of a pretrained base: every text comes back as it was, and every generated one is whole."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import RowEncoder, TokenTextEncoder
from synth_assets.synthesizers.language_model.generation import Generator
from synth_assets.synthesizers.language_model.token_trie import TokenTrie
from synth_assets_tests.synthesizers.language_model.tiny_bases import END, byte_fallback, byte_level, lower_case

CORPUS = ["note is please ring the bell twice", "note is ring the neighbour, please", "x is 1.5, note is café"] * 3
TEXTS = [
    "please ring the bell",
    "  two  spaces ",
    "größe; café, naïve",
    "東京 🦪 é🦪",
    "a\nb\tc",
    f"says {END} here",
    "damaged \ufffd text",
    ", ; is",
    "12.5 % (of 7)",
]


def encoder_of(texts: list[str | None], tokenizer: Any, max_length: int = 100) -> tuple[RowEncoder, TokenTextEncoder]:
    table = pd.DataFrame({"note": pd.Series(texts, dtype="str")})
    row_encoder = RowEncoder.fit(table, texts={"note": max_length}, tokenizer=tokenizer)
    (column,) = row_encoder.texts
    assert isinstance(column, TokenTextEncoder)
    return row_encoder, column


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_every_text_comes_back_also_after_the_encoder_was_stored(make: Any) -> None:
    tokenizer = make(CORPUS)
    row_encoder, _ = encoder_of([*TEXTS, None], tokenizer)
    restored = RowEncoder.from_json(row_encoder.to_json(), tokenizer)
    assert restored == row_encoder

    # Any text of known characters can be written.
    table = pd.DataFrame({"note": pd.Series([*TEXTS, None, "belltwice", "🦪東ï", "ring the cat"], dtype="str")})
    quantised = restored.quantise(table)
    assert restored.is_encodable(quantised).all()
    back = restored.to_frame(restored.from_indices(restored.to_indices(quantised)))
    pd.testing.assert_frame_equal(back, table)
    unknown = restored.quantise(pd.DataFrame({"note": pd.Series(["Ω"], dtype="str")}))
    assert not restored.is_encodable(unknown).any()


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_the_tokens_are_those_of_the_sentence(make: Any) -> None:
    tokenizer = make(CORPUS)
    text = "please ring the neighbour, 東京"
    row_encoder, column = encoder_of([text, "ring twice"], tokenizer)
    trie = TokenTrie.build(row_encoder, tokenizer)
    table = pd.DataFrame({"note": pd.Series([text], dtype="str")})
    ids, _, _ = trie.tokenise(row_encoder.to_indices(row_encoder.quantise(table)))
    sentence = tokenizer(f"note is {text}")["input_ids"]
    assert ids[0].tolist() == sentence + [trie.end] * (ids.shape[1] - len(sentence))
    assert column.length == len(sentence) - len(tokenizer("note is")["input_ids"])
    assert column.length < len(text)


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_generated_characters_are_whole_and_texts_bounded(make: Any) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = make(CORPUS)
    row_encoder, column = encoder_of(["東京 🦪", "🦪🦪 bell", None], tokenizer, max_length=9)
    assert column.length <= 9
    assert column.groups
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_layer=1, n_head=2, n_embd=16))
    quantised, log_weights = Generator(model.eval(), row_encoder, TokenTrie.build(row_encoder, tokenizer)).generate(
        300, {}, seeds=[1]
    )
    texts = row_encoder.to_frame(quantised)["note"]
    assert np.isfinite(log_weights).all()
    assert 0 < texts.isna().sum() < 300
    assert set("".join(texts.dropna())) == set("東京🦪 bel")
    assert texts.str.len().max() <= 9
    # Each generated sequence of tokens ends with a whole character.
    for row in quantised:
        ids = [column.tokens[i] for i in row if i >= 0]
        assert "\ufffd" not in tokenizer.decode([*tokenizer("note is")["input_ids"], *ids])


def test_a_text_that_the_tokenizer_changes_is_refused() -> None:
    with pytest.raises(ModelError, match=r"cannot write 'Ring the Bell' in column 'note' back.*no token for 'R', 'B'"):
        encoder_of(["ring", "Ring the Bell"], lower_case(CORPUS))


def test_texts_that_are_all_missing_stay_missing() -> None:
    row_encoder, column = encoder_of([None, ""], byte_level(CORPUS))
    table = pd.DataFrame({"note": pd.Series([None, ""], dtype="str")})
    assert column.length == 1
    assert row_encoder.to_frame(row_encoder.quantise(table))["note"].isna().all()
