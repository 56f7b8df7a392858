"""Database servers from Debian's packages, each in a folder of its own; tests skip where one is not installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "p@ss/w:rd of a test"  # noqa: S105 - of a server that lives as long as a test


@dataclass(frozen=True)
class Server:
    """A running server with an empty database."""

    scheme: str
    port: int
    user: str
    database: str
    host: str = "127.0.0.1"
    password: str = PASSWORD

    @property
    def url(self) -> str:
        """Return the address of the database."""
        return f"{self.scheme}://{self.user}:{quote(self.password, safe='')}@{self.host}:{self.port}/{self.database}"

    @property
    def dagster_variables(self) -> dict[str, str]:
        """Return the variables that deploy/postgres/dagster.yaml reads."""
        return {
            "DAGSTER_PG_HOST": self.host,
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_USER": self.user,
            "DAGSTER_PG_PASSWORD": self.password,
            "DAGSTER_PG_DB": self.database,
        }


@contextmanager
def postgresql_server() -> Iterator[Server]:
    """Start PostgreSQL; stop it at the end."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *(Path(p).parent for p in [shutil.which("initdb")] if p)]
    if not found:
        pytest.skip("needs a PostgreSQL server: `apt-get install postgresql`")
    user = _unprivileged("postgres")
    with _folder(user) as folder:
        port, data, password = _free_port(), folder / "data", folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)

        def call(program: str, *arguments: str) -> None:
            command = [str(found[-1] / program), *arguments]
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

        call("initdb", "-D", str(data), "-U", "dagster", "--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
        call("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "-t", "120", "start")
        try:
            yield Server("postgresql", port, "dagster", "postgres")
        finally:
            call("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")


@contextmanager
def mariadb_server() -> Iterator[Server]:
    """Start MariaDB; stop it at the end."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    if not server or not install:
        pytest.skip("needs a MariaDB server: `apt-get install mariadb-server`")
    user = _unprivileged("mysql")
    with _folder(user) as folder:
        port, data, first = _free_port(), folder / "data", folder / "first.sql"
        statements = (  # one a line
            "CREATE DATABASE shop;",
            f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';",
            "GRANT ALL ON shop.* TO reader@'127.0.0.1';",
        )
        first.write_text("\n".join(statements))
        first.chmod(0o644)
        run_as = [f"--user={user}"] if user else []
        install_options = ["--no-defaults", f"--datadir={data}", "--skip-test-db", *run_as]
        subprocess.run([install, *install_options], cwd=folder, check=True, capture_output=True)
        options = [
            f"--datadir={data}",
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--socket={folder}/socket",
            "--skip-name-resolve",
        ]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [server, "--no-defaults", *options, f"--init-file={first}", *run_as], stdout=log, stderr=log
            ) as process,
        ):
            try:
                _wait_for(port, process, folder / "log")
                yield Server("mysql", port, "reader", "shop")
            finally:
                process.terminate()


def _unprivileged(preferred: str) -> str | None:
    # The servers refuse to run as root.
    if os.getuid() != 0:
        return None
    return preferred if preferred in {entry.pw_name for entry in pwd.getpwall()} else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="server-"))  # pytest's own folders can be entered by nobody else
    try:
        if user:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not accept connections:\n{log.read_text(errors='replace')}")
