"""Similarity of pairs of columns: correlations and joint distributions."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from synth_assets.evaluation.associations import chosen_pairs
from synth_assets.evaluation.metrics.base import (
    ANY,
    NUMERIC,
    SIMILARITY,
    Metric,
    NotComputed,
    ResultRow,
    result_row,
)
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import MOST_LABELS, Samples, cached
from synth_assets.schema.table import TableSchema

N_BINS = 10
"""Quantile bins of a numeric column in a pair with a categorical one."""

MOST_PAIRS = 300
"""Pairs that are compared, see `associations.chosen_pairs`."""

_Pair = tuple[str, str]
"""The name of the metric, and 'one, other'."""


def correlations(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Return the matrix of Spearman correlations of the numeric columns; a constant column has correlations of 0."""
    found = frame[schema.numeric].corr(method="spearman").fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(found, 1.0)
    return pd.DataFrame(found, index=schema.numeric, columns=schema.numeric)


@cached
def _similarities(samples: Samples) -> dict[_Pair, np.ndarray]:
    """Return the similarity of each pair of columns in each comparison (the sample, then real splits)."""
    schema, numeric = samples.compared, set(samples.schema.numeric)
    constant = {name for name in numeric if samples.real[name].nunique() <= 1}  # nothing to compare
    pairs = [pair for pair in chosen_pairs(samples, MOST_PAIRS) if not constant.intersection(pair)]
    named = {
        ("correlation_similarity" if numeric.issuperset(pair) else "contingency_similarity", ", ".join(pair)): pair
        for pair in pairs
    }
    of_numbers = sorted({name for pair in pairs if numeric.issuperset(pair) for name in pair}, key=schema.names.index)
    others = {name for pair in pairs if not numeric.issuperset(pair) for name in pair}
    cells = {name: _cells(samples, name) for name in others}
    place = {name: i for i, name in enumerate(of_numbers)}
    numbers = samples.pooled[of_numbers].to_numpy("float64")
    scores: dict[_Pair, list[float]] = {key: [] for key in named}
    for both in samples.positions:
        found = [rank_correlations(numbers[part]) for part in both]
        similarity = 1 - np.abs(found[0] - found[1]) / 2
        for key, (one, other) in named.items():
            if key[0] == "correlation_similarity":
                scores[key].append(float(similarity[place[one], place[other]]))
            else:
                scores[key].append(_contingency_similarity(cells[one], cells[other], both))
    return {key: np.array(found) for key, found in scores.items()}


def _cells(samples: Samples, name: str) -> np.ndarray:
    """Return the row or column of each row of `pooled` in a contingency table: a label, a bin, or missing."""
    values, real = samples.pooled[name], samples.real[name]
    if name in samples.schema.numeric:
        edges = np.unique(np.quantile(real.dropna(), np.linspace(0, 1, N_BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="right")
        return np.where(values.isna(), len(edges) + 1, codes)
    labels = values.dropna().unique()
    if len(labels) > MOST_LABELS:
        labels = real.value_counts().index[:MOST_LABELS]
    codes = pd.Index(labels).get_indexer(pd.Index(values))
    return np.where(values.isna(), len(labels) + 1, np.where(codes < 0, len(labels), codes))


def _contingency_similarity(one: np.ndarray, other: np.ndarray, both: tuple[np.ndarray, np.ndarray]) -> float:
    width = int(other.max()) + 1
    size = (int(one.max()) + 1) * width
    shares = [np.bincount(one[part] * width + other[part], minlength=size) / len(part) for part in both]
    return max(0.0, float(1 - np.abs(shares[0] - shares[1]).sum() / 2))


def rank_correlations(numbers: np.ndarray) -> np.ndarray:
    """Return the Spearman correlations of d columns of n numbers.

    Values are ranked among the present ones of their column; a correlation is computed from the rows in which both are
    present. It is 0 where a column is constant in these rows, and NaN where there are fewer than two.
    """
    present = ~np.isnan(numbers)
    ranks = np.zeros(numbers.shape)
    for j in range(numbers.shape[1]):
        _, codes, counts = np.unique(numbers[present[:, j], j], return_inverse=True, return_counts=True)
        if len(counts):
            middle = counts.cumsum() - (counts + 1) / 2
            ranks[present[:, j], j] = middle[codes] - middle @ counts / counts.sum()
    mask = present.astype("float64")
    n, total, squares = mask.T @ mask, ranks.T @ mask, (ranks**2).T @ mask
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = squares - total**2 / n
        spread[spread <= 1e-9 * squares] = 0.0  # a rounding error
        found = (ranks.T @ ranks - total * total.T / n) / np.sqrt(spread * spread.T)
    found[spread * spread.T == 0] = 0.0
    found[n < 2] = np.nan
    return np.asarray(found.clip(-1, 1))


def _pair_similarities(name: str) -> Callable[[Samples], Iterator[ResultRow | NotComputed]]:
    def compute(samples: Samples) -> Iterator[ResultRow | NotComputed]:
        for (metric, pair), scores in _similarities(samples.shown).items():
            if metric == name and np.isnan(scores[0]):
                yield NotComputed(metric, pair, "a set of rows has fewer than two rows with both")
            elif metric == name:
                yield result_row(metric, pair, scores[0], reference_of(scores[1:]))

    return compute


def _pair_trends(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    every = [scores for scores in _similarities(samples.shown).values() if not np.isnan(scores[0])]
    if every:
        means = np.nanmean(every, axis=0)
        yield result_row("pair_trends", None, means[0], reference_of(means[1:]))
    else:
        yield NotComputed("pair_trends", None, "there is no pair of columns to compare")


METRICS = (
    Metric(
        "correlation_similarity",
        "Similarity of the correlation of two columns",
        *SIMILARITY,
        NUMERIC,
        "1 minus half the absolute difference between the Spearman correlations of two numeric columns in synthetic "
        f"and in holdout rows, where neither is missing. Of more than {MOST_PAIRS} pairs of columns, two thirds of as "
        "many are those that are associated most strongly in the train rows (by Cramér's V), and a third is drawn at "
        "random.",
        "SDMetrics, CorrelationSimilarity",
        _pair_similarities("correlation_similarity"),
        # A correlation that is off by 0.03. For columns that are as strongly correlated as abalone's, that is much.
        tolerance=0.015,
    ),
    Metric(
        "contingency_similarity",
        "Similarity of the joint distribution of two columns",
        *SIMILARITY,
        ANY,
        "1 minus the total variation distance of the joint distributions of two columns, at least one of them "
        "categorical; a numeric column is cut into ten quantile bins, missing cells are a bin of their own, and labels "
        f"beyond the {MOST_LABELS} most frequent ones are one. Pairs are chosen as above.",
        "SDMetrics, ContingencySimilarity",
        _pair_similarities("contingency_similarity"),
        # 2 in 100 rows lie in another cell of the contingency table.
        tolerance=0.02,
    ),
    Metric(
        "pair_trends",
        "Mean similarity of the pairs of columns",
        *SIMILARITY,
        ANY,
        "Mean of the correlation similarity and the contingency similarity over the pairs of columns.",
        "SDMetrics, Column Pair Trends",
        _pair_trends,
    ),
)
