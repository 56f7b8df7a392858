"""Lossless encoding of rows as integers.

Numeric columns are quantised on their grid; predictable ones are stored as residuals. The encoding is one to one: it
changes how short a row can be, never which rows can be generated. Everything is fitted to the train rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synth_assets.synthesizers.base import ModelError, refuse_missing
from synth_assets.synthesizers.language_model.encoders.categorical import CategoricalEncoder
from synth_assets.synthesizers.language_model.encoders.numeric import NumericEncoder
from synth_assets.synthesizers.language_model.encoders.residuals import fit_predictor, order_by_predictability

ColumnEncoder = CategoricalEncoder | NumericEncoder
"""The encoder of a column."""

ENCODERS = {encoder.type: encoder for encoder in (CategoricalEncoder, NumericEncoder)}


@dataclass(frozen=True)
class RowEncoder:
    """Encoder of the rows of a table.

    A row has three forms: typed values (a frame), quantised values (an integer for each cell: a number in units of its
    last decimal, a label's position), and codes (from 0 to the cardinality of the column - 1).

    Parameters
    ----------
    names : tuple of str
        Columns of the table, in the table's order.
    columns : tuple of CategoricalEncoder or NumericEncoder
        Encoders of the columns, in the order in which columns are generated.
    """

    names: tuple[str, ...]
    columns: tuple[ColumnEncoder, ...]

    @classmethod
    def fit(cls, train: pd.DataFrame, column_order: Sequence[str] = (), use_residuals: bool = True) -> "RowEncoder":
        """Fit the encoder to the rows of a table.

        After the columns in `column_order` come the categorical ones, then the numeric ones, each after those that
        predict it best.

        Parameters
        ----------
        train : pandas.DataFrame
            Train rows: labels as `str`, numbers as numbers, none missing.
        column_order : sequence of str
            Columns to generate first; all of them, to set the complete order.
        use_residuals : bool
            Whether predictable columns are encoded as residuals.

        Returns
        -------
        RowEncoder
            The encoder.

        Raises
        ------
        ModelError
            If there is no row, a cell is missing or infinite, a name occurs twice, or `column_order` names no column.
        """
        _check(train, column_order)
        encoders = {name: _fit_column(train[name]) for name in train.columns}
        values = {name: encoder.quantise(train[name]) for name, encoder in encoders.items()}
        order = list(column_order)
        order += [name for name, encoder in encoders.items() if not encoder.is_numeric and name not in column_order]
        rest = [name for name in train.columns if name not in order]
        order += order_by_predictability(rest, [name for name in order if encoders[name].is_numeric], values)
        quantised = np.column_stack([values[name] for name in order])
        columns = [encoders[name] for name in order]
        if use_residuals:
            varying = [i for i, encoder in enumerate(columns) if encoder.is_numeric and encoder.high > encoder.low]
            for i, encoder in enumerate(columns):
                if isinstance(encoder, NumericEncoder):
                    predictor = fit_predictor(quantised, i, [j for j in varying if j < i])
                    if predictor is not None:
                        columns[i] = encoder.with_predictor(predictor, quantised, quantised[:, i])
        return cls(tuple(str(name) for name in train.columns), tuple(columns))

    def quantise(self, frame: pd.DataFrame) -> np.ndarray:
        """Quantise n rows to (n, m) integers in the order of `columns`; an unknown label is -1."""
        return np.column_stack([column.quantise(frame[column.name]) for column in self.columns])

    def codes(self, quantised: np.ndarray) -> np.ndarray:
        """Encode quantised rows, (n, m), as codes from 0 to the cardinality - 1; -1 where a cell cannot be encoded."""
        codes = np.empty_like(quantised)
        for i, column in enumerate(self.columns):
            code, remainder = np.divmod(quantised[:, i] - column.offsets(quantised), column.grid_step)
            codes[:, i] = np.where((remainder == 0) & (code >= 0) & (code < column.cardinality), code, -1)
        return codes

    def to_frame(self, quantised: np.ndarray) -> pd.DataFrame:
        """Return quantised rows as rows of the table, with its column order, types and labels."""
        values = {column.name: column.to_values(quantised[:, i]) for i, column in enumerate(self.columns)}
        return pd.DataFrame({name: values[name] for name in self.names})

    def to_text(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return rows as the texts of their codes, in the order of `columns`.

        Raises
        ------
        ModelError
            If a row cannot be encoded.
        """
        codes = self.codes(self.quantise(frame))
        if (codes < 0).any():
            row, i = (int(index) for index in np.argwhere(codes < 0)[0])
            name = self.columns[i].name
            raise ModelError(
                f"row {row} has {frame[name].iloc[row]!r} in column {name!r}, which is not on the grid, or too far "
                "from the rows that the model learned from; fit a model to a table that has such rows."
            )
        texts = {c.name: np.array(c.vocabulary(), object)[codes[:, i]] for i, c in enumerate(self.columns)}
        return pd.DataFrame(texts).astype("str")

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        return {"names": list(self.names), "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RowEncoder":
        """Restore an encoder from `to_json`.

        Raises
        ------
        ModelError
            If another version of this package wrote the data.
        """
        try:
            columns = tuple(ENCODERS[column["type"]].from_json(column) for column in data["columns"])
            return cls(tuple(data["names"]), columns)
        except (KeyError, TypeError) as error:
            raise ModelError(
                "the model was fitted by another version of synth_assets, which encoded rows differently; fit it again."
            ) from error


def _fit_column(values: pd.Series) -> ColumnEncoder:
    is_numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return NumericEncoder.fit(values) if is_numeric else CategoricalEncoder.fit(values)


def _check(train: pd.DataFrame, column_order: Sequence[str]) -> None:
    if train.empty or not len(train.columns):
        raise ModelError("there is no row to learn from; expected at least one.")
    if not train.columns.is_unique:
        raise ModelError(f"a column name occurs twice: {', '.join(map(str, train.columns))}; each needs its own.")
    unknown = [name for name in column_order if name not in train.columns]
    if unknown:
        raise ModelError(
            f"column_order names {', '.join(unknown)}; the columns are {', '.join(map(str, train.columns))}."
        )
    refuse_missing(train)
