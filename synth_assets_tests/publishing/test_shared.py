"""Publications and models in an object store, read from elsewhere; the store is a local server."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from synth_assets.cli import main
from synth_assets.publishing import client
from synth_assets.publishing.publications import PublicationError
from synth_assets.publishing.publisher import Publisher
from synth_assets.publishing.shared import POINTER, fetch_model, share_model
from synth_assets.storage.files import verify_manifest, write_manifest
from synth_assets.storage.objects import ConflictError, ObjectStore, StorageError
from synth_assets.storage.paths import STORAGE_VARIABLE
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, spec, write, write_large_sample, write_sample

URL = "s3://shop/our data"


@pytest.fixture
def shared(
    bucket: Any, publisher: Publisher, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Publisher:
    """Share a publication of five rows in three parts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(warehouse, "raw", [0])
    write_large_sample(warehouse, MONDAY, [9, 8, 7, 6, 5])
    publisher = replace(publisher, paths=replace(publisher.paths, storage=URL), copied_rows=3)
    publisher.publish(spec())
    return publisher


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], bool]], list[str]]:
    """Let the store answer 503 to the requests that a function chooses; the list has their addresses."""
    import boto3
    from botocore.awsrequest import AWSResponse

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    def answer_503(chosen: Callable[[Any], bool]) -> list[str]:
        boto3.setup_default_session()
        refused: list[str] = []

        def answer(request: Any, **_: Any) -> AWSResponse | None:
            if not chosen(request):
                return None
            refused.append(request.url)
            body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            return AWSResponse(request.url, 503, {}, SimpleNamespace(stream=lambda **_: iter([body])))

        boto3.DEFAULT_SESSION.events.register("before-send.s3", answer)
        return refused

    return answer_503


def values(data: str = URL) -> list[int]:
    with client.connect(data) as connection:
        return [row[0] for row in connection.execute("SELECT x FROM toy.synthetic_all").fetchall()]


def test_a_consumer_elsewhere_reads_the_tables_and_copies_no_parquet(
    shared: Publisher, warehouse: Warehouse, bucket: Any, tmp_path: Path
) -> None:
    assert values() == [9, 8, 7, 6, 5]
    frame = client.read_table("toy", date=MONDAY, where="x < 8", data=URL)
    assert frame[["x", "sample_id", "model_version"]].to_numpy().tolist() == [[7, 2, "m1"], [6, 3, "m1"], [5, 4, "m1"]]
    write_sample(warehouse, TUESDAY, [1], numbered=True)
    shared.publish(spec())
    assert values() == [9, 8, 7, 6, 5, 1]
    keys = [each["Key"] for each in bucket.list_objects_v2(Bucket="shop")["Contents"]]
    assert sum(key.endswith(".parquet") for key in keys) == 4  # two publications share three
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["synthetic.duckdb"]


def test_rollback_and_delete_reach_consumers_elsewhere(shared: Publisher, warehouse: Warehouse, bucket: Any) -> None:
    write_sample(warehouse, TUESDAY, [1], numbered=True)
    shared.publish(spec())
    shared.publications.rollback()
    assert values() == [9, 8, 7, 6, 5]
    shared.publish(spec())
    shared.delete("toy", MONDAY)
    assert values() == [1]
    assert not any(MONDAY in each["Key"] for each in bucket.list_objects_v2(Bucket="shop")["Contents"])


def test_commands_read_the_store_where_the_folder_has_no_publication(
    shared: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, URL)
    for command in (["query", "SELECT x FROM toy.synthetic_all", "--format", "csv"], ["export", "toy.fidelity"]):
        here, elsewhere = (
            CliRunner().invoke(main, ["--data", str(folder), *command])
            for folder in (shared.paths.root, tmp_path / "elsewhere")
        )
        assert here.exit_code == 0, here.output
        assert elsewhere.output == here.output
    drawn = CliRunner().invoke(main, ["--data", str(tmp_path / "elsewhere"), "sample"])
    assert "the model store has no model 'm1'" in drawn.stderr


def test_what_a_cluster_has_left_of_a_sample_is_deleted_with_its_day(shared: Publisher, bucket: Any) -> None:
    for day in (MONDAY, TUESDAY):
        bucket.put_object(Bucket="shop", Key=f"our data/samples/toy/{day}/of-a-sample/part-00000.parquet")
    write_sample(shared.warehouse, TUESDAY, [1], numbered=True)
    shared.publish(spec())
    shared.delete("toy", MONDAY)
    left = [each["Key"] for each in bucket.list_objects_v2(Bucket="shop", Prefix="our data/samples")["Contents"]]
    assert left == [f"our data/samples/toy/{TUESDAY}/of-a-sample/part-00000.parquet"]


def test_a_rollback_that_was_not_shared_is_shared_by_its_id(
    shared: Publisher, warehouse: Warehouse, busy: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample(warehouse, TUESDAY, [1], numbered=True)
    shared.publish(spec())
    busy(lambda request: request.method == "PUT")
    with pytest.raises(PublicationError, match=r"Run `synth-assets rollback \d.*` to share it"):
        shared.publications.rollback()
    assert values() == [9, 8, 7, 6, 5, 1]
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    shared.publications.rollback(shared.publications.current_id())
    assert values() == [9, 8, 7, 6, 5]


def test_the_store_of_another_data_folder_is_refused(shared: Publisher, bucket: Any) -> None:
    pointer = {"publication": "of-another", "manifest": "", "at": ""}
    bucket.put_object(Bucket="shop", Key=f"our data/{POINTER}", Body=json.dumps(pointer))
    with pytest.raises(PublicationError, match="has the publication of-another, which another data folder has shared"):
        shared.publish(spec())


def test_an_object_is_replaced_only_where_nobody_else_has(bucket: Any) -> None:
    store = ObjectStore(URL)
    store.replace("one", b"first", etag=None)
    found = store.read("one")
    assert found is not None
    store.replace("one", b"second", etag=found[1])
    for etag in (found[1], None):
        with pytest.raises(ConflictError):
            store.replace("one", b"third", etag=etag)
    assert store.read("one") != found
    assert store.read("one")[0] == b"second"  # type: ignore[index]
    assert store.read("two") is None


def test_a_busy_store_is_asked_again(shared: Publisher, busy: Callable[..., list[str]]) -> None:
    remaining = iter([True, True])
    refused = busy(lambda _: next(remaining, False))
    assert values() == [9, 8, 7, 6, 5]
    assert len(refused) == 2


@pytest.mark.parametrize("refused", [".parquet", POINTER])
def test_a_store_that_fails_while_a_publication_is_shared_keeps_the_old_one(
    shared: Publisher,
    warehouse: Warehouse,
    busy: Callable[..., list[str]],
    refused: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_sample(warehouse, TUESDAY, [1], numbered=True)
    busy(lambda request: request.method == "PUT" and request.url.endswith(refused))
    with pytest.raises(PublicationError, match=r"is not shared yet: s3://.*SlowDown.* asked 5 times.* to share it"):
        shared.publish(spec())
    assert values() == [9, 8, 7, 6, 5]
    assert len(client.read_table("toy.synthetic_all", data=shared.paths.root)) == 6
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    assert not shared.publish(spec()).is_new
    assert values() == [9, 8, 7, 6, 5, 1]


def test_a_silent_store_is_one_message(monkeypatch: pytest.MonkeyPatch, bucket: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with pytest.raises(StorageError, match=r"^s3://shop/x cannot be read: Could not connect .* asked 5 times"):
        client.connect("s3://shop/x")


def test_a_model_is_shared_and_fetched_whole_or_not(bucket: Any, tmp_path: Path) -> None:
    store, folder = ObjectStore(URL), tmp_path / "here" / "v1"
    (folder / "more").mkdir(parents=True)
    (folder / "more" / "weights").write_bytes(b"weights")
    write_manifest(folder)
    elsewhere = tmp_path / "there" / "v1"
    assert not fetch_model(store, "toy", elsewhere)
    share_model(store, "toy", folder)
    assert fetch_model(store, "toy", elsewhere)
    assert verify_manifest(elsewhere) == []
    bucket.delete_object(Bucket="shop", Key="our data/models/toy/v1/more/weights")
    assert not fetch_model(store, "toy", tmp_path / "third" / "v1")
    assert not (tmp_path / "third" / "v1").exists()
