"""The tutorial runs: its Python blocks, in order; its commands parse; its YAML file is a valid table."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the tutorial in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.usefixtures("fast_evaluation")
def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    for number, block in enumerate(blocks("python"), start=1):
        exec(compile(block, f"{TUTORIAL.name}, Python block {number}", "exec"), namespace)  # noqa: S102
    assert Path("report.html").stat().st_size > 0
    assert len(namespace["synthetic"]) == len(namespace["train"])


def test_commands_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synth_assets.cli.main import main

    monkeypatch.chdir(tmp_path)
    for name in ("deliveries.csv", "deliveries.yaml"):
        Path(name).touch()
    lines = [line for block in blocks("console") for line in block.splitlines() if "synth-assets " in line]
    assert lines
    for line in lines:
        _, command, *arguments = shlex.split(line)
        main.commands[command].make_context(command, arguments)


def test_yaml_is_a_valid_table() -> None:
    from synth_assets.orchestration.settings import SyntheticTableSettings

    (block,) = blocks("yaml")
    settings = SyntheticTableSettings.model_validate(yaml.safe_load(block)["attributes"])
    assert settings.table == "deliveries"
