"""What is guessed of a column."""

from dataclasses import dataclass

from synth_assets.schema.columns import Column


@dataclass(frozen=True)
class Guess:
    """The type that a column seems to have, and why."""

    column: Column
    reason: str
    readings: tuple["Guess", ...] = ()
    """For text that could be dates with the day or the month first: both."""
    instead: str = ""
    """For a key that repeats, and for labels that are hidden: the type that its values would have if learned."""


class Unsupported(Exception):
    """No column type holds the values; the message says what they are."""
