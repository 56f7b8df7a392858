"""Text: its length, characters and words, and copies of train texts. Computed where synthetic rows have text."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import SHARE, SIMILARITY, TEXT, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.reference import SPLITS, Reference, real_splits, reference_of
from synth_assets.evaluation.samples import MOST_NEIGHBOURS, Samples, cached

MOST_WORDS = 1_000
"""Words whose frequencies are compared, the most frequent ones in real rows; the others are one."""

MOST_CHARACTERS = 500
"""Characters of a text in which words, characters and parts are counted."""

GRAM = 5
"""Characters of the parts whose overlap tells a near copy."""

NEAR = 0.8
"""Jaccard similarity of the parts of two texts, above which one is a near copy of the other."""

NEAR_SPLITS = 3
"""Real splits for the reference of near copies."""

NOT_PUBLISHED = "text is not published"
NO_TEXT = "a set of rows has no text in it"

_Sets = tuple[np.ndarray, np.ndarray, np.ndarray]


@cached
def _texts(samples: Samples, name: str) -> _Sets | None:
    """Return the texts of the train, holdout and synthetic rows, cut off; None if a set has none."""
    short = samples.thinned(MOST_NEIGHBOURS)
    sets = [short.typed[part][name] for part in ("train", "holdout", "synthetic")]
    train, holdout, synthetic = (
        values.dropna().astype("str").str.slice(0, MOST_CHARACTERS).to_numpy(dtype=object) for values in sets
    )
    return None if not min(map(len, (train, holdout, synthetic))) else (train, holdout, synthetic)


def _compare(
    metric: str, compute: Callable[[_Sets], tuple[float, Reference]]
) -> Callable[[Samples], Iterator[ResultRow | NotComputed]]:
    def of_columns(samples: Samples) -> Iterator[ResultRow | NotComputed]:
        for name in samples.schema.names_of("text"):
            if name not in samples.typed["synthetic"]:
                yield NotComputed(metric, name, NOT_PUBLISHED)
            elif (texts := _texts(samples, name)) is None:
                yield NotComputed(metric, name, NO_TEXT)
            else:
                yield result_row(metric, name, *compute(texts))

    return of_columns


def _length(texts: _Sets) -> tuple[float, Reference]:
    lengths = [np.array([len(text) for text in part]) for part in texts]
    longest = max(int(part.max()) for part in lengths) + 1

    def similarity(one: np.ndarray, other: np.ndarray) -> float:
        shares = [np.bincount(part, minlength=longest).cumsum() / len(part) for part in (one, other)]
        return max(0.0, float(1 - np.abs(shares[0] - shares[1]).max()))

    return _with_splits(lengths, similarity)


def _frequencies(parts: Callable[[str], Sequence[str]], most: int) -> Callable[[_Sets], tuple[float, Reference]]:
    def compute(texts: _Sets) -> tuple[float, Reference]:
        from scipy.sparse import csr_matrix

        lists = [[parts(text) for text in part] for part in texts]
        frequent = Counter(each for part in lists[:2] for found in part for each in found).most_common(most)
        place = {each: i for i, (each, _) in enumerate(frequent)}
        counted = []
        for part in lists:
            columns = [place.get(each, len(place)) for found in part for each in found]
            ends = np.cumsum([0, *(len(found) for found in part)])
            counted.append(csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(part), len(place) + 1)))

        def similarity(one: csr_matrix, other: csr_matrix) -> float:
            counts = [np.asarray(part.sum(axis=0)).ravel() for part in (one, other)]
            shares = [count / max(1.0, count.sum()) for count in counts]
            return max(0.0, float(1 - np.abs(shares[0] - shares[1]).sum() / 2))

        return _with_splits(counted, similarity)

    return compute


def _with_splits(
    sets: Sequence[np.ndarray], similarity: Callable[[np.ndarray, np.ndarray], float]
) -> tuple[float, Reference]:
    """Return the similarity of synthetic and holdout rows, and its reference from splits of the real rows."""
    from scipy.sparse import issparse, vstack

    train, holdout, synthetic = sets
    synthetic = synthetic[: train.shape[0]]
    real = vstack([train, holdout]).tocsr() if issparse(train) else np.concatenate([train, holdout])
    scores = [
        similarity(real[split.train[: synthetic.shape[0]]], real[split.holdout])
        for split in real_splits(train.shape[0], holdout.shape[0], n_splits=SPLITS)
    ]
    return similarity(synthetic, holdout), reference_of(scores)


def _copies(texts: _Sets) -> tuple[float, Reference]:
    return _share_of_copies(texts, lambda rows, train: pd.Series(rows).isin(set(train)).to_numpy(), SPLITS)


def _near_copies(texts: _Sets) -> tuple[float, Reference]:
    train, holdout, synthetic = (_grams(part) for part in texts)

    def near(rows: Sequence[frozenset[str]], of_train: Sequence[frozenset[str]]) -> np.ndarray:
        return np.array(_best_jaccard(rows, of_train)) > NEAR

    return _share_of_copies((train, holdout, synthetic), near, NEAR_SPLITS)


def _share_of_copies(
    sets: tuple[np.ndarray, np.ndarray, np.ndarray], find: Callable[..., np.ndarray], n_splits: int
) -> tuple[float, Reference]:
    train, holdout, synthetic = sets
    real = np.concatenate([train, holdout])
    scores = [
        float(find(real[split.holdout[: len(synthetic)]], real[split.train]).mean())
        for split in real_splits(len(train), len(holdout), n_splits=n_splits)
    ]
    return float(find(synthetic, train).mean()), reference_of(scores)


def _grams(texts: np.ndarray) -> np.ndarray:
    found = np.empty(len(texts), dtype=object)
    for i, text in enumerate(texts):
        text = " ".join(text.lower().split())
        found[i] = frozenset(text[at : at + GRAM] for at in range(max(1, len(text) - GRAM + 1)))
    return found


def _best_jaccard(rows: Sequence[frozenset[str]], others: Sequence[frozenset[str]]) -> list[float]:
    """Return the greatest Jaccard similarity of each set of parts with another set.

    Sets whose similarity is above `NEAR` share their rarest parts: only sets with one of those are compared.
    """
    frequency = Counter(part for each in others for part in each)
    having: dict[str, list[int]] = {}
    for i, each in enumerate(others):
        for part in _rarest(each, frequency):
            having.setdefault(part, []).append(i)
    best = []
    for each in rows:
        candidates = {i for part in _rarest(each, frequency) for i in having.get(part, ())}
        best.append(max((len(each & others[i]) / len(each | others[i]) for i in candidates), default=0.0))
    return best


def _rarest(parts: frozenset[str], frequency: Counter[str]) -> list[str]:
    """Return as many of the rarest parts as two sets that are more similar than `NEAR` cannot both lack."""
    count = len(parts) - int(np.ceil(NEAR * len(parts))) + 1
    return sorted(parts, key=lambda part: (frequency[part], part))[:count]


_WORD = re.compile(r"\w+")

METRICS = (
    Metric(
        "text_length",
        "Similarity of the lengths of texts",
        *SIMILARITY,
        TEXT,
        "1 minus the Kolmogorov-Smirnov statistic of the lengths of synthetic and of holdout texts, in characters. At "
        f"most 5,000 rows of a set and {MOST_CHARACTERS} characters of a text are compared, here and below.",
        "As the KS complement",
        _compare("text_length", _length),
        tolerance=0.05,
    ),
    Metric(
        "text_characters",
        "Similarity of the characters of texts",
        *SIMILARITY,
        TEXT,
        "1 minus the total variation distance between the frequencies of characters.",
        "As the TV complement",
        _compare("text_characters", _frequencies(list, MOST_WORDS)),
        tolerance=0.05,
    ),
    Metric(
        "text_words",
        "Similarity of the words of texts",
        *SIMILARITY,
        TEXT,
        f"1 minus the total variation distance between the frequencies of words, the {MOST_WORDS:,} most frequent in "
        "real texts; all others count as one.",
        "As the TV complement",
        _compare("text_words", _frequencies(lambda text: _WORD.findall(text.lower()), MOST_WORDS)),
        # Invented words count as others.
        tolerance=0.1,
    ),
    Metric(
        "text_copies",
        "Texts that are copied",
        *SHARE,
        TEXT,
        "Share of the synthetic texts that equal a train text; the reference is the share of holdout texts that do.",
        "A count",
        _compare("text_copies", _copies),
        # One text in a hundred more than in real rows.
        tolerance=0.01,
    ),
    Metric(
        "text_near_copies",
        "Texts that are nearly copied",
        *SHARE,
        TEXT,
        f"Share of the synthetic texts that share more than {NEAR:.0%} of their parts of {GRAM} characters with a "
        "train text (Jaccard similarity).",
        "Broder, On the Resemblance and Containment of Documents, 1997",
        _compare("text_near_copies", _near_copies),
        tolerance=0.02,
    ),
)
"""Similarity belongs to fidelity, copies to privacy."""

FIDELITY, PRIVACY = METRICS[:3], METRICS[3:]
