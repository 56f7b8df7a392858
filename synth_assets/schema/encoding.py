"""The numeric encoding of a table that `encoded_split` stores."""

from dataclasses import dataclass

import pandas as pd

from synth_assets.schema.columns import Column, TableError
from synth_assets.schema.table import TableSchema, refuse_reserved


@dataclass(frozen=True)
class Encoding:
    """An encoding of a table: labels as codes, the target as a float under a name of its own, the rest as it is.

    Parameters
    ----------
    schema : TableSchema
        The table's schema.
    target_name : str, optional
        Name of the target once encoded; unchanged by default.

    Raises
    ------
    TableError
        If the name is reserved, or another column has it.
    """

    schema: TableSchema
    target_name: str | None = None

    def __post_init__(self) -> None:
        refuse_reserved(self.names)
        if len({name.lower() for name in self.names}) < len(self.names):
            raise TableError(f"target.rename: {self.target_name!r} is already a column; choose a free name.")

    @property
    def names(self) -> list[str]:
        """The column names of an encoded table, in order."""
        return [self.name_of(column) for column in self.schema.columns]

    def name_of(self, column: Column) -> str:
        """Return the name of a column once encoded."""
        is_target = column.name == self.schema.target
        return self.target_name if is_target and self.target_name is not None else column.name

    def encode(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Encode rows: labels as integer codes, booleans as 0 and 1; numbers, dates, text and keys as they are.

        Parameters
        ----------
        frame : pandas.DataFrame
            n rows in the schema's dtypes.

        Returns
        -------
        pandas.DataFrame
            The n rows; the target as `float64` under `target_name`, a date in days since 1970. A missing value stays
            missing.

        Raises
        ------
        TableError
            If a label is not one of the schema's.
        """
        encoded = {self.name_of(column): column.encode(frame[column.name]) for column in self.schema.columns}
        if self.schema.target is not None:
            target = self.schema.column(self.schema.target)
            encoded[self.name_of(target)] = (
                target.comparable(frame[target.name])
                if target.is_numeric
                else target.encode(frame[target.name]).astype("float64")
            )
        return pd.DataFrame(encoded)
