"""The tokens of rows are the tokens of their sentences, and the tries lead back to the codes."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.base_models import sentences
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.token_trie import PAD, TokenTrie
from synth_assets.synthesizers.language_model.tokenizer import scratch_tokenizer


def table_of(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Return rows with labels, a small and a large grid, negatives, and a predictable column."""
    rng = np.random.default_rng(seed)
    large, small = rng.integers(-5000, 9000, rows), rng.integers(0, 9, rows)
    return pd.DataFrame(
        {
            "kind": pd.Series(rng.choice(["F", "I", "a longer one", "é"], rows), dtype="str"),
            "large": large / 1e3,
            "small": small,
            "sum of both": (large + 40 * small + rng.integers(0, 90, rows)) / 1e3,
        }
    )


def scratch(table: pd.DataFrame, **arguments: Any) -> tuple[RowEncoder, Any, list[str]]:
    row_encoder = RowEncoder.fit(table, **arguments)
    rows = sentences(row_encoder.to_text(table))
    return row_encoder, scratch_tokenizer(rows, list(table.columns), row_encoder), rows


def byte_level(rows: list[str], size: int = 290) -> Any:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(rows, vocab_size=size, special_tokens=["<|endoftext|>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token="<|endoftext|>")  # noqa: S106 - a token, not a password


def check(row_encoder: RowEncoder, tokenizer: Any, table: pd.DataFrame, rows: list[str]) -> TokenTrie:
    tokens = TokenTrie.build(row_encoder, tokenizer)
    codes = row_encoder.codes(row_encoder.quantise(table))
    ids, slots, targets = tokens.tokenise(codes)
    assert ids.shape == slots.shape == targets.shape
    assert ids.shape[1] == tokens.max_length
    sentences_ids = tokenizer(rows)["input_ids"]
    for row, marks, chosen, code, said in zip(ids.tolist(), slots, targets, codes, sentences_ids, strict=True):
        assert row == said + [tokens.end] * (len(row) - len(said))
        expected: list[int] = []
        deepest = 0  # levels of the columns before
        for column, value in zip(tokens.columns, code, strict=True):
            width = int((column.values[value] != PAD).sum())
            expected += [PAD] * len(column.prefix) + list(range(deepest, deepest + width))
            deepest += len(column.levels)
        assert len(expected) == len(said)
        assert marks.tolist() == expected + [PAD] * (len(row) - len(expected))
        for token, slot, target in zip(row, marks, chosen, strict=True):
            assert target == 0 if slot == PAD else tokens.candidates[slot][target] == token
    return tokens


def read_back(tokens: TokenTrie, ids: list[int]) -> list[int]:
    found, at = [], 0
    for column in tokens.columns:
        assert ids[at : at + len(column.prefix)] == column.prefix
        at += len(column.prefix)
        node = 0
        for level in column.levels:
            option = int(np.flatnonzero(level.tokens == ids[at])[0])
            node = int(level.children[node, option])
            assert node != PAD
            at += 1
            if level.is_terminal[node]:
                assert level.first[node] == level.last[node]
                break
        found.append(int(level.first[node]))
    assert ids[at] == tokens.end
    return found


def test_the_scratch_tokenizers_tokens_are_those_of_the_sentence() -> None:
    table = table_of()
    row_encoder, tokenizer, rows = scratch(table)
    assert any(column.predictor is not None for column in row_encoder.columns)
    tokens = check(row_encoder, tokenizer, table, rows)
    assert not any((column.values == PAD).any() for column in tokens.columns)
    assert [tokenizer.decode(ids) for ids in tokenizer(rows)["input_ids"]] == rows
    assert tokenizer.unk_token_id not in np.unique(tokens.tokenise(row_encoder.codes(row_encoder.quantise(table)))[0])


@pytest.mark.parametrize("size", [262, 290, 400])
def test_a_byte_level_tokenizers_tokens_are_those_of_the_sentence(size: int) -> None:
    table = table_of()
    row_encoder = RowEncoder.fit(table)
    rows = sentences(row_encoder.to_text(table))
    tokenizer = byte_level(rows[:20], size)
    tokens = check(row_encoder, tokenizer, table, rows)
    assert any((column.values == PAD).any() for column in tokens.columns)
    assert [tokenizer.decode(ids) for ids in tokenizer(rows)["input_ids"]] == rows


@pytest.mark.parametrize("learned", [False, True])
def test_tries_lead_from_tokens_to_codes(learned: bool) -> None:
    table = table_of()
    row_encoder, tokenizer, rows = scratch(table)
    tokens = TokenTrie.build(row_encoder, byte_level(rows[:20]) if learned else tokenizer)
    codes = row_encoder.codes(row_encoder.quantise(table))
    assert [read_back(tokens, row) for row in tokens.tokenise(codes)[0].tolist()] == codes.tolist()


def test_every_value_that_can_be_written_has_tokens_of_its_own() -> None:
    row_encoder, tokenizer, _ = scratch(table_of())
    for i, column in enumerate(TokenTrie.build(row_encoder, tokenizer).columns):
        assert len(np.unique(column.values, axis=0)) == row_encoder.columns[i].cardinality
        assert column.values.shape[1] <= 3


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "ab", "abc"],
        ["1", "10", "1.5"],
        ["a, b", "a"],
        ["x is y", "x"],
        ["é", "ß", "日本", "🦪"],
        [" leads", "trails ", "two  spaces"],
        ["'quoted'", '"double"'],
        ["(a|b)*", "[c]", "\\d", "^$", "."],
        ["n is", ", n is 1"],
        ["Sex", "n"],
        ["", "empty is a label"],
        ["a\nb", "a\tb"],
        ["<|endoftext|>", "plain"],
    ],
)
def test_odd_labels_are_written_without_loss_or_refused(labels: list[str]) -> None:
    table = pd.DataFrame({"label": pd.Series(labels * 2, dtype="str"), "n": range(2 * len(labels))})
    row_encoder, tokenizer, rows = scratch(table, column_order=["label"])
    try:
        tokens = TokenTrie.build(row_encoder, tokenizer)
    except ModelError:
        return
    codes = row_encoder.codes(row_encoder.quantise(table))
    ids, _, _ = tokens.tokenise(codes)
    assert [read_back(tokens, row) for row in ids.tolist()] == codes.tolist()
    said = tokenizer(rows)["input_ids"]
    assert [row[: len(one)] for row, one in zip(ids.tolist(), said, strict=True)] == said


def test_a_value_that_begins_another_is_refused() -> None:
    table = pd.DataFrame({"k": pd.Series(["ab", "abab"], dtype="str")})
    with pytest.raises(ModelError, match="one begins the other"):
        TokenTrie.build(RowEncoder.fit(table), byte_level(["k is ab"], 262))


def test_a_row_ends_with_the_padding_token_where_there_is_no_end_token() -> None:
    table = table_of()
    row_encoder, tokenizer, rows = scratch(table)
    tokenizer.eos_token, tokenizer.pad_token = None, "<|endoftext|>"
    tokens = check(row_encoder, tokenizer, table, rows)
    assert tokens.end == tokenizer.pad_token_id


def test_a_tokenizer_with_neither_an_end_nor_a_padding_token_is_refused() -> None:
    row_encoder, tokenizer, _ = scratch(table_of())
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match=r"neither an end token nor a padding token.*Set eos_token"):
        TokenTrie.build(row_encoder, tokenizer)
