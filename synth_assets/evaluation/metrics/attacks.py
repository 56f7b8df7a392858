"""Membership inference attacks: which rows were train rows, inferred from the synthetic rows.

Passing is no proof of privacy. A better attack may succeed; an attacker with the model, or with shadow models, learns
more than one with a sample; several samples of a model reveal more than one; and a mean over all rows can hide a few
that are known for certain. Only training with differential privacy comes with a proof.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.evaluation.intervals import roc_area, roc_interval, roc_permutation_reference
from synth_assets.evaluation.metrics.base import ANY, AREA, SHARE, Metric, ResultRow, result_row
from synth_assets.evaluation.metrics.copies import PAIRS_AT_ONCE, agreeing_cells, closest_distances, random_orders
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples, cached
from synth_assets.schema.table import TableSchema

SUSPECT_QUANTILE = 0.999
"""An attack suspects a train row that it scores above this share of the holdout rows."""

MIN_ATTACKS = 2
"""Attacks that have to suspect a train row before it counts as leaked."""

LEAKED_ROW = "leaked_row"

MOST_CHARACTERS = 200
"""Characters of a row as text whose edit distances are computed; longer rows are cut off."""

_DIGITS = 9
"""Digits of decimal numbers in the text whose edit distances are computed."""

_MOST_EXACT_DIMENSIONS = 32
"""Dimensions up to which squared distances are computed as sums, not by products of matrices."""


@dataclass(frozen=True)
class Attack:
    """Scores of an attack, whose AUC is `metric`, for real rows; a higher score means a train row is more likely."""

    metric: str
    train: np.ndarray
    holdout: np.ndarray

    @property
    def auc(self) -> float:
        """The area under the ROC curve: 0.5 is chance, 1 identifies every train row."""
        return roc_area(self.train, self.holdout)


@cached
def attacks(samples: Samples) -> list[Attack]:
    """Run three membership inference attacks on at most 5,000 rows a set; the attacker knows the subsample.

    By distance to the closest synthetic row (GAN-Leaks); by density ratio (DOMIAS; each half of the holdout rows is the
    reference for the other half and for half of the train rows; Gaussian kernels with Scott's bandwidth); by the least
    edit distance to a synthetic row as text (LevAtt).
    """
    samples = samples.neighbours
    synthetic, train, holdout = (samples.features[name] for name in ("synthetic", "train", "holdout"))
    text = [_as_text(rows, samples.schema) for rows in (samples.subsample, samples.train, samples.holdout)]
    return [
        Attack("membership_auc", *(-closest_distances(rows, synthetic) for rows in (train, holdout))),
        Attack("domias_auc", *_density_ratios(synthetic, train, holdout, samples.seed)),
        Attack("levenshtein_auc", *(-_edit_distances(rows, text[0]) for rows in text[1:])),
    ]


def leaked_rows(samples: Samples) -> pd.DataFrame:
    """Return the train rows that at least two attacks suspect.

    Returns
    -------
    pandas.DataFrame
        `row` (position among all train rows), `attacks` (their metrics), `agreeing_cells` (with the most similar
        synthetic row); rows with the most agreeing cells first. None of a table without labels and numbers.
    """
    if not samples.schema.compared:
        return pd.DataFrame({"row": np.zeros(0, np.int64), "attacks": "", "agreeing_cells": np.zeros(0, np.int64)})
    samples = samples.neighbours
    found = attacks(samples)
    suspected = _suspected(np.array([a.train for a in found]), np.array([a.holdout for a in found]))
    rows = np.flatnonzero(suspected.sum(axis=0) >= MIN_ATTACKS)
    names = [", ".join(a.metric for a, yes in zip(found, suspected[:, row], strict=True) if yes) for row in rows]
    agreeing = (
        agreeing_cells(samples.train.iloc[rows], samples.subsample, samples.schema)
        if len(rows)
        else np.zeros(0, np.int64)
    )
    leaks = pd.DataFrame(
        {"row": samples.train_positions[rows], "attacks": pd.Series(names, dtype="str"), "agreeing_cells": agreeing}
    )
    return leaks.sort_values("agreeing_cells", ascending=False, kind="stable", ignore_index=True)


def _attack_auc(metric: str) -> Callable[[Samples], Iterator[ResultRow]]:
    def compute(samples: Samples) -> Iterator[ResultRow]:
        (attack,) = (each for each in attacks(samples) if each.metric == metric)
        scores = attack.train, attack.holdout
        reference = roc_permutation_reference(*scores, seed=samples.seed)
        yield result_row(metric, None, attack.auc, reference, roc_interval([scores], seed=samples.seed))

    return compute


def _leaked_share(samples: Samples) -> Iterator[ResultRow]:
    samples = samples.neighbours
    scores, n = np.array([[*attack.train, *attack.holdout] for attack in attacks(samples)]), len(samples.train)

    def share(of: np.ndarray) -> float:
        return float((_suspected(of[:, :n], of[:, n:]).sum(axis=0) >= MIN_ATTACKS).mean())

    orders = random_orders(samples, np.random.default_rng(samples.seed))
    yield result_row("leaked_rows", None, share(scores), reference_of([share(scores[:, order]) for order in orders]))


def _leaked_row(samples: Samples, row_ids: Sequence[int] | np.ndarray | None = None) -> Iterator[ResultRow]:
    for leak in leaked_rows(samples).itertuples():
        row_id = leak.row if row_ids is None else row_ids[leak.row]
        agreement = leak.agreeing_cells / len(samples.compared.columns)
        yield result_row(LEAKED_ROW, f"row_id {row_id}", agreement, reference_of([]))


def _suspected(train: np.ndarray, holdout: np.ndarray) -> np.ndarray:
    """Return which of n train rows each attack suspects, from attacks by n and attacks by m scores."""
    threshold = np.quantile(holdout, SUSPECT_QUANTILE, axis=1, method="higher")
    found: np.ndarray = train > threshold[:, np.newaxis]
    return found


def _density_ratios(
    synthetic: np.ndarray, train: np.ndarray, holdout: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    # Whiten with the synthetic rows, so that correlated columns count once; drop directions of rounding errors alone.
    centre = synthetic.mean(axis=0)
    _, lengths, directions = np.linalg.svd(synthetic - centre, full_matrices=False)
    spread = lengths / np.sqrt(len(synthetic))
    kept = spread > 1e-6 * max(spread.max(), 1e-300)
    whiten = directions[kept].T / spread[kept] if kept.any() else directions[:1].T
    synthetic, train, holdout = ((part - centre) @ whiten for part in (synthetic, train, holdout))
    rng = np.random.default_rng(seed)
    scores = np.zeros(len(train)), np.zeros(len(holdout))
    halves = [rng.permutation(len(part)) % 2 for part in (train, holdout)]
    for half in (0, 1):
        background = holdout[halves[1] != half]
        for part, score, side in zip((train, holdout), scores, halves, strict=True):
            points = part[side == half]
            score[side == half] = _log_density(synthetic, points) - _log_density(background, points)
    return scores


def _log_density(sample: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the log of a Gaussian kernel density up to a constant, with Scott's bandwidth (1992, section 6.3)."""
    from scipy.special import logsumexp

    n, d = sample.shape
    bandwidth = n ** (-1 / (d + 4))
    found = np.empty(len(points))
    at_once = max(1, PAIRS_AT_ONCE // n)
    for start in range(0, len(points), at_once):
        block = slice(start, start + at_once)
        found[block] = logsumexp(-_squared_distances(points[block], sample) / (2 * bandwidth**2), axis=1)
    return found


def _squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    if others.shape[1] <= _MOST_EXACT_DIMENSIONS:
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(points, others, "sqeuclidean"))
    squares = [(part**2).sum(axis=1) for part in (points, others)]
    return np.asarray((squares[0][:, np.newaxis] + squares[1] - 2 * points @ others.T).clip(min=0))


def _edit_distances(rows: list[str], synthetic: list[str]) -> np.ndarray:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    least = np.empty(len(rows))
    at_once = max(1, PAIRS_AT_ONCE // len(synthetic))
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        least[block] = cdist(rows[block], synthetic, scorer=Levenshtein.distance, dtype=np.uint16).min(axis=1)
    return least


def _as_text(rows: pd.DataFrame, schema: TableSchema) -> list[str]:
    cells = []
    for column in schema.select(schema.compared).columns:
        form = (
            "{}" if not column.is_numeric else "{:.0f}" if column.type in ("integer", "date") else f"{{:.{_DIGITS}g}}"
        )
        values = rows[column.name]
        present = values.notna().tolist()
        cells.append([form.format(value) if there else "" for value, there in zip(values, present, strict=True)])
    return [" ".join(row)[:MOST_CHARACTERS] for row in zip(*cells, strict=True)]


METRICS = (
    Metric(
        "membership_auc",
        "Attack by distance to the closest synthetic row",
        *AREA,
        ANY,
        "Area under the ROC curve of a membership inference attack that scores a real row by its distance to the "
        "closest synthetic row; 0.5 is chance. Other attacks may succeed where this one fails.",
        "Chen, Yu, Zhang and Fritz, GAN-Leaks, CCS 2020, the full black-box attack",
        _attack_auc("membership_auc"),
        # Right for 3 in 100 pairs of a train row and another more than by chance, as where one synthetic row in
        # twenty-five is a copy of a train row.
        tolerance=0.03,
    ),
    Metric(
        "domias_auc",
        "Attack by density ratio (DOMIAS)",
        *AREA,
        ANY,
        "Area under the ROC curve of a membership inference attack that scores a real row by the density of synthetic "
        "rows divided by the density of holdout rows; 0.5 is chance. Other attacks may succeed where this one fails.",
        "van Breugel, Sun, Qian and van der Schaar, Membership Inference Attacks against Synthetic Data through "
        "Overfitting Detection, AISTATS 2023: DOMIAS",
        _attack_auc("domias_auc"),
        tolerance=0.03,
    ),
    Metric(
        "levenshtein_auc",
        "Attack by edit distance (LevAtt)",
        *AREA,
        ANY,
        "Area under the ROC curve of a membership inference attack that scores a real row by its edit distance, as "
        "text, to the closest synthetic row: language models may repeat strings of digits; 0.5 is chance. Of longer "
        "rows, the first 200 characters count. Other attacks may succeed where this one fails.",
        "Ward et al., When Tables Leak: Attacking String Memorization in LLM-Based Tabular Data Generation, 2025, "
        "arXiv:2512.08875: LevAtt",
        _attack_auc("levenshtein_auc"),
        tolerance=0.03,
    ),
    Metric(
        "leaked_rows",
        "Train rows that at least two attacks suspect",
        *SHARE,
        ANY,
        "Share of the train rows that at least two of the three attacks score above 999 in 1,000 holdout rows. The "
        "reference is the share where train and holdout rows are exchanged at random.",
        "The three attacks above; the rule is specific to this report",
        _leaked_share,
        # Three train rows of 3,000. Means over all rows, as above, do not show a few rows that are known for certain.
        tolerance=0.001,
    ),
    Metric(
        LEAKED_ROW,
        "A train row that at least two attacks suspect",
        *SHARE,
        ANY,
        "One of these rows, by its row_id: share of its cells that agree with the most similar synthetic row.",
        "As above",
        _leaked_row,
    ),
)
