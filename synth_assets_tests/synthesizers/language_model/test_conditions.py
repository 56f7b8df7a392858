"""Conditions and gaps: what is asked for is met, and the rest follows the model's own probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.conditions import bounds_of
from synth_assets.synthesizers.language_model.encoders import RowEncoder


@pytest.fixture
def tiny() -> pd.DataFrame:
    return pd.DataFrame({"k": pd.Series(["ab", "b", "cab"] * 3, dtype="str"), "n": [1, 2, 3, 2, 3, 1, 3, 1, 2]})


@pytest.fixture
def large() -> pd.DataFrame:
    """Return a column with so many values that each is written in two pieces, and two labels."""
    return pd.DataFrame({"x": np.arange(400) * 3, "k": pd.Series(["p", "q"] * 200, dtype="str")})


# Bounds


GRID = pd.DataFrame(
    {
        "x": [0.5, 1.0, 2.5, 3.0],
        "steps": [-10, 5, 0, 20],
        "k": pd.Series(["a", "it's", "1", "> 2"], dtype="str"),
        "same": [2, 2, 2, 2],
    }
)


def met(name: str, condition: str) -> list[Any]:
    """Return the values that a condition leaves of a column of `GRID`."""
    row_encoder = RowEncoder.fit(GRID)
    place = [column.name for column in row_encoder.columns].index(name)
    limits = bounds_of({name: condition}, row_encoder, 2)[place]
    assert len(limits.low) == len(limits.high) == 2
    assert limits.low[0] == limits.low[1]
    lowest, highest = row_encoder.columns[place].low, row_encoder.columns[place].high
    grid = range(lowest, highest + 1, row_encoder.columns[place].grid_step)
    excluded = None if limits.excluded is None else limits.excluded[0]
    left = [unit for unit in grid if limits.low[0] <= unit <= limits.high[0] and unit != excluded]
    row = np.repeat(row_encoder.quantise(GRID)[:1], len(left), axis=0)
    row[:, place] = left
    return row_encoder.to_frame(row)[name].tolist()


@pytest.mark.parametrize(
    ("name", "condition", "left"),
    [
        ("x", ">= 2.0", [2.0, 2.5, 3.0]),
        ("x", ">= 2.1", [2.5, 3.0]),
        ("x", "> 2.0", [2.5, 3.0]),
        ("x", "> 2.1", [2.5, 3.0]),
        ("x", "<= 1.0", [0.5, 1.0]),
        ("x", "<= 1.4", [0.5, 1.0]),
        ("x", "< 1.0", [0.5]),
        ("x", "< 1.4", [0.5, 1.0]),
        ("x", "== 1.5", [1.5]),
        ("x", "!= 1.5", [0.5, 1.0, 2.0, 2.5, 3.0]),
        ("x", "!= 1.7", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
        ("x", "!= 99", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
        ("x", ">= -99", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
        ("steps", ">= -5", [-5, 0, 5, 10, 15, 20]),
        ("steps", "< 0", [-10, -5]),
        ("steps", "!= 5", [-10, -5, 0, 10, 15, 20]),
        ("steps", "== -10", [-10]),
        ("k", "== 'a'", ["a"]),
        ("k", '== "it\'s"', ["it's"]),
        ("k", "== '1'", ["1"]),
        ("k", "== 1", ["1"]),
        ("k", "!= '1'", ["> 2", "a", "it's"]),
        ("k", "== '> 2'", ["> 2"]),
        ("k", "== 'it's'", ["it's"]),
        ("x", "== '1.5'", [1.5]),
        ("same", ">= 2", [2]),
        ("same", "!= 3", [2]),
    ],
)
def test_a_condition_leaves_the_values_that_meet_it(name: str, condition: str, left: list[Any]) -> None:
    assert met(name, condition) == left


@pytest.mark.parametrize(
    ("name", "condition", "words"),
    [
        ("x", "> 3.0", "leaves no value: the train rows have 0.5 to 3 in steps of 0.5"),
        ("x", "< 0.5", "leaves no value: the train rows have 0.5 to 3 in steps of 0.5"),
        ("x", "== 1.25", "leaves no value: the train rows have 0.5 to 3 in steps of 0.5"),
        ("x", "== 99", "leaves no value: the train rows have 0.5 to 3 in steps of 0.5"),
        ("steps", "== 3", "leaves no value: the train rows have -10 to 20 in steps of 5"),
        ("same", "!= 2", "leaves no value: the train rows have 2 to 2"),
        ("k", "== 'b'", "one of 1, > 2, a, it's"),
        ("k", "< 'b'", "a category takes == or !="),
        ("x", "== 'b'", "expected a number"),
        ("x", "> inf", "expected a number"),
        ("x", "= 1", r"the condition '= 1' on 'x' cannot be read"),
        ("x", ">= ", "cannot be read"),
        ("y", "== 1", "no column; the columns are x, steps, k, same"),
    ],
)
def test_a_condition_that_cannot_be_met_says_what_can(name: str, condition: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        bounds_of({name: condition}, RowEncoder.fit(GRID), 2)


def test_a_range_between_two_points_of_the_grid_is_empty() -> None:
    row_encoder = RowEncoder.fit(pd.DataFrame({"x": [0, 5, 20]}))
    limits = bounds_of({"x": ">= 1"}, row_encoder, 1)[0]
    assert (int(limits.low[0]), int(limits.high[0])) == (1, 20)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 4),
    st.sampled_from([">=", "<=", ">", "<", "==", "!="]),
    st.integers(-60, 160),
    st.booleans(),
    st.integers(0, 5),
)
def test_limits_agree_with_comparing(decimals: int, operator: str, units: int, half: bool, low: int) -> None:
    scale = 10**decimals
    grid = np.arange(low, low + 101) / scale
    value = round((units + 0.5 * half) / scale, decimals + 1)
    compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
    compare |= {"==": np.equal, "!=": np.not_equal}
    expected = grid[compare[operator](grid, value)]
    row_encoder = RowEncoder.fit(pd.DataFrame({"x": grid}))
    try:
        limits = bounds_of({"x": f"{operator} {value}"}, row_encoder, 1)[0]
    except ModelError:
        assert not len(expected)
        return
    found = np.arange(int(limits.low[0]), int(limits.high[0]) + 1)
    if limits.excluded is not None:
        found = found[found != limits.excluded[0]]
    assert (found / scale).tolist() == expected.tolist()


# Rows under conditions


@pytest.mark.parametrize("byte_level", [0, 262])
@pytest.mark.parametrize(
    ("conditions", "meets"),
    [
        ({"n": "== 2"}, lambda rows: rows["n"] == 2),
        ({"n": "!= 2"}, lambda rows: rows["n"] != 2),
        ({"n": ">= 2"}, lambda rows: rows["n"] >= 2),
        ({"n": "< 3", "k": "!= 'ab'"}, lambda rows: (rows["n"] < 3) & (rows["k"] != "ab")),
        ({"k": "!= 'b'"}, lambda rows: rows["k"] != "b"),
        ({"k": "== 'cab'"}, lambda rows: rows["k"] == "cab"),
    ],
)
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_rows_that_meet_conditions_are_as_frequent_as_among_all(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
    byte_level: int,
    conditions: dict[str, str],
    meets: Callable[[pd.DataFrame], pd.Series],
    order: tuple[str, str],
) -> None:
    great = untrained(tiny, order, use_residuals=False, byte_level=byte_level)
    exact = exact_shares(great)
    rows = great.sample(8000, k=4000, seed=8, conditions=conditions)
    assert len(rows) == 8000
    assert meets(rows).all()
    assert_shares(rows, exact[meets(exact)], ["k", "n"])


@pytest.mark.parametrize("order", [("x", "k"), ("k", "x")])
@pytest.mark.parametrize("condition", [">= 450", "!= 600", "<= 750"])
def test_a_number_of_more_than_one_piece_is_as_frequent_as_among_all(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    large: pd.DataFrame,
    condition: str,
    order: tuple[str, str],
) -> None:
    great = untrained(large, order, use_residuals=False)
    exact = exact_shares(great)
    keep = exact["x"] >= 450 if ">=" in condition else exact["x"] != 600 if "!=" in condition else exact["x"] <= 750
    rows = great.sample(20_000, k=5000, seed=8, conditions={"x": condition})
    assert_shares(rows.assign(head=rows["x"] // 100), exact[keep].assign(head=exact["x"] // 100), ["head"])


def draws_of(great: Any, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> int:
    from synth_assets.synthesizers.language_model.generation import Generator

    calls = []
    generate = Generator.generate
    with monkeypatch.context() as patch:
        patch.setattr(
            Generator,
            "generate",
            lambda self, n, bounds, *, seed: calls.append(n) or generate(self, n, bounds, seed=seed),
        )
        great.sample(**arguments)
    return sum(calls)


@pytest.mark.parametrize("condition", [{"k": "== 'cab'"}, {"k": "!= 'cab'"}, {}])
def test_a_condition_on_the_first_column_alone_rejects_nothing(
    untrained: Callable[..., Any], tiny: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, condition: dict[str, str]
) -> None:
    great = untrained(tiny, ["k", "n"])
    assert draws_of(great, monkeypatch, n=300, k=100, conditions=condition) == 300
    assert draws_of(great, monkeypatch, n=300, k=100, conditions={"n": "== 2"}) > 300


def test_what_the_model_hardly_ever_writes_ends_at_its_bound(
    untrained: Callable[..., Any], large: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synth_assets.synthesizers.language_model import row_model

    monkeypatch.setattr(row_model, "MAX_DRAWS", 3)
    great = untrained(large, ["k", "x"])
    with pytest.raises(ModelError, match=r"of 300 rows that the model generated, \d+ met .*too rare to be sampled"):
        great.sample(100, k=100, conditions={"x": "== 600"})


# Gaps


def test_known_cells_index_and_types_are_kept(untrained: Callable[..., Any], tiny: pd.DataFrame) -> None:
    table = pd.DataFrame(
        {
            "f": [0.25, 0.5, 1.75, 2.0] * 5,
            "k": pd.Series(list("abca") * 5, dtype="str"),
            "n": range(20),
            "same": 3,
        }
    )
    great = untrained(table)
    rng = np.random.default_rng(0)
    gaps = table.set_axis([f"row {i // 2}" for i in range(20)])  # an index may say the same twice
    holes = pd.DataFrame(rng.random(table.shape) < 0.4, index=gaps.index, columns=gaps.columns)
    holes.iloc[0] = True
    holes.iloc[1] = False
    given_rows = gaps.mask(holes)[["n", "k", "same", "f"]]  # in an order of its own
    before = given_rows.copy()
    filled = great.impute(given_rows, seed=1)
    pd.testing.assert_frame_equal(given_rows, before)
    assert filled.index.equals(gaps.index)
    assert list(filled.columns) == ["n", "k", "same", "f"]
    assert filled[list(table.columns)].dtypes.to_dict() == table.dtypes.to_dict()
    for name in table.columns:
        known = ~holes[name].to_numpy()
        assert filled[name].to_numpy()[known].tolist() == table[name].to_numpy()[known].tolist()
    assert not filled.isna().any().any()
    assert (great.row_encoder.codes(great.row_encoder.quantise(filled)) >= 0).all()
    pd.testing.assert_frame_equal(great.impute(given_rows, seed=1), filled)
    assert not great.impute(given_rows, seed=2).equals(filled)


@pytest.mark.parametrize("byte_level", [0, 262])
@pytest.mark.parametrize(("known", "value"), [("k", "b"), ("n", 2.0)])
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_filled_cells_follow_the_exact_conditionals(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
    byte_level: int,
    known: str,
    value: Any,
    order: tuple[str, str],
) -> None:
    great = untrained(tiny, order, use_residuals=False, byte_level=byte_level)
    exact = exact_shares(great)
    gaps = pd.DataFrame({"k": pd.Series([None] * 800, dtype="str"), "n": np.nan})
    gaps[known] = value
    filled = great.impute(gaps, batch_rows=64 * 400, seed=2)
    other = "n" if known == "k" else "k"
    assert (filled[known] == value).all()
    assert_shares(filled, exact[exact[known] == value], [other])


def test_a_table_without_gaps_comes_back_as_it_is(untrained: Callable[..., Any], tiny: pd.DataFrame) -> None:
    found = untrained(tiny).impute(tiny)
    pd.testing.assert_frame_equal(found, tiny)
    assert found is not tiny
    pd.testing.assert_frame_equal(untrained(tiny).impute(tiny.head(0)), tiny.head(0))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"k": ["b", None], "x": [np.nan, 9.0]}, "row 1 has .*9.0.* in column 'x'"),
        ({"k": [None, "z"], "x": [0.0, np.nan]}, "row 1 has 'z' in column 'k'"),
        ({"k": ["b", None], "x": [np.nan, -1.0]}, "row 1 has .*-1.0.* in column 'x'"),
    ],
)
def test_a_known_cell_that_no_train_row_could_have_is_refused(
    untrained: Callable[..., Any], cells: dict[str, list[Any]], words: str
) -> None:
    table = pd.DataFrame({"k": pd.Series(list("abab"), dtype="str"), "x": [0.0, 1.0, 2.5, 5.0]})
    with pytest.raises(ModelError, match=words):
        untrained(table).impute(pd.DataFrame(cells))


@pytest.mark.parametrize("order", [["k", "x"], ["x", "k"]])
@pytest.mark.parametrize("value", [0.7, 0.75])
def test_a_known_cell_off_the_grid_is_refused(untrained: Callable[..., Any], order: list[str], value: float) -> None:
    table = pd.DataFrame({"k": pd.Series(list("abab"), dtype="str"), "x": [0.0, 1.0, 2.5, 5.0]})
    great = untrained(table, order)
    with pytest.raises(ModelError):
        great.impute(pd.DataFrame({"k": pd.Series([None], dtype="str"), "x": [value]}))


def test_a_row_that_no_completion_fits_is_refused(untrained: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4000, (2, 300))
    table = pd.DataFrame(
        {
            "a": a,
            "b": b,
            "c": a + b + rng.integers(0, 60, 300),
            "k": pd.Series(rng.choice(["p", "q"], 300), dtype="str"),
        }
    )
    great = untrained(table, ["a", "b"])
    assert (
        getattr(next(column for column in great.row_encoder.columns if column.name == "c"), "predictor", None)
        is not None
    )
    gaps = pd.DataFrame({"a": [10], "b": [10], "c": [7000], "k": pd.Series([None], dtype="str")})
    with pytest.raises(ModelError, match="none of 64 completions fits"):
        great.impute(gaps)
