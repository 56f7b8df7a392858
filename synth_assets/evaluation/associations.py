"""How strongly columns depend on each other in the train rows, and which of many pairs are compared."""

from itertools import combinations

import numpy as np
import pandas as pd

from synth_assets.evaluation.samples import Samples, cached
from synth_assets.schema.table import TableSchema

ROWS = 2_000
"""Train rows from which associations are computed."""

LEVELS = 8
"""Quantile bins of a number, and labels, the most frequent ones, that associations distinguish."""

RANDOM_SHARE = 1 / 3
"""Share of the chosen pairs that are drawn at random; the others are the most strongly associated ones."""

_COLUMNS_AT_ONCE = 50

Pair = tuple[str, str]


@cached
def associations(samples: Samples) -> pd.DataFrame:
    """Return Cramér's V of each two columns in the train rows (Cramér, 1946, section 21.9), 0 on the diagonal.

    Numbers are cut into eight quantile bins; of labels, the eight most frequent are distinguished from each other; a
    missing cell is a value of its own.
    """
    rows, schema = samples.thinned(ROWS).train, samples.compared
    levels = [_levels(rows[name], schema, name) for name in schema.names]
    counts = [int(codes.max()) + 1 for codes in levels]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    indicators = np.zeros((len(rows), sum(counts)), dtype="float32")
    for start, codes in zip(starts, levels, strict=True):
        indicators[np.arange(len(rows)), start + codes] = 1
    totals = indicators.sum(axis=0, dtype="float64")
    found = np.zeros((len(counts), len(counts)))
    for first in range(0, len(counts), _COLUMNS_AT_ONCE):
        some = slice(first, first + _COLUMNS_AT_ONCE)
        at = slice(starts[first], starts[first] + sum(counts[some]))
        joint = (indicators[:, at].T @ indicators).astype("float64")
        expected = np.outer(totals[at], totals) / len(rows)
        excess = np.where(expected > 0, (joint - expected) ** 2 / np.maximum(expected, 1e-12), 0.0)
        found[some] = np.add.reduceat(np.add.reduceat(excess, starts[some] - starts[first], axis=0), starts, axis=1)
    smaller = np.minimum.outer(counts, counts) - 1
    strengths = np.sqrt(found / len(rows) / np.maximum(smaller, 1)) * (smaller > 0)
    np.fill_diagonal(strengths, 0.0)
    return pd.DataFrame(strengths, index=schema.names, columns=schema.names)


def chosen_pairs(samples: Samples, most: int) -> list[Pair]:
    """Return all pairs of columns, or at most so many, in the order of the table.

    Of more pairs, two thirds are those that are associated most strongly in the train rows, and a third is drawn at
    random from the others with a fixed seed.
    """
    names = samples.compared.names
    if len(names) * (len(names) - 1) // 2 <= most:
        return list(combinations(names, 2))
    strengths = associations(samples).to_numpy()
    one, other = np.triu_indices(len(names), 1)
    order = np.argsort(-strengths[one, other], kind="stable")
    n_random = int(most * RANDOM_SHARE)
    rest = order[most - n_random :]
    drawn = np.random.default_rng(0).choice(rest, n_random, replace=False)
    chosen = np.sort(np.concatenate([order[: most - n_random], drawn]))
    return [(names[one[i]], names[other[i]]) for i in chosen]


def _levels(values: pd.Series, schema: TableSchema, name: str) -> np.ndarray:
    missing = values.isna().to_numpy()
    codes = np.zeros(len(values), dtype="int64")
    if missing.all():
        return codes
    if schema.column(name).is_numeric:
        known = values[~missing].to_numpy("float64")
        edges = np.unique(np.quantile(known, np.linspace(0, 1, LEVELS + 1)[1:-1]))
        codes[~missing] = np.searchsorted(edges, known, side="right")
    else:
        ranks = values.value_counts()
        codes[~missing] = values[~missing].map(pd.Series(np.arange(len(ranks)), index=ranks.index)).clip(upper=LEVELS)
    codes[missing] = codes.max() + 1
    return np.unique(codes, return_inverse=True)[1]
