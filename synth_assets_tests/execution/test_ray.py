"""Tasks on a Ray cluster of two nodes: the rows of one process, lost workers, and messages."""

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ForeseenError, ModelError
from synth_assets.evaluation import evaluate
from synth_assets.evaluation.metrics.attacks import Knowledge
from synth_assets.evaluation.samples import Samples
from synth_assets.execution import LOCAL, RayExecution
from synth_assets.schema.columns import Integer
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import parts, sample_folder
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets.synthesizers.parts import read_manifest, rows_hash
from synth_assets.synthesizers.smote import SmoteSettings
from synth_assets_tests.stub_synthesizer import Stub

if TYPE_CHECKING:  # only the process that runs these tests imports Ray
    from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow


class FullDisk(Stub):
    """A stub whose process finds a full disk for as long as the file `full` is there."""

    def _sample_batches(self, n: int, batches: range, **arguments: Any) -> Iterator[pd.DataFrame]:
        def sync(path: Path) -> None:
            if (Path(os.environ["SIGNS"]) / "full").exists():
                raise OSError(errno.ENOSPC, "No space left on device")

        sample_folder.sync = sync
        return super()._sample_batches(n, batches, **arguments)


@pytest.fixture(scope="module")
def stub() -> Stub:
    return Stub().fit(pd.DataFrame({"legs": range(50)}), TableSchema(columns=(Integer(name="legs"),)))


def die_once(shared: Path, number: int) -> int:
    """End the worker process at the first call of number 1."""
    if number == 1 and not shared.exists():
        shared.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * number


def test_rows_of_a_cluster_are_the_ones_of_a_process(
    cluster: "Cluster", stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SHARD_ROWS", 2000)
    lines: list[str] = []
    manifest = stub.sample_to(tmp_path, 5500, seed=3, execution=RayExecution(address=cluster.address), log=lines.append)
    rows = stub.sample(5500, seed=3)
    assert manifest.rows_sha256 == rows_hash(rows[start : start + 2000] for start in range(0, 5500, 2000))
    assert "from 2 workers" in lines[-1]
    assert not sys.modules["ray"].is_initialized()


def test_rows_that_workers_write_to_an_object_store(
    cluster: "Cluster", stub: Stub, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SHARD_ROWS", 2000)
    manifest = stub.sample_to("s3://shop/rows", 5500, seed=3, execution=RayExecution(address=cluster.address))
    rows = stub.sample(5500, seed=3)
    assert manifest.rows_sha256 == rows_hash(rows[start : start + 2000] for start in range(0, 5500, 2000))
    assert read_manifest("s3://shop/rows") == manifest


def test_a_machine_that_is_no_node_connects_by_a_client(cluster: "Cluster", client_port: int) -> None:
    assert RayExecution(address=f"ray://127.0.0.1:{client_port}").results(divmod, [(2,), (3,)], shared=7) == [
        (3, 1),
        (2, 1),
    ]
    assert not sys.modules["ray"].is_initialized()


def test_a_client_whose_server_does_not_start_connects_again(
    cluster: "Cluster", client_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.util.client.worker import Worker

    connect, is_failing = Worker._server_init, iter([True, True, True, False])

    def server_init(*arguments: Any) -> Any:
        if next(is_failing):
            raise ConnectionAbortedError("Initialization failure from server")
        return connect(*arguments)

    monkeypatch.setattr(Worker, "_server_init", server_init)
    execution = RayExecution(address=f"ray://127.0.0.1:{client_port}")
    with pytest.raises(ForeseenError, match="could not be used: Initialization failure"):
        execution.results(divmod, [(2,)], shared=7)
    assert execution.results(divmod, [(2,)], shared=7) == [(3, 1)]


def test_a_full_disk_of_a_node_is_one_message_and_the_sample_resumes(
    cluster: "Cluster", stub: Stub, signs: Path, tmp_path: Path
) -> None:
    full_disk, sign = FullDisk().fit(stub.train, stub.schema), signs / "full"
    execution = RayExecution(address=cluster.address)
    sign.touch()
    with pytest.raises(ModelError, match=r"on the machine .*: No space left on device\. On its disk .* it resumes\."):
        full_disk.sample_to(tmp_path, 100, execution=execution)
    assert not list(tmp_path.glob("*part*"))
    sign.unlink()
    assert full_disk.sample_to(tmp_path, 100, execution=execution) == read_manifest(tmp_path)


def test_a_node_with_another_version_of_the_package(cluster: "Cluster", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_assets.execution.cluster.version", lambda _: "9.9")
    with pytest.raises(ForeseenError, match=r"has synth-assets .*; expected 9\.9, as on the machine that started"):
        RayExecution(address=cluster.address).results(divmod, [(2,)], shared=7)


def test_a_lost_worker_costs_its_call_alone(cluster: "Cluster", tmp_path: Path) -> None:
    execution = RayExecution(address=cluster.address)
    assert execution.results(die_once, [(0,), (1,), (2,)], shared=tmp_path / "died") == [0, 10, 20]
    assert (tmp_path / "died").exists()


def test_a_worker_that_is_lost_again_and_again_is_an_error(
    cluster: "Cluster", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_assets.execution.cluster.RETRIES", 0)
    with pytest.raises(ForeseenError, match=r"a task was lost 1 times, or its cluster was: .* look at the memory"):
        RayExecution(address=cluster.address).results(die_once, [(1,)], shared=tmp_path / "died")


def test_a_fit_as_a_task_gives_the_same_model(cluster: "Cluster", tmp_path: Path) -> None:
    rows, schema = pd.DataFrame({"legs": range(50)}), TableSchema(columns=(Integer(name="legs"),))
    found, lines = {}, {}
    for execution in (LOCAL, RayExecution(address=cluster.address)):
        store, lines[execution.type] = ModelStore(tmp_path / execution.type), []
        card = store.fit(
            rows,
            schema,
            SmoteSettings(),
            seed=0,
            checkpoints_dir=tmp_path / "checkpoints",
            execution=execution,
            log=lines[execution.type].append,
        )
        found[execution.type] = card.version, store.load(card.version).fingerprint()
    assert found["ray"] == found["local"]
    assert [line for line in lines["ray"] if "Ray" not in line] == lines["local"]


def in_turn(folder: Path, rank: int) -> Iterator[tuple[str, int]]:
    """Yield the variables of a process of two, the second of which dies at first."""
    yield os.environ["RANK"], int(os.environ["WORLD_SIZE"])
    if rank == 1 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{rank}").touch()
    while not (folder / f"{1 - rank}").exists():
        time.sleep(0.1)


def test_processes_that_work_together_start_again_when_one_is_lost(cluster: "Cluster", tmp_path: Path) -> None:
    items = list(RayExecution(address=cluster.address).together(in_turn, (tmp_path,), size=2))
    assert (tmp_path / "died").exists()
    assert items in ([("0", 2)], [("0", 2)] * 2)  # the first attempt may be lost before its item arrives


def test_a_group_that_no_cluster_has_room_for(cluster: "Cluster", tmp_path: Path) -> None:
    with pytest.raises(ForeseenError, match=r"3 processes are to work together, .* room for 2"):
        next(RayExecution(address=cluster.address).together(in_turn, (tmp_path,), size=3))


@pytest.mark.cluster
def test_devices_on_two_nodes_train_the_model_of_one_machine(cluster: "Cluster", tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"legs": rng.integers(9, size=200), "arms": rng.integers(9, size=200)})
    schema = TableSchema(columns=(Integer(name="legs"), Integer(name="arms")), private=False)
    settings = LanguageModelSettings(epochs=2, devices=2, pretrain=PretrainSettings(rows=0))
    likelihoods = {}
    for execution in (LOCAL, RayExecution(address=cluster.address)):
        store = ModelStore(tmp_path / execution.type)
        checkpoints = tmp_path / f"checkpoints of {execution.type}"
        card = store.fit(rows, schema, settings, seed=0, checkpoints_dir=checkpoints, execution=execution)
        likelihoods[execution.type] = store.load(card.version).log_likelihood(rows)
    assert likelihoods["ray"] == pytest.approx(likelihoods["local"], abs=1e-3)


def likelihood(rows: pd.DataFrame) -> np.ndarray:
    """Return a log-likelihood of rows, as a model does."""
    return -0.1 * rows["legs"].to_numpy(float)


def test_an_evaluation_on_a_cluster_has_the_numbers_of_a_process(
    cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [["similarity of columns", "validity"], ["detection by logistic regression"]]
    monkeypatch.setattr(evaluate, "PARTS", parts)
    monkeypatch.setattr(
        evaluate, "FIDELITY_FAMILIES", {name: evaluate.FIDELITY_FAMILIES[name] for part in parts for name in part}
    )
    rng, schema = np.random.default_rng(0), TableSchema(columns=(Integer(name="legs"), Integer(name="arms")))
    train, holdout, synthetic = (
        pd.DataFrame({"legs": rng.integers(9, size=60), "arms": rng.integers(9, size=60)}) for _ in range(3)
    )
    synthetic[:5] = train[:5]
    samples, knowledge = Samples(train, holdout, synthetic, schema), Knowledge(train[30:], likelihood)
    expected = evaluate.fidelity_results(samples), evaluate.privacy_results(samples, knowledge=knowledge)
    monkeypatch.setattr(evaluate, "MOST_CELLS_ALONE", 1)
    monkeypatch.delattr(evaluate, "_compute_family")  # of this process alone
    execution = RayExecution(address=cluster.address)
    found = (
        evaluate.fidelity_results(samples, execution=execution),
        evaluate.privacy_results(samples, knowledge=knowledge, execution=execution),
    )
    for each, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(each, other, check_exact=True)
        assert each.attrs == other.attrs


def test_an_error_of_a_task_is_raised_as_it_is(cluster: "Cluster") -> None:
    with pytest.raises(ZeroDivisionError):
        RayExecution(address=cluster.address).results(divmod, [(0,)], shared=7)


def test_versions_that_differ(cluster: "Cluster", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.__version__", "2.1.0")
    with pytest.raises(ForeseenError, match=r"Ray: 2\.1\.0 .*Expected the same versions of Ray and Python"):
        RayExecution(address=cluster.address).results(divmod, [(2,)], shared=7)


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:1", "there is no Ray cluster at 127.0.0.1:1: Connection refused"), ("head", "expected 'auto', or")],
)
def test_no_cluster_at_the_address(address: str, message: str) -> None:
    with pytest.raises(ForeseenError, match=message):
        RayExecution(address=address).results(divmod, [(2,)], shared=7)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ForeseenError, match=r"pip install 'synth-assets\[ray\]'"):
        RayExecution().results(divmod, [(2,)], shared=7)
