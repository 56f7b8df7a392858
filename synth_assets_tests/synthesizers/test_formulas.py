"""Columns of numbers that are computed from others."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ModelError
from synth_assets.schema.columns import Integer
from synth_assets.schema.conditions import Condition
from synth_assets.schema.infer import infer_schema
from synth_assets.synthesizers.base import Log
from synth_assets.synthesizers.forest import Forest, ForestSettings
from synth_assets.synthesizers.formulas import find_formulas
from synth_assets.synthesizers.preparation import Preparation
from synth_assets_tests.stub_synthesizer import Stub

N = 600


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _fitted(rows: pd.DataFrame) -> Preparation:
    schema = infer_schema(rows, private=False)
    return Preparation.fit(schema.coerce(rows, origin="x"), schema)


def _texts(**columns: object) -> dict[str, str]:
    return {name: formula.text for name, formula in _fitted(pd.DataFrame(columns)).computed.items()}


def orders() -> pd.DataFrame:
    """Return orders: a total with gaps, what is left of it, and days between two dates."""
    rng = _rng()
    quantity, start = rng.integers(1, 9, N), pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, N), "D")
    price = np.where(rng.random(N) < 0.1, np.nan, np.floor(np.exp(rng.normal(3, 1, N))) + 0.99)
    days = rng.integers(0, 40, N)
    rows = pd.DataFrame({"quantity": quantity, "price": price, "discount": (quantity * rng.random(N)).round(2)})
    rows["total"] = (rows["quantity"] * rows["price"]).round(2)
    rows["net"] = (rows["total"] - rows["discount"]).round(2)
    return rows.assign(start=start, end=start + pd.to_timedelta(days, "D"), days=days)


def assert_computed(rows: pd.DataFrame) -> None:
    """Assert that all formulas of `orders` hold in all rows."""
    total = (rows["quantity"] * rows["price"]).round(2)
    pd.testing.assert_series_equal(rows["total"], total, check_names=False)
    pd.testing.assert_series_equal(rows["net"], (total - rows["discount"]).round(2), check_names=False)
    assert (rows["days"] == (rows["end"] - rows["start"]).dt.days).all()


def test_formulas_are_found() -> None:
    rng = _rng()
    a, b, c = rng.poisson(5, N), rng.integers(0, 60, N), rng.normal(50, 20, N).round(2)
    assert _texts(a=a, b=b, c=a + b, d=c, e=(c - 5).round(2)) == {"c": "a + b", "e": "d - 5"}
    assert _texts(minutes=60 * a + b, a=a, b=b) == {"minutes": "60 * a + b"}
    assert _texts(inch=c.round(1), cm=(c.round(1) * 2.54).round(1)) == {"cm": "2.54 * inch"}
    assert _texts(f=b, c=((b - 32) * 5 / 9).round(1)) == {"c": "0.555556 * f - 17.7778"}
    assert _texts(cent=(c * 100).round().astype(int), euro=c) == {"euro": "0.01 * cent"}
    played = a + rng.integers(1, 30, N)
    assert _texts(won=a, played=played, percent=(100 * a / played).round(1)) == {"percent": "100 * won / played"}
    rate, net = rng.integers(1, 25, N), (rng.gamma(2, 50, N) + 10).round(2)
    taxed = {"net": net, "rate": rate, "tax": (net * rate / 100).round(2)}
    assert _texts(**taxed) == {"tax": "0.01 * net * rate"}


def test_of_rounded_products_and_ratios_the_ratio_with_more_decimals_is_computed() -> None:
    rng = _rng()
    bats = rng.integers(20, 600, N)
    hits = rng.binomial(bats, 0.3)
    assert _texts(bats=bats, hits=hits, average=(hits / bats).round(3)) == {"average": "hits / bats"}
    assert _texts(bats=bats, hits=hits, average=hits / bats) == {"average": "hits / bats"}


def test_a_value_that_rounding_leads_beyond_the_train_rows_is_accepted() -> None:
    share = _rng().random(N)
    preparation = _fitted(pd.DataFrame({"share": share, "rest": 1 - share}))
    learned = pd.DataFrame({"share": [share.min() - 1e-5, share.max() + 1e-5, share.max() + 1e-3]})
    assert preparation.is_acceptable(learned, {}).tolist() == [True, True, False]  # type: ignore[union-attr]


def test_powers_and_logarithms_are_found() -> None:
    rng = _rng()
    age, wage = rng.integers(18, 65, N), rng.lognormal(2, 0.5, N).round(2)
    assert _texts(age=age, squared=age**2) == {"squared": "square(age)"}
    assert _texts(wage=wage, log=np.log(wage), digits=np.log10(wage).round(4)) == {
        "digits": "log10(wage)",
        "log": "log(wage)",
    }
    assert _texts(age=age, root=np.sqrt(age), centred=np.log(age) - np.log(age).mean()) == {
        "centred": f"log(age) - {np.log(age).mean():.6g}",
        "root": "sqrt(age)",
    }


def test_numbers_of_single_precision_are_learned_as_decimals_and_come_back_as_they_were() -> None:
    """As an export of 32-bit floats has them: 0.38 is 0.3799999952316284."""
    rng = _rng()
    price, size = rng.gamma(2, 50, N).round(2), rng.integers(1, 40, N) / 10
    exact = {
        "price": price,
        "size": size,
        "total": (price * size).round(3),
        "log": np.log(price.astype("float32").astype("float64")),
    }
    rows = pd.DataFrame({name: each.astype("float32").astype("float64") for name, each in exact.items()})

    fitted = _fitted(rows)
    learned = fitted.prepare(rows)

    assert {name: formula.text for name, formula in fitted.computed.items()} == {
        "total": "price * size",
        "log": "log(price)",
    }
    assert learned["price"].tolist() == price.tolist()
    pd.testing.assert_frame_equal(fitted.restore(learned, seed=0, batch=0, first_key=0), rows, check_exact=True)
    assert fitted.is_acceptable(learned, {}).all()  # also the least and the greatest row


def test_hours_between_times_are_found_whichever_way_they_are_rounded() -> None:
    rng = _rng()
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**6, N), "min")
    minutes = rng.integers(1, 3000, N)
    times = {"start": start, "end": start + pd.to_timedelta(minutes, "min")}
    assert _texts(**times, hours=minutes // 60) == {"hours": "hours from start to end"}
    assert _texts(**times, hours=(minutes / 60).round(2)) == {"hours": "hours from start to end"}
    assert _texts(**times, hours=-(-minutes // 60) + 1) == {"hours": "hours from start to end +1"}


def test_ages_in_years_are_found() -> None:
    rng = _rng()
    born = pd.Series(pd.Timestamp("1940-02-28") + pd.to_timedelta(rng.integers(0, 25_000, N), "D"))
    born[0] = pd.Timestamp("2000-02-29")
    seen = pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, N), "D"))
    seen[0] = pd.Timestamp("2023-02-28")
    full = [s.year - b.year - ((s.month, s.day) < (b.month, b.day)) for b, s in zip(born, seen, strict=True)]
    assert _texts(born=born, seen=seen, age=full) == {"age": "full years from born to seen"}
    years = (seen - born).dt.days / 365.25
    assert _texts(born=born, seen=seen, age=years.round(1)) == {"age": "mean years from born to seen"}

    rows = pd.DataFrame({"born": born, "seen": seen, "age": full})
    preparation = _fitted(rows)
    restored = preparation.restore(preparation.prepare(rows).assign(age=0), seed=0, batch=0, first_key=0)
    assert restored["age"].tolist() == full
    gaps = rows.astype({"age": "Int64"})
    gaps.loc[1, "age"], gaps.loc[2, "born"] = None, None
    solved = preparation.solve(gaps)
    assert solved["born"].isna().sum() == 1


def test_no_formula_is_found_by_coincidence() -> None:
    rng = _rng()
    for n, most in ((20, 4), (60, 30), (600, 3)):  # few rows, few rows of many columns, few values
        rows = pd.DataFrame(rng.integers(0, most, (n, 40)), columns=[f"c{i}" for i in range(40)])
        assert not find_formulas(rows, [Integer(name=name) for name in rows])
    few = np.where(rng.random(N) < 0.01, 5, 0)
    a, b = rng.integers(0, 99, N), rng.integers(0, 99, N)
    assert not _texts(a=a, extra=few, c=a + few)  # the extra is nearly never there
    assert not _texts(a=a, b=b, c=np.where(np.arange(N) == 7, 0, a + b))  # one row breaks it
    born = 1900 + a
    assert not _texts(born=born, age=2000 - born - rng.integers(0, 2, N))  # the birthday is before or after
    gaps = pd.Series(a + b, dtype="Int64").mask(np.arange(N) == 7)
    assert not _texts(a=a, b=b, c=gaps)  # one cell is empty and its inputs are not


def test_computed_columns_hold_in_every_synthetic_row() -> None:
    train = orders()
    schema = infer_schema(train, private=False)
    model = Forest(ForestSettings(n_estimators=5)).fit(train, schema, seed=0)

    assert model.learned_schema.names == ["quantity", "price", "discount", "start", "end", "days"]
    rows = model.sample(1500, seed=1)
    assert list(rows.columns) == list(train.columns)
    assert_computed(rows)
    for name in ("total", "net", "days"):
        assert rows[name].between(train[name].min(), train[name].max()).sum() == rows[name].notna().sum()
    pd.testing.assert_frame_equal(model.sample(700, seed=1), rows.head(700))


class Conditional(Stub):
    """Draws train rows in which the months are shuffled, and meets equalities of labels."""

    supports_conditions = True

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        for rows in super()._sample_batches(n, batches, seed=seed, conditions={}, temperature=temperature, log=log):
            rng = np.random.default_rng(seed)
            for name, condition in conditions.items():
                pool = self.train.loc[self.train[name] == condition.clauses[0].values[0], name]
                rows = rows.assign(**{name: rng.choice(pool, len(rows))})
            yield rows


def test_conditions_on_computed_columns_are_met() -> None:
    train = orders()
    train["month"] = train["start"].dt.month_name()
    model = Conditional().fit(train, infer_schema(train, private=False))

    rows = model.sample(300, seed=0, conditions={"total": ">= 100 and < 400", "net": "!= 0", "month": "== 'May'"})
    assert len(rows) == 300
    assert rows["total"].between(100, 399.99).all()
    assert (rows["start"].dt.month_name() == "May").all()
    assert (rows["month"] == "May").all()
    assert_computed(rows)
    assert model.sample(50, seed=0, conditions={"total": "is null"})["price"].isna().all()
    some = rows["total"].dropna().head(2).tolist()
    assert set(model.sample(20, seed=1, conditions={"total": f"in {tuple(some)}"})["total"]) <= set(some)


def test_conditions_that_no_row_meets_are_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    train = orders().dropna().reset_index(drop=True)
    model = Conditional().fit(train, infer_schema(train, private=False))
    monkeypatch.setattr("synth_assets.synthesizers.base.MAX_ROWS_OF_NONE", 100)
    with pytest.raises(ModelError, match=r"of 112 rows that the model generated, 0 met .*too rare to be sampled"):
        model.sample(5, seed=0, conditions={"total": "== 100.001"})
    with pytest.raises(ModelError, match="total is null cannot be met: no train row has a missing value"):
        model.sample(5, seed=0, conditions={"total": "is null"})


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (">= 1e9", "leaves no value: the train rows have"),
        ("like 5", "cannot be read; expected one of"),
        ("in (1, many)", "compares a column of numbers with 'many'; expected a number"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(condition: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        _fitted(orders()).restrict({"total": condition})


def test_cells_that_formulas_determine_are_solved() -> None:
    train = orders().dropna().reset_index(drop=True)
    preparation = _fitted(train)
    gaps = train.astype({"quantity": "Int64"})
    for i, name in enumerate(("quantity", "price", "discount", "start", "end")):
        gaps.loc[gaps.index % 7 == i, name] = None
    gaps.loc[gaps.index % 7 == 1, "total"] = None  # is known from the net

    solved = preparation.solve(gaps)

    assert solved.drop(columns=["start", "end"]).notna().all(axis=None)
    pd.testing.assert_frame_equal(solved, train, check_dtype=False)


def test_a_row_that_breaks_a_formula_has_no_likelihood() -> None:
    class Flat(Stub):
        supports_likelihood = True

        def _log_likelihood(self, rows: pd.DataFrame) -> np.ndarray:
            return np.zeros(len(rows))

    train = orders()
    model = Flat().fit(train, infer_schema(train, private=False))
    train.loc[3, "net"] = 7.77
    assert (np.flatnonzero(np.isinf(model.log_likelihood(train))) == [3]).all()
