"""Each column type: what it reads, what it refuses, its dtype, its limits, its encoding, and what metrics see of it."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

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
    describe_type,
)


def _coerced(column: Column, values: list[object]) -> tuple[str, list[object]]:
    found = column.coerce(pd.Series(values, dtype=object), origin="the file")
    return str(found.dtype), [None if pd.isna(value) else value for value in found]


@pytest.mark.parametrize(
    ("column", "values", "dtype", "expected"),
    [
        (Boolean(name="x"), ["TRUE", "false", "Yes", "no", "T", "f", "1", "0.0", True, 0], "bool",
         [True, False, True, False, True, False, True, False, True, False]),
        (Boolean(name="x", missing_values=("?",)), ["?", "", None, "true"], "boolean", [None, None, None, True]),
        (Integer(name="x"), ["9223372036854775807", "-9223372036854775808", " 7 ", "2.0", "1e3", Decimal(5)], "int64",
         [2**63 - 1, -(2**63), 7, 2, 1000, 5]),
        (Integer(name="x"), ["9007199254740993.0", "3."], "int64", [9007199254740993, 3]),
        # Spaces alone are an empty cell where they cannot be a value.
        (Integer(name="x"), ["  ", "7"], "Int64", [None, 7]),
        (Id(name="x"), [" ", "7"], "Int64", [None, 7]),
        (Boolean(name="x"), [" ", "true"], "boolean", [None, True]),
        (Date(name="x"), [" ", "2024-02-29"], "datetime64[s]", [None, pd.Timestamp("2024-02-29")]),
        (Categorical(name="x", categories=(" ", "a")), [" ", "a"], "str", [" ", "a"]),
        (Integer(name="x", missing_values=("NA",)), ["1700000000000000351", "NA"], "Int64",
         [1700000000000000351, None]),
        (Integer(name="x", nullable=True), [1, 2], "Int64", [1, 2]),
        (Float(name="x"), ["-0.0", "978e15", Decimal("1.25"), "2.973e-06", ""], "float64",
         [0.0, 9.78e17, 1.25, 2.973e-06, None]),
        (Categorical(name="x", categories=("NA", "02116")), ["NA", "02116", "", None], "str",
         ["NA", "02116", None, None]),
        (Categorical(name="x", categories=("a",), missing_values=("?",)), ["?", "a"], "str", [None, "a"]),
        (Categorical(name="x", categories=("1", "2")), ["1.0", 2.0, None], "str", ["1", "2", None]),
        (Date(name="x"), ["2024-02-29", date(1999, 12, 31), None, "9999-12-31"], "datetime64[s]",
         [pd.Timestamp("2024-02-29"), pd.Timestamp("1999-12-31"), None, pd.Timestamp("9999-12-31")]),
        (Date(name="x", format="%d.%m.%Y"), ["31.1.2024"], "datetime64[s]", [pd.Timestamp("2024-01-31")]),
        (Datetime(name="x"), ["2024-01-31 08:30", "2024-01-31T08:30:00.25"], "datetime64[us]",
         [pd.Timestamp("2024-01-31 08:30"), pd.Timestamp("2024-01-31 08:30:00.25")]),
        (Datetime(name="x", timezone="Europe/Berlin"), ["2024-01-31T08:30:00Z"], "datetime64[us, Europe/Berlin]",
         [pd.Timestamp("2024-01-31 09:30", tz="Europe/Berlin")]),
        # Without an offset: local times. The first of two; what clocks skip is moved to the end of the gap.
        (Datetime(name="x", timezone="Europe/Berlin"),
         ["2024-07-01 08:30", "2024-07-01", "2024-07-01T08:30-02:00", datetime(2024, 1, 31, 8, 30),
          "2024-10-27 02:30", "2024-03-31 02:30", None],
         "datetime64[us, Europe/Berlin]",
         [*(pd.Timestamp(time) for time in (
             "2024-07-01 08:30+02:00", "2024-07-01 00:00+02:00", "2024-07-01 10:30Z", "2024-01-31 08:30+01:00",
             "2024-10-27 02:30+02:00", "2024-03-31 03:00+02:00")), None]),
        (Datetime(name="x", timezone="Europe/Berlin", format="%H:%M %d-%m-%Y"), ["08:30 01-07-2024"],
         "datetime64[us, Europe/Berlin]", [pd.Timestamp("2024-07-01 08:30+02:00")]),
        (Datetime(name="x", timezone="Europe/Berlin", format="%H:%M%z %d-%m-%Y"), ["08:30+0000 01-07-2024"],
         "datetime64[us, Europe/Berlin]", [pd.Timestamp("2024-07-01 10:30+02:00")]),
        (Text(name="x"), [" a, \"b\"\n", 7, None], "str", [" a, \"b\"\n", "7", None]),
        (Id(name="x"), ["0017", 3], "int64", [17, 3]),
        (Id(name="x", pattern="AB-####"), ["AB-0017", None], "str", ["AB-0017", None]),
    ],
)  # fmt: skip
def test_coerce_reads_values_however_they_came(
    column: Column, values: list[object], dtype: str, expected: list[object]
) -> None:
    assert _coerced(column, values) == (dtype, expected)
    again = column.coerce(column.coerce(pd.Series(values, dtype=object), origin="x"), origin="x")
    assert [None if pd.isna(value) else value for value in again] == expected
    assert column.has_dtype(again)


@pytest.mark.parametrize(
    ("column", "value", "noun"),
    [
        (Boolean(name="x"), "maybe", "true or false"),
        (Integer(name="x"), "9223372036854775808", "a whole number of at most 64 bits"),
        (Integer(name="x"), "9007199254740993.5", "a whole number of at most 64 bits"),
        (Float(name="x"), "inf", "a finite number"),
        (Float(name="x"), "nan", "a finite number"),
        (Float(name="x"), "1,5", "a finite number"),
        (Date(name="x"), "31.01.2024", "a date such as 2024-01-31"),
        (Date(name="x"), "2024-01-31 08:30", "a date such as 2024-01-31"),
        (Date(name="x"), 20240131, "a date such as 2024-01-31"),
        (Datetime(name="x"), "noon", "a date and time such as 2024-01-31 08:30:00"),
        (Id(name="x"), "AB-1", "a key of the column's pattern"),
    ],
)
def test_what_a_type_does_not_hold_is_named_in_its_words(column: Column, value: object, noun: str) -> None:
    values = pd.Series([None, value], dtype=object)
    shown = repr(value) if isinstance(value, str) else str(value)

    with pytest.raises(TableError) as caught:
        column.coerce(values, origin="the file")

    assert str(caught.value).startswith(f"the file: column 'x' has {shown} in data row 2, which is not {noun} (1 such")
    assert column.is_readable(values).tolist() == [False, False]
    assert column.model_copy(update={"nullable": True}).is_readable(values).tolist() == [True, False]


def test_infinity_of_a_database_is_no_date() -> None:
    days = pd.Series(np.array(["2024-01-31", "5881580-07-11"], dtype="datetime64[s]"))
    with pytest.raises(TableError, match="column 'x' has 5881580-07-11 00:00:00 in data row 2, which is not a date"):
        Date(name="x").coerce(days, origin="t")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (Categorical(name="x", categories=("a", "b")), pd.Series(["b", None, "a"], dtype="str"), ["b", None, "a"]),
        (Boolean(name="x"), pd.Series([True, None, False], dtype="boolean"), ["true", None, "false"]),
        (Integer(name="x"), pd.Series([3, None], dtype="Int64"), [3.0, None]),
        (Float(name="x"), pd.Series([0.5, np.nan]), [0.5, None]),
        (Date(name="x"), pd.Series(["1970-01-03", None], dtype="datetime64[s]"), [2.0, None]),
        (Datetime(name="x"), pd.Series(["1970-01-01 12:00", None], dtype="datetime64[us]"), [0.5, None]),
        (Datetime(name="x", timezone="Europe/Berlin"),
         pd.Series(["1970-01-01 12:00"], dtype="datetime64[us]").dt.tz_localize("Europe/Berlin"), [11 / 24]),
    ],
)  # fmt: skip
def test_metrics_see_labels_as_text_and_times_in_days(
    column: Column, values: pd.Series, expected: list[object]
) -> None:
    found = column.comparable(values)

    assert [None if pd.isna(value) else value for value in found] == expected
    assert str(found.dtype) == ("float64" if column.is_numeric else "str")


@pytest.mark.parametrize(
    ("column", "values", "inside"),
    [
        (Boolean(name="x"), pd.Series([True, None], dtype="boolean"), [True, False]),
        (Date(name="x", minimum="2024-01-01", maximum="2024-12-31"),
         pd.Series(["2024-01-01", "2023-12-31", "2025-01-01", None], dtype="datetime64[s]"),
         [True, False, False, False]),
        (Date(name="x", minimum="0001-01-01", maximum="9999-12-31"),
         pd.Series(["0001-01-01", "9999-12-31"], dtype="datetime64[s]"), [True, True]),
        (Datetime(name="x", timezone="UTC", maximum="2024-01-01T12:00:00+01:00"),
         pd.Series(["2024-01-01 11:00", "2024-01-01 11:01"], dtype="datetime64[us, UTC]"), [True, False]),
        (Datetime(name="x", timezone="Europe/Berlin", minimum="2024-01-01"),
         pd.Series(["2023-12-31 23:00", "2023-12-31 22:59"], dtype="datetime64[us, UTC]"), [True, False]),
        (Integer(name="x", minimum=0), pd.Series([0, -1, None], dtype="Int64"), [True, False, False]),
    ],
)  # fmt: skip
def test_limits_hold_for_every_type_of_numbers(column: Column, values: pd.Series, inside: list[bool]) -> None:
    assert column.in_range(values).tolist() == inside


def test_labels_are_encoded_by_position_and_missing_ones_stay_missing() -> None:
    column = Categorical(name="x", categories=("b", "a"), nullable=True)

    codes = column.encode(pd.Series(["a", None, "b"], dtype="str"))

    assert codes.astype(object).where(codes.notna(), None).tolist() == [1, None, 0]
    assert str(codes.dtype) == "Int8"
    assert Boolean(name="x").encode(pd.Series([True, False])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (True, 'YAML reads yes, on or true without quotes as true: write the label in quotes'),
        (None, 'YAML reads an empty label, null or ~ as no value'),
        (1.5, 'YAML reads 1.5 without quotes as a number'),
    ],
)  # fmt: skip
def test_a_label_that_yaml_has_changed_is_refused_with_the_remedy(label: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Categorical(name="x", categories=("a", label))  # type: ignore[arg-type]
    assert Categorical(name="x", categories=(1, date(2024, 1, 31))).categories == ("1", "2024-01-31")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Id(name="x", start=601), [603, 604, 605]),
        (Id(name="x", pattern="AB-####/c", start=9997), ["AB-9999/c", "AB-10000/c", "AB-10001/c"]),
        (Id(name="x", pattern="##-#/c", start=997), ["99-9/c", "100-0/c", "100-1/c"]),
    ],
)
def test_keys_count_on_from_the_keys_before(column: Id, expected: list[object]) -> None:
    keys = column.generate(3, offset=2)

    assert keys.tolist() == expected
    assert column.has_dtype(keys)


def test_hexadecimal_keys_have_their_digits_and_differ_also_between_offsets() -> None:
    keys = Id(name="x", pattern="HEX12").generate(2000)
    assert keys.str.fullmatch("[0-9A-F]{12}").all()
    assert pd.concat([keys, Id(name="x", pattern="HEX12").generate(2000, offset=2000)]).is_unique
    assert keys.str.slice(0, 2).nunique() > 100


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("hex5", "[0-9a-f]{5}"),
        ("Alnum11", "[0-9A-Za-z]{11}"),
        ("cus_alnum8", "cus_[0-9a-z]{8}"),
        ("ALNUM3", "[0-9A-Z]{3}"),
    ],
)
def test_tokens_differ_and_state_their_numbers(pattern: str, written: str) -> None:
    column = Id(name="x", pattern=pattern, start=40)
    tokens = column.generate(2000, offset=2)
    assert tokens.str.fullmatch(written).all()
    assert tokens.is_unique
    assert column.numbers_of(tokens) == list(range(42, 2042))


def test_uuids_differ_within_a_sample_and_between_seeds_and_offsets() -> None:
    column = Id(name="x", pattern="uuid")
    drawn = [column.generate(50, offset=offset, seed=seed) for offset, seed in ((0, 0), (50, 0), (0, 1))]

    assert pd.concat(drawn).is_unique
    assert drawn[0].str.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").all()
    assert drawn[0].equals(column.generate(50))


def test_types_in_memory_are_described() -> None:
    zoned = pd.Series(pd.to_datetime(["2024-01-01"])).dt.tz_localize("UTC")
    values = [pd.Series([True]), pd.Series([1]), pd.Series([1.5]), zoned.dt.tz_localize(None), zoned, pd.Series(["a"])]

    assert [describe_type(each) for each in values] == ["boolean", "integer", "float", "datetime", "datetime", "text"]
