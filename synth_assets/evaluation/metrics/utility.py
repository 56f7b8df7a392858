"""Utility: train on synthetic rows, test on real rows, and the comparison with training on real rows and on both.

The same estimators are trained on the train rows, on the synthetic rows and on both together, and scored on the holdout
rows. The interval of a score, or of a difference, covers other holdout rows, other training rows and other seeds: each
estimator is trained twenty more times, on bootstrap resamples of its rows with other seeds (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 6), and scored on resamples of the holdout rows (see `intervals`). An
estimator trained on a resample scores slightly less; therefore the value is the score of the rows as they are. Training
sets, resamples and seeds are paired. Refitting the synthesizer is not covered. At most 5,000 rows of a set are used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.intervals import Scale, bootstrap_counts, score_interval
from synth_assets.evaluation.learners import TITLES, Estimator, PredictionTask
from synth_assets.evaluation.metrics.base import (
    ANY,
    Metric,
    NotComputed,
    ResultRow,
    Step,
    no_step,
    result_frame,
    result_row,
)
from synth_assets.evaluation.reference import Reference
from synth_assets.evaluation.samples import MIN_ROWS, MOST_NEIGHBOURS, Samples, cached

REAL, SYNTHETIC, AUGMENTED = "real", "synthetic", "augmented"

SEEDS = 3
"""Trainings on the rows as they are; the value is their mean."""

REPEATS = 20
"""Trainings on resamples of the rows, for the interval."""

MOST_CELLS = 40_000
"""Cells of the train rows, for each class of the target, from which on there are half as many repeats."""

NO_TARGET, NO_SCORE = "the schema has no target", "all holdout rows have the same target value"
"""Why there is no score."""

_SCALES: dict[str, Scale] = {"r2": "below one", "rmse": "positive", "mae": "positive"}
"""By score; the others are shares."""


@dataclass(frozen=True)
class Comparison:
    """Scores of estimators that were trained on real rows, on synthetic rows, and on both.

    Parameters
    ----------
    scores : pandas.DataFrame
        One row for each estimator, training set and score: `regressor`, `trained_on` ('real', 'synthetic',
        'augmented'), `metric` ('r2', 'rmse', 'mae', the last two in the target's unit; for a categorical target
        'roc_auc', 'accuracy', 'balanced_accuracy'), `value`, `ci_low`, `ci_high`.
    differences : pandas.DataFrame
        One row for each estimator and training set with synthetic rows: the difference of the first score from the
        score of the real rows, in the same columns, and `verdict`, in words.
    verdict : str
        All verdicts, in two sentences.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    verdict: str

    def table(self) -> pd.DataFrame:
        """Return the scores, with the differences in the columns `difference` (with its interval) and `verdict`."""
        differences = self.differences.rename(
            columns={"value": "difference", "ci_low": "difference_ci_low", "ci_high": "difference_ci_high"}
        )
        return self.scores.merge(differences, how="left", on=["regressor", "trained_on", "metric"], validate="1:1")


@cached
def compare_training_sets(samples: Samples, step: Step = no_step) -> Comparison:
    """Train on real rows, on synthetic rows (the subsample) and on both, and score on holdout rows.

    Parameters
    ----------
    samples : Samples
        The rows.
    step : callable
        Called before each estimator is trained on each training set and its resamples.

    Returns
    -------
    Comparison
        An undefined score is NaN: R2 where the holdout rows have one target value, the area under the ROC curve where
        they have one label.

    Raises
    ------
    ForeseenError
        If the schema has no target, or fewer than five rows of a set have one.
    """
    if reason := why_not(samples):
        raise ForeseenError(f"training sets cannot be compared: {reason}. Pass other rows, or a schema without target.")
    samples = samples.thinned(MOST_NEIGHBOURS)
    train, synthetic = samples.train, samples.subsample
    task = PredictionTask.of(samples.schema, train, synthetic, samples.holdout)
    holdout = task.encode(samples.holdout)
    sets = _TrainingSets(task.encode(train), task.encode(synthetic))
    rng = np.random.default_rng(samples.seed)
    cost = train.size * max(1, len(task.classes) - 1)  # boosting fits a tree for each class
    repeats = REPEATS if cost <= MOST_CELLS else -(-REPEATS // 2)
    resampled = [sets.resample(rng) for _ in range(repeats)]
    y_true = task.y_true(holdout)
    counts = bootstrap_counts(len(y_true), seed=samples.seed)
    first, *_ = task.scores
    trainings = len(task.estimators) * len(sets.named)
    scores: list[tuple[object, ...]] = []
    differences = []
    for name, estimator in task.estimators.items():
        found: dict[tuple[str, str], _Scores] = {}
        for trained_on, rows in sets.named.items():
            step(len(scores) // len(task.scores), trainings, "trainings")
            predictions = _predictions(task, estimator, rows, holdout, samples.seed)
            resampled_predictions = [
                task.predict(estimator, each.named[trained_on], holdout, seed=samples.seed + i)
                for i, each in enumerate(resampled)
            ]
            for metric, score in task.scores.items():
                found[trained_on, metric] = _Scores(
                    float(np.mean([score(y_true, y_pred) for y_pred in predictions])),
                    np.array([score.of_resamples(y_true, y_pred, counts) for y_pred in resampled_predictions]),
                )
                scale = _SCALES.get(metric, "share")
                scores.append((name, trained_on, metric, *found[trained_on, metric].with_interval(scale, len(y_true))))
        for trained_on in (SYNTHETIC, AUGMENTED):
            difference = found[trained_on, first].minus(found[REAL, first]).with_interval()
            if first not in _SCALES:
                difference = tuple(np.clip(difference, -1.0, 1.0))
            differences.append((name, trained_on, first, *difference, verdict_on(*difference)))
    columns = ["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"]
    compared = pd.DataFrame(differences, columns=[*columns, "verdict"])
    return Comparison(pd.DataFrame(scores, columns=columns), compared, _verdict(compared, len(train), len(synthetic)))


def why_not(samples: Samples) -> str | None:
    """Return why training sets cannot be compared; None if they can."""
    target = samples.schema.target
    if target is None:
        return NO_TARGET
    if len(samples.compared.columns) == 1:
        return f"there is no other column from which {target!r} could be predicted"
    for name, rows in (("train", samples.train), ("holdout", samples.holdout), ("synthetic", samples.subsample)):
        count = int(rows[target].notna().sum())
        if count < MIN_ROWS:
            return f"{count} {name} rows have a value in {target!r}; at least {MIN_ROWS} are needed"
    return None


def holdout_scores(samples: Samples, rows: pd.DataFrame) -> dict[str, float]:
    """Return the first score of each estimator trained on some rows, as in `compare_training_sets`, on all rows."""
    task = PredictionTask.of(samples.schema, samples.train, rows, samples.holdout)
    holdout, encoded = task.encode(samples.holdout), task.encode(rows)
    score, y_true = next(iter(task.scores.values())), task.y_true(holdout)
    return {
        name: float(np.mean([score(y_true, y) for y in _predictions(task, estimator, encoded, holdout, samples.seed)]))
        for name, estimator in task.estimators.items()
    }


def _predictions(
    task: PredictionTask, estimator: Estimator, rows: pd.DataFrame, holdout: pd.DataFrame, seed: int
) -> list[np.ndarray]:
    return [task.predict(estimator, rows, holdout, seed=seed + i) for i in range(SEEDS)]


def utility_results(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return `tstr_score` of each estimator: training on synthetic rows, with training on real rows as the reference.

    Parameters
    ----------
    comparison : pandas.DataFrame
        As `Comparison.table` returns it. A score that is not defined has no result.
    """
    first = comparison[comparison["metric"] == comparison["metric"].iloc[0]].set_index(["regressor", "trained_on"])
    rows = []
    for name in first.index.unique("regressor"):
        synthetic, real = (first.loc[(name, trained_on)] for trained_on in (SYNTHETIC, REAL))
        reference = Reference(real["value"], real["ci_low"], real["ci_high"])
        interval = synthetic["ci_low"], synthetic["ci_high"]
        if not np.isnan(synthetic["value"]):
            rows.append(result_row("tstr_score", name, synthetic["value"], reference, interval))
    return result_frame(rows)


def verdict_on(difference: float, low: float, high: float) -> str:
    """Return the difference of a score that is to be maximised, and its 95% interval, in words."""
    if np.isnan([difference, low, high]).any():
        return f"no score: {NO_SCORE}"
    found = "better" if low > 0 else "worse" if high < 0 else "no difference at this size"
    return f"{found}: {_rounded(difference):+.3f}, 95% interval {_rounded(low):.3f} to {_rounded(high):.3f}"


@dataclass(frozen=True)
class _TrainingSets:
    real: pd.DataFrame
    synthetic: pd.DataFrame

    @property
    def named(self) -> dict[str, pd.DataFrame]:
        both = pd.concat([self.real, self.synthetic], ignore_index=True)
        return {REAL: self.real, SYNTHETIC: self.synthetic, AUGMENTED: both}

    def resample(self, rng: np.random.Generator) -> "_TrainingSets":
        return _TrainingSets(
            *(rows.iloc[rng.integers(len(rows), size=len(rows))] for rows in (self.real, self.synthetic))
        )


@dataclass(frozen=True)
class _Scores:
    """A score, and the scores of repeats by resamples of the holdout rows."""

    value: float
    resampled: np.ndarray

    def minus(self, other: "_Scores") -> "_Scores":
        return _Scores(self.value - other.value, self.resampled - other.resampled)

    def with_interval(self, scale: Scale = "plain", rows: int | None = None) -> tuple[float, float, float]:
        return self.value, *score_interval(self.value, self.resampled, of_mean=False, scale=scale, rows=rows)


def _verdict(differences: pd.DataFrame, n_real: int, n_synthetic: int) -> str:
    score = TITLES[differences["metric"].iloc[0]]
    by_set = {}
    for trained_on, of_set in differences.groupby("trained_on"):
        found: dict[str, list[str]] = {}
        for row in of_set.itertuples():
            change = "" if np.isnan(row.value) else f" {_rounded(row.value):+.3f}"
            found.setdefault(row.verdict.split(": ")[0], []).append(f"{row.regressor}{change}")
        by_set[trained_on] = "; ".join(f"{verdict} ({', '.join(names)})" for verdict, names in found.items())
    return (
        f"Adding {n_synthetic:,} synthetic rows to the {n_real:,} real training rows, by {score} on holdout rows: "
        f"{by_set[AUGMENTED]}. Training on the synthetic rows instead of the real ones: {by_set[SYNTHETIC]}."
    )


def _rounded(number: float) -> float:
    return round(number, 3) + 0.0  # no -0.000


def _tstr_score(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    if reason := why_not(samples):
        yield NotComputed("tstr_score", None, reason)
        return
    found = utility_results(compare_training_sets(samples).table())
    if found.empty:
        yield NotComputed("tstr_score", None, NO_SCORE)
    for _, row in found.iterrows():
        yield dict(row)


METRICS = (
    Metric(
        "tstr_score",
        "Score of an estimator trained on synthetic rows",
        "maximize",
        1.0,
        float("-inf"),
        ANY,
        "R2 on holdout rows of a regressor trained on synthetic rows only, or the area under the ROC curve of a "
        "classifier; the reference is the score of the same estimator trained on real rows.",
        "Esteban, Hyland and Rätsch, 2017, arXiv:1706.02633: train on synthetic, test on real",
        _tstr_score,
        # Half of the effect of a regressor's seed and of the choice of holdout rows on R2, on abalone.
        tolerance=0.05,
        heading="Estimator",
    ),
)
