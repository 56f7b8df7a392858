"""Predictors of numeric columns from those before them, whose residuals are encoded instead of the values.

Predictors are fractional polynomials (Royston and Altman, *Regression using fractional polynomials of continuous
covariates*, 1994), fitted by least absolute deviations and kept if their residuals are short enough, cross-validated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synth_assets.synthesizers.language_model.encoders.base import MISSING

POWERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"1/3": np.cbrt, "1": np.positive, "2": np.square}
"""Powers of the inputs; the cube root converts a weight to a length."""

MIN_GAIN = 0.5
"""Nats a value that a predictor must save: the log ratio of mean absolute deviations, cross-validated."""

MAX_ROWS = 5_000
"""Rows that a predictor is fitted to, at most: more would change it little, and take long."""

MAX_INPUTS, ROWS_PER_TERM = 12, 10
"""Columns that a predictor reads, at most, and rows for each of its terms, at least."""

RIDGE = 1e-9
"""Added to the diagonal of a correlation matrix, which is singular where columns determine each other."""

FOLDS = 5
MAX_ITERATIONS = 50
TOLERANCE = 1e-4
"""Relative gain in mean absolute deviation below which the iteration ends."""

MIN_RESIDUAL = 1e-3
"""Residuals below this fraction of the mean absolute deviation get no more weight than one of that size."""


@dataclass(frozen=True)
class Predictor:
    """Linear combination of powers of quantised numeric columns, which predicts the quantised values of another.

    Parameters
    ----------
    inputs : tuple of int
        Indices of the columns that are read.
    scales : tuple of float
        Divisor of each input.
    powers : tuple of str
        Keys of `POWERS`, applied to every input.
    coefficients : tuple of float
        Coefficients of the first power of every input, then of the second, ...
    intercept : float
        Constant term.
    fills : tuple of float
        What stands for a missing value of each input.
    """

    inputs: tuple[int, ...]
    scales: tuple[float, ...]
    powers: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float
    fills: tuple[float, ...]

    def __call__(self, quantised: np.ndarray) -> np.ndarray:
        """Predict n values from (n, m) quantised rows, of which only the inputs are read."""
        predictions = np.full(len(quantised), self.intercept)
        terms = _terms(_filled(quantised, self.inputs, self.fills), self.scales, self.powers)
        # Added term by term: the order of additions in a matrix product may depend on the number of rows.
        for coefficient, term in zip(self.coefficients, terms.T, strict=True):
            predictions += coefficient * term
        return predictions

    @classmethod
    def of_one(cls, quantised: np.ndarray, i: int, factor: float) -> "Predictor":
        """Return the predictor that multiplies a column of quantised train rows by a factor."""
        return cls((i,), (1.0,), ("1",), (factor,), 0.0, (_fill(quantised[:, i]),))

    def to_json(self) -> dict[str, Any]:
        """Return the predictor as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Predictor":
        """Restore a predictor from `to_json`."""
        tuples = {name: tuple(data[name]) for name in ("inputs", "scales", "powers", "coefficients", "fills")}
        return cls(**{**data, **tuples})


def fit_predictor(
    quantised: np.ndarray, target: int, inputs: Sequence[int], has_digits: np.ndarray
) -> Predictor | None:
    """Fit a predictor of the column `target` of quantised rows, (n, m), from the columns `inputs`.

    None if there are too few rows, or the residuals save less than `MIN_GAIN`. The inputs are numeric columns before
    the target that are not constant. Of many, those that correlate most with the target are used: `MAX_INPUTS`, or as
    many as there are `ROWS_PER_TERM` for. Rows whose target is missing or an atom, (n) `has_digits`, are left out.
    """
    rows = quantised[has_digits]
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:MAX_ROWS]]
    most = min(MAX_INPUTS, (len(rows) // ROWS_PER_TERM - 1) // len(POWERS))
    if not inputs or most < 1:
        return None
    fills = {i: _fill(quantised[:, i]) for i in inputs}
    y = rows[:, target].astype("float64")
    if len(inputs) > most:
        x = _filled(rows, inputs, [fills[i] for i in inputs])
        correlations = _correlations(np.column_stack([x, y]))[-1, :-1]
        inputs = sorted(inputs[i] for i in np.argsort(-np.abs(correlations), kind="stable")[:most])
    chosen = tuple(fills[i] for i in inputs)
    scales = tuple(float(np.abs(_filled(quantised, [i], [fills[i]])).max()) or 1.0 for i in inputs)
    x = _filled(rows, inputs, chosen)
    terms = {powers: _terms(x, scales, powers) for powers in (("1",), tuple(POWERS))}
    limit = np.abs(y - np.median(y)).mean() * math.exp(-MIN_GAIN)
    design = _with_intercept(terms[tuple(POWERS)])
    if not np.abs(y - design @ least_absolute_deviations(design, y)).mean() < limit:
        return None  # what does not fit its own rows does not fit others
    deviations = {powers: _cross_validated_deviation(each, y) for powers, each in terms.items()}
    powers = min(deviations, key=deviations.__getitem__)
    if not deviations[powers] < limit:
        return None
    intercept, *coefficients = map(float, least_absolute_deviations(_with_intercept(terms[powers]), y))
    return Predictor(tuple(inputs), scales, powers, tuple(coefficients), intercept, chosen)


def order_by_predictability(names: Sequence[str], before: Sequence[str], quantised: dict[str, np.ndarray]) -> list[str]:
    """Order numeric columns so that each comes after those that predict it.

    From the last position on, the column is chosen whose fraction of variance that the remaining ones leave
    unexplained is smallest, by least squares: the inverse of a diagonal element of the inverse of their correlation
    matrix. The columns in `before` precede all of them.
    """
    if not names:
        return []
    columns = [*before, *names]
    filled = np.column_stack([_filled(quantised[name][:, None], [0], [_fill(quantised[name])]) for name in columns])
    correlations = _correlations(filled) + RIDGE * np.eye(len(columns))
    kept, remaining, reversed_order = list(range(len(columns))), list(range(len(before), len(columns))), []
    while remaining:
        unexplained = dict(zip(kept, 1 / np.diag(np.linalg.inv(correlations[np.ix_(kept, kept)])), strict=True))
        last = min(reversed(remaining), key=unexplained.__getitem__)
        reversed_order.append(columns[last])
        remaining.remove(last)
        kept.remove(last)
    return reversed_order[::-1]


def least_absolute_deviations(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the (p) coefficients of a regression of y, (n), on design, (n, p), that few outlying rows do not bend.

    A relation that most rows share, such as a sum of parts and a remainder, is then found exactly. The fit is by
    iteratively reweighted least squares (Schlossmacher, *An iterative technique for absolute deviations curve fitting*,
    1973), in a twentieth of the time of a linear program.
    """
    coefficients: np.ndarray = np.linalg.lstsq(design, y, rcond=None)[0]
    for _ in range(MAX_ITERATIONS):
        deviations = np.abs(y - design @ coefficients)
        weights = 1 / np.sqrt(np.maximum(deviations, MIN_RESIDUAL * deviations.mean() + np.finfo(float).tiny))
        coefficients = np.linalg.lstsq(design * weights[:, None], y * weights, rcond=None)[0]
        if np.abs(y - design @ coefficients).mean() >= (1 - TOLERANCE) * deviations.mean():
            break
    return coefficients


def _cross_validated_deviation(terms: np.ndarray, y: np.ndarray) -> float:
    """Return the mean absolute deviation of held-out rows from the regression."""
    design = _with_intercept(terms)
    fold = np.arange(len(y)) % FOLDS
    residuals = np.empty(len(y))
    for k in range(FOLDS):
        train = fold != k
        residuals[~train] = y[~train] - design[~train] @ least_absolute_deviations(design[train], y[train])
    return float(np.abs(residuals).mean())


def _terms(x: np.ndarray, scales: Sequence[float], powers: Sequence[str]) -> np.ndarray:
    scaled = x / np.asarray(scales)
    return np.hstack([POWERS[power](scaled) for power in powers])


def _filled(quantised: np.ndarray, inputs: Sequence[int], fills: Sequence[float]) -> np.ndarray:
    """Return some columns of quantised rows as floats, missing values filled."""
    x = quantised[:, list(inputs)]
    return np.where(x == MISSING, np.asarray(fills), x)


def _fill(cells: np.ndarray) -> float:
    present = cells[cells != MISSING]
    return float(np.median(present)) if len(present) else 0.0


def _correlations(x: np.ndarray) -> np.ndarray:
    """Return the correlations of the columns of x; of a constant one, 0 with the others."""
    centered = x - x.mean(axis=0)
    norms = np.sqrt((centered**2).sum(axis=0))
    scaled = centered / np.where(norms > 0, norms, 1.0)
    correlations: np.ndarray = scaled.T @ scaled
    np.fill_diagonal(correlations, 1.0)
    return correlations


def _with_intercept(terms: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(terms)), terms])
