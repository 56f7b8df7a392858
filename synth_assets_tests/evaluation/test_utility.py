"""Tests of the comparison of training sets: what it scores, that it is paired, what its intervals cover, its words."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from synth_assets.evaluation import intervals, learners
from synth_assets.evaluation.metrics import utility
from synth_assets.evaluation.metrics.utility import (
    AUGMENTED,
    REAL,
    SYNTHETIC,
    Comparison,
    compare_training_sets,
    holdout_scores,
    verdict_on,
)
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Categorical, Float
from synth_assets.schema.table import TableSchema

REGRESSORS = ["linear", "nearest neighbours", "random forest", "gradient boosting"]
METRICS = {"r2": r2_score, "rmse": root_mean_squared_error, "mae": mean_absolute_error}
COLUMNS = ["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"]

close = pytest.approx


@pytest.fixture(scope="module", autouse=True)
def _little_work() -> Iterator[None]:
    """Repeat less, and fit fewer trees: a few show what many do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utility, "SEEDS", 2)
        patch.setattr(utility, "REPEATS", 4)
        patch.setattr(intervals, "RESAMPLES", 60)
        patch.setitem(learners.FOREST_SETTINGS, "n_estimators", 8)
        patch.setitem(learners.BOOSTING_SETTINGS, "max_iter", 20)
        yield


def _rows(count: int, seed: int) -> pd.DataFrame:
    """Make rows in which the target depends on the size and on the colour."""
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(1, 9, count), rng.integers(0, 3, count)
    effect = np.array([0.0, 5.0, -3.0])[colour]  # no line through the codes: a linear model needs a column a label
    return pd.DataFrame(
        {"Colour": np.array(["a", "b", "c"])[colour], "Size": size, "Count": size + effect + rng.normal(0, 0.5, count)}
    )


REAL_ROWS, HELD_OUT = _rows(80, 1), _rows(50, 2)
REVERSED = REAL_ROWS.assign(Count=REAL_ROWS["Count"].max() + REAL_ROWS["Count"].min() - REAL_ROWS["Count"])
NOISE = REAL_ROWS.copy()
NOISE["Count"] = np.random.default_rng(3).permutation(NOISE["Count"])


def _compare(
    real: pd.DataFrame, synthetic: pd.DataFrame, held_out: pd.DataFrame, target: str = "Count", **settings: Any
) -> Comparison:
    return compare_training_sets(Samples(real, held_out, synthetic, _schema(real, target), **settings))


def _schema(rows: pd.DataFrame, target: str = "Count") -> TableSchema:
    labels = {"Colour": ("a", "b", "c"), "Kind": ("0", "1", "2", "3")}
    return TableSchema(
        columns=tuple(
            Categorical(name=name, categories=labels[name]) if name in labels else Float(name=name) for name in rows
        ),
        target=target,
    )


@pytest.fixture
def linear_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the estimators that take long."""
    every = learners.PredictionTask.estimators.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(learners.PredictionTask, "estimators", property(lambda task: dict([*every(task).items()][:1])))


@pytest.fixture(scope="module")
def copied(_little_work: None) -> Comparison:
    """Compare with a copy of the real rows."""
    return _compare(REAL_ROWS, REAL_ROWS, HELD_OUT)


@pytest.fixture(scope="module")
def turned(_little_work: None) -> Comparison:
    """Compare with real rows whose target goes down where it should go up."""
    return _compare(REAL_ROWS, REVERSED, HELD_OUT)


def _arm(found: Comparison, trained_on: str) -> pd.DataFrame:
    rows = found.scores[found.scores["trained_on"] == trained_on]
    return rows.drop(columns="trained_on").set_index(["regressor", "metric"])


def _differences(found: Comparison, trained_on: str) -> pd.DataFrame:
    return found.differences[found.differences["trained_on"] == trained_on].set_index("regressor")


def test_there_is_a_score_for_each_learner_training_set_and_metric(turned: Comparison) -> None:
    assert list(turned.scores) == COLUMNS
    assert list(turned.scores[["regressor", "trained_on", "metric"]].itertuples(index=False, name=None)) == [
        (regressor, arm, metric)
        for regressor in REGRESSORS
        for arm in (REAL, SYNTHETIC, AUGMENTED)
        for metric in ("r2", "rmse", "mae")
    ]
    assert list(turned.differences) == [*COLUMNS, "verdict"]
    assert list(turned.differences[["regressor", "trained_on", "metric"]].itertuples(index=False, name=None)) == [
        (regressor, arm, "r2") for regressor in REGRESSORS for arm in (SYNTHETIC, AUGMENTED)
    ]


def test_intervals_contain_their_values(copied: Comparison, turned: Comparison) -> None:
    for frame in (copied.scores, turned.scores, copied.differences, turned.differences):
        assert (frame["ci_low"] < frame["value"]).all()
        assert (frame["value"] < frame["ci_high"]).all()


def test_differences_are_those_of_the_scores(turned: Comparison) -> None:
    r2 = turned.scores[turned.scores["metric"] == "r2"].pivot(index="regressor", columns="trained_on", values="value")

    for arm in (SYNTHETIC, AUGMENTED):
        expected = (r2[arm] - r2[REAL])[REGRESSORS].tolist()
        assert _differences(turned, arm)["value"].tolist() == close(expected, abs=1e-12)


def test_a_copy_of_the_real_rows_is_as_good_as_they_are(copied: Comparison) -> None:
    difference = _differences(copied, SYNTHETIC)

    assert (difference["value"] == 0).all()
    assert difference["verdict"].str.startswith("no difference at this size: +0.000, 95% interval -").all()
    assert (_arm(copied, REAL).xs("r2", level="metric")["value"] > 0.6).all()


def test_a_target_that_is_reversed_hurts_and_the_verdict_says_so(turned: Comparison) -> None:
    assert (turned.differences["ci_high"] < -0.05).all()
    assert turned.differences["verdict"].str.startswith("worse: -").all()
    assert (_arm(turned, SYNTHETIC).xs("r2", level="metric")["value"] < 0).all()
    assert turned.verdict.startswith(
        "Adding 80 synthetic rows to the 80 real training rows, by R2 on holdout rows: worse (linear -"
    )
    assert " Training on the synthetic rows instead of the real ones: worse (linear -" in turned.verdict


@pytest.mark.usefixtures("linear_only")
def test_differences_are_paired() -> None:
    """Against its own real rows and as many more, a line hardly moves, whichever rows it is scored on."""
    found = _compare(_rows(400, 5), _rows(400, 6), HELD_OUT)

    added, alone = _differences(found, AUGMENTED).loc["linear"], _arm(found, REAL).loc[("linear", "r2")]
    assert added["ci_high"] - added["ci_low"] < (alone["ci_high"] - alone["ci_low"]) / 3


@pytest.mark.usefixtures("linear_only")
def test_intervals_cover_other_rows_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line has no seed, and ten rows say little: with the rows as they are each time, none of that would show."""
    few = REAL_ROWS.head(10)

    def width() -> float:
        row = _arm(_compare(few, few, HELD_OUT), REAL).loc[("linear", "rmse")]
        return float(row["ci_high"] - row["ci_low"])

    resampled = width()
    monkeypatch.setattr(utility._TrainingSets, "resample", lambda self, rng: self)
    assert resampled > 1.5 * width()


@pytest.mark.usefixtures("linear_only")
def test_scores_are_scikit_learns_for_models_that_see_labels() -> None:
    """The linear model, fitted here by hand: a column of its own for each label."""
    found = _compare(REAL_ROWS, NOISE, HELD_OUT)

    def features(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[["Size"]].assign(one=rows["Colour"] == "b", two=rows["Colour"] == "c")

    sets = {REAL: REAL_ROWS, SYNTHETIC: NOISE, AUGMENTED: pd.concat([REAL_ROWS, NOISE])}
    for arm, rows in sets.items():
        predicted = LinearRegression().fit(features(rows), rows["Count"]).predict(features(HELD_OUT))
        for metric, score in METRICS.items():
            value = _arm(found, arm).loc[("linear", metric), "value"]
            assert value == close(score(HELD_OUT["Count"], predicted), abs=1e-9), (arm, metric)


@pytest.mark.usefixtures("linear_only")
def test_the_seed_moves_intervals_and_not_the_scores_of_a_linear_model() -> None:
    zero, again, one = (_compare(REAL_ROWS, NOISE, HELD_OUT, seed=seed).scores for seed in (0, 0, 1))

    assert_frame_equal(zero, again, check_exact=True)
    assert zero["value"].tolist() == one["value"].tolist()
    assert (zero["ci_low"] != one["ci_low"]).all()


def test_the_same_seed_gives_the_same_answer_to_the_last_digit(copied: Comparison) -> None:
    again = _compare(REAL_ROWS, REAL_ROWS, HELD_OUT)

    assert_frame_equal(again.scores, copied.scores, check_exact=True)
    assert_frame_equal(again.differences, copied.differences, check_exact=True)
    assert again.verdict == copied.verdict


@pytest.mark.usefixtures("linear_only")
def test_a_label_that_only_held_out_rows_have_is_scored_all_the_same() -> None:
    without = REAL_ROWS[REAL_ROWS["Colour"] != "c"]

    scores = _compare(without, without, HELD_OUT).scores

    assert np.isfinite(scores[["value", "ci_low", "ci_high"]]).all(axis=None)


@pytest.mark.usefixtures("linear_only")
def test_a_table_without_categories_is_compared_all_the_same() -> None:
    real, synthetic, held_out = (rows.drop(columns="Colour") for rows in (REAL_ROWS, REVERSED, HELD_OUT))

    assert _differences(_compare(real, synthetic, held_out), SYNTHETIC).loc["linear", "ci_high"] < 0


@pytest.mark.usefixtures("linear_only")
def test_five_holdout_rows_have_intervals() -> None:
    found = _compare(REAL_ROWS, REAL_ROWS, HELD_OUT.head(5))

    assert np.isfinite(found.scores[["value", "ci_low", "ci_high"]]).all(axis=None)
    assert np.isfinite(found.differences[["value", "ci_low", "ci_high"]]).all(axis=None)


@pytest.mark.usefixtures("linear_only")
def test_a_constant_target_has_errors_but_no_r2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "SEEDS", 1)
    real, held_out = REAL_ROWS.assign(Count=3.0), HELD_OUT.assign(Count=3.0)

    found = _compare(real, real, held_out)

    scores = found.scores.set_index("metric")
    assert len(scores) == 9
    assert scores.loc["r2", ["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert np.abs(scores.loc[["rmse", "mae"], ["value", "ci_low", "ci_high"]]).max(axis=None) < 1e-9
    assert found.differences[["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert (found.differences["verdict"] == "no score: all holdout rows have the same target value").all()


# A categorical target


def test_a_category_is_predicted_by_classifiers() -> None:
    real, held_out = (
        rows.assign(Kind=(rows["Size"] > 5).astype("int").astype("str")) for rows in (REAL_ROWS, HELD_OUT)
    )
    wrong = real.assign(Kind=real["Kind"].map({"0": "1", "1": "0"}))

    found = _compare(real, wrong, held_out, target="Kind")

    assert set(found.scores["metric"]) == {"roc_auc", "accuracy", "balanced_accuracy"}
    assert list(found.differences["regressor"].unique()) == [
        "logistic",
        "nearest neighbours",
        "random forest",
        "gradient boosting",
    ]
    assert (_arm(found, REAL).xs("accuracy", level="metric")["value"] > 0.85).all()
    assert (_arm(found, SYNTHETIC).xs("accuracy", level="metric")["value"] < 0.15).all()
    assert _differences(found, SYNTHETIC)["verdict"].str.startswith("worse: -").all()
    assert ", by the area under the ROC curve on holdout rows: " in found.verdict
    assert " Training on the synthetic rows instead of the real ones: worse (logistic -" in found.verdict


@pytest.mark.usefixtures("linear_only")
def test_a_label_that_no_synthetic_row_has_is_scored_all_the_same() -> None:
    real, held_out = (
        rows.assign(Kind=(rows["Size"] // 3).astype("int").astype("str")) for rows in (REAL_ROWS, HELD_OUT)
    )
    absent = real[real["Kind"] == "1"]

    found = _compare(real, absent, held_out, target="Kind")

    assert np.isfinite(found.scores[["value", "ci_low", "ci_high"]]).all(axis=None)
    assert (_arm(found, SYNTHETIC).xs("roc_auc", level="metric")["value"] == 0.5).all()


def test_the_benchmarks_scores_are_the_reports() -> None:
    samples = Samples(REAL_ROWS, HELD_OUT, NOISE, _schema(REAL_ROWS))

    expected = _arm(compare_training_sets(samples), SYNTHETIC).xs("r2", level="metric")["value"]

    assert holdout_scores(samples, samples.synthetic) == expected.to_dict()


# The verdict


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ((0.002, -0.006, 0.010), "no difference at this size: +0.002, 95% interval -0.006 to 0.010"),
        ((0.020, 0.010, 0.030), "better: +0.020, 95% interval 0.010 to 0.030"),
        ((-0.040, -0.050, -0.030), "worse: -0.040, 95% interval -0.050 to -0.030"),
        ((0.015, 0.0, 0.030), "no difference at this size: +0.015, 95% interval 0.000 to 0.030"),
        ((-0.0001, -0.0004, 0.0), "no difference at this size: +0.000, 95% interval 0.000 to 0.000"),
        ((float("nan"),) * 3, "no score: all holdout rows have the same target value"),
    ],
    ids=["around 0", "above", "below", "touching 0", "no -0.000", "none"],
)
def test_the_verdict_says_what_the_interval_says(difference: tuple[float, float, float], verdict: str) -> None:
    assert verdict_on(*difference) == verdict
