"""Augmentation study: the gain by synthetic rows, by the number of real rows.

A synthesizer is fitted to subsamples of the train rows of growing size and draws up to ten times as many rows;
estimators are trained on the subsample alone and on both, and scored on holdout rows. The synthesizer sees
the subsample only. Trials (size, repeat, synthesizer) depend on their own inputs only, so that a
finished trial is stored and not computed again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
import pandas as pd

from synth_assets.evaluation import learners
from synth_assets.evaluation.intervals import bootstrap_counts, score_interval
from synth_assets.evaluation.learners import TITLES, PredictionTask
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.synthesizers import create
from synth_assets.synthesizers.base import Log, SynthesizerSettings, silent
from synth_assets.synthesizers.model_store import ALGORITHM_VERSION

REPEATS: Mapping[int, int] = {50: 5, 100: 5, 300: 5, 1000: 5, 3000: 3}
"""Number of subsamples by their size. Large ones cost the most, and subsamples of nearly all rows are alike."""

RATIOS = (1.0, 3.0, 10.0)
"""Synthetic rows per real row, beside none."""

_TRIAL = ["synthesizer", "real_rows", "repeat"]
_ARM = ["synthesizer", "estimator", "metric", "real_rows", "synthetic_ratio"]


@dataclass(frozen=True)
class Trial:
    """A part of the study that can be computed by itself."""

    real_rows: int  # size of the subsample
    repeat: int  # its number, from 0; trials of one size and repeat share their subsample
    synthesizer: str  # its name in the study


def trials_of(repeats: Mapping[int, int], synthesizers: list[str], train_rows: int) -> list[Trial]:
    """List the trials of a study, small ones first.

    Raises
    ------
    SystemExit
        If a size is greater than the number of train rows.
    """
    too_large = sorted(size for size in repeats if size > train_rows)
    if too_large:
        raise SystemExit(f"found sizes {too_large} and {train_rows:,} train rows; state smaller sizes.")
    return [
        Trial(size, repeat, name)
        for size, count in sorted(repeats.items())
        for repeat in range(count)
        for name in synthesizers
    ]


def subsample(train: pd.DataFrame, trial: Trial, *, seed: int) -> pd.DataFrame:
    """Draw the real rows of a trial from the train rows, without replacement."""
    drawn = np.random.default_rng([seed, trial.real_rows, trial.repeat]).permutation(len(train))[: trial.real_rows]
    return train.iloc[drawn].reset_index(drop=True)


def key_of(
    trial: Trial, train: pd.DataFrame, holdout: pd.DataFrame, schema: TableSchema, settings: SynthesizerSettings
) -> str:
    """Hash everything that decides the result of a trial; other trials do not."""
    inputs = {
        "trial": asdict(trial),
        "real_rows": content_hash(subsample(train, trial, seed=0)),
        "holdout": content_hash(holdout),
        "schema": schema.model_dump(mode="json"),
        "synthesizer": settings.model_dump(mode="json"),
        "ratios": RATIOS,
        "versions": [ALGORITHM_VERSION, learners.ALGORITHM_VERSION],
        "libraries": {name: version_of(name) for name in ("numpy", "scikit-learn", "torch")},
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def run_trial(
    trial: Trial,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: TableSchema,
    settings: SynthesizerSettings,
    log: Log,
) -> pd.DataFrame:
    """Fit a synthesizer to a subsample, train every estimator without and with its rows, and score it on holdout rows.

    A smaller ratio takes the first of the synthetic rows.

    Returns
    -------
    pandas.DataFrame
        One row for each estimator, ratio and resample: `synthesizer`, `real_rows`, `repeat`, `estimator`, `metric`,
        `synthetic_ratio`, `resample` (0: the holdout rows as they are; from 1: a bootstrap resample, the same one in
        every trial), `score`.
    """
    real = subsample(train, trial, seed=0)
    seed = int(np.random.SeedSequence([0, trial.real_rows, trial.repeat]).generate_state(1)[0])
    fitted = create(settings).fit(real, schema, seed=seed, log=log)
    synthetic = fitted.sample(round(RATIOS[-1] * len(real)), seed=seed, log=log)
    task = PredictionTask.of(schema, train, holdout)
    encoded_holdout = task.encode(holdout)
    y_true = task.y_true(encoded_holdout)
    metric, score = next(iter(task.scores.items()))
    counts = bootstrap_counts(len(y_true), seed=0)
    found = []
    for name, estimator in task.estimators.items():
        for ratio in (0.0, *RATIOS):
            rows = task.encode(pd.concat([real, synthetic.head(round(ratio * len(real)))], ignore_index=True))
            predicted = task.predict(estimator, rows, encoded_holdout, seed=seed)
            scores = score.of_resamples(y_true, predicted, counts)
            frame = pd.DataFrame({"resample": range(len(scores)), "score": scores})
            found.append(frame.assign(estimator=name, metric=metric, synthetic_ratio=ratio))
    result = pd.concat(found, ignore_index=True).assign(**asdict(trial))
    return result[[*_TRIAL, "estimator", "metric", "synthetic_ratio", "resample", "score"]]


def run_shared(
    rows: tuple[pd.DataFrame, pd.DataFrame, TableSchema], trial: Trial, settings: SynthesizerSettings
) -> pd.DataFrame:
    """Run a trial on train and holdout rows that all trials share, in any process; see `run_trial`."""
    train, holdout, schema = rows
    return run_trial(trial, train, holdout, schema, settings, log=silent)


def summarise(trials: pd.DataFrame) -> pd.DataFrame:
    """Compute the gain by synthetic rows, with confidence intervals.

    A gain is paired: same subsample, holdout rows and seed. Its interval covers other real rows, fits and seeds, which
    differ between repeats, and other holdout rows; see `synth_assets.evaluation.intervals`. Where a size comes near to
    all train rows, subsamples share rows and the interval says little about other real rows.

    Parameters
    ----------
    trials : pandas.DataFrame
        The results of `run_trial`, concatenated.

    Returns
    -------
    pandas.DataFrame
        One row for each synthesizer, estimator, size and ratio: `score` and `gain` (means over repeats), with their
        95% intervals `_low` to `_high`; NaN where there is one repeat or no score.
    """
    by = [*_TRIAL, "estimator", "metric", "resample"]
    alone = trials[trials["synthetic_ratio"] == 0].set_index(by)["score"]
    scores = trials.set_index(by)["score"]
    trials = trials.assign(gain=(scores - alone.reindex(scores.index)).to_numpy())
    found = []
    for names, arm in trials.groupby(_ARM, sort=False):
        row: dict[str, Any] = dict(zip(_ARM, names, strict=True), repeats=arm["repeat"].nunique())
        for value in ("score", "gain"):
            values = arm.pivot(index="repeat", columns="resample", values=value).to_numpy()
            row[value] = float(values[:, 0].mean())
            row[f"{value}_low"], row[f"{value}_high"] = score_interval(row[value], values, of_mean=True)
        found.append(row)
    return pd.DataFrame(found)


def answer(study: pd.DataFrame) -> str:
    """Return one sentence: in how many cases (size, ratio, estimator) scores rose and fell with each synthesizer."""
    cases = study[study["synthetic_ratio"] > 0]
    score = TITLES[cases["metric"].iloc[0]]
    found = "; ".join(
        f"{name}: {score} rose in {_cases(rows[rows['gain_low'] > 0])} and fell in "
        f"{_cases(rows[rows['gain_high'] < 0])} of {len(rows)} cases"
        for name, rows in cases.groupby("synthesizer", sort=False)
    )
    return (
        f"With {_span(cases['synthetic_ratio'])} synthetic rows added to each of {_span(cases['real_rows'])} real "
        f"ones, on holdout rows: {found}. In the other cases there is no difference at this size."
    )


def _span(values: pd.Series) -> str:
    return " to ".join(dict.fromkeys(f"{value:,g}" for value in (values.min(), values.max())))


def _cases(found: pd.DataFrame) -> str:
    if found.empty:
        return "0"
    most = found.loc[found["gain"].abs().idxmax()]
    return (
        f"{len(found)} (at most by {most['gain']:+.3f}, 95% interval {most['gain_low']:.3f} to "
        f"{most['gain_high']:.3f}: {most['estimator']}, {most['real_rows']:,} real rows)"
    )
