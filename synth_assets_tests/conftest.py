"""Fixtures that tests of several packages share."""

import os

# Where pytest runs several processes, each has one core; before anything is imported that starts a thread for each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synth_assets.publishing.publisher import Publisher
from synth_assets.schema.columns import Categorical, Float, Integer
from synth_assets.schema.table import TableSchema
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.live.tiny_location import tiny_table
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, offer, write, write_sample
from synth_assets_tests.world import Outcome, World

PROJECT = Path(__file__).parents[1]

LONG = (
    "live/test_schedule.py",
    "live/test_backfill.py",
    "evaluation/test_gates_of_abalone.py",
    "assets/test_lineage.py",
)
"""Files that take minutes. They start first, so that no process is left with one of them when the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files start first; otherwise the order stays."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_this_shell() -> Iterator[None]:
    """Let a test see only the settings that it makes itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ABALONE_CSV", "SYNTH_ASSETS_DATA", "DAGSTER_HOME"):
            patch.delenv(name, raising=False)
        yield


_REAL_TABLE = os.environ.get("ABALONE_CSV")


@pytest.fixture(scope="session")
def real_csv() -> Path:
    """Give the real abalone table, which is no part of the repository."""
    if not _REAL_TABLE:
        pytest.skip("needs the real abalone table: set ABALONE_CSV to its file")
    return Path(_REAL_TABLE).resolve()


@pytest.fixture(scope="session")
def placeholder_csv() -> Path:
    return PROJECT / "data" / "abalone_placeholder.csv"


@pytest.fixture(params=["placeholder_csv", "real_csv"])
def abalone_csv(request: pytest.FixtureRequest) -> Path:
    """Give the placeholder, then the real table where there is one."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def small_schema() -> TableSchema:
    """Give three columns, one of each kind."""
    return TableSchema(
        columns=(
            Categorical(name="Colour", categories=("blue", "red")),
            Float(name="Size", unit="mm", minimum=0.0, maximum=10.0),
            Integer(name="Legs", minimum=0, maximum=12),
        ),
        target="Legs",
    )


@pytest.fixture
def small_table() -> pd.DataFrame:
    """Give 60 rows of `small_schema`, in which the target depends on the size."""
    rng = np.random.default_rng(1)
    size = rng.uniform(1, 9, 60).round(2)
    return pd.DataFrame(
        {
            "Colour": pd.Series(rng.choice(["blue", "red"], 60), dtype="str"),
            "Size": size,
            "Legs": (size + rng.normal(0, 0.5, 60)).round().clip(0, 12).astype("int64"),
        }
    )


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a data folder with `toy.raw` and samples of two days, published. Do not change it: `toy` has a copy."""
    folder = DataPaths(tmp_path_factory.mktemp("published"))
    warehouse = Warehouse(folder)
    write(warehouse, "raw", ["old"])
    write_sample(warehouse, MONDAY, [1, 2])
    write_sample(warehouse, TUESDAY, [4, 3])
    Publisher(folder, warehouse=warehouse).publish(offer())
    return folder.root


@pytest.fixture
def toy(toy_folder: Path, tmp_path: Path) -> Publisher:
    """Give the publisher of a copy of `toy_folder`."""
    shutil.copytree(toy_folder, tmp_path / "data", symlinks=True)
    folder = DataPaths(tmp_path / "data")
    return Publisher(folder, warehouse=Warehouse(folder))


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, placeholder_csv: Path) -> tuple[World, Outcome]:
    """Run the whole lineage once. Do not change this folder: `world` is a copy."""
    world = World(tmp_path_factory.mktemp("lineage") / "data")
    world.root.mkdir()
    tiny_table(pd.read_csv(placeholder_csv)).to_csv(world.csv, index=False)
    outcome = world.run()
    assert outcome.success, outcome.messages
    return world, outcome


@pytest.fixture
def world(first_run: tuple[World, Outcome], tmp_path: Path) -> World:
    """Give a copy of the data folder after the first run."""
    shutil.copytree(first_run[0].root, tmp_path / "data", symlinks=True)
    return World(tmp_path / "data")


@pytest.fixture
def empty_world(tmp_path: Path) -> World:
    """Give an empty data folder."""
    (tmp_path / "data").mkdir()
    return World(tmp_path / "data")
