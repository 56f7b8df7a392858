"""What the tests of faults share: how many are injected, the process that they are injected into, and the record."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from synth_assets_tests.conftest import shared_folder
from synth_assets_tests.faults.record import Record
from synth_assets_tests.faults.states import States, make_states
from synth_assets_tests.faults.warm_process import WarmProcess
from synth_assets_tests.storage.processes import on_a_small_disk_if_possible

FULL = os.environ.get("FAULTS", "") == "full"
SEED = os.environ.get("FAULTS_SEED", "1")
SMALL_DISK = "64m"

_RECORD = Record(Path(os.environ["FAULTS_RECORD"]) if "FAULTS_RECORD" in os.environ else None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fault)
            item.add_marker(pytest.mark.timeout(7200 if FULL else 900))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _RECORD.kinds:
        terminalreporter.section("faults injected")
        terminalreporter.write_line(_RECORD.as_markdown())


@pytest.fixture(scope="session")
def full() -> bool:
    """Tell whether all faults are injected, or as few as CI has time for."""
    return FULL


@pytest.fixture
def record() -> Record:
    """Return the record of what was injected and survived."""
    return _RECORD


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Return the random numbers of a test, by which faults are drawn."""
    return random.Random(f"{SEED}/{request.node.name}")


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder on which `warm` finds a small disk mounted, as nobody else does, where that is possible."""
    return tmp_path_factory.mktemp("small_disk")


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory, small_disk: Path) -> Iterator[WarmProcess]:
    """Return a process that has imported everything."""
    prefix = on_a_small_disk_if_possible(small_disk, SMALL_DISK)
    with WarmProcess(tmp_path_factory.mktemp("warm"), prefix) as process:
        yield process


@pytest.fixture(scope="session")
def states(warm: WarmProcess, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> States:
    """Return the data folder before and after a run that nothing has disturbed. Do not change it."""
    with shared_folder(tmp_path_factory, "states") as folder:
        return States.load(folder) if folder.exists() else make_states(warm, finished, folder)
