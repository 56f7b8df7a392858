"""The project as other programs load it: by `workspace.yaml` alone. `make lint` loads it by `dg`."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.live.server import with_this_checkout

pytestmark = pytest.mark.slow


def test_workspace_yaml_alone_loads_the_location_that_pyproject_names_without_a_warning(tmp_path: Path) -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["tool"]["dg"]["project"]
    assert project["code_location_name"] == "synth_assets"
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    module = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"][0]["python_module"]
    assert module == {"module_name": project["code_location_target_module"], "location_name": "synth_assets"}

    # In a folder without a project, whose `pyproject.toml` would have a say.
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "--workspace", PROJECT / "workspace.yaml"]
    environment = {"DAGSTER_HOME": str(home), "SYNTH_ASSETS_DATA": str(tmp_path), "PYTHONWARNINGS": "default"}
    checked = subprocess.run(
        command,
        cwd=tmp_path,
        env=with_this_checkout(environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
    assert "Validation successful for code location synth_assets." in checked.stdout + checked.stderr
    # Without the project's own folder, in which a virtual environment may lie too.
    lines = (checked.stdout + checked.stderr).replace(str(PROJECT), "").splitlines()
    assert [line for line in lines if "warning" in line.lower() and "synth_assets" in line] == []
