"""Our measures of synthetic rows: the estimators and attacks of the gates, without references."""

import numpy as np
import pandas as pd
from tables import Table

from synth_assets.evaluation.intervals import roc_area
from synth_assets.evaluation.learners import PredictionTask
from synth_assets.evaluation.metrics.copies import closest_distances, exact_copies, partial_copies
from synth_assets.evaluation.metrics.detection import MOST_CELLS, MOST_ROWS, N_REPEATS, Classifier, detection_auc
from synth_assets.evaluation.metrics.prediction import METRICS as PREDICTION
from synth_assets.evaluation.metrics.shape import column_similarity
from synth_assets.evaluation.metrics.utility import holdout_scores
from synth_assets.evaluation.samples import MOST_NEIGHBOURS, Samples
from synth_assets.schema.constraints import violations

IMPOSSIBLE = "parts_within_whole"
"""The constraint of abalone's `defs.yaml` that an impossible row violates: its parts weigh more than the whole."""


def measure(table: Table, synthetic: pd.DataFrame) -> dict[str, float]:
    """Measure synthetic rows.

    Parameters
    ----------
    table : Table
        The table; its holdout rows are those that the synthetic rows are compared with.
    synthetic : pandas.DataFrame
        Synthetic rows in the schema's dtypes.

    Returns
    -------
    dict
        Values by the names in `bench_report.MEASURES`.
    """
    samples = Samples(table.train, table.holdout, synthetic, table.schema)
    near = samples.neighbours
    return {
        **_similarity(samples),
        "column prediction gap": _column_prediction_gap(samples),
        "membership AUC": _membership(samples),
        "partial copies": partial_copies(near.subsample, near.train, table.schema),
        "exact copies": exact_copies(samples.synthetic, samples.train, table.schema),
        **_impossible(table, samples.typed["synthetic"]),
    }


def measure_real_rows(table: Table) -> dict[str, float]:
    """Measure real rows: train rows against holdout rows, and holdout rows instead of synthetic ones."""
    samples = Samples(table.train, table.holdout, table.train, table.schema)
    # Every other one: an attack needs holdout rows that it does not know.
    half = table.holdout.iloc
    unknown = Samples(table.train, half[1::2], half[::2], table.schema)
    near = Samples(table.train, table.holdout, table.holdout, table.schema).neighbours
    return {
        **_similarity(samples),
        "membership AUC": _membership(unknown),
        "partial copies": partial_copies(near.subsample, near.train, table.schema),
        "exact copies": exact_copies(samples.holdout, samples.train, table.schema),
        **_impossible(table, samples.typed["holdout"]),
    }


def _similarity(samples: Samples) -> dict[str, float]:
    names = {"roc_auc": "AUC", "r2": "R2"}
    few = samples.thinned(MOST_NEIGHBOURS)
    scores, score = {}, ""
    if samples.schema.target is not None:
        scores = holdout_scores(few, few.subsample)
        score = names[next(iter(PredictionTask.of(few.schema, few.train, few.subsample, few.holdout).scores))]
    return {
        "detection AUC (boosting)": _detection(samples, "gradient boosting"),
        "detection AUC (forest)": _detection(samples, "random forest"),
        **{f"TSTR {score} (boosting)": scores[name] for name in ("gradient boosting",) if name in scores},
        **{f"TSTR {score} (forest)": scores[name] for name in ("random forest",) if name in scores},
        "least KS similarity": min(
            column_similarity(samples.synthetic[column.name], samples.holdout[column.name], column)
            for column in samples.schema.columns
            if column.is_numeric
        ),
    }


def _detection(samples: Samples, classifier: Classifier) -> float:
    few = samples.thinned(MOST_ROWS)
    cells = (len(few.subsample) + len(few.holdout)) * len(few.compared.columns)
    repeats = N_REPEATS if cells <= MOST_CELLS else 1
    found = detection_auc(
        few.subsample, few.holdout, few.compared, classifier=classifier, repeats=repeats, interval=False
    )
    return found.auc


def _column_prediction_gap(samples: Samples) -> float:
    metric = next(each for each in PREDICTION if each.name == "column_prediction_gap")
    return float(next(iter(metric.compute(samples)))["value"])


def _membership(samples: Samples) -> float:
    """Return the AUC of the attack by distance to the closest synthetic row, without the slower attacks."""
    features = samples.neighbours.features
    train, holdout = (-closest_distances(features[each], features["synthetic"]) for each in ("train", "holdout"))
    return roc_area(train, holdout)


def _impossible(table: Table, rows: pd.DataFrame) -> dict[str, float]:
    constraints = [each for each in table.constraints if each.name == IMPOSSIBLE]
    if not constraints:
        return {}
    return {"impossible rows": float(np.mean(violations(rows, constraints, table.schema)[IMPOSSIBLE]))}
