"""What real rows score in the place of synthetic ones: the floor that nobody can honestly beat.

The rows of the real table are split anew, again and again, into as many rows as were learned from and as many as were
held out; each split scores what two samples of one source score by chance. The held-out rows have been seen by no
model, and a floor changes no choice of one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SPLITS = 20
"""Splits of the real table, for measures that cost little."""


@dataclass(frozen=True)
class RealSplit:
    """One way of splitting the real table that chance might have chosen.

    Parameters
    ----------
    train, held_out : pandas.DataFrame
        As many rows each as in the real split, in the same columns.
    """

    train: pd.DataFrame
    held_out: pd.DataFrame


@dataclass(frozen=True)
class Floor:
    """What real rows score.

    Parameters
    ----------
    mean : float
        Over the splits.
    low, high : float
        Where the score of one more split would lie, 95 times in 100.
    """

    mean: float
    low: float
    high: float


def real_splits(
    train: pd.DataFrame, held_out: pd.DataFrame, *, splits: int = SPLITS, seed: int = 0
) -> Iterator[RealSplit]:
    """Split the real table anew.

    Parameters
    ----------
    train, held_out : pandas.DataFrame
        The real split, both with the same columns.
    splits : int
        How many.
    seed : int
        Of the shuffles.

    Yields
    ------
    RealSplit
        Every row is in one of its parts.
    """
    pool = pd.concat([train, held_out], ignore_index=True)
    rng = np.random.default_rng(seed)
    for _ in range(splits):
        order = rng.permutation(len(pool))
        yield RealSplit(
            pool.iloc[order[: len(train)]].reset_index(drop=True), pool.iloc[order[len(train) :]].reset_index(drop=True)
        )


def floor_of(scores: Sequence[float]) -> Floor:
    """Summarise what real rows scored.

    Parameters
    ----------
    scores : sequence of float
        One for each split; NaN where a split has none.

    Returns
    -------
    Floor
        The interval is Student's prediction interval for one more score (Hahn and Meeker, Statistical Intervals,
        1991, section 4.7). It is NaN for fewer than two scores, and so is the mean for none.
    """
    from scipy.stats import t

    defined = np.asarray(scores, dtype="float64")
    defined = defined[~np.isnan(defined)]
    n = len(defined)
    if n < 2:
        return Floor(float(defined.mean()) if n else float("nan"), float("nan"), float("nan"))
    mean = float(defined.mean())
    reach = float(t.ppf(0.975, n - 1) * defined.std(ddof=1) * np.sqrt(1 + 1 / n))
    return Floor(mean, mean - reach, mean + reach)
