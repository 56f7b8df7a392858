"""Encoded rows as the tokens of a sentence ('Rings is 09, Sex is M, ...'), and tries of the parts of each column."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import ColumnEncoder, RowEncoder, TextEncoder, TokenTextEncoder
from synth_assets.synthesizers.language_model.tokenizer import (
    beginning,
    name_token,
    part_tokens,
    tokenise,
    word_vocabulary,
)

CLOSING = ","
"""What ends a value that begins another one, such as 1 and 10 where each digit is a token."""

PAD = -1
"""Fills up a value that has fewer tokens than the longest of its column."""


@dataclass(frozen=True)
class TrieLevel:
    """One level of the trie of a part's texts: the tokens that may come next, from each node of the level above.

    Parameters
    ----------
    tokens : numpy.ndarray
        (u) token ids that occur at this depth, sorted.
    children : numpy.ndarray
        (k, u) node that a token leads to from each of k nodes, or -1.
    first, last : numpy.ndarray
        Smallest and largest index below each of the nodes that are led to. With a learned tokenizer, indices in between
        may lie below another node: what is allowed is exact where a part is complete, and never too narrow before.
    is_terminal : numpy.ndarray
        Whether the part is complete at each of these nodes.
    """

    tokens: np.ndarray
    children: np.ndarray
    first: np.ndarray
    last: np.ndarray
    is_terminal: np.ndarray


@dataclass(frozen=True)
class PartTokens:
    """The tokens of a part of a column's values.

    Parameters
    ----------
    values : numpy.ndarray
        (K + 1, d) tokens of each index, filled up with `PAD` on the right; the last row, all `PAD`, is an absent part.
    levels : list of TrieLevel
        The trie of the indices, d levels deep.
    n_ending : int
        The first indices, up to this number, end the value.
    first_slot : int
        Number of the slot of the first level; parts that are alike share theirs.
    """

    values: np.ndarray
    levels: list[TrieLevel]
    n_ending: int
    first_slot: int


@dataclass(frozen=True)
class ColumnTokens:
    """The tokens of a column: those before every value, such as ', Length is', and its parts."""

    prefix: list[int]
    parts: list[PartTokens]


@dataclass(frozen=True)
class TokenTrie:
    """The tokens of rows.

    Parameters
    ----------
    columns : list of ColumnTokens
        The columns, in the order of the row encoder.
    end : int
        The token that ends a row: the tokenizer's end token, or its padding token if it has no end token.
    fills : bool
        Whether `end` fills up a value that has fewer tokens than others, so that all rows have the same length.
    """

    columns: list[ColumnTokens]
    end: int
    fills: bool

    @classmethod
    def build(cls, row_encoder: RowEncoder, tokenizer: Any) -> "TokenTrie":
        """Tokenise every part of every column, with a tokenizer that splits text before the space of a word.

        Raises
        ------
        ModelError
            If the tokens of a value depend on more than the text before it, the tokenizer does not write a value back
            (it has no token for a character, or changes it), or has neither an end token nor a padding token.
        """
        end = tokenizer.pad_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if end is None:
            raise ModelError(
                "the base's tokenizer has neither an end token nor a padding token, and a row has to end with one of "
                "them. Set eos_token in the base's tokenizer_config.json to a token of its vocabulary, or choose "
                "another base, or 'scratch'."
            )
        vocabulary = word_vocabulary(tokenizer, row_encoder)
        columns: list[ColumnTokens] = []
        shared: dict[int, PartTokens] = {}  # by the identity of a part, which all parts of a text have in common
        n_slots = 0
        before = ""
        for column in row_encoder.all_columns:
            if vocabulary is None:
                prefix, ids_of_parts, is_closed = _tokenise_column(tokenizer, column, before, end)
                if not columns:
                    prefix = [*beginning(tokenizer), *prefix]
                before = f"{column.name} is {column.parts[0].texts[-1]}{CLOSING if is_closed else ''}"
            else:
                # The name is in the token of the first part, but for text; a row begins with the end token.
                is_first = not columns
                is_text = isinstance(column, TextEncoder)
                names = [vocabulary[name_token(column.name, is_first=is_first)]] if is_text else []
                prefix = [*([end] if is_first else []), *names]
                ids_of_parts = [
                    [[vocabulary[text]] for text in part_tokens(column, i, is_first=is_first)]
                    for i in range(len(column.parts))
                ]
            parts = []
            for part, ids in zip(column.parts, ids_of_parts, strict=True):
                if id(part) not in shared:
                    shared[id(part)] = _part_tokens(ids, column.name, part.n_ending, n_slots)
                    n_slots += len(shared[id(part)].levels)
                parts.append(shared[id(part)])
            columns.append(ColumnTokens(prefix, parts))
        return cls(columns, end, fills=vocabulary is not None)

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of a row, its end included."""
        return sum(len(c.prefix) + sum(int(part.values.shape[1]) for part in c.parts) for c in self.columns) + 1

    @property
    def is_ragged(self) -> bool:
        """Whether rows differ in length."""
        parts = [part for column in self.columns for part in column.parts]
        return not self.fills and any(part.n_ending or (part.values[:-1] == PAD).any() for part in parts)

    @property
    def candidates(self) -> list[np.ndarray]:
        """The tokens of each slot, a level of a part's trie; slots are numbered over parts and levels."""
        found: dict[int, np.ndarray] = {}
        for column in self.columns:
            for part in column.parts:
                found |= {part.first_slot + depth: level.tokens for depth, level in enumerate(part.levels)}
        return [found[slot] for slot in sorted(found)]

    def tokenise(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokenise rows, or the first columns of rows.

        Parameters
        ----------
        indices : numpy.ndarray
            (n, p) indices of the parts of the columns.

        Returns
        -------
        ids : numpy.ndarray
            (n, T) token ids; shorter rows are filled up on the right with the end token.
        slots : numpy.ndarray
            (n, T) index in `candidates` of the slot of each token; -1 where it is fixed: in names and at the end.
        targets : numpy.ndarray
            (n, T) index of the token in its slot; 0 where it is fixed.
        """
        n, candidates = len(indices), self.candidates
        ids_parts: list[np.ndarray] = []
        slot_parts: list[np.ndarray] = []
        target_parts: list[np.ndarray] = []
        position = 0
        for column in self.columns:
            if position == indices.shape[1]:
                break
            fixed = np.full((n, len(column.prefix)), PAD, np.int32)
            ids_parts.append(np.broadcast_to(np.asarray(column.prefix, np.int32), fixed.shape))
            slot_parts.append(fixed)
            target_parts.append(np.zeros_like(fixed))
            for part in column.parts:
                values = part.values[indices[:, position]]  # an absent part, -1, is the last row
                position += 1
                ids_parts.append(values)
                for depth in range(values.shape[1]):
                    ids, slot = values[:, depth], part.first_slot + depth
                    slot_parts.append(np.where(ids == PAD, PAD, slot).astype(np.int32)[:, None])
                    found = np.searchsorted(candidates[slot], ids).astype(np.int32)
                    target_parts.append(np.where(ids == PAD, 0, found)[:, None])
        ids_parts.append(np.full((n, 1), self.end, np.int32))
        slot_parts.append(np.full((n, 1), PAD, np.int32))
        target_parts.append(np.zeros((n, 1), np.int32))
        ids, slots, targets = np.hstack(ids_parts), np.hstack(slot_parts), np.hstack(target_parts)
        if self.is_ragged:
            # Padding moves to the right end of its row, where nothing is learned.
            order = np.argsort(ids == PAD, axis=1, kind="stable")
            ids, slots, targets = (np.take_along_axis(part, order, 1) for part in (ids, slots, targets))
        return np.where(ids == PAD, np.int32(self.end), ids), slots, targets


def _tokenise_column(
    tokenizer: Any, column: ColumnEncoder, before: str, end: int
) -> tuple[list[int], list[list[list[int]]], bool]:
    """Return the tokens of a column's name, after the text before it, and of each index of each part.

    Also returned is whether the tokens of a value include the comma after it.
    """
    separator = "" if not before else " " if before.endswith(CLOSING) else f"{CLOSING} "
    n_before = len(tokenise(tokenizer, [before])[0]) if before else 0
    start = f"{column.name} is"
    prefix = tokenise(tokenizer, [f"{before}{separator}{start}"])[0][n_before:]
    if isinstance(column, TokenTextEncoder):
        tokens = [[end], *([token] for token in column.tokens)]
        return prefix, [tokens] * len(column.parts), False
    found: dict[int, list[list[int]]] = {}
    is_closed = False
    for position, part in enumerate(column.parts):
        if id(part) in found:
            continue
        # A space before it keeps a part apart from the one before.
        opening = start if position == 0 else f"{start} {column.parts[0].texts[-1]}"
        ids = _tokenise_values(tokenizer, column.name, opening, part.texts)
        if len(column.parts) == 1 and _begins_another(ids):
            ids, is_closed = _tokenise_values(tokenizer, column.name, opening, part.texts, CLOSING), True
        found[id(part)] = ids
    return prefix, [found[id(part)] for part in column.parts], is_closed


def _tokenise_values(
    tokenizer: Any, name: str, opening: str, texts: Sequence[str], closing: str = ""
) -> list[list[int]]:
    """Return the tokens of each text behind an opening; see that the tokenizer writes it back."""
    (opening_ids,) = tokenise(tokenizer, [opening])
    sentences = tokenise(tokenizer, [f"{opening} {text}{closing}" for text in texts])
    if any(ids[: len(opening_ids)] != opening_ids for ids in sentences):
        raise ModelError(
            f"the base's tokenizer does not separate the values of column {name!r} from its name; "
            "choose another base, or 'scratch'."
        )
    special = set(tokenizer.all_special_ids)
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    opened = tokenizer.decode(opening_ids, **options)
    written = tokenizer.batch_decode(sentences, **options)
    for text, ids, back in zip(texts, sentences, written, strict=True):
        if not special.isdisjoint(ids[len(opening_ids) :]) or back != f"{opened} {text}{closing}":
            read = back.removeprefix(opened).removesuffix(closing).strip()
            raise ModelError(
                f"the base's tokenizer cannot write the value {text!r} of column {name!r}: it has no token of its own "
                f"for a part of it, or reads it as {read!r}. Rename the label, leave the column out, or choose another "
                "base, or 'scratch'."
            )
    return [ids[len(opening_ids) :] for ids in sentences]


def _begins_another(values: list[list[int]]) -> bool:
    """Return whether the tokens of a value are the first ones of another, or all of them."""
    ordered = sorted(values)
    return any(other[: len(one)] == one for one, other in pairwise(ordered))


def _part_tokens(ids: list[list[int]], name: str, n_ending: int, first_slot: int) -> PartTokens:
    values = np.full((len(ids) + 1, max(map(len, ids))), PAD, np.int32)
    for index, tokens in enumerate(ids):
        values[index, : len(tokens)] = tokens
    return PartTokens(values, _build_levels(values[:-1], name), n_ending, first_slot)


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
