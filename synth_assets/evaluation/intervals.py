"""The 95% interval of a score that was found several times, each time on the same held-out rows."""

import numpy as np

RESAMPLES = 200
"""Bootstrap resamples of the held-out rows."""


def resamples_of(rows: int, *, seed: int) -> list[np.ndarray]:
    """Give the held-out rows as they are, and 200 bootstrap resamples of them.

    Parameters
    ----------
    rows : int
        How many there are.
    seed : int
        Of the resamples.

    Returns
    -------
    list of numpy.ndarray
        Positions of rows, as many each time.
    """
    return [np.arange(rows), *np.random.default_rng(seed).integers(rows, size=(RESAMPLES, rows))]


def interval_of(value: float, scores: np.ndarray, *, of_mean: bool) -> tuple[float, float]:
    """Give the 95% interval of a score.

    A score is moved by what differs between repeats (the rows to learn from, seeds) and by what they have in common
    (the held-out rows). So its variance is the sum of two: that between the repeats, and that of their mean over the
    resamples of the held-out rows; less what repeats and held-out rows do together, which is in both. (Resampling both
    at once would count that three times: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007.) The
    interval is Student's, with the degrees of freedom of Welch and Satterthwaite (Satterthwaite, Biometrics Bulletin 2,
    1946).

    Parameters
    ----------
    value : float
        The score.
    scores : numpy.ndarray
        Repeats by resamples, the first of which is the held-out rows as they are.
    of_mean : bool
        Whether the score is the mean of the repeats, or one such as each of them.

    Returns
    -------
    low, high : float
        NaN where there is one repeat, or no score.
    """
    from scipy.stats import t

    repeats, resamples = scores.shape[0], scores.shape[1] - 1
    if repeats < 2 or np.isnan(value):
        return float("nan"), float("nan")
    anew = scores[:, 1:]
    anew = anew[:, ~np.isnan(anew).any(axis=0)]  # a resample of few rows may have no score
    averaged = repeats if of_mean else 1
    between = float(scores[:, 0].var(ddof=1)) / averaged
    of_held_out = float(anew.mean(axis=0).var(ddof=1))
    if between + of_held_out == 0:
        return value, value
    rest = anew - anew.mean(axis=0) - anew.mean(axis=1, keepdims=True) + anew.mean()
    together = float((rest**2).sum()) / (repeats - 1) / (anew.shape[1] - 1) / averaged
    variance = max(between + of_held_out - together, between, of_held_out)
    freedom = (between + of_held_out) ** 2 / (between**2 / (repeats - 1) + of_held_out**2 / (resamples - 1))
    reach = float(t.ppf(0.975, freedom) * np.sqrt(variance))
    return value - reach, value + reach
