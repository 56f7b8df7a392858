"""Runs that nobody waits for: a tick of the schedule, a backfill of days, two runs of one day at once."""

import itertools
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, expect

from synth_assets_tests.live.server import LOCATION, Server, tiny_server, wait_for
from synth_assets_tests.live.tiny_location import SAMPLE_ROWS
from synth_assets_tests.world import DAY, Outcome, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

RUNS_S = 1500.0
"""How long a few runs may take, on a machine that is busy."""
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
DAYS = [(date.fromisoformat(DAY) - timedelta(days=number)).isoformat() for number in range(1, 5)]


@pytest.fixture(scope="module")
def data_folder(first_run: tuple[World, Outcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a data folder with a fitted model, and a sample of one day."""
    folder = tmp_path_factory.mktemp("data") / "data"
    shutil.copytree(first_run[0].root, folder, symlinks=True)
    return folder


@pytest.fixture(scope="module")
def tick() -> datetime:
    """Give a time that is near, but after the server has started."""
    return (datetime.now(UTC) + timedelta(minutes=4)).replace(second=0, microsecond=0)


@pytest.fixture(scope="module")
def server(data_folder: Path, tick: datetime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tiny_server(tmp_path_factory.mktemp("server"), data_folder, TINY_TICK=f"{tick:%H:%M}") as running:
        yield running


def runs(server: Server, **tags: str) -> list[dict[str, Any]]:
    found = server.ask(
        """query Runs($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results {
            id status startTime endTime tags { key value }
        } } } }""",
        filter={"tags": [{"key": f"dagster/{key}", "value": value} for key, value in tags.items()]},
    )
    return list(found["runsOrError"]["results"])


def all_ended(server: Server, count: int, **tags: str) -> bool:
    found = runs(server, **tags)
    return len(found) >= count and all(run["status"] in ENDED for run in found)


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
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {
                "tags": [{"key": "dagster/partition", "value": day}, {"key": "dagster/twin", "value": day}]
            },
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["id"])


def at_once(found: list[dict[str, Any]]) -> int:
    """Count how many runs were under way at the same time, at most."""
    steps = sorted([(run["startTime"], 1) for run in found] + [(run["endTime"], -1) for run in found])
    return max(itertools.accumulate(step for _, step in steps))


def published(data_folder: Path) -> dict[str, tuple[int, int]]:
    """Give, by day, how many rows are published, and how many different ones by number."""
    with duckdb.connect(data_folder / "published" / "synthetic.duckdb", read_only=True) as connection:
        found = connection.execute(
            "SELECT resample_date::VARCHAR, count(*), count(DISTINCT sample_id) FROM abalone.synthetic_all GROUP BY 1"
        ).fetchall()
    return {day: (rows, different) for day, rows, different in found}


def test_a_tick_fires_and_its_run_is_green(
    server: Server, data_folder: Path, tick: datetime, browser: Browser, tmp_path: Path
) -> None:
    left = (tick - datetime.now(UTC)).total_seconds()
    wait_for("the tick", lambda: bool(runs(server, schedule_name="abalone_daily")), seconds=left + 120, every=2.0)
    wait_for("its run", lambda: all_ended(server, 1, schedule_name="abalone_daily"), seconds=RUNS_S, every=2.0)
    (run,) = runs(server, schedule_name="abalone_daily")
    assert run["status"] == "SUCCESS"
    day = tick.date().isoformat()
    assert {"key": "dagster/partition", "value": day} in run["tags"]
    assert published(data_folder)[day] == (SAMPLE_ROWS, SAMPLE_ROWS)

    page = browser.new_context(base_url=server.url, viewport={"width": 1500, "height": 900}).new_page()
    page.goto(f"/locations/{LOCATION}/schedules/abalone_daily")
    expect(page.get_by_text("1 requested").first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "tick.png")
    page.goto(f"/runs/{run['id']}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "run.png")
    page.context.close()


def test_a_backfill_ends_and_runs_of_one_day_at_once_do_no_harm(server: Server, data_folder: Path) -> None:
    before = published(data_folder)
    keys = server.ask("{ assetNodes { assetKey { path } isPartitioned } }")["assetNodes"]
    of_a_day = [{"path": node["assetKey"]["path"]} for node in keys if node["isPartitioned"]]
    launched = server.ask(
        """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
        } }""",
        params={"assetSelection": [*of_a_day, {"path": ["abalone", "published"]}], "partitionNames": DAYS},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    backfill = launched["backfillId"]
    twins = [launch(server, DAY) for _ in range(2)]

    wait_for("both runs of a day", lambda: all_ended(server, 2, twin=DAY), seconds=RUNS_S, every=3.0)

    def state() -> str:
        found = server.ask(
            """query State($id: String!) { partitionBackfillOrError(backfillId: $id) {
                ... on PartitionBackfill { status }
            } }""",
            id=backfill,
        )
        return str(found["partitionBackfillOrError"]["status"])

    wait_for("the backfill", lambda: state() not in ("REQUESTED", "COMPLETING"), seconds=RUNS_S, every=3.0)
    assert state() == "COMPLETED_SUCCESS"
    of_backfill, of_day = runs(server, backfill=backfill), runs(server, twin=DAY)
    assert {run["id"] for run in of_day} == set(twins)
    assert {run["status"] for run in (*of_backfill, *of_day)} == {"SUCCESS"}
    partitions = {tag["value"] for run in of_backfill for tag in run["tags"] if tag["key"] == "dagster/partition"}
    assert partitions == set(DAYS)
    assert at_once([*of_backfill, *of_day]) == 1  # the pool of the language model
    after = published(data_folder)
    assert after == {**before, **dict.fromkeys((*DAYS, DAY), (SAMPLE_ROWS, SAMPLE_ROWS))}
