"""Calls of a function in several processes, which results do not depend on.

A child starts from nothing but this interpreter and its `sys.path`: it neither imports the script of the caller again,
as `multiprocessing` does, nor inherits the locks of its threads, as a fork does.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from synth_assets.errors import ForeseenError

_START = (
    "import pickle, sys\n"
    "results, sys.stdout = sys.stdout.buffer, sys.stderr\n"
    "sys.path[:] = pickle.load(sys.stdin.buffer)\n"
    "from synth_assets.processes import serve\n"
    "serve(sys.stdin.buffer, results)\n"
)

T = TypeVar("T")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def in_turn(function: Callable[..., Iterable[T]], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Make calls in children, one call a child, and yield an item of each in turn until a child has no more.

    A child waits until its last items have been taken, so that it is never more than a few ahead.

    Parameters
    ----------
    function : callable
        A function of a module that returns items; arguments and items are pickled.
    calls : sequence of tuple
        The arguments of each call.
    """
    with ExitStack() as running:
        children = [running.enter_context(_child(function, call, each=True)) for call in calls]
        while True:
            for child in children:
                try:
                    yield next(child)
                except StopIteration:
                    return


def together(function: Callable[..., Iterable[T]], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Make calls in children at the same time, one call a child, and yield the items of the first.

    The children may wait for each other. Where one fails, all are ended, and its error is raised.

    Parameters
    ----------
    function : callable
        A function of a module that returns items; arguments and items are pickled.
    calls : sequence of tuple
        The arguments of each call.
    """
    found: SimpleQueue[tuple[bool, Any]] = SimpleQueue()  # whether the child goes on, and its item or error

    def read(child: Iterator[T], is_first: bool) -> None:
        try:
            for item in child:
                if is_first:
                    found.put((True, item))
        except Exception as error:  # noqa: BLE001 - raised again by the caller's thread
            found.put((False, error))
        else:
            found.put((False, None))

    threads = ThreadPoolExecutor(len(calls))
    try:
        with ExitStack() as running:
            for i, call in enumerate(calls):
                threads.submit(read, running.enter_context(_child(function, call, each=True)), i == 0)
            n_running = len(calls)
            while n_running:
                goes_on, item = found.get()
                if goes_on:
                    yield item
                elif item is not None:
                    raise item
                else:
                    n_running -= 1
    finally:
        threads.shutdown(wait=False)


def serve(calls: Any, results: Any) -> None:
    """Make the call that is read from a stream, and write its result, or each item of it, to another."""
    function, arguments, each = pickle.load(calls)  # noqa: S301 - from the process that started this one
    try:
        result = function(*arguments)
        for item in result if each else (result,):
            pickle.dump((True, item), results)
            results.flush()
        pickle.dump(None, results)
    except Exception as error:  # noqa: BLE001 - raised again by the process that asked
        pickle.dump((False, error), results)


def _in_child(function: Callable[..., T], call: tuple[Any, ...]) -> T:
    with _child(function, call, each=False) as results:
        found: T = next(results)
        return found


@contextmanager
def _child(function: Callable[..., Any], call: tuple[Any, ...], *, each: bool) -> Iterator[Iterator[Any]]:
    """Start a child that makes a call, and provide its result, or the items of it; it is ended with the context."""
    child = subprocess.Popen([sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    try:
        with suppress(BrokenPipeError):  # of a child that died; reading its results says so
            child.stdin.write(pickle.dumps(sys.path) + pickle.dumps((function, call, each)))
            child.stdin.flush()
        yield _results(child)
    finally:
        child.kill()
        child.communicate()


def _results(child: "subprocess.Popen[bytes]") -> Iterator[Any]:
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    try:
        while (outcome := pickle.load(child.stdout)) is not None:  # noqa: S301 - from the child that was started here
            succeeded, result = outcome
            if not succeeded:
                raise result
            yield result
    except (EOFError, pickle.UnpicklingError) as error:
        raise ForeseenError(
            f"a child process ended with status {child.wait()}; expected 0. Its messages are above; after -9, the "
            "machine had too little memory: free some, or ask for fewer rows or processes."
        ) from error
