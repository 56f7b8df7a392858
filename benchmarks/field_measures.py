"""The field's measures of synthetic rows, by its own definitions and learners.

Run in the environment `boosting` (see `peers/environments.py`): it needs numpy, pandas, scikit-learn and xgboost, and
nothing of the project. Rows are columns of labels, as text, and numbers; a missing label is a label of its own.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

MISSING = "(missing)"

N_FOLDS = 3
"""Folds of SDMetrics' detection."""

N_STEPS = 30
"""Levels of alpha and beta in synthcity."""

MOST_NEIGHBOURS = 10_000
"""Rows of a set that are compared with each other; of longer sets, as many are drawn."""

MOST_FEATURES = 100
"""Labels of a column, the most frequent ones, that have a feature of their own."""

N_BINS = 10
"""Bins of a number in a contingency table with labels, as in SDMetrics."""

TREES, DEPTHS, WEIGHTS, GAMMAS = (10, 50, 100), (5, 10, 20), (1, 10), (0.0, 1.0)
"""TabSyn's grid of XGBoost's settings: `n_estimators`, `max_depth`, `min_child_weight`, `gamma`."""


BOOLEANS = {"True": "true", "False": "false"}
"""Booleans as pandas writes them, and as DuckDB does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="CSV file of the train rows")
    parser.add_argument("--holdout", type=Path, required=True, help="CSV file of the holdout rows")
    parser.add_argument("--synthetic", type=Path, help="CSV file of synthetic rows; without it, real rows are measured")
    parser.add_argument("--categories", nargs="*", default=[], metavar="COLUMN", help="columns that hold labels")
    parser.add_argument("--target", required=True)
    parser.add_argument("--report", type=Path, required=True, help="JSON file of what is found")
    arguments = parser.parse_args()
    train, holdout = (read(path, arguments.categories) for path in (arguments.train, arguments.holdout))
    if arguments.synthetic is None:
        found = {**against_train(holdout, train), **against_holdout(train, holdout, arguments.target)}
    else:
        synthetic = read(arguments.synthetic, arguments.categories)
        found = {
            **against_train(synthetic, train),
            **against_holdout(synthetic, holdout, arguments.target),
            "DCR share": dcr_share(synthetic, train, holdout),
        }
    arguments.report.write_text(json.dumps(found, indent=2) + "\n")


def read(path: Path, categories: list[str]) -> pd.DataFrame:
    """Read rows: labels as categories, numbers as float64."""
    rows = pd.read_csv(path, dtype=dict.fromkeys(categories, "object"), keep_default_na=False, na_values=[""])
    return pd.DataFrame(
        {
            name: rows[name].replace(BOOLEANS).fillna(MISSING).astype("str").astype("category")
            if name in categories
            else rows[name].astype(float)
            for name in rows
        }
    )


def against_train(rows: pd.DataFrame, train: pd.DataFrame) -> dict[str, float]:
    """Measure what the field measures against train rows, which rewards copies of them."""
    precision, recall = alpha_precision_beta_recall(rows, train)
    return {
        "XGBoost detection, train": xgboost_detection(rows, train),
        "10-tree detection, train": xgboost_detection(rows, train, n_estimators=10, max_depth=3),
        "shape error": shape_error(rows, train),
        "trend error": trend_error(rows, train),
        "alpha-precision": precision,
        "beta-recall": recall,
    }


def against_holdout(rows: pd.DataFrame, holdout: pd.DataFrame, target: str) -> dict[str, float]:
    """Measure rows against real rows that no method was fitted to."""
    return {
        "XGBoost detection, holdout": xgboost_detection(rows, holdout),
        **machine_learning_efficacy(rows, holdout, target),
    }


def xgboost_detection(rows: pd.DataFrame, real: pd.DataFrame, **settings: float) -> float:
    """Return how well XGBoost tells rows from real ones: the area under the ROC curve in 3-fold cross-validation.

    As many rows of each are used. The learner has its default settings and takes labels as they are.

    Parameters
    ----------
    rows, real : pandas.DataFrame
        Synthetic and real rows in the same columns.
    **settings : float
        Other settings of `XGBClassifier`: ORIGAMI's authors use 10 trees of depth 3, which detect less.

    Returns
    -------
    float
        Mean over the folds of max(0.5, area): 0.5 if no fold is told apart.

    Notes
    -----
    The definition of TabPC (Scassola, Ponsford et al., arXiv 2603.23016, `XGBoostDetection` in their code), which is
    SDMetrics' `ScikitLearnClassifierDetectionMetric` with this learner; they print 1 - (2 * area - 1) against train
    rows. It one-hot encodes labels; here the learner gets them as categories.
    """
    from xgboost import XGBClassifier

    n = min(len(rows), len(real))
    rng = np.random.default_rng(0)
    both = _together(*(each.iloc[rng.permutation(len(each))[:n]] for each in (rows, real)))
    is_real = np.repeat([0, 1], n)
    areas = []
    for learned, scored in StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(both, is_real):
        model = XGBClassifier(eval_metric="logloss", enable_categorical=True, random_state=0, n_jobs=1, **settings)
        model.fit(both.iloc[learned], is_real[learned])
        areas.append(roc_auc_score(is_real[scored], model.predict_proba(both.iloc[scored])[:, 1]))
    return float(np.mean(np.maximum(areas, 0.5)))


def shape_error(rows: pd.DataFrame, real: pd.DataFrame) -> float:
    """Return 1 minus the mean similarity of the columns.

    The similarity of numbers is 1 minus the Kolmogorov-Smirnov statistic (missing ones are left out), of labels 1 minus
    the total variation distance.

    Notes
    -----
    SDMetrics' `KSComplement` and `TVComplement`, as TabSyn (Zhang et al., ICLR 2024, section 4.1) and TabDiff (Shi et
    al., ICLR 2025) report them against train rows. Independent columns have next to no error.
    """
    return float(np.mean([1 - _column_similarity(rows[name], real[name]) for name in real]))


def _column_similarity(values: pd.Series, real: pd.Series) -> float:
    if _holds_labels(real):
        return 1 - _total_variation(values.astype(str), real.astype(str))
    values, real = values.dropna(), real.dropna()
    points = np.concatenate([values, real])
    shares = [np.searchsorted(np.sort(each), points, side="right") / len(each) for each in (values, real)]
    return 1 - float(np.abs(shares[0] - shares[1]).max())


def trend_error(rows: pd.DataFrame, real: pd.DataFrame) -> float:
    """Return 1 minus the mean similarity of the pairs of columns.

    Of two numbers, it is 1 minus half the difference of their Pearson correlations; of a pair with labels, 1 minus the
    total variation distance of the two contingency tables, in which numbers are in ten bins of equal width between the
    least and the greatest real one.

    Notes
    -----
    SDMetrics' `CorrelationSimilarity` and `ContingencySimilarity`, as TabSyn and TabDiff report them against train
    rows. Constant columns are left out of correlations.
    """
    binned = [_binned(each, real) for each in (rows, real)]
    numeric = [name for name in real if not _holds_labels(real[name])]
    # A diverged model may have numbers beyond the squares that a float holds.
    correlations = [each[numeric].corr().to_numpy() for each in (rows, real)]
    similarity = pd.DataFrame(1 - np.abs(correlations[0] - correlations[1]) / 2, index=numeric, columns=numeric)
    errors = []
    for one, other in combinations(real, 2):
        if one in numeric and other in numeric:
            errors.append(1 - similarity.loc[one, other])
        else:
            pairs = [each[one].str.cat(each[other], sep="\x1f") for each in binned]
            errors.append(_total_variation(*pairs))
    return float(np.nanmean(errors))


def _binned(rows: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in real:
        if _holds_labels(real[name]):
            columns[name] = rows[name].astype(str)
        else:
            edges = np.linspace(real[name].min(), real[name].max(), N_BINS + 1)[1:-1]
            bins = pd.Series(np.searchsorted(edges, rows[name], side="right"), index=rows.index).astype(str)
            columns[name] = bins.where(rows[name].notna(), MISSING)
    return pd.DataFrame(columns)


def _total_variation(values: pd.Series, real: pd.Series) -> float:
    shares = [each.value_counts(normalize=True) for each in (values, real)]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def machine_learning_efficacy(rows: pd.DataFrame, holdout: pd.DataFrame, target: str) -> dict[str, float]:
    """Return the score on holdout rows of XGBoost that is trained on rows.

    A ninth of the rows chooses the settings, of TabSyn's grid of 36; the best setting gives the score.

    Returns
    -------
    dict
        'MLE AUC' (of several classes, the mean of each against the others) where the target has labels or two values,
        else 'MLE R2' and 'MLE RMSE'.

    Notes
    -----
    TabSyn (Zhang et al., ICLR 2024, section 4.3; `eval/mle/mle.py` in their code), as TabDiff and TabPC use it. They
    one-hot encode labels; here the learner gets them as categories. Trees are added one by one, so that 10 and 50 trees
    are the first of 100. Rows without a target are left out.
    """
    from xgboost import DMatrix
    from xgboost import train as boost

    rows, holdout = (each.dropna(subset=[target]) for each in (rows, holdout))
    both = _together(rows, holdout)
    features = both.drop(columns=target)
    classes: list[object] = []
    y = both[target].to_numpy()
    if _holds_labels(both[target]) or both[target].nunique() == 2:
        classes = sorted(both[target].astype(str).unique())
        y = pd.Index(classes).get_indexer(both[target].astype(str))
    order = np.random.default_rng(0).permutation(len(rows))
    n_chosen = len(rows) // 9
    chosen, learned, scored = order[:n_chosen], order[n_chosen:], np.arange(len(rows), len(both))

    def score(predicted: np.ndarray, at: np.ndarray) -> float:
        return _mean_auc(y[at], predicted) if classes else -_rmse(y[at], predicted)

    parts = {
        name: DMatrix(features.iloc[at], y[at], enable_categorical=True, nthread=1)
        for name, at in (("learned", learned), ("chosen", chosen), ("scored", scored))
    }
    best, predicted = -np.inf, np.zeros(len(scored))
    for settings in _grid(len(classes)):
        model = boost(settings, parts["learned"], num_boost_round=max(TREES))
        for trees in TREES:
            found = score(model.predict(parts["chosen"], iteration_range=(0, trees)), chosen)
            if found > best:
                best, predicted = found, model.predict(parts["scored"], iteration_range=(0, trees))
    if classes:
        return {"MLE AUC": _mean_auc(y[scored], predicted)}
    return {"MLE R2": float(r2_score(y[scored], predicted)), "MLE RMSE": _rmse(y[scored], predicted)}


def _grid(n_classes: int) -> Iterator[dict[str, object]]:
    objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(n_classes, "multi:softprob")
    classes = {"num_class": n_classes} if n_classes > 2 else {}
    for depth in DEPTHS:
        for weight in WEIGHTS:
            for gamma in GAMMAS:
                yield {
                    "objective": objective,
                    "tree_method": "hist",
                    "max_depth": depth,
                    "min_child_weight": weight,
                    "gamma": gamma,
                    "nthread": 1,
                    "seed": 0,
                    **classes,
                }


def _mean_auc(y_true: np.ndarray, predicted: np.ndarray) -> float:
    if predicted.ndim == 1:
        return float(roc_auc_score(y_true, predicted)) if len(np.unique(y_true)) == 2 else 0.5
    occurring = [code for code in np.unique(y_true) if len(np.unique(y_true)) > 1]
    return float(np.mean([roc_auc_score(y_true == code, predicted[:, code]) for code in occurring] or [0.5]))


def _rmse(y_true: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((y_true - predicted) ** 2)))


def alpha_precision_beta_recall(rows: pd.DataFrame, real: pd.DataFrame) -> tuple[float, float]:
    """Return how much of the synthetic rows is typical (alpha-precision), and how much of the real ones is covered.

    For each share alpha, the sphere around the mean of the real rows that holds this share of them should hold this
    share of the synthetic rows. For each share beta, this share of the real rows should have a synthetic row that is no
    farther than their closest real one and lies within the sphere of a share beta of the synthetic rows. Both are 1
    minus twice the mean difference over 30 shares.

    Notes
    -----
    Alaa et al., How Faithful is your Synthetic Data?, ICML 2022, sections 3 and 4; computed as synthcity's naive
    `AlphaPrecision`, which TabSyn and TabPC report: numbers and one-hot labels in a Euclidean space, against as many
    train rows. Here numbers are first divided by their range, as otherwise the one with the largest values alone
    counts, missing numbers are zero, and at most 10,000 rows of a set are used.
    """
    n = min(len(rows), len(real), MOST_NEIGHBOURS)
    x, x_real = _points(*_draw(n, rows, real), real)
    alphas = np.linspace(0, 1, N_STEPS)
    centre, synthetic_centre = x_real.mean(axis=0), x.mean(axis=0)
    radii = np.quantile(_norm(x_real - centre), alphas)
    precision = [(_norm(x - centre) <= radius).mean() for radius in radii]
    to_real = NearestNeighbors(n_neighbors=2).fit(x_real).kneighbors(x_real)[0][:, 1]
    found, closest = NearestNeighbors(n_neighbors=1).fit(x).kneighbors(x_real)
    to_centre = _norm(x[closest[:, 0]] - synthetic_centre)
    covered = found[:, 0] <= to_real
    recall = [(covered & (to_centre <= radius)).mean() for radius in np.quantile(to_centre, alphas)]
    step = alphas[1] - alphas[0]
    return tuple(float(1 - 2 * step * np.abs(alphas - curve).sum()) for curve in (precision, recall))  # type: ignore[return-value]


def dcr_share(rows: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame) -> float:
    """Return the share of rows that are closer to a train row than to any holdout row; 0.5 is best.

    Notes
    -----
    Distance to the closest record, as TabSyn (Zhang et al., ICLR 2024, section 4.4; `eval/eval_dcr.py`) and TabDiff
    compute it: city-block distances of numbers divided by their range and one-hot labels. As many train rows as there
    are holdout rows are drawn, so that the share would be 0.5 if no row were copied; at most 10,000 rows of a set are
    used. Yao et al. (arXiv 2505.01524) show that it overlooks most leaks: it is a check of copies.
    """
    n = min(len(train), len(holdout), MOST_NEIGHBOURS)
    few = _draw(min(len(rows), MOST_NEIGHBOURS), rows)[0]
    parts = _points(few, *_draw(n, train, holdout), train)
    distances = [
        NearestNeighbors(n_neighbors=1, metric="manhattan").fit(part).kneighbors(parts[0])[0][:, 0]
        for part in parts[1:]
    ]
    return float((distances[0] < distances[1]).mean() + (distances[0] == distances[1]).mean() / 2)


def _draw(n: int, *sets: pd.DataFrame) -> list[pd.DataFrame]:
    rng = np.random.default_rng(0)
    return [rows.iloc[rng.permutation(len(rows))[:n]] for rows in sets]


def _points(*sets: pd.DataFrame) -> list[np.ndarray]:
    """Return all sets but the last as points: numbers divided by their range in the last set, and one-hot labels."""
    *sets, basis = sets  # type: ignore[assignment]
    found: list[list[np.ndarray]] = [[] for _ in sets]
    for name in basis:
        if _holds_labels(basis[name]):
            labels = basis[name].value_counts().index[:MOST_FEATURES]
            encode: Callable[[pd.Series], np.ndarray] = lambda values, labels=labels: np.column_stack(  # noqa: E731
                [values.astype(str).to_numpy() == label for label in labels]
            ).astype("float64")
        else:
            spread = (basis[name].max() - basis[name].min()) or 1.0
            encode = lambda values, spread=spread: np.nan_to_num(values.to_numpy()[:, None] / spread)  # noqa: E731
        for columns, rows in zip(found, sets, strict=True):
            columns.append(encode(rows[name]))
    return [np.column_stack(columns) for columns in found]


def _norm(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt((points**2).sum(axis=1)))


def _together(*sets: pd.DataFrame) -> pd.DataFrame:
    """Return all rows, with the same categories in each column of labels."""
    both = pd.concat(
        [rows.astype({c: "str" for c in rows if _holds_labels(rows[c])}) for rows in sets], ignore_index=True
    )
    return both.astype({name: "category" for name in both if _holds_labels(sets[0][name])})


def _holds_labels(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype)


if __name__ == "__main__":
    main()
