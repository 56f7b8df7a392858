"""The success of membership inference attacks: of each by itself, and of the best of several.

Success is the area under the ROC curve (AUC), a mean over all rows, and the true positive rate (TPR) at a low false
positive rate (FPR), which shows whether some rows are known for certain (Carlini et al., Membership Inference Attacks
From First Principles, IEEE S&P 2022, section 4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from synth_assets.evaluation.intervals import RESAMPLES, roc_area
from synth_assets.evaluation.reference import Reference

FALSE_POSITIVE_RATES = (0.01, 0.001)
"""False positive rates at which the true positive rate is measured."""

MAXIMUM = "maximum"
"""The best of several attacks."""

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Attack:
    """Scores of an attack, whose AUC is `metric`, for real rows; a higher score means a train row is more likely."""

    metric: str
    train: np.ndarray
    holdout: np.ndarray

    @property
    def auc(self) -> float:
        """The area under the ROC curve: 0.5 is chance, 1 identifies every train row."""
        return roc_area(self.train, self.holdout)


class Success(NamedTuple):
    """A measure of success, its 95% bootstrap interval, and its reference, where membership is drawn at random."""

    value: float
    interval: tuple[float, float]
    reference: Reference


class Successes(NamedTuple):
    """The AUC of an attack, and its TPR at each of `FALSE_POSITIVE_RATES`."""

    auc: Success
    tpr_1: Success
    tpr_01: Success


def successes(attacks: Sequence[Attack], *, seed: int) -> dict[str, Successes]:
    """Measure attacks on the same rows, and the maximum over them.

    A maximum exceeds chance even where no attack works. Its reference is therefore the maximum of the same scores where
    the rows change places at random, all attacks together, and its interval is from bootstrap resamples of the rows in
    each of which the maximum is taken again.

    Parameters
    ----------
    attacks : sequence of Attack
        Attacks that score the same rows in the same order.
    seed : int
        Seed of permutations and resamples.

    Returns
    -------
    dict of str to Successes
        By the attack's `metric`, and for the best of them under `MAXIMUM`, by each measure.
    """
    rng = np.random.default_rng(seed)
    n, m = len(attacks[0].train), len(attacks[0].holdout)
    ranks = [np.unique(np.concatenate([a.train, a.holdout]), return_inverse=True)[1] for a in attacks]
    is_train = np.arange(n + m) < n
    actual = _measure(ranks, is_train.astype("float64"), (~is_train).astype("float64"))
    permuted, resampled = [], []
    for _ in range(RESAMPLES):
        shuffled = rng.permutation(is_train)
        permuted.append(_measure(ranks, shuffled.astype("float64"), (~shuffled).astype("float64")))
        train = np.concatenate([np.bincount(rng.integers(n, size=n), minlength=n), np.zeros(m)])
        holdout = np.concatenate([np.zeros(n), np.bincount(rng.integers(m, size=m), minlength=m)])
        resampled.append(_measure(ranks, train, holdout))
    by_chance, again = np.array(permuted), np.array(resampled)  # repeats by attacks by measures
    found = {attack.metric: _summary(actual[i], again[:, i], by_chance[:, i]) for i, attack in enumerate(attacks)}
    return {**found, MAXIMUM: _summary(actual.max(axis=0), again.max(axis=1), by_chance.max(axis=1))}


def _measure(ranks: Sequence[np.ndarray], train: np.ndarray, holdout: np.ndarray) -> np.ndarray:
    """Return the AUC and TPRs of each attack, from the ranks of all rows and how often each counts in either set."""
    n, m = train.sum(), holdout.sum()
    found = np.empty((len(ranks), 1 + len(FALSE_POSITIVE_RATES)))
    for i, rank in enumerate(ranks):
        of_train, of_holdout = np.bincount(rank, train), np.bincount(rank, holdout)
        found[i, 0] = (of_train * (np.cumsum(of_holdout) - of_holdout / 2)).sum() / (n * m)
        false = np.cumsum(of_holdout[::-1])  # positives if every score from this one on is claimed
        true = np.cumsum(of_train[::-1])
        for j, rate in enumerate(FALSE_POSITIVE_RATES, start=1):
            claimed = int(np.searchsorted(false, math.floor(rate * m + 1e-9), side="right"))
            found[i, j] = true[claimed - 1] / n if claimed else 0.0
    return found


def _summary(actual: np.ndarray, resampled: np.ndarray, permuted: np.ndarray) -> Successes:
    return Successes(
        *(
            Success(
                float(actual[j]),
                _interval(resampled[:, j]),
                Reference(float(permuted[:, j].mean()), *_interval(permuted[:, j])),
            )
            for j in range(len(actual))
        )
    )


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)
