"""Metrics of synthetic rows, one module a family; each metric is declared beside its computation."""

from synth_assets.evaluation.metrics import attacks, copies, detection, shape, trend, utility, validity
from synth_assets.evaluation.metrics.base import RESULT_COLUMNS, Metric, result_frame, result_row

FIDELITY = (*shape.METRICS, *trend.METRICS, *detection.METRICS, *validity.METRICS)
PRIVACY = (*copies.METRICS, *attacks.METRICS)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*FIDELITY, *PRIVACY, *utility.METRICS)}
"""All metrics by name, in the order of the report."""

__all__ = ["FIDELITY", "METRICS", "PRIVACY", "RESULT_COLUMNS", "Metric", "result_frame", "result_row"]
