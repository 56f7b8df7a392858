"""Rows survive encoding, whatever the grid; predictable columns are encoded as residuals."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, NumericEncoder, RowEncoder


@st.composite
def numbers(draw: st.DrawFn, rows: int) -> pd.Series:
    decimals = draw(st.integers(0, 5))
    step = draw(st.sampled_from([1, 2, 5, 25]))
    quantised = draw(st.lists(st.integers(-2000, 5000), min_size=rows, max_size=rows))
    values = np.array(quantised) * step
    return pd.Series(values if not decimals and draw(st.booleans()) else values / 10**decimals)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(1, 60))
    labels = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
    columns = {f"n{i}": draw(numbers(rows)) for i in range(draw(st.integers(1, 4)))}
    columns["label"] = pd.Series(draw(st.lists(labels, min_size=rows, max_size=rows)), dtype="str")
    return pd.DataFrame(columns)


@settings(max_examples=80, deadline=None)
@given(tables())
def test_rows_survive_encoding(table: pd.DataFrame) -> None:
    row_encoder = RowEncoder.fit(table)
    quantised = row_encoder.quantise(table)
    codes = row_encoder.codes(quantised)
    assert (codes >= 0).all()
    back = np.zeros_like(quantised)
    for i in range(len(row_encoder.columns)):
        back[:, i] = codes[:, i] * row_encoder.columns[i].grid_step + row_encoder.columns[i].offsets(back)
    pd.testing.assert_frame_equal(row_encoder.to_frame(back), table)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_texts_have_one_width_and_name_the_value(table: pd.DataFrame) -> None:
    row_encoder = RowEncoder.fit(table, use_residuals=False)
    for i, column in enumerate(row_encoder.columns):
        texts = row_encoder.columns[i].vocabulary()
        assert len(set(texts)) == len(texts) == column.cardinality
        if isinstance(column, NumericEncoder):
            assert len({len(text.removeprefix("-")) for text in texts}) == 1
            codes = row_encoder.codes(row_encoder.quantise(table))[:, i]
            assert [float(texts[code]) for code in codes] == [float(value) for value in table[column.name]]


def sums(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(100, 9000, rows), rng.integers(100, 9000, rows)
    return pd.DataFrame({"whole": (a + b + rng.integers(0, 120, rows)) / 1e4, "a": a / 1e4, "b": b / 1e4})


def test_a_predictable_column_comes_last_and_is_encoded_as_residuals() -> None:
    table = sums()
    row_encoder = RowEncoder.fit(table)
    assert row_encoder.columns[-1].name == "whole"
    last = row_encoder.columns[-1]
    assert isinstance(last, NumericEncoder)
    assert last.predictor is not None
    assert last.cardinality < RowEncoder.fit(table, use_residuals=False).columns[-1].cardinality / 10
    plain = RowEncoder.fit(table, use_residuals=False)
    pd.testing.assert_frame_equal(
        row_encoder.to_frame(row_encoder.quantise(table)), plain.to_frame(plain.quantise(table))
    )


def test_residuals_keep_the_last_two_digits() -> None:
    table = sums()
    row_encoder = RowEncoder.fit(table)
    written = row_encoder.to_text(table)["whole"]
    assert written.str[-2:].tolist() == [f"{value:.4f}"[-2:] for value in table["whole"]]


def test_column_order_comes_first() -> None:
    table = sums().assign(kind="x")
    row_encoder = RowEncoder.fit(table, ["whole", "kind"])
    assert [column.name for column in row_encoder.columns[:2]] == ["whole", "kind"]
    assert row_encoder.names == ("whole", "a", "b", "kind")


def test_json_restores_the_encoder() -> None:
    row_encoder = RowEncoder.fit(sums().assign(kind=pd.Series(["x", "y"] * 200, dtype="str")))
    assert RowEncoder.from_json(json.loads(json.dumps(row_encoder.to_json()))) == row_encoder


def test_an_encoder_of_another_version_gets_one_clear_message() -> None:
    written = RowEncoder.fit(sums()).to_json()
    written["columns"][-1]["predictor"]["powers"] = 3
    with pytest.raises(ModelError, match="fitted by another version of synth_assets"):
        RowEncoder.from_json(written)


def test_outliers_do_not_bend_a_predictor() -> None:
    table = sums(1000)
    off = np.arange(1000) % 10 == 0
    table.loc[off, "whole"] += (table.loc[off, "a"] ** 3).round(4)
    table["whole"] = table["whole"].round(4)
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    quantised = row_encoder.quantise(table)
    rest = quantised[:, 2] - row_encoder.columns[2].predictions(quantised)
    assert np.abs(rest[~off]).max() < 80  # what they exceed the sum by is up to 120, and symmetric around the middle
    assert np.abs(rest[off]).mean() > 500


def test_a_length_is_predicted_from_the_cube_root_of_a_weight() -> None:
    rng = np.random.default_rng(0)
    length = rng.integers(50, 800, 1000)
    table = pd.DataFrame({"weight": np.rint((length / 100) ** 3 * rng.normal(1, 0.02, 1000) * 1000), "length": length})
    row_encoder = RowEncoder.fit(table, ["weight", "length"])
    column = row_encoder.columns[1]
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    assert "1/3" in column.predictor.powers
    quantised = row_encoder.quantise(table)
    # Two in a hundred of a weight are two in three hundred of a length.
    assert np.abs(quantised[:, 1] / row_encoder.columns[1].predictions(quantised) - 1).mean() < 0.01


@pytest.mark.filterwarnings("error")
def test_a_column_that_others_determine_has_no_residuals() -> None:
    table = sums()
    table["whole"] = (table["a"] + table["b"]).round(4)
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    quantised = row_encoder.quantise(table)
    assert np.abs(quantised[:, 2] - row_encoder.columns[2].predictions(quantised)).max() < 1e-3


def test_labels_are_sorted() -> None:
    (column,) = RowEncoder.fit(pd.DataFrame({"k": ["b", "a", "b"]})).columns
    assert column == CategoricalEncoder("k", ("a", "b"))


def test_too_many_values_are_rounded_and_recorded_as_lossy() -> None:
    column = RowEncoder.fit(pd.DataFrame({"x": np.random.default_rng(0).normal(size=200)})).columns[0]
    assert isinstance(column, NumericEncoder)
    assert column.is_lossy
    assert column.cardinality <= 1_000_001


@pytest.mark.parametrize(
    ("table", "first", "words"),
    [
        (pd.DataFrame({"x": []}), [], "no row to learn from"),
        (pd.DataFrame({"x": [1.0, np.nan]}), [], "the 2 train rows have missing or infinite values .1 in 'x'"),
        (pd.DataFrame({"x": [1.0, np.inf]}), [], "the 2 train rows have missing or infinite values .1 in 'x'"),
        (pd.DataFrame({"x": ["a", None]}), [], "the 2 train rows have missing or infinite values .1 in 'x'"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), [], "occurs twice"),
        (pd.DataFrame({"x": [1]}), ["y"], "column_order names y; the columns are x"),
        (pd.DataFrame({"x": [1e17, 2.0]}), [], "divide them by a power of ten"),
    ],
)
def test_bad_tables_get_one_clear_message(table: pd.DataFrame, first: list[str], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        RowEncoder.fit(table, first)


def test_a_row_off_the_grid_cannot_be_encoded() -> None:
    row_encoder = RowEncoder.fit(pd.DataFrame({"x": [0.0, 0.5, 1.0]}))
    with pytest.raises(ModelError, match=r"row 1 has np.float64\(1.5\) in column 'x'|row 1 has 1.5 in column 'x'"):
        row_encoder.to_text(pd.DataFrame({"x": [0.5, 1.5]}))


@st.composite
def predictable(draw: st.DrawFn) -> tuple[pd.DataFrame, int, int]:
    decimals, step = draw(st.integers(0, 5)), draw(st.sampled_from([1, 3, 5, 7, 25]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    offset = draw(st.sampled_from([0, -3000]))
    a, b = rng.integers(0, 4000, (2, 150)) + offset
    c = (2 * a - b + rng.integers(0, draw(st.integers(1, 300)), 150)) * step
    scale = 10**decimals
    table = pd.DataFrame({"c": c / scale, "a": a / scale, "b": b / scale, "constant": 1.25})
    return table if decimals else table.astype({"a": "int64", "c": "int64"}), decimals, step


@settings(max_examples=60, deadline=None)
@given(predictable())
def test_residuals_lose_nothing(drawn: tuple[pd.DataFrame, int, int]) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    assert next(column for column in row_encoder.columns if column.name == "c").predictor is not None
    quantised = row_encoder.quantise(table)
    codes = row_encoder.codes(quantised)
    assert (codes >= 0).all()
    back = np.zeros_like(quantised)
    for i in range(len(row_encoder.columns)):
        back[:, i] = codes[:, i] * row_encoder.columns[i].grid_step + row_encoder.columns[i].offsets(back)
        low, high = row_encoder.columns[i].low, row_encoder.columns[i].high
        assert (low, high) == (quantised[:, i].min(), quantised[:, i].max())
    pd.testing.assert_frame_equal(row_encoder.to_frame(back), table)


@settings(max_examples=60, deadline=None)
@given(predictable())
def test_predictions_rounded_to_hundreds_keep_the_last_two_digits(drawn: tuple[pd.DataFrame, int, int]) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    i = [column.name for column in row_encoder.columns].index("c")
    column = row_encoder.columns[i]
    assert isinstance(column, NumericEncoder)
    assert column.has_suffix_token
    assert column.prediction_step % 100 == 0
    quantised = row_encoder.quantise(table)
    texts = np.array(row_encoder.columns[i].vocabulary(), object)[row_encoder.codes(quantised)[:, i]]
    digits = [int(text.replace(".", "")[-2:]) for text in texts]
    assert digits == (quantised[:, i] % 100).tolist()
    assert len({len(text) for text in row_encoder.columns[i].vocabulary()}) == 1
    assert not any(text.startswith("-") for text in row_encoder.columns[i].vocabulary())


@settings(max_examples=20, deadline=None)
@given(predictable(), st.integers(1, 149))
def test_a_rows_code_does_not_depend_on_its_neighbours(drawn: tuple[pd.DataFrame, int, int], one: int) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    quantised = row_encoder.quantise(table)
    assert (row_encoder.codes(quantised[one : one + 1]) == row_encoder.codes(quantised)[one]).all()
