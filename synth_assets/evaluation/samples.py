"""The rows of one evaluation: train, holdout and synthetic, checked once, with everything that metrics share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.reference import SPLITS, RealSplit, real_splits
from synth_assets.schema.table import TableSchema

MIN_ROWS = 5
"""Rows that each set needs: the classifier two-sample test has five stratified folds."""

_MAX_DISTANCE = 1e6
"""Standard deviations. Larger values are clipped, so that squared distances stay finite."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Samples:
    """Train, holdout and synthetic rows of a table.

    Parameters
    ----------
    train, holdout, synthetic : pandas.DataFrame
        Rows in the schema's columns and dtypes; other columns are ignored.
    schema : TableSchema
        The table's schema.
    seed : int
        Seed of all splits, folds, estimators and bootstrap resamples.

    Raises
    ------
    ForeseenError
        If a set lacks a column, a numeric column has another dtype, a cell is missing or infinite, or a set has fewer
        than five rows.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    synthetic: pd.DataFrame
    schema: TableSchema
    seed: int = 0
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("train", "holdout", "synthetic"):
            rows = getattr(self, name)
            _check(name, rows, self.schema)
            object.__setattr__(self, name, rows[self.schema.names].reset_index(drop=True))

    @cached_property
    def subsample(self) -> pd.DataFrame:
        """The synthetic rows that metrics compare: all, or a fixed random draw of as many as there are train rows.

        References are then computed at the same size, and the cost does not grow with the sample.
        """
        if len(self.synthetic) <= len(self.train):
            return self.synthetic
        drawn = np.random.default_rng(0).choice(len(self.synthetic), len(self.train), replace=False)
        return self.synthetic.iloc[np.sort(drawn)].reset_index(drop=True)

    @cached_property
    def real(self) -> pd.DataFrame:
        """The train rows, then the holdout rows."""
        return pd.concat([self.train, self.holdout], ignore_index=True)

    @cached_property
    def splits(self) -> list[RealSplit]:
        """Random splits of the real rows into parts of the sizes of train and holdout, for references."""
        return list(real_splits(len(self.train), len(self.holdout), n_splits=SPLITS, seed=self.seed))

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
    seen = sorted({str(label) for rows in sets for label in rows[name].unique()})
    return list(dict.fromkeys((*schema.column(name).labels, *seen)))


def to_features(rows: pd.DataFrame, basis: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Encode rows as points of a Euclidean space.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows of the table.
    basis : pandas.DataFrame
        Rows that provide means, standard deviations and labels.
    schema : TableSchema
        The table's schema.

    Returns
    -------
    numpy.ndarray
        n by d: standardised numbers, one-hot labels. A label that `basis` and schema lack is all zeros.
    """
    columns = []
    for name in schema.numeric:
        known = basis[name].to_numpy("float64")
        # The standard deviation of equal decimals is a rounding error.
        scale = known.std() if known.min() < known.max() else 1.0
        standardised = (rows[name].to_numpy("float64") - known.mean()) / scale
        columns.append(standardised.clip(-_MAX_DISTANCE, _MAX_DISTANCE))
    for name in schema.categorical:
        columns.extend((rows[name] == label).to_numpy("float64") for label in all_categories(name, schema, basis))
    return np.column_stack(columns)


def encode_features(rows: pd.DataFrame, labels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Encode rows as scikit-learn's estimators take them.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows of the table.
    labels : mapping of str to sequence of str
        By categorical column: the labels in the order of their codes.

    Returns
    -------
    pandas.DataFrame
        n rows in the same columns: numbers as `float64`, clipped to single precision since forests compute in it;
        labels as codes.
    """
    largest = float(np.finfo(np.float32).max)
    return pd.DataFrame(
        {
            name: pd.Categorical(values.astype("str"), categories=list(labels[name])).codes.astype("int64")
            if name in labels
            else values.to_numpy("float64").clip(-largest, largest)
            for name, values in rows.items()
        }
    )


def _check(name: str, rows: pd.DataFrame, schema: TableSchema) -> None:
    missing = [column for column in schema.names if column not in rows]
    if missing:
        raise ForeseenError(
            f"the {name} rows lack the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; expected "
            f"{', '.join(schema.names)}. Pass rows with all columns of the schema."
        )
    if len(rows) < MIN_ROWS:
        raise ForeseenError(
            f"found {len(rows)} {name} row{'' if len(rows) == 1 else 's'}; an evaluation needs at least {MIN_ROWS}. "
            "Draw a larger sample, or split the table differently."
        )
    for column in schema.columns:
        values = rows[column.name]
        if column.is_numeric and not pd.api.types.is_numeric_dtype(values):
            raise ForeseenError(
                f"column {column.name!r} of the {name} rows has the type {values.dtype}; expected numbers. Convert it, "
                "or declare another column type in the schema."
            )
        wrong = values.isna().to_numpy()
        if column.is_numeric:
            wrong = wrong | np.isinf(values.to_numpy("float64", na_value=np.nan))
        if wrong.any():
            raise ForeseenError(
                f"column {column.name!r} of the {name} rows has {int(wrong.sum())} missing or infinite "
                f"cell{'' if wrong.sum() == 1 else 's'}; an evaluation needs every cell. Drop those rows."
            )
