"""Starts `dagster dev`, and ends exactly what it started."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml

from synth_assets_tests.conftest import PROJECT

LOCATION = "tiny"
START_S = 120.0
"""How long the server may take to answer, on a machine that is busy."""

_LOCATIONS = """{
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message }
  } } } }
}"""


@dataclass(frozen=True)
class Server:
    """A running `dagster dev`: webserver, daemon and code server.

    Parameters
    ----------
    port : int
        The webserver's port, on the loopback address.
    log : pathlib.Path
        What its processes print.
    """

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return what the GraphQL API answers to a query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        # A proxy of the caller's environment must not get in between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            answer = json.load(response)
        assert not answer.get("errors"), answer["errors"]
        return dict(answer["data"])

    def last_lines(self, count: int = 200) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


RUNNING: list[Server] = []
"""The servers whose logs are shown when a test fails."""


@contextmanager
def dagster_dev(workspace: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run `dagster dev` on a workspace file.

    Parameters
    ----------
    workspace : pathlib.Path
        The workspace file.
    folder : pathlib.Path
        Where the server runs and keeps its log: not in a project, whose `pyproject.toml` would have a say.
    environment : mapping
        Variables for the server, beside those of this process.

    Yields
    ------
    Server
        The server, once it has loaded every code location.
    """
    server = Server(free_port(), folder / "dagster_dev.log")
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(workspace)]
    command += ["--host", "127.0.0.1", "--port", str(server.port)]
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=with_this_checkout(environment), stdout=log, stderr=subprocess.STDOUT
        )
    RUNNING.append(server)
    try:
        _wait_until_loaded(server, process)
        yield server
    finally:
        RUNNING.remove(server)
        end_tree(process)


@contextmanager
def tiny_server(folder: Path, data_folder: Path, **environment: str) -> Iterator[Server]:
    """Run `dagster dev` on `tiny_location`, with the project's own `dagster.yaml`.

    Parameters
    ----------
    folder : pathlib.Path
        Holds the instance, the workspace file and the log.
    data_folder : pathlib.Path
        Where the lineage works.
    **environment
        Further variables for the server.

    Yields
    ------
    Server
        The server; the location is called `LOCATION`.
    """
    home = folder / "home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    workspace = folder / "workspace.yaml"
    module = {"module_name": "synth_assets_tests.live.tiny_location", "location_name": LOCATION}
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}), encoding="utf-8")
    settings = {
        "DAGSTER_HOME": str(home),
        "SYNTH_ASSETS_DATA": str(data_folder),
        # The threads of several processes on few cores wait for each other: a tiny model is several times faster so.
        "OMP_NUM_THREADS": "1",
    }
    # As the Makefile does. Dagster makes a pool when it first queues for it, and of what waits then it bounds nothing.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.event_log_storage.set_concurrency_slots("language_model", 1)
    with dagster_dev(workspace, folder, {**settings, **environment}) as running:
        # Dagster asks once for an e-mail address, over whatever page is open. This is what its button "Skip" does.
        running.ask("mutation { setNuxSeen }")
        yield running


def with_this_checkout(environment: Mapping[str, str]) -> dict[str, str]:
    """Add variables to this process's own, and let a process import this checkout: another one may be installed."""
    paths = [str(PROJECT), os.environ.get("PYTHONPATH")]
    return {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def wait_for(what: str, found: Callable[[], bool], *, seconds: float, every: float = 0.5) -> None:
    """Wait until a condition holds, or fail."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)


def free_port() -> int:
    """Return a port of the loopback address on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_loaded(server: Server, process: "subprocess.Popen[bytes]") -> None:
    def loaded() -> bool:
        assert process.poll() is None, f"dagster dev ended with exit code {process.returncode}"
        try:
            entries = server.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        except OSError:
            return False  # it does not listen yet
        found = [entry["locationOrLoadError"] for entry in entries if entry["loadStatus"] == "LOADED"]
        errors = [each["message"] for each in found if each["__typename"] == "PythonError"]
        assert not errors, "\n".join(errors)
        return bool(entries) and len(found) == len(entries)

    try:
        wait_for("dagster dev to load its code locations", loaded, seconds=START_S)
    except AssertionError as error:
        # The server ends before the failure is reported, so that its log goes with the error.
        error.add_note(server.last_lines())
        raise


def end_tree(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children; kill the ones that have not ended after 15 s."""
    started: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        # Listed before any of them ends: what a process leaves behind can no longer be told to be its child.
        started = [root, *root.children(recursive=True)]
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    _, alive = psutil.wait_procs(started, timeout=15)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(alive, timeout=15)
    process.wait(timeout=15)
