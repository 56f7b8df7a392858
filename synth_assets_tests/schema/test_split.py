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


@pytest.mark.parametrize(("train_size", "rows", "train"), [(0.8, 20, 16), (0.8, 3, 2), (0.01, 10, 1), (0.999, 10, 9)])
def test_a_share_leaves_at_least_one_row_in_each_part(train_size: float, rows: int, train: int) -> None:
    parts = Split(train_size=train_size, random_state=0).membership(rows)["split"]

    assert (parts == "train").sum() == train
    with pytest.raises(TableError, match=r"^the table has 1 row; at least 2 are needed"):
        Split(train_size=train_size, random_state=0).membership(1)


@pytest.mark.parametrize("train_size", [3000, 0.5, 0.8, 0.2, 0.99])
def test_the_smallest_table_leaves_five_rows_in_each_part(train_size: float) -> None:
    split = Split(train_size=train_size, random_state=0)

    parts = {rows: split.count(rows) for rows in (split.minimum_rows, split.minimum_rows - 1)}

    assert [min(train, rows - train) for rows, train in parts.items()] == [5, 4]


def _labels(**counts: int) -> tuple[pd.DataFrame, TableSchema]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    columns = (Categorical(name="label", categories=tuple(counts)), Float(name="x"))
    return pd.DataFrame({"label": labels, "x": 1.0}), TableSchema(columns=columns, target="label")


def _train_counts(split: Split, frame: pd.DataFrame, schema: TableSchema) -> dict[str, int]:
    membership = split.membership(len(frame), split.strata(frame, schema))
    counts = select(frame, membership, "train")["label"].value_counts()
    return {str(label): int(count) for label, count in counts.items()}


def test_a_rare_label_of_the_target_is_in_both_parts() -> None:
    frame, schema = _labels(no=592, yes=8)

    assert _train_counts(Split(train_size=0.75), frame, schema) == {"no": 444, "yes": 6}


def test_a_rare_number_of_a_target_of_two_is_in_both_parts() -> None:
    frame = pd.DataFrame({"fraud": [0] * 592 + [1] * 8, "x": range(600)})
    schema = TableSchema(columns=(Integer(name="fraud"), Integer(name="x")), target="fraud")
    split = Split(train_size=0.75)

    membership = split.membership(len(frame), split.strata(frame, schema))

    assert select(frame, membership, "train")["fraud"].sum() == 6


def test_a_label_of_one_row_goes_with_the_most_frequent_one() -> None:
    frame, schema = _labels(no=60, yes=8, perhaps=1)

    counts = _train_counts(Split(train_size=0.5), frame, schema)

    assert counts["yes"] == 4
    assert counts["no"] + counts.get("perhaps", 0) == 30


def test_a_split_is_stratified_by_labels_alone() -> None:
    frame, schema = _labels(no=6, yes=6)
    by_number = TableSchema(columns=schema.columns, target="x")

    assert Split(train_size=4).strata(frame, by_number) is None
    assert Split(train_size=1).strata(frame, schema) is None  # two labels do not fit one row
    stated = Split(train_size=4, stratify="label").strata(frame, by_number)
    assert stated is not None
    assert stated.value_counts().to_dict() == {"no": 6, "yes": 6}
    with pytest.raises(TableError, match=r"^split.stratify is 'x'; expected a column of labels: label\.$"):
        Split(train_size=4, stratify="x").strata(frame, schema)
