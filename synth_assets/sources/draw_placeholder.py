"""Draw the placeholder table: rows that look like abalone, made from published summary figures alone.

A Gaussian copula within each sex (Nelsen, An Introduction to Copulas, 2006): normal scores with the correlations that
belong to the published Spearman matrix become ranks, the published quantiles turn the ranks into values, and each
value is snapped to the grid on which its column was measured. No real row goes in, so none can come out. Run as
`python -m synth_assets.sources.draw_placeholder` to redraw the committed table.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEED = 4177

GRID_STEPS = {
    "Length": 0.005,
    "Diameter": 0.005,
    "Height": 0.005,
    "Whole_weight": 0.0005,
    "Shucked_weight": 0.0005,
    "Viscera_weight": 0.0005,
    "Shell_weight": 0.0005,
    "Class_number_of_rings": 1.0,
}
"""The smallest step between two values of a column, in the column's unit."""


def draw_placeholder(summary: Mapping[str, Any], *, seed: int) -> pd.DataFrame:
    """Draw a table from summary figures, with as many rows of each sex as these state, in random order.

    `summary` holds `quantile_levels` (length q) and, for each sex under `by_sex`, `rows`, `quantiles` (for each of the
    m numeric columns its q quantiles) and `spearman` (m by m, in the order of the quantiles).
    """
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    parts = []
    for sex, figures in summary["by_sex"].items():
        names = list(figures["quantiles"])
        scores = rng.multivariate_normal(
            np.zeros(len(names)),
            _normal_correlation(np.array(figures["spearman"])),
            size=figures["rows"],
            method="cholesky",  # an SVD may turn signs around from one LAPACK to the next
        )
        ranks = norm.cdf(scores)
        part = {
            name: _snap(np.interp(ranks[:, j], summary["quantile_levels"], figures["quantiles"][name]), name)
            for j, name in enumerate(names)
        }
        parts.append(pd.DataFrame({"Sex": sex, **part}))
    drawn = pd.concat(parts, ignore_index=True)
    shuffled = drawn.iloc[rng.permutation(len(drawn))].reset_index(drop=True)
    return shuffled.astype({name: "int64" for name, step in GRID_STEPS.items() if step == 1.0})


def _normal_correlation(spearman: np.ndarray) -> np.ndarray:
    # Pearson's correlation of the normal scores that gives this Spearman correlation (Kruskal, Ordinal Measures of
    # Association, 1958).
    pearson = 2 * np.sin(np.pi / 6 * spearman)
    # Rounded figures need not be a correlation matrix: clip negative eigenvalues and restore the unit diagonal.
    values, vectors = np.linalg.eigh(pearson)
    repaired = vectors @ np.diag(values.clip(min=1e-6)) @ vectors.T
    scale = np.sqrt(np.diag(repaired))
    return np.asarray(repaired / np.outer(scale, scale))


def _snap(values: np.ndarray, name: str) -> np.ndarray:
    step = GRID_STEPS[name]
    return np.asarray((np.round(values / step) * step).round(6))


if __name__ == "__main__":
    data = Path(__file__).parents[2] / "data"
    figures = json.loads((data / "abalone_summary.json").read_text())
    draw_placeholder(figures, seed=SEED).to_csv(data / "abalone_placeholder.csv", index=False)
