"""Fixtures that tests of several packages share."""

import os

# Where pytest runs several processes, each has one core; before anything is imported that starts a thread for each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from synth_assets.publishing.publisher import Publisher
from synth_assets.schema.columns import Categorical, Float, Integer
from synth_assets.schema.table import TableSchema
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.live.tiny_location import tiny_table
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, spec, write, write_sample
from synth_assets_tests.world import Outcome, World

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

PROJECT = Path(__file__).parents[1]

LONG = (
    "live/test_live.py",
    "synth_assets_tests/faults/",
    "evaluation/test_gates_of_abalone.py",
    "orchestration/test_lineage.py",
    "publishing/test_publisher.py",
    "synthesizers/test_model_store.py",
    "language_model/test_conditions.py",
    "storage/test_warehouse.py",
    "orchestration/test_any_table.py",
    "orchestration/test_settings.py",
    "evaluation/test_figures.py",
    "evaluation/test_any_table.py",
    "test_kinds.py",
    "language_model/test_cuda.py",
    "evaluation/test_utility.py",
    "publishing/test_shared.py",
    "orchestration/test_bad_input.py",
    "execution/test_ray.py",
    "language_model/test_parallel.py",
    "cli/test_init.py",
    "cli/test_cli.py",
)
"""Files that take longest. They start first, so that no process is left with one of them when the others are done."""

TOGETHER = (
    ("synth_assets_tests/faults/",),
    ("synth_assets_tests/live/test_live.py", "synth_assets_tests/orchestration/test_lineage.py"),
)
"""Groups of files that one of pytest's processes runs: the first ones share a process that takes ten seconds to start,
the others `first_run`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files start first, the longest of all before the others; otherwise the order stays."""

    def rank(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(LONG) if name in item.path.as_posix()), len(LONG))

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let the tests of one file run in one process, as `--dist loadfile` does, and so each group of `TOGETHER`."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            found = next((group for group in TOGETHER if nodeid.startswith(group)), None)
            return super()._split_scope(nodeid) if found is None else found[0]

    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_this_shell() -> Iterator[None]:
    """Let a test see only the settings that it makes itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ABALONE_CSV", "SYNTH_ASSETS_DATA", "SYNTH_ASSETS_STORAGE", "DAGSTER_HOME"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def fast_evaluation() -> Iterator[None]:
    """Evaluate with few splits, repeats, resamples and trees, and draw small: for tests that need no numbers."""
    from synth_assets_tests.fast_evaluation import reduce_constants, reduce_libraries

    with pytest.MonkeyPatch.context() as patch:
        reduce_constants(patch)
        reduce_libraries(patch)
        yield


_REAL_TABLE = os.environ.get("ABALONE_CSV")


@pytest.fixture(scope="session")
def real_csv() -> Path:
    """Return the real abalone table, which is no part of the repository."""
    if not _REAL_TABLE:
        pytest.skip("needs the real abalone table: set ABALONE_CSV to its file")
    return Path(_REAL_TABLE).resolve()


@pytest.fixture(scope="session")
def placeholder_csv() -> Path:
    return PROJECT / "data" / "abalone_placeholder.csv"


@pytest.fixture(params=["placeholder_csv", "real_csv"])
def abalone_csv(request: pytest.FixtureRequest) -> Path:
    """Return the placeholder, then the real table where there is one."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def small_schema() -> TableSchema:
    """Return three columns, one of each type."""
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
    """Return 60 rows of `small_schema`, in which the target depends on the size."""
    rng = np.random.default_rng(1)
    size = rng.uniform(1, 9, 60).round(2)
    return pd.DataFrame(
        {
            "Colour": pd.Series(rng.choice(["blue", "red"], 60), dtype="str"),
            "Size": size,
            "Legs": (size + rng.normal(0, 0.5, 60)).round().clip(0, 12).astype("int64"),
        }
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return an empty warehouse."""
    return Warehouse(DataPaths(tmp_path / "data"))


@pytest.fixture
def publisher(warehouse: Warehouse) -> Publisher:
    """Return the publisher of `warehouse`."""
    return Publisher(warehouse.paths, warehouse=warehouse)


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with `toy.raw` and samples of two days, published. Do not change it: `toy` has a copy."""
    folder = DataPaths(tmp_path_factory.mktemp("published"))
    warehouse = Warehouse(folder)
    write(warehouse, "raw", ["old"])
    write_sample(warehouse, MONDAY, [1, 2])
    write_sample(warehouse, TUESDAY, [4, 3])
    Publisher(folder, warehouse=warehouse).publish(spec())
    return folder.root


@pytest.fixture
def toy(toy_folder: Path, tmp_path: Path) -> Publisher:
    """Return the publisher of a copy of `toy_folder`."""
    shutil.copytree(toy_folder, tmp_path / "data", symlinks=True)
    folder = DataPaths(tmp_path / "data")
    return Publisher(folder, warehouse=Warehouse(folder))


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, placeholder_csv: Path) -> tuple[World, Outcome]:
    """Run the whole lineage once. Do not change this folder: `world` has a copy."""
    with shared_folder(tmp_path_factory, "finished") as folder:
        world = World(tmp_path_factory.mktemp("lineage") / "data")
        world.root.mkdir()
        tiny_table(pd.read_csv(placeholder_csv)).to_csv(world.csv, index=False)
        outcome = world.run()
        assert outcome.success, outcome.messages
        if not folder.exists():
            shutil.copytree(world.root, folder, symlinks=True)
    return world, outcome


@pytest.fixture(scope="session")
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder after `first_run`, in whichever of pytest's processes that was. Do not change it."""
    with shared_folder(tmp_path_factory, "finished") as folder:
        if not folder.exists():
            request.getfixturevalue("first_run")
    return folder


@contextmanager
def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Yield a folder that all of pytest's processes know, to one of them at a time: the first one makes it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock", is_singleton=True):
        yield folder


@pytest.fixture
def world(finished: Path, tmp_path: Path) -> World:
    """Return a copy of a data folder in which the lineage has run."""
    shutil.copytree(finished, tmp_path / "data", symlinks=True)
    return World(tmp_path / "data")


@pytest.fixture
def empty_world(tmp_path: Path) -> World:
    """Return an empty data folder."""
    (tmp_path / "data").mkdir()
    return World(tmp_path / "data")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start a server that speaks the protocol of S3."""
    server_module = pytest.importorskip("moto.server", reason="needs moto: `pip install 'synth-assets[dev]'`")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3_variables(address: str) -> dict[str, str]:
    """Return the environment variables by which boto3 finds the server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "of-a-test",
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the workers of `cluster` find in the variable SIGNS."""
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def client_port() -> int:
    """Return the port at which `cluster` serves machines that are no nodes."""
    from synth_assets_tests.live.server import free_port

    return free_port()


@pytest.fixture(scope="module")
def cluster(signs: Path, client_port: int, s3_server: str) -> Iterator["Cluster"]:
    """Start a Ray cluster of two nodes of one CPU each."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name, value in {**s3_variables(s3_server), "SIGNS": str(signs)}.items():
            patch.setenv(name, value)  # the workers inherit it
        node = {"num_cpus": 1, "object_store_memory": 80_000_000}
        head = {**node, "include_dashboard": False, "ray_client_server_port": client_port}
        found = Cluster(initialize_head=True, head_node_args=head)
        found.add_node(**node)
        yield found
        ray.shutdown()
        found.shutdown()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of the server, which has the empty bucket `shop`."""
    import boto3

    for name, value in s3_variables(s3_server).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="shop")
    yield client
    for each in client.list_objects_v2(Bucket="shop").get("Contents", ()):
        client.delete_object(Bucket="shop", Key=each["Key"])
