"""SIGKILL at random moments of the whole lineage: what was stored is whole at once, and the next run ends as ever."""

import os
import random
import signal
import threading
import time
from pathlib import Path

from synth_assets.storage.paths import DataPaths
from synth_assets_tests.faults.days import SECOND_DAY
from synth_assets_tests.faults.record import Record
from synth_assets_tests.faults.states import States, read_whole
from synth_assets_tests.faults.warm_process import WarmProcess

KIND = "SIGKILL at a random moment of the lineage"
POLL_S = 0.5


class Reader(threading.Thread):
    """Reads what is published, again and again, while a run is killed and another one recovers."""

    def __init__(self, paths: DataPaths) -> None:
        super().__init__(daemon=True)
        self.paths, self.reads, self.problems = paths, 0, list[str]()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(POLL_S):
            try:
                read_whole(self.paths.published)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a problem
                self.problems.append(repr(error))
            self.reads += 1


def test_a_killed_lineage_loses_nothing(
    warm: WarmProcess, states: States, record: Record, rng: random.Random, full: bool, tmp_path: Path
) -> None:
    injections = 50 if full else 2
    done = 0
    steps = list(states.seconds)
    while done < injections:
        paths = states.copied_to(tmp_path / "data")
        reader = Reader(paths)
        reader.start()
        # Steps are hit alike, however long they take; within one, every moment is.
        step = rng.choice(steps)
        moment = rng.random() * states.seconds[step]
        call = ("lineage", {"root": str(paths.root), "day": SECOND_DAY})
        (pid,) = warm.start(call)
        while True:
            told = warm.next()
            assert told["event"] in ("STEP_START", "STEP_SUCCESS"), told
            if (told["event"], told.get("step")) == ("STEP_START", step):
                break
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        ((code, _),) = warm.until_ended()
        if code == -signal.SIGKILL:
            done += 1
            with record.fault(KIND):
                states.assert_whole(paths.root)
                again = warm.call(*call[:1], **call[1])
                assert again["success"], (step, moment, again)
                states.assert_after(paths.root)
                record.note(KIND, **{f"in_{step.removeprefix('abalone').strip('_')}": 1})
                _stop(reader, record)
        else:
            _stop(reader, record)  # the run had ended before


def _stop(reader: Reader, record: Record) -> None:
    reader.stop.set()
    reader.join()
    assert reader.problems == []
    record.note(KIND, reads_meanwhile=reader.reads)
