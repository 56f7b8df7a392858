"""Tests of what the measures ask of rows: what is refused, and in which words."""

import numpy as np
import pandas as pd
import pytest
from synth_assets.evaluation.rows import category_names, judged_rows, labels_seen, require_rows

from synth_assets.errors import ForeseenError
from synth_assets.schema.table import TableSchema


def test_whole_rows_are_enough(small_table: pd.DataFrame, small_schema: TableSchema) -> None:
    require_rows(small_schema, at_least=60, synthetic=small_table, held_out=small_table)


def test_too_few_rows_are_refused_by_name(small_table: pd.DataFrame, small_schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match=r"found 1 held-out row; this measure needs at least 5 of them. Draw"):
        require_rows(small_schema, at_least=5, synthetic=small_table, held_out=small_table.head(1))

    with pytest.raises(ForeseenError, match="found 0 synthetic rows; this measure needs at least 1 "):
        require_rows(small_schema, synthetic=small_table.head(0))


@pytest.mark.parametrize(
    ("column", "cell", "count"),
    [("Colour", None, "1 empty or infinite cell;"), ("Size", np.nan, "1 empty"), ("Size", -np.inf, "1 empty")],
)
def test_a_cell_that_is_no_value_is_refused(
    small_table: pd.DataFrame, small_schema: TableSchema, column: str, cell: object, count: str
) -> None:
    small_table.loc[3, column] = cell

    with pytest.raises(ForeseenError, match=f"column '{column}' of the held-out rows has {count}"):
        require_rows(small_schema, held_out=small_table)


def test_whole_numbers_of_which_some_are_missing_are_refused(
    small_table: pd.DataFrame, small_schema: TableSchema
) -> None:
    legs = small_table["Legs"].astype("Int64")
    legs[[1, 2]] = pd.NA

    with pytest.raises(ForeseenError, match="column 'Legs' of the train rows has 2 empty or infinite cells;"):
        require_rows(small_schema, train=small_table.assign(Legs=legs))


def test_labels_come_in_the_order_of_the_schema_and_others_after_them(
    small_table: pd.DataFrame, small_schema: TableSchema
) -> None:
    mauve, green = (small_table.assign(Colour=label) for label in ("mauve", "green"))

    assert labels_seen("Colour", small_schema, small_table.head(1)) == ["blue", "red"]
    assert labels_seen("Colour", small_schema, mauve, small_table, green) == ["blue", "red", "green", "mauve"]
    assert category_names(small_schema) == ["Colour"]


def test_a_sample_that_is_no_longer_than_the_train_rows_is_judged_whole(small_table: pd.DataFrame) -> None:
    assert judged_rows(small_table.head(7), small_table) is not small_table
    pd.testing.assert_frame_equal(judged_rows(small_table.head(7), small_table), small_table.head(7))


def test_of_a_longer_sample_the_same_rows_are_drawn_each_time_from_everywhere(small_table: pd.DataFrame) -> None:
    numbers = pd.DataFrame({"at": range(100_000)})
    drawn = judged_rows(numbers, small_table)["at"]

    pd.testing.assert_series_equal(drawn, judged_rows(numbers, small_table)["at"])
    assert len(drawn) == len(small_table) == drawn.nunique()
    assert drawn.is_monotonic_increasing
    # Of 60 numbers below 100,000, the mean deviates by 3,700.
    assert drawn.mean() == pytest.approx(50_000, abs=3 * 3_700)
