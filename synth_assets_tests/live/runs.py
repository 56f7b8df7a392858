"""What the API of a running server tells of runs."""

import itertools
from typing import Any

from synth_assets_tests.live.server import Server

ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def runs(server: Server, **tags: str) -> list[dict[str, Any]]:
    """Return the runs with these tags of Dagster's."""
    found = server.ask(
        """query Runs($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results {
            id status startTime endTime tags { key value }
        } } } }""",
        filter={"tags": [{"key": f"dagster/{key}", "value": value} for key, value in tags.items()]},
    )
    return list(found["runsOrError"]["results"])


def all_ended(server: Server, count: int, **tags: str) -> bool:
    """Tell whether there are so many runs with these tags, and all of them have ended."""
    found = runs(server, **tags)
    return len(found) >= count and all(run["status"] in ENDED for run in found)


def at_once(found: list[dict[str, Any]]) -> int:
    """Count how many runs were under way at the same time, at most."""
    steps = sorted([(run["startTime"], 1) for run in found] + [(run["endTime"], -1) for run in found])
    return max(itertools.accumulate(step for _, step in steps))
