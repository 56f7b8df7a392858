"""Coded rows as the tokens of a sentence ('Rings is 09, Sex is M, ...'), and the tries by which they are read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_assets.synthesizers.language_model.row_encoder import RowEncoder
from synth_assets.synthesizers.settings import ModelError

PAD = -1
"""Stands where a value is shorter, in tokens, than the longest of its column."""


@dataclass(frozen=True)
class TrieLevel:
    """What may come next in a column's trie of values, one token deeper than the level before.

    Parameters
    ----------
    options : numpy.ndarray
        The u token ids that occur at this depth, sorted.
    child : numpy.ndarray
        k by u: the node that an option leads to from each of k nodes, or -1.
    first, last : numpy.ndarray
        The least and the greatest code below each node that is led to. A tokenizer of learned pieces may put a code in
        between below another node: limits of codes are exact where a value ends, and before that never too narrow.
    ends : numpy.ndarray
        Whether the value is complete at each of them.
    """

    options: np.ndarray
    child: np.ndarray
    first: np.ndarray
    last: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class ColumnTokens:
    """A column in tokens.

    Parameters
    ----------
    prefix : list of int
        What stands before every value: ', Length is'.
    values : numpy.ndarray
        K by d token ids, the value of each code; filled up with `PAD` on the right.
    levels : list of TrieLevel
        The trie of the values, d levels deep.
    """

    prefix: list[int]
    values: np.ndarray
    levels: list[TrieLevel]


@dataclass(frozen=True)
class TokenTrie:
    """The tokens of rows.

    Parameters
    ----------
    columns : list of ColumnTokens
        In the written order.
    end : int
        The token that ends a row.
    """

    columns: list[ColumnTokens]
    end: int

    @classmethod
    def of(cls, row_encoder: RowEncoder, tokenizer: Any) -> "TokenTrie":
        """Write every value of every column with a tokenizer, once.

        Parameters
        ----------
        row_encoder : RowEncoder
            The table's row_encoder.
        tokenizer : transformers.PreTrainedTokenizerBase
            Any tokenizer that splits text before the space of a word, as those of GPT-2 and of 'scratch' do.

        Returns
        -------
        TokenTrie
            The tokens.

        Raises
        ------
        ModelError
            If the tokenizer writes a value in pieces that depend on more than the text before them, or by a special
            token, which stands for the end of a row or for anything unknown.
        """
        columns: list[ColumnTokens] = []
        before = ""
        for place, column in enumerate(row_encoder.columns):
            texts = row_encoder.texts(place)
            start = f"{before}{column.name} is"
            written = tokenizer([f"{start} {text}" for text in texts])["input_ids"]
            skipped, opened = (
                len(tokenizer(before.removesuffix(", "))["input_ids"]) if before else 0,
                tokenizer(start)["input_ids"],
            )
            if any(ids[: len(opened)] != opened for ids in written):
                raise ModelError(
                    f"the base's tokenizer does not write the values of column {column.name!r} apart from its name; "
                    "choose another base, or 'scratch'."
                )
            ragged = [ids[len(opened) :] for ids in written]
            for text, ids in zip(texts, ragged, strict=True):
                if not set(tokenizer.all_special_ids).isdisjoint(ids):
                    raise ModelError(
                        f"the base's tokenizer has no token of its own for a part of {text!r} in column "
                        f"{column.name!r}; rename the label, or choose another base."
                    )
            values = np.full((len(ragged), max(map(len, ragged))), PAD, np.int64)
            for code, ids in enumerate(ragged):
                values[code, : len(ids)] = ids
            columns.append(ColumnTokens(opened[skipped:], values, _trie(values, column.name)))
            before = f"{column.name} is {texts[0]}, "
        return cls(columns, tokenizer.eos_token_id)

    @property
    def longest(self) -> int:
        """The most tokens that a row can have, its end included."""
        return sum(len(column.prefix) + int(column.values.shape[1]) for column in self.columns) + 1

    @property
    def options(self) -> list[np.ndarray]:
        """The tokens that may come next wherever the model has a choice: of every level of every column, in order."""
        return [level.options for column in self.columns for level in column.levels]

    def rows(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Write rows in tokens.

        Parameters
        ----------
        codes : numpy.ndarray
            n by m codes.

        Returns
        -------
        ids : numpy.ndarray
            n by t token ids; a shorter row is filled up on the right with the end token.
        levels : numpy.ndarray
            n by t: which of `options` a token is one of, or -1 where the model has no choice: in names, and at the end.
        choices : numpy.ndarray
            n by t: which of those options it is; 0 where there is none.
        """
        parts: list[np.ndarray] = []
        levels: list[int] = []
        for column, row in zip(self.columns, codes.T, strict=True):
            parts += [np.broadcast_to(column.prefix, (len(codes), len(column.prefix))), column.values[row]]
            levels += [PAD] * len(column.prefix)
            levels += range(max(levels, default=PAD) + 1, max(levels, default=PAD) + 1 + len(column.levels))
        ids = np.hstack([*parts, np.full((len(codes), 1), self.end)])
        of_ids = np.where(ids == PAD, PAD, [*levels, PAD])
        choices = np.zeros_like(ids)
        for place, level in enumerate([*levels, PAD]):
            if level != PAD:
                choices[:, place] = np.searchsorted(self.options[level], ids[:, place]).clip(min=0)
        # Holes move to the right end of their row, where nothing is learned.
        order = np.argsort(ids == PAD, axis=1, kind="stable")
        ids, of_ids, choices = (np.take_along_axis(part, order, 1) for part in (ids, of_ids, choices))
        return np.where(ids == PAD, self.end, ids), of_ids, np.where(of_ids == PAD, 0, choices)


def _trie(values: np.ndarray, name: str) -> list[TrieLevel]:
    levels: list[TrieLevel] = []
    node = np.zeros(len(values), np.int64)  # of each code, at the depth reached
    for depth in range(values.shape[1]):
        here = values[:, depth] != PAD
        options = np.unique(values[here, depth])
        places = np.searchsorted(options, values[:, depth])
        keys, led = np.unique(node[here] * len(options) + places[here], return_inverse=True)
        child = np.full((int(node.max()) + 1) * len(options), PAD, np.int64)
        child[keys] = np.arange(len(keys))
        codes = np.flatnonzero(here)
        first, last, below = np.full(len(keys), len(values)), np.full(len(keys), -1), np.bincount(led)
        np.minimum.at(first, led, codes)
        np.maximum.at(last, led, codes)
        deeper = values[:, depth + 1] != PAD if depth + 1 < values.shape[1] else np.zeros(len(values), bool)
        ends = np.ones(len(keys), bool)
        ends[led[deeper[codes]]] = False
        if (ends & (below > 1)).any() or (~ends & (np.bincount(led, ~deeper[codes]) > 0)).any():
            raise ModelError(
                f"the base's tokenizer writes two values of column {name!r} so that one begins the other; "
                "choose another base, or 'scratch'."
            )
        levels.append(TrieLevel(options, child.reshape(-1, len(options)), first, last, ends))
        node = np.zeros_like(node)
        node[codes] = led
    return levels


def pieces_of(texts: Sequence[str], most: int) -> list[list[str]]:
    """Cut values of numbers into pieces: two digits at a time from the right, until few different heads are left.

    Parameters
    ----------
    texts : sequence of str
        The values of a column.
    most : int
        Fewer than this many different heads are left.

    Returns
    -------
    list of list of str
        For each value its pieces, from left to right.
    """
    cut: list[list[str]] = [[text] for text in texts]
    while len({pieces[0] for pieces in cut}) >= most:
        longer = [[*_two_digits_off(pieces[0]), *pieces[1:]] for pieces in cut]
        if longer == cut:
            break
        cut = longer
    return cut


def _two_digits_off(text: str) -> list[str]:
    at, digits = len(text), 0
    while at > 0 and digits < 2:
        at -= 1
        digits += text[at].isdigit()
    return [text[:at], text[at:]] if text[:at].strip("-") else [text]
