"""How a foreseen error looks in Dagster: its message, and nothing around it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from synth_assets.errors import ForeseenError


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Fail the step with the message of an error that was foreseen; another attempt would fail in the same way."""
    try:
        yield
    except ForeseenError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except OSError as error:
        raise dg.Failure(
            description=f"{error}. Nothing that was stored before has changed. Make room or give permission, "
            "and materialize again.",
            allow_retries=False,
        ) from error
