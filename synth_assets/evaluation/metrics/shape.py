"""Similarity of single columns, and the distance between whole rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import (
    ANY,
    CATEGORICAL,
    DISTANCE,
    NUMERIC,
    SIMILARITY,
    Metric,
    NotComputed,
    ResultRow,
    result_row,
)
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples, cached, centre_and_scale, to_features
from synth_assets.schema.columns import Column

N_PROJECTIONS = 50
"""Random directions of the sliced Wasserstein distance."""

EMPTY = "a set of rows has no value in it"
"""Why a column of numbers is not compared."""


def column_similarity(rows: pd.Series, holdout: pd.Series, column: Column) -> float:
    """Return the KS complement of two sets of numbers, or the TV complement of two sets of labels: from 0 to 1.

    NaN if a set of numbers has no value. A missing label is a label of its own; missing numbers are left out.
    """
    values = _Values.of(pd.concat([rows, holdout], ignore_index=True), column)
    return values.similarity(np.arange(len(rows)), np.arange(len(rows), len(rows) + len(holdout)))


@dataclass(frozen=True)
class _Values:
    """The values of a column as codes: of numbers, in their order, -1 where missing; `numbers` has their values."""

    codes: np.ndarray
    count: int
    numbers: np.ndarray | None

    @classmethod
    def of(cls, values: pd.Series, column: Column) -> "_Values":
        if not column.is_numeric:
            codes, labels = pd.factorize(values, use_na_sentinel=False)
            return cls(codes, len(labels), None)
        codes, numbers = pd.factorize(values.to_numpy("float64"), sort=True)
        return cls(codes, len(numbers), numbers)

    def difference(self, rows: np.ndarray, holdout: np.ndarray) -> np.ndarray | None:
        """Return the difference of the shares of each value in rows at some positions and at others."""
        shares = []
        for positions in (rows, holdout):
            codes = self.codes[positions]
            codes = codes[codes >= 0]
            if not len(codes):
                return None
            shares.append(np.bincount(codes, minlength=self.count) / len(codes))
        return np.asarray(shares[0] - shares[1])

    def similarity(self, rows: np.ndarray, holdout: np.ndarray) -> float:
        difference = self.difference(rows, holdout)
        if difference is None:
            return float("nan")
        if self.numbers is None:
            return max(0.0, float(1 - np.abs(difference).sum() / 2))
        return max(0.0, float(1 - np.abs(difference.cumsum()).max()))

    def distance(self, rows: np.ndarray, holdout: np.ndarray) -> float:
        """Return the Wasserstein distance of numbers: the area between the cumulative distributions."""
        difference = self.difference(rows, holdout)
        if difference is None or self.numbers is None:
            return float("nan")
        return float((np.abs(difference.cumsum()[:-1]) * np.diff(self.numbers)).sum())


@cached
def _values(samples: Samples) -> dict[str, _Values]:
    return {c.name: _Values.of(samples.pooled[c.name], c) for c in samples.compared.columns}


@cached
def _similarities(samples: Samples) -> np.ndarray:
    """Return similarities: comparisons (the sample, then real splits) by columns."""
    values = _values(samples).values()
    return np.array([[each.similarity(*both) for each in values] for both in samples.positions])


def _column_similarities(metric: str, *, numeric: bool) -> Callable[[Samples], Iterator[ResultRow | NotComputed]]:
    def compute(samples: Samples) -> Iterator[ResultRow | NotComputed]:
        samples = samples.shown
        scores = _similarities(samples)
        for i, column in enumerate(samples.compared.columns):
            if column.is_numeric != numeric:
                continue
            if np.isnan(scores[0, i]):
                yield NotComputed(metric, column.name, EMPTY)
            else:
                yield result_row(metric, column.name, scores[0, i], reference_of(scores[1:, i]))

    return compute


def _column_shapes(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    scores = _similarities(samples.shown)
    scores = scores[:, ~np.isnan(scores[0])]
    if not scores.size:
        yield NotComputed("column_shapes", None, "no column is compared")
        return
    means = np.nanmean(scores, axis=1)
    yield result_row("column_shapes", None, means[0], reference_of(means[1:]))


def _wasserstein(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    samples = samples.shown
    for name in samples.schema.numeric:
        values, real = _values(samples)[name], samples.real[name]
        scale = centre_and_scale(real.dropna().to_numpy("float64"))[1] if real.notna().any() else 1.0
        scores = [values.distance(*both) / scale for both in samples.positions]
        if np.isnan(scores[0]):
            yield NotComputed("wasserstein_distance", name, EMPTY)
        else:
            yield result_row("wasserstein_distance", name, scores[0], reference_of(scores[1:]))


def _sliced_wasserstein(samples: Samples) -> Iterator[ResultRow]:
    samples = samples.shown.neighbours
    features = to_features(samples.pooled, samples.real, samples.schema)
    directions = np.random.default_rng(samples.seed).normal(size=(N_PROJECTIONS, features.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # The area between cumulative distributions; each projection is sorted once for all comparisons.
    shares = np.zeros((len(samples.positions), len(features)))
    for of_rows, (rows, holdout) in zip(shares, samples.positions, strict=True):
        of_rows[rows] += 1 / len(rows)
        of_rows[holdout] -= 1 / len(holdout)
    scores = np.zeros(len(shares))
    for along in (features @ directions.T).T:
        order = np.argsort(along)
        scores += np.abs(shares[:, order].cumsum(axis=1)[:, :-1]) @ np.diff(along[order]) / N_PROJECTIONS
    yield result_row("sliced_wasserstein_distance", None, scores[0], reference_of(scores[1:]))


METRICS = (
    Metric(
        "ks_complement",
        "Similarity of a numeric column",
        *SIMILARITY,
        NUMERIC,
        "1 minus the two-sample Kolmogorov-Smirnov statistic: the greatest difference between the cumulative "
        "distributions of the column in synthetic and in holdout rows, where the cells are not missing.",
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
        "labels in synthetic and in holdout rows. A missing cell counts as a label. Labels that are hidden because too "
        "few train rows have them are hidden in the holdout rows too.",
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
        "Mean Wasserstein distance of the rows' projections on 50 random directions; numbers are standardised, labels "
        "one-hot, and missing cells indicated. It covers the dependence between columns. At most 5,000 rows of a set "
        "are compared.",
        "Bonneel, Rabin, Peyré and Pfister, Sliced and Radon Wasserstein Barycenters, JMIV 51, 2015, section 2",
        _sliced_wasserstein,
    ),
)
