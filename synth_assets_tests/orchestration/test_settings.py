"""A mistake in a defs.yaml is refused with its key, what was found, and what is allowed."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets_tests.conftest import PROJECT

DEFS = PROJECT / "synth_assets" / "defs" / "abalone" / "defs.yaml"


@pytest.fixture
def attributes() -> dict[str, Any]:
    return yaml.safe_load(DEFS.read_text())["attributes"]


def test_the_deployed_file_states_the_experiment(attributes: dict[str, Any]) -> None:
    settings = SyntheticTableSettings(**attributes)
    model = settings.synthesizer
    assert isinstance(model, LanguageModelSettings)
    assert (model.base, model.epochs, model.batch_size) == ("scratch", 40, 128)
    assert model.column_order == ("Class_number_of_rings", "Sex")
    assert (settings.seed, settings.checkpoints_dir) == (420, "trainer_abalone")
    assert (settings.split.train_size, settings.split.random_state) == (3000, 420)
    assert (settings.target.column, settings.target.rename) == ("Class_number_of_rings", "Rings")
    assert (settings.sample.n_samples, settings.sample.temperature) == (3000, 1.0)
    assert settings.source.model_dump(exclude_none=True) == {
        "type": "auto",
        "path": "abalone.csv",
        "variable": "ABALONE_CSV",
        "openml": {"type": "openml", "name": "abalone", "version": 1},
        "placeholder": "abalone_placeholder.csv",
    }


@pytest.mark.parametrize(
    ("path", "value", "key", "said"),
    [
        ("source.type", "web", "source", "expected tags: 'auto', 'file', "),
        ("source.csv", "a.csv", "source.auto.csv", "Extra inputs are not permitted"),
        ("synthesizer.type", "ours", "synthesizer", "'language_model', 'be_great', 'forest', 'smote'"),
        ("execution", "spark", "execution", "expected tags: 'local', 'ray'"),
        ("synthesizer.epochs", 0, "synthesizer.language_model.epochs", "greater than or equal to 1"),
        ("synthesizer.epohcs", 3, "synthesizer.language_model.epohcs", "Extra inputs are not permitted"),
        ("synthesizer.scratch.n_head", 5, "synthesizer.language_model.scratch", "n_embd 64 and n_head 5"),
        ("synthesizer.base", "/srv/models/gpt2", "synthesizer", "inside the data folder"),
        ("synthesizer.base", "org/../../gpt2", "synthesizer", "inside the data folder"),
        ("synthesizer.column_order", ["Rungs"], "", "synthesizer.column_order names Rungs; the columns are Sex,"),
        ("checkpoints_dir", "../elsewhere", "checkpoints_dir", "found '../elsewhere'"),
        ("tolerances", {"fidelty": {}}, "", "the gates are fidelity, validity, privacy, utility"),
        ("tolerances", {"fidelity": {"dcr_share": 1}}, "", "its metrics are ks_complement,"),
        ("source.path", "", "source.auto.path", "found ''"),
        (
            "source.path",
            "/etc/passwd",
            "source.auto.path",
            "found '/etc/passwd'; expected a path inside the data folder",
        ),
        ("source.path", "../abalone.csv", "source.auto.path", "inside the data folder"),
        ("source.placeholder", "/etc/passwd", "source.auto.placeholder", "inside the data folder"),
        ("source.variable", "A/../B", "source.auto.variable", "found 'A/../B'; expected a name of letters"),
        ("table", "../abalone", "table", "found '../abalone'"),
        ("table", 'x"; drop table y; --', "table", "found 'x\"; drop table y; --'"),
        ("source.openml.version", 0, "source.auto.openml.version", "greater than or equal to 1"),
        ("split.train_size", "many", "split.train_size", "valid number"),
        ("split.random_state", -1, "split.random_state", "greater than or equal to 0"),
        ("target.column", "Rungs", "", "target: 'Rungs' is not a column of the table; the columns are 'Sex',"),
        ("target.rename", "Length", "", "target.rename: 'Length' is already a column; choose a free name"),
        ("columns.1.name", "Sex", "", "are one name to DuckDB"),
        ("sample.n_samples", 0, "sample.n_samples", "greater than or equal to 1"),
        ("sample.temperature", 0, "sample.temperature", "greater than 0"),
        ("schedule.hour", 24, "schedule.hour", "less than or equal to 23"),
        ("schedule.timezone", "Mars/Olympus", "schedule.timezone", "found 'Mars/Olympus'"),
        ("schedule.start_date", "someday", "schedule.start_date", "found 'someday'; expected a date"),
        ("owner", "bob", "owner", "found 'bob'; expected an e-mail address, or 'team:<name>'"),
        ("table", "my table", "table", "found 'my table'"),
        (
            "table",
            "publications",
            "table",
            "other than information_schema, main, pg_catalog, system, temp, pub",
        ),
        ("retention", {"days": 0}, "retention.days", "greater than or equal to 1"),
        (
            "freshness",
            {"warn_hours": 60},
            "freshness",
            "expected warn_hours to be less",
        ),
        ("schedule.source_every_minutes", 0, "schedule.source_every_minutes", "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_refused(attributes: dict[str, Any], path: str, value: object, key: str, said: str) -> None:
    *parents, last = path.split(".")
    place: Any = attributes
    for parent in parents:
        place = place[int(parent)] if parent.isdigit() else place[parent]
    place[last] = value
    with pytest.raises(ValidationError) as caught:
        SyntheticTableSettings(**attributes)
    errors = caught.value.errors()
    assert [".".join(map(str, error["loc"])) for error in errors] == [key]
    assert said in errors[0]["msg"]


@pytest.mark.parametrize(
    ("stated", "published"),
    [
        ({}, False),
        ({"private": True}, False),
        ({"private": False}, True),
        ({"private": True, "publish_real_rows": True}, True),
        ({"private": False, "publish_real_rows": False}, False),
    ],
)
def test_real_rows_are_published_only_if_it_is_stated(
    attributes: dict[str, Any], stated: dict[str, bool], published: bool
) -> None:
    del attributes["private"]
    assert SyntheticTableSettings(**{**attributes, **stated}).real_rows_are_published is published


def test_a_column_may_be_called_anything(attributes: dict[str, Any]) -> None:
    name = 'x"; drop table y; --'
    attributes["columns"][1]["name"] = name
    attributes["constraints"] = [{"name": "it", "sql": '"x""; drop table y; --" < Height'}]
    assert name in SyntheticTableSettings(**attributes).table_schema().names


@pytest.mark.parametrize("key", ["table", "source", "columns"])
def test_a_key_that_is_missing_is_named(attributes: dict[str, Any], key: str) -> None:
    del attributes[key]
    with pytest.raises(ValidationError, match=f"{key}\n  Field required"):
        SyntheticTableSettings(**attributes)


@pytest.mark.slow
def test_dg_refuses_it_with_the_line_of_the_file(tmp_path: Path) -> None:
    right, wrong = "epochs: 40", "epochs: 0"
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "synth_assets", project / "synth_assets")
    shutil.copy(PROJECT / "pyproject.toml", project)
    defs = project / "synth_assets" / "defs" / "abalone" / "defs.yaml"
    text = defs.read_text()
    assert right in text
    defs.write_text(text.replace(right, wrong))
    line = text[: text.index(right)].count("\n") + 1
    dg = Path(sys.executable).with_name("dg")
    done = subprocess.run(
        [dg, "check", "defs"], cwd=project, env={"PATH": "/usr/bin", "PYTHONPATH": str(project)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "0 is less than the minimum of 1" in output
    assert f"defs.yaml:{line}" in output


@pytest.mark.slow
def test_a_table_that_cannot_be_loaded_stops_itself_alone(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "synth_assets", project / "synth_assets")
    shutil.copy(PROJECT / "pyproject.toml", project)
    tables = project / "synth_assets" / "defs"
    text = (tables / "abalone" / "defs.yaml").read_text().replace
    changes = {
        "value": ("epochs: 40", "epochs: 0"),
        "owner": ("team:synth_assets", "bob"),
        "syntax": ("split: {", "split: ["),
        "kind": ("SyntheticTable", "Table"),
        "twice": ("table: twice", "table: abalone"),
    }
    for name, change in changes.items():
        (tables / name).mkdir()
        stated = text("table: abalone", f"table: {name}").replace(*change)
        (tables / name / "defs.yaml").write_text(stated)
    script = (
        "from synth_assets.orchestration.definitions import defs\n"
        "for spec in defs().resolve_all_asset_specs():\n"
        "    print(spec.key.path, spec.description)"
    )
    environment = {"PATH": "/usr/bin", "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    lines = dict(line.split("] ", 1) for line in done.stdout.splitlines())
    assert len([line for line in lines if line.startswith("['abalone',")]) == 10
    assert str(tables) not in done.stdout
    expected = {
        "value": "epochs at value/defs.yaml:35: found 0: input should be greater than or equal to 1. Correct the file",
        "owner": "found 'bob'; expected an e-mail address",
        "syntax": 'in "syntax/defs.yaml", line',
        "kind": "kind/defs.yaml: Module `synth_assets.orchestration` has no attribute `Table`",
        "twice": "abalone is the table of another folder too",
    }
    for name, said in expected.items():
        assert lines[f"['{name}', 'raw'"].startswith("This table is not loaded. ")
        assert said in lines[f"['{name}', 'raw'"]
    checked = subprocess.run(
        [Path(sys.executable).with_name("dg"), "check", "defs", "--no-check-yaml"],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 1
    assert expected["value"][:60] in checked.stdout + checked.stderr
    assert expected["owner"] in checked.stdout + checked.stderr
    assert "input_value" not in checked.stdout + checked.stderr
