"""Tests of references: splits of the real rows, and prediction intervals."""

import numpy as np
import pytest

from synth_assets.evaluation.reference import real_splits, reference_of


def test_every_row_is_in_one_part_of_every_split() -> None:
    splits = list(real_splits(30, 10, n_splits=50))

    assert len(splits) == 50
    for split in splits:
        assert (len(split.train), len(split.holdout)) == (30, 10)
        assert sorted([*split.train, *split.holdout]) == list(range(40))
    # By chance, a quarter of the original train rows is held out.
    assert np.mean([(split.holdout < 30).mean() for split in splits]) == pytest.approx(0.75, abs=0.05)


def test_the_seed_decides_the_splits_and_the_first_ones_do_not_depend_on_their_number() -> None:
    def first(seed: int, n_splits: int = 2) -> list[list[int]]:
        return [split.train.tolist() for split in real_splits(30, 10, n_splits=n_splits, seed=seed)][:2]

    assert first(1) == first(1, 9) != first(2)
    assert first(1)[0] != first(1)[1]


def test_the_interval_holds_one_more_score_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        *scores, one_more = rng.normal(0.9, 0.02, 7)
        reference = reference_of(scores)
        held += reference.low <= one_more <= reference.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_known_answers() -> None:
    reference = reference_of([1.0, 2.0, 3.0])
    assert reference.mean == 2.0
    # Student's t with 2 degrees of freedom is 4.3027 at 97.5%, and the deviation is 1.
    assert reference.high - reference.mean == pytest.approx(4.3027 * np.sqrt(4 / 3), rel=1e-4)
    assert reference.mean - reference.low == pytest.approx(reference.high - reference.mean)


def test_what_is_not_defined_is_left_out() -> None:
    assert reference_of([1.0, float("nan"), 3.0]) == reference_of([1.0, 3.0])
    one, none = reference_of([0.5]), reference_of([])
    assert (one.mean, np.isnan(one.low), np.isnan(one.high)) == (0.5, True, True)
    assert np.isnan(none.mean)
