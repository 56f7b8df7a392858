"""Tests of fidelity: known answers worked out by hand, and what a floor is."""

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from synth_assets.evaluation.fidelity import (
    CORRELATION,
    KS,
    SHAPES,
    TV,
    column_similarity,
    correlation_similarity,
    correlations,
    fidelity_table,
    numeric_names,
)
from synth_assets.tables.schema import Column, TableSchema

SIZE = Column("Size", "number")
COLOUR = Column("Colour", "category", categories=("blue", "green", "red"))


@pytest.fixture
def three_numbers() -> TableSchema:
    return TableSchema((Column("a", "number"), Column("b", "number"), Column("c", "integer")), "c", "c")


# One column


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 1.0),
        ([4, 1, 3, 2], [1, 2, 3, 4], 1.0),
        ([1, 2], [1, 1, 1, 2, 2, 2], 1.0),  # shares count, not rows
        ([1, 2], [3, 4], 0.0),
        ([1, 2, 3, 4], [3, 4, 5, 6], 0.5),  # below 3: 2 of 4 against none
        ([1, 2], [1, 2, 3, 4], 0.5),  # up to 2: all against 2 of 4
        ([1, 1, 2], [1, 2, 2], 2 / 3),  # up to 1: 2 of 3 against 1 of 3
        ([0, 0, 0, 10], [0, 0, 0, 99], 0.75),  # only ranks count
        ([5, 5, 5], [5, 5], 1.0),
        ([5, 5, 5], [6, 6], 0.0),
        ([5, 5, 5], [4, 6], 0.5),
    ],
)
def test_numbers_are_compared_by_the_largest_gap_between_their_distributions(
    one: list[float], other: list[float], similarity: float
) -> None:
    for first, second in ((one, other), (other, one)):
        assert column_similarity(pd.Series(first), pd.Series(second), SIZE) == pytest.approx(similarity, abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        ("bbrr", "rbrb", 1.0),
        ("br", "bbbrrr", 1.0),
        ("bb", "rr", 0.0),
        ("bbrr", "brrr", 0.75),  # half of |1/2 - 1/4| + |1/2 - 3/4|
        ("bgr", "bbb", 1 / 3),  # half of |1/3 - 1| + 1/3 + 1/3
        ("bbgr", "bbrr", 0.75),  # a label that one side lacks
        ("bbbx", "bbbb", 0.75),  # a label that the schema lacks
    ],
)
def test_labels_are_compared_by_the_difference_of_their_shares(one: str, other: str, similarity: float) -> None:
    names = {"b": "blue", "g": "green", "r": "red", "x": "mauve"}
    first, second = (pd.Series([names[c] for c in text], dtype="str") for text in (one, other))

    assert column_similarity(first, second, COLOUR) == pytest.approx(similarity, abs=1e-12)
    assert column_similarity(second, first, COLOUR) == pytest.approx(similarity, abs=1e-12)


# Correlations


def _columns(a: list[float], b: list[float], c: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"a": a, "b": b, "c": c})


def test_correlations_are_those_of_ranks(three_numbers: TableSchema) -> None:
    found = correlations(_columns([1, 2, 3], [10, 1000, 100], [3, 2, 1]), three_numbers)

    # Of three ranks: 1 - the sum of the squared differences / 4.
    expected = pd.DataFrame([[1, 0.5, -1], [0.5, 1, -0.5], [-1, -0.5, 1]], index=list("abc"), columns=list("abc"))
    assert_frame_equal(found, expected)


def test_similarity_of_correlations_is_a_mean_over_the_pairs(three_numbers: TableSchema) -> None:
    one = _columns([1, 2, 3], [1, 2, 3], [1, 2, 3])  # 1, 1, 1
    other = _columns([1, 2, 3], [1, 3, 2], [3, 2, 1])  # ab 0.5, ac -1, bc -0.5

    # The differences are 0.5, 2 and 1.5: their mean is 4/3, half of it 2/3.
    assert correlation_similarity(one, other, three_numbers) == pytest.approx(1 / 3, abs=1e-12)
    assert correlation_similarity(other, one, three_numbers) == pytest.approx(1 / 3, abs=1e-12)
    assert correlation_similarity(other, other, three_numbers) == 1.0


@pytest.mark.parametrize(("legs", "similarity"), [([1, 2, 3], 1.0), ([1, 3, 2], 0.75), ([3, 2, 1], 0.0)])
def test_similarity_of_one_correlation(small_schema: TableSchema, legs: list[int], similarity: float) -> None:
    one, other = (
        pd.DataFrame({"Colour": ["red"] * 3, "Size": [1.0, 2.0, 3.0], "Legs": values}) for values in ([1, 2, 3], legs)
    )

    assert correlation_similarity(one, other, small_schema) == pytest.approx(similarity, abs=1e-12)


def test_a_constant_column_correlates_with_no_other(three_numbers: TableSchema) -> None:
    found = correlations(_columns([1, 2, 3], [0.1, 0.1, 0.1], [1, 2, 3]), three_numbers)

    assert found.loc["b", ["a", "c"]].tolist() == found.loc[["a", "c"], "b"].tolist() == [0.0, 0.0]
    assert found.loc["a", "c"] == 1.0


def test_a_constant_column_counts_in_its_pairs_only(three_numbers: TableSchema) -> None:
    one = _columns([1, 2, 3], [7, 7, 7], [1, 2, 3])  # ab 0, ac 1, bc 0
    other = _columns([1, 2, 3], [1, 2, 3], [1, 2, 3])  # 1, 1, 1

    assert correlation_similarity(one, other, three_numbers) == pytest.approx(2 / 3, abs=1e-12)


def test_labels_have_no_correlation(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    assert numeric_names(small_schema) == ["Size", "Legs"]
    assert list(correlations(small_table, small_schema)) == ["Size", "Legs"]


# The table


def test_every_measure_has_its_row_in_the_order_of_the_schema(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    shuffled_columns = small_table[["Legs", "Colour", "Size"]]

    table = fidelity_table(shuffled_columns, small_table, small_table, small_schema)

    assert list(table) == ["metric", "column_name", "value", "floor"]
    assert table["metric"].tolist() == [TV, KS, KS, SHAPES, CORRELATION]
    assert table["column_name"].head(3).tolist() == ["Colour", "Size", "Legs"]
    assert table["column_name"].tail(2).isna().all()
    assert table["value"].tolist() == pytest.approx([1.0] * 5, abs=1e-12)
    assert table["floor"].tolist() == pytest.approx([1.0] * 5, abs=1e-12)


def test_known_answers_in_one_table(small_schema: TableSchema) -> None:
    def rows(colours: str, sizes: list[float], legs: list[int]) -> pd.DataFrame:
        return pd.DataFrame({"Colour": [{"b": "blue", "r": "red"}[c] for c in colours], "Size": sizes, "Legs": legs})

    held_out = rows("bbrr", [1, 2, 3, 4], [1, 2, 3, 4])
    train = rows("brrr", [1, 2, 3, 4], [2, 3, 4, 5])
    synthetic = rows("rrrr", [5, 6, 7, 8], [4, 3, 2, 1])

    table = fidelity_table(synthetic, train, held_out, small_schema)

    assert table["value"].tolist() == pytest.approx([0.5, 0.0, 1.0, 0.5, 0.0], abs=1e-12)
    assert table["floor"].tolist() == pytest.approx([0.75, 1.0, 0.75, 2.5 / 3, 1.0], abs=1e-12)


def test_the_floor_is_what_train_rows_score(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    train, held_out = small_table.head(40), small_table.tail(20)
    synthetic = small_table.assign(Size=small_table["Size"] + 100)

    table = fidelity_table(synthetic, train, held_out, small_schema)
    as_if_synthetic = fidelity_table(train, train, held_out, small_schema)

    assert table["floor"].tolist() == as_if_synthetic["value"].tolist() == as_if_synthetic["floor"].tolist()
    assert table.loc[1, "value"] == 0.0  # no size in common
    assert 0.5 < table.loc[1, "floor"] < 1.0


def test_the_order_of_rows_and_the_index_do_not_count(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    parts = small_table.iloc[:20], small_table.iloc[20:40], small_table.iloc[40:]

    table = fidelity_table(*parts, small_schema)
    shuffled = fidelity_table(*(part.sample(frac=1, random_state=i) for i, part in enumerate(parts)), small_schema)

    assert_frame_equal(table, shuffled, rtol=0, atol=1e-12)


def test_sets_of_rows_without_anything_in_common_score_nothing(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    other = pd.DataFrame(
        {"Colour": "green", "Size": small_table["Size"] + 10, "Legs": 100 - small_table["Legs"]}
    )  # the correlation of size and legs turned around

    table = fidelity_table(other, small_table, small_table, small_schema).set_index("metric")

    assert table.loc[[TV, KS, SHAPES], "value"].tolist() == pytest.approx([0.0] * 4, abs=1e-12)
    rho = small_table["Size"].corr(small_table["Legs"], method="spearman")
    assert table.loc[CORRELATION, "value"] == pytest.approx(1 - rho, abs=1e-12)


def test_one_numeric_column_has_no_correlation_to_compare() -> None:
    schema = TableSchema((COLOUR, Column("Legs", "integer")), "Legs", "Legs")
    rows = pd.DataFrame({"Colour": ["red", "blue"], "Legs": [1, 2]})

    assert fidelity_table(rows, rows, rows, schema)["metric"].tolist() == [TV, KS, SHAPES]


def test_the_real_parts_of_the_abalone_columns_score_near_one(stand_in_csv: pd.DataFrame) -> None:
    """Two random halves of one table: what a floor looks like, and far from what a shifted column scores."""
    table = pd.read_csv(stand_in_csv)[["Sex", "Length", "Class_number_of_rings"]]
    schema = TableSchema(
        (
            Column("Sex", "category", categories=("F", "I", "M")),
            Column("Length", "number"),
            Column("Class_number_of_rings", "integer"),
        ),
        "Class_number_of_rings",
        "Rings",
    )
    train, held_out = table.iloc[:3000], table.iloc[3000:]

    found = fidelity_table(train.assign(Length=train["Length"] + 0.1), train, held_out, schema)

    assert found["floor"].min() > 0.95
    assert found.set_index("column_name").loc["Length", "value"] < 0.75
