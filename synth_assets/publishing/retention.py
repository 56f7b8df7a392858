"""How long samples are kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Retention:
    """How long samples are kept, counted from the newest that is published; without limits, for ever.

    Parameters
    ----------
    days : int, optional
        The samples of so many days: the newest one's and those just before it.
    samples : int, optional
        So many samples.
    """

    days: int | None = None
    samples: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether any sample is ever deleted."""
        return self.days is not None or self.samples is not None

    def expired(self, days: Iterable[str]) -> set[str]:
        """Give those of these days (ISO dates) whose samples are kept no longer."""
        newest_first = sorted(days, reverse=True)
        found = set(newest_first[self.samples :]) if self.samples is not None else set()
        if self.days is not None and newest_first:
            last = date.fromisoformat(newest_first[0]) - timedelta(days=self.days)
            found |= {day for day in newest_first if date.fromisoformat(day) <= last}
        return found


FOR_EVER = Retention()
