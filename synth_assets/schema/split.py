"""The split of a table into train rows and held-out rows."""

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synth_assets.schema.columns import TableError
from synth_assets.schema.table import TableSchema

SPLIT, ROW_ID = "split", "row_id"
TRAIN, TEST = "train", "test"

MIN_PART_ROWS = 5
"""Rows that each part needs to be evaluated: classifiers are validated in five stratified folds."""


class Split(BaseModel):
    """The arguments of `sklearn.model_selection.train_test_split`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train_size: float = Field(
        gt=0, description="Number of train rows, or their share if less than 1; others are held out."
    )
    random_state: int = Field(default=0, ge=0, lt=2**32, description="Seed of the shuffle.")
    stratify: str | None = Field(
        default=None,
        description="Column of labels whose shares both parts keep; by default the target, if it has labels.",
    )

    @field_validator("train_size")
    @classmethod
    def _is_count_or_share(cls, value: float) -> float:
        if value < 1:
            return value
        if value != int(value):
            raise ValueError(f"found {value:g}; expected a number of rows, such as 3000, or a share, such as 0.8")
        return int(value)

    @property
    def minimum_rows(self) -> int:
        """Number of rows of the smallest table of which both parts have the rows that an evaluation needs."""
        if self.train_size >= 1:
            return int(self.train_size) + MIN_PART_ROWS
        share = min(self.train_size, 1 - self.train_size)
        rows = max(2, int((MIN_PART_ROWS - 1) / share))
        while min(self.count(rows), rows - self.count(rows)) < MIN_PART_ROWS:
            rows += 1
        return rows

    def count(self, rows: int) -> int:
        """Return the number of train rows of a table of n rows.

        Raises
        ------
        TableError
            If no row would be held out.
        """
        if rows < (self.train_size + 1 if self.train_size >= 1 else 2):
            found = f"{rows} row{'' if rows == 1 else 's'}"
            raise TableError(
                f"split.train_size is {self.train_size} and the table has {found}; expected at least 1 "
                f"and at most {rows - 1} train rows, so that rows are held out. Lower train_size."
                if self.train_size >= 1
                else f"the table has {found}; at least 2 are needed to hold one out."
            )
        if self.train_size >= 1:
            return int(self.train_size)
        return min(max(round(self.train_size * rows), 1), rows - 1)

    def strata(self, frame: pd.DataFrame, schema: TableSchema) -> pd.Series | None:
        """Return the labels whose shares both parts keep.

        Parameters
        ----------
        frame : pandas.DataFrame
            n rows in the schema's dtypes.
        schema : TableSchema
            The table's schema.

        Returns
        -------
        pandas.Series or None
            n labels of the column `stratify`, or else of the target if it has labels or two values. Empty cells
            are a label. Labels of a single row go with the most frequent one. None if there is no such column, one
            label alone, or more labels than rows of a part.

        Raises
        ------
        TableError
            If `stratify` is not a column of labels.
        """
        name = self.stratify or schema.target
        is_binary = name is not None and name in schema.numeric and frame[name].nunique() == 2
        if name is None or (name not in schema.categorical and (self.stratify is not None or not is_binary)):
            if self.stratify is not None:
                known = ", ".join(schema.categorical) or "none"
                raise TableError(f"split.stratify is {name!r}; expected a column of labels: {known}.")
            return None
        labels = schema.column(name).comparable(frame[name]).astype("str").fillna("")
        counts = labels.value_counts()
        labels = labels.mask(labels.map(counts) < 2, counts.index[0])
        n_train = self.count(len(frame))
        if not 1 < labels.nunique() <= min(n_train, len(frame) - n_train):
            return None
        return labels

    def membership(self, rows: int, strata: pd.Series | None = None) -> pd.DataFrame:
        """Assign each row to train or test.

        Parameters
        ----------
        rows : int
            n, the number of rows of the table.
        strata : pandas.Series, optional
            n labels, as `strata` returns them, whose shares both parts keep.

        Returns
        -------
        pandas.DataFrame
            n rows in the order of the shuffle, train rows first: `split` ('train' or 'test') and `row_id` (the row's
            position in the table, from 0).

        Raises
        ------
        TableError
            If `train_size` leaves no row to hold out.
        """
        from sklearn.model_selection import train_test_split

        train, test = train_test_split(
            np.arange(rows),
            train_size=self.count(rows),
            random_state=self.random_state,
            stratify=None if strata is None else strata.to_numpy(),
        )
        return pd.DataFrame({SPLIT: [TRAIN] * len(train) + [TEST] * len(test), ROW_ID: [*train, *test]})


def select(frame: pd.DataFrame, membership: pd.DataFrame, part: str) -> pd.DataFrame:
    """Select the rows of one part of a table.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    membership : pandas.DataFrame
        A frame with the columns `split` and `row_id`, as `Split.membership` returns them.
    part : {"train", "test"}
        Which part. Only evaluation reads 'test'.

    Returns
    -------
    pandas.DataFrame
        The rows of that part, in the order of the membership; the index counts from 0.
    """
    rows = membership.loc[membership[SPLIT] == part, ROW_ID]
    return frame.iloc[rows.to_numpy()].reset_index(drop=True)
