"""Metrics of synthetic rows, one module a family; each metric is declared beside its computation."""

from collections.abc import Mapping, Sequence

from synth_assets.evaluation.metrics import (
    attacks,
    copies,
    detection,
    disclosure,
    missing,
    prediction,
    shape,
    text,
    trend,
    utility,
    validity,
)
from synth_assets.evaluation.metrics.base import RESULT_COLUMNS, Metric, NotComputed, result_frame, result_row

FIDELITY_FAMILIES: Mapping[str, Sequence[Metric]] = {
    "similarity of columns": shape.METRICS,
    "similarity of pairs of columns": trend.METRICS,
    "missing cells": missing.METRICS,
    "text": text.FIDELITY,
    "prediction of columns": prediction.METRICS,
    "detection by gradient boosting": detection.BOOSTING,
    "detection by a random forest": detection.FOREST,
    "detection by logistic regression": detection.LOGISTIC,
    "detection by pairs of columns": detection.PAIRS,
    "validity": validity.METRICS,
}
PRIVACY_FAMILIES: Mapping[str, Sequence[Metric]] = {
    "rare labels and keys": disclosure.METRICS,
    "copies of texts": text.PRIVACY,
    "copies of rows": copies.METRICS,
    "attacks": attacks.METRICS,
}

FIDELITY = tuple(metric for family in FIDELITY_FAMILIES.values() for metric in family)
PRIVACY = tuple(metric for family in PRIVACY_FAMILIES.values() for metric in family)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*FIDELITY, *PRIVACY, *utility.METRICS)}
"""All metrics by name, in the order of the report."""

__all__ = [
    "FIDELITY",
    "FIDELITY_FAMILIES",
    "METRICS",
    "PRIVACY",
    "PRIVACY_FAMILIES",
    "RESULT_COLUMNS",
    "Metric",
    "NotComputed",
    "result_frame",
    "result_row",
]
