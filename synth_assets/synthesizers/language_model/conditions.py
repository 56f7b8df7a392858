"""Conditions on columns (`{"Rings": ">= 15", "Sex": "== 'I'"}`) as bounds on quantised values."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, RowEncoder
from synth_assets.synthesizers.language_model.generation import Bounds


@dataclass(frozen=True)
class Condition:
    """A comparison of a column with a value.

    Parameters
    ----------
    operator : str
        One of `>=`, `<=`, `>`, `<`, `==`, `!=`.
    value : str
        The value, without the quotes around it.
    """

    operator: str
    value: str

    @classmethod
    def parse(cls, text: str, column: str) -> "Condition":
        """Read a condition such as `>= 15` or `== 'I'`.

        A label may be quoted, by ' or ", and then holds any character: `== 'it's'` is the label it's.

        Parameters
        ----------
        text : str
            The condition.
        column : str
            The column's name, for the message.

        Raises
        ------
        ModelError
            If there is no operator, or no value.
        """
        found = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)(?!=)\s*(\S.*?)\s*", text, re.DOTALL)
        if found is None:
            raise ModelError(
                f"the condition {text!r} on {column!r} cannot be read; expected one of >=, <=, >, <, ==, != and a "
                "value, such as >= 15 or == 'I'."
            )
        operator, value = found.groups()
        is_quoted = len(value) > 1 and value[0] in "'\"" and value[0] == value[-1]
        return cls(operator, value[1:-1] if is_quoted else value)

    def number(self) -> float | None:
        """Return the value as a finite number; None if it is not one."""
        try:
            number = float(self.value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None


def bounds_of(conditions: Mapping[str, str], row_encoder: RowEncoder, n: int) -> dict[int, Bounds]:
    """Convert conditions to bounds.

    Parameters
    ----------
    conditions : mapping of str to str
        Conditions by column: an operator (`>=`, `<=`, `>`, `<`, `==`, `!=`) and a value.
    row_encoder : RowEncoder
        The table's row encoder.
    n : int
        Number of rows.

    Returns
    -------
    dict of int to Bounds
        Bounds by the column's position in the column order.

    Raises
    ------
    ModelError
        If a condition cannot be read, names an unknown column or label, or leaves no value of the train rows.
    """
    found = {}
    for name, condition in conditions.items():
        names = [column.name for column in row_encoder.columns]
        if name not in names:
            raise ModelError(
                f"conditions name {name!r}, which is no column; the columns are {', '.join(row_encoder.names)}."
            )
        i = names.index(name)
        low, high, excluded = _range(condition, name, row_encoder, i)
        if low > high or low == high == excluded:
            raise ModelError(
                f"condition {name} {condition} leaves no value: the train rows have {_described(row_encoder, i)}."
            )
        found[i] = Bounds(np.full(n, low), np.full(n, high), None if excluded is None else np.full(n, excluded))
    return found


def _range(condition: str, name: str, row_encoder: RowEncoder, i: int) -> tuple[int, int, int | None]:
    parsed = Condition.parse(condition, name)
    operator = parsed.operator
    column = row_encoder.columns[i]
    low, high = row_encoder.bounds(i)
    if isinstance(column, CategoricalEncoder):
        if operator not in ("==", "!=") or parsed.value not in column.labels:
            raise ModelError(
                f"condition {name} {condition} cannot be met: a category takes == or != and one of "
                f"{', '.join(column.labels)}."
            )
        code = column.labels.index(parsed.value)
        return (code, code, None) if operator == "==" else (low, high, code)
    value = parsed.number()
    if value is None:
        raise ModelError(
            f"condition {name} {condition} compares a column of numbers with {parsed.value!r}; expected a number."
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


def _described(row_encoder: RowEncoder, i: int) -> str:
    column = row_encoder.columns[i]
    if isinstance(column, CategoricalEncoder):
        return ", ".join(column.labels)
    low, high = (column.to_values(np.array([value]))[0] for value in row_encoder.bounds(i))
    step = column.to_values(np.array([column.grid_step]))[0]
    return f"{low:g} to {high:g} in steps of {step:g}"
