"""What learns to predict the target from the other columns, and how its predictions are scored.

A numeric target is learned by regressors, a category by classifiers; everything above this module treats both alike.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.roc import roc_area

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

LINEAR, LOGISTIC, NEIGHBOURS = "linear", "logistic", "nearest neighbours"
FOREST, BOOSTING = "random forest", "gradient boosting"

# Chosen once, on abalone, by R2 of train rows that were left out, with 50 to 2,400 to learn from; held-out rows had no
# part in it. With 2,400 rows they scored, beside scikit-learn's defaults: neighbours 0.537 (0.494), forest 0.549
# (0.530), boosting 0.552 (0.524); with 50 rows 0.335 (0.313), 0.340 (0.335) and 0.294 (0.240). Fifty more trees would
# add 0.003 and double the cost.
NEAREST = 15
FOREST_SETTINGS = {"n_estimators": 50, "min_samples_leaf": 2, "max_features": 0.5}
BOOSTING_SETTINGS = {"learning_rate": 0.1, "max_iter": 50, "max_leaf_nodes": 16}
LARGEST_LEAF = 40

ALGORITHM_VERSION = 1
"""Raised by hand whenever a learner here would predict something else from the same rows."""

Learner = Callable[[int, int], Any]
"""Takes the number of rows to learn from and a seed, and gives an estimator of scikit-learn that is not yet fitted."""

Score = Callable[[np.ndarray, np.ndarray], float]
"""Takes the truth and the predictions, and gives a score; NaN where there is none."""


@dataclass(frozen=True)
class Task:
    """What is predicted from what.

    Parameters
    ----------
    target : str
        The column that is predicted from all the others.
    categories : tuple of str
        The columns that are category codes. If the target is one, classifiers learn it.
    codes : tuple of int
        The target's codes, in order; empty for a numeric target.
    """

    target: str
    categories: tuple[str, ...]
    codes: tuple[int, ...] = ()

    @classmethod
    def of(cls, target: str, categories: list[str], *sets: pd.DataFrame) -> "Task":
        """Find the task from the rows that are learned from and scored on.

        Parameters
        ----------
        target : str
            The column that is predicted.
        categories : list of str
            The columns that are category codes.
        *sets : pandas.DataFrame
            Encoded rows, all with the same columns.

        Returns
        -------
        Task
            It knows every code of a categorical target that occurs in a set.

        Raises
        ------
        ForeseenError
            If a set has no row, lacks the target or a column that another has, or has a cell that is no finite number.
        """
        for rows in sets:
            _require(rows, target, list(sets[0].columns))
        codes = sorted({int(code) for rows in sets for code in rows[target].unique()}) if target in categories else []
        return cls(target, tuple(categories), tuple(codes))

    @property
    def scores(self) -> Mapping[str, Score]:
        """How predictions are scored, by name; the first is the one that verdicts are about."""
        return CLASSIFICATION if self.codes else REGRESSION

    @property
    def learners(self) -> Mapping[str, Learner]:
        """What learns, by name."""
        features = [name for name in self.categories if name != self.target]
        return _classifiers(features) if self.codes else _regressors(features)

    def truth(self, rows: pd.DataFrame) -> np.ndarray:
        """Give what is to be predicted: numbers, or the positions of codes."""
        target: np.ndarray = rows[self.target].to_numpy("float64")
        return np.searchsorted(self.codes, target) if self.codes else target

    def predict(self, learner: Learner, rows: pd.DataFrame, unseen: pd.DataFrame, *, seed: int) -> np.ndarray:
        """Let a learner learn from rows and predict others.

        Parameters
        ----------
        learner : callable
            One of `learners`.
        rows, unseen : pandas.DataFrame
            Encoded rows: n to learn from, m to predict. Their columns may come in any order.
        seed : int
            Of the learner.

        Returns
        -------
        numpy.ndarray
            m numbers; for a category, m by k probabilities of its k codes. A code that no row to learn from has gets
            the probability 0, and one that all of them have the probability 1.
        """
        from sklearn.dummy import DummyClassifier
        from threadpoolctl import threadpool_limits

        features = [name for name in rows.columns if name != self.target]
        truth = self.truth(rows)
        estimator = learner(len(rows), seed)
        if self.codes and len(np.unique(truth)) == 1:
            estimator = DummyClassifier()  # a logistic model wants two classes
        # With two OpenMP threads on two busy cores, boosting takes a hundred times as long as with one on an idle core.
        with threadpool_limits(1, "openmp"):
            fitted = fit_reproducibly(estimator, rows[features], truth)
            if not self.codes:
                return np.asarray(fitted.predict(unseen[features]), dtype="float64")
            known: np.ndarray = np.zeros((len(unseen), len(self.codes)))
            known[:, fitted.classes_] = fitted.predict_proba(unseen[features])
            return known


def fit_reproducibly(estimator: Any, features: pd.DataFrame, truth: np.ndarray) -> Any:
    """Fit an estimator of scikit-learn, so that what it predicts is the same to the last digit each time.

    Parameters
    ----------
    estimator : sklearn.base.BaseEstimator
        It may be fitted in threads.
    features : pandas.DataFrame
        n rows.
    truth : numpy.ndarray
        n values.

    Returns
    -------
    sklearn.base.BaseEstimator
        The same, fitted.
    """
    fitted = estimator.fit(features, truth)
    if "n_jobs" in fitted.get_params():
        # A forest adds its trees up in the order in which its threads end: the last digits would vary.
        fitted.set_params(n_jobs=1)
    return fitted


def _require(rows: pd.DataFrame, target: str, names: list[str]) -> None:
    missing = sorted({target, *names} - set(rows.columns))
    if missing:
        raise ForeseenError(
            f"rows to learn from or to score on lack {', '.join(map(repr, missing))}; they have "
            f"{', '.join(map(repr, rows.columns))}. Give every set the same columns."
        )
    if rows.empty:
        raise ForeseenError(
            "found no row to learn from or to score on; each set needs at least 1. Draw a larger sample, or split the "
            "table differently."
        )
    wrong = [name for name in rows.columns if not np.isfinite(rows[name].to_numpy("float64", na_value=np.nan)).all()]
    if wrong:
        raise ForeseenError(
            f"column {wrong[0]!r} has empty or infinite cells; a regression needs every cell. Leave those rows out."
        )


def _regressors(categories: list[str]) -> Mapping[str, Learner]:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline

    return {
        LINEAR: lambda rows, seed: make_pipeline(_scaled(categories), LinearRegression()),
        NEIGHBOURS: lambda rows, seed: make_pipeline(
            _scaled(categories), KNeighborsRegressor(min(NEAREST, rows), weights="distance")
        ),
        FOREST: lambda rows, seed: RandomForestRegressor(
            **FOREST_SETTINGS, max_samples=_half(rows), random_state=seed, n_jobs=-1
        ),
        BOOSTING: lambda rows, seed: HistGradientBoostingRegressor(
            **BOOSTING_SETTINGS, min_samples_leaf=_leaf(rows), categorical_features=categories, random_state=seed
        ),
    }


def _classifiers(categories: list[str]) -> Mapping[str, Learner]:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    return {
        LOGISTIC: lambda rows, seed: make_pipeline(_scaled(categories), LogisticRegression(max_iter=1000)),
        NEIGHBOURS: lambda rows, seed: make_pipeline(
            _scaled(categories), KNeighborsClassifier(min(NEAREST, rows), weights="distance")
        ),
        FOREST: lambda rows, seed: RandomForestClassifier(
            **FOREST_SETTINGS, max_samples=_half(rows), random_state=seed, n_jobs=-1
        ),
        BOOSTING: lambda rows, seed: HistGradientBoostingClassifier(
            **BOOSTING_SETTINGS, min_samples_leaf=_leaf(rows), categorical_features=categories, random_state=seed
        ),
    }


def _half(rows: int) -> int:
    """Give how many rows a tree of the forest learns from."""
    return max(1, rows // 2)


def _leaf(rows: int) -> int:
    """Give the fewest rows of a leaf of boosting: few rows need small leaves, or they could not be split at all."""
    return min(LARGEST_LEAF, round(math.sqrt(rows)))


def _scaled(categories: list[str]) -> "ColumnTransformer":
    # A code is no quantity: a linear model and a distance need a column for each label. Trees can split codes.
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((one_hot, categories), remainder=StandardScaler())


def _r2(truth: np.ndarray, prediction: np.ndarray) -> float:
    if truth.min() == truth.max():
        return float("nan")  # there is nothing to explain
    residual = float(((truth - prediction) ** 2).sum())
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - residual / total


def _rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.sqrt(((truth - prediction) ** 2).mean()))


def _mae(truth: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.abs(truth - prediction).mean())


def _roc_auc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Give the mean area over the codes that occur, each against all others (of two codes, both areas are one)."""
    occurring = np.unique(truth)
    if len(occurring) < 2:
        return float("nan")
    return float(
        np.mean([roc_area(prediction[truth == code, code], prediction[truth != code, code]) for code in occurring])
    )


def _accuracy(truth: np.ndarray, prediction: np.ndarray) -> float:
    return float((prediction.argmax(axis=1) == truth).mean())


def _balanced_accuracy(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Give the mean over the codes that occur of the share of their rows that are told right."""
    right = prediction.argmax(axis=1) == truth
    return float(np.mean([right[truth == code].mean() for code in np.unique(truth)]))


# Written out: tens of thousands of scores take a second so, and twenty with scikit-learn's, which check each argument.
REGRESSION: Mapping[str, Score] = {"r2": _r2, "rmse": _rmse, "mae": _mae}
"""In the target's unit, but for R2."""

CLASSIFICATION: Mapping[str, Score] = {
    "roc_auc": _roc_auc,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}
"""The first does not ask where probabilities are cut, and is no better for calling every row by the commonest label."""

TITLES = {"r2": "R2", "roc_auc": "the area under the ROC curve"}
"""What the first of the scores is called in a sentence."""
