"""Columns of keys, and the patterns that new keys are made by."""

import hashlib
import math
import re
import uuid
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from synth_assets.schema.columns.base import Role
from synth_assets.schema.columns.strings import StringColumn
from synth_assets.schema.columns.values import whole_numbers

MOCK_ROWS_PER_KEY = 3
"""Mock rows that have a key which may repeat, on average."""

_DIGITS, _SMALL = "0123456789", "abcdefghijklmnopqrstuvwxyz"

ALPHABETS = {
    "hex": _DIGITS + "abcdef",
    "HEX": _DIGITS + "ABCDEF",
    "alnum": _DIGITS + _SMALL,
    "ALNUM": _DIGITS + _SMALL.upper(),
    "Alnum": _DIGITS + _SMALL.upper() + _SMALL,
}
"""The characters of keys that look random, by the name that their patterns have: smaller sets first."""

MAX_SEQUENCES = 100_000
"""Sequences of characters of an alphabet that are kept in memory."""

TOKEN_PATTERN = re.compile(rf"(.*?)({'|'.join(ALPHABETS)})([1-9][0-9]?)")
"""The pattern of keys of so many characters of an alphabet, after a text that all have."""


class Id(StringColumn):
    """A column of keys, which are never learned and never compared: a synthetic row gets one that a pattern makes.

    Examples
    --------
    >>> Id(name="order", pattern="AB-####", start=17).generate(2).tolist()
    ['AB-0017', 'AB-0018']
    """

    role: ClassVar[Role] = "id"
    noun: ClassVar[str] = "a key of the column's pattern"
    spaces_are_missing: ClassVar[bool] = True

    type: Literal["id"] = "id"
    pattern: str = Field(
        default="integer",
        description="'integer', 'uuid', 'hex' or 'HEX' with a number of hexadecimal digits, such as hex24, 'alnum', "
        "'ALNUM' or 'Alnum' with a number of digits and letters, such as Alnum11 or cus_Alnum14, or a text "
        "with '#' for the digits of a number, such as AB-#### or ###-##-####.",
    )
    start: int = Field(
        default=1, ge=0, lt=2**62, description="First number of the synthetic keys; greater than the real ones."
    )
    repeats: bool = Field(
        default=False,
        description="Whether several rows may have one key, such as the rows of a customer in a table of orders; "
        "synthetic keys are in as many rows as the train rows' are.",
    )

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        if value not in ("integer", "uuid") and "#" not in value and not TOKEN_PATTERN.fullmatch(value):
            raise ValueError(
                f"found {value!r}; expected 'integer', 'uuid', 'hex' with a number of digits (hex24), 'alnum' with a "
                "number of characters (alnum11), or a text with '#' for the digits of a number"
            )
        return value

    @property
    def sql_type(self) -> str:  # type: ignore[override]
        """The DuckDB type of the stored values."""
        return "BIGINT" if self.pattern == "integer" else "VARCHAR"

    def has_dtype(self, values: pd.Series) -> bool:
        """Return whether values have an integer dtype, or are text, as the pattern says."""
        if self.pattern == "integer":
            return bool(pd.api.types.is_integer_dtype(values.dtype))
        return super().has_dtype(values)

    def generate(self, n: int, *, offset: int = 0, seed: int = 0) -> pd.Series:
        """Make n keys.

        Parameters
        ----------
        n : int
            Number of keys.
        offset : int
            Number of keys that were made before: keys of disjoint ranges differ.
        seed : int
            Seed of UUIDs, which chance alone keeps apart. Others do not depend on it.

        Returns
        -------
        pandas.Series
            n keys, each different.
        """
        numbers = range(self.start + offset, self.start + offset + n)
        if self.pattern == "integer":
            return pd.Series(numbers, dtype="int64", name=self.name)
        if self.pattern == "uuid":
            digests = (hashlib.blake2b(f"{self.name}/{seed}/{i}".encode(), digest_size=16).digest() for i in numbers)
            return pd.Series([str(uuid.UUID(bytes=d, version=4)) for d in digests], dtype="str", name=self.name)
        if "#" not in self.pattern:
            return pd.Series(list(self._tokens(numbers)), dtype="str", name=self.name)
        before, after, *rest = self.pattern.split("#")
        keys = []
        for digits in (f"{i:0{len(rest) + 1}d}" for i in numbers):
            first, others = digits[: len(digits) - len(rest)], digits[len(digits) - len(rest) :]
            keys.append(f"{before}{first}{after}{''.join(map(''.join, zip(others, rest, strict=True)))}")
        return pd.Series(keys, dtype="str", name=self.name)

    def numbers_of(self, tokens: pd.Series) -> list[int]:
        """Return the numbers that tokens of the column's pattern are made from."""
        before, alphabet, _ = self._token_parts
        size, factor, shift = self._permutation
        inverse, value_of = pow(factor, -1, size), {character: i for i, character in enumerate(alphabet)}
        found = []
        for token in tokens:
            permuted = 0
            for character in token[len(before) :]:
                permuted = permuted * len(alphabet) + value_of[character]
            found.append((permuted - shift) * inverse % size)
        return found

    def _tokens(self, numbers: range) -> Iterator[str]:
        """Yield the tokens of numbers."""
        before, alphabet, length = self._token_parts
        size, factor, shift = self._permutation
        sequences = _sequences(alphabet)
        characters = len(sequences[0])
        for number in numbers:
            left, written = (number * factor + shift) % size, []
            for _ in range(-(-length // characters)):
                left, index = divmod(left, len(sequences))
                written.append(sequences[index])
            yield before + "".join(reversed(written))[-length:]

    @property
    def _token_parts(self) -> tuple[str, str, int]:
        """The text that tokens begin with, their alphabet, and how many characters of it they have."""
        found = TOKEN_PATTERN.fullmatch(self.pattern)
        assert found is not None  # noqa: S101 - as `_is_pattern` checks
        return found[1], ALPHABETS[found[2]], int(found[3])

    @property
    def _permutation(self) -> tuple[int, int, int]:
        """The number of tokens, and the factor and the shift of a permutation of them: they look random, and differ."""
        _, alphabet, length = self._token_parts
        size, drawn = len(alphabet) ** length, hashlib.shake_128(self.name.encode()).digest(length)
        factor = int.from_bytes(drawn) | 1
        while math.gcd(factor, size) > 1:
            factor += 2
        return size, factor, int.from_bytes(drawn[::-1])

    def _mock_values(self, n: int, rng: np.random.Generator, offset: int) -> pd.Series:
        seed = int(rng.integers(2**32))
        if not self.repeats:
            keys = self.generate(n, offset=offset, seed=seed)
        else:
            n_keys = -(-n // MOCK_ROWS_PER_KEY)
            chosen = np.sort(rng.integers(n_keys, size=n))
            keys = self.generate(n_keys, offset=offset, seed=seed).iloc[chosen].reset_index(drop=True)
        return keys.astype("Int64") if self.pattern == "integer" else keys

    def _is_readable(self, values: pd.Series) -> np.ndarray:
        return np.asarray(whole_numbers(values).notna()) if self.pattern == "integer" else np.ones(len(values), bool)

    def _converted(self, values: pd.Series) -> pd.Series:
        if self.pattern != "integer":
            return super()._converted(values)
        whole = whole_numbers(values)
        return whole if self.nullable or whole.isna().any() else whole.astype("int64")


@lru_cache
def _sequences(alphabet: str) -> list[str]:
    """Return all sequences of a few characters, in order: tokens are written several characters at a time."""
    characters = int(math.log(MAX_SEQUENCES, len(alphabet)))
    return ["".join(each) for each in product(alphabet, repeat=characters)]
