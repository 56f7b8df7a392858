"""Tests of the figures: that they render, and that they show and state the numbers that they are given."""

import io
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from scipy.stats import norm

from synth_assets.evaluation.fidelity import correlations, fidelity_table
from synth_assets.evaluation.figures import (
    BLUE,
    ORANGE,
    as_png,
    correlation_matrices,
    density_grid,
    loss_curve,
    regression_points,
)
from synth_assets.evaluation.utility import AUGMENTED, REAL, SYNTHETIC
from synth_assets.tables.schema import Column, TableSchema

DPI = 40
WORDS = {"title": "synthetic creatures", "source": "file creatures.csv"}


@pytest.fixture
def other_table(small_table: pd.DataFrame) -> pd.DataFrame:
    """Other rows like those of `small_table`."""
    sizes = (small_table["Size"] * 0.9 + 0.3).round(2)
    return small_table.sample(50, random_state=1).assign(Size=sizes, Legs=small_table["Legs"].clip(2, 7))


def _grid(real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema) -> Figure:
    return density_grid(real, synthetic, schema, fidelity_table(synthetic, real, real, schema), **WORDS)


def _scores() -> pd.DataFrame:
    rows = [
        (regressor, arm, metric, 0.1 * i + j, 0.1 * i + j - 0.2, 0.1 * i + j + 0.3)
        for i, regressor in enumerate(["linear", "forest"])
        for j, arm in enumerate([REAL, SYNTHETIC, AUGMENTED])
        for metric in ("r2", "rmse", "mae")
    ]
    return pd.DataFrame(rows, columns=["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"])


def _gains() -> pd.DataFrame:
    return pd.DataFrame(
        {"regressor": ["forest", "linear"], "value": [0.1, -0.2], "ci_low": [0.05, -0.3], "ci_high": [0.2, -0.1]}
    )


LOSSES = [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 1.5, "learning_rate": 0.1}]


def _points() -> Figure:
    return regression_points(_scores(), _gains(), unit="legs", **WORDS)


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def _texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def _assert_png(content: bytes, figure: Figure, dpi: int = DPI) -> None:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(io.BytesIO(content))
    width, height = figure.get_size_inches() * dpi
    assert pixels.shape[:2] == pytest.approx((height, width), abs=1)
    assert pixels[0, 0].tolist() == [1.0] * pixels.shape[2]  # on white, and opaque
    assert pixels.std() > 0.05  # and something is on it


FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame, TableSchema], Figure]] = {
    "densities": _grid,
    "correlations": lambda real, synthetic, schema: correlation_matrices(real, synthetic, schema, **WORDS),
    "points": lambda *_: _points(),
    "losses": lambda *_: loss_curve(LOSSES, **WORDS),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_figure_renders_to_the_same_bytes_for_the_same_input(
    draw: Callable[[pd.DataFrame, pd.DataFrame, TableSchema], Figure],
    small_table: pd.DataFrame,
    other_table: pd.DataFrame,
    small_schema: TableSchema,
) -> None:
    settings = dict(mpl.rcParams)

    figure = draw(small_table, other_table, small_schema)
    content = as_png(figure, dpi=DPI)

    _assert_png(content, figure)
    assert WORDS["title"] in _texts(figure)
    assert "real rows: file creatures.csv" in _texts(figure)
    assert as_png(draw(small_table, other_table, small_schema), dpi=DPI) == content
    assert dict(mpl.rcParams) == settings  # other figures keep their style


def test_more_dots_an_inch_make_more_pixels() -> None:
    figure = loss_curve(LOSSES, **WORDS)

    _assert_png(as_png(figure, dpi=30), figure, dpi=30)
    _assert_png(as_png(figure, dpi=60), figure, dpi=60)


# Densities


def test_the_grid_has_a_panel_a_column_that_states_value_and_floor(
    small_table: pd.DataFrame, other_table: pd.DataFrame, small_schema: TableSchema
) -> None:
    fidelity = pd.DataFrame(
        {
            "metric": ["tv", "ks", "ks", "shapes"],
            "column_name": pd.Series(["Legs", "Size", "Colour", None], dtype="str"),
            "value": [0.1234, 0.2, 0.3, 0.4],
            "floor": [0.9876, 0.8, 0.7, 0.6],
        }
    )

    titles = _titles(density_grid(small_table, other_table, small_schema, fidelity, **WORDS))

    numbers = {"Colour": ("0.300", "0.700"), "Size": ("0.200", "0.800"), "Legs": ("0.123", "0.988")}
    assert len(titles) == len(numbers)
    for title, (column, (value, floor)) in zip(titles, numbers.items(), strict=True):
        assert title.startswith(f"{column}: {value} ")
        assert floor in title


def test_bars_are_shares_in_the_order_of_the_schema(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    real = small_table.assign(Colour=["blue"] * 15 + ["red"] * 45)
    synthetic = small_table.assign(Colour=["red"] * 60)

    axes = _grid(real, synthetic, small_schema).axes[0]

    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.75, 0.0, 1.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [BLUE, BLUE, ORANGE, ORANGE]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["blue", "red"]


def test_a_density_is_one_and_the_same_for_the_same_rows(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    axes = _grid(small_table, small_table.sample(frac=1, random_state=0), small_schema).axes[1]

    real, synthetic = (line.get_ydata() for line in axes.lines)
    x = axes.lines[0].get_xdata()
    assert real == pytest.approx(synthetic, rel=1e-9)
    assert 0.8 < np.trapezoid(real, x) <= 1.0  # the rest is smoothed out of the axis
    assert axes.get_xlim() == (x[0], x[-1])
    assert x[0] < small_table["Size"].min() < small_table["Size"].max() < x[-1]
    assert "mm" in axes.get_xlabel()


def test_both_densities_have_the_bandwidth_of_the_real_rows(
    small_schema: TableSchema, small_table: pd.DataFrame, other_table: pd.DataFrame
) -> None:
    narrow = other_table.assign(Size=5 + other_table["Size"] / 10)

    axes = _grid(small_table, narrow, small_schema).axes[1]

    bandwidth = small_table["Size"].std() * 60**-0.2
    for line, rows in zip(axes.lines, (small_table, narrow), strict=True):
        x, y = line.get_data()
        bumps = norm.pdf(np.asarray(x)[:, None], rows["Size"].to_numpy(), bandwidth)
        assert y == pytest.approx(bumps.mean(axis=1), rel=1e-6)


def test_the_axis_is_that_of_the_real_rows_and_values_outside_are_counted(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    synthetic = small_table.copy()
    synthetic.loc[[0, 1, 2], "Size"] = [1e6, -1e6, small_table["Size"].max()]

    beyond, within = (_grid(small_table, rows, small_schema) for rows in (synthetic, small_table))

    assert beyond.axes[1].get_xlim() == within.axes[1].get_xlim()
    assert "2 of 60 synthetic" in _texts(beyond)
    assert "outside" not in _texts(within)


# Equal copies of 0.1 have a mean that is not quite it, and so a standard deviation that is not quite 0.
@pytest.mark.parametrize("value", [3.0, 0.1])
@pytest.mark.parametrize("side", ["real", "synthetic", "both"])
def test_a_constant_column_is_drawn(
    small_schema: TableSchema, small_table: pd.DataFrame, other_table: pd.DataFrame, side: str, value: float
) -> None:
    constant = {"real": [True, False], "synthetic": [False, True], "both": [True, True]}[side]
    real, synthetic = (
        rows.assign(Size=value) if is_constant else rows
        for rows, is_constant in zip((small_table, other_table), constant, strict=True)
    )

    figure = _grid(real, synthetic, small_schema)

    _assert_png(as_png(figure, dpi=DPI), figure)
    marked = [line for line in figure.axes[1].lines if list(line.get_xdata()) == [value, value]]
    colours = [colour for colour, is_constant in zip((BLUE, ORANGE), constant, strict=True) if is_constant]
    assert [line.get_color() for line in marked] == colours  # a line stands where all the values are


def test_one_synthetic_row_is_drawn(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    figure = _grid(small_table, small_table.tail(1), small_schema)

    _assert_png(as_png(figure, dpi=DPI), figure)


@pytest.fixture
def awkward() -> TableSchema:
    """Names, labels and units that mean something to somebody: formulas, HTML, an end of a line."""
    return TableSchema(
        (
            Column(r"cost in $\frac{", "category", categories=("<b>$x$</b>", r"$\broken{$", "_hidden")),
            Column("a$b$ & 100 %", "number", unit="$/kg^2"),
            Column("<script>", "integer", unit="{x}"),
            Column("_under_score_", "number"),
        ),
        target="<script>",
        target_renamed="y",
    )


def test_names_and_labels_are_drawn_as_they_are(awkward: TableSchema) -> None:
    rng = np.random.default_rng(5)
    labels = awkward.columns[0].categories
    rows = pd.DataFrame({name: rng.normal(size=30) for name in awkward.names})
    rows[awkward.names[0]] = [labels[i % 3] for i in range(30)]
    title = r"$\sum$ of <b>"
    fidelity = fidelity_table(rows, rows, rows, awkward)

    for figure in (
        density_grid(rows, rows, awkward, fidelity, title=title, source="$HOME/$x$.csv"),
        correlation_matrices(rows, rows, awkward, title=title, source="$HOME/$x$.csv"),
        regression_points(_scores(), _gains(), unit=r"$\legs{$", title=title, source="$HOME/$x$.csv"),
    ):
        _assert_png(as_png(figure, dpi=DPI), figure)
        texts = _texts(figure)
        assert title in texts
        assert "real rows: $HOME/$x$.csv" in texts
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())

    figure = density_grid(rows, rows, awkward, fidelity, title=title, source="s")
    assert len(figure.axes) == 4
    assert [title.rsplit(":", 1)[0] for title in _titles(figure)] == awkward.names
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(labels)


# Correlations


def test_the_matrices_are_real_synthetic_and_their_difference(
    small_schema: TableSchema, small_table: pd.DataFrame, other_table: pd.DataFrame
) -> None:
    figure = correlation_matrices(small_table, other_table, small_schema, **WORDS)

    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.images}
    assert list(panels) == ["real", "synthetic", "synthetic - real"]
    real, synthetic = correlations(small_table, small_schema), correlations(other_table, small_schema)
    for matrix, axes in zip((real, synthetic, synthetic - real), panels.values(), strict=True):
        (image,) = axes.images
        assert np.asarray(image.get_array()) == pytest.approx(matrix.to_numpy())
        assert [label.get_text() for label in axes.get_xticklabels()] == ["Size", "Legs"]
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in matrix.to_numpy().ravel()]
        low, high = image.get_clim()
        assert low == -high  # so that no correlation has the middle colour
        assert high >= np.abs(matrix.to_numpy()).max()


def test_a_constant_column_has_its_place_in_the_matrices(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    figure = correlation_matrices(small_table, small_table.assign(Size=0.1), small_schema, **WORDS)

    _assert_png(as_png(figure, dpi=DPI), figure)
    synthetic = next(axes for axes in figure.axes if axes.get_title(loc="left") == "synthetic")
    assert synthetic.texts[1].get_text() == "0.00"


# Regressions and losses


def test_points_and_intervals_stand_where_the_scores_are() -> None:
    figure = _points()

    assert len(figure.axes) == 4
    for axes in figure.axes[:3]:
        places = [line.get_xdata().tolist() for line in axes.lines]
        assert places == [pytest.approx([j, j + 0.1]) for j in range(3)]  # an arm each; linear, then forest
        segments = [segment[:, 0] for lines in axes.collections for segment in lines.get_segments()]
        values = np.array([[j + 0.1 * i for i in range(2)] for j in range(3)]).ravel()
        assert np.array(segments) == pytest.approx(np.stack([values - 0.2, values + 0.3], axis=1))
        low, high = axes.get_ylim()
        assert low > high  # the first regressor is on top
    assert figure.axes[3].lines[0].get_xdata().tolist() == [-0.2, 0.1]  # linear, then forest, as in the scores
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["linear", "forest"]


def test_a_metric_says_in_which_direction_it_is_better_and_in_what_unit() -> None:
    labels = [axes.get_xlabel() for axes in _points().axes]

    assert "R2" in labels[0]
    assert "more is better" in labels[0]
    for name, label in zip(("RMSE", "MAE"), labels[1:3], strict=True):
        assert name in label
        assert "legs" in label
        assert "less is better" in label
    assert "augmented - real" in labels[3]


def test_scores_that_are_not_there_leave_a_gap() -> None:
    scores, gains = _scores(), _gains()
    scores.loc[scores["metric"] == "r2", ["value", "ci_low", "ci_high"]] = np.nan  # of a constant target
    gains[["value", "ci_low", "ci_high"]] = np.nan

    figure = regression_points(scores, gains, unit="legs", **WORDS)

    _assert_png(as_png(figure, dpi=DPI), figure)


def test_the_loss_is_drawn_over_the_epochs() -> None:
    (axes,) = loss_curve(LOSSES, **WORDS).axes

    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[1.0, 3.0], [2.0, 1.5]]
    assert axes.get_xlabel() == "epoch"
    assert "nats" in axes.get_ylabel()
