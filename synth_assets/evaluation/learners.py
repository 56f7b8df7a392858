"""Estimators that predict the target from the other columns, and the scores of their predictions.

Regressors for a numeric target, classifiers for a categorical one and for a number of two values, such as 0 and 1;
callers treat both alike. Boosting and forests take
missing numbers as they are; linear models and nearest neighbours get the median of the training rows and an indicator.
A missing label is a label of its own. Of a column of more than 100 labels, linear models and nearest neighbours
distinguish the most frequent ones, and trees split the codes as numbers where boosting accepts no more categories. Of
a target with more than 10 labels, the 9 most frequent are classes, and the others one more. Rows without a target are
left out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api import types

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.intervals import roc_areas
from synth_assets.evaluation.samples import MOST_LABELS, all_categories, encode_features
from synth_assets.execution.threads import one_thread
from synth_assets.schema.columns import Categorical
from synth_assets.schema.dtypes import with_columns
from synth_assets.schema.table import TableSchema

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

LINEAR, LOGISTIC, NEIGHBOURS = "linear", "logistic", "nearest neighbours"
FOREST, BOOSTING = "random forest", "gradient boosting"

# Chosen once, on abalone, by R2 on a part of the train rows, with 50 to 2,400 training rows; no holdout row was used.
# With 2,400 rows they scored (scikit-learn's defaults in brackets): neighbours 0.537 (0.494), forest 0.549 (0.530),
# boosting 0.552 (0.524); with 50 rows 0.335 (0.313), 0.340 (0.335) and 0.294 (0.240). Fifty more trees would add 0.003
# and double the cost.
NEAREST = 15
FOREST_SETTINGS = {"n_estimators": 50, "min_samples_leaf": 2, "max_features": 0.5}
BOOSTING_SETTINGS = {"learning_rate": 0.1, "max_iter": 50, "max_leaf_nodes": 16}
LARGEST_LEAF = 40

MOST_BINS = 255
"""Categories of a feature that scikit-learn's boosting accepts."""

MOST_CLASSES = 10
"""Labels of a target, the most frequent ones, that classifiers distinguish; the others are one class."""

OTHER_CLASS = "(other labels)"

ALGORITHM_VERSION = 2
"""Raise by hand whenever an estimator here would predict something else from the same rows."""

Estimator = Callable[[int, int], Any]
"""Takes the number of training rows and a seed, and returns an unfitted estimator of scikit-learn."""


@dataclass(frozen=True)
class Score:
    """A score of predictions; NaN where it is undefined.

    Parameters
    ----------
    of_resamples : callable
        Takes n true values, n predictions, and r by n counts: how often each of r resamples has each row. Returns the
        score of each resample; all together take a fraction of the time that one after the other does.
    """

    of_resamples: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        """Return the score of the rows as they are."""
        return float(self.of_resamples(y_true, y_pred, np.ones((1, len(y_true))))[0])


@dataclass(frozen=True)
class PredictionTask:
    """Prediction of a table's target from its other columns.

    `labels` has the labels of each categorical column in the order of their codes; of the target, those that occur,
    or the most frequent of the training rows and `OTHER_CLASS`.
    """

    schema: TableSchema
    labels: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, schema: TableSchema, *sets: pd.DataFrame) -> "PredictionTask":
        """Derive the task from the rows of training and of scoring; it has every label that occurs in them.

        The first set decides which labels of the target are frequent. Columns of text and keys do not count.

        Raises
        ------
        ForeseenError
            If the schema has no target.
        """
        if schema.target is None:
            raise ForeseenError("the schema has no target column to predict; pass its name as `target`.")
        schema = _with_classes(schema.select(schema.compared), *sets)
        target = str(schema.target)
        sets = tuple(_with_labels(rows, schema) for rows in sets)
        labels = {name: all_categories(name, schema, *sets) for name in schema.categorical}
        if target in labels:
            occurring = {str(label) for rows in sets for label in rows[target].dropna().unique()}
            labels[target] = [label for label in labels[target] if label in occurring]
            if len(labels[target]) > MOST_CLASSES:
                frequent = set(sets[0][target].value_counts().index[: MOST_CLASSES - 1])
                labels[target] = [*(label for label in labels[target] if label in frequent), OTHER_CLASS]
        return cls(schema, {name: tuple(found) for name, found in labels.items()})

    @property
    def target(self) -> str:
        """The name of the target."""
        assert self.schema.target is not None  # noqa: S101 - `of` refuses a schema without one
        return self.schema.target

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of a categorical target; empty for a numeric one."""
        return self.labels.get(self.target, ())

    @property
    def scores(self) -> Mapping[str, Score]:
        """Scores of predictions, by name; verdicts are about the first."""
        return CLASSIFICATION if self.classes else REGRESSION

    @property
    def estimators(self) -> Mapping[str, Estimator]:
        """Estimators, by name."""
        features = [column for column in self.schema.columns if column.name != self.target]
        numbers = [column for column in features if column.role == "number"]
        return _estimators(
            [i for i, column in enumerate(features) if column.name in self.schema.categorical],
            self.few_labelled,
            has_gaps=any(column.nullable for column in numbers),
            classify=bool(self.classes),
        )

    @property
    def few_labelled(self) -> list[int]:
        """The positions among the features of the categorical ones with no more labels than boosting accepts."""
        features = [name for name in self.schema.names if name != self.target]
        return [i for i, name in enumerate(features) if name in self.labels and len(self.labels[name]) <= MOST_BINS]

    def encode(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Encode the rows that have a target as numbers, in the schema's columns; labels as codes."""
        rows = _with_labels(rows.loc[rows[self.target].notna(), self.schema.names], self.schema)
        if OTHER_CLASS in self.classes:
            known = rows[self.target].isin(self.classes)
            rows = with_columns(rows, {self.target: rows[self.target].where(known, OTHER_CLASS)})
        return encode_features(rows, self.labels).reset_index(drop=True)

    def y_true(self, encoded: pd.DataFrame) -> np.ndarray:
        """Return the target of encoded rows: numbers, or positions in `classes`."""
        target: np.ndarray = encoded[self.target].to_numpy()
        return target

    def predict(self, estimator: Estimator, train: pd.DataFrame, rows: pd.DataFrame, *, seed: int) -> np.ndarray:
        """Fit an estimator to encoded rows, and predict the target of others.

        Returns
        -------
        numpy.ndarray
            m numbers; for a categorical target, m by k probabilities of its k classes, 0 for classes absent in `train`.
        """
        from sklearn.dummy import DummyClassifier

        features = [name for name in self.schema.names if name != self.target]
        y = self.y_true(train)
        model = estimator(len(train), seed)
        if self.classes and len(np.unique(y)) == 1:
            model = DummyClassifier()  # a logistic regression needs two classes
        # With two OpenMP threads on two busy cores, boosting takes a hundred times as long as with one on an idle core.
        with one_thread():
            fitted = fit_reproducibly(model, train[features], y)
            if not self.classes:
                return np.asarray(fitted.predict(as_input(rows[features])), dtype="float64")
            probabilities: np.ndarray = np.zeros((len(rows), len(self.classes)))
            probabilities[:, fitted.classes_] = fitted.predict_proba(as_input(rows[features]))
            return probabilities


def _with_classes(schema: TableSchema, *sets: pd.DataFrame) -> TableSchema:
    """Return a schema in which a target of two numbers, such as 0 and 1, is one of labels."""
    target = schema.column(str(schema.target))
    values = sorted({value for rows in sets for value in rows[target.name].dropna().unique()})
    if target.type not in ("integer", "float") or len(values) != 2:
        return schema
    labels = Categorical(
        name=target.name, categories=tuple(f"{value:.17g}" for value in values), nullable=target.nullable
    )
    columns = tuple(labels if column is target else column for column in schema.columns)
    return schema.model_copy(update={"columns": columns})


def _with_labels(rows: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Return rows with the numbers of a target that has classes as labels."""
    target = str(schema.target)
    if target not in schema.categorical or not types.is_numeric_dtype(rows[target].dtype):
        return rows
    return with_columns(rows, {target: rows[target].map("{:.17g}".format, na_action="ignore").astype("str")})


def fit_reproducibly(estimator: Any, features: pd.DataFrame, y_true: np.ndarray) -> Any:
    """Fit an estimator of scikit-learn so that its predictions never differ, even if it fits in threads."""
    empty = features.columns[features.isna().all()]  # boosting cannot bin a column without a value
    fitted = estimator.fit(as_input(with_columns(features, dict.fromkeys(empty, 0.0))), y_true)
    if hasattr(fitted, "n_jobs"):
        # A forest sums its trees in the order in which its threads end: the last digits would vary.
        fitted.set_params(n_jobs=1)
    return fitted


def as_input(features: pd.DataFrame) -> np.ndarray:
    """Return features as estimators take them.

    Of a frame, scikit-learn's checks take three times as long, which of few rows is most of the time of a prediction.
    """
    return np.asarray(features.to_numpy("float64"))


def _estimators(categories: list[int], few: list[int], *, has_gaps: bool, classify: bool) -> Mapping[str, Estimator]:
    """Return estimators for features, of which `categories` are codes of labels; boosting distinguishes `few`."""
    from sklearn import ensemble, linear_model, neighbors
    from sklearn.pipeline import make_pipeline

    suffix = "Classifier" if classify else "Regressor"
    neighbours, forest, boosting = (
        getattr(module, f"{name}{suffix}")
        for module, name in ((neighbors, "KNeighbors"), (ensemble, "RandomForest"), (ensemble, "HistGradientBoosting"))
    )

    def linear() -> Any:
        return linear_model.LogisticRegression(max_iter=1000) if classify else linear_model.LinearRegression()

    return {
        LOGISTIC if classify else LINEAR: lambda rows, seed: make_pipeline(
            scaled(categories, has_gaps=has_gaps), linear()
        ),
        NEIGHBOURS: lambda rows, seed: make_pipeline(
            scaled(categories, has_gaps=has_gaps), neighbours(min(NEAREST, rows), weights="distance")
        ),
        FOREST: lambda rows, seed: forest(
            **FOREST_SETTINGS, max_samples=_tree_rows(rows), random_state=seed, n_jobs=-1
        ),
        BOOSTING: lambda rows, seed: boosting(
            **BOOSTING_SETTINGS, min_samples_leaf=_leaf(rows), categorical_features=few, random_state=seed
        ),
    }


def _tree_rows(rows: int) -> int:
    """Return the number of rows that each tree of the forest is fitted to."""
    return max(1, rows // 2)


def _leaf(rows: int) -> int:
    """Return the minimum rows of a leaf of boosting: few rows need small leaves to be split at all."""
    return min(LARGEST_LEAF, round(math.sqrt(rows)))


def scaled(categories: list[int], *, has_gaps: bool) -> "ColumnTransformer":
    """Return what linear models and distances need: codes at `categories` one-hot, numbers standardised, no gaps."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_LABELS + 1, sparse_output=False)
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    numbers = make_pipeline(imputer, StandardScaler()) if has_gaps else StandardScaler()
    return make_column_transformer((one_hot, categories), remainder=numbers)


def _r2(y_true: np.ndarray, y_pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    centred, errors, rows = y_true - y_true.mean(), y_true - y_pred, counts.sum(axis=1)
    # A power of two changes no digit, and squares of numbers of 1e-200 are no floats.
    exponent = np.frexp(np.abs(centred).max())[1]
    centred, errors = np.ldexp(centred, -exponent), np.ldexp(errors, -exponent)
    total = counts @ centred**2 - (counts @ centred) ** 2 / rows
    drawn = counts > 0
    least, greatest = np.where(drawn, y_true, np.inf).min(axis=1), np.where(drawn, y_true, -np.inf).max(axis=1)
    total[least == greatest] = np.nan  # undefined for a constant target
    return np.asarray(1.0 - counts @ errors**2 / total)


def _rmse(y_true: np.ndarray, y_pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    errors = y_true - y_pred
    exponent = np.frexp(np.abs(errors).max())[1]
    return np.asarray(np.ldexp(np.sqrt(counts @ np.ldexp(errors, -exponent) ** 2 / counts.sum(axis=1)), exponent))


def _mae(y_true: np.ndarray, y_pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts @ np.abs(y_true - y_pred) / counts.sum(axis=1))


def _roc_auc(y_true: np.ndarray, y_pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean area over the classes that occur, each against all others."""
    areas = np.array([roc_areas(y_true == code, y_pred[:, code], counts) for code in np.unique(y_true)])
    defined = ~np.isnan(areas)
    return np.asarray(
        np.where(defined, areas, 0.0).sum(axis=0) / np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
    )


def _accuracy(y_true: np.ndarray, y_pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts @ (y_pred.argmax(axis=1) == y_true) / counts.sum(axis=1))


def _balanced_accuracy(y_true: np.ndarray, y_pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that occur."""
    right, of_class = y_pred.argmax(axis=1) == y_true, y_true[:, np.newaxis] == np.unique(y_true)
    rows = counts @ of_class
    recalls = counts @ (of_class & right[:, np.newaxis]) / np.maximum(rows, 1)
    return np.asarray(recalls.sum(axis=1) / (rows > 0).sum(axis=1))


# scikit-learn's own scores check each argument, which takes twenty times as long for tens of thousands of scores.
REGRESSION: Mapping[str, Score] = {"r2": Score(_r2), "rmse": Score(_rmse), "mae": Score(_mae)}
"""Scores of regressors; all but R2 in the target's unit."""

CLASSIFICATION: Mapping[str, Score] = {
    "roc_auc": Score(_roc_auc),
    "accuracy": Score(_accuracy),
    "balanced_accuracy": Score(_balanced_accuracy),
}
"""Scores of classifiers; the first is independent of thresholds and of class imbalance."""

TITLES = {"r2": "R2", "roc_auc": "the area under the ROC curve"}
"""Names of the first scores in a sentence."""
