"""Other processes, for the tests of the storage: they hold files, are killed, run out of room, may not write.

The scripts are given as text and get arguments. One that is started says "ready" on a line of its own; one that is run
prints its result as JSON.
"""

import inspect
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth_assets_tests.conftest import PROJECT

HOLD = """
import select, sys
import duckdb

path, seconds, read_only = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "read"
connection = duckdb.connect(path, read_only=read_only)
print("ready", flush=True)
select.select([sys.stdin], [], [], seconds)
if not read_only:
    connection.execute("CREATE TABLE made_while_held AS SELECT 1 AS x")
connection.close()
"""
"""Keeps a DuckDB file open, for some seconds or until a line comes on stdin; a writer makes a table at the end."""


def leave_free(folder: str | Path, kilobytes: int) -> None:
    """Fill a small disk up to the room that shall be left."""
    path = os.path.join(folder, "ballast")  # noqa: PTH118 - scripts run this text, and import nothing but os
    if os.path.exists(path):  # noqa: PTH110
        os.unlink(path)  # noqa: PTH108
    status = os.statvfs(folder)
    size = status.f_bavail * status.f_frsize - 1024 * kilobytes
    if size < 0:
        raise ValueError(f"the disk has no {kilobytes} kB left")
    with open(path, "wb") as file:  # noqa: PTH123
        if size:
            os.posix_fallocate(file.fileno(), 0, size)


BALLAST = "import os\nfrom pathlib import Path\n\n" + inspect.getsource(leave_free)
"""Defines `leave_free` in a script."""


@contextmanager
def started(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a script and wait until it is ready; it is killed if it still runs when the block ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(_command(code, arguments), env=_environment(), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextmanager
def released_when_waited_for(holder: subprocess.Popen[str]) -> Iterator[None]:
    """Let a process that runs `HOLD` go on once a warehouse logs that it waits."""

    def release(_: logging.LogRecord) -> bool:
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        return True

    logger = logging.getLogger("synth_assets.storage.warehouse")
    logger.addFilter(release)
    try:
        yield
    finally:
        logger.removeFilter(release)


def result_of(code: str, *arguments: object, prefix: Sequence[str] = ()) -> Any:
    """Run a script to its end and give what it printed."""
    command = [*prefix, *_command(code, arguments)]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def on_a_small_disk(folder: Path, size: str = "4m") -> list[str]:
    """Return the prefix of a command that finds a small disk mounted on a folder; nobody else sees it."""
    return _usable(_mounting(folder, size), "needs to mount a tmpfs in a namespace of its own")


def on_a_small_disk_if_possible(folder: Path, size: str) -> list[str]:
    """Return the prefix of `on_a_small_disk`, or nothing where no disk can be mounted."""
    prefix = _mounting(folder, size)
    return [] if _reason_against(prefix) else prefix


def _mounting(folder: Path, size: str) -> list[str]:
    mount = 'mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(folder), size]


def bound_by_permissions() -> list[str]:
    """Return the prefix of a command that permissions bind, as they do not bind root."""
    return _usable(_without_override(), "needs setpriv, since root may write")


def bound_by_permissions_if_possible() -> list[str]:
    """Return the prefix of `bound_by_permissions`, or nothing where root cannot be bound."""
    prefix = _without_override()
    return [] if _reason_against(prefix) else prefix


def _without_override() -> list[str]:
    if os.geteuid() != 0:
        return []
    lost = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the permission to write to a folder and all that is in it, for the length of the block."""
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file that this process writes to grow larger, for the length of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables of a DuckDB file, in the order in which they are stored."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {
            f"{schema}.{table}": connection.execute(
                f"SELECT * FROM {_quoted(schema)}.{_quoted(table)} ORDER BY rowid"
            ).fetchall()
            for schema, table in tables
        }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _usable(prefix: list[str], needed: str) -> list[str]:
    if reason := _reason_against(prefix):
        pytest.skip(f"{needed}: {reason}")
    return prefix


def _reason_against(prefix: list[str]) -> str | None:
    """Return why commands cannot have this prefix here, or nothing if they can."""
    if prefix and shutil.which(prefix[0]) is None:
        return f"there is no {prefix[0]}"
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"


def _command(code: str, arguments: Sequence[object]) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def _environment() -> dict[str, str]:
    # These run on the modules that the tests run on, wherever those lie.
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, sys.path)])}
