"""How much a synthetic sample looks like the real table, column by column and pair by pair.

Every measure compares a set of rows with held-out rows of the real table: the synthetic ones for `value`, real ones in
their place, at the same sizes and in many splits, for `floor`. What SDMetrics has is taken from there.
"""

import itertools
import warnings
from collections.abc import Callable, Collection

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics import evidence, evidence_table
from synth_assets.evaluation.reference import floor_of, real_splits
from synth_assets.evaluation.rows import as_points, judged_rows, numeric_names, require_columns, require_rows
from synth_assets.schema.columns import Column
from synth_assets.schema.table import TableSchema

KS, TV, SHAPES = "ks_complement", "tv_complement", "column_shapes"
WASSERSTEIN, SLICED = "wasserstein_distance", "sliced_wasserstein_distance"
CORRELATION, CONTINGENCY, TRENDS = "correlation_similarity", "contingency_similarity", "pair_trends"

BINS = 10
"""A numeric column beside a category is cut into so many bins, with as many real rows in each as ties allow."""

SLICES = 50
"""Directions in which whole rows are compared."""


def fidelity_table(
    synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, *, seed: int = 0
) -> pd.DataFrame:
    """Measure a synthetic sample against held-out rows, column by column, pair by pair and as a whole.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Of the synthetic ones, as many as there are train rows are
        measured (`judged_rows`).
    schema : TableSchema
        The raw table's schema.
    seed : int
        Of the splits of the real table, and of the directions in which whole rows are compared.

    Returns
    -------
    pandas.DataFrame
        Evidence. A correlation with a column of one value counts as 0; between columns that have one value in the
        real rows too there is none to compare, and these pairs are left out.

    Raises
    ------
    ForeseenError
        If a set has no row, lacks a column or has one of another type, or a cell is empty or infinite.
    """
    sets = {"synthetic": synthetic, "train": train, "held_out": held_out}
    require_columns(schema, **sets)
    require_rows(schema, **sets)
    judged = judged_rows(synthetic, train)
    real = pd.concat([train, held_out], ignore_index=True)
    measure = _measures(real, schema, seed)
    values = measure(judged, held_out)
    floors = pd.DataFrame(
        [measure(split.train.head(len(judged)), split.held_out) for split in real_splits(train, held_out, seed=seed)]
    )
    return evidence_table(evidence(*key, value, floor_of(floors[key].to_numpy())) for key, value in values.items())


def column_similarity(one: pd.Series, other: pd.Series, column: Column) -> float:
    """Compare two sets of values of a column.

    Parameters
    ----------
    one, other : pandas.Series
        Values; their lengths may differ.
    column : Column
        What they are values of.

    Returns
    -------
    float
        From 0 (nothing in common) to 1 (the same distribution).
    """
    from sdmetrics.single_column import KSComplement, TVComplement

    return float((TVComplement if not column.is_numeric else KSComplement).compute(other, one))


def correlations(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Give the Spearman correlations of the numeric columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        m by m, for the m numeric columns; a column of one value correlates 0 with the others.
    """
    names = numeric_names(schema)
    found = frame[names].corr(method="spearman").fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(found, 1.0)
    return pd.DataFrame(found, index=names, columns=names)


_Key = tuple[str, str | None]


def _measures(
    real: pd.DataFrame, schema: TableSchema, seed: int
) -> Callable[[pd.DataFrame, pd.DataFrame], dict[_Key, float]]:
    """Prepare what compares two sets of rows; units and bins are those of all real rows."""
    from scipy.stats import wasserstein_distance

    numbers = numeric_names(schema)
    units = {name: float(real[name].std(ddof=0)) if real[name].nunique() > 1 else 1.0 for name in numbers}
    edges = {name: np.unique(np.quantile(real[name], np.linspace(0, 1, BINS + 1)[1:-1])) for name in numbers}
    pairs = [
        (one, other)
        for one, other in itertools.combinations(schema.columns, 2)
        if not any(c.is_numeric and real[c.name].nunique() == 1 for c in (one, other))
    ]

    slices = np.random.default_rng(seed).normal(size=(SLICES, as_points(real.head(1), real, schema).shape[1]))
    slices /= np.linalg.norm(slices, axis=1, keepdims=True)

    def measure(rows: pd.DataFrame, held_out: pd.DataFrame) -> dict[_Key, float]:
        shapes: dict[_Key, float] = {
            (TV if not column.is_numeric else KS, column.name): column_similarity(
                rows[column.name], held_out[column.name], column
            )
            for column in schema.columns
        }
        distances: dict[_Key, float] = {
            (WASSERSTEIN, name): float(wasserstein_distance(rows[name], held_out[name])) / units[name]
            for name in numbers
        }
        binned = [
            both.assign(**{name: np.searchsorted(edges[name], both[name], side="right") for name in numbers})
            for both in (rows, held_out)
        ]
        constant = {name for name in numbers if any(part[name].nunique() == 1 for part in (rows, held_out))}
        trends = dict(_trend(one, other, rows, held_out, binned, constant) for one, other in pairs)
        whole: dict[_Key, float] = {(SHAPES, None): float(np.mean(list(shapes.values())))}
        projected = [(as_points(part, real, schema) @ slices.T).T for part in (rows, held_out)]
        whole[SLICED, None] = float(np.mean([wasserstein_distance(*along) for along in zip(*projected, strict=True)]))
        if trends:
            whole[TRENDS, None] = float(np.mean(list(trends.values())))
        return {**shapes, **distances, **trends, **whole}

    return measure


def _trend(
    one: Column,
    other: Column,
    rows: pd.DataFrame,
    held_out: pd.DataFrame,
    binned: list[pd.DataFrame],
    constant: Collection[str],
) -> tuple[_Key, float]:
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity

    names = [one.name, other.name]
    pair = ", ".join(names)
    if not (one.is_numeric and other.is_numeric):
        rows, held_out = binned
        return (CONTINGENCY, pair), float(ContingencySimilarity.compute(held_out[names], rows[names]))
    if one.name in constant or other.name in constant:
        found = [_correlation(frame[names]) for frame in (rows, held_out)]
        return (CORRELATION, pair), 1 - abs(found[0] - found[1]) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return (CORRELATION, pair), float(
            CorrelationSimilarity.compute(held_out[names], rows[names], coefficient="Spearman")
        )


def _correlation(pair: pd.DataFrame) -> float:
    found = pair.corr(method="spearman").iloc[0, 1]
    return 0.0 if np.isnan(found) else float(found)
