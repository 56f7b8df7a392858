"""What the encoders of all column types share."""

from dataclasses import dataclass

import numpy as np

MISSING = int(np.iinfo(np.int64).min)
"""The quantised value of a missing cell."""

UNKNOWN = -1
"""The quantised value of a label that the train rows do not have."""

ABSENT = -1
"""The index of a part that a value does not have, since an earlier part ends it."""

UNENCODABLE = -2
"""The index of a part of a value that cannot be encoded."""


@dataclass(frozen=True)
class Part:
    """One of the parts that a value is written in, one after the other: a label, some digits of a number, ...

    Parameters
    ----------
    texts : tuple of str
        Text of each index.
    n_ending : int
        The first indices, up to this number, end the value; the parts after it are absent then.
    """

    texts: tuple[str, ...]
    n_ending: int = 0

    def __len__(self) -> int:
        return len(self.texts)


def unused_text(text: str, taken: tuple[str, ...]) -> str:
    """Return a text that begins none of those that are taken: the given one, with brackets if needed."""
    while any(other.startswith(text) for other in taken):
        text = f"({text})"
    return text
