"""Copies of train rows, and distances to the closest record."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import ANY, AREA, SHARE, Metric, ResultRow, result_row
from synth_assets.evaluation.reference import SPLITS, Reference, real_splits, reference_of
from synth_assets.evaluation.samples import Samples, cached
from synth_assets.schema.table import TableSchema

N_DRAWS = 3
"""Draws of as many train rows as there are holdout rows, for the distance to the closest record."""

SHARED_ROWS = 5
"""Train rows that are equal in every cell, from which on a row that equals them reveals none of them."""

AGREEMENT_SPLITS = 3
"""Real splits for the reference of the columns in which rows agree with train rows."""

MIN_EQUAL_PAIRS = 20
"""Pairs of real rows from which on a share of equal rows is estimated from real splits; of fewer, from the pairs that
agree in some cells."""

KEY_SHARE = 0.05
"""Columns identify rows by design if at most this share of the pairs of real rows that would agree in them by chance
do: of at least `MIN_EQUAL_PAIRS` expected ones."""

MOST_KEY_COLUMNS = 100
"""Columns, the first ones, of which pairs are looked at."""

PAIRS_AT_ONCE = 2_000_000
"""Pairs of rows that are compared at once: about 10 MB, however long the tables are."""

_DIGITS = 9
"""Decimal numbers are equal if they agree to this many digits of their column's largest train value."""

_SMALL = 1e-280
"""Numbers below this are scaled up first: the powers of ten that they would be rounded to are no floats."""

_MOST_TREE_DIMENSIONS = 16
"""Dimensions up to which a tree finds neighbours faster than products of matrices do."""

_CANDIDATES = 8
"""Neighbours beyond those wanted whose distance is computed exactly."""


def agreeing_cells(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Count the cells in which each row agrees with the train row that it agrees with most.

    Labels and numbers are compared. Decimal numbers are compared after rounding: 0.1 + 0.2 agrees with 0.3. Two missing
    cells agree.
    """
    return _closest_train_rows(_codes(rows, train, schema), len(train))[0]


def partial_copy_cells(schema: TableSchema) -> int:
    """Return how many cells a partial copy shares with one train row: more than half of the labels and numbers."""
    return len(schema.compared) // 2 + 1


def identifying_columns(real: pd.DataFrame, schema: TableSchema) -> list[str]:
    """List the columns of labels and numbers that identify rows by design.

    Such as the day of a daily series, a subject and the time of its measurement, a team and the number of a player.
    They are columns, or pairs of columns, that far fewer real rows have in common than would by chance: of a pair, if
    its columns were independent; of numbers, if they were even draws of the points between the least and the greatest
    one, as far apart as the closest two. Such a table has each value once. Real rows never agree in it, and the rows of
    any sample do, whatever it was made from, since there are hardly other values.
    """
    n_pairs = len(real) * (len(real) - 1) / 2
    codes = {name: both[0] for name, both in zip(schema.compared, _codes(real, real, schema), strict=True)}
    equal = {name: _equal_pairs(each) for name, each in codes.items()}
    found = [name for name in codes if _is_key(equal[name], n_pairs / _points(real[name], schema))]
    rest = [name for name in codes if name not in found][:MOST_KEY_COLUMNS]
    for i, one in enumerate(rest):
        for other in rest[:i]:
            expected = equal[one] * equal[other] / max(n_pairs, 1)
            n_values = int(codes[one].max() + 1) * int(codes[other].max() + 1)
            if expected >= MIN_EQUAL_PAIRS and 2 * n_values > len(real):  # else rows agree, since there are few values
                both = codes[one].astype(np.int64) * (int(codes[other].max()) + 2) + codes[other]
                if _is_key(_equal_pairs(both), expected):
                    found += [name for name in (one, other) if name not in found]
    return [name for name in codes if name in found]


def _equal_pairs(codes: np.ndarray) -> float:
    """Return the number of pairs of rows whose codes are equal."""
    counts = np.unique(codes, return_counts=True)[1].astype("float64")
    return float((counts * (counts - 1)).sum() / 2)


def _is_key(equal: float, expected: float) -> bool:
    return expected >= MIN_EQUAL_PAIRS and equal <= KEY_SHARE * expected


def _points(values: pd.Series, schema: TableSchema) -> float:
    """Return how many numbers there are from the least to the greatest one, as far apart as the closest two."""
    if not schema.column(str(values.name)).is_numeric:
        return math.inf
    distinct = np.unique(values.dropna().to_numpy("float64"))
    with np.errstate(over="ignore"):
        return float(np.ptp(distinct) / np.diff(distinct).min()) + 1 if len(distinct) > 1 else math.inf


def partial_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> float:
    """Return the share of rows that agree with one train row in more than half of the cells."""
    return float((agreeing_cells(rows, train, schema) >= partial_copy_cells(schema)).mean())


def exact_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> float:
    """Return the share of rows that equal a train row in every cell; there may be millions of rows.

    A row that equals five train rows or more is no copy: it reveals none of them.
    """
    codes = pd.factorize(np.concatenate([_row_hashes(part, train, schema) for part in (rows, train)]))[0]
    return _copied_share(codes[: len(rows)], codes[len(rows) :])


def closest_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each point to the closest of others."""
    return nearest(points, others, 1)[0][:, 0]


def nearest(points: np.ndarray, others: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of other points.

    Parameters
    ----------
    points, others : numpy.ndarray
        n and m points of d dimensions.
    count : int
        How many of the others are wanted, at most m.

    Returns
    -------
    distances, positions : numpy.ndarray
        n by `count`: Euclidean distances, the least first, and the positions among the others.
    """
    if others.shape[1] == 0:
        return np.zeros((len(points), count)), np.tile(np.arange(count), (len(points), 1))
    if others.shape[1] <= _MOST_TREE_DIMENSIONS:
        from scipy.spatial import KDTree

        distances, positions = KDTree(others).query(points, k=np.arange(1, count + 1))
        return distances, positions
    distances, positions = np.empty((len(points), count)), np.empty((len(points), count), dtype=np.int64)
    centre = others.mean(axis=0)
    points, others = points - centre, others - centre
    squares, candidates = (others**2).sum(axis=1), min(count + _CANDIDATES, len(others))
    at_once = max(1, PAIRS_AT_ONCE // max(len(others), candidates * others.shape[1]))
    for start in range(0, len(points), at_once):
        block = points[start : start + at_once]
        approximate = squares - 2 * block @ others.T
        some = np.argpartition(approximate, candidates - 1, axis=1)[:, :candidates]
        exact = np.sqrt(((block[:, np.newaxis] - others[some]) ** 2).sum(axis=2))
        order = np.argsort(exact, axis=1, kind="stable")[:, :count]
        distances[start : start + at_once] = np.take_along_axis(exact, order, axis=1)
        positions[start : start + at_once] = np.take_along_axis(some, order, axis=1)
    return distances, positions


def random_orders(samples: Samples, rng: np.random.Generator) -> list[np.ndarray]:
    """Return random orders of the real rows, for references in which train and holdout rows are exchanged."""
    return [rng.permutation(len(samples.real)) for _ in range(SPLITS)]


def _exact_copies(samples: Samples) -> Iterator[ResultRow]:
    # All rows are compared: an equal row among a few train rows says little about many.
    sets = samples.train, samples.holdout, samples.synthetic
    codes = pd.factorize(np.concatenate([_row_hashes(rows, samples.train, samples.schema) for rows in sets]))[0]
    n_train, n_real = len(samples.train), len(samples.real)
    names = tuple(samples.compared.names)
    reference = _coincidences(samples, names, len(names), len(samples.synthetic)) or reference_of(
        [
            _copied_share(codes[split.holdout[: len(samples.subsample)]], codes[split.train])
            for split in real_splits(n_train, len(samples.holdout), n_splits=SPLITS, seed=samples.seed)
        ]
    )
    yield result_row("exact_copies", None, _copied_share(codes[n_real:], codes[:n_train]), reference)


def _coincidences(samples: Samples, names: tuple[str, ...], cells: int, n_rows: int) -> Reference | None:
    """Return the share of rows that agree with a train row by chance, where so few do that real splits do not show it.

    Two estimates of the probability that two rows agree are upper bounds; the lower one counts. One is from the pairs
    of real rows that agree, and half a pair more (Jeffreys' prior). One is extrapolated from the more numerous pairs
    that agree in fewer cells: if cells are independent, the number of those that agree has a log-concave distribution,
    and each further cell agrees at most as often as the one before (Hoggar, Journal of Applied Probability 11, 1974).
    The interval is of a Poisson count whose rate was estimated from a Poisson count: it is negative binomial.

    Parameters
    ----------
    samples : Samples
        The rows.
    names : tuple of str
        The columns that are compared.
    cells : int
        Cells from which on two rows agree.
    n_rows : int
        Rows that are compared with the train rows.

    Returns
    -------
    Reference
        None, if at least `MIN_EQUAL_PAIRS` pairs of real rows agree.
    """
    from scipy.stats import nbinom

    n_rows = min(n_rows, len(samples.train))
    agreeing = _agreeing_pairs(samples.neighbours, names)
    if agreeing[cells] >= MIN_EQUAL_PAIRS:
        return None
    known = int(np.flatnonzero(agreeing >= MIN_EQUAL_PAIRS).max(initial=0))
    ratios = agreeing[1 : known + 2] / agreeing[: known + 1]
    pairs = n_rows * len(samples.train) / agreeing[0]
    bounds = []
    for counted, equal in (
        (agreeing[cells] + 0.5, agreeing[cells] + 0.5),
        (agreeing[known], max(agreeing[cells], agreeing[known] * ratios[-2:].max() ** (cells - known))),
    ):
        low, high = nbinom.ppf((0.025, 0.975), counted, counted / (counted + pairs * equal))
        bounds.append((max(high, pairs * equal), pairs * equal, min(low, pairs * equal)))
    high, expected, low = min(bounds)
    return Reference(expected / n_rows, low / n_rows, high / n_rows)


@cached
def _agreeing_pairs(samples: Samples, names: tuple[str, ...]) -> np.ndarray:
    """Count the pairs that agree in at least 0, 1, ... cells, among as many real rows as there are train rows."""
    rows = samples.real.sample(len(samples.train), random_state=samples.seed)
    columns = [codes for codes, _ in _codes(rows, samples.train, samples.schema.select(names))]
    found = np.zeros(len(columns) + 1, dtype=np.int64)
    at_once = max(1, PAIRS_AT_ONCE // len(rows))
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        agreeing = np.zeros((len(columns[0][block]), len(rows)), dtype=np.int16)
        for codes in columns:
            agreeing += codes[block, np.newaxis] == codes
        found += np.bincount(agreeing.ravel(), minlength=len(found))
    found[-1] -= len(rows)  # each row agrees with itself
    return np.asarray(np.cumsum(found[::-1])[::-1] / 2)


def _copied_share(rows: np.ndarray, train: np.ndarray) -> float:
    equal = np.bincount(train, minlength=int(max(rows.max(), train.max())) + 1)[rows]
    return float(((equal > 0) & (equal < SHARED_ROWS)).mean())


def _partial_copies(samples: Samples) -> Iterator[ResultRow]:
    samples = samples.neighbours
    identifying = identifying_columns(samples.real, samples.schema)
    counted = [name for name in samples.schema.compared if name not in identifying] or samples.schema.compared
    schema = samples.schema.select(counted)
    share = partial_copies(samples.subsample, samples.train, schema)
    reference = _coincidences(samples, tuple(counted), partial_copy_cells(schema), len(samples.subsample))
    if reference is None:
        scores = []
        for split in samples.splits:
            rows, train = samples.real.iloc[split.holdout[: len(samples.subsample)]], samples.real.iloc[split.train]
            scores.append(partial_copies(rows, train, schema))
        reference = reference_of(scores)
    yield result_row("partial_copies", None, share, reference)


def _agreement_by_column(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Return, for each column, the share of rows that agree in it with their most similar train row."""
    cells = _codes(rows, train, schema)
    closest = _closest_train_rows(cells, len(train))[1]
    return np.array([float((of_rows == of_train[closest]).mean()) for of_rows, of_train in cells])


def _copied_cells(samples: Samples) -> Iterator[ResultRow]:
    samples = samples.neighbours
    scores = [_agreement_by_column(samples.subsample, samples.train, samples.schema)]
    for split in samples.splits[:AGREEMENT_SPLITS]:
        rows, train = samples.real.iloc[split.holdout[: len(samples.subsample)]], samples.real.iloc[split.train]
        scores.append(_agreement_by_column(rows, train, samples.schema))
    for i, name in enumerate(samples.schema.compared):
        yield result_row("copied_cells", name, scores[0][i], reference_of([each[i] for each in scores[1:]]))


def _dcr_share(samples: Samples) -> Iterator[ResultRow]:
    samples = samples.neighbours
    synthetic, train, holdout = (samples.features[name] for name in ("synthetic", "train", "holdout"))
    real, n = np.concatenate([train, holdout]), len(train)
    share = _CloserShare(synthetic, real, min(n, len(holdout)))
    rng = np.random.default_rng(samples.seed)
    orders = random_orders(samples, rng)
    reference = reference_of([share.of(o[:n], o[n:], rng) for o in orders])
    yield result_row("dcr_share", None, share.of(np.arange(n), np.arange(n, len(real)), rng), reference)


class _CloserShare:
    """Shares of points that are closer to one part of the real points than to as many of another."""

    def __init__(self, points: np.ndarray, real: np.ndarray, size: int) -> None:
        self.points, self.real, self.size = points, real, size
        # The closest of a part is the first neighbour that belongs to it: with so many, hardly ever none of them does.
        share = min(size / len(real), 0.5)
        wanted = int(np.clip(np.log(1e-4) / np.log(1 - share), 16, 512))
        self.distances, self.positions = nearest(points, real, min(wanted, len(real)))

    def of(self, train: np.ndarray, holdout: np.ndarray, rng: np.random.Generator) -> float:
        """Return the share of points that are closer to train rows than to as many holdout rows; ties count half."""
        shares = []
        for _ in range(N_DRAWS):
            to_train, to_holdout = (
                self._closest(rows[rng.choice(len(rows), self.size, replace=False)]) for rows in (train, holdout)
            )
            shares.append(float((to_train < to_holdout).mean() + 0.5 * (to_train == to_holdout).mean()))
        return float(np.mean(shares))

    def _closest(self, rows: np.ndarray) -> np.ndarray:
        belongs = np.zeros(len(self.real), dtype=bool)
        belongs[rows] = True
        among = belongs[self.positions]
        found = among.any(axis=1)
        least = self.distances[np.arange(len(self.points)), among.argmax(axis=1)]
        if not found.all():
            least[~found] = closest_distances(self.points[~found], self.real[rows])
        return np.asarray(least)


def _closest_train_rows(cells: list[tuple[np.ndarray, np.ndarray]], n_train: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many cells each row shares with the train row that it agrees with most, and that row's position."""
    n = len(cells[0][0])
    most, closest = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    at_once = max(1, PAIRS_AT_ONCE // n_train)
    for start in range(0, n, at_once):
        block = slice(start, start + at_once)
        agreeing = np.zeros((len(most[block]), n_train), dtype=np.int16)
        for row_codes, train_codes in cells:
            agreeing += row_codes[block, np.newaxis] == train_codes
        closest[block] = agreeing.argmax(axis=1)
        most[block] = agreeing.max(axis=1)
    return most, closest


def _codes(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the cells of each column as codes, of the rows and of the train rows: equal where the cells are."""
    found = []
    for name in schema.compared:
        both = pd.concat([_rounded(part[name], train[name], schema) for part in (rows, train)], ignore_index=True)
        codes = pd.factorize(both)[0].astype(np.int32)
        found.append((codes[: len(rows)], codes[len(rows) :]))
    return found


def _row_hashes(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    columns = {name: _rounded(rows[name], train[name], schema) for name in schema.compared}
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(columns), index=False))


def _rounded(values: pd.Series, train: pd.Series, schema: TableSchema) -> pd.Series:
    """Round decimal numbers to as many digits as are compared."""
    column = schema.column(str(values.name))
    if not column.is_numeric:
        return values.astype("str").where(values.notna())
    numbers = values.astype("float64")
    largest = float(train.abs().max())
    if 0 < largest < _SMALL:
        largest, exponent = math.frexp(largest)
        numbers = pd.Series(np.ldexp(numbers, -exponent), index=values.index, name=values.name)
    if column.type in ("float", "datetime") and 0 < largest < np.inf:
        numbers = numbers.round(_DIGITS - 1 - int(np.floor(np.log10(largest))))
    return numbers + 0.0  # -0.0 becomes 0.0


METRICS = (
    Metric(
        "exact_copies",
        "Exact copies",
        *SHARE,
        ANY,
        "Share of the synthetic rows that equal a train row in every cell of labels and numbers; a row that five train "
        "rows or more have in common reveals none of them and does not count.",
        "A count",
        _exact_copies,
        # Three rows of 3,000, which a sampler may generate by chance where columns have few values.
        tolerance=0.001,
        is_count=True,
    ),
    Metric(
        "partial_copies",
        "Partial copies",
        *SHARE,
        ANY,
        "Share of the synthetic rows that agree with one train row in more than half of the cells. At most 5,000 rows "
        "of a set are compared. Columns that identify a row by design, such as a subject and the time of its "
        "measurement, are left out: real rows never agree in them, other rows can hardly but. Where hardly any real "
        "rows agree so, the reference is as for exact copies.",
        "A count",
        _partial_copies,
        # A fifth of the share of abalone's holdout rows, 7 to 8%.
        tolerance=0.015,
        is_count=True,
    ),
    Metric(
        "copied_cells",
        "Agreement of a column with the most similar train row",
        *SHARE,
        ANY,
        "Share of the synthetic rows whose cell of this column agrees with the train row that the row agrees with "
        "most: in which columns train rows are repeated.",
        "A count",
        _copied_cells,
    ),
    Metric(
        "dcr_share",
        "DCR share, a check of copies",
        *AREA,
        ANY,
        "Share of the synthetic rows whose distance to the closest record is smaller for train rows than for as many "
        "holdout rows; 0.5 where the sample is equally close to both. At most 5,000 rows of a set are compared. It "
        "finds rows that are nearly copied, and measures no risk: samples that pass it may still reveal train rows to "
        "the attacks.",
        "SDMetrics, DCROverfittingProtection, has the same comparison; its limits: Yao, Krčo, Ganev and de Montjoye, "
        "The DCR Delusion: Measuring the Privacy Risk of Synthetic Data, 2025, arXiv:2505.01524",
        _dcr_share,
        # 3 of 100 synthetic rows more than by chance.
        tolerance=0.03,
    ),
)
