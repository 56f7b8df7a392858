"""What a table looks like: its columns, their types and limits, and its target."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from synth_assets.errors import ForeseenError

ColumnKind = Literal["category", "integer", "number"]


RESERVED = ("split", "row_id", "resample_date", "sample_id", "model_version", "rowid")
"""Columns that the pipeline adds to a table's own, and the one that DuckDB has in every table."""


class TableError(ForeseenError, ValueError):
    """A table is not what its schema says; the message says what was found, what was expected, what to do."""


@dataclass(frozen=True)
class Column:
    """One column of a table as its source gives it.

    Parameters
    ----------
    name : str
        The name in the source.
    kind : {"category", "integer", "number"}
        How the values are read: labels, whole numbers, or decimal numbers.
    description : str
        What a value means, in a sentence.
    unit : str, optional
        The unit of a value, as it is written on an axis.
    categories : sequence of str
        For a category, the labels in the order of their codes.
    minimum, maximum : float, optional
        For numbers, the limits (inclusive) that a plausible value keeps.
    """

    name: str
    kind: ColumnKind
    description: str = ""
    unit: str | None = None
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def count_out_of_range(self, values: pd.Series) -> int:
        """Count the present values that are no label of this column, or lie outside its limits.

        Parameters
        ----------
        values : pandas.Series
            Values of this column, in the type that `TableSchema.conform` gives.

        Returns
        -------
        int
            How many values are out of range; missing ones do not count.
        """
        present = values.dropna()
        if self.kind == "category":
            return int((~present.isin(self.categories)).sum())
        low = present < self.minimum if self.minimum is not None else pd.Series(False, index=present.index)
        high = present > self.maximum if self.maximum is not None else pd.Series(False, index=present.index)
        return int((low | high).sum())


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table, and which of them is predicted from the others.

    Parameters
    ----------
    columns : sequence of Column
        In the order in which the table has them.
    target : str
        The name of the target column in the source.
    target_renamed : str
        Its name once encoded.

    Raises
    ------
    TableError
        If a name occurs twice, the target is missing, or a category has no labels.
    """

    columns: tuple[Column, ...]
    target: str
    target_renamed: str

    def __post_init__(self) -> None:
        names = self.names
        lower = [name.lower() for name in names]  # DuckDB tells no small letters from capital ones
        twice = sorted({name for name in names if lower.count(name.lower()) > 1})
        if twice:
            raise TableError(f"columns: {', '.join(twice)} named twice; every column needs a name of its own.")
        taken = sorted({*lower, self.target_renamed.lower()} & set(RESERVED))
        if taken:
            raise TableError(
                f"columns: {', '.join(taken)} would clash with a column of the pipeline; rename it in the source."
            )
        if self.target not in names:
            raise TableError(
                f"target.column: {self.target!r} is not a column of the table; the columns are {', '.join(names)}."
            )
        if self.target_renamed != self.target and self.target_renamed in names:
            raise TableError(
                f"target.rename: {self.target_renamed!r} is already the name of another column; choose a free name."
            )
        for column in self.columns:
            if (column.kind == "category") != bool(column.categories):
                raise TableError(
                    f"columns.{column.name}: kind is {column.kind!r} and categories is {list(column.categories)}; "
                    "a category needs its labels, and only a category has them."
                )

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """Give the column of that name.

        Raises
        ------
        KeyError
            If there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def conform(self, frame: pd.DataFrame, *, origin: str) -> pd.DataFrame:
        """Give the declared columns of `frame`, in order, in their types.

        Parameters
        ----------
        frame : pandas.DataFrame
            A table as its source gives it; numbers may come as text or as categories.
        origin : str
            Where it came from, for the messages.

        Returns
        -------
        pandas.DataFrame
            Labels as `str`, whole numbers as `int64` (`Int64` where some are missing), decimals as `float64`;
            the index counts from 0.

        Raises
        ------
        TableError
            If a column is missing, there is no row, or a number cannot be read.
        """
        twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
        if twice:
            raise TableError(f"{origin} has the column{_s(twice)} {_listed(twice)} twice; every name must be unique.")
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise TableError(
                f"{origin} lacks the column{_s(missing)} {_listed(missing)}. It has {_listed(list(frame.columns))}; "
                f"expected {_listed(self.names)}. Rename its columns, or state the new names in the table's defs.yaml."
            )
        if frame.empty:
            raise TableError(f"{origin} has a header but no row; at least one row is needed.")
        return pd.DataFrame(
            {column.name: _as_kind(frame[column.name], column, origin) for column in self.columns}
        ).reset_index(drop=True)


def schema_from_json(stated: Mapping[str, Any]) -> TableSchema:
    """Give a schema of which only the JSON of its `asdict` is left.

    Parameters
    ----------
    stated : mapping
        What `dataclasses.asdict` gave.

    Returns
    -------
    TableSchema
        The schema.
    """
    columns = tuple(Column(**{**column, "categories": tuple(column["categories"])}) for column in stated["columns"])
    return TableSchema(columns, stated["target"], stated["target_renamed"])


def content_hash(frame: pd.DataFrame) -> str:
    """Hash the cells of a table and the names of its columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any table; its index does not count.

    Returns
    -------
    str
        A SHA-256 in hexadecimal, the same wherever the same values stand in the same order.
    """
    return hashlib.sha256(frame.to_csv(index=False, lineterminator="\n", na_rep="\0").encode()).hexdigest()


def _as_kind(values: pd.Series, column: Column, origin: str) -> pd.Series:
    values = values.reset_index(drop=True)
    if column.kind == "category":
        return values.astype("str").where(values.notna())
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype("str").where(values.notna())
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = (numbers.isna() & values.notna()) | (numbers.abs() == float("inf"))
    if column.kind == "integer":
        # From 2**53 on, a float no longer names one whole number.
        wrong |= numbers.notna() & ((numbers % 1 != 0) | (numbers.abs() >= 2**53))
    if wrong.any():
        row = int(wrong.idxmax())
        kind = "a whole number" if column.kind == "integer" else "a number"
        raise TableError(
            f"{origin}: column {column.name!r} has {values[row]!r} in data row {row + 1}, which is not {kind} "
            f"({int(wrong.sum())} such cell{'s' if wrong.sum() > 1 else ''}). Correct the source, or state another "
            "kind for the column in the table's defs.yaml."
        )
    if column.kind == "integer":
        return numbers.astype("Int64" if numbers.isna().any() else "int64")
    return numbers.astype("float64")


def _listed(names: Sequence[object]) -> str:
    return ", ".join(repr(str(name)) for name in names)


def _s(items: Sequence[object]) -> str:
    return "s" if len(items) > 1 else ""
