"""Figures of rows: real beside synthetic.

They take rows as `TableSchema.comparable` returns them: labels as text, numbers as floats, dates in days since 1970,
NaN where a cell is empty. Ids are not drawn.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.figures.style import BAND, BLACK, BLUE, GREY, ORANGE, legend, new_figure, plain, short
from synth_assets.evaluation.metrics.trend import correlations
from synth_assets.evaluation.reference import real_splits, reference_of
from synth_assets.schema.columns import Column, Datetime, Integer, TimeColumn
from synth_assets.schema.table import TableSchema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_ROWS = 10_000
"""Maximum number of rows of a set that are drawn, the first ones: their order is random."""

MOST_PANELS = 24
"""Maximum number of columns that are drawn, the least similar ones."""

MOST_CORRELATED = 24
"""Maximum number of columns of a correlation matrix; of more, the pairs whose correlations differ most decide."""

MOST_LABELS = 12
"""Maximum number of labels of a column that are drawn, the most frequent ones."""

MOST_VALUES = 24
"""A numeric column of no more different values has a bar for each."""

MOST_NUMBERED = 15
"""Maximum number of numeric columns of a correlation matrix with numbers in its cells."""

MOST_ATOMS = 12
"""Maximum number of single values of a numeric column that are drawn apart from its density."""

ATOM_SHARE, ATOM_ROWS, ATOM_PROMINENCE = 0.02, 10, 3
"""A value is drawn apart if so large a share and so many of the rows have it, and so many times as many rows as have
any of the next two values on either side."""

HEAVY_TAIL = 7.0
"""An axis is logarithmic where the middle 99% of the values are so many times as wide as the middle half."""

EMPTY = "(empty)"
"""The bar of empty cells."""

_SHAPES = ("ks_complement", "tv_complement", "text_length")

_KERNEL_CELLS = 2_000
"""Cells of an axis in which values share a kernel, where there are more different values."""

_MOST_DECADES = 1e9
"""The greatest value of a logarithmic axis, as a multiple of the width about 0 in which it is even."""

_HIGHEST_BAR = 3.0
"""A bar of other labels or of empty cells is cut off if it is this many times as high as the bar of any label."""

_LINE = 46
"""Letters in a line below a panel."""


def length_schema(schema: TableSchema) -> TableSchema:
    """Return a schema in which a published column of text is its number of characters."""
    lengths = {name: Integer(name=name, unit="length in characters", nullable=True) for name in schema.published_texts}
    return schema.model_copy(update={"columns": tuple(lengths.get(each.name, each) for each in schema.columns)})


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
        Comparable rows of the table.
    schema : TableSchema
        The table's schema. Columns of text and ids are not drawn.
    fidelity : pandas.DataFrame
        Metric results; each panel states the similarity of its column and the reference.
    title, source : str
        Name of the sample and origin of the real rows.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a column, of more than `MOST_PANELS` the least similar ones. Bars for labels, booleans and numbers of
        few values; Gaussian kernels for other numbers and for dates, and stems for single values that many rows have.
        An axis covers the range of the real rows without outliers, and is logarithmic for heavy tails; the number of
        rows outside is stated, and the share of empty cells. The band is the pointwise 95% prediction interval for as
        many real rows, from the differences between the two parts of 20 random splits of the real rows.
    """
    train, holdout = train.head(MOST_ROWS), holdout.head(MOST_ROWS)
    drawn = synthetic.head(len(train))
    real = pd.concat([train, holdout], ignore_index=True)
    splits = [(split.train[: len(drawn)], split.holdout) for split in real_splits(len(train), len(holdout))]
    shapes = fidelity[fidelity["metric"].isin(_SHAPES)].drop_duplicates("column_name").set_index("column_name")
    columns = _least_similar([schema.column(name) for name in schema.compared], shapes)
    across = min(3, len(columns))
    down = -(-len(columns) // across)
    if len(columns) < len(schema.compared):
        title += (
            f"\nThe {len(columns)} of {len(schema.compared)} columns that are least similar to holdout rows, the worst "
            f"first; {len(schema.compared) - len(columns)} are not drawn"
        )
    if len(shapes):
        title += "\nBeside each name: similarity to holdout rows (1 is best), and its reference from real rows"
    with new_figure(3.6 * across, 2.4 * down + 1.0, title, source) as figure:
        for i, column in enumerate(columns):
            axes = figure.add_subplot(down, across, i + 1)
            _marginal(axes, holdout[column.name], drawn[column.name], real[column.name], splits, column)
            named = short(column.name, 28)
            if column.name in shapes.index:
                number = shapes.loc[column.name]
                named += f": {_score(number['value'])}, real {_score(number['reference'])}"
            empty = _shares_text(holdout[column.name].isna().mean(), drawn[column.name].isna().mean())
            axes.set_title(f"{named}\nempty: {empty}" if empty else named)
        _legend(figure, len(holdout), len(drawn), len(synthetic), band=True)
    return figure


def correlation_matrices(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema, *, title: str, source: str
) -> "Figure":
    """Draw the Spearman correlations of the numeric columns: real, synthetic, and their difference on its own scale.

    Of more than `MOST_CORRELATED` columns, those of the pairs whose correlations differ most are drawn, and dates count
    as numbers.
    """
    from matplotlib import colormaps

    real, synthetic = real.head(MOST_ROWS), synthetic.head(MOST_ROWS)
    chosen = _least_alike(real, synthetic, schema.numeric)
    if len(chosen) < len(schema.numeric):
        title += (
            f"\n{len(chosen)} of {len(schema.numeric)} numeric columns: those of the pairs whose correlations differ "
            "most from real rows"
        )
        schema = schema.select(chosen)
    matrices = {"real": correlations(real, schema), "synthetic": correlations(synthetic, schema)}
    matrices["synthetic - real"] = matrices["synthetic"] - matrices["real"]
    largest = float(matrices["synthetic - real"].abs().to_numpy().max())
    with new_figure(13.0, 4.75, title, source) as figure:
        panels = figure.subplots(1, 3)
        for i, (name, matrix) in enumerate(matrices.items()):
            axes = panels[i]
            limit = 1.0 if i < 2 else max(0.1, largest)
            image = axes.imshow(matrix, cmap=colormaps["PuOr"].resampled(21), vmin=-limit, vmax=limit)
            names = [short(column, 16) for column in matrix.columns]
            size = 9 if len(names) <= MOST_NUMBERED else 6.5
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
            axes.set_yticks(range(len(names)), names if i == 0 else [""] * len(names), fontsize=size)
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
        Comparable rows of the table; equally many of each are drawn.
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
        Two panels a pair. Labels, integers and dates are jittered. Axes are as in `density_grid`; the number of rows
        outside, or with an empty cell, is stated.

    Raises
    ------
    ForeseenError
        If `pairs` has no pair of the schema's columns.
    """
    columns = [schema.column(name) for name in schema.compared]
    named = {f"{one.name}, {other.name}": (one, other) for one, other in combinations(columns, 2)}
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
            scales = [_scale(holdout[column.name], synthetic[column.name], column) for column in (one, other)]
            for j, (name, (rows, colour)) in enumerate(sets.items()):
                axes = figure.add_subplot(down, 2 * across, 2 * i + j + 1)
                x, y = (scale.places(rows[scale.column.name]) for scale in scales)
                empty = np.isnan(x) | np.isnan(y)
                inside = scales[0].contains(x) & scales[1].contains(y)
                outside = int((~inside & ~empty).sum())
                left_out = [f"{outside:,} not drawn"] if outside else []
                left_out += [f"{int(empty.sum()):,} with an empty cell"] if empty.any() else []
                for k, (axis, scale) in enumerate(zip((axes.xaxis, axes.yaxis), scales, strict=True)):
                    scale.apply(axis, rotate=k == 0)
                axes.scatter(
                    scales[0].jittered(x, 0), scales[1].jittered(y, 1), s=6, color=colour, alpha=0.35, linewidths=0
                )
                axes.set_xlim(scales[0].low, scales[0].high)
                axes.set_ylim(scales[1].low, scales[1].high)
                _label_below(axes, _label(one), *left_out)
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


Splits = Sequence[tuple[np.ndarray, np.ndarray]]
"""Positions in the real rows of the two parts of each split."""


def _least_similar(columns: Sequence[Column], shapes: pd.DataFrame) -> list[Column]:
    """Return at most `MOST_PANELS` columns: all in their order, or the least similar ones, the worst first."""
    if len(columns) <= MOST_PANELS:
        return list(columns)
    numbers = shapes.reindex([column.name for column in columns])
    short_by = (numbers["reference"] - numbers["value"]).to_numpy("float64")
    order = np.argsort(-short_by, kind="stable")  # columns without a number come last
    return [columns[i] for i in order[:MOST_PANELS]]


def _least_alike(real: pd.DataFrame, synthetic: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return at most `MOST_CORRELATED` names: all, or the columns of the pairs whose correlations differ most."""
    if len(names) <= MOST_CORRELATED:
        return list(names)

    def ranked(rows: pd.DataFrame) -> np.ndarray:  # an empty cell has the mean rank here, which is faster than exact
        ranks = rows[list(names)].rank()
        ranks = ((ranks - ranks.mean()) / ranks.std(ddof=0)).fillna(0.0).replace([np.inf, -np.inf], 0.0)
        return np.asarray(ranks.T @ ranks / len(ranks))

    one, other = np.triu_indices(len(names), 1)
    differences = np.abs(ranked(synthetic) - ranked(real))[one, other]
    chosen: set[int] = set()
    for pair in np.argsort(-differences, kind="stable"):
        both = {int(one[pair]), int(other[pair])}
        if len(chosen | both) > MOST_CORRELATED:
            break
        chosen |= both
    return [names[i] for i in sorted(chosen)]


def _marginal(
    axes: "Axes", real: pd.Series, synthetic: pd.Series, pool: pd.Series, splits: Splits, column: Column
) -> None:
    """Draw a column: `real` and `synthetic` values, and a band from splits of `pool`, all real values."""
    if not (real.notna().any() or synthetic.notna().any()):
        axes.text(0.5, 0.5, "every cell is empty", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
    elif not column.is_numeric:
        _bars(axes, real, synthetic, pool, splits, _labels(column, pool, synthetic), MOST_LABELS)
    elif len(values := _few_values(pool, synthetic, column)) > 1:
        named = _value_labels(values)
        marked = [each.map(named) for each in (real, synthetic, pool)]
        labels = list(dict.fromkeys(named.values()))
        _bars(axes, marked[0], marked[1], marked[2], splits, labels, MOST_VALUES, column.unit or "")
    else:
        _densities(axes, real, synthetic, pool, splits, column)


def _labels(column: Column, *sets: pd.Series) -> list[str]:
    """Return the labels of a column, the schema's first, then others that occur."""
    seen = sorted({str(label) for values in sets for label in values.dropna().unique()})
    return list(dict.fromkeys((*column.labels, *seen)))


def _few_values(pool: pd.Series, synthetic: pd.Series, column: Column) -> list[float]:
    """Return the different values of a numeric column if there are few, else nothing."""
    if isinstance(column, TimeColumn):
        return []
    values = np.unique(np.concatenate([_finite(pool), _finite(synthetic)]))
    return [float(value) for value in values] if len(values) <= MOST_VALUES else []


def _value_labels(values: Sequence[float]) -> dict[float, str]:
    """Return a label for each value. Values that differ by a rounding error have the same one: 0.3 and 0.1 + 0.2."""
    labels = {value: f"{value:.10g}" for value in values}
    if len(set(labels.values())) < len(labels):
        return {value: f"{value:.15g}" for value in values}
    return labels


def _bars(
    axes: "Axes",
    real: pd.Series,
    synthetic: pd.Series,
    pool: pd.Series,
    splits: Splits,
    labels: Sequence[str],
    most: int,
    unit: str = "",
) -> None:
    sets = [pd.Categorical(values, categories=list(labels)).codes for values in (real, synthetic, pool)]
    counts = np.stack([np.bincount(codes[codes >= 0], minlength=len(labels)) / len(codes) for codes in sets[:2]])
    frequent = np.sort(np.argsort(-counts.max(axis=0), kind="stable")[:most])
    place_of = np.full(len(labels) + 1, len(frequent))  # the last one is of empty cells, whose code is -1
    place_of[frequent] = np.arange(len(frequent))
    place_of[-1] = len(frequent) + 1
    placed = [place_of[codes] for codes in sets]
    others = len(labels) - len(frequent)
    names = [*(short(labels[i], 16) for i in frequent), f"others ({others:,})", EMPTY]
    present = np.array([*[True] * len(frequent), others > 0, any((codes < 0).any() for codes in sets)])

    def shares(places: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.bincount(places, minlength=len(names))[present] / max(1, len(places))
        return found

    drawn = [shares(places) for places in placed[:2]]
    band = _band(drawn[0], [(shares(placed[2][one]), shares(placed[2][other])) for one, other in splits])
    band = band.clip(0, 1)
    at = np.arange(len(drawn[0]))
    axes.bar(at, band[1] - band[0], bottom=band[0], width=0.84, color=BAND, zorder=0)
    for found, colour, offset in ((drawn[0], BLUE, -0.2), (drawn[1], ORANGE, 0.2)):
        axes.bar(at + offset, found, width=0.36, color=colour)
    shown = [name for name, is_present in zip(names, present, strict=True) if is_present]
    axes.set_xticks(at, shown)
    if max(map(len, shown)) * len(shown) > 28:
        axes.tick_params(axis="x", rotation=90, labelsize=8 if len(shown) <= 10 else 7)
    axes.set_ylabel("share of rows")
    of_labels = max(found[: len(frequent)].max() for found in (*drawn, band[1]))
    top = 0.8 * _HIGHEST_BAR * of_labels
    cut = ""
    if max(map(np.max, drawn)) > _HIGHEST_BAR * of_labels:  # others or empty cells would flatten all labels
        axes.set_ylim(0, top)
        cut = "; ".join(
            f"{name} {_shares_text(drawn[0][i], drawn[1][i])}, cut off"
            for i, name in enumerate(shown)
            if i >= len(frequent) and max(drawn[0][i], drawn[1][i]) > top
        )
    _label_below(axes, plain(unit), cut)


def _densities(
    axes: "Axes", real: pd.Series, synthetic: pd.Series, pool: pd.Series, splits: Splits, column: Column
) -> None:
    scale = _scale(pool, synthetic, column)
    parts = [pool.iloc[part] for split in splits for part in split]
    sets = [_finite(values) for values in (real, synthetic, *parts)]
    atoms = _atoms(_finite(pool), sets[1])
    rest = [values[~np.isin(values, atoms)] for values in sets]
    grid = np.linspace(scale.transform(scale.low), scale.transform(scale.high), 400)
    inside = [scale.transform(values) for values in rest]
    # All lines have the bandwidth of the real rows, so that equal rows have equal lines.
    bandwidth = next((_bandwidth(values, grid) for values in inside[:2] if _is_spread(values)), 1.0)
    densities = _kernel_densities(inside, grid, bandwidth)
    densities *= np.array([[len(few) / max(1, len(all_))] for few, all_ in zip(rest, sets, strict=True)])
    x = scale.invert(grid)
    if _is_spread(inside[0]):
        band = _band(densities[0], list(zip(densities[2::2], densities[3::2], strict=True)))
        axes.fill_between(x, *band.clip(min=0), color=BAND, alpha=0.7, linewidth=0)
    for values, density, colour in zip(rest, densities, (BLUE, ORANGE), strict=False):
        if _is_spread(values):
            axes.plot(x, density, color=colour, linewidth=1.4)
        elif len(values):
            axes.axvline(float(values[0]), color=colour, linewidth=3.5 if colour == BLUE else 1.4)  # both are seen
    scale.apply(axes.xaxis)
    axes.set_xlim(scale.low, scale.high)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("density")
    atom_text = _stems(axes, sets[0], sets[1], atoms, scale) if len(atoms) else ""
    left_out = _not_drawn(*(int((~scale.contains(values)).sum()) for values in sets[:2]))
    infinite = int(np.isinf(synthetic.to_numpy("float64")).sum())
    _label_below(axes, scale.unit, atom_text, left_out, f"{infinite:,} synthetic infinite" if infinite else "")


def _stems(axes: "Axes", real: np.ndarray, synthetic: np.ndarray, atoms: np.ndarray, scale: "_Scale") -> str:
    """Draw the shares of single values on a separate axis, and state the shares of the most frequent value."""
    twin = axes.twinx()
    twin.spines["right"].set_visible(True)
    ends = scale.transform(np.array([scale.low, scale.high]))
    places = scale.transform(atoms)
    shares = [
        np.array([np.mean(values == atom) if len(values) else 0.0 for atom in atoms]) for values in (real, synthetic)
    ]
    for found, colour, side in ((shares[0], BLUE, -1), (shares[1], ORANGE, 1)):
        at = scale.invert(places + side * 0.006 * (ends[1] - ends[0]))
        twin.vlines(at, 0, found, color=colour, linewidth=1.4)
        twin.plot(at, found, "o", color=colour, markersize=3.5)
    twin.set_ylim(0, 1.15 * max(found.max() for found in shares))
    twin.set_ylabel("share of a single value")
    most = int(np.argmax(shares[0] + shares[1]))
    return f"at {scale.text(atoms[most])}: {shares[0][most]:.1%} real, {shares[1][most]:.1%} synthetic"


def _atoms(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return the values that many real or synthetic rows have, and many more than have the next values."""
    found: dict[float, float] = {}
    for values in (real, synthetic):
        places, counts = np.unique(values, return_counts=True)
        if len(places) < 2:
            continue  # a constant is a line
        beside = np.concatenate([[0, 0], counts, [0, 0]])
        next_ones = np.max([beside[:-4], beside[1:-3], beside[3:-1], beside[4:]], axis=0)
        prominent = counts >= ATOM_PROMINENCE * next_ones
        is_atom = prominent & (counts >= ATOM_ROWS) & (counts >= ATOM_SHARE * len(values))
        for place, count in zip(places[is_atom], counts[is_atom], strict=True):
            found[float(place)] = max(found.get(float(place), 0.0), count / len(values))
    return np.array(sorted(sorted(found, key=lambda place: -found[place])[:MOST_ATOMS]))


def _bandwidth(values: np.ndarray, grid: np.ndarray) -> float:
    """Return Scott's bandwidth for one dimension (Multivariate Density Estimation, 1992, section 6.3).

    Values outside the axis do not count.
    """
    drawn = values[(grid[0] <= values) & (values <= grid[-1])]
    width = float(grid[-1] - grid[0])  # squares of shares of the axis do not overflow
    return float((drawn / width).std(ddof=1) * width * len(drawn) ** -0.2) if _is_spread(drawn) else width / len(grid)


def _kernel_densities(sets: Sequence[np.ndarray], grid: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the density of each set on the grid, sets by grid points. Equal values share a kernel."""
    reach = 40 * bandwidth  # values that are farther away add nothing
    near = np.clip(np.concatenate(sets), grid[0] - reach, grid[-1] + reach)
    places, codes = np.unique(near, return_inverse=True)
    if len(places) > _KERNEL_CELLS:
        cell = (grid[-1] - grid[0]) / _KERNEL_CELLS
        places, codes = np.unique(np.round((near - grid[0]) / cell), return_inverse=True)
        places = grid[0] + places * cell
    ends = np.cumsum([len(values) for values in sets])
    weights = np.stack(
        [np.bincount(part, minlength=len(places)) / max(1, len(part)) for part in np.split(codes, ends[:-1])]
    )
    kernels = np.exp(-0.5 * ((places[:, None] - grid) / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    densities: np.ndarray = weights @ kernels
    return densities


def _band(real: np.ndarray, splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the lower and the upper end of the band around the line of the real rows."""
    differences = np.stack([one - other for one, other in splits])
    references = [reference_of(differences[:, i]) for i in range(differences.shape[1])]
    ends = np.array([[each.low for each in references], [each.high for each in references]])
    band: np.ndarray = real + ends
    return band


@dataclass(frozen=True)
class _Scale:
    """An axis of a column: its ends, whether it is logarithmic, and its labels."""

    column: Column
    low: float
    high: float
    linear_width: float | None = None
    """Where given, the axis is logarithmic beyond this distance from 0."""
    labels: tuple[str, ...] = ()
    """Labels that are drawn, the last of them standing for all others where there are more."""
    others: int = 0

    def places(self, values: pd.Series) -> np.ndarray:
        """Return numbers as they are, and labels as their positions; NaN where a cell is empty."""
        if self.column.is_numeric:
            numbers: np.ndarray = values.to_numpy("float64")
            return numbers
        found = values.map({label: float(i) for i, label in enumerate(self.labels)}).to_numpy("float64")
        places: np.ndarray = np.where(np.isnan(found) & values.notna().to_numpy(), float(len(self.labels)), found)
        return places

    def contains(self, places: np.ndarray) -> np.ndarray:
        """Return whether places are on the axis."""
        return np.asarray((self.low <= places) & (places <= self.high))

    def transform(self, values: np.ndarray | float) -> np.ndarray:
        """Return values in the unit in which the axis is even."""
        places = np.asarray(values, "float64")
        return places if self.linear_width is None else np.arcsinh(places / self.linear_width)

    def invert(self, places: np.ndarray) -> np.ndarray:
        """Return the values at places in the unit in which the axis is even."""
        return places if self.linear_width is None else self.linear_width * np.sinh(places)

    def jittered(self, places: np.ndarray, seed: int) -> np.ndarray:
        """Return places of labels and whole numbers, each moved at random within its unit."""
        if self.column.type == "float" or self.linear_width is not None:
            return places
        return places + np.random.default_rng(seed).uniform(-0.3, 0.3, len(places))

    def apply(self, axis: "Axis", *, rotate: bool = False) -> None:
        """Set scale and ticks of an axis of a panel."""
        if not self.column.is_numeric:
            names = [short(label, 10) for label in self.labels]
            names += [f"others ({self.others:,})"] if self.others else []
            axis.set_ticks(range(len(names)), names)
            if rotate and sum(map(len, names)) > 30:
                axis.set_tick_params(rotation=90)
        elif self.linear_width is not None:
            from matplotlib.ticker import NullLocator

            set_scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale  # type: ignore[attr-defined]
            set_scale("asinh", linear_width=self.linear_width)
            ticks = _log_ticks(self.low, self.high, self.linear_width)
            axis.set_ticks(ticks, [_power_text(tick) for tick in ticks])
            axis.set_minor_locator(NullLocator())
        elif self._has_calendar:
            from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

            locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
            axis.set_major_locator(locator)
            axis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]

    @property
    def unit(self) -> str:
        """What the axis is in, for its label."""
        if isinstance(self.column, TimeColumn):
            if not self._has_calendar:
                return "days since 1970"
            return "UTC" if isinstance(self.column, Datetime) and self.column.timezone else ""
        unit = plain(self.column.unit or "") if self.column.is_numeric else ""
        return ", ".join(filter(None, (unit, "logarithmic axis" if self.linear_width is not None else "")))

    def text(self, value: float) -> str:
        """Return a value as text."""
        if self._has_calendar:
            return str(np.datetime64(math.floor(value), "D"))
        return f"{value:,.6g}"

    @property
    def _has_calendar(self) -> bool:
        # Matplotlib's dates end with the years 1 and 9999.
        return isinstance(self.column, TimeColumn) and self.low > -719_000 and self.high < 2_932_000


def _scale(real: pd.Series, synthetic: pd.Series, column: Column) -> _Scale:
    """Return the axis of a column: the range of the real values, except for outliers that would stretch it."""
    if not column.is_numeric:
        labels = _labels(column, real, synthetic)
        if len(labels) > MOST_LABELS:
            counts = real.value_counts(normalize=True).add(synthetic.value_counts(normalize=True), fill_value=0)
            frequent = set(counts.nlargest(MOST_LABELS).index)
            drawn = tuple(label for label in labels if label in frequent)
        else:
            drawn = tuple(labels)
        others = len(labels) - len(drawn)
        return _Scale(column, -0.5, len(drawn) - 0.5 + (others > 0), labels=drawn, others=others)
    values = _finite(real) if np.isfinite(real.to_numpy("float64")).any() else _finite(synthetic)
    if not len(values):
        return _Scale(column, -1.0, 1.0)
    rest = values[~np.isin(values, _atoms(values, values[:0]))]
    width = None if isinstance(column, TimeColumn) else _linear_width(rest)
    even = _Scale(column, 0.0, 0.0, width)
    low, high = _span(even.transform(rest if len(rest) else values))
    atoms = even.transform(np.setdiff1d(values, rest))
    near = atoms[(atoms >= low - (high - low)) & (atoms <= high + (high - low))]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.03 * (high - low) or 1.0
    if column.type != "float" and width is None:
        margin = max(margin, 0.5)
    low, high = even.invert(np.array([low - margin, high + margin]))
    return _Scale(column, float(low), float(high), width)


def _span(places: np.ndarray) -> tuple[float, float]:
    """Return the range of the places, except for outliers that would stretch it."""
    low, high = np.quantile(places, (0.005, 0.995))
    reach = 0.5 * (high - low) or np.inf
    return float(max(places.min(), low - reach)), float(min(places.max(), high + reach))


def _linear_width(values: np.ndarray) -> float | None:
    """Return the distance from 0 beyond which the axis is logarithmic; None for an even axis."""
    if not _is_spread(values):
        return None
    distances = np.abs(values[values != 0])
    width = max(float(np.quantile(distances, 0.1)), float(distances.max()) / _MOST_DECADES)
    tails, tails_of_logs = _tails(values), _tails(np.arcsinh(values / width))
    return width if tails > HEAVY_TAIL and tails_of_logs < 0.5 * tails else None


def _tails(values: np.ndarray) -> float:
    """Return how many times as wide as the middle half of the values their middle 99% are."""
    lowest, low, high, highest = np.quantile(values, (0.005, 0.25, 0.75, 0.995))
    return float((highest - lowest) / (high - low)) if high > low else float("inf")


def _log_ticks(low: float, high: float, linear_width: float) -> list[float]:
    """Return at most about six powers of ten on an axis, and 0 where it is on it."""
    first = int(np.ceil(np.log10(linear_width)))
    powers = [10.0**i for i in range(first, int(np.floor(np.log10(max(abs(low), abs(high), linear_width)))) + 1)]
    ticks = [*(-power for power in reversed(powers)), 0.0, *powers]
    ticks = [tick for tick in ticks if low <= tick <= high]
    step = -(-len(ticks) // 6)
    zero = ticks.index(0.0) if 0.0 in ticks else len(ticks) - 1
    return [tick for i, tick in enumerate(ticks) if (i - zero) % max(1, step) == 0]


def _power_text(power: float) -> str:
    return (
        f"{power:,g}"
        if power == 0 or 1e-3 <= abs(power) < 1e5
        else f"{power:.0e}".replace("e+0", "e").replace("e-0", "e-")
    )


def _is_spread(values: np.ndarray) -> bool:
    return len(values) > 1 and bool(values.min() < values.max())


def _finite(values: pd.Series) -> np.ndarray:
    places = values.to_numpy("float64", na_value=np.nan)
    finite: np.ndarray = places[np.isfinite(places)]
    return finite


def _label(column: Column) -> str:
    unit = _Scale(column, 0.0, 1.0).unit
    return short(column.name, 24) + (f", {unit}" if unit else "")


def _score(value: float) -> str:
    return "not computed" if np.isnan(value) else f"{value:.3f}"


def _shares_text(real: float, synthetic: float) -> str:
    return f"{real:.1%} real, {synthetic:.1%} synthetic" if real or synthetic else ""


def _not_drawn(real: int, synthetic: int) -> str:
    parts = [f"{count:,} {called}" for count, called in ((real, "real"), (synthetic, "synthetic")) if count]
    return f"not drawn: {', '.join(parts)}" if parts else ""


def _label_below(axes: "Axes", *parts: str) -> None:
    axes.set_xlabel(textwrap.fill("; ".join(part for part in parts if part), _LINE))


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
