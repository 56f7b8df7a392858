"""Conditions on columns (`{"Rings": ">= 15", "Sex": "in ('I', 'F')"}`) as bounds on quantised values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synth_assets.schema.conditions import Condition, Operator
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.bounds import Bounds
from synth_assets.synthesizers.language_model.encoders import (
    MISSING,
    CategoricalEncoder,
    ColumnEncoder,
    RowEncoder,
    TextEncoder,
    ValueEncoder,
)

MAX_LISTED = 20
"""Labels that a message lists."""


@dataclass(frozen=True)
class _Range:
    """What a condition leaves of a column: quantised values from low to high but for some; maybe a missing one.

    Where `listed` is not None, it has all values that are left.
    """

    low: int
    high: int
    excluded: tuple[int, ...] = ()
    missing: bool = False
    listed: tuple[int, ...] | None = None


def bounds_of(conditions: Mapping[str, str | Condition], row_encoder: RowEncoder, n: int) -> dict[int, Bounds]:
    """Convert conditions on n rows to bounds, by the column's index in the order in which columns are generated.

    Parameters
    ----------
    conditions : mapping of str to str or Condition
        By column, a condition as `Condition.parse` reads it. All but `is null` leave no missing value.
    row_encoder : RowEncoder
        The encoder of the rows.
    n : int
        Number of rows.

    Raises
    ------
    ModelError
        If a condition cannot be read, names an unknown column or label, or leaves no value of the train rows.
    """
    found = {}
    names = [column.name for column in row_encoder.all_columns]
    for name, condition in conditions.items():
        if name not in names:
            raise ModelError(
                f"conditions name {name!r}, which is no column; the columns are {', '.join(row_encoder.names)}."
            )
        i = names.index(name)
        column = row_encoder.all_columns[i]
        if isinstance(condition, str):
            condition = Condition.parse(
                condition, name, column.labels if isinstance(column, CategoricalEncoder) else ()
            )
        left = _all(condition, column)
        if not left.missing and _is_empty(left, column):
            raise ModelError(f"condition {name} {condition} leaves no value: the train rows have {_described(column)}.")
        if isinstance(column, TextEncoder):
            found[i] = Bounds.of_text(n, low=left.low, missing=left.missing)
        else:
            found[i] = Bounds(
                np.full(n, left.low), np.full(n, left.high), np.full(n, left.missing), left.excluded, left.listed
            )
    return found


def _is_empty(left: _Range, column: ColumnEncoder) -> bool:
    """Return whether a range has no value on the column's grid that is not excluded."""
    if left.listed is not None:
        return not left.listed
    if isinstance(column, TextEncoder):
        return left.low > left.high
    low, step = column.low, column.grid_step
    first = low + -((low - left.low) // step) * step
    return set(range(first, min(left.high, first + step * len(left.excluded)) + 1, step)) <= set(left.excluded)


def _all(condition: Condition, column: ColumnEncoder) -> _Range:
    """Return what all clauses of a condition leave."""
    left = [
        _any([_range(clause.operator, value, condition, column) for value in clause.values])
        if clause.operator == "in"
        else _range(clause.operator, "".join(clause.values), condition, column)
        for clause in condition.clauses
    ]
    low, high = max(each.low for each in left), min(each.high for each in left)
    excluded = tuple(value for each in left for value in each.excluded)
    lists = [each.listed for each in left if each.listed is not None]
    listed = None
    if lists:
        common = set(lists[0]).intersection(*lists[1:]) - set(excluded)
        listed = tuple(sorted(value for value in common if low <= value <= high))
    return _Range(low, high, excluded, all(each.missing for each in left), listed)


def _any(single: Sequence[_Range]) -> _Range:
    """Return what one of several equalities leaves."""
    values = tuple(sorted({each.low for each in single if each.low == each.high}))
    return _Range(values[0], values[-1], listed=values) if values else _Range(1, 0, listed=())


def _range(operator: Operator, text: str, condition: Condition, column: ColumnEncoder) -> _Range:
    """Return what a comparison with one value leaves of a column, or `is null`; of `in`, what each value does."""
    if operator == "is null":
        if not column.has_missing:
            raise ModelError(
                f"condition {column.name} {condition} cannot be met: no train row has a missing value in this column."
            )
        return _Range(1, 0, missing=True)
    if isinstance(column, TextEncoder):
        if operator != "is not null":
            raise ModelError(
                f"condition {column.name} {condition} cannot be met: text takes `is null` and `is not null`."
            )
        return _Range(0, 0)
    everything = _Range(column.low, column.high)
    if operator == "is not null":
        return everything
    if isinstance(column, CategoricalEncoder):
        if operator not in ("==", "!=", "in") or text not in column.labels:
            raise ModelError(
                f"condition {column.name} {condition} cannot be met: a category takes ==, !=, in and not in, and "
                f"one of {_described(column)}."
            )
        code = column.labels.index(text)
        return _Range(code, code) if operator != "!=" else replace(everything, excluded=(code,))
    scaled = column.grid.parse(text)
    if scaled is None:
        noun = (
            "numbers with {!r}; expected a number"
            if column.grid.type in ("integer", "float")
            else ("dates with {!r}; expected a date such as 2024-01-31")
        )
        raise ModelError(f"condition {column.name} {condition} compares a column of {noun.format(text)}.")
    scaled = _atom(text, column, scaled)
    nearest = round(scaled)
    # What differs from a point of the grid by the error of a float only, is that point.
    exact = math.isclose(scaled, nearest, rel_tol=1e-12, abs_tol=1e-6)
    least, greatest = (nearest, nearest) if exact else (math.ceil(scaled), math.floor(scaled))
    on_grid = exact and ((nearest - column.low) % column.grid_step == 0 or nearest in column.atoms)
    if column.listed:
        on_grid = on_grid and nearest in column.listed
    match operator:
        case ">=":
            return replace(everything, low=max(column.low, least))
        case "<=":
            return replace(everything, high=min(column.high, greatest))
        case ">":
            return replace(everything, low=max(column.low, nearest + 1 if exact else least))
        case "<":
            return replace(everything, high=min(column.high, nearest - 1 if exact else greatest))
        case "==" | "in":
            return _Range(max(column.low, nearest), min(column.high, nearest)) if on_grid else _Range(1, 0)
        case _:
            return replace(everything, excluded=(nearest,) if on_grid else ())


def _atom(text: str, column: ValueEncoder, scaled: float) -> float:
    """Return the quantised value of an atom whose value is written; else what the text was read as."""
    if not isinstance(column, CategoricalEncoder) and column.atom_values:
        for atom, value in zip(column.atoms, column.atom_values, strict=True):
            if text == str(value) or float(text) == value:
                return atom
    return scaled


def _described(column: ColumnEncoder) -> str:
    if isinstance(column, TextEncoder):
        return "texts"
    if not column.n_values:
        return "none"
    if isinstance(column, CategoricalEncoder):
        more = len(column.labels) - MAX_LISTED
        return ", ".join(column.labels[:MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")
    values = column.to_values(np.array([column.low, column.high]))
    if column.grid.type == "date":
        values = values.dt.strftime("%Y-%m-%d")
    low, high = (f"{value:.15g}" if isinstance(value, float) else str(value) for value in values)
    if column.grid.type not in ("integer", "float") or column.grid.digits:
        return f"{low} to {high}"
    return f"{low} to {high} in steps of {column.grid_step / 10**column.grid.decimals:.15g}"


def known_bounds(quantised: np.ndarray, is_gap: np.ndarray, row_encoder: RowEncoder) -> dict[int, Bounds]:
    """Return bounds that leave known cells as they are, and gaps open to any value but a missing one.

    Of a column that is empty in every train row, gaps stay.

    Parameters
    ----------
    quantised : numpy.ndarray
        (n, `n_cells`) quantised rows.
    is_gap : numpy.ndarray
        (n, m) which columns of which rows are open, in the order in which columns are generated.
    row_encoder : RowEncoder
        The encoder of the rows.
    """
    bounds = {}
    for i, column in enumerate(row_encoder.all_columns):
        gap, cells = is_gap[:, i], quantised[:, row_encoder.cells_of(i)]
        if isinstance(column, TextEncoder):
            pieces = np.where(gap[:, None], MISSING, cells)
            bounds[i] = replace(Bounds.of_text(len(gap), low=0, missing=False), pieces=pieces)
            continue
        stays = gap & (column.n_values == 0)
        bounds[i] = Bounds(np.where(gap, column.low, cells), np.where(gap, column.high, cells), stays)
    return bounds
