"""Predictors of numeric columns from those before them, whose residuals are encoded instead of the values.

Predictors are fractional polynomials (Royston and Altman, *Regression using fractional polynomials of continuous
covariates*, 1994), fitted by least absolute deviations and kept if their residuals are short enough, cross-validated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

POWERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"1/3": np.cbrt, "1": np.positive, "2": np.square}
"""Powers of the inputs; the cube root converts a weight to a length."""

MIN_GAIN = 0.5
"""Nats a value that a predictor must save: the log ratio of mean absolute deviations, cross-validated."""

MAX_ROWS = 5_000
"""Rows that a predictor is fitted to, at most: more would change it little, and take long."""

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
    """

    inputs: tuple[int, ...]
    scales: tuple[float, ...]
    powers: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float

    def __call__(self, quantised: np.ndarray) -> np.ndarray:
        """Predict n values from (n, m) quantised rows, of which only the inputs are read."""
        predictions = np.full(len(quantised), self.intercept)
        terms = _terms(quantised, self.inputs, self.scales, self.powers)
        # Added term by term: the order of additions in a matrix product may depend on the number of rows.
        for coefficient, term in zip(self.coefficients, terms.T, strict=True):
            predictions += coefficient * term
        return predictions

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Predictor":
        """Restore a predictor from its fields, in which JSON has made lists of tuples."""
        tuples = {name: tuple(data[name]) for name in ("inputs", "scales", "powers", "coefficients")}
        return cls(**{**data, **tuples})


def fit_predictor(quantised: np.ndarray, target: int, inputs: Sequence[int]) -> Predictor | None:
    """Fit a predictor of the column `target` of quantised rows, (n, m), from the columns `inputs`.

    None if there are too few rows, or the residuals save less than `MIN_GAIN`. The inputs are numeric columns before
    the target that are not constant.
    """
    if not inputs or len(quantised) < 10 * (len(POWERS) * len(inputs) + 1):
        return None
    rows = quantised[np.random.default_rng(0).permutation(len(quantised))[:MAX_ROWS]]
    y = rows[:, target].astype("float64")
    scales = tuple(float(np.abs(quantised[:, i]).max()) for i in inputs)
    terms = {powers: _terms(rows, inputs, scales, powers) for powers in (("1",), tuple(POWERS))}
    deviations = {powers: _cross_validated_deviation(each, y) for powers, each in terms.items()}
    powers = min(deviations, key=deviations.__getitem__)
    if not deviations[powers] < np.abs(y - np.median(y)).mean() * math.exp(-MIN_GAIN):
        return None
    intercept, *coefficients = map(float, least_absolute_deviations(_with_intercept(terms[powers]), y))
    return Predictor(tuple(inputs), scales, powers, tuple(coefficients), intercept)


def order_by_predictability(names: Sequence[str], before: Sequence[str], quantised: dict[str, np.ndarray]) -> list[str]:
    """Order numeric columns so that each comes after those that predict it.

    From the last position on, the column is chosen whose fraction of variance that the remaining ones leave
    unexplained is smallest, by least squares. The columns in `before` precede all of them.
    """
    remaining, reversed_order = list(names), []
    while remaining:
        unexplained = {}
        for name in remaining:
            others = [quantised[other] for other in (*before, *remaining) if other != name]
            y = quantised[name].astype("float64")
            design = np.column_stack([np.ones(len(y)), *others]).astype("float64")
            residuals = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
            unexplained[name] = residuals.var() / y.var() if y.var() else 1.0
        last = min(reversed(remaining), key=unexplained.__getitem__)
        reversed_order.append(last)
        remaining.remove(last)
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


def _terms(quantised: np.ndarray, inputs: Sequence[int], scales: Sequence[float], powers: Sequence[str]) -> np.ndarray:
    scaled = quantised[:, list(inputs)] / np.asarray(scales)
    return np.hstack([POWERS[power](scaled) for power in powers])


def _with_intercept(terms: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(terms)), terms])
