"""Can a classifier tell synthetic rows from real ones? The classifier two-sample test.

After Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3: a classifier learns to tell two
samples apart and is scored on rows that it has not seen; where both come from one distribution, it does no better than
chance. Their score is the accuracy; here it is the area under the ROC curve, since there are more synthetic rows than
held-out ones, and accuracy would reward calling every row synthetic. Two classifiers may be asked, because each sees
what the other does not: boosting bins its numbers, and a forest of full-grown trees sees single values.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.evaluation.fidelity import numeric_names
from synth_assets.evaluation.rows import category_names, labels_seen, require_rows
from synth_assets.tables.schema import TableSchema

Classifier = Literal["gradient boosting", "random forest"]

FOLDS = 5
REPEATS = 3

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
    """

    auc: float
    repeats: tuple[float, ...]


def detection_auc(
    synthetic: pd.DataFrame,
    held_out: pd.DataFrame,
    schema: TableSchema,
    *,
    classifier: Classifier,
    repeats: int = REPEATS,
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
    classifier : {"gradient boosting", "random forest"}
        What judges: histogram gradient boosting, or 200 full-grown trees.
    repeats : int
        How many shuffles.
    seed : int
        Of the first shuffle and its classifiers; the others count on from it.

    Returns
    -------
    Detection
        The mean over the shuffles, and each of them. Real train rows in the place of the synthetic ones give the floor.

    Raises
    ------
    ForeseenError
        If a set has fewer rows than there are folds, or a cell that is empty or infinite.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    require_rows(schema, at_least=FOLDS, synthetic=synthetic, held_out=held_out)
    features = _features(synthetic, held_out, schema)
    is_synthetic = np.repeat([1, 0], [len(synthetic), len(held_out)])
    areas = []
    # With two OpenMP threads on two busy cores, boosting takes a hundred times as long as with one on an idle core.
    with threadpool_limits(1, "openmp"):
        for s in range(seed, seed + repeats):
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=s)
            model = _classifier(classifier, features, schema, s)
            judged = cross_val_predict(model, features, is_synthetic, cv=folds, method="predict_proba")[:, 1]
            areas.append(float(roc_auc_score(is_synthetic, judged)))
    return Detection(float(np.mean(areas)), tuple(areas))


def _features(synthetic: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    both = pd.concat([synthetic, held_out], ignore_index=True)
    columns: dict[str, Any] = {name: both[name].astype("float64") for name in numeric_names(schema)}
    for name in category_names(schema):
        columns[name] = pd.Categorical(both[name], categories=labels_seen(name, schema, both)).codes.astype("int64")
    return pd.DataFrame(columns)


def _classifier(kind: Classifier, features: pd.DataFrame, schema: TableSchema, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    if kind == "random forest":
        # Trees can split codes as they are.
        return RandomForestClassifier(n_estimators=200, min_samples_leaf=1, random_state=seed, n_jobs=1)
    return HistGradientBoostingClassifier(
        # Codes beyond the limit are split as numbers.
        categorical_features=[name for name in category_names(schema) if features[name].max() < _BINS],
        # By itself it would stop early from 10,000 rows on: the same rows twice would be judged by another rule.
        early_stopping=False,
        random_state=seed,
    )
