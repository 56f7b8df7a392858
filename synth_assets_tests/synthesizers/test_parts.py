"""A sample in parts has the rows of `sample`, resumes, and refuses folders of something else."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from synth_assets.errors import ModelError
from synth_assets.execution import LocalExecution
from synth_assets.schema.columns import Categorical, Date, Datetime, Id, Integer
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import parts, sample_folder
from synth_assets.synthesizers.parts import Manifest, read_manifest, rows_hash, stated_seed
from synth_assets_tests.publishing.test_shared import busy
from synth_assets_tests.stub_synthesizer import Stub

__all__ = ["busy"]

ROWS = 5500

URL = "s3://shop/rows"

SCHEMA = TableSchema(
    columns=(
        Id(name="key"),
        Categorical(name="colour", categories=("blue", "red"), nullable=True),
        Integer(name="legs", nullable=True),
        Date(name="day"),
        Datetime(name="time", timezone="Europe/Berlin"),
    ),
    min_label_rows=1,
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SHARD_ROWS", 2000)


@pytest.fixture(scope="module")
def stub() -> Stub:
    rows = pd.DataFrame(
        {
            "key": range(1, 6),
            "colour": ["red", "blue", None, "red", "blue"],
            "legs": [2, None, 4, 6, 8],
            "day": ["2024-01-31"] * 5,
            "time": ["2024-03-31T08:30:00.5"] * 5,
        }
    )
    return Stub().fit(rows, SCHEMA)


class Failing(Stub):
    """Draws no batch from a part on, by default the second: its process ends there, as a killed one does."""

    first = 2

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Any
    ) -> Iterator[pd.DataFrame]:
        if batches[0] >= self.first:
            raise KeyboardInterrupt
        return super()._sample_batches(n, batches, seed=seed, conditions={}, temperature=temperature, log=log)


def _failing(stub: Stub, first: int) -> Failing:
    failing = Failing()
    failing._use(stub.preparation)
    failing.train = stub.train
    failing.name, failing.first = stub.name, first
    return failing


@pytest.mark.parametrize("processes", [1, 2])
def test_parts_have_the_rows_of_sample(stub: Stub, tmp_path: Path, processes: int) -> None:
    lines: list[str] = []
    manifest = stub.sample_to(
        tmp_path, ROWS, seed=3, first_key=70, execution=LocalExecution(processes=processes), log=lines.append
    )
    rows = stub.sample(ROWS, seed=3, first_key=70)
    assert manifest.rows_sha256 == rows_hash(rows[start : start + 2000] for start in range(0, ROWS, 2000))
    assert [shard.rows for shard in manifest.shards] == [2000, 2000, 1500]
    read = pd.concat([pd.read_parquet(tmp_path / shard.name) for shard in manifest.shards], ignore_index=True)
    pd.testing.assert_frame_equal(SCHEMA.select(SCHEMA.published).coerce(read, origin="parts"), rows)
    assert lines[-1].startswith("5,500 of 5,500 rows, 3 of 3 parts")


def test_a_run_that_was_killed_resumes(stub: Stub, tmp_path: Path) -> None:
    whole = stub.sample_to(tmp_path / "whole", ROWS, execution=LocalExecution(processes=1))
    failing = _failing(stub, first=2)
    folder = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        failing.sample_to(folder, ROWS, execution=LocalExecution(processes=1))
    with pytest.raises(ModelError, match="no complete sample"):
        read_manifest(folder)
    first = folder / "part-00000.parquet"
    written_at = first.stat().st_mtime_ns
    (folder / "part-00001.parquet").write_bytes(first.read_bytes()[:-50])  # torn: no footer
    (folder / "part-00002.parquet").write_bytes(first.read_bytes())  # another part
    assert stub.sample_to(folder, ROWS, execution=LocalExecution(processes=1)) == whole
    assert first.stat().st_mtime_ns == written_at


def test_a_complete_sample_is_written_again_only_where_it_has_changed(stub: Stub, tmp_path: Path) -> None:
    whole = stub.sample_to(tmp_path, ROWS, execution=LocalExecution(processes=1))
    lines: list[str] = []
    assert stub.sample_to(tmp_path, ROWS, log=lines.append) == whole
    assert "complete" in lines[0]
    changed = tmp_path / "part-00001.parquet"
    changed.write_bytes(changed.read_bytes().replace(b"\x00", b"\x01", 1))
    assert stub.sample_to(tmp_path, ROWS, execution=LocalExecution(processes=1), log=lines.append) == whole
    assert lines[1].startswith("1 of 3 parts are missing or have changed")


def test_another_sample_is_refused(stub: Stub, tmp_path: Path) -> None:
    stub.sample_to(tmp_path / "sample", 10, seed=1)
    with pytest.raises(ModelError, match=r"another sample: n 10 \(expected 20\), seed 1 \(expected 2\)\."):
        stub.sample_to(tmp_path / "sample", 20, seed=2)
    with pytest.raises(ModelError, match=r"another sample: first_key 0 \(expected 7\)\."):
        stub.sample_to(tmp_path / "sample", 10, seed=1, first_key=7)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.parquet").touch()
    with pytest.raises(ModelError, match="something else"):
        stub.sample_to(tmp_path / "mine", 10)


def test_a_refused_condition_leaves_a_folder_that_another_sample_can_use(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _failing(stub, first=0).sample_to(tmp_path, 10, seed=1, execution=LocalExecution(processes=1))
    assert stub.sample_to(tmp_path, 20, seed=2, execution=LocalExecution(processes=1)).n == 20


def test_a_damaged_manifest_is_written_again(stub: Stub, tmp_path: Path) -> None:
    whole = stub.sample_to(tmp_path, 10)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"shards"', '"shard"'))
    assert stub.sample_to(tmp_path, 10) == whole == read_manifest(tmp_path)


def test_a_file_in_place_of_a_folder_and_too_many_rows_are_refused(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "rows").touch()
    with pytest.raises(ModelError, match="is a file; expected a folder"):
        stub.sample_to(tmp_path / "rows", 10)
    with pytest.raises(ModelError, match="expected at most 1,000,000,000,000 rows"):
        stub.sample_to(tmp_path / "many", 10**20)
    assert not (tmp_path / "many").exists()


def test_a_machine_with_other_libraries_draws_nothing(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "version_of", lambda name: "9.9")
    with pytest.raises(ModelError, match=r"would draw other rows: numpy [\d.]+ \(expected 9\.9\), .* Install the same"):
        stub.sample_to(tmp_path, ROWS, execution=LocalExecution(processes=2))
    assert not list(tmp_path.glob("*.parquet"))


def test_two_writers_of_a_folder(stub: Stub, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ModelError, match="another process is writing"):
        stub.sample_to(tmp_path, 10)


def test_a_disk_that_is_full(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample_folder, "sync", full)
    with pytest.raises(ModelError, match=r"No space left on device\. On its disk .* MB are free"):
        stub.sample_to(tmp_path, 10, execution=LocalExecution(processes=1))
    assert not list(tmp_path.glob("*.parquet"))
    assert not list(tmp_path.glob(".part-*"))


def test_rows_that_depend_on_earlier_ones_are_drawn_in_one_process(stub: Stub, tmp_path: Path) -> None:
    class Sequential(Stub):
        draws_in_sequence = True

    sequential = Sequential()
    sequential._use(stub.preparation)
    sequential.train = stub.train
    found = sequential.sample_to(tmp_path, ROWS, seed=3)
    (tmp_path / "part-00001.parquet").unlink()
    assert sequential.sample_to(tmp_path, ROWS, seed=3) == found
    rows = stub.sample(ROWS, seed=3)
    assert found.rows_sha256 == rows_hash(rows[start : start + 2000] for start in range(0, ROWS, 2000))


@pytest.mark.parametrize("processes", [1, 2])
def test_parts_in_an_object_store_are_the_ones_of_a_folder(
    bucket: Any, stub: Stub, tmp_path: Path, processes: int
) -> None:
    execution = LocalExecution(processes=processes)
    whole = stub.sample_to(tmp_path, ROWS, seed=3, execution=LocalExecution(processes=1))
    assert stub.sample_to(URL, ROWS, seed=3, execution=execution) == whole == read_manifest(URL)
    for name in ("manifest.json", *(shard.name for shard in whole.shards)):
        stored = bucket.get_object(Bucket="shop", Key=f"rows/{name}")["Body"].read()
        assert stored == (tmp_path / name).read_bytes()
    assert len(bucket.list_objects_v2(Bucket="shop")["Contents"]) == 4
    assert stated_seed(URL) == 3


def test_an_object_store_that_fails_keeps_the_parts_and_the_command_resumes(
    bucket: Any, stub: Stub, busy: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn() -> Manifest:
        sample_folder._store_folder.cache_clear()  # a process of its own has a connection of its own
        return stub.sample_to(URL, ROWS, execution=LocalExecution(processes=1))

    remaining = iter([True, True])
    busy(lambda request: request.method == "PUT" and next(remaining, False))
    whole = drawn()  # asked again
    bucket.delete_object(Bucket="shop", Key="rows/part-00001.parquet")
    with pytest.raises(ModelError, match=r"lacks 1 of 3 parts, part-00001\.parquet first"):
        read_manifest(URL)
    refused = busy(lambda request: request.method == "PUT" and "part-00001" in request.url)
    with pytest.raises(ModelError, match=r"s3://shop/rows cannot be written: .*SlowDown.* asked 5 times.* it resumes"):
        drawn()
    assert len(refused) == 5
    with pytest.raises(ModelError, match="no complete sample"):
        read_manifest(URL)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    kept = bucket.head_object(Bucket="shop", Key="rows/part-00000.parquet")["LastModified"]
    assert drawn() == whole
    assert bucket.head_object(Bucket="shop", Key="rows/part-00000.parquet")["LastModified"] == kept


def test_two_writers_of_one_object_store(bucket: Any, stub: Stub) -> None:
    class Meanwhile(Stub):
        """Another process writes the same or another sample while this one draws."""

        def _sample_batches(self, n: int, batches: range, *, seed: int, **arguments: Any) -> Iterator[pd.DataFrame]:
            if other:
                stub.sample_to(URL, other.pop(), seed=seed, execution=LocalExecution(processes=1))
            return super()._sample_batches(n, batches, seed=seed, **arguments)

    meanwhile = Meanwhile()
    meanwhile._use(stub.preparation)
    meanwhile.train = stub.train
    other = [ROWS]
    found = meanwhile.sample_to(URL, ROWS, seed=3, execution=LocalExecution(processes=1))
    assert found == read_manifest(URL)
    for each in bucket.list_objects_v2(Bucket="shop")["Contents"]:
        bucket.delete_object(Bucket="shop", Key=each["Key"])
    other = [2500]
    with pytest.raises(ModelError, match="another process has begun another sample in s3://shop/rows"):
        meanwhile.sample_to(URL, ROWS, seed=3, execution=LocalExecution(processes=1))
    assert read_manifest(URL).n == 2500
