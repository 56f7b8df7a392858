"""Tests of the comparison of training sets: what it scores, that it is paired, what its intervals cover, its words."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from synth_assets.evaluation.utility import (
    AUGMENTED,
    REAL,
    SYNTHETIC,
    Comparison,
    compare_training_sets,
    held_out_r2,
    verdict_on,
)
from threadpoolctl import threadpool_limits

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import intervals, learners, utility

REGRESSORS = ["linear", "nearest neighbours", "random forest", "gradient boosting"]
METRICS = {"r2": r2_score, "rmse": root_mean_squared_error, "mae": mean_absolute_error}
COLUMNS = ["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"]

close = pytest.approx


@pytest.fixture(scope="module", autouse=True)
def _little_work() -> Iterator[None]:
    """Repeat less: a few show what twenty do. And OpenMP's threads wait for each other busily on a busy machine."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1, "openmp"):
        patch.setattr(utility, "SEEDS", 2)
        patch.setattr(utility, "REPEATS", 6)
        patch.setattr(intervals, "RESAMPLES", 60)
        yield


def _rows(count: int, seed: int) -> pd.DataFrame:
    """Make encoded rows in which the target depends on the size and on the colour."""
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(1, 9, count), rng.integers(0, 3, count)
    effect = np.array([0.0, 5.0, -3.0])[colour]  # no line through the codes: a linear model needs a column a label
    return pd.DataFrame(
        {"Colour": colour.astype("int8"), "Size": size, "Count": size + effect + rng.normal(0, 0.5, count)}
    )


REAL_ROWS, HELD_OUT = _rows(80, 1), _rows(50, 2)
REVERSED = REAL_ROWS.assign(Count=REAL_ROWS["Count"].max() + REAL_ROWS["Count"].min() - REAL_ROWS["Count"])
NOISE = pd.concat([REAL_ROWS] * 3, ignore_index=True)
NOISE["Count"] = np.random.default_rng(3).permutation(NOISE["Count"])


def _compare(real: pd.DataFrame, synthetic: pd.DataFrame, held_out: pd.DataFrame, **settings: Any) -> Comparison:
    return compare_training_sets(
        real, synthetic, held_out, **({"target": "Count", "categories": ["Colour"]} | settings)
    )


@pytest.fixture
def linear_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the regressors that take long."""
    every = learners._regressors
    monkeypatch.setattr(learners, "_regressors", lambda categories: {"linear": every(categories)["linear"]})


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
        "Adding 80 synthetic rows to the 80 real ones, by R2 on held-out rows: linear, worse: -"
    )
    assert " Learning from the synthetic rows instead of the real ones: linear, worse: -" in turned.verdict


@pytest.mark.usefixtures("linear_only")
def test_more_rows_of_the_same_kind_help_where_real_ones_are_few() -> None:
    found = _compare(REAL_ROWS.head(8), _rows(300, 4), HELD_OUT, seed=1)

    added = _differences(found, AUGMENTED).loc["linear"]
    assert added["value"] > 0.02
    assert _differences(found, SYNTHETIC).loc["linear", "value"] > 0.02


@pytest.mark.usefixtures("linear_only")
def test_differences_are_paired() -> None:
    """Against its own real rows and three times as many more, a line hardly moves, whichever rows it is scored on."""
    found = _compare(_rows(400, 5), _rows(1200, 6), HELD_OUT)

    added, alone = _differences(found, AUGMENTED).loc["linear"], _arm(found, REAL).loc[("linear", "r2")]
    assert added["ci_high"] - added["ci_low"] < (alone["ci_high"] - alone["ci_low"]) / 5


@pytest.mark.usefixtures("linear_only")
def test_intervals_cover_other_rows_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line has no seed, and ten rows say little: with the rows as they are each time, none of that would show."""
    few = REAL_ROWS.head(10)

    def width() -> float:
        row = _arm(_compare(few, few, HELD_OUT), REAL).loc[("linear", "rmse")]
        return float(row["ci_high"] - row["ci_low"])

    drawn_anew = width()
    monkeypatch.setattr(utility._TrainingSets, "resampled", lambda self, rng: self)
    assert drawn_anew > 1.5 * width()


@pytest.mark.usefixtures("linear_only")
def test_scores_are_scikit_learns_for_models_that_see_labels() -> None:
    """The linear model, fitted here by hand: a column of its own for each label."""
    found = _compare(REAL_ROWS, NOISE, HELD_OUT)

    def features(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[["Size"]].assign(one=rows["Colour"] == 1, two=rows["Colour"] == 2)

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
def test_the_order_of_columns_does_not_count() -> None:
    order = ["Count", "Size", "Colour"]

    plain = _compare(REAL_ROWS, NOISE, HELD_OUT)
    turned = _compare(REAL_ROWS, NOISE[order], HELD_OUT[order])

    assert_frame_equal(plain.scores, turned.scores, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("linear_only")
def test_a_label_that_only_held_out_rows_have_is_scored_all_the_same() -> None:
    without = REAL_ROWS[REAL_ROWS["Colour"] < 2]

    scores = _compare(without, without, HELD_OUT).scores

    assert np.isfinite(scores[["value", "ci_low", "ci_high"]]).all(axis=None)


@pytest.mark.usefixtures("linear_only")
def test_a_table_without_categories_is_compared_all_the_same() -> None:
    real, synthetic, held_out = (rows.drop(columns="Colour") for rows in (REAL_ROWS, REVERSED, HELD_OUT))

    assert _differences(_compare(real, synthetic, held_out, categories=[]), SYNTHETIC).loc["linear", "ci_high"] < 0


def test_five_held_out_rows_give_wide_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _compare(REAL_ROWS, REAL_ROWS, HELD_OUT.head(5))

    assert np.isfinite(found.scores[["value", "ci_low", "ci_high"]]).all(axis=None)
    assert np.isfinite(found.differences[["value", "ci_low", "ci_high"]]).all(axis=None)


def test_a_constant_target_has_errors_but_no_r2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "SEEDS", 1)
    real, held_out = REAL_ROWS.assign(Count=3.0), HELD_OUT.assign(Count=3.0)

    found = _compare(real, real, held_out)

    scores = found.scores.set_index("metric")
    assert len(scores) == 36
    assert scores.loc["r2", ["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert np.abs(scores.loc[["rmse", "mae"], ["value", "ci_low", "ci_high"]]).max(axis=None) < 1e-9
    assert found.differences[["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert (found.differences["verdict"] == "no score: the held-out rows all have one target value").all()


def test_rows_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ForeseenError, match="lack 'Size'"):
        _compare(REAL_ROWS, REAL_ROWS.drop(columns="Size"), HELD_OUT)
    with pytest.raises(ForeseenError, match="found no row"):
        _compare(REAL_ROWS, REAL_ROWS.head(0), HELD_OUT)
    with pytest.raises(ForeseenError, match="column 'Count' has empty or infinite cells"):
        _compare(REAL_ROWS, REAL_ROWS.assign(Count=np.nan), HELD_OUT)


# A categorical target


def test_a_category_is_told_by_classifiers() -> None:
    real, held_out = (rows.assign(Kind=(rows["Size"] > 5).astype("int8")) for rows in (REAL_ROWS, HELD_OUT))
    wrong = real.assign(Kind=1 - real["Kind"])

    found = _compare(real, wrong, held_out, target="Kind", categories=["Colour", "Kind"])

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
    assert ", by the area under the ROC curve on held-out rows: logistic, " in found.verdict


def test_a_label_that_no_synthetic_row_has_is_scored_all_the_same() -> None:
    real, held_out = (rows.assign(Kind=(rows["Size"] // 3).astype("int8")) for rows in (REAL_ROWS, HELD_OUT))
    absent = real[real["Kind"] == 1]

    found = _compare(real, absent, held_out, target="Kind", categories=["Colour", "Kind"])

    assert np.isfinite(found.scores[["value", "ci_low", "ci_high"]]).all(axis=None)
    assert (_arm(found, SYNTHETIC).xs("roc_auc", level="metric")["value"] == 0.5).all()


# Train on synthetic, test on real


def _r2(rows: pd.DataFrame, held_out: pd.DataFrame = HELD_OUT, **settings: int) -> dict[str, float]:
    return held_out_r2(rows, held_out, target="Count", categories=["Colour"], **({"seeds": 2} | settings))


def test_the_benchmarks_regressors_are_scikit_learns_defaults() -> None:
    features = ["Colour", "Size"]
    expected = {}
    for name, make in (
        ("gradient boosting", lambda seed: HistGradientBoostingRegressor(random_state=seed, categorical_features=[0])),
        ("random forest", lambda seed: RandomForestRegressor(random_state=seed)),
    ):
        predicted = [make(s).fit(REAL_ROWS[features], REAL_ROWS["Count"]).predict(HELD_OUT[features]) for s in (0, 1)]
        expected[name] = np.mean([r2_score(HELD_OUT["Count"], each) for each in predicted])

    found = _r2(REAL_ROWS)

    assert list(found) == ["gradient boosting", "random forest"]
    assert found == close(expected)


def test_rows_that_teach_nothing_have_no_r2_to_speak_of() -> None:
    assert max(_r2(NOISE).values()) < 0.1
    assert min(_r2(REAL_ROWS).values()) > 0.8


def test_r2_is_the_mean_over_the_seeds_counted_on() -> None:
    both, first, second = (
        _r2(REAL_ROWS, seed=seed, seeds=seeds)["random forest"] for seed, seeds in ((3, 2), (3, 1), (4, 1))
    )

    assert first != second
    assert both == close((first + second) / 2)


def test_r2_needs_rows_to_train_on_and_a_target_that_varies() -> None:
    with pytest.raises(ForeseenError, match="found no row"):
        _r2(REAL_ROWS.head(0))
    with pytest.raises(ForeseenError, match="found no row"):
        _r2(REAL_ROWS, HELD_OUT.head(0))
    with pytest.raises(ForeseenError, match="'Colour' is a category, which has no R2"):
        held_out_r2(REAL_ROWS, HELD_OUT, target="Colour", categories=["Colour"])

    assert all(np.isnan(value) for value in _r2(REAL_ROWS, HELD_OUT.assign(Count=3.0), seeds=1).values())


# The verdict


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((0.002, -0.006, 0.010), "no difference at this size: +0.002, 95% interval -0.006 to 0.010"),
        ((0.020, 0.010, 0.030), "better: +0.020, 95% interval 0.010 to 0.030"),
        ((-0.040, -0.050, -0.030), "worse: -0.040, 95% interval -0.050 to -0.030"),
        ((0.015, 0.0, 0.030), "no difference at this size: +0.015, 95% interval 0.000 to 0.030"),
        ((-0.0001, -0.0004, 0.0), "no difference at this size: +0.000, 95% interval 0.000 to 0.000"),
        ((float("nan"),) * 3, "no score: the held-out rows all have one target value"),
    ],
    ids=["around 0", "above", "below", "touching 0", "no -0.000", "none"],
)
def test_the_verdict_says_what_the_interval_says(difference: tuple[float, float, float], said: str) -> None:
    assert verdict_on(*difference) == said
