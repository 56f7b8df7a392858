"""Similarity of single columns, and the distance between whole rows."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import (
    ANY,
    CATEGORICAL,
    DISTANCE,
    NUMERIC,
    SIMILARITY,
    Metric,
    ResultRow,
    result_row,
)
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples, cached, to_features
from synth_assets.schema.columns import Column

N_PROJECTIONS = 50
"""Random directions of the sliced Wasserstein distance."""


def column_similarity(rows: pd.Series, holdout: pd.Series, column: Column) -> float:
    """Return the KS complement of two sets of numbers, or the TV complement of two sets of labels: from 0 to 1."""
    from sdmetrics.single_column import KSComplement, TVComplement

    return float((KSComplement if column.is_numeric else TVComplement).compute(holdout, rows))


@cached
def _similarities(samples: Samples) -> np.ndarray:
    """Return similarities: comparisons (the sample, then real splits) by columns."""
    columns = samples.schema.columns
    return np.array(
        [
            [column_similarity(rows[c.name], holdout[c.name], c) for c in columns]
            for rows, holdout in samples.comparisons()
        ]
    )


def _column_similarities(metric: str, *, numeric: bool) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        scores = _similarities(samples)
        for i, column in enumerate(samples.schema.columns):
            if column.is_numeric == numeric:
                yield result_row(metric, column.name, scores[0, i], reference_of(scores[1:, i]))

    return compute


def _column_shapes(samples: Samples) -> Iterator[ResultRow]:
    scores = [float(np.mean(row)) for row in _similarities(samples)]
    yield result_row("column_shapes", None, scores[0], reference_of(scores[1:]))


def _wasserstein(samples: Samples) -> Iterator[ResultRow]:
    from scipy.stats import wasserstein_distance

    for name in samples.schema.numeric:
        real = samples.real[name]
        scale = float(real.std(ddof=0)) if real.nunique() > 1 else 1.0
        scores = [wasserstein_distance(rows[name], holdout[name]) / scale for rows, holdout in samples.comparisons()]
        yield result_row("wasserstein_distance", name, scores[0], reference_of(scores[1:]))


def _sliced_wasserstein(samples: Samples) -> Iterator[ResultRow]:
    from scipy.stats import wasserstein_distance

    real, synthetic = (to_features(rows, samples.real, samples.schema) for rows in (samples.real, samples.subsample))
    directions = np.random.default_rng(samples.seed).normal(size=(N_PROJECTIONS, real.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    n_train = len(samples.train)
    pairs = [(synthetic, real[n_train:])]
    pairs += [(real[split.train[: len(synthetic)]], real[split.holdout]) for split in samples.splits]
    scores = []
    for pair in pairs:
        projected = [(points @ directions.T).T for points in pair]
        scores.append(float(np.mean([wasserstein_distance(*along) for along in zip(*projected, strict=True)])))
    yield result_row("sliced_wasserstein_distance", None, scores[0], reference_of(scores[1:]))


METRICS = (
    Metric(
        "ks_complement",
        "Similarity of a numeric column",
        *SIMILARITY,
        NUMERIC,
        "1 minus the two-sample Kolmogorov-Smirnov statistic: the greatest difference between the cumulative "
        "distributions of the column in synthetic and in holdout rows.",
        "SDMetrics, KSComplement",
        _column_similarities("ks_complement", numeric=True),
        # The share of rows below any value is off by at most 3 in 100 beyond chance.
        tolerance=0.03,
    ),
    Metric(
        "tv_complement",
        "Similarity of a categorical column",
        *SIMILARITY,
        CATEGORICAL,
        "1 minus the total variation distance: half the sum of the absolute differences between the shares of the "
        "labels in synthetic and in holdout rows.",
        "SDMetrics, TVComplement",
        _column_similarities("tv_complement", numeric=False),
        tolerance=0.03,
    ),
    Metric(
        "column_shapes",
        "Mean similarity of the columns",
        *SIMILARITY,
        ANY,
        "Mean of the KS complement and the TV complement over all columns.",
        "SDMetrics, Column Shapes",
        _column_shapes,
    ),
    Metric(
        "wasserstein_distance",
        "Wasserstein distance of a numeric column",
        *DISTANCE,
        NUMERIC,
        "Mean distance by which the synthetic values have to be moved to get the distribution of the holdout values, "
        "in standard deviations of the real values.",
        "scipy.stats.wasserstein_distance; Villani, Optimal Transport, 2009, chapter 6",
        _wasserstein,
    ),
    Metric(
        "sliced_wasserstein_distance",
        "Sliced Wasserstein distance of whole rows",
        *DISTANCE,
        ANY,
        "Mean Wasserstein distance of the rows' projections on 50 random directions; numbers are standardised and "
        "labels one-hot. It covers the dependence between columns.",
        "Bonneel, Rabin, Peyré and Pfister, Sliced and Radon Wasserstein Barycenters, JMIV 51, 2015, section 2",
        _sliced_wasserstein,
    ),
)
