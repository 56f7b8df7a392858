"""A tick of the daily schedule, with a clock near it."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, expect

from synth_assets_tests.live.runs import all_ended, runs
from synth_assets_tests.live.server import LOCATION, Server, tiny_server, wait_for
from synth_assets_tests.live.tiny_location import SAMPLE_ROWS
from synth_assets_tests.world import Outcome, World

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(2000)]

RUN_S = 1200.0
"""How long the run may take, on a machine that is busy."""


@pytest.fixture
def data_folder(first_run: tuple[World, Outcome], tmp_path: Path) -> Path:
    """Give a data folder with a fitted model, and a sample of one day."""
    return Path(shutil.copytree(first_run[0].root, tmp_path / "data", symlinks=True))


@pytest.fixture
def tick() -> datetime:
    """Give a time that is near, but after the server has started."""
    return (datetime.now(UTC) + timedelta(minutes=2, seconds=30)).replace(second=0, microsecond=0)


@pytest.fixture
def server(data_folder: Path, tick: datetime, tmp_path: Path) -> Iterator[Server]:
    with tiny_server(tmp_path, data_folder, TINY_TICK=f"{tick:%H:%M}") as running:
        yield running


def test_a_tick_fires_and_its_run_is_green(
    server: Server, data_folder: Path, tick: datetime, browser: Browser, tmp_path: Path
) -> None:
    left = (tick - datetime.now(UTC)).total_seconds()
    wait_for("the tick", lambda: bool(runs(server, schedule_name="abalone_daily")), seconds=left + 120, every=2.0)
    wait_for("its run", lambda: all_ended(server, 1, schedule_name="abalone_daily"), seconds=RUN_S, every=2.0)
    (run,) = runs(server, schedule_name="abalone_daily")
    assert run["status"] == "SUCCESS"
    day = tick.date().isoformat()
    assert {"key": "dagster/partition", "value": day} in run["tags"]
    with duckdb.connect(data_folder / "published" / "synthetic.duckdb", read_only=True) as published:
        found = published.sql("SELECT resample_date::VARCHAR, count(*) FROM abalone.synthetic_latest GROUP BY 1")
        assert found.fetchall() == [(day, SAMPLE_ROWS)]

    page = browser.new_context(base_url=server.url, viewport={"width": 1500, "height": 900}).new_page()
    page.goto(f"/locations/{LOCATION}/schedules/abalone_daily")
    expect(page.get_by_text("1 run requested").first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "tick.png")
    page.goto(f"/runs/{run['id']}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "run.png")
    page.context.close()
