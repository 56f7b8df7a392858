"""Tests of what learns and how it is scored: known answers, and the few rows that break a careless learner."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.learners import (
    CLASSIFICATION,
    MOST_CLASSES,
    OTHER_CLASS,
    REGRESSION,
    PredictionTask,
)
from synth_assets.schema.columns import Categorical, Float
from synth_assets.schema.table import TableSchema

close = pytest.approx


def _rows(count: int, seed: int) -> pd.DataFrame:
    """Make rows: the count depends on size and colour, and the kind on the size alone."""
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(1, 9, count), rng.integers(0, 3, count)
    effect = np.array([0.0, 5.0, -3.0])[colour]  # no line through the codes: a linear model needs a column a label
    kind = np.select([size < 3, size < 6], [0, 1], 2)
    return pd.DataFrame(
        {
            "Colour": np.array(["a", "b", "c"])[colour],
            "Size": size,
            "Kind": np.array(["x", "y", "z"])[kind],
            "Count": size + effect + rng.normal(0, 0.5, count),
        }
    )


SCHEMA = TableSchema(
    columns=(
        Categorical(name="Colour", categories=("a", "b", "c")),
        Float(name="Size"),
        Categorical(name="Kind", categories=("x", "y", "z")),
        Float(name="Count"),
    ),
    target="Count",
)
RAW, RAW_HOLDOUT = _rows(150, 1), _rows(60, 2)
NUMBER = PredictionTask.of(SCHEMA, RAW, RAW_HOLDOUT)
CATEGORY = PredictionTask.of(SCHEMA.model_copy(update={"target": "Kind"}), RAW, RAW_HOLDOUT)
REAL, HELD_OUT = NUMBER.encode(RAW), NUMBER.encode(RAW_HOLDOUT)


@pytest.mark.parametrize("name", ["linear", "nearest neighbours", "random forest", "gradient boosting"])
def test_every_regressor_learns_what_can_be_learned(name: str) -> None:
    predicted = NUMBER.predict(NUMBER.estimators[name], REAL, HELD_OUT, seed=0)

    assert predicted.shape == (60,)
    assert r2_score(HELD_OUT["Count"], predicted) > 0.75


@pytest.mark.parametrize("name", ["logistic", "nearest neighbours", "random forest", "gradient boosting"])
def test_every_classifier_learns_what_can_be_learned(name: str) -> None:
    predicted = CATEGORY.predict(CATEGORY.estimators[name], REAL, HELD_OUT, seed=0)

    assert predicted.shape == (60, 3)
    assert predicted.sum(axis=1) == close(1.0)
    assert accuracy_score(HELD_OUT["Kind"], predicted.argmax(axis=1)) > 0.85


def test_the_kind_of_the_target_decides_what_learns_and_how_it_is_scored() -> None:
    assert list(NUMBER.estimators) == ["linear", "nearest neighbours", "random forest", "gradient boosting"]
    assert list(CATEGORY.estimators) == ["logistic", "nearest neighbours", "random forest", "gradient boosting"]
    assert list(NUMBER.scores) == ["r2", "rmse", "mae"]
    assert list(CATEGORY.scores) == ["roc_auc", "accuracy", "balanced_accuracy"]


def test_a_number_of_two_values_has_classes() -> None:
    columns = (*SCHEMA.columns[:2], Float(name="fraud", nullable=True))
    schema = TableSchema(columns=columns, target="fraud")
    rows = RAW.assign(fraud=(RAW["Size"] > 8).astype("float64").mask(RAW["Size"] < 2))
    task = PredictionTask.of(schema, rows[schema.names])
    encoded = task.encode(rows[schema.names])

    assert (task.classes, next(iter(task.scores))) == (("0", "1"), "roc_auc")
    assert task.y_true(encoded).tolist() == rows["fraud"].dropna().tolist()
    assert set(encoded) == {"Colour", "Size", "fraud"}


@pytest.mark.parametrize("task", [NUMBER, CATEGORY], ids=["number", "category"])
def test_the_same_seed_predicts_the_same(task: PredictionTask) -> None:
    for name, learner in task.estimators.items():
        one, other = (task.predict(learner, REAL, HELD_OUT, seed=7) for _ in range(2))
        assert (one == other).all(), name


@pytest.mark.parametrize("task", [NUMBER, CATEGORY], ids=["number", "category"])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_few_rows_are_enough_to_be_scored(task: PredictionTask, rows: int) -> None:
    for name, learner in task.estimators.items():
        predicted = task.predict(learner, REAL.head(rows), HELD_OUT, seed=0)
        assert np.isfinite(predicted).all(), name
        assert len(predicted) == 60


def test_a_code_that_is_absent_has_no_probability() -> None:
    without = REAL[REAL["Kind"] != 1]

    for name, learner in CATEGORY.estimators.items():
        predicted = CATEGORY.predict(learner, without, HELD_OUT, seed=0)
        assert (predicted[:, 1] == 0).all(), name
        assert predicted.sum(axis=1) == close(1.0), name
        truth = CATEGORY.y_true(HELD_OUT)
        assert all(np.isfinite(score(truth, predicted)) for score in CATEGORY.scores.values()), name


def test_of_one_code_alone_every_classifier_learns_that_one() -> None:
    alike = REAL[REAL["Kind"] == 2]

    for name, learner in CATEGORY.estimators.items():
        predicted = CATEGORY.predict(learner, alike, HELD_OUT, seed=0)
        assert (predicted == [0.0, 0.0, 1.0]).all(), name
        assert CLASSIFICATION["roc_auc"](CATEGORY.y_true(HELD_OUT), predicted) == 0.5


def test_classes_are_the_labels_that_occur_and_unknown_labels_get_codes() -> None:
    odd = RAW.replace({"Kind": {"y": "?"}})
    task = PredictionTask.of(CATEGORY.schema, odd)

    assert task.classes == ("x", "z", "?")
    assert np.array(task.classes)[task.y_true(task.encode(odd))].tolist() == odd["Kind"].tolist()


@pytest.mark.parametrize("target", ["Count", "Kind"])
def test_missing_cells_are_learned_from_and_rows_without_a_target_are_left_out(target: str) -> None:
    columns = tuple(column.model_copy(update={"nullable": True}) for column in SCHEMA.columns)
    gaps = RAW.assign(Empty=np.nan)
    for i, name in enumerate(RAW):
        gaps.loc[gaps.index % 7 == i, name] = np.nan
    schema = TableSchema(columns=(*columns, Float(name="Empty", nullable=True)), target=target)
    task = PredictionTask.of(schema, gaps)
    rows = task.encode(gaps)

    assert len(rows) == gaps[target].notna().sum()
    score = next(iter(task.scores.values()))
    for name, learner in task.estimators.items():
        predicted = task.predict(learner, rows, rows, seed=0)
        assert np.isfinite(predicted).all(), name
        assert score(task.y_true(rows), predicted) > 0.5, name


def test_more_labels_than_boosting_accepts_and_more_classes_than_are_distinguished() -> None:
    many = tuple(f"l{i}" for i in range(300))
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"Many": rng.permutation(np.resize(many, 330)), "Size": rng.normal(size=330)})
    rows.loc[:40, "Many"] = "l7"
    schema = TableSchema(columns=(Categorical(name="Many", categories=many), Float(name="Size")), target="Size")

    as_feature = PredictionTask.of(schema, rows)
    for name, learner in as_feature.estimators.items():
        assert np.isfinite(
            as_feature.predict(learner, as_feature.encode(rows), as_feature.encode(rows), seed=0)
        ).all(), name
    as_target = PredictionTask.of(schema.with_target("Many"), rows)

    assert len(as_target.classes) == MOST_CLASSES
    assert "l7" in as_target.classes
    assert as_target.classes[-1] == OTHER_CLASS
    codes = as_target.y_true(as_target.encode(rows))
    assert (codes[:40] == as_target.classes.index("l7")).all()
    assert (codes == MOST_CLASSES - 1).sum() == (~rows["Many"].isin(as_target.classes)).sum()


def test_scores_are_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    truth, predicted = rng.normal(size=40), rng.normal(size=40)
    for name, score in {"r2": r2_score, "rmse": root_mean_squared_error, "mae": mean_absolute_error}.items():
        assert REGRESSION[name](truth, predicted) == close(score(truth, predicted)), name

    codes, probabilities = rng.integers(3, size=40), rng.dirichlet([1, 1, 1], 40)
    called = probabilities.argmax(axis=1)
    assert CLASSIFICATION["roc_auc"](codes, probabilities) == close(
        roc_auc_score(codes, probabilities, multi_class="ovr")
    )
    assert CLASSIFICATION["accuracy"](codes, probabilities) == close(accuracy_score(codes, called))
    assert CLASSIFICATION["balanced_accuracy"](codes, probabilities) == close(balanced_accuracy_score(codes, called))


def test_scores_worked_out_by_hand() -> None:
    truth, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])
    assert REGRESSION["r2"](truth, predicted) == close(1 - 1 / 2)
    assert REGRESSION["rmse"](truth, predicted) == close((1 / 3) ** 0.5)
    assert REGRESSION["mae"](truth, predicted) == close(1 / 3)
    assert REGRESSION["r2"](truth, np.full(3, 2.0)) == 0.0  # the mean predicts nothing
    for unit in (1e-305, 1e300):
        assert REGRESSION["r2"](truth * unit, predicted * unit) == close(1 - 1 / 2)
        assert REGRESSION["rmse"](truth * unit, predicted * unit) == pytest.approx((1 / 3) ** 0.5 * unit)

    codes = np.array([0, 0, 0, 1])
    always_zero = np.tile([1.0, 0.0], (4, 1))
    assert CLASSIFICATION["accuracy"](codes, always_zero) == 0.75
    assert CLASSIFICATION["balanced_accuracy"](codes, always_zero) == 0.5
    assert CLASSIFICATION["roc_auc"](codes, always_zero) == 0.5


def test_where_all_have_one_target_value_there_is_nothing_to_explain() -> None:
    assert np.isnan(REGRESSION["r2"](np.full(3, 0.1), np.full(3, 1.1)))
    assert np.isnan(CLASSIFICATION["roc_auc"](np.ones(3, int), np.tile([0.5, 0.5], (3, 1))))
    assert CLASSIFICATION["accuracy"](np.ones(3, int), np.tile([0.4, 0.6], (3, 1))) == 1.0


def test_a_table_without_a_target_is_refused() -> None:
    with pytest.raises(ForeseenError, match="no target column to predict"):
        PredictionTask.of(SCHEMA.model_copy(update={"target": None}), RAW)
