"""Tests of fidelity: known answers worked out by hand, and what a floor is."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from synth_assets.evaluation.fidelity import (
    CONTINGENCY,
    CORRELATION,
    KS,
    SHAPES,
    SLICED,
    TRENDS,
    TV,
    WASSERSTEIN,
    column_similarity,
    correlations,
    fidelity_table,
    numeric_names,
)
from synth_assets.evaluation.rows import judged_rows

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.metrics import EVIDENCE_COLUMNS, METRICS
from synth_assets.schema.columns import Categorical, Float, Integer
from synth_assets.schema.table import TableSchema

SIZE = Float(name="Size")
COLOUR = Categorical(name="Colour", categories=("blue", "green", "red"))


@pytest.fixture
def three_numbers() -> TableSchema:
    return TableSchema(columns=(Float(name="a"), Float(name="b"), Integer(name="c")), target="c")


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

    # SDMetrics adds a millionth to each count.
    assert column_similarity(first, second, COLOUR) == pytest.approx(similarity, abs=1e-6)
    assert column_similarity(second, first, COLOUR) == pytest.approx(similarity, abs=1e-6)


# Correlations


def _columns(a: list[float], b: list[float], c: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"a": a, "b": b, "c": c})


def test_correlations_are_those_of_ranks(three_numbers: TableSchema) -> None:
    found = correlations(_columns([1, 2, 3], [10, 1000, 100], [3, 2, 1]), three_numbers)

    # Of three ranks: 1 - the sum of the squared differences / 4.
    expected = pd.DataFrame([[1, 0.5, -1], [0.5, 1, -0.5], [-1, -0.5, 1]], index=list("abc"), columns=list("abc"))
    assert_frame_equal(found, expected)


def test_a_constant_column_correlates_with_no_other(three_numbers: TableSchema) -> None:
    found = correlations(_columns([1, 2, 3], [0.1, 0.1, 0.1], [1, 2, 3]), three_numbers)

    assert found.loc["b", ["a", "c"]].tolist() == found.loc[["a", "c"], "b"].tolist() == [0.0, 0.0]
    assert found.loc["a", "c"] == 1.0


def test_labels_have_no_correlation(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    assert numeric_names(small_schema) == ["Size", "Legs"]
    assert list(correlations(small_table, small_schema)) == ["Size", "Legs"]


# The table


def _values(*sets: pd.DataFrame, schema: TableSchema, what: str = "value") -> dict[tuple[str, str | None], float]:
    found = fidelity_table(*sets, schema)
    names = [None if pd.isna(name) else name for name in found["column_name"]]
    return dict(zip(zip(found["metric"], names, strict=True), found[what], strict=True))


def test_every_measure_has_its_row(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    shuffled_columns = small_table[["Legs", "Colour", "Size"]]

    table = fidelity_table(shuffled_columns, small_table, small_table, small_schema)

    assert tuple(table) == EVIDENCE_COLUMNS
    assert table.set_index("column_name", append=False)["metric"].tolist() == [
        *(TV, KS, KS, WASSERSTEIN, WASSERSTEIN, CONTINGENCY, CONTINGENCY, CORRELATION, SHAPES, SLICED, TRENDS)
    ]
    assert table["column_name"].head(8).tolist() == [
        *("Colour", "Size", "Legs", "Size", "Legs", "Colour, Size", "Colour, Legs", "Size, Legs")
    ]
    assert table["column_name"].tail(3).isna().all()
    best = [METRICS[metric].best for metric in table["metric"]]
    assert table["value"].tolist() == pytest.approx(best, abs=1e-6)


def test_known_answers_in_one_table(small_schema: TableSchema) -> None:
    def rows(colours: str, sizes: list[float], legs: list[int]) -> pd.DataFrame:
        return pd.DataFrame({"Colour": [{"b": "blue", "r": "red"}[c] for c in colours], "Size": sizes, "Legs": legs})

    held_out = rows("bbrr", [1, 2, 3, 4], [1, 2, 3, 4])
    train = rows("bbrr", [1, 2, 3, 4], [1, 2, 3, 4])
    synthetic = rows("rrrr", [5, 6, 7, 8], [4, 3, 2, 1])

    found = _values(synthetic, train, held_out, schema=small_schema)

    unit = np.std([1, 2, 3, 4])
    assert found[TV, "Colour"] == pytest.approx(0.5, abs=1e-6)
    assert found[KS, "Size"] == 0.0
    assert found[KS, "Legs"] == 1.0
    assert found[SHAPES, None] == pytest.approx(0.5)
    assert found[WASSERSTEIN, "Size"] == pytest.approx(4 / unit)  # every value has four to go
    assert found[WASSERSTEIN, "Legs"] == 0.0
    assert found[CORRELATION, "Size, Legs"] == pytest.approx(0.0)  # from 1 to -1
    assert found[CONTINGENCY, "Colour, Legs"] == pytest.approx(0.5)  # of four pairs of a label and a number, two
    assert found[CONTINGENCY, "Colour, Size"] == pytest.approx(0.25)  # all sizes in the last bin: with red, one of four
    assert found[TRENDS, None] == pytest.approx(0.25)


def test_the_distance_of_whole_rows_is_that_of_their_projections(three_numbers: TableSchema) -> None:
    real = _columns([1, 2, 3, 4], [4, 1, 2, 3], [1, 2, 3, 4])
    moved = real.assign(a=real["a"] + 6)
    found = _values(moved, real, real, schema=three_numbers)

    # Along a direction, every row moves by the same part of the way. Of three coordinates of a random direction each
    # is half, on average, in size: of 50 directions, 0.5 and 0.04 more or less.
    assert found[SLICED, None] / found[WASSERSTEIN, "a"] == pytest.approx(0.5, abs=3 * 0.041)
    assert found[WASSERSTEIN, "b"] == 0


def test_in_a_table_of_one_number_both_distances_are_the_same() -> None:
    schema = TableSchema(columns=(Float(name="Size"),), target="Size")
    real = pd.DataFrame({"Size": [1.0, 2.0, 4.0]})
    found = _values(real + 1, real, real, schema=schema)

    assert found[SLICED, None] == pytest.approx(1 / real["Size"].std(ddof=0))


def test_the_distance_of_whole_rows_sees_columns_that_do_not_go_together(three_numbers: TableSchema) -> None:
    rng = np.random.default_rng(0)
    at = rng.normal(size=400)
    real = _columns(at, at, at)
    found = fidelity_table(real.assign(c=rng.permutation(at)), real.head(200), real.tail(200), three_numbers)
    row = found.set_index("metric").loc[SLICED]

    assert row["value"] > row["floor_high"]
    assert (found.loc[found["metric"] == KS, "value"] > found.loc[found["metric"] == KS, "floor_low"]).all()


@pytest.mark.parametrize(("c", "similarity"), [([1, 2, 3, 4], 1.0), ([1, 2, 4, 3], 0.9), ([4, 3, 2, 1], 0.0)])
def test_similarity_of_a_correlation(three_numbers: TableSchema, c: list[int], similarity: float) -> None:
    real = _columns([1, 2, 3, 4], [4, 1, 2, 3], [1, 2, 3, 4])
    found = _values(real.assign(c=c), real, real, schema=three_numbers)

    assert found[CORRELATION, "a, c"] == pytest.approx(similarity)
    assert found[CORRELATION, "a, b"] == pytest.approx(1.0)


def test_a_column_of_one_value_correlates_with_nothing(three_numbers: TableSchema) -> None:
    real = _columns([1, 2, 3, 4], [1, 2, 4, 3], [1, 2, 3, 4])
    found = _values(real.assign(b=7.0), real, real, schema=three_numbers)

    assert found[CORRELATION, "a, b"] == pytest.approx(1 - 0.8 / 2)
    assert found[CORRELATION, "a, c"] == pytest.approx(1.0)


def test_pairs_with_a_column_of_one_real_value_are_left_out(three_numbers: TableSchema) -> None:
    real = _columns([1, 2, 3, 4], [7, 7, 7, 7], [1, 2, 3, 4])
    found = _values(real, real, real, schema=three_numbers)

    assert {name for metric, name in found if metric == CORRELATION} == {"a, c"}
    assert found[KS, "b"] == 1.0
    assert found[WASSERSTEIN, "b"] == 0.0


def test_the_floor_is_what_real_rows_score_by_chance(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    train, held_out = small_table.head(40), small_table.tail(20)
    shifted = small_table.assign(Size=small_table["Size"] + 100)

    table = fidelity_table(shifted, train, held_out, small_schema).set_index(["metric", "column_name"])
    of_real = fidelity_table(train, train, held_out, small_schema).set_index(["metric", "column_name"])

    floor = ["floor", "floor_low", "floor_high"]
    assert_frame_equal(table[floor], of_real[floor])
    assert table.loc[(KS, "Size"), "value"] == 0.0  # no size in common
    row = of_real.loc[(KS, "Size")]
    assert 0.5 < row["floor_low"] < row["value"] < row["floor_high"]
    assert row["floor_low"] < row["floor"] < row["floor_high"]


def test_a_shorter_sample_has_a_lower_floor(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    """Seven rows scatter more than forty: they are compared with as many real rows."""
    parts = small_table.head(40), small_table.tail(20)
    few, many = (_values(small_table.head(n), *parts, schema=small_schema, what="floor") for n in (7, 40))

    assert few[SHAPES, None] < many[SHAPES, None] - 0.02


def test_rows_beyond_as_many_as_there_are_train_rows_do_not_count(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    parts = small_table.head(40), small_table.tail(20)
    longer = pd.concat([small_table.head(40), small_table.assign(Size=99.0)])

    assert_frame_equal(
        fidelity_table(longer, *parts, small_schema),
        fidelity_table(judged_rows(longer, parts[0]), *parts, small_schema),
    )


def test_sets_of_rows_without_anything_in_common_score_nothing(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    other = pd.DataFrame(
        {"Colour": "green", "Size": small_table["Size"] + 10, "Legs": 100 - small_table["Legs"]}
    )  # the correlation of size and legs turned around

    found = _values(other, small_table, small_table, schema=small_schema)

    assert [found[key] for key in ((TV, "Colour"), (KS, "Size"), (KS, "Legs"), (SHAPES, None))] == pytest.approx(
        [0.0] * 4, abs=1e-6
    )
    rho = small_table["Size"].corr(small_table["Legs"], method="spearman")
    assert found[CORRELATION, "Size, Legs"] == pytest.approx(1 - rho, abs=1e-12)


def test_a_table_of_one_number_has_its_column_alone() -> None:
    schema = TableSchema(columns=(Integer(name="Legs"),), target="Legs")
    rows = pd.DataFrame({"Legs": [1, 2]})

    assert fidelity_table(rows, rows, rows, schema)["metric"].tolist() == [KS, WASSERSTEIN, SHAPES, SLICED]


def test_a_column_that_is_unique_in_every_row_is_measured(three_numbers: TableSchema) -> None:
    rng = np.random.default_rng(0)
    rows = [_columns(rng.normal(size=50), rng.normal(size=50), rng.permutation(50)) for _ in range(3)]

    assert fidelity_table(*rows, three_numbers)["value"].notna().all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.drop(columns="Size"), "the synthetic rows lack the column Size; expected Colour, Size, Legs"),
        (lambda t: t.assign(Size=t["Size"].astype("str")), "column 'Size' of the synthetic rows has the type str"),
        (lambda t: t.head(0), "found 0 synthetic rows"),
        (lambda t: t.assign(Size=np.nan), "column 'Size' of the synthetic rows has 60 empty or infinite cells"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(
    small_schema: TableSchema, small_table: pd.DataFrame, spoil: object, words: str
) -> None:
    with pytest.raises(ForeseenError, match=words):
        fidelity_table(spoil(small_table), small_table, small_table, small_schema)  # type: ignore[operator]


def test_twice_the_same_numbers(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    parts = small_table.iloc[:20], small_table.iloc[20:40], small_table.iloc[40:]

    assert_frame_equal(fidelity_table(*parts, small_schema), fidelity_table(*parts, small_schema), check_exact=True)


def test_two_parts_of_the_placeholder_score_near_one(placeholder_csv: pd.DataFrame) -> None:
    """What a floor looks like, and far from what a shifted column scores."""
    table = pd.read_csv(placeholder_csv)[["Sex", "Length", "Class_number_of_rings"]]
    schema = TableSchema(
        columns=(
            Categorical(name="Sex", categories=("F", "I", "M")),
            Float(name="Length"),
            Integer(name="Class_number_of_rings"),
        ),
        target="Class_number_of_rings",
    )
    train, held_out = table.iloc[:3000], table.iloc[3000:]

    found = fidelity_table(train.assign(Length=train["Length"] + 0.1), train, held_out, schema)

    shapes = found[found["metric"].isin([KS, TV])].set_index("column_name")
    assert shapes["floor"].min() > 0.95
    assert shapes.loc["Length", "value"] < 0.75
