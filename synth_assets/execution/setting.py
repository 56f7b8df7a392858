"""The setting `execution`: `local` or `ray`, and what each needs to know."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from synth_assets.execution.processes import completed, cores, started

T = TypeVar("T")

INTERVAL_S = 5.0
"""Most seconds between two reports of calls that have ended."""


@dataclass(frozen=True)
class Completed(Generic[T]):
    """Calls that have ended since the last report.

    Parameters
    ----------
    results : list of tuple
        The number of each call, from 0, and its result.
    workers : int
        Number of processes that make calls now.
    """

    results: list[tuple[int, T]]
    workers: int


class Execution(BaseModel, ABC):
    """Where calls are made; `type` is its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    is_local: ClassVar[bool] = False
    """Whether calls are made on this machine, with its files."""

    type: str

    @property
    def local_processes(self) -> int | None:
        """Number of processes on this machine that the setting states; None if it states none."""
        return None

    @abstractmethod
    def completed(
        self,
        function: Callable[..., T],
        calls: Iterable[tuple[Any, ...]],
        *,
        shared: object = None,
        processes: int | None = None,
    ) -> Iterator[Completed[T]]:
        """Make calls side by side, and report the ones that have ended; calls that have not are dropped at the end.

        Parameters
        ----------
        function : callable
            A function of a module; arguments and results are pickled.
        calls : iterable of tuple
            The arguments of each call but the first; read while the calls are made, in memory that does not grow.
        shared : object
            The first argument of each call, which a process gets once.
        processes : int, optional
            Number of processes on this machine where the setting states none; by default one for each core.

        Yields
        ------
        Completed
            At least one every few seconds.

        Raises
        ------
        ForeseenError
            If a process dies again and again, or there is no cluster to use. Errors of a call are raised as they are.
        """

    @abstractmethod
    def started(
        self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]], *, shared: object = None, processes: int = 1
    ) -> AbstractContextManager[Iterator[T]]:
        """Start calls, and provide their results in order, while the caller goes on.

        Parameters
        ----------
        function, calls, shared
            As in `completed`.
        processes : int
            Number of processes on this machine, if the setting states no smaller one; with one, a call is made here
            when its result is asked for.
        """

    def results(self, function: Callable[..., T], calls: list[tuple[Any, ...]], *, shared: object = None) -> list[T]:
        """Make calls side by side, and return their results in order; see `completed`."""
        found: dict[int, T] = {}
        for report in self.completed(function, calls, shared=shared, processes=min(cores(), max(1, len(calls)))):
            found.update(report.results)
        return [found[number] for number in range(len(calls))]


class LocalExecution(Execution):
    """Processes of this machine."""

    is_local: ClassVar[bool] = True

    type: Literal["local"] = "local"
    processes: int | None = Field(
        default=None, ge=1, description="Number of processes; by default, as many as the cores and the work allow."
    )

    @property
    def local_processes(self) -> int | None:
        """Number of processes, if it is stated."""
        return self.processes

    def completed(
        self,
        function: Callable[..., T],
        calls: Iterable[tuple[Any, ...]],
        *,
        shared: object = None,
        processes: int | None = None,
    ) -> Iterator[Completed[T]]:
        """Make calls in processes of this machine; with one process, in this one."""
        count = self.processes or processes or cores()
        if count == 1:
            for number, call in enumerate(calls):
                yield Completed([(number, function(shared, *call))], 1)
            return
        for results in completed(function, shared, calls, count, interval=INTERVAL_S):
            yield Completed(results, count)

    def started(
        self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]], *, shared: object = None, processes: int = 1
    ) -> AbstractContextManager[Iterator[T]]:
        """Start calls in processes of this machine."""
        return started(function, [(shared, *call) for call in calls], min(processes, self.processes or processes))


class RayExecution(Execution):
    """Tasks of a Ray cluster. Needs the extra `ray`."""

    type: Literal["ray"] = "ray"
    address: str | None = Field(
        default=None,
        min_length=1,
        description="Address of the cluster, such as '10.0.0.1:6379' or 'ray://10.0.0.1:10001', or 'auto' for the one "
        "that this machine belongs to. By default, a cluster of this machine is started and ended with the work.",
    )
    cpus: float = Field(default=1.0, gt=0.0, description="CPUs of a task.")
    gpus: float = Field(default=0.0, ge=0.0, description="GPUs of a task.")

    def completed(
        self,
        function: Callable[..., T],
        calls: Iterable[tuple[Any, ...]],
        *,
        shared: object = None,
        processes: int | None = None,
    ) -> Iterator[Completed[T]]:
        """Make calls as tasks of the cluster; the cluster decides how many at the same time."""
        from synth_assets.execution.cluster import tasks

        del processes
        for results, workers in tasks(self, function, shared, calls, interval=INTERVAL_S):
            yield Completed(results, workers)

    def together(
        self, function: Callable[..., Iterator[T]], arguments: tuple[Any, ...], *, size: int = 1
    ) -> Iterator[T]:
        """Make calls at the same time, in processes that find each other, and yield the items of the first.

        Where a process is lost, all are started again.

        Parameters
        ----------
        function : callable
            A function of a module that returns items. It gets the arguments and its number, from 0, while the
            variables of `torch.distributed` are set.
        arguments : tuple
            The arguments of each call; these, and items, are pickled.
        size : int
            Number of processes, with the CPUs and GPUs of a task each, on any nodes.

        Raises
        ------
        ForeseenError
            If the cluster has no room for them, or processes are lost again and again. Errors of a call are raised as
            they are.
        """
        from synth_assets.execution.cluster import group

        return group(self, function, arguments, size)

    @contextmanager
    def started(
        self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]], *, shared: object = None, processes: int = 1
    ) -> Iterator[Iterator[T]]:
        """Start calls as tasks of the cluster, which end with the context."""
        del processes
        is_over = Event()

        def results() -> list[T]:
            found: dict[int, T] = {}
            for report in self.completed(function, calls, shared=shared):
                found.update(report.results)
                if is_over.is_set():
                    break
            return [found[number] for number in sorted(found)]

        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(results)
            try:
                yield (each for each in found.result())
            finally:
                is_over.set()


LOCAL = LocalExecution()
"""Processes of this machine, as many as are faster."""


def _by_name(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    AnyExecution = LocalExecution | RayExecution
else:
    _Stated = Annotated[Union[LocalExecution, RayExecution], Field(discriminator="type")]  # noqa: UP007
    AnyExecution = Annotated[
        _Stated,
        BeforeValidator(_by_name, json_schema_input_type=Literal["local", "ray"] | _Stated),
    ]
    """An execution: its name, or its `type` and settings."""
