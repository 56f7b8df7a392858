"""Tests of the figures: that they render, and that they show and state the numbers that they are given."""

import io
import warnings
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.image import imread
from matplotlib.text import Text
from scipy.stats import norm

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.figures import (
    BLUE,
    ORANGE,
    as_png,
    correlation_matrices,
    density_grid,
    distance_histograms,
    loss_curve,
    metric_dots,
    metric_history,
    pair_grid,
    regression_points,
    style,
)
from synth_assets.evaluation.figures.rows import (
    EMPTY,
    MOST_CORRELATED,
    MOST_PANELS,
    MOST_ROWS,
    _band,
    _kernel_densities,
)
from synth_assets.evaluation.figures.scores import MOST_LINES
from synth_assets.evaluation.metrics import METRICS, RESULT_COLUMNS, Metric
from synth_assets.evaluation.metrics.trend import correlations
from synth_assets.evaluation.metrics.utility import AUGMENTED, REAL, SYNTHETIC
from synth_assets.schema.columns import Boolean, Categorical, Date, Datetime, Float, Id, Integer
from synth_assets.schema.table import TableSchema

DPI = 40
WORDS = {"title": "synthetic creatures", "source": "file creatures.csv"}


@pytest.fixture
def other_table(small_table: pd.DataFrame) -> pd.DataFrame:
    """Other rows like those of `small_table`."""
    sizes = (small_table["Size"] * 0.9 + 0.3).round(2)
    return small_table.sample(50, random_state=1).assign(Size=sizes, Legs=small_table["Legs"].clip(2, 7))


NOTHING_MEASURED = pd.DataFrame({"metric": [], "column_name": [], "value": [], "reference": []})


def _grid(real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema) -> Figure:
    return density_grid(synthetic, real, real, schema, NOTHING_MEASURED, **WORDS)


def _scores() -> pd.DataFrame:
    rows = [
        (regressor, arm, metric, 0.1 * i + j, 0.1 * i + j - 0.2, 0.1 * i + j + 0.3)
        for i, regressor in enumerate(["linear", "forest"])
        for j, arm in enumerate([REAL, SYNTHETIC, AUGMENTED])
        for metric in ("r2", "rmse", "mae")
    ]
    return pd.DataFrame(rows, columns=["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"])


def _differences() -> pd.DataFrame:
    rows = [
        ("forest", SYNTHETIC, "r2", 0.1, 0.05, 0.2),
        ("linear", SYNTHETIC, "r2", -0.2, -0.3, -0.1),
        ("forest", AUGMENTED, "r2", 0.3, 0.2, 0.4),
        ("linear", AUGMENTED, "r2", 0.0, -0.1, 0.1),
    ]
    return pd.DataFrame(rows, columns=["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"])


def _results(*rows: tuple[str, str | None, float, float]) -> pd.DataFrame:
    """Return results (metric, column, value, reference), each 0.01 from either end of its interval."""
    wide = [(m, c, v, v - 0.01, v + 0.01, f, f - 0.01, f + 0.01) for m, c, v, f in rows]
    return pd.DataFrame(wide, columns=list(RESULT_COLUMNS)).astype({"column_name": "str"})


@pytest.fixture(autouse=True)
def _made_up_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, goal, best, worst in (("similarity", "maximize", 1.0, 0.0), ("attack", "minimize", 0.5, 1.0)):
        monkeypatch.setitem(
            METRICS, name, Metric(name, f"The {name}", goal, best, worst, (), "Meant.", "A paper", list)
        )  # type: ignore[arg-type]


RESULTS = [("similarity", "Size", 0.8, 0.9), ("similarity", "Legs", 0.6, 0.9), ("attack", None, 0.7, 0.5)]
PAIRS = pd.DataFrame({"column_name": ["Size", "Size, Legs", "Colour, Legs"], "value": [0.9, 0.8, 0.7]})
DISTANCES = (np.array([0.0, 0.1, 0.2]), np.array([0.1, 0.1, 0.3]), np.array([0.2, 0.4]))


def _history() -> pd.DataFrame:
    dates = ["2026-11-03", "2026-11-01"]
    return pd.concat(
        [_results(*((m, c, v - 0.1 * i, f) for m, c, v, f in RESULTS)).assign(resample_date=date, limit=0.4)
         for i, date in enumerate(dates)]
    )  # fmt: skip


LOSSES = [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 1.5, "learning_rate": 0.1}]


def _points() -> Figure:
    return regression_points(_scores(), _differences(), unit="legs", **WORDS)


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
    "pairs": lambda real, synthetic, schema: pair_grid(synthetic, real, schema, PAIRS, **WORDS),
    "distances": lambda *_: distance_histograms(*DISTANCES, **WORDS),
    "dots": lambda *_: metric_dots(_results(*RESULTS), **WORDS),
    "history": lambda *_: metric_history(_history(), **WORDS),
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


def test_the_grid_has_a_panel_a_column_that_states_value_and_reference(
    small_table: pd.DataFrame, other_table: pd.DataFrame, small_schema: TableSchema
) -> None:
    fidelity = pd.DataFrame(
        {
            "metric": ["ks_complement", "ks_complement", "tv_complement", "column_shapes", "wasserstein_distance"],
            "column_name": pd.Series(["Legs", "Size", "Colour", None, "Size"], dtype="str"),
            "value": [0.1234, 0.2, 0.3, 0.4, 0.5],
            "reference": [0.9876, 0.8, 0.7, 0.6, 0.5],
        }
    )

    figure = density_grid(other_table, small_table, small_table, small_schema, fidelity, **WORDS)
    titles = _titles(figure)

    numbers = {"Colour": ("0.300", "0.700"), "Size": ("0.200", "0.800"), "Legs": ("0.123", "0.988")}
    assert len(titles) == len(numbers)
    for title, (column, (value, reference)) in zip(titles, numbers.items(), strict=True):
        assert title == f"{column}: {value}, real {reference}"
    assert "Beside each name: similarity to holdout rows" in _texts(figure)


def test_bars_are_shares_in_the_order_of_the_schema(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    real = small_table.assign(Colour=["blue"] * 15 + ["red"] * 45)
    synthetic = small_table.assign(Colour=["red"] * 60)

    axes = _grid(real, synthetic, small_schema).axes[0]

    band, bars = axes.patches[:2], axes.patches[2:]
    assert [bar.get_height() for bar in bars] == [0.25, 0.75, 0.0, 1.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == [BLUE, BLUE, ORANGE, ORANGE]
    for bar, real_share in zip(band, (0.25, 0.75), strict=True):
        assert bar.get_y() < real_share < bar.get_y() + bar.get_height()
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


def test_the_axis_covers_the_real_rows_and_values_outside_are_counted(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    synthetic = small_table.copy()
    synthetic.loc[[0, 1, 2], "Size"] = [1e6, -1e6, small_table["Size"].max()]

    beyond, within = (_grid(small_table, rows, small_schema) for rows in (synthetic, small_table))

    assert beyond.axes[1].get_xlim() == within.axes[1].get_xlim()
    assert beyond.axes[1].get_xlabel() == "mm; not drawn: 2 synthetic"
    assert within.axes[1].get_xlabel() == "mm"


def test_a_real_value_far_from_all_others_does_not_stretch_the_axis(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    many = pd.concat([small_table] * 10, ignore_index=True)
    far = many.assign(Size=many["Size"].where(many.index > 0, 1e6))

    axes = _grid(far, many, small_schema).axes[1]

    assert axes.get_xlim()[1] < 15
    assert axes.get_xlabel() == "mm; not drawn: 1 real"


def test_cells_that_are_empty_have_their_share_and_unknown_labels_their_bar(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    synthetic = small_table.copy()
    synthetic.loc[:3, "Size"] = [np.nan, np.inf, -np.inf, np.nan]
    synthetic.loc[:2, "Colour"] = ["green", None, "blue"]

    figure = _grid(small_table, synthetic, small_schema)

    _assert_png(as_png(figure, dpi=DPI), figure)
    colours, sizes = figure.axes[:2]
    assert [label.get_text() for label in colours.get_xticklabels()] == ["blue", "red", "green", EMPTY]
    assert [bar.get_height() for bar in colours.patches[-2:]] == pytest.approx([1 / 60, 1 / 60])  # green, and empty
    assert colours.get_title(loc="left") == "Colour\nempty: 0.0% real, 1.7% synthetic"
    assert sizes.get_title(loc="left") == "Size\nempty: 0.0% real, 3.3% synthetic"
    assert sizes.get_xlabel() == "mm; 2 synthetic infinite"
    x, y = sizes.lines[1].get_data()
    assert 0.8 < np.trapezoid(y, x) <= 1.0


def test_a_table_of_dates_booleans_and_columns_without_values_is_drawn() -> None:
    schema = TableSchema(
        columns=(
            Date(name="opened", nullable=True),
            Datetime(name="seen", timezone="Europe/Berlin"),
            Boolean(name="member"),
            Float(name="nothing", nullable=True),
            Id(name="key"),
            Date(name="until"),
        )
    )
    rows = pd.DataFrame(
        {
            "opened": pd.date_range("2019-03-01", periods=200, freq="6D").astype("str"),
            "seen": pd.date_range("2024-03-01 08:00", periods=200, freq="37min", tz="UTC"),
            "member": ["yes", "no"] * 100,
            "nothing": np.nan,
            "key": range(200),
            "until": ["9999-12-31" if i % 2 else f"2024-0{i % 9 + 1}-11" for i in range(200)],
        }
    )
    rows.loc[:49, "opened"] = None
    comparable = schema.comparable(schema.coerce(rows, origin="rows"))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = _grid(comparable, comparable, schema)
        as_png(figure, dpi=DPI)

    assert _titles(figure) == [
        "opened\nempty: 25.0% real, 25.0% synthetic",
        "seen",
        "member",
        "nothing\nempty: 100.0% real, 100.0% synthetic",
        "until",
        "",  # the axis of the share of a single value
    ]
    opened, seen, member, nothing, until = figure.axes[:5]
    assert "at 9999-12-31: 50.0% real, 50.0% synthetic" in until.get_xlabel()
    assert "2021" in [label.get_text() for label in opened.get_xticklabels()]
    assert seen.get_xlabel() == "UTC"
    assert [label.get_text() for label in member.get_xticklabels()] == ["false", "true"]
    assert nothing.texts[0].get_text() == "every cell is empty"


def test_a_value_that_many_rows_have_is_a_stem_beside_a_heavy_tail_on_a_logarithmic_axis() -> None:
    rng = np.random.default_rng(0)
    schema = TableSchema(columns=(Float(name="gain"),))
    real, synthetic = (
        pd.DataFrame({"gain": np.where(rng.random(1000) < share, 0.0, rng.lognormal(8, 2, 1000))})
        for share in (0.9, 0.5)
    )

    axes, stems = _grid(real, synthetic, schema).axes

    shares = [(frame["gain"] == 0).mean() for frame in (real, synthetic)]
    assert [line.get_ydata()[0] for line in stems.lines] == pytest.approx(shares)
    assert f"at 0: {shares[0]:.1%} real, {shares[1]:.1%} synthetic" in axes.get_xlabel().replace("\n", " ")
    assert axes.get_xlabel().startswith("logarithmic axis")
    assert axes.get_xscale() == "asinh"
    drawn, area = axes.lines[0], []
    for line, share in zip(axes.lines, shares, strict=True):
        x = np.arcsinh(np.asarray(line.get_xdata()) / axes.xaxis.get_transform().linear_width)
        area.append(np.trapezoid(line.get_ydata(), x) / (1 - share))
    assert area == pytest.approx([1.0, 1.0], abs=0.1)  # the density is of the rest of the rows
    assert max(drawn.get_ydata()) < 0.1


def test_numbers_of_few_values_are_bars() -> None:
    rows = pd.DataFrame({"rooms": [1.0, 1.0, 2.0, 5.0] * 10})

    axes = _grid(rows, rows, TableSchema(columns=(Integer(name="rooms"),))).axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "5"]
    assert [bar.get_height() for bar in axes.patches[3:6]] == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.3, 0.1 + 0.2, 0.5], ["0.3", "0.5"]),
        ([12345678901.0, 12345678901.0, 12345678902.0], ["12345678901", "12345678902"]),
    ],
)
def test_values_that_differ_by_a_rounding_error_are_one_bar(values: list[float], labels: list[str]) -> None:
    rows = pd.DataFrame({"size": values * 10})

    axes = _grid(rows, rows, TableSchema(columns=(Float(name="size"),))).axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == labels
    assert [bar.get_height() for bar in axes.patches[2:4]] == pytest.approx([2 / 3, 1 / 3])


def test_of_many_columns_the_least_similar_are_drawn_and_the_others_counted() -> None:
    schema = TableSchema(columns=tuple(Float(name=f"c{i}") for i in range(120)))
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 120)), columns=schema.names)
    fidelity = _results(*(("ks_complement", f"c{i}", 0.9 - i / 1000, 0.9) for i in range(120)))

    figure = density_grid(rows, rows, rows, schema, fidelity, **WORDS)

    assert [title.split(":")[0] for title in _titles(figure)] == [f"c{119 - i}" for i in range(MOST_PANELS)]
    assert f"The {MOST_PANELS} of 120 columns that are least similar" in _texts(figure)


def test_a_column_without_a_value_has_no_synthetic_line(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    figure = _grid(small_table, small_table.assign(Size=np.nan, Colour=None), small_schema)

    _assert_png(as_png(figure, dpi=DPI), figure)
    assert [line.get_color() for line in figure.axes[1].lines] == [BLUE]


def test_of_a_long_sample_as_many_rows_as_train_rows_are_drawn(
    small_schema: TableSchema, small_table: pd.DataFrame
) -> None:
    long = pd.concat([small_table, *[small_table.assign(Size=9.0)] * 3], ignore_index=True)

    figure = _grid(small_table, long, small_schema)

    assert "first 60 of 240 synthetic rows" in _texts(figure)
    real, synthetic = (line.get_ydata() for line in figure.axes[1].lines)
    assert real == pytest.approx(synthetic)


def test_of_many_labels_those_of_most_rows_are_drawn(small_table: pd.DataFrame) -> None:
    labels = tuple(f"label number {i:02d}" for i in range(20))
    schema = TableSchema(columns=(Categorical(name="Kind", categories=labels), Integer(name="Legs")), target="Legs")
    rows = pd.DataFrame({"Kind": [label for i, label in enumerate(labels) for _ in range(i + 1)]}).assign(Legs=1)

    axes = _grid(rows, rows, schema).axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == [*labels[8:], "others (8)"]
    assert axes.patches[-1].get_height() == pytest.approx(36 / 210)


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 0.9, 0.99), (0.4, 0.2, 0.6)])
def test_the_band_holds_95_in_100_of_other_rows_of_the_same_source_and_few_of_another(
    shift: float, least: float, most: float
) -> None:
    rng = np.random.default_rng(0)
    schema = TableSchema(columns=(Float(name="Size", unit="mm"),), target="Size")
    within = []
    for _ in range(20):
        train, held_out, others = (pd.DataFrame({"Size": rng.normal(size=n)}) for n in (500, 200, 500))
        axes = density_grid(others + shift, train, held_out, schema, NOTHING_MEASURED, **WORDS).axes[0]
        (band,) = (path.vertices for path in axes.collections[0].get_paths())
        x, y = axes.lines[1].get_data()
        low, high = (np.array([ends(band[np.isclose(band[:, 0], place), 1]) for place in x]) for ends in (min, max))
        within.append(float(np.mean((low <= y) & (y <= high))))

    assert least < np.mean(within) < most


def test_a_band_is_the_reference_at_each_place() -> None:
    band = _band(np.array([5.0, 1.0]), [(np.array([1.0, 2.0]), np.array([0.0, 2.0]))] * 3)

    assert band == pytest.approx(np.array([[6.0, 1.0], [6.0, 1.0]]))  # no split differs from another: no width


def test_equal_values_share_a_kernel_and_change_no_density() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=50).round(1), rng.normal(size=30).round(1), np.array([])]
    grid = np.linspace(-3, 3, 7)

    found = _kernel_densities(sets, grid, 0.3)

    for values, density in zip(sets[:2], found, strict=False):
        assert density == pytest.approx(norm.pdf(grid[:, None], values, 0.3).mean(axis=1))
    assert found[2].tolist() == [0.0] * 7


def test_five_held_out_rows_and_a_column_of_unique_values_are_drawn(
    small_schema: TableSchema, small_table: pd.DataFrame, other_table: pd.DataFrame
) -> None:
    rows = small_table.assign(Legs=range(60))

    figure = density_grid(other_table, rows, rows.head(5), small_schema, NOTHING_MEASURED, **WORDS)

    _assert_png(as_png(figure, dpi=DPI), figure)


def test_of_a_long_table_the_first_rows_are_drawn(small_schema: TableSchema) -> None:
    long = pd.DataFrame({"Colour": "red", "Size": np.linspace(1, 9, 200_000), "Legs": 4})

    figure = _grid(long, long, small_schema)

    assert f"first {MOST_ROWS:,} of 200,000 synthetic rows" in _texts(figure)


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
        columns=(
            Categorical(name=r"cost in $\frac{", categories=("<b>$x$</b>", r"$\broken{$", "_hidden")),
            Float(name="a$b$ & 100 %", unit="$/kg^2"),
            Integer(name="<script>", unit="{x}"),
            Float(name="_under_score_"),
        ),
        target="<script>",
    )


def test_names_and_labels_are_drawn_as_they_are(awkward: TableSchema) -> None:
    rng = np.random.default_rng(5)
    labels = awkward.columns[0].categories
    rows = pd.DataFrame({name: rng.normal(size=30) for name in awkward.names})
    rows[awkward.names[0]] = [labels[i % 3] for i in range(30)]
    title = r"$\sum$ of <b>"
    words = {"title": title, "source": "$HOME/$x$.csv"}
    pairs = pd.DataFrame({"column_name": [f"{awkward.names[0]}, {awkward.names[1]}"], "value": [0.6]})
    results = _results(("similarity", awkward.names[0], 0.5, 0.6))

    for figure in (
        density_grid(rows, rows, rows, awkward, NOTHING_MEASURED, **words),
        correlation_matrices(rows, rows, awkward, **words),
        pair_grid(rows, rows, awkward, pairs, **words),
        metric_dots(results, **words),
        regression_points(_scores(), _differences(), unit=r"$\legs{$", **words),
    ):
        _assert_png(as_png(figure, dpi=DPI), figure)
        texts = _texts(figure)
        assert title in texts
        assert "real rows: $HOME/$x$.csv" in texts
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())

    figure = _grid(rows, rows, awkward)
    assert _titles(figure) == awkward.names
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


def test_many_columns_have_no_numbers_written_over_each_other() -> None:
    schema = TableSchema(columns=tuple(Float(name=f"c{i}") for i in range(20)), target="c0")
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 20)), columns=schema.names)

    figure = correlation_matrices(rows, rows, schema, **WORDS)

    assert not any(axes.texts for axes in figure.axes)


def test_of_many_columns_the_matrices_have_the_pairs_that_differ_most() -> None:
    rng = np.random.default_rng(0)
    schema = TableSchema(columns=tuple(Float(name=f"c{i}") for i in range(60)))
    real, synthetic = (pd.DataFrame(rng.normal(size=(200, 60)), columns=schema.names) for _ in range(2))
    synthetic["c7"] = synthetic["c41"]

    figure = correlation_matrices(real, synthetic, schema, **WORDS)

    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"c7", "c41"} <= set(names)
    assert 2 < len(names) <= MOST_CORRELATED
    assert f"{len(names)} of 60 numeric columns" in _texts(figure)


# Text


def test_characters_without_a_font_are_code_points_and_the_figure_says_so() -> None:
    """The last two characters are unassigned: no font has them."""
    name = "two\nlines \U0003fffc\U0003fffd"
    schema = TableSchema(columns=(Integer(name=name), Integer(name="x" * 130)))
    rows = pd.DataFrame({each: [1, 2, 3] * 5 for each in schema.names}).astype("float64")

    figure = _grid(rows, rows, schema)

    assert _titles(figure) == ["two↵lines [3FFFC 3FFFD]", f"{'x' * 27}…"]
    assert "No installed font has 2 of the characters" in " ".join(_texts(figure).split())


def test_a_font_that_has_a_character_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    path = findfont("STIXGeneral")
    character = chr(min(style._characters(path) - style._characters(style._default_path())))
    monkeypatch.setattr(style, "_fallback_fonts", lambda: (("STIXGeneral", path),))
    style._family_with.cache_clear()
    schema = TableSchema(columns=(Integer(name=character),))

    figure = _grid(pd.DataFrame({character: [1.0, 2.0]}), pd.DataFrame({character: [1.0, 2.0]}), schema)
    style._family_with.cache_clear()

    (title,) = (text for text in figure.findobj(Text) if text.get_text() == character)
    assert title.get_fontfamily() == [style.FONT, "STIXGeneral"]


# Pairs


def test_a_pair_is_drawn_from_as_many_real_as_synthetic_rows_on_the_same_axes(
    small_schema: TableSchema, small_table: pd.DataFrame, other_table: pd.DataFrame
) -> None:
    figure = pair_grid(other_table, small_table, small_schema, PAIRS, **WORDS)

    assert len(figure.axes) == 4  # the row of a single column is left out
    for real, synthetic, value in ((*figure.axes[:2], "0.800"), (*figure.axes[2:], "0.700")):
        assert value in real.get_title(loc="left")
        assert (real.get_xlim(), real.get_ylim()) == (synthetic.get_xlim(), synthetic.get_ylim())
    sizes = figure.axes[0].collections[0].get_offsets()[:, 0]
    assert sizes.tolist() == small_table["Size"].head(50).tolist()
    jittered = figure.axes[0].collections[0].get_offsets()[:, 1] - small_table["Legs"].head(50)
    assert 0 < np.abs(jittered).max() < 0.31
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["blue", "red"]
    assert "mm" in figure.axes[0].get_xlabel()


def test_rows_beyond_the_axes_of_a_pair_are_counted(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    synthetic = small_table.copy()
    synthetic.loc[:2, "Size"] = [1e6, np.nan, 5.0]

    figure = pair_grid(synthetic, small_table, small_schema, PAIRS, most=1, **WORDS)

    assert [axes.get_xlabel() for axes in figure.axes] == [
        "Size, mm",
        "Size, mm; 1 not drawn; 1 with an empty cell",
    ]


def test_no_pair_to_draw_is_refused(small_schema: TableSchema, small_table: pd.DataFrame) -> None:
    with pytest.raises(ForeseenError, match="rows of pairs names a pair of columns, such as 'Colour, Size'"):
        pair_grid(small_table, small_table, small_schema, PAIRS.head(1), **WORDS)


# Distances


def test_the_legend_of_the_distances_states_medians_and_copies() -> None:
    texts = _texts(distance_histograms(*DISTANCES, **WORDS))

    assert "synthetic to train: median 0.100, 33.3% at 0" in texts
    assert "synthetic to holdout: median 0.100, 0.0% at 0" in texts
    assert "holdout to train: median 0.300, 0.0% at 0" in texts


def test_copies_alone_have_a_histogram() -> None:
    zeros = np.zeros(4)

    (axes,) = distance_histograms(zeros, zeros, zeros, **WORDS).axes

    assert [stairs.get_data().values[0] for stairs in axes.patches] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [np.array([]), np.array([0.1, np.nan])])
def test_distances_that_are_none_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ForeseenError, match=r"found \d distances, \d of them not finite, of synthetic to holdout rows"):
        distance_histograms(DISTANCES[0], wrong, DISTANCES[2], **WORDS)


# Metric results


def test_the_dots_stand_where_the_numbers_are_the_worst_first() -> None:
    figure = metric_dots(_results(*RESULTS).assign(limit=[0.7, 0.75, 0.55]), **WORDS)

    assert _titles(figure) == ["whole table; lower is better, 0.5 is best", "The similarity; higher is better"]
    assert _titles(metric_dots(_results(("similarity", None, 0.8, 0.9)), **WORDS)) == [
        "whole table; higher is better, 1 is best"
    ]
    whole, columns = figure.axes
    assert [label.get_text() for label in whole.get_yticklabels()] == ["The attack"]
    assert [label.get_text() for label in columns.get_yticklabels()] == ["Legs", "Size"]
    references, values, limits = (line.get_xdata().tolist() for line in columns.lines)
    assert (references, values, limits) == ([0.9, 0.9], [0.6, 0.8], [0.75, 0.7])
    assert [(band.get_x(), band.get_width()) for band in columns.patches] == [pytest.approx((0.89, 0.02))] * 2
    (intervals,) = columns.collections
    assert np.array(intervals.get_segments())[:, :, 0] == pytest.approx(np.array([[0.59, 0.61], [0.79, 0.81]]))
    low, high = columns.get_ylim()
    assert low > high


def test_a_number_that_is_not_defined_is_the_worst_and_no_reference_is_the_best_value() -> None:
    figure = metric_dots(
        _results(("similarity", "a", 0.1, np.nan), ("similarity", "b", np.nan, 0.9), ("similarity", "c", 0.1, 0.5)),
        **WORDS,
    )

    _assert_png(as_png(figure, dpi=DPI), figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a", "c"]


def test_of_many_numbers_the_worst_are_drawn() -> None:
    results = _results(*(("similarity", f"c{i}", 1 - i / 100, 1.0) for i in range(60)))

    (axes,) = metric_dots(results, **WORDS).axes

    assert axes.get_title(loc="left") == f"The similarity; higher is better; the worst {MOST_LINES} of 60"
    assert axes.get_yticklabels()[0].get_text() == "c59"


def test_the_history_is_in_the_order_of_the_dates_of_the_worst_column() -> None:
    figure = metric_history(_history(), **WORDS)

    assert _titles(figure) == ["The similarity\nLegs", "The attack"]
    reference, values, limit = figure.axes[0].lines
    assert values.get_ydata().tolist() == pytest.approx([0.5, 0.6])
    assert reference.get_ydata().tolist() == [0.9, 0.9]
    assert limit.get_ydata().tolist() == [0.4, 0.4]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2026-11-01", "2026-11-03"]


def test_the_history_follows_one_column_though_others_are_worse_on_some_dates() -> None:
    days = {"2026-11-01": (0.5, 0.8), "2026-11-02": (0.8, 0.7)}
    history = pd.concat(
        [_results(("similarity", "a", a, 0.9), ("similarity", "b", b, 0.9)).assign(resample_date=day)
         for day, (a, b) in days.items()]
    )  # fmt: skip

    (axes,) = metric_history(history, **WORDS).axes

    assert axes.get_title(loc="left") == "The similarity\na"
    assert axes.lines[1].get_ydata().tolist() == [0.5, 0.8]


@pytest.mark.parametrize("draw", [metric_dots, metric_history])
def test_a_metric_that_is_as_in_real_rows_is_named_and_not_drawn(draw: Callable[..., Figure]) -> None:
    same = [("similarity", "Size", 0.9, 0.9), ("similarity", "Legs", 0.8, 0.8), ("attack", None, 0.7, 0.5)]
    results = _results(*same).assign(resample_date="2026-11-01")

    figure = draw(results, **WORDS)

    assert len(figure.axes) == 1
    assert "Equal to real rows, not drawn: The similarity" in " ".join(_texts(figure).split())
    only_same = draw(results.head(2), **WORDS)
    assert len(only_same.axes) == 1  # rather than none


@pytest.mark.parametrize("draw", [metric_dots, metric_history])
def test_no_results_are_refused(draw: Callable[..., Figure]) -> None:
    with pytest.raises(ForeseenError, match="found no number to draw"):
        draw(_results(), **WORDS)


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
    of_arms = [line.get_xdata().tolist() for line in figure.axes[3].lines[:-1]]
    assert of_arms[1:] == [[-0.2, 0.1], [0.0, 0.3]]  # linear, then forest, as in the scores; real rows have none
    assert figure.axes[3].lines[-1].get_xdata() == [0.0, 0.0]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["linear", "forest"]


def test_a_metric_says_in_which_direction_it_is_better_and_in_what_unit() -> None:
    labels = [axes.get_xlabel() for axes in _points().axes]

    assert "R2" in labels[0]
    assert "higher is better" in labels[0]
    for name, label in zip(("RMSE", "MAE"), labels[1:3], strict=True):
        assert name in label
        assert "legs" in label
        assert "lower is better" in label
    assert labels[3] == "change of R2 against real rows"


def test_scores_that_are_not_there_leave_a_gap() -> None:
    scores, differences = _scores(), _differences()
    scores.loc[scores["metric"] == "r2", ["value", "ci_low", "ci_high"]] = np.nan  # of a constant target
    differences[["value", "ci_low", "ci_high"]] = np.nan

    figure = regression_points(scores, differences, unit="legs", **WORDS)

    _assert_png(as_png(figure, dpi=DPI), figure)


def test_the_loss_is_drawn_over_the_epochs() -> None:
    (axes,) = loss_curve(LOSSES, **WORDS).axes

    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[1.0, 3.0], [2.0, 1.5]]
    assert axes.get_xlabel() == "epoch"
    assert "nats" in axes.get_ylabel()
