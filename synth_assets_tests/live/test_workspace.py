"""The project as other programs load it: by `workspace.yaml` alone, and by `dg`."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.live.server import dagster_dev, with_this_checkout

pytestmark = pytest.mark.slow

DG = Path(sys.executable).with_name("dg")


def test_workspace_yaml_alone_loads_the_location_that_pyproject_names(tmp_path: Path) -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    name = pyproject["tool"]["dg"]["project"]["code_location_name"]
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    environment = {"DAGSTER_HOME": str(home), "SYNTH_ASSETS_DATA": str(tmp_path)}

    with dagster_dev(PROJECT / "workspace.yaml", tmp_path, environment) as server:
        nodes = server.ask("{ assetNodes { assetKey { path } repository { location { name } } } }")["assetNodes"]

    assert name == "synth_assets"
    assert {node["repository"]["location"]["name"] for node in nodes} == {name}
    assert {tuple(node["assetKey"]["path"]) for node in nodes} >= {("abalone", "raw"), ("abalone", "published")}


def test_dg_finds_nothing_to_complain_about() -> None:
    checked = subprocess.run(
        [DG, "check", "defs"],
        cwd=PROJECT,
        env=with_this_checkout({"PYTHONWARNINGS": "default"}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    printed = checked.stdout + checked.stderr
    assert checked.returncode == 0, printed
    # Without the project's own folder, in which a virtual environment may lie too.
    lines = printed.replace(str(PROJECT), "").splitlines()
    assert [line for line in lines if "warning" in line.lower() and "synth_assets" in line] == []
