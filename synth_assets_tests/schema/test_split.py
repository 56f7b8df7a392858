"""The split holds out the rows that the experiment held out."""

from pathlib import Path

import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from synth_assets.schema.columns import Categorical, Float, Integer, TableError
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import Split, select
from synth_assets.schema.table import TableSchema

# The first rows of either part of 4,177 rows, as scikit-learn 1.9 with numpy 2.4 shuffles them.
TRAIN_BEGINS, TEST_BEGINS = [2604, 3506, 3169, 2123, 995], [190, 4102, 1293, 1800, 1167]


def test_the_parts_are_the_frames_of_the_experiment(abalone_csv: Path) -> None:
    """Compared with the six lines that the experiment split its table in."""
    data = pd.read_csv(abalone_csv)
    numeric = (Float(name=name) for name in data.columns[1:-1])
    schema = TableSchema(
        columns=(Categorical(name="Sex", categories=("F", "I", "M")), *numeric, Integer(name=data.columns[-1])),
        target=data.columns[-1],
    )
    membership = Split(train_size=3000, random_state=420).membership(len(data))
    encoded = Encoding(schema, "Rings").encode(schema.coerce(data, origin="file"))

    data["Sex"] = data["Sex"].astype("category").cat.codes
    data = data.rename(columns={"Class_number_of_rings": "Rings"})
    data["Rings"] = data["Rings"].astype(float)
    train, test = train_test_split(data, train_size=3000, random_state=420)

    for part, expected in (("train", train), ("test", test)):
        found = select(encoded, membership, part)
        pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=True)


def test_the_shuffle_is_the_one_on_record() -> None:
    """Another scikit-learn or numpy must not move rows between the parts unnoticed."""
    membership = Split(train_size=3000, random_state=420).membership(4177)

    assert membership["row_id"].head(5).tolist() == TRAIN_BEGINS
    assert membership["row_id"].iloc[3000:3005].tolist() == TEST_BEGINS
    assert membership["split"].tolist() == ["train"] * 3000 + ["test"] * 1177
    assert sorted(membership["row_id"]) == list(range(4177))


def test_select_goes_by_position_in_the_order_of_the_membership(small_table: pd.DataFrame) -> None:
    shifted = small_table.set_index(pd.RangeIndex(1000, 1060))
    membership = pd.DataFrame({"split": ["test", "train", "train"], "row_id": [7, 59, 0]})

    expected = small_table.iloc[[59, 0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(select(shifted, membership, "train"), expected)


@pytest.mark.parametrize("train_size", [60, 3000])
def test_a_split_that_holds_no_row_out_is_refused(train_size: int) -> None:
    message = f"train_size is {train_size} and the table has 60 rows; expected at least 1 and at most 59"
    with pytest.raises(TableError, match=message):
        Split(train_size=train_size, random_state=0).membership(60)
