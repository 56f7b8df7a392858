"""Two runs of the same day at once: both succeed, one of them trains, and there is one state."""

from pathlib import Path

from synth_assets_tests.faults.days import SECOND_DAY
from synth_assets_tests.faults.record import Record
from synth_assets_tests.faults.states import States
from synth_assets_tests.faults.warm_process import WarmProcess

KIND = "two runs of the same day at once"


def test_two_runs_of_a_day_end_in_one_state(
    warm: WarmProcess, states: States, record: Record, full: bool, tmp_path: Path
) -> None:
    for _ in range(5 if full else 1):
        paths = states.copied_to(tmp_path / "data")
        with record.fault(KIND):
            call = ("lineage", {"root": str(paths.root), "day": SECOND_DAY})
            warm.start(call, call)
            ended = warm.until_ended()
            for code, done in ended:
                assert code == 0
                assert done["success"], done
            assert sum("the store has this model already" in done["logged"] for _, done in ended) == 1
            states.assert_after(paths.root)
