"""Tests of the augmentation study: what its units are made of, what a gain is, and what its interval covers."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from synth_assets.evaluation.augmentation import (
    Generator,
    StudyPlan,
    Unit,
    answer,
    described,
    key_of,
    run_unit,
    subsample,
    summarise,
    units_of,
)

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import intervals, learners
from synth_assets.evaluation.learners import Task

close = pytest.approx

PLAN = StudyPlan(repeats={20: 3, 10: 2}, ratios=(1.0, 4.0), generators=("copies", "reversed"))


@pytest.fixture(scope="module", autouse=True)
def _linear_only() -> Iterator[None]:
    """Leave out the regressors that take long, and most resamples."""
    every = learners._regressors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "_regressors", lambda categories: {"linear": every(categories)["linear"]})
        patch.setattr(intervals, "RESAMPLES", 50)
        yield


def _rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(1, 9, count), rng.integers(0, 2, count)
    return pd.DataFrame(
        {"Colour": colour.astype("int8"), "Size": size, "Count": size + 3 * colour + rng.normal(0, 1, count)}
    )


TRAIN, HELD_OUT = _rows(60, 1), _rows(40, 2)
TASK = Task.of("Count", ["Colour"], TRAIN, HELD_OUT)


def _copies(real: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    del seed
    return pd.concat([real] * -(-n // len(real)), ignore_index=True).head(n)


def _reversed(real: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    return _copies(real, n, seed).assign(Count=lambda rows: 10 - rows["Count"])


GENERATORS = {"copies": Generator("copies", _copies, {}), "reversed": Generator("reversed", _reversed, {})}


def _run(unit: Unit, plan: StudyPlan = PLAN) -> pd.DataFrame:
    return run_unit(unit, TRAIN, HELD_OUT, GENERATORS[unit.generator], plan, TASK)


@pytest.fixture(scope="module")
def study(_linear_only: None) -> pd.DataFrame:
    return summarise(pd.concat([_run(unit) for unit in units_of(PLAN, len(TRAIN))], ignore_index=True))


# Units


def test_units_come_small_ones_first_each_with_its_repeats() -> None:
    units = units_of(PLAN, 60)

    assert [(unit.real_rows, unit.repeat) for unit in units[::2]] == [(10, 0), (10, 1), (20, 0), (20, 1), (20, 2)]
    assert {unit.generator for unit in units[::2]} == {"copies"}
    assert {unit.generator for unit in units[1::2]} == {"reversed"}


def test_more_rows_than_there_are_cannot_be_studied() -> None:
    with pytest.raises(ForeseenError, match="asks for 20 real rows and there are 15 train rows"):
        units_of(PLAN, 15)
    with pytest.raises(ForeseenError, match="asks for nothing"):
        units_of(StudyPlan({}, (1.0,), ("copies",)), 15)


def test_a_subsample_is_the_same_for_every_generator_and_another_in_every_repeat() -> None:
    one, other, again = (
        subsample(TRAIN, Unit(20, repeat, generator), seed=0)
        for repeat, generator in ((0, "copies"), (0, "reversed"), (1, "copies"))
    )

    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert len(one.drop_duplicates()) == len(one) == 20
    assert len(pd.concat([one, TRAIN]).drop_duplicates()) == len(TRAIN)
    assert not one.equals(again)


def test_a_generator_sees_its_subsample_alone() -> None:
    seen = []

    def write(real: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
        seen.append((real, n, seed))
        return _copies(real, n, seed)

    for repeat in (0, 1):
        run_unit(Unit(20, repeat, "spy"), TRAIN, HELD_OUT, Generator("spy", write, {}), PLAN, TASK)

    for repeat, (real, n, _) in enumerate(seen):
        pd.testing.assert_frame_equal(real, subsample(TRAIN, Unit(20, repeat, "spy"), seed=0), check_exact=True)
        assert n == 80
    assert seen[0][2] != seen[1][2]


def test_a_unit_has_a_score_for_each_ratio_and_resample() -> None:
    found = _run(Unit(20, 1, "copies"))

    assert list(found) == [
        "generator",
        "real_rows",
        "repeat",
        "regressor",
        "metric",
        "synthetic_ratio",
        "resample",
        "score",
    ]
    assert found.groupby("synthetic_ratio")["resample"].apply(list).to_dict() == {
        ratio: list(range(51)) for ratio in (0.0, 1.0, 4.0)
    }
    real = subsample(TRAIN, Unit(20, 1, "copies"), seed=0)
    predicted = TASK.predict(TASK.learners["linear"], real, HELD_OUT, seed=0)
    assert found["score"][0] == TASK.scores["r2"](HELD_OUT["Count"].to_numpy(), predicted)
    assert described(Unit(20, 1, "copies"), found).startswith(
        "20 real rows, repeat 2, copies: r2 from none to 4 synthetic rows a real one: linear 0."
    )


def test_the_same_unit_gives_the_same_scores_alone_or_in_a_larger_plan() -> None:
    unit = Unit(10, 1, "copies")
    alone = _run(unit, StudyPlan({10: 2}, (1.0, 4.0), ("copies",)))

    pd.testing.assert_frame_equal(_run(unit), alone, check_exact=True)


def test_a_key_changes_with_whatever_changes_the_scores_and_with_nothing_else() -> None:
    def key(
        unit: Unit = Unit(20, 0, "copies"),  # noqa: B008 - frozen
        train: pd.DataFrame = TRAIN,
        held_out: pd.DataFrame = HELD_OUT,
        made_from: dict[str, int] | None = None,
        plan: StudyPlan = PLAN,
    ) -> str:
        return key_of(unit, train, held_out, Generator(unit.generator, _copies, made_from or {}), plan, TASK)

    changed = [
        key(unit=Unit(20, 1, "copies")),
        key(unit=Unit(10, 0, "copies")),
        key(unit=Unit(20, 0, "reversed")),
        key(train=TRAIN.assign(Size=TRAIN["Size"] + 1)),
        key(held_out=HELD_OUT.head(39)),
        key(made_from={"epochs": 2}),
        key(plan=StudyPlan(PLAN.repeats, (1.0, 5.0), PLAN.generators)),
        key(plan=StudyPlan(PLAN.repeats, PLAN.ratios, PLAN.generators, seed=1)),
    ]
    assert len({key(), *changed}) == 1 + len(changed)
    assert key() == key(plan=StudyPlan({20: 1}, PLAN.ratios, ("copies",)))


# Gains


def test_copies_change_nothing_for_a_line(study: pd.DataFrame) -> None:
    copies = study[study["generator"] == "copies"]

    assert len(copies) == 6
    assert copies[["gain", "gain_low", "gain_high"]].abs().max(axis=None) < 1e-9


def test_a_reversed_target_hurts_and_more_of_it_hurts_more(study: pd.DataFrame) -> None:
    gains = study[study["generator"] == "reversed"].set_index(["real_rows", "synthetic_ratio"])

    assert (gains.xs(4.0, level="synthetic_ratio")["gain_high"] < -0.3).all()
    assert (gains.xs(4.0, level=1)["gain"] < gains.xs(1.0, level=1)["gain"]).all()
    assert (gains.xs(0.0, level=1)[["gain", "gain_low", "gain_high"]] == 0).all(axis=None)


def test_scores_and_gains_are_means_over_the_repeats(study: pd.DataFrame) -> None:
    units = pd.concat([_run(Unit(20, repeat, "reversed")) for repeat in range(3)])
    scores = units[units["resample"] == 0].pivot(index="repeat", columns="synthetic_ratio", values="score")

    row = study.set_index(["generator", "real_rows", "synthetic_ratio"]).loc[("reversed", 20, 1.0)]

    assert row["repeats"] == 3
    assert row["score"] == close(scores[1.0].mean())
    assert row["gain"] == close((scores[1.0] - scores[0.0]).mean())


def test_one_repeat_has_no_interval_and_a_constant_target_no_score() -> None:
    alone = summarise(_run(Unit(10, 0, "copies")))
    assert alone["score"].notna().all()
    assert alone[["score_low", "gain_high"]].isna().all(axis=None)

    constant = HELD_OUT.assign(Count=2.0)
    units = [
        run_unit(Unit(10, repeat, "copies"), TRAIN, constant, GENERATORS["copies"], PLAN, TASK) for repeat in (0, 1)
    ]
    assert summarise(pd.concat(units))[["score", "score_low", "gain", "gain_high"]].isna().all(axis=None)


# The answer


def test_the_answer_counts_the_cases_and_gives_the_greatest(study: pd.DataFrame) -> None:
    said = answer(study)

    assert said.startswith(
        "Synthetic rows were added to 10 to 20 real ones, 1 to 4 for each: with those of copies, R2 on "
    )
    assert "with those of reversed, R2 on held-out rows rose in 0 and fell in " in said
    assert " of 4 cases; in the others there was no difference at this size." in said


def test_the_answer_says_where_synthetic_rows_helped_most() -> None:
    cases = [("a", 50, 0.02, 0.01, 0.03), ("a", 100, 0.05, 0.02, 0.08), ("a", 300, -0.01, -0.02, 0.01)]
    study = pd.DataFrame(cases, columns=["generator", "real_rows", "gain", "gain_low", "gain_high"]).assign(
        regressor="linear", metric="r2", synthetic_ratio=1.0
    )

    assert answer(study) == (
        "Synthetic rows were added to 50 to 300 real ones, 1 for each: with those of a, R2 on held-out rows rose "
        "in 2 (at most by +0.050, 95% interval 0.020 to 0.080: linear, 100 real rows) and fell in 0 of 3 cases; in the "
        "others there was no difference at this size."
    )
