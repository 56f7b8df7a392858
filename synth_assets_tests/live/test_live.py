"""The lineage through one running server: its API, a backfill, a tick of its schedule, and its pages in a browser.

The tests share the server, and run in this order: what one waits for happens while the others are busy.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest

from synth_assets_tests.live import tiny_location
from synth_assets_tests.live.runs import ENDED, all_ended, at_once, runs
from synth_assets_tests.live.server import LOCATION, Server, tiny_server, wait_for
from synth_assets_tests.world import DAY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]

KINDS = {
    "raw": {"python", "pandas", "duckdb"},
    "encoded_split": {"python", "scikitlearn", "duckdb"},
    "fine_tuned_model": {"python", "pytorch", "huggingface"},
    "synthetic_sample": {"python", "pytorch", "duckdb"},
    "fidelity": {"python", "scikitlearn", "duckdb"},
    "fidelity_plots": {"python", "matplotlib"},
    "privacy": {"python", "pandas", "duckdb"},
    "regression_comparison": {"python", "scikitlearn", "duckdb"},
    "report": {"python", "pandas", "duckdb"},
    "published": {"python", "duckdb", "parquet"},
}
RUN_S = 600.0
"""How long runs may take, on a machine that is busy."""
PAGE_MS = 60_000.0
"""How long a page may take to show something, on a machine that is busy."""
DAYS = [(date.fromisoformat(DAY) - timedelta(days=number)).isoformat() for number in (1, 2)]
SAMPLE = {"path": ["abalone", "synthetic_sample"]}


@dataclass(frozen=True)
class LineageRun:
    """A run that a click started.

    Parameters
    ----------
    id : str
        Dagster's id of it.
    partition : str
        The day that was chosen.
    """

    id: str
    partition: str


@pytest.fixture(scope="module")
def data_folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with a fitted model, and a sample of one day."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("live") / "data", symlinks=True))


@pytest.fixture(scope="module")
def tick() -> datetime:
    """Return a time that is near, but after the server has started."""
    return (datetime.now(UTC) + timedelta(minutes=2, seconds=30)).replace(second=0, microsecond=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, data_folder: Path, tick: datetime) -> Iterator[Server]:
    with tiny_server(tmp_path_factory.mktemp("server"), data_folder, TINY_TICK=f"{tick:%H:%M}") as running:
        yield running


@pytest.fixture(scope="module")
def expect() -> Any:
    """Return Playwright's `expect`, which waits as long as pages may take."""
    from playwright import sync_api

    sync_api.expect.set_options(timeout=PAGE_MS)
    return sync_api.expect


@pytest.fixture(scope="module")
def context(browser: "Browser", server: Server) -> Iterator["BrowserContext"]:
    """Return a browser in which the server's scripts are loaded once for all pages."""
    with browser.new_context(base_url=server.url, viewport={"width": 1600, "height": 1000}) as context:
        context.set_default_timeout(PAGE_MS)
        yield context


@pytest.fixture
def page(context: "BrowserContext", tmp_path: Path) -> Iterator["Page"]:
    """Return a page of the server, and leave a picture of it behind."""
    with context.new_page() as page:
        yield page
        page.screenshot(path=tmp_path / "page.png")


@pytest.fixture(scope="module")
def lineage_run(
    context: "BrowserContext", server: Server, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> LineageRun:
    """Materialize the whole lineage at its latest day, by clicks; from another table, so that a model is fitted."""
    csv = data_folder / "abalone.csv"
    pd.read_csv(csv).iloc[1:].to_csv(csv, index=False)
    pictures = tmp_path_factory.mktemp("lineage_run")
    page = context.new_page()
    page.goto(f"/locations/{LOCATION}/asset-groups/abalone/lineage")
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text=f"Launch runs to materialize {len(KINDS)} assets")
    dialog.get_by_role("button", name="Latest").click()
    page.screenshot(path=pictures / "dialog.png")
    dialog.get_by_role("button", name="Launch 1 run").click()
    # The note that the run was launched is gone after some seconds, at times before a click has reached it.
    link = page.get_by_role("link", name="View", exact=True).get_attribute("href") or ""
    run_id = link.rsplit("/", 1)[1]
    page.close()
    wait_for("the run to end", lambda: _run(server, run_id)["status"] in ENDED, seconds=RUN_S, every=1.0)
    tags = {tag["key"]: tag["value"] for tag in _run(server, run_id)["tags"]}
    return LineageRun(run_id, tags["dagster/partition"])


def test_the_api_describes_every_asset(server: Server) -> None:
    nodes = server.ask(
        """{ assetNodes {
            assetKey { path } groupName description kinds
            owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
        } }"""
    )["assetNodes"]

    assert {tuple(node["assetKey"]["path"]): set(node["kinds"]) for node in nodes} == {
        ("abalone", name): kinds for name, kinds in KINDS.items()
    }
    for node in nodes:
        assert node["groupName"] == "abalone", node
        assert node["owners"] == [{"team": "synth_assets"}], node
        assert node["description"], node


def test_the_daily_schedule_runs_without_being_switched_on(server: Server) -> None:
    found = server.ask(
        """query Schedules($location: String!) {
            schedulesOrError(repositorySelector: {
                repositoryLocationName: $location, repositoryName: "__repository__"
            }) { ... on Schedules { results { name pipelineName scheduleState { status } } } }
        }""",
        location=LOCATION,
    )["schedulesOrError"]["results"]

    assert [(each["name"], each["pipelineName"], each["scheduleState"]["status"]) for each in found] == [
        ("abalone_daily", "abalone_resample", "RUNNING")
    ]


def test_a_backfill_ends(server: Server, data_folder: Path) -> None:
    asked = _backfill(server, DAYS)
    wait_for(
        "the backfill",
        lambda: _state(server, asked) not in ("REQUESTED", "COMPLETING"),
        seconds=RUN_S,
        every=1.0,
    )

    assert _state(server, asked) == "COMPLETED_SUCCESS"
    of_backfill = runs(server, backfill=asked)
    assert {run["status"] for run in of_backfill} == {"SUCCESS"}
    days = [tag["value"] for run in of_backfill for tag in run["tags"] if tag["key"] == "dagster/partition"]
    assert sorted(days) == sorted(DAYS)  # each once
    assert at_once(of_backfill) == 1  # the pool of the language model
    # The tick of the next test may have fired by now, and sampled today.
    assert [sample for sample in _samples(data_folder) if sample[0] in (*DAYS, DAY)] == [
        (day, tiny_location.SAMPLE_ROWS, tiny_location.SAMPLE_ROWS) for day in sorted([*DAYS, DAY])
    ]


def test_a_tick_fires_and_its_run_is_green(server: Server, data_folder: Path, tick: datetime) -> None:
    left = max(0.0, (tick - datetime.now(UTC)).total_seconds())
    wait_for("the tick", lambda: bool(runs(server, schedule_name="abalone_daily")), seconds=left + 120)
    wait_for("its run", lambda: all_ended(server, 1, schedule_name="abalone_daily"), seconds=RUN_S)
    (run,) = runs(server, schedule_name="abalone_daily")
    assert run["status"] == "SUCCESS"
    day = tick.date().isoformat()
    assert {"key": "dagster/partition", "value": day} in run["tags"]
    with duckdb.connect(data_folder / "published" / "synthetic.duckdb", read_only=True) as published:
        found = published.sql("SELECT resample_date::VARCHAR, count(*) FROM abalone.synthetic_latest GROUP BY 1")
        assert found.fetchall() == [(day, tiny_location.SAMPLE_ROWS)]


@pytest.mark.browser
def test_the_pages_of_a_schedule_and_of_its_run_show_the_tick(server: Server, page: "Page", expect: Any) -> None:
    (run,) = runs(server, schedule_name="abalone_daily")
    page.goto(f"/locations/{LOCATION}/schedules/abalone_daily")
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    page.goto(f"/runs/{run['id']}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()


@pytest.mark.browser
def test_the_lineage_page_shows_every_asset(page: "Page", expect: Any) -> None:
    page.set_viewport_size({"width": 2600, "height": 1400})  # in a smaller one, long names lose their middle
    page.goto(f"/locations/{LOCATION}/asset-groups/abalone/lineage")

    for name in KINDS:
        expect(page.get_by_text(name, exact=True)).to_be_visible()


@pytest.mark.browser
def test_clicks_materialize_the_whole_lineage(
    server: Server, page: "Page", expect: Any, lineage_run: LineageRun, data_folder: Path
) -> None:
    run = _run(server, lineage_run.id)
    assert run["status"] == "SUCCESS", [event for event in run["eventConnection"]["events"] if event]
    assert sorted(each["assetKey"]["path"] for each in run["assetMaterializations"]) == sorted(
        ["abalone", name] for name in KINDS
    )
    with duckdb.connect(data_folder / "published" / "synthetic.duckdb", read_only=True) as published:
        days = published.sql("SELECT resample_date::VARCHAR, count(*) FROM abalone.synthetic_sample GROUP BY 1")
        assert dict(days.fetchall())[lineage_run.partition] == tiny_location.SAMPLE_ROWS

    page.goto(f"/runs/{lineage_run.id}")
    expect(page.get_by_text("Success", exact=True)).to_be_visible()
    expect(page.get_by_text(f"partition: {lineage_run.partition}")).to_be_visible()
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("asset", "picture"),
    [
        ("fine_tuned_model", "loss_curve"),
        ("fidelity_plots", "densities"),
        ("fidelity_plots", "correlations"),
        ("privacy", "distances"),
        ("regression_comparison", "regression_comparison"),
        ("report", "metrics"),
    ],
)
def test_the_page_of_an_asset_shows_its_picture(
    page: "Page", expect: Any, lineage_run: LineageRun, asset: str, picture: str
) -> None:
    of_day = "" if asset == "fine_tuned_model" else f"?view=partitions&partition={lineage_run.partition}"
    page.goto(f"/assets/abalone/{asset}{of_day}")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=picture, exact=True))
    row.get_by_text("Show Markdown").click()

    image = page.get_by_role("dialog").get_by_role("img", name=picture)
    expect(image).to_be_visible()
    assert str(image.get_attribute("src")).startswith("data:image/png;base64,")
    # A picture that cannot be decoded has no width of its own.
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def _run(server: Server, run_id: str) -> dict[str, Any]:
    answer = server.ask(
        """query Run($id: ID!) { runOrError(runId: $id) { ... on Run {
            status
            tags { key value }
            assetMaterializations { assetKey { path } }
            eventConnection { events { ... on ExecutionStepFailureEvent {
                stepKey error { message causes { message } }
            } } }
        } } }""",
        id=run_id,
    )
    return dict(answer["runOrError"])


def _backfill(server: Server, days: list[str]) -> str:
    """Ask for samples of days, as the UI does; give the backfill's id."""
    launched = server.ask(
        """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
        } }""",
        params={"assetSelection": [SAMPLE], "partitionNames": days},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def _state(server: Server, backfill_id: str) -> str:
    found = server.ask(
        """query State($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status }
        } }""",
        id=backfill_id,
    )
    return str(found["partitionBackfillOrError"]["status"])


def _samples(data_folder: Path) -> list[tuple[str, int, int]]:
    """Return the number of rows by day, and of different sample ids."""
    with duckdb.connect(data_folder / "warehouse.duckdb", read_only=True) as connection:
        return connection.execute(
            "SELECT resample_date::VARCHAR, count(*), count(DISTINCT sample_id) FROM abalone.synthetic_sample "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
