"""Conditions and gaps: what is asked for is met, and the rest follows the model's own probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model import decoding
from synth_assets.synthesizers.language_model.conditions import bounds_of
from synth_assets.synthesizers.language_model.encoders import MISSING, RowEncoder


@pytest.fixture
def tiny() -> pd.DataFrame:
    return pd.DataFrame({"k": pd.Series(["ab", "b", "cab"] * 3, dtype="str"), "n": [1, 2, 3, 2, 3, 1, 3, 1, 2]})


@pytest.fixture
def large() -> pd.DataFrame:
    """Return a column with so many values that each is written in two pieces, and two labels."""
    return pd.DataFrame({"x": np.arange(400) * 3, "k": pd.Series(["p", "q"] * 200, dtype="str")})


@pytest.fixture(scope="module")
def known_models() -> dict[Any, Any]:
    return {}


@pytest.fixture
def with_shares(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    known_models: dict[Any, Any],
) -> Callable[..., tuple[Any, pd.DataFrame]]:
    """Make an untrained model and the exact shares of its rows, once for each table."""

    def make(table: pd.DataFrame, order: tuple[str, str], **options: Any) -> tuple[Any, pd.DataFrame]:
        key = *table, len(table), order, *options.items()
        if key not in known_models:
            great = untrained(table, order, **options)
            known_models[key] = great, exact_shares(great)
        great, exact = known_models[key]
        return great, exact.copy()

    return make


# Bounds


GRID = pd.DataFrame(
    {
        "x": [0.5, 1.0, 2.5, 3.0],
        "steps": [-10, 5, 0, 20],
        "k": pd.Series(["a", "it's", "1", "> 2"], dtype="str"),
        "odd": pd.Series(["a and b", "x' and != 'y", "== 'q'", "is null"], dtype="str"),
        "same": [2, 2, 2, 2],
        "gaps": pd.array([3, None, 4, 6], dtype="Int64"),
        "flag": pd.array([True, False, None, True], dtype="boolean"),
        "day": pd.Series(["2024-01-30", "2024-02-02", None, "2024-02-01"], dtype="datetime64[s]"),
        "at": pd.Series(["2024-01-30 08:00", "2024-01-30 10:00", "2024-01-30 11:00", "2024-01-30 09:00"]).astype(
            "datetime64[us, Europe/Berlin]"
        ),
        "large": [10**18 + 1, 10**18 + 2, 10**18 + 4, 10**18 + 3],
        "empty": pd.Series([None] * 4, dtype="float64"),
    }
)


def met(name: str, condition: str) -> list[Any]:
    """Return the values that a condition leaves of a column of `GRID`."""
    row_encoder = RowEncoder.fit(GRID)
    place = [column.name for column in row_encoder.columns].index(name)
    column, bounds = row_encoder.columns[place], bounds_of({name: condition}, row_encoder, 2)[place]
    assert len(bounds.low) == len(bounds.high) == len(bounds.missing) == 2
    assert bounds.low[0] == bounds.low[1]
    grid = range(column.low, column.high + 1, getattr(column, "grid_step", 1))
    grid = grid if bounds.listed is None else bounds.listed
    left = [unit for unit in grid if bounds.low[0] <= unit <= bounds.high[0] and unit not in bounds.excluded]
    left += [MISSING] * int(bounds.missing[0])
    values = column.to_values(np.array(left))
    shown = values.astype("str") if values.dtype.kind == "M" else values.astype("object")
    return shown.where(values.notna(), None).tolist()


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
        ("x", ">= 1 and < 2.5", [1.0, 1.5, 2.0]),
        ("x", "> 0.5 and != 1.5 AND <= 2 and != 1", [2.0]),
        ("steps", ">= -10 and <= -10", [-10]),
        ("k", "!= 'a' and != '1'", ["> 2", "it's"]),
        ("odd", "== 'a and b'", ["a and b"]),
        ("odd", "== a and b", ["a and b"]),
        ("odd", "== 'x' and != 'y'", ["x' and != 'y"]),
        ("odd", "== '== 'q''", ["== 'q'"]),
        ("odd", "!= 'a and b' and != 'is null'", ["== 'q'", "x' and != 'y"]),
        ("odd", "== 'is null'", ["is null"]),
        ("gaps", "is null", [None]),
        ("gaps", " IS NULL ", [None]),
        ("gaps", "is not null", [3, 4, 5, 6]),
        ("gaps", "!= 4", [3, 5, 6]),
        ("gaps", "is not null and > 4", [5, 6]),
        ("flag", "== true", [True]),
        ("flag", "!= 'true'", [False]),
        ("flag", "is null", [None]),
        ("day", ">= 2024-02-01", ["2024-02-01", "2024-02-02"]),
        ("day", "> 2024-01-30 and < '2024-02-01'", ["2024-01-31"]),
        ("day", "== 2024-02-02", ["2024-02-02"]),
        ("day", "!= 2024-02-02", ["2024-01-30", "2024-01-31", "2024-02-01"]),
        ("at", "> 2024-01-30 10:00", ["2024-01-30 11:00:00+01:00"]),
        ("at", ">= 2024-01-30T09:30:00Z", ["2024-01-30 11:00:00+01:00"]),
        ("large", "> 1000000000000000002", [10**18 + 3, 10**18 + 4]),
        ("large", "== 1000000000000000001", [10**18 + 1]),
        ("empty", "is null", [None]),
        ("x", "in (3, 0.5, 2.25, 99)", [0.5, 3.0]),
        ("x", "in (1, 2, 3) and between 1.5 and 3 and != 3", [2.0]),
        ("x", "in (1, 2, 3) and in (2, 3, 4)", [2.0, 3.0]),
        ("x", "not in (0.5, 2)", [1.0, 1.5, 2.5, 3.0]),
        ("x", "between 0.6 and 1.5", [1.0, 1.5]),
        ("k", "in ('a', it's, '1')", ["1", "a", "it's"]),
        ("k", "NOT IN ('a', 'it''s')", ["1", "> 2"]),
        ("odd", "in ('a and b', 'is null')", ["a and b", "is null"]),
        ("gaps", "in (3, 6)", [3, 6]),
        ("flag", "in (true)", [True]),
        ("day", "between 2024-01-31 and 2024-02-01", ["2024-01-31", "2024-02-01"]),
        ("day", "in (2024-01-30, '2024-02-02')", ["2024-01-30", "2024-02-02"]),
        ("large", "in (1000000000000000001, 1000000000000000004)", [10**18 + 1, 10**18 + 4]),
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
        ("k", "< 'b'", "a category takes ==, !=, in and not in"),
        ("x", "== 'b'", "expected a number"),
        ("x", "> inf", "expected a number"),
        ("x", "~ 1", r"the condition '~ 1' on 'x' cannot be read"),
        ("x", "in (1.25, 99)", "leaves no value: the train rows have 0.5 to 3 in steps of 0.5"),
        ("x", "in (1, 'b')", "with 'b'; expected a number"),
        ("x", "between 3 and 1", "leaves no value"),
        ("k", "in ('a', 'b')", "a category takes ==, !=, in and not in, and one of 1, > 2, a, it's"),
        ("x", ">= ", "cannot be read"),
        ("y", "== 1", "no column; the columns are x, steps, k, odd, same"),
        ("x", "is null", "no train row has a missing value in this column"),
        ("x", "> 1 and < 1", "leaves no value"),
        ("x", "> 1 and < 1.5", "leaves no value"),
        ("steps", ">= 0 and <= 5 and != 0 and != 5", "leaves no value"),
        ("steps", "> 0 and <= 5 and <> 5", "leaves no value"),
        ("gaps", "is null and > 4", "leaves no value"),
        ("k", "!= 'a' and != '1' and != '> 2' and != 'it's'", "leaves no value"),
        ("day", "> 7", "expected a date such as 2024-01-31"),
        ("day", "== NaT", "expected a date such as 2024-01-31"),
        ("day", "> 2031-01-01", "leaves no value: the train rows have 2024-01-30"),
        ("empty", "is not null", "leaves no value: the train rows have none"),
    ],
)
def test_a_condition_that_cannot_be_met_says_what_can(name: str, condition: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        bounds_of({name: condition}, RowEncoder.fit(GRID), 2)


def test_a_value_of_its_own_off_the_grid_is_named_by_a_condition() -> None:
    values = np.random.default_rng(0).normal(50, 9, 1000)
    values[:100] = 1 / 3
    row_encoder = RowEncoder.fit(pd.DataFrame({"x": values}))
    (column,) = row_encoder.columns
    for condition in ("== 0.3333333333333333", "== 0.33333333333333330", ">= 0.3333333333333333"):
        bounds = bounds_of({"x": condition}, row_encoder, 1)[0]
        assert bounds.low[0] == column.quantise(pd.Series([1 / 3]))[0]
    assert bounds_of({"x": "!= 0.3333333333333333"}, row_encoder, 1)[0].excluded == column.atoms


@settings(max_examples=50, deadline=None)
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
    found = found[~np.isin(found, limits.excluded)]
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
        ({"k": "in ('ab', 'cab')", "n": "in (1, 3)"}, lambda rows: (rows["k"] != "b") & (rows["n"] != 2)),
    ],
)
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_rows_that_meet_conditions_are_as_frequent_as_among_all(
    with_shares: Callable[..., tuple[Any, pd.DataFrame]],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
    byte_level: int,
    conditions: dict[str, str],
    meets: Callable[[pd.DataFrame], pd.Series],
    order: tuple[str, str],
) -> None:
    great, exact = with_shares(tiny, order, use_residuals=False, byte_level=byte_level)
    rows = great.sample(3000, k=1500, seed=8, conditions=conditions)
    assert len(rows) == 3000
    assert meets(rows).all()
    assert_shares(rows, exact[meets(exact)], ["k", "n"])


@pytest.mark.parametrize("order", [("x", "k"), ("k", "x")])
@pytest.mark.parametrize("condition", [">= 450", "!= 600", "<= 750", "in (3, 150, 153, 600, 1197)"])
def test_a_number_of_more_than_one_piece_is_as_frequent_as_among_all(
    with_shares: Callable[..., tuple[Any, pd.DataFrame]],
    assert_shares: Callable[..., None],
    large: pd.DataFrame,
    condition: str,
    order: tuple[str, str],
) -> None:
    great, exact = with_shares(large, order, use_residuals=False)
    x = exact["x"]
    keep = {">=": x >= 450, "!=": x != 600, "<=": x <= 750, "in": x.isin([3, 150, 153, 600, 1197])}[
        condition.split()[0]
    ]
    rows = great.sample(6000, k=3000, seed=8, conditions={"x": condition})
    assert_shares(rows.assign(head=rows["x"] // 100), exact[keep].assign(head=exact["x"] // 100), ["head"])


@pytest.fixture(scope="module")
def gappy() -> pd.DataFrame:
    """Return labels with gaps, and numbers of two digits and more with gaps and an atom."""
    rng = np.random.default_rng(0)
    number = rng.integers(-20, 270, 300).astype("float64")
    number[:60], number[60:90] = 7, np.nan
    kind = pd.Series(rng.choice(["a", "b", None], 300), dtype="str")
    return pd.DataFrame({"n": pd.array(number, dtype="Int64"), "k": kind})


def parts_of(n: pd.Series) -> pd.Series:
    return n.astype("object").map(lambda n: "gap" if n is pd.NA else "atom" if n == 7 else str(n // 10 * 10))


@pytest.mark.parametrize("byte_level", [0, 262])
@pytest.mark.parametrize(
    ("conditions", "meets"),
    [
        ({"n": "is null"}, lambda rows: rows["n"].isna()),
        ({"n": "is not null", "k": "is null"}, lambda rows: rows["n"].notna() & rows["k"].isna()),
        ({"n": ">= -15 and < 140"}, lambda rows: rows["n"].between(-15, 139)),
        ({"n": "!= 7", "k": "!= 'a'"}, lambda rows: rows["n"].notna() & (rows["n"] != 7) & (rows["k"] == "b")),
        ({"n": "== 7"}, lambda rows: rows["n"] == 7),
        ({"n": "in (-19, 7, 44, 45, 250)"}, lambda rows: rows["n"].isin([-19, 7, 44, 45, 250])),
    ],
)
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_conditions_on_gaps_atoms_and_digits_leave_the_models_shares(
    with_shares: Callable[..., tuple[Any, pd.DataFrame]],
    assert_shares: Callable[..., None],
    gappy: pd.DataFrame,
    byte_level: int,
    conditions: dict[str, str],
    meets: Callable[[pd.DataFrame], pd.Series],
    order: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "has_bfloat16", lambda: False)  # which moves small probabilities
    great, exact = with_shares(gappy, order, byte_level=byte_level)
    kept = meets(exact).fillna(False).astype(bool)
    rows = great.sample(2000, k=4000, seed=8, conditions=conditions)
    assert meets(rows).all()
    exact, rows = (frame.assign(part=parts_of(frame["n"])) for frame in (exact[kept], rows))
    by = [name for name in ("k", "part") if exact[name].nunique(dropna=False) > 1]
    if by:
        assert_shares(rows, exact, by)


def test_conditions_on_text_are_about_gaps_alone(untrained: Callable[..., Any]) -> None:
    table = pd.DataFrame({"n": [1, 2, 3], "note": pd.Series(["ab", "ba", None], dtype="str")})
    great = untrained(table, texts={"note": 5})
    assert great.sample(50, conditions={"note": "is null"})["note"].isna().all()
    assert great.sample(50, conditions={"note": "is not null", "n": ">= 2"})["note"].notna().all()
    with pytest.raises(ModelError, match="text takes `is null` and `is not null`"):
        great.sample(5, conditions={"note": "== 'ab'"})


def draws_of(great: Any, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> int:
    from synth_assets.synthesizers.language_model.generation import Generator

    calls = []
    generate = Generator.generate
    with monkeypatch.context() as patch:
        patch.setattr(
            Generator,
            "generate",
            lambda self, n, bounds, *, seeds: calls.append(n) or generate(self, n, bounds, seeds=seeds),
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


def test_what_the_model_hardly_ever_writes_takes_few_draws(
    untrained: Callable[..., Any], large: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    great = untrained(large, ["k", "x"])  # writes 600 in one row of hundreds
    assert draws_of(great, monkeypatch, n=100, k=100, conditions={"x": "== 600"}) <= 1000


def test_what_the_model_cannot_write_ends_at_its_bound(
    untrained: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from synth_assets.synthesizers.language_model import row_model

    monkeypatch.setattr(row_model, "MAX_DRAWS_OF_NONE", 3)
    first = pd.Series(pd.date_range("2024-01-01", periods=60)).astype("datetime64[s]")
    great = untrained(pd.DataFrame({"first": first, "second": first + pd.to_timedelta([0, 1, 5] * 20, unit="D")}))
    with pytest.raises(ModelError, match=r"of 300 rows that the model generated, 0 met .*too rare to be sampled"):
        great.sample(100, k=100, conditions={"first": ">= 2024-02-20", "second": "<= 2024-01-31"})


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
    assert great.row_encoder.is_encodable(great.row_encoder.quantise(filled)).all()
    pd.testing.assert_frame_equal(great.impute(given_rows, seed=1), filled)
    assert not great.impute(given_rows, seed=2).equals(filled)


@pytest.mark.parametrize("byte_level", [0, 262])
@pytest.mark.parametrize(("known", "value"), [("k", "b"), ("n", 2.0)])
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_filled_cells_follow_the_exact_conditionals(
    with_shares: Callable[..., tuple[Any, pd.DataFrame]],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
    byte_level: int,
    known: str,
    value: Any,
    order: tuple[str, str],
) -> None:
    great, exact = with_shares(tiny, order, use_residuals=False, byte_level=byte_level)
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
    ("byte_level", "order", "known"),
    [
        *((0, order, known) for order in (("k", "n"), ("n", "k")) for known in ({"k": "b"}, {"n": 7}, {"n": 31})),
        *((262, ("n", "k"), {"k": "b"}), (262, ("k", "n"), {"n": 31})),  # two seconds each
    ],
)
def test_filled_cells_of_a_table_with_gaps_follow_the_exact_conditionals(
    with_shares: Callable[..., tuple[Any, pd.DataFrame]],
    assert_shares: Callable[..., None],
    gappy: pd.DataFrame,
    byte_level: int,
    known: dict[str, Any],
    order: tuple[str, str],
) -> None:
    great, exact = with_shares(gappy, order, byte_level=byte_level)
    exact = exact.dropna()
    ((name, value),) = known.items()
    gaps = pd.DataFrame({"k": pd.Series([None] * 500, dtype="str"), "n": pd.array([None] * 500, dtype="Int64")})
    gaps[name] = pd.array([value] * 500, dtype=gaps[name].dtype)
    filled = great.impute(gaps, batch_rows=64 * 500, seed=2)
    assert not filled.isna().any(axis=None)
    exact = exact[exact[name] == value]
    exact, filled = (frame.assign(part=parts_of(frame["n"])) for frame in (exact, filled))
    assert_shares(filled, exact, ["part" if name == "k" else "k"])


def test_rows_of_gaps_alone_are_drawn_from_the_model(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
) -> None:
    great = untrained(tiny, ["k", "n"])
    gaps = pd.DataFrame({"n": [np.nan] * 800, "k": [None] * 800})
    filled = great.impute(gaps, batch_rows=64 * 400, seed=2)
    assert_shares(filled, exact_shares(great), ["k", "n"])


def mixed() -> pd.DataFrame:
    """Return 40 rows, one column of each kind."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "kind": pd.Series(rng.choice(["p", "q"], 40), dtype="str"),
            "flag": rng.choice([True, False], 40),
            "count": rng.integers(0, 900, 40),
            "size": rng.integers(0, 9000, 40) / 100,
            "day": pd.Series(rng.permutation(pd.date_range("2024-01-01", periods=40))).astype("datetime64[s]"),
            "at": pd.Series(pd.date_range("2024-01-01", periods=40, freq="h", tz="Europe/Berlin")).astype(
                "datetime64[us, Europe/Berlin]"
            ),
            "note": pd.Series(rng.choice(["call; mail", "no answer"], 40), dtype="str"),
        }
    )


def test_gaps_of_every_type_are_filled_in_that_type(untrained: Callable[..., Any]) -> None:
    table = mixed()
    great = untrained(table, texts={"note": 20})
    holes = pd.DataFrame(np.random.default_rng(1).random((20, table.shape[1])) < 0.4, columns=table.columns)
    holes.iloc[0] = True
    gaps = table.head(20).astype({"count": "Int64", "flag": "boolean"}).mask(holes)[list(table)[::-1]]
    filled = great.impute(gaps, seed=1)
    assert list(filled) == list(table)[::-1]
    assert not filled.isna().any(axis=None)
    assert filled.dtypes.to_dict() == table.dtypes.to_dict()
    for name in table:
        known = ~holes[name].to_numpy()
        assert filled[name][known].tolist() == table[name].head(20)[known].tolist()
    assert great.row_encoder.is_encodable(great.row_encoder.quantise(filled)).all()


@pytest.mark.parametrize(
    "cells",
    [
        {"kind": "z"},
        {"size": 10.005},
        {"size": -1e9},
        {"count": 10**15},
        {"day": pd.Timestamp("1900-01-01")},
        {"note": "日本"},
        {"note": "no answer" * 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("alone", [False, True])
def test_a_known_cell_that_no_train_row_could_have_stays_and_the_gaps_are_filled(
    untrained: Callable[..., Any], cells: dict[str, Any], alone: bool
) -> None:
    table = mixed()
    great = untrained(table, texts={"note": 20})
    ((name, value),) = cells.items()
    row = table.head(2).astype({"count": "Int64", "flag": "boolean"})
    row[name] = pd.array([value] * 2, dtype=row[name].dtype)
    others = [each for each in table if each != name]
    row[others] = row[others].mask(np.array([[alone or each == "flag" for each in others]] * 2))
    filled = great.impute(row, seed=1)
    assert not filled.isna().any(axis=None)
    assert (filled[name] == row[name]).all()
    if not alone:
        rest = [each for each in others if each != "flag"]
        pd.testing.assert_frame_equal(filled[rest], row[rest], check_dtype=False)


def test_a_row_that_no_completion_fits_is_filled_in_without_its_numbers(untrained: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4000, (2, 300))
    kinds = pd.Series(rng.choice(["p", "q"], 300), dtype="str")
    table = pd.DataFrame({"a": a, "b": b, "c": a + b + rng.integers(0, 60, 300), "k": kinds})
    great = untrained(table, ["a", "b"])
    assert any(getattr(column, "predictor", None) for column in great.row_encoder.columns)
    gaps = pd.DataFrame({"a": [10], "b": [10], "c": [7000], "k": pd.Series([None], dtype="str")})
    filled = great.impute(gaps)
    assert filled["k"].isin(["p", "q"]).all()
    pd.testing.assert_frame_equal(filled[["a", "b", "c"]], gaps[["a", "b", "c"]])
