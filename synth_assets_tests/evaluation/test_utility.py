"""Tests of the comparison of regressions: what it scores, that it is paired, and how it words its verdict."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from threadpoolctl import threadpool_limits

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import utility
from synth_assets.evaluation.utility import AUGMENTED, REAL, SYNTHETIC, Comparison, compare_regressions, held_out_r2

REGRESSORS = ["linear", "random forest", "gradient boosting"]
METRICS = {"r2": r2_score, "rmse": root_mean_squared_error, "mae": mean_absolute_error}

# Forests add up their trees in the order in which threads finish: the last digits differ from run to run.
close = pytest.approx


@pytest.fixture(scope="module", autouse=True)
def _little_work() -> Iterator[None]:
    """Two seeds show what five do; and OpenMP's threads wait for each other busily, for ever on a busy machine."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1, "openmp"):
        patch.setattr(utility, "SEEDS", 2)
        patch.setattr(utility, "RESAMPLES", 300)
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
NOISE = pd.concat([REAL_ROWS] * 3, ignore_index=True)
NOISE["Count"] = np.random.default_rng(3).permutation(NOISE["Count"])


def _compare(real: pd.DataFrame, synthetic: pd.DataFrame, held_out: pd.DataFrame, **settings: Any) -> Comparison:
    return compare_regressions(real, synthetic, held_out, **({"target": "Count", "categories": ["Colour"]} | settings))


@pytest.fixture
def linear_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the regressors that take long."""
    every = utility._regressors
    monkeypatch.setattr(utility, "_regressors", lambda categories: {"linear": every(categories)["linear"]})


@pytest.fixture(scope="module")
def copied(_little_work: None) -> Comparison:
    """Compare with a copy of the real rows."""
    return _compare(REAL_ROWS, REAL_ROWS, HELD_OUT)


@pytest.fixture(scope="module")
def noisy(_little_work: None) -> Comparison:
    """Compare with real rows, each with the target of another."""
    return _compare(REAL_ROWS, NOISE, HELD_OUT)


def _arm(found: Comparison, trained_on: str) -> pd.DataFrame:
    rows = found.scores[found.scores["trained_on"] == trained_on]
    return rows.drop(columns="trained_on").set_index(["regressor", "metric"])


def test_there_is_a_score_for_each_regressor_training_set_and_metric(noisy: Comparison) -> None:
    assert list(noisy.scores) == ["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"]
    assert list(noisy.scores[["regressor", "trained_on", "metric"]].itertuples(index=False, name=None)) == [
        (regressor, arm, metric)
        for regressor in REGRESSORS
        for arm in (REAL, SYNTHETIC, AUGMENTED)
        for metric in ("r2", "rmse", "mae")
    ]
    assert list(noisy.gains) == ["regressor", "value", "ci_low", "ci_high"]
    assert noisy.gains["regressor"].tolist() == REGRESSORS


def test_intervals_contain_their_values(copied: Comparison, noisy: Comparison) -> None:
    for frame in (copied.scores, noisy.scores, noisy.gains):
        assert (frame["ci_low"] < frame["value"]).all()
        assert (frame["value"] < frame["ci_high"]).all()


def test_gains_are_the_differences_of_r2(noisy: Comparison) -> None:
    r2 = noisy.scores[noisy.scores["metric"] == "r2"].pivot(index="regressor", columns="trained_on", values="value")

    expected = (r2[AUGMENTED] - r2[REAL])[REGRESSORS].tolist()
    assert noisy.gains["value"].tolist() == close(expected, abs=1e-12)


def test_a_copy_of_the_real_rows_scores_like_them(copied: Comparison) -> None:
    assert_frame_equal(_arm(copied, SYNTHETIC), _arm(copied, REAL), rtol=0, atol=1e-9)
    assert (_arm(copied, REAL).xs("r2", level="metric")["value"] > 0.8).all()


def test_differences_are_paired(copied: Comparison) -> None:
    """A line through every point twice is the same line: on the same resamples, nothing at all has changed."""
    gain = copied.gains.set_index("regressor").loc["linear"]
    alone = _arm(copied, REAL).loc[("linear", "r2")]

    assert gain[["value", "ci_low", "ci_high"]].tolist() == close([0.0] * 3, abs=1e-9)
    assert alone["ci_high"] - alone["ci_low"] > 0.01  # while the score itself is that uncertain


def test_noise_for_a_target_hurts_and_the_verdict_says_so(noisy: Comparison) -> None:
    assert (noisy.gains["ci_high"] < -0.05).all()
    assert (_arm(noisy, SYNTHETIC).xs("r2", level="metric")["value"] < 0.1).all()
    assert noisy.verdict.startswith(
        "Adding 240 synthetic rows to the 80 real ones hurt linear and random forest and gradient boosting; "
        "change of R2 on held-out rows: linear -0."
    )


@pytest.mark.usefixtures("linear_only")
def test_more_rows_of_the_same_kind_help_where_real_ones_are_few() -> None:
    found = _compare(REAL_ROWS.head(6), _rows(300, 4), HELD_OUT)

    assert found.gains.loc[0, "ci_low"] > 0
    assert found.verdict.startswith("Adding 300 synthetic rows to the 6 real ones helped linear; ")


def test_scores_are_scikit_learns_for_models_that_see_labels(noisy: Comparison) -> None:
    """The linear model, fitted here by hand: a column of its own for each label."""

    def features(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[["Size"]].assign(one=rows["Colour"] == 1, two=rows["Colour"] == 2)

    sets = {REAL: REAL_ROWS, SYNTHETIC: NOISE, AUGMENTED: pd.concat([REAL_ROWS, NOISE])}
    for arm, rows in sets.items():
        predicted = LinearRegression().fit(features(rows), rows["Count"]).predict(features(HELD_OUT))
        for metric, score in METRICS.items():
            value = _arm(noisy, arm).loc[("linear", metric), "value"]
            assert value == close(score(HELD_OUT["Count"], predicted), abs=1e-9), (arm, metric)


def test_metrics_worked_out_by_hand() -> None:
    truth, prediction = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])

    assert utility._r2(truth, prediction) == close(1 - 1 / 2)
    assert utility._rmse(truth, prediction) == close((1 / 3) ** 0.5)
    assert utility._mae(truth, prediction) == close(1 / 3)
    assert utility._r2(truth, truth) == 1.0
    assert utility._r2(truth, np.full(3, 2.0)) == 0.0  # the mean predicts nothing


def test_the_same_seed_gives_the_same_answer(copied: Comparison) -> None:
    again = _compare(REAL_ROWS, REAL_ROWS, HELD_OUT)

    assert_frame_equal(again.scores, copied.scores, rtol=0, atol=1e-9)
    assert_frame_equal(again.gains, copied.gains, rtol=0, atol=1e-9)
    assert again.verdict.split(";")[0] == copied.verdict.split(";")[0]


@pytest.mark.usefixtures("linear_only")
def test_the_seed_moves_intervals_and_not_the_scores_of_a_linear_model() -> None:
    zero, again, one = (_compare(REAL_ROWS, NOISE, HELD_OUT, seed=seed).scores for seed in (0, 0, 1))

    assert_frame_equal(zero, again, check_exact=True)
    assert zero["value"].tolist() == one["value"].tolist()
    assert (zero["ci_low"] != one["ci_low"]).all()


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
    real, synthetic, held_out = (rows.drop(columns="Colour") for rows in (REAL_ROWS, NOISE, HELD_OUT))

    assert _compare(real, synthetic, held_out, categories=[]).gains.loc[0, "ci_high"] < 0


def test_a_constant_target_has_errors_but_no_r2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "SEEDS", 1)
    real, held_out = REAL_ROWS.assign(Count=3.0), HELD_OUT.assign(Count=3.0)

    found = _compare(real, real, held_out)

    scores = found.scores.set_index("metric")
    assert len(scores) == 27
    assert scores.loc["r2", ["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert np.abs(scores.loc[["rmse", "mae"], ["value", "ci_low", "ci_high"]]).max(axis=None) < 1e-9
    assert found.gains[["value", "ci_low", "ci_high"]].isna().all(axis=None)


def test_a_constant_fraction_has_no_r2() -> None:
    truth = np.full(3, 0.1)

    assert np.isnan(utility._r2(truth, truth + 1))


# Train on synthetic, test on real


def _r2(rows: pd.DataFrame, held_out: pd.DataFrame = HELD_OUT, **settings: int) -> dict[str, float]:
    return held_out_r2(rows, held_out, target="Count", categories=["Colour"], **({"seeds": 2} | settings))


def test_r2_of_the_real_rows_is_that_of_the_comparison(noisy: Comparison) -> None:
    expected = _arm(noisy, REAL).xs("r2", level="metric")["value"]

    found = _r2(REAL_ROWS)

    assert list(found) == ["gradient boosting", "random forest"]
    assert found == close({name: expected[name] for name in found})


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
    with pytest.raises(ForeseenError, match="found 0 rows to train on and 50 held-out rows"):
        _r2(REAL_ROWS.head(0))
    with pytest.raises(ForeseenError, match="found 80 rows to train on and 0 held-out rows"):
        _r2(REAL_ROWS, HELD_OUT.head(0))

    assert all(np.isnan(value) for value in _r2(REAL_ROWS, HELD_OUT.assign(Count=3.0), seeds=1).values())


# The verdict


def _gains(**intervals: tuple[float, float]) -> pd.DataFrame:
    rows = [(name.replace("_", " "), (low + high) / 2, low, high) for name, (low, high) in intervals.items()]
    return pd.DataFrame(rows, columns=["regressor", "value", "ci_low", "ci_high"])


UP, DOWN, AROUND = (0.01, 0.03), (-0.05, -0.03), (-0.02, 0.04)


@pytest.mark.parametrize(
    ("gains", "found"),
    [
        (_gains(linear=UP, random_forest=UP), "helped linear and random forest"),
        (
            _gains(linear=AROUND, random_forest=UP),
            "helped random forest and made no difference to the rest that this test could see",
        ),
        (_gains(linear=DOWN, random_forest=DOWN), "hurt linear and random forest"),
        (
            _gains(linear=DOWN, random_forest=AROUND),
            "hurt linear and made no difference to the rest that this test could see",
        ),
        (_gains(linear=UP, random_forest=DOWN), "helped linear and hurt random forest"),
        (_gains(linear=DOWN, random_forest=AROUND, boosting=UP), "helped boosting and hurt linear"),
        (_gains(linear=AROUND, random_forest=AROUND), "made no difference that this test could see"),
        (_gains(linear=(0.0, 0.03), boosting=(-0.03, 0.0)), "made no difference that this test could see"),
    ],
    ids=["all up", "some up", "all down", "some down", "mixed", "mixed, one neither", "none", "intervals touch 0"],
)
def test_the_verdict_says_what_the_intervals_say(gains: pd.DataFrame, found: str) -> None:
    verdict = utility._verdict(gains, 3000, 12500)

    assert verdict.startswith(
        f"Adding 12,500 synthetic rows to the 3,000 real ones {found}; change of R2 on held-out rows: linear "
    )


def test_the_verdict_gives_every_change_with_its_interval() -> None:
    verdict = utility._verdict(_gains(linear=UP, random_forest=DOWN), 10, 20)

    assert verdict == (
        "Adding 20 synthetic rows to the 10 real ones helped linear and hurt random forest; change of R2 on held-out "
        "rows: linear +0.020 (95% interval +0.010 to +0.030); random forest -0.040 (95% interval -0.050 to -0.030)."
    )
