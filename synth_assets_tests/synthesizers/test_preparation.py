"""What happens to a table around every synthesizer: keys, unpublished text, rare labels, missing cells, dtypes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ModelError
from synth_assets.schema.columns import (
    Boolean,
    Categorical,
    Column,
    Date,
    Datetime,
    Float,
    Id,
    Integer,
    TableError,
    Text,
)
from synth_assets.schema.conditions import Condition
from synth_assets.schema.infer import infer_schema
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import Log
from synth_assets.synthesizers.preparation import Preparation
from synth_assets_tests.stub_synthesizer import Stub

TOWNS = ["Aachen", "Bonn", "Xanten", "Ypern"]  # 120, 60, 4 and 2 of 186 rows


def parsed(condition: str) -> Condition:
    return Condition.parse(condition, "x")


class Resampler(Stub):
    """Draw prepared train rows; the rows are saved, and conditions are kept for the test to read."""

    supports_conditions = True

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        self.conditions = dict(conditions)
        return super()._sample_batches(n, batches, seed=seed, conditions=conditions, temperature=temperature, log=log)

    def _save(self, folder: Path) -> dict[str, Any]:
        self.train.to_json(folder / "rows.json", orient="table")
        return {}

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        del learned
        self.train = pd.read_json(folder / "rows.json", orient="table")


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    towns = np.repeat(TOWNS, [120, 60, 4, 2])
    n = len(towns)
    return pd.DataFrame(
        {
            "note": [f"call customer {i}" for i in range(n)],
            "order": [f"ORD-{i:06d}" for i in range(n)],
            "town": towns,
            "amount": np.arange(n) % 7,
            "row": np.arange(n) + 5000,
        }
    )


def schema_of(**settings: Any) -> TableSchema:
    columns = (
        Text(name="note"),
        Id(name="order", pattern="ORD-######", start=186),
        Categorical(name="town", categories=tuple(TOWNS)),
        Integer(name="amount"),
        Id(name="row", start=6000),
    )
    return TableSchema(columns=columns, **settings)


@pytest.fixture
def private(orders: pd.DataFrame) -> Resampler:
    return Resampler().fit(orders, schema_of())


def test_keys_are_not_learned_and_are_unique_over_batches_and_days(private: Resampler, orders: pd.DataFrame) -> None:
    assert list(private.train) == private.learned_schema.names == ["town", "amount"]
    days = [private.sample(120, seed=day, first_key=120 * day) for day in range(3)]
    rows = pd.concat(days)
    assert rows["order"].is_unique
    assert rows["row"].is_unique
    assert rows["row"].tolist() == list(range(6000, 6360))
    assert not set(rows["order"]) & set(orders["order"])
    assert list(rows) == ["order", "town", "amount", "row"]


def test_text_is_learned_only_where_it_is_published(orders: pd.DataFrame) -> None:
    lines: list[str] = []
    assert "note" not in Resampler().fit(orders, schema_of(), log=lines.append).sample(3)
    assert [line for line in lines if "text is left out: note" in line]
    published = Resampler().fit(orders, schema_of(publish_text=True))
    assert published.sample(9)["note"].isin(orders["note"]).all()


def test_codes_of_a_private_table_are_learned_as_numbers_unless_it_says_otherwise() -> None:
    rows = pd.DataFrame({"zip": pd.Series([f"{i * 37 % 9973:05d}" for i in range(500)], dtype="str"), "n": range(500)})
    schema = TableSchema(columns=(Text(name="zip", code=True), Integer(name="n")))
    preparation = Preparation.fit(schema.coerce(rows, origin="x"), schema)
    assert preparation.learned_schema.column("zip").type == "integer"
    restored = preparation.restore(preparation.prepare(rows), seed=0, batch=0, first_key=0)
    assert restored["zip"].tolist() == rows["zip"].tolist()
    assert schema.model_copy(update={"publish_text": False}).published == ["n"]


def test_a_synthesizer_that_writes_no_text_leaves_it_out_unless_it_is_asked_for(orders: pd.DataFrame) -> None:
    class Numbers(Resampler):
        supports_text = False

    lines: list[str] = []
    fitted = Numbers().fit(orders, schema_of(private=False), log=lines.append)

    assert list(fitted.sample(3)) == fitted.schema.published == ["order", "town", "amount", "row"]
    assert "text is left out: note; this synthesizer writes none, language_model does" in lines
    with pytest.raises(ModelError, match="writes no text, and the schema states publish_text: true for note"):
        Numbers().fit(orders, schema_of(publish_text=True))


def test_rare_labels_are_drawn_from_the_others_and_stand_nowhere_in_the_folder(
    private: Resampler, tmp_path: Path
) -> None:
    assert private.hidden_labels == {"town": 2}
    rows = private.sample(5000, seed=1)
    assert rows["town"].value_counts(normalize=True)["Aachen"] == pytest.approx(2 / 3, abs=0.03)
    assert set(rows["town"]) == {"Aachen", "Bonn"}
    assert private.train["town"].nunique() == 3  # hidden labels are learned as one
    pd.testing.assert_frame_equal(private.sample(180, seed=1), rows.head(180))

    private.save(tmp_path)
    files = [path.read_text() for path in tmp_path.iterdir()]
    assert len(files) == 2
    assert not [label for label in TOWNS[2:] for text in files if label in text]
    loaded = Resampler.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.sample(5000, seed=1), rows)
    assert loaded.hidden_labels == {"town": 2}
    assert loaded.learned_schema == private.learned_schema


def test_hidden_labels_are_drawn_by_the_frequency_of_the_others() -> None:
    labels = np.repeat(["a", "b", *(f"rare {i}" for i in range(600))], [900, 300, *[1] * 600])
    schema = TableSchema(columns=(Categorical(name="x", categories=tuple(dict.fromkeys(labels))),))
    preparation = Resampler().fit(pd.DataFrame({"x": labels}), schema).preparation
    learned = pd.DataFrame({"x": ["(rare)"] * 5000 + ["b"]})

    def draws(seed: int, batch: int) -> pd.Series:
        return preparation.restore(learned, seed=seed, batch=batch, first_key=0)["x"]

    drawn = draws(2, 0)
    assert (drawn[:5000] == "a").mean() == pytest.approx(0.75, abs=0.03)
    assert set(drawn) == {"a", "b"}
    assert drawn[5000] == "b"
    pd.testing.assert_series_equal(draws(2, 0), drawn)
    assert not draws(3, 0).equals(drawn)
    assert not draws(2, 1).equals(drawn)


def test_rare_labels_are_written_as_other_where_the_schema_says_so(orders: pd.DataFrame, tmp_path: Path) -> None:
    schema = schema_of(rare_labels="other")
    assert schema.column("town").labels == (*TOWNS, "other")
    fitted = Resampler().fit(orders, schema)
    fitted.save(tmp_path)
    for each in (fitted, Resampler.load(tmp_path)):
        assert set(each.sample(2000)["town"]) == {"Aachen", "Bonn", "other"}
        assert each.schema.column("town").labels == ("Aachen", "Bonn", "other")
    assert fitted.hidden_labels == {"town": 2}


def test_nothing_is_hidden_in_a_public_table(orders: pd.DataFrame) -> None:
    fitted = Resampler().fit(orders, schema_of(private=False))
    assert fitted.hidden_labels == {}
    assert set(fitted.sample(2000)["town"]) == set(TOWNS)


def test_a_label_that_looks_like_the_token_for_hidden_ones_stays_a_label(orders: pd.DataFrame) -> None:
    columns = (Categorical(name="town", categories=("(rare)", *TOWNS[1:])),)
    frame = orders[["town"]].replace("Aachen", "(rare)")
    rows = Resampler().fit(frame, TableSchema(columns=columns)).sample(2000)
    assert rows["town"].value_counts(normalize=True)["(rare)"] == pytest.approx(2 / 3, abs=0.05)


def test_a_column_of_rare_labels_alone_is_refused_unless_they_are_written_as_other(orders: pd.DataFrame) -> None:
    columns = (Categorical(name="note", categories=tuple(orders["note"])), Integer(name="amount"))
    with pytest.raises(ModelError, match=r"'note' has no label that at least 5 train rows .* text or id, lower min_"):
        Resampler().fit(orders, TableSchema(columns=columns))
    other = Resampler().fit(orders, TableSchema(columns=columns, rare_labels="other"))
    assert set(other.sample(50)["note"]) == {"other"}


def test_a_table_with_nothing_to_learn_is_refused(orders: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="nothing to learn"):
        Resampler().fit(orders, schema_of().select(["note", "order"]))


def test_an_unknown_label_and_an_infinite_number_are_refused() -> None:
    schema = TableSchema(columns=(Categorical(name="x", categories=("a", "b")), Float(name="y")))
    with pytest.raises(TableError, match="column 'x' has the label 'c'"):
        Resampler().fit(pd.DataFrame({"x": ["a", "c"], "y": [1.0, 2.0]}), schema)
    with pytest.raises(TableError, match="column 'y' has inf in data row 2"):
        Resampler().fit(pd.DataFrame({"x": ["a", "b"], "y": [1.0, np.inf]}), schema)


@pytest.mark.parametrize(
    ("name", "condition", "message"),
    [
        ("order", "== 'ORD-000001'", "conditions name 'order', a column of keys"),
        ("note", "== 'call'", "conditions name 'note', a column of text, which is not published"),
        (
            "town",
            "== 'Xanten'",
            "names 'Xanten', no label that is shown; expected one of Aachen, Bonn.*2 in this column",
        ),
        ("town", "== '(rare)'", "no label that is shown"),
        ("town", "in ('Bonn', 'Xanten')", "names 'Xanten', no label that is shown"),
        ("towns", "== 'Bonn'", "name 'towns', which is no column"),
    ],
)
def test_conditions_on_what_is_not_learned_are_refused(
    private: Resampler, name: str, condition: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        private.sample(5, conditions={name: condition})


def test_a_condition_that_excludes_a_label_excludes_the_draws_for_hidden_ones(private: Resampler) -> None:
    for stated in ("!= 'Bonn'", "not in ('Bonn')"):
        private.sample(5, conditions={"town": stated, "amount": "> 2"})
        assert private.conditions == {"town": parsed("!= 'Bonn' and != '(rare)'"), "amount": parsed("> 2")}
    private.sample(5, conditions={"town": "== 'Bonn'"})
    assert private.conditions == {"town": parsed("== 'Bonn'")}


EVERY_TYPE: tuple[tuple[Column, list[Any], str, str], ...] = (
    (Categorical(name="label", categories=("a", "b")), ["a", "b"], "str", "str"),
    (Boolean(name="flag"), [True, False], "bool", "boolean"),
    (Integer(name="count"), [2**62 + 1, -3], "int64", "Int64"),
    (Float(name="size"), [0.25, 1e300], "float64", "float64"),
    (Date(name="day", format="%d.%m.%Y"), ["31.01.2024", "01.02.1850"], "datetime64[s]", "datetime64[s]"),
    (Datetime(name="at"), ["2024-01-31 08:30:00", "2024-02-01 00:00:00.25"], "datetime64[us]", "datetime64[us]"),
    (
        Datetime(name="in_zone", timezone="Europe/Berlin"),
        ["2024-01-31T08:30:00+01:00", "2024-07-01T00:00:00Z"],
        "datetime64[us, Europe/Berlin]",
        "datetime64[us, Europe/Berlin]",
    ),
    (Text(name="text"), ["one note", "another"], "str", "str"),
    (Id(name="key"), [1, 2], "int64", "Int64"),
    (Id(name="code", pattern="A-##"), ["A-01", "A-02"], "str", "str"),
)


@pytest.mark.parametrize("nullable", [False, True])
def test_every_type_comes_back_in_its_dtype(*, nullable: bool) -> None:
    columns = tuple(column.model_copy(update={"nullable": nullable}) for column, *_ in EVERY_TYPE)
    cells = {c.name: values * 10 + [None] * nullable for c, (_, values, *_) in zip(columns, EVERY_TYPE, strict=True)}
    frame = pd.DataFrame({name: pd.Series(values, dtype="object") for name, values in cells.items()})
    schema = TableSchema(columns=columns, private=False)
    fitted = Resampler().fit(frame, schema)
    rows = fitted.sample(160, seed=3)
    expected = {c.name: dtypes[nullable] for c, _, *dtypes in EVERY_TYPE}
    assert {name: str(dtype) for name, dtype in rows.dtypes.items()} == expected
    assert fitted.sample(0).dtypes.to_dict() == rows.dtypes.to_dict()
    typed = schema.coerce(frame, origin="frame")
    for name in fitted.learned_schema.names:
        assert set(rows[name].dropna()) == set(typed[name].dropna())
        assert rows[name].isna().any() == nullable
    assert rows["key"].notna().all()


def test_a_column_of_labels_without_any_cell_is_learned(orders: pd.DataFrame) -> None:
    columns = (Categorical(name="empty", categories=("a",), nullable=True), Integer(name="amount"))
    fitted = Resampler().fit(orders.assign(empty=None), TableSchema(columns=columns))
    assert fitted.sample(60)["empty"].isna().all()


def test_keys_that_repeat_are_new_and_in_as_many_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.choice([1, 2, 5], 300, p=[0.5, 0.3, 0.2])
    rows[0] = 400  # a customer that a greatest number of rows would single out
    real = pd.DataFrame({"customer": np.repeat(np.arange(300), rows), "x": rng.random(rows.sum())})
    schema = TableSchema(columns=(Id(name="customer", start=300, repeats=True), Float(name="x")))
    fitted = Resampler().fit(real, schema)
    fitted.save(tmp_path)
    made = Resampler.load(tmp_path).sample(2000, seed=1, first_key=10_000)
    assert made["customer"].min() == 10_300
    assert made["customer"].max() < 12_300
    found = made["customer"].value_counts()
    assert found.max() == 5
    for size in (1, 2, 5):
        assert (found == size).mean() == pytest.approx((rows[1:] == size).mean(), abs=0.07)
    pd.testing.assert_series_equal(fitted.sample(50, seed=1, first_key=10_000)["customer"], made["customer"][:50])


def test_numbers_of_a_format_are_learned_and_asked_for_as_numbers() -> None:
    columns = (Float(name="fare", format="$#,##0.00"), Integer(name="opens", format="%H:%M"))
    rows = pd.DataFrame({"fare": ["$1,200.50", "$3.00"] * 9, "opens": ["08:30", "17:05"] * 9})
    schema = TableSchema(columns=columns)

    stub = Resampler().fit(schema.coerce(rows, origin="x"), schema, seed=0)
    sample = stub.sample(3, seed=0, conditions={"fare": "between 3 and '$1,300.00'", "opens": ">= 08:30 and < 1080"})

    assert [column.format for column in stub.preparation.learned_schema.columns] == [None, None]  # type: ignore[union-attr]
    assert stub.conditions == {"fare": parsed(">= 3 and <= 1300.00"), "opens": parsed(">= 510 and < 1080")}
    assert sample["fare"].isin([1200.5, 3.0]).all()


def test_booleans_are_asked_for_as_the_source_writes_them() -> None:
    rows = pd.DataFrame({"paid": ["TRUE", "FALSE"] * 10, "x": range(20)})
    schema = infer_schema(rows, private=False)
    preparation = Preparation.fit(schema.coerce(rows, origin="x"), schema)
    for condition in ("== TRUE", "== 'True'", "== yes", "==1"):
        assert preparation.restrict({"paid": condition}) == {"paid": parsed("== true")}
    assert preparation.restrict({"paid": "!= FALSE and is not null"}) == {"paid": parsed("!= false and is not null")}
    assert preparation.restrict({"paid": "== maybe"}) == {"paid": parsed("== maybe")}


def test_dates_are_asked_for_in_the_format_of_the_source() -> None:
    days = pd.date_range("2024-01-31", periods=30)
    rows = pd.DataFrame({"a": days.strftime("%d.%m.%Y"), "b": days.strftime("%Y-%m-%d"), "x": [1, 2] * 15})
    schema = infer_schema(rows, private=False)
    preparation = Preparation.fit(schema.coerce(rows, origin="x"), schema)

    stated = {"a": ">= 01.02.2024 and < '2024-02-07'", "b": "== 2024-02-01"}
    iso = {"a": parsed(">= 2024-02-01T00:00:00 and < 2024-02-07"), "b": parsed("== 2024-02-01")}
    assert preparation.restrict(stated) == iso
    with pytest.raises(ModelError, match=r"'01\.02\.2024', which may have the day or the month first; expected a date"):
        preparation.restrict({"b": "> 01.02.2024"})


def test_codes_and_parts_of_dates_are_kept_by_a_saved_model(tmp_path: Path) -> None:
    days = pd.Series(pd.date_range("2023-01-01", periods=200, freq="D"))
    rows = pd.DataFrame({"day": days, "month": days.dt.month, "code": [f"{i * 37:04d}-{i % 7}" for i in range(200)]})
    schema = TableSchema(columns=(Date(name="day"), Integer(name="month"), Text(name="code")), private=False)
    model = Resampler().fit(rows, schema, seed=0)
    model.save(tmp_path)

    loaded = Resampler.load(tmp_path)

    assert loaded.preparation == model.preparation
    assert loaded.sample(9, seed=1)["code"].str.fullmatch("[0-9]{4}-[0-9]").all()
