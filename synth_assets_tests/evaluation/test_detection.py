"""Tests of detection: what cannot be told apart, what can, and by which means."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from synth_assets.evaluation.detection import IMPORTANCE, Classifier, detection_auc, detection_table, pairs_told_apart

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.metrics import EVIDENCE_COLUMNS
from synth_assets.schema.columns import Float
from synth_assets.schema.table import TableSchema

BOTH: tuple[Classifier, ...] = ("gradient boosting", "random forest")
each_classifier = pytest.mark.parametrize("classifier", BOTH)


def _rows(count: int, seed: int, *, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.normal(5, 1, count)
    return pd.DataFrame(
        {
            "Colour": pd.Series(rng.choice(["blue", "red"], count), dtype="str"),
            "Size": size + shift,
            "Legs": (2 * size + rng.normal(0, 1, count)).round().astype("int64"),
        }
    )


HELD_OUT = _rows(150, 1)


def _auc(synthetic: pd.DataFrame, schema: TableSchema, classifier: Classifier) -> float:
    return detection_auc(synthetic, HELD_OUT, schema, classifier=classifier, repeats=1).auc


@each_classifier
def test_two_samples_of_one_source_cannot_be_told_apart(small_schema: TableSchema, classifier: Classifier) -> None:
    # The deviation of the area is 0.033 at these sizes (Hanley and McNeil 1982).
    assert _auc(_rows(150, 2), small_schema, classifier) == pytest.approx(0.5, abs=0.1)


@each_classifier
def test_the_area_does_not_depend_on_how_many_rows_are_synthetic(
    small_schema: TableSchema, classifier: Classifier
) -> None:
    """An accuracy would be 0.8 here for who calls every row synthetic."""
    assert _auc(_rows(600, 3), small_schema, classifier) == pytest.approx(0.5, abs=0.1)


@each_classifier
def test_a_shifted_column_gives_them_away(small_schema: TableSchema, classifier: Classifier) -> None:
    assert _auc(_rows(150, 2, shift=30), small_schema, classifier) > 0.999
    assert 0.6 < _auc(_rows(150, 2, shift=0.7), small_schema, classifier) < 0.999


@each_classifier
def test_columns_that_only_together_are_wrong_give_them_away(small_schema: TableSchema, classifier: Classifier) -> None:
    synthetic = _rows(600, 2)
    synthetic["Legs"] = np.random.default_rng(4).permutation(synthetic["Legs"])

    assert _auc(synthetic, small_schema, classifier) > 0.6


@each_classifier
def test_a_label_that_only_one_side_has_gives_them_away(small_schema: TableSchema, classifier: Classifier) -> None:
    assert _auc(_rows(150, 2).assign(Colour="mauve"), small_schema, classifier) > 0.999


def test_full_grown_trees_see_what_bins_hide() -> None:
    """Synthetic rows lie on a grid, real ones just beside it: single values tell them apart, and no range of values."""
    schema = TableSchema(columns=(Float(name="Size"),), target="Size")
    grid = np.random.default_rng(5).integers(0, 600, (2, 1500))
    held_out, synthetic = pd.DataFrame({"Size": grid[0] + 1e-4}), pd.DataFrame({"Size": grid[1] * 1.0})

    found = {kind: detection_auc(synthetic, held_out, schema, classifier=kind, repeats=1).auc for kind in BOTH}

    assert found["random forest"] > 0.7
    assert found["gradient boosting"] < 0.6


@each_classifier
def test_nothing_to_see_is_even_odds(classifier: Classifier) -> None:
    schema = TableSchema(columns=(Float(name="Size"),), target="Size")
    constant = pd.DataFrame({"Size": [0.1] * 20})

    assert detection_auc(constant, constant, schema, classifier=classifier, repeats=2).repeats == (0.5, 0.5)


def test_the_seed_decides_each_shuffle(small_schema: TableSchema) -> None:
    def found(seed: int, repeats: int) -> Any:
        synthetic = _rows(100, 2)
        return detection_auc(
            synthetic, HELD_OUT, small_schema, classifier="gradient boosting", repeats=repeats, seed=seed
        )

    three = found(7, 3)

    assert found(7, 3) == three
    assert three.auc == pytest.approx(np.mean(three.repeats))
    assert found(8, 2).repeats == three.repeats[1:]
    assert len(set(three.repeats)) == 3


def test_neither_the_index_nor_further_columns_count(small_schema: TableSchema) -> None:
    synthetic = _rows(100, 2)
    plain = _auc(synthetic, small_schema, "gradient boosting")

    telling = synthetic.set_index(synthetic.index + 7).assign(sample_id=1)[["sample_id", "Legs", "Size", "Colour"]]

    assert _auc(telling, small_schema, "gradient boosting") == plain


def test_more_labels_than_boosting_has_bins_for_are_taken_as_numbers(small_schema: TableSchema) -> None:
    names = [f"colour {i}" for i in range(300)]
    synthetic = _rows(300, 2).assign(Colour=names)

    assert _auc(synthetic, small_schema, "gradient boosting") > 0.95


def test_fewer_rows_than_folds_are_refused(small_schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match="found 4 synthetic rows; this measure needs at least 5"):
        _auc(HELD_OUT.head(4), small_schema, "random forest")

    assert 0 <= _auc(HELD_OUT.head(5), small_schema, "gradient boosting") <= 1


def test_the_interval_of_an_area_is_that_of_its_rows(small_schema: TableSchema) -> None:
    """The deviation of an area of 0.5 is 0.033 at these sizes (Hanley and McNeil 1982); a shuffle adds nothing."""
    found = detection_auc(_rows(150, 2), HELD_OUT, small_schema, classifier="logistic regression")

    assert found.low < found.auc < found.high
    assert found.high - found.low == pytest.approx(4 * 0.033, rel=0.25)


def test_a_logistic_model_is_blind_to_what_is_between_the_columns(small_schema: TableSchema) -> None:
    synthetic = _rows(600, 2)
    synthetic["Legs"] = np.random.default_rng(4).permutation(synthetic["Legs"])

    assert _auc(synthetic, small_schema, "logistic regression") == pytest.approx(0.5, abs=0.1)
    assert _auc(_rows(150, 2, shift=30), small_schema, "logistic regression") > 0.999


def test_the_table_has_each_classifier_beside_what_it_tells_of_real_rows(small_schema: TableSchema) -> None:
    train = _rows(200, 6)
    found = detection_table(_rows(300, 2, shift=0.7), train, HELD_OUT, small_schema).set_index("metric")

    assert ["metric", *found] == list(EVIDENCE_COLUMNS)
    columns = found.loc[[IMPORTANCE]].set_index("column_name")
    assert list(columns.index) == small_schema.names
    found = found.drop(index=IMPORTANCE)
    assert list(found.index) == ["detection_auc_boosting", "detection_auc_forest", "detection_auc_logistic"]
    assert ((found["floor_low"] < 0.5) & (found["floor_high"] > 0.5)).all()
    assert (found["value"] > found["floor_high"]).all()
    assert ((found["value_low"] < found["value"]) & (found["value"] < found["value_high"])).all()
    assert columns["value"].idxmax() == "Size"  # which was shifted
    assert columns.loc["Size", "value"] > columns.loc["Size", "floor_high"]
    assert columns.loc["Colour", "value"] == pytest.approx(0, abs=0.05)


@pytest.mark.slow
def test_rows_of_the_same_source_lie_within_the_floor_of_each_classifier(small_schema: TableSchema) -> None:
    found = detection_table(_rows(200, 7), _rows(200, 6), HELD_OUT, small_schema)

    assert ((found["value"] < found["floor_high"]) & (found["value"] > found["floor_low"])).all()


def test_the_pair_that_is_wrong_is_named_first(small_schema: TableSchema) -> None:
    synthetic = _rows(600, 2)
    synthetic["Legs"] = np.random.default_rng(4).permutation(synthetic["Legs"])

    found = pairs_told_apart(synthetic, _rows(600, 6), HELD_OUT, small_schema)

    assert tuple(found) == EVIDENCE_COLUMNS
    assert len(found) == 3
    assert (found["value"] > found["floor_high"]).tolist() == [True, False, False]
    assert found["column_name"].iloc[0] == "Size, Legs"
    assert found["value"].iloc[0] > 0.7
    assert found["value"].iloc[1] == pytest.approx(0.5, abs=0.1)


def test_columns_that_only_together_are_wrong_are_both_named(small_schema: TableSchema) -> None:
    synthetic = _rows(600, 2)
    synthetic["Legs"] = np.random.default_rng(4).permutation(synthetic["Legs"])
    told = detection_auc(
        synthetic, HELD_OUT, small_schema, classifier="gradient boosting", repeats=1, importance=True, interval=False
    )

    assert min(told.importances["Size"], told.importances["Legs"]) > 0.1
    assert told.importances["Colour"] == pytest.approx(0, abs=0.03)


def test_a_column_that_gives_everything_away_is_owed_everything() -> None:
    """The area is 1 with the column, and 0.5 where its values are shuffled; the other column says nothing."""
    schema = TableSchema(columns=(Float(name="Size"), Float(name="Other")), target="Size")
    real, synthetic = (pd.DataFrame({"Size": [size] * 200, "Other": [1.0] * 200}) for size in (0.0, 1.0))
    told = detection_auc(
        synthetic, real, schema, classifier="gradient boosting", repeats=3, importance=True, interval=False
    )

    assert told.auc == 1.0
    assert told.importances["Size"] == pytest.approx(0.5, abs=0.06)
    assert told.importances["Other"] == 0.0


def test_other_types_are_refused_in_words(small_schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match="the synthetic rows lack the column Legs"):
        detection_table(HELD_OUT.drop(columns="Legs"), HELD_OUT, HELD_OUT, small_schema)
