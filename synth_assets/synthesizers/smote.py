"""Two plain ways to make rows of a table's train rows, to hold a language model against.

Both are small on purpose: what a language model adds has to show beside what a page of code does.
"""

import numpy as np
import pandas as pd

ALGORITHM_VERSION = 1
"""Raised by hand whenever one of them would make other rows of the same inputs."""

NEIGHBOURS = 5
"""As many as SMOTE's authors take."""

LEAF = 5
"""Rows a leaf, at least, as in synthpop (Nowok, Raab and Dibben, Journal of Statistical Software 74(11), 2016)."""


def interpolated(real: pd.DataFrame, n: int, *, categories: list[str], seed: int) -> pd.DataFrame:
    """Make rows between neighbours, target and all.

    SMOTE (Chawla et al., Journal of Artificial Intelligence Research 16, 2002) as it is used for regression (Torgo et
    al., SMOTE for Regression, 2013): a row is drawn, and one of its five nearest neighbours; the new row lies at a
    random place on the line between the two. Distances are Euclidean, with every number at a standard deviation of 1
    and two labels that differ as far apart as two numbers that differ by one standard deviation, as in the paper's
    SMOTE-NC. Of each category, the label is that of the nearer end.

    Parameters
    ----------
    real : pandas.DataFrame
        Encoded rows, the target among their columns.
    n : int
        How many rows are wanted.
    categories : list of str
        The columns that are category codes.
    seed : int
        Of the draws.

    Returns
    -------
    pandas.DataFrame
        n rows in the same columns. Numbers are not put on any grid.
    """
    from sklearn.neighbors import NearestNeighbors

    numbers = [name for name in real.columns if name not in categories]
    values = real[numbers].to_numpy("float64")
    spread = values.std(axis=0)
    scaled = values / np.where(spread > 0, spread, 1.0)
    labels = [real[name].to_numpy()[:, None] == np.unique(real[name]) for name in categories]
    points = np.hstack([scaled, *(np.sqrt(0.5) * one_hot for one_hot in labels)])
    neighbours = min(NEIGHBOURS + 1, len(real))  # the row itself is its own nearest, or a row like it
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors(points, return_distance=False)
    rng = np.random.default_rng(seed)
    start = rng.integers(len(real), size=n)
    end = nearest[start, rng.integers(min(1, neighbours - 1), neighbours, size=n)]
    share = rng.random(n)
    made = pd.DataFrame(values[start] + share[:, None] * (values[end] - values[start]), columns=numbers)
    nearer = np.where(share < 0.5, start, end)
    for name in categories:
        made[name] = real[name].to_numpy()[nearer]
    return made[list(real.columns)]


def by_trees(real: pd.DataFrame, n: int, *, target: str, categories: list[str], seed: int) -> pd.DataFrame:
    """Make rows column by column, each from a tree of those before it.

    Sequential synthesis by classification and regression trees (Reiter, Journal of Official Statistics 21(3), 2005;
    the defaults are those of synthpop): the first column is drawn from the real rows; for each next one a tree
    predicts it from those before, and a new row takes the value of a real row in the leaf that it falls into.

    Parameters
    ----------
    real : pandas.DataFrame
        Encoded rows.
    n : int
        How many rows are wanted.
    target : str
        The column that comes last; the others come in their order.
    categories : list of str
        The columns that are category codes.
    seed : int
        Of the trees and the draws.

    Returns
    -------
    pandas.DataFrame
        n rows in the same columns; every value is one of the column's real ones.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    order = [*(name for name in real.columns if name != target), target]
    made = pd.DataFrame({order[0]: real[order[0]].to_numpy()[rng.integers(len(real), size=n)]})
    for place, name in enumerate(order[1:], start=1):
        tree = (DecisionTreeClassifier if name in categories else DecisionTreeRegressor)(
            min_samples_leaf=min(LEAF, len(real)), random_state=seed
        )
        known, drawn = (_inputs(rows[order[:place]], real, categories) for rows in (real, made))
        leaves = tree.fit(known, real[name]).apply(known)
        values = real[name].to_numpy()[np.argsort(leaves, kind="stable")]
        leaves.sort()
        falls = tree.apply(drawn)
        first, behind = (np.searchsorted(leaves, falls, side) for side in ("left", "right"))
        made[name] = values[first + (rng.random(n) * (behind - first)).astype("int64")]
    return made[list(real.columns)]


def _inputs(rows: pd.DataFrame, real: pd.DataFrame, categories: list[str]) -> np.ndarray:
    """Write rows as a tree takes them: a code is no quantity, so each label has a column of its own."""
    parts = [
        rows[name].to_numpy()[:, None] == np.unique(real[name]) if name in categories else rows[[name]].to_numpy()
        for name in rows.columns
    ]
    return np.hstack(parts).astype("float64")
