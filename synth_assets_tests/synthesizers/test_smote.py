"""SMOTE: rows lie between neighbours, on the grid of their columns."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.columns import Boolean, Categorical, Column, Date, Float, Integer
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.smote import Smote, SmoteSettings


def rows_of(table: dict[str, Any], columns: tuple[Column, ...], n: int, **settings: int) -> pd.DataFrame:
    return (
        Smote(SmoteSettings(**settings)).fit(pd.DataFrame(table), TableSchema(columns=columns, private=False)).sample(n)
    )


def test_a_row_lies_between_two_neighbours() -> None:
    """Points of a line, with a gap of 20 after every tenth: each has five neighbours on its own side of the gaps."""
    place = np.arange(50) + 20 * (np.arange(50) // 10)
    rows = rows_of({"x": place / 8, "y": 3 * place / 8}, (Float(name="x"), Float(name="y")), 400)
    assert (rows["y"] - 3 * rows["x"]).abs().max() <= 0.5
    assert (rows["x"] * 8 % 30 <= 9).all()


def test_numbers_are_on_the_grid_of_their_column() -> None:
    rng = np.random.default_rng(0)
    table = {"count": rng.integers(0, 50, 200), "step": rng.integers(0, 100, 200) * 5 / 10}
    rows = rows_of(table, (Integer(name="count"), Float(name="step")), 300)
    assert rows["count"].dtype == "int64"
    assert (rows["step"] * 10 % 5 == 0).all()
    assert not set(zip(rows["count"], rows["step"], strict=True)) <= set(zip(*table.values(), strict=True))


def test_neighbours_are_not_across_labels_that_tell_clouds_apart() -> None:
    cloud = np.random.default_rng(0).normal(0, 1, 40).round(3)
    size = cloud + np.repeat([0, 100], 20)
    colour = np.repeat(["blue", "red"], 20)
    columns = (Categorical(name="colour", categories=("blue", "red")), Float(name="size"))
    rows = rows_of({"colour": colour, "size": size}, columns, 300)
    assert not rows["size"].between(10, 90).any()
    assert ((rows["colour"] == "red") == (rows["size"] > 50)).all()


def test_the_label_is_the_one_of_the_nearer_end() -> None:
    columns = (Categorical(name="colour", categories=("blue", "red")), Float(name="x"))
    table = {"colour": ["blue", "red", "blue", "red"], "x": [0.0, 1.0, 0.001, 0.999]}
    rows = rows_of(table, columns, 500, n_neighbors=3)
    assert rows["x"].nunique() > 100
    assert (rows.loc[rows["x"] < 0.49, "colour"] == "blue").all()
    assert (rows.loc[rows["x"] > 0.51, "colour"] == "red").all()


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_rows_are_enough(n: int) -> None:
    assert rows_of({"x": [1.0, 2.0][:n]}, (Float(name="x"),), 5)["x"].between(1, 2).all()


def test_gaps_and_values_of_their_own_are_copied_from_an_end() -> None:
    rng = np.random.default_rng(0)
    kind = rng.choice(["x", "y"], 400)
    size = rng.integers(1, 9000, 400).astype("float64")
    size[kind == "x"] = np.nan
    size[:60] = 99_999
    count = pd.array(10**18 + rng.integers(0, 10**6, 400), dtype="Int64")
    count[::4] = None
    table = {"kind": kind, "size": size, "count": count, "empty": np.nan, "flag": rng.random(400) < 0.2}
    table["day"] = pd.date_range("2024-01-01", periods=400)
    columns = (
        Categorical(name="kind", categories=("x", "y")),
        Float(name="size", nullable=True),
        Integer(name="count", nullable=True),
        Float(name="empty", nullable=True),
        Boolean(name="flag"),
        Date(name="day"),
    )
    rows = rows_of(table, columns, 2000)
    assert rows.dtypes.astype(str).tolist() == ["str", "float64", "Int64", "float64", "bool", "datetime64[s]"]
    assert rows["empty"].isna().all()
    assert not rows["size"].between(9001, 99_998).any()
    assert (rows["size"] == 99_999).mean() == pytest.approx(0.15, abs=0.03)
    assert rows["size"].isna().mean() == pytest.approx(np.isnan(size).mean(), abs=0.03)
    assert rows["count"].isna().mean() == pytest.approx(0.25, abs=0.04)
    assert rows["count"].dropna().between(10**18, 10**18 + 10**6).all()


def test_equal_ends_are_kept_to_the_last_digit() -> None:
    number = 10**18 + 123_456_789
    table = {"number": [number] * 30 + [1], "x": np.arange(31.0)}
    rows = rows_of(table, (Integer(name="number"), Float(name="x")), 300, n_neighbors=2)
    assert (rows["number"] == number).mean() > 0.8
