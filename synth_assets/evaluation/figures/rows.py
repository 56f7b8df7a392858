"""Figures of rows: real beside synthetic."""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.figures.style import BAND, BLACK, BLUE, ORANGE, legend, new_figure, short
from synth_assets.evaluation.metrics.trend import correlations
from synth_assets.evaluation.reference import real_splits, reference_of
from synth_assets.schema.columns import Column
from synth_assets.schema.table import TableSchema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 10_000
"""Maximum number of rows of a set that are drawn, the first ones: their order is random."""

MOST_LABELS = 12
"""Maximum number of labels of a column that are drawn, the most frequent ones."""

MOST_NUMBERED = 15
"""Maximum number of numeric columns of a correlation matrix with numbers in its cells."""

_SHAPES = ("ks_complement", "tv_complement")


def density_grid(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: TableSchema,
    fidelity: pd.DataFrame,
    *,
    title: str,
    source: str,
) -> "Figure":
    """Draw the density of each column in holdout and synthetic rows, with a band for other samples of real rows.

    Parameters
    ----------
    synthetic, train, holdout : pandas.DataFrame
        Rows of the table; synthetic cells may be empty.
    schema : TableSchema
        The table's schema.
    fidelity : pandas.DataFrame
        Metric results; each panel states the similarity of its column and the reference.
    title, source : str
        Name of the sample and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a column: Gaussian kernels for numbers, bars for categories. An axis covers the range of the holdout
        rows without outliers; the number of rows outside is stated. The band is the pointwise 95% prediction interval
        for as many real rows, from the differences between the two parts of 20 random splits of the real rows.
    """
    train, holdout = train.head(MOST_ROWS), holdout.head(MOST_ROWS)
    drawn = synthetic.head(len(train))
    real = pd.concat([train, holdout], ignore_index=True)
    splits = [
        (real.iloc[split.train[: len(drawn)]], real.iloc[split.holdout])
        for split in real_splits(len(train), len(holdout))
    ]
    across = min(3, len(schema.columns))
    down = -(-len(schema.columns) // across)
    shapes = fidelity[fidelity["metric"].isin(_SHAPES)].set_index("column_name")
    if len(shapes):
        title += "\nBeside each name: similarity to holdout rows (1 is best), and its reference from real rows"
    with new_figure(3.6 * across, 2.4 * down + 1.0, title, source) as figure:
        for i, column in enumerate(schema.columns):
            axes = figure.add_subplot(down, across, i + 1)
            draw = _bars if not column.is_numeric else _densities
            draw(
                axes,
                holdout[column.name],
                drawn[column.name],
                [(one[column.name], other[column.name]) for one, other in splits],
                column,
            )
            named = short(column.name, 28)
            if column.name in shapes.index:
                number = shapes.loc[column.name]
                named += f": {number['value']:.3f}, real {number['reference']:.3f}"
            axes.set_title(named)
        _legend(figure, len(holdout), len(drawn), len(synthetic), band=True)
    return figure


def correlation_matrices(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema, *, title: str, source: str
) -> "Figure":
    """Draw the Spearman correlations of the numeric columns: real, synthetic, and their difference on its own scale."""
    from matplotlib import colormaps

    matrices = {"real": correlations(real, schema), "synthetic": correlations(synthetic, schema)}
    matrices["synthetic - real"] = matrices["synthetic"] - matrices["real"]
    largest = float(matrices["synthetic - real"].abs().to_numpy().max())
    with new_figure(13.0, 4.75, title, source) as figure:
        panels = figure.subplots(1, 3)
        for i, (name, matrix) in enumerate(matrices.items()):
            axes = panels[i]
            limit = 1.0 if i < 2 else max(0.1, largest)
            image = axes.imshow(matrix, cmap=colormaps["PuOr"].resampled(21), vmin=-limit, vmax=limit)
            names = [short(column, 24) for column in matrix.columns]
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), names if i == 0 else [""] * len(names))
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(name)
            for (row, col), value in np.ndenumerate(matrix.to_numpy() if len(matrix) <= MOST_NUMBERED else []):
                value = round(value, 2) + 0.0  # no -0.00
                dark = abs(value) > 0.5 * limit
                axes.text(
                    col, row, f"{value:.2f}", ha="center", va="center", fontsize=7 if len(matrix) <= 10 else 5.5,
                    color="white" if dark else "#333333",
                )  # fmt: skip
            if i > 0:  # the first two have one scale
                label = "Spearman correlation" if i == 1 else "difference of the correlations"
                figure.colorbar(image, ax=panels[:2] if i == 1 else axes, shrink=0.62, label=label)
    return figure


def pair_grid(
    synthetic: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: TableSchema,
    pairs: pd.DataFrame,
    *,
    most: int = 4,
    title: str,
    source: str,
) -> "Figure":
    """Draw the pairs of columns by which synthetic rows are detected best, real beside synthetic, on the same axes.

    Parameters
    ----------
    synthetic, holdout : pandas.DataFrame
        Rows of the table; equally many of each are drawn.
    schema : TableSchema
        The table's schema.
    pairs : pandas.DataFrame
        `column_name` is 'one, other', `value` the area under the ROC curve of a classifier that sees only this pair,
        highest first. Rows of single columns are ignored.
    most : int
        Maximum number of pairs.
    title, source : str
        Name of the sample and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels a pair. Labels and integers are jittered. Axes are as in `density_grid`, the number of rows outside
        is stated.

    Raises
    ------
    ForeseenError
        If `pairs` has no pair of the schema's columns.
    """
    named = {f"{one.name}, {other.name}": (one, other) for one, other in combinations(schema.columns, 2)}
    found = pairs[pairs["column_name"].isin(named)].head(most)
    if found.empty:
        raise ForeseenError(
            f"none of the {len(pairs)} rows of pairs names a pair of columns, such as "
            f"{next(iter(named), 'one, other')!r}. Pass the results of detection_auc_pair."
        )
    count = min(len(synthetic), len(holdout), MOST_ROWS)
    sets = {"real": (holdout.head(count), BLUE), "synthetic": (synthetic.head(count), ORANGE)}
    across = min(2, len(found))
    down = -(-len(found) // across)
    with new_figure(6.2 * across, 2.8 * down + 0.9, title, source) as figure:
        for i, pair in enumerate(found.itertuples()):
            one, other = named[pair.column_name]
            spans = [_span(holdout[column.name], column) for column in (one, other)]
            for j, (name, (rows, colour)) in enumerate(sets.items()):
                axes = figure.add_subplot(down, 2 * across, 2 * i + j + 1)
                x, y = (_places(rows[column.name], column) for column in (one, other))
                inside = (spans[0][0] <= x) & (x <= spans[0][1]) & (spans[1][0] <= y) & (y <= spans[1][1])
                left_out = f"{count - int(inside.sum()):,} not drawn" if not inside.all() else ""
                axes.scatter(_jittered(x, one, 0), _jittered(y, other, 1), s=6, color=colour, alpha=0.35, linewidths=0)
                axes.set_xlim(spans[0])
                axes.set_ylim(spans[1])
                for axis, column in ((axes.xaxis, one), (axes.yaxis, other)):
                    if not column.is_numeric:
                        axis.set_ticks(range(len(column.labels)), [short(c, 10) for c in column.labels])
                _label_below(axes, _label(one), left_out)
                if name == "real":
                    axes.set_title(f"real; AUC of this pair alone {pair.value:.3f}")
                    axes.set_ylabel(_label(other))
                else:
                    axes.set_title("synthetic")
                    axes.tick_params(labelleft=False)
        _legend(figure, count, count, len(synthetic), band=False)
    return figure


def distance_histograms(
    synthetic_to_train: np.ndarray,
    synthetic_to_holdout: np.ndarray,
    holdout_to_train: np.ndarray,
    *,
    title: str,
    source: str,
) -> "Figure":
    """Draw histograms of the distance to the closest record.

    Parameters
    ----------
    synthetic_to_train, synthetic_to_holdout : numpy.ndarray
        Distances of the synthetic rows to the closest train row, and to the closest of as many holdout rows: among more
        rows, the closest is closer.
    holdout_to_train : numpy.ndarray
        Distances of the holdout rows to the closest of the same train rows.
    title, source : str
        Name of the sample and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        One panel; its axis ends at the 99th percentile. The legend states the medians and the shares of copies.

    Raises
    ------
    ForeseenError
        If a set of distances is empty, or one is not finite.
    """
    distances = {
        "holdout to train": (holdout_to_train, BLUE, "-"),
        "synthetic to train": (synthetic_to_train, ORANGE, "-"),
        "synthetic to holdout": (synthetic_to_holdout, BLACK, "--"),
    }
    for name, (found, _, _) in distances.items():
        if not len(found) or not np.isfinite(found).all():
            raise ForeseenError(
                f"found {len(found)} distances, {int((~np.isfinite(found)).sum())} of them not finite, of {name} rows; "
                "expected at least 1, all finite. Drop rows with empty cells before computing distances."
            )
    end = float(np.quantile(np.concatenate([found for found, _, _ in distances.values()]), 0.99)) or 1.0
    edges = np.linspace(0.0, end, 41)
    with new_figure(7.0, 3.6, title, source) as figure:
        axes = figure.add_subplot()
        for name, (found, colour, line) in distances.items():
            shares = np.histogram(found, edges)[0] / len(found)
            label = f"{name}: median {np.median(found):.3f}, {np.mean(found == 0):.1%} at 0"
            axes.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.4, label=label)
        axes.set_xlim(0, end)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("distance to the closest record, standard deviations of the train rows")
        axes.set_ylabel("share of rows")
        axes.legend(fontsize=8)
    return figure


Splits = Sequence[tuple[pd.Series, pd.Series]]


def _bars(axes: "Axes", real: pd.Series, synthetic: pd.Series, splits: Splits, column: Column) -> None:
    def shares(values: pd.Series) -> pd.Series:
        return values.value_counts().reindex(list(column.labels), fill_value=0) / len(values)

    both = pd.DataFrame({"real": shares(real), "synthetic": shares(synthetic)})
    drawn = both[both.index.isin(both.max(axis="columns").nlargest(MOST_LABELS).index)]
    band = _band(drawn["real"], [(shares(one)[drawn.index], shares(other)[drawn.index]) for one, other in splits])
    places = np.arange(len(drawn))
    axes.bar(places, band[1] - band[0], bottom=band[0], width=0.84, color=BAND, zorder=0)
    for called, colour, offset in (("real", BLUE, -0.2), ("synthetic", ORANGE, 0.2)):
        axes.bar(places + offset, drawn[called], width=0.36, color=colour)
    axes.set_xticks(places, [short(label, 16) for label in drawn.index])
    if max(map(len, drawn.index)) * len(drawn) > 36:
        axes.tick_params(axis="x", rotation=90)
    axes.set_ylabel("share of rows")
    left_out = f"{len(drawn)} of {len(both)} labels" if len(drawn) < len(both) else ""
    _label_below(axes, left_out, _not_drawn(real.isin(drawn.index), synthetic.isin(drawn.index)))


def _densities(axes: "Axes", real: pd.Series, synthetic: pd.Series, splits: Splits, column: Column) -> None:
    low, high = _span(real, column)
    grid = np.linspace(low, high, 400)
    parts = [part for split in splits for part in split]
    sets = [_finite_places(values, column) for values in (real, synthetic, *parts)]
    # All lines have the bandwidth of the real rows, so that equal rows have equal lines.
    bandwidth = next((_bandwidth(values) for values in sets[:2] if len(np.unique(values)) > 1), 1.0)
    densities = _kernel_densities(sets, grid, bandwidth)
    if len(np.unique(sets[0])) > 1:
        band = _band(densities[0], list(zip(densities[2::2], densities[3::2], strict=True)))
        axes.fill_between(grid, *band.clip(min=0), color=BAND, alpha=0.7, linewidth=0)
    for values, density, colour in zip(sets, densities, (BLUE, ORANGE), strict=False):
        if len(np.unique(values)) > 1:
            axes.plot(grid, density, color=colour, linewidth=1.4)
        elif len(values):
            axes.axvline(float(values[0]), color=colour, linewidth=1.4)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("density")
    _label_below(axes, column.unit or "", _not_drawn(real.between(low, high), synthetic.between(low, high)))


def _bandwidth(values: np.ndarray) -> float:
    """Return Scott's bandwidth for one dimension (Multivariate Density Estimation, 1992, section 6.3)."""
    return float(values.std(ddof=1) * len(values) ** -0.2)


def _kernel_densities(sets: Sequence[np.ndarray], grid: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the density of each set on the grid, sets by grid points. Equal values share a kernel."""
    places, codes = np.unique(np.concatenate(sets), return_inverse=True)
    ends = np.cumsum([len(values) for values in sets])
    weights = np.stack(
        [np.bincount(part, minlength=len(places)) / max(1, len(part)) for part in np.split(codes, ends[:-1])]
    )
    kernels = np.exp(-0.5 * ((places[:, None] - grid) / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    densities: np.ndarray = weights @ kernels
    return densities


def _band(real: np.ndarray | pd.Series, splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the lower and the upper end of the band around the line of the real rows."""
    differences = np.stack([np.asarray(one) - np.asarray(other) for one, other in splits])
    references = [reference_of(differences[:, i].tolist()) for i in range(differences.shape[1])]
    ends = np.array([[each.low for each in references], [each.high for each in references]])
    band: np.ndarray = np.asarray(real) + ends
    return band


def _places(values: pd.Series, column: Column) -> np.ndarray:
    """Return numbers as they are, and labels as their positions in the schema; unknown labels are NaN."""
    if not column.is_numeric:
        values = values.map({label: i for i, label in enumerate(column.labels)})
    places: np.ndarray = values.to_numpy("float64", na_value=np.nan)
    return places


def _finite_places(values: pd.Series, column: Column) -> np.ndarray:
    places = _places(values, column)
    finite: np.ndarray = places[np.isfinite(places)]
    return finite


def _jittered(places: np.ndarray, column: Column, seed: int) -> np.ndarray:
    if column.type == "float":
        return places
    return places + np.random.default_rng(seed).uniform(-0.3, 0.3, len(places))


def _span(values: pd.Series, column: Column) -> tuple[float, float]:
    """Return the ends of an axis: the range of the values, except for outliers that would stretch it."""
    places = _finite_places(values, column)
    low, high = np.quantile(places, (0.005, 0.995))
    reach = 0.5 * (high - low) or np.inf
    low, high = max(places.min(), low - reach), min(places.max(), high + reach)
    margin = 0.03 * (high - low) or 1.0
    if column.type != "float":
        margin = max(margin, 0.5)
    return float(low - margin), float(high + margin)


def _label(column: Column) -> str:
    return short(column.name, 24) + (f", {column.unit}" if column.unit else "")


def _not_drawn(real: pd.Series, synthetic: pd.Series) -> str:
    left_out = {"real": int((~real).sum()), "synthetic": int((~synthetic).sum())}
    parts = [f"{count:,} {called}" for called, count in left_out.items() if count]
    return f"not drawn: {', '.join(parts)}" if parts else ""


def _label_below(axes: "Axes", *parts: str) -> None:
    axes.set_xlabel("; ".join(part for part in parts if part))


def _legend(figure: "Figure", real: int, synthetic: int, of: int, *, band: bool) -> None:
    from matplotlib.patches import Patch

    first = f"first {synthetic:,} of {of:,} " if synthetic < of else f"{synthetic:,} "
    handles = [
        Patch(color=BLUE, label=f"{real:,} holdout rows"),
        Patch(color=ORANGE, label=f"{first}synthetic rows"),
    ]
    if band:
        handles.append(Patch(color=BAND, label="95% of real samples"))
    legend(figure, handles)
