"""Classifier two-sample tests: how well classifiers distinguish synthetic rows from holdout rows.

After Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3. A classifier is trained on a
part of both sets and scored on the other part; where both have the same distribution, it is no better than chance. The
score here is the area under the ROC curve instead of the accuracy, since there are more synthetic rows than holdout
rows. Classifiers differ in what they detect: boosting bins numbers, a forest of full-grown trees sees single values, a
logistic regression sees little more than means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from synth_assets.evaluation.associations import Pair, associations, chosen_pairs
from synth_assets.evaluation.intervals import roc_area, roc_interval
from synth_assets.evaluation.learners import MOST_BINS, as_input, fit_reproducibly, scaled
from synth_assets.evaluation.metrics.base import ANY, AREA, SHARE, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples, all_categories, cached, encode_features
from synth_assets.execution.threads import one_thread
from synth_assets.schema.dtypes import with_columns
from synth_assets.schema.table import TableSchema

Classifier = Literal["gradient boosting", "random forest", "logistic regression"]

N_TREES = 50
"""Trees of the forest; four times as many change its area by a thousandth on abalone."""

MOST_ROWS = 10_000
"""Rows of a set that a classifier sees; of longer sets, as many are drawn."""

MOST_CELLS = 40_000
"""Cells of both sets, of at least 1,000 rows, from which on the cross-validation is not repeated, and has half the
references."""

MOST_PAIRS = 45
"""Pairs of columns by which rows are detected, see `associations.chosen_pairs`."""

MOST_PAIR_ROWS = 5_000
"""Rows of a set by which pairs are detected: trees of eight leaves on two columns learn little from more."""

PAIR_TREES, PAIR_LEAVES = 30, 8
"""Trees of the boosting that sees two columns, and leaves of each."""

MOST_PERMUTED = 50
"""Columns whose importance is computed: those that are associated most strongly with another in the train rows."""

N_FOLDS = 5
N_REPEATS = 3

REFERENCE_SPLITS = 6
"""Real splits for the references of classifiers, one repeat each."""

PAIR_REFERENCE_SPLITS = 2
"""Real splits for the reference of pairs, which all pairs share."""

REFERENCE_PAIRS = 15
"""Pairs in each of these splits, evenly spread over all: 30 areas tell the chance of one as well as 90."""


@dataclass(frozen=True)
class Detection:
    """How well a classifier distinguishes synthetic rows from holdout rows.

    `auc` is the mean area under the ROC curve over the repeats, `low` to `high` its 95% bootstrap interval (NaN if not
    computed), `importances` the permutation importance of each column (Breiman, Random Forests, 2001, section 10).
    """

    auc: float
    low: float
    high: float
    importances: Mapping[str, float]


def detection_auc(
    synthetic: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: TableSchema,
    *,
    classifier: Classifier,
    repeats: int = N_REPEATS,
    interval: bool = True,
    permuted: Sequence[str] = (),
    seed: int = 0,
) -> Detection:
    """Train a classifier to distinguish synthetic from holdout rows, and score it in 5-fold cross-validation.

    Parameters
    ----------
    synthetic, holdout : pandas.DataFrame
        Rows of the table, at least five each, as `TableSchema.comparable` returns them. Boosting and the forest take
        missing numbers as they are; the logistic regression gets their median and an indicator. A missing label is a
        label of its own.
    schema : TableSchema
        The table's schema.
    classifier : {"gradient boosting", "random forest", "logistic regression"}
        The classifier.
    repeats : int
        Number of cross-validations, each with another shuffle and seed.
    interval : bool
        Whether to compute the interval.
    permuted : sequence of str
        Columns whose permutation importances are computed.
    seed : int
        Seed of the first repeat; the others count up from it.

    Returns
    -------
    Detection
        The mean over the repeats.
    """
    features = _features(synthetic, holdout, schema)
    is_synthetic = np.repeat([1, 0], [len(synthetic), len(holdout)])
    predictions = [
        _cross_validate(_estimator(classifier, features, schema, s), features, is_synthetic, s, permuted)
        for s in range(seed, seed + repeats)
    ]
    n = len(synthetic)
    scores = [(predicted[:n], predicted[n:]) for predicted, _ in predictions]
    auc = float(np.mean([roc_area(*each) for each in scores]))
    importances = {}
    for name in permuted:
        without = [roc_area(by_column[name][:n], by_column[name][n:]) for _, by_column in predictions]
        importances[name] = float(auc - np.mean(without))
    low, high = roc_interval(scores, seed=seed) if interval else (float("nan"), float("nan"))
    return Detection(auc, low, high, importances)


@cached
def _detections(samples: Samples, classifier: Classifier) -> list[Detection]:
    """Return the detection of the sample, then of real rows in each real split."""
    cells = max(len(samples.subsample) + len(samples.holdout), 1_000) * len(samples.compared.columns)
    repeats, references = (1, -(-REFERENCE_SPLITS // 2)) if cells > MOST_CELLS else (N_REPEATS, REFERENCE_SPLITS)
    return [
        detection_auc(
            *both,
            samples.compared,
            classifier=classifier,
            repeats=1 if i else repeats,
            interval=not i,
            permuted=_permuted(samples) if classifier == "gradient boosting" else (),
            seed=samples.seed,
        )
        for i, both in enumerate(samples.comparisons(references))
    ]


def _permuted(samples: Samples) -> list[str]:
    names = samples.compared.names
    if len(names) <= MOST_PERMUTED:
        return names
    strongest = set(associations(samples).max().nlargest(MOST_PERMUTED).index)
    return [name for name in names if name in strongest]


def _seen(samples: Samples) -> Samples:
    return samples.shown.thinned(MOST_ROWS)


def _detection(metric: str, classifier: Classifier) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        first, *real = _detections(_seen(samples), classifier)
        yield result_row(metric, None, first.auc, reference_of([each.auc for each in real]), (first.low, first.high))

    return compute


def _importance(samples: Samples) -> Iterator[ResultRow]:
    first, *real = _detections(_seen(samples), "gradient boosting")
    for name, importance in first.importances.items():
        reference = reference_of([each.importances[name] for each in real])
        yield result_row("detection_importance", name, importance, reference)


def _pairwise(samples: Samples) -> list[ResultRow | NotComputed]:
    """Return the pairs, the most easily detected first. Pairs of real rows differ by chance alone: one reference."""
    samples = _seen(samples).thinned(MOST_PAIR_ROWS)
    pairs = chosen_pairs(samples, MOST_PAIRS)
    if not pairs:
        return [NotComputed("detection_auc_pair", None, "there is no pair of columns")]
    spread = pairs[:: -(-len(pairs) // REFERENCE_PAIRS)]
    first, *real = [
        _pair_areas(*both, samples.compared, spread if i else pairs, samples.seed)
        for i, both in enumerate(samples.comparisons(PAIR_REFERENCE_SPLITS))
    ]
    reference = reference_of([area for areas in real for area in areas.values()])
    ordered = sorted(first.items(), key=lambda each: -each[1])
    return [result_row("detection_auc_pair", pair, area, reference) for pair, area in ordered]


def _pair_areas(
    synthetic: pd.DataFrame, holdout: pd.DataFrame, schema: TableSchema, pairs: Sequence[Pair], seed: int
) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    features, n = _features(synthetic, holdout, schema), len(synthetic)
    is_synthetic = np.repeat([1, 0], [n, len(holdout)])
    areas = {}
    for pair in pairs:
        model = HistGradientBoostingClassifier(
            max_iter=PAIR_TREES, max_leaf_nodes=PAIR_LEAVES, early_stopping=False, random_state=seed
        )
        predicted, _ = _cross_validate(model, features[list(pair)], is_synthetic, seed)
        areas[", ".join(pair)] = roc_area(predicted[:n], predicted[n:])
    return areas


def _cross_validate(
    estimator: Any, features: pd.DataFrame, is_synthetic: np.ndarray, seed: int, permuted: Sequence[str] = ()
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the out-of-fold probabilities of 'synthetic', and the same with each column permuted."""
    from sklearn.base import clone
    from sklearn.model_selection import StratifiedKFold

    rng = np.random.default_rng(seed)
    predicted = np.empty(len(features))
    by_column = {name: np.empty(len(features)) for name in permuted}
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    # With two OpenMP threads on two busy cores, boosting takes a hundred times as long as with one on an idle core.
    with one_thread():
        for fitted_rows, scored_rows in folds.split(features, is_synthetic):
            fitted = fit_reproducibly(clone(estimator), features.iloc[fitted_rows], is_synthetic[fitted_rows])
            fold = features.iloc[scored_rows]
            predicted[scored_rows] = fitted.predict_proba(as_input(fold))[:, 1]
            for name in permuted:
                shuffled = with_columns(fold, {name: rng.permutation(fold[name].to_numpy())})
                by_column[name][scored_rows] = fitted.predict_proba(as_input(shuffled))[:, 1]
    return predicted, by_column


def _features(synthetic: pd.DataFrame, holdout: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    numeric, categorical = schema.numeric, schema.categorical
    rows = pd.concat([synthetic, holdout], ignore_index=True)[[*numeric, *categorical]]
    return encode_features(rows, {name: all_categories(name, schema, rows) for name in categorical})


def _estimator(classifier: Classifier, features: pd.DataFrame, schema: TableSchema, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if classifier == "random forest":
        # Trees split category codes as numbers.
        return RandomForestClassifier(n_estimators=N_TREES, min_samples_leaf=1, random_state=seed, n_jobs=-1)
    if classifier == "logistic regression":
        codes = [i for i, name in enumerate(features) if name in schema.categorical]
        encoder = scaled(codes, has_gaps=bool(features[schema.numeric].isna().any(axis=None)))
        return make_pipeline(encoder, LogisticRegression(max_iter=1000))
    return HistGradientBoostingClassifier(
        # Codes beyond the limit are split as numbers.
        categorical_features=[
            i for i, name in enumerate(features) if name in schema.categorical and features[name].max() < MOST_BINS
        ],
        early_stopping=False,  # its default depends on the number of rows
        random_state=seed,
    )


BOOSTING = (
    Metric(
        "detection_auc_boosting",
        "Detection by gradient boosting",
        *AREA,
        ANY,
        "Area under the ROC curve of gradient boosted trees that distinguish synthetic rows from holdout rows, in "
        "5-fold cross-validation: 0.5 is chance, 1 is perfect detection. At most 10,000 rows of a set are seen; the "
        "labels that are hidden in synthetic rows are hidden in holdout rows too.",
        "Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3",
        _detection("detection_auc_boosting", "gradient boosting"),
        # Simple methods exceed chance by 0.09 (CART, 0.59 on abalone) and more, a good model by 0.05.
        tolerance=0.06,
    ),
    Metric(
        "detection_importance",
        "Importance of a column for detection",
        *SHARE,
        ANY,
        "Decrease of the area of gradient boosting when the column is permuted in the scored rows: columns by which "
        "synthetic rows are detected, alone or together with others. Of more than 50 columns, those that are "
        "associated most strongly with another.",
        "Breiman, Random Forests, Machine Learning 45, 2001, section 10: permutation importance",
        _importance,
        signed=True,
    ),
)

FOREST = (
    Metric(
        "detection_auc_forest",
        "Detection by a random forest",
        *AREA,
        ANY,
        "Detection as by gradient boosting, with a forest of full-grown trees, which detects single values where "
        "boosting sees bins.",
        "Lopez-Paz and Oquab, as above",
        _detection("detection_auc_forest", "random forest"),
        tolerance=0.06,
    ),
)

LOGISTIC = (
    Metric(
        "detection_auc_logistic",
        "Detection by logistic regression",
        *AREA,
        ANY,
        "Detection as by gradient boosting, with a logistic regression. It detects little more than differences of "
        "means: a low area says almost nothing.",
        "SDMetrics, LogisticDetection, uses this model; Lopez-Paz and Oquab, as above",
        _detection("detection_auc_logistic", "logistic regression"),
    ),
)

PAIRS = (
    Metric(
        "detection_auc_pair",
        "Detection by two columns alone",
        *AREA,
        ANY,
        f"Detection by gradient boosting ({PAIR_TREES} trees of {PAIR_LEAVES} leaves) that sees two columns only: "
        f"pairs by which synthetic rows are detected. Of more than {MOST_PAIRS} pairs, two thirds of as many are those "
        "that are associated most strongly in the train rows (by Cramér's V), and a third is drawn at random. At most "
        f"{MOST_PAIR_ROWS:,} rows of a set are seen.",
        "Lopez-Paz and Oquab, as above, on two columns",
        _pairwise,
    ),
)
