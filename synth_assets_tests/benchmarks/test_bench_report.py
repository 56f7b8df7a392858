"""The report of the benchmark: what stands in the table, what is drawn where, and which results are refused."""

import io
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from pandas.testing import assert_frame_equal

from benchmarks.bench_report import COLUMNS, DRAWN, MEASURES, figure, markdown, write_report
from synth_assets.errors import ForeseenError
from synth_assets.evaluation.figures import BLUE, GREEN, GREY, ORANGE

REFERENCE = "real rows"


def _results(*rows: tuple[str, int, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def found() -> pd.DataFrame:
    return _results(
        ("peer", 0, "TSTR R2 (forest)", 0.25),
        ("peer", 1, "TSTR R2 (forest)", -0.5),
        ("peer", 0, "fit CPU s", 0.01234),
        ("peer", 1, "fit CPU s", 0.01234),
        (REFERENCE, 0, "TSTR R2 (forest)", 0.5),
        (REFERENCE, 0, "partial copies", 0.0833),
        ("language_model", 0, "partial copies", 0.1),
        ("language_model", 1, "partial copies", 0.2),
        ("language_model", 2, "partial copies", 0.15),
        ("language_model", 0, "fit CPU s", 12345.6),
        ("language_model", 2, "fit CPU s", 100.0),
    )


def _cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


# The table


def test_the_table_states_means_and_ranges_the_floor_first(found: pd.DataFrame) -> None:
    header, rule, *rows = _cells(markdown(found, reference=REFERENCE))

    assert header == [
        "method",
        "seeds",
        "fit CPU s, less is better",
        "TSTR R2 (forest), more is better",
        "partial copies, % of rows, no more than real ones",
    ]
    assert len(rule) == 5
    assert rows == [
        [REFERENCE, "1", "-", "0.500", "8.3"],
        ["peer", "2", "0.0123 (0.0123 to 0.0123)", "-0.125 (-0.500 to 0.250)", "-"],
        ["language_model", "3", "6,223 (100 to 12,346; 2 of 3 seeds)", "-", "15.0 (10.0 to 20.0)"],
    ]


def test_one_seed_of_several_says_so() -> None:
    found = _results((REFERENCE, 0, "exact copies", 0.0), (REFERENCE, 1, "membership AUC", 0.5))

    assert _cells(markdown(found, reference=REFERENCE))[2] == [
        REFERENCE,
        "2",
        "0.500 (1 of 2 seeds)",
        "0.00 (1 of 2 seeds)",
    ]


def test_a_method_that_did_not_finish_is_a_row_that_says_why(found: pd.DataFrame) -> None:
    measures = ["partial copies", "fit CPU s"]
    table = markdown(
        found, reference=REFERENCE, measures=measures, unfinished={"slow": "too slow", "peer": "seed 2: no"}
    )
    assert _cells(table)[0][2:] == ["partial copies, % of rows, no more than real ones", "fit CPU s, less is better"]
    assert [row[:3] for row in _cells(table)[3:]] == [
        ["peer (seed 2: no)", "2", "-"],
        ["language_model", "3", "15.0 (10.0 to 20.0)"],
        ["slow (too slow)", "0", "-"],
    ]


def test_a_bar_in_a_name_does_not_end_its_cell() -> None:
    assert "| a \\| b | 1 | 0.500 |" in markdown(_results(("a | b", 0, "membership AUC", 0.5)), reference="a | b")


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (0.001234, "0.00123"), (9.994, "9.99"), (67.94, "67.9"), (123.4, "123"), (1e6, "1,000,000")],
)
def test_times_and_speeds_keep_three_digits(value: float, written: str) -> None:
    assert MEASURES["fit CPU s"].format(value) == written


# The figure


def _panel(drawn: Figure, name: str) -> Axes:
    return next(axes for axes in drawn.axes if axes.get_title(loc="left") == name)


def _marks(axes: Axes, marker: str) -> dict[int, list[float]]:
    """Return what is drawn with a marker: the values by the place of their method."""
    return {
        int(line.get_ydata()[0]): [round(float(x), 9) for x in line.get_xdata()]
        for line in axes.lines
        if line.get_marker() == marker and len(line.get_xdata())
    }


def test_a_panel_shows_each_seed_the_mean_and_the_floor(found: pd.DataFrame) -> None:
    drawn = figure(found, source="a file", reference=REFERENCE)
    copies, scores = _panel(drawn, "partial copies"), _panel(drawn, "TSTR R2 (forest)")

    assert _marks(copies, "o") == {1: [10.0, 20.0, 15.0]}
    assert _marks(copies, "|") == {1: [15.0]}
    assert _marks(scores, "o") == {0: [0.25, -0.5]}
    assert _marks(scores, "|") == {0: [-0.125]}
    for axes, value in ((copies, 8.33), (scores, 0.5)):
        (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert list(line.get_xdata()) == pytest.approx([value, value])
        assert to_hex(line.get_color()).upper() == GREEN
    assert not [line for line in _panel(drawn, "fit CPU s").lines if line.get_linestyle() == "--"]


def test_panels_come_in_a_fixed_order_with_the_methods_beside_the_first(found: pd.DataFrame) -> None:
    drawn = figure(found, source="a file", reference=REFERENCE)

    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["TSTR R2 (forest)", "partial copies", "fit CPU s"]
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in drawn.axes] == [
        ["peer", "language_model"],
        ["", ""],
        ["", ""],
    ]
    assert drawn.axes[1].get_xlabel() == MEASURES["partial copies"].best


def test_times_are_drawn_by_orders_of_magnitude_unless_one_is_none(found: pd.DataFrame) -> None:
    none = pd.concat([found, _results(("peer", 2, "fit CPU s", 0.0))])

    assert _panel(figure(found, source="a file", reference=REFERENCE), "fit CPU s").get_xscale() == "log"
    assert _panel(figure(none, source="a file", reference=REFERENCE), "fit CPU s").get_xscale() == "linear"
    assert _panel(figure(found, source="a file", reference=REFERENCE), "partial copies").get_xscale() == "linear"


def test_the_language_model_and_its_baseline_stand_out() -> None:
    methods = [REFERENCE, "language_model", "be_great", "peer"]
    drawn = figure(_results(*((m, 0, "membership AUC", 0.5) for m in methods)), source="a file", reference=REFERENCE)

    colours = [to_hex(line.get_color()).upper() for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert colours == [ORANGE, BLUE, GREY]


def test_every_measure_that_is_drawn_can_be_shown() -> None:
    assert set(DRAWN) <= set(MEASURES)


# The files


def test_a_report_is_a_table_a_frame_and_a_figure(found: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "bench.md").write_text("an earlier report")

    write_report(found, tmp_path, source="creatures.csv", reference=REFERENCE)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.md", "bench.parquet", "bench.png"]
    text = (tmp_path / "bench.md").read_text()
    assert text.startswith(markdown(found, reference=REFERENCE) + "\n\n")
    assert "Real rows: creatures.csv." in text
    assert_frame_equal(pd.read_parquet(tmp_path / "bench.parquet"), found)
    assert imread(io.BytesIO((tmp_path / "bench.png").read_bytes())).std() > 0.05  # something is on it


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("peer", 2, "TSTR R2 (forest)", float("nan")), "of 'peer' with seed 2 is nan"),
        (("peer", 2, "fit CPU s", float("inf")), "with seed 2 is inf"),
    ],
    ids=["not a number", "infinite"],
)
def test_results_that_are_not_finite_are_refused_and_nothing_is_written(
    found: pd.DataFrame, tmp_path: Path, row: tuple[str, int, str, float], message: str
) -> None:
    with pytest.raises(ForeseenError, match=message):
        write_report(pd.concat([found, _results(row)]), tmp_path, source="a file", reference=REFERENCE)

    assert list(tmp_path.iterdir()) == []
