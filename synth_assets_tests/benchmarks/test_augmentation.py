"""The augmentation study: what a trial depends on, and what a gain is."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from synth_assets.evaluation import learners
from synth_assets.schema.columns import Categorical, Float
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.forest import ForestSettings
from synth_assets.synthesizers.smote import SmoteSettings
from synth_assets_tests.services.hub import make_tiny_gpt2

SCHEMA = TableSchema(
    columns=(Categorical(name="Colour", categories=("blue", "red")), Float(name="Size"), Float(name="Count")),
    target="Count",
)


def rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size, red = rng.uniform(1, 9, count).round(2), rng.integers(0, 2, count)
    return pd.DataFrame(
        {
            "Colour": np.where(red, "red", "blue"),
            "Size": size,
            "Count": (size + 3 * red + rng.normal(0, 1, count)).round(2),
        }
    )


TRAIN, HOLDOUT = rows(60, 1), rows(40, 2)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the module as the script does, with the linear regressor alone."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from augmentation import study

    every = learners.PredictionTask.estimators.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(learners.PredictionTask, "estimators", property(lambda task: {"linear": every(task)["linear"]}))
    return study


def test_trials_of_a_size_and_repeat_share_their_real_rows(study: ModuleType) -> None:
    trials = study.trials_of({20: 2, 10: 1}, ["smote", "cart"], len(TRAIN))
    assert [(u.real_rows, u.repeat, u.synthesizer) for u in trials] == [
        (10, 0, "smote"), (10, 0, "cart"), (20, 0, "smote"), (20, 0, "cart"), (20, 1, "smote"), (20, 1, "cart"),
    ]  # fmt: skip
    subsamples = [study.subsample(TRAIN, trial, seed=0) for trial in trials]
    pd.testing.assert_frame_equal(subsamples[2], subsamples[3])
    assert not subsamples[2].equals(subsamples[4])
    with pytest.raises(SystemExit, match="found sizes \\[61\\] and 60 train rows"):
        study.trials_of({61: 1}, ["smote"], len(TRAIN))


def test_a_gain_compares_the_same_rows_without_and_with_synthetic_ones(study: ModuleType) -> None:
    trials = study.trials_of({20: 2}, ["smote"], len(TRAIN))
    found = [study.run_trial(trial, TRAIN, HOLDOUT, SCHEMA, SmoteSettings(), print) for trial in trials]
    summary = study.summarise(pd.concat(found, ignore_index=True)).set_index("synthetic_ratio")
    alone = [result.query("synthetic_ratio == 0 and resample == 0")["score"].item() for result in found]
    most = [result.query("synthetic_ratio == 10 and resample == 0")["score"].item() for result in found]
    assert summary.loc[0.0, "gain"] == 0.0
    assert summary.loc[10.0, "gain"] == pytest.approx(np.mean(most) - np.mean(alone))
    assert summary.loc[10.0, "gain_low"] < summary.loc[10.0, "gain"] < summary.loc[10.0, "gain_high"]
    assert "smote: R2 rose in" in study.answer(summary.reset_index())


def test_the_key_of_a_trial_depends_on_its_own_inputs_only(study: ModuleType) -> None:
    trial = study.Trial(20, 0, "cart")
    tree = ForestSettings(n_estimators=1)
    key = study.key_of(trial, TRAIN, HOLDOUT, SCHEMA, tree)
    assert key == study.key_of(trial, TRAIN, HOLDOUT, SCHEMA, tree)
    assert key != study.key_of(trial, TRAIN, HOLDOUT.head(39), SCHEMA, tree)
    assert key != study.key_of(trial, TRAIN, HOLDOUT, SCHEMA, ForestSettings(n_estimators=2))


def test_a_pretrained_base_is_measured_and_its_weights_are_in_the_key(study: ModuleType, tmp_path: Path) -> None:
    from augmentation.main import pretrained

    trial = study.Trial(20, 0, "pretrained")
    base = make_tiny_gpt2(tmp_path, seed=0)
    settings = pretrained(str(base)).model_copy(update={"epochs": 1})
    found = study.run_trial(trial, TRAIN, HOLDOUT, SCHEMA, settings, print)
    assert set(found["synthetic_ratio"]) == {0.0, *study.RATIOS}
    key = study.key_of(trial, TRAIN, HOLDOUT, SCHEMA, settings)
    make_tiny_gpt2(base, seed=1)
    assert key != study.key_of(trial, TRAIN, HOLDOUT, SCHEMA, settings)
