"""Tests of what is stated of every measure."""

import numpy as np
import pytest

from synth_assets.evaluation.gates import GATES
from synth_assets.evaluation.metrics import METRICS, Metric


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_metric_has_a_direction_a_range_and_a_source(metric: Metric) -> None:
    assert METRICS[metric.name] is metric
    assert (metric.best > metric.worst) if metric.better == "higher" else (metric.best < metric.worst)
    assert np.isfinite(metric.best)
    assert metric.title
    assert metric.source
    assert metric.meaning.endswith(".")


def test_gates_look_at_metrics_that_are_stated() -> None:
    looked_at = [name for gate in GATES.values() for name in gate.allowances]

    assert set(looked_at) <= set(METRICS)
    assert len(looked_at) == len(set(looked_at))
