"""What a synthetic sample is good for: to learn from in the place of real rows, and beside them.

The same learners learn from the real train rows, from the synthetic rows, and from both together, and are scored on
held-out rows that nothing else has seen. Whether a difference between two of these is more than chance depends on what
might have been otherwise, and an interval has to cover all of it: other held-out rows, other rows to learn from,
another seed of the learner. So every learner is trained twenty times more, each time on a bootstrap resample of its
rows and with another seed (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6); with resamples of
the held-out rows, `intervals` makes of this an interval. A resample of rows has copies and gaps, and what learns from
it scores a little less; therefore the value is that of the rows as they are, and the resamples only say how far it may
be off. All of it is paired: the three training sets share their real and their synthetic rows, the resamples of both
and of the held-out rows, and the seeds. Another fit of the generator is not covered; the study of augmentation fits it
anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.intervals import interval_of, resamples_of
from synth_assets.evaluation.learners import BOOSTING, FOREST, TITLES, Learner, Task

REAL, SYNTHETIC, AUGMENTED = "real", "synthetic", "augmented"

SEEDS = 3
"""Trainings on the rows as they are, of which a value is the mean."""

REPEATS = 20
"""Trainings on resamples of the rows, from which an interval is found."""

SEEDS_OF_BENCH = 5
"""Trainings of each regressor in `held_out_r2`."""


@dataclass(frozen=True)
class Comparison:
    """What was scored by whoever learned from real rows, from synthetic ones, and from both.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row a learner, training set and metric: `regressor`, `trained_on` ('real', 'synthetic', 'augmented'),
        `metric` ('r2', 'rmse', 'mae'; the last two in the target's unit; for a category 'roc_auc', 'accuracy',
        'balanced_accuracy'), `value`, `ci_low`, `ci_high`.
    differences : pandas.DataFrame
        One row a learner and training set with synthetic rows: how much the first metric differs from that of the real
        rows, in the same columns, and `verdict`, in words.
    verdict : str
        The verdicts on all of them, in two sentences.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    verdict: str

    def table(self) -> pd.DataFrame:
        """Give the scores and, beside those of the first metric, the differences.

        Returns
        -------
        pandas.DataFrame
            The scores, with `difference`, `difference_ci_low`, `difference_ci_high` and `verdict`; empty where no
            difference is asked about.
        """
        differences = self.differences.rename(
            columns={"value": "difference", "ci_low": "difference_ci_low", "ci_high": "difference_ci_high"}
        )
        return self.scores.merge(differences, how="left", on=["regressor", "trained_on", "metric"], validate="1:1")


def compare_training_sets(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    target: str,
    categories: list[str],
    seed: int = 0,
) -> Comparison:
    """Learn from real rows, from synthetic ones and from both, and score on held-out rows.

    Parameters
    ----------
    real, synthetic, held_out : pandas.DataFrame
        Encoded rows, all with the same columns.
    target : str
        The column that is predicted from the others: by regressors, or by classifiers if it is a category.
    categories : list of str
        The columns that are category codes.
    seed : int
        Of the resamples and, counted on from it, of the learners.

    Returns
    -------
    Comparison
        The scores, the differences, and the verdict. A score that is not defined is NaN: R2 where the held-out rows
        have one target value, the area under the ROC curve where they have one label.

    Raises
    ------
    ForeseenError
        If a set has no row, other columns than the rest, or an empty or infinite cell.
    """
    task = Task.of(target, categories, real, synthetic, held_out)
    sets = _TrainingSets(real, synthetic)
    rng = np.random.default_rng(seed)
    resampled = [sets.resampled(rng) for _ in range(REPEATS)]
    truth = task.truth(held_out)
    held_out_resamples = resamples_of(len(truth), seed=seed)
    first, *_ = task.scores
    scores, differences = [], []
    for name, learner in task.learners.items():
        found: dict[tuple[str, str], _Found] = {}
        for arm, rows in sets.arms.items():
            as_they_are = [task.predict(learner, rows, held_out, seed=seed + i) for i in range(SEEDS)]
            drawn_anew = [
                task.predict(learner, each.arms[arm], held_out, seed=seed + i) for i, each in enumerate(resampled)
            ]
            for metric, score in task.scores.items():
                found[arm, metric] = _Found(
                    float(np.mean([score(truth, predicted) for predicted in as_they_are])),
                    np.array(
                        [
                            [score(truth[scored], predicted[scored]) for scored in held_out_resamples]
                            for predicted in drawn_anew
                        ]
                    ),
                )
                scores.append((name, arm, metric, *found[arm, metric].with_interval()))
        for arm in (SYNTHETIC, AUGMENTED):
            difference = found[arm, first].less(found[REAL, first]).with_interval()
            differences.append((name, arm, first, *difference, verdict_on(*difference)))
    columns = ["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"]
    compared = pd.DataFrame(differences, columns=[*columns, "verdict"])
    return Comparison(pd.DataFrame(scores, columns=columns), compared, _verdict(compared, len(real), len(synthetic)))


def verdict_on(difference: float, low: float, high: float) -> str:
    """Say what a difference of scores and its 95% interval mean.

    Parameters
    ----------
    difference, low, high : float
        Of a score of which more is better.

    Returns
    -------
    str
        Such as 'no difference at this size: +0.002, 95% interval -0.006 to 0.010'.
    """
    if np.isnan([difference, low, high]).any():
        return "no score: the held-out rows all have one target value"
    found = "better" if low > 0 else "worse" if high < 0 else "no difference at this size"
    return f"{found}: {_rounded(difference):+.3f}, 95% interval {_rounded(low):.3f} to {_rounded(high):.3f}"


def held_out_r2(
    rows: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    target: str,
    categories: list[str],
    seed: int = 0,
    seeds: int = SEEDS_OF_BENCH,
) -> dict[str, float]:
    """Train the two regressors of trees on a set of rows, and score them on held-out rows.

    With synthetic rows this is 'train on synthetic, test on real' (Esteban, Hyland and Rätsch, Real-valued (Medical)
    Time Series Generation with Recurrent Conditional GANs, 2017, arXiv:1706.02633); with the real train rows it is
    what they should come close to. The regressors have scikit-learn's default settings, and not those of the
    comparison: numbers of the benchmark are compared with earlier ones.

    Parameters
    ----------
    rows, held_out : pandas.DataFrame
        Encoded rows, with the same columns.
    target : str
        The column that is predicted from the others: a number.
    categories : list of str
        The columns that are category codes.
    seed : int
        Of the first regressor of each kind; the others count on from it.
    seeds : int
        How many of each kind are trained.

    Returns
    -------
    dict
        R2 on the held-out rows of 'gradient boosting' and 'random forest', each the mean over its seeds; NaN where the
        held-out rows all have one target value.

    Raises
    ------
    ForeseenError
        If a set has no row, other columns than the other, or an empty or infinite cell; if the target is a category.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    if target in categories:
        raise ForeseenError(f"{target!r} is a category, which has no R2; compare the training sets instead.")
    task = Task.of(target, categories, rows, held_out)
    regressors: Mapping[str, Learner] = {
        BOOSTING: lambda _, seed: HistGradientBoostingRegressor(random_state=seed, categorical_features=categories),
        FOREST: lambda _, seed: RandomForestRegressor(random_state=seed, n_jobs=-1),
    }
    truth, r2 = task.truth(held_out), task.scores["r2"]
    return {
        name: float(np.mean([r2(truth, task.predict(regressor, rows, held_out, seed=seed + i)) for i in range(seeds)]))
        for name, regressor in regressors.items()
    }


@dataclass(frozen=True)
class _TrainingSets:
    """Real rows and synthetic ones, and what can be learned from."""

    real: pd.DataFrame
    synthetic: pd.DataFrame

    @property
    def arms(self) -> dict[str, pd.DataFrame]:
        both = pd.concat([self.real, self.synthetic], ignore_index=True)
        return {REAL: self.real, SYNTHETIC: self.synthetic, AUGMENTED: both}

    def resampled(self, rng: np.random.Generator) -> "_TrainingSets":
        return _TrainingSets(
            *(rows.iloc[rng.integers(len(rows), size=len(rows))] for rows in (self.real, self.synthetic))
        )


@dataclass(frozen=True)
class _Found:
    """A score, and those of the repeats on the resamples of the held-out rows."""

    value: float
    scores: np.ndarray

    def less(self, other: "_Found") -> "_Found":
        return _Found(self.value - other.value, self.scores - other.scores)

    def with_interval(self) -> tuple[float, float, float]:
        return self.value, *interval_of(self.value, self.scores, of_mean=False)


def _verdict(differences: pd.DataFrame, n_real: int, n_synthetic: int) -> str:
    score = TITLES[differences["metric"].iloc[0]]
    said = {
        arm: "; ".join(f"{row.regressor}, {row.verdict}" for row in of_arm.itertuples())
        for arm, of_arm in differences.groupby("trained_on")
    }
    return (
        f"Adding {n_synthetic:,} synthetic rows to the {n_real:,} real ones, by {score} on held-out rows: "
        f"{said[AUGMENTED]}. Learning from the synthetic rows instead of the real ones: {said[SYNTHETIC]}."
    )


def _rounded(number: float) -> float:
    return round(number, 3) + 0.0  # no -0.000
