"""Encoder of a column of text."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from synth_assets.synthesizers.language_model.encoders.base import (
    ABSENT,
    MISSING,
    UNENCODABLE,
    UNKNOWN,
    Part,
    unused_text,
)

MAX_PIECES = 1000
"""Maximum number of pieces that are learned; with frequent words among them, a text is short."""

MIN_PIECE_COUNT = 5
"""Minimum number of occurrences of a piece of more than one character."""

MAX_TRAINING_TEXTS = 20_000
"""Maximum number of texts that pieces are learned from."""

END_TEXT = ";"
"""Text of the end of a value, where a row is written as a sentence."""


@dataclass(frozen=True)
class TextEncoder:
    """Encoder of a column of text as pieces: characters, and frequent sequences of them within a word.

    Pieces are learned by byte-pair encoding of characters (Sennrich, Haddow and Birch, *Neural Machine Translation of
    Rare Words with Subword Units*, 2016).

    Parameters
    ----------
    name : str
        Name of the column.
    pieces : tuple of str
        The pieces; joined, those of a value are its text.
    merges : tuple of (str, str)
        Pairs of pieces in the order in which they are joined.
    length : int
        Maximum number of pieces of a value.
    max_length : int
        Maximum number of characters; a longer text is cut off.
    has_missing : bool
        Whether train rows have missing values in this column.
    """

    name: str
    pieces: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    length: int
    max_length: int
    has_missing: bool

    type: ClassVar[str] = "text"

    @classmethod
    def fit(cls, values: pd.Series, max_length: int) -> "TextEncoder":
        """Fit the encoder to the values of a column."""
        import json

        from tokenizers import Tokenizer, models, trainers

        texts = [str(text)[:max_length] for text in values.dropna() if str(text)]
        if not texts:
            return cls(str(values.name), (), (), length=1, max_length=max_length, has_missing=True)
        characters = sorted(set("".join(texts)))
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = _words()
        trainer = trainers.BpeTrainer(
            vocab_size=max(MAX_PIECES, len(characters)),
            min_frequency=MIN_PIECE_COUNT,
            initial_alphabet=characters,
            show_progress=False,
        )
        chosen = np.random.default_rng(0).permutation(len(texts))[:MAX_TRAINING_TEXTS]
        tokenizer.train_from_iterator((texts[i] for i in chosen), trainer)
        learned = json.loads(tokenizer.to_str())["model"]
        encoder = cls(
            str(values.name),
            tuple(sorted(learned["vocab"], key=learned["vocab"].__getitem__)),
            tuple((first, second) for first, second in learned["merges"]),
            length=0,
            max_length=max_length,
            has_missing=len(texts) < len(values),
        )
        length = max(len(encoding.ids) for encoding in encoder._tokenizer.encode_batch(texts))
        return cls(encoder.name, encoder.pieces, encoder.merges, length, max_length, encoder.has_missing)

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of a value, all of them alike: the end (or, at first, a missing value), or a piece."""
        part = Part((unused_text(END_TEXT, self.pieces), *self.pieces), n_ending=1)
        return [part] * self.length

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return the (n, `length`) pieces of each text, filled up with `MISSING`; -1 for a text with an unknown one."""
        quantised = np.full((len(values), self.length), MISSING, np.int64)
        texts = [str(text)[: self.max_length] for text in values.fillna("")]
        if not self.pieces:
            quantised[:, 0] = [UNKNOWN if text else MISSING for text in texts]
            return quantised
        alphabet = set(self.pieces)
        for row, (text, encoding) in enumerate(zip(texts, self._tokenizer.encode_batch(texts), strict=True)):
            ids = encoding.ids[: self.length] if alphabet.issuperset(text) else [UNKNOWN]
            quantised[row, : len(ids)] = ids
        return quantised

    def to_indices(self, quantised: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the (n, `length`) indices of the parts of n values, (n, `length`)."""
        del quantised
        is_piece = cells >= 0
        indices = np.where(is_piece, cells + 1, np.where(cells == MISSING, 0, UNENCODABLE))
        # Only the first part after the last piece is the end.
        indices[:, 1:][~is_piece[:, 1:] & ~is_piece[:, :-1]] = ABSENT
        if not self.has_missing:
            indices[:, 0][indices[:, 0] == 0] = UNENCODABLE
        return indices

    def from_indices(self, quantised: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return the (n, `length`) pieces of the (n, `length`) indices of the parts of n values."""
        del quantised
        return np.where(indices > 0, indices.astype(np.int64) - 1, MISSING)

    def nearest(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values, (n, `length`), and which of them train rows cannot have."""
        return cells, (self.to_indices(cells, cells) == UNENCODABLE).any(axis=1)

    def to_values(self, cells: np.ndarray) -> pd.Series:
        """Return the texts of (n, `length`) pieces."""
        texts = ["".join(self.pieces[piece] for piece in row if piece >= 0)[: self.max_length] for row in cells]
        return pd.Series([text or None for text in texts], dtype="str")

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        return {
            "type": self.type,
            "name": self.name,
            "pieces": list(self.pieces),
            "merges": [list(merge) for merge in self.merges],
            "length": self.length,
            "max_length": self.max_length,
            "has_missing": self.has_missing,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TextEncoder":
        """Restore an encoder from `to_json`."""
        fields = {name: value for name, value in data.items() if name != "type"}
        fields["pieces"] = tuple(fields["pieces"])
        fields["merges"] = tuple((first, second) for first, second in fields["merges"])
        return cls(**fields)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models

        vocabulary = {piece: i for i, piece in enumerate(self.pieces)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(self.merges)))
        tokenizer.pre_tokenizer = _words()
        return tokenizer


def _words() -> Any:
    """Return what splits a text into words, each with the space before it."""
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(r"\s?[^\s]+|\s"), behavior="isolated")
