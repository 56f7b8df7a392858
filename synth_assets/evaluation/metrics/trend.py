"""Similarity of pairs of columns: correlations and joint distributions."""

import itertools
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import ANY, NUMERIC, SIMILARITY, Metric, ResultRow, result_row
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples, cached
from synth_assets.schema.columns import Column
from synth_assets.schema.table import TableSchema

N_BINS = 10
"""Quantile bins of a numeric column in a pair with a categorical one."""

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
    real, schema = samples.real, samples.schema
    edges = {name: np.unique(np.quantile(real[name], np.linspace(0, 1, N_BINS + 1)[1:-1])) for name in schema.numeric}
    pairs = [
        (one, other)
        for one, other in itertools.combinations(schema.columns, 2)
        if not any(c.is_numeric and real[c.name].nunique() == 1 for c in (one, other))  # nothing to compare
    ]
    scores: dict[_Pair, list[float]] = {}
    for both in samples.comparisons():
        binned = [
            part.assign(**{name: np.searchsorted(at, part[name], side="right") for name, at in edges.items()})
            for part in both
        ]
        constant = {name for name in schema.numeric if any(part[name].nunique() == 1 for part in both)}
        for one, other in pairs:
            key, score = _pair_similarity(one, other, both, binned, constant)
            scores.setdefault(key, []).append(score)
    return {key: np.array(found) for key, found in scores.items()}


def _pair_similarity(
    one: Column,
    other: Column,
    both: tuple[pd.DataFrame, pd.DataFrame],
    binned: list[pd.DataFrame],
    constant: set[str],
) -> tuple[_Pair, float]:
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity

    names = [one.name, other.name]
    pair = ", ".join(names)
    if not (one.is_numeric and other.is_numeric):
        rows, holdout = binned
        return ("contingency_similarity", pair), float(ContingencySimilarity.compute(holdout[names], rows[names]))
    rows, holdout = both
    if constant.intersection(names):
        found = [_correlation(frame[names]) for frame in both]
        return ("correlation_similarity", pair), 1 - abs(found[0] - found[1]) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        similarity = CorrelationSimilarity.compute(holdout[names], rows[names], coefficient="Spearman")
    return ("correlation_similarity", pair), float(similarity)


def _correlation(pair: pd.DataFrame) -> float:
    found = pair.corr(method="spearman").iloc[0, 1]
    return 0.0 if np.isnan(found) else float(found)


def _pair_similarities(name: str) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        for (metric, pair), scores in _similarities(samples).items():
            if metric == name:
                yield result_row(metric, pair, scores[0], reference_of(scores[1:]))

    return compute


def _pair_trends(samples: Samples) -> Iterator[ResultRow]:
    every = list(_similarities(samples).values())
    if every:
        scores = [float(np.mean(row)) for row in np.column_stack(every)]
        yield result_row("pair_trends", None, scores[0], reference_of(scores[1:]))


METRICS = (
    Metric(
        "correlation_similarity",
        "Similarity of the correlation of two columns",
        *SIMILARITY,
        NUMERIC,
        "1 minus half the absolute difference between the Spearman correlations of two numeric columns in synthetic "
        "and in holdout rows.",
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
        "categorical; a numeric column is cut into ten quantile bins.",
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
        "Mean of the correlation similarity and the contingency similarity over all pairs of columns.",
        "SDMetrics, Column Pair Trends",
        _pair_trends,
    ),
)
