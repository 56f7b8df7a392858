"""Tests of the interval of a score: what it adds up, and that it holds as often as it says."""

import numpy as np
import pytest
from scipy.stats import t

from synth_assets.evaluation.intervals import (
    Scale,
    bootstrap_counts,
    roc_area,
    roc_areas,
    roc_interval,
    roc_permutation_reference,
    score_interval,
)

close = pytest.approx


def test_resamples_begin_with_the_rows_as_they_are() -> None:
    first, *others = bootstrap_counts(30, seed=0)

    assert first.tolist() == [1] * 30
    assert len(others) == 200
    assert all(each.sum() == 30 for each in others)
    assert len({each.tobytes() for each in others}) == 200


@pytest.mark.parametrize(("of_mean", "repeats_in_one"), [(True, 4), (False, 1)])
def test_it_adds_up_what_repeats_and_held_out_rows_move(of_mean: bool, repeats_in_one: int) -> None:
    """Each moves the score by itself: what both do together is nothing."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 1)) + np.append(0.0, rng.normal(size=50))
    between, of_held_out = scores[:, 0].var(ddof=1) / repeats_in_one, scores[0, 1:].var(ddof=1)
    freedom = (between + of_held_out) ** 2 / (between**2 / 3 + of_held_out**2 / 49)
    reach = t.ppf(0.975, freedom) * (between + of_held_out) ** 0.5

    assert score_interval(0.3, scores, of_mean=of_mean) == close((0.3 - reach, 0.3 + reach))


def test_repeats_that_agree_leave_the_uncertainty_of_the_held_out_rows() -> None:
    one = np.random.default_rng(0).normal(size=51)

    low, high = score_interval(0.0, np.tile(one, (3, 1)), of_mean=True)

    assert high - low == close(2 * t.ppf(0.975, 49) * one[1:].std(ddof=1))


def test_where_nothing_moves_it_is_the_value() -> None:
    assert score_interval(0.5, np.full((3, 11), 0.5), of_mean=False) == (0.5, 0.5)


def test_one_repeat_or_no_score_has_none() -> None:
    assert np.isnan(score_interval(0.5, np.full((1, 11), 0.5), of_mean=True)).all()
    assert np.isnan(score_interval(float("nan"), np.full((3, 11), np.nan), of_mean=True)).all()


@pytest.mark.parametrize(
    ("scale", "value", "low", "high"),
    [
        ("share", 0.97, 0.0, 1.0), ("share", 1.0, 0.0, 1.0), ("below one", 0.8, -np.inf, 1.0),
        ("positive", 0.1, 0.0, np.inf),
    ],
)  # fmt: skip
def test_it_stays_within_the_range_of_the_score(scale: Scale, value: float, low: float, high: float) -> None:
    """Of scores that vary so much that a symmetrical interval would leave it."""
    rng = np.random.default_rng(0)
    scores = np.clip(value + rng.normal(0, 0.5, size=(5, 51)), max(low, -3), min(high, 3))

    found = score_interval(value, scores, of_mean=False, scale=scale, rows=20)

    assert low <= found[0] < found[1] <= high
    assert found[0] <= value <= found[1]


def test_where_scores_hardly_vary_the_scale_does_not_matter() -> None:
    scores = 0.6 + np.random.default_rng(0).normal(0, 0.004, size=(5, 51))
    plain = score_interval(0.6, scores, of_mean=False)

    for scale in ("share", "below one", "positive"):
        assert score_interval(0.6, scores, of_mean=False, scale=scale) == close(plain, abs=5e-4)  # type: ignore[arg-type]


def test_scores_of_which_no_resample_is_defined_have_none() -> None:
    scores = np.full((3, 51), np.nan)
    scores[:, 0] = 0.5

    assert np.isnan(score_interval(0.5, scores, of_mean=True)).all()


def test_resamples_without_a_score_are_left_out() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 51))
    scores[:, 7] = np.nan

    assert np.isfinite(score_interval(0.0, scores, of_mean=True)).all()


@pytest.mark.parametrize("together", [0.0, 3.0], ids=["apart", "together"])
def test_it_holds_as_often_as_it_says(together: float) -> None:
    """The mean error of guesses, which err by themselves, on rows that do too, and each on each row in its own way."""
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(400):
        guesses, rows = rng.normal(0, 0.3, size=6), rng.normal(0, 2.0, size=80)
        errors = guesses[:, None] + rows + rng.normal(0, together, size=(6, 80))
        scores = errors @ bootstrap_counts(80, seed=trial)[:60].T / 80
        low, high = score_interval(float(scores[:, 0].mean()), scores, of_mean=True)
        held += low <= 0.0 <= high
    assert 0.92 <= held / 400 <= 0.98


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
    is_above, scores = np.repeat([True, False], [len(above), len(below)]), np.array([*above, *below], dtype="float64")
    twice_and_below_alone = np.array([np.full(len(scores), 2), ~is_above])
    assert roc_areas(is_above, scores, twice_and_below_alone) == pytest.approx([area, np.nan], nan_ok=True)


def test_the_error_of_an_area_of_chance() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.normal(size=200), rng.normal(size=100)
    error = np.sqrt(301 / (12 * 200 * 100))  # Hanley and McNeil, 1982

    chance = roc_permutation_reference(above, below, seed=1)
    low, high = roc_interval([(above, below)], seed=1)

    assert chance.mean == 0.5
    assert chance.high - chance.low == pytest.approx(3.92 * error, rel=0.2)
    assert high - low == pytest.approx(3.92 * error, rel=0.2)
    assert low < roc_area(above, below) < high


def test_a_row_that_was_scored_twice_is_no_second_row() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50), rng.normal(size=50)

    assert roc_interval([scores, scores], seed=2) == roc_interval([scores], seed=2)
