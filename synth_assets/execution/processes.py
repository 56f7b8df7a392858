"""Calls of a function in several processes, which results do not depend on.

A child starts from nothing but this interpreter and its `sys.path`: it neither imports the script of the caller again,
as `multiprocessing` does, nor inherits the locks of its threads, as a fork does.
"""

import ctypes
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

from synth_assets.errors import ForeseenError

_START = (
    "import pickle, sys\n"
    "results, sys.stdout = sys.stdout.buffer, sys.stderr\n"
    "sys.path[:] = pickle.load(sys.stdin.buffer)\n"
    "from synth_assets.execution.processes import serve\n"
    "serve(sys.stdin.buffer, results)\n"
)

KEPT_BYTES = 1 << 30
"""Free memory that a process keeps for its next allocations, where it is told to."""

T = TypeVar("T")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_memory() -> None:
    """Let the allocator of this process keep freed memory, where it is glibc's.

    For processes that do the same work again and again: by default, megabytes that a step frees go back to the kernel,
    which clears page by page what the next step asks for. Rows then cost a tenth more CPU time.
    """
    trim_threshold, mmap_threshold = -1, -3  # as in malloc.h
    with suppress(AttributeError, OSError, TypeError):  # another allocator
        allocator = ctypes.CDLL(None)
        for parameter in (trim_threshold, mmap_threshold):
            allocator.mallopt(parameter, KEPT_BYTES)


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
        children = [running.enter_context(_child()) for _ in calls]
        for child, call in zip(children, calls, strict=True):
            _send(child, (function, call, True))
        items = [_results(child) for child in children]
        while True:
            for of_child in items:
                try:
                    yield next(of_child)
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
    found: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()  # whether the child goes on, and its item or error

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
                child = running.enter_context(_child())
                _send(child, (function, call, True))
                threads.submit(read, _results(child), i == 0)
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


def completed(
    function: Callable[..., T], shared: object, calls: Iterable[tuple[Any, ...]], processes: int, *, interval: float
) -> Iterator[list[tuple[int, T]]]:
    """Make calls in children that go on until there are no more, and yield results as they come.

    Parameters
    ----------
    function : callable
        A function of a module; arguments and results are pickled.
    shared : object
        The first argument of each call, which a child gets once.
    calls : iterable of tuple
        The other arguments of each call; read while the calls are made.
    processes : int
        Number of children.
    interval : float
        Most seconds between two lists.

    Yields
    ------
    list of tuple
        The number of each call that has ended, from 0, and its result; an empty list where none ended in time.
    """
    remaining, lock = enumerate(calls), threading.Lock()
    found: queue.Queue[tuple[int, T] | Exception | None] = queue.Queue()

    def work(child: "subprocess.Popen[bytes]") -> None:
        try:
            _send(child, (_answers, (function, shared), True))
            results = _results(child)
            while True:
                with lock:
                    number, call = next(remaining, (None, ()))
                if number is None:
                    break
                _send(child, call)
                found.put((number, next(results)))
            found.put(None)
        except Exception as error:  # noqa: BLE001 - raised by the caller's thread
            found.put(error)

    with ExitStack() as running:
        children = [running.enter_context(_child()) for _ in range(processes)]
        threads = [threading.Thread(target=work, args=(child,), daemon=True) for child in children]
        try:
            for thread in threads:
                thread.start()
            working = processes
            while working:
                ended = []
                with suppress(queue.Empty):
                    ended.append(found.get(timeout=interval))
                    while True:
                        ended.append(found.get_nowait())
                for each in ended:
                    if isinstance(each, Exception):
                        raise each
                working -= ended.count(None)
                yield [each for each in ended if isinstance(each, tuple)]
        finally:
            for child in children:
                child.kill()
            for thread in threads:
                thread.join()


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


def _answers(function: Callable[..., T], shared: object) -> Iterator[T]:
    """Make the calls that come on stdin until it is closed, and yield their results."""
    keep_memory()
    with suppress(EOFError):
        while True:
            call = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
            yield function(shared, *call)


def _in_child(function: Callable[..., T], call: tuple[Any, ...]) -> T:
    with _child() as child:
        _send(child, (function, call, False))
        found: T = next(_results(child))
        return found


@contextmanager
def _child() -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child that waits for a call; it is ended with the context."""
    child = subprocess.Popen([sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        _send(child, sys.path)
        yield child
    finally:
        child.kill()
        child.communicate()


def _send(child: "subprocess.Popen[bytes]", sent: object) -> None:
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    with suppress(BrokenPipeError):  # of a child that died; reading its results says so
        pickle.dump(sent, child.stdin)
        child.stdin.flush()


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
