"""The report of a sample: one HTML page that a colleague can be sent. It loads nothing, and needs no JavaScript.

The verdict comes first, then the numbers and the pictures, then how each number is made and what it was made from. The
words of the page are in `templates/report.html`; what they are filled with is made here.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.evaluation.figures.scores import LEARNED_FROM, SCORE_LABELS, shortfall
from synth_assets.evaluation.figures.style import FILE_DPI
from synth_assets.evaluation.gates import Verdict
from synth_assets.evaluation.metrics import METRICS, Metric
from synth_assets.evaluation.privacy import AGREEING_ATTACKS, LEAK, RARE
from synth_assets.evaluation.validity import CONSTRAINTS
from synth_assets.schema.constraints import Constraint

MOST_ROWS = 200
"""Numbers of a metric, or leaks, that the report lists, the worst first; the tables of the warehouse have them all."""

SCALE = 96 / FILE_DPI
"""Pixels of the page for one of a picture: its text is as large as the page's, and sharp on paper."""

FOLDED = 12
"""A longer table is folded up on the screen, as is one that says nothing else than real rows; on paper they are not."""


@dataclass(frozen=True)
class Picture:
    """A figure as the report shows it.

    Parameters
    ----------
    gate : str
        The section that it belongs to.
    caption : str
        What it shows, and how it is read.
    alt : str
        What it shows, for who cannot see it.
    """

    gate: str
    caption: str
    alt: str


PICTURES = {
    "evidence": Picture(
        "",
        "Every number that a gate looks at and that differs from real rows: the sample's, beside the range in which 95 "
        "in 100 samples of real rows lie, and the limit of the gate. The farthest from real rows come first.",
        "Dots for the numbers that the gates look at, with bars for what real rows score and crosses for the limits. "
        "The tables below give the same numbers.",
    ),
    "history": Picture(
        "",
        "The same numbers over the days of the samples; of a metric with many columns, the one that is worst on a day.",
        "Lines over the days of the samples, a panel for each metric that a gate looks at.",
    ),
    "densities": Picture(
        "fidelity",
        "The densities of the columns. Where the synthetic line leaves the band, it differs from held-out rows by more "
        "than another sample of real rows would, 95 times in 100.",
        "A panel for each column with the density or the shares of held-out and of synthetic rows, and a band in which "
        "95 in 100 samples of real rows lie. The tables of likeness give a number for each panel.",
    ),
    "correlations": Picture(
        "fidelity",
        "Spearman's correlations of the numeric columns, and how far they are off.",
        "Three matrices of correlations: of held-out rows, of synthetic rows, and their difference. The table of the "
        "likeness of pairs has a number for each cell.",
    ),
    "pairs": Picture(
        "fidelity",
        "The pairs of columns that tell synthetic rows from real ones best, when a classifier sees nothing else.",
        "Scatter plots of pairs of columns, of held-out rows beside synthetic rows, those with the highest area under "
        "the ROC curve first.",
    ),
    "distances": Picture(
        "privacy",
        "How far synthetic rows lie from their closest train row, beside the distances of real rows that were held "
        "out. A sample that repeats train rows lies to the left of them.",
        "Histograms of the distance to the closest record: of synthetic rows to train rows, of synthetic rows to "
        "held-out rows, and of held-out rows to train rows.",
    ),
    "regression_comparison": Picture(
        "utility",
        "What models score on held-out rows that learned from real rows, from synthetic rows and from both, with 95% "
        "intervals; and what the synthetic rows changed. An interval that holds 0 shows no difference.",
        "Points with intervals for the scores of each model by what it learned from. The tables below give the same "
        "numbers.",
    ),
}
"""By the name of the file that the figure is kept in, in the order of the report."""


@dataclass(frozen=True)
class Utility:
    """What models learned from the sample; see `utility.Comparison`.

    Parameters
    ----------
    scores : pandas.DataFrame
        `regressor`, `trained_on`, `metric`, `value`, `ci_low`, `ci_high`.
    verdict : str
        Whether synthetic rows helped, in a sentence.
    unit : str
        The target's.
    """

    scores: pd.DataFrame
    verdict: str
    unit: str


@dataclass(frozen=True)
class Origin:
    """What a sample was made from.

    Parameters
    ----------
    table, day, model_version : str
        Which sample this is.
    source : str
        Where the real rows come from.
    is_real : bool
        Whether they are real rows at all, and not those of the placeholder.
    facts : mapping of str to str
        Whatever else there is to say: the seed, how many rows, versions of libraries.
    """

    table: str
    day: str
    model_version: str
    source: str
    is_real: bool
    facts: Mapping[str, str]


def report_html(
    origin: Origin,
    verdicts: Sequence[Verdict],
    evidence: Mapping[str, pd.DataFrame],
    *,
    constraints: Sequence[Constraint],
    utility: Utility,
    pictures: Mapping[str, bytes],
) -> str:
    """Write the report of a sample.

    Parameters
    ----------
    origin : Origin
        What the sample was made from.
    verdicts : sequence of Verdict
        What the gates found, in the order in which they are told.
    evidence : mapping of str to pandas.DataFrame
        The tables of evidence (`metrics.EVIDENCE_COLUMNS`), each by the gate in whose section its numbers are listed
        that no gate looks at.
    constraints : sequence of Constraint
        What the rows keep to.
    utility : Utility
        What models learned from the sample.
    pictures : mapping of str to bytes
        PNG files, by their names in `PICTURES`; what is not given is not shown.

    Returns
    -------
    str
        An HTML page: the same for the same input. Whatever comes from data is escaped in it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synth_assets.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stopped = [verdict.gate.name for verdict in verdicts if verdict.gate.blocking and not verdict.passed]
    sections = [
        {
            "verdict": verdict,
            "status": status(verdict.passed, verdict.gate.blocking),
            "pictures": _shown(verdict.gate.name, pictures),
            "tables": list(_tables(verdict, verdicts, evidence.get(verdict.gate.name))),
        }
        for verdict in verdicts
    ]
    measured = {name for table in evidence.values() for name in table["metric"]}
    return environment.get_template("report.html").render(
        origin=origin,
        stopped=stopped,
        sections=sections,
        overview=_shown("", pictures),
        constraints={constraint.name: constraint for constraint in constraints},
        attacks_needed=AGREEING_ATTACKS,
        rare=RARE,
        utility=utility,
        scores=_scores(utility.scores, utility.unit),
        metrics=[metric for name, metric in METRICS.items() if name in measured],
        most=MOST_ROWS,
        number=_number,
        interval=_interval,
        range=_range,
    )


def status(passed: bool, blocking: bool) -> str:
    """Say in a word what a gate found, of a sample or of one number: 'passed', 'failed' or 'warning'."""
    return "passed" if passed else "failed" if blocking else "warning"


def _shown(gate: str, pictures: Mapping[str, bytes]) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "picture": picture,
            "data": base64.b64encode(pictures[name]).decode(),
            "width": round(int.from_bytes(pictures[name][16:20]) * SCALE),  # a PNG file begins with its size
            "height": round(int.from_bytes(pictures[name][20:24]) * SCALE),
        }
        for name, picture in PICTURES.items()
        if picture.gate == gate and name in pictures
    ]


def _tables(
    verdict: Verdict, verdicts: Sequence[Verdict], unjudged: pd.DataFrame | None
) -> Iterator[dict[str, object]]:
    """Give the tables of a section: one of the whole table's numbers, then one a metric of what has columns."""
    numbers = [verdict.findings]
    if unjudged is not None:
        judged = {metric for each in verdicts for metric in each.gate.allowances}
        others = unjudged[~unjudged["metric"].isin(judged)]
        others = others.iloc[np.argsort(-np.array(shortfall(others)), kind="stable")]
        numbers.append(others.assign(limit=np.nan, passed=None))
    every = pd.concat([frame.astype({"passed": "object"}) for frame in numbers if len(frame)])
    whole = every[every["column_name"].isna()]
    if len(whole):
        yield _table(None, whole, verdict)
    for name, metric in METRICS.items():
        of_metric = every[every["column_name"].notna() & (every["metric"] == name)]
        if len(of_metric):
            yield _table(metric, of_metric, verdict)


def _table(metric: Metric | None, numbers: pd.DataFrame, verdict: Verdict) -> dict[str, object]:
    rows = [
        {
            "metric": METRICS[row.metric],
            "column": None if pd.isna(row.column_name) else row.column_name,
            "value": _number(row.value),
            "interval": _interval(row.value_low, row.value_high),
            "floor": _number(row.floor),
            "floor_interval": _interval(row.floor_low, row.floor_high),
            "limit": _number(row.limit),
            "status": None if pd.isna(row.passed) else status(bool(row.passed), verdict.gate.blocking),
        }
        for row in numbers.head(MOST_ROWS).itertuples()
    ]
    as_real = metric is not None and metric.name != CONSTRAINTS and bool((numbers["value"] == numbers["floor"]).all())
    return {
        "metric": metric,
        "is_rules": metric is not None and metric.name == CONSTRAINTS,
        "is_leaks": metric is not None and metric.name == LEAK,
        "rows": rows,
        "count": len(numbers),
        "beyond": int((numbers["passed"] == False).sum()),  # noqa: E712 - None is neither
        "as_real": as_real,
        "folded": as_real or len(numbers) > FOLDED,
    }


def _scores(scores: pd.DataFrame, unit: str) -> dict[str, object]:
    """Turn a list of scores into a table with a column a metric."""
    metrics = list(dict.fromkeys(scores["metric"]))
    cells = {(row.regressor, row.trained_on, row.metric): row for row in scores.itertuples()}
    rows = list(dict.fromkeys((row.regressor, row.trained_on) for row in scores.itertuples()))
    return {
        "metrics": [SCORE_LABELS[metric].format(unit=unit) for metric in metrics],
        "rows": [
            {
                "regressor": regressor,
                "arm": LEARNED_FROM[arm],
                "cells": [cells.get((regressor, arm, metric)) for metric in metrics],
            }
            for regressor, arm in rows
        ],
    }


def _number(value: float) -> str:
    if np.isnan(value):
        return "—"
    return f"{round(value, 4) + 0.0:,.4f}" if abs(value) < 1e4 else f"{value:,.0f}"  # no -0.0000


def _interval(low: float, high: float) -> str:
    return "—" if np.isnan(low) or np.isnan(high) else f"{_number(low)} to {_number(high)}"


def _range(metric: Metric) -> str:
    def end(value: float) -> str:
        return f"{value:g}" if np.isfinite(value) else "without limit"

    return f"{metric.better} is better: best {end(metric.best)}, worst {end(metric.worst)}"
