"""Conditions on columns (`{"Rings": ">= 15", "Sex": "== 'I'"}`) as bounds on quantised values."""

import math
import re
from collections.abc import Mapping

import numpy as np

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, ColumnEncoder, RowEncoder
from synth_assets.synthesizers.language_model.generation import Bounds


def bounds_of(conditions: Mapping[str, str], row_encoder: RowEncoder, n: int) -> dict[int, Bounds]:
    """Convert conditions on n rows to bounds, by the column's index in the column order.

    Raises
    ------
    ModelError
        If a condition cannot be read, names an unknown column or label, or leaves no value of the train rows.
    """
    found = {}
    names = [column.name for column in row_encoder.columns]
    for name, condition in conditions.items():
        if name not in names:
            raise ModelError(
                f"conditions name {name!r}, which is no column; the columns are {', '.join(row_encoder.names)}."
            )
        i = names.index(name)
        column = row_encoder.columns[i]
        low, high, excluded = _range(condition, column)
        if low > high or low == high == excluded:
            raise ModelError(f"condition {name} {condition} leaves no value: the train rows have {_described(column)}.")
        found[i] = Bounds(np.full(n, low), np.full(n, high), None if excluded is None else np.full(n, excluded))
    return found


def _parse(condition: str, name: str) -> tuple[str, str]:
    """Split a condition such as `>= 15` or `== 'it's'` into its operator and its value, without quotes."""
    found = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)(?!=)\s*(\S.*?)\s*", condition, re.DOTALL)
    if found is None:
        raise ModelError(
            f"the condition {condition!r} on {name!r} cannot be read; expected one of >=, <=, >, <, ==, != and a "
            "value, such as >= 15 or == 'I'."
        )
    operator, value = found.groups()
    is_quoted = len(value) > 1 and value[0] in "'\"" and value[0] == value[-1]
    return operator, value[1:-1] if is_quoted else value


def _range(condition: str, column: ColumnEncoder) -> tuple[int, int, int | None]:
    """Return the smallest and largest quantised value that meet a condition, and one in between that does not."""
    operator, text = _parse(condition, column.name)
    low, high = column.low, column.high
    if isinstance(column, CategoricalEncoder):
        if operator not in ("==", "!=") or text not in column.labels:
            raise ModelError(
                f"condition {column.name} {condition} cannot be met: a category takes == or != and one of "
                f"{', '.join(column.labels)}."
            )
        code = column.labels.index(text)
        return (code, code, None) if operator == "==" else (low, high, code)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ModelError(
            f"condition {column.name} {condition} compares a column of numbers with {text!r}; expected a number."
        )
    scaled = value * 10**column.decimals
    nearest = round(scaled)
    # What differs from a point of the grid by the error of a float only, is that point.
    exact = math.isclose(scaled, nearest, rel_tol=1e-12, abs_tol=1e-6)
    least, greatest = (nearest, nearest) if exact else (math.ceil(scaled), math.floor(scaled))
    on_grid = exact and (nearest - column.low) % column.grid_step == 0
    match operator:
        case ">=":
            return max(low, least), high, None
        case "<=":
            return low, min(high, greatest), None
        case ">":
            return max(low, nearest + 1 if exact else least), high, None
        case "<":
            return low, min(high, nearest - 1 if exact else greatest), None
        case "==":
            return (max(low, nearest), min(high, nearest), None) if on_grid else (1, 0, None)
        case _:
            return low, high, nearest if on_grid else None


def _described(column: ColumnEncoder) -> str:
    if isinstance(column, CategoricalEncoder):
        return ", ".join(column.labels)
    low, high, step = column.to_values(np.array([column.low, column.high, column.grid_step]))
    return f"{low:g} to {high:g} in steps of {step:g}"
