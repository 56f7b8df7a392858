"""The tokenizer of a 'scratch' base: one token for each column name, and one for each part of a value."""

import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth_assets.synthesizers.language_model.encoders import ColumnEncoder, RowEncoder, TextEncoder, TokenTextEncoder

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's only special token. be_great pads with it, and removes it (and no other) from the text that it reads."""

UNKNOWN = "<|unknown|>"


class ScratchTokenizer:
    """A tokenizer, with the part of transformers' interface that `TokenTrie` needs.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.
    eos_token, unk_token : str
        Its special tokens: the one that ends a row, and the one for what it does not know.
    """

    def __init__(self, tokenizer: Any, eos_token: str, unk_token: str) -> None:
        self.tokenizer, self.eos_token, self.unk_token = tokenizer, eos_token, unk_token
        self.eos_token_id: int = tokenizer.token_to_id(eos_token)
        self.all_special_ids: list[int] = [self.eos_token_id, tokenizer.token_to_id(unk_token)]

    @classmethod
    def load(cls, folder: Path) -> "ScratchTokenizer":
        """Read the files that `save_pretrained` or transformers wrote."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return cls(tokenizer, named["eos_token"], named["unk_token"])

    def __call__(self, text: str | Sequence[str]) -> dict[str, Any]:
        """Return the token ids of a text, or of each of several, under 'input_ids'."""
        if isinstance(text, str):
            return {"input_ids": self.tokenizer.encode(text).ids}
        return {"input_ids": [encoded.ids for encoded in self.tokenizer.encode_batch(list(text))]}

    def __len__(self) -> int:
        """Return the number of tokens."""
        return int(self.tokenizer.get_vocab_size())

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that transformers reads."""
        specials = {"eos_token": self.eos_token, "unk_token": self.unk_token}
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **specials}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        self.tokenizer.save(str(folder / "tokenizer.json"))


def scratch_tokenizer(
    rows: Sequence[str], names: Sequence[str], row_encoder: RowEncoder | None = None
) -> ScratchTokenizer:
    """Make a tokenizer for the rows of a table as sentences, which supply the characters.

    As in GPT-2, a space belongs to the token after it. A column name is one token, as are ' is' and ','; anything else
    is a character. With a row encoder, a name is one token with the first part of the value (', Length is 0.4'), and
    each other part is one. Joined tokens are the text again.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    characters = sorted(set("".join(rows)) | set(string.printable.strip()))
    vocabulary = [END_OF_TEXT, UNKNOWN]
    patterns = []
    for i, column in enumerate(row_encoder.all_columns if row_encoder else ()):
        if isinstance(column, TextEncoder):
            vocabulary += [name_token(column.name, is_first=i == 0), *part_tokens(column, 0, is_first=i == 0)]
        else:
            for position in range(len(column.parts)):
                vocabulary += part_tokens(column, position, is_first=i == 0)
            patterns += _value_patterns(column)
    vocabulary += [*(f" {name}" for name in names), " is", " "]
    vocabulary += [token for character in characters if character != " " for token in (character, f" {character}")]
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    patterns += [f" (?:{longest_first})(?= is\\b)", " is\\b", " ?[^ ]", " "]
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(dict.fromkeys(vocabulary))}, unk_token=UNKNOWN)
    )
    tokenizer.normalizer = normalizers.Prepend(" ")  # so that the first name is the same token as any other
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("|".join(patterns)), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([END_OF_TEXT, UNKNOWN])
    return ScratchTokenizer(tokenizer, END_OF_TEXT, UNKNOWN)


def name_token(name: str, *, is_first: bool) -> str:
    """Return the token of a column's name: ' Length is' at the start of a row, else ', Length is'."""
    return f" {name} is" if is_first else f", {name} is"


def part_tokens(column: ColumnEncoder, position: int, *, is_first: bool) -> list[str]:
    """Return the token of each index of a part in a 'scratch' base; a first part has the name before it."""
    texts = column.parts[position].texts
    # The pieces of a text bring their spaces, and all of its parts are alike.
    if position or isinstance(column, TextEncoder):
        return list(texts)
    return [f"{name_token(column.name, is_first=is_first)} {text}" for text in texts]


def word_vocabulary(tokenizer: Any, row_encoder: RowEncoder) -> dict[str, int] | None:
    """Return the id of each token of a 'scratch' base made for this row encoder; None of any other base."""
    from tokenizers import models

    inner = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "tokenizer", None)
    if inner is None or not isinstance(inner.model, models.WordLevel):
        return None
    if any(isinstance(column, TokenTextEncoder) for column in row_encoder.texts):
        return None
    vocabulary: dict[str, int] = inner.get_vocab()
    tokens = (part_tokens(column, 0, is_first=i == 0)[0] for i, column in enumerate(row_encoder.all_columns))
    return vocabulary if all(token in vocabulary for token in tokens) else None


def tokenise(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of texts, without those that a tokenizer puts before and after a text of its own accord."""
    return [list(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []


def beginning(tokenizer: Any) -> list[int]:
    """Return the tokens that a tokenizer puts before a text: Llama's and Gemma's have one for its beginning."""
    (plain,), whole = tokenise(tokenizer, ["a"]), list(tokenizer("a")["input_ids"])
    return whole[: whole.index(plain[0])] if plain and plain[0] in whole else []


MAX_PATTERN_TEXTS = 1000
"""Columns with more texts of a part are not recognised in a text; the model itself needs no recognition."""


def _value_patterns(column: ColumnEncoder) -> list[str]:
    """Return patterns that find the parts of a column's values behind its name, in text that be_great writes."""
    patterns = []
    name = f",? {re.escape(column.name)} is"
    for position, part in enumerate(column.parts):
        if len(part) > MAX_PATTERN_TEXTS:
            return []
        longest_first = sorted(part.texts, key=lambda text: (-len(text), text))
        alternatives = "|".join(re.escape(text) for text in longest_first)
        if position == 0:
            end = "(?=, |$)" if len(column.parts) == 1 else ""
            patterns.append(f"{name} (?:{alternatives}){end}")
        else:
            patterns.append(f"(?<=[0-9.])(?:{alternatives})(?=[0-9.]|, |$)")
    return patterns
