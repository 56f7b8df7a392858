"""Any column, chosen by its type."""

from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from synth_assets.schema.columns.keys import Id
from synth_assets.schema.columns.labels import Boolean, Categorical
from synth_assets.schema.columns.numbers import Float, Integer
from synth_assets.schema.columns.strings import Text
from synth_assets.schema.columns.times import Date, Datetime

Column = Annotated[Categorical | Boolean | Integer | Float | Date | Datetime | Text | Id, Field(discriminator="type")]
"""Any column, chosen by its `type`."""


def describe_type(values: pd.Series) -> str:
    """Return the column type that values in memory have: 'boolean', 'integer', 'float', 'datetime' or 'text'."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return "datetime"
    kinds: tuple[Any, ...] = (Boolean(name="x"), Integer(name="x"), Float(name="x"), Datetime(name="x"))
    return next((kind.type for kind in kinds if kind.has_dtype(values)), "text")
