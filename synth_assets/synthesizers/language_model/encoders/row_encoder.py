"""Encoding of rows as integers.

Numeric columns are quantised on their grid; predictable ones are encoded as residuals. The encoding is one to one on
the grid: it changes how short a row can be, never which rows can be generated. Everything is fitted to the train rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from synth_assets.execution.threads import one_thread
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.encoders.base import MISSING, UNENCODABLE
from synth_assets.synthesizers.language_model.encoders.categorical import CategoricalEncoder
from synth_assets.synthesizers.language_model.encoders.grid import MICROSECONDS
from synth_assets.synthesizers.language_model.encoders.numeric import NumericEncoder
from synth_assets.synthesizers.language_model.encoders.residuals import (
    MAX_ROWS,
    MIN_GAIN,
    Predictor,
    fit_predictor,
    order_by_predictability,
)
from synth_assets.synthesizers.language_model.encoders.support import ForbiddenPairs, find_forbidden_pairs
from synth_assets.synthesizers.language_model.encoders.text import TextEncoder
from synth_assets.synthesizers.language_model.encoders.token_text import TokenTextEncoder

ValueEncoder = CategoricalEncoder | NumericEncoder
"""The encoder of a column whose values are one integer each."""

ColumnEncoder = ValueEncoder | TextEncoder
"""The encoder of a column."""

ENCODERS: dict[str, Any] = {
    each.type: each for each in (CategoricalEncoder, NumericEncoder, TextEncoder, TokenTextEncoder)
}

MIN_ORDERED_ROWS = 20
"""Train rows in which a date must be no later than another one, and none in which it is, for this to be a rule. Of
numbers, so many must differ by at most `NEAR` times the median difference."""

NEAR = 0.1

ORDER_SAMPLE = 1000
"""Rows that are looked at before all are."""


@dataclass(frozen=True)
class RowEncoder:
    """Encoder of the rows of a table.

    A row has three forms: typed values (a frame), quantised values (an integer for each cell: a number in units of its
    grid, a label's position; of a text, an integer for each piece), and indices of parts (see `Part`).

    Parameters
    ----------
    names : tuple of str
        Columns of the table, in the table's order.
    columns : tuple of CategoricalEncoder or NumericEncoder
        Encoders of the columns but for text, in the order in which columns are generated.
    texts : tuple of TextEncoder
        Encoders of the columns of text, which come after the others.
    forbidden : tuple of ForbiddenPairs
        Values that no row has together.
    not_before : tuple of (int, int)
        Pairs of columns of dates, or of numbers, of which the second is never before, or below, the first.
    """

    names: tuple[str, ...]
    columns: tuple[ValueEncoder, ...]
    texts: tuple[TextEncoder, ...] = ()
    forbidden: tuple[ForbiddenPairs, ...] = ()
    not_before: tuple[tuple[int, int], ...] = ()

    @classmethod
    def fit(
        cls,
        train: pd.DataFrame,
        column_order: Sequence[str] = (),
        use_residuals: bool = True,
        texts: Mapping[str, int] | None = None,
        tokenizer: Any = None,
    ) -> "RowEncoder":
        """Fit the encoder to the rows of a table.

        After the columns in `column_order` come the categorical ones, then the numeric ones, each after those that
        predict it best, then text.

        Parameters
        ----------
        train : pandas.DataFrame
            Train rows: labels and text as `str`; numbers, booleans and times in dtypes of their own.
        column_order : sequence of str
            Columns to generate first; all of them, to set the complete order.
        use_residuals : bool
            Whether predictable columns are encoded as residuals.
        texts : mapping of str to int, optional
            The columns of text, and how many characters of each are encoded.
        tokenizer : transformers.PreTrainedTokenizerBase, optional
            The tokenizer of a pretrained base, whose tokens are the pieces of text; by default pieces are learned.

        Returns
        -------
        RowEncoder
            The encoder.

        Raises
        ------
        ModelError
            If there is no row, a name occurs twice, `column_order` names no column, or one of text, or the tokenizer
            cannot write a text.
        """
        with one_thread("blas"):  # matrices are small: threads would only wait for each other
            return cls._fit(train, column_order, use_residuals, texts or {}, tokenizer)

    @classmethod
    def _fit(
        cls,
        train: pd.DataFrame,
        column_order: Sequence[str],
        use_residuals: bool,
        texts: Mapping[str, int],
        tokenizer: Any,
    ) -> "RowEncoder":
        _check(train, column_order, texts)
        encoders = {name: _fit_column(train[name]) for name in train.columns if name not in texts}
        encoders |= _in_one_unit(train, encoders)
        values = {name: encoder.quantise(train[name]) for name, encoder in encoders.items()}
        order = list(column_order)
        order += [name for name, encoder in encoders.items() if not encoder.is_numeric and name not in column_order]
        rest = [name for name in encoders if name not in order]
        order += order_by_predictability(rest, [name for name in order if encoders[name].is_numeric], values)
        quantised = np.column_stack([values[name] for name in order] or [np.zeros((len(train), 0), np.int64)])
        columns = [encoders[name] for name in order]
        if use_residuals:
            varying = [i for i, encoder in enumerate(columns) if encoder.is_numeric and encoder.high > encoder.low]
            for i in varying:
                encoder = columns[i]
                if isinstance(encoder, NumericEncoder) and not (encoder.is_sparse or encoder.listed):
                    has_digits = encoder.has_digits(quantised[:, i])
                    predictor = fit_predictor(quantised, i, [j for j in varying if j < i], has_digits)
                    if encoder.grid.type in ("date", "datetime"):
                        predictor = _time_between(columns[:i], encoder, quantised, has_digits, predictor)
                    if predictor is not None:
                        columns[i] = encoder.with_predictor(predictor, quantised, quantised[:, i])
        single = [i for i, encoder in enumerate(columns) if len(encoder.parts) == 1]
        return cls(
            tuple(str(name) for name in train.columns),
            tuple(columns),
            tuple(
                TextEncoder.fit(train[name], length)
                if tokenizer is None
                else TokenTextEncoder.fit_tokens(train[name], length, tokenizer)
                for name, length in texts.items()
            ),
            find_forbidden_pairs(quantised, single),
            _ordered(columns, quantised),
        )

    @property
    def all_columns(self) -> tuple[ColumnEncoder, ...]:
        """The encoders of all columns, in the order in which columns are generated."""
        return (*self.columns, *self.texts)

    @property
    def n_cells(self) -> int:
        """Number of integers of a quantised row."""
        return len(self.columns) + sum(text.length for text in self.texts)

    def cells_of(self, i: int) -> int | slice:
        """Return where the integer of a column is in a quantised row, or the integers of one of text."""
        before = len(self.columns)
        if i < before:
            return i
        lengths = [text.length for text in self.texts]
        start = before + sum(lengths[: i - before])
        return slice(start, start + lengths[i - before])

    def in_unit_of(self, i: int, other: int, cells: np.ndarray, *, latest: bool) -> np.ndarray:
        """Return quantised values of a column in the unit of another comparable one; see `Grid.in_unit_of`."""
        column, like = self.columns[i], self.columns[other]
        assert isinstance(column, NumericEncoder) and isinstance(like, NumericEncoder)  # noqa: S101, PT018
        return np.asarray(column.grid.in_unit_of(like.grid, cells, latest=latest))

    def quantise(self, frame: pd.DataFrame) -> np.ndarray:
        """Quantise n rows to (n, `n_cells`) integers; `MISSING` is a missing value, -1 an unknown label or piece."""
        cells = [column.quantise(frame[column.name]).reshape(len(frame), -1) for column in self.all_columns]
        return np.hstack(cells)

    def to_indices(self, quantised: np.ndarray, n_columns: int | None = None) -> np.ndarray:
        """Return the (n, p) indices of the parts of quantised rows, or of their first columns.

        Absent parts are `ABSENT`; a cell that cannot be encoded has a part that is `UNENCODABLE`.
        """
        indices = [
            column.to_indices(quantised, quantised[:, self.cells_of(i)])
            for i, column in enumerate(self.all_columns[:n_columns])
        ]
        return np.hstack(indices)

    def from_indices(self, indices: np.ndarray) -> np.ndarray:
        """Return the quantised rows, (n, `n_cells`), of the (n, p) indices of their parts."""
        quantised = np.full((len(indices), self.n_cells), MISSING, np.int64)
        position = 0
        for i, column in enumerate(self.all_columns):
            own = indices[:, position : position + len(column.parts)]
            position += len(column.parts)
            quantised[:, self.cells_of(i)] = column.from_indices(quantised, own)
        return quantised

    def is_encodable(self, quantised: np.ndarray) -> np.ndarray:
        """Return, for each quantised row, whether it can be encoded."""
        return np.asarray((self.to_indices(quantised) != UNENCODABLE).all(axis=1))

    def to_frame(self, quantised: np.ndarray) -> pd.DataFrame:
        """Return quantised rows as rows of the table, with its column order and dtypes."""
        values = {}
        for i, column in enumerate(self.all_columns):
            values[column.name] = column.to_values(quantised[:, self.cells_of(i)])
        return pd.DataFrame({name: values[name] for name in self.names})

    def to_text(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return rows as the texts of their parts, joined, in the order in which columns are generated.

        Raises
        ------
        ModelError
            If a row cannot be encoded.
        """
        indices = self.to_indices(self.quantise(frame))
        texts, position = {}, 0
        for column in self.all_columns:
            own = indices[:, position : position + len(column.parts)]
            position += len(column.parts)
            if (own == UNENCODABLE).any():
                row = int((own == UNENCODABLE).any(axis=1).argmax())
                raise ModelError(
                    f"row {row} has {frame[column.name].iloc[row]!r} in column {column.name!r}, which is not on the "
                    "grid, or too far from the train rows; fit a model to a table that has such rows."
                )
            texts[column.name] = [
                "".join(part.texts[index] for part, index in zip(column.parts, row, strict=True) if index >= 0)
                for row in own.tolist()
            ]
        return pd.DataFrame(texts).astype("str")

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON data."""
        return {
            "names": list(self.names),
            "columns": [column.to_json() for column in self.all_columns],
            "forbidden": [asdict(each) for each in self.forbidden],
            "not_before": [list(pair) for pair in self.not_before],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], tokenizer: Any = None) -> "RowEncoder":
        """Restore an encoder from `to_json`.

        Parameters
        ----------
        data : mapping
            What `to_json` returned.
        tokenizer : transformers.PreTrainedTokenizerBase, optional
            The tokenizer of the base; needed to quantise text that is written in its tokens.

        Raises
        ------
        ModelError
            If another version of this package wrote the data.
        """
        try:
            columns = [ENCODERS[column["type"]].from_json(column) for column in data["columns"]]
            return cls(
                tuple(data["names"]),
                tuple(column for column in columns if not isinstance(column, TextEncoder)),
                tuple(
                    replace(column, tokenizer=tokenizer) if isinstance(column, TokenTextEncoder) else column
                    for column in columns
                    if isinstance(column, TextEncoder)
                ),
                tuple(ForbiddenPairs.from_json(each) for each in data["forbidden"]),
                tuple((first, second) for first, second in data["not_before"]),
            )
        except (KeyError, TypeError) as error:
            raise ModelError(
                "the model was fitted by another version of synth_assets, which encoded rows differently; fit it again."
            ) from error


def _fit_column(values: pd.Series) -> ValueEncoder:
    is_label = isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype) or values.dtype == object
    is_label = is_label or pd.api.types.is_bool_dtype(values.dtype)
    return CategoricalEncoder.fit(values) if is_label else NumericEncoder.fit(values)


def _in_one_unit(train: pd.DataFrame, encoders: Mapping[str, ValueEncoder]) -> dict[str, NumericEncoder]:
    """Return encoders of the datetimes whose unit is coarser than the finest one, in this: 08:00 is before 08:00:30."""
    times = {
        name: encoder
        for name, encoder in encoders.items()
        if isinstance(encoder, NumericEncoder) and encoder.grid.type == "datetime" and not encoder.grid.rounded_share
    }
    finest = min((each.grid.unit for each in times.values()), key=lambda unit: MICROSECONDS[unit], default="")
    coarser = [name for name, encoder in times.items() if encoder.grid.unit != finest]
    return {name: NumericEncoder.fit(train[name], finest) for name in coarser}


def _time_between(
    before: Sequence[ValueEncoder],
    column: NumericEncoder,
    quantised: np.ndarray,
    has_digits: np.ndarray,
    predictor: Predictor | None,
) -> Predictor | None:
    """Return the predictor of a time whose residuals have the least entropy: the given one, or an earlier time itself.

    The time between two columns may be one of a few, such as terms of 14, 30 or 60 days: no other prediction keeps it.
    """
    rows = quantised[has_digits]
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:MAX_ROWS]]
    cells = rows[:, len(before)]
    predictions = np.zeros(len(rows)) if predictor is None else predictor(rows)
    best = column.residual_entropy(predictions, cells) - MIN_GAIN if len(rows) else 0.0
    for j, other in enumerate(before):
        if isinstance(other, NumericEncoder) and other.n_values and other.grid.is_comparable(column.grid):
            factor = other.grid.unit_size / column.grid.unit_size
            shift = Predictor.of_one(quantised, j, factor)
            entropy = column.residual_entropy(shift(rows), cells)
            if entropy < best:
                best, predictor = entropy, shift
    return predictor


def _ordered(columns: Sequence[ValueEncoder], quantised: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the pairs of columns of dates, or of numbers, of which the second is never below the first.

    It could be: their ranges overlap. A date and a datetime are compared by the day. Of numbers, this is no
    coincidence: of the rows in which one cell is within the range of the other, as many as for dates come near the
    border, and as many would cross it if the columns were independent.
    """
    candidates = [i for i, c in enumerate(columns) if isinstance(c, NumericEncoder) and not c.is_sparse and c.n_values]
    head = quantised[:ORDER_SAMPLE]
    pairs = []
    for one in candidates:
        is_present = (head != MISSING) & (head[:, [one]] != MISSING)
        is_broken = ((head[:, [one]] > head) & is_present).any(axis=0)
        for other in candidates:
            first, second = columns[one], columns[other]
            assert isinstance(first, NumericEncoder) and isinstance(second, NumericEncoder)  # noqa: S101, PT018
            if one == other or not first.grid.is_comparable(second.grid):
                continue
            if is_broken[other] and first.grid.unit_size == second.grid.unit_size:
                continue
            coarse = max(first.grid, second.grid, key=lambda grid: grid.unit_size)
            if first.grid.in_unit_of(coarse, first.high) <= second.grid.in_unit_of(coarse, second.low):
                continue
            both = (quantised[:, [one, other]] != MISSING).all(axis=1)
            low = first.grid.in_unit_of(coarse, quantised[both, one])
            high = second.grid.in_unit_of(coarse, quantised[both, other])
            if len(low) < MIN_ORDERED_ROWS or (low > high).any():
                continue
            if first.grid.type in ("date", "datetime") or _is_no_coincidence(low, high, second.low, first.high):
                pairs.append((one, other))
    return tuple(pairs)


def _is_no_coincidence(low: np.ndarray, high: np.ndarray, least: int, greatest: int) -> bool:
    """Return whether numbers that are never in the other order keep it by a rule: many come near the border.

    So do they in relation to their size, if none is negative: of small things, all weights are near each other.
    """
    could_cross = (low > least) & (high < greatest)
    gaps, sizes = (high - low)[could_cross], high[could_cross]
    if len(gaps) < 2 * MIN_ORDERED_ROWS:
        return False
    for each in (gaps, gaps / np.maximum(sizes, 1)) if least >= 0 and low.min() >= 0 else (gaps,):
        ordered = np.sort(each)
        if ordered[MIN_ORDERED_ROWS - 1] > NEAR * ordered[len(ordered) // 2]:
            return False
    shuffled = np.random.default_rng(0).permutation(low)
    return int((shuffled > high).sum()) >= MIN_ORDERED_ROWS


def _check(train: pd.DataFrame, column_order: Sequence[str], texts: Mapping[str, int]) -> None:
    if train.empty or not len(train.columns):
        raise ModelError("there is no row to learn from; expected at least one.")
    if not train.columns.is_unique:
        raise ModelError(f"a column name occurs twice: {', '.join(map(str, train.columns))}; each needs its own.")
    unknown = [name for name in column_order if name not in train.columns]
    if unknown:
        raise ModelError(
            f"column_order names {', '.join(unknown)}; the columns are {', '.join(map(str, train.columns))}."
        )
    early = [name for name in column_order if name in texts]
    if early:
        raise ModelError(f"column_order names {', '.join(early)} of type text; text comes last. Leave the name out.")
