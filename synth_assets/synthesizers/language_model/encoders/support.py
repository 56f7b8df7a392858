"""Pairs of values that never occur together: what a row may not have, given the columns before.

Two values that would be expected together in many train rows if their columns were independent, and are in none, are
taken for a structural zero (Bishop, Fienberg and Holland, *Discrete Multivariate Analysis*, 1975, chapter 5): no
synthetic row has both. So are all pairs that no train row has where one column is a function of the other: it is that
function in every synthetic row, also where a value is rare. Rows that share a value confirm a function. A value of a
single row does not: every column is a function of the row's number, and would be a copy of the train rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_assets.synthesizers.language_model.encoders.base import MISSING

MAX_VALUES = 64
"""Of columns with more values, one is only looked at for being a function of the other."""

MAX_PAIRS = 50_000
"""Two columns with more pairs of values are not looked at."""

MIN_EXPECTED = 10.0
"""Train rows that independent columns would have with both values: by chance, none has in one of 22,000 such pairs. Of
a function, train rows that would not have the value that an earlier row with the same argument has."""

MAX_ROWS = 50_000
"""Train rows that are looked at."""


@dataclass(frozen=True)
class ForbiddenPairs:
    """The pairs of values of two columns that do not occur together.

    Parameters
    ----------
    before, column : int
        Indices of the two columns, in the column order.
    pairs : tuple of (int, int)
        Quantised values of both.
    """

    before: int
    column: int
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ForbiddenPairs":
        """Restore the pairs from their fields, in which JSON has made lists of tuples."""
        return cls(data["before"], data["column"], tuple((first, second) for first, second in data["pairs"]))


def find_forbidden_pairs(quantised: np.ndarray, candidates: Sequence[int]) -> tuple[ForbiddenPairs, ...]:
    """Find the forbidden pairs of some columns of quantised train rows, (n, m)."""
    rows = quantised[np.random.default_rng(0).permutation(len(quantised))[:MAX_ROWS]]
    coded = {i: np.unique(rows[:, i], return_inverse=True) for i in candidates}
    varying = [i for i in candidates if len(coded[i][0]) > 1]
    found = []
    for position, column in enumerate(varying):
        values, codes = coded[column]
        for before in varying[:position]:
            others, other_codes = coded[before]
            shape = len(others), len(values)
            if shape[0] * shape[1] > MAX_PAIRS:
                continue
            counts = np.bincount(other_codes * shape[1] + codes, minlength=shape[0] * shape[1]).reshape(shape)
            is_function = np.count_nonzero(counts) == max(shape) and _is_confirmed(
                counts if shape[0] >= shape[1] else counts.T
            )
            if max(shape) > MAX_VALUES and not is_function:
                continue
            expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(rows)
            forbidden = np.argwhere((counts == 0) & (is_function | (expected >= MIN_EXPECTED)))
            if len(forbidden):
                pairs = [(int(others[i]), int(values[j])) for i, j in forbidden]
                if is_function and shape[0] >= shape[1]:
                    pairs += [(int(other), unseen) for other in others for unseen in _unseen(values, len(others))]
                found.append(ForbiddenPairs(before, column, tuple(pairs)))
    return tuple(found)


def is_function(before: np.ndarray, cells: np.ndarray) -> bool:
    """Return whether a column of (n,) cells is a function of another one in all rows, and not by chance."""
    (others, other_codes), (values, codes) = (np.unique(each, return_inverse=True) for each in (before, cells))
    shape = len(others), len(values)
    if len(values) < 2 or shape[0] * shape[1] > MAX_PAIRS:
        return False
    counts = np.bincount(other_codes * shape[1] + codes, minlength=shape[0] * shape[1]).reshape(shape)
    return bool((np.count_nonzero(counts, axis=1) == 1).all()) and _is_confirmed(counts)


def _is_confirmed(counts: np.ndarray) -> bool:
    """Return whether a function is no chance, given the (k, m) rows with each of k arguments and m values of it.

    If there are arguments of a single row, the one that confirms most does not count: amounts of 0 that have no label
    say nothing of the labels of others.
    """
    sizes, shares = counts.sum(axis=1), counts.sum(axis=0) / counts.sum()
    confirming = (sizes - 1) * (1 - shares[counts.argmax(axis=1)])
    return bool(confirming.sum() - (sizes.min() == 1) * confirming.max() >= MIN_EXPECTED)


def _unseen(values: np.ndarray, n_others: int) -> list[int]:
    """Return the integers between the values, which are ascending, that are none of them; none if they are many."""
    present = values[values != MISSING]
    low, high = int(present[0]), int(present[-1])
    if (high - low + 1) * n_others > MAX_PAIRS:
        return []
    unseen: list[int] = np.setdiff1d(np.arange(low, high + 1), present).tolist()
    return unseen
