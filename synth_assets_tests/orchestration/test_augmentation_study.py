"""The study of augmentation as an asset: it is stored, drawn and published, and goes on where it was stopped."""

from typing import Any

import pandas as pd
import pytest

from synth_assets.evaluation.augmentation import Unit
from synth_assets.orchestration.assets import augmentation_study
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets_tests.live.tiny_location import TRAIN_ROWS
from synth_assets_tests.world import Outcome, World

pytestmark = pytest.mark.slow

JOB = "abalone_augmentation_study"
CONFIG = {"repeats": {30: 2}, "ratios": [1.0, 2.0]}


def study(world: World, **config: Any) -> Outcome:
    ops = {"abalone__augmentation_study": {"config": {**CONFIG, **config}}}
    return world.run(job=JOB, day=None, config={"ops": ops})


def test_a_study_is_stored_drawn_and_published(world: World) -> None:
    outcome = study(world)

    assert outcome.success, outcome.messages
    stored = world.query(
        "SELECT generator, regressor, metric, real_rows, synthetic_ratio, repeats, gain BETWEEN gain_low AND gain_high "
        "FROM abalone.augmentation_study ORDER BY rowid"
    )
    assert stored == [
        (generator, regressor, "r2", 30, ratio, 2, True)
        for generator in ("great", "smote", "cart")
        for regressor in ("linear", "nearest neighbours", "random forest", "gradient boosting")
        for ratio in (0.0, 1.0, 2.0)
    ]
    said = outcome.metadata("augmentation_study")
    assert said["answer"].startswith(
        "Synthetic rows were added to 30 real ones, 1 to 2 for each: with those of great, R2"
    )
    assert said["augmentation_study"].startswith("![augmentation_study](data:image/png;base64,")
    assert (world.paths.plots("abalone", "augmentation_study") / "augmentation_study.png").is_file()
    assert not (world.paths.augmentation("abalone") / "fits").exists()
    assert world.run("published").success
    assert len(world.query("FROM abalone.augmentation_study", world.paths.published)) == len(stored)


def test_a_study_that_was_stopped_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, units = [], []
    fit, run_unit = ModelStore.fit, augmentation_study.run_unit

    def counted_fit(*arguments: Any, **options: Any) -> Any:
        fits.append(arguments)
        return fit(*arguments, **options)

    def stopped(unit: Unit, *arguments: Any) -> pd.DataFrame:
        if len(units) == 3:
            raise RuntimeError("stopped")
        units.append(unit)
        return run_unit(unit, *arguments)

    monkeypatch.setattr(ModelStore, "fit", counted_fit)
    with monkeypatch.context() as patch:
        patch.setattr(augmentation_study, "run_unit", stopped)
        assert not study(world).success
    assert [(unit.repeat, unit.generator) for unit in units] == [(0, "great"), (0, "smote"), (0, "cart")]
    assert world.query("SELECT 1 FROM duckdb_tables() WHERE table_name = 'augmentation_study'") == []
    known = {path: path.stat().st_mtime_ns for path in world.paths.augmentation("abalone").glob("*.csv")}
    assert len(known) == 3

    assert study(world).success
    first = world.query("FROM abalone.augmentation_study")
    assert len(fits) == 2  # the model of the second repeat alone
    assert {path: path.stat().st_mtime_ns for path in known} == known

    assert study(world).success
    assert len(fits) == 2
    assert world.query("FROM abalone.augmentation_study") == first


def test_a_language_model_learns_from_no_more_lessons_than_its_rows_are_worth(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    fit = ModelStore.fit

    def remembered(self: ModelStore, train: pd.DataFrame, spec: Any, **options: Any) -> Any:
        asked.append((len(train), spec.training.teacher_rows))
        return fit(self, train, spec, **options)

    monkeypatch.setattr(ModelStore, "fit", remembered)
    monkeypatch.setattr(augmentation_study, "LEAST_LESSONS", 600)

    assert study(world, repeats={30: 1, 600: 1}, ratios=[1.0], generators=["great"]).success

    assert asked == [(30, 600), (600, 2000)]  # the tiny table's model has 4,000 lessons for its 1,200 train rows


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"repeats": {TRAIN_ROWS + 1: 2}},
            f"asks for {TRAIN_ROWS + 1:,} real rows and there are {TRAIN_ROWS:,} train rows",
        ),
        ({"generators": ["gan"]}, "was asked for gan; what makes rows is one of great, smote, cart"),
        ({"repeats": {30: 0}}, "asks for nothing"),
    ],
)
def test_what_cannot_be_studied_is_said(world: World, config: dict[str, Any], said: str) -> None:
    outcome = study(world, **config)

    (message,) = outcome.messages
    assert said in message
    assert outcome.materialized == set()
