"""Encoded rows as the tokens of a sentence ('Rings is 09, Sex is M, ...'), and tries of the values of each column."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import RowEncoder

PAD = -1
"""Fills up a value that has fewer tokens than the longest of its column."""


@dataclass(frozen=True)
class TrieLevel:
    """One level of the trie of a column's values: the tokens that may come next, from each node of the level above.

    Parameters
    ----------
    tokens : numpy.ndarray
        (u) token ids that occur at this depth, sorted.
    children : numpy.ndarray
        (k, u) node that a token leads to from each of k nodes, or -1.
    first, last : numpy.ndarray
        Smallest and largest code below each of the nodes that are led to. With a learned tokenizer, codes in between
        may lie below another node: bounds on codes are exact where a value is complete, and never too narrow before.
    is_terminal : numpy.ndarray
        Whether the value is complete at each of these nodes.
    """

    tokens: np.ndarray
    children: np.ndarray
    first: np.ndarray
    last: np.ndarray
    is_terminal: np.ndarray


@dataclass(frozen=True)
class ColumnTokens:
    """The tokens of a column.

    Parameters
    ----------
    prefix : list of int
        Tokens before every value: ', Length is'.
    values : numpy.ndarray
        (K, d) tokens of the value of each code, filled up with `PAD` on the right.
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
        The columns, in the order of the row encoder.
    end : int
        The token that ends a row: the tokenizer's end token, or its padding token if it has no end token.
    """

    columns: list[ColumnTokens]
    end: int

    @classmethod
    def build(cls, row_encoder: RowEncoder, tokenizer: Any) -> "TokenTrie":
        """Tokenise every value of every column, with a tokenizer that splits text before the space of a word.

        Raises
        ------
        ModelError
            If the tokens of a value depend on more than the text before it, a value contains a special token (which
            stands for the end of a row or for anything unknown), or the tokenizer has neither an end token nor a
            padding token.
        """
        end = tokenizer.pad_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if end is None:
            raise ModelError(
                "the base's tokenizer has neither an end token nor a padding token, and a row has to end with one of "
                "them. Set eos_token in the base's tokenizer_config.json to a token of its vocabulary, or choose "
                "another base, or 'scratch'."
            )
        columns: list[ColumnTokens] = []
        before = ""
        for column in row_encoder.columns:
            texts = column.vocabulary()
            start = f"{before}{column.name} is"
            sentences = tokenizer([f"{start} {text}" for text in texts])["input_ids"]
            start_ids = tokenizer(start)["input_ids"]
            n_before = len(tokenizer(before.removesuffix(", "))["input_ids"]) if before else 0
            if any(ids[: len(start_ids)] != start_ids for ids in sentences):
                raise ModelError(
                    f"the base's tokenizer does not separate the values of column {column.name!r} from its name; "
                    "choose another base, or 'scratch'."
                )
            ragged = [ids[len(start_ids) :] for ids in sentences]
            for text, ids in zip(texts, ragged, strict=True):
                if not set(tokenizer.all_special_ids).isdisjoint(ids):
                    raise ModelError(
                        f"the base's tokenizer has no token of its own for a part of {text!r} in column "
                        f"{column.name!r}; rename the label, or choose another base."
                    )
            values = np.full((len(ragged), max(map(len, ragged))), PAD, np.int64)
            for code, ids in enumerate(ragged):
                values[code, : len(ids)] = ids
            columns.append(ColumnTokens(start_ids[n_before:], values, _build_levels(values, column.name)))
            before = f"{column.name} is {texts[0]}, "
        return cls(columns, end)

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of a row, its end included."""
        return sum(len(column.prefix) + int(column.values.shape[1]) for column in self.columns) + 1

    @property
    def candidates(self) -> list[np.ndarray]:
        """The tokens of each slot, a level of a column's trie; slots are numbered over columns and levels."""
        return [level.tokens for column in self.columns for level in column.levels]

    def tokenise(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokenise rows.

        Parameters
        ----------
        codes : numpy.ndarray
            (n, m) codes.

        Returns
        -------
        ids : numpy.ndarray
            (n, T) token ids; shorter rows are filled up on the right with the end token.
        slots : numpy.ndarray
            (n, T) index in `candidates` of the slot of each token; -1 where it is fixed: in names and at the end.
        targets : numpy.ndarray
            (n, T) index of the token in its slot; 0 where it is fixed.
        """
        parts: list[np.ndarray] = []
        slot_at: list[int] = []  # of each position, before padding is moved
        n_slots = 0
        for column, code in zip(self.columns, codes.T, strict=True):
            parts += [np.broadcast_to(column.prefix, (len(codes), len(column.prefix))), column.values[code]]
            slot_at += [PAD] * len(column.prefix) + list(range(n_slots, n_slots + len(column.levels)))
            n_slots += len(column.levels)
        slot_at.append(PAD)
        ids = np.hstack([*parts, np.full((len(codes), 1), self.end)])
        slots = np.where(ids == PAD, PAD, slot_at)
        targets = np.zeros_like(ids)
        for position, slot in enumerate(slot_at):
            if slot != PAD:
                targets[:, position] = np.searchsorted(self.candidates[slot], ids[:, position]).clip(min=0)
        # Padding moves to the right end of its row, where nothing is learned.
        order = np.argsort(ids == PAD, axis=1, kind="stable")
        ids, slots, targets = (np.take_along_axis(part, order, 1) for part in (ids, slots, targets))
        return np.where(ids == PAD, self.end, ids), slots, np.where(slots == PAD, 0, targets)


def _build_levels(values: np.ndarray, name: str) -> list[TrieLevel]:
    levels: list[TrieLevel] = []
    node = np.zeros(len(values), np.int64)  # of each code, at the current depth
    for depth in range(values.shape[1]):
        continues = values[:, depth] != PAD
        codes = np.flatnonzero(continues)
        tokens = np.unique(values[codes, depth])
        token_index = np.searchsorted(tokens, values[codes, depth])
        edges, child = np.unique(node[codes] * len(tokens) + token_index, return_inverse=True)
        children = np.full((int(node.max()) + 1) * len(tokens), PAD, np.int64)
        children[edges] = np.arange(len(edges))
        first, last, n_codes = np.full(len(edges), len(values)), np.full(len(edges), -1), np.bincount(child)
        np.minimum.at(first, child, codes)
        np.maximum.at(last, child, codes)
        is_last_token = values[codes, depth + 1] == PAD if depth + 1 < values.shape[1] else np.ones(len(codes), bool)
        is_terminal = np.ones(len(edges), bool)
        is_terminal[child[~is_last_token]] = False
        n_ending = np.bincount(child, is_last_token)
        if (is_terminal & (n_codes > 1)).any() or (~is_terminal & (n_ending > 0)).any():
            raise ModelError(
                f"the base's tokenizer writes two values of column {name!r} so that one begins the other; "
                "choose another base, or 'scratch'."
            )
        levels.append(TrieLevel(tokens, children.reshape(-1, len(tokens)), first, last, is_terminal))
        node = np.zeros_like(node)
        node[codes] = child
    return levels
