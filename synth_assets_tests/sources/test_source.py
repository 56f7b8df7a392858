"""Tests of where rows come from. Nothing here reaches a network."""

import gzip
import http.client
import io
import logging
import socket
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import Request

import pandas as pd
import pytest

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.table import content_hash
from synth_assets.sources import source as sources
from synth_assets.sources.source import LoadedTable, Source, SourceError
from synth_assets_tests.services.openml import fill_openml_cache

# What scikit-learn says before it asks again.
pytestmark = pytest.mark.filterwarnings("ignore:A network error occurred", "ignore:Invalid cache, redownloading")

URLOPEN = "sklearn.datasets._openml.urlopen"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenML must not be asked, unless a test says how it answers; retries do not wait."""
    monkeypatch.setattr(URLOPEN, lambda request: pytest.fail(f"asked for {request.full_url}"))
    monkeypatch.setattr(sources, "urlopen", _unreachable)
    monkeypatch.setattr("sklearn.datasets._openml.time", SimpleNamespace(sleep=lambda _: None))


def _unreachable(*_: object, **__: object) -> None:
    raise URLError("no route to openml")


@pytest.fixture(autouse=True)
def _timeout_is_put_back() -> Iterator[None]:
    """Whatever happens to one load, the process keeps its own limit for every other connection."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(99.0)
    yield
    after = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before)
    assert after == 99.0


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Source]:
    """Make a source in an empty data folder, which knows of every kind."""

    def make(use: Literal["auto", "file", "openml", "placeholder"] = "auto", **settings: object) -> Source:
        known = {
            "csv": "abalone.csv",
            "csv_variable": "ABALONE_CSV",
            "openml_name": "abalone",
            "placeholder": "drawn.csv",
        }
        return Source(use=use, data_dir=tmp_path, **(known | settings))

    return make


@pytest.fixture(scope="module")
def rows(placeholder_csv: Path) -> pd.DataFrame:
    """Give a few rows in the abalone table's columns."""
    return pd.read_csv(placeholder_csv).head(20)


def _answer(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_: Request) -> None:
        raise error

    monkeypatch.setattr(URLOPEN, fail)


# The order of 'auto'


def _put_everything(data_dir: Path, rows: pd.DataFrame) -> Path:
    """Fill every source, each with another number of rows; give the file for the environment variable."""
    elsewhere = data_dir / "elsewhere" / "mine.csv"
    elsewhere.parent.mkdir()
    rows.head(4).to_csv(elsewhere, index=False)
    rows.head(5).to_csv(data_dir / "abalone.csv", index=False)
    fill_openml_cache(data_dir / "openml", rows.head(6))
    rows.head(7).to_csv(data_dir / "drawn.csv", index=False)
    return elsewhere


def _found(loaded: LoadedTable) -> tuple[str, str, int]:
    return loaded.kind, loaded.origin, len(loaded.frame)


def test_auto_takes_the_named_file_then_the_data_folders_then_openml_then_the_placeholder(
    tmp_path: Path,
    source: Callable[..., Source],
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auto = source("auto")

    monkeypatch.setenv("ABALONE_CSV", str(_put_everything(tmp_path, rows)))
    assert _found(auto.load()) == ("file", "mine.csv", 4)

    monkeypatch.delenv("ABALONE_CSV")
    assert _found(auto.load()) == ("file", "abalone.csv", 5)

    (tmp_path / "abalone.csv").unlink()
    assert _found(auto.load()) == ("openml", "openml.org abalone v1", 6)
    assert not _warnings(caplog)

    (tmp_path / "openml").rename(tmp_path / "no more")
    _answer(monkeypatch, URLError("no route to host"))
    assert _found(auto.load()) == ("placeholder", "drawn.csv", 7)
    (warning,) = _warnings(caplog)
    assert "OpenML data set 'abalone', version 1 cannot be reached" in warning
    assert "no route to host" in warning


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == sources.__name__ and r.levelno >= logging.WARNING]


def test_each_kind_can_be_asked_for_whatever_else_there_is(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = _put_everything(tmp_path, rows)

    assert _found(source("file").load()) == ("file", "abalone.csv", 5)
    assert _found(source("openml").load()) == ("openml", "openml.org abalone v1", 6)
    assert _found(source("placeholder").load()) == ("placeholder", "drawn.csv", 7)

    monkeypatch.setenv("ABALONE_CSV", str(mine))
    assert _found(source("file").load()) == ("file", "mine.csv", 4)
    assert _found(source("openml").load()) == ("openml", "openml.org abalone v1", 6)
    assert _found(source("placeholder").load()) == ("placeholder", "drawn.csv", 7)


def test_without_an_openml_name_auto_goes_on_to_the_placeholder(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame
) -> None:
    rows.to_csv(tmp_path / "drawn.csv", index=False)

    assert source("auto", openml_name=None).load().kind == "placeholder"


def test_an_empty_variable_names_no_file(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.to_csv(tmp_path / "abalone.csv", index=False)
    monkeypatch.setenv("ABALONE_CSV", "")

    assert source("auto").load().origin == "abalone.csv"


def test_the_label_warns_of_the_placeholder() -> None:
    frame = pd.DataFrame()

    assert LoadedTable(frame, "file", "abalone.csv", "").label == "file abalone.csv"
    assert LoadedTable(frame, "openml", "openml.org abalone v1", "").label == "openml.org abalone v1"
    assert LoadedTable(frame, "placeholder", "drawn.csv", "").label == "PLACEHOLDER drawn.csv, not real data"


# Files


@pytest.mark.parametrize("use", ["auto", "file"])
def test_a_named_file_that_is_missing_is_an_error(
    tmp_path: Path,
    source: Callable[..., Source],
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    use: Literal["auto", "file"],
) -> None:
    _put_everything(tmp_path, rows)
    monkeypatch.setenv("ABALONE_CSV", str(tmp_path / "typo.csv"))

    with pytest.raises(SourceError) as caught:
        source(use).load()

    message = str(caught.value)
    assert message.startswith(f"ABALONE_CSV={tmp_path / 'typo.csv'}: there is no file {tmp_path / 'typo.csv'}.")
    assert "set ABALONE_CSV to where it is" in message


def test_a_file_asked_for_and_missing_is_an_error(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame
) -> None:
    _put_everything(tmp_path, rows)
    (tmp_path / "abalone.csv").unlink()

    with pytest.raises(SourceError, match=r"^abalone\.csv in the data folder: there is no file "):
        source("file").load()


def test_a_folder_is_no_file(tmp_path: Path, source: Callable[..., Source], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABALONE_CSV", str(tmp_path))

    with pytest.raises(SourceError, match="there is no file"):
        source("auto").load()


def test_the_variable_may_be_relative_or_start_at_home(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    rows.head(3).to_csv(tmp_path / "here" / "mine.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for named in ("here/mine.csv", "~/here/mine.csv"):
        monkeypatch.setenv("ABALONE_CSV", named)
        assert _found(source("auto").load()) == ("file", "mine.csv", 3)


@pytest.mark.parametrize("content", [b"", b"\n\n"], ids=["no byte", "blank lines"])
def test_an_empty_file_is_an_error(tmp_path: Path, source: Callable[..., Source], content: bytes) -> None:
    (tmp_path / "abalone.csv").write_bytes(content)

    with pytest.raises(SourceError, match=r"abalone\.csv is empty; expected a header and at least one row"):
        source("auto").load()


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\xff\xfe",
        "Sex,Länge\nM,1\n".encode("latin-1"),
        "Sex,Length\nM,1\n".encode("utf-16"),
        b"Sex,Length\nM,1\nM,1,2,3\n",
        b'Sex,Length\n"M,1\n',
    ],
    ids=["picture", "Latin-1", "UTF-16", "ragged rows", "open quote"],
)
def test_a_file_that_is_no_csv_in_utf8_is_an_error(
    tmp_path: Path, source: Callable[..., Source], content: bytes
) -> None:
    (tmp_path / "abalone.csv").write_bytes(content)

    with pytest.raises(SourceError, match=r"abalone\.csv is no CSV table in UTF-8: (?s:.)*\. Save it again as one\."):
        source("auto").load()


def test_a_byte_order_mark_is_no_part_of_a_name(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame
) -> None:
    rows.to_csv(tmp_path / "abalone.csv", index=False, encoding="utf-8-sig")

    assert list(source("auto").load().frame) == list(rows)


def test_a_header_without_rows_is_left_to_the_schema(tmp_path: Path, source: Callable[..., Source]) -> None:
    (tmp_path / "abalone.csv").write_text("Sex,Length\n")

    assert source("auto").load().frame.shape == (0, 2)


def test_values_never_move_to_another_column(tmp_path: Path, source: Callable[..., Source]) -> None:
    """Lines that end in a comma must be an error, or be read under their own names."""
    (tmp_path / "abalone.csv").write_text("Sex,Length\nM,0.5,\nF,0.7,\n")

    try:
        frame = source("auto").load().frame
    except SourceError:
        return
    assert frame["Sex"].tolist() == ["M", "F"]
    assert frame["Length"].tolist() == [0.5, 0.7]


# OpenML


@pytest.mark.parametrize("quoted", [True, False])
def test_openml_gives_the_same_table_as_a_file(
    tmp_path: Path,
    abalone_csv: Path,
    abalone: SyntheticTableSettings,
    monkeypatch: pytest.MonkeyPatch,
    quoted: bool,
) -> None:
    schema, source = abalone.table_schema(), abalone.source_in(tmp_path)
    fill_openml_cache(tmp_path / "openml", pd.read_csv(abalone_csv), quoted=quoted)

    openml = source.load()
    monkeypatch.setenv(abalone.csv_variable, str(abalone_csv))
    file = source.load()

    assert (openml.kind, file.kind) == ("openml", "file")
    assert isinstance(openml.frame["Class_number_of_rings"].dtype, pd.CategoricalDtype)  # as OpenML has it
    conformed = [schema.coerce(loaded.frame, origin=loaded.label) for loaded in (openml, file)]
    assert len(conformed[0]) == 4177
    pd.testing.assert_frame_equal(*conformed, check_exact=True)
    assert content_hash(conformed[0]) == content_hash(conformed[1])


def test_openml_gives_missing_values_as_missing(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, abalone: SyntheticTableSettings
) -> None:
    rows = rows.copy()
    rows.loc[2, ["Sex", "Length"]] = None
    fill_openml_cache(tmp_path / "openml", rows)

    raw = abalone.table_schema().coerce(source("openml").load().frame, origin="OpenML")

    assert raw.isna().sum().to_dict() == dict.fromkeys(raw, 0) | {"Sex": 1, "Length": 1}
    assert raw.loc[2, ["Sex", "Length"]].isna().all()


def test_openml_is_asked_once_and_not_for_ever(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_openml_cache(tmp_path / "far away", rows)
    asked: list[float | None] = []

    class Answer(io.BytesIO):
        def info(self) -> dict[str, str]:
            return {"Content-Encoding": "gzip"}

    def urlopen(request: Request) -> Answer:
        asked.append(socket.getdefaulttimeout())
        path = urlparse(request.full_url).path.lstrip("/")
        return Answer((tmp_path / "far away" / "openml" / "openml.org" / f"{path}.gz").read_bytes())

    monkeypatch.setattr(URLOPEN, urlopen)
    first = source("openml").load()
    assert asked == [sources.OPENML_TIMEOUT_S] * 5

    monkeypatch.setattr(URLOPEN, lambda request: pytest.fail(f"asked again for {request.full_url}"))
    second = source("openml").load()

    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert first.frame["Length"].tolist() == rows["Length"].tolist()


def _http_error(code: int) -> HTTPError:
    return HTTPError("https://www.openml.org", code, "made up", Message(), io.BytesIO())


_UNREACHABLE = [
    pytest.param(URLError("no route to host"), id="no route"),
    pytest.param(URLError(socket.gaierror("Name or service not known")), id="no name"),
    pytest.param(TimeoutError("timed out"), id="silence"),
    pytest.param(ConnectionResetError("reset by peer"), id="reset"),
    pytest.param(_http_error(503), id="out of service"),
    pytest.param(http.client.BadStatusLine("SSH-2.0"), id="no HTTP"),
    pytest.param(http.client.IncompleteRead(b"{"), id="broken off"),
]


@pytest.mark.parametrize("error", _UNREACHABLE)
def test_openml_asked_for_and_out_of_reach_is_an_error(
    tmp_path: Path,
    source: Callable[..., Source],
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    rows.to_csv(tmp_path / "drawn.csv", index=False)
    _answer(monkeypatch, error)

    with pytest.raises(SourceError) as caught:
        source("openml").load()

    message = str(caught.value)
    assert message.startswith(f"OpenML data set 'abalone', version 1 cannot be reached ({error})")
    assert str(tmp_path / "abalone.csv") in message
    assert "ABALONE_CSV" in message


@pytest.mark.parametrize("error", _UNREACHABLE)
def test_with_openml_out_of_reach_auto_takes_the_placeholder(
    tmp_path: Path,
    source: Callable[..., Source],
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    rows.to_csv(tmp_path / "drawn.csv", index=False)
    _answer(monkeypatch, error)

    assert _found(source("auto").load()) == ("placeholder", "drawn.csv", 20)


def test_without_a_placeholder_auto_says_that_openml_is_out_of_reach(
    source: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, URLError("no route to host"))

    with pytest.raises(SourceError, match="version 1 cannot be reached"):
        source("auto", placeholder=None).load()


def test_a_data_set_that_openml_does_not_have_is_an_error(
    source: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, _http_error(412))  # OpenML's own way of saying so

    with pytest.raises(SourceError, match=r"'ablone', version 7 cannot be read .*Check the name and the version"):
        source("openml", openml_name="ablone", openml_version=7).load()


@pytest.mark.parametrize(
    ("use", "unnamed", "key"), [("openml", "openml_name", "openml.name"), ("placeholder", "placeholder", "placeholder")]
)
def test_a_source_asked_for_and_not_named_is_an_error(
    source: Callable[..., Source], use: Literal["openml", "placeholder"], unnamed: str, key: str
) -> None:
    with pytest.raises(SourceError, match=rf"^source is '{use}', but defs\.yaml names no .* under {key}\.$"):
        source(use, **{unnamed: None}).load()


def test_a_placeholder_that_is_gone_is_an_error(tmp_path: Path, source: Callable[..., Source]) -> None:
    with pytest.raises(SourceError, match=r"the placeholder table .*drawn\.csv is missing"):
        source("placeholder").load()


# The fingerprint


def _states_from(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let OpenML answer with what is in a cache; give what it is asked for."""
    asked: list[str] = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        assert timeout == sources.OPENML_TIMEOUT_S
        path = urlparse(address).path.lstrip("/")
        asked.append(path)
        return io.BytesIO(gzip.decompress((cache / "openml" / "openml.org" / f"{path}.gz").read_bytes()))

    monkeypatch.setattr(sources, "urlopen", urlopen)
    return asked


@pytest.mark.parametrize("use", ["auto", "file", "placeholder"])
def test_a_files_fingerprint_is_that_of_what_is_loaded_and_changes_with_it(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, use: Literal["auto", "file", "placeholder"]
) -> None:
    path = tmp_path / ("drawn.csv" if use == "placeholder" else "abalone.csv")
    rows.to_csv(path, index=False)
    first = source(use).fingerprint()
    assert source(use).load().fingerprint == first == source(use).fingerprint()
    rows.head(19).to_csv(path, index=False)
    assert source(use).fingerprint() == source(use).load().fingerprint != first


def test_openmls_fingerprint_takes_two_small_answers(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_openml_cache(tmp_path / "far away", rows)
    asked = _states_from(tmp_path / "far away", monkeypatch)
    found = source("openml").fingerprint()
    assert len(asked) == 2
    assert not any("download" in path for path in asked)
    fill_openml_cache(tmp_path / "openml", rows)
    assert source("openml").load().fingerprint == found


def test_openml_out_of_reach_is_no_change(tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame) -> None:
    rows.to_csv(tmp_path / "drawn.csv", index=False)
    fill_openml_cache(tmp_path / "openml", rows.head(6))
    with pytest.raises(SourceError, match="cannot be reached"):
        source("auto").fingerprint()
    assert len(source("auto").load().frame) == 6  # and what is cached is loaded as ever


def test_rows_that_changed_on_openml_are_fetched_anew(
    tmp_path: Path, source: Callable[..., Source], rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_openml_cache(tmp_path / "openml", rows.head(6))
    fill_openml_cache(tmp_path / "far away", rows.head(8))
    _states_from(tmp_path / "far away", monkeypatch)

    def fetch(request: Request) -> io.BytesIO:
        path = urlparse(request.full_url).path.lstrip("/")
        answer = io.BytesIO((tmp_path / "far away" / "openml" / "openml.org" / f"{path}.gz").read_bytes())
        answer.info = lambda: {"Content-Encoding": "gzip"}  # type: ignore[attr-defined]
        return answer

    monkeypatch.setattr(URLOPEN, fetch)
    loaded = source("openml").load()
    assert len(loaded.frame) == 8
    assert loaded.fingerprint == source("openml").fingerprint()
    monkeypatch.setattr(URLOPEN, lambda request: pytest.fail(f"asked again for {request.full_url}"))
    assert len(source("openml").load().frame) == 8
