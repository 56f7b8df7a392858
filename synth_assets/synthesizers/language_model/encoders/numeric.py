"""Encoder of a column of numbers, dates or datetimes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from synth_assets.synthesizers.language_model.encoders.base import ABSENT, MISSING, UNENCODABLE, Part
from synth_assets.synthesizers.language_model.encoders.grid import MICROSECONDS, Grid, common_step
from synth_assets.synthesizers.language_model.encoders.residuals import MIN_GAIN, Predictor

MAX_HEADS = 256
"""A number has so few first parts; from this many values on, its last digits are parts of their own."""

RADIX = 100
"""Number of values of a part after the first: two digits."""

RESIDUAL_MARGIN = 0.1
"""How far residuals may exceed the range in the train rows, as a fraction of it."""

MAX_ATOMS = 200
MIN_ATOM_ROWS, MIN_ATOM_SHARE = 10, 0.001
"""Train rows, and share of the train rows, that an atom has at least."""

MIN_PERIODS = 8
"""Number of values with the same last digits that the range of a column has, for these digits to be looked at."""

SPARSE_SHARE, REPEATED_SHARE = 0.05, 0.5
"""A column is sparse if it has fewer different values than this share of the grid's points between those that are no
atoms, and than this share of the train rows."""

MAX_LISTED_VALUES = 1000
MIN_LISTED_ROWS, LISTED_SHARE = 5, 0.5
"""A column has no other values than the train rows' if there are at most so many, each in so many train rows, and they
are at most this share of the grid's points: codes, price lists, first days of months."""

MIN_MONTHS = 3
"""Different days from which on dates that are all the first, or all the last, of a month are months."""

EXACT_SHARE = 0.5
"""A relation that predicts so many train rows to the last digit, such as a sum or a copy, is kept to the last digit."""

ATOM_EXCESS = 5.0
"""An atom is this many times as frequent as the average value around it."""


@dataclass(frozen=True)
class NumericEncoder:
    """Encoder of a column of numbers, dates or datetimes on a grid.

    A code is the number of grid steps from an offset to the value. The offset is the same for all rows or, with a
    `predictor`, moves with the rounded prediction for the row. A code is written as digits in a mixed radix: two
    decimal digits at a time or, for times, weekday, hour, minute, ... Offsets are multiples of the last digits' range,
    so that these, and with them any digit preference of the measurement, are preserved; unless residuals are so short
    that they would be lost in these digits. A missing value, and a value that many rows share (an atom), is an index of
    the first part and has no digits.

    Parameters
    ----------
    name : str
        Name of the column.
    grid : Grid
        Values as integers, the quantised values.
    grid_step : int
        Step of the quantised values.
    low, high : int
        Smallest and largest quantised value of the train rows; 1 and 0 if all are missing.
    base : int
        What a row's rounded prediction (0 without a predictor) and the row's offset differ by.
    cardinality : int
        Number of codes.
    radices : tuple of int
        Number of indices of each part after the first.
    prediction_step : int
        Multiple that predictions are rounded to.
    predictor : Predictor, optional
        Predictor whose residuals are encoded; None to encode the values.
    has_missing : bool
        Whether train rows have missing values in this column.
    is_sparse : bool
        Whether the train rows have few of the grid's points, and these more than once, as fractions of small numbers
        do. Residuals would spread them over all points.
    atoms : tuple of int
        Quantised values that are atoms, ascending.
    atom_values : tuple of float
        The values that they stand for exactly, of a column of floats.
    listed : tuple of int
        The only quantised values that are generated, ascending; empty if any between `low` and `high` may be. Of dates
        that are first or last days of months, the same days of all months.
    """

    name: str
    grid: Grid
    grid_step: int
    low: int
    high: int
    base: int
    cardinality: int
    radices: tuple[int, ...] = ()
    prediction_step: int = 1
    predictor: Predictor | None = None
    has_missing: bool = False
    is_sparse: bool = False
    atoms: tuple[int, ...] = ()
    atom_values: tuple[float, ...] = ()
    listed: tuple[int, ...] = ()

    type: ClassVar[str] = "numeric"
    is_numeric: ClassVar[bool] = True

    @classmethod
    def fit(cls, values: pd.Series, unit: str | None = None) -> "NumericEncoder":
        """Fit the encoder to the values of a column, without a predictor; `unit` is as of `Grid.fit`.

        Raises
        ------
        ModelError
            If a value has more digits than can be encoded.
        """
        grid = Grid.fit(values, unit)
        quantised = grid.quantise(values)
        is_present = quantised != MISSING
        present = quantised[is_present]
        low, high = (int(present.min()), int(present.max())) if len(present) else (1, 0)
        step = common_step(present)
        encoder = cls(str(values.name), grid, step, low, high, low, 1, has_missing=len(present) < len(values))
        distinct, counts = np.unique(present, return_counts=True)
        if 0 < len(distinct) <= min(MAX_LISTED_VALUES, LISTED_SHARE * encoder.n_values):
            listed = tuple(distinct.tolist()) if counts.min() >= MIN_LISTED_ROWS else ()
            encoder = replace(encoder, listed=listed)
        if grid.type == "date" and not encoder.listed:
            encoder = replace(encoder, listed=_days_of_months(distinct))
        if encoder.n_values >= MAX_HEADS:
            atoms = find_atoms(present, step)
            exact: tuple[float, ...] = ()
            if grid.type == "float":
                floats = values.to_numpy("float64", na_value=np.nan)[is_present]
                exact = tuple(_most_frequent(floats[present == atom]) for atom in atoms)
            written = distinct[~np.isin(distinct, atoms)]
            points = int(np.ptp(written)) // step + 1 if len(written) else 1
            is_sparse = SPARSE_SHARE * points > len(distinct) < REPEATED_SHARE * len(present)
            encoder = replace(encoder, atoms=atoms, atom_values=exact, is_sparse=is_sparse)
            if len(written):  # between an atom such as 999 and the other values, none is generated
                return encoder._with_codes(int(written[0]), int(written[-1]))
        return encoder._with_codes(low, high)

    def with_predictor(self, predictor: Predictor, quantised: np.ndarray, cells: np.ndarray) -> "NumericEncoder":
        """Return an encoder of a predictor's residuals, fitted to quantised train rows, (n, m), and cells, (n)."""
        present = self.has_digits(cells)
        predictions, cells = predictor(quantised[present]), cells[present]
        step = self.grid_step * (self.radices[-1] if self.radices else 1)
        if self._calendar_steps:
            # Weekday, hour, ... are preserved as far as the residuals are longer than they.
            size = np.abs(cells - predictions).mean()
            step = max((each for each in self._calendar_steps if each <= size / 2), default=self.grid_step)
            if self.residual_entropy(predictions, cells, step) - MIN_GAIN > self.residual_entropy(predictions, cells):
                step = self.grid_step  # terms of 14, 30 or 60 days
        elif (np.abs(cells - predictions) < self.grid_step / 2).mean() >= EXACT_SHARE:
            step = self.grid_step
        elif self.residual_entropy(predictions, cells, step) - MIN_GAIN > self.residual_entropy(predictions, cells):
            step = self.grid_step  # residuals are far shorter than the last digits, which would not depend on them
        encoder = replace(self, predictor=predictor, prediction_step=step)
        residuals = cells - encoder._rounded(predictions)
        low, high = int(residuals.min()), int(residuals.max())
        margin = -(-int(RESIDUAL_MARGIN * (high - low)) // step) * step
        return encoder._with_codes(low - margin, high + margin)

    def residual_entropy(self, predictions: np.ndarray, cells: np.ndarray, step: int | None = None) -> float:
        """Return the entropy of residuals of predictions in nats, rounded to a step, by default the grid's."""
        return _entropy(cells - _rounded(predictions, self.grid_step if step is None else step))

    @property
    def n_values(self) -> int:
        """Number of points of the grid within the bounds of the train rows."""
        return (self.high - self.low) // self.grid_step + 1

    @property
    def radix_product(self) -> int:
        """Number of codes with the same first part."""
        return math.prod(self.radices)

    @property
    def n_ending(self) -> int:
        """Number of indices of the first part that stand for a missing value or an atom."""
        return self.has_missing + len(self.atoms)

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of a value: what ends it or its first digits, then the other digits."""
        ending = (("missing",) if self.has_missing else ()) + tuple(f"={text};" for text in self._atom_texts)
        widths = self._widths
        n_heads = -(-self.cardinality // self.radix_product)
        first, step = (self.base // self.grid_step // self.radix_product, 1) if widths else (0, 1)
        if not self.radices and not self._calendar_steps:  # the only part is the number itself
            first, step = self.base, self.grid_step
        if self.predictor:
            first = 0
        heads = [self._digits(first + i * step, 1, sum(widths)) for i in range(n_heads)]
        width = max(map(len, heads), default=0)
        parts = [Part((*ending, *(head.zfill(width) for head in heads)), n_ending=len(ending))]
        for position, radix in enumerate(self.radices, start=1):
            if widths:
                width = widths[position - 1]
                step = 10**width // radix
                texts = [self._digits(i * step, width, sum(widths[position:])) for i in range(radix)]
            else:
                texts = [str(i).zfill(len(str(radix - 1))) for i in range(radix)]
            parts.append(Part(tuple(texts)))
        return parts

    def has_digits(self, cells: np.ndarray) -> np.ndarray:
        """Return, for each quantised value, whether it is written in digits: neither missing nor an atom."""
        return np.asarray((cells != MISSING) & ~np.isin(cells, self.atoms))

    def quantise(self, values: pd.Series) -> np.ndarray:
        """Return values in units of the grid; `MISSING` where one is missing."""
        return self.grid.quantise(values)

    def to_indices(self, quantised: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the (n, p) indices of the parts of n cells, given their quantised rows, (n, m)."""
        code, remainder = np.divmod(cells - self.offsets(quantised), self.grid_step)
        if (
            self.predictor is None
        ):  # a value beyond the others, and not beyond the atoms, is the nearest that has a code
            is_between = (cells >= self.low) & (cells <= self.high)
            code = np.where(is_between, np.clip(code, 0, self.cardinality - 1), code)
        is_valid = (remainder == 0) & (code >= 0) & (code < self.cardinality)
        indices = np.empty((len(cells), len(self.radices) + 1), np.int64)
        code = np.where(is_valid, code, 0)
        for position in range(len(self.radices), 0, -1):
            code, indices[:, position] = np.divmod(code, self.radices[position - 1])
        indices[:, 0] = np.where(is_valid, code + self.n_ending, UNENCODABLE)
        ends = np.isin(cells, self.atoms)
        indices[ends, 0] = np.searchsorted(self.atoms, cells[ends]) + self.has_missing
        is_missing = cells == MISSING
        indices[is_missing, 0] = 0 if self.has_missing else UNENCODABLE
        indices[ends | is_missing, 1:] = ABSENT
        return indices

    def from_indices(self, quantised: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return the n cells of the (n, p) indices of their parts, given their quantised rows, (n, m)."""
        first = indices[:, 0]
        code = np.maximum(first.astype(np.int64) - self.n_ending, 0)
        for position, radix in enumerate(self.radices, start=1):
            code = code * radix + np.maximum(indices[:, position], 0)
        cells = code * self.grid_step + self.offsets(quantised)
        is_atom = (first >= self.has_missing) & (first < self.n_ending)
        cells[is_atom] = np.asarray(self.atoms, np.int64)[first[is_atom] - self.has_missing]
        if self.has_missing:
            cells[first == 0] = MISSING
        return np.asarray(cells)

    def nearest(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return n cells, those that are no atom on the grid of the train rows; and whether these have no value."""
        steps = np.rint((np.clip(cells, self.low, self.high) - self.low) / self.grid_step).astype(np.int64)
        moved = np.where(np.isin(cells, self.atoms), cells, self.low + steps * self.grid_step)
        return moved, np.full(len(cells), self.n_values == 0)

    def predictions(self, quantised: np.ndarray) -> np.ndarray:
        """Return the predictions for (n, m) quantised rows; without a predictor, `low`."""
        if self.predictor is None:
            return np.full(len(quantised), float(self.low))
        return self.predictor(quantised)

    def offsets(self, quantised: np.ndarray) -> np.ndarray:
        """Return the offset of each row: code = (quantised value - offset) / grid step."""
        if self.predictor is None:
            return np.full(len(quantised), self.base, np.int64)
        return self._rounded(self.predictor(quantised)) + self.base

    def to_values(self, quantised: np.ndarray) -> pd.Series:
        """Return the values that quantised values stand for."""
        values = self.grid.to_values(quantised)
        if self.atom_values:
            is_atom = np.isin(quantised, self.atoms)
            values[is_atom] = np.asarray(self.atom_values)[np.searchsorted(self.atoms, quantised[is_atom])]
        return values

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        fields = {field.name: getattr(self, field.name) for field in dataclass_fields(self)}
        predictor = self.predictor.to_json() if self.predictor else None
        return {"type": self.type, **fields, "grid": self.grid.to_json(), "predictor": predictor}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NumericEncoder":
        """Restore an encoder from `to_json`."""
        fields = {name: value for name, value in data.items() if name != "type"}
        fields["grid"] = Grid.from_json(fields["grid"])
        fields["predictor"] = Predictor.from_json(fields["predictor"]) if fields["predictor"] else None
        return cls(
            **{
                **fields,
                "radices": tuple(fields["radices"]),
                "atoms": tuple(fields["atoms"]),
                "atom_values": tuple(fields["atom_values"]),
                "listed": tuple(fields["listed"]),
            }
        )

    @property
    def _widths(self) -> list[int]:
        """Number of decimal digits of each part after the first; none if parts are no digits of the value."""
        if self._calendar_steps or not self.radices or (self.predictor is None and self.base % self.grid_step):
            return []
        last = self.radices[-1] * self.grid_step
        is_power = last == 10 ** (len(str(last)) - 1)
        return [*[2] * (len(self.radices) - 1), len(str(last)) - 1] if is_power else []

    @property
    def _calendar_steps(self) -> list[int]:
        """Length of a second, a minute, ... a week in quantised units, where the grid has them; none of numbers."""
        if self.grid.type not in ("date", "datetime"):
            return []
        unit = MICROSECONDS["day" if self.grid.type == "date" else self.grid.unit]
        lengths = [*reversed(MICROSECONDS.values()), 7 * MICROSECONDS["day"]]
        return [length // unit for length in lengths if length >= unit and length // unit % self.grid_step == 0]

    def _with_codes(self, low: int, high: int) -> "NumericEncoder":
        """Return an encoder of the numbers from low to high: values, or residuals of the predictor."""
        if steps := self._calendar_steps:
            radices = [later // step for step, later in zip([self.grid_step, *steps], steps, strict=False)]
            from_the_last = [*(radix for radix in radices if radix > 1), *[RADIX] * 9]
            anchor = self.grid.first_monday
        else:
            powers = [10**k // self.grid_step for k in range(2, 19) if 10**k % self.grid_step == 0]
            from_the_last = [max((each for each in powers if 1 < each <= RADIX), default=RADIX), *[RADIX] * 9]
            anchor = 0
        is_exact = self.predictor is not None and self.prediction_step == self.grid_step
        has_few_heads = is_exact or self.n_values < MAX_HEADS
        chosen: list[int] = []
        heads = (high - low) // self.grid_step + 1
        for radix in from_the_last:
            if heads < MAX_HEADS and (chosen or has_few_heads):
                break
            chosen.insert(0, radix)
            heads = -(-heads // radix)
        # Codes begin where all digits after the first part are zero.
        anchor += (self.low - anchor) % self.grid_step
        base = low - (low - anchor) % (self.grid_step * math.prod(chosen)) if chosen else low
        cardinality = (high - base) // self.grid_step + 1
        step = self.prediction_step if self.predictor else self.grid_step
        return replace(self, base=base, cardinality=cardinality, radices=tuple(chosen), prediction_step=step)

    def _rounded(self, predictions: np.ndarray) -> np.ndarray:
        return _rounded(predictions, self.prediction_step)

    @property
    def _atom_texts(self) -> list[str]:
        values = self.to_values(np.array(self.atoms, np.int64))
        return [f"{value:.15g}" if isinstance(value, float) else str(value) for value in values]

    def _digits(self, number: int, width: int, n_after: int) -> str:
        """Return digits of the quantised value, with its decimal point if it is here; `n_after` more digits follow."""
        after_point = self.grid.decimals - n_after
        digits = str(abs(number)).zfill(max(width, after_point + 1 if width == 1 else 0))
        if 0 < after_point < len(digits):
            digits = f"{digits[:-after_point]}.{digits[-after_point:]}"
        elif after_point == 0 and n_after:
            digits += "."
        return f"{'-' if number < 0 else ''}{digits}"


def _rounded(predictions: np.ndarray, step: int) -> np.ndarray:
    limit = float(2**60)
    rounded: np.ndarray = np.rint(np.clip(predictions, -limit, limit) / step).astype(np.int64) * step
    return rounded


def _entropy(codes: np.ndarray) -> float:
    """Return the entropy of codes in nats, corrected for their number (Miller, 1955)."""
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / len(codes)
    return float(-(shares * np.log(shares)).sum() + (len(counts) - 1) / (2 * len(codes)))


def _days_of_months(days: np.ndarray) -> tuple[int, ...]:
    """Return the first days of all months of a range, or the last ones, if the days, since 1970, are no others.

    Where the days are whole quarters or years apart, so are those that are returned.
    """
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    for shift in (0, 1):
        of_months = (months + shift).astype("datetime64[D]").astype(np.int64) - shift
        if len(days) >= MIN_MONTHS and (of_months == days).all():
            step = common_step(months.astype(np.int64))
            every = np.arange(months[0], months[-1] + 1, step) + shift
            found = every.astype("datetime64[D]").astype(np.int64) - shift
            return tuple(found.tolist()) if len(found) <= MAX_LISTED_VALUES else ()
    return ()


def find_atoms(quantised: np.ndarray, step: int) -> tuple[int, ...]:
    """Return the quantised values that many rows share, and far more rows than share the values around them.

    Among the values around are those with the same last digits, so that a preference for round numbers makes no atoms.
    """
    values, counts = np.unique(quantised, return_counts=True)
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    span = int(values[-1] - values[0])
    periods = [step, *(step * 10**k for k in range(1, 19) if step * 10**k <= span / MIN_PERIODS)]
    frequent = np.flatnonzero(counts >= max(MIN_ATOM_ROWS, MIN_ATOM_SHARE * len(quantised)))
    by_count = frequent[np.argsort(-counts[frequent], kind="stable")]
    atoms = [i for i in by_count if all(_exceeds(values, counts, cumulative, i, period) for period in periods)]
    return tuple(sorted(int(values[i]) for i in atoms[:MAX_ATOMS]))


def _exceeds(values: np.ndarray, counts: np.ndarray, cumulative: np.ndarray, i: int, period: int) -> bool:
    """Return whether a value is far more frequent than the average value a multiple of the period away from it.

    The values around it reach as far as there are as many rows with them as with the value itself.
    """
    same = values % period == values[i] % period
    if not same.all():
        i = int(np.count_nonzero(same[:i]))
        values, counts = values[same], counts[same]
        cumulative = np.concatenate([[0], np.cumsum(counts)])
    radius = 1
    while True:
        first = np.searchsorted(values, values[i] - radius * period, "left")
        end = np.searchsorted(values, values[i] + radius * period, "right")
        around = int(cumulative[end] - cumulative[first] - counts[i])
        if around >= counts[i] or (first == 0 and end == len(values)):
            return bool(counts[i] > ATOM_EXCESS * around / (2 * radius))
        radius *= 2


def _most_frequent(values: np.ndarray) -> float:
    distinct, counts = np.unique(values, return_counts=True)
    return float(distinct[counts.argmax()])
