"""Calls of a function in several processes, which results do not depend on.

A child starts from nothing but this interpreter and its `sys.path`: it neither imports the script of the caller again,
as `multiprocessing` does, nor inherits the locks of its threads, as a fork does.
"""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from synth_assets.errors import ForeseenError

_START = (
    "import pickle, sys\n"
    "results, sys.stdout = sys.stdout.buffer, sys.stderr\n"
    "sys.path[:] = pickle.load(sys.stdin.buffer)\n"
    "from synth_assets.evaluation.processes import serve\n"
    "serve(sys.stdin.buffer, results)\n"
)

T = TypeVar("T")


@contextmanager
def started(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], processes: int) -> Iterator[Iterator[T]]:
    """Start calls, and provide their results in their order.

    With one process, each call is made here when its result is asked for. With more, they are made in children, one
    call a child, while the caller goes on; an error of a call is raised with its result. Calls that have not started
    when the context ends are dropped.

    Parameters
    ----------
    function : callable
        A function of a module; arguments and results are pickled.
    calls : sequence of tuple
        The arguments of each call.
    processes : int
        Number of children that run at the same time.
    """
    if processes == 1:
        yield (function(*call) for call in calls)
        return
    threads = ThreadPoolExecutor(processes)
    try:
        results = [threads.submit(_in_child, function, call) for call in calls]
        yield (result.result() for result in results)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def serve(calls: Any, results: Any) -> None:
    """Make the call that is read from a stream, and write its result to another."""
    function, arguments = pickle.load(calls)  # noqa: S301 - from the process that started this one
    try:
        outcome = True, function(*arguments)
    except Exception as error:  # noqa: BLE001 - raised again by the process that asked
        outcome = False, error
    pickle.dump(outcome, results)


def _in_child(function: Callable[..., T], call: tuple[Any, ...]) -> T:
    request = pickle.dumps(sys.path) + pickle.dumps((function, call))
    command = [sys.executable, "-c", _START]
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise ForeseenError(
            f"a process that evaluates ended with status {done.returncode}; expected 0. Its messages are above; after "
            "-9, the machine had too little memory: free some, or evaluate fewer rows."
        )
    succeeded, result = pickle.loads(done.stdout)  # noqa: S301 - from the child that was started here
    if not succeeded:
        raise result
    found: T = result
    return found
