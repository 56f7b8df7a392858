"""The report of a benchmark: its tidy results as a Markdown table, a Parquet file and a figure.

A result is a method, a seed, the name of a measure and a value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.figures import BLUE, GREEN, GREY, ORANGE, as_png, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ["method", "seed", "measure", "value"]
COLOURS = {"language_model": ORANGE, "be_great": BLUE}
"""The language model and its baseline are coloured; peers are grey."""

DPI = 130


@dataclass(frozen=True)
class Measure:
    """How the values of a measure are shown."""

    best: str  # which values are good
    format: Callable[[float], str]
    scale: float = 1.0  # factor of a value
    logarithmic: bool = False  # whether methods differ by orders of magnitude


def _fixed(decimals: int) -> Callable[[float], str]:
    return lambda value: f"{value:,.{decimals}f}"


def _three_digits(value: float) -> str:
    """Write 0.01234 as 0.0123, and 12345.6 as 12,346."""
    decimals = 2 - int(np.floor(np.log10(abs(value)))) if value else 0
    return f"{value:,.{max(0, decimals)}f}"


MEASURES = {
    "fit CPU s": Measure("less is better", _three_digits, logarithmic=True),
    "rows per CPU s": Measure("more is better", _three_digits, logarithmic=True),
    "detection AUC (boosting)": Measure("0.5 is best", _fixed(3)),
    "detection AUC (forest)": Measure("0.5 is best", _fixed(3)),
    "TSTR R2 (boosting)": Measure("more is better", _fixed(3)),
    "TSTR R2 (forest)": Measure("more is better", _fixed(3)),
    "TSTR AUC (boosting)": Measure("more is better", _fixed(3)),
    "TSTR AUC (forest)": Measure("more is better", _fixed(3)),
    "least KS similarity": Measure("more is better", _fixed(3)),
    "membership AUC": Measure("0.5 is best", _fixed(3)),
    "partial copies": Measure("% of rows, no more than real ones", _fixed(1), scale=100),
    "exact copies": Measure("% of rows, no more than real ones", _fixed(2), scale=100),
    "impossible rows": Measure("% of rows, no more than real ones", _fixed(1), scale=100),
    "column prediction gap": Measure("0 is best", _fixed(3)),
    "XGBoost detection, train": Measure("0.5 is best", _fixed(3)),
    "XGBoost detection, holdout": Measure("0.5 is best", _fixed(3)),
    "10-tree detection, train": Measure("0.5 is best", _fixed(3)),
    "shape error": Measure("%, less is better", _fixed(2), scale=100),
    "trend error": Measure("%, less is better", _fixed(2), scale=100),
    "alpha-precision": Measure("%, more is better", _fixed(1), scale=100),
    "beta-recall": Measure("%, 50 for real rows", _fixed(1), scale=100),
    "MLE AUC": Measure("more is better", _fixed(3)),
    "MLE R2": Measure("more is better", _fixed(3)),
    "MLE RMSE": Measure("less is better", _three_digits),
    "DCR share": Measure("%, 50 is best", _fixed(1), scale=100),
    "peak memory": Measure("MB", _fixed(0)),
    "model size": Measure("MB", _three_digits),
}
"""In the order of the table's columns."""

DRAWN = (
    "detection AUC (boosting)", "detection AUC (forest)", "TSTR R2 (boosting)", "TSTR R2 (forest)",
    "least KS similarity", "membership AUC", "partial copies", "impossible rows", "fit CPU s", "rows per CPU s",
)  # fmt: skip
"""In the order of the figure's panels; exact copies are none for most methods."""


def write_report(found: pd.DataFrame, folder: Path, *, source: str, reference: str) -> None:
    """Write `bench.md`, `bench.parquet` and `bench.png` to an existing folder.

    `found` has one row for each result: `method`, `seed`, `measure` (of `MEASURES`), `value`. `source` is the origin of
    the real rows, and `reference` the method whose rows are real.

    Raises
    ------
    ForeseenError
        If a value is not finite.
    """
    for row in found[~np.isfinite(found["value"])].itertuples():
        raise ForeseenError(
            f"{row.measure!r} of {row.method!r} with seed {row.seed} is {row.value}; expected a number. Leave out what "
            "could not be measured."
        )
    table = markdown(found, reference=reference)
    note = f"Mean (least to greatest) over the seeds. Real rows: {source}."
    contents = {
        "bench.md": f"{table}\n\n{note}\n".encode(),
        "bench.parquet": found[COLUMNS].to_parquet(index=False),
        "bench.png": as_png(figure(found, source=source, reference=reference), dpi=DPI),
    }
    for name, content in contents.items():
        building = folder / f".{name}"
        building.write_bytes(content)
        building.replace(folder / name)


def markdown(
    found: pd.DataFrame,
    *,
    reference: str,
    measures: Sequence[str] = tuple(MEASURES),
    unfinished: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return a Markdown table with a row for each method, the reference first, and a column for each measure.

    A cell is 'mean (least to greatest)' over the seeds, the value alone for one seed, or a dash where nothing was
    measured; it says so where a measure lacks some of its method's seeds. `unfinished` says by method what is added to
    its name, and adds rows for methods without results.
    """
    found = found[found["measure"].isin(measures)]
    methods = list(dict.fromkeys([*_methods(found, reference), *unfinished]))
    measures = [name for name in measures if name in set(found["measure"])]
    lines = [["method", "seeds", *(f"{name}, {MEASURES[name].best}" for name in measures)]]
    lines.append(["---", *["---:"] * (len(measures) + 1)])
    for method in methods:
        rows = found[found["method"] == method]
        seeds = rows["seed"].nunique()
        cells = [_cell(rows.loc[rows["measure"] == name, "value"], MEASURES[name], seeds) for name in measures]
        name = f"{method} ({unfinished[method]})" if method in unfinished else method
        lines.append([name.replace("|", "\\|"), str(seeds), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(found: pd.DataFrame, *, source: str, reference: str) -> "Figure":
    """Draw the main measures: a point for each seed, a stroke at their mean, a line at the score of real rows.

    There is a panel for each of `DRAWN` that was measured, five in a row.
    """
    from matplotlib.lines import Line2D

    methods = [method for method in _methods(found, reference) if method != reference]
    measures = [name for name in DRAWN if name in set(found["measure"])]
    across = min(5, len(measures))
    down = -(-len(measures) // across)
    width, height = 1.6 + 2.6 * across, 1.2 + down * (0.75 + 0.26 * len(methods))
    # The title and the legend stand side by side, however few the panels are.
    with new_figure(max(8.0, width), height, "Synthetic rows, by the method that made them", source) as drawn:
        for i, name in enumerate(measures):
            axes = drawn.add_subplot(down, across, i + 1)
            _panel(axes, found[found["measure"] == name], MEASURES[name], methods, reference)
            axes.set_title(name)
            axes.set_yticks(range(len(methods)), methods if i % across == 0 else [""] * len(methods))
        drawn.legend(
            handles=[
                Line2D([], [], marker="o", linestyle="", color=GREY, markersize=4, alpha=0.6, label="one seed"),
                Line2D([], [], marker="|", linestyle="", color=GREY, markersize=11, markeredgewidth=2, label="mean"),
                Line2D([], [], linestyle="--", color=GREEN, label=reference),
            ],
            loc="outside upper right",
            ncols=3,
            frameon=False,
        )
    return drawn


def _panel(axes: "Axes", rows: pd.DataFrame, measure: Measure, methods: list[str], reference: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    values = rows["value"] * measure.scale
    for y, method in enumerate(methods):
        own = values[rows["method"] == method]
        colour = COLOURS.get(method, GREY)
        axes.plot(own, [y] * len(own), "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
        if len(own):
            axes.plot([own.mean()], [y], "|", color=colour, markersize=11, markeredgewidth=2)
    real = values[rows["method"] == reference]
    if len(real):
        axes.axvline(real.mean(), color=GREEN, linestyle="--", linewidth=1.2, zorder=0)
    if measure.logarithmic and (values > 0).all():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.15g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0.08)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlabel(measure.best)


def _cell(values: pd.Series, measure: Measure, seeds: int) -> str:
    if values.empty:
        return "-"
    shown = values * measure.scale
    text = measure.format(float(shown.mean()))
    parts = []
    if len(shown) > 1:
        parts.append(f"{measure.format(float(shown.min()))} to {measure.format(float(shown.max()))}")
    if len(shown) < seeds:
        parts.append(f"{len(shown)} of {seeds} seeds")
    return f"{text} ({'; '.join(parts)})" if parts else text


def _methods(found: pd.DataFrame, reference: str) -> list[str]:
    """Return the methods: the reference first, then the others in order of appearance."""
    return list(dict.fromkeys([reference, *found["method"]]))
