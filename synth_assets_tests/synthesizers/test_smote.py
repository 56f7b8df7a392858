"""Tests of interpolation and of sequential trees: what every row that they make has to be."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.smote import by_trees, interpolated

CATEGORIES = ["Colour"]


def _rows(count: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(1, 9, count), rng.integers(0, 3, count)
    return pd.DataFrame(
        {
            "Colour": colour.astype("int8"),
            "Size": size,
            "Legs": rng.integers(2, 9, count),
            "Count": 2 * size + 10 * colour,
        }
    )


REAL = _rows(60)

Make = Callable[[pd.DataFrame, int, int], pd.DataFrame]

MAKERS: dict[str, Make] = {
    "smote": lambda real, n, seed: interpolated(real, n, categories=CATEGORIES, seed=seed),
    "cart": lambda real, n, seed: by_trees(real, n, target="Count", categories=CATEGORIES, seed=seed),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def test_rows_have_the_columns_labels_and_ranges_of_real_ones(make: Make) -> None:
    made = make(REAL, 500, 0)

    assert list(made) == list(REAL)
    assert len(made) == 500
    assert made["Colour"].dtype == "int8"
    assert set(made["Colour"]) <= {0, 1, 2}
    for name in ("Size", "Legs", "Count"):
        assert made[name].between(REAL[name].min(), REAL[name].max()).all(), name


def test_the_seed_decides(make: Make) -> None:
    one, again, other = (make(REAL, 30, seed) for seed in (0, 0, 1))

    pd.testing.assert_frame_equal(one, again, check_exact=True)
    assert not one.equals(other)


def test_one_row_is_all_that_can_be_made_of_one_row(make: Make) -> None:
    made = make(REAL.head(1), 4, 0)

    assert (made == REAL.head(1).iloc[[0, 0, 0, 0]].reset_index(drop=True)).all(axis=None)


def test_the_target_goes_with_the_other_columns(make: Make) -> None:
    made = make(_rows(600), 600, 0)

    for colour, rows in made.groupby("Colour"):
        error = rows["Count"] - (2 * rows["Size"] + 10 * colour)
        assert error.abs().median() < 1, colour


def test_an_interpolated_row_lies_between_two_neighbours() -> None:
    """Points of a curve, with a gap of 20 after every tenth: each has five neighbours on its own side of the gaps."""
    place = np.arange(50.0) + 20 * (np.arange(50) // 10)
    real = pd.DataFrame({"Place": place, "Count": 3 * place})

    made = interpolated(real, 400, categories=[], seed=0)

    assert made["Count"].to_numpy() == pytest.approx(3 * made["Place"].to_numpy())
    assert (made["Place"] % 1 != 0).mean() > 0.95
    assert (made["Place"] % 30 <= 9).all()


def test_neighbours_are_found_among_all_columns_and_not_across_labels() -> None:
    """Two clouds far apart, which their label tells apart: no row lies between them, and none has a wrong label."""
    cloud = np.random.default_rng(0).normal(0, 1, 40)
    real = pd.DataFrame({"Colour": np.repeat([0, 1], 20), "Size": cloud + np.repeat([0, 100], 20), "Count": cloud})

    made = interpolated(real, 300, categories=CATEGORIES, seed=0)

    assert not made["Size"].between(10, 90).any()
    assert (made["Colour"] == (made["Size"] > 50)).all()


def test_the_label_is_that_of_the_nearer_end() -> None:
    real = pd.DataFrame({"Colour": [0, 1], "Count": [0.0, 1.0]})

    made = interpolated(real, 200, categories=CATEGORIES, seed=0)

    assert made["Count"].nunique() == 200
    assert (made["Colour"] == (made["Count"] > 0.5)).all()


def test_trees_write_only_values_that_were_there() -> None:
    made = by_trees(REAL, 400, target="Count", categories=CATEGORIES, seed=0)

    for name in REAL:
        assert set(made[name]) <= set(REAL[name]), name


def test_a_tree_of_one_leaf_gives_the_marginals() -> None:
    """Nine rows cannot be split into leaves of five: each column is drawn by itself."""
    real = REAL.head(9)

    made = by_trees(real, 20_000, target="Count", categories=CATEGORIES, seed=0)

    for name in real:
        expected = real[name].value_counts(normalize=True)
        assert made[name].value_counts(normalize=True)[expected.index].to_numpy() == pytest.approx(
            expected.to_numpy(), abs=0.015
        )
    assert abs(made["Size"].corr(made["Count"])) < 0.03


def test_the_target_comes_last_wherever_it_stands() -> None:
    """Whichever place it has, it is learned from all the others; its column stays where it was."""
    first = REAL[["Count", "Colour", "Size", "Legs"]]

    made = by_trees(first, 300, target="Count", categories=CATEGORIES, seed=0)

    assert list(made) == list(first)
    pd.testing.assert_frame_equal(
        made, by_trees(REAL, 300, target="Count", categories=CATEGORIES, seed=0)[list(first)], check_exact=True
    )
