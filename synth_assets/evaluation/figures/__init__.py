"""The figures: one style, on white, so that they read in both of the UI's themes, in colours for the colour-blind too.

Each function gives a matplotlib figure that belongs to no window; `as_png` renders it. `rows` draws the rows
themselves, `scores` what was measured of them, `style` is what they have in common.
"""

from synth_assets.evaluation.figures.rows import correlation_matrices, density_grid, distance_histograms, pair_grid
from synth_assets.evaluation.figures.scores import (
    augmentation_curves,
    evidence_dots,
    evidence_history,
    loss_curve,
    regression_points,
)
from synth_assets.evaluation.figures.style import BLUE, FILE_DPI, GREEN, GREY, INLINE_DPI, ORANGE, as_png, new_figure

__all__ = [
    "BLUE",
    "FILE_DPI",
    "GREEN",
    "GREY",
    "INLINE_DPI",
    "ORANGE",
    "as_png",
    "augmentation_curves",
    "correlation_matrices",
    "density_grid",
    "distance_histograms",
    "evidence_dots",
    "evidence_history",
    "loss_curve",
    "new_figure",
    "pair_grid",
    "regression_points",
]
