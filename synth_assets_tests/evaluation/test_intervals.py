"""Tests of the interval of a score: what it adds up, and that it holds as often as it says."""

import numpy as np
import pytest
from scipy.stats import t

from synth_assets.evaluation.intervals import interval_of, resamples_of

close = pytest.approx


def test_resamples_begin_with_the_rows_as_they_are() -> None:
    first, *others = resamples_of(30, seed=0)

    assert first.tolist() == list(range(30))
    assert len(others) == 200
    assert all(set(each) <= set(range(30)) and len(each) == 30 for each in others)
    assert len({each.tobytes() for each in others}) == 200
    assert all((a == b).all() for a, b in zip(resamples_of(30, seed=0), [first, *others], strict=True))


@pytest.mark.parametrize(("of_mean", "repeats_in_one"), [(True, 4), (False, 1)])
def test_it_adds_up_what_repeats_and_held_out_rows_move(of_mean: bool, repeats_in_one: int) -> None:
    """Each moves the score by itself: what both do together is nothing."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 1)) + np.append(0.0, rng.normal(size=50))
    between, of_held_out = scores[:, 0].var(ddof=1) / repeats_in_one, scores[0, 1:].var(ddof=1)
    freedom = (between + of_held_out) ** 2 / (between**2 / 3 + of_held_out**2 / 49)
    reach = t.ppf(0.975, freedom) * (between + of_held_out) ** 0.5

    assert interval_of(0.3, scores, of_mean=of_mean) == close((0.3 - reach, 0.3 + reach))


def test_repeats_that_agree_leave_the_uncertainty_of_the_held_out_rows() -> None:
    one = np.random.default_rng(0).normal(size=51)

    low, high = interval_of(0.0, np.tile(one, (3, 1)), of_mean=True)

    assert high - low == close(2 * t.ppf(0.975, 49) * one[1:].std(ddof=1))


def test_where_nothing_moves_it_is_the_value() -> None:
    assert interval_of(0.5, np.full((3, 11), 0.5), of_mean=False) == (0.5, 0.5)


def test_one_repeat_or_no_score_has_none() -> None:
    assert np.isnan(interval_of(0.5, np.full((1, 11), 0.5), of_mean=True)).all()
    assert np.isnan(interval_of(float("nan"), np.full((3, 11), np.nan), of_mean=True)).all()


def test_resamples_without_a_score_are_left_out() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 51))
    scores[:, 7] = np.nan

    assert np.isfinite(interval_of(0.0, scores, of_mean=True)).all()


@pytest.mark.parametrize("together", [0.0, 3.0], ids=["apart", "together"])
def test_it_holds_as_often_as_it_says(together: float) -> None:
    """The mean error of guesses, which err by themselves, on rows that do too, and each on each row in its own way."""
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(400):
        guesses, rows = rng.normal(0, 0.3, size=6), rng.normal(0, 2.0, size=80)
        errors = guesses[:, None] + rows + rng.normal(0, together, size=(6, 80))
        drawn = resamples_of(80, seed=trial)[:60]
        scores = np.array([[guess[each].mean() for each in drawn] for guess in errors])
        low, high = interval_of(float(scores[:, 0].mean()), scores, of_mean=True)
        held += low <= 0.0 <= high
    assert 0.92 <= held / 400 <= 0.98
