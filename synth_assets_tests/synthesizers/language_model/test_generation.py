"""Rows that a model writes: valid whatever its weights, as frequent as the model has it, the same for the same seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.language_model import decoding
from synth_assets.synthesizers.language_model.encoders import NumericEncoder


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return rows where c = a + b + small noise, on a grid of 5 thousandths, and labels."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-50, 900, (2, 300)) * 5
    return pd.DataFrame(
        {
            "c": (a + b + rng.integers(0, 12, 300) * 5) / 1e3,
            "kind": pd.Series(rng.choice(["x", "y", "z"], 300), dtype="str"),
            "a": a / 1e3,
            "b": b / 1e3,
            "count": rng.integers(2, 7, 300),
        }
    )


@pytest.fixture
def tiny() -> pd.DataFrame:
    """Return a table of two columns with three values each; their texts share digits."""
    return pd.DataFrame(
        {"k": pd.Series(["ab", "b", "cab"] * 3, dtype="str"), "n": [7, 10, 105, 10, 105, 7, 105, 7, 10]}
    )


def assert_valid(rows: pd.DataFrame, table: pd.DataFrame) -> None:
    assert list(rows.columns) == list(table.columns)
    assert rows.dtypes.to_dict() == table.dtypes.to_dict()
    assert not rows.isna().any().any()
    for name in ("a", "b", "c", "count"):
        assert rows[name].min() >= table[name].min()
        assert rows[name].max() <= table[name].max()
    for name in ("a", "b", "c"):
        units = rows[name] * 1e3
        assert np.allclose(units, np.rint(units))
        assert (np.rint(units) % 5 == 0).all()
    assert set(rows["kind"]) <= set(table["kind"])


@pytest.mark.parametrize("byte_level", [0, 300])
def test_whatever_the_weights_every_row_is_on_the_grid_and_within_limits(
    untrained: Callable[..., Any], table: pd.DataFrame, byte_level: int
) -> None:
    great = untrained(table, byte_level=byte_level)
    column = next(column for column in great.row_encoder.columns if column.name == "c")
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    for seed in range(4):
        rows = great.sample(173, k=100, seed=seed)
        assert len(rows) == 173
        assert_valid(rows, table)
        assert great.row_encoder.is_encodable(great.row_encoder.quantise(rows)).all()


def test_a_residual_reaches_the_ends_of_its_column_and_not_beyond(
    untrained: Callable[..., Any], table: pd.DataFrame
) -> None:
    great = untrained(table, ["a", "b"])
    high, low = table["c"].max(), table["c"].min()
    for condition, end in (({"c": f">= {high - 1.5:.3f}"}, high), ({"c": f"<= {low + 1.5:.3f}"}, low)):
        rows = great.sample(100, k=400, seed=1, conditions=condition)
        assert (rows["c"] - end).abs().max() <= 1.5 + 1e-9
        assert_valid(rows, table)


@pytest.mark.parametrize("n", [1, 99, 100, 101, 250])
def test_there_are_exactly_as_many_rows_as_asked_for(
    untrained: Callable[..., Any], table: pd.DataFrame, n: int
) -> None:
    rows = untrained(table).sample(n, k=100, seed=1)
    assert rows.index.equals(pd.RangeIndex(n))


def test_rows_depend_on_seed_and_position_alone(untrained: Callable[..., Any], table: pd.DataFrame) -> None:
    great = untrained(table)
    longer = great.sample(250, k=100, seed=4)
    for n in (1, 40, 100, 130, 250):
        pd.testing.assert_frame_equal(great.sample(n, k=100, seed=4), longer.head(n))
    assert not great.sample(250, k=100, seed=5).equals(longer)
    for conditions in ({"kind": "== 'x'"}, {"count": ">= 4"}):
        longer = great.sample(250, k=100, seed=4, conditions=conditions)
        pd.testing.assert_frame_equal(great.sample(130, k=100, seed=4, conditions=conditions), longer.head(130))


def test_a_batch_depends_on_the_seed_and_its_number(untrained: Callable[..., Any], table: pd.DataFrame) -> None:
    great = untrained(table)
    chunks = list(great.sample_batches(300, batch_rows=100, seed=4))
    later = great.sample_batches(300, batch_rows=100, seed=4)
    next(later)
    great.sample(50, seed=9)  # what is drawn in between changes nothing
    np.random.default_rng().random()
    pd.testing.assert_frame_equal(next(later), chunks[1])
    assert not chunks[0].equals(chunks[1])
    assert not chunks[1].equals(next(great.sample_batches(100, batch_rows=100, seed=5)))


@pytest.mark.parametrize("byte_level", [0, 262, 275])
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_frequencies_are_the_probabilities_of_the_tries(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
    byte_level: int,
    order: tuple[str, str],
) -> None:
    great = untrained(tiny, order, use_residuals=False, byte_level=byte_level)
    exact = exact_shares(great)
    rows = great.sample(8000, k=4000, seed=3)
    assert_shares(rows[rows["n"].isin(tiny["n"])], exact[exact["n"].isin(tiny["n"])], ["k", "n"])
    assert_shares(rows, exact, ["k"])


def test_ragged_values_are_padded_without_a_trace(untrained: Callable[..., Any], tiny: pd.DataFrame) -> None:
    import torch

    from synth_assets.synthesizers.language_model.backbone import decoder_for

    great = untrained(tiny, byte_level=262)
    ids = torch.tensor([[5, 9, 3, 7, 11, 2], [5, 9, 8, 8, 11, 2]])
    skips = torch.tensor([[False] * 6, [False, False, True, True, False, False]])
    states = {}
    with torch.no_grad():
        decoder = decoder_for(great.model, 2, ragged=True, max_length=6)
        for at in range(6):
            decoder.append(ids[:, at], skip=skips[:, at])
            if at in (1, 2, 3, 5):
                states[at] = decoder.forward()
        plain = great.model.base_model(input_ids=ids[:1]).last_hidden_state[0, -1]
        short = great.model.base_model(input_ids=ids[1:, [0, 1, 4, 5]]).last_hidden_state[0, -1]
    assert torch.allclose(states[5][0], plain, atol=1e-4)
    assert torch.allclose(states[5][1], short, atol=1e-4)
    assert torch.equal(states[1][1], states[2][1])  # a skipped row's last token is an earlier one
    assert torch.equal(states[1][1], states[3][1])


def test_a_low_temperature_gives_the_likeliest_rows(
    untrained: Callable[..., Any], exact_shares: Callable[..., pd.DataFrame], tiny: pd.DataFrame
) -> None:
    great = untrained(tiny, ["k", "n"], use_residuals=False)
    shares = exact_shares(great).groupby("k")["share"].sum()
    rows = great.sample(500, temperature=0.05, seed=1)
    assert (rows["k"] == shares.idxmax()).mean() > 0.95
    hot = great.sample(6000, temperature=50.0, seed=1)["k"].value_counts(normalize=True)
    assert (hot - 1 / 3).abs().max() < 0.06


def test_the_frequencies_of_a_batch_are_those_of_the_model(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    tiny: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "has_bfloat16", lambda: False)  # which moves a share of 500 rows by a tenth of a row
    great = untrained(tiny, ["k", "n"], use_residuals=False)
    shares = exact_shares(great).groupby("k")["share"].sum()
    for seed in range(5):
        counts = great.sample(500, k=500, seed=seed)["k"].value_counts().reindex(shares.index, fill_value=0)
        assert (counts - 500 * shares).abs().max() <= 1  # independent rows would differ by 10 and more


# Missing values, atoms, several parts


@pytest.fixture(scope="module")
def gappy() -> pd.DataFrame:
    """Return labels with gaps, and numbers of two digits and one digit more with gaps and an atom."""
    rng = np.random.default_rng(0)
    number = rng.integers(-20, 270, 300).astype("float64")
    number[:60], number[60:90] = 7, np.nan
    kind = pd.Series(rng.choice(["a", "b", None], 300), dtype="str")
    return pd.DataFrame({"n": pd.array(number, dtype="Int64"), "k": kind})


@pytest.mark.parametrize("byte_level", [0, 262])
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_missing_values_atoms_and_digits_are_as_frequent_as_the_model_has_it(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    gappy: pd.DataFrame,
    byte_level: int,
    order: tuple[str, str],
) -> None:
    great = untrained(gappy, order, byte_level=byte_level)
    number = next(column for column in great.row_encoder.columns if column.name == "n")
    assert isinstance(number, NumericEncoder)
    assert (number.has_missing, number.atoms, number.radices) == (True, (7,), (100,))
    exact = exact_shares(great)
    rows = great.sample(8000, k=4000, seed=3)
    assert rows["n"].dtype == "Int64"
    assert rows["n"].dropna().between(gappy["n"].min(), gappy["n"].max()).all()
    for frame in (exact, rows):
        frame["kind of n"] = frame["n"].map(lambda n: "atom" if n == 7 else str(n // 10 * 10), na_action="ignore")
    assert_shares(rows, exact, ["k", "kind of n"])


@pytest.mark.parametrize("byte_level", [0, 262])
def test_an_atom_beside_residuals_is_as_frequent_as_the_model_has_it(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    byte_level: int,
) -> None:
    rng = np.random.default_rng(0)
    x = rng.choice([0, 1000, 2000], 400)
    y = x + rng.integers(0, 250, 400)
    y[rng.random(400) < 0.2] = 555
    great = untrained(pd.DataFrame({"x": x, "y": y}), ["x", "y"], byte_level=byte_level)
    column = great.row_encoder.columns[1]
    assert column.atoms == (555,)
    assert column.predictor is not None
    exact = exact_shares(great)
    some = (3, 120, 121, 555, 1007, 2249, 9999)
    for conditions, kept in (
        ({}, exact),
        ({"y": "!= 555"}, exact[exact["y"] != 555]),
        ({"y": f"in {some}"}, exact[exact["y"].isin(some)]),
    ):
        rows = great.sample(5000, k=2500, seed=3, conditions=conditions)
        assert great.row_encoder.is_encodable(great.row_encoder.quantise(rows)).all()
        frames = (
            frame.assign(y=frame["y"].map(lambda y: "atom" if y == 555 else str(y // 50 * 50)))
            for frame in (rows, kept)
        )
        assert_shares(*frames, ["x", "y"])


def test_text_is_as_frequent_as_the_model_has_it(
    untrained: Callable[..., Any], exact_shares: Callable[..., pd.DataFrame], assert_shares: Callable[..., None]
) -> None:
    table = pd.DataFrame({"n": [1, 2, 1], "note": pd.Series(["ab", "b;", None], dtype="str")})
    great = untrained(table, texts={"note": 2})
    exact = exact_shares(great)
    assert len(exact) == 2 * (1 + 3 + 9)  # no text, or up to two of three characters
    assert_shares(great.sample(8000, k=4000, seed=3), exact, ["n", "note"])


def test_text_alone_is_generated_and_never_empty_where_no_train_row_is(untrained: Callable[..., Any]) -> None:
    table = pd.DataFrame({"note": pd.Series(["abc", "cab b"], dtype="str")})
    rows = untrained(table, texts={"note": 9}).sample(300, k=100)
    assert rows["note"].str.len().between(1, 5).all()
    assert set("".join(rows["note"])) <= set("abc ")


@pytest.mark.parametrize("dtype", ["str", "boolean", "Int64", "float64", "datetime64[s]"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_column_without_any_cell_stays_empty(untrained: Callable[..., Any], dtype: str, alone: bool) -> None:
    empty = pd.Series([None] * 40, dtype=dtype)
    table = pd.DataFrame({"empty": empty} if alone else {"x": np.arange(40.0), "empty": empty})
    great = untrained(table)
    rows = great.sample(50, k=50)
    assert rows["empty"].isna().all()
    assert rows["empty"].dtype == dtype
    assert great.impute(rows).isna().sum().tolist() == ([50] if alone else [0, 50])


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"x": [4]}),
        pd.DataFrame({"x": [4, 4, 4]}),
        pd.DataFrame({"x": [-1.5, 1000.25]}),
        pd.DataFrame({"k": ["a"]}),
        pd.DataFrame({"k": ["a", "b"], "m": ["c", None]}),
        pd.DataFrame({"day": pd.Series(["2024-02-29"], dtype="datetime64[s]"), "yes": [True]}),
        pd.DataFrame({"x": pd.array([2**60, -(2**60), None], dtype="Int64")}),
    ],
    ids=["one cell", "constant", "one column", "one label", "labels alone", "one row", "ends of 61 bits"],
)
def test_a_table_of_any_shape_is_generated_within_its_limits(
    untrained: Callable[..., Any], table: pd.DataFrame
) -> None:
    great = untrained(table)
    rows = great.sample(60, k=60)
    assert great.row_encoder.is_encodable(great.row_encoder.quantise(rows)).all()
    for name in table:
        found, present = rows[name].dropna(), table[name].dropna()
        if present.dtype == "str":
            assert set(found) <= set(present)
        else:
            assert found.between(present.min(), present.max()).all()
        assert not rows[name].isna().any() or table[name].isna().any()


# What no row may have


@pytest.mark.parametrize("byte_level", [0, 300])
def test_of_codes_prices_and_first_days_of_months_there_are_no_others(
    untrained: Callable[..., Any], byte_level: int
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "denomination": rng.choice([1, 2, 5, 10, 20, 50], 300),
            "icd": rng.choice([4010, 25_000, 27_200, 41_401], 300),
            "price": rng.choice([0.99, 4.95, 19.99, 1249.0], 300),
            "month": pd.Series(rng.choice(pd.date_range("2020-01-01", periods=12, freq="MS"), 300)).astype(
                "datetime64[s]"
            ),
        }
    )
    table.loc[::9, "icd"] = 27_200
    rows = untrained(table, byte_level=byte_level).sample(400, k=200, seed=1)
    for name in table:
        assert set(rows[name]) <= set(table[name])
        assert rows[name].nunique() > 2
    great = untrained(table, ["icd"], byte_level=byte_level)
    above = great.sample(100, k=100, seed=1, conditions={"icd": "> 25000", "price": "< 4.95"})
    assert set(above["icd"]) == {27_200, 41_401}
    assert set(above["price"]) == {0.99}


@pytest.mark.parametrize("byte_level", [0, 300])
@pytest.mark.parametrize("order", [("start", "end"), ("end", "start")])
def test_no_date_is_before_the_one_that_it_must_follow(
    untrained: Callable[..., Any], byte_level: int, order: tuple[str, str]
) -> None:
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 200), unit="D")
    end = start + pd.to_timedelta(rng.integers(0, 900, 200), unit="D")
    table = pd.DataFrame({"start": start, "end": end}).astype("datetime64[s]")
    table.loc[::10, "start"] = None
    table.loc[::15, "end"] = None
    great = untrained(table, order, byte_level=byte_level)
    rows = great.sample(1000, k=500)
    both = rows.dropna()
    assert len(both) > 100
    assert (both["start"] <= both["end"]).all()
    for name in table:
        assert rows[name].dropna().between(table[name].min(), table[name].max()).all()
    days = great.sample(300, k=300, conditions={"start": ">= 2022-03-01", "end": "is not null"})
    assert (days["start"] <= days["end"]).all()
    assert (days["start"] >= "2022-03-01").all()
    gaps = table.head(40).copy()
    gaps.loc[::2, "end"] = None
    gaps.loc[1::2, "start"] = None
    filled = great.impute(gaps.head(10))
    assert (filled["start"] <= filled["end"]).all()


@pytest.mark.parametrize("byte_level", [0, 262])
def test_pairs_that_no_train_row_has_are_in_no_row(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    byte_level: int,
) -> None:
    rng = np.random.default_rng(0)
    town = pd.Series(rng.choice(["A", "B", "C"], 600), dtype="str")
    table = pd.DataFrame({"town": town, "code": town.map({"A": 1, "B": 2, "C": None}).astype("Int64")})
    great = untrained(table, byte_level=byte_level)
    rows = great.sample(5000, k=5000)
    assert rows["code"].equals(rows["town"].map({"A": 1, "B": 2}).astype("Int64"))
    assert_shares(rows, exact_shares(great), ["town", "code"])
    conditioned = great.sample(200, k=200, conditions={"code": ">= 2"})
    assert (conditioned["town"] == "B").all()
    known = pd.DataFrame({"town": [None] * 3, "code": pd.array([1, 2, 1], dtype="Int64")})
    assert great.impute(known)["town"].tolist() == ["A", "B", "A"]
