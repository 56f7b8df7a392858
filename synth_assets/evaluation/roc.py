"""The area under a ROC curve: of two sets of scores, of resamples of them, and where nothing is known."""

import numpy as np

from synth_assets.evaluation.reference import Floor

RESAMPLES = 200

_INTERVAL = (2.5, 97.5)


def roc_area(above: np.ndarray, below: np.ndarray) -> float:
    """Give the share of pairs in which a score of the first set is above one of the second; ties count half.

    Parameters
    ----------
    above, below : numpy.ndarray
        n and m scores.

    Returns
    -------
    float
        The area under the ROC curve (Hanley and McNeil, Radiology 143, 1982): 0.5 where neither is above the other.
    """
    ordered = np.sort(below)
    wins = np.searchsorted(ordered, above, "left") + np.searchsorted(ordered, above, "right")
    return float(wins.sum()) / (2 * len(above) * len(below))


def bootstrapped(scores: list[tuple[np.ndarray, np.ndarray]], *, seed: int) -> tuple[float, float]:
    """Give the 95% interval of a mean area, by a bootstrap over the rows that were scored.

    Parameters
    ----------
    scores : list of tuple of numpy.ndarray
        For each time that the rows were scored, those of the one set and those of the other, rows in the same order.
        A resample takes the same rows each time.
    seed : int
        Of the resamples.

    Returns
    -------
    low, high : float
        The percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    """
    rng = np.random.default_rng(seed)
    one, other = (len(part) for part in scores[0])
    areas = []
    for _ in range(RESAMPLES):
        above, below = rng.integers(one, size=one), rng.integers(other, size=other)
        areas.append(np.mean([roc_area(first[above], second[below]) for first, second in scores]))
    low, high = np.percentile(areas, _INTERVAL)
    return float(low), float(high)


def by_chance(above: np.ndarray, below: np.ndarray, *, seed: int) -> Floor:
    """Give the areas of the same scores where it is by chance which set a row belongs to.

    Parameters
    ----------
    above, below : numpy.ndarray
        n and m scores.
    seed : int
        Of the 200 relabellings.

    Returns
    -------
    Floor
        0.5, and what 95 of 100 relabellings lie between.
    """
    rng = np.random.default_rng(seed)
    scores = np.concatenate([above, below])
    areas = []
    for _ in range(RESAMPLES):
        shuffled = rng.permutation(scores)
        areas.append(roc_area(shuffled[: len(above)], shuffled[len(above) :]))
    low, high = np.percentile(areas, _INTERVAL)
    return Floor(0.5, float(low), float(high))
