"""A schema inferred from rows: which type text and values of any dtype become, and what is refused or left out."""

import time
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.columns import Categorical, Float, Id, Integer, TableError
from synth_assets.schema.infer import Inference, infer, infer_schema

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
REST = {"type", "name"}


def _inferred(values: Any, name: str = "x") -> tuple[str, dict[str, Any]]:
    """Infer one column beside another, check that its values are coerced, and return its type and what it states."""
    frame = pd.DataFrame({name: values}).assign(other=range(len(values)))
    frame["other"] %= 2
    schema = infer(frame).schema
    typed = schema.coerce(frame, origin="the frame")
    column = schema.column(name)
    assert column.has_dtype(typed[name])
    assert column.nullable or typed[name].notna().all()
    return column.type, column.model_dump(exclude_defaults=True, exclude=REST)


def _text(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="str")


def _objects(*values: object) -> pd.Series:
    return pd.Series(values, dtype=object)


GAP = {"nullable": True}
NOTES: dict[str, Any] = GAP | {"missing_values": ("n.a.",), "max_length": 20}
CODE = {"max_length": 10, "code": True}


@pytest.mark.parametrize(
    ("values", "type_", "stated"),
    [
        (["1", "-2", "2", "1"], "integer", {}),
        (["1.0", "2.0", "", "1.0"], "integer", GAP),
        (["9223372036854775807", "4611686018427387904"] * 2, "integer", {}),
        (["1", "2.5"], "float", {}),
        (["1e5", "2.97e-06", "-0.0"], "float", {}),
        (["1", "NA", "?", " null "], "integer", GAP | {"missing_values": ("NA", "?", " null ")}),
        (["1.5", "-", "NaN"], "float", GAP | {"missing_values": ("-", "NaN")}),
        (["a", "NA", "?", "a", "NA", "?"], "categorical", {"categories": ("?", "NA", "a")}),
        (["1", "unknown", "1", "unknown"], "categorical", {"categories": ("1", "unknown")}),
        (["02116", "10001"] * 2, "categorical", {"categories": ("02116", "10001")}),
        (["1,5", "2,5"] * 2, "categorical", {"categories": ("1,5", "2,5")}),
        (["TRUE", "False", "", "true"], "boolean", GAP),
        (["true", "NA", "FALSE", "?", ""], "boolean", GAP | {"missing_values": ("NA", "?")}),
        (["1", "  ", "2"], "integer", GAP),
        ([" ", "", "  "], "float", GAP),
        (["9007199254740993.0", "1.0", "1."], "integer", {}),
        (["yes", "no"] * 2, "categorical", {"categories": ("no", "yes")}),
        (["0", "1"] * 2, "integer", {}),
        (["2024-02-29", "1999-12-31", ""], "date", GAP),
        (["2024-02-29", "None"], "date", GAP | {"missing_values": ("None",)}),
        (["2024-02-30", "2024-02-28"], "text", {"max_length": 10}),
        (["31.01.2024", "1.2.2024"], "date", {"format": "%d.%m.%Y"}),
        (["01/31/2024", "02/01/2024"], "date", {"format": "%m/%d/%Y"}),
        (["31/01/2024", "01/02/2024"], "date", {"format": "%d/%m/%Y"}),
        (["01/02/2024", "02/01/2024"], "text", {"max_length": 10}),  # day and month could be either
        (["2024-01-31 00:00:00", "2024-02-01 00:00:00"], "date", {}),
        (["2024-01-31 00:00:00", "2024-02-01"], "date", {}),
        (["2024-01-31 08:30:00", "2024-02-01"], "datetime", {}),
        ([" 2024-01-31", "2024-02-01\u00a0"], "date", {}),
        ([*map(str, range(10)), "n.d.", "unknown"], "integer", GAP | {"missing_values": ("n.d.", "unknown")}),
        (["2024-01-31 08:30", "2024-02-01T09:15:01.5"], "datetime", {}),
        (["2024-01-31T08:30:00Z", "2024-02-01T09:15:00+02:00"], "datetime", {"timezone": "UTC"}),
        (["2024-01-31T08:30:00Z", "2024-02-01T09:15:00"], "text", {"max_length": 20}),
        (["2024-01-31 08:30:00 UTC", "2024-02-01T09:15 GMT"], "datetime", {"timezone": "UTC"}),
        (["2024-01-31T08:30:00+02", "2024-07-01T09:15:00+0200"], "datetime", {"timezone": "+02:00"}),
        (["2024-01-31 08:30-05:00", "2024-07-01 09:15-04:00"], "datetime", {"timezone": "America/New_York"}),
        (["2024-01-31 08:30-04:00", "2024-07-01 09:15-05:00"], "datetime", {"timezone": "UTC"}),
        ([f"2024{month:02d}29" for month in range(1, 13)], "date", {"format": "%Y%m%d"}),
        ([f"2024{month:02d}31" for month in range(1, 13)], "integer", {}),  # a month has 30 days
        ([f"202401310830{second}" for second in range(20, 40)], "datetime", {"format": "%Y%m%d%H%M%S"}),
        ([f"{year}-04" for year in range(1990, 2024)], "date", {"format": "%Y-%m"}),
        ([f"{year}-{year + 1 - 2000:02d}" for year in range(2000, 2012)], "text", CODE),  # seasons
        ([f"{i:05d}" for i in range(1, 9000, 37)], "text", CODE),
        ([f"2023-W{i:02d}" for i in range(1, 53)] * 2, "text", CODE),
        ([f"{i:04d}" for i in range(1, 9000, 37)] + ["-"], "text", CODE | GAP | {"missing_values": ("-",)}),
        ([f"0{i}" for i in range(5_550_100, 5_550_140, 3)], "text", {"max_length": 10}),  # telephone numbers
        ([f"0{i}" for i in range(80, 120)], "text", {"max_length": 10}),
        ([f"USD {i}" for i in range(90, 110)], "integer", {"format": "USD 0", "unit": "USD"}),
        ([f"CSE {i}" for i in range(100, 160)] * 2, "text", CODE),
        (["2024-01-31", "0000-00-00"], "date", GAP | {"missing_values": ("0000-00-00",)}),
        (["Jan 31, 2024", "Dec 1, 1999"], "date", {"format": "%b %d, %Y"}),
        (["Jan 31 2024", "Dec 1 1999"], "date", {"format": "%b %d %Y"}),
        (["Jan-31-2024", "Dec-1-1999"], "date", {"format": "%b-%d-%Y"}),
        (["31. January 2024", "1. May 1999"], "date", {"format": "%d. %B %Y"}),
        (["2024-Jan-31", "1999-Dec-01"], "date", {"format": "%Y-%b-%d"}),
        (["31.01.24", "1.2.24"], "date", {"format": "%d.%m.%y"}),
        (["January 31, 2024", "May 1, 1999"], "date", {"format": "%B %d, %Y"}),
        (["31-DEC-24", "1-Jan-99"], "date", {"format": "%d-%b-%y"}),
        (["Wednesday, 31 January 2024", "Saturday, 1 May 1999"], "date", {"format": "%A, %d %B %Y"}),
        ([f"{month} 2024" for month in MONTHS], "date", {"format": "%b %Y"}),
        ([f"2024 {month}" for month in MONTHS], "date", {"format": "%Y %b"}),
        ([f"202401{day:02d}{day:02d}30" for day in range(1, 20)], "datetime", {"format": "%Y%m%d%H%M"}),
        (["1/31/2024 3:05 PM", "2/1/2024 11:00 AM"], "datetime", {"format": "%m/%d/%Y %I:%M %p"}),
        (["Ann Smith", "Bob", "Eve"], "text", {"max_length": 10}),
        ([*(f"{i} notes of {i:b}" for i in range(30)), *["n.a."] * 300], "text", NOTES),
        ([*"AAABBBCCCDDD" * 2, *["NA"] * 30], "categorical", {"categories": ("A", "B", "C", "D", "NA")}),
        (["x" * 201, "y"], "text", {}),
        (["", ""], "float", GAP),
        (["12345678901234567890123", "1", "2"], "id", {"pattern": "#", "start": 3}),
    ],
)  # fmt: skip
def test_text_becomes_the_type_that_reads_every_cell(values: list[str], type_: str, stated: dict[str, Any]) -> None:
    assert _inferred(_text(values)) == (type_, stated)


def test_six_digits_are_dates_if_the_name_says_so() -> None:
    values = _text([f"1{month % 3}{day:02d}97" for month in range(3) for day in range(1, 29)])
    assert _inferred(values, "orderDate") == ("date", {"format": "%m%d%y"})
    assert _inferred(values, "order")[0] == "integer"
    assert _inferred(_text([f"1001{day}" for day in range(10, 30)]), "date")[0] != "date"
    assert _inferred(_text([f"9{i}0{i}1{i}" for i in range(1, 10)] + ["991231"]), "date") == (
        "date",
        {"format": "%y%m%d"},
    )


def test_cells_of_spaces_are_no_repeated_key() -> None:
    frame = pd.DataFrame({"band_number": ["877-76317", " ", "745-49508", " "], "x": [1, 2, 1, 2]})
    column = infer_schema(frame).column("band_number")
    assert column.type == "id"
    assert column.coerce(frame["band_number"], origin="x").isna().sum() == 2


def test_weeks_and_amounts_are_no_keys() -> None:
    assert _inferred(_text([f"2024-W{week:02d}" for week in range(1, 53)]), "week") == ("text", CODE)
    amounts = _text([f"${number:,}" for number in range(900, 1000)] * 2)
    assert _inferred(amounts, "savings_account") == ("integer", {"format": "$0", "unit": "$"})


def test_dates_that_could_have_the_day_or_the_month_first_are_decided_by_others_or_said() -> None:
    either = {"sent": _text([f"{day:02d}/01/2024" for day in range(1, 13)])}
    frame = pd.DataFrame({**either, "n": range(12)})

    alone = infer(frame)
    beside = infer(frame.assign(paid="31/01/2024 10:00"))

    assert alone.schema.column("sent").type == "text"
    assert alone.reasons["sent"].endswith("could be dates, day or month first: state type: date and format")
    assert alone.notices == (
        "'sent' is read as text, and could be dates with the day or the month first: state type: date and format: "
        "'%m/%d/%Y' or '%d/%m/%Y' for the column to have it read so.",
    )
    assert beside.schema.column("sent").model_dump()["format"] == "%d/%m/%Y"
    assert not beside.notices


@pytest.mark.parametrize(
    ("values", "type_", "stated"),
    [
        (pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]), "categorical", {"categories": ("a", "b")}),
        (pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True), "categorical", {"categories": ("b", "a")}),
        (pd.Categorical([12, 3, None]), "categorical", GAP | {"categories": ("12", "3")}),
        ([True, False], "boolean", {}),
        (pd.array([True, None], dtype="boolean"), "boolean", GAP),
        (_objects(True, None), "boolean", GAP),
        (_objects("b", 1, True, "b"), "categorical", {"categories": ("1", "True", "b")}),
        (np.array([1, 2, 1], dtype="uint8"), "integer", {}),
        (np.array([2**64 - 1, 1, 1], dtype="uint64"), "categorical", {"categories": ("1", "18446744073709551615")}),
        (pd.array([1, None], dtype="Int64"), "integer", GAP),
        (_objects(1, "2", None), "integer", GAP),
        ([1.0, 2.0, None], "integer", GAP),
        ([1.0, 2.0], "float", {}),
        (np.array([1.5, 2], dtype="float32"), "float", {}),
        (_objects(Decimal("1.50"), None), "float", GAP),
        (_objects(Decimal(1), Decimal(2)), "integer", {}),
        ([None, None], "float", GAP),
        (pd.to_datetime(["2024-01-31", None]), "date", GAP),
        (pd.to_datetime(["2024-01-31 08:30", "2024-01-31 00:00"]), "datetime", {}),
        (pd.to_datetime(["2024-01-31"] * 2).tz_localize("Europe/Berlin"), "datetime", {"timezone": "Europe/Berlin"}),
        (_objects(date(2024, 1, 31), None), "date", GAP),
        (pd.to_timedelta([90, 60, None], unit="s"), "integer", GAP | {"unit": "s"}),
        (pd.to_timedelta([1500, 60], unit="ms"), "float", {"unit": "s"}),
        (_objects(datetime(2024, 1, 31, 8, tzinfo=UTC), None), "datetime", GAP | {"timezone": "UTC"}),
    ],
)  # fmt: skip
def test_a_dtype_becomes_the_type_of_its_values(values: Any, type_: str, stated: dict[str, Any]) -> None:
    assert _inferred(values) == (type_, stated)


@pytest.mark.parametrize(
    ("name", "values", "stated"),
    [
        ("x", range(100, 120), {"start": 120}),
        ("orderId", [7, 3, 900], {"start": 901}),
        ("Order no.", [7, 3, 900], {"start": 901}),
        ("x", [10**15 + 7 * i * i for i in range(5)], {"start": 10**15 + 113}),
        ("x", [f"{i}" for i in range(20)], {"start": 20}),
        ("x", [100 + 7 * i % 20 for i in range(20)], {"start": 120}),  # consecutive, in another order
        ("userid", [7, 3, 900], {"start": 901}),
        ("patient", [7, 3, 900], {"start": 901}),
        ("x", [str(uuid.UUID(int=i)) for i in range(3)], {"pattern": "uuid"}),
        ("x", [f"AB-{i:04d}/c" for i in range(8, 20)], {"pattern": "AB-####/c", "start": 20}),
        ("x", [f"INV{i}" for i in range(95, 110)], {"pattern": "INV#", "start": 110}),
        ("x", [f"user{i}@mail" for i in range(12)], {"pattern": "user#@mail", "start": 12}),
        ("iban", [f"DE{10**19 + i**9}" for i in range(20)], {"pattern": f"DE10{'#' * 18}", "start": 19**9 + 1}),
        ("x", [2**62 + 10**15 * i for i in range(10)], {"start": 10**18}),
        ("x", [999_999_999_990 - i * 10**11 for i in range(9)], {"start": 899_999_999_991}),
        (
            "u",
            [str(2**63 + 10**17 * i) for i in range(10)],
            {"pattern": f"9{'#' * 18}", "start": 923_372_036_854_775_809},
        ),
        ("Kundennummer", [7, 3, 900], {"start": 901}),
        ("Bestellnr", ["7", "3", "", "900"], {"start": 901, **GAP}),
        ("Numéro", [7, 3, 900], {"start": 901}),
        ("x", [*(f"KD-{i:04d}" for i in range(7, 30)), ""], {"pattern": "KD-####", "start": 30, **GAP}),
        ("order_id", pd.array([7, 3, None, None], dtype="Int64"), {"start": 8, **GAP}),
        ("order_id", [7.0, 3.0, None], {"start": 8, **GAP}),
        ("order_id", ["7", "3", "NA", "NA", None], {"start": 8, "missing_values": ("NA",), **GAP}),
        ("x", [f"{i:05d}" for i in range(20)], {"pattern": "#####", "start": 20}),
        ("customer_id", ["X7K2", "9", "abc-d"], {"pattern": "uuid"}),
        ("SSN", ["120-28-5286", "078-05-1120"], {"pattern": "###-##-####", "start": 120_285_287}),
        ("Phone", ["(555) 010-9998", "(312) 010-9999"], {"pattern": "(###) ###-####", "start": 5_550_109_999}),
        ("x", [f"{i * 7919 + 2**40:x}" for i in range(20)], {"pattern": "hex11", "start": 13_619_780_512_159}),
        (
            "x",
            [Id(name="y", pattern="Alnum11").generate(1, offset=i * i)[0] for i in range(99)],
            {"pattern": "Alnum11"},
        ),
        ("id", Id(name="y", pattern="tok-ALNUM7").generate(20), {"pattern": "tok-ALNUM7", "start": 54_999_135_858}),
        ("id", Id(name="y", pattern="ALNUM4").generate(20), {"pattern": "uuid"}),  # a new one might be real
        (
            "bill_no",
            ["RE-2023-001", "RE-2024-007", "-", None],
            {"pattern": "RE-####-###", "start": 2_024_008, **GAP, "missing_values": ("-",)},
        ),
        (
            "x",
            [f"{(i + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(20)],
            {"pattern": "hex32"},
        ),
    ],
)
def test_unique_values_of_a_pattern_are_keys_that_count_on(name: str, values: Any, stated: dict[str, Any]) -> None:
    values = pd.Series(list(values))

    type_, found = _inferred(values, name)

    assert (type_, found) == ("id", stated)
    assert not set(Id(name=name, **found).generate(50).astype(str)) & set(values.astype(str))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unix_time", [1_743_674_367 + 17 * i * i for i in range(20)]),
        ("created_at", [1_743_674_367_123 + 17 * i * i for i in range(20)]),
        ("x", [1_743_674_367_123 + 17 * i * i for i in range(20)]),  # milliseconds since 1970
        ("x", [3, 1, 2]),
        ("number_of_rings", [7, 3, 9]),
        ("account_balance", [7, 3, 9]),
        ("Year", range(1990, 2010)),
        ("x", range(1871, 1971)),  # years
        ("x", [7 * i % 20 + 1 for i in range(20)]),  # ranks
        ("x", range(10, 60)),  # ages
        ("Age", range(40)),
        ("paid", [7, 3, 900]),
        ("number", [900, 7, 3]),
        ("order_id", [1, 2, 2]),
        ("order_id", pd.array([1, 2, 2, None], dtype="Int64")),
        ("x", pd.array([*range(20), None], dtype="Int64")),
    ],
)
def test_other_whole_numbers_are_no_keys(name: str, values: Any) -> None:
    assert _inferred(pd.Series(values), name)[0] == "integer"


@pytest.mark.parametrize(
    ("rows", "is_noticed"),
    [
        ([["5.1", "setosa"], ["4.9", "setosa"], ["4.7", "virginica"]] * 9, True),
        ([["2024-01-01", "7", "a"], ["2024-01-02", "9", "b"], ["2024-01-03", "9", "b"]] * 9, True),
        ([["F", "yes"], ["M", "no"], ["F", "no"]] * 9, True),
        ([["length", "F"], ["4.9", "F"], ["4.7", "M"]] * 9, False),
        ([["country", "2020", "2021"], ["DE", "5", "7"], ["FR", "6", "6"]] * 9, False),
        ([["sex", "F"], ["F", "F"], ["M", "M"]] * 9, False),
    ],
)
def test_names_that_look_like_values_are_noticed(rows: list[list[str]], is_noticed: bool) -> None:
    body = rows[1:] if is_noticed else [row for row in rows if row != rows[0]]
    frame = pd.DataFrame(body, columns=rows[0], dtype="str")
    notices = infer(frame).notices
    found = [f"may have no header: the names of the columns, '{rows[0][0]}'" in each for each in notices]
    assert found == [True] * is_noticed
    assert infer(frame.set_axis([f"x{i}" for i in range(frame.shape[1])], axis="columns")).notices == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            [*map(str, range(40)), "Total"],
            "holds numbers but for 'Total': correct the source, or state type: float",
        ),
        ([f"{'$€'[i % 2]}{i}" for i in range(40)], "holds numbers with signs, such as '$0': remove the signs"),
        ([f"{i}:20{':30' * (i % 2)}" for i in range(40)], "holds times of day or durations, such as '0:20'"),
        (
            [*(f"{i + 1}.7.2024" for i in range(30)), "pending"],
            "holds dates but for 'pending': correct the source, or state type: date, format: '%d.%m.%Y' and missing_",
        ),
        (
            [*(f"2024-01-{i + 1:02d}" for i in range(30)), "2023-02-29"],
            "holds dates but for '2023-02-29': correct the source, or state type: date and missing_",
        ),
        (
            [f"{i + 1}.7.2024" if i % 2 else f"2024-07-{i + 1:02d}" for i in range(30)],
            "holds dates in several formats, such as '2024-07-01', '2.7.2024': write them in one format",
        ),
        ([f"A{i}" for i in range(40)], None),
        ([f"{i} Main St" for i in range(40)], None),
        ([f"{i:04d}" for i in range(0, 400, 9)] + ["x"], None),
    ],
)
def test_text_that_is_nearly_numbers_is_said(values: list[str], said: str | None) -> None:
    notices = infer(pd.DataFrame({"v": [*values, ""], "x": range(len(values) + 1)})).notices
    assert [said in notice for notice in notices] == ([] if said is None else [True])


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("repeated", [1, 3])
def test_whole_numbers_too_far_apart_to_be_learned_are_keys(as_text: bool, repeated: int) -> None:
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63, 60).tolist() * repeated
    frame = pd.DataFrame({"hash_id": hashes, "x": np.linspace(0, 1, len(hashes))})
    schema = infer_schema(frame.astype({"hash_id": "str"}) if as_text else frame)
    key = schema.column("hash_id")
    assert key == Id(name="hash_id", start=key.start, repeats=repeated > 1)
    assert not any(key.start <= each < key.start + 10**10 for each in hashes)
    assert {len(str(each)) for each in key.generate(5, offset=10**9)} == {19}
    assert schema.coerce(frame, origin="x")["hash_id"].tolist() == hashes


def test_whole_numbers_too_far_apart_are_labels_if_they_are_few() -> None:
    frame = pd.DataFrame({"code": [-(2**62), 5, 2**62] * 20})
    assert infer_schema(frame).column("code").labels == ("-4611686018427387904", "4611686018427387904", "5")
    assert infer_schema(frame, target="code").column("code").type == "categorical"


def test_longer_whole_numbers_are_keys_as_long() -> None:
    frame = pd.DataFrame({"n": [f"{i % 9 + 1}{i * 7919:024d}" for i in range(60)] * 2, "x": range(120)})
    assert infer_schema(frame).column("n") == Id(
        name="n", pattern=f"1000000{'#' * 18}", start=54 * 7919 + 1, repeats=True
    )


@pytest.mark.parametrize(
    ("name", "values", "stated"),
    [
        ("customer_id", [100 + i for i in range(80)], {"pattern": "integer", "start": 180}),
        ("customerId", [str(1000 + 7 * i) for i in range(80)], {"pattern": "integer", "start": 1554}),
        ("user id", [f"U-{i:03d}" for i in range(80)], {"pattern": "U-###", "start": 80}),
        ("policy_number", [10_000 + 3 * i for i in range(80)], {"pattern": "integer", "start": 10_238}),
        ("account", [f"{i * 7919 % 99991:05d}" for i in range(80)], {"pattern": "#####"}),
        ("session id", [f"{i * 2654435761 % 2**32:08x}" for i in range(80)], {"pattern": "uuid"}),
        ("x id", [f"{i * 0x9E3779B97F4A7C15 % 2**64:016X}" for i in range(80)], {"pattern": "HEX16"}),
    ],
)
def test_values_that_repeat_are_keys_if_their_name_says_so(
    name: str, values: list[Any], stated: dict[str, Any]
) -> None:
    frame = pd.DataFrame({name: values * 6, "x": np.linspace(0, 1, 480)})
    found = infer(frame)
    column = found.schema.column(name)
    assert isinstance(column, Id)
    assert column.repeats
    assert {key: getattr(column, key) for key in stated} == stated
    assert len(found.notices) == 1
    assert f"'{name}' is taken for a key that repeats" in found.notices[0]
    assert found.schema.coerce(frame, origin="x")[name].nunique() == 80
    lines = infer(frame.assign(line=[i // 80 + 1 for i in range(480)], part=[str(i // 80 % 5) for i in range(480)]))
    assert [notice for notice in lines.notices if "numbers the rows of each" in notice] == [
        f"'line' numbers the rows of each '{name}'. Synthetic rows are drawn independently of each other: in a key, a "
        "number may be missing or occur twice. Number them again where that matters."
    ]
    # In a table that is not private, values that occur in six rows each are learned.
    assert infer_schema(frame, private=False).column(name).type != "id"
    assert infer_schema(frame, target=name).column(name).type != "id"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("house_number", [i % 120 + 1 for i in range(480)]),
        ("store_id", [i % 40 for i in range(480)]),
        ("rooms", [1000 + i % 120 for i in range(480)]),
        ("paid", [1000 + i % 120 for i in range(480)]),
        ("zip_code", [f"{10_000 + i % 120}" for i in range(480)]),
    ],
)
def test_other_values_that_repeat_are_no_keys(name: str, values: list[Any]) -> None:
    assert infer_schema(pd.DataFrame({name: values})).column(name).type in ("integer", "categorical")


def test_the_target_is_no_key_and_no_text() -> None:
    frame = pd.DataFrame({"id": range(20), "name": [f"name {'abcdefghijklmnopqrst'[i]}" for i in range(20)]})

    assert [column.type for column in infer_schema(frame).columns] == ["id", "text"]
    assert infer_schema(frame, "id").column("id").type == "integer"
    assert infer_schema(frame, "name").column("name").type == "categorical"


@pytest.mark.parametrize(("values", "is_said"), [((0, 1), True), ((0, 1, 2), False), ((0.5, 1.5), False)])
def test_a_target_of_two_whole_numbers_is_said_to_be_one_of_regressors(
    values: tuple[float, ...], is_said: bool
) -> None:
    frame = pd.DataFrame({"x": range(60), "y": list(values) * (60 // len(values))})

    said = [
        notice for notice in infer(frame, "y").notices if "has two values, 0 and 1: regressors predict it" in notice
    ]
    assert len(said) == is_said
    assert not infer(frame).notices


@pytest.mark.parametrize(
    ("counts", "type_"),
    [
        ([2] * 50, "categorical"),
        ([2] * 51, "text"),
        ([5] * 300, "categorical"),
        ([1] * 100 + [100] * 4, "categorical"),  # four fifths of the rows have a frequent label
        ([1] * 110 + [100] * 4, "text"),
        ([1] * 15 + [2], "categorical"),
        ([1] * 17, "text"),
    ],
)
def test_strings_that_repeat_are_labels(counts: list[int], type_: str) -> None:
    values = [
        f"the {label:b}th one" if label else "the first" for label, count in enumerate(counts) for _ in range(count)
    ]
    frame = pd.DataFrame({"x": _text(values[::-1]), "y": range(len(values))})
    assert infer_schema(frame, private=False).column("x").type == type_


@pytest.mark.parametrize(
    ("rows_each", "private", "type_"), [(4, True, "text"), (4, False, "categorical"), (5, True, "categorical")]
)
def test_labels_of_a_private_table_that_all_would_be_hidden_are_text(rows_each: int, private: bool, type_: str) -> None:
    frame = pd.DataFrame({"x": _text(list("abcdefgh") * rows_each), "y": 1.5})
    found = infer(frame, private=private)
    said = [notice for notice in found.notices if "each of its labels is in fewer than 5 rows" in notice]
    assert (found.schema.column("x").type, len(said)) == (type_, int(type_ == "text"))
    assert infer_schema(frame, "x", private=private).column("x").type == "categorical"


def test_what_no_type_holds_is_left_out_with_its_reason() -> None:
    frame = pd.DataFrame(
        {
            "a": [1, 2, 1],
            "all": _objects([1], [2], [3]),
            "wave": [1j, 2j, 3j],
        }
    )

    found = infer(frame)

    assert found.schema.names == list(found.reasons) == ["a"]
    assert found.left_out == {
        "all": "holds lists or other nested values",
        "wave": "holds complex numbers",
    }
    assert found.left_out_text.startswith("Left out: 'all' holds lists or other nested values; ")


def test_each_reason_is_a_phrase() -> None:
    frame = pd.DataFrame({"id": ["7", "9", "8"], "n": ["1", "?", ""], "s": ["a", "b", "a"], "e": [None] * 3})

    assert infer(frame).reasons == {
        "id": "unique in every row, and its name says 'id'",
        "n": "whole numbers; '?' where a cell is empty",
        "s": "2 labels",
        "e": "every cell is empty",
    }


def test_names_become_text_and_a_table_of_one_run_is_learned() -> None:
    frame = pd.DataFrame({7: range(20)})

    found = infer(frame)

    assert isinstance(found, Inference)
    assert found.schema.column("7").type == "integer"
    assert infer(frame.assign(label=["a", "b"] * 10)).schema.column("7").type == "id"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(), r"^the frame has no column"),
        (pd.DataFrame({"x": []}), r"^the frame has no row; at least 2 are needed"),
        (pd.DataFrame({"x": [1]}), r"^the frame has 1 row; at least 2 are needed"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"]), r"^the frame has the column 'x' twice"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["7", 7]), r"^the frame has the column '7' twice"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["x", ""]), r"^the frame: column 2 has no name; name it in the source"),
        (pd.DataFrame({"x": [1, 2], "X": [1, 2]}), r"^columns: 'X', 'x' are one name to DuckDB.*; rename all but one"),
        (pd.DataFrame({"Split": [1, 2], "row_id": [1, 2]}), r"^columns: 'Split', 'row_id' would clash .* rename them"),
        (pd.DataFrame({"y": [1, 2]}), r"^target: 'x' is not a column of the table; the columns are 'y'\.$"),
        (pd.DataFrame({"x": [1.0, np.inf]}), r"^the frame: column 'x' has inf in data row 2, which is not a finite nu"),
        (pd.DataFrame({"x": ["1", "2", "-inf", "inf"]}), r"'x' has -inf in data row 3, .* \(2 such cells\)\. Replace"),
        (pd.DataFrame({"x": [1j, 2j]}), r"^the frame has no column that can be learned: 'x' holds complex numbers\."),
        (pd.DataFrame({"x": [1j, 2j], "y": [1, 2]}), r"^target: 'x' holds complex numbers, which cannot be predicted"),
    ],
)  # fmt: skip
def test_a_frame_that_no_schema_describes_is_refused(frame: pd.DataFrame, message: str) -> None:
    target = "x" if list(frame.columns) in (["y"], ["x", "y"]) else None
    with pytest.raises(TableError, match=message):
        infer_schema(frame, target)


def test_many_labels_and_many_columns_take_a_moment() -> None:
    rng = np.random.default_rng(0)
    labels = pd.Series([f"label {n}" for n in range(20_000)] * 10, dtype="str")
    wide = pd.DataFrame(rng.normal(size=(50, 300)).round(2).astype(str))

    begin = time.process_time()
    column = infer_schema(pd.DataFrame({"x": labels})).column("x")
    assert isinstance(column, Categorical)
    assert len(column.categories) == 20_000
    assert {each.type for each in infer_schema(wide).columns} == {"float"}
    assert time.process_time() - begin < 10


def test_numbers_in_a_format_are_numbers_with_a_unit() -> None:
    n = range(40)
    frame = pd.DataFrame(
        {
            "fare": [f"${i * 97:,}.50" for i in n],
            "share": [f"{i}%" if i % 4 else "n/a" for i in n],
            "opens": [f"{i % 24:02d}:{i:02d}" for i in n],
            "asset_id": [f"{i} kg" for i in n],
            "few": [f"{i % 3} kg" for i in n],
        }
    )

    found = infer(frame)

    *numbers, key, labels = found.schema.columns
    assert numbers == [
        Float(name="fare", format="$#,##0.00", unit="$"),
        Integer(name="share", format="0%", unit="%", nullable=True, missing_values=("n/a",)),
        Integer(name="opens", format="%H:%M", unit="min"),
    ]
    assert (key.type, labels.type, found.notices) == ("id", "categorical", ())
    assert found.reasons["opens"] == "times of day or durations, in minutes, in the format %H:%M"
    rows = found.schema.coerce(frame, origin="x")
    assert (rows["fare"][39], rows["share"][39], rows["opens"][39]) == (3783.5, 39, 15 * 60 + 39)


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({"region": "Total", "sales": "820"}, "begins with 'Total' and may hold totals"),
        ({"region": "c", "sales": "820"}, "is the sum of the rows above"),
        ({"region": "c", "sales": "20"}, None),
    ],
)
def test_a_row_of_totals_is_noticed(last: dict[str, str], found: str | None) -> None:
    frame = pd.DataFrame([*({"region": "ab"[i % 2], "sales": str(i + 1)} for i in range(40)), last], dtype="str")
    notices = infer(frame).notices
    assert [found in notice for notice in notices] == ([True] if found else [])


def test_rows_that_repeat_the_header_are_noticed() -> None:
    frame = pd.DataFrame([["1", "x"], ["a", "b"], ["2", "y"]] * 9, columns=["a", "b"], dtype="str")
    assert infer(frame).notices[0].startswith("9 rows repeat the names of the columns, such as data row 2: ")


@pytest.mark.parametrize(
    ("name", "cells", "found"),
    [
        ("a b", ["1 x", "2 y"], "seem to be 2: state `dialect: { delimiter: ' ' }`"),
        ("a   b", ["1   x", "10  y"], "seem to be 2: separate them by one space, and state"),
        ("a^b^c", ["1^x^y", "2^y^z"], "seem to be 3: state `dialect: { delimiter: '^' }`"),
        ("full name", ["Ann Lee", "Bob Ray"], None),
        ("a b", ["1 x", "2"], None),
        ("time", ["10:30", "11:30"], None),
    ],
)
def test_one_column_that_is_several_is_noticed(name: str, cells: list[str], found: str | None) -> None:
    notices = infer(pd.DataFrame({name: _text(cells * 9)})).notices
    assert [found in notice for notice in notices] == ([] if found is None else [True])


def test_codes_with_an_e_are_no_numbers() -> None:
    assert _inferred(_text([f"{i % 9 + 1}E{i % 5}" for i in range(900)]))[0] == "categorical"
    for number in ("9E+3", "9e3", "9.0E3"):
        assert _inferred(_text([number, "5E2"] * 9))[0] == "float"
