"""Resample dates as partitions. One that does not exist is refused in one line, on the command line too."""

from datetime import date
from typing import Any

import click
import dagster as dg


class UnknownDay(click.ClickException):
    """A run was launched for a day that is no resample date, or without a day; `dg launch` prints the message."""


class Days(dg.DailyPartitionsDefinition):
    """The resample dates of a table: every day from its start date until today."""

    def __new__(cls, start_date: str, **options: Any) -> "Days":
        """Create the dates; today is one too, not only past days."""
        dates: Days = super().__new__(cls, start_date, **{"end_offset": 1, **options})
        return dates

    @property
    def known(self) -> str:
        """Which days there are, as a phrase."""
        first, last = self.get_first_partition_key(), self.get_last_partition_key()
        if first is None:
            return f"there is no day yet: the first is {self.start.date().isoformat()}"
        return f"there are the days from {first} to {last} (today in the time zone {self.timezone})"

    def validate_partition_key(self, partition_key: str, context: Any) -> None:
        """Refuse a day that is no resample date.

        Raises
        ------
        UnknownDay
            With the days that there are.
        """
        if not self.has_partition_key(partition_key):
            raise UnknownDay(f"{partition_key} is no resample date: {self.known}.")

    def require(self, context: dg.AssetExecutionContext) -> None:
        """Fail the step of a run that was launched without a day."""
        if not context.has_partition_key:
            raise dg.Failure(
                description=f"this run has no day: {self.known}. Launch it with one, as with `--partition "
                f"{self.get_last_partition_key()}`.",
                allow_retries=False,
            )

    def index(self, day: str) -> int:
        """Return the number of days from the start date to a day."""
        return (date.fromisoformat(day) - self.start.date()).days
