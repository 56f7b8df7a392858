"""The experiment's encoding, both ways: labels to codes and back, the target renamed and back."""

from dataclasses import dataclass

import pandas as pd

from synth_assets.schema.table import TableError, TableSchema


@dataclass(frozen=True)
class Encoding:
    """How a table of this schema is written in numbers only.

    A category becomes the position of its label in the schema, as `pandas.Categorical.codes` gives it; the target
    takes its new name and becomes a float; everything else stays.

    Parameters
    ----------
    schema : TableSchema
        The table's schema.
    """

    schema: TableSchema

    @property
    def names(self) -> list[str]:
        """The column names of an encoded table, in order."""
        return [self.schema.target_renamed if name == self.schema.target else name for name in self.schema.names]

    @property
    def categories(self) -> list[str]:
        """The columns of an encoded table that are category codes, in order."""
        kinds = zip(self.names, self.schema.columns, strict=True)
        return [name for name, column in kinds if column.kind == "category"]

    def encode(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Write a raw table in numbers.

        Parameters
        ----------
        raw : pandas.DataFrame
            A table that `TableSchema.conform` gave, without missing values.

        Returns
        -------
        pandas.DataFrame
            The same rows; categories as `int8` codes, the target as `float64` under its new name.

        Raises
        ------
        TableError
            If a label is not one of the schema's.
        """
        encoded = raw.copy()
        for column in self.schema.columns:
            if column.kind == "category":
                known = raw[column.name].isin(column.categories)
                if not known.all():
                    unknown = sorted(set(raw[column.name][~known].astype(str)))
                    raise TableError(
                        f"column {column.name!r} has the label{'s' if len(unknown) > 1 else ''} "
                        f"{', '.join(map(repr, unknown))}; expected one of {', '.join(column.categories)}. "
                        "Add the label to the column's categories in defs.yaml, or correct the source."
                    )
                encoded[column.name] = pd.Categorical(raw[column.name], categories=list(column.categories)).codes
        encoded[self.schema.target] = encoded[self.schema.target].astype("float64")
        return encoded.rename(columns={self.schema.target: self.schema.target_renamed})

    def decode(self, encoded: pd.DataFrame) -> pd.DataFrame:
        """Write encoded rows in the raw table's columns, types and labels; rows that cannot be are left out.

        Parameters
        ----------
        encoded : pandas.DataFrame
            Rows with the encoded columns, all numeric, as a language model produced them: a code may name no label,
            a whole number may have come with a fraction.

        Returns
        -------
        pandas.DataFrame
            The rows that can be decoded, under their index in `encoded`.
        """
        raw = encoded.rename(columns={self.schema.target_renamed: self.schema.target})[self.schema.names]
        valid = raw.notna().all(axis="columns")
        for column in self.schema.columns:
            values = raw[column.name]
            valid &= values.abs() < float("inf")
            if column.kind in ("category", "integer"):
                valid &= values % 1 == 0
            if column.kind == "category":
                valid &= values.between(0, len(column.categories) - 1)
            if column.kind == "integer":
                valid &= values.abs() < 2**53  # beyond it a float no longer names one whole number
        raw = raw[valid].copy()
        for column in self.schema.columns:
            if column.kind == "category":
                codes = raw[column.name].astype("int64")
                raw[column.name] = pd.Series(list(column.categories), dtype="str").take(codes).set_axis(raw.index)
            elif column.kind == "integer":
                raw[column.name] = raw[column.name].astype("int64")
            else:
                raw[column.name] = raw[column.name].astype("float64")
        return raw

    def label(self, encoded: pd.DataFrame) -> pd.DataFrame:
        """Write encoded rows with labels in the place of codes, under the encoded table's names.

        Parameters
        ----------
        encoded : pandas.DataFrame
            Rows with the encoded columns.

        Returns
        -------
        pandas.DataFrame
            The rows, in the raw table's types and labels, the target under its new name.
        """
        return self.decode(encoded).rename(columns={self.schema.target: self.schema.target_renamed})

    def unlabel(self, labelled: pd.DataFrame) -> pd.DataFrame:
        """Give rows that `label` gave the raw table's names, in its order."""
        return labelled.rename(columns={self.schema.target_renamed: self.schema.target})[self.schema.names]
