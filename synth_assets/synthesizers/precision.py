"""Numbers of single precision in columns of double precision, as statistical packages and NumPy export them.

0.38 is then 0.3799999952316284. The decimal numbers are learned that such numbers stand for: they have few decimals,
and formulas between them hold.
"""

import numpy as np
import pandas as pd

_EXPORTED = 1e-12
"""Relative difference from a number of single precision that an export with fewer digits leaves; the next such number
is 1e-7 away."""

_SAMPLE = 1000


def has_single_precision(values: pd.Series) -> bool:
    """Return whether the numbers of a column are of single precision, and some are no decimals with few digits."""
    numbers = values.dropna().to_numpy("float64")
    with np.errstate(over="ignore"):
        is_single = all(
            (np.abs(each.astype(np.float32) - each) <= _EXPORTED * np.abs(each)).all()
            for each in (numbers[:_SAMPLE], numbers)
        )
    return is_single and bool((shortest_decimals(numbers) != numbers).any())


def to_single(values: pd.Series) -> pd.Series:
    """Return numbers in single precision, in a column of double precision."""
    with np.errstate(over="ignore"):
        return values.astype("float32").astype("float64")


def shortest_decimals(numbers: np.ndarray) -> np.ndarray:
    """Return the decimal numbers with the fewest digits that are the same numbers in single precision."""
    with np.errstate(over="ignore"):
        distinct, codes = np.unique(numbers.astype(np.float32), return_inverse=True)
    decimals: np.ndarray = distinct.astype("str").astype("float64")[codes]
    return decimals
