"""The column types. Each knows its dtype, its SQL type, and how its values are coerced, checked, compared and encoded.

A column is a pydantic model: YAML, JSON and the Python object are the same.
"""

from synth_assets.schema.columns.base import MAX_LISTED, BaseColumn, Role, TableError
from synth_assets.schema.columns.column import Column, describe_type
from synth_assets.schema.columns.keys import ALPHABETS, Id
from synth_assets.schema.columns.labels import FALSE_TEXTS, TRUE_TEXTS, Boolean, Categorical, LabelColumn
from synth_assets.schema.columns.numbers import Float, Integer, NumericColumn
from synth_assets.schema.columns.ordered import OrderedColumn
from synth_assets.schema.columns.strings import StringColumn, Text
from synth_assets.schema.columns.times import Date, Datetime, TimeColumn, with_numeric_offset
from synth_assets.schema.columns.values import MAX_EXACT_INTEGER, in_common_dtype

__all__ = [
    "ALPHABETS",
    "FALSE_TEXTS",
    "MAX_EXACT_INTEGER",
    "MAX_LISTED",
    "TRUE_TEXTS",
    "BaseColumn",
    "Boolean",
    "Categorical",
    "Column",
    "Date",
    "Datetime",
    "Float",
    "Id",
    "Integer",
    "LabelColumn",
    "NumericColumn",
    "OrderedColumn",
    "Role",
    "StringColumn",
    "TableError",
    "Text",
    "TimeColumn",
    "describe_type",
    "in_common_dtype",
    "with_numeric_offset",
]
