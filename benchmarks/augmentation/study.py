"""How many real rows must there be for synthetic ones to be of no use? The augmentation study.

From ever larger subsamples of the train rows, a generator makes up to ten times as many rows; regressors learn from the
subsample alone and from both, and are scored on held-out rows. Everything is decided within the subsample: the
generator sees nothing else, and a learner is what it is for that many rows. The study is made of units (a size, a
repeat, a generator) that depend on nothing but their own inputs, so that they can be stored and need not be run twice.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import learners
from synth_assets.evaluation.intervals import bootstrap_rows, score_interval
from synth_assets.evaluation.learners import TITLES, PredictionTask
from synth_assets.schema.table import content_hash

REPEATS: Mapping[int, int] = {50: 5, 100: 5, 300: 5, 1000: 5, 3000: 3}
"""By how many real rows: how many subsamples. The largest cost the most, and those of all train rows are all alike."""

ALGORITHM_VERSION = 1
"""Raised by hand whenever a unit would give something else for the same inputs."""

_UNIT = ["generator", "real_rows", "repeat"]
_ARM = ["generator", "regressor", "metric", "real_rows", "synthetic_ratio"]


@dataclass(frozen=True)
class Generator:
    """What makes rows from a subsample.

    Parameters
    ----------
    name : str
        As the study's results have it.
    write : callable
        Takes n rows, the number of rows to generate, and a seed; returns the generated rows.
    made_from : mapping
        What decides, beside these, which rows it gives: its settings, as JSON takes them.
    """

    name: str
    write: Callable[[pd.DataFrame, int, int], pd.DataFrame]
    made_from: Mapping[str, Any]


@dataclass(frozen=True)
class StudyPlan:
    """What is studied.

    Parameters
    ----------
    repeats : mapping of int to int
        By how many real rows: how many subsamples, each with a generator of its own.
    ratios : tuple of float
        How many synthetic rows a real one; 0, the real rows alone, is always there too.
    generators : tuple of str
        The names of what makes rows.
    seed : int
        Of everything that is drawn.
    """

    repeats: Mapping[int, int]
    ratios: tuple[float, ...]
    generators: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True)
class Unit:
    """A piece of the study that can be run by itself.

    Parameters
    ----------
    real_rows : int
        The size of the subsample.
    repeat : int
        Its number, from 0. Units of one size and repeat have the same subsample, whatever their generator.
    generator : str
        What makes rows from it.
    """

    real_rows: int
    repeat: int
    generator: str


def units_of(plan: StudyPlan, train_rows: int) -> list[Unit]:
    """Give the units of a study, small ones first.

    Raises
    ------
    ForeseenError
        If there are fewer train rows than a size asks for, or nothing is asked for.
    """
    too_large = sorted(size for size in plan.repeats if size > train_rows)
    if too_large:
        raise ForeseenError(
            f"the study asks for {', '.join(f'{size:,}' for size in too_large)} real rows and there are {train_rows:,} "
            "train rows. Ask for smaller sizes, in defs.yaml under augmentation_study or in the run's config."
        )
    units = [
        Unit(size, repeat, generator)
        for size, repeats in sorted(plan.repeats.items())
        for repeat in range(repeats)
        for generator in plan.generators
    ]
    if not units:
        raise ForeseenError(
            f"the study asks for nothing: repeats is {dict(plan.repeats)} and generators {list(plan.generators)}."
        )
    return units


def subsample(train: pd.DataFrame, unit: Unit, *, seed: int) -> pd.DataFrame:
    """Give a unit's real rows, drawn from the train rows without replacement; they depend on its size and repeat."""
    drawn = np.random.default_rng([seed, unit.real_rows, unit.repeat]).permutation(len(train))[: unit.real_rows]
    return train.iloc[drawn].reset_index(drop=True)


def key_of(
    unit: Unit, train: pd.DataFrame, held_out: pd.DataFrame, generator: Generator, plan: StudyPlan, task: PredictionTask
) -> str:
    """Hash everything that decides what a unit gives; other units of the plan do not."""
    made_from = {
        "unit": asdict(unit),
        "real_rows": content_hash(subsample(train, unit, seed=plan.seed)),
        "held_out": content_hash(held_out),
        "generator": dict(generator.made_from),
        "ratios": sorted({0.0, *plan.ratios}),
        "seed": plan.seed,
        "task": {"schema": task.schema.model_dump(mode="json"), "labels": dict(task.labels)},
        "recipes": [ALGORITHM_VERSION, learners.ALGORITHM_VERSION],
        "libraries": {name: version_of(name) for name in ("numpy", "scikit-learn")},
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def run_unit(
    unit: Unit, train: pd.DataFrame, held_out: pd.DataFrame, generator: Generator, plan: StudyPlan, task: PredictionTask
) -> pd.DataFrame:
    """Make rows from a subsample, let every learner learn from it alone and with them, and score it on held-out rows.

    Of the generator's rows, a smaller ratio takes the first.

    Parameters
    ----------
    unit : Unit
        Which subsample and which generator.
    train, held_out : pandas.DataFrame
        Rows of the table.
    generator : Generator
        The unit's.
    plan : StudyPlan
        The ratios and the seed.
    task : PredictionTask
        What is predicted.

    Returns
    -------
    pandas.DataFrame
        One row a learner, ratio and resample: `generator`, `real_rows`, `repeat`, `regressor`, `metric`,
        `synthetic_ratio`, `resample` (0: the held-out rows as they are; from 1: a bootstrap resample of them, the same
        one in every unit), `score`.
    """
    real = subsample(train, unit, seed=plan.seed)
    ratios = sorted({0.0, *plan.ratios})
    seed = int(np.random.SeedSequence([plan.seed, unit.real_rows, unit.repeat]).generate_state(1)[0])
    synthetic = generator.write(real, round(ratios[-1] * len(real)), seed)[list(real.columns)]
    holdout = task.encode(held_out)
    y_true = task.y_true(holdout)
    metric, score = next(iter(task.scores.items()))
    resamples = bootstrap_rows(len(y_true), seed=plan.seed)
    found = []
    for name, learner in task.estimators.items():
        for ratio in ratios:
            rows = pd.concat([real, synthetic.head(round(ratio * len(real)))], ignore_index=True)
            predicted = task.predict(learner, task.encode(rows), holdout, seed=seed)
            scores = [score(y_true[drawn], predicted[drawn]) for drawn in resamples]
            found.append(
                pd.DataFrame(
                    {
                        "regressor": name,
                        "metric": metric,
                        "synthetic_ratio": ratio,
                        "resample": range(len(scores)),
                        "score": scores,
                    }
                )
            )
    return pd.concat(found, ignore_index=True).assign(**asdict(unit))[
        [*_UNIT, "regressor", "metric", "synthetic_ratio", "resample", "score"]
    ]


def described(unit: Unit, found: pd.DataFrame) -> str:
    """Say in a line what a unit found."""
    as_they_are = found[found["resample"] == 0]
    most = as_they_are["synthetic_ratio"].max()
    scores = as_they_are.pivot(index="regressor", columns="synthetic_ratio", values="score")
    moved = ", ".join(f"{name} {row[0.0]:.3f} to {row[most]:.3f}" for name, row in scores.iterrows())
    return (
        f"{unit.real_rows:,} real rows, repeat {unit.repeat + 1}, {unit.generator}: "
        f"{found['metric'].iloc[0]} from none to {most:g} synthetic rows a real one: {moved}"
    )


def summarise(units: pd.DataFrame) -> pd.DataFrame:
    """Say what the synthetic rows changed, with intervals.

    A gain is paired: the same subsample, the same held-out rows, the same seed. Its interval has to hold for other
    real rows, other fits of the generator and other seeds of the learner, which is what differs between repeats, and
    for other held-out rows; see `intervals`. Large subsamples of the same train rows share rows: where a size comes
    near to all of them, the interval says little of other real rows.

    Parameters
    ----------
    units : pandas.DataFrame
        What `run_unit` gave, of all units together.

    Returns
    -------
    pandas.DataFrame
        One row a generator, regressor, size and ratio: `generator`, `regressor`, `metric`, `real_rows`,
        `synthetic_ratio`, `repeats`, `score` and `gain` (means over the repeats; against ratio 0), each with the 95%
        interval `_low` to `_high`. All are NaN where there is no score, the interval where there is one repeat.
    """
    by = [*_UNIT, "regressor", "metric", "resample"]
    alone = units[units["synthetic_ratio"] == 0].set_index(by)["score"]
    gains = units.set_index(by)["score"] - alone.reindex(units.set_index(by).index)
    units = units.assign(gain=gains.to_numpy())
    found = []
    for names, arm in units.groupby(_ARM, sort=False):
        row: dict[str, Any] = dict(zip(_ARM, names, strict=True), repeats=arm["repeat"].nunique())
        for what in ("score", "gain"):
            scores = arm.pivot(index="repeat", columns="resample", values=what).to_numpy()
            row[what] = float(scores[:, 0].mean())
            row[f"{what}_low"], row[f"{what}_high"] = score_interval(row[what], scores, of_mean=True)
        found.append(row)
    return pd.DataFrame(found)


def answer(study: pd.DataFrame) -> str:
    """Say in one sentence what a study found.

    Parameters
    ----------
    study : pandas.DataFrame
        What `summarise` gave.

    Returns
    -------
    str
        In how many cases (a size, a ratio, a learner) the rows of each generator helped, and in how many they hurt.
    """
    cases = study[study["synthetic_ratio"] > 0]
    sizes, ratios, score = cases["real_rows"], cases["synthetic_ratio"], TITLES[cases["metric"].iloc[0]]
    found = "; ".join(
        f"with those of {generator}, {score} on held-out rows rose in {_cases(of_one[of_one['gain_low'] > 0])} and "
        f"fell in {_cases(of_one[of_one['gain_high'] < 0])} of {len(of_one)} cases"
        for generator, of_one in cases.groupby("generator", sort=False)
    )
    return (
        f"Synthetic rows were added to {_span(sizes)} real ones, {_span(ratios)} for each: {found}; in the others "
        "there was no difference at this size."
    )


def _span(values: pd.Series) -> str:
    return " to ".join(dict.fromkeys(f"{value:,g}" for value in (values.min(), values.max())))


def _cases(found: pd.DataFrame) -> str:
    if found.empty:
        return "0"
    most = found.loc[found["gain"].abs().idxmax()]
    return (
        f"{len(found)} (at most by {most['gain']:+.3f}, 95% interval {most['gain_low']:.3f} to "
        f"{most['gain_high']:.3f}: {most['regressor']}, {most['real_rows']:,} real rows)"
    )
