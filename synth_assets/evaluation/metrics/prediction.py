"""Each column predicted from the others: what remains of the structure of a table, whatever its target.

Boosted trees are trained on the train rows and on as many synthetic rows, and predict each column of the holdout rows
from the other columns. The score is R2 for numbers, not less than 0, and the area under the ROC curve for labels, each
against the others, not less than 0.5. Missing cells of other columns are taken as they are; rows without a value of the
predicted column are left out. The reference of the gap is bootstrap resamples of the train rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.evaluation.associations import associations
from synth_assets.evaluation.learners import PredictionTask
from synth_assets.evaluation.metrics.base import ANY, SHARE, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.reference import Reference, reference_of
from synth_assets.evaluation.samples import MIN_ROWS, MOST_NEIGHBOURS, Samples, cached

MOST_PREDICTED = 12
"""Columns that are predicted, those that are associated most strongly with another in the train rows."""

MOST_PREDICTORS = 30
"""Columns that one is predicted from, those that are associated most strongly with it in the train rows."""

REPEATS = 4
"""Bootstrap resamples of the train rows."""

SETTINGS = {"learning_rate": 0.15, "max_iter": 25, "max_leaf_nodes": 8, "early_stopping": False}


@dataclass(frozen=True)
class _Scores:
    """Scores of a column by training rows: real, synthetic, and resamples of the real ones."""

    real: float
    synthetic: float
    resampled: tuple[float, ...]


@cached
def _predictions(samples: Samples) -> dict[str, _Scores | str]:
    """Return the scores of each column that is predicted, or why there are none."""
    samples = samples.thinned(MOST_NEIGHBOURS)
    strengths = associations(samples)
    chosen = strengths.max().sort_values(ascending=False, kind="stable").index[:MOST_PREDICTED]
    if len(samples.compared.columns) < 2:
        return {}
    rng = np.random.default_rng(samples.seed)
    resampled = [rng.integers(len(samples.train), size=len(samples.train)) for _ in range(REPEATS)]
    found = {}
    for name in samples.compared.names:
        if name in chosen:
            others = strengths[name].drop(name).sort_values(ascending=False, kind="stable").index[:MOST_PREDICTORS]
            found[name] = _scores_of(samples, name, [*others], resampled)
    return found


def _scores_of(samples: Samples, name: str, others: list[str], resampled: list[np.ndarray]) -> _Scores | str:
    schema = samples.compared.select([name, *others]).model_copy(update={"target": name})
    sets = {"train": samples.train, "holdout": samples.holdout, "synthetic": samples.subsample}
    for part, rows in sets.items():
        count = int(rows[name].notna().sum())
        if count < MIN_ROWS:
            return f"{count} {part} rows have a value; at least {MIN_ROWS} are needed"
    if samples.holdout[name].nunique() < 2 or samples.train[name].nunique() < 2:
        return "all rows have the same value"
    task = PredictionTask.of(schema, samples.train, samples.holdout, samples.subsample)
    train, holdout, synthetic = (task.encode(rows) for rows in sets.values())
    y_true = task.y_true(holdout)
    first = next(iter(task.scores.values()))
    least = 0.5 if task.classes else 0.0

    def score(rows: pd.DataFrame) -> float:
        if rows[name].nunique() < 2:
            return least  # nothing can be learned
        predicted = task.predict(lambda count, seed: _estimator(task, count, seed), rows, holdout, seed=0)
        return max(least, first(y_true, predicted))

    at = [each[each < len(train)] for each in resampled]
    return _Scores(score(train), score(synthetic), tuple(score(train.iloc[rows]) for rows in at))


def _estimator(task: PredictionTask, rows: int, seed: int) -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    boosting = HistGradientBoostingClassifier if task.classes else HistGradientBoostingRegressor
    leaf = min(20, round(rows**0.5))
    return boosting(**SETTINGS, min_samples_leaf=leaf, categorical_features=task.few_labelled, random_state=seed)


def _columns(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    for name, scores in _predictions(samples).items():
        if isinstance(scores, str):
            yield NotComputed("column_prediction", name, scores)
        else:
            chance = reference_of(scores.resampled)
            reference = Reference(scores.real, min(chance.low, scores.real), max(chance.high, scores.real))
            yield result_row("column_prediction", name, scores.synthetic, reference)


def _gap(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    found = [scores for scores in _predictions(samples).values() if not isinstance(scores, str)]
    if not found:
        yield NotComputed("column_prediction_gap", None, "no column can be predicted from others")
        return
    gaps = [float(np.mean([each.real - each.resampled[i] for each in found])) for i in range(REPEATS)]
    value = float(np.mean([each.real - each.synthetic for each in found]))
    yield result_row("column_prediction_gap", None, value, reference_of(gaps))


METRICS = (
    Metric(
        "column_prediction_gap",
        "Loss of the prediction of a column from the others",
        *SHARE,
        ANY,
        "Mean over columns of the score of boosted trees trained on train rows minus the score of the same trees "
        "trained on synthetic rows; both predict a column of the holdout rows from the others. The reference is "
        "training on bootstrap resamples of the train rows. Of more than 12 columns, those that are associated most "
        "strongly with another in the train rows are predicted, from at most 30 others; at most 5,000 rows are used.",
        "Esteban, Hyland and Rätsch, 2017, arXiv:1706.02633: train on synthetic, test on real; over all columns",
        _gap,
        # As for the score of an estimator of the target.
        tolerance=0.05,
        signed=True,
    ),
    Metric(
        "column_prediction",
        "Score of the prediction of a column from the others",
        "maximize",
        1.0,
        0.0,
        ANY,
        "R2 of a number (at least 0) or area under the ROC curve of a label (at least 0.5) in holdout rows, predicted "
        "from the other columns by boosted trees trained on synthetic rows; the reference is training on train rows, "
        "with an interval from bootstrap resamples of them.",
        "As above, for one column",
        _columns,
    ),
)
