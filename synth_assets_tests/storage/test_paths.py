"""Tests of where the project keeps its data."""

from pathlib import Path

import pytest

from synth_assets.errors import ForeseenError
from synth_assets.storage.paths import STORAGE_VARIABLE, VARIABLE, DataPaths

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_it_is_the_projects_own_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None
) -> None:
    monkeypatch.chdir(tmp_path)  # whatever folder a command was started in
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)

    root = DataPaths.from_environment().root

    assert root.resolve() == (PROJECT / "data").resolve()
    assert root.is_absolute()
    assert (root / "abalone_placeholder.csv").is_file()


def test_the_variable_names_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path / "mine"))

    paths = DataPaths.from_environment()

    assert paths == DataPaths(tmp_path.resolve() / "mine")
    assert not paths.root.exists()  # asking for a path makes nothing


def test_the_variable_may_be_relative_or_start_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    roots = []
    for named in ("mine", "../mine", "~/mine"):
        monkeypatch.setenv(VARIABLE, named)
        roots.append(DataPaths.from_environment().root.relative_to(tmp_path.resolve()).as_posix())

    assert roots == ["work/mine", "mine", "home/mine"]


def test_a_relative_folder_stays_the_same_when_the_process_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "mine")
    paths = DataPaths.from_environment()

    monkeypatch.chdir("/")

    assert paths.warehouse.resolve() == tmp_path.resolve() / "mine" / "warehouse.duckdb"


def test_the_layout(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path)
    layout = {
        "warehouse.duckdb": paths.warehouse,
        "published/synthetic.duckdb": paths.published,
        "base_models": paths.base_models,
        "models/abalone": paths.models("abalone"),
        "trainer_abalone": paths.checkpoints("trainer_abalone"),
        "plots/abalone/2025-01-01": paths.plots("abalone", "2025-01-01"),
        "reports/abalone/2025-01-01.html": paths.report("abalone", "2025-01-01"),
    }

    assert {path.relative_to(tmp_path).as_posix(): path for path in layout.values()} == layout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", ["s3://shop/our data/", Path("s3://shop/our data")])
def test_an_object_store_in_place_of_the_folder_is_the_one_of_the_projects_folder(
    monkeypatch: pytest.MonkeyPatch, named: str | Path
) -> None:
    found = DataPaths.from_environment(named)
    assert (found.root, found.storage) == (DataPaths.from_environment().root, "s3://shop/our data")
    monkeypatch.setenv(STORAGE_VARIABLE, "s3://shop/other")
    assert DataPaths.from_environment("here").storage == "s3://shop/other"
    with pytest.raises(ForeseenError, match=r"found the object store s3://shop/our data .*, and s3://shop/other in"):
        DataPaths.from_environment(named)
