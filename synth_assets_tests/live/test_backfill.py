"""A backfill of days that is asked for in the UI, and two runs of one day at once."""

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from synth_assets_tests.live.runs import all_ended, at_once, runs
from synth_assets_tests.live.server import LOCATION, Server, tiny_server, wait_for
from synth_assets_tests.live.tiny_location import SAMPLE_ROWS
from synth_assets_tests.world import DAY, Outcome, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]

RUNS_S = 1200.0
"""How long the runs may take, on a machine that is busy."""
DAYS = [(date.fromisoformat(DAY) - timedelta(days=number)).isoformat() for number in range(1, 4)]
SAMPLE = {"path": ["abalone", "synthetic_sample"]}
TWIN = "of-one-day"


@pytest.fixture
def data_folder(first_run: tuple[World, Outcome], tmp_path: Path) -> Path:
    """Give a data folder with a fitted model, and a sample of one day."""
    return Path(shutil.copytree(first_run[0].root, tmp_path / "data", symlinks=True))


@pytest.fixture
def server(data_folder: Path, tmp_path: Path) -> Iterator[Server]:
    with tiny_server(tmp_path, data_folder) as running:
        yield running


def backfill(server: Server, days: list[str]) -> str:
    """Ask for samples of days, as the UI does; give the backfill's id."""
    launched = server.ask(
        """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
        } }""",
        params={"assetSelection": [SAMPLE], "partitionNames": days},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def state(server: Server, backfill_id: str) -> str:
    found = server.ask(
        """query State($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status }
        } }""",
        id=backfill_id,
    )
    return str(found["partitionBackfillOrError"]["status"])


def launch(server: Server, day: str) -> str:
    """Launch a run that samples a day anew; give its id."""
    launched = server.ask(
        """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message }
        } }""",
        params={
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": "__repository__",
                "pipelineName": "abalone_resample",
                "assetSelection": [SAMPLE],
                "assetCheckSelection": [],
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {
                "tags": [{"key": "dagster/partition", "value": day}, {"key": "dagster/twin", "value": TWIN}]
            },
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["id"])


def samples(data_folder: Path) -> list[tuple[str, int, int]]:
    """Give, by day, how many rows there are, and how many different ones by number."""
    with duckdb.connect(data_folder / "warehouse.duckdb", read_only=True) as connection:
        return connection.execute(
            "SELECT resample_date::VARCHAR, count(*), count(DISTINCT sample_id) FROM abalone.synthetic_sample "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()


def test_a_backfill_ends_and_runs_of_one_day_at_once_do_no_harm(server: Server, data_folder: Path) -> None:
    twins = {launch(server, DAY) for _ in range(2)}
    # Dagster makes a pool when it first queues for it: of what waits at that moment, the pool bounds nothing yet. On a
    # new instance, as here, both runs of the day may start at once.
    wait_for("both runs of a day", lambda: all_ended(server, 2, twin=TWIN), seconds=RUNS_S, every=3.0)
    asked = backfill(server, DAYS)
    wait_for(
        "the backfill",
        lambda: state(server, asked) not in ("REQUESTED", "COMPLETING"),
        seconds=RUNS_S,
        every=3.0,
    )

    assert state(server, asked) == "COMPLETED_SUCCESS"
    of_backfill, of_day = runs(server, backfill=asked), runs(server, twin=TWIN)
    assert {run["id"] for run in of_day} == twins
    assert {run["status"] for run in (*of_backfill, *of_day)} == {"SUCCESS"}
    days = [tag["value"] for run in of_backfill for tag in run["tags"] if tag["key"] == "dagster/partition"]
    assert sorted(days) == sorted(DAYS)  # each once
    assert at_once(of_backfill) == 1  # the pool of the language model
    assert samples(data_folder) == [(day, SAMPLE_ROWS, SAMPLE_ROWS) for day in sorted([*DAYS, DAY])]
