"""What consumers get: the current publication, as they ask for it."""

import datetime as dt
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import synth_assets
from synth_assets import connect, read_table
from synth_assets.publishing import client
from synth_assets.publishing.client import ReadError, parse_condition
from synth_assets.publishing.publications import PublicationError
from synth_assets.publishing.publisher import Publisher
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, WEDNESDAY, spec, write, write_sample

ODD = 'x"; drop table y; --'


@pytest.fixture
def data(toy: Publisher) -> Path:
    return toy.paths.root


@pytest.fixture
def published(toy: Publisher, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """Let the environment name the data folder."""
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(toy.paths.root))
    return toy


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, synth_assets\n"
        "assert 'connect' in synth_assets.__all__\n"
        "loaded = {'synth_assets.publishing.client', 'duckdb', 'pandas', 'dagster', 'torch'} & set(sys.modules)\n"
        "from synth_assets import connect, read_table\n"
        "print(sorted(loaded), sorted({'duckdb', 'pandas', 'dagster', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
    assert all(hasattr(synth_assets, name) for name in synth_assets.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = synth_assets.nothing


def test_a_connection_reads_and_does_not_write(published: Publisher) -> None:
    with connect() as connection:
        assert connection.sql("FROM toy.synthetic_latest").fetchall()[0][1] == 4
        assert connection.sql("FROM synthetic_latest").fetchall()[0][1] == 4
        assert len(connection.sql("SELECT DISTINCT publication FROM publication").fetchall()) == 1
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("CREATE TABLE toy.mine AS SELECT 1")


def test_a_new_connection_is_never_a_stale_one(published: Publisher) -> None:
    with connect() as old:
        for number in range(3):
            write(published.warehouse, "raw", [number])
            published.publish(spec())
            with connect() as new:
                assert new.sql("SELECT x FROM toy.raw").fetchall() == [(number,)]
            assert read_table("toy.raw")["x"].tolist() == [number]
        assert old.sql("SELECT x FROM toy.raw").fetchall() == [("old",)]


@pytest.mark.parametrize("as_", ["pandas", "arrow"])
def test_a_table_is_read_in_each_library(data: Path, as_: client.Library) -> None:
    def values(name: str, **options: object) -> list[object]:
        found = read_table(name, as_=as_, data=data, **options)  # type: ignore[arg-type]
        assert isinstance(found, pd.DataFrame if as_ == "pandas" else pa.Table)
        return list(found["x"].to_numpy())

    assert values("toy") == values("toy.synthetic_latest") == [4, 3]
    assert values("toy", date=MONDAY) == values("toy.synthetic_sample", date=dt.date(2026, 1, 5)) == [1, 2]
    assert values("toy", date=dt.datetime(2026, 1, 6, 12, tzinfo=dt.UTC)) == [4, 3]
    assert values("toy.synthetic_all") == [1, 2, 4, 3]
    assert values("toy.synthetic_all", where="x > 1 OR x = 0 -- not the first") == [2, 4, 3]
    assert values("toy.synthetic_all", where="x > 1 OR x = 1", date=MONDAY) == [1, 2]
    assert values("toy", where="x > 99") == []
    assert list(read_table("publication", data=data)["table_schema"].unique()) == ["toy"]


def test_polars_gives_its_own_or_says_how_to_get_it(data: Path) -> None:
    try:
        import polars
    except ImportError:
        with pytest.raises(ReadError, match="as_='polars' needs polars: `pip install polars`"):
            read_table("toy", as_="polars", data=data)
    else:
        frame = read_table("toy", as_="polars", data=data)
        assert isinstance(frame, polars.DataFrame)
        assert frame["x"].to_list() == [4, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "nothing"},
            "there is no published table 'nothing'; there are toy, main.publication, toy.fid",
        ),
        ({"name": ODD}, "there is no published table"),
        ({"name": "toy", "date": "2026-02-30"}, "date is '2026-02-30'; expected a date as 'YYYY-MM-DD'"),
        ({"name": "toy", "date": WEDNESDAY}, f"has no rows of {WEDNESDAY}; it has rows of {MONDAY}, {TUESDAY}"),
        ({"name": "toy.raw", "date": MONDAY}, r"toy\.raw has no resample date"),
        ({"name": "toy", "where": "y > 1"}, 'toy cannot be read as requested: Binder Error: .*"y" not found'),
        ({"name": "toy", "where": "x >"}, "toy cannot be read as requested: Parser Error"),
        ({"name": "toy", "as_": "excel"}, "as_ is 'excel'; expected one of pandas, arrow, polars"),
    ],
)
def test_what_cannot_be_read_is_refused(data: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ReadError, match=message):
        read_table(**options, data=data)  # type: ignore[arg-type]


def test_names_may_be_anything(toy: Publisher, data: Path) -> None:
    write_sample(toy.warehouse, MONDAY, [5], namespace=ODD)
    toy.publish(spec(ODD))
    assert read_table(ODD, data=data)["x"].tolist() == [5]
    assert read_table(f"{ODD}.fidelity", date=MONDAY, data=data)["x"].tolist() == [5]
    assert read_table("toy", data=data)["x"].tolist() == [4, 3]


def test_where_nothing_is_published_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(PublicationError, match="nothing is published"):
        connect(tmp_path)


def test_a_file_that_cannot_be_opened_is_named(toy: Publisher, data: Path) -> None:
    toy.publications.current().file.write_text("no database")
    with pytest.raises(PublicationError, match=r"cannot be opened \(.*`synth-assets verify`"):
        connect(data)


def test_a_publication_that_goes_while_it_is_opened_is_no_error(
    toy: Publisher, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced, and removed, between the moment that its path is known and the moment that it is opened."""
    write(toy.warehouse, "raw", ["new"])
    connect_to, replaced = duckdb.connect, threading.Event()

    def late(path: str, **options: object) -> duckdb.DuckDBPyConnection:
        if "publications" in path and not replaced.is_set():
            replaced.set()
            monkeypatch.setattr("duckdb.connect", connect_to)
            Publisher(toy.paths, warehouse=toy.warehouse, keep=1, grace_hours=0).publish(spec())
            assert not Path(path).exists()
        return connect_to(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("duckdb.connect", late)
    assert read_table("toy.raw", data=data)["x"].tolist() == ["new"]
    assert replaced.is_set()


@pytest.mark.parametrize(
    ("condition", "parsed"),
    [
        ("Rings >= 15", ("Rings", ">= 15")),
        ("Sex=='I'", ("Sex", "=='I'")),
        ("Sex = 'I'", ("Sex", "= 'I'")),
        ("Whole weight != -1", ("Whole weight", "!= -1")),
        (f"{ODD} < 3", (ODD, "< 3")),
        ("Whole weight is  NOT null", ("Whole weight", "is  NOT null")),
        ("Whole weight not in (1, 2)", ("Whole weight", "not in (1, 2)")),
        ("Rings between 3 and 5", ("Rings", "between 3 and 5")),
    ],
)
def test_a_condition_is_a_column_and_what_it_has_to_be(condition: str, parsed: tuple[str, str]) -> None:
    assert parse_condition(condition) == parsed


@pytest.mark.parametrize(
    ("condition", "parsed"),
    [
        ("a < b >= 3", ("a < b", ">= 3")),
        ("a < 3", ("a", "< 3")),
        ("x = y is null", ("x = y", "is null")),
        ("x = y in (3)", ("x = y", "in (3)")),
        ("what is this == 'a is b'", ("what is this", "== 'a is b'")),
        ('"a < b" is not null', ("a < b", "is not null")),
    ],
)
def test_the_longest_known_column_is_the_one_that_is_meant(condition: str, parsed: tuple[str, str]) -> None:
    assert parse_condition(condition, ["a", "a < b", "x = y", "what is this"]) == parsed


@pytest.mark.parametrize("condition", ["", "Rings", ">= 15", "Rings >=", "  == 3", "Rings in 3", "between 3 and 4"])
def test_what_is_no_condition_is_refused(condition: str) -> None:
    with pytest.raises(ReadError, match="is not a condition; expected a column, then one of"):
        parse_condition(condition)
