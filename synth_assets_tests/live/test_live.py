"""The lineage through a running server: its API, and its pages in a browser."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from synth_assets_tests.live import tiny_location
from synth_assets_tests.live.server import LOCATION, Server, tiny_server, wait_for

pytestmark = pytest.mark.slow

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
ON_DEMAND = {"augmentation_study": {"python", "pytorch", "scikitlearn", "duckdb"}}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
RUN_S = 400.0
"""How long the run of the lineage may take, on a machine that is busy."""
PAGE_MS = 60_000.0
"""How long a page may take to show something, on a machine that is busy."""


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
def data_folder(tmp_path_factory: pytest.TempPathFactory, placeholder_csv: Path) -> Path:
    folder = tmp_path_factory.mktemp("data")
    shutil.copy(placeholder_csv, folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, data_folder: Path, placeholder_csv: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    csv = folder / "few_values.csv"
    tiny_location.tiny_table(pd.read_csv(placeholder_csv)).to_csv(csv, index=False)
    with tiny_server(folder, data_folder, ABALONE_CSV=str(csv)) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Server, tmp_path: Path) -> Iterator[Page]:
    """Give a page of the server, and leave a picture of it behind."""
    page = _new_page(browser, server)
    yield page
    page.screenshot(path=tmp_path / "page.png")
    page.context.close()


@pytest.fixture(scope="module")
def lineage_run(browser: Browser, server: Server, tmp_path_factory: pytest.TempPathFactory) -> LineageRun:
    """Materialize the whole lineage at its latest day, by clicks."""
    pictures = tmp_path_factory.mktemp("lineage_run")
    page = _new_page(browser, server)
    page.goto(f"/locations/{LOCATION}/asset-groups/abalone/lineage")
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text=f"Launch runs to materialize {len(KINDS)} assets")
    dialog.get_by_role("button", name="Latest").click()
    page.screenshot(path=pictures / "dialog.png")
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("link", name="View", exact=True).click()  # in the note that the run was launched
    page.wait_for_url("**/runs/*")
    run_id = page.url.rsplit("/", 1)[1]
    page.context.close()
    wait_for("the run to end", lambda: _run(server, run_id)["status"] in ENDED, seconds=RUN_S, every=2.0)
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
        ("abalone", name): kinds for name, kinds in (KINDS | ON_DEMAND).items()
    }
    for node in nodes:
        on_demand = node["assetKey"]["path"][1] in ON_DEMAND  # what materializes the whole group leaves these alone
        assert node["groupName"] == ("abalone_on_demand" if on_demand else "abalone"), node
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


@pytest.mark.browser
def test_the_lineage_page_shows_every_asset(page: Page) -> None:
    page.set_viewport_size({"width": 2600, "height": 1400})  # in a smaller one, long names lose their middle
    page.goto(f"/locations/{LOCATION}/asset-groups/abalone/lineage")

    for name in KINDS:
        expect(page.get_by_text(name, exact=True)).to_be_visible()


@pytest.mark.browser
def test_clicks_materialize_the_whole_lineage(
    server: Server, page: Page, lineage_run: LineageRun, data_folder: Path
) -> None:
    run = _run(server, lineage_run.id)
    assert run["status"] == "SUCCESS", [event for event in run["eventConnection"]["events"] if event]
    assert sorted(each["assetKey"]["path"] for each in run["assetMaterializations"]) == sorted(
        ["abalone", name] for name in KINDS
    )
    with duckdb.connect(data_folder / "published" / "synthetic.duckdb", read_only=True) as published:
        days = published.sql("SELECT resample_date::VARCHAR, count(*) FROM abalone.synthetic_sample GROUP BY 1")
        assert days.fetchall() == [(lineage_run.partition, tiny_location.SAMPLE_ROWS)]

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
        ("report", "evidence"),
    ],
)
def test_the_page_of_an_asset_shows_its_picture(page: Page, lineage_run: LineageRun, asset: str, picture: str) -> None:
    of_day = "" if asset == "fine_tuned_model" else f"?view=partitions&partition={lineage_run.partition}"
    page.goto(f"/assets/abalone/{asset}{of_day}")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=picture, exact=True))
    row.get_by_text("Show Markdown").click()

    image = page.get_by_role("dialog").get_by_role("img", name=picture)
    expect(image).to_be_visible()
    assert str(image.get_attribute("src")).startswith("data:image/png;base64,")
    # A picture that cannot be decoded has no width of its own.
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def _new_page(browser: Browser, server: Server) -> Page:
    page = browser.new_page(base_url=server.url, viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(PAGE_MS)
    return page


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
