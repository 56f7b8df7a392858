"""Rows survive encoding, whatever the grid; predictable columns are encoded as residuals."""

import json
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import (
    ABSENT,
    MISSING,
    UNENCODABLE,
    CategoricalEncoder,
    NumericEncoder,
    RowEncoder,
    TextEncoder,
)
from synth_assets.synthesizers.language_model.encoders.grid import Grid

DTYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": ("int64", st.integers(-2000, 5000)),
    "large": ("Int64", st.integers(-(2**61) + 1, 2**61 - 1)),
    "step": ("int64", st.integers(-300, 300).map(lambda i: i * 25)),
    "decimals": ("float64", st.integers(-2000, 500_000).map(lambda i: i / 1000)),
    "bool": ("boolean", st.booleans()),
    "date": ("datetime64[s]", st.dates(date(1600, 1, 1), date(2500, 1, 1)).map(str)),
    "minute": ("datetime64[us]", st.integers(-(10**6), 10**7).map(lambda i: i * 60 * 10**6)),
    "micro": ("datetime64[us]", st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1))),
    "zone": ("datetime64[us, Europe/Berlin]", st.integers(-(10**6), 10**7).map(lambda i: i * 3600 * 10**6)),
    "label": ("str", st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)),
    "missing": ("str", st.sampled_from(["missing", "(missing)", "=0"])),
    "constant": ("float64", st.just(1.25)),
    "empty int": ("Int64", st.none()),
    "empty float": ("float64", st.none()),
    "empty label": ("str", st.none()),
    "empty bool": ("boolean", st.none()),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    [" ", "a  b ", ";", "call; mail", "日本 🦪", "\n"]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return a table of some of `DTYPES`, with missing values, many equal ones, and perhaps text."""
    rows = draw(st.integers(1, 60))
    columns = {}
    for name in draw(st.lists(st.sampled_from(list(DTYPES)), min_size=1, max_size=5, unique=True)):
        dtype, values = DTYPES[name]
        common = draw(values)
        frequent = st.just(common) if draw(st.booleans()) else values
        may_miss = st.none() if dtype != "int64" and draw(st.booleans()) else values
        drawn = draw(st.lists(st.one_of(values, frequent, may_miss), min_size=rows, max_size=rows))
        columns[name] = pd.Series(pd.array(drawn, dtype=dtype), name=name)
    texts = {}
    if draw(st.booleans()):
        drawn = draw(st.lists(TEXT | st.none(), min_size=rows, max_size=rows))
        drawn[0] = drawn[0] or "a"
        columns["note"] = pd.Series(drawn, dtype="str")
        texts["note"] = 12
    return pd.DataFrame(columns), texts


def round_trip(row_encoder: RowEncoder, table: pd.DataFrame) -> pd.DataFrame:
    indices = row_encoder.to_indices(row_encoder.quantise(table))
    assert (indices != UNENCODABLE).all()
    for column, of_column in zip(
        row_encoder.all_columns, np.split(indices, part_ends(row_encoder), axis=1), strict=False
    ):
        for part, index in zip(column.parts, of_column.T, strict=True):
            assert index.max() < len(part)
    return row_encoder.to_frame(row_encoder.from_indices(indices))


def part_ends(row_encoder: RowEncoder) -> np.ndarray:
    return np.cumsum([len(column.parts) for column in row_encoder.all_columns])


@settings(max_examples=100, deadline=None)
@given(tables())
def test_rows_survive_encoding(drawn: tuple[pd.DataFrame, dict[str, int]]) -> None:
    table, texts = drawn
    row_encoder = RowEncoder.fit(table, texts=texts)
    restored = RowEncoder.from_json(json.loads(json.dumps(row_encoder.to_json())))
    assert restored == row_encoder
    expected = table.copy()
    for name in table:  # without a missing value, the plain dtype is enough
        if str(table[name].dtype) in ("Int64", "boolean") and not table[name].isna().any():
            expected[name] = table[name].astype(str(table[name].dtype).lower().removesuffix("ean"))
    pd.testing.assert_frame_equal(round_trip(restored, table), expected)


@pytest.mark.parametrize("decimals", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("step", [1, 2, 5, 25, 100])
def test_joined_digits_are_the_number(decimals: int, step: int) -> None:
    numbers = np.random.default_rng(step).integers(0, 90_000 // step, 300) * step / 10**decimals
    table = pd.DataFrame({"x": numbers if decimals else numbers.astype("int64")})
    row_encoder = RowEncoder.fit(table)
    (column,) = row_encoder.columns
    assert all(len(set(part.texts)) == len(part) for part in column.parts)
    assert all(len({len(text) for text in part.texts}) == 1 for part in column.parts)
    assert row_encoder.to_text(table)["x"].astype(float).tolist() == numbers.tolist()


# Grids


def encoder_of(values: Any, dtype: str | None = None) -> NumericEncoder:
    (column,) = RowEncoder.fit(pd.DataFrame({"x": pd.Series(values, dtype=dtype)})).columns
    assert isinstance(column, NumericEncoder)
    return column


def values_of(column: NumericEncoder, values: Any) -> np.ndarray:
    return column.to_values(column.quantise(pd.Series(values))).to_numpy()


def test_whole_numbers_with_few_odd_decimals_are_put_on_whole_numbers() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-40, 5000, 10_000).astype("float64")
    values[:20] += 0.123456789
    column = encoder_of(values)
    assert (column.grid.decimals, column.grid_step) == (0, 1)
    assert column.grid.rounded_share == 0.002
    assert (values_of(column, values) == np.round(values)).all()


def test_few_numbers_among_many_zeros_are_not_rounded_to_zero() -> None:
    values = np.zeros(3000)
    values[:20] = np.random.default_rng(0).integers(1, 4000, 20) / 1e5
    column = encoder_of(values)
    assert values_of(column, values) == pytest.approx(values)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(10**14, 10**15, 500) / 1e9,
        np.random.default_rng(0).integers(1, 2000, 500) * 1e15,
        np.random.default_rng(0).integers(1, 90, 500) * 1e20,
        np.repeat([0.1, 0.123456789012345, 123456.789012345], 50),
        np.random.default_rng(0).integers(-1000, 1000, 500) * 1e-9,
    ],
    ids=["15 digits", "multiples of 1e15", "multiples of 1e20", "few values of 15 digits", "1e-9"],
)
def test_numbers_of_any_size_keep_their_digits(values: np.ndarray) -> None:
    column = encoder_of(values)
    spread = np.subtract(*np.quantile(values, [0.75, 0.25]))
    assert values_of(column, values) == pytest.approx(values, rel=1e-3, abs=2e-5 * spread)
    assert sum(len(part) for part in column.parts) < 2000


def test_values_over_many_orders_of_magnitude_keep_their_first_digits() -> None:
    rng = np.random.default_rng(0)
    values = 10 ** rng.uniform(-9, 3, 2000) * rng.choice([-1, 1], 2000)
    values[:300] = 0.0
    column = encoder_of(values)
    assert values_of(column, values) == pytest.approx(values, rel=5.1e-4, abs=0)
    assert (values_of(column, values) == 0).sum() == 300
    assert column.grid.rounded_share == 1.0


def test_numbers_whose_range_is_infinite_are_kept() -> None:
    values = pd.Series([1.7e308, -1.7e308, 2.5] * 20)
    grid = Grid.fit(values)
    np.testing.assert_allclose(grid.to_values(grid.quantise(values)), values)


def test_amounts_that_never_repeat_keep_their_cents() -> None:
    amounts = np.round(np.random.default_rng(0).uniform(0, 250_000, 500), 2)
    row_encoder = RowEncoder.fit(pd.DataFrame({"amount": amounts}))
    assert row_encoder.columns[0].grid.rounded_share == 0
    assert row_encoder.to_frame(row_encoder.quantise(pd.DataFrame({"amount": amounts})))["amount"].tolist() == list(
        amounts
    )


def test_numbers_that_never_repeat_are_rounded_and_the_share_is_recorded() -> None:
    values = np.random.default_rng(0).normal(size=500)
    column = encoder_of(values)
    assert column.grid.rounded_share == 1.0
    assert np.abs(values_of(column, values) - values).max() < 1e-5


@pytest.mark.parametrize("n_values", [1, 2, 254, 255, 256, 257, 10_000, 10_001, 10**15, 2**61 - 1])
@pytest.mark.parametrize("low", [0, -7, -(10**9)])
def test_parts_do_not_grow_with_the_number_of_possible_values(n_values: int, low: int) -> None:
    ends = [low, low + n_values - 1]
    values = np.array(ends + [low + n_values // 3] * 3 if n_values > 2 else ends)
    column = encoder_of(values)
    assert (column.low, column.high) == (values.min(), values.max())
    assert sum(len(part) for part in column.parts) < 2000
    indices = column.to_indices(values[:, None], values)
    assert column.from_indices(values[:, None], indices).tolist() == values.tolist()
    reach = column.grid_step * column.radix_product
    beyond = np.array([column.high + reach, column.low - reach])
    assert (column.to_indices(beyond[:, None], beyond)[:, 0] == UNENCODABLE).all()


def test_integers_of_64_bits_are_exact_unless_they_differ_too_much() -> None:
    values = [2**63 - 1, 2**63 - 1 - 10**17, 2**63 - 20]
    encoder = encoder_of(values)
    cells = encoder.quantise(pd.Series(values))
    assert (
        encoder.to_values(encoder.from_indices(cells[:, None], encoder.to_indices(cells[:, None], cells))).tolist()
        == values
    )
    with pytest.raises(
        ModelError, match=r"'x' has integers from -1 to 4611686018427387904, .* declare the column as an id"
    ):
        encoder_of([-1, 2**62])


@pytest.mark.parametrize("dtype", ["datetime64[s]", "datetime64[us]", "datetime64[us, America/New_York]"])
@pytest.mark.parametrize("low", ["1950-03-02", "2024-01-02"])
def test_the_last_part_of_a_date_is_its_weekday(dtype: str, low: str) -> None:
    days = pd.Series(pd.date_range(low, periods=700, tz="America/New_York" if "New" in dtype else None)).astype(dtype)
    table = pd.DataFrame({"day": days})
    row_encoder = RowEncoder.fit(table)
    (column,) = row_encoder.columns
    indices = row_encoder.to_indices(row_encoder.quantise(table))
    sizes = [len(part) for part in column.parts]
    if "New" in dtype:  # in the hours of UTC, of which a day has 24; summer time moves it by one
        assert sizes[1:] == [7, 24]
        days, indices = days.dt.tz_convert("UTC"), indices[:, :2]
    else:
        assert sizes[1:] == [7]
    assert (indices[:, 1] == days.dt.day_of_week).all()


@pytest.mark.parametrize("freq", ["MS", "ME", "QS"])
def test_dates_that_are_first_or_last_days_of_months_stay_so(freq: str) -> None:
    days = pd.Series(pd.date_range("2015-01-01", "2023-12-31", freq=freq), name="x").astype("datetime64[s]")

    encoder = NumericEncoder.fit(days[days.dt.month != 4])  # the range is kept, and a month without rows may come

    assert encoder.to_values(np.array(encoder.listed)).tolist() == days.tolist()
    assert NumericEncoder.fit(days + pd.Timedelta(1, "D")).listed == ()


def test_a_time_has_weekday_hour_and_minute() -> None:
    rng = np.random.default_rng(0)
    times = pd.Series(pd.to_datetime("2023-05-01") + pd.to_timedelta(rng.integers(0, 10**6, 500), unit="min")).astype(
        "datetime64[us]"
    )
    table = pd.DataFrame({"at": times})
    row_encoder = RowEncoder.fit(table)
    (column,) = row_encoder.columns
    assert isinstance(column, NumericEncoder)
    assert column.grid.unit == "minute"
    indices = row_encoder.to_indices(row_encoder.quantise(table))
    at = times.dt
    assert indices[:, 1:].tolist() == np.column_stack([at.day_of_week, at.hour, at.minute]).tolist()


# Atoms


def shares_with_atom(rows: int = 4000) -> pd.DataFrame:
    """Return a rate that depends on another, but for 5.7% of the rows, where it is exactly 0.2."""
    rng = np.random.default_rng(0)
    bounce = rng.gamma(2, 0.01, rows).round(9)
    leave = (1.3 * bounce + rng.gamma(2, 0.001, rows)).round(9)
    leave[rng.random(rows) < 0.057] = 0.2
    return pd.DataFrame({"bounce": bounce, "leave": leave})


def test_a_value_that_many_rows_share_is_exact_beside_residuals() -> None:
    table = shares_with_atom()
    row_encoder = RowEncoder.fit(table, ["bounce", "leave"])
    column = row_encoder.columns[1]
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    assert column.atom_values == (0.2,)
    back = round_trip(row_encoder, table)
    is_atom = table["leave"] == 0.2
    assert (back["leave"][is_atom] == 0.2).all()
    indices = row_encoder.to_indices(row_encoder.quantise(table))[:, -len(column.parts) :]
    assert ((indices[:, 0] < column.n_ending) == is_atom).all()
    assert (indices[is_atom, 1:] == ABSENT).all()


def test_a_far_date_that_many_rows_share_leaves_the_others_predictable() -> None:
    start = pd.Series(pd.date_range("2023-01-01", periods=400, freq="8h"))
    end = start.dt.normalize().where(np.arange(400) % 4 > 0, pd.Timestamp("9999-12-31")).astype("datetime64[us]")
    encoder = RowEncoder.fit(pd.DataFrame({"start": start, "end": end}), ["start"])
    assert encoder.columns[1].predictor is not None  # type: ignore[union-attr]


def test_a_value_off_the_grid_that_many_rows_share_is_exact() -> None:
    values = np.random.default_rng(0).normal(50, 9, 1000)
    values[:100] = 1 / 3
    column = encoder_of(values)
    assert (values_of(column, values)[:100] == 1 / 3).all()


@pytest.mark.parametrize("frequent", [(0.0,), (99_999.0,), (0.0, 99_999.0)])
def test_zeros_and_top_codes_are_atoms(frequent: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    values = np.rint(np.exp(rng.normal(7, 1, 2000)))
    values[: 900 * len(frequent)] = np.repeat(frequent, 900)
    assert encoder_of(values).atom_values == frequent


def test_no_number_is_written_between_an_atom_and_the_other_values() -> None:
    ages = np.random.default_rng(0).integers(18, 95, 300)
    ages[:30] = 999
    column = encoder_of(ages)
    assert column.atoms == (999,)
    assert column.base + column.cardinality - 1 == ages[30:].max()
    rows = np.array([[999], [500], [20]])
    assert column.from_indices(rows, column.to_indices(rows, rows[:, 0])).tolist() == [999, ages[30:].max(), 20]


@pytest.mark.parametrize("step", [5, 10, 100])
def test_a_preference_for_round_numbers_makes_no_atoms(step: int) -> None:
    rng = np.random.default_rng(0)
    exact = np.rint(np.exp(rng.normal(7, 0.5, 5000)))
    values = np.where(rng.random(5000) < 0.7, np.rint(exact / step) * step, exact)
    assert encoder_of(values.astype("int64")).atoms == ()


# Predictors


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
    assert len(last.parts[0]) * last.radix_product < last.n_values / 10
    plain = RowEncoder.fit(table, use_residuals=False)
    pd.testing.assert_frame_equal(
        row_encoder.to_frame(row_encoder.quantise(table)), plain.to_frame(plain.quantise(table))
    )


def test_residuals_keep_the_last_two_digits() -> None:
    table = sums()
    row_encoder = RowEncoder.fit(table)
    written = row_encoder.to_text(table)["whole"]
    assert written.str[-2:].tolist() == [f"{value:.4f}"[-2:] for value in table["whole"]]


def test_residuals_that_are_far_shorter_than_the_last_two_digits_are_codes_themselves() -> None:
    rng = np.random.default_rng(0)
    net = rng.normal(200, 70, 500).round()
    gross = (net * 1.19 + np.abs(rng.normal(0, 4, 500))).round()
    column = RowEncoder.fit(pd.DataFrame({"net": net, "gross": gross}), ["net", "gross"]).columns[1]
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    assert column.cardinality < 40


def test_column_order_comes_first() -> None:
    table = sums().assign(kind="x")
    row_encoder = RowEncoder.fit(table, ["whole", "kind"])
    assert [column.name for column in row_encoder.columns[:2]] == ["whole", "kind"]
    assert row_encoder.names == ("whole", "a", "b", "kind")


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


@pytest.mark.parametrize(
    ("table", "first", "words"),
    [
        (pd.DataFrame({"x": []}), [], "no row to learn from"),
        (pd.DataFrame({"x": [1.0, np.inf]}), [], "column 'x' has inf in data row 2, which is not a number"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), [], "occurs twice"),
        (pd.DataFrame({"x": [1]}), ["y"], "column_order names y; the columns are x"),
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
@given(predictable(), st.booleans())
def test_residuals_lose_nothing(drawn: tuple[pd.DataFrame, int, int], gaps: bool) -> None:
    table, _, _ = drawn
    if gaps:
        table = table.astype({name: "Int64" for name in "abc" if table[name].dtype == "int64"})
        table.loc[::9, "a"] = None
        table.loc[::8, "c"] = None
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    (i,) = (i for i, column in enumerate(row_encoder.columns) if column.name == "c")
    column = row_encoder.columns[i]
    assert gaps or column.predictor is not None
    cells = row_encoder.quantise(table)[:, i]
    present = cells[cells != MISSING]
    assert (column.low, column.high) == (present.min(), present.max())
    expected = table.astype({"b": "int64"}) if table["b"].dtype == "Int64" else table
    pd.testing.assert_frame_equal(round_trip(row_encoder, table), expected)


@settings(max_examples=60, deadline=None)
@given(predictable())
def test_residuals_keep_the_last_digits_of_the_value(drawn: tuple[pd.DataFrame, int, int]) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    i = [column.name for column in row_encoder.columns].index("c")
    column = row_encoder.columns[i]
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    assume(column.prediction_step > column.grid_step)  # an exact relation is kept instead
    quantised = row_encoder.quantise(table)
    last = column.to_indices(quantised, quantised[:, i])[:, -1]
    period = column.radices[-1]
    assert (last == (quantised[:, i] - column.low % column.grid_step) // column.grid_step % period).all()


@settings(max_examples=20, deadline=None)
@given(predictable(), st.integers(1, 149))
def test_a_rows_indices_do_not_depend_on_its_neighbours(drawn: tuple[pd.DataFrame, int, int], one: int) -> None:
    table, _, _ = drawn
    row_encoder = RowEncoder.fit(table, ["a", "b"])
    quantised = row_encoder.quantise(table)
    assert (row_encoder.to_indices(quantised[one : one + 1]) == row_encoder.to_indices(quantised)[one]).all()


def test_residuals_of_times_keep_hour_and_weekday() -> None:
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**5, 600), unit="h")
    end = start + pd.to_timedelta(rng.integers(24 * 3, 24 * 90, 600), unit="h")
    table = pd.DataFrame({"start": start, "end": end}).astype("datetime64[us]")
    row_encoder = RowEncoder.fit(table, ["start", "end"])
    column = row_encoder.columns[1]
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    indices = row_encoder.to_indices(row_encoder.quantise(table))
    assert (indices[:, -1] == table["end"].dt.hour).all()
    assert ((indices[:, -2] - table["end"].dt.day_of_week) % 7).nunique() == 1  # a week starts on one of seven days
    pd.testing.assert_frame_equal(round_trip(row_encoder, table), table)
    assert row_encoder.not_before == ((0, 1),)


def test_times_of_different_units_keep_their_order_and_their_units() -> None:
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**5, 600), unit="h")
    table = pd.DataFrame({"start": start, "end": start + pd.to_timedelta(rng.integers(0, 9000, 600), unit="s")})
    row_encoder = RowEncoder.fit(table.astype("datetime64[us]"), ["start", "end"])

    assert row_encoder.not_before == ((0, 1),)
    assert [column.grid_step for column in row_encoder.columns if isinstance(column, NumericEncoder)] == [3600, 1]


def test_a_few_terms_between_two_dates_are_few_residuals() -> None:
    rng = np.random.default_rng(0)
    issued = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 600), unit="D"))
    due = issued + pd.to_timedelta(rng.choice([14, 30, 60], 600), unit="D")
    table = pd.DataFrame({"amount": rng.gamma(2, 500, 600).round(2), "issued": issued, "due": due})
    table = table.astype({"issued": "datetime64[s]", "due": "datetime64[s]"})
    row_encoder = RowEncoder.fit(table, ["amount", "issued", "due"])
    assert len(np.unique(row_encoder.to_indices(row_encoder.quantise(table))[:, -1])) == 3
    pd.testing.assert_frame_equal(round_trip(row_encoder, table), table)


def test_a_date_and_a_time_keep_their_order_by_the_day() -> None:
    rng = np.random.default_rng(0)
    day = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 600), unit="D"))
    time = day + pd.to_timedelta(rng.integers(0, 9000, 600), unit="min")
    table = pd.DataFrame({"day": day.astype("datetime64[s]"), "time": time.astype("datetime64[us]")})
    for order, pair in ((["day", "time"], (0, 1)), (["time", "day"], (1, 0))):
        row_encoder = RowEncoder.fit(table, order)
        assert row_encoder.not_before == (pair,)
    column = row_encoder.columns[0]
    assert isinstance(column, NumericEncoder)
    cells = column.quantise(table["time"])
    assert (row_encoder.in_unit_of(0, 1, cells, latest=True) * 1440 <= cells).all()
    midnight = row_encoder.in_unit_of(1, 0, np.array([3]), latest=False)
    assert midnight == 3 * 1440
    assert row_encoder.in_unit_of(1, 0, np.array([3]), latest=True) == midnight + 1439


def test_an_all_empty_column_predicts_nothing_and_breaks_nothing() -> None:
    table = sums().assign(empty=np.nan, constant=3)
    row_encoder = RowEncoder.fit(table, ["empty", "constant", "a", "b"])
    assert getattr(row_encoder.columns[-1], "predictor", None) is not None
    pd.testing.assert_frame_equal(round_trip(row_encoder, table), table)


# Pairs that never occur together


def test_a_column_that_is_a_function_of_another_forbids_the_other_pairs() -> None:
    rng = np.random.default_rng(0)
    town = rng.choice(["Aachen", "Bonn", "Celle"], 600)
    table = pd.DataFrame({"town": town, "code": pd.Series(town).map({"Aachen": 1, "Bonn": 2, "Celle": 3})})
    (found,) = RowEncoder.fit(table).forbidden
    assert (found.before, found.column) == (0, 1)
    assert set(found.pairs) == {(i, j + 1) for i in range(3) for j in range(3) if i != j}
    table["code"] = rng.permutation(table["code"])
    assert RowEncoder.fit(table).forbidden == ()


def test_the_smallest_floats_are_zeros() -> None:
    table = pd.DataFrame({"x": [0.0, 1e-320, -5e-324, 1e-12] * 5})
    row_encoder = RowEncoder.fit(table)
    back = row_encoder.to_frame(row_encoder.quantise(table))["x"]
    assert back[:4].tolist() == pytest.approx([0.0, 1e-320, -1e-323, 1e-12], rel=1e-3, abs=0.0)


# Text


def test_a_text_is_cut_off_at_its_length_and_an_unknown_character_is_found() -> None:
    table = pd.DataFrame({"note": pd.Series(["abc abc", "ab", None, ""], dtype="str")})
    row_encoder = RowEncoder.fit(table, texts={"note": 4})
    (column,) = row_encoder.all_columns
    assert isinstance(column, TextEncoder)
    other = pd.DataFrame({"note": pd.Series(["abc abc", "abx", "", "cab"], dtype="str")})
    quantised = row_encoder.quantise(other)
    assert row_encoder.is_encodable(quantised).tolist() == [True, False, True, True]
    back = row_encoder.to_frame(row_encoder.from_indices(row_encoder.to_indices(quantised)[[0, 2, 3]]))["note"]
    assert back.fillna("-").tolist() == ["abc ", "-", "cab"]


def test_frequent_words_are_single_pieces() -> None:
    words = ["delivered", "refused", "returned", "to the neighbour"]
    notes = [" ".join(np.random.default_rng(i).permutation(words)) for i in range(200)]
    (column,) = RowEncoder.fit(pd.DataFrame({"note": notes}), texts={"note": 100}).all_columns
    assert isinstance(column, TextEncoder)
    assert column.length == 6


def test_text_that_is_empty_everywhere_stays_empty() -> None:
    table = pd.DataFrame({"note": pd.Series([None, None, ""], dtype="str"), "x": [1, 2, 3]})
    row_encoder = RowEncoder.fit(table, texts={"note": 20})
    back = row_encoder.to_frame(row_encoder.from_indices(row_encoder.to_indices(row_encoder.quantise(table))))
    assert back["note"].isna().all()


@pytest.mark.parametrize("value", ["d", 7, np.nan])
def test_a_cell_that_the_train_rows_do_not_have_is_unencodable(value: Any) -> None:
    table = pd.DataFrame({"k": pd.Series(["a", "b", "c"], dtype="str"), "n": [1, 2, 4]})
    row_encoder = RowEncoder.fit(table)
    name = "k" if isinstance(value, str) else "n"
    changed = table.astype({name: "object"})
    changed.loc[1, name] = value
    changed = changed.astype({"k": "str", "n": "float64"})
    assert row_encoder.is_encodable(row_encoder.quantise(changed)).tolist() == [True, False, True]


def test_of_few_rows_and_many_columns_those_that_correlate_most_predict() -> None:
    rng = np.random.default_rng(0)
    parts = rng.normal(100, 20, (90, 14)).round(1)
    table = pd.DataFrame(parts, columns=list("abcdefghijklmn")).assign(
        copy=(parts[:, 0] + rng.normal(0, 1, 90)).round(1)
    )
    fitted = {column.name: column for column in RowEncoder.fit(table).columns}
    assert fitted["copy"].predictor or fitted["a"].predictor
