"""Conditions on columns (`{"Rings": ">= 15", "Sex": "== 'I'", "lab": "is null"}`) as bounds on quantised values."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.bounds import Bounds
from synth_assets.synthesizers.language_model.encoders import (
    MISSING,
    CategoricalEncoder,
    ColumnEncoder,
    NumericEncoder,
    RowEncoder,
    TextEncoder,
    ValueEncoder,
)

_CLAUSE = re.compile(r"\s*(?:(is not null|is null)\s*|(>=|<=|==|!=|>|<)(?!=)\s*(\S.*?)\s*)", re.DOTALL | re.IGNORECASE)

MAX_LISTED = 20
"""Labels that a message lists."""


@dataclass(frozen=True)
class _Range:
    """What a condition leaves of a column: quantised values from low to high but for some; maybe a missing one."""

    low: int
    high: int
    excluded: tuple[int, ...] = ()
    missing: bool = False


def bounds_of(conditions: Mapping[str, str], row_encoder: RowEncoder, n: int) -> dict[int, Bounds]:
    """Convert conditions on n rows to bounds, by the column's index in the order in which columns are generated.

    Parameters
    ----------
    conditions : mapping of str to str
        By column: `is null`, `is not null`, or one of >=, <=, >, <, ==, != and a value, in quotes or not; several are
        joined with ` and `. All but `is null` leave no missing value.
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
        left = _all(condition, column)
        if not left.missing and _is_empty(left, column):
            raise ModelError(f"condition {name} {condition} leaves no value: the train rows have {_described(column)}.")
        if isinstance(column, TextEncoder):
            found[i] = Bounds.of_text(n, low=left.low, missing=left.missing)
        else:
            found[i] = Bounds(np.full(n, left.low), np.full(n, left.high), np.full(n, left.missing), left.excluded)
    return found


def _is_empty(left: _Range, column: ColumnEncoder) -> bool:
    """Return whether a range has no value on the column's grid that is not excluded."""
    step, low = (column.grid_step, column.low) if isinstance(column, NumericEncoder) else (1, 0)
    first = low + -((low - left.low) // step) * step
    return set(range(first, min(left.high, first + step * len(left.excluded)) + 1, step)) <= set(left.excluded)


def _all(condition: str, column: ColumnEncoder) -> _Range:
    """Return what all clauses of a condition leave."""
    clauses = _split(condition, column)
    if clauses is None:
        raise ModelError(
            f"the condition {condition!r} on {column.name!r} cannot be read; expected one of >=, <=, >, <, ==, != and "
            "a value, such as >= 15 or == 'I', or `is null` or `is not null`; several are joined with ` and `."
        )
    left = [_range(operator, text, condition, column) for operator, text in clauses]
    return _Range(
        max(each.low for each in left),
        min(each.high for each in left),
        tuple(value for each in left for value in each.excluded),
        all(each.missing for each in left),
    )


def _split(condition: str, column: ColumnEncoder) -> list[tuple[str, str]] | None:
    """Split a condition into operators and values; None if it cannot be read. A label may contain ' and '."""
    whole = _CLAUSE.fullmatch(condition)
    if whole is not None:
        null, operator, value = whole.groups()
        if null:
            return [(null.lower(), "")]
        has_more = re.search(r"(?i)\s+and\s+(?:>=|<=|==|!=|>|<|is\s)", value)
        if not has_more or (isinstance(column, CategoricalEncoder) and _unquoted(value, column) in column.labels):
            return [(operator, _unquoted(value, column))]
    for joint in re.finditer(r"(?i)\s+and\s+", condition):
        first, rest = _split(condition[: joint.start()], column), _split(condition[joint.end() :], column)
        if first and rest:
            return first + rest
    return None


def _unquoted(value: str, column: ColumnEncoder) -> str:
    """Return a value without the quotes around it, unless they are part of a label."""
    if isinstance(column, CategoricalEncoder) and value in column.labels:
        return value
    is_quoted = len(value) > 1 and value[0] in "'\"" and value[0] == value[-1]
    return value[1:-1] if is_quoted else value


def _range(operator: str, text: str, condition: str, column: ColumnEncoder) -> _Range:
    """Return what one clause leaves of a column."""
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
        if operator not in ("==", "!=") or text not in column.labels:
            raise ModelError(
                f"condition {column.name} {condition} cannot be met: a category takes == or != and one of "
                f"{_described(column)}."
            )
        code = column.labels.index(text)
        return _Range(code, code) if operator == "==" else replace(everything, excluded=(code,))
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
        case "==":
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
