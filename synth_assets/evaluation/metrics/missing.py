"""Missing cells of nullable columns: their shares, and how often the cells of two columns are missing together."""

from collections.abc import Iterator

import numpy as np

from synth_assets.evaluation.metrics.base import ANY, SHARE, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples, cached

NONE_NULLABLE = "no column has missing cells"


@cached
def _gaps(samples: Samples) -> tuple[list[str], np.ndarray]:
    """Return the columns in which a real or a synthetic cell is missing, and which cells of `pooled` are."""
    missing = samples.pooled.isna()
    names = [str(name) for name in missing if missing[name].any()]
    return names, missing[names].to_numpy("float32")


def _shares(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    names, missing = _gaps(samples.shown)
    if not names:
        yield NotComputed("missing_share_difference", None, NONE_NULLABLE)
    scores = np.array([np.abs(missing[a].mean(axis=0) - missing[b].mean(axis=0)) for a, b in samples.shown.positions])
    for i, name in enumerate(names):
        yield result_row("missing_share_difference", name, scores[0, i], reference_of(scores[1:, i]))


def _pairs(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    names, missing = _gaps(samples.shown)
    if len(names) < 2:
        yield NotComputed("missing_pairs_difference", None, "fewer than two columns have missing cells")
        return
    above = np.triu_indices(len(names), 1)
    largest = []
    for a, b in samples.shown.positions:
        one, other = ((missing[part].T @ missing[part])[above] / len(part) for part in (a, b))
        difference = np.abs(one - other)
        largest.append((float(difference.max()), int(difference.argmax())))
    pair = ", ".join(names[at[largest[0][1]]] for at in above)
    yield result_row("missing_pairs_difference", pair, largest[0][0], reference_of([value for value, _ in largest[1:]]))


METRICS = (
    Metric(
        "missing_share_difference",
        "Difference of the share of missing cells",
        *SHARE,
        ANY,
        "Absolute difference between the shares of missing cells of a column in synthetic and in holdout rows.",
        "A count; SDMetrics, MissingValueSimilarity, is 1 minus it",
        _shares,
        # 2 cells in 100 are missing, or present, beyond chance.
        tolerance=0.02,
    ),
    Metric(
        "missing_pairs_difference",
        "Largest difference of the share of rows in which two cells are missing",
        *SHARE,
        ANY,
        "Largest absolute difference, over all pairs of columns, between the shares of synthetic and of holdout rows "
        "in which the cells of both are missing; the pair is named.",
        "A count; the measure is specific to this report",
        _pairs,
        tolerance=0.02,
    ),
)
