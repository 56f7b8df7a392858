"""The report of a sample: one self-contained HTML page without JavaScript.

The verdict comes first, then numbers and figures by gate, then the definition of each metric and the origin of the
sample. The text of the page is in `templates/report.html`.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.evaluation.figures.rows import MOST_CORRELATED, MOST_PANELS
from synth_assets.evaluation.figures.scores import SCORE_LABELS, TRAINED_ON, shortfall
from synth_assets.evaluation.figures.style import FILE_DPI
from synth_assets.evaluation.gates import Verdict, is_publishable, status
from synth_assets.evaluation.metrics import METRICS, Metric
from synth_assets.evaluation.metrics.attacks import LEAKED_ROW, MIN_ATTACKS, SUSPECT_QUANTILE
from synth_assets.evaluation.metrics.base import NotComputed
from synth_assets.evaluation.metrics.validity import CONSTRAINT_VIOLATIONS
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Column, Id
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema

if TYPE_CHECKING:
    from jinja2 import Template

MAX_TABLE_ROWS = 200
"""Maximum number of rows of a table of the report, the worst ones; the warehouse stores all."""

MAX_NAMED = 12
"""Maximum number of columns for which a metric is not computed that are named."""

SCALE = 96 / FILE_DPI
"""Pixels of the page for each pixel of a figure, so that its text is as large as the page's."""

FOLDED = 12
"""Longer tables are folded on the screen, as are tables that equal their references everywhere."""


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Parameters
    ----------
    gate : str
        Its section; empty for the overview.
    caption : str
        What it shows, and how it is read.
    alt : str
        Its text alternative.
    """

    gate: str
    caption: str
    alt: str


PICTURES = {
    "metrics": Picture(
        "",
        "Every number that a gate evaluates and that differs from its reference: the synthetic rows, the 95% range of "
        "samples of real rows, and the limit of the gate. The farthest from real rows come first.",
        "Dots for the numbers that the gates evaluate, bars for the range of real rows and crosses for the limits. The "
        "tables below list the same numbers.",
    ),
    "history": Picture(
        "",
        "The same numbers by date of the sample; for a metric of many columns, the column that is worst at any date.",
        "Lines over the dates of the samples, a panel for each metric that a gate evaluates.",
    ),
    "densities": Picture(
        "fidelity",
        "Distributions of the columns; keys are not drawn. Where the synthetic line leaves the band, it differs from "
        "holdout rows by more than 95% of samples of real rows do. A stem is a single value that many rows have; its "
        f"axis is at the right. Of more than {MOST_PANELS} columns, the least similar ones are drawn.",
        "A panel for each column with the density or the shares of holdout and of synthetic rows, and a band that "
        "contains 95% of samples of real rows. The tables of similarity have a number for each panel.",
    ),
    "correlations": Picture(
        "fidelity",
        "Spearman correlations of the numeric columns, dates among them, and their differences. Of more than "
        f"{MOST_CORRELATED} columns, those of the pairs that differ most are drawn.",
        "Three correlation matrices: of holdout rows, of synthetic rows, and their difference. The table of "
        "correlation similarity has a number for each cell.",
    ),
    "pairs": Picture(
        "fidelity",
        "The pairs of columns by which a classifier that sees nothing else detects synthetic rows best.",
        "Scatter plots of pairs of columns, of holdout rows beside synthetic rows, those with the highest area under "
        "the ROC curve first.",
    ),
    "distances": Picture(
        "privacy",
        "Distances of synthetic rows to the closest train row, beside the distances of holdout rows. Where synthetic "
        "rows repeat train rows, their distances are smaller.",
        "Histograms of the distance to the closest record: of synthetic rows to train rows, of synthetic rows to "
        "holdout rows, and of holdout rows to train rows.",
    ),
    "regression_comparison": Picture(
        "utility",
        "Scores on holdout rows of estimators trained on real rows, on synthetic rows and on both, with 95% intervals; "
        "and the differences from real rows. An interval that contains 0 shows no difference.",
        "Points with intervals for the scores of each estimator by training set. The tables below list the same "
        "numbers.",
    ),
}
"""By the name of the figure's file, in the order of the report."""


@dataclass(frozen=True)
class ColumnRow:
    """What the report says of a column.

    Parameters
    ----------
    name, type : str
        Its name and type.
    nullable : bool
        Whether cells may be empty.
    empty_real, empty_synthetic : float, optional
        Shares of empty cells; None where the rows lack the column.
    note : str
        What else is to be known: labels, unit, the pattern of keys.
    """

    name: str
    type: str
    nullable: bool
    empty_real: float | None
    empty_synthetic: float | None
    note: str


def describe_columns(samples: Samples) -> list[ColumnRow]:
    """Describe the columns of a table, in order, for its report."""
    schema = samples.schema
    real = [samples.typed["train"], samples.typed["holdout"]]
    hidden = {name: int((counts < schema.label_threshold).sum()) for name, counts in samples.label_rows.items()}
    return [
        ColumnRow(
            name=column.name,
            type=column.type,
            nullable=column.nullable,
            empty_real=_share_empty(real, column.name),
            empty_synthetic=_share_empty([samples.typed["synthetic"]], column.name),
            note=_note(column, schema, hidden.get(column.name, 0)),
        )
        for column in schema.columns
    ]


@dataclass(frozen=True)
class Utility:
    """Scores, verdict and unit of the target, of estimators trained on the sample; see `metrics.utility.Comparison`."""

    scores: pd.DataFrame
    verdict: str
    unit: str


@dataclass(frozen=True)
class Origin:
    """Where a sample comes from.

    Parameters
    ----------
    table : str
        Name of the table.
    source : str
        Origin of the real rows.
    facts : mapping of str to str
        Further facts: seeds, numbers of rows, versions of libraries.
    day, model_version : str, optional
        Date of the sample and version of the model, where they are recorded.
    is_real : bool
        Whether the real rows are real, rather than placeholder rows.
    """

    table: str
    source: str
    facts: Mapping[str, str]
    day: str | None = None
    model_version: str | None = None
    is_real: bool = True


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synth_assets.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def report_html(
    origin: Origin,
    verdicts: Sequence[Verdict],
    results: Mapping[str, pd.DataFrame],
    *,
    constraints: Sequence[Constraint],
    utility: Utility | None,
    pictures: Mapping[str, bytes],
    columns: Sequence[ColumnRow] = (),
    not_computed: Sequence[NotComputed] = (),
) -> str:
    """Render the report of a sample as an HTML page. Everything that comes from data is escaped.

    Parameters
    ----------
    origin : Origin
        Where the sample comes from.
    verdicts : sequence of Verdict
        Verdicts of the gates, in the order of the sections.
    results : mapping of str to pandas.DataFrame
        Metric results, by the gate whose section lists the metrics that no gate evaluates.
    constraints : sequence of Constraint
        The constraints.
    utility : Utility, optional
        Scores of estimators, where the table has a target.
    pictures : mapping of str to bytes
        PNG files, by their names in `PICTURES`.
    columns : sequence of ColumnRow
        The columns of the table, from `describe_columns`.
    not_computed : sequence of NotComputed
        Metrics that have no value, each with its reason.
    """
    stopped = [verdict.gate.name for verdict in verdicts if verdict.gate.blocking and not verdict.passed]
    sections = [
        {
            "verdict": verdict,
            "status": verdict.status,
            "pictures": _shown(verdict.gate.name, pictures),
            "tables": list(_tables(verdict, verdicts, results.get(verdict.gate.name))),
        }
        for verdict in verdicts
    ]
    measured = {name for table in results.values() for name in table["metric"]}
    return _template().render(
        origin=origin,
        stopped=stopped,
        sections=sections,
        overview=_shown("", pictures),
        columns=columns[:MAX_TABLE_ROWS],
        column_count=len(columns),
        not_computed=_reasons(not_computed),
        fold=FOLDED,
        share=_share,
        constraints={constraint.name: constraint for constraint in constraints},
        min_attacks=MIN_ATTACKS,
        suspect_quantile=SUSPECT_QUANTILE,
        utility=utility,
        scores=None if utility is None else _scores(utility.scores, utility.unit),
        metrics=[metric for name, metric in METRICS.items() if name in measured],
        max_rows=MAX_TABLE_ROWS,
        number=_number,
        interval=_interval,
        range=_range,
    )


def summary_html(verdicts: Sequence[Verdict], metrics: pd.DataFrame) -> str:
    """Return the verdicts and the metrics of the whole table as short HTML, for notebooks."""
    from html import escape

    items = "".join(
        f"<li><strong>{escape(each.gate.name)}</strong> {each.status}: {escape(each.message)}</li>" for each in verdicts
    )
    whole = metrics.loc[metrics["column_name"].isna(), ["metric", "value", "reference"]]
    table = whole.to_html(index=False, float_format="{:.3f}".format, border=0)
    return f"<p><strong>{'Passed' if is_publishable(verdicts) else 'Failed'}</strong></p><ul>{items}</ul>{table}"


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


def _tables(verdict: Verdict, verdicts: Sequence[Verdict], others: pd.DataFrame | None) -> Iterator[dict[str, object]]:
    """Yield the tables of a section: one of whole-table numbers, then one for each metric of columns."""
    numbers = [verdict.findings]
    if others is not None:
        gated = {metric for each in verdicts for metric in each.gate.tolerances}
        others = others[~others["metric"].isin(gated)]
        others = others.iloc[np.argsort(-np.array(shortfall(others)), kind="stable")]
        numbers.append(others.assign(limit=np.nan, passed=None))
    every = pd.concat([frame.astype({"passed": "object"}) for frame in numbers if len(frame)])
    whole = every[every["column_name"].isna()]
    if len(whole):
        yield _table(None, whole, verdict)
    by_metric = dict(iter(every[every["column_name"].notna()].groupby("metric", sort=False)))
    for name, metric in METRICS.items():
        if name in by_metric:
            yield _table(metric, by_metric[name], verdict)


def _table(metric: Metric | None, numbers: pd.DataFrame, verdict: Verdict) -> dict[str, object]:
    rows = [
        {
            "metric": METRICS[row.metric],
            "column": None if pd.isna(row.column_name) else row.column_name,
            "value": _number(row.value),
            "interval": _interval(row.value_low, row.value_high),
            "reference": _number(row.reference),
            "reference_interval": _interval(row.reference_low, row.reference_high),
            "limit": _number(row.limit),
            "status": None if pd.isna(row.passed) else status(bool(row.passed), verdict.gate.blocking),
        }
        for row in numbers.head(MAX_TABLE_ROWS).itertuples()
    ]
    is_constraint = metric is not None and metric.name == CONSTRAINT_VIOLATIONS
    as_real = metric is not None and not is_constraint and bool((numbers["value"] == numbers["reference"]).all())
    return {
        "metric": metric,
        "is_constraint": is_constraint,
        "is_leaks": metric is not None and metric.name == LEAKED_ROW,
        "rows": rows,
        "count": len(numbers),
        "beyond": int((numbers["passed"] == False).sum()),  # noqa: E712 - None counts as neither
        "as_real": as_real,
        "folded": as_real or len(numbers) > FOLDED,
    }


def _scores(scores: pd.DataFrame, unit: str) -> dict[str, object]:
    """Return scores as a table with a column a metric."""
    metrics = list(dict.fromkeys(scores["metric"]))
    cells = {(row.regressor, row.trained_on, row.metric): row for row in scores.itertuples()}
    rows = list(dict.fromkeys((row.regressor, row.trained_on) for row in scores.itertuples()))
    return {
        "metrics": [SCORE_LABELS[metric].format(unit=unit) for metric in metrics],
        "rows": [
            {
                "regressor": regressor,
                "trained_on": TRAINED_ON[trained_on],
                "cells": [cells.get((regressor, trained_on, metric)) for metric in metrics],
            }
            for regressor, trained_on in rows
        ],
    }


def _share_empty(sets: Sequence[pd.DataFrame], name: str) -> float | None:
    if any(name not in rows for rows in sets):
        return None
    return float(sum(rows[name].isna().sum() for rows in sets) / sum(map(len, sets)))


def _note(column: Column, schema: TableSchema, hidden: int) -> str:
    """Return what is to be known of a column, as a phrase."""
    parts = ["target"] if column.name == schema.target else []
    if isinstance(column, Id):
        made = {"integer": f"whole numbers from {column.start:,}", "uuid": "random UUIDs"}
        parts.append(f"made by pattern, not learned: {made.get(column.pattern, column.pattern)}")
        parts += ["repeated as often as in the train rows"] if column.repeats else []
    elif column.role == "text":
        parts.append("text, published" if column.name in schema.published else "text, not published")
    elif column.type == "categorical":
        parts.append(f"{len(column.labels):,} label{'s' if len(column.labels) > 1 else ''}")
    if hidden:
        parts.append(f"{hidden:,} hidden, each with fewer than {schema.label_threshold} train rows")
    if column.unit:
        parts.append(f"unit: {column.unit}")
    return "; ".join(parts)


def _reasons(not_computed: Sequence[NotComputed]) -> list[dict[str, object]]:
    """Return each reason once, with its metrics and its columns."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for each in not_computed:
        metrics, names = found.setdefault(each.reason, ([], []))
        metrics.append(METRICS[each.metric].title)
        names.extend([each.column_name] if each.column_name else [])
    return [
        {
            "reason": reason,
            "metrics": list(dict.fromkeys(metrics)),
            "columns": list(dict.fromkeys(names))[:MAX_NAMED],
            "more": max(0, len(set(names)) - MAX_NAMED),
        }
        for reason, (metrics, names) in found.items()
    ]


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


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
