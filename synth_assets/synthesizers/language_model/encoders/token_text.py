"""Encoder of a column of text in the tokens of a pretrained base."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from synth_assets.errors import ModelError
from synth_assets.synthesizers.language_model.encoders.base import MISSING, UNKNOWN
from synth_assets.synthesizers.language_model.encoders.text import TextEncoder

REPLACEMENT = "\ufffd"
"""What a tokenizer decodes the bytes of an incomplete character to."""

_CONTEXTS = ("", ":", "x", "1", "\n")
"""Texts after which a character is looked for as tokens of its own."""

START, BETWEEN = 0, 1
"""States: before the first token of a text, and after a complete piece."""


@dataclass(frozen=True)
class TokenTextEncoder(TextEncoder):
    """Encoder of a column of text in the tokens of a pretrained base.

    A text is tokenised behind the name of its column, as the base has learned to read it, so that words begin with
    their space. A character that the base writes in several tokens is a piece of several tokens; generation completes
    every piece. What the tokenizer does not write back exactly is written in characters.

    Parameters
    ----------
    name, length, max_length, has_missing
        As in `TextEncoder`; the length is in tokens, of which there are at most `max_length` too.
    pieces : tuple of str
        Text of each token; empty for one that is a part of a character.
    tokens : tuple of int
        Ids of the tokens in the base's vocabulary.
    groups : tuple of (tuple of int, str)
        The pieces of several tokens: their indices, and their text. None begins another piece.
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        The base's tokenizer; needed to encode texts, not to decode them.
    """

    tokens: tuple[int, ...] = ()
    groups: tuple[tuple[tuple[int, ...], str], ...] = ()
    tokenizer: Any = field(default=None, compare=False, repr=False)

    type: ClassVar[str] = "token_text"

    @classmethod
    def fit_tokens(cls, values: pd.Series, max_length: int, tokenizer: Any) -> "TokenTextEncoder":
        """Fit the encoder to the values of a column and the tokenizer of a base.

        Raises
        ------
        ModelError
            If the tokenizer cannot write a text back.
        """
        name = str(values.name)
        texts = [str(text)[:max_length] for text in values.dropna() if str(text)]
        empty = cls(name, (), (), length=1, max_length=max_length, has_missing=True, tokenizer=tokenizer)
        if not texts:
            return empty
        writer = _Writer(name, tokenizer, sorted(set("".join(texts))))
        written = list(writer.write(texts))
        for text, pieces in zip(texts, written, strict=True):
            if pieces is None:
                raise ModelError(
                    f"the base's tokenizer cannot write {text[:50]!r} in column {name!r} back as it is"
                    f"{writer.unwritable(text)}; choose another base, or 'scratch', or leave the column out."
                )
        found = {piece: None for pieces in written for piece in pieces or ()} | dict.fromkeys(
            writer.characters.values()
        )
        tokens = sorted({token for piece in found for token in piece})
        index = {token: i for i, token in enumerate(tokens)}
        singles = {piece[0]: writer.text_of(piece) for piece in found if len(piece) == 1}
        groups = [(tuple(index[t] for t in piece), writer.text_of(piece)) for piece in found if len(piece) > 1]
        encoder = replace(
            empty,
            pieces=tuple(singles.get(token, "") for token in tokens),
            has_missing=len(texts) < len(values),
            tokens=tuple(tokens),
            groups=tuple(sorted(groups)),
        )
        return replace(encoder, length=max(len(_fitting(pieces or (), max_length)) for pieces in written))

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return the (n, `length`) tokens of each text, filled up with `MISSING`; -1 for one that cannot be written."""
        quantised = np.full((len(values), self.length), MISSING, np.int64)
        texts = [str(text)[: self.max_length] for text in values.fillna("")]
        if not self.tokens:
            quantised[:, 0] = [UNKNOWN if text else MISSING for text in texts]
            return quantised
        index = {token: i for i, token in enumerate(self.tokens)}
        rows = [row for row, text in enumerate(texts) if text]
        for row, pieces in zip(rows, self._writer.write([texts[row] for row in rows]), strict=True):
            quantised[row, 0] = UNKNOWN
            for option in (pieces, self._writer.in_characters(texts[row])):
                ids = [index.get(token, UNKNOWN) for token in _fitting(option or (), self.length)]
                if ids and UNKNOWN not in ids and self._is_complete(ids):
                    quantised[row, : len(ids)] = ids
                    break
        return quantised

    def to_values(self, cells: np.ndarray) -> pd.Series:
        """Return the texts of (n, `length`) tokens."""
        texts = ["".join(self._texts_of(row))[1 : self.max_length + 1] for row in cells]
        return pd.Series([text or None for text in texts], dtype="str")

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        groups = [[list(indices), text] for indices, text in self.groups]
        return {**super().to_json(), "tokens": list(self.tokens), "groups": groups}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TokenTextEncoder":
        """Restore an encoder, without its tokenizer, from `to_json`."""
        fields = {name: value for name, value in data.items() if name != "type"}
        fields |= {"pieces": tuple(fields["pieces"]), "merges": (), "tokens": tuple(fields["tokens"])}
        fields["groups"] = tuple((tuple(indices), text) for indices, text in fields["groups"])
        return cls(**fields)

    @cached_property
    def next_states(self) -> np.ndarray:
        """(S, K) state that each token leads to from each state, or -1: a text begins with a space."""
        n = len(self.tokens)
        rows = [np.full(n, -1, np.int64), np.where([bool(text) for text in self.pieces], BETWEEN, -1)]
        rows[START][[text.startswith(" ") for text in self.pieces]] = BETWEEN
        inner: dict[tuple[int, ...], int] = {}
        for indices, text in self.groups:
            state = BETWEEN
            for depth, i in enumerate(indices):
                if depth + 1 == len(indices):
                    following = BETWEEN
                else:
                    following = inner.setdefault(indices[: depth + 1], len(rows))
                    if following == len(rows):
                        rows.append(np.full(n, -1, np.int64))
                rows[state][i] = following
                if not depth and text.startswith(" "):
                    rows[START][i] = following
                state = following
        return np.array(rows).reshape(len(rows), n)

    @cached_property
    def tokens_left(self) -> np.ndarray:
        """(S) least number of tokens that complete a piece from each state; 0 between pieces."""
        left = np.full(len(self.next_states), np.iinfo(np.int64).max // 2)
        left[BETWEEN] = 0
        for _ in range(max((len(indices) for indices, _ in self.groups), default=0) + 1):
            after = np.where(self.next_states >= 0, left[self.next_states], left.max())
            left = np.minimum(left, after.min(axis=1, initial=left.max()) + 1)
        return left

    @cached_property
    def _writer(self) -> "_Writer":
        if self.tokenizer is None:
            raise ModelError(
                f"column {self.name!r} was restored without the base's tokenizer, which encodes its texts."
            )
        return _Writer(self.name, self.tokenizer, [text for text in self._text_by_piece.values() if len(text) == 1])

    @cached_property
    def _text_by_piece(self) -> dict[tuple[int, ...], str]:
        return {(i,): text for i, text in enumerate(self.pieces) if text} | dict(self.groups)

    def _is_complete(self, ids: Sequence[int]) -> bool:
        state = START
        for i in ids:
            state = int(self.next_states[state, i])
            if state < 0:
                return False
        return state == BETWEEN

    def _texts_of(self, row: np.ndarray) -> Iterator[str]:
        piece: tuple[int, ...] = ()
        for i in row.tolist():
            if i < 0:
                return
            piece = (*piece, i)
            text = self._text_by_piece.get(piece)
            if text is not None:
                yield text
                piece = ()


def _fitting(pieces: Sequence[tuple[int, ...]], n_tokens: int) -> list[int]:
    """Return the tokens of as many pieces as have at most so many tokens together."""
    tokens: list[int] = []
    for piece in pieces:
        if len(tokens) + len(piece) > n_tokens:
            break
        tokens += piece
    return tokens


class _Writer:
    """How a base's tokenizer writes texts behind the name of a column, in pieces that none begins another of.

    Parameters
    ----------
    name : str
        The column.
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.
    alphabet : sequence of str
        Characters; `characters` has the piece of each that can be written alone.
    """

    def __init__(self, name: str, tokenizer: Any, alphabet: Sequence[str]) -> None:
        self.opening, self.tokenizer = f"{name} is", tokenizer
        self.opening_ids = self._tokenise([self.opening])[0]
        self.opening_text = self._decode(self.opening_ids)
        self.special = set(tokenizer.all_special_ids)
        self.found: dict[tuple[int, ...], str] = {}
        self.characters: dict[str, tuple[int, ...]] = {}
        for character in dict.fromkeys([REPLACEMENT, " ", *alphabet]):
            piece = self._alone(character)
            if piece is not None and (character in alphabet or character == " "):
                self.characters[character] = piece

    def write(self, texts: Sequence[str]) -> Iterator[list[tuple[int, ...]] | None]:
        """Yield the pieces of each text, the first of which begins with a space; None of one that cannot be written."""
        for text, ids in zip(texts, self._tokenise([f"{self.opening} {text}" for text in texts]), strict=True):
            pieces = self._pieces(ids[len(self.opening_ids) :]) if self._begins_with_the_opening(ids) else None
            is_exact = pieces is not None and "".join(map(self.text_of, pieces)) == f" {text}"
            yield pieces if is_exact else self.in_characters(text)

    def in_characters(self, text: str) -> list[tuple[int, ...]] | None:
        """Return the pieces of a text in characters; None if one cannot be written alone."""
        pieces = [self.characters[character] for character in f" {text}" if character in self.characters]
        return pieces if len(pieces) == len(text) + 1 else None

    def unwritable(self, text: str) -> str:
        """Return which characters of a text cannot be written, as the end of a phrase."""
        characters = [repr(character) for character in dict.fromkeys(text) if character not in self.characters]
        return f" (it has no token for {', '.join(characters[:5])})" if characters else ""

    def text_of(self, piece: tuple[int, ...]) -> str:
        """Return the text of a piece; an empty text if the tokens end within a character."""
        if piece not in self.found:
            text = self._decode([*self.opening_ids, *piece])
            is_complete = text.startswith(self.opening_text) and REPLACEMENT not in text[len(self.opening_text) :]
            self.found[piece] = text[len(self.opening_text) :] if is_complete else ""
        return self.found[piece]

    def _pieces(self, ids: Sequence[int]) -> list[tuple[int, ...]] | None:
        pieces: list[tuple[int, ...]] = []
        piece: tuple[int, ...] = ()
        for token in ids:
            piece = (*piece, token)
            if self.text_of(piece):
                pieces.append(piece)
                piece = ()
        return None if piece or not self.special.isdisjoint(ids) else pieces

    def _alone(self, character: str) -> tuple[int, ...] | None:
        """Return the tokens that write a character without what is before it."""
        for context in _CONTEXTS:
            start, whole = self._tokenise([f"{self.opening}{context}", f"{self.opening}{context}{character}"])
            piece = tuple(whole[len(start) :])
            if whole[: len(start)] != start or not piece or not self.special.isdisjoint(piece):
                continue
            is_replacement = self._decode(whole) == f"{self._decode(start)}{REPLACEMENT}" and character == REPLACEMENT
            if is_replacement and not any(self.text_of(piece[:n]) for n in range(1, len(piece))):
                self.found[piece] = REPLACEMENT
            if self.text_of(piece) == character and self._pieces(piece) == [piece]:
                return piece
        return None

    def _begins_with_the_opening(self, ids: Sequence[int]) -> bool:
        return list(ids[: len(self.opening_ids)]) == self.opening_ids

    def _tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        from synth_assets.synthesizers.language_model.tokenizer import tokenise

        return tokenise(self.tokenizer, texts)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text
