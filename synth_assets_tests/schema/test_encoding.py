"""Tests of the encoding: labels to codes and back, and what becomes of rows that a language model made up."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from synth_assets.schema.columns import Categorical, Integer, TableError
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema

LARGEST = 2**53 - 1  # beyond it a float no longer names one whole number

# The schema is frozen, so that examples may share it; how long one takes depends on what else the machine does.
properties = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

rows = st.lists(
    st.tuples(
        st.sampled_from(["blue", "red"]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-LARGEST, LARGEST),
        st.integers(-1000, 1000),
    ),
    max_size=20,
    unique_by=lambda row: row[3],
)


def _table(rows: list[tuple[str, float, int, int]]) -> pd.DataFrame:
    """Rows of `small_schema`, the last number of each its index."""
    colours, sizes, legs, index = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pd.DataFrame(
        {
            "Colour": pd.Series(colours, dtype="str"),
            "Size": pd.Series(sizes, dtype="float64"),
            "Legs": pd.Series(legs, dtype="int64"),
        }
    ).set_index(pd.Index(index, dtype="int64"))


@properties
@given(rows=rows)
def test_decoding_undoes_encoding(small_schema: TableSchema, rows: list[tuple[str, float, int, int]]) -> None:
    table, encoding = _table(rows), Encoding(small_schema)

    assert_frame_equal(encoding.decode(encoding.encode(table)), table, check_exact=True)


@properties
@given(rows=rows)
def test_codes_are_those_of_pandas(small_schema: TableSchema, rows: list[tuple[str, float, int, int]]) -> None:
    table = _table(rows)

    codes = Encoding(small_schema).encode(table)["Colour"]

    expected = table["Colour"].astype(pd.CategoricalDtype(["blue", "red"])).cat.codes
    assert_series_equal(codes, expected, check_names=False)


def test_an_encoded_table_has_numbers_only_under_the_new_name(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    encoding = Encoding(small_schema)
    before = small_table.copy(deep=True)

    encoded = encoding.encode(small_table)

    assert list(encoded) == encoding.names == ["Colour", "Size", "Count"]
    assert [str(dtype) for dtype in encoded.dtypes] == ["int8", "float64", "float64"]
    assert encoded["Count"].tolist() == small_table["Legs"].tolist()
    assert_frame_equal(small_table, before)


def test_a_category_may_be_the_target(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    encoding = Encoding(TableSchema(columns=small_schema.columns, target="Colour"))

    encoded = encoding.encode(small_table)

    assert encoding.categories == ["Hue"]
    assert Encoding(small_schema).categories == ["Colour"]
    assert (encoded["Hue"] == (small_table["Colour"] == "red")).all()
    assert_frame_equal(encoding.decode(encoded), small_table, check_exact=True)


def test_codes_follow_the_schema_and_not_the_alphabet(small_table: pd.DataFrame) -> None:
    schema = TableSchema(
        columns=(Categorical(name="Colour", categories=("red", "green", "blue")), Integer(name="Legs")), target="Legs"
    )

    encoded = Encoding(schema).encode(small_table[["Colour", "Legs"]])

    assert dict(zip(small_table["Colour"], encoded["Colour"], strict=True)) == {"red": 0, "blue": 2}


def test_an_unknown_label_is_named_with_those_expected(small_schema: TableSchema) -> None:
    table = _table([("blue", 1.0, 1, 0), ("green", 1.0, 1, 1), ("Red", 1.0, 1, 2), ("green", 1.0, 1, 3)])

    with pytest.raises(TableError) as caught:
        Encoding(small_schema).encode(table)

    assert str(caught.value).startswith(
        "column 'Colour' has the labels 'Red', 'green'; expected one of blue, red. Add the label to"
    )


# decode


def test_rows_that_name_nothing_are_left_out_and_the_others_keep_their_index(small_schema: TableSchema) -> None:
    nan, inf = float("nan"), float("inf")
    rows = {
        # index: (colour, size, count); those below 100 can be decoded
        11: (0, 1.25, 3),
        110: (2, 1.0, 3),
        111: (-1, 1.0, 3),
        112: (0.5, 1.0, 3),
        113: (nan, 1.0, 3),
        114: (inf, 1.0, 3),
        10: (1.0, -7.5, 0.0),
        120: (0, nan, 3),
        121: (0, inf, 3),
        122: (0, -inf, 3),
        12: (0, 1e300, -3),
        130: (0, 1.0, 3.5),
        131: (0, 1.0, nan),
        132: (0, 1.0, inf),
        133: (0, 1.0, -inf),
        134: (0, 1.0, 2.0**53),
        13: (1, 0.0, LARGEST),
    }
    encoded = pd.DataFrame.from_dict(rows, orient="index", columns=["Colour", "Size", "Count"], dtype="float64")

    decoded = Encoding(small_schema).decode(encoded)

    assert_frame_equal(
        decoded,
        _table([("blue", 1.25, 3, 11), ("red", -7.5, 0, 10), ("blue", 1e300, -3, 12), ("red", 0.0, LARGEST, 13)]),
        check_exact=True,
    )


@properties
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.integers(-2, 3).map(float), st.floats()),
            st.floats(),
            st.one_of(st.integers(-3, 20).map(float), st.floats()),
        ),
        max_size=20,
    )
)
def test_what_can_be_decoded_is_encoded_as_it_was(
    small_schema: TableSchema, rows: list[tuple[float, float, float]]
) -> None:
    encoding = Encoding(small_schema)
    made_up = pd.DataFrame(rows, columns=encoding.names, dtype="float64")

    decoded = encoding.decode(made_up)

    assert list(decoded.dtypes) == list(_table([]).dtypes)
    finite = made_up[np.isfinite(made_up).all(axis="columns")]
    expected = finite[
        finite["Colour"].isin([0, 1])
        & (finite["Count"] == finite["Count"].round())
        & (finite["Count"].abs() <= LARGEST)
    ]
    assert_frame_equal(encoding.encode(decoded).astype("float64"), expected, check_exact=True)


def test_decoding_takes_the_columns_in_any_order_and_ignores_others(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    encoding = Encoding(small_schema)
    encoded = encoding.encode(small_table)[["Count", "Size", "Colour"]].assign(draw=7)

    assert_frame_equal(encoding.decode(encoded), small_table, check_exact=True)


def test_decoding_leaves_its_input_alone(small_schema: TableSchema) -> None:
    encoded = pd.DataFrame({"Colour": [0.0, 9.0], "Size": [1.0, 2.0], "Count": [1.0, 2.5]})
    before = encoded.copy(deep=True)

    Encoding(small_schema).decode(encoded)

    assert_frame_equal(encoded, before)
