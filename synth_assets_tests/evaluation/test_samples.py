"""Tests of the rows of an evaluation: what is refused, which rows are compared, and how they are encoded."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.samples import Samples, all_categories, cached, to_features
from synth_assets.schema.table import TableSchema


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns=["Size", "Legs"]), "the synthetic rows lack the columns Size, Legs; exp"),
        (lambda rows: rows.head(4), "found 4 synthetic rows; an evaluation needs at least 5"),
        (lambda rows: rows.assign(Size="long"), "'Size' of the synthetic rows has the type str; expected"),
        (lambda rows: rows.assign(Size=[np.nan, np.inf, *rows["Size"][2:]]), "'Size' of the synthetic rows has 2 miss"),
        (lambda rows: rows.assign(Colour=[None, *rows["Colour"][1:]]), "'Colour' of the synthetic rows has 1 missing"),
    ],
    ids=["columns", "few rows", "dtype", "numbers", "labels"],
)  # fmt: skip
def test_rows_that_cannot_be_evaluated_are_refused_in_one_sentence(
    small_schema: TableSchema,
    small_table: pd.DataFrame,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    with pytest.raises(ForeseenError, match=message):
        Samples(small_table, small_table, spoil(small_table), small_schema)
    with pytest.raises(ForeseenError, match=message.replace("synthetic", "holdout")):
        Samples(small_table, spoil(small_table), small_table, small_schema)


def test_other_columns_and_the_index_do_not_count(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    turned = small_table[["Legs", "Size", "Colour"]].assign(extra=1).set_index(np.arange(len(small_table)) + 7)

    samples = Samples(turned, small_table, turned, small_schema)

    pd.testing.assert_frame_equal(samples.train, small_table[small_schema.names].reset_index(drop=True))


def test_of_a_long_sample_a_fixed_draw_of_as_many_rows_as_train_rows_is_compared(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    long = pd.concat([small_table] * 3, ignore_index=True)
    first, again = (Samples(small_table, small_table, long, small_schema).subsample for _ in range(2))

    assert len(first) == len(small_table)
    pd.testing.assert_frame_equal(first, again)
    drawn = np.sort(np.random.default_rng(0).choice(len(long), len(small_table), replace=False))
    pd.testing.assert_frame_equal(first, long.iloc[drawn].reset_index(drop=True))


def test_features_are_standard_deviations_and_one_hot_labels(small_schema: TableSchema) -> None:
    basis = pd.DataFrame({"Colour": ["blue", "red"], "Size": [1.0, 3.0], "Legs": [4, 4]})
    rows = pd.DataFrame({"Colour": ["red", "mauve"], "Size": [5.0, 1e300], "Legs": [6, 4]})

    assert to_features(rows, basis, small_schema).tolist() == [[3.0, 2.0, 0.0, 1.0], [1e6, 0.0, 0.0, 0.0]]
    assert all_categories("Colour", small_schema, rows) == ["blue", "red", "mauve"]


def test_what_metrics_share_is_computed_once(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    calls = []

    @cached
    def count(samples: Samples, by: int) -> int:
        calls.append(by)
        return by

    one, other = (Samples(small_table, small_table, small_table, small_schema) for _ in range(2))
    assert [count(one, 1), count(one, 1), count(one, 2), count(other, 1)] == [1, 1, 2, 1]
    assert calls == [1, 2, 1]
