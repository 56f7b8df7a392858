"""Tests of floors: what a split is, and what an interval holds."""

import numpy as np
import pandas as pd
import pytest

from synth_assets.evaluation.reference import floor_of, real_splits

TRAIN, HELD_OUT = pd.DataFrame({"x": range(30)}), pd.DataFrame({"x": range(30, 40)}, index=range(10))


def test_every_row_is_in_one_part_of_every_split() -> None:
    splits = list(real_splits(TRAIN, HELD_OUT, splits=50))

    assert len(splits) == 50
    for split in splits:
        assert (len(split.train), len(split.held_out)) == (30, 10)
        assert sorted([*split.train["x"], *split.held_out["x"]]) == list(range(40))
    # By chance, a quarter of the train rows of before is held out.
    share = np.mean([(split.held_out["x"] < 30).mean() for split in splits])
    assert share == pytest.approx(0.75, abs=0.05)


def test_the_seed_decides_the_splits() -> None:
    def first(seed: int) -> list[int]:
        return [split.train["x"].tolist() for split in real_splits(TRAIN, HELD_OUT, splits=2, seed=seed)]

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert first(1)[0] != first(1)[1]


def test_the_interval_holds_one_more_score_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        *scores, one_more = rng.normal(0.9, 0.02, 7)
        floor = floor_of(scores)
        held += floor.low <= one_more <= floor.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_known_answers() -> None:
    floor = floor_of([1.0, 2.0, 3.0])
    assert floor.mean == 2.0
    # Student's t with 2 degrees of freedom is 4.3027 at 97.5%, and the deviation is 1.
    assert floor.high - floor.mean == pytest.approx(4.3027 * np.sqrt(4 / 3), rel=1e-4)
    assert floor.mean - floor.low == pytest.approx(floor.high - floor.mean)


def test_what_is_not_defined_is_left_out() -> None:
    assert floor_of([1.0, float("nan"), 3.0]) == floor_of([1.0, 3.0])
    one, none = floor_of([0.5]), floor_of([])
    assert (one.mean, np.isnan(one.low), np.isnan(one.high)) == (0.5, True, True)
    assert np.isnan(none.mean)
