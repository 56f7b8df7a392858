"""The forest's rows: on the grid, like the train rows, and the same for the same seed."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from synth_assets.schema.columns import Boolean, Categorical, Date, Float, Integer
from synth_assets.schema.infer import infer_schema
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.forest import Forest, ForestSettings, SequentialForest
from synth_assets.synthesizers.language_model.encoders import MISSING, NumericEncoder, RowEncoder


def table_of(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, rows)
    a = rng.integers(100, 4000, rows) + 3000 * kind
    b = rng.integers(100, 4000, rows)
    return pd.DataFrame(
        {
            "whole": (a + b + rng.integers(0, 80, rows)) / 1e4,
            "a": a / 1e4,
            "b": b / 1e4,
            "kind": pd.Series(np.array(["x", "y"])[kind], dtype="str"),
        }
    )


def forest_of(table: pd.DataFrame, row_encoder: RowEncoder, **settings: float) -> SequentialForest:
    settings = {"n_estimators": 5, **settings}
    return SequentialForest(row_encoder, row_encoder.quantise(table), ForestSettings(**settings), seed=1)  # type: ignore[arg-type]


def rows_of(table: pd.DataFrame, n: int, seed: int = 2, **spec: float) -> pd.DataFrame:
    row_encoder = RowEncoder.fit(table)
    forest = forest_of(table, row_encoder, **spec)
    units = forest.sample(n, seed=seed)
    assert len(units) == n
    for place in range(len(row_encoder.columns)):
        low, high = row_encoder.columns[place].low, row_encoder.columns[place].high
        assert units[:, place].min() >= low
        assert units[:, place].max() <= high
    return row_encoder.to_frame(units)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [1, 5])
def test_rows_are_on_the_grid_and_within_limits(seed: int, step: int) -> None:
    table = table_of(seed=seed)
    table["whole"] = np.rint(table["whole"] * 1e4 / step) * step / 1e4
    row_encoder = RowEncoder.fit(table)
    last = row_encoder.columns[-1]
    assert isinstance(last, NumericEncoder)
    assert last.predictor is not None
    rows = rows_of(table, 2000, seed, kernel_bandwidth=0.5)
    assert (np.rint(rows["whole"] * 1e4) % step == 0).all()
    assert rows.dtypes.to_dict() == table.dtypes.to_dict()
    assert (
        row_encoder.is_encodable(row_encoder.quantise(rows)).mean() > 0.97
    )  # what is clipped to the limits may differ by more than can be written


def test_the_seed_alone_decides() -> None:
    table = table_of()
    pd.testing.assert_frame_equal(rows_of(table, 200), rows_of(table, 200))
    assert not rows_of(table, 200).equals(rows_of(table, 200, seed=3))


def test_rows_are_like_those_of_the_table() -> None:
    table = table_of(800)
    rows = rows_of(table, 4000, n_estimators=20)
    assert (rows["kind"] == "x").mean() == pytest.approx((table["kind"] == "x").mean(), abs=0.05)
    means, expected = rows.groupby("kind")["a"].mean(), table.groupby("kind")["a"].mean()
    assert (means - expected).abs().max() < 0.03
    rest = (rows["whole"] - rows["a"] - rows["b"]) * 1e4
    assert rest.std() < 0.1 * table["whole"].std() * 1e4


def test_an_edge_between_columns_stays_one() -> None:
    table = table_of(2000)  # in which the whole is never less than its parts, and often little more
    rows = rows_of(table, 4000, n_estimators=20)
    rest = (rows["whole"] - rows["a"] - rows["b"]) * 1e4
    assert (rest < -0.5).mean() < 0.05  # of differences from rounded predictions it would be a fifth
    assert rest.between(-10, 90).mean() > 0.98


def test_few_rows_are_copies() -> None:
    table = table_of()
    keys = set(map(tuple, table.to_numpy().tolist()))
    rows = rows_of(table, 1000)
    assert np.mean([tuple(row) in keys for row in rows.to_numpy().tolist()]) < 0.02


def test_without_smoothing_or_residuals_every_value_is_one_of_the_train_rows() -> None:
    table = table_of()
    row_encoder = RowEncoder.fit(table, use_residuals=False)
    forest = forest_of(table, row_encoder, n_estimators=5, kernel_bandwidth=0.0)
    rows = row_encoder.to_frame(forest.sample(1000, seed=2))
    for name in table.columns:
        assert set(rows[name]) <= set(table[name])


def test_smoothing_gives_values_in_between_and_keeps_the_spread() -> None:
    table = table_of()
    row_encoder = RowEncoder.fit(table, use_residuals=False)
    last = row_encoder.columns[-1].name
    forest = forest_of(table, row_encoder, n_estimators=5, kernel_bandwidth=0.3)
    rows = row_encoder.to_frame(forest.sample(4000, seed=2))
    assert not set(rows[last]) <= set(table[last])
    assert rows[last].std() == pytest.approx(table[last].std(), rel=0.1)


def test_numbers_of_the_first_column_are_not_copied_where_they_hardly_repeat() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 10**6, 600)
    first[:150] = 7
    table = pd.DataFrame({"number": first, "kind": pd.Series(rng.choice(["x", "y"], 600), dtype="str")})
    encoder = RowEncoder.fit(table, ["number", "kind"])
    assert encoder.columns[0].name == "number"

    values = encoder.to_frame(forest_of(table, encoder).sample(2000, seed=2))["number"]

    assert values[values != 7].isin(first).mean() < 0.05
    assert (values == 7).mean() == pytest.approx(0.25, abs=0.04)
    assert values.median() == pytest.approx(np.median(first), rel=0.15)


def test_a_heavy_tail_and_its_zeros_stay() -> None:
    rng = np.random.default_rng(0)
    claims = np.where(rng.random(1000) < 0.6, 0.0, rng.lognormal(5, 2.0, 1000).round(2))
    claims[:9] = 99999.0  # too few rows to be an atom
    table = pd.DataFrame({"group": rng.choice(["a", "b"], 1000), "claims": claims})
    rows = Forest(ForestSettings(n_estimators=20)).fit(table, infer_schema(table)).sample(4000)["claims"]
    assert (rows == 0).mean() == pytest.approx((claims == 0).mean(), abs=0.03)
    assert (rows == 99999).mean() == pytest.approx(0.009, abs=0.004)
    shares = [0.1, 0.5, 0.9]
    assert rows[rows > 0].quantile(shares).tolist() == pytest.approx(np.quantile(claims[claims > 0], shares), rel=0.3)


def test_numbers_far_from_zero_keep_their_spread() -> None:
    table = table_of()
    table["a"] = 10**13 + np.rint(table["a"] * 1e4).astype("int64")
    row_encoder = RowEncoder.fit(table[["kind", "a"]], use_residuals=False)
    units = forest_of(table, row_encoder, n_estimators=5, kernel_bandwidth=0.3).sample(4000, seed=2)
    assert units[:, 1].std() == pytest.approx(table["a"].std(), rel=0.05)


def test_a_habit_of_the_last_digits_survives_smoothing() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4000, 600)
    x = np.where(rng.random(600) < 0.95, rng.integers(0, 800, 600) * 5, rng.integers(0, 4000, 600))
    table = pd.DataFrame({"a": a, "x": x})
    row_encoder = RowEncoder.fit(table, ["a", "x"])
    column = row_encoder.columns[1]
    assert isinstance(column, NumericEncoder)
    assert column.grid_step == 1
    units = forest_of(table, row_encoder, n_estimators=5, kernel_bandwidth=0.3).sample(3000, seed=2)
    assert (units[:, 1] % 5 == 0).mean() == pytest.approx((x % 5 == 0).mean(), abs=0.03)


@pytest.mark.parametrize("n", [1, 2])
def test_a_table_of_one_or_two_rows_is_enough(n: int) -> None:
    table = table_of().head(n)
    rows = rows_of(table, 20)
    assert set(rows["kind"]) <= set(table["kind"])


def test_resampling_mends_what_the_forest_gets_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(2000)
    row_encoder = RowEncoder.fit(table, ["kind"])
    forest = forest_of(table, row_encoder, n_estimators=5)
    written = forest.sample

    def too_many_of_one_kind(n: int, *, seed: int) -> np.ndarray:
        rows = written(2 * n, seed=seed)
        order = np.random.default_rng(seed).random(2 * n) - 0.4 * rows[:, 0]
        return rows[np.sort(np.argsort(order)[:n])]

    monkeypatch.setattr(forest, "sample", too_many_of_one_kind)
    share = {
        name: float((row_encoder.to_frame(rows)["kind"] == "x").mean())
        for name, rows in (("forest", forest.sample(6000, seed=2)), ("resampled", forest.resample(6000, seed=2)))
    }
    expected = float((table["kind"] == "x").mean())
    assert abs(share["forest"] - expected) > 0.1
    assert share["resampled"] == pytest.approx(expected, abs=0.03)


def test_where_the_forest_is_right_resampling_keeps_nearly_every_row() -> None:
    table = table_of(2000)
    row_encoder = RowEncoder.fit(table)
    rows = forest_of(table, row_encoder, n_estimators=10).resample(6000, seed=2)
    assert len(rows) == 6000
    assert len(np.unique(rows, axis=0)) > 0.8 * 6000
    low, high = zip(*((column.low, column.high) for column in row_encoder.columns), strict=True)
    assert (rows.min(axis=0) >= low).all()
    assert (rows.max(axis=0) <= high).all()
    again = forest_of(table, row_encoder, n_estimators=10).resample(6000, seed=2)
    assert np.array_equal(rows, again)


CART = ForestSettings(n_estimators=1, kernel_bandwidth=0.0, min_samples_leaf=5)
SCHEMA = TableSchema(
    columns=(Float(name="whole"), Float(name="a"), Float(name="b"), Categorical(name="kind", categories=("x", "y"))),
    private=False,
)


def test_cart_generates_values_of_train_rows_alone() -> None:
    table = table_of()
    rows = Forest(CART).fit(table, SCHEMA, seed=0).sample(400, seed=0)
    for name in table.columns:
        assert set(rows[name]) <= set(table[name]), name
    assert len(rows.merge(table, how="inner")) < 100  # and not their rows


def test_a_tree_of_one_leaf_gives_the_marginals() -> None:
    """Nine rows cannot be split into leaves of five: each column is drawn by itself."""
    table = table_of(9)
    rows = Forest(CART).fit(table, SCHEMA, seed=0).sample(20_000, seed=0)
    for name in table.columns:
        found, expected = (frame[name].value_counts(normalize=True) for frame in (rows, table))
        assert found[expected.index].to_numpy() == pytest.approx(expected.to_numpy(), abs=0.015)


# Missing values, atoms, many labels


def gappy_table(rows: int = 2000) -> pd.DataFrame:
    """Return rows in which gaps depend on a label, and a fifth of the rates that depend on another is exactly 0.2."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["x", "y"], rows)
    bounce = rng.gamma(2, 0.01, rows).round(9)
    leave = (1.3 * bounce + rng.gamma(2, 0.001, rows)).round(9)
    leave[rng.random(rows) < np.where(kind == "x", 0.4, 0.0)] = 0.2
    test = rng.integers(0, 900, rows).astype("float64")
    test[rng.random(rows) < np.where(kind == "x", 0.05, 0.7)] = np.nan
    return pd.DataFrame(
        {
            "kind": pd.Series(kind, dtype="str"),
            "bounce": bounce,
            "leave": leave,
            "test": pd.array(test, dtype="Int64"),
            "town": pd.Series([f"t{i:03d}" for i in (rng.exponential(30, rows) + 60 * (kind == "x")).astype(int)]),
            "empty": pd.Series([np.nan] * rows),
        }
    ).astype({"town": "str"})


@pytest.mark.parametrize("resampled", [False, True])
def test_gaps_atoms_and_many_labels_keep_their_shares_and_what_they_depend_on(*, resampled: bool) -> None:
    table = gappy_table()
    row_encoder = RowEncoder.fit(table, ["kind", "bounce", "leave", "test", "town", "empty"])
    assert getattr(row_encoder.columns[2], "predictor", None) is not None
    forest = forest_of(table, row_encoder, n_estimators=10)
    quantised = forest.resample(4000, seed=2) if resampled else forest.sample(4000, seed=2)
    rows = row_encoder.to_frame(quantised)
    assert row_encoder.is_encodable(quantised).mean() > 0.98
    assert rows["test"].dtype == "Int64"
    assert rows["empty"].isna().all()
    assert (rows["leave"][rows["leave"].between(0.19999, 0.20001)] == 0.2).all()
    for kind, own in table.groupby("kind"):
        found = rows[rows["kind"] == kind]
        assert found["test"].isna().mean() == pytest.approx(own["test"].isna().mean(), abs=0.05)
        assert (found["leave"] == 0.2).mean() == pytest.approx((own["leave"] == 0.2).mean(), abs=0.05)
        is_high, expected = (each["town"].str[1:].astype(int).ge(60).mean() for each in (found, own))
        assert is_high == pytest.approx(expected, abs=0.05)
    assert table["town"].nunique() > 64
    assert set(rows["town"]) <= set(table["town"])


def test_the_first_column_does_not_repeat_the_train_rows() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(2, 10, (2, 1200)).round(2)
    train, fresh = (np.where(rng.random(1200) < 0.1, 20.0, each) for each in values)  # many rows share one value
    table = pd.DataFrame({"v": train})
    row_encoder = RowEncoder.fit(table)

    rows = row_encoder.to_frame(forest_of(table, row_encoder).sample(3000, seed=0))["v"]

    assert abs((rows == 20.0).mean() - (train == 20.0).mean()) < 0.02
    assert np.isin(rows, train).mean() < np.isin(fresh, train).mean() + 0.05  # all were values of train rows
    assert ks_2samp(rows, train).statistic < 0.03


def test_months_that_no_train_row_has_are_as_frequent_as_others() -> None:
    """As of a series with a row a month, of which some are held out: the others would tell which."""
    months = pd.Series(pd.date_range("1980-01-01", periods=400, freq="MS").astype("datetime64[s]"))
    train = months.sample(320, random_state=0).sort_values(ignore_index=True)
    level = np.arange(320) + np.random.default_rng(0).normal(0, 5, 320).round(1)

    generated = rows_of(pd.DataFrame({"month": train, "level": level}), 2000)["month"]

    assert generated.isin(months).all()
    assert 0.75 < generated.isin(train).mean() < 0.85


def test_dates_stay_in_order_and_equal_ones_equal() -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 1000, 1500)
    length = np.where(rng.random(1500) < 0.3, 0, rng.integers(1, 30, 1500))
    day = np.datetime64("2020-01-01")
    table = pd.DataFrame({"start": day + start, "end": day + start + length})
    row_encoder = RowEncoder.fit(table)
    assert row_encoder.not_before

    rows = row_encoder.to_frame(forest_of(table, row_encoder, n_estimators=20).sample(3000, seed=0))

    lengths = (rows["end"] - rows["start"]).dt.days
    assert lengths.min() >= 0  # 10% were less
    assert abs((lengths == 0).mean() - (length == 0).mean()) < 0.04  # 10% of 30% were left
    assert abs(lengths.mean() - length.mean()) < 1


def test_numbers_stay_in_order_unless_that_is_a_coincidence() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(20, 5, 1000).round(1)
    near, far = rng.exponential(3, 1000).round(1), rng.gamma(20, 1, 1000).round(1)
    table = pd.DataFrame({"low": low, "high": (low + near).round(1), "far": (low + far).round(1)})
    rare = pd.DataFrame({"rare": (rng.random(1000) < 0.01).astype(int), "n": rng.poisson(9, 1000)})
    row_encoder = RowEncoder.fit(table, ("low",))
    names = [column.name for column in row_encoder.columns]
    assert [(names[one], names[other]) for one, other in row_encoder.not_before] == [("low", "high")]
    assert RowEncoder.fit(rare).not_before == ()

    rows = row_encoder.to_frame(forest_of(table, row_encoder, n_estimators=20).sample(3000, seed=0))

    assert (rows["low"] <= rows["high"]).all()  # 4% were not


def test_zeros_of_a_column_of_few_values_stay_zeros() -> None:
    rng = np.random.default_rng(0)
    other = np.where(rng.random(600) < 0.01, rng.integers(1, 250, 600), 0)
    table = pd.DataFrame({"a": (rng.normal(size=600) + other / 100).round(2), "other": other})
    row_encoder = RowEncoder.fit(table, column_order=("a",))

    rows = row_encoder.to_frame(forest_of(table, row_encoder).sample(2000, seed=0))

    assert abs((rows["other"] == 0).mean() - (other == 0).mean()) < 0.01  # with noise, 0.83 of 0.99


def test_of_many_features_those_that_matter_are_used() -> None:
    rng, names = np.random.default_rng(0), list("abcdef")
    table = pd.DataFrame({f"label {i}": rng.integers(0, 40, 600).astype("str") for i in range(10)})
    factor = rng.normal(size=600)
    table = table.assign(**{name: np.abs(factor + rng.normal(size=600) / 1.2).round(2) for name in names})
    real, generated = (each[names].corr("spearman").to_numpy() for each in (table, rows_of(table, 600)))
    assert generated[np.triu_indices(6, 1)].mean() > 0.6 * real[np.triu_indices(6, 1)].mean()


def test_in_many_columns_strong_relations_stay_strong() -> None:
    rng, names = np.random.default_rng(0), list("abcdef")
    table = pd.DataFrame(rng.normal(size=(600, 50)).round(2)).add_prefix("noise ")
    factor = rng.normal(size=600)
    table = table.assign(**{name: (factor + rng.normal(size=600) / 1.2).round(2) for name in names})
    real, generated = (each[names].corr("spearman").to_numpy() for each in (table, rows_of(table, 2000)))
    assert generated[np.triu_indices(6, 1)].mean() > 0.8 * real[np.triu_indices(6, 1)].mean()


def test_each_of_many_labels_has_its_own_values_and_no_others_by_chance() -> None:
    rng = np.random.default_rng(0)
    country = np.repeat(np.arange(150), 12)
    level, noise = rng.permutation(150)[country] + rng.normal(0, 3, 1800), rng.normal(0, 1, 1800)
    names = {"country": country, "continent": country % 5}
    table = pd.DataFrame({name: pd.Series(each).map("c{:03d}".format) for name, each in names.items()}).astype("str")
    table = table.assign(level=level.round(1), noise=noise.round(2))

    generated = rows_of(table, 3000, n_estimators=20)

    group = generated["country"].str[1:].astype(int)
    assert (generated["continent"] == (group % 5).map("c{:03d}".format)).all()
    right = table.groupby("country")["level"].mean()[generated["country"]].to_numpy()
    assert np.corrcoef(right, generated["level"])[0, 1] > 0.95
    between = [
        rows.groupby("country")["noise"].mean() * np.sqrt(rows["country"].value_counts()) for rows in (table, generated)
    ]
    assert between[1].std() < 1.3 * between[0].std()


def test_large_integers_and_dates_are_copied_exactly_without_smoothing() -> None:
    rng = np.random.default_rng(0)
    number = pd.array(10**18 + rng.integers(0, 10**18, 50), dtype="Int64")
    table = pd.DataFrame(
        {
            "kind": pd.Series(rng.choice(["x", "y"], 50), dtype="str"),
            "number": number,
            "day": pd.Series(pd.date_range("2024-01-01", periods=50)).astype("datetime64[s]"),
            "flag": pd.array(rng.choice([True, False, None], 50), dtype="boolean"),
        }
    )
    table.loc[::6, "number"] = None
    columns = (
        Categorical(name="kind", categories=("x", "y")),
        Integer(name="number", nullable=True),
        Date(name="day"),
        Boolean(name="flag", nullable=True),
    )
    rows = Forest(CART).fit(table, TableSchema(columns=columns, private=False), seed=0).sample(500, seed=0)
    assert rows.dtypes.to_dict() == table.dtypes.to_dict()
    for name in table:
        assert set(rows[name].dropna()) <= set(table[name].dropna())
        assert rows[name].isna().any() == table[name].isna().any()


@pytest.mark.parametrize("dtype", ["str", "boolean", "Int64", "float64", "datetime64[s]"])
@pytest.mark.parametrize("first", [False, True])
def test_a_column_without_any_cell_stays_empty(dtype: str, *, first: bool) -> None:
    table = table_of(40).assign(empty=pd.Series([None] * 40, dtype=dtype))
    row_encoder = RowEncoder.fit(table, ["empty"] if first else [*table])
    quantised = forest_of(table, row_encoder).sample(50, seed=1)
    assert (quantised[:, [column.name for column in row_encoder.columns].index("empty")] == MISSING).all()
    assert row_encoder.to_frame(quantised)[["a", "b", "whole", "kind"]].notna().all(axis=None)
