"""A reader holds the warehouse open while a run wants to write: it waits, and then says what to do."""

import re
from pathlib import Path

from synth_assets_tests.faults.days import SECOND_DAY
from synth_assets_tests.faults.record import Record
from synth_assets_tests.faults.states import States
from synth_assets_tests.faults.warm_process import WarmProcess
from synth_assets_tests.storage.processes import HOLD, contents, started

KIND = "a reader that holds the warehouse open"


def test_a_run_waits_for_a_reader_of_the_warehouse(
    warm: WarmProcess, states: States, record: Record, tmp_path: Path
) -> None:
    paths = states.copied_to(tmp_path / "data")
    with record.fault(KIND), started(HOLD, paths.warehouse, 3, "read") as reader:
        done = warm.call("lineage", root=str(paths.root), day=SECOND_DAY, assets=["raw"])
        assert done["success"], done
        assert reader.wait(timeout=10) == 0
    assert contents(paths.warehouse)["abalone.raw"] == contents(states.after / "warehouse.duckdb")["abalone.raw"]


def test_a_reader_that_does_not_let_go_is_named_and_nothing_changes(
    warm: WarmProcess, states: States, record: Record, tmp_path: Path
) -> None:
    paths = states.copied_to(tmp_path / "data")
    before = contents(paths.warehouse)
    call = {"root": str(paths.root), "day": SECOND_DAY, "assets": ["raw"]}
    with record.fault(KIND), started(HOLD, paths.warehouse, 600, "read") as reader:
        done = warm.call("lineage", **call, wait_for_lock_s=1.0)
        (message,) = done["messages"]
        assert re.match(rf"the warehouse {paths.warehouse} cannot be opened: .*lock is held", message), message
        assert f"PID {reader.pid}" in message
        assert "After 1 s of waiting, nothing was changed. End that process" in message
        assert str(paths.published) in message
        assert contents(paths.warehouse) == before
    assert warm.call("lineage", **call)["success"]
