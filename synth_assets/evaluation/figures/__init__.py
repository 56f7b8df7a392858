"""Figures in one style: on white, so that they read in light and dark themes, in colours for colour-blind readers.

Each function returns a matplotlib figure without a window; `as_png` renders it. `rows` draws rows, `scores` draws
metric results, `style` is common to both.
"""

from typing import TYPE_CHECKING

import pandas as pd

from synth_assets.evaluation.figures.rows import (
    MOST_ROWS,
    correlation_matrices,
    density_grid,
    distance_histograms,
    length_schema,
    pair_grid,
)
from synth_assets.evaluation.figures.scores import loss_curve, metric_dots, metric_history, regression_points
from synth_assets.evaluation.figures.style import BLUE, FILE_DPI, GREEN, GREY, INLINE_DPI, ORANGE, as_png, new_figure
from synth_assets.evaluation.metrics.copies import closest_distances
from synth_assets.evaluation.samples import MOST_NEIGHBOURS, Samples, to_features
from synth_assets.schema.dtypes import with_columns
from synth_assets.schema.table import TableSchema

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "FILE_DPI",
    "GREEN",
    "GREY",
    "INLINE_DPI",
    "ORANGE",
    "as_png",
    "correlation_matrices",
    "density_grid",
    "distance_figure",
    "distance_histograms",
    "fidelity_figures",
    "loss_curve",
    "metric_dots",
    "metric_history",
    "new_figure",
    "pair_grid",
    "regression_points",
]


def fidelity_figures(samples: Samples, results: pd.DataFrame, *, title: str, source: str) -> "dict[str, Figure]":
    """Draw 'densities', 'correlations' and 'pairs', from rows and metric results of fidelity.

    Without two numeric columns, there are no correlations; without the results of a pair, no pairs. Of a column of
    text, the number of characters is drawn, where text is published.
    """
    samples = samples.shown
    rows, schema = samples.subsample, samples.schema
    marginals = length_schema(schema)
    drawn = {}
    if marginals.compared:
        sets = {"synthetic": rows, "train": samples.train, "holdout": samples.holdout}
        lengths = {name: _with_lengths(each, samples.typed[name], schema) for name, each in sets.items()}
        drawn["densities"] = density_grid(
            lengths["synthetic"], lengths["train"], lengths["holdout"], marginals, results, title=title, source=source
        )
    if len(schema.numeric) > 1:
        drawn["correlations"] = correlation_matrices(samples.holdout, rows, schema, title=title, source=source)
    pairs = results[results["metric"] == "detection_auc_pair"]
    if len(pairs):
        drawn["pairs"] = pair_grid(rows, samples.holdout, schema, pairs, title=title, source=source)
    return drawn


def _with_lengths(comparable: pd.DataFrame, typed: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Return the first comparable rows, and the number of characters of as many published texts, in random order."""
    rows = comparable.head(MOST_ROWS)
    lengths = {name: typed[name].head(len(rows)).str.len().to_numpy("float64") for name in schema.published_texts}
    return with_columns(rows, lengths)


def distance_figure(samples: Samples, *, title: str, source: str) -> "Figure":
    """Draw distances to the closest record, of synthetic and of holdout rows, at most `MOST_NEIGHBOURS` of a set."""
    samples = samples.thinned(MOST_NEIGHBOURS)
    # Equal numbers of train and holdout rows: the more rows there are, the closer is the closest.
    size = min(len(samples.train), len(samples.holdout))
    train, holdout = (
        to_features(real.sample(size, random_state=0), samples.train, samples.schema)
        for real in (samples.train, samples.holdout)
    )
    synthetic, all_holdout = samples.features["synthetic"], samples.features["holdout"]
    return distance_histograms(
        closest_distances(synthetic, train),
        closest_distances(synthetic, holdout),
        closest_distances(all_holdout, train),
        title=title,
        source=source,
    )
