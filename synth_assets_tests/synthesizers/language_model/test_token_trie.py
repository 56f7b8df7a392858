"""The tokens of rows are the tokens of their sentences, and the tries lead back to the indices."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.base_models import sentences
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.token_trie import PAD, TokenTrie
from synth_assets.synthesizers.language_model.tokenizer import END_OF_TEXT, UNKNOWN, scratch_tokenizer
from synth_assets_tests.synthesizers.language_model.tiny_bases import (
    END,
    TOKENIZERS,
    lower_case,
    unigram,
)
from synth_assets_tests.synthesizers.language_model.tiny_bases import byte_level as byte_level_base


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


def indices_of(row_encoder: RowEncoder, table: pd.DataFrame) -> np.ndarray:
    return row_encoder.to_indices(row_encoder.quantise(table))


def spaced_sentences(row_encoder: RowEncoder, table: pd.DataFrame) -> list[str]:
    """Return rows as sentences with a space between the parts of a value."""
    texts: dict[str, list[str]] = {}
    place = 0
    for column in row_encoder.all_columns:
        own = indices_of(row_encoder, table)[:, place : place + len(column.parts)]
        place += len(column.parts)
        texts[column.name] = [" ".join(p.texts[i] for p, i in zip(column.parts, row, strict=True)) for row in own]
    return sentences(pd.DataFrame(texts))


def check(row_encoder: RowEncoder, tokenizer: Any, table: pd.DataFrame, rows: list[str]) -> TokenTrie:
    """Check the tokens of rows without an absent part, which are those of their sentences."""
    trie = TokenTrie.build(row_encoder, tokenizer)
    indices = indices_of(row_encoder, table)
    ids, slots, targets = trie.tokenise(indices)
    assert ids.shape == slots.shape == targets.shape
    assert ids.shape[1] == trie.max_length
    sentences_ids = tokenizer(rows)["input_ids"]
    for row, marks, chosen, own, said in zip(ids.tolist(), slots, targets, indices, sentences_ids, strict=True):
        beginning = [trie.end] if trie.fills else []
        assert row == beginning + said + [trie.end] * (len(row) - len(beginning) - len(said))
        expected: list[int] = []
        remaining = iter(own)
        for column in trie.columns:
            expected += [PAD] * len(column.prefix)
            for part in column.parts:
                width = int((part.values[next(remaining)] != PAD).sum())
                expected += range(part.first_slot, part.first_slot + width)
        assert marks.tolist() == expected + [PAD] * (len(row) - len(expected))
        for token, slot, target in zip(row, marks, chosen, strict=True):
            assert target == 0 if slot == PAD else trie.candidates[slot][target] == token
    return trie


def read_back(trie: TokenTrie, ids: list[int]) -> list[int]:
    """Return the indices of the parts that tokens stand for."""
    found: list[int] = []
    at = 0
    for column in trie.columns:
        assert ids[at : at + len(column.prefix)] == column.prefix
        at += len(column.prefix)
        has_ended = False
        for part in column.parts:
            if has_ended:
                found.append(-1)
                filler = len(part.levels) if trie.fills else 0
                assert ids[at : at + filler] == [trie.end] * filler
                at += filler
                continue
            node = 0
            for level in part.levels:
                option = int(np.flatnonzero(level.tokens == ids[at])[0])
                node = int(level.children[node, option])
                assert node != PAD
                at += 1
                if level.is_terminal[node]:
                    assert level.first[node] == level.last[node]
                    break
            found.append(int(level.first[node]))
            has_ended = found[-1] < part.n_ending
    assert ids[at] == trie.end
    return found


def mixed_table(rows: int = 150) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return rows with missing values, atoms, negative numbers of several parts, booleans, dates and text."""
    rng = np.random.default_rng(0)
    amount = rng.integers(-30_000, 90_000, rows) / 100
    amount[:40], amount[40:60] = 0.0, 0.05
    table = pd.DataFrame(
        {
            "amount": np.where(rng.random(rows) < 0.1, np.nan, amount),
            "kind": pd.Series(rng.choice(["missing", "x", "y"], rows), dtype="str"),
            "paid": pd.array(rng.choice([True, False, None], rows), dtype="boolean"),
            "day": pd.Series(pd.date_range("2023-02-01", periods=rows)).astype("datetime64[s]"),
            "note": pd.Series(rng.choice(["call; mail", "no", "日本", None], rows), dtype="str"),
        }
    )
    table.loc[::7, "kind"] = None
    table.loc[3::9, "day"] = None
    return table, {"note": 20}


def test_the_scratch_tokenizers_tokens_are_those_of_the_sentence() -> None:
    table = table_of()
    row_encoder, tokenizer, rows = scratch(table)
    assert any(column.predictor is not None for column in row_encoder.columns)
    tokens = check(row_encoder, tokenizer, table, rows)
    assert not tokens.is_ragged
    assert [tokenizer.tokenizer.decode(ids) for ids in tokenizer(rows)["input_ids"]] == rows
    assert tokenizer.tokenizer.token_to_id(UNKNOWN) not in np.unique(tokens.tokenise(indices_of(row_encoder, table))[0])


@pytest.mark.parametrize("size", [262, 290, 400])
def test_a_byte_level_tokenizers_tokens_are_those_of_the_sentence(size: int) -> None:
    table = table_of()
    row_encoder = RowEncoder.fit(table)
    rows = spaced_sentences(row_encoder, table)
    tokenizer = byte_level(rows[:20], size)
    tokens = check(row_encoder, tokenizer, table, rows)
    assert tokens.is_ragged
    assert [tokenizer.decode(ids) for ids in tokenizer(rows)["input_ids"]] == rows


@pytest.mark.parametrize("learned", [False, True])
def test_tries_lead_from_tokens_to_indices(learned: bool) -> None:
    table = table_of()
    row_encoder, tokenizer, rows = scratch(table)
    tokens = TokenTrie.build(row_encoder, byte_level(rows[:20]) if learned else tokenizer)
    indices = indices_of(row_encoder, table)
    assert [read_back(tokens, row) for row in tokens.tokenise(indices)[0].tolist()] == indices.tolist()


@pytest.mark.parametrize("learned", [False, True])
def test_missing_values_atoms_dates_and_text_have_tokens_of_their_own(learned: bool) -> None:
    table, texts = mixed_table()
    if learned:
        table, texts = table.drop(columns="note"), {}
    row_encoder = RowEncoder.fit(table, texts=texts)
    rows = sentences(row_encoder.to_text(table))
    tokenizer = byte_level(rows) if learned else scratch_tokenizer(rows, list(table.columns), row_encoder)
    trie = TokenTrie.build(row_encoder, tokenizer)
    assert any(column.atoms == (0, 5) for column in row_encoder.columns if column.name == "amount")
    indices = indices_of(row_encoder, table)
    ids, slots, targets = trie.tokenise(indices)
    assert [read_back(trie, row) for row in ids.tolist()] == indices.tolist()
    chosen = slots != PAD
    of_slot = [trie.candidates[slot][target] for slot, target in zip(slots[chosen], targets[chosen], strict=True)]
    assert ids[chosen].tolist() == of_slot
    # A token is chosen for each part that a value has, and for no other.
    n_parts = (indices != -1).sum(axis=1)
    assert (chosen.sum(axis=1) >= n_parts).all() if learned else (chosen.sum(axis=1) == n_parts).all()


def test_a_million_values_take_few_tokens() -> None:
    table = pd.DataFrame({"n": np.random.default_rng(0).integers(0, 10**15, 300)})
    row_encoder, tokenizer, _ = scratch(table)
    assert len(tokenizer) < 2000
    assert sum(len(tokens) for tokens in TokenTrie.build(row_encoder, tokenizer).candidates) < 2000


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
def test_odd_labels_are_written_without_loss(labels: list[str]) -> None:
    table = pd.DataFrame({"label": pd.Series(labels * 2, dtype="str"), "n": range(2 * len(labels))})
    row_encoder, tokenizer, _ = scratch(table, column_order=["label"])
    tokens = TokenTrie.build(row_encoder, tokenizer)
    indices = indices_of(row_encoder, table)
    ids, _, _ = tokens.tokenise(indices)
    assert [read_back(tokens, row) for row in ids.tolist()] == indices.tolist()


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=list(TOKENIZERS))
def test_any_tokenizer_leads_from_tokens_to_indices(make: Any) -> None:
    """Labels that begin others take a comma at their end, also in the middle of a row."""
    labels = pd.Series(["1", "10", "100", "red", "red wine"] * 8, dtype="str")
    table = pd.DataFrame({"a": labels, "b": labels.sample(frac=1.0, random_state=1).to_numpy(), "x": np.arange(40) / 8})
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    tokenizer = make(["a is 1234567890, b is red wine, x is 0.125"])
    trie, indices = TokenTrie.build(row_encoder, tokenizer), indices_of(row_encoder, table)
    ids = trie.tokenise(indices)[0].tolist()
    assert [read_back(trie, row) for row in ids] == indices.tolist()
    sentence = f"a is {table['a'][1]}, b is {table['b'][1]}, x is "
    written = tokenizer.decode(ids[1], clean_up_tokenization_spaces=False)
    assert written.removeprefix("<s> ").startswith(sentence)


@pytest.mark.parametrize(("tokenizer", "read"), [(unigram(), "<unk>"), (lower_case(), "ca.*"), (byte_level_base(), "")])
def test_what_a_tokenizer_cannot_write_is_refused_by_column_and_value(tokenizer: Any, read: str) -> None:
    value = {"": END, "ca.*": "CAfé"}.get(read, "café")
    table = pd.DataFrame({"kind": pd.Series(["a", value], dtype="str")})
    with pytest.raises(ModelError, match=rf"cannot write the value '{re.escape(value)}' of column 'kind'.*{read}"):
        TokenTrie.build(RowEncoder.fit(table), tokenizer)


def test_a_row_ends_with_the_padding_token_where_there_is_no_end_token() -> None:
    from transformers import PreTrainedTokenizerFast

    table = table_of()
    row_encoder, inner, rows = scratch(table)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner.tokenizer, pad_token=END_OF_TEXT)
    tokens = check(row_encoder, tokenizer, table, rows)
    assert tokens.end == tokenizer.pad_token_id


def test_a_tokenizer_with_neither_an_end_nor_a_padding_token_is_refused() -> None:
    from transformers import PreTrainedTokenizerFast

    row_encoder, inner, _ = scratch(table_of())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner.tokenizer)
    with pytest.raises(ModelError, match=r"neither an end token nor a padding token.*Set eos_token"):
        TokenTrie.build(row_encoder, tokenizer)
