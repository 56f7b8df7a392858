"""The experiment's split of a table into rows to learn from and rows that only the evaluation sees."""

from dataclasses import dataclass

import pandas as pd

from synth_assets.schema.table import TableError

SPLIT = "split"
ROW_ID = "row_id"


@dataclass(frozen=True)
class Split:
    """How a table is divided.

    Parameters
    ----------
    train_size : int
        How many rows to learn from; the rest is held out.
    random_state : int
        The seed of the shuffle.
    """

    train_size: int
    random_state: int

    def apply(self, encoded: pd.DataFrame) -> pd.DataFrame:
        """Mark each row 'train' or 'test', as `sklearn.model_selection.train_test_split` divides them.

        Parameters
        ----------
        encoded : pandas.DataFrame
            A table of n rows.

        Returns
        -------
        pandas.DataFrame
            The n rows in the order of the shuffle, train rows first, with two columns more: `split` ('train' or
            'test') and `row_id` (the row's position in `encoded`, from 0).

        Raises
        ------
        TableError
            If `train_size` leaves no row to hold out.
        """
        from sklearn.model_selection import train_test_split

        if not 0 < self.train_size < len(encoded):
            raise TableError(
                f"split.train_size is {self.train_size} and the table has {len(encoded)} rows; expected at least 1 "
                f"and at most {len(encoded) - 1}, so that rows are held out. Lower train_size in defs.yaml."
            )
        numbered = encoded.assign(**{ROW_ID: range(len(encoded))})
        train, test = train_test_split(numbered, train_size=self.train_size, random_state=self.random_state)
        parts = [train.assign(**{SPLIT: "train"}), test.assign(**{SPLIT: "test"})]
        return pd.concat(parts)[[*encoded.columns, SPLIT, ROW_ID]].reset_index(drop=True)


def rows_of(encoded_split: pd.DataFrame, part: str) -> pd.DataFrame:
    """Give the rows of one part, with the encoded columns alone.

    Parameters
    ----------
    encoded_split : pandas.DataFrame
        What `Split.apply` gave.
    part : {"train", "test"}
        Which part. Nothing but the evaluation asks for 'test'.

    Returns
    -------
    pandas.DataFrame
        Those rows, without `split` and `row_id`; the index counts from 0.
    """
    rows = encoded_split[encoded_split[SPLIT] == part]
    return rows.drop(columns=[SPLIT, ROW_ID]).reset_index(drop=True)
