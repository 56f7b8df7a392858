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
from synth_assets_tests.conftest import PROJECT

DEFS = PROJECT / "synth_assets" / "defs" / "abalone" / "defs.yaml"


@pytest.fixture
def attributes() -> dict[str, Any]:
    return yaml.safe_load(DEFS.read_text())["attributes"]


def test_the_deployed_file_states_the_experiment(attributes: dict[str, Any]) -> None:
    settings = SyntheticTableSettings(**attributes)
    model = settings.language_model
    assert (model.epochs, model.batch_size, model.order) == (30, 128, ["Rings", "Sex"])
    assert (model.engine, model.base, model.experiment_dir) == ("great", "scratch", "trainer_abalone")
    assert (settings.split.train_size, settings.split.random_state) == (3000, 420)
    assert (settings.target.column, settings.target.rename) == ("Class_number_of_rings", "Rings")
    assert (settings.sample.n_samples, settings.sample.temperature) == (3000, 1.0)
    assert settings.source.model_dump() == {
        "type": "auto",
        "path": "abalone.csv",
        "variable": "ABALONE_CSV",
        "openml": {"name": "abalone", "version": 1},
        "placeholder": "abalone_placeholder.csv",
    }


@pytest.mark.parametrize(
    ("path", "value", "key", "said"),
    [
        ("source.type", "web", "source", "'auto', 'file', 'openml', 'placeholder'"),
        ("source.csv", "a.csv", "source.auto.csv", "Extra inputs are not permitted"),
        ("language_model.epochs", 0, "language_model.epochs", "greater than or equal to 1"),
        ("language_model.epohcs", 3, "language_model.epohcs", "Extra inputs are not permitted"),
        ("language_model.engine", "ours", "language_model.engine", "'be_great'"),
        ("language_model.scratch.n_head", 5, "language_model.scratch", "found n_embd 64 and n_head 5"),
        ("language_model.experiment_dir", "../elsewhere", "language_model.experiment_dir", "found '../elsewhere'"),
        ("language_model.experiment_dir", "/root", "language_model.experiment_dir", "inside the data folder"),
        ("source.path", "", "source.auto.path", "found ''"),
        (
            "source.path",
            "/etc/passwd",
            "source.auto.path",
            "found '/etc/passwd'; expected a path inside the data folder",
        ),
        ("source.path", "../abalone.csv", "source.auto.path", "inside the data folder"),
        ("source.placeholder", "/etc/passwd", "source.auto.placeholder", "inside the data folder"),
        ("language_model.base", "/srv/models/gpt2", "language_model.base", "inside the data folder"),
        ("language_model.base", "org/../../gpt2", "language_model.base", "inside the data folder"),
        ("source.variable", "A/../B", "source.auto.variable", "found 'A/../B'; expected a name of letters"),
        ("table", "../abalone", "table", "found '../abalone'"),
        ("table", 'x"; drop table y; --', "table", "found 'x\"; drop table y; --'"),
        ("source.openml.version", 0, "source.auto.openml.version", "greater than or equal to 1"),
        ("split.train_size", "many", "split.train_size", "valid integer"),
        ("split.random_state", -1, "split.random_state", "greater than or equal to 0"),
        ("target.column", "Rungs", "", "target.column: 'Rungs' is not a column of the table; the columns are Sex,"),
        ("target.rename", "Length", "", "target.rename: 'Length' is already the name of another column"),
        ("columns.0.kind", "text", "columns.0.kind", "'category', 'integer' or 'number'"),
        ("columns.0.categories", [], "", "columns.Sex: kind is 'category' and categories is []"),
        ("columns.1.name", "Sex", "", "Sex named twice"),
        ("sample.n_samples", 0, "sample.n_samples", "greater than or equal to 1"),
        ("sample.temperature", 0, "sample.temperature", "greater than 0"),
        ("augmentation_study", {"repeats": {50: 1}}, "augmentation_study.repeats.50", "greater than or equal to 2"),
        ("augmentation_study", {"repeats": {1: 5}}, "augmentation_study.repeats.1.[key]", "greater than or equal to 2"),
        ("augmentation_study", {"ratios": [0]}, "augmentation_study.ratios.0", "greater than 0"),
        (
            "augmentation_study",
            {"generators": ["gan"]},
            "augmentation_study.generators.0",
            "'great', 'smote' or 'cart'",
        ),
        ("schedule.hour", 24, "schedule.hour", "less than or equal to 23"),
        ("schedule.timezone", "Mars/Olympus", "schedule.timezone", "found 'Mars/Olympus'"),
        ("schedule.start_date", "someday", "schedule.start_date", "found 'someday'; expected a day"),
        ("owner", "bob", "owner", "found 'bob'; expected an e-mail address, or 'team:<name>'"),
        ("table", "my table", "table", "found 'my table'"),
        ("table", "publications", "table", "none of information_schema, main, pg_catalog, system, temp, publications"),
        ("retention", {"days": 0}, "retention.days", "greater than or equal to 1"),
        (
            "freshness",
            {"warn_hours": 60},
            "freshness",
            "expected a warning first",
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


def test_the_study_of_augmentation_has_the_sizes_that_the_split_has(attributes: dict[str, Any]) -> None:
    plan = SyntheticTableSettings(**attributes).study_plan()
    assert plan.repeats == {50: 5, 100: 5, 300: 5, 1000: 5, 3000: 3}
    assert (plan.ratios, plan.generators) == ((1.0, 3.0, 10.0), ("great", "smote", "cart"))
    attributes["split"]["train_size"] = 400
    assert SyntheticTableSettings(**attributes).study_plan().repeats == {50: 5, 100: 5, 300: 5}
    attributes["augmentation_study"] = {"repeats": {70: 2}, "ratios": [0.5], "generators": ["cart"]}
    plan = SyntheticTableSettings(**attributes).study_plan()
    assert (plan.repeats, plan.ratios, plan.generators) == ({70: 2}, (0.5,), ("cart",))


def test_a_column_may_be_called_anything(attributes: dict[str, Any]) -> None:
    name = 'x"; drop table y; --'
    attributes["columns"][1]["name"] = name
    attributes["constraints"] = [{"name": "it", "sql": '"x""; drop table y; --" < Height'}]
    assert name in SyntheticTableSettings(**attributes).table_schema().names


@pytest.mark.parametrize("key", ["source", "synthesizer", "columns", "target"])
def test_a_key_that_is_missing_is_named(attributes: dict[str, Any], key: str) -> None:
    del attributes[key]
    with pytest.raises(ValidationError, match=f"{key}\n  Field required"):
        SyntheticTableSettings(**attributes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("epochs: 30", "epochs: 0", "0 is less than the minimum of 1"),
        ("team:synth_assets", "bob", "found 'bob'; expected an e-mail address"),
    ],
)
def test_dg_refuses_it_with_the_line_of_the_file(tmp_path: Path, right: str, wrong: str, said: str) -> None:
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
    assert said in output
    assert f"defs.yaml:{line}" in output
