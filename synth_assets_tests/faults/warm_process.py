"""The other end of `warm`: asks it for calls, and hears what they tell."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from synth_assets_tests.faults import warm
from synth_assets_tests.live.server import with_this_checkout

Call = tuple[str, dict[str, Any]]


class WarmProcess:
    """A process that forks for each call.

    Parameters
    ----------
    folder : pathlib.Path
        For its temporary files and what it prints: a fork that is killed leaves some behind.
    prefix : sequence of str
        The beginning of the command that starts it.
    """

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        self.folder, self.prefix = folder, prefix

    def __enter__(self) -> Self:
        environment = with_this_checkout({"OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder)})
        with (self.folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", warm.__name__],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._line() == "ready\n", (self.folder / "stderr").read_text()
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def start(self, *calls: Call) -> list[int]:
        """Let calls begin, and give their process ids."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(calls) + "\n")
        self.process.stdin.flush()
        self._early, forked = [], {}
        while len(forked) < len(calls):
            told = self._told()
            if told["event"] == "forked":
                forked[told["call"]] = told["pid"]
            else:
                self._early.append(told)
        self._calls = len(calls)
        return [forked[call] for call in sorted(forked)]

    def next(self) -> dict[str, Any]:
        """Return what is told next."""
        return self._early.pop(0) if self._early else self._told()

    def until_ended(self, hear: Callable[[dict[str, Any]], None] = lambda _: None) -> list[tuple[int, Any]]:
        """Wait until all calls have ended, and give of each its exit code and what it gave, in order."""
        codes: dict[int, int] = {}
        values: dict[int, Any] = {}
        while len(codes) < self._calls:
            told = self.next()
            hear(told)
            if told["event"] == "ended":
                codes[told["call"]] = told["code"]
            elif told["event"] in ("result", "error"):
                assert told["event"] == "result", told["value"]
                values[told["call"]] = told["value"]
        return [(codes[call], values.get(call)) for call in sorted(codes)]

    def call(self, name: str, **arguments: Any) -> Any:
        """Make one call, and give what it gave."""
        self.start((name, arguments))
        ((code, value),) = self.until_ended()
        assert code == 0, code
        return value

    def _told(self) -> dict[str, Any]:
        return dict(json.loads(self._line()))

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "stderr").read_text()
        return line
