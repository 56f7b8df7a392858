"""The schema of a table: its columns, and which of them is predicted from the others."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synth_assets.errors import validation_message
from synth_assets.schema.columns import Categorical, Column, Role, TableError, Text

RESERVED = ("split", "row_id", "resample_date", "sample_id", "model_version", "rowid")
"""Names of the columns that the pipeline adds, and of the one that DuckDB adds to every table."""

PRIVATE_LABEL_ROWS = 5
"""Train rows that a label of a private table needs to be shown, unless the schema states another number."""

OTHER = "other"
"""What stands for hidden labels where `rare_labels` is 'other'."""


class TableSchema(BaseModel):
    """The columns of a table, and which of them is predicted from the others.

    Raises
    ------
    TableError
        If a name occurs twice or is reserved, or the target is not a column.

    Examples
    --------
    >>> from synth_assets.schema.columns import Categorical, Float
    >>> columns = (Categorical(name="Sex", categories=("F", "M")), Float(name="Length", minimum=0))
    >>> TableSchema(columns=columns, target="Length").names
    ['Sex', 'Length']
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...] = Field(min_length=1, description="Columns in the order of the table.")
    target: str | None = Field(default=None, description="Column that is predicted from the others.")
    private: bool = Field(
        default=True,
        description="Whether the real rows are confidential: labels that few rows have are hidden, and text is not "
        "published, unless stated otherwise.",
    )
    publish_text: bool | None = Field(
        default=None,
        description="Whether synthetic rows have the columns of text; by default, only codes if the table is private.",
    )
    min_label_rows: int | None = Field(
        default=None,
        ge=1,
        description="Train rows that a label needs to be shown; by default 5 for a private table, else 1.",
    )
    rare_labels: Literal["draw", "other"] = Field(
        default="draw",
        description="What stands for a label that fewer rows have: one of the others, drawn by frequency, or 'other'.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> "TableSchema":
        names = self.names
        count = Counter(name.lower() for name in names)
        twice = sorted(name for name in names if count[name.lower()] > 1)
        if twice:
            raise TableError(
                f"columns: {_listed(twice)} are one name to DuckDB, which does not distinguish upper and lower case; "
                "rename all but one in the source."
            )
        refuse_reserved(names)
        if self.target is not None and self.target not in names:
            raise TableError(f"target: {self.target!r} is not a column of the table; the columns are {_listed(names)}.")
        if self.target is not None and (column := self.column(self.target)).role in ("text", "id"):
            raise TableError(
                f"target: {self.target!r} is a column of type {column.type}, which cannot be predicted; choose a "
                "column of labels, numbers or dates, or state no target."
            )
        return self

    @model_validator(mode="after")
    def _accepts_other(self) -> "TableSchema":
        """Add 'other' to the labels of each column where hidden labels are written so."""
        if self.rare_labels == OTHER and self.label_threshold > 1:
            columns = tuple(
                column.model_copy(update={"categories": (*column.categories, OTHER)})
                if isinstance(column, Categorical) and OTHER not in column.categories
                else column
                for column in self.columns
            )
            object.__setattr__(self, "columns", columns)  # the model is frozen
        return self

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [column.name for column in self.columns]

    @property
    def categorical(self) -> list[str]:
        """The names of the columns of labels and booleans, in order."""
        return self.names_of("label")

    @property
    def numeric(self) -> list[str]:
        """The names of the columns of numbers, dates and datetimes, in order."""
        return self.names_of("number")

    @property
    def compared(self) -> list[str]:
        """The names of the columns of labels and numbers, in order: what metrics compare."""
        return self.names_of("label", "number")

    @property
    def published(self) -> list[str]:
        """The names of the columns of a synthetic row, in order: all, or all but text that is not published."""
        texts = set(self.published_texts)
        return [column.name for column in self.columns if column.role != "text" or column.name in texts]

    @property
    def published_texts(self) -> list[str]:
        """The names of the columns of text that synthetic rows have, in order."""
        if self.publish_text is None and self.private:
            return [column.name for column in self.columns if isinstance(column, Text) and column.code]
        return [] if self.publish_text is False else self.names_of("text")

    @property
    def unpublished(self) -> list[str]:
        """The names of the columns of text that synthetic rows do not have, in order."""
        texts = set(self.published_texts)
        return [name for name in self.names_of("text") if name not in texts]

    @property
    def learned(self) -> list[str]:
        """The names of the columns that a synthesizer learns, in order: the published ones but keys."""
        keys = set(self.names_of("id"))
        return [name for name in self.published if name not in keys]

    @property
    def label_threshold(self) -> int:
        """Train rows that a label needs to be shown."""
        if self.min_label_rows is not None:
            return self.min_label_rows
        return PRIVATE_LABEL_ROWS if self.private else 1

    def names_of(self, *roles: Role) -> list[str]:
        """Return the names of the columns of these roles, in order."""
        return [column.name for column in self.columns if column.role in roles]

    def comparable(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of labels and numbers in the dtypes of `Column.comparable`: `str` and `float64`."""
        return pd.DataFrame(
            {
                column.name: column.comparable(frame[column.name])
                for column in self.columns
                if column.role in ("label", "number")
            }
        )

    def select(self, names: Sequence[str]) -> "TableSchema":
        """Return the schema of some of the columns, in the table's order; without a target if it is not among them."""
        wanted = set(names)
        columns = tuple(column for column in self.columns if column.name in wanted)
        return self.model_copy(update={"columns": columns, "target": self.target if self.target in wanted else None})

    @classmethod
    def from_yaml(cls, path: Path) -> "TableSchema":
        """Read a schema from a YAML file with the keys `columns` and, optionally, `target`.

        Raises
        ------
        TableError
            If there is no such file, or it states no schema.
        """
        stated = read_yaml(path)
        try:
            return cls.model_validate(stated)
        except ValidationError as error:
            raise TableError(f"the schema {path}: {validation_message(error)}") from error

    def with_target(self, target: str) -> "TableSchema":
        """Return the schema with another target; raise a `TableError` if it is not a column."""
        return TableSchema(**{**dict(self), "target": target})

    def column(self, name: str) -> Column:
        """Return the column of that name; raise a `KeyError` if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def coerce(self, frame: pd.DataFrame, *, origin: str) -> pd.DataFrame:
        """Select the declared columns of a frame, in order, and convert them to their dtypes.

        Parameters
        ----------
        frame : pandas.DataFrame
            A table as its source returns it; numbers may come as text or as categories.
        origin : str
            Where it came from, for the messages.

        Returns
        -------
        pandas.DataFrame
            Labels, text and keys as `str`, whole numbers as `int64`, decimals as `float64`, booleans as `bool`, dates
            as `datetime64[s]`, datetimes as `datetime64[us]`. A column that is nullable, or has missing values, has
            `Int64` or `boolean` instead. The index counts from 0.

        Raises
        ------
        TableError
            If a column is missing or occurs twice, there is no row, or a number cannot be read.
        """
        refuse_duplicates(frame, origin)
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise TableError(
                f"{origin} lacks the column{_s(missing)} {_listed(missing)}. It has {_listed(list(frame.columns))}; "
                f"expected {_listed(self.names)}. Rename its columns, or correct the names in the schema."
            )
        if frame.empty:
            raise TableError(f"{origin} has no row; at least one is needed.")
        return pd.DataFrame({column.name: column.coerce(frame[column.name], origin=origin) for column in self.columns})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values that state a schema.

    Raises
    ------
    TableError
        If there is no such file, or it has no keys.
    """
    import yaml

    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"the schema {path} cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TableError(f"the schema {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(stated, dict):
        raise TableError(f"the schema {path} has no keys; expected `columns` and, optionally, `target`.")
    return stated


def readable_rows(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Select the rows in which every cell is a value of its column, in the schema's order and dtypes.

    Parameters
    ----------
    frame : pandas.DataFrame
        Generated rows with the schema's columns; a label may be unknown, a number may be text.
    schema : TableSchema
        The table's schema.

    Returns
    -------
    pandas.DataFrame
        The readable rows; the index counts from 0.
    """
    readable = [column.is_readable(frame[column.name]) for column in schema.columns]
    kept = frame[np.logical_and.reduce(readable)]
    return pd.DataFrame({column.name: column.coerce(kept[column.name], origin="rows") for column in schema.columns})


def refuse_duplicates(frame: pd.DataFrame, origin: str) -> None:
    """Raise a `TableError` if a frame has two columns of one name."""
    twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if twice:
        raise TableError(f"{origin} has the column{_s(twice)} {_listed(twice)} twice; every name must be unique.")


def refuse_reserved(names: Sequence[str]) -> None:
    """Raise a `TableError` if a column has one of the names in `RESERVED`."""
    clashing = sorted(name for name in names if name.lower() in RESERVED)
    if clashing:
        it = "it" if len(clashing) == 1 else "them"
        raise TableError(
            f"columns: {_listed(clashing)} would clash with a column that the pipeline adds; rename {it} in the source."
        )


def content_hash(frame: pd.DataFrame) -> str:
    """Hash the cells of a table and the names of its columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any table; its index does not count.

    Returns
    -------
    str
        A SHA-256 in hexadecimal, equal for equal values of equal dtypes in the same order.
    """
    digest = hashlib.sha256(repr([str(name) for name in frame.columns]).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _listed(names: Sequence[object]) -> str:
    return ", ".join(repr(str(name)) for name in names)


def _s(items: Sequence[object]) -> str:
    return "s" if len(items) > 1 else ""
