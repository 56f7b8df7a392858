"""Tests of the rows of an evaluation: what is refused, which rows are compared, and how they are encoded."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.samples import Samples, all_categories, cached, to_features
from synth_assets.schema.columns import Boolean, Categorical, Date, Float, Id, Text
from synth_assets.schema.table import TableSchema


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns=["Size", "Legs"]), "the synthetic rows lack the columns Size, Legs; exp"),
        (lambda rows: rows.head(4), "found 4 synthetic rows; an evaluation needs at least 5"),
        (lambda rows: rows.assign(Size="long"), "'Size' of the synthetic rows has the type str; expected"),
        (lambda rows: rows.assign(Size=[0, np.nan, *rows["Size"][2:]]), "has 1 missing cell, the first in data row 2"),
        (lambda rows: rows.assign(Size=[0, 1, np.inf, *rows["Size"][3:]]), "1 infinite cell, the first in data row 3"),
        (lambda rows: rows.assign(Colour=[None, *rows["Colour"][1:]]), "'Colour' of the synthetic rows has 1 missing"),
    ],
    ids=["columns", "few rows", "dtype", "missing", "infinite", "labels"],
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

    pd.testing.assert_frame_equal(samples.train, small_schema.comparable(small_table))


def test_of_a_long_sample_a_fixed_draw_of_as_many_rows_as_train_rows_is_compared(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    long = pd.concat([small_table] * 3, ignore_index=True)
    first, again = (Samples(small_table, small_table, long, small_schema).subsample for _ in range(2))

    assert len(first) == len(small_table)
    pd.testing.assert_frame_equal(first, again)
    drawn = np.sort(np.random.default_rng(0).choice(len(long), len(small_table), replace=False))
    pd.testing.assert_frame_equal(first, small_schema.comparable(long.iloc[drawn].reset_index(drop=True)))


def test_of_long_sets_a_fixed_draw_is_compared_and_its_train_rows_are_known(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    samples = Samples(small_table, small_table.head(20), small_table, small_schema)
    thinned = samples.thinned(30)

    assert [len(part) for part in (thinned.train, thinned.holdout, thinned.synthetic)] == [30, 20, 30]
    assert len(thinned.real) == len(thinned.typed["train"]) + 20 == 50
    drawn = samples.train.iloc[thinned.train_positions].reset_index(drop=True)
    pd.testing.assert_frame_equal(thinned.train, drawn)
    assert samples.thinned(30) is thinned
    assert samples.thinned(1000) is samples


KEYED = TableSchema(
    columns=(
        Id(name="key"),
        Text(name="note"),
        Categorical(name="kind", categories=("a", "b", "c", "rare"), nullable=True),
        Date(name="day", nullable=True),
        Boolean(name="is"),
    )
)


def keyed(n: int = 40) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "key": np.arange(n),
            "note": "x",
            "kind": [*["a", "b"] * (n // 2 - 2), None, "c", "rare", "rare"],
            "day": ["2024-01-01", *[""] * 9, *["2024-01-03"] * (n - 10)],
            "is": ["true", "false"] * (n // 2),
        }
    )
    return KEYED.coerce(table, origin="rows")


def test_metrics_see_labels_and_numbers_alone_and_text_that_is_not_published_may_lack() -> None:
    samples = Samples(keyed(), keyed(), keyed().drop(columns="note"), KEYED)

    assert list(samples.train) == samples.compared.names == ["kind", "day", "is"]
    assert samples.train["day"].isna().sum() == 9
    assert samples.train["is"].unique().tolist() == ["true", "false"]
    assert list(samples.typed["train"]) == KEYED.names
    with pytest.raises(ForeseenError, match="the train rows lack the column note"):
        Samples(keyed().drop(columns="note"), keyed(), keyed(), KEYED)


@pytest.mark.parametrize(("rare_labels", "hidden"), [("other", {"other"}), ("draw", {"a", "b"})])
def test_labels_that_are_hidden_in_synthetic_rows_are_hidden_in_the_real_rows_they_are_compared_with(
    rare_labels: str, hidden: set[str]
) -> None:
    schema = KEYED.model_copy(update={"rare_labels": rare_labels})
    samples = Samples(keyed(), keyed(), keyed(), schema)
    was_rare = samples.train["kind"].isin(["c", "rare"])

    assert set(samples.shown.train.loc[was_rare, "kind"]) <= hidden
    assert samples.shown.train.loc[~was_rare, "kind"].equals(samples.train.loc[~was_rare, "kind"])
    assert samples.shown.synthetic["kind"].equals(samples.synthetic["kind"])
    public = Samples(keyed(), keyed(), keyed(), schema.model_copy(update={"private": False}))
    assert public.shown is public


def test_features_indicate_missing_cells_and_distinguish_the_most_frequent_labels() -> None:
    many = tuple(str(i) for i in range(150))
    columns = (
        Float(name="x", nullable=True),
        Float(name="empty", nullable=True),
        Categorical(name="l", categories=many),
    )
    schema = TableSchema(columns=columns)
    basis = pd.DataFrame({"x": [1.0, 3.0, np.nan] * 50, "empty": np.nan, "l": many}).iloc[:, :3]
    rows = pd.DataFrame({"x": [5.0, np.nan], "empty": [np.nan, 1.0], "l": ["0", "149"]})

    found = to_features(rows, basis, schema)

    assert found.shape == (2, 2 + 100 + 2)
    assert found[:, :2].tolist() == [[3.0, 0.0], [0.0, 0.0]]
    assert found[:, 2:-2].sum(axis=1).tolist() == [1.0, 0.0]
    assert found[:, -2:].tolist() == [[0.0, 1.0], [1.0, 0.0]]


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
