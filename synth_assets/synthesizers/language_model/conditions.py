"""Conditions on rows in be_great's syntax (`{"Rings": ">= 15", "Sex": "== 'I'"}`), as limits in units."""

import math
from collections.abc import Mapping

import numpy as np

from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, RowEncoder
from synth_assets.synthesizers.language_model.generation import Bounds
from synth_assets.synthesizers.settings import ModelError


def limits_of(conditions: Mapping[str, str], row_encoder: RowEncoder, n: int) -> dict[int, Bounds]:
    """Turn conditions into limits.

    Parameters
    ----------
    conditions : mapping of str to str
        By column: an operator (`>=`, `<=`, `>`, `<`, `==`, `!=`) and a value, labels in quotes.
    row_encoder : RowEncoder
        The table's row_encoder.
    n : int
        For how many rows.

    Returns
    -------
    dict of int to Bounds
        By the column's position in the written order.

    Raises
    ------
    ModelError
        If a condition cannot be read, names no column or label of the table, or leaves no value that train rows have.
    """
    found = {}
    for name, condition in conditions.items():
        names = [column.name for column in row_encoder.columns]
        if name not in names:
            raise ModelError(
                f"conditions name {name!r}, which is no column; the columns are {', '.join(row_encoder.names)}."
            )
        place = names.index(name)
        low, high, excluded = _range(condition, name, row_encoder, place)
        if low > high or low == high == excluded:
            raise ModelError(
                f"condition {name} {condition} leaves no value: the train rows have {_described(row_encoder, place)}."
            )
        found[place] = Bounds(np.full(n, low), np.full(n, high), None if excluded is None else np.full(n, excluded))
    return found


def _range(condition: str, name: str, row_encoder: RowEncoder, place: int) -> tuple[int, int, int | None]:
    from be_great.great_constrained import parse_condition

    try:
        operator, value = parse_condition(condition)
    except ValueError as error:
        raise ModelError(f"condition on {name!r}: {error}") from error
    column = row_encoder.columns[place]
    low, high = row_encoder.bounds(place)
    if isinstance(column, CategoricalEncoder):
        # A label such as 1 comes back from be_great's parser as a number.
        label = condition.strip().removeprefix(operator).strip().strip("'\"")
        if operator not in ("==", "!=") or label not in column.labels:
            raise ModelError(
                f"condition {name} {condition} cannot be met: a category takes == or != and one of "
                f"{', '.join(column.labels)}."
            )
        code = column.labels.index(label)
        return (code, code, None) if operator == "==" else (low, high, code)
    if isinstance(value, str) or not math.isfinite(value):
        raise ModelError(
            f"condition {name} {condition} compares a column of numbers with {value!r}; expected a number."
        )
    units = value * 10**column.decimals
    nearest = round(units)
    # What differs from a point of the grid by the error of a float only, is that point.
    exact = math.isclose(units, nearest, rel_tol=1e-12, abs_tol=1e-6)
    least, greatest = (nearest, nearest) if exact else (math.ceil(units), math.floor(units))
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


def _described(row_encoder: RowEncoder, place: int) -> str:
    column = row_encoder.columns[place]
    if isinstance(column, CategoricalEncoder):
        return ", ".join(column.labels)
    low, high = (column.to_values(np.array([unit]))[0] for unit in row_encoder.bounds(place))
    step = column.to_values(np.array([column.grid_step]))[0]
    return f"{low:g} to {high:g} in steps of {step:g}"
