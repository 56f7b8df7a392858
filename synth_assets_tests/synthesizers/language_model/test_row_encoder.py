"""Rows in whole numbers and back: nothing is lost, whatever the grid."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, NumericEncoder, RowEncoder
from synth_assets.synthesizers.settings import ModelError


@st.composite
def numbers(draw: st.DrawFn, rows: int) -> pd.Series:
    decimals = draw(st.integers(0, 5))
    step = draw(st.sampled_from([1, 2, 5, 25]))
    units = draw(st.lists(st.integers(-2000, 5000), min_size=rows, max_size=rows))
    values = np.array(units) * step
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
def test_rows_survive_the_way_to_codes_and_back(table: pd.DataFrame) -> None:
    row_encoder = RowEncoder.fit(table)
    units = row_encoder.quantise(table)
    codes = row_encoder.codes(units)
    assert (codes >= 0).all()
    back = np.zeros_like(units)
    for place in range(len(row_encoder.columns)):
        back[:, place] = row_encoder.dequantise(place, codes[:, place], row_encoder.offsets(place, back))
    pd.testing.assert_frame_equal(row_encoder.to_frame(back), table)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_texts_are_of_one_width_and_name_the_value(table: pd.DataFrame) -> None:
    row_encoder = RowEncoder.fit(table, use_residuals=False)
    for place, column in enumerate(row_encoder.columns):
        texts = row_encoder.vocabulary(place)
        assert len(set(texts)) == len(texts) == column.cardinality
        if isinstance(column, NumericEncoder):
            assert len({len(text.removeprefix("-")) for text in texts}) == 1
            codes = row_encoder.codes(row_encoder.quantise(table))[:, place]
            assert [float(texts[code]) for code in codes] == [float(value) for value in table[column.name]]


def sums(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(100, 9000, rows), rng.integers(100, 9000, rows)
    return pd.DataFrame({"whole": (a + b + rng.integers(0, 120, rows)) / 1e4, "a": a / 1e4, "b": b / 1e4})


def test_a_column_that_others_predict_comes_last_and_is_written_as_a_difference() -> None:
    table = sums()
    row_encoder = RowEncoder.fit(table)
    assert row_encoder.columns[-1].name == "whole"
    last = row_encoder.columns[-1]
    assert isinstance(last, NumericEncoder)
    assert last.predictor is not None
    assert last.cardinality < RowEncoder.fit(table, use_residuals=False).columns[-1].size / 10
    plain = RowEncoder.fit(table, use_residuals=False)
    pd.testing.assert_frame_equal(
        row_encoder.to_frame(row_encoder.quantise(table)), plain.to_frame(plain.quantise(table))
    )


def test_a_difference_keeps_the_last_two_digits() -> None:
    table = sums()
    row_encoder = RowEncoder.fit(table)
    written = row_encoder.to_text(table)["whole"]
    assert written.str[-2:].tolist() == [f"{value:.4f}"[-2:] for value in table["whole"]]


def test_what_comes_first_is_as_stated() -> None:
    table = sums().assign(kind="x")
    row_encoder = RowEncoder.fit(table, ["whole", "kind"])
    assert [column.name for column in row_encoder.columns[:2]] == ["whole", "kind"]
    assert row_encoder.names == ("whole", "a", "b", "kind")


def test_json_gives_the_same_coding() -> None:
    row_encoder = RowEncoder.fit(sums().assign(kind=pd.Series(["x", "y"] * 200, dtype="str")))
    assert RowEncoder.from_json(json.loads(json.dumps(row_encoder.to_json()))) == row_encoder


def test_a_coding_of_another_version_gets_one_clear_message() -> None:
    written = RowEncoder.fit(sums()).to_json()
    written["columns"][-1]["prediction"]["powers"] = 3
    with pytest.raises(ModelError, match="fitted by another version of synth_assets"):
        RowEncoder.from_json(written)


def test_rows_far_off_do_not_bend_a_prediction() -> None:
    table = sums(1000)
    off = np.arange(1000) % 10 == 0
    table.loc[off, "whole"] += (table.loc[off, "a"] ** 3).round(4)
    table["whole"] = table["whole"].round(4)
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    units = row_encoder.quantise(table)
    rest = units[:, 2] - row_encoder.predictions(2, units)
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
    units = row_encoder.quantise(table)
    # Two in a hundred of a weight are two in three hundred of a length.
    assert np.abs(units[:, 1] / row_encoder.predictions(1, units) - 1).mean() < 0.01


@pytest.mark.filterwarnings("error")
def test_a_column_that_others_determine_is_one_value_in_differences() -> None:
    table = sums()
    table["whole"] = (table["a"] + table["b"]).round(4)
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    units = row_encoder.quantise(table)
    assert np.abs(units[:, 2] - row_encoder.predictions(2, units)).max() < 1e-3


def test_labels_are_sorted() -> None:
    (column,) = RowEncoder.fit(pd.DataFrame({"k": ["b", "a", "b"]})).columns
    assert column == CategoricalEncoder("k", ("a", "b"))


def test_more_values_than_can_be_written_are_rounded_and_say_so() -> None:
    column = RowEncoder.fit(pd.DataFrame({"x": np.random.default_rng(0).normal(size=200)})).columns[0]
    assert isinstance(column, NumericEncoder)
    assert column.is_lossy
    assert column.cardinality <= 1_000_001


@pytest.mark.parametrize(
    ("table", "first", "words"),
    [
        (pd.DataFrame({"x": []}), [], "no row to learn from"),
        (pd.DataFrame({"x": [1.0, np.nan]}), [], "column 'x' has no finite value in 1 of 2 rows"),
        (pd.DataFrame({"x": [1.0, np.inf]}), [], "column 'x' has no finite value in 1 of 2 rows"),
        (pd.DataFrame({"x": ["a", None]}), [], "column 'x' has no finite value in 1 of 2 rows"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), [], "occurs twice"),
        (pd.DataFrame({"x": [1]}), ["y"], "the order names y; the columns are x"),
        (pd.DataFrame({"x": [1e17, 2.0]}), [], "give it in a larger unit"),
    ],
)
def test_bad_tables_get_one_clear_message(table: pd.DataFrame, first: list[str], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        RowEncoder.fit(table, first)


def test_a_row_off_the_grid_cannot_be_written() -> None:
    row_encoder = RowEncoder.fit(pd.DataFrame({"x": [0.0, 0.5, 1.0]}))
    with pytest.raises(ModelError, match=r"row 1 has np.float64\(1.5\) in column 'x'|row 1 has 1.5 in column 'x'"):
        row_encoder.to_text(pd.DataFrame({"x": [0.5, 1.5]}))
