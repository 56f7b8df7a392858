"""Rows in tokens are what the tokenizer makes of their sentences, and the tries lead back to the rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.language_model.base_models import _tokenizer_of, sentences
from synth_assets.synthesizers.language_model.encoders import NumericEncoder, RowEncoder
from synth_assets.synthesizers.language_model.token_trie import PAD, TokenTrie, subword_tokens
from synth_assets.synthesizers.settings import ModelError


def table_of(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Give rows with labels, a small and a large grid, negatives, and a column that is written as a difference."""
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
    return row_encoder, _tokenizer_of(rows, list(table.columns), row_encoder), rows


def byte_level(rows: list[str], size: int = 290) -> Any:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(rows, vocab_size=size, special_tokens=["<|endoftext|>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token="<|endoftext|>")  # noqa: S106 - a token, not a password


def check(row_encoder: RowEncoder, tokenizer: Any, table: pd.DataFrame, rows: list[str]) -> TokenTrie:
    tokens = TokenTrie.build(row_encoder, tokenizer)
    codes = row_encoder.codes(row_encoder.quantise(table))
    ids, levels, choices = tokens.tokenise(codes)
    assert ids.shape == levels.shape == choices.shape
    assert ids.shape[1] == tokens.max_length
    said_by_it = tokenizer(rows)["input_ids"]
    for row, marks, chosen, code, said in zip(ids.tolist(), levels, choices, codes, said_by_it, strict=True):
        assert row == said + [tokens.end] * (len(row) - len(said))
        expected: list[int] = []
        deepest = 0  # levels of the columns before
        for column, value in zip(tokens.columns, code, strict=True):
            width = int((column.values[value] != PAD).sum())
            expected += [PAD] * len(column.prefix) + list(range(deepest, deepest + width))
            deepest += len(column.levels)
        assert len(expected) == len(said)
        assert marks.tolist() == expected + [PAD] * (len(row) - len(expected))
        for token, level, choice in zip(row, marks, chosen, strict=True):
            assert choice == 0 if level == PAD else tokens.candidates[level][choice] == token
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


def test_the_scratch_tokenizers_pieces_are_those_of_the_sentence() -> None:
    table = table_of()
    row_encoder, tokenizer, rows = scratch(table)
    assert any(isinstance(column, NumericEncoder) and column.predictor is not None for column in row_encoder.columns)
    tokens = check(row_encoder, tokenizer, table, rows)
    assert not any((column.values == PAD).any() for column in tokens.columns)
    assert [tokenizer.decode(ids) for ids in tokenizer(rows)["input_ids"]] == rows
    assert tokenizer.unk_token_id not in np.unique(tokens.tokenise(row_encoder.codes(row_encoder.quantise(table)))[0])


@pytest.mark.parametrize("size", [262, 290, 400])
def test_a_byte_level_tokenizers_pieces_are_those_of_the_sentence(size: int) -> None:
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
    for place, column in enumerate(TokenTrie.build(row_encoder, tokenizer).columns):
        assert len(np.unique(column.values, axis=0)) == row_encoder.columns[place].cardinality
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
    row_encoder, tokenizer, rows = scratch(table, first=["label"])
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


def test_pieces_are_cut_from_the_right() -> None:
    texts = [f"{n // 1000:02d}.{n % 1000:03d}" for n in range(12_000)]
    cut = subword_tokens(texts, 256)
    assert ["".join(pieces) for pieces in cut] == texts
    assert all(sum(c.isdigit() for c in piece) == 2 for pieces in cut for piece in pieces[1:])
    assert len({pieces[0] for pieces in cut}) < 256
    assert subword_tokens(["1", "2"], 256) == [["1"], ["2"]]


# What differences add to the row_encoder: the tables of test_coding.py are too random to be predicted.


@st.composite
def predictable(draw: st.DrawFn) -> tuple[pd.DataFrame, int, int]:
    decimals, step = draw(st.integers(0, 5)), draw(st.sampled_from([1, 3, 5, 7, 25]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    offset = draw(st.sampled_from([0, -3000]))
    a, b = rng.integers(0, 4000, (2, 150)) + offset
    c = (2 * a - b + rng.integers(0, draw(st.integers(1, 300)), 150)) * step
    scale = 10**decimals
    table = pd.DataFrame({"c": c / scale, "a": a / scale, "b": b / scale, "constant": 1.25})
    return table if decimals else table.astype({"a": "int64", "c": "int64"}), decimals, step


@settings(max_examples=60, deadline=None)
@given(predictable())
def test_differences_lose_nothing(drawn: tuple[pd.DataFrame, int, int]) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    assert getattr(row_encoder.columns[row_encoder.column_index("c")], "predictor", None) is not None
    units = row_encoder.quantise(table)
    codes = row_encoder.codes(units)
    assert (codes >= 0).all()
    back = np.zeros_like(units)
    for place in range(len(row_encoder.columns)):
        back[:, place] = row_encoder.dequantise(place, codes[:, place], row_encoder.offsets(place, back))
        low, high = row_encoder.bounds(place)
        assert (low, high) == (units[:, place].min(), units[:, place].max())
    pd.testing.assert_frame_equal(row_encoder.to_frame(back), table)


@settings(max_examples=60, deadline=None)
@given(predictable())
def test_differences_rounded_to_hundreds_keep_the_last_two_digits(drawn: tuple[pd.DataFrame, int, int]) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    place = row_encoder.column_index("c")
    column = row_encoder.columns[place]
    assert isinstance(column, NumericEncoder)
    assert column.has_suffix_token
    assert column.prediction_step % 100 == 0
    units = row_encoder.quantise(table)
    texts = np.array(row_encoder.vocabulary(place), object)[row_encoder.codes(units)[:, place]]
    digits = [int(text.replace(".", "")[-2:]) for text in texts]
    assert digits == (units[:, place] % 100).tolist()
    assert len({len(text) for text in row_encoder.vocabulary(place)}) == 1
    assert not any(text.startswith("-") for text in row_encoder.vocabulary(place))


@settings(max_examples=20, deadline=None)
@given(predictable(), st.integers(1, 149))
def test_a_rows_code_does_not_depend_on_its_neighbours(drawn: tuple[pd.DataFrame, int, int], one: int) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    units = row_encoder.quantise(table)
    assert (row_encoder.codes(units[one : one + 1]) == row_encoder.codes(units)[one]).all()


def test_a_coding_with_differences_survives_json() -> None:
    import json

    table = table_of()
    row_encoder = RowEncoder.fit(table)
    again = RowEncoder.from_json(json.loads(json.dumps(row_encoder.to_json())))
    assert again == row_encoder
    assert (again.codes(again.quantise(table)) == row_encoder.codes(row_encoder.quantise(table))).all()
