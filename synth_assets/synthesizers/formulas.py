"""Columns of numbers that are computed from other columns in every train row: totals, conversions, ratios, durations.

A model learns such a relation only nearly: `total = quantity * price` would break in some synthetic rows. So a number
that is computed from numbers is not learned at all, but computed in each synthetic row. A duration between two dates is
learned, since a model finds the dates' distances in it more easily than in the dates, and then computed as well.

The search looks for products and ratios of two columns, straight lines of one, sums of any number of columns with whole
coefficients, and straight lines of a power or logarithm of one. A sample of rows proposes a formula; it must then hold
in all rows, to the last digit that the column has, and be empty exactly where one of its inputs is.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, compress, permutations
from typing import Literal, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from synth_assets.errors import ModelError
from synth_assets.schema.columns import Column, Float, Integer, TimeColumn
from synth_assets.schema.conditions import Condition
from synth_assets.synthesizers.precision import shortest_decimals

MIN_ROWS, MIN_VALUES = 50, 10
"""Train rows, and different values of a computed column, that a formula is found from."""

MIN_VARYING_ROWS = 20
"""Train rows in which each input of a formula must differ from its most frequent value."""

MAX_COLUMNS = 100
"""Columns of numbers, the first ones, among which formulas are looked for."""

MAX_DECIMALS = 9
"""Numbers with more decimals are compared as floats."""

MAX_COEFFICIENT = 100_000
"""Greatest coefficient of a column in a sum."""

MAX_DIVISOR = 1000
"""Greatest denominator of the factor of a function of a column."""

MAX_TIES_SHARE = 0.1
"""Train rows that may have the other value of two where the formula's value is halfway between them."""

ROUNDED_SHARE = 1e-4
"""Share of the range of a column without decimals by which its inputs, rounded, may lead beyond it."""

_SAMPLE = 512
"""Rows that propose formulas."""

_PROBES = 16
"""Rows that are looked at first."""

_EXACT = 2.0**53
_RELATIVE = 1e-9
_SINGLE = 2.0**-22
_ROUNDING_ERROR = 1e-12
_DENOMINATORS = (1, 10, 100, 1000, *range(2, 10), *range(11, 100), *range(101, 1000), *(10**i for i in range(4, 10)))

_NEAR = 2.1
"""Units by which a rounded time, one more or one less, may differ from the time."""

UNITS = {
    **{"day": 86_400.0, "hour": 3_600.0, "minute": 60.0, "second": 1.0, "week": 604_800.0},
    "mean year": 31_557_600.0,
}
"""Units of a duration, in seconds; a mean year has 365.25 days."""

Rounding = Literal["even", "half_up", "down", "up"]

FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "square": (np.square, np.sqrt),
    "cube": (lambda x: x**3, np.cbrt),
    "sqrt": (np.sqrt, np.square),
    "log": (np.log, np.exp),
    "log10": (np.log10, lambda y: 10.0**y),
    "log1p": (np.log1p, np.expm1),
}
"""Functions of one column, and their inverses; of each square, the one that is not negative."""

Function = Literal["square", "cube", "sqrt", "log", "log10", "log1p"]


class Formula(BaseModel):
    """How a column of numbers is computed from others.

    Parameters
    ----------
    kind : {"sum", "product", "ratio", "duration", "age"}
        A sum of inputs with coefficients, a product or ratio of two, or the time from one date to another: in a unit,
        or in years of the calendar that are over.
    function : str or None
        A key of `FUNCTIONS`, which is applied to the only input of a sum.
    inputs : tuple of str
        The columns that are read.
    coefficients : tuple of float
        One for each input of a sum; else one factor.
    intercept : float
        Constant term.
    divisor : float
        What everything is divided by; of a duration, its unit in seconds.
    decimals : int or None
        Decimals of the result; None if it is not rounded.
    rounding : {"even", "half_up", "down", "up"}
        How it is rounded.
    relative : float
        Relative difference up to which results are equal that are not rounded, or are numbers of single precision.
    low, high : float
        Least and greatest value of the train rows: rows beyond are drawn again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["sum", "product", "ratio", "duration", "age"]
    function: Function | None = None
    inputs: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float = 0.0
    divisor: float = 1.0
    decimals: int | None = None
    rounding: Rounding = "even"
    relative: float = _RELATIVE
    low: float = -math.inf
    high: float = math.inf

    @property
    def text(self) -> str:
        """The formula in words."""
        if self.kind == "age":
            return f"full years from {self.inputs[0]} to {self.inputs[1]}"
        if self.kind == "duration":
            unit = next(unit for unit, seconds in UNITS.items() if seconds == self.divisor)
            more = self.intercept / self.divisor
            return f"{unit}s from {self.inputs[0]} to {self.inputs[1]}" + (f" {more:+.0f}" if more else "")
        if self.kind != "sum":
            factor = Fraction(self.coefficients[0]).limit_denominator(10**6) / Fraction(self.divisor)
            sign = " * " if self.kind == "product" else " / "
            return ("" if factor == 1 else f"{float(factor):.6g} * ") + sign.join(self.inputs)
        names = self.inputs if self.function is None else [f"{self.function}({self.inputs[0]})"]
        terms = [
            f"{'-' if c < 0 else '+'} {'' if abs(c) == self.divisor else f'{abs(c) / self.divisor:.6g} * '}{name}"
            for c, name in zip(self.coefficients, names, strict=True)
        ]
        if self.intercept:
            terms.append(f"{'-' if self.intercept < 0 else '+'} {abs(self.intercept) / self.divisor:.6g}")
        return " ".join(terms).removeprefix("+ ")

    def compute(self, rows: Mapping[str, pd.Series]) -> np.ndarray:
        """Return the values for n rows, as floats; NaN where an input is missing, or a divisor is zero."""
        values = self._rounded(self._raw([_numbers(rows[name]) for name in self.inputs]))
        for end in (self.low, self.high):  # what differs from it by a rounding error alone is not beyond it
            values = np.where(_same(values, np.full(len(values), end), self._tolerance), end, values)
        return values

    def holds(self, rows: Mapping[str, pd.Series], target: str) -> np.ndarray:
        """Return, for each row, whether the column `target` has the value of the formula, or both are missing."""
        return _same(self.compute(rows), _numbers(rows[target]), self._tolerance)

    def is_within(self, values: np.ndarray) -> np.ndarray:
        """Return which values are between the least and greatest of the train rows, up to the rounding of inputs."""
        margin = _RELATIVE * max(abs(self.low), abs(self.high))
        if self.decimals is None:
            margin = max(margin, ROUNDED_SHARE * (self.high - self.low))
        return np.asarray((values >= self.low - margin) & (values <= self.high + margin))

    def solve(self, rows: Mapping[str, pd.Series], target: str, name: str) -> np.ndarray:
        """Return the value of the input `name` for which the formula has the value of the column `target`.

        It is NaN of a date, which an age does not determine.
        """
        if self.kind == "age":
            return np.full(len(rows[target]), np.nan)
        known = (_numbers(rows[target]) * self.divisor) - self.intercept
        others = [_numbers(rows[each]) for each in self.inputs if each != name]
        i = self.inputs.index(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "sum":
                weights = [c for c, each in zip(self.coefficients, self.inputs, strict=True) if each != name]
                rest = sum((c * x for c, x in zip(weights, others, strict=True)), start=np.zeros(len(known)))
                part = np.asarray((known - rest) / self.coefficients[i])
                return part if self.function is None else FUNCTIONS[self.function][1](part)
            if self.kind == "product":
                return np.asarray(known / (self.coefficients[0] * others[0]))
            if self.kind == "ratio":
                top = self.coefficients[0]
                return np.asarray(known * others[0] / top if i == 0 else top * others[0] / known)
        return np.asarray(others[0] - known if i == 0 else others[0] + known)

    @property
    def _tolerance(self) -> float:
        return self.relative if self.decimals is None or self.relative > _RELATIVE else _ROUNDING_ERROR

    def _raw(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.kind == "sum":
                terms = inputs if self.function is None else [FUNCTIONS[self.function][0](inputs[0])]
                total = sum((c * x for c, x in zip(self.coefficients, terms, strict=True)), start=0.0)
            elif self.kind == "product":
                total = self.coefficients[0] * (inputs[0] * inputs[1])
            elif self.kind == "ratio":
                total = self.coefficients[0] * inputs[0] / inputs[1]
            elif self.kind == "age":
                total = _full_years(*inputs)
            else:
                total = inputs[1] - inputs[0]
            values = np.asarray((total + self.intercept) / self.divisor)
        return np.where(np.isfinite(values), values, np.nan)

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        if self.decimals is None:
            return values
        if self.rounding == "even":
            return np.round(values, self.decimals) + 0.0
        scale = 10.0**self.decimals
        scaled, nearest = values * scale, np.rint(values * scale)
        is_whole = np.abs(scaled - nearest) <= _RELATIVE * np.maximum(1.0, np.abs(scaled))
        if self.rounding == "half_up":
            steps = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5 + _RELATIVE)
        else:
            steps = np.floor(scaled) if self.rounding == "down" else np.ceil(scaled)
        return np.asarray(np.where(is_whole, nearest, steps) / scale + 0.0)


def find_formulas(
    train: pd.DataFrame, columns: Sequence[Column], computed: Sequence[str] = (), single: Sequence[str] = ()
) -> dict[str, Formula]:
    """Find the columns of numbers that are computed from other numbers in every train row.

    A computed column may be an input of others, and none depends on itself. Of columns that determine each other, one
    is computed for which no rounding breaks the relation: a product, the finer one of two, the sum of most decimals.

    Parameters
    ----------
    train : pandas.DataFrame
        Rows in the dtypes of the columns.
    columns : sequence of Column
        The columns.
    computed : sequence of str
        Columns that something else determines.
    single : sequence of str
        Columns of numbers of single precision.

    Returns
    -------
    dict of str to Formula
        By column, its formula, each after the formulas of its inputs.
    """
    names = [column.name for column in columns if isinstance(column, Integer | Float)][:MAX_COLUMNS]
    return _Search(train, names, computed, single).run() if len(names) > 1 and len(train) >= MIN_ROWS else {}


def find_durations(train: pd.DataFrame, columns: Sequence[Column]) -> dict[str, Formula]:
    """Find the columns of numbers that are the time between two columns of dates in every train row.

    Parameters and result are as of `find_formulas`.
    """
    times = [column.name for column in columns if isinstance(column, TimeColumn)][: MAX_COLUMNS // 4]
    numbers = [column.name for column in columns if isinstance(column, Integer | Float)]
    found: dict[str, Formula] = {}
    if len(times) < 2 or len(train) < MIN_ROWS:
        return found
    seconds = {name: _numbers(train[name]) for name in times}
    pairs = list(permutations(times, 2))
    for target in numbers:
        y = _numbers(train[target])
        present = np.flatnonzero(~np.isnan(y))
        if len(present) < MIN_ROWS:
            continue
        decimals, probes = _decimals(y[present[:_SAMPLE]]), present[:: max(1, len(present) // _PROBES)]
        gaps = np.stack([seconds[last][probes] - seconds[first][probes] for first, last in pairs])
        near = {
            unit: np.fmax.reduce(np.abs(gaps / divisor - y[probes]), axis=1) < _NEAR for unit, divisor in UNITS.items()
        }
        ages = (
            Formula(kind="age", inputs=pair, coefficients=(1.0,), decimals=0)
            for pair in compress(pairs, near["mean year"] & (decimals == 0))
            if _same(_full_years(*(seconds[name][probes] for name in pair)), y[probes]).all()
        )
        durations = (
            Formula(kind="duration", inputs=pair, coefficients=(1.0,), divisor=divisor, intercept=n * divisor,
                    decimals=decimals, rounding=rounding)
            for position, pair in enumerate(pairs)
            for unit, divisor in UNITS.items()
            if near[unit][position]
            for n in (0, 1, -1)
            for rounding in ("even", "down", "up", "half_up")
        )  # fmt: skip
        for each in chain(durations, ages):
            x = [seconds[name] for name in each.inputs]
            is_equal = _same(each._rounded(each._raw([v[probes] for v in x])), y[probes], each._tolerance).all()
            if is_equal and _same(each._rounded(each._raw(x)), y, each._tolerance).all() and np.ptp(y[present]) > 0:
                found[target] = each.model_copy(
                    update={"low": float(y[present].min()), "high": float(y[present].max())}
                )
                break
    return found


def meets(values: np.ndarray, condition: Condition, name: str, formula: Formula) -> np.ndarray:
    """Return which values of a computed column meet a condition, such as `>= 15 and < 20`, or `is null`.

    Raises
    ------
    ModelError
        If a value is no number, or no value of the train rows can meet the condition.
    """
    kept, low, high = np.ones(len(values), bool), formula.low, formula.high
    for clause in condition.clauses:
        if not clause.values:
            kept &= np.isnan(values) == (clause.operator == "is null")
            continue
        numbers = [_number(text, condition, name) for text in clause.values]
        least, greatest = min(numbers), max(numbers)
        is_equal = np.any([np.isclose(values, number, rtol=1e-12, atol=1e-12) for number in numbers], axis=0)
        match clause.operator:
            case "==" | "in":
                kept &= is_equal
            case "!=":
                kept &= ~is_equal
            case ">=" | ">":
                kept &= (is_equal & (clause.operator == ">=")) | (~is_equal & (values > least))
            case _:
                kept &= (is_equal & (clause.operator == "<=")) | (~is_equal & (values < greatest))
        kept &= ~np.isnan(values)
        low = max(low, least) if clause.operator in ("==", "in", ">=", ">") else low
        high = min(high, greatest) if clause.operator in ("==", "in", "<=", "<") else high
    if low > high:
        raise ModelError(
            f"condition {name} {condition} leaves no value: the train rows have {formula.low:.15g} to "
            f"{formula.high:.15g}."
        )
    return kept


def _number(text: str, condition: Condition, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ModelError(f"condition {name} {condition} compares a column of numbers with {text!r}; expected a number.")
    return number


class _Search:
    """The search for formulas of some columns of n train rows."""

    def __init__(
        self, train: pd.DataFrame, names: Sequence[str], computed: Sequence[str], single: Sequence[str]
    ) -> None:
        values = {name: _numbers(train[name]) for name in names}
        self.n = len(train)
        rows = np.random.default_rng(0).permutation(self.n)[: 10 * _SAMPLE]
        self.values: dict[str, np.ndarray] = {}
        self.decimals: dict[str, int | None] = {}
        self.n_values: dict[str, int] = {}
        self.varies: dict[str, np.ndarray] = {}
        for name, x in values.items():
            present = x[rows][~np.isnan(x[rows])]
            distinct, counts = np.unique(present, return_counts=True)
            if len(distinct) < 2 or np.abs(present).max() >= _EXACT:
                continue
            self.values[name], self.n_values[name] = x, len(distinct)
            self.decimals[name] = _decimals(shortest_decimals(distinct) if name in single else distinct)
            self.varies[name] = x != distinct[counts.argmax()]
        self.names = list(self.values)
        self.relative = {name: _SINGLE if name in single else _RELATIVE for name in self.names}
        self.fixed = set(computed)
        self.found: dict[str, Formula] = {}
        # Columns with the same gaps are looked at together, in the rows that have them.
        gaps = {name: np.isnan(x) for name, x in self.values.items()}
        groups: dict[bytes, list[str]] = {}
        for name in self.names:
            groups.setdefault(np.packbits(gaps[name]).tobytes(), []).append(name)
        self.groups = []
        for members in groups.values():
            present = np.flatnonzero(~gaps[members[0]])
            if len(present) >= MIN_ROWS:
                chosen = np.random.default_rng(1).permutation(present)[:_SAMPLE]
                pool = [name for name in self.names if not gaps[name][present].any()]
                self.groups.append((members, pool, chosen))

    def run(self) -> dict[str, Formula]:
        """Return the formulas in the order in which they are computed."""
        finders = (self._products_and_ratios, self._exact_lines, self._sums, self._functions, self._rounded_lines)
        for find in finders:
            for members, pool, rows in self.groups:
                find(members, pool, rows)
        ordered: dict[str, Formula] = {}
        while len(ordered) < len(self.found):
            ordered |= {
                name: formula
                for name, formula in self.found.items()
                if name not in ordered and all(each in ordered or each not in self.found for each in formula.inputs)
            }
        return ordered

    def _is_open(self, target: str) -> bool:
        return target not in self.found and target not in self.fixed and self.n_values[target] >= MIN_VALUES

    def _depends(self, name: str, on: str) -> bool:
        return name == on or (name in self.found and any(self._depends(each, on) for each in self.found[name].inputs))

    def _accept(self, target: str, formula: Formula) -> bool:
        """Keep a formula if it holds in all rows, every input matters, and none is computed from the target."""
        y, inputs = self.values[target], [self.values[name] for name in formula.inputs]
        present = ~np.isnan(y)
        if not self._is_open(target) or any(self._depends(name, target) for name in formula.inputs):
            return False
        matters = present & (y != 0) if formula.kind != "sum" else present
        if any((self.varies[name] & matters).sum() < MIN_VARYING_ROWS for name in formula.inputs):
            return False
        formula = formula.model_copy(update={"relative": self.relative[target]})
        raw = formula._raw(inputs)
        if not np.array_equal(np.isnan(raw), ~present):
            return False
        ways: list[tuple[int | None, Rounding]] = [(formula.decimals, "even"), (formula.decimals, "half_up")]
        if self.relative[target] > _RELATIVE:
            ways.append((None, "even"))
        each, most = None, -1
        for decimals, rounding in ways:
            way = formula.model_copy(update={"decimals": decimals, "rounding": rounding})
            rounded = way._rounded(raw)
            equal = int((rounded.astype(np.float32) == y.astype(np.float32)).sum())
            if equal > most and _same(rounded, y, way._tolerance).all():
                each, most = way, equal
        if each is None:
            # Floats next to half a unit may be rounded either way: some of them, or the rounding is chance.
            if formula.decimals is None or not (np.abs(raw - y)[present] <= self._half(target, y)[present]).all():
                return False
            rounded_ways = [formula.model_copy(update={"rounding": rounding}) for rounding in ("even", "half_up")]
            shares = [float(_same(way._rounded(raw), y, self.relative[target]).mean()) for way in rounded_ways]
            if max(shares) < 1 - MAX_TIES_SHARE:
                return False
            each = rounded_ways[int(np.argmax(shares))]
        low, high = float(y[present].min()), float(y[present].max())
        if self.relative[target] > _RELATIVE:
            low, high = float(np.float32(low)), float(np.float32(high))
        self.found[target] = each.model_copy(update={"low": low, "high": high})
        return True

    def _half(self, target: str, y: np.ndarray) -> np.ndarray:
        """Return by how much values may differ from what they are rounded from."""
        decimals = self.decimals[target]
        least = 0.0 if decimals is None else 0.5 * 10.0**-decimals
        return np.asarray(least + self.relative[target] * np.maximum(np.abs(y), least))

    def _products_and_ratios(self, members: Sequence[str], pool: Sequence[str], rows: np.ndarray) -> None:
        """Accept one formula of any three columns.

        It is a product that needs no rounding, or else a ratio with more decimals than its inputs, or else of the most
        values. Others would lead to inputs that, rounded, break it: price = total / quantity, or hits = average * bats.
        """
        candidates: list[tuple[str, Formula]] = []
        for target in members:
            others = [x for x in pool if x != target]
            if len(others) > 1 and self._is_open(target):
                pairs = np.argwhere(~np.eye(len(others), dtype=bool))
                candidates += self._pairs(target, "product", others, pairs[pairs[:, 0] < pairs[:, 1]], rows)
                candidates += self._pairs(target, "ratio", others, pairs, rows)

        def rank(candidate: tuple[str, Formula]) -> tuple[int, int]:
            target, formula = candidate
            decimals = [self.decimals[name] for name in (target, *formula.inputs)]
            most = max(_rank(each) for each in decimals[1:])
            steps = 10.0 ** (_rank(decimals[0]) - sum(_rank(each) for each in decimals[1:]))
            steps *= formula.coefficients[0] / formula.divisor
            is_exact = decimals[0] is None or (None not in decimals and abs(steps - round(steps)) < 1e-6 * abs(steps))
            if formula.kind == "product":
                place = 0 if is_exact else 2 if None in decimals else 3
            else:
                place = 1 if _rank(decimals[0]) > most else 3
            return place, -self.n_values[target]

        seen: set[frozenset[str]] = set()
        for target, formula in sorted(candidates, key=rank):
            three = frozenset((target, *formula.inputs))
            if three not in seen and self._accept(target, formula):
                seen.add(three)

    def _pairs(
        self,
        target: str,
        kind: Literal["product", "ratio"],
        names: Sequence[str],
        pairs: np.ndarray,
        rows: np.ndarray,
    ) -> Iterator[tuple[str, Formula]]:
        """Yield products or ratios of two columns, times a factor, that a sample of rows has as the target."""
        y = self.values[target]
        by_size = rows[np.argsort(-np.abs(y[rows]), kind="stable")]
        by_size = by_size[y[by_size] != 0]
        if len(by_size) < MIN_VARYING_ROWS:
            return
        for probes in (by_size[: 4 * _PROBES : _PROBES], by_size[: 4 * _PROBES : 4], by_size):
            x = np.stack([self.values[name][probes] for name in names])
            pairs = pairs[self._factors(y[probes], target, kind, x, pairs)[2]]
            if not len(pairs):
                return
        is_used = (y != 0) & ~np.isnan(y)
        for i, j in pairs.tolist():
            x = np.stack([self.values[name][is_used] for name in (names[i], names[j])])
            low, high, is_possible = self._factors(y[is_used], target, kind, x, np.array([[0, 1]]))
            factor = _simplest(low[0], high[0]) if is_possible[0] else None
            if factor is not None:
                yield target, Formula(
                    kind=kind, inputs=(names[i], names[j]), coefficients=(float(factor.numerator),),
                    divisor=float(factor.denominator), decimals=self.decimals[target],
                )  # fmt: skip

    def _factors(
        self, y: np.ndarray, target: str, kind: str, x: np.ndarray, index: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the range of factors for which each pair of rows of x, (m, n), is y, (n), and whether it is any."""
        half = self._half(target, y)
        one, other = x[index[:, 0]], x[index[:, 1]]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            base = one * other if kind == "product" else one / other
            ends = (y - half) / base, (y + half) / base
        low, high = np.minimum(*ends).max(axis=1), np.maximum(*ends).min(axis=1)
        return low, high, np.isfinite(low) & np.isfinite(high) & (low <= high)

    def _exact_lines(self, members: Sequence[str], pool: Sequence[str], rows: np.ndarray) -> None:
        self._lines(members, pool, rows, is_exact=True)

    def _rounded_lines(self, members: Sequence[str], pool: Sequence[str], rows: np.ndarray) -> None:
        self._lines(members, pool, rows, is_exact=False)

    def _lines(self, members: Sequence[str], pool: Sequence[str], rows: np.ndarray, *, is_exact: bool) -> None:
        """Accept straight lines of one column; exact ones have values that need not be rounded.

        Of two columns, each a line of the other, the finer one is computed: the coarser one, computed, would not lead
        back to it.
        """
        for target in reversed(members):
            others = [name for name in pool if name != target and self.n_values[name] >= MIN_VALUES]
            if not others or not self._is_open(target):
                continue
            y, decimals = self.values[target], self.decimals[target]
            x = np.stack([self.values[name][rows] for name in others])
            for i in np.flatnonzero(self._is_line(x, y[rows], self._half(target, y)[rows])).tolist():
                name = others[i]
                formula = self._line(target, name)
                if formula is None:
                    continue
                of = self.decimals[name]
                is_on_grid = decimals is not None and of is not None
                if is_on_grid:
                    steps = [c / formula.divisor * 10.0 ** (decimals or 0) for c in
                             (formula.coefficients[0] * 10.0 ** -(of or 0), formula.intercept)]  # fmt: skip
                    needs_none = all(abs(step - round(step)) < 1e-6 for step in steps) and abs(steps[0]) > 0.5
                    is_finer = abs(steps[0]) > 1 - 1e-6 or self._line(name, target) is None
                else:
                    needs_none = decimals is None
                    is_finer = decimals is None or self._line(name, target) is None
                if is_finer and (needs_none or not is_exact):
                    self._accept(target, formula)

    def _functions(self, members: Sequence[str], pool: Sequence[str], rows: np.ndarray) -> None:
        """Accept straight lines of a function of one column, such as its square or its logarithm.

        The column has no more decimals than what is computed from it, so that digits of its own are not lost.
        """
        for target in reversed(members):
            others = [
                name
                for name in pool
                if name != target
                and self.n_values[name] >= MIN_VALUES
                and _rank(self.decimals[name]) <= _rank(self.decimals[target])
            ]
            if not others or not self._is_open(target):
                continue
            y, half = self.values[target][rows], self._half(target, self.values[target])[rows]
            x = np.stack([self.values[name][rows] for name in others])
            found: list[Formula] = []
            for function in get_args(Function):
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    of_x = FUNCTIONS[function][0](x)
                is_near = np.isfinite(of_x).all(axis=1)
                is_near[is_near] = self._is_line(of_x[is_near], y, half)
                lines = (self._line(target, others[i], function) for i in np.flatnonzero(is_near))
                found += [line for line in lines if line is not None and line.divisor <= MAX_DIVISOR]
            for formula in sorted(found, key=lambda each: (each.divisor, bool(each.intercept))):
                self._accept(target, formula)

    @staticmethod
    def _is_line(x: np.ndarray, y: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Return for which rows of x, (m, n), y, (n), may be a straight line of them, known up to half a unit."""
        index, first, last = np.arange(len(x)), x.argmin(axis=1), x.argmax(axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = (y[last] - y[first]) / np.ptp(x, axis=1)
            offset = y[first] - slope * x[index, first]
            is_near = (np.abs(slope[:, None] * x + offset[:, None] - y) <= 2.1 * half).all(axis=1)
        return np.asarray(is_near & np.isfinite(slope) & (slope != 0))

    def _line(self, target: str, name: str, function: Function | None = None) -> Formula | None:
        """Return the line of a column that another one is in all rows, with the simplest slope and intercept.

        With a function, it is of the column's values of it.
        """
        present = ~np.isnan(self.values[target])
        x, y = self.values[name][present], self.values[target][present]
        if function is not None:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                x = FUNCTIONS[function][0](x)
        if not np.isfinite(x).all():
            return None
        half = self._half(target, y)
        first, last = int(x.argmin()), int(x.argmax())
        span = x[last] - x[first]
        slope = (y[last] - y[first]) / span
        margin = (half[first] + half[last]) / span
        for denominator in _DENOMINATORS:
            numerator = _whole_within(slope - margin, slope + margin, denominator)
            if not numerator:
                continue
            rest = y - numerator / denominator * x
            low, high = (rest - half).max(), (rest + half).min()
            if low > high:
                continue
            whole = _whole_within(low, high, denominator)
            intercept = 0.0 if low <= 0 <= high else None if whole is None else float(whole)
            if intercept is None:
                simple = _simplest(low, high)
                intercept = float(simple) * denominator if simple is not None else (low + high) / 2 * denominator
            return Formula(
                kind="sum", function=function, inputs=(name,), coefficients=(float(numerator),),
                divisor=float(denominator), intercept=intercept, decimals=self.decimals[target],
            )  # fmt: skip
        return None

    def _sums(self, members: Sequence[str], pool: Sequence[str], rows: np.ndarray) -> None:
        """Accept sums of several columns with whole coefficients, by linear algebra.

        Columns are taken one after the other; one that those before it determine is a sum of them, or none. What lines
        compute is left out, since it would stand for the column that it is computed from.
        """
        is_line = {name for name, each in self.found.items() if each.kind == "sum"}
        ranked = sorted(
            (name for name in pool if name not in is_line),
            key=lambda name: (self._is_open(name) and name in members, _rank(self.decimals[name]), self.n_values[name]),
        )
        if len(ranked) < 3 or len(rows) < MIN_ROWS:
            return
        x = np.column_stack([self.values[name][rows] for name in ranked])
        centers, scales = x.mean(axis=0), x.std(axis=0)
        scaled = (x - centers) / np.where(scales > 0, scales, 1.0)
        left = np.abs(np.diag(np.linalg.qr(scaled, mode="r"))) / math.sqrt(len(rows))
        left = np.append(left, np.ones(len(ranked) - len(left)))
        basis: list[int] = []
        for i, target in enumerate(ranked):
            decimals = self.decimals[target]
            noise = max(1e-7, 0.0 if decimals is None else 0.5 * 10.0**-decimals / (scales[i] or 1.0))
            if len(basis) > 1 and left[i] <= noise and len(rows) >= len(basis) + MIN_VARYING_ROWS:
                weights = np.linalg.lstsq(scaled[:, basis], scaled[:, i], rcond=1e-10)[0] * scales[i] / scales[basis]
                whole = np.rint(weights)
                is_sum = np.abs(weights - whole).max() < 0.01 and np.abs(whole).max() <= MAX_COEFFICIENT
                if is_sum and np.count_nonzero(whole) > 1:
                    used = [(basis[j], whole[j]) for j in np.flatnonzero(whole)]
                    rest = float(np.median(x[:, i] - sum(c * x[:, j] for j, c in used)))
                    intercept = round(rest, MAX_DECIMALS if decimals is None else decimals) + 0.0
                    formula = Formula(
                        kind="sum", inputs=tuple(ranked[j] for j, _ in used), intercept=intercept,
                        coefficients=tuple(float(c) for _, c in used), decimals=decimals,
                    )  # fmt: skip
                    if target in members and self._accept(target, formula):
                        continue
            if left[i] > 1e-7:
                basis.append(i)


def _numbers(values: pd.Series) -> np.ndarray:
    """Return numbers as floats, or times as seconds since 1970; NaN where missing."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        times = values if values.dt.tz is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
        stamps = times.to_numpy("datetime64[us]")
        return np.asarray(np.where(np.isnat(stamps), np.nan, stamps.astype("int64") / 1e6))
    return np.asarray(values.to_numpy("float64", na_value=np.nan))


def _full_years(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the years of the calendar between times in seconds since 1970; NaN where one is missing."""
    is_missing = np.isnan(start) | np.isnan(end)
    first, last = (np.where(is_missing, 0.0, each).astype("datetime64[s]") for each in (start, end))
    years = last.astype("datetime64[Y]").astype("int64") - first.astype("datetime64[Y]").astype("int64")
    # The place in the year as month and day: a year after 29 February is over on 1 March.
    months = [each.astype("datetime64[M]") for each in (first, last)]
    places = [
        32 * (month - each.astype("datetime64[Y]")).astype("int64")
        + (each.astype("datetime64[D]") - month).astype("int64")
        for each, month in zip((first, last), months, strict=True)
    ]
    return np.where(is_missing, np.nan, years - (places[1] < places[0]))


def _decimals(values: np.ndarray) -> int | None:
    """Return the decimals that all values keep; None if they keep none."""
    return next((d for d in range(MAX_DECIMALS + 1) if (np.round(values, d) == values).all()), None)


def _rank(decimals: int | None) -> int:
    return MAX_DECIMALS + 1 if decimals is None else decimals


def _same(one: np.ndarray, other: np.ndarray, tolerance: float = _ROUNDING_ERROR) -> np.ndarray:
    """Return which values are equal up to a relative difference, or missing in both."""
    is_equal = np.abs(one - other) <= tolerance * np.maximum(np.abs(one), np.abs(other))
    return np.asarray(is_equal | (np.isnan(one) & np.isnan(other)))


def _whole_within(low: float, high: float, denominator: int) -> int | None:
    """Return the whole number of parts of `denominator` that is nearest to the middle of a range, if it is in."""
    slack = 1e-12 * max(abs(low), abs(high))
    nearest = round((low + high) / 2 * denominator)
    return nearest if low - slack <= nearest / denominator <= high + slack else None


def _simplest(low: float, high: float) -> Fraction | None:
    """Return the number of a range with the simplest denominator, decimal if it can be; None if it has none or zero."""
    for denominator in _DENOMINATORS:
        whole = _whole_within(low, high, denominator)
        if whole:
            return Fraction(whole, denominator)
    return None
