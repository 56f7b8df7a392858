"""Calls as tasks of a Ray cluster: retried when a worker or a node is lost, with a bounded number in flight."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from synth_assets.errors import ForeseenError
from synth_assets.execution.processes import cores, keep_memory

if TYPE_CHECKING:
    from synth_assets.execution.setting import RayExecution

T = TypeVar("T")

RETRIES = 10
"""How often a task is started again whose worker or node was lost."""

IN_FLIGHT = 2
"""Tasks in flight for each that can run, so that a worker need not wait for the next one."""

CONNECT_S = 10.0
"""Seconds within which a cluster answers at its address."""

LOST_S = 20.0
"""Seconds after which a cluster that no longer answers is given up. Ray ends the process of a driver after 60."""


def tasks(
    execution: "RayExecution",
    function: Callable[..., T],
    shared: object,
    calls: Iterable[tuple[Any, ...]],
    *,
    interval: float,
) -> Iterator[tuple[list[tuple[int, T]], int]]:
    """Make calls as tasks, and yield the numbers and results of the ones that have ended, and how many can run.

    `shared` is put into the object store once, and a worker process reads it once. The arguments are as in
    `Execution.completed`.
    """
    ray = _ray()
    with _connected(ray, execution):
        slots = _slots(ray, execution)
        if not slots and execution.address is None:
            raise ForeseenError(
                f"a task needs {execution.cpus:g} CPUs and {execution.gpus:g} GPUs, and this machine has "
                f"{cores()} CPUs and {ray.cluster_resources().get('GPU', 0):g} GPUs. Lower execution.cpus or "
                "execution.gpus, or state the address of a larger cluster."
            )
        from ray import cloudpickle

        task = ray.remote(_call).options(
            num_cpus=execution.cpus, num_gpus=execution.gpus, max_retries=RETRIES, name=function.__name__
        )
        # In a list, a reference is passed on as it is: the worker reads the object only if it has not yet.
        key, references = uuid4().hex, [ray.put(shared)]
        remaining = enumerate(calls)
        in_flight: dict[Any, int] = {}
        head = _Head(ray, execution)
        try:
            while True:
                while len(in_flight) < max(1, IN_FLIGHT * slots):
                    number, call = next(remaining, (None, ()))
                    if number is None:
                        break
                    work = cloudpickle.dumps((function, call))
                    in_flight[task.remote(key, references, version("synth-assets"), sys.path, work)] = number
                if not in_flight:
                    return
                with head.watched():
                    ended, _ = ray.wait(list(in_flight), timeout=interval)
                    if ended:  # as many as have ended by now
                        ended, _ = ray.wait(list(in_flight), num_returns=len(in_flight), timeout=0)
                yield [(in_flight.pop(each), _result(ray, each)) for each in ended], slots
                if head.answers():
                    slots = _slots(ray, execution)
        finally:
            for each in () if head.is_lost else in_flight:
                ray.cancel(each, force=True)


def group(
    execution: "RayExecution", function: Callable[..., Iterator[T]], arguments: tuple[Any, ...], size: int
) -> Iterator[T]:
    """Make calls at the same time in processes that find each other; see `RayExecution.together`."""
    ray = _ray()
    with _connected(ray, execution):
        if _slots(ray, execution) < size:
            raise ForeseenError(
                f"{size} processes are to work together, with {execution.cpus:g} CPUs and {execution.gpus:g} GPUs "
                f"each, and the cluster has room for {_slots(ray, execution)}. Add nodes, or lower execution.cpus, "
                "execution.gpus or the number of processes."
            )
        references = [ray.put(arguments)]
        for attempt in range(RETRIES + 1):
            try:
                yield from _attempt(ray, execution, function, references, size)
            except ray.exceptions.RayActorError as error:
                if attempt == RETRIES:
                    raise ForeseenError(
                        f"a process that works with others was lost {RETRIES + 1} times: {_first_line(error)}. "
                        "Expected nodes that stay: look at their memory and disks, and start the work again."
                    ) from error
            else:
                return


def _attempt(
    ray: ModuleType, execution: "RayExecution", function: Callable[..., Iterator[T]], references: list[Any], size: int
) -> Iterator[T]:
    """Make the calls once. Processes of their own are started for it, which end with it."""
    from ray import cloudpickle
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    head = _Head(ray, execution)
    room = {"CPU": execution.cpus, **({"GPU": execution.gpus} if execution.gpus else {})}
    placed = placement_group([room] * size)  # all at once, or the groups of two drivers would wait for each other
    members: list[Any] = []
    try:
        while not placed.wait(CONNECT_S):
            head.answers()  # until there is room
        for rank in range(size):
            where = PlacementGroupSchedulingStrategy(placed, placement_group_bundle_index=rank)
            member = ray.remote(_Member).options(
                num_cpus=execution.cpus, num_gpus=execution.gpus, scheduling_strategy=where
            )
            members.append(member.remote())
        places = ray.get([member.place.remote() for member in members])
        work = cloudpickle.dumps(function)
        begun = []
        for rank, (member, (_, _, interface)) in enumerate(zip(members, places, strict=True)):
            environment = {
                "WORLD_SIZE": str(size),
                "RANK": str(rank),
                "LOCAL_WORLD_SIZE": "1",
                "LOCAL_RANK": "0",  # a process sees the GPUs of its own alone
                "MASTER_ADDR": places[0][0],
                "MASTER_PORT": str(places[0][1]),
                **({"GLOO_SOCKET_IFNAME": interface} if interface else {}),
            }
            begun.append(member.begin.remote(references, version("synth-assets"), sys.path, work, environment))
        ray.get(begun)
        yield from _first_items(ray, members, head)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from error
    finally:
        if not head.is_lost:
            for member in members:
                ray.kill(member)
            remove_placement_group(placed)


def _first_items(ray: ModuleType, members: list[Any], head: "_Head") -> Iterator[Any]:
    """Yield the items of the first process until all have ended."""
    asked = {member.advance.remote(): member for member in members}
    while asked:
        with head.watched():
            ready, _ = ray.wait(list(asked), timeout=CONNECT_S)
        if not ready:
            head.answers()
        for reference in ready:
            member = asked.pop(reference)
            try:
                items = ray.get(reference)
            except ray.exceptions.RayTaskError:
                # The others fail soon after one is lost, and may say so first.
                for other in ray.wait(list(asked), num_returns=len(asked), timeout=CONNECT_S)[0] if asked else ():
                    with suppress(ray.exceptions.RayTaskError):
                        ray.get(other)
                raise
            if items:
                asked[member.advance.remote()] = member
                if member is members[0]:
                    yield from items


class _Member:
    """A process of a group, on any node; an actor, so that no other task gets a process with its variables."""

    def place(self) -> tuple[str, int, str | None]:
        """Return the address of this node, a free port, and the network interface."""
        import psutil
        import ray

        address = ray.util.get_node_ip_address()
        with socket.socket() as unused:
            unused.bind(("", 0))
            port = unused.getsockname()[1]
        interfaces = psutil.net_if_addrs().items()
        named = (name for name, found in interfaces if any(each.address == address for each in found))
        return address, port, next(named, None)

    def begin(
        self, references: list[Any], package: str, path: list[str], work: bytes, environment: dict[str, str]
    ) -> None:
        """Make the call."""
        import ray
        from ray import cloudpickle

        _require_version(package)
        sys.path += [each for each in path if each not in sys.path]
        os.environ.update(environment)
        self.items = iter(cloudpickle.loads(work)(*ray.get(references[0]), int(environment["RANK"])))

    def advance(self) -> list[Any]:
        """Return the next item; no item at the end. A Ray client takes no generators."""
        return list(islice(self.items, 1))


class _Head:
    """The head node of a cluster. Calls of Ray wait for one that is lost, until Ray ends the process."""

    def __init__(self, ray: ModuleType, execution: "RayExecution") -> None:
        self._ray = ray
        is_client = ray.util.client.ray.is_connected()
        found = execution.address if is_client else ray.get_runtime_context().gcs_address
        self.address = str(found or "").removeprefix("ray://")
        self._answered = True
        self._answered_at = time.monotonic()

    @property
    def is_lost(self) -> bool:
        """Whether it did not answer at last. Without a connection, any call of Ray would make another."""
        return not self._answered or not self._ray.is_initialized()

    def answers(self) -> bool:
        """Return whether the head node answers; raise an error if it has not for long."""
        if not self._ray.is_initialized():
            raise self._lost("the connection was closed")
        host, _, port = self.address.rpartition(":")
        if not host:  # the caller has made the connection
            return True
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except OSError as error:
            self._answered = False
            if time.monotonic() - self._answered_at < LOST_S:
                return False
            raise self._lost(str(error.strerror or error)) from error
        self._answered, self._answered_at = True, time.monotonic()
        return True

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Raise one message where a client has lost the connection."""
        try:
            yield
        except ConnectionError as error:
            if not self.is_lost:
                raise  # of a call
            raise self._lost(_first_line(error)) from error

    def _lost(self, reason: str) -> ForeseenError:
        return ForeseenError(
            f"the Ray cluster at {self.address} was lost: {reason}. Finished work is kept: start the cluster, and "
            "start the work again, which resumes."
        )


_SHARED: dict[str, object] = {}
"""In a worker: the object that all calls of some work get, by the key of the work."""


def _call(key: str, references: list[Any], package: str, path: list[str], work: bytes) -> Any:
    """Make a call in a worker, which finds modules where the caller does."""
    _require_version(package)
    import ray
    from ray import cloudpickle

    sys.path += [each for each in path if each not in sys.path]
    function, call = cloudpickle.loads(work)
    if key not in _SHARED:
        keep_memory()
        _SHARED.clear()  # of earlier work
        _SHARED[key] = ray.get(references[0])
    return function(_SHARED[key], *call)


def _require_version(package: str) -> None:
    if (found := version("synth-assets")) != package:
        raise ForeseenError(
            f"the node {socket.gethostname()} has synth-assets {found}; expected {package}, as on the machine that "
            "started the work. Install the same version on every node."
        )


def _result(ray: ModuleType, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ModuleNotFoundError) or "failed to import" in str(error):
            raise ForeseenError(
                "a node of the Ray cluster cannot import the work: install synth-assets, in the same version, on every "
                f"node. Ray says: {_last_line(error)}"
            ) from error
        raise (error.cause or error) from error
    except ray.exceptions.RayError as error:
        raise ForeseenError(
            f"a task was lost {RETRIES + 1} times, or its cluster was: {_first_line(error)}. Expected workers that "
            "stay: look at the memory and the disks of the nodes and at Ray's logs there, and start the work again."
        ) from error


def _slots(ray: ModuleType, execution: "RayExecution") -> int:
    """Return the number of tasks that the cluster can run at the same time, as large as it is now."""
    found = ray.cluster_resources()
    by_cpus = int(found.get("CPU", 0) // execution.cpus)
    return min(by_cpus, int(found.get("GPU", 0) // execution.gpus)) if execution.gpus else by_cpus


@contextmanager
def _connected(ray: ModuleType, execution: "RayExecution") -> Iterator[None]:
    """Use the cluster that this process is connected to; without one, connect to one, or start one, for the context."""
    if ray.is_initialized():
        connected = ray.get_runtime_context().gcs_address
        if execution.address not in (None, "auto", connected) and "://" not in str(execution.address):
            raise ForeseenError(
                f"this process is connected to the Ray cluster at {connected}; expected {execution.address}. Call "
                "ray.shutdown() before, or leave execution.address out to use that cluster."
            )
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
    if execution.address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours reports nothing to anybody
        options |= {"address": "local", "num_cpus": cores(), "include_dashboard": False}
    else:
        _require_answer(execution.address)
        options |= {"address": execution.address}
    try:
        _connect(ray, options)
    except Exception as error:  # a bare one where a node does not start in time
        ray.shutdown()  # or else, after a client that could not connect, no later connection works
        raise ForeseenError(_no_connection(execution, error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, options: dict[str, Any]) -> None:
    """Connect, in a second attempt if a client's server, which is a process of its own, did not start in the first."""
    try:
        ray.init(**options)
    except ConnectionAbortedError:
        ray.shutdown()
        ray.init(**options)


def _require_answer(address: str) -> None:
    """Refuse an address where nothing answers: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise ForeseenError(
            f"execution.address is {address!r}; expected 'auto', or a host and a port such as '10.0.0.1:6379' or "
            "'ray://10.0.0.1:10001'."
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise ForeseenError(
            f"there is no Ray cluster at {address}: {error.strerror or error}. Start one with `ray start --head`, "
            "correct execution.address, or leave it out to start a cluster for the work."
        ) from error


def _no_connection(execution: "RayExecution", error: Exception) -> str:
    text = str(error)
    if "mismatch" in text:
        # Ray's message lists the versions of the cluster and of this process.
        versions = " ".join(text.split()).rstrip(".")
        return f"{versions}. Expected the same versions of Ray and Python on every machine: install them."
    if execution.address is None:
        return (
            f"no Ray cluster could be started on this machine: {_first_line(error)}. Expected a free port and memory."
        )
    return (
        f"the Ray cluster at {execution.address} could not be used: {_first_line(error)}. Start one with "
        "`ray start --head`, correct execution.address, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if the cluster asks "
        "for a token, or leave the address out to start a cluster for the work."
    )


def _ray() -> ModuleType:
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ForeseenError(
            "execution is `ray`, and the package ray is not installed for "
            f"{sys.executable}: install the extra with `pip install 'synth-assets[ray]'`, or use `local`."
        ) from error
    module: ModuleType = ray
    return module


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
