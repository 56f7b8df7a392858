"""95% confidence intervals: of scores on resampled holdout rows, and of areas under ROC curves."""

from typing import Literal

import numpy as np

from synth_assets.evaluation.reference import Reference

RESAMPLES = 200
"""Bootstrap resamples."""

_PERCENTILES = (2.5, 97.5)

Scale = Literal["plain", "share", "below one", "positive"]
"""The range of a score: any number, 0 to 1 (an area, an accuracy), at most 1 (R2), or at least 0 (an error)."""

_LEAST = 1e-12


def bootstrap_counts(n: int, *, seed: int) -> np.ndarray:
    """Return how often each of n rows is in the rows as they are, then in each bootstrap resample."""
    drawn = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    return np.array([np.ones(n), *(np.bincount(rows, minlength=n) for rows in drawn)])


def score_interval(
    value: float, scores: np.ndarray, *, of_mean: bool, scale: Scale = "plain", rows: int | None = None
) -> tuple[float, float]:
    """Return the 95% interval of a score that was repeated, each time on the same holdout rows.

    A score varies with what differs between repeats (training rows, seeds) and with the holdout rows that the repeats
    share. Its variance is the variance between the repeats, plus the variance of their mean over the resamples of the
    holdout rows, minus the interaction of both, which is contained in each. (Resampling both at once would count the
    interaction three times: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007.) The interval is
    Student's, with the degrees of freedom of Welch and Satterthwaite (Satterthwaite, Biometrics Bulletin 2, 1946).

    Of a score with a range, the interval is computed on a scale that has none, and stays within the range: the logit of
    a share, the logarithm of an error, the logarithm of 1 - R2 (the error relative to the mean's).

    Parameters
    ----------
    value : float
        The score.
    scores : numpy.ndarray
        Repeats by resamples; the first resample is the holdout rows as they are.
    of_mean : bool
        Whether `value` estimates the mean of the repeats, or a single repeat.
    scale : {"plain", "share", "below one", "positive"}
        The score's range.
    rows : int, optional
        Number of holdout rows; a share of 0 or 1 counts as half a row more or less on the scale of the logit.

    Returns
    -------
    low, high : float
        NaN where there is one repeat, or no score.
    """
    if scores.shape[0] < 2 or np.isnan(value):
        return float("nan"), float("nan")
    if scale == "plain":
        return _interval(value, scores, of_mean=of_mean)
    if (scores == value).all():
        return value, value
    ends = _interval(float(_stretched(value, scale, rows)), _stretched(scores, scale, rows), of_mean=of_mean)
    low, high = sorted(_shrunk(end, scale) for end in ends)
    return min(low, value), max(high, value)


def _stretched(score: float | np.ndarray, scale: Scale, rows: int | None) -> np.ndarray:
    """Map scores of a range to all numbers."""
    score = np.asarray(score, dtype="float64")
    if scale == "share":
        half = 0.5 / (rows or RESAMPLES)
        score = score.clip(half, 1 - half)
        return np.asarray(np.log(score) - np.log1p(-score))
    return np.asarray(np.log((score if scale == "positive" else 1 - score).clip(_LEAST)))


def _shrunk(stretched: float, scale: Scale) -> float:
    """Map a number back to the range of a score."""
    if scale == "share":
        return float(1 / (1 + np.exp(-np.clip(stretched, -500, 500))))
    error = float(np.exp(min(stretched, 500.0)))
    return error if scale == "positive" else 1 - error


def _interval(value: float, scores: np.ndarray, *, of_mean: bool) -> tuple[float, float]:
    from scipy.special import stdtrit

    n_repeats, n_resamples = scores.shape[0], scores.shape[1] - 1
    resampled = scores[:, 1:]
    resampled = resampled[:, ~np.isnan(resampled).any(axis=0)]  # a resample of few rows may have no score
    if resampled.shape[1] < 2:
        return float("nan"), float("nan")
    averaged = n_repeats if of_mean else 1
    between = float(scores[:, 0].var(ddof=1)) / averaged
    of_holdout = float(resampled.mean(axis=0).var(ddof=1))
    if between + of_holdout == 0:
        return value, value
    rest = resampled - resampled.mean(axis=0) - resampled.mean(axis=1, keepdims=True) + resampled.mean()
    interaction = float((rest**2).sum()) / (n_repeats - 1) / (resampled.shape[1] - 1) / averaged
    variance = max(between + of_holdout - interaction, between, of_holdout)
    freedom = (between + of_holdout) ** 2 / (between**2 / (n_repeats - 1) + of_holdout**2 / (n_resamples - 1))
    margin = float(stdtrit(freedom, 0.975) * np.sqrt(variance))
    return value - margin, value + margin


def roc_area(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the area under the ROC curve, from the scores of both classes.

    It is the share of pairs in which the positive score is greater; ties count half (Hanley and McNeil, Radiology 143,
    1982).
    """
    ordered = np.sort(negative)
    wins = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(wins.sum()) / (2 * len(positive) * len(negative))


def roc_areas(is_positive: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each of r resamples of n rows, as `roc_area` does.

    Parameters
    ----------
    is_positive, scores : numpy.ndarray
        Class and score of each row.
    counts : numpy.ndarray
        r by n: how often each resample has each row.

    Returns
    -------
    numpy.ndarray
        r areas; NaN where a class does not occur.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)  # equal scores are one group
    counts = counts[:, order]
    every = np.add.reduceat(counts, starts, axis=1)
    positive = np.add.reduceat(counts * is_positive[order], starts, axis=1)
    negative = every - positive
    wins = (positive * (2 * negative.cumsum(axis=1) - negative)).sum(axis=1)
    pairs = 2 * positive.sum(axis=1) * negative.sum(axis=1)
    return np.asarray(wins / np.where(pairs > 0, pairs, np.nan))


def roc_interval(scores: list[tuple[np.ndarray, np.ndarray]], *, seed: int) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of a mean area under ROC curves.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Parameters
    ----------
    scores : list of tuple of numpy.ndarray
        For each repeat, the scores of positive and of negative rows, rows in the same order. A resample takes the same
        rows in each repeat.
    seed : int
        Seed of the resamples.
    """
    rng = np.random.default_rng(seed)
    n_positive, n_negative = (len(part) for part in scores[0])
    areas = []
    for _ in range(RESAMPLES):
        positive, negative = rng.integers(n_positive, size=n_positive), rng.integers(n_negative, size=n_negative)
        areas.append(np.mean([roc_area(first[positive], second[negative]) for first, second in scores]))
    low, high = np.percentile(areas, _PERCENTILES)
    return float(low), float(high)


def roc_permutation_reference(positive: np.ndarray, negative: np.ndarray, *, seed: int) -> Reference:
    """Return 0.5, with the 95% interval of the area under the ROC curve where the same scores get random classes."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([positive, negative])
    areas = []
    for _ in range(RESAMPLES):
        shuffled = rng.permutation(scores)
        areas.append(roc_area(shuffled[: len(positive)], shuffled[len(positive) :]))
    low, high = np.percentile(areas, _PERCENTILES)
    return Reference(0.5, float(low), float(high))
