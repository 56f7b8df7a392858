"""References: the same metric on real rows instead of synthetic ones.

The real rows are split at random, many times, into as many rows as were trained on and as many as were held out. Each
split scores what two samples from the same distribution score by chance. No model is fitted to holdout rows, and no
reference influences a model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SPLITS = 20
"""Random splits of the real rows, for metrics that are cheap to compute."""


@dataclass(frozen=True)
class RealSplit:
    """A random split of the real rows: positions among the train rows followed by the holdout rows."""

    train: np.ndarray
    holdout: np.ndarray


@dataclass(frozen=True)
class Reference:
    """The score of real rows: its mean over the splits, and the 95% prediction interval of one more split."""

    mean: float
    low: float
    high: float


def real_splits(n_train: int, n_holdout: int, *, n_splits: int = SPLITS, seed: int = 0) -> Iterator[RealSplit]:
    """Split the real rows at random, repeatedly, into parts of the sizes of train and holdout.

    The first splits do not depend on how many follow.
    """
    rng = np.random.default_rng(seed)
    for _ in range(n_splits):
        order = rng.permutation(n_train + n_holdout)
        yield RealSplit(order[:n_train], order[n_train:])


def reference_of(scores: Sequence[float] | np.ndarray) -> Reference:
    """Summarise the scores of real rows, one a split; undefined (NaN) ones are left out.

    The interval is Student's prediction interval for one further score (Hahn and Meeker, Statistical Intervals, 1991,
    section 4.7). It is NaN for fewer than two scores, and so is the mean for none.
    """
    from scipy.special import stdtrit  # the quantile of Student's t, without the checks of scipy.stats

    defined = np.asarray(scores, dtype="float64")
    defined = defined[~np.isnan(defined)]
    n = len(defined)
    if n < 2:
        return Reference(float(defined.mean()) if n else float("nan"), float("nan"), float("nan"))
    mean = float(defined.mean())
    margin = float(stdtrit(n - 1, 0.975) * defined.std(ddof=1) * np.sqrt(1 + 1 / n))
    return Reference(mean, mean - margin, mean + margin)
