"""Copies of train rows, and distances to the closest record."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import ANY, AREA, SHARE, Metric, ResultRow, result_row
from synth_assets.evaluation.reference import SPLITS, reference_of
from synth_assets.evaluation.samples import Samples, cached
from synth_assets.schema.table import TableSchema

N_DRAWS = 3
"""Draws of as many train rows as there are holdout rows, for the distance to the closest record."""

PAIRS_AT_ONCE = 2_000_000
"""Pairs of rows that are compared at once: about 10 MB, however long the tables are."""

_DIGITS = 9
"""Decimal numbers are equal if they agree to this many digits of their column's largest train value."""

_ROWS_AT_ONCE = 100_000


def agreeing_cells(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Count the cells in which each row agrees with the train row that it agrees with most.

    Decimal numbers are compared after rounding: 0.1 + 0.2 agrees with 0.3.
    """
    cells = [_cell_codes(rows[column.name], train[column.name], column.type == "float") for column in schema.columns]
    most = np.zeros(len(rows), dtype=np.int64)
    at_once = max(1, PAIRS_AT_ONCE // len(train))
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        agreeing = np.zeros((len(most[block]), len(train)), dtype=np.int16)
        for row_codes, train_codes in cells:
            agreeing += row_codes[block, np.newaxis] == train_codes
        most[block] = agreeing.max(axis=1)
    return most


def partial_copy_cells(schema: TableSchema) -> int:
    """Return how many cells a partial copy shares with one train row: more than half."""
    return len(schema.columns) // 2 + 1


def partial_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> float:
    """Return the share of rows that agree with one train row in more than half of the cells."""
    return float((agreeing_cells(rows, train, schema) >= partial_copy_cells(schema)).mean())


def exact_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> float:
    """Return the share of rows that equal a train row in every cell; there may be millions of rows."""
    copies = 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows.iloc[start : start + _ROWS_AT_ONCE]
        codes = [_cell_codes(block[c.name], train[c.name], c.type == "float") for c in schema.columns]
        # Only rows whose every cell occurs in some train row are looked up.
        known = np.all([np.isin(of_rows, of_train) for of_rows, of_train in codes], axis=0)
        if known.any():
            of_rows, of_train = (pd.MultiIndex.from_arrays(list(part)) for part in zip(*codes, strict=True))
            copies += int(of_rows[known].isin(of_train).sum())
    return copies / len(rows)


def closest_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each point to the closest of others."""
    from scipy.spatial import KDTree

    distances: np.ndarray = KDTree(others).query(points)[0]
    return distances


def random_orders(samples: Samples, rng: np.random.Generator) -> list[np.ndarray]:
    """Return random orders of the real rows, for references in which train and holdout rows are exchanged."""
    return [rng.permutation(len(samples.real)) for _ in range(SPLITS)]


@cached
def _agreement_of_real_rows(samples: Samples) -> list[np.ndarray]:
    """Return the agreeing cells of one part of each real split with the other, at the size of the subsample."""
    return [
        agreeing_cells(
            samples.real.iloc[split.holdout[: len(samples.subsample)]], samples.real.iloc[split.train], samples.schema
        )
        for split in samples.splits
    ]


def _copies(
    metric: str, compute_share: Callable[[Samples], tuple[float, int]]
) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        share, cells = compute_share(samples)
        scores = [float((counts >= cells).mean()) for counts in _agreement_of_real_rows(samples)]
        yield result_row(metric, None, share, reference_of(scores))

    return compute


def _exact(samples: Samples) -> tuple[float, int]:
    return exact_copies(samples.synthetic, samples.train, samples.schema), len(samples.schema.columns)


def _partial(samples: Samples) -> tuple[float, int]:
    return partial_copies(samples.subsample, samples.train, samples.schema), partial_copy_cells(samples.schema)


def _dcr_share(samples: Samples) -> Iterator[ResultRow]:
    synthetic, train, holdout = (samples.features[name] for name in ("synthetic", "train", "holdout"))
    real, n = np.concatenate([train, holdout]), len(train)
    rng = np.random.default_rng(samples.seed)
    orders = random_orders(samples, rng)
    reference = reference_of([_closer_share(synthetic, real[o[:n]], real[o[n:]], rng) for o in orders])
    yield result_row("dcr_share", None, _closer_share(synthetic, train, holdout, rng), reference)


def _closer_share(points: np.ndarray, train: np.ndarray, holdout: np.ndarray, rng: np.random.Generator) -> float:
    """Return the share of points that are closer to train rows than to as many holdout rows; ties count half."""
    size = min(len(train), len(holdout))
    shares = []
    for _ in range(N_DRAWS):
        to_train, to_holdout = (
            closest_distances(points, rows[rng.choice(len(rows), size, replace=False)]) for rows in (train, holdout)
        )
        shares.append(float((to_train < to_holdout).mean() + 0.5 * (to_train == to_holdout).mean()))
    return float(np.mean(shares))


def _cell_codes(rows: pd.Series, train: pd.Series, rounded: bool) -> tuple[np.ndarray, np.ndarray]:
    both = pd.concat([rows, train], ignore_index=True)
    if rounded:
        largest = float(train.abs().max()) or 1.0
        both = both.round(_DIGITS - 1 - int(np.floor(np.log10(largest))))
    codes = pd.factorize(both)[0].astype(np.int32)
    return codes[: len(rows)], codes[len(rows) :]


METRICS = (
    Metric(
        "exact_copies",
        "Exact copies",
        *SHARE,
        ANY,
        "Share of the synthetic rows that equal a train row in every cell.",
        "A count",
        _copies("exact_copies", _exact),
        # Three rows of 3,000, which a sampler may generate by chance where columns have few values.
        tolerance=0.001,
    ),
    Metric(
        "partial_copies",
        "Partial copies",
        *SHARE,
        ANY,
        "Share of the synthetic rows that agree with one train row in more than half of the cells.",
        "A count",
        _copies("partial_copies", _partial),
        # A fifth of the share of abalone's holdout rows, 7 to 8%.
        tolerance=0.015,
    ),
    Metric(
        "dcr_share",
        "DCR share: rows closer to train than to holdout rows",
        *AREA,
        ANY,
        "Share of the synthetic rows whose distance to the closest record is smaller for train rows than for as many "
        "holdout rows; 0.5 where the sample is equally close to both.",
        "SDMetrics, DCROverfittingProtection, has the same comparison",
        _dcr_share,
        # 3 of 100 synthetic rows more than by chance.
        tolerance=0.03,
    ),
)
