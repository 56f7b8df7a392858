"""Figures of metric results, scores and losses."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.figures.style import BAND, BLACK, BLUE, GREEN, ORANGE, PURPLE, legend, new_figure, short
from synth_assets.evaluation.metrics import METRICS
from synth_assets.evaluation.metrics.utility import AUGMENTED, REAL, SYNTHETIC

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MOST_LINES = 12
"""Maximum number of lines of a panel, the worst ones; the tables of the report list all."""

_COLOURS = {REAL: BLUE, SYNTHETIC: ORANGE, AUGMENTED: GREEN}

TRAINED_ON = {REAL: "real rows", SYNTHETIC: "synthetic rows", AUGMENTED: "both"}
"""Labels of the training sets of a comparison."""

SCORE_LABELS = {
    "r2": "R2, higher is better",
    "rmse": "RMSE, {unit}, lower is better",
    "mae": "MAE, {unit}, lower is better",
    "roc_auc": "ROC AUC, higher is better",
    "accuracy": "accuracy, higher is better",
    "balanced_accuracy": "balanced accuracy, higher is better",
}


def metric_dots(results: pd.DataFrame, *, title: str, source: str) -> "Figure":
    """Draw each metric result beside its reference, and its limit where it has one.

    Parameters
    ----------
    results : pandas.DataFrame
        The columns of `metrics.RESULT_COLUMNS`; findings of a verdict have a `limit` too.
    title, source : str
        Name of the sample and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        One line a number, the worst relative to its reference first; one panel a metric of columns, and one for each
        range and goal of the other metrics. A panel draws at most `MOST_LINES` numbers, the worst ones. An undefined
        number has no point. The title names the metrics that equal their references everywhere.

    Raises
    ------
    ForeseenError
        If there is no number.
    """
    results, title = _without_equal(results, title)
    panels = list(_panels(results))
    heights = [len(numbers) + 0.4 for _, numbers in panels]
    with new_figure(8.5, 0.18 * sum(heights) + 0.5 * len(panels) + 1.4, title, source) as figure:
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        for i, (heading, numbers) in enumerate(panels):
            axes = figure.add_subplot(grid[i])
            places = np.arange(len(numbers))
            axes.barh(
                places, numbers["reference_high"] - numbers["reference_low"], left=numbers["reference_low"], color=BAND
            )
            axes.plot(numbers["reference"], places, "|", color=BLACK, markersize=9, markeredgewidth=1.4)
            axes.hlines(places, numbers["value_low"], numbers["value_high"], color=ORANGE, linewidth=1.6)
            axes.plot(numbers["value"], places, "o", color=ORANGE, markersize=4.5)
            if "limit" in numbers:
                axes.plot(numbers["limit"], places, "x", color=PURPLE, markersize=5, markeredgewidth=1.6)
            axes.set_yticks(places, [short(label, 60) for label in numbers["label"]])
            axes.set_ylim(len(numbers) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.use_sticky_edges = False  # so that points at the end of the axis are whole
            axes.margins(x=0.03)
            axes.set_title(textwrap.fill(heading, 56))
        _metric_legend(figure, {"marker": "|", "linestyle": ""}, {"marker": "x", "linestyle": ""}, results)
    return figure


def metric_history(results: pd.DataFrame, *, title: str, source: str) -> "Figure":
    """Draw metric results over resample dates.

    Parameters
    ----------
    results : pandas.DataFrame
        `resample_date`, the columns of `metrics.RESULT_COLUMNS`, and optionally `limit`.
    title, source : str
        Name of the table and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a metric: the value with its interval, the reference with its interval, and the limit by date. A
        metric of several columns shows the column that is worst at any date. The title names the metrics that equal
        their references everywhere.

    Raises
    ------
    ForeseenError
        If there is no number.
    """
    results, title = _without_equal(results, title)
    dated = results.assign(
        resample_date=pd.to_datetime(results["resample_date"]), short=shortfall(results)
    ).reset_index(drop=True)
    metrics = [name for name in METRICS if name in set(dated["metric"])]
    across = min(3, len(metrics))
    down = -(-len(metrics) // across)
    with new_figure(3.8 * across, 2.3 * down + 1.1, title, source) as figure:
        for i, name in enumerate(metrics):
            axes = figure.add_subplot(down, across, i + 1)
            of_metric = dated[dated["metric"] == name].sort_values("resample_date")
            worst = of_metric["column_name"].loc[of_metric["short"].idxmax()]
            line = of_metric if pd.isna(worst) else of_metric[of_metric["column_name"] == worst]
            dates = line["resample_date"].to_numpy()
            axes.fill_between(dates, line["reference_low"], line["reference_high"], color=BAND, linewidth=0)
            axes.vlines(
                dates, line["reference_low"], line["reference_high"], color=BAND, linewidth=4
            )  # one date has no area
            axes.plot(dates, line["reference"], "_-", color=BLACK, linewidth=0.9)
            axes.vlines(dates, line["value_low"], line["value_high"], color=ORANGE, linewidth=1.4)
            axes.plot(dates, line["value"], "o-", color=ORANGE, markersize=3.5, linewidth=1.2)
            if "limit" in line:
                axes.plot(dates, line["limit"], "_--", color=PURPLE, linewidth=1.6)
            ends = np.unique(dates[[0, -1]])
            axes.set_xticks(ends, np.datetime_as_string(ends, unit="D"))
            of = "" if pd.isna(worst) else f"\n{short(worst, 46)}"
            axes.set_title(f"{short(METRICS[name].title, 48)}{of}")
            axes.set_ylabel(f"{METRICS[name].better} is better")
        _metric_legend(figure, {"linestyle": "-"}, {"linestyle": "--"}, results)
    return figure


def regression_points(
    scores: pd.DataFrame, differences: pd.DataFrame, *, unit: str, title: str, source: str
) -> "Figure":
    """Draw the scores of estimators by training set, and their differences from real rows, with intervals.

    Parameters
    ----------
    scores, differences : pandas.DataFrame
        As in `Comparison`.
    unit : str
        Unit of the target.
    title, source : str
        Name of the sample and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each metric, and one for the differences.
    """
    regressors = list(dict.fromkeys(scores["regressor"]))
    metrics = list(dict.fromkeys(scores["metric"]))
    sets = [each for each in _COLOURS if each in set(scores["trained_on"])]
    panels = [(SCORE_LABELS[metric].format(unit=unit), scores[scores["metric"] == metric]) for metric in metrics]
    changed = ", ".join(dict.fromkeys(SCORE_LABELS[metric].split(",")[0] for metric in differences["metric"]))
    panels.append((f"change of {changed} against real rows", differences))
    with new_figure(3.4 * len(panels), 0.45 * len(regressors) + 1.9, title, source) as figure:
        for i, (label, rows) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), i + 1)
            for j, each in enumerate(sets):
                offset = 0.5 * (j - (len(sets) - 1) / 2) / len(sets)
                _points(axes, rows[rows["trained_on"] == each], regressors, offset=offset, colour=_COLOURS[each])
            axes.set_xlabel(short(label, 48))
            axes.set_yticks(range(len(regressors)), regressors if i == 0 else [""] * len(regressors))
            axes.locator_params(axis="x", nbins=5)
            axes.set_ylim(len(regressors) - 0.5, -0.5)
        axes.axvline(0.0, color=BLACK, linewidth=0.8)
        legend(figure, [_line(f"trained on {TRAINED_ON[each]}", color=_COLOURS[each], marker="o") for each in sets])
    return figure


def loss_curve(losses: Sequence[Mapping[str, float]], *, title: str, source: str) -> "Figure":
    """Draw the training loss over the epochs.

    Parameters
    ----------
    losses : sequence of mapping
        'epoch' and 'loss' in nats per token; in nats per row where there is an 'eval_loss', of the validation rows.
    title, source : str
        Name of the model and origin of its rows.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    from matplotlib.ticker import MaxNLocator

    with new_figure(6.0, 3.2, title, source) as figure:
        axes = figure.add_subplot()
        axes.plot([r["epoch"] for r in losses], [r["loss"] for r in losses], "o-", color=BLUE, markersize=3)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if "eval_loss" in losses[0]:
            axes.plot([r["epoch"] for r in losses], [r["eval_loss"] for r in losses], "s-", color=ORANGE, markersize=3)
            axes.set_ylabel("loss, nats per row")
            axes.legend(["training (pretraining, then fine-tuning)", "validation"], fontsize=8)
        else:
            axes.set_ylabel("training loss, nats per token")
    return figure


def _panels(results: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each panel: its heading, and its numbers with labels, the worst first."""
    ordered = results.assign(short=shortfall(results)).sort_values("short", ascending=False, kind="stable")
    whole = ordered[ordered["column_name"].isna()]
    ranges = [(METRICS[name].better, METRICS[name].best, METRICS[name].worst) for name in whole["metric"]]
    for range_ in dict.fromkeys(ranges):
        numbers = whole[[range_ == other for other in ranges]]
        titles = [METRICS[name].title for name in numbers["metric"]]
        yield (
            f"whole table; {range_[0]} is better, {range_[1]:g} is best",
            numbers.assign(label=titles),
        )
    for name, metric in METRICS.items():
        numbers = ordered[ordered["column_name"].notna() & (ordered["metric"] == name)]
        if len(numbers):
            cut = f"; the worst {MOST_LINES} of {len(numbers):,}" if len(numbers) > MOST_LINES else ""
            drawn = numbers.head(MOST_LINES)
            yield f"{metric.title}; {metric.better} is better{cut}", drawn.assign(label=drawn["column_name"])


def _without_equal(results: pd.DataFrame, title: str) -> tuple[pd.DataFrame, str]:
    """Drop the metrics that equal their references everywhere, and name them in the title."""
    if results.empty:
        raise ForeseenError("found no number to draw; expected at least one. Evaluate the sample again.")
    same = (results["value"] == results["reference"]).groupby(results["metric"]).all()
    named = [METRICS[name].title for name in METRICS if same.get(name, False)]
    if not named or len(named) == len(same):
        return results, title
    return results[~results["metric"].map(same)], f"{title}\nEqual to real rows, not drawn: {'; '.join(named)}"


def shortfall(results: pd.DataFrame) -> list[float]:
    """Return how much worse than its reference each number is; infinite for an undefined one."""
    found = []
    for row in results.itertuples():
        metric = METRICS[row.metric]
        reference = metric.best if np.isnan(row.reference) else row.reference
        short = row.value - reference if metric.goal == "minimize" else reference - row.value
        found.append(np.inf if np.isnan(short) else short)
    return found


def _metric_legend(
    figure: "Figure", reference: Mapping[str, str], limit: Mapping[str, str], results: pd.DataFrame
) -> None:
    from matplotlib.patches import Patch

    handles = [
        _line("synthetic rows, with 95% interval", color=ORANGE, marker="o"),
        _line("real rows", color=BLACK, **reference),
        Patch(color=BAND, label="95% of real samples"),
    ]
    if "limit" in results:
        handles.append(_line("limit of the gate", color=PURPLE, **limit))
    legend(figure, handles)


def _points(axes: "Axes", rows: pd.DataFrame, regressors: Sequence[str], *, offset: float, colour: str) -> None:
    ordered = rows.set_index("regressor").reindex(list(regressors))
    places = np.arange(len(regressors)) + offset
    axes.hlines(places, ordered["ci_low"], ordered["ci_high"], color=colour, linewidth=1.6)
    axes.plot(ordered["value"], places, "o", color=colour, markersize=5)


def _line(label: str, **looks: Any) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **looks)
