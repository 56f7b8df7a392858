"""Tests of areas under a ROC curve: known answers, and what their intervals hold."""

import numpy as np
import pytest
from synth_assets.evaluation.roc import bootstrapped, by_chance, roc_area


@pytest.mark.parametrize(
    ("above", "below", "area"),
    [
        ([3, 4], [1, 2], 1.0),
        ([1, 2], [3, 4], 0.0),
        ([1, 1], [1], 0.5),
        ([2, 4], [1, 3], 0.75),
        ([2], [1, 2, 3], 0.5),
        ([1, 2, 2], [2], 1 / 3),
    ],
)
def test_known_areas(above: list[float], below: list[float], area: float) -> None:
    assert roc_area(np.array(above), np.array(below)) == pytest.approx(area)


def test_the_error_of_an_area_of_chance() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.normal(size=200), rng.normal(size=100)
    error = np.sqrt(301 / (12 * 200 * 100))  # Hanley and McNeil, 1982

    chance = by_chance(above, below, seed=1)
    low, high = bootstrapped([(above, below)], seed=1)

    assert chance.mean == 0.5
    assert chance.high - chance.low == pytest.approx(3.92 * error, rel=0.2)
    assert high - low == pytest.approx(3.92 * error, rel=0.2)
    assert low < roc_area(above, below) < high


def test_a_row_that_was_scored_twice_is_no_second_row() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50), rng.normal(size=50)

    assert bootstrapped([scores, scores], seed=2) == bootstrapped([scores], seed=2)
