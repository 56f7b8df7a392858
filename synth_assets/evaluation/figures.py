"""The figures: one style, on white, so that they read in both of the UI's themes, in colours for the colour-blind too.

Each function gives a matplotlib figure that belongs to no window; `as_png` renders it.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synth_assets.evaluation.fidelity import correlations
from synth_assets.evaluation.utility import AUGMENTED, REAL, SYNTHETIC
from synth_assets.tables.schema import Column, TableSchema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design, 2008.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
COLOURS = {REAL: BLUE, SYNTHETIC: ORANGE, AUGMENTED: GREEN}

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#333333",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # names and labels come from data: a dollar sign in them is no formula
}


def as_png(figure: "Figure", *, dpi: int) -> bytes:
    """Render a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to render.
    dpi : int
        Pixels an inch.

    Returns
    -------
    bytes
        A PNG file.
    """
    buffer = io.BytesIO()
    with _style():
        # Without the version of matplotlib in it, the same figure is the same bytes.
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def new_figure(width: float, height: float, title: str, source: str) -> Iterator["Figure"]:
    """Begin a figure in this style; it holds while panels are drawn.

    Parameters
    ----------
    width, height : float
        In inches.
    title, source : str
        What is shown, and where the real rows come from.

    Yields
    ------
    matplotlib.figure.Figure
        Without a panel yet.
    """
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        figure.supxlabel(f"real rows: {source}", x=0.01, ha="left", fontsize=8, color=GREY)
        yield figure


def density_grid(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: TableSchema,
    fidelity: pd.DataFrame,
    *,
    title: str,
    source: str,
) -> "Figure":
    """Draw the experiment's grid: the density of each column, real and synthetic, bars for categories.

    Parameters
    ----------
    real, synthetic : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.
    fidelity : pandas.DataFrame
        What `fidelity_table` gave; each panel states its column's value and floor.
    title : str
        What sample this is.
    source : str
        Where the real rows come from.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a column. An axis spans what the real rows span; how many synthetic values lie outside is stated.
    """
    across = min(3, len(schema.columns))
    down = -(-len(schema.columns) // across)
    numbers = fidelity.dropna(subset=["column_name"]).set_index("column_name")
    with new_figure(3.6 * across, 2.5 * down + 0.9, title, source) as figure:
        for i, column in enumerate(schema.columns):
            axes = figure.add_subplot(down, across, i + 1)
            if column.kind == "category":
                _bars(axes, real[column.name], synthetic[column.name], column)
            else:
                _densities(axes, real[column.name], synthetic[column.name], column)
            number = numbers.loc[column.name]
            axes.set_title(f"{column.name}: {number['value']:.3f} (real {number['floor']:.3f})")
        _legend(figure, {"real": BLUE, "synthetic": ORANGE})
    return figure


def correlation_matrices(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema, *, title: str, source: str
) -> "Figure":
    """Draw the Spearman correlations of the numeric columns: real, synthetic, and their difference.

    Parameters
    ----------
    real, synthetic : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.
    title, source : str
        What sample this is, and where the real rows come from.

    Returns
    -------
    matplotlib.figure.Figure
        Three matrices; the difference is synthetic minus real, on a scale of its own.
    """
    matrices = {"real": correlations(real, schema), "synthetic": correlations(synthetic, schema)}
    matrices["synthetic - real"] = matrices["synthetic"] - matrices["real"]
    with new_figure(13.5, 4.9, title, source) as figure:
        for i, (name, matrix) in enumerate(matrices.items()):
            axes = figure.add_subplot(1, 3, i + 1)
            limit = 1.0 if i < 2 else max(0.1, float(matrix.abs().to_numpy().max()))
            image = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit)
            axes.set_xticks(range(len(matrix)), matrix.columns, rotation=45, ha="right")
            axes.set_yticks(range(len(matrix)), matrix.columns if i == 0 else [""] * len(matrix))
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(name)
            for (row, col), value in np.ndenumerate(matrix.to_numpy()):
                dark = abs(value) > 0.5 * limit
                axes.text(
                    col, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5,
                    color="white" if dark else "#333333",
                )  # fmt: skip
            label = "Spearman correlation" if i < 2 else "difference of correlations"
            figure.colorbar(image, ax=axes, shrink=0.62, label=label)
    return figure


def regression_points(scores: pd.DataFrame, gains: pd.DataFrame, *, unit: str, title: str, source: str) -> "Figure":
    """Draw what the regressors scored as points with intervals, and what augmentation changed.

    Parameters
    ----------
    scores, gains : pandas.DataFrame
        As in `Comparison`.
    unit : str
        The target's unit.
    title, source : str
        What sample this is, and where the real rows come from.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each metric, and one for the change of R2.
    """
    regressors = list(dict.fromkeys(scores["regressor"]))
    arms = [REAL, SYNTHETIC, AUGMENTED]
    better = {
        "r2": "R2, more is better",
        "rmse": f"RMSE, {unit}, less is better",
        "mae": f"MAE, {unit}, less is better",
    }
    with new_figure(13.5, 3.6, title, source) as figure:
        for i, (metric, label) in enumerate(better.items()):
            axes = figure.add_subplot(1, 4, i + 1)
            for j, arm in enumerate(arms):
                rows = scores[(scores["metric"] == metric) & (scores["trained_on"] == arm)]
                _points(axes, rows, regressors, offset=0.22 * (j - 1), colour=COLOURS[arm])
            axes.set_xlabel(label)
            axes.set_yticks(range(len(regressors)), regressors if i == 0 else [""] * len(regressors))
        axes = figure.add_subplot(1, 4, 4)
        _points(axes, gains, regressors, offset=0.0, colour=GREY)
        axes.axvline(0.0, color="#333333", linewidth=0.8)
        axes.set_xlabel("change of R2: augmented - real")
        axes.set_yticks(range(len(regressors)), [""] * len(regressors))
        for axes in figure.axes:
            axes.locator_params(axis="x", nbins=5)
            axes.set_ylim(len(regressors) - 0.5, -0.5)
        _legend(figure, {f"trained on {arm}": COLOURS[arm] for arm in arms})
    return figure


def loss_curve(losses: Sequence[Mapping[str, float]], *, title: str, source: str) -> "Figure":
    """Draw the training loss over the epochs.

    Parameters
    ----------
    losses : sequence of mapping
        Reports with 'epoch' and 'loss': nats a token; nats a row where there is an 'eval_loss', that of the train rows
        that are held back.
    title, source : str
        What model this is, and where its rows come from.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    with new_figure(6.0, 3.2, title, source) as figure:
        axes = figure.add_subplot()
        axes.plot([r["epoch"] for r in losses], [r["loss"] for r in losses], "o-", color=BLUE, markersize=3)
        axes.set_xlabel("epoch")
        if "eval_loss" in losses[0]:
            axes.plot([r["epoch"] for r in losses], [r["eval_loss"] for r in losses], "s-", color=ORANGE, markersize=3)
            axes.set_ylabel("loss, nats a row")
            axes.legend(["training (the forest's rows, then real ones)", "validation"], frameon=False, fontsize=8)
        else:
            axes.set_ylabel("training loss, nats a token")
    return figure


def _bars(axes: "Axes", real: pd.Series, synthetic: pd.Series, column: Column) -> None:
    places = np.arange(len(column.categories))
    for values, colour, offset in ((real, BLUE, -0.2), (synthetic, ORANGE, 0.2)):
        shares = values.value_counts(normalize=True).reindex(list(column.categories), fill_value=0.0)
        axes.bar(places + offset, shares, width=0.38, color=colour)
    axes.set_xticks(places, column.categories)
    axes.set_ylabel("share of rows")


def _densities(axes: "Axes", real: pd.Series, synthetic: pd.Series, column: Column) -> None:
    from scipy.stats import gaussian_kde

    low, high = float(real.min()), float(real.max())
    margin = 0.03 * (high - low) or 1.0
    grid = np.linspace(low - margin, high + margin, 400)
    # One bandwidth for both, that of the real rows: another would draw the same rows differently.
    bandwidth = float(real.std()) * len(real) ** -0.2 or 1.0
    for values, colour in ((real, BLUE), (synthetic, ORANGE)):
        if values.nunique() > 1:
            density = gaussian_kde(values, bw_method=bandwidth / float(values.std()))(grid)
            axes.plot(grid, density, color=colour, linewidth=1.4)
            if values is real:
                axes.fill_between(grid, density, color=colour, alpha=0.15, linewidth=0)
        else:
            axes.axvline(float(values.iloc[0]), color=colour, linewidth=1.4)
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(bottom=0)
    outside = int(((synthetic < low) | (synthetic > high)).sum())
    beyond = f"{outside:,} of {len(synthetic):,} synthetic lie outside" if outside else ""
    axes.set_xlabel("; ".join(part for part in (column.unit, beyond) if part))
    axes.set_ylabel("density")


def _points(axes: "Axes", rows: pd.DataFrame, regressors: Sequence[str], *, offset: float, colour: str) -> None:
    ordered = rows.set_index("regressor").loc[list(regressors)]
    places = np.arange(len(regressors)) + offset
    axes.hlines(places, ordered["ci_low"], ordered["ci_high"], color=colour, linewidth=1.6)
    axes.plot(ordered["value"], places, "o", color=colour, markersize=5)


def _legend(figure: "Figure", colours: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield
