"""A disk that is full while each kind of thing is written: a clear error, and the last good state is readable."""

from pathlib import Path

import pytest

from synth_assets_tests.faults.conftest import SMALL_DISK
from synth_assets_tests.faults.record import Record
from synth_assets_tests.faults.states import States
from synth_assets_tests.faults.warm_process import WarmProcess
from synth_assets_tests.storage.processes import on_a_small_disk

KILOBYTES = (0, 16, 64, 256, 1024, 2048, 16384)
"""What is left free; the last is enough for everything. After each, the asset is made again with all the room."""

WRITES = {
    "raw": "a full disk: the warehouse",
    "fine_tuned_model": "a full disk: the model store",
    "fidelity_plots": "a full disk: figures",
    "report": "a full disk: the report",
    "published": "a full disk: a publication",
}
"""By asset: what it writes that the others do not."""


@pytest.fixture
def _mounted(small_disk: Path) -> None:
    """Skip a test where `warm` has no small disk."""
    on_a_small_disk(small_disk, SMALL_DISK)


@pytest.mark.usefixtures("_mounted")
@pytest.mark.parametrize("asset", WRITES)
def test_a_full_disk_costs_nothing_that_was_stored(
    warm: WarmProcess, small_disk: Path, states: States, record: Record, full: bool, asset: str
) -> None:
    free = KILOBYTES if full else (KILOBYTES[0], KILOBYTES[3])
    attempts = warm.call(
        "fill_the_disk",
        disk=str(small_disk),
        before=str(states.before),
        after=str(states.after),
        asset=asset,
        free=free,
    )
    assert [each["free"] for each in attempts] == list(free)
    for each in attempts:
        if each["success"]:
            continue
        with record.fault(WRITES[asset]):
            (message,) = each["messages"]
            # What torch says of a full disk does not say so.
            assert "No space left on device" in message or "MB are free" in message, each
            if asset == "fine_tuned_model":
                assert "no model could be fitted and saved in " in message, each
            assert any(
                text in message
                for text in (
                    "is still there",
                    "has changed",
                    "Nothing was changed",
                    "Stored data is unchanged",
                    "Consumers keep the current publication",
                )
            ), each
            assert each["problem"] is None, each
    assert not attempts[0]["success"]
    if full:
        assert attempts[-1]["success"], attempts[-1]
        assert attempts[-1]["problem"] is None
