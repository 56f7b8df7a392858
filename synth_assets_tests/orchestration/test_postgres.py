"""The instance of several machines, on a PostgreSQL server that this test starts."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
import yaml

from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.world import DAY, World

CONFIG = PROJECT / "deploy" / "postgres" / "dagster.yaml"


def test_it_differs_from_that_of_one_machine_in_storage_and_launcher_alone() -> None:
    several, one = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONFIG, PROJECT / "dagster.yaml"))
    assert several.pop("storage")
    assert one.pop("run_launcher")
    assert several == one


def _programs() -> Path:
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *(Path(p).parent for p in [shutil.which("initdb")] if p)]
    if not found:
        pytest.skip("needs a PostgreSQL server: `apt-get install postgresql`")
    return found[-1]


def _unprivileged() -> str | None:
    # The server refuses to run as root.
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, str]]:
    """Start a server with a database; give what the environment says of it."""
    programs, user = _programs(), _unprivileged()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders can be entered by nobody else
    try:
        if user:
            shutil.chown(folder, user)
        data, password = folder / "data", folder / "password"
        password.write_text("of a test")
        password.chmod(0o644)

        def call(program: str, *arguments: str) -> None:
            subprocess.run(
                [str(programs / program), *arguments], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL
            )

        call("initdb", "-D", str(data), "-U", "dagster", "--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
        call("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "-t", "120", "start")
        try:
            yield {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": port,
                "DAGSTER_PG_USER": "dagster",
                "DAGSTER_PG_PASSWORD": "of a test",
                "DAGSTER_PG_DB": "postgres",
            }
        finally:
            call("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_lineage_runs_on_it(
    server: Mapping[str, str], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CONFIG, home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        assert [type(storage).__name__ for storage in storages] == [
            "PostgresRunStorage",
            "PostgresEventLogStorage",
            "PostgresScheduleStorage",
        ]
        outcome = World(world.root, instance=instance).run()
        assert outcome.success, outcome.messages

    # As another machine sees it.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        made = instance.get_latest_materialization_event(dg.AssetKey(["abalone", "published"]))
        assert made is not None
        assert made.run_id == run.run_id
        assert instance.get_materialized_partitions(dg.AssetKey(["abalone", "synthetic_sample"])) == {DAY}
    left = [path.name for path in home.rglob("*.db")]
    assert left == []  # nothing of it in files of this machine
