"""The tutorial runs: its Python blocks, in order; its commands parse; its YAML file is a valid table."""

import shlex
from pathlib import Path

import pytest
import yaml

from synth_assets_tests.documentation import blocks, run_python

TUTORIAL = "tutorial.md"


@pytest.mark.usefixtures("fast_evaluation")
def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = run_python(TUTORIAL)
    assert Path("report.html").stat().st_size > 0
    assert len(namespace["synthetic"]) == len(namespace["train"])


def test_commands_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synth_assets.cli.main import main

    monkeypatch.chdir(tmp_path)
    for name in ("deliveries.csv", "deliveries.yaml"):
        Path(name).touch()
    lines = [line for block in blocks(TUTORIAL, "console") for line in block.splitlines() if "synth-assets " in line]
    assert lines
    for line in lines:
        _, command, *arguments = shlex.split(line)
        main.commands[command].make_context(command, arguments)


def test_yaml_is_a_valid_table() -> None:
    from synth_assets.orchestration.settings import SyntheticTableSettings

    (block,) = blocks(TUTORIAL, "yaml")
    settings = SyntheticTableSettings.model_validate(yaml.safe_load(block)["attributes"])
    assert settings.table == "deliveries"
