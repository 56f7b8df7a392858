"""Does a synthetic sample give train rows away? Copies, distances, and attacks that infer who was a train row.

What chance alone gives is measured with real rows: held-out rows in the place of the synthetic ones for copies, random
labels of who is a train row for attacks. What passes here is not thereby private. An attack that fails proves nothing
of a better one: who holds the model itself, or trains shadow models of it, learns more than who holds a sample; several
samples of one model give more away than one; and a mean over all rows can hide a few that are known for certain. Only
training with differential privacy comes with a proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics import evidence, evidence_table
from synth_assets.evaluation.reference import SPLITS, Floor, floor_of, real_splits
from synth_assets.evaluation.roc import bootstrapped, by_chance, roc_area
from synth_assets.evaluation.rows import as_points, judged_rows, require_columns, require_rows
from synth_assets.schema.table import TableSchema

EXACT, PARTIAL, CLOSEST = "exact_copies", "partial_copies", "dcr_share"
MEMBERSHIP, DOMIAS, LEVENSHTEIN = "membership_auc", "domias_auc", "levenshtein_auc"
LEAKS, LEAK = "leaked_rows", "leaked_row"

CLOSEST_DRAWS = 3
"""Times that as many train rows are drawn as there are held-out rows, for the distance to the closest record."""

RARE = 0.999
"""A train row is suspected whose score is above those of this share of the held-out rows."""

AGREEING_ATTACKS = 2
"""So many attacks have to suspect a train row before it is called a leak."""

_DIGITS = 9
"""Decimal numbers agree that are the same to so many digits of their column's largest train value."""

_PAIRS = 2_000_000
"""As many pairs of rows are compared at once: some 10 MB, however long the tables are."""

_ROWS = 100_000
"""As many synthetic rows are looked up among the train rows at once."""


@dataclass(frozen=True)
class Attack:
    """How much an attack takes each real row for a train row: the higher the score, the more.

    Parameters
    ----------
    metric : str
        The name of its area.
    train, held_out : numpy.ndarray
        A score for each row.
    """

    metric: str
    train: np.ndarray
    held_out: np.ndarray


def attacks_on(
    synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, *, seed: int = 0
) -> list[Attack]:
    """Attack a sample in three ways.

    By the nearest synthetic row: the full black-box attack of Chen, Yu, Zhang and Fritz, GAN-Leaks, CCS 2020. By the
    ratio of two densities, of synthetic rows to real rows that nothing learned from: DOMIAS (van Breugel, Sun, Qian and
    van der Schaar, Membership Inference Attacks against Synthetic Data through Overfitting Detection, AISTATS 2023);
    each half of the held-out rows is the reference for the other half and for half of the train rows, and densities
    are Gaussian kernels with Scott's bandwidth. By the least edit distance of the written row to a synthetic one:
    LevAtt, which finds digit strings that a language model repeats (Ward et al., When Tables Leak: Attacking String
    Memorization in LLM-Based Tabular Data Generation, 2025, arXiv:2512.08875).

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. The attacker knows as many synthetic rows as there are train rows
        (`judged_rows`).
    schema : TableSchema
        The raw table's schema.
    seed : int
        Of the halves.

    Returns
    -------
    list of Attack
        In the order above.

    Raises
    ------
    ForeseenError
        If a set lacks a column, has fewer than two rows, or a cell that is empty or infinite.
    """
    sets = {"synthetic": synthetic, "train": train, "held_out": held_out}
    require_columns(schema, **sets)
    require_rows(schema, at_least=2, **sets)
    known = judged_rows(synthetic, train)
    points, of_train, of_held_out = (as_points(rows, train, schema) for rows in (known, train, held_out))
    return [
        Attack(MEMBERSHIP, -_nearest(points, of_train), -_nearest(points, of_held_out)),
        Attack(DOMIAS, *_density_ratios(points, of_train, of_held_out, seed)),
        Attack(LEVENSHTEIN, *(-_edit_distances(known, rows, schema) for rows in (train, held_out))),
    ]


def privacy_table(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    schema: TableSchema,
    *,
    attacks: Sequence[Attack] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure what a synthetic sample gives away of the train rows, beside what chance gives.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Exact copies are counted among all synthetic rows; everything else
        is of as many as there are train rows (`judged_rows`).
    schema : TableSchema
        The raw table's schema.
    attacks : sequence of Attack, optional
        What `attacks_on` gave for the same rows; made here if not given.
    seed : int
        Of the splits of the real table, of draws, relabellings and the bootstrap.

    Returns
    -------
    pandas.DataFrame
        Evidence, all of it of the whole table. Floors of copies and distances are from splits of the real table: for
        copies, held-out rows, no more of them than of the sample, against train rows; for distances, the sample
        against train rows and held-out rows that chance has exchanged.

    Raises
    ------
    ForeseenError
        As `attacks_on`.
    """
    attacks = attacks_on(synthetic, train, held_out, schema, seed=seed) if attacks is None else attacks
    compared = judged_rows(synthetic, train)
    cells = {EXACT: len(schema.columns), PARTIAL: cells_of_a_partial_copy(schema)}
    splits = list(real_splits(train, held_out, seed=seed))
    # A short sample has as much of chance in it as so few real rows have.
    by_split = [agreeing_cells(split.held_out.head(len(compared)), split.train, schema) for split in splits]
    values = {
        EXACT: exact_copies(synthetic, train, schema),
        PARTIAL: partial_copies(compared, train, schema, cells=cells[PARTIAL]),
    }
    found = [
        evidence(metric, None, value, floor_of([float((counts >= cells[metric]).mean()) for counts in by_split]))
        for metric, value in values.items()
    ]
    points, of_train, of_held_out = (as_points(rows, train, schema) for rows in (compared, train, held_out))
    both = np.concatenate([of_train, of_held_out])
    rng = np.random.default_rng(seed)
    exchanged = [rng.permutation(len(both)) for _ in range(SPLITS)]
    floor = floor_of(
        [_closer_share(points, both[order[: len(train)]], both[order[len(train) :]], rng) for order in exchanged]
    )
    found.append(evidence(CLOSEST, None, _closer_share(points, of_train, of_held_out, rng), floor))
    for attack in attacks:
        scores = attack.train, attack.held_out
        interval = bootstrapped([scores], seed=seed)
        found.append(evidence(attack.metric, None, roc_area(*scores), by_chance(*scores, seed=seed), interval))
    found.append(evidence(LEAKS, None, *_leaked_share(attacks, exchanged)))
    return evidence_table(found)


def leaked_rows(
    attacks: Sequence[Attack], synthetic: pd.DataFrame, train: pd.DataFrame, schema: TableSchema
) -> pd.DataFrame:
    """Name the train rows that several attacks take for train rows with near certainty.

    Parameters
    ----------
    attacks : sequence of Attack
        What `attacks_on` gave for these rows.
    synthetic, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        One row a train row that `AGREEING_ATTACKS` suspect, those with the most agreeing cells first: `row` (its
        position), `attacks` (their metrics), `agreeing_cells` (with the synthetic row that is most like it). An attack
        suspects a row whose score is above those of `RARE` of the held-out rows; how many it names by chance is the
        floor of `leaked_rows` in `privacy_table`.
    """
    of_train, of_held_out = (np.array([getattr(a, part) for a in attacks]) for part in ("train", "held_out"))
    rows = np.flatnonzero(_agreed(of_train, of_held_out))
    suspected = _suspected(of_train, of_held_out)
    leaks = pd.DataFrame(
        {
            "row": rows,
            "attacks": pd.Series(
                [", ".join(a.metric for a, yes in zip(attacks, suspected[:, row], strict=True) if yes) for row in rows],
                dtype="str",
            ),
            "agreeing_cells": agreeing_cells(train.iloc[rows], judged_rows(synthetic, train), schema)
            if len(rows)
            else np.zeros(0, np.int64),
        }
    )
    return leaks.sort_values("agreeing_cells", ascending=False, kind="stable", ignore_index=True)


def leak_evidence(leaks: pd.DataFrame, row_ids: np.ndarray, schema: TableSchema) -> pd.DataFrame:
    """Give each leaked row as a row of evidence, so that it is kept beside the other numbers.

    Parameters
    ----------
    leaks : pandas.DataFrame
        What `leaked_rows` gave.
    row_ids : numpy.ndarray
        The `row_id` of each train row.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        Evidence without floors: `column_name` is 'row_id 17', `value` the share of the row's cells that agree with the
        synthetic row that is most like it.
    """
    return evidence_table(
        evidence(LEAK, f"row_id {row_ids[leak.row]}", leak.agreeing_cells / len(schema.columns), floor_of([]))
        for leak in leaks.itertuples()
    )


def _leaked_share(attacks: Sequence[Attack], exchanged: Sequence[np.ndarray]) -> tuple[float, Floor]:
    """Give the share of train rows that attacks agree on, and the same where chance has exchanged the rows."""
    n_train = len(attacks[0].train)
    scores = np.array([[*attack.train, *attack.held_out] for attack in attacks])

    def share(of: np.ndarray) -> float:
        return float(_agreed(of[:, :n_train], of[:, n_train:]).mean())

    return share(scores), floor_of([share(scores[:, order]) for order in exchanged])


def _suspected(train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Give, for a scores of attacks by n train rows and by m held-out ones, which of a by n is suspected."""
    found: np.ndarray = train > np.quantile(held_out, RARE, axis=1, method="higher")[:, np.newaxis]
    return found


def _agreed(train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    named: np.ndarray = _suspected(train, held_out).sum(axis=0) >= AGREEING_ATTACKS
    return named


def closest_distances(rows: pd.DataFrame, others: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Give each row's distance to the closest of other rows.

    Parameters
    ----------
    rows, others, train : pandas.DataFrame
        Rows in the raw table's columns and types; a unit is a standard deviation of the train rows.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    numpy.ndarray
        Euclidean, over numbers in their units and labels as one column each.
    """
    return _nearest(as_points(others, train, schema), as_points(rows, train, schema))


def agreeing_cells(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Count, for each row, the cells in which it agrees with the train row that it agrees with most.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    numpy.ndarray
        A count for each of `rows`, from 0 to the number of columns. Labels and whole numbers agree if they are the
        same, decimal numbers if they are after rounding: 0.1 + 0.2 agrees with 0.3.

    Raises
    ------
    ForeseenError
        If a set has no row, or a cell that is empty or infinite.
    """
    require_rows(schema, compared=rows, train=train)
    cells = [_cell_codes(rows[column.name], train[column.name], column.type == "float") for column in schema.columns]
    most = np.zeros(len(rows), dtype=np.int64)
    at_once = max(1, _PAIRS // len(train))
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        agreeing = np.zeros((len(most[block]), len(train)), dtype=np.int16)
        for row_codes, train_codes in cells:
            agreeing += row_codes[block, np.newaxis] == train_codes
        most[block] = agreeing.max(axis=1)
    return most


def cells_of_a_partial_copy(schema: TableSchema) -> int:
    """Give how many cells a row shares with one train row to be a partial copy of it: more than half."""
    return len(schema.columns) // 2 + 1


def partial_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema, *, cells: int) -> float:
    """Give the share of rows that agree with one train row in so many cells or more.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.
    cells : int
        How many cells make a partial copy.

    Returns
    -------
    float
        From 0 to 1; held-out rows in the place of `rows` give the floor.

    Raises
    ------
    ForeseenError
        As `agreeing_cells`.
    """
    return float((agreeing_cells(rows, train, schema) >= cells).mean())


def exact_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> float:
    """Give the share of rows that are a train row, cell by cell.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types; any number of them.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    float
        From 0 to 1; held-out rows in the place of `rows` give the floor.

    Raises
    ------
    ForeseenError
        As `agreeing_cells`.
    """
    require_rows(schema, compared=rows, train=train)
    copies = 0
    for start in range(0, len(rows), _ROWS):
        block = rows.iloc[start : start + _ROWS]
        codes = [_cell_codes(block[c.name], train[c.name], c.type == "float") for c in schema.columns]
        # A row with a cell that no train row has is none of them; few are left to be looked up whole.
        known = np.all([np.isin(of_rows, of_train) for of_rows, of_train in codes], axis=0)
        if known.any():
            of_rows, of_train = (pd.MultiIndex.from_arrays(list(part)) for part in zip(*codes, strict=True))
            copies += int(of_rows[known].isin(of_train).sum())
    return copies / len(rows)


def membership_auc(synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema) -> float:
    """Attack a sample by the nearest synthetic row; see `attacks_on`. Every synthetic row is known to the attacker.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    float
        The area under the attack's ROC curve: 0.5 where it learns nothing, 1 where it knows every train row. Clearly
        below 0.5, the synthetic rows lie closer to the held-out rows than to the train rows.

    Raises
    ------
    ForeseenError
        If a set has no row, or a cell that is empty or infinite.
    """
    require_rows(schema, synthetic=synthetic, train=train, held_out=held_out)
    return roc_area(*(-closest_distances(rows, synthetic, train, schema) for rows in (train, held_out)))


def _nearest(points: np.ndarray, of: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    distances: np.ndarray = KDTree(points).query(of)[0]
    return distances


def _closer_share(points: np.ndarray, train: np.ndarray, held_out: np.ndarray, rng: np.random.Generator) -> float:
    """Give the share of points that are closer to train rows than to as many held-out rows; ties count half."""
    size = min(len(train), len(held_out))
    shares = []
    for _ in range(CLOSEST_DRAWS):
        to_train, to_held_out = (
            _nearest(rows[rng.choice(len(rows), size, replace=False)], points) for rows in (train, held_out)
        )
        shares.append(float((to_train < to_held_out).mean() + 0.5 * (to_train == to_held_out).mean()))
    return float(np.mean(shares))


def _density_ratios(
    points: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    # In the directions in which the synthetic rows vary, each with a variance of 1, columns that go together count
    # once. Directions in which they vary by rounding errors alone are left out.
    centre = points.mean(axis=0)
    _, lengths, directions = np.linalg.svd(points - centre, full_matrices=False)
    spread = lengths / np.sqrt(len(points))
    kept = spread > 1e-6 * max(spread.max(), 1e-300)
    whiten = directions[kept].T / spread[kept] if kept.any() else directions[:1].T
    synthetic, of_train, of_held_out = ((part - centre) @ whiten for part in (points, train, held_out))
    rng = np.random.default_rng(seed)
    scores = np.zeros(len(train)), np.zeros(len(held_out))
    halves = [rng.permutation(len(part)) % 2 for part in (train, held_out)]
    for half in (0, 1):
        reference = of_held_out[halves[1] != half]
        for part, score, side in zip((of_train, of_held_out), scores, halves, strict=True):
            asked = part[side == half]
            score[side == half] = _log_density(synthetic, asked) - _log_density(reference, asked)
    return scores


def _log_density(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Give the log of a Gaussian kernel density, up to what is the same for all rows.

    The bandwidth is Scott's (Multivariate Density Estimation, 1992, section 6.3).
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    n, d = points.shape
    bandwidth = n ** (-1 / (d + 4))
    found = np.empty(len(at))
    at_once = max(1, _PAIRS // n)
    for start in range(0, len(at), at_once):
        block = slice(start, start + at_once)
        found[block] = logsumexp(-cdist(at[block], points, "sqeuclidean") / (2 * bandwidth**2), axis=1)
    return found


def _edit_distances(synthetic: pd.DataFrame, rows: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    written, asked = (_written(part, schema) for part in (synthetic, rows))
    least = np.empty(len(asked))
    at_once = max(1, _PAIRS // len(written))
    for start in range(0, len(asked), at_once):
        block = slice(start, start + at_once)
        least[block] = cdist(asked[block], written, scorer=Levenshtein.distance, dtype=np.uint16).min(axis=1)
    return least


def _written(rows: pd.DataFrame, schema: TableSchema) -> list[str]:
    forms = {"categorical": "{}", "integer": "{:.0f}", "float": f"{{:.{_DIGITS}g}}"}
    cells = [map(forms[column.type].format, rows[column.name]) for column in schema.columns]
    return [" ".join(row) for row in zip(*cells, strict=True)]


def _cell_codes(rows: pd.Series, train: pd.Series, rounded: bool) -> tuple[np.ndarray, np.ndarray]:
    both = pd.concat([rows, train], ignore_index=True)
    if rounded:
        largest = float(train.abs().max()) or 1.0
        both = both.round(_DIGITS - 1 - int(np.floor(np.log10(largest))))
    codes = pd.factorize(both)[0].astype(np.int32)
    return codes[: len(rows)], codes[len(rows) :]
