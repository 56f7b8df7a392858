"""The tokenizer of a 'scratch' base: one token for each column name, one to three for each value."""

import re
import string
from collections.abc import Sequence
from typing import Any

from synth_assets.synthesizers.language_model.encoders import ColumnEncoder, RowEncoder
from synth_assets.synthesizers.language_model.encoders.numeric import SUFFIX_THRESHOLD

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's only special token. be_great pads with it, and removes it (and no other) from the text that it reads."""

UNKNOWN = "<|unknown|>"


def scratch_tokenizer(rows: Sequence[str], names: Sequence[str], row_encoder: RowEncoder | None = None) -> Any:
    """Make a tokenizer, of transformers, for the rows of a table as sentences, which supply the characters.

    As in GPT-2, a space belongs to the token after it. A column name is one token, as are ' is' and ','; anything else
    is a character. With a row encoder, a value is one to three tokens, and a name is one with its surroundings
    (', Length is'). Joined tokens are the text again.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = sorted(set("".join(rows)) | set(string.printable.strip()))
    vocabulary = [END_OF_TEXT, UNKNOWN]
    patterns = []
    for column in row_encoder.columns if row_encoder else ():
        vocabulary += [f" {column.name} is", f", {column.name} is"]
        patterns.append(f",? {re.escape(column.name)} is(?= |$)")
        value_tokens, value_patterns = _value_tokens(column)
        vocabulary += value_tokens
        patterns += value_patterns
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
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, unk_token=UNKNOWN)


def subword_tokens(texts: Sequence[str], max_heads: int) -> list[list[str]]:
    """Split each number into subword tokens, from left to right.

    Two digits at a time are split off from the right, until there are fewer than `max_heads` different heads.
    """
    values: list[list[str]] = [[text] for text in texts]
    while len({tokens[0] for tokens in values}) >= max_heads:
        split = [[*_split_two_digits(tokens[0]), *tokens[1:]] for tokens in values]
        if split == values:
            break
        values = split
    return values


def _split_two_digits(text: str) -> list[str]:
    at, digits = len(text), 0
    while at > 0 and digits < 2:
        at -= 1
        digits += text[at].isdigit()
    return [text[:at], text[at:]] if text[:at].strip("-") else [text]


def _value_tokens(column: ColumnEncoder) -> tuple[list[str], list[str]]:
    """Return the tokens of a column's values, and the patterns that find them behind the column's name."""
    texts = column.vocabulary()
    values = subword_tokens(texts, SUFFIX_THRESHOLD) if column.is_numeric else [[text] for text in texts]
    name = f" {re.escape(column.name)} is"
    vocabulary: list[str] = []
    patterns = []
    for depth in range(len(values[0])):
        # A sign makes a value longer: values of one length share a pattern.
        by_length: dict[tuple[int, str], set[str]] = {}
        for tokens in values:
            n_before = sum(map(len, tokens[:depth]))
            after = "".join(tokens[depth + 1 :])
            by_length.setdefault((n_before, re.sub(r"\d", "0", after)), set()).add(tokens[depth])
        for (n_before, after), found in by_length.items():
            space = "" if depth else " "
            vocabulary += [f"{space}{token}" for token in sorted(found)]
            look_behind = f"(?<={name}" + (f" .{{{n_before}}}" if depth else "") + ")"
            alternatives = "|".join(re.escape(token) for token in sorted(found, key=lambda text: (-len(text), text)))
            digits = re.escape(after).replace("0", "\\d")
            patterns.append(f"{look_behind}{space}(?:{alternatives})(?={digits}(?:, |$))")
    return vocabulary, patterns
