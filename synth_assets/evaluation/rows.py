"""What the measures ask of the rows that they compare, said in words before a library says it in its own."""

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.schema.table import TableSchema

_FARTHEST = 1e6
"""Standard deviations. What is farther is as far: the squares of greater numbers would soon be infinite."""


def require_columns(schema: TableSchema, **sets: pd.DataFrame) -> None:
    """Refuse sets of rows that lack a column of the table, or have numbers that are none.

    Parameters
    ----------
    schema : TableSchema
        The raw table's schema.
    **sets : pandas.DataFrame
        By what they are called in the message.

    Raises
    ------
    ForeseenError
        If a set lacks a column, or a numeric column has another type.
    """
    for name, rows in sets.items():
        called = name.replace("_", "-")
        lacking = [column for column in schema.names if column not in rows]
        if lacking:
            raise ForeseenError(
                f"the {called} rows lack the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}; expected "
                f"{', '.join(schema.names)}. Give rows of the raw table's columns."
            )
        for column in schema.columns:
            if column.is_numeric and not pd.api.types.is_numeric_dtype(rows[column.name]):
                raise ForeseenError(
                    f"column {column.name!r} of the {called} rows has the type {rows[column.name].dtype}; expected "
                    "numbers. Give rows of the raw table's types."
                )


def require_rows(schema: TableSchema, *, at_least: int = 1, **sets: pd.DataFrame) -> None:
    """Refuse sets of rows that are too few, or that have empty or infinite cells.

    Parameters
    ----------
    schema : TableSchema
        The raw table's schema.
    at_least : int
        The fewest rows that each set needs.
    **sets : pandas.DataFrame
        Rows in the raw table's columns and types, by what they are called in the message.

    Raises
    ------
    ForeseenError
        If a set has fewer rows, or a cell that is empty or infinite.
    """
    for name, rows in sets.items():
        called = name.replace("_", "-")
        if len(rows) < at_least:
            raise ForeseenError(
                f"found {len(rows)} {called} row{'' if len(rows) == 1 else 's'}; this measure needs at least "
                f"{at_least} of them. Draw a larger sample, or split the table differently."
            )
        for column in schema.columns:
            values = rows[column.name]
            wrong = values.isna().to_numpy()
            if column.is_numeric:
                wrong = wrong | np.isinf(values.to_numpy("float64", na_value=np.nan))
            if wrong.any():
                raise ForeseenError(
                    f"column {column.name!r} of the {called} rows has {int(wrong.sum())} empty or infinite "
                    f"cell{'' if wrong.sum() == 1 else 's'}; this measure needs every cell. Leave those rows out."
                )


def labels_seen(name: str, schema: TableSchema, *sets: pd.DataFrame) -> list[str]:
    """Give the labels of a category column: the schema's in order, then those that only the rows have.

    Parameters
    ----------
    name : str
        The column.
    schema : TableSchema
        The raw table's schema.
    *sets : pandas.DataFrame
        Rows in the raw table's columns and types.

    Returns
    -------
    list of str
        Each label once.
    """
    seen = sorted({str(label) for rows in sets for label in rows[name].unique()})
    return list(dict.fromkeys((*schema.column(name).categories, *seen)))


def category_names(schema: TableSchema) -> list[str]:
    """Give the names of the category columns, in order."""
    return [column.name for column in schema.columns if not column.is_numeric]


def numeric_names(schema: TableSchema) -> list[str]:
    """Give the names of the numeric columns, in order."""
    return [column.name for column in schema.columns if column.is_numeric]


def judged_rows(synthetic: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Give the rows by which a sample is judged, where a measure cannot take all of a long one.

    Parameters
    ----------
    synthetic, train : pandas.DataFrame
        Rows; a sample may have any number of them.

    Returns
    -------
    pandas.DataFrame
        As many rows as there are train rows, so that floors are of the same size and a sample of a million rows costs
        no more than one of thousands: all of them where there are no more, else a draw without replacement, always the
        same one and in the order of the sample.
    """
    if len(synthetic) <= len(train):
        return synthetic
    drawn = np.random.default_rng(0).choice(len(synthetic), len(train), replace=False)
    return synthetic.iloc[np.sort(drawn)]


def as_points(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Give rows as points between which distances can be measured.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    numpy.ndarray
        A point a row: numbers in standard deviations of the train rows, then a coordinate of 0 or 1 for each label.
    """
    columns = []
    for name in numeric_names(schema):
        known = train[name].to_numpy("float64")
        # The deviation of equal decimals is a rounding error, and no unit to measure in.
        unit = known.std() if known.min() < known.max() else 1.0
        columns.append(((rows[name].to_numpy("float64") - known.mean()) / unit).clip(-_FARTHEST, _FARTHEST))
    for name in category_names(schema):
        # A label that no train row has is as far from each of them as another one.
        columns.extend((rows[name] == label).to_numpy("float64") for label in labels_seen(name, schema, train))
    return np.column_stack(columns)
