"""A schema inferred from rows, with the reasons and with what a person should decide."""

from dataclasses import dataclass

import pandas as pd

from synth_assets.schema.columns import TableError
from synth_assets.schema.infer.column import infer_column
from synth_assets.schema.infer.guess import Guess, Unsupported
from synth_assets.schema.infer.keys import not_a_key, repeated_key
from synth_assets.schema.infer.labels import text_if_rare
from synth_assets.schema.infer.notices import find_notices
from synth_assets.schema.infer.times import by_other_dates
from synth_assets.schema.table import TableSchema, refuse_duplicates

MIN_ROWS = 2
"""Minimum number of rows that a schema is inferred from."""


@dataclass(frozen=True)
class Inference:
    """A schema that was inferred from rows.

    Parameters
    ----------
    schema : TableSchema
        The columns, in the order of the frame, without those that are left out.
    reasons : dict
        For each column of the schema, why it has its type, as a phrase.
    left_out : dict
        For each column that no type holds, what it holds.
    notices : tuple of str
        What a person should decide, each as a sentence.
    """

    schema: TableSchema
    reasons: dict[str, str]
    left_out: dict[str, str]
    notices: tuple[str, ...] = ()

    @property
    def left_out_text(self) -> str:
        """The columns that are left out and why, as a sentence; empty if there are none."""
        if not self.left_out:
            return ""
        names: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            names.setdefault(reason, []).append(repr(name))
        found = "; ".join(
            f"{', '.join(each)} {reason if len(each) == 1 else reason.replace('holds', 'hold', 1)}"
            for reason, each in names.items()
        )
        return f"Left out: {found}. Convert them to numbers, dates or text to have them."


def infer_schema(
    frame: pd.DataFrame, target: str | None = None, *, origin: str = "the frame", private: bool = True
) -> TableSchema:
    """Infer a schema from rows; arguments and errors are as in `infer`.

    Examples
    --------
    >>> infer_schema(pd.DataFrame({"Sex": ["M", "F"] * 2, "Rings": [9, 7, 8, 7]})).column("Sex").categories
    ('F', 'M')
    """
    return infer(frame, target, origin=origin, private=private).schema


def infer(
    frame: pd.DataFrame, target: str | None = None, *, origin: str = "the frame", private: bool = True
) -> Inference:
    """Infer the type of each column from its values, its dtype and its name.

    Text that reads as whole numbers, decimals, true and false, dates or datetimes in every cell becomes a column of
    that type, and so do numbers in one format, such as $1,234.50, 12 kg or 08:30; whole numbers with leading zeros do
    not: they are labels, or text. Unique values that are consecutive, long, UUIDs or of a pattern
    such as AB-0001 become keys, texts also beside empty cells, whole numbers then if their name says so. So do, if
    their name says so, whole numbers and codes that repeat, but for few or, in a table that is not private, frequent
    ones. Other strings are labels if they repeat, and text if not. A column is nullable where a cell is empty. No
    limits are inferred.

    Parameters
    ----------
    frame : pandas.DataFrame
        At least two rows: text, as from a CSV file, or values of any dtype. Column names that are no text, such as 7,
        are converted with `str`.
    target : str, optional
        Name of the column that is predicted from the others; it is never taken for a key.
    origin : str
        Where the rows came from, for the messages.
    private : bool
        Whether the rows are confidential.

    Returns
    -------
    Inference
        The schema, the reason of each type, and the columns that no type holds.

    Raises
    ------
    TableError
        If the frame has fewer than two rows or no column, a column has no name, or one that is reserved or occurs
        twice, the target is not a column, or a number is infinite.
    """
    if not len(frame.columns):
        raise TableError(f"{origin} has no column; expected at least one.")
    frame = frame.set_axis([_name(name, i, origin) for i, name in enumerate(frame.columns)], axis="columns")
    refuse_duplicates(frame, origin)
    if len(frame) < MIN_ROWS:
        found = "no row" if frame.empty else "1 row"
        raise TableError(f"{origin} has {found}; at least {MIN_ROWS} are needed to learn a table.")
    guesses: dict[str, Guess] = {}
    left_out: dict[str, str] = {}
    for name in frame.columns:
        try:
            guess = infer_column(frame[name], is_target=name == target, origin=origin)
            if name != target:
                guess = text_if_rare(repeated_key(guess, frame[name], private=private), frame[name], private=private)
            guesses[name] = guess
        except Unsupported as error:
            left_out[name] = str(error)
    guesses = by_other_dates(guesses)
    if not guesses:
        raise TableError(f"{origin} has no column that can be learned: {'; '.join(map(_left_out, left_out.items()))}.")
    if target in left_out:
        raise TableError(
            f"target: {target!r} {left_out[target]}, which cannot be predicted. Convert it, or choose another."
        )
    notices = find_notices(frame, guesses, target)
    if all(guess.column.role == "id" for guess in guesses.values()):
        guesses = {name: not_a_key(guess) for name, guess in guesses.items()}
    schema = TableSchema(columns=tuple(guess.column for guess in guesses.values()), target=target, private=private)
    return Inference(schema, {name: guess.reason for name, guess in guesses.items()}, left_out, notices)


def _name(name: object, position: int, origin: str) -> str:
    is_named = name is not None and name == name and str(name).strip() != ""  # NaN differs from itself
    if not is_named:
        raise TableError(f"{origin}: column {position + 1} has no name; name it in the source, or drop it.")
    return str(name)


def _left_out(item: tuple[str, str]) -> str:
    return f"{item[0]!r} {item[1]}"
