"""Conversion of foreseen errors into failures of Dagster."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from synth_assets.errors import ForeseenError


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Fail the step with the message of a foreseen error, without retries."""
    try:
        yield
    except ForeseenError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except OSError as error:
        raise dg.Failure(
            description=f"{error}. Stored data is unchanged. Free disk space or correct the permissions, then "
            "materialize again.",
            allow_retries=False,
        ) from error
