"""The numeric encoding of `encoded_split`."""

import pandas as pd
import pytest

from synth_assets.schema.columns import Boolean, Categorical, Date, Integer, TableError, Text
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema


def test_labels_become_codes_and_the_target_a_float_under_its_new_name(small_schema: TableSchema) -> None:
    rows = pd.DataFrame({"Colour": ["red", "blue"], "Size": [1.5, 2.0], "Legs": [4, 6]})

    encoded = Encoding(small_schema, "Count").encode(rows)

    expected = pd.DataFrame({"Colour": [1, 0], "Size": [1.5, 2.0], "Count": [4.0, 6.0]}).astype({"Colour": "int8"})
    pd.testing.assert_frame_equal(encoded, expected)


def test_without_a_new_name_or_a_target_the_names_stay(small_schema: TableSchema) -> None:
    assert Encoding(small_schema).names == small_schema.names
    assert Encoding(TableSchema(columns=small_schema.columns), "Count").names == small_schema.names


def test_codes_follow_the_schema_and_fit_their_sql_type() -> None:
    labels = tuple(f"label {n}" for n in range(300))
    many = Categorical(name="Many", categories=labels[::-1])
    rows = pd.DataFrame({"Many": list(labels), "Legs": 1})

    encoded = Encoding(TableSchema(columns=(many, Integer(name="Legs")))).encode(rows)

    assert encoded["Many"].tolist() == list(range(299, -1, -1))
    assert many.encoded_sql_type == "SMALLINT"
    assert Categorical(name="Few", categories=("a",)).encoded_sql_type == "TINYINT"


def test_gaps_booleans_and_a_date_as_target_are_encoded() -> None:
    columns = (
        Categorical(name="c", categories=("a", "b"), nullable=True),
        Boolean(name="b"),
        Date(name="d", nullable=True),
        Text(name="t"),
    )
    schema = TableSchema(columns=columns, target="d")
    source = pd.DataFrame({"c": ["b", ""], "b": ["yes", "no"], "d": ["1970-01-03", ""], "t": ["x", "y"]}, dtype="str")

    encoded = Encoding(schema).encode(schema.coerce(source, origin="a test"))

    assert encoded["c"].tolist() == [1, pd.NA]
    assert encoded["c"].dtype == "Int8"
    assert encoded["b"].tolist() == [1, 0]
    assert encoded["t"].tolist() == ["x", "y"]
    assert encoded["d"].iloc[0] == 2.0
    assert pd.isna(encoded["d"].iloc[1])


def test_an_unknown_label_is_named_with_the_expected_ones(small_schema: TableSchema) -> None:
    rows = pd.DataFrame({"Colour": ["green", "red", "Red", "green"], "Size": 1.0, "Legs": 4})

    with pytest.raises(
        TableError, match=r"^column 'Colour' has the labels 'Red', 'green'; expected one of blue, red\."
    ):
        Encoding(small_schema).encode(rows)


@pytest.mark.parametrize(
    ("name", "message"), [("Size", "^target.rename: 'Size' is already a column"), ("split", "clash with a column")]
)
def test_a_name_that_is_taken_is_refused(small_schema: TableSchema, name: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Encoding(small_schema, name)
