"""Retention of samples."""

from collections.abc import Iterable
from datetime import date, timedelta

from pydantic import BaseModel, ConfigDict, Field


class Retention(BaseModel):
    """Retention of samples, counted from the latest published one. Without limits, all samples are kept.

    Parameters
    ----------
    days : int, optional
        Keep the samples whose resample date is less than so many days before the latest one.
    samples : int, optional
        Keep so many samples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int | None = Field(
        default=None, ge=1, description="Days that samples are kept, counted back from the latest."
    )
    samples: int | None = Field(default=None, ge=1, description="Number of samples that are kept.")

    @property
    def is_limited(self) -> bool:
        """Whether any sample is ever deleted."""
        return self.days is not None or self.samples is not None

    def expired(self, resample_dates: Iterable[str]) -> set[str]:
        """Return the resample dates (ISO dates) whose samples are to be deleted."""
        newest_first = sorted(resample_dates, reverse=True)
        found = set(newest_first[self.samples :]) if self.samples is not None else set()
        if self.days is not None and newest_first:
            last = date.fromisoformat(newest_first[0]) - timedelta(days=self.days)
            found |= {each for each in newest_first if date.fromisoformat(each) <= last}
        return found


UNLIMITED = Retention()
