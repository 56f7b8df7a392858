"""A schema: what it coerces, what it refuses, its limits, and the hash of a table."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from synth_assets.schema.columns import Categorical, Column, Float, Integer, TableError
from synth_assets.schema.table import TableSchema, content_hash, readable_rows


def _frame(**columns: object) -> pd.DataFrame:
    """Two rows of `small_schema`, with some columns replaced."""
    return pd.DataFrame({"Colour": ["red", "blue"], "Size": [1.5, 2.0], "Legs": [4, 6]} | columns)


def _text(values: list[str | None]) -> pd.Series:
    return pd.Series(values, dtype="str")


# coerce


def test_coerce_returns_the_declared_columns_in_order_and_in_their_types(small_schema: TableSchema) -> None:
    came = pd.DataFrame(
        {"Legs": [4.0, 6.0], "Extra": ["ignored", "too"], "Size": [1, 2], "Colour": ["red", "blue"]}, index=[7, 3]
    )

    got = small_schema.coerce(came, origin="a frame")

    assert_frame_equal(
        got, pd.DataFrame({"Colour": _text(["red", "blue"]), "Size": [1.0, 2.0], "Legs": [4, 6]}), check_exact=True
    )


def test_coerce_leaves_its_input_alone(small_schema: TableSchema) -> None:
    came = _frame(Legs=["4", "6"], Size=pd.Categorical(["1.5", "2"]))
    before = came.copy(deep=True)

    small_schema.coerce(came, origin="a frame")

    assert_frame_equal(came, before)


def test_coerce_of_a_coerced_table_changes_nothing(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    once = small_schema.coerce(small_table, origin="a frame")

    assert_frame_equal(once, small_table, check_exact=True)
    assert_frame_equal(small_schema.coerce(once, origin="a frame"), once, check_exact=True)


@pytest.mark.parametrize(
    ("sizes", "legs"),
    [
        (["1.5", "2"], ["4", "6"]),
        ([" 1.5", "2e0"], ["4.0", "6 "]),
        (pd.Categorical(["1.5", "2"]), pd.Categorical(["4", "6"])),
        (pd.Categorical([1.5, 2.0]), pd.Categorical([4, 6])),
        (pd.array([1.5, 2.0], dtype="Float64"), pd.array([4, 6], dtype="Int64")),
        (np.array([1.5, 2.0], dtype=object), np.array([4.0, 6.0], dtype=object)),
    ],
    ids=["text", "padded text", "categories of text", "categories of numbers", "nullable", "objects"],
)
def test_numbers_are_read_however_they_came(small_schema: TableSchema, sizes: object, legs: object) -> None:
    got = small_schema.coerce(_frame(Size=sizes, Legs=legs), origin="a frame")

    assert_series_equal(got["Size"], pd.Series([1.5, 2.0], name="Size"), check_exact=True)
    assert_series_equal(got["Legs"], pd.Series([4, 6], name="Legs"))


def test_a_category_of_numbers_is_read_by_value_and_not_by_code(small_schema: TableSchema) -> None:
    legs = pd.Categorical(["12", "3"], categories=["3", "7", "12"])

    assert small_schema.coerce(_frame(Legs=legs), origin="a frame")["Legs"].tolist() == [12, 3]


@pytest.mark.parametrize("colours", [["red", "blue"], pd.Categorical(["red", "blue"]), np.array(["red", "blue"], "O")])
def test_labels_arrive_as_text(small_schema: TableSchema, colours: object) -> None:
    got = small_schema.coerce(_frame(Colour=colours), origin="a frame")

    assert_series_equal(got["Colour"], _text(["red", "blue"]).rename("Colour"))


def test_an_unknown_label_is_kept_for_the_checks_to_count(small_schema: TableSchema) -> None:
    got = small_schema.coerce(_frame(Colour=["green", "blue"]), origin="a frame")

    assert got["Colour"].tolist() == ["green", "blue"]


@pytest.mark.parametrize("as_category", [False, True])
def test_missing_values_are_kept(small_schema: TableSchema, as_category: bool) -> None:
    came = _frame(Colour=["red", None], Size=[None, "2"], Legs=[None, "6"])
    if as_category:
        came = came.astype("category")

    got = small_schema.coerce(came, origin="a frame")

    expected = pd.DataFrame(
        {"Colour": _text(["red", None]), "Size": [np.nan, 2.0], "Legs": pd.array([None, 6], dtype="Int64")}
    )
    assert_frame_equal(got, expected, check_exact=True)


def test_missing_columns_are_named_with_what_was_found_and_expected(small_schema: TableSchema) -> None:
    with pytest.raises(TableError) as caught:
        small_schema.coerce(pd.DataFrame({"Size": [1.0], "Feet": [4]}), origin="file creatures.csv")

    message = str(caught.value)
    assert message.startswith("file creatures.csv lacks the columns 'Colour', 'Legs'. It has 'Size', 'Feet';")
    assert "expected 'Colour', 'Size', 'Legs'" in message


def test_one_missing_column_is_named_in_the_singular(small_schema: TableSchema) -> None:
    with pytest.raises(TableError, match=r"^a frame lacks the column 'Legs'\. It has 'Colour', 'Size'; expected "):
        small_schema.coerce(_frame().drop(columns="Legs"), origin="a frame")


def test_names_differ_by_case(small_schema: TableSchema) -> None:
    with pytest.raises(TableError, match=r"lacks the column 'Size'\. It has 'Colour', 'size', 'Legs'"):
        small_schema.coerce(_frame().rename(columns={"Size": "size"}), origin="a frame")


@pytest.mark.parametrize(
    ("columns", "column", "found", "row", "expected", "cells"),
    [
        ({"Size": ["1.5", "tall"]}, "Size", "'tall'", 2, "a finite number", "1 such cell)"),
        ({"Size": ["wide", "tall"]}, "Size", "'wide'", 1, "a finite number", "2 such cells)"),
        ({"Size": pd.Categorical(["1.5", "1,5"])}, "Size", "'1,5'", 2, "a finite number", "1 such cell)"),
        ({"Size": ["inf", "1.5"]}, "Size", "'inf'", 1, "a finite number", "1 such cell)"),
        ({"Legs": ["4", "four"]}, "Legs", "'four'", 2, "a whole number of at most 64 bits", "1 such cell)"),
        ({"Legs": ["4.5", "6"]}, "Legs", "'4.5'", 1, "a whole number of at most 64 bits", "1 such cell)"),
        ({"Legs": [4.0, 6.25]}, "Legs", "6.25", 2, "a whole number of at most 64 bits", "1 such cell)"),
        ({"Legs": [4.0, float("inf")]}, "Legs", "inf", 2, "a whole number of at most 64 bits", "1 such cell)"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named_with_its_column_and_row(
    small_schema: TableSchema,
    columns: dict[str, object],
    column: str,
    found: str,
    row: int,
    expected: str,
    cells: str,
) -> None:
    came = _frame(**columns).set_index(pd.Index([50, 40]))  # rows are counted, whatever the index says

    with pytest.raises(TableError) as caught:
        small_schema.coerce(came, origin="file creatures.csv")

    message = str(caught.value)
    assert message.startswith(f"file creatures.csv: column '{column}' has ")
    assert found in message
    assert f"in data row {row}, which is not {expected} (" in message
    assert cells in message


def test_a_column_that_occurs_twice_is_refused(small_schema: TableSchema) -> None:
    with pytest.raises(TableError, match=r"^a frame has the column 'Size' twice; every name must be unique\.$"):
        small_schema.coerce(pd.concat([_frame(), _frame()[["Size"]]], axis="columns"), origin="a frame")


def test_only_rows_of_which_every_cell_is_a_value_of_its_column_are_readable(small_schema: TableSchema) -> None:
    generated = pd.DataFrame(
        {
            "Colour": ["red", "green", None, "blue", "blue", "blue"],
            "Size": ["1.5", "1", "1", "tall", "inf", "2"],
            "Legs": ["4", "4", "4", "4", "4", "4.5"],
        }
    )

    rows = readable_rows(generated, small_schema)

    assert_frame_equal(rows, pd.DataFrame({"Colour": _text(["red"]), "Size": [1.5], "Legs": [4]}))


def test_a_header_without_rows_is_refused(small_schema: TableSchema) -> None:
    header_only = pd.read_csv(io.StringIO("Colour,Size,Legs\n"))

    with pytest.raises(TableError, match=r"^file creatures\.csv has no row; at least one is needed"):
        small_schema.coerce(header_only, origin="file creatures.csv")


@pytest.mark.parametrize("legs", [["9223372036854775808", "6"], [2.0**63, 6.0], [1e300, 6.0], ["-1e19", "6"]])
def test_a_whole_number_beyond_64_bits_is_never_read_as_another(small_schema: TableSchema, legs: list[object]) -> None:
    with pytest.raises(TableError, match="'Legs'"):
        small_schema.coerce(_frame(Legs=legs), origin="a frame")


# schemas


_SIZE, _LEGS = Float(name="Size"), Integer(name="Legs")


@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [
        ((_SIZE, _LEGS, Integer(name="size")), "Legs", "^columns: 'Size', 'size' are one name to DuckDB"),
        ((_SIZE, _LEGS), "Arms", "^target: 'Arms' is not a column .*the columns are 'Size', 'Legs'"),
        ((_SIZE, Float(name="Row_ID")), None, "^columns: 'Row_ID' would clash with a column that the pipeline adds"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    columns: tuple[Column, ...], target: str | None, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        TableSchema(columns=columns, target=target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target: a", "columns: this key is required."),
        ("columns: [{name: a}]", "columns.0: the key `type` is required."),
        ("columns: [{name: a, type: cat}]", "columns.0: found type 'cat'; expected one of 'categorical', "),
        (
            "columns: [{name: a, type: categorical, categories: [yes]}]",
            "YAML reads yes, on or true without quotes as",
        ),
        (
            "columns: [{name: a, type: categorical, categories: [1.5]}]",
            "YAML reads 1.5 without quotes as a number",
        ),
        (
            "columns: [{name: a, type: categorical, categories: [~]}]",
            "YAML reads an empty label, null or ~ as",
        ),
        ("columns: [{name: a, type: datetime, timezone: Mars}]", "found 'Mars'; expected a time zone of the IANA"),
        ("columns: [{name: a, type: date, minimum: soon}]", "found 'soon'; expected a date such as '2024-01-31'"),
        ("columns: [{name: a, type: id, pattern: AB}]", "found 'AB'; expected 'integer', 'uuid', 'hex' with a number"),
        ("{columns: [{name: a, type: text}], target: a}", "'a' is a column of type text, which cannot be predicted"),
        ("columns: [{name: a, type: categorical, categories: [x, x]}]", "found x twice; expected each label once."),
        ("columns: [{name: a, type: float, min: 1}]", "columns.0.float.min: there is no such key."),
        ("columns: [{name: a, type: float, minimum: 3, maximum: 2}]", "found minimum 3 and maximum 2 of column 'a'"),
        ("- a", "has no keys; expected `columns`"),
        ("columns: [", "is not YAML: "),
    ],
)
def test_a_mistake_in_a_schema_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(text)

    with pytest.raises(TableError) as caught:
        TableSchema.from_yaml(file)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_schema_file_is_the_schema(tmp_path: Path, small_schema: TableSchema) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(small_schema.model_dump_json())  # JSON is YAML

    assert TableSchema.from_yaml(file) == small_schema


def test_a_column_is_found_by_its_name(small_schema: TableSchema) -> None:
    assert small_schema.column("Size").unit == "mm"
    with pytest.raises(KeyError, match="Arms"):
        small_schema.column("Arms")


# count_out_of_range


@pytest.mark.parametrize(
    ("column", "values", "count"),
    [
        (Categorical(name="c", categories=("a", "b")), ["a", "b", "c", "A", None], 2),
        (Float(name="c", minimum=0.0, maximum=1.0), [0.0, 1.0, -0.001, 1.001, 7.0, None], 3),
        (Float(name="c", minimum=0.0), [-1.0, 1e9], 1),
        (Float(name="c", maximum=0.0), [-1e9, 1.0, 2.0], 2),
        (Float(name="c"), [-1e9, 1e9, None], 0),
        (Float(name="c", minimum=0.0, maximum=1.0), [None, None], 0),
    ],
)
def test_values_out_of_range_are_counted_and_missing_ones_are_not(
    column: Column, values: list[object], count: int
) -> None:
    assert column.count_out_of_range(pd.Series(values)) == count


def test_missing_whole_numbers_are_not_out_of_range() -> None:
    legs = Integer(name="Legs", minimum=0, maximum=12)

    assert legs.count_out_of_range(pd.Series([0, 12, 13, None, -1], dtype="Int64")) == 2


# content_hash


def test_the_hash_is_that_of_cells_and_names_alone(small_table: pd.DataFrame) -> None:
    same_cells = small_table.copy().set_index(pd.RangeIndex(100, 160))

    assert content_hash(same_cells) == content_hash(small_table)
    assert content_hash(small_table.iloc[::-1].iloc[::-1]) == content_hash(small_table)
    assert len(content_hash(small_table)) == 64


def test_the_hash_tells_every_change(small_table: pd.DataFrame) -> None:
    one_size, one_colour, missing = small_table.copy(), small_table.copy(), small_table.copy()
    one_size.loc[59, "Size"] = np.nextafter(one_size.loc[59, "Size"], 100)
    one_colour.loc[0, "Colour"] = "green"
    missing.loc[0, "Size"] = np.nan
    changed = {
        "as it is": small_table,
        "one number, by the least that a float can change": one_size,
        "one label": one_colour,
        "one missing": missing,
        "rows in another order": small_table.iloc[::-1],
        "columns in another order": small_table[["Size", "Colour", "Legs"]],
        "another name": small_table.rename(columns={"Legs": "legs"}),
        "a row less": small_table.head(59),
    }

    assert len({content_hash(frame) for frame in changed.values()}) == len(changed)


def test_the_hash_survives_a_csv_file(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    read_again = pd.read_csv(io.StringIO(small_table.to_csv(index=False)))

    assert content_hash(small_schema.coerce(read_again, origin="a file")) == content_hash(small_table)
