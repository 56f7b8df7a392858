"""Tables and queries of databases: files, and servers from Debian's packages."""

import datetime
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from synth_assets.sources import AnySource, Source, SourceError
from synth_assets_tests.services.databases import Server, mariadb_server, postgresql_server


def source(**stated: Any) -> Source:
    return TypeAdapter(AnySource).validate_python(stated)


# Files


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute('CREATE TABLE "my orders" (id INTEGER, zip TEXT, price REAL, note)')
        rows = [(2**60 + 1, "02116", 1.5, 5), (2, None, None, "x"), (None, "NA", 2.0, None)]
        connection.executemany('INSERT INTO "my orders" VALUES (?, ?, ?, ?)', rows)
    connection.close()
    return tmp_path / "shop.db"


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Path:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            """CREATE TABLE orders AS SELECT * FROM (VALUES
            (9007199254740993, true, DATE '2020-01-31', TIMESTAMPTZ '2020-01-31 10:00:00+00', 1.25::DECIMAL(9, 2), 'a'),
            (NULL, NULL, NULL, NULL, NULL, NULL)) AS t(id, paid, day, "at", price, kind)"""
        )
    return tmp_path / "shop.duckdb"


def test_sqlite_gives_typed_columns(sqlite_file: Path) -> None:
    loaded = source(type="sqlite", path="shop.db", table="my orders").load(sqlite_file.parent)

    assert loaded.frame["id"].tolist() == [2**60 + 1, 2, pd.NA]
    assert {name: str(dtype) for name, dtype in loaded.frame.dtypes.items()} == {
        "id": "Int64", "zip": "str", "price": "float64", "note": "str",
    }  # fmt: skip
    assert loaded.frame["zip"].isna().tolist() == [False, True, False]
    assert loaded.label == "SQLite shop.db, table my orders"


def test_duckdb_gives_typed_columns(duckdb_file: Path) -> None:
    loaded = source(type="duckdb", path="shop.duckdb", table="main.orders").load(duckdb_file.parent)

    dtypes = loaded.frame.dtypes
    assert [str(dtypes[name]) for name in ("id", "paid", "day", "price", "kind")] == [
        "Int64", "boolean", "datetime64[s]", "decimal128(9, 2)[pyarrow]", "str",
    ]  # fmt: skip
    assert loaded.frame["id"][0] == 2**53 + 1
    assert loaded.frame["at"][0] == pd.Timestamp("2020-01-31 10:00", tz="UTC")
    assert loaded.kind == "duckdb"


def test_intervals_are_time_differences_unless_they_have_months(duckdb_file: Path) -> None:
    query = """SELECT INTERVAL 90 MINUTE + i * INTERVAL 1 DAY AS stay, INTERVAL (i) MONTH + INTERVAL 1 SECOND AS term,
               CASE WHEN i = 1 THEN NULL ELSE INTERVAL 2 DAY END AS gap FROM range(2) AS r(i)"""
    frame = source(type="duckdb", path="shop.duckdb", query=query).load(duckdb_file.parent).frame

    assert frame["stay"].tolist() == [pd.Timedelta(minutes=90), pd.Timedelta(days=1, minutes=90)]
    assert frame["gap"].isna().tolist() == [False, True]
    assert frame["term"].tolist() == ["0 months 0 days 0:00:01", "1 months 0 days 0:00:01"]


@pytest.mark.parametrize(("type_", "name"), [("sqlite", "shop.db"), ("duckdb", "shop.duckdb")])
def test_a_query_keeps_its_order_and_a_limit_cuts_it(
    sqlite_file: Path, duckdb_file: Path, type_: str, name: str
) -> None:
    query = "SELECT i, '50%:x' AS t FROM (SELECT 1 AS i UNION ALL SELECT 3 UNION ALL SELECT 2) AS u ORDER BY i DESC;"

    frame = source(type=type_, path=name, query=query, limit=2).load(sqlite_file.parent).frame

    assert frame.to_dict("list") == {"i": [3, 2], "t": ["50%:x", "50%:x"]}


@pytest.mark.parametrize("stated", [{}, {"fingerprint_column": "id"}])
@pytest.mark.parametrize(
    ("type_", "name", "table"), [("sqlite", "shop.db", "my orders"), ("duckdb", "shop.duckdb", "orders")]
)
def test_a_fingerprint_changes_with_the_rows(
    sqlite_file: Path, duckdb_file: Path, type_: str, name: str, table: str, stated: dict[str, str]
) -> None:
    of_table = source(type=type_, path=name, table=table, **stated)
    before = of_table.fingerprint(sqlite_file.parent)
    assert of_table.load(sqlite_file.parent).fingerprint == before == of_table.fingerprint(sqlite_file.parent)

    insert = f'INSERT INTO "{table}" SELECT * FROM "{table}" LIMIT 1'
    if type_ == "sqlite":
        with sqlite3.connect(sqlite_file) as connection:
            connection.execute(insert)
        connection.close()
    else:
        with duckdb.connect(str(duckdb_file)) as connection:
            connection.execute(insert)

    assert of_table.fingerprint(sqlite_file.parent) == of_table.load(sqlite_file.parent).fingerprint != before


def test_a_query_on_a_duckdb_file_reads_no_other_file(duckdb_file: Path) -> None:
    (duckdb_file.parent / "secret.csv").write_text("a\n1\n")
    query = f"SELECT * FROM read_csv('{duckdb_file.parent}/secret.csv')"

    with pytest.raises(SourceError, match="disabled by configuration"):
        source(type="duckdb", path="shop.duckdb", query=query).load(duckdb_file.parent)


def test_a_duckdb_file_that_another_process_writes_is_said_so(duckdb_file: Path) -> None:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    command = [sys.executable, "-c", hold, str(duckdb_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(SourceError, match="another process has the file open for writing"):
            source(type="duckdb", path="shop.duckdb", table="orders").load(duckdb_file.parent)
        process.communicate(b"\n")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            {"type": "sqlite", "path": "shop.db", "table": "gone"},
            r"^shop\.db, table gone cannot be read: no such table",
        ),
        ({"type": "sqlite", "path": "no.db", "table": "t"}, r"^no\.db in the data folder: there is no file "),
        ({"type": "sqlite", "path": "shop.duckdb", "table": "t"}, "file is not a database"),
        ({"type": "duckdb", "path": "shop.duckdb", "table": "gone"}, "Table with name gone does not exist"),
        ({"type": "duckdb", "path": "shop.db", "table": "t"}, r"^shop\.db, table t cannot be read: "),
        ({"type": "duckdb", "path": "shop.duckdb", "query": "SELECT 1 AS a, 2 AS a"}, "has the column 'a' twice"),
    ],
)
def test_a_database_that_cannot_be_read_is_an_error(
    sqlite_file: Path, duckdb_file: Path, stated: dict[str, str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        source(**stated).load(sqlite_file.parent)


@pytest.mark.parametrize("stated", [{}, {"table": "a", "query": "SELECT 1"}])
def test_a_table_or_a_query_is_stated(stated: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="of `table` and `query`; expected one of them"):
        source(type="sqlite", path="shop.db", **stated)


# Servers


@pytest.mark.parametrize(
    "url",
    [
        None,
        "postgresql://me:geheim@host:port/shop",
        "geheim",
        "mysql://me:geheim@host/shop",
        "postgresql://me:geheim@127.0.0.1:1",
        "postgresql://me:geheim@127.0.0.1:1/shop",
    ],
)
def test_an_address_is_in_the_environment_and_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg: `pip install 'synth-assets[postgresql]'`")
    monkeypatch.delenv("SHOP", raising=False)
    if url:
        monkeypatch.setenv("SHOP", url)

    with pytest.raises(SourceError, match=r"^\$SHOP, table t") as caught:
        source(type="postgresql", url_variable="SHOP", table="t").load(tmp_path)

    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="needs psycopg: `pip install 'synth-assets[postgresql]'`")
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="module")
def mysql() -> Iterator[Server]:
    pytest.importorskip("pymysql", reason="needs PyMySQL: `pip install 'synth-assets[mysql]'`")
    with mariadb_server() as server:
        yield server


def _execute(server: Server, *statements: str) -> None:
    import sqlalchemy

    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[server.scheme]
    engine = sqlalchemy.create_engine(
        sqlalchemy.make_url(server.url).set(drivername=driver), execution_options={"no_parameters": True}
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.slow
def test_postgresql(postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", postgresql.url)
    _execute(
        postgresql,
        "CREATE SCHEMA shop",
        "CREATE SEQUENCE shop.numbers",
        """CREATE TABLE shop."my orders" (id bigint PRIMARY KEY, zip text, paid boolean, day date, at timestamptz,
           price numeric(9, 2), "load (%%)" float8, key uuid, tags text[], lot numeric(20, 0), n int)""".replace(
            "%%", "%"
        ),
        """INSERT INTO shop."my orders" VALUES
           (9007199254740993, '02116', true, '2020-01-31', '2020-01-31 10:00+00', 1.25, 0.5,
            '6f2d5b1e-0000-4000-8000-000000000001', '{a,b}', 7, NULL),
           (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3)""",
    )
    orders = source(type="postgresql", url_variable="SHOP", table="shop.my orders")

    loaded = orders.load(tmp_path)

    frame = loaded.frame
    assert loaded.label == "PostgreSQL $SHOP, table shop.my orders"
    assert frame["id"].tolist() == [1, 2**53 + 1]  # in the order of the key
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} | {"at": ""} == {
        "id": "int64", "zip": "str", "paid": "boolean", "day": "datetime64[s]", "at": "",
        "price": "decimal128(3, 2)[pyarrow]", "load (%)": "float64", "key": "str", "tags": "object",
        "lot": "decimal128(1, 0)[pyarrow]", "n": "Int64",
    }  # fmt: skip
    assert frame["at"][1] == pd.Timestamp("2020-01-31 10:00", tz="UTC")
    assert frame["key"][1] == "6f2d5b1e-0000-4000-8000-000000000001"
    query = 'SELECT id, "load (%)" AS "x:%" FROM shop."my orders" WHERE zip LIKE \'02%\' ORDER BY id'
    assert len(source(type="postgresql", url_variable="SHOP", query=query).load(tmp_path).frame) == 1

    by_column = source(type="postgresql", url_variable="SHOP", table="shop.my orders", fingerprint_column="at")
    before = [each.fingerprint(tmp_path) for each in (orders, by_column)]
    assert loaded.fingerprint == before[0]
    _execute(postgresql, """UPDATE shop."my orders" SET at = '2021-01-01' WHERE id = 1""")
    assert all(each.fingerprint(tmp_path) != old for each, old in zip((orders, by_column), before, strict=True))

    with pytest.raises(SourceError, match="read-only transaction"):
        source(type="postgresql", url_variable="SHOP", query="SELECT nextval('shop.numbers')").load(tmp_path)
    with pytest.raises(SourceError, match='relation "gone" does not exist'):
        source(type="postgresql", url_variable="SHOP", table="gone").load(tmp_path)
    monkeypatch.setenv("SHOP", postgresql.url.replace("dagster:", "dagster:wrong"))
    with pytest.raises(SourceError, match=r"cannot be read: .*authentication failed") as caught:
        orders.load(tmp_path)
    assert "wrong" not in str(caught.value)


@pytest.mark.slow
def test_mysql(mysql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", mysql.url)
    _execute(
        mysql,
        """CREATE TABLE `my orders` (id bigint PRIMARY KEY, zip varchar(9), day date, at datetime(6),
           price decimal(9, 2), kind enum('a', 'ß'), n int, t time, big bigint unsigned, paid bit(1))""",
        """INSERT INTO `my orders` VALUES
           (9007199254740993, '02116', '2020-01-31', '2020-01-31 10:00', 1.25, 'ß', NULL, '01:00',
            18446744073709551615, b'1'),
           (1, NULL, NULL, NULL, NULL, NULL, 3, NULL, 2, b'0')""",
    )
    orders = source(type="mysql", url_variable="SHOP", table="my orders")

    loaded = orders.load(tmp_path)

    frame = loaded.frame
    assert loaded.label == "MySQL $SHOP, table my orders"
    assert frame["id"].tolist() == [1, 2**53 + 1]
    assert frame["big"].tolist() == [2, 2**64 - 1]
    assert frame["kind"][1] == "ß"
    assert frame["paid"].tolist() == [False, True]
    assert frame["at"][1] == datetime.datetime(2020, 1, 31, 10)
    assert [str(frame[name].dtype) for name in ("id", "zip", "day", "price", "n")] == [
        "int64", "str", "datetime64[s]", "decimal128(3, 2)[pyarrow]", "Int64",
    ]  # fmt: skip
    query = "SELECT id FROM `my orders` WHERE zip LIKE '02%' OR zip IS NULL ORDER BY id DESC"
    assert source(type="mysql", url_variable="SHOP", query=query).load(tmp_path).frame["id"].tolist() == [2**53 + 1, 1]

    by_column = source(type="mysql", url_variable="SHOP", table="my orders", fingerprint_column="at")
    before = [each.fingerprint(tmp_path) for each in (orders, by_column)]
    assert loaded.fingerprint == before[0]
    _execute(mysql, "UPDATE `my orders` SET at = '2021-01-01' WHERE id = 1")
    assert all(each.fingerprint(tmp_path) != old for each, old in zip((orders, by_column), before, strict=True))

    with pytest.raises(SourceError, match=r"Table 'shop\.gone' doesn't exist"):
        source(type="mysql", url_variable="SHOP", table="gone").load(tmp_path)
    monkeypatch.setenv("SHOP", mysql.url.replace("reader:", "reader:wrong"))
    with pytest.raises(SourceError, match=r"cannot be read: .*Access denied") as caught:
        orders.load(tmp_path)
    assert "wrong" not in str(caught.value)
