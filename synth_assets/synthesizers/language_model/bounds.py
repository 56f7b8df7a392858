"""Which indices a part of a value may have in a row: those of valid rows, and those within the caller's bounds.

Importing this module imports torch: do so inside functions only.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from synth_assets.synthesizers.language_model.encoders import (
    ABSENT,
    MISSING,
    RowEncoder,
    TextEncoder,
    TokenTextEncoder,
    ValueEncoder,
)
from synth_assets.synthesizers.language_model.encoders.token_text import BETWEEN


@dataclass(frozen=True)
class Bounds:
    """Bounds on the values of a column in n rows.

    Parameters
    ----------
    low, high : numpy.ndarray
        (n) smallest and largest quantised value. A row with low > high has no value but a missing one.
    missing : numpy.ndarray
        (n) whether the value may be missing.
    excluded : tuple of int
        Quantised values between them that no row may have.
    listed : tuple of int, optional
        The quantised values between them that a row may have, ascending; any if not stated.
    pieces : numpy.ndarray, optional
        (n, `length`) of a column of text: quantised texts that the rows have. Low and high do not count then.
    """

    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray
    excluded: tuple[int, ...] = ()
    listed: tuple[int, ...] | None = None
    pieces: np.ndarray | None = None

    def select(self, rows: np.ndarray) -> "Bounds":
        """Return the bounds of some rows, by their indices."""
        pieces = None if self.pieces is None else self.pieces[rows]
        return replace(self, low=self.low[rows], high=self.high[rows], missing=self.missing[rows], pieces=pieces)

    @classmethod
    def of_text(cls, n: int, *, low: int, missing: bool) -> "Bounds":
        """Return bounds on n texts: any (`low` 0) or none (`low` 1), and whether they may be missing."""
        return cls(np.full(n, low), np.zeros(n, np.int64), np.full(n, missing))


class Support(ABC):
    """The indices that the parts of a column may have, part after part.

    Parameters
    ----------
    device : torch.device
        Where the masks are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.indices: list[np.ndarray] = []

    @abstractmethod
    def masks(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a part that valid rows have, and those within the bounds too: (n, K) or (1, K) each.

        They are the same object where there are no bounds.
        """

    def choose(self, position: int, index: torch.Tensor) -> None:
        """Record the index of each row, (n); -1 where the part is absent."""
        del position
        self.indices.append(index.cpu().numpy())

    def chosen(self, n_parts: int) -> np.ndarray:
        """Return the (n, `n_parts`) indices that were chosen; parts that no row of the batch has are absent."""
        absent = [np.full(len(self.indices[0]), ABSENT)] * (n_parts - len(self.indices))
        return np.column_stack([*self.indices, *absent])

    def _tensor(self, mask: np.ndarray) -> torch.Tensor:
        return on_device(torch.as_tensor(mask), self.device)


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU on a device. A GPU copies it in its turn, while the CPU goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def support_of(
    row_encoder: RowEncoder, i: int, quantised: np.ndarray, bounds: Bounds | None, device: torch.device
) -> Support:
    """Return the support of a column, given the columns before it of quantised rows, (n, `n_cells`)."""
    column = row_encoder.all_columns[i]
    if isinstance(column, TextEncoder):
        return _TextSupport(column, bounds, device)
    return _ValueSupport(row_encoder, i, column, quantised, bounds, device)


class _ValueSupport(Support):
    """The support of labels, numbers and times."""

    def __init__(
        self,
        row_encoder: RowEncoder,
        i: int,
        column: ValueEncoder,
        quantised: np.ndarray,
        bounds: Bounds | None,
        device: torch.device,
    ) -> None:
        super().__init__(device)
        self.column, self.bounds = column, bounds
        self.radices, self.n_ending, self.step = column.radices, column.n_ending, column.grid_step
        self.offsets = column.offsets(quantised)
        self.listed: np.ndarray | None = None
        if column.listed:
            self.listed = (np.array(column.listed) - column.base) // column.grid_step  # as codes
        low, high = np.array([column.low]), np.array([column.high])
        for first, second in row_encoder.not_before:
            if i == max(first, second):
                other = min(first, second)
                limit = row_encoder.in_unit_of(other, i, quantised[:, other], latest=other == second)
                is_missing = quantised[:, other] == MISSING
                if other == first:
                    low = np.where(is_missing, low, np.maximum(low, limit))
                else:
                    high = np.where(is_missing, high, np.minimum(high, limit))
        self.code = np.zeros(len(quantised), np.int64)
        self.in_train = self._codes(low, high)
        self.first_part = self._first_part(low, high, self.in_train, None)
        for forbidden in row_encoder.forbidden:
            if forbidden.column == i:
                self._forbid(quantised, forbidden.before, forbidden.pairs)
        self.allowed, self.first_allowed = self.in_train, self.first_part
        if bounds is not None:
            low, high = np.maximum(low, bounds.low), np.minimum(high, bounds.high)
            self.allowed = self._codes(low, high)
            self.first_allowed = self.first_part & self._first_part(low, high, self.allowed, bounds)

    def _codes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest code within bounds on quantised values."""
        offsets = self.offsets if self.column.predictor else self.offsets[:1]
        least = np.maximum(-((offsets - low) // self.step), 0)
        greatest = np.minimum((high - offsets) // self.step, self.column.cardinality - 1)
        return least, greatest

    def _first_part(
        self, low: np.ndarray, high: np.ndarray, codes: tuple[np.ndarray, np.ndarray], bounds: Bounds | None
    ) -> np.ndarray:
        column = self.column
        per_head = math.prod(self.radices)
        heads = np.arange(len(column.parts[0]) - self.n_ending)
        mask = self._within(heads, per_head, codes, bounds) & (codes[0] <= codes[1])[:, None]
        atoms = np.asarray(column.atoms, np.int64)
        is_atom_allowed = (atoms >= low[:, None]) & (atoms <= high[:, None])
        if bounds is not None:
            is_atom_allowed &= ~np.isin(atoms, bounds.excluded)
            if bounds.listed is not None:
                is_atom_allowed &= np.isin(atoms, bounds.listed)
            if not self.radices:
                mask = mask & ~self._is_excluded(heads, bounds)
        rows = max(len(mask), len(is_atom_allowed), 1 if bounds is None else len(bounds.missing))
        parts = [is_atom_allowed, mask]
        if column.has_missing:
            parts.insert(0, np.ones((1, 1), bool) if bounds is None else bounds.missing[:, None])
        return np.hstack([np.broadcast_to(each, (rows, each.shape[1])) for each in parts])

    def _is_excluded(self, codes: np.ndarray, bounds: Bounds) -> np.ndarray:
        """Return, for each row, whether each code is one that the bounds exclude."""
        is_excluded = np.zeros((len(self.offsets), codes.shape[-1]), bool)
        for value in bounds.excluded:
            code, remainder = np.divmod(value - self.offsets, self.step)
            is_excluded |= (codes == code[:, None]) & (remainder == 0)[:, None]
        return is_excluded

    def _forbid(self, quantised: np.ndarray, before: int, pairs: Sequence[tuple[int, int]]) -> None:
        self.first_part = np.array(np.broadcast_to(self.first_part, (len(quantised), self.first_part.shape[1])))
        values, excluded = np.array(sorted(pairs), np.int64).T
        first, end = (np.searchsorted(values, quantised[:, before], side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(quantised)), end - first)
        which = np.arange(len(rows)) - np.repeat(np.cumsum(end - first) - end, end - first)
        index = self.column.to_indices(quantised[rows], excluded[which])[:, 0]
        self.first_part[rows[index >= 0], index[index >= 0]] = False

    def masks(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a part that valid rows have, and those within the bounds too; see `Support.masks`."""
        if position == 0:
            in_train = self._tensor(self.first_part)
            return in_train, in_train if self.bounds is None else self._tensor(self.first_allowed)
        codes = self.code[:, None] * self.radices[position - 1] + np.arange(self.radices[position - 1])
        after = math.prod(self.radices[position:])
        in_train = self._tensor(self._within(codes, after, self.in_train, None))
        if self.bounds is None:
            return in_train, in_train
        allowed = self._within(codes, after, self.allowed, self.bounds)
        if after == 1:
            allowed &= ~self._is_excluded(codes, self.bounds)
        return in_train, self._tensor(allowed)

    def _within(
        self, codes: np.ndarray, after: int, limits: tuple[np.ndarray, np.ndarray], bounds: Bounds | None
    ) -> np.ndarray:
        """Return which beginnings of codes, followed by `after` codes each, lead to one within limits, (n, K).

        Where values are listed, by the column or by bounds, it is one of them.
        """
        least, greatest = limits
        listed = self.listed
        if bounds is not None and bounds.listed is not None:
            values = np.array(bounds.listed, np.int64)
            if self.column.predictor is not None:
                return self._leads_to(values, codes, after, limits)
            of_codes, remainder = np.divmod(values - self.offsets[0], self.step)
            listed = of_codes[remainder == 0]  # atoms may be between two codes
        if listed is None:
            return np.asarray((codes >= (least // after)[:, None]) & (codes <= (greatest // after)[:, None]))
        first = np.searchsorted(listed, np.maximum(codes * after, least[:, None]), "left")
        end = np.searchsorted(listed, np.minimum((codes + 1) * after - 1, greatest[:, None]), "right")
        return np.asarray(first < end)

    def _leads_to(
        self, values: np.ndarray, codes: np.ndarray, after: int, limits: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Return the same where codes are of residuals: the code of a value differs from row to row."""
        least, greatest = limits
        found = np.zeros((len(self.offsets), codes.shape[-1]), bool)
        for value in values.tolist():
            code, remainder = np.divmod(value - self.offsets, self.step)
            is_code = (remainder == 0) & (code >= least) & (code <= greatest)
            found |= (codes == (code // after)[:, None]) & is_code[:, None]
        return found

    def choose(self, position: int, index: torch.Tensor) -> None:
        """Record the index of each row, (n); -1 where the part is absent."""
        super().choose(position, index)
        chosen = self.indices[-1]
        if position == 0:
            self.code = np.maximum(chosen - self.n_ending, 0)
        else:
            self.code = self.code * self.radices[position - 1] + np.maximum(chosen, 0)


class _TextSupport(Support):
    """The support of texts."""

    def __init__(self, column: TextEncoder, bounds: Bounds | None, device: torch.device) -> None:
        super().__init__(device)
        self.column, self.bounds = column, bounds
        self.state = np.zeros(1, np.int64)
        self.known = None
        if bounds is not None and bounds.pieces is not None:
            is_open = (bounds.pieces == MISSING).all(axis=1)
            self.known = np.where(is_open[:, None], ABSENT, column.to_indices(bounds.pieces, bounds.pieces))

    def masks(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a part that valid rows have, and those within the bounds too; see `Support.masks`."""
        in_train = self._in_train(position)
        found = self._tensor(in_train)
        if self.bounds is None:
            return found, found
        allowed = np.array(np.broadcast_to(in_train, (len(self.bounds.missing), in_train.shape[1])))
        if position == 0:
            allowed[:, 0] &= self.bounds.missing
            allowed[self.bounds.low > self.bounds.high, 1:] = False
        if self.known is not None:
            index = self.known[:, position]
            is_known = index >= 0
            allowed[is_known] = False
            allowed[is_known, index[is_known]] = True
        return found, self._tensor(allowed)

    def choose(self, position: int, index: torch.Tensor) -> None:
        """Record the index of each row, (n); -1 where the part is absent."""
        super().choose(position, index)
        if isinstance(self.column, TokenTextEncoder) and self.column.tokens:
            token = self.indices[-1] - 1
            state = np.where(token >= 0, self.column.next_states[self.state, token], BETWEEN)
            self.state = np.maximum(state, BETWEEN)  # what cannot follow is no valid row, and is not used

    def _in_train(self, position: int) -> np.ndarray:
        column = self.column
        in_train = np.ones((1, len(column.parts[0])), bool)
        if isinstance(column, TokenTextEncoder):
            states, row = np.unique(self.state, return_inverse=True)
            following = column.next_states[states]
            left = column.length - position - 1
            can_follow = (following >= 0) & (column.tokens_left[following] <= left)
            in_train = np.hstack([(states == BETWEEN)[:, None], can_follow])
            in_train = in_train if len(states) == 1 else in_train[row]
        if position == 0:
            in_train[:, 0] = column.has_missing
        return in_train
