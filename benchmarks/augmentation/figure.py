"""The figure of the augmentation study."""

import io

import pandas as pd

from synth_assets.evaluation.learners import TITLES

COLOURS = {"language_model": "tab:orange", "pretrained": "tab:red", "smote": "tab:blue", "cart": "tab:green"}


def augmentation_curves(study: pd.DataFrame, *, source: str) -> bytes:
    """Draw the gain over the number of real rows at the largest ratio, as a PNG file.

    `study` is the result of `study.summarise`, `source` the origin of the real rows. There is a panel for each
    estimator, and a line for each synthesizer within its 95% interval.
    """
    from matplotlib.figure import Figure

    ratio = study["synthetic_ratio"].max()
    most = study[study["synthetic_ratio"] == ratio]
    estimators = list(dict.fromkeys(most["estimator"]))
    figure = Figure(figsize=(10, 2.6 * -(-len(estimators) // 2) + 0.8), layout="constrained")
    figure.suptitle(
        f"Gain of {TITLES[most['metric'].iloc[0]]} on holdout rows by {ratio:g} synthetic rows per real row"
    )
    axes_of = figure.subplots(-(-len(estimators) // 2), 2, sharex=True, squeeze=False).ravel()
    for axes, estimator in zip(axes_of, estimators, strict=False):
        axes.axhline(0.0, color="black", linewidth=0.8)
        for name, line in most[most["estimator"] == estimator].groupby("synthesizer", sort=False):
            line = line.sort_values("real_rows")
            colour = COLOURS.get(str(name), "grey")
            axes.fill_between(line["real_rows"], line["gain_low"], line["gain_high"], color=colour, alpha=0.15)
            axes.plot(line["real_rows"], line["gain"], "o-", color=colour, markersize=4, label=name)
        sizes = sorted(set(most["real_rows"]))
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_title(estimator, fontsize=10)
        axes.set_ylabel("gain")
        axes.set_xlabel("real rows")
    axes_of[0].legend(fontsize=8)
    figure.text(0.995, 0.005, f"real rows: {source}", ha="right", fontsize=7, color="dimgrey")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
