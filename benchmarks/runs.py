"""Runs of methods: each in a process of its own, within limits, kept and used again while its inputs are the same.

A run that failed or reached a limit is kept too, with the reason; it is repeated when the limit is raised.
"""

import argparse
import ast
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import psutil
from methods import BE_GREAT, TEMPERATURES, read_rows
from peers.environments import PEERS, Peer, inputs_of, interpreter_of, script_of
from tables import Table

from synth_assets.execution import Execution, LocalExecution, RayExecution
from synth_assets.storage.files import atomic_write, sha256
from synth_assets.synthesizers import SYNTHESIZERS

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "synth_assets"

OWN = ("language_model", "forest", "be_great")
"""The package's own synthesizers; the others are peers."""

MODEL_SOURCES = ("synthesizers", "schema")
"""Folders of the package that decide what its synthesizers write."""

LIBRARIES = ("torch", "transformers", "scikit-learn", "numpy", "pandas", "be-great")

POLL_S = 0.2
"""How often the limits of a running process are checked."""

ENDED = 60.0
"""Seconds that a process has to end after it was told to."""

Status = Literal["finished", "CPU limit", "memory limit", "failed"]


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where runs are made side by side; by default, one after the other."""
    parser.add_argument("--processes", type=int, default=1, help="runs at the same time on this machine")
    parser.add_argument("--ray", metavar="ADDRESS", help="Ray cluster that runs are made on, or 'auto' (extra `ray`)")


def execution_of(arguments: argparse.Namespace) -> Execution:
    """Return the execution that the options state."""
    return RayExecution(address=arguments.ray) if arguments.ray else LocalExecution(processes=arguments.processes)


@dataclass(frozen=True)
class Limits:
    """What a run may use: CPU seconds and memory of its process and its children."""

    cpu_s: float
    memory_mb: float

    def __str__(self) -> str:
        return f"{self.cpu_s:,.0f} CPU s, {self.memory_mb:,.0f} MB"


@dataclass(frozen=True)
class Run:
    """What became of a run.

    `reason` says why it did not finish, `limits` what it was run within, `inputs` is the hash of everything that its
    rows depend on, `report` has what it measured of itself.
    """

    table: str
    method: str
    seed: int
    inputs: str
    limits: Limits
    status: Status
    reason: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether there are rows."""
        return self.status == "finished"

    def is_valid_within(self, limits: Limits) -> bool:
        """Whether it would have ended in the same way within other limits."""
        if self.finished:
            used = self.report["fit_cpu_s"] + self.report["sample_cpu_s"], self.report["peak_mb"]
            return used[0] <= limits.cpu_s and used[1] <= limits.memory_mb
        if self.status == "CPU limit":
            return self.limits.cpu_s >= limits.cpu_s
        return self.status == "failed" or self.limits.memory_mb >= limits.memory_mb


@dataclass(frozen=True)
class Runs:
    """The runs of a table with one seed, in a folder: rows, logs and what was measured.

    `folder` is made if it does not exist.
    """

    folder: Path
    table: Table
    seed: int

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(self.train, _written(self.table.train, self.table))
        self._write(self.holdout, _written(self.table.holdout, self.table))
        self._write(self.schema, self.table.schema.model_dump_json())

    @property
    def train(self) -> Path:
        """The CSV file of the train rows."""
        return self.folder / f"train-{self.seed}.csv"

    @property
    def holdout(self) -> Path:
        """The CSV file of the holdout rows."""
        return self.folder / f"holdout-{self.seed}.csv"

    @property
    def schema(self) -> Path:
        """The JSON file of the schema."""
        return self.folder / f"schema-{self.seed}.json"

    def path(self, method: str, suffix: str) -> Path:
        """Return a file of a run: `csv` has its rows, `json` what became of it, `log` what it printed."""
        return self.folder / f"{method}-{self.seed}.{suffix}"

    def rows(self, method: str) -> pd.DataFrame:
        """Return the rows of a run that finished, in the schema's dtypes."""
        return read_rows(self.path(method, "csv"), self.table.schema)

    def stored(self, method: str, limits: Limits | None = None) -> Run | None:
        """Return what became of a run with the same inputs, if that is known and would be the same within limits."""
        path = self.path(method, "json")
        if not path.is_file():
            return None
        found = json.loads(path.read_text())
        run = Run(**{**found, "limits": Limits(**found["limits"])})
        if run.inputs != self.inputs(method) or (limits is not None and not run.is_valid_within(limits)):
            return None
        return run

    def run(self, method: str, limits: Limits) -> Run:
        """Fit a method to the train rows and draw as many, unless that is stored."""
        return self.stored(method, limits) or self._run(method, limits)

    def _run(self, method: str, limits: Limits) -> Run:
        inputs = self.inputs(method)
        report = self.path(method, "report")
        out = self.path(method, "csv")
        for stale in (report, out, self.path(method, "json")):
            stale.unlink(missing_ok=True)
        try:
            command = self._command(method)
        except subprocess.CalledProcessError as error:
            # Not stored: a package index may be out of reach for a while.
            reason = f"its environment could not be made: {error}"
            return Run(self.table.name, method, self.seed, inputs, limits, "failed", reason)
        options = ["--rows", len(self.table.train), "--seed", self.seed, "--out", out, "--report", report]
        log = self.path(method, "log")
        status, reason = run_within([*map(str, [*command, "--train", self.train, *options])], log, limits)
        measured = json.loads(report.read_text()) if status == "finished" else {}
        report.unlink(missing_ok=True)
        run = Run(self.table.name, method, self.seed, inputs, limits, status, reason, measured)
        self._write(self.path(method, "json"), json.dumps(asdict(run), indent=2) + "\n")
        return run

    def run_method(self, method: str, limits: Limits) -> dict[str, Any]:
        """Return what one of the measurements of `methods.py` finds that draws no rows; nothing is stored."""
        report = self.path(method, "report")
        options = ["--rows", len(self.table.train), "--seed", self.seed, "--report", report]
        command = [*self._command(method), "--train", self.train, *options]
        status, reason = run_within([*map(str, command)], self.path(method, "log"), limits)
        if status != "finished":
            raise SystemExit(f"{method} did not finish: {reason}; see {self.path(method, 'log')}.")
        found: dict[str, Any] = json.loads(report.read_text())
        report.unlink()
        return found

    def inputs(self, method: str) -> str:
        """Return a hash of everything that decides which rows a method draws: rows, settings, code, versions, seed."""
        inputs: list[object] = [sha256(self.train), self.seed, method]
        if method in PEERS:
            script = script_of(method)
            inputs += [inputs_of(PEERS[method].environment), *map(code_of, (script, script.with_name("common.py")))]
        else:
            inputs += [self.schema.read_text(), self._settings(method), TEMPERATURES.get(method)]
            inputs += [code_of(*(PACKAGE / each for each in MODEL_SOURCES)), *map(version, LIBRARIES)]
        return hashlib.sha256(repr(inputs).encode()).hexdigest()

    def _command(self, method: str) -> list[object]:
        peer: Peer | None = PEERS.get(method)
        if peer is not None:
            return [interpreter_of(peer.environment), script_of(method), "--categories", *self.table.schema.categorical]
        settings = self.path(method, "settings")
        self._write(settings, json.dumps(self._settings(method)))
        return [
            sys.executable,
            HERE / "methods.py",
            "--method",
            method,
            "--schema",
            self.schema,
            "--settings",
            settings,
        ]

    def _settings(self, method: str) -> dict[str, Any]:
        if method == "be_great":
            return BE_GREAT.model_dump(mode="json")
        if method in SYNTHESIZERS and method != "language_model":
            return SYNTHESIZERS[method].Settings().model_dump(mode="json")
        return self.table.language_model.model_dump(mode="json")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        if not path.is_file() or path.read_text() != text:
            atomic_write(path, text.encode())


def _written(rows: pd.DataFrame, table: Table) -> str:
    """Write rows as CSV: labels as text, numbers in their own types, an empty cell where one is missing."""
    labels = table.schema.comparable(rows)[table.schema.categorical]
    return str(rows[table.schema.compared].assign(**labels).to_csv(index=False))


def code_of(*paths: Path) -> str:
    """Return a hash of Python code, in files or folders, that comments and docstrings do not change."""
    found = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list):
                    node.body = [each for each in body if not _is_docstring(each)]  # type: ignore[attr-defined]
            found.update(f"{file.name}:{ast.dump(tree)}".encode())
    return found.hexdigest()


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def run_within(command: list[str], log: Path, limits: Limits) -> tuple[Status, str]:
    """Run a command on one thread, and end it when its process and its children together reach a limit.

    Returns
    -------
    tuple of str
        How it ended, and the reason if it did not finish: the limit, or the last line that it printed.
    """
    with log.open("w") as output:
        process = psutil.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        try:
            while process.poll() is None:
                cpu_s, memory_mb = _used(process)
                if cpu_s > limits.cpu_s:
                    return "CPU limit", f"more than {limits.cpu_s / 60:,.3g} CPU minutes"
                if memory_mb > limits.memory_mb:
                    return "memory limit", f"more than {limits.memory_mb / 1024:,.3g} GB of memory"
                time.sleep(POLL_S)
        finally:
            _end(process)
    if process.returncode:
        return "failed", _last_line(log) or f"ended with {process.returncode}"
    return "finished", ""


def _used(process: psutil.Process) -> tuple[float, float]:
    """Return the CPU seconds and the megabytes of a process and its children, those that have ended included."""
    cpu_s = memory = 0.0
    try:
        for each in [process, *process.children(recursive=True)]:
            times = each.cpu_times()
            cpu_s += times.user + times.system + times.children_user + times.children_system
            memory += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it has just ended
    return cpu_s, memory / 2**20


def _end(process: psutil.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(ENDED)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
