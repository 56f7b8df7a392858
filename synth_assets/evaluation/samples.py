"""The rows of one evaluation: train, holdout and synthetic, checked once, with everything that metrics share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.reference import SPLITS, RealSplit, real_splits
from synth_assets.schema.columns import Column
from synth_assets.schema.dtypes import with_columns
from synth_assets.schema.table import OTHER, TableSchema

MIN_ROWS = 5
"""Rows that each set needs: the classifier two-sample test has five stratified folds."""

MOST_ROWS = 20_000
"""Rows of a set by which columns and pairs are compared; of longer sets, as many are drawn."""

MOST_NEIGHBOURS = 5_000
"""Rows of a set by which each row is compared with each other, or estimators are trained many times."""

MOST_CELLS = 1_000_000_000
"""Pairs of cells that are compared at most where each row is compared with each other; wide tables have fewer rows."""

MOST_LABELS = 100
"""Labels of a column, the most frequent in the train rows, that have a feature of their own; all others have none."""

MOST_FEATURES = 1_000
"""One-hot features of all columns of labels together, where this leaves each at least two."""

_BITS = 40
"""Digits of a number in the binary system that classifiers and estimators see: 12 decimal ones."""

_MAX_DISTANCE = 1e6
"""Standard deviations. Larger values are clipped, so that squared distances stay finite."""

_SETS = ("train", "holdout", "synthetic")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Samples:
    """Train, holdout and synthetic rows of a table.

    `train`, `holdout` and `synthetic` hold what metrics compare, whatever was given: the columns of labels and numbers
    as `TableSchema.comparable` returns them, NaN where a cell is missing. `typed` has all columns as they were given.

    Parameters
    ----------
    train, holdout, synthetic : pandas.DataFrame
        Rows in the schema's columns and dtypes, as `TableSchema.coerce` returns them; other columns are ignored. The
        synthetic rows need no column that is not published.
    schema : TableSchema
        The table's schema.
    seed : int
        Seed of all splits, folds, estimators and bootstrap resamples.

    Attributes
    ----------
    typed : mapping of str to pandas.DataFrame
        The rows of 'train', 'holdout' and 'synthetic' as they were given, in the schema's columns.
    train_positions : numpy.ndarray
        Position of each train row among those that were given, for samples that `thinned` has drawn.

    Raises
    ------
    ForeseenError
        If a set lacks a column, a column of numbers has another dtype, a cell is infinite, or missing in a column that
        is not nullable, or a set has fewer than five rows.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    synthetic: pd.DataFrame
    schema: TableSchema
    seed: int = 0
    typed: Mapping[str, pd.DataFrame] = field(init=False, repr=False)
    train_positions: np.ndarray = field(init=False, repr=False)
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        typed = {}
        for name in _SETS:
            rows = getattr(self, name)
            _check(name, rows, self.schema, self.schema.published if name == "synthetic" else self.schema.names)
            typed[name] = rows[[each for each in self.schema.names if each in rows]].reset_index(drop=True)
            comparable = self.schema.comparable(typed[name])
            if comparable.columns.empty:
                comparable = pd.DataFrame(index=typed[name].index)  # rows without a column count too
            _refuse_infinite(name, comparable[self.schema.numeric])
            object.__setattr__(self, name, comparable)
        object.__setattr__(self, "typed", typed)
        object.__setattr__(self, "train_positions", np.arange(len(self.train)))

    @cached_property
    def compared(self) -> TableSchema:
        """The schema of the columns that metrics compare: labels and numbers."""
        return self.schema.select(self.schema.compared)

    @cached_property
    def subsample(self) -> pd.DataFrame:
        """The synthetic rows that metrics compare: all, or a fixed random draw of as many as there are train rows.

        References are then computed at the same size, and the cost does not grow with the sample.
        """
        drawn = self._subsample_positions
        return self.synthetic if drawn is None else self.synthetic.iloc[drawn].reset_index(drop=True)

    @cached_property
    def _subsample_positions(self) -> np.ndarray | None:
        if len(self.synthetic) <= len(self.train):
            return None
        return _draw(len(self.synthetic), len(self.train))

    def thinned(self, most: int) -> "Samples":
        """Return samples of at most so many rows a set, drawn at random with a fixed seed; these if they are no longer.

        The synthetic rows are those of `subsample`, or drawn from them.
        """
        if most not in self._cache:
            self._cache[most] = self._thinned(most)
        found: Samples = self._cache[most]
        return found

    def _thinned(self, most: int) -> "Samples":
        if max(len(getattr(self, name)) for name in _SETS) <= most:
            return self
        positions = {name: _draw(len(getattr(self, name)), most) for name in ("train", "holdout")}
        among = self._subsample_positions
        among = np.arange(len(self.synthetic)) if among is None else among
        positions["synthetic"] = among[_draw(len(among), most)]
        thinned = self._with(
            {name: getattr(self, name).iloc[at].reset_index(drop=True) for name, at in positions.items()},
            {name: self.typed[name].iloc[at].reset_index(drop=True) for name, at in positions.items()},
        )
        object.__setattr__(thinned, "train_positions", self.train_positions[positions["train"]])
        return thinned

    @cached_property
    def neighbours(self) -> "Samples":
        """Samples short enough to compare each row with each other, in every cell."""
        by_cells = int((MOST_CELLS / max(1, len(self.compared.columns))) ** 0.5)
        return self.thinned(min(MOST_NEIGHBOURS, max(MIN_ROWS, by_cells)))

    @cached_property
    def shown(self) -> "Samples":
        """At most 20,000 rows a set, in which the labels of real rows are hidden as those of synthetic rows are.

        What has to be hidden is no lack of fidelity: a label that too few train rows have is replaced in the real rows
        too, by one of the others, drawn by its frequency, or by 'other'.
        """
        thinned = self.thinned(MOST_ROWS)
        replaced: dict[str, dict[str, pd.Series]] = {"train": {}, "holdout": {}}
        rng = np.random.default_rng(0)
        for name, counts in self.label_rows.items():
            frequent = counts[counts >= self.schema.label_threshold]
            for part, columns in replaced.items():
                values = getattr(thinned, part)[name]
                rare = values.notna() & ~values.isin(frequent.index)
                if rare.any():
                    if self.schema.rare_labels == "other":
                        columns[name] = values.mask(rare, OTHER)
                    elif len(frequent):
                        drawn = rng.choice(frequent.index.to_numpy(), len(values), p=frequent / frequent.sum())
                        columns[name] = values.mask(rare, pd.Series(drawn, dtype=values.dtype))
        if not any(replaced.values()):
            return thinned
        sets = {part: with_columns(getattr(thinned, part), columns) for part, columns in replaced.items()}
        return thinned._with({**sets, "synthetic": thinned.synthetic}, thinned.typed)

    @cached_property
    def label_rows(self) -> dict[str, pd.Series]:
        """By column of labels, the number of train rows of each label, where rare labels are hidden."""
        if self.schema.label_threshold <= 1:
            return {}
        names = [column.name for column in self.schema.columns if column.type == "categorical"]
        return {name: self.train[name].value_counts() for name in names}

    @cached_property
    def real(self) -> pd.DataFrame:
        """The train rows, then the holdout rows."""
        return pd.concat([self.train, self.holdout], ignore_index=True)

    @cached_property
    def splits(self) -> list[RealSplit]:
        """Random splits of the real rows into parts of the sizes of train and holdout, for references."""
        return list(real_splits(len(self.train), len(self.holdout), n_splits=SPLITS, seed=self.seed))

    @cached_property
    def positions(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows of each of the `comparisons`: positions in `pooled`."""
        n, n_train = len(self.real), len(self.train)
        first = np.arange(n, n + len(self.subsample)), np.arange(n_train, n)
        return [first, *((split.train[: len(self.subsample)], split.holdout) for split in self.splits)]

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """The real rows, then the subsample."""
        return pd.concat([self.real, self.subsample], ignore_index=True)

    def comparisons(self, n_splits: int = SPLITS) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Yield pairs of sets to compare: synthetic and holdout rows, then the two parts of each real split.

        The first of a pair has at most as many rows as `subsample`.
        """
        yield self.subsample, self.holdout
        for split in self.splits[:n_splits]:
            yield self.real.iloc[split.train[: len(self.subsample)]], self.real.iloc[split.holdout]

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        """Features of 'synthetic' (the subsample), 'train' and 'holdout', in standard deviations of the train rows."""
        sets = {"synthetic": self.subsample, "train": self.train, "holdout": self.holdout}
        return {name: to_features(rows, self.train, self.schema) for name, rows in sets.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows alone for another process, without what was derived from them."""
        stated = {name: self.__dict__[name] for name in self.__dataclass_fields__}
        return {**stated, "_cache": {}}

    def _with(self, sets: Mapping[str, pd.DataFrame], typed: Mapping[str, pd.DataFrame]) -> "Samples":
        """Return samples of other rows, which are known to be right."""
        made = copy(self)
        for name in set(made.__dict__) - {"schema", "seed", "train_positions"}:
            del made.__dict__[name]  # what is cached is of other rows
        for name, value in {**sets, "typed": typed, "_cache": {}}.items():
            object.__setattr__(made, name, value)
        return made


def cached(function: Callable[Concatenate[Samples, P], T]) -> Callable[Concatenate[Samples, P], T]:
    """Compute a function of samples once for each `Samples` and arguments."""

    @wraps(function)
    def once(samples: Samples, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = function, args, tuple(kwargs.items())
        if key not in samples._cache:
            samples._cache[key] = function(samples, *args, **kwargs)
        found: T = samples._cache[key]
        return found

    return once


def all_categories(name: str, schema: TableSchema, *sets: pd.DataFrame) -> list[str]:
    """List the labels of a categorical column: the schema's in order, then others that occur in the rows."""
    seen = sorted({str(label) for rows in sets for label in rows[name].dropna().unique()})
    return list(dict.fromkeys((*schema.column(name).labels, *seen)))


def frequent_labels(name: str, schema: TableSchema, basis: pd.DataFrame, most: int = MOST_LABELS) -> list[str]:
    """List the labels of a categorical column as `all_categories`; of more than `most`, the most frequent in rows."""
    labels = all_categories(name, schema, basis)
    return labels if len(labels) <= most else list(basis[name].value_counts().index[:most])


def to_features(rows: pd.DataFrame, basis: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Encode rows as points of a Euclidean space.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows of the table, as `TableSchema.comparable` returns them.
    basis : pandas.DataFrame
        Rows that provide means, standard deviations and labels.
    schema : TableSchema
        The table's schema.

    Returns
    -------
    numpy.ndarray
        n by d: standardised numbers, one-hot labels, and an indicator of missing cells for each nullable column. A
        missing number is 0; a missing label is all zeros, as is a label that `basis` and schema lack. Of a column of
        more than 100 labels, the most frequent ones in `basis` have features.
    """
    columns = []
    for name in schema.numeric:
        known = basis[name].dropna().to_numpy("float64")
        if not len(known):
            columns.append(np.zeros(len(rows)))
            continue
        centre, scale = centre_and_scale(known)
        with np.errstate(over="ignore"):  # values far beyond the known ones are clipped
            standardised = (rows[name].to_numpy("float64") - centre) / scale
        columns.append(np.nan_to_num(standardised.clip(-_MAX_DISTANCE, _MAX_DISTANCE)))
    most = min(MOST_LABELS, max(2, MOST_FEATURES // max(1, len(schema.categorical))))
    for name in schema.categorical:
        labels = frequent_labels(name, schema, basis, most)
        codes = label_codes(rows[name], labels)
        columns.extend((codes == code).astype("float64") for code in range(len(labels)))
    columns.extend(
        rows[column.name].isna().to_numpy("float64")
        for column in schema.columns
        if column.nullable and column.role in ("label", "number")
    )
    return np.column_stack(columns) if columns else np.zeros((len(rows), 0))


def centre_and_scale(numbers: np.ndarray) -> tuple[float, float]:
    """Return the mean and the standard deviation of numbers of any magnitude; 1 instead of the latter if all are equal.

    The numbers are scaled by a power of two, which changes no digit: squares of numbers of 1e-200 or 1e200 are no
    floats.
    """
    exponent = np.frexp(np.abs(numbers).max())[1]
    scaled = np.ldexp(numbers, -exponent)
    centre = float(np.ldexp(scaled.mean(), exponent))
    if numbers.min() == numbers.max():  # the standard deviation of equal decimals is a rounding error
        return centre, 1.0
    return centre, max(float(np.ldexp(scaled.std(), exponent)), float(np.finfo("float64").smallest_subnormal))


def label_codes(values: pd.Series, labels: Sequence[str]) -> np.ndarray:
    """Return the position of each label; -1 where it is missing or not among the labels."""
    return np.asarray(pd.Index(labels, dtype="str").get_indexer(pd.Index(values.astype("str").where(values.notna()))))


def encode_features(rows: pd.DataFrame, labels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Encode rows as scikit-learn's estimators take them.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows of the table, as `TableSchema.comparable` returns them.
    labels : mapping of str to sequence of str
        By categorical column: the labels in the order of their codes.

    Returns
    -------
    pandas.DataFrame
        n rows in the same columns: numbers as `float64`, clipped to single precision since forests compute in it, NaN
        where missing; labels as codes, -1 where missing. Numbers that agree in 12 digits are equal: rounding errors
        tell no rows apart.
    """
    largest = float(np.finfo(np.float32).max)
    return pd.DataFrame(
        {
            name: label_codes(values, labels[name]).astype("int64")
            if name in labels
            else _to_digits(values.to_numpy("float64").clip(-largest, largest))
            for name, values in rows.items()
        }
    )


def _to_digits(numbers: np.ndarray) -> np.ndarray:
    mantissas, exponents = np.frexp(numbers)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissas, _BITS)), exponents - _BITS))


def _draw(n: int, most: int) -> np.ndarray:
    """Return the positions of at most so many of n rows, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def _check(name: str, rows: pd.DataFrame, schema: TableSchema, expected: Sequence[str]) -> None:
    missing = [column for column in expected if column not in rows]
    if missing:
        raise ForeseenError(
            f"the {name} rows lack the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; expected "
            f"{', '.join(expected)}. Pass rows with all columns of the schema."
        )
    if len(rows) < MIN_ROWS:
        raise ForeseenError(
            f"found {len(rows)} {name} row{'' if len(rows) == 1 else 's'}; an evaluation needs at least {MIN_ROWS}. "
            "Draw a larger sample, or split the table differently."
        )
    for column in schema.columns:
        if column.name in rows:
            _check_column(name, rows[column.name], column)


def _check_column(name: str, values: pd.Series, column: Column) -> None:
    is_time = column.type in ("date", "datetime")
    has_dtype = pd.api.types.is_datetime64_any_dtype if is_time else pd.api.types.is_numeric_dtype
    if column.is_numeric and not has_dtype(values):
        raise ForeseenError(
            f"column {column.name!r} of the {name} rows has the type {values.dtype}; expected "
            f"{'times' if is_time else 'numbers'}. Convert it, or declare another column type in the schema."
        )
    missing = values.isna().to_numpy()
    if missing.any() and not column.nullable:
        raise ForeseenError(
            f"column {column.name!r} of the {name} rows has {int(missing.sum())} missing "
            f"cell{'' if missing.sum() == 1 else 's'}, the first in data row {int(missing.argmax()) + 1}; the column "
            "is not nullable. Declare it nullable in the schema, or drop those rows."
        )


def _refuse_infinite(name: str, numbers: pd.DataFrame) -> None:
    for column, values in numbers.items():
        infinite = np.isinf(values.to_numpy("float64"))
        if infinite.any():
            raise ForeseenError(
                f"column {column!r} of the {name} rows has {int(infinite.sum())} infinite "
                f"cell{'' if infinite.sum() == 1 else 's'}, the first in data row {int(infinite.argmax()) + 1}; an "
                "evaluation needs finite numbers. Correct those cells, or leave them empty in a nullable column."
            )
