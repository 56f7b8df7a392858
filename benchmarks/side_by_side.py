"""The results of `make bench` as a Markdown table, a Parquet file and a figure."""

from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BETTER = {
    "fit CPU s": "lower",
    "rows per CPU s": "higher",
    "detection AUC (boosting)": "lower",
    "detection AUC (forest)": "lower",
    "TSTR R2 (boosting)": "higher",
    "TSTR R2 (forest)": "higher",
    "membership AUC": "lower",
    "partial copies": "lower",
    "exact copies": "lower",
    "impossible rows": "lower",
    "least KS similarity": "higher",
}
DRAWN = [name for name in BETTER if name not in ("fit CPU s", "rows per CPU s", "exact copies")]
SHARES = ("partial copies", "exact copies", "impossible rows")
COLOURS = {"great": "#D55E00", "be_great": "#0072B2"}


def write_report(found: pd.DataFrame, folder: Path, *, source: str, floor: str) -> None:
    """Write `bench.md`, `bench.parquet` and `bench.png`.

    Parameters
    ----------
    found : pandas.DataFrame
        One row a method, seed and measure: `method`, `seed`, `measure`, `value`.
    folder : pathlib.Path
        Where to.
    source : str
        Where the real rows came from.
    floor : str
        The method that is the floor: real rows.
    """
    found.to_parquet(folder / "bench.parquet", index=False)
    (folder / "bench.md").write_text(
        markdown(found) + f"\n\nReal rows: {source}. Mean (least to greatest) over seeds.\n"
    )
    figure = drawing(found, source=source, floor=floor)
    figure.savefig(folder / "bench.png", dpi=130, bbox_inches="tight")
    plt.close(figure)


def markdown(found: pd.DataFrame) -> str:
    """Write a row a method and a column a measure, in the order of their first appearance."""
    measures = [name for name in BETTER if name in set(found["measure"])]
    lines = [
        "| | " + " | ".join(f"{name} ({BETTER[name]})" for name in measures) + " |",
        "| --- |" + " --- |" * len(measures),
    ]
    for method, rows in found.groupby("method", sort=False):
        cells = [_cell(rows.loc[rows["measure"] == name, "value"], name) for name in measures]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: pd.Series, name: str) -> str:
    if values.empty:
        return "-"
    if name in SHARES:
        form = "{:.1%}"
    elif name in ("fit CPU s", "rows per CPU s"):
        form = "{:,.0f}"
    else:
        form = "{:.3f}"
    mean = form.format(values.mean())
    return mean if len(values) == 1 else f"{mean} ({form.format(values.min())} to {form.format(values.max())})"


def drawing(found: pd.DataFrame, *, source: str, floor: str) -> plt.Figure:
    """Draw a panel a measure: a point a seed, a line at what real rows score."""
    methods = [method for method in found["method"].unique() if method != floor]
    figure, panels = plt.subplots(2, 4, figsize=(13, 1.2 + 0.55 * len(methods) * 2), layout="constrained", sharey=True)
    for axes, measure in zip(panels.flat, DRAWN, strict=True):
        rows = found[found["measure"] == measure]
        for place, method in enumerate(methods):
            values = rows.loc[rows["method"] == method, "value"]
            colour = COLOURS.get(method, "#666666")
            axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.8, markersize=5)
        axes.axvline(rows.loc[rows["method"] == floor, "value"].mean(), color="#009E73", linestyle="--", linewidth=1.2)
        axes.set_title(f"{measure} ({BETTER[measure]} is better)", fontsize=9, loc="left")
        axes.set_yticks(range(len(methods)), methods)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(axis="y", color="#eeeeee")
    figure.suptitle(f"A point a seed; dashed: real rows. {source}", fontsize=10, x=0.01, ha="left")
    return figure
