"""Pairs of values that never occur together: what a row may not have, given the columns before.

Two values that would be expected together in many train rows if their columns were independent, and are in none, are
taken for a structural zero (Bishop, Fienberg and Holland, *Discrete Multivariate Analysis*, 1975, chapter 5): no
synthetic row has both. So are all pairs that no train row has where one column is a function of the other: it is that
function in every synthetic row, also where a value is rare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_VALUES = 64
"""Columns with more values are not looked at."""

MIN_EXPECTED = 10.0
"""Train rows that independent columns would have with both values: by chance, none has in one of 22,000 such pairs."""

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
    small = [i for i in candidates if 1 < len(coded[i][0]) <= MAX_VALUES]
    found = []
    for position, column in enumerate(small):
        values, codes = coded[column]
        for before in small[:position]:
            others, other_codes = coded[before]
            shape = len(others), len(values)
            counts = np.bincount(other_codes * shape[1] + codes, minlength=shape[0] * shape[1]).reshape(shape)
            expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(rows)
            absent = counts == 0
            is_function = ((~absent).sum(axis=1) == 1).all() or ((~absent).sum(axis=0) == 1).all()
            is_by_chance = expected[absent].sum() < MIN_EXPECTED
            forbidden = np.argwhere(absent & ((is_function and not is_by_chance) | (expected >= MIN_EXPECTED)))
            if len(forbidden):
                pairs = tuple((int(others[i]), int(values[j])) for i, j in forbidden)
                found.append(ForbiddenPairs(before, column, pairs))
    return tuple(found)
