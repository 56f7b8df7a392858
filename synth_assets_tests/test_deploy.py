"""The files of deploy/: they name what the package reads and installs, and their commands run without containers."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._core.instance.ref import InstanceRef
from pydantic import TypeAdapter

from synth_assets.execution import AnyExecution, RayExecution
from synth_assets.storage.paths import STORAGE_VARIABLE, VARIABLE
from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.live import runs
from synth_assets_tests.live.server import Server, end_tree, free_port, wait_for, with_this_checkout
from synth_assets_tests.services.databases import postgresql_server

DEPLOY = PROJECT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
IMAGE = f"synth-assets:{PYPROJECT['project']['version']}"
OF_LIBRARIES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
}
"""What boto3 and Ray read."""


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


COMPOSE, RAY, VALUES = load("compose.yaml"), load("kubernetes/ray.yaml"), load("kubernetes/dagster-values.yaml")
SERVICES: dict[str, Any] = {name: each for name, each in COMPOSE["services"].items() if name != "postgres"}
LOCATION = VALUES["dagster-user-deployments"]["deployments"][0]
POSTGRES = load("postgres/dagster.yaml")


def variables(config: Any) -> set[str]:
    """Return the environment variables that a file of Dagster's reads."""
    if isinstance(config, dict):
        if set(config) == {"env"}:
            return {config["env"]}
        return set().union(*map(variables, config.values()))
    return set().union(*map(variables, config)) if isinstance(config, list) else set()


def pods() -> list[Mapping[str, Any]]:
    """Return the pods of the Ray cluster."""
    groups = [RAY["spec"]["headGroupSpec"], *RAY["spec"]["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def commands() -> list[list[str]]:
    """Return the commands of Dagster's processes, and of their checks."""
    checks = [each["healthcheck"]["test"][1:] for each in SERVICES.values() if "healthcheck" in each]
    of_image = yaml.safe_load(re.search(r"^CMD (\[.*\])", CONTAINERFILE.replace("\\\n", ""), re.MULTILINE)[1])
    of_chart = ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", str(LOCATION["port"])]  # noqa: S104
    return [
        *(each["command"] for each in SERVICES.values()),
        *checks,
        of_image,
        [*of_chart, *LOCATION["codeServerArgs"]],
    ]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_have_the_options_that_they_are_given(words: list[str]) -> None:
    # Not at the top: each of pytest's processes imports this file, and these take more than a second.
    from dagster._daemon.cli import create_dagster_daemon_cli
    from dagster_webserver.cli import dagster_webserver

    programs = {
        "dagster": create_dagster_cli,
        "dagster-daemon": create_dagster_daemon_cli,
        "dagster-webserver": lambda: dagster_webserver,
    }
    command: click.Command = programs[words[0]]()
    rest = words[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, rest[0]
        command, rest = found, rest[1:]
    given = command.make_parser(click.Context(command)).parse_args(rest)[0]
    assert given.get("module_name", "synth_assets.orchestration.definitions") in (
        "synth_assets.orchestration.definitions",
        ("synth_assets.orchestration.definitions",),
    )


def test_every_process_has_the_variables_that_it_reads_and_no_others() -> None:
    instance, workspace = variables(POSTGRES), variables(load("postgres/workspace.yaml"))
    known = instance | workspace | {VARIABLE, STORAGE_VARIABLE} | OF_LIBRARIES
    for name, service in SERVICES.items():
        stated = set(service["environment"])
        assert stated <= known, name
        assert stated >= instance | (workspace if name != "code" else {VARIABLE, STORAGE_VARIABLE}), name
    of_chart = {each["name"] for each in LOCATION["env"]} | {"DAGSTER_PG_PASSWORD"}
    assert of_chart <= known
    assert of_chart >= instance | {VARIABLE, STORAGE_VARIABLE}
    assert set(re.findall(r"([A-Z_]+)=/", CONTAINERFILE)) == {"DAGSTER_HOME", VARIABLE}
    assert SERVICES["code"]["environment"][VARIABLE] == "/data"


def test_there_is_one_image_of_locked_versions() -> None:
    images = [each["image"] for each in SERVICES.values()]
    images += [container["image"] for pod in pods() for container in pod["containers"]]
    images += [
        f"{each['image']['repository']}:{each['image']['tag']}"
        for each in (LOCATION, VALUES["dagsterWebserver"], VALUES["dagsterDaemon"])
    ]
    assert set(images) == {IMAGE}
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert re.findall(r"^ray==(\S+)", lock, re.MULTILINE) == [RAY["spec"]["rayVersion"]]
    assert f"python:{PYPROJECT['tool']['uv']['pip']['python-version']}-slim" in CONTAINERFILE
    extras = re.search(r"'\.\[(.*)\]'", CONTAINERFILE)
    assert extras
    assert set(extras[1].split(",")) <= set(PYPROJECT["project"]["optional-dependencies"])
    for line in re.findall(r"^COPY (?:--\S+ )?(.*)", CONTAINERFILE, re.MULTILINE):
        missing = [source for source in line.split()[:-1] if not (PROJECT / source).exists()]
        assert missing == []


def test_volumes_secrets_and_addresses_are_the_ones_of_the_other_files() -> None:
    claim, cluster = load("kubernetes/data.yaml")["metadata"]["name"], RAY["metadata"]["name"]
    volumes = [*LOCATION["volumes"], *(volume for pod in pods() for volume in pod.get("volumes", ()))]
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in volumes} == {claim}
    token = next(each for each in LOCATION["env"] if each["name"] == "RAY_AUTH_TOKEN")
    assert token["valueFrom"]["secretKeyRef"]["name"] == cluster  # the operator names its secret so
    (secret,) = pods()[1]["containers"][0]["envFrom"]  # of the object store, which workers write to
    assert [secret["secretRef"]["name"]] == [each["name"] for each in LOCATION["envSecrets"]]
    (client,) = [each for each in pods()[0]["containers"][0]["ports"] if each["name"] == "client"]
    stated = yaml.safe_load(re.search(r"```yaml\n(execution:.*?)```", readme(), re.DOTALL)[1])["execution"]
    execution = TypeAdapter(AnyExecution).validate_python(stated)
    assert execution == RayExecution(address=f"ray://{cluster}-head-svc:{client['containerPort']}")
    used = {mount.split(":")[0] for each in COMPOSE["services"].values() for mount in each.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def readme() -> str:
    return (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_dagster_accepts_the_instance_of_the_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: value for name, value in POSTGRES.items() if name not in ("storage", "telemetry")}
    assert VALUES["additionalInstanceConfig"] == expected
    assert VALUES["telemetry"] == POSTGRES["telemetry"]
    assert VALUES["postgresql"]["postgresqlScheme"] == POSTGRES["storage"]["postgres"]["postgres_db"]["scheme"]
    for name in variables(POSTGRES):
        monkeypatch.setenv(name, "5432")
    launcher = VALUES["runLauncher"]["config"]["customRunLauncher"]
    written = {**POSTGRES, **VALUES["additionalInstanceConfig"], "run_launcher": launcher}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    ref = InstanceRef.from_dir(str(tmp_path))
    assert isinstance(ref.run_launcher, dg.DefaultRunLauncher)
    assert ref.settings["concurrency"] == POSTGRES["concurrency"]


@contextmanager
def started(words: list[str], environment: Mapping[str, str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command of a service until the context ends."""
    with (folder / f"{Path(words[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        end_tree(process)  # dagster's code server does not always end when it is told to (dagster#32226)


@pytest.mark.slow
@pytest.mark.cluster
def test_the_services_of_the_compose_file_run_a_lineage_without_containers(tmp_path: Path) -> None:
    ports = {"4000": str(free_port()), "3000": str(free_port())}
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    data.mkdir()
    shutil.copy(DEPLOY / "postgres" / "dagster.yaml", home)
    workspace = load("postgres/workspace.yaml")
    workspace["load_from"][0]["grpc_server"]["port"] = int(ports["4000"])
    (home / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    shutil.copy(PROJECT / "data" / "abalone_placeholder.csv", data / "abalone.csv")

    with postgresql_server() as database:
        here = {
            **database.dagster_variables,
            "SYNTH_ASSETS_CODE_HOST": "127.0.0.1",
            VARIABLE: str(data),
        }

        def environment(name: str) -> dict[str, str]:
            stated = {key: value for key, value in here.items() if key in SERVICES[name]["environment"]}
            return with_this_checkout({**stated, "DAGSTER_HOME": str(home), "OMP_NUM_THREADS": "1"})

        def words(command: list[str]) -> list[str]:
            program = str(Path(sys.executable).with_name(command[0]))
            moved = {**ports, "0.0.0.0": "127.0.0.1"}  # noqa: S104
            return [program, *(moved.get(each, each.replace("/opt/dagster", str(home))) for each in command[1:])]

        def is_healthy() -> bool:
            check = words(SERVICES["code"]["healthcheck"]["test"][1:])
            return subprocess.run(check, env=environment("code"), capture_output=True, check=False).returncode == 0

        with started(words(SERVICES["code"]["command"]), environment("code"), tmp_path):
            wait_for("the code location", is_healthy, seconds=120)
            server = Server(int(ports["3000"]), tmp_path / "dagster-webserver.log")
            with (
                started(words(SERVICES["webserver"]["command"]), environment("webserver"), tmp_path),
                started(words(SERVICES["daemon"]["command"]), environment("daemon"), tmp_path),
            ):
                wait_for("the webserver", lambda: answers(server), seconds=120)
                launch_raw(server)
                wait_for("the run", lambda: runs.all_ended(server, 1, deploy="raw"), seconds=240)
                assert [run["status"] for run in runs.runs(server, deploy="raw")] == ["SUCCESS"]
    assert (data / "warehouse.duckdb").exists()


def answers(server: Server) -> bool:
    try:
        return bool(server.ask("{ version }"))
    except OSError:
        return False


def launch_raw(server: Server) -> None:
    """Launch a run of `raw`, as the UI does; the daemon takes it from the queue."""
    launched = server.ask(
        """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
            __typename ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } } }""",
        params={
            "selector": {
                "repositoryLocationName": "synth_assets",
                "repositoryName": "__repository__",
                "jobName": "__ASSET_JOB",
                "assetSelection": [{"path": ["abalone", "raw"]}],
            },
            "executionMetadata": {"tags": [{"key": "dagster/deploy", "value": "raw"}]},
        },
    )
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess", launched
