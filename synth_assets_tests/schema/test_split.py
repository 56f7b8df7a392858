"""Tests of the split: the pipeline learns from the very rows that the experiment learned from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.model_selection import train_test_split

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.columns import TableError
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import Split, rows_of
from synth_assets.schema.table import TableSchema

# The first rows of either part of 4,177 rows, as scikit-learn 1.9 with numpy 2.4 shuffles them.
TRAIN_BEGINS, TEST_BEGINS = [2604, 3506, 3169, 2123, 995], [190, 4102, 1293, 1800, 1167]


def _experiment(csv: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table in the six lines of the experiment."""
    data = pd.read_csv(csv)
    data["Sex"] = data["Sex"].astype("category").cat.codes
    data = data.rename(columns={"Class_number_of_rings": "Rings"})
    data["Rings"] = data["Rings"].astype(float)
    train, test = train_test_split(data, train_size=3000, random_state=420)
    return train, test


def _pipeline(csv: Path, abalone: SyntheticTableSettings, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setenv(abalone.csv_variable, str(csv))
    loaded = abalone.source_in(csv.parent / "no such folder").load()
    schema = abalone.table_schema()
    raw = schema.coerce(loaded.frame, origin=loaded.label)
    return abalone.table_split().apply(Encoding(schema).encode(raw))


def test_the_rows_are_those_of_the_experiment(
    abalone_csv: Path, abalone: SyntheticTableSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = _experiment(abalone_csv)

    split = _pipeline(abalone_csv, abalone, monkeypatch)

    assert len(train) == 3000
    for part, expected in (("train", train), ("test", test)):
        assert_frame_equal(rows_of(split, part), expected.reset_index(drop=True), check_exact=True)
        assert split.loc[split["split"] == part, "row_id"].tolist() == expected.index.tolist()


def test_the_shuffle_is_the_one_of_record() -> None:
    """Another scikit-learn or numpy must not quietly move rows between the parts."""
    numbers = pd.DataFrame({"row": range(4177)})

    split = Split(train_size=3000, random_state=420).apply(numbers)

    assert split["row"].head(5).tolist() == TRAIN_BEGINS
    assert split["row"].iloc[3000:3005].tolist() == TEST_BEGINS


def test_the_parts_are_disjoint_and_together_everything(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    encoded = Encoding(small_schema).encode(small_table)

    split = Split(train_size=45, random_state=3).apply(encoded)

    assert list(split) == ["Colour", "Size", "Count", "split", "row_id"]
    assert split["split"].tolist() == ["train"] * 45 + ["test"] * 15
    assert sorted(split["row_id"]) == list(range(60))
    put_back = split.set_index("row_id").sort_index()[list(encoded)].rename_axis(None)
    assert_frame_equal(put_back, encoded, check_exact=True)


def test_rows_of_gives_the_encoded_columns_alone(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    encoded = Encoding(small_schema).encode(small_table)
    split = Split(train_size=45, random_state=3).apply(encoded)

    for part, count in (("train", 45), ("test", 15)):
        rows = rows_of(split, part)
        assert list(rows) == ["Colour", "Size", "Count"]
        assert rows.index.tolist() == list(range(count))
        assert list(rows.dtypes) == list(encoded.dtypes)


def test_row_ids_count_positions_and_not_the_index(small_table: pd.DataFrame) -> None:
    shifted = small_table.set_index(pd.RangeIndex(1000, 1060))

    split = Split(train_size=45, random_state=3).apply(shifted)

    assert np.array_equal(split["Size"], small_table["Size"].to_numpy()[split["row_id"]])


def test_the_seed_decides_the_rows(small_table: pd.DataFrame) -> None:
    first, again, other = (Split(45, seed).apply(small_table)["row_id"].tolist() for seed in (3, 3, 4))

    assert first == again
    assert set(first[:45]) != set(other[:45])


@pytest.mark.parametrize("train_size", [60, 61, 3000])
def test_a_train_size_that_holds_no_row_out_is_refused_with_both_numbers(
    small_table: pd.DataFrame, train_size: int
) -> None:
    message = f"train_size is {train_size} and the table has 60 rows; expected at least 1 and at most 59"

    with pytest.raises(TableError, match=message):
        Split(train_size, random_state=0).apply(small_table)


@pytest.mark.parametrize("train_size", [0, -1])
def test_a_train_size_without_a_row_is_refused(small_table: pd.DataFrame, train_size: int) -> None:
    with pytest.raises(TableError, match=rf"train_size is {train_size} and the table has 60 rows"):
        Split(train_size, random_state=0).apply(small_table)


@pytest.mark.parametrize(("train_size", "held_out"), [(59, 1), (1, 59)])
def test_one_row_on_either_side_is_enough(small_table: pd.DataFrame, train_size: int, held_out: int) -> None:
    split = Split(train_size, random_state=0).apply(small_table)

    assert (len(rows_of(split, "train")), len(rows_of(split, "test"))) == (train_size, held_out)
