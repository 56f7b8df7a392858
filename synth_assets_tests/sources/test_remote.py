"""Files that are fetched: from a server that speaks the protocol of S3, and from a web server; both are local."""

import bz2
import gzip
import http.server
import io
import lzma
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import TypeAdapter, ValidationError

from synth_assets.cli import init, main
from synth_assets.schema.lock import SchemaLock
from synth_assets.sources import AnySource, Dialect, Source, SourceError


def source(**stated: Any) -> Source:
    return TypeAdapter(AnySource).validate_python(stated)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


TEXT = b"a;b\n1,5;x\n"
PACKED_NAMES = ("t.zip", "t.csv.bz2", "t.csv.xz", "t")
PACKED = (zipped(**{"data/t.csv": TEXT}), bz2.compress(TEXT), lzma.compress(TEXT), gzip.compress(TEXT))


# S3


def test_an_object_of_s3_is_fetched_and_its_fingerprint_is_not(bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Bucket="shop", Key="a b/orders.csv", Body="größe;art\n5,66;süß\n".encode("cp1252"))
    orders = source(type="s3", url="s3://shop/a b/orders.csv")

    loaded = orders.load(tmp_path)

    assert loaded.frame.to_dict("list") == {"größe": ["5.66"], "art": ["süß"]}
    assert loaded.label == "s3://shop/a b/orders.csv"
    assert orders.fingerprint(tmp_path) == loaded.fingerprint
    found = loaded.dialect
    assert isinstance(found, Dialect)
    assert (found.delimiter, found.decimal, found.encoding) == (";", ",", "cp1252")
    bucket.put_object(Bucket="shop", Key="a b/orders.csv", Body=b"a;b\n1;2\n")
    assert orders.fingerprint(tmp_path) != loaded.fingerprint
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_is_missing_or_no_table_is_an_error(bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Bucket="shop", Key="two.csv", Body=b"a,a\n1,2\n")

    with pytest.raises(SourceError, match=r"^s3://shop/gone\.csv cannot be fetched: .*NoSuchKey.*Check the address"):
        source(type="s3", url="s3://shop/gone.csv").load(tmp_path)
    with pytest.raises(SourceError, match=r"^s3://shop/gone\.csv cannot be fetched: .*Not Found"):
        source(type="s3", url="s3://shop/gone.csv").fingerprint(tmp_path)
    with pytest.raises(SourceError, match=r"^s3://shop/two\.csv has the column 'a' twice"):
        source(type="s3", url="s3://shop/two.csv").load(tmp_path)


def test_objects_of_a_pattern_are_read_in_the_order_of_their_keys(bucket: Any, tmp_path: Path) -> None:
    for key, body in {
        "2024/part-2.csv": b"b,a\n3,x\n",
        "2024/part-1.csv": b"a,b\ny,1\n",
        "2024/old/part-0.csv": b"c\n9\n",
        "2024/part-3.txt": b"c\n9\n",
        "2024/part-4.csv": b"",
    }.items():
        bucket.put_object(Bucket="shop", Key=key, Body=body)
    parts = source(type="s3", url="s3://shop/2024/part-*.csv")

    loaded = parts.load(tmp_path)

    assert loaded.frame.to_dict("list") == {"a": ["y", "x"], "b": ["1", "3"]}
    assert loaded.label == "s3://shop/2024/part-*.csv"
    assert parts.fingerprint(tmp_path) == loaded.fingerprint
    bucket.put_object(Bucket="shop", Key="2024/part-5.csv", Body=b"a\n1\n")
    assert parts.fingerprint(tmp_path) != loaded.fingerprint
    with pytest.raises(SourceError, match=r"^part-5\.csv lacks 'b', unlike part-1\.csv; expected the same columns"):
        parts.load(tmp_path)
    with pytest.raises(SourceError, match=r"^s3://shop/2025/\*\.csv: no object of the bucket has such a key"):
        source(type="s3", url="s3://shop/2025/*.csv").load(tmp_path)


def test_init_reads_an_object_of_s3(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Bucket="shop", Key="orders/part-1.csv", Body=b"zip;n\n02116;1,5\n02117;2,5\n")
    bucket.put_object(Bucket="shop", Key="orders/part-2.csv", Body=b"zip;n\n02116;3,5\n02117;2,5\n")
    monkeypatch.setattr(init, "DEFS", tmp_path / "defs")

    url = "s3://shop/orders/part-*.csv"
    done = CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "init", url, "--table", "orders"])

    assert done.exit_code == 0, done.output
    folder = tmp_path / "defs" / "orders"
    stated = yaml.safe_load((folder / "defs.yaml").read_text())["attributes"]
    assert stated["source"] == {"type": "s3", "url": url}
    assert [column.type for column in SchemaLock.read(folder).columns] == ["categorical", "float"]
    assert "4 rows, 2 columns." in done.stderr


def test_packed_objects_of_a_pattern_are_read(bucket: Any, tmp_path: Path) -> None:
    for i, packed in enumerate(PACKED):
        bucket.put_object(Bucket="shop", Key=f"packed/part-{i}", Body=packed)

    loaded = source(type="s3", url="s3://shop/packed/part-*").load(tmp_path)

    assert loaded.frame.to_dict("list") == {"a": ["1.5"] * len(PACKED), "b": ["x"] * len(PACKED)}
    assert isinstance(loaded.dialect, Dialect)
    assert loaded.dialect.delimiter == ";"
    assert list(tmp_path.iterdir()) == []


# Web servers


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *_: Any) -> None:
            pass

        def send_header(self, keyword: str, value: str) -> None:
            if not (keyword == "Last-Modified" and "unstated" in self.path):
                super().send_header(keyword, value)

    (tmp_path / "served").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("name", "prefix"), [("orders.csv", "modified:"), ("unstated.csv", "sha256:")])
def test_a_file_of_a_web_server_is_fetched(tmp_path: Path, web_server: str, name: str, prefix: str) -> None:
    (tmp_path / "served" / name).write_text("zip,n\n02116,1\n")
    orders = source(type="url", url=f"{web_server}/{name}?token=secret")

    loaded = orders.load(tmp_path)

    assert loaded.frame.to_dict("list") == {"zip": ["02116"], "n": ["1"]}
    assert loaded.label == f"{web_server}/{name}"
    assert orders.fingerprint(tmp_path) == loaded.fingerprint
    assert loaded.fingerprint.startswith(prefix)


@pytest.mark.parametrize(
    ("name", "packed"), list(zip(PACKED_NAMES, PACKED, strict=True)), ids=PACKED_NAMES
)  # bytes would be part of the test's name, and gzip's have the time
def test_a_packed_file_of_a_web_server_is_read(tmp_path: Path, web_server: str, name: str, packed: bytes) -> None:
    (tmp_path / "served" / name).write_bytes(packed)

    loaded = source(type="url", url=f"{web_server}/{name}").load(tmp_path)

    assert loaded.frame.to_dict("list") == {"a": ["1.5"], "b": ["x"]}
    assert loaded.label == f"{web_server}/{name}"


def test_an_archive_of_a_web_server_is_refused_by_its_address(tmp_path: Path, web_server: str) -> None:
    (tmp_path / "served" / "two.zip").write_bytes(zipped(a=TEXT, b=TEXT))
    (tmp_path / "served" / "cut.csv.xz").write_bytes(lzma.compress(TEXT)[:-9])

    for name, message in (("two.zip", "contains 2 files: 'a', 'b'"), ("cut.csv.xz", "cannot be unpacked: ")):
        with pytest.raises(SourceError) as caught:
            source(type="url", url=f"{web_server}/{name}").load(tmp_path)
        assert str(caught.value).startswith(f"{web_server}/{name} {message}")


def test_what_is_missing_or_a_web_page_is_an_error_without_the_token(tmp_path: Path, web_server: str) -> None:
    (tmp_path / "served" / "login.csv").write_text("<!DOCTYPE html><html></html>")

    for name, message in (("gone.csv", "cannot be fetched: HTTP 404 "), ("login.csv", "is a web page")):
        with pytest.raises(SourceError, match=message) as caught:
            source(type="url", url=f"{web_server}/{name}?token=secret").load(tmp_path)
        assert str(caught.value).startswith(f"{web_server}/{name} ")
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "url"),
    [("s3", "shop/key"), ("s3", "s3://shop"), ("url", "ftp://host/a.csv"), ("url", "https://me:pw@host/a.csv")],
)
def test_another_address_is_refused(type_: str, url: str) -> None:
    with pytest.raises(ValidationError, match="expected "):
        source(type=type_, url=url)
