"""The split of a table into train rows and held-out rows."""

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from synth_assets.schema.columns import TableError

SPLIT, ROW_ID = "split", "row_id"
TRAIN, TEST = "train", "test"


class Split(BaseModel):
    """The arguments of `sklearn.model_selection.train_test_split`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train_size: float = Field(gt=0, description="Number of train rows, or their share; the rest is held out.")
    random_state: int = Field(ge=0, lt=2**32, description="Seed of the shuffle.")

    def membership(self, rows: int) -> pd.DataFrame:
        """Assign each row to train or test.

        Parameters
        ----------
        rows : int
            n, the number of rows of the table.

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

        train_rows = int(self.train_size if self.train_size >= 1 else max(1, round(self.train_size * rows)))
        if not train_rows < rows:
            raise TableError(
                f"split.train_size is {self.train_size:g} and the table has {rows} rows; expected at least 1 "
                f"and at most {rows - 1}, so that rows are held out. Lower train_size."
            )
        train, test = train_test_split(range(rows), train_size=train_rows, random_state=self.random_state)
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
