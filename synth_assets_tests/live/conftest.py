"""Shows what a server printed when a test that needs it fails."""

from collections.abc import Generator

import pytest

from synth_assets_tests.live.server import RUNNING


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of the server at {server.url}", server.last_lines()) for server in RUNNING]
    return report
