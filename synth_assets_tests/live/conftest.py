"""A browser, and what a server printed when a test that needs it fails."""

import shutil
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

from synth_assets_tests.live.server import RUNNING

if TYPE_CHECKING:  # only the process that runs these tests imports Playwright
    from playwright.sync_api import Browser

# No sandbox: these tests may run as root. The others keep it from the network and from what a GPU would be for.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of the server at {server.url}", server.last_lines()) for server in RUNNING]
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    found = [path for name in CHROMIUM if (path := shutil.which(name))]
    if not found:
        pytest.skip(f"needs a browser: found none of {', '.join(CHROMIUM)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()
