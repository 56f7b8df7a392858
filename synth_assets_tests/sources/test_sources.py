"""The choice of a source, and OpenML. Nothing here reaches a network."""

import http.client
import io
import logging
import socket
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.table import content_hash
from synth_assets.sources import AnySource, LoadedTable, Source, SourceError
from synth_assets_tests.services.openml import answer_from, fill_openml_cache

# What scikit-learn says before it asks again.
pytestmark = pytest.mark.filterwarnings("ignore:A network error occurred", "ignore:Invalid cache, redownloading")

OPENML = {"type": "openml", "name": "abalone"}
FILE = {"type": "file", "path": "abalone.csv", "variable": "ABALONE_CSV"}
PLACEHOLDER = {"type": "placeholder", "path": "drawn.csv"}
AUTO = FILE | {"type": "auto", "openml": {"name": "abalone"}, "placeholder": "drawn.csv"}


def source(stated: dict[str, Any], **changes: Any) -> Source:
    return TypeAdapter(AnySource).validate_python(stated | changes)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, URLError("no route to host"))
    monkeypatch.setattr("sklearn.datasets._openml.time", SimpleNamespace(sleep=lambda _: None))


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def urlopen(*_: object, **__: object) -> None:
        raise error

    for module in ("sklearn.datasets._openml", "synth_assets.sources.openml"):
        monkeypatch.setattr(f"{module}.urlopen", urlopen)


@pytest.fixture(scope="module")
def rows(placeholder_csv: Path) -> pd.DataFrame:
    """Return a few rows in the abalone table's columns."""
    return pd.read_csv(placeholder_csv).head(20)


def found(loaded: LoadedTable) -> tuple[str, str, int]:
    return loaded.kind, loaded.origin, len(loaded.frame)


# The choice of a source


def test_auto_takes_the_named_file_then_the_data_folders_then_openml_then_the_placeholder(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, auto = tmp_path / "data", source(AUTO)
    data.mkdir()
    rows.head(4).to_csv(tmp_path / "mine.csv", index=False)
    rows.head(5).to_csv(data / "abalone.csv", index=False)
    fill_openml_cache(tmp_path / "openml", rows.head(6))
    rows.head(7).to_csv(data / "drawn.csv", index=False)
    answer_from(tmp_path / "openml", monkeypatch)

    monkeypatch.setenv("ABALONE_CSV", str(tmp_path / "mine.csv"))
    assert found(auto.load(data)) == ("file", "mine.csv", 4)
    monkeypatch.setenv("ABALONE_CSV", "")
    assert found(auto.load(data)) == ("file", "abalone.csv", 5)
    (data / "abalone.csv").unlink()
    assert found(auto.load(data)) == ("openml", "openml.org abalone v1", 6)
    assert found(source(AUTO, openml=None).load(data)) == ("placeholder", "drawn.csv", 7)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    (data / "openml").rename(tmp_path / "gone")
    fail(monkeypatch, URLError("no route to host"))
    assert found(auto.load(data)) == ("placeholder", "drawn.csv", 7)
    assert auto.load(data).label == "PLACEHOLDER drawn.csv, not real data"
    assert "'abalone', version 1 cannot be reached" in caplog.text
    with pytest.raises(SourceError, match="version 1 cannot be reached"):
        source(AUTO, placeholder=None).load(data)


def test_auto_reads_its_file_in_the_stated_dialect(tmp_path: Path) -> None:
    (tmp_path / "abalone.csv").write_text("a|b;c\n1,5|2,5;3\n")

    loaded = source(AUTO, dialect={"delimiter": ";", "decimal": "."}).load(tmp_path)

    assert list(loaded.frame) == ["a|b", "c"]
    assert loaded.dialect is not None
    assert loaded.dialect.delimiter == ";"


@pytest.mark.parametrize("stated", [FILE, AUTO])
def test_a_file_that_the_variable_names_must_exist(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, stated: dict[str, Any]
) -> None:
    rows.to_csv(tmp_path / "abalone.csv", index=False)
    rows.to_csv(tmp_path / "drawn.csv", index=False)
    monkeypatch.setenv("ABALONE_CSV", str(tmp_path / "typo.csv"))

    with pytest.raises(SourceError) as caught:
        source(stated).load(tmp_path)

    message = str(caught.value)
    assert message.startswith(f"ABALONE_CSV={tmp_path / 'typo.csv'}: there is no file {tmp_path / 'typo.csv'}.")
    assert message.endswith("or set ABALONE_CSV to its path.")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (FILE, r"^abalone\.csv in the data folder: there is no file "),
        (FILE | {"type": "auto"}, r"^abalone\.csv in the data folder: there is no file "),
        (PLACEHOLDER, r"^the placeholder .*drawn\.csv is missing"),
    ],
)
def test_a_source_that_is_missing_is_an_error(tmp_path: Path, stated: dict[str, Any], message: str) -> None:
    for method in (source(stated).load, source(stated).fingerprint):
        with pytest.raises(SourceError, match=message):
            method(tmp_path)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../abalone.csv", "a/../../b.csv"])
def test_a_path_stays_inside_the_data_folder(path: str) -> None:
    for stated in (FILE | {"path": path}, PLACEHOLDER | {"path": path}, AUTO | {"path": path}):
        with pytest.raises(ValidationError, match="expected a path inside the data folder"):
            source(stated)


def test_the_variable_may_be_relative_or_begin_at_home(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.head(3).to_csv(tmp_path / "mine.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for named in ("mine.csv", "~/mine.csv"):
        monkeypatch.setenv("ABALONE_CSV", named)
        assert found(source(FILE).load(tmp_path / "elsewhere")) == ("file", "mine.csv", 3)


# OpenML


@pytest.mark.parametrize("quoted", [True, False])
def test_openml_returns_the_same_table_as_a_file(
    tmp_path: Path,
    abalone_csv: Path,
    abalone: SyntheticTableSettings,
    monkeypatch: pytest.MonkeyPatch,
    quoted: bool,
) -> None:
    fill_openml_cache(tmp_path / "openml", pd.read_csv(abalone_csv), quoted=quoted)
    answer_from(tmp_path / "openml", monkeypatch)

    openml = abalone.source.load(tmp_path / "data")
    monkeypatch.setenv("ABALONE_CSV", str(abalone_csv))
    file = abalone.source.load(tmp_path / "data")

    assert (openml.kind, file.kind) == ("openml", "file")
    assert isinstance(openml.frame["Class_number_of_rings"].dtype, pd.CategoricalDtype)  # as OpenML has it
    schema = abalone.table_schema()
    coerced = [schema.coerce(loaded.frame, origin=loaded.label) for loaded in (openml, file)]
    pd.testing.assert_frame_equal(*coerced, check_exact=True)
    assert content_hash(coerced[0]) == content_hash(coerced[1])


def test_openml_returns_missing_values_as_missing(
    tmp_path: Path, rows: pd.DataFrame, abalone: SyntheticTableSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows.copy()
    rows.loc[2, ["Sex", "Length"]] = None
    fill_openml_cache(tmp_path / "openml", rows)
    answer_from(tmp_path / "openml", monkeypatch)

    raw = abalone.table_schema().coerce(source(OPENML).load(tmp_path).frame, origin="OpenML")

    assert raw.isna().sum().to_dict() == dict.fromkeys(raw, 0) | {"Sex": 1, "Length": 1}


def test_openml_is_fetched_once_a_state_and_the_newest_state_serves_without_network(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    for state in (6, 8):
        fill_openml_cache(tmp_path / str(state), rows.head(state))
    data, fetched = tmp_path / "data", []
    for state in (6, 8, 8, 6):  # it changes, stays, and changes back
        requested = answer_from(tmp_path / str(state), monkeypatch)
        loaded = source(OPENML).load(data)
        assert len(loaded.frame) == state
        fetched.append(any("download" in path for path in requested))
        assert loaded.fingerprint == source(OPENML).fingerprint(data)
    assert fetched == [True, True, False, False]

    fail(monkeypatch, URLError("no route to host"))
    assert len(source(OPENML).load(data).frame) == 6
    with pytest.raises(SourceError, match="cannot be reached"):
        source(AUTO).fingerprint(data)  # unreachable is not a change


def test_openmls_fingerprint_takes_two_small_requests(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_openml_cache(tmp_path / "openml", rows)
    requested = answer_from(tmp_path / "openml", monkeypatch)

    source(OPENML).fingerprint(tmp_path)

    assert len(requested) == 2
    assert not any("download" in path for path in requested)


def _http_error(code: int) -> HTTPError:
    return HTTPError("https://www.openml.org", code, "made up", Message(), io.BytesIO())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (URLError(socket.gaierror("Name or service not known")), "cannot be reached .*Check the network"),
        (TimeoutError("timed out"), "cannot be reached"),
        (_http_error(503), "cannot be reached"),
        (http.client.BadStatusLine("SSH-2.0"), "cannot be reached"),
        (_http_error(412), "version 1 does not exist. Check the name and the version"),  # OpenML's own way to say so
        (ValueError("no JSON"), "cannot be read"),
    ],
)
def test_a_failure_of_openml_is_an_error_or_leads_on_to_the_placeholder(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    rows.to_csv(tmp_path / "drawn.csv", index=False)
    fail(monkeypatch, error)
    before = socket.getdefaulttimeout()

    with pytest.raises(SourceError, match=message):
        source(OPENML).load(tmp_path)
    assert found(source(AUTO).load(tmp_path)) == ("placeholder", "drawn.csv", 20)
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize("stated", [FILE, AUTO, PLACEHOLDER])
def test_a_files_fingerprint_changes_with_the_file(tmp_path: Path, rows: pd.DataFrame, stated: dict[str, Any]) -> None:
    path = tmp_path / ("drawn.csv" if stated is PLACEHOLDER else "abalone.csv")
    rows.to_csv(path, index=False)
    first = source(stated).fingerprint(tmp_path)
    assert source(stated).load(tmp_path).fingerprint == first == source(stated).fingerprint(tmp_path)
    rows.head(19).to_csv(path, index=False)
    assert source(stated).fingerprint(tmp_path) == source(stated).load(tmp_path).fingerprint != first
