"""Can a classifier tell synthetic rows from real ones? The classifier two-sample test.

After Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3: a classifier learns to tell two
samples apart and is scored on rows that it has not seen; where both come from one distribution, it does no better than
chance. Their score is the accuracy; here it is the area under the ROC curve, since there are more synthetic rows than
held-out ones, and accuracy would reward calling every row synthetic. Several classifiers are asked, because each sees
what the others do not: boosting bins its numbers, a forest of full-grown trees sees single values, and a logistic model
sees next to nothing, which is worth seeing beside the others.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.evaluation.learners import fit_reproducibly
from synth_assets.evaluation.metrics import evidence, evidence_table
from synth_assets.evaluation.reference import floor_of, real_splits
from synth_assets.evaluation.roc import bootstrapped, roc_area
from synth_assets.evaluation.rows import (
    category_names,
    judged_rows,
    labels_seen,
    numeric_names,
    require_columns,
    require_rows,
)
from synth_assets.schema.table import TableSchema

Classifier = Literal["gradient boosting", "random forest", "logistic regression"]

METRIC_OF: dict[Classifier, str] = {
    "gradient boosting": "detection_auc_boosting",
    "random forest": "detection_auc_forest",
    "logistic regression": "detection_auc_logistic",
}
IMPORTANCE, PAIR = "detection_importance", "detection_auc_pair"

TREES = 50
"""Of the forest; four times as many move its area by a thousandth, on abalone."""

FOLDS = 5
REPEATS = 3

FLOOR_SPLITS = 6
"""Splits of the real table that a floor of detection is found from, one shuffle each: a classifier costs seconds."""

PAIR_SPLITS = 2
"""Splits for the floor of pairs: all pairs share it, so that few splits give many scores."""

_BINS = 255
"""As many categories as scikit-learn's boosting takes."""


@dataclass(frozen=True)
class Detection:
    """How well a classifier told synthetic rows from held-out ones.

    Parameters
    ----------
    auc : float
        The mean of `repeats`: 0.5 where it could not, 1 where it never erred.
    repeats : tuple of float
        The area under the ROC curve in each shuffle.
    low, high : float
        The 95% interval of `auc` by a bootstrap over the rows; NaN if none was asked for.
    importances : mapping of str to float
        By column: how far the area falls where the values of that column are shuffled among the rows that are judged,
        the mean over the shuffles (permutation importance: Breiman, Random Forests, 2001, section 10). Empty if none
        was asked for.
    """

    auc: float
    repeats: tuple[float, ...]
    low: float
    high: float
    importances: Mapping[str, float]


def detection_table(
    synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, *, seed: int = 0
) -> pd.DataFrame:
    """Ask three classifiers to tell a sample from held-out rows, beside what they tell of real rows.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Of the synthetic ones, as many as there are train rows are judged
        (`judged_rows`).
    schema : TableSchema
        The raw table's schema.
    seed : int
        Of the splits, the shuffles, the classifiers and the bootstrap.

    Returns
    -------
    pandas.DataFrame
        Evidence: one row a classifier, and what the area of the boosted trees owes to each column.

    Raises
    ------
    ForeseenError
        As `detection_auc`.
    """
    sets = {"synthetic": synthetic, "train": train, "held_out": held_out}
    require_columns(schema, **sets)
    require_rows(schema, at_least=FOLDS, **sets)
    judged = judged_rows(synthetic, train)
    splits = list(real_splits(train, held_out, splits=FLOOR_SPLITS, seed=seed))
    found = []
    importances: list[Mapping[str, float]] = []
    for classifier, metric in METRIC_OF.items():
        ask = partial(
            detection_auc, schema=schema, classifier=classifier, importance=classifier == "gradient boosting", seed=seed
        )
        told = ask(judged, held_out)
        of_real = [ask(split.train.head(len(judged)), split.held_out, repeats=1, interval=False) for split in splits]
        found.append(evidence(metric, None, told.auc, floor_of([each.auc for each in of_real]), (told.low, told.high)))
        for name, importance in told.importances.items():
            importances.append(
                evidence(IMPORTANCE, name, importance, floor_of([each.importances[name] for each in of_real]))
            )
    return evidence_table([*found, *importances])


def detection_auc(
    synthetic: pd.DataFrame,
    held_out: pd.DataFrame,
    schema: TableSchema,
    *,
    classifier: Classifier,
    repeats: int = REPEATS,
    interval: bool = True,
    importance: bool = False,
    seed: int = 0,
) -> Detection:
    """Tell synthetic rows from held-out real ones by a classifier, and score it on rows that it has not seen.

    Each shuffle splits the rows into five stratified folds; each fold is judged by a classifier that learned from the
    other four, and all the judgements of a shuffle together give one area under the ROC curve.

    Parameters
    ----------
    synthetic, held_out : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.
    classifier : {"gradient boosting", "random forest", "logistic regression"}
        What judges: histogram gradient boosting, a forest of full-grown trees, or a logistic model of standardised
        numbers and one column a label.
    repeats : int
        How many shuffles.
    interval : bool
        Whether an interval is wanted.
    importance : bool
        Whether the columns' importances are wanted.
    seed : int
        Of the first shuffle and its classifiers; the others count on from it.

    Returns
    -------
    Detection
        The mean over the shuffles, each of them, and the interval. Real train rows in the place of the synthetic ones
        give the floor.

    Raises
    ------
    ForeseenError
        If a set has fewer rows than there are folds, or a cell that is empty or infinite.
    """
    require_rows(schema, at_least=FOLDS, synthetic=synthetic, held_out=held_out)
    features = _features(synthetic, held_out, schema)
    is_synthetic = np.repeat([1, 0], [len(synthetic), len(held_out)])
    shuffled = list(schema.names) if importance else []
    judgements = [
        _judgements(_classifier(classifier, features, schema, s), features, is_synthetic, s, shuffled)
        for s in range(seed, seed + repeats)
    ]
    halves = [_halves(judged, len(synthetic)) for judged, _ in judgements]
    areas = tuple(roc_area(*half) for half in halves)
    importances = {}
    for name in shuffled:
        without = [roc_area(*_halves(shuffles[name], len(synthetic))) for _, shuffles in judgements]
        importances[name] = float(np.mean(areas) - np.mean(without))
    low, high = bootstrapped(halves, seed=seed) if interval else (float("nan"), float("nan"))
    return Detection(float(np.mean(areas)), areas, low, high, importances)


def pairs_told_apart(
    synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, *, seed: int = 0
) -> pd.DataFrame:
    """Say which pairs of columns give a sample away.

    For each pair, a small boosted classifier (30 trees of 8 leaves) sees these two columns alone and is scored as in
    `detection_auc`, in one shuffle.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Of the synthetic ones, as many as there are train rows are judged
        (`judged_rows`).
    schema : TableSchema
        The raw table's schema.
    seed : int
        Of the splits and the shuffle.

    Returns
    -------
    pandas.DataFrame
        Evidence: `value` is the area of a pair ('one, other'), the greatest first. Real rows are told from real rows
        by no pair more than by another but by chance: the floor is that of all pairs together. A table of one column
        has no pair.

    Raises
    ------
    ForeseenError
        As `detection_auc`.
    """
    sets = {"synthetic": synthetic, "train": train, "held_out": held_out}
    require_columns(schema, **sets)
    require_rows(schema, at_least=FOLDS, **sets)
    judged = judged_rows(synthetic, train)
    areas = _pair_areas(judged, held_out, schema, seed)
    of_real = [
        area
        for split in real_splits(train, held_out, splits=PAIR_SPLITS, seed=seed)
        for area in _pair_areas(split.train.head(len(judged)), split.held_out, schema, seed).values()
    ]
    floor = floor_of(of_real)
    found = [evidence(PAIR, pair, area, floor) for pair, area in areas.items()]
    return evidence_table(found).sort_values("value", ascending=False, kind="stable", ignore_index=True)


def _pair_areas(synthetic: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, seed: int) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = _features(synthetic, held_out, schema)
    is_synthetic = np.repeat([1, 0], [len(synthetic), len(held_out)])
    areas = {}
    for pair in itertools.combinations(schema.names, 2):
        model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, early_stopping=False, random_state=seed)
        judged, _ = _judgements(model, features[list(pair)], is_synthetic, seed)
        areas[", ".join(pair)] = roc_area(*_halves(judged, len(synthetic)))
    return areas


def _halves(judged: np.ndarray, synthetic: int) -> tuple[np.ndarray, np.ndarray]:
    return judged[:synthetic], judged[synthetic:]


def _judgements(
    model: Any, features: pd.DataFrame, is_synthetic: np.ndarray, seed: int, shuffled: Sequence[str] = ()
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Give how synthetic each row looks to a model of the other folds, and how it looks with each column shuffled."""
    from sklearn.base import clone
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    judged = np.empty(len(features))
    without = {name: np.empty(len(features)) for name in shuffled}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # With two OpenMP threads on two busy cores, boosting takes a hundred times as long as with one on an idle core.
    with threadpool_limits(1, "openmp"):
        for learned, asked in folds.split(features, is_synthetic):
            fitted = fit_reproducibly(clone(model), features.iloc[learned], is_synthetic[learned])
            fold = features.iloc[asked]
            judged[asked] = fitted.predict_proba(fold)[:, 1]
            for name in shuffled:
                other = fold.assign(**{name: rng.permutation(fold[name].to_numpy())})
                without[name][asked] = fitted.predict_proba(other)[:, 1]
    return judged, without


def _features(synthetic: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    both = pd.concat([synthetic, held_out], ignore_index=True)
    # Forests compute in single precision.
    largest = float(np.finfo(np.float32).max)
    columns: dict[str, Any] = {
        name: both[name].astype("float64").clip(-largest, largest) for name in numeric_names(schema)
    }
    for name in category_names(schema):
        columns[name] = pd.Categorical(
            both[name].astype("str"), categories=labels_seen(name, schema, both)
        ).codes.astype("int64")
    return pd.DataFrame(columns)


def _classifier(kind: Classifier, features: pd.DataFrame, schema: TableSchema, seed: int) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if kind == "random forest":
        # Trees can split codes as they are.
        return RandomForestClassifier(n_estimators=TREES, min_samples_leaf=1, random_state=seed, n_jobs=-1)
    if kind == "logistic regression":
        coded = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), category_names(schema)), remainder=StandardScaler()
        )
        return make_pipeline(coded, LogisticRegression(max_iter=1000))
    return HistGradientBoostingClassifier(
        # Codes beyond the limit are split as numbers.
        categorical_features=[name for name in category_names(schema) if features[name].max() < _BINS],
        # By itself it would stop early from 10,000 rows on: the same rows twice would be judged by another rule.
        early_stopping=False,
        random_state=seed,
    )
