"""A table or a query of a database: SQLite and DuckDB files, PostgreSQL and MySQL servers."""

import hashlib
import marshal
import os
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from synth_assets.sources.base import (
    DataFile,
    LoadedTable,
    Source,
    SourceError,
    Variable,
    missing_extra,
    reason_of,
    refuse_names,
)
from synth_assets.sources.frames import table_of_rows, to_frame
from synth_assets.storage.sql import quoted

if TYPE_CHECKING:
    import duckdb
    import sqlalchemy

BATCH_ROWS = 50_000
"""Rows of a batch: so many are Python objects at a time."""

TIMEOUT_S = 20
"""How long a server may take to accept a connection."""


class DatabaseSource(Source):
    """Base of the sources that are a table or a query of a database."""

    type: Literal["sqlite", "duckdb", "postgresql", "mysql"]
    table: str | None = Field(
        default=None, min_length=1, description="Table or view, such as `orders` or `shop.orders`."
    )
    query: str | None = Field(default=None, min_length=1, description="SELECT statement, instead of a table.")
    limit: int | None = Field(default=None, ge=1, description="Maximum number of rows; by default, all.")
    fingerprint_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column whose maximum grows with every change, such as a time of change. Without it, all rows are "
        "read to find whether they changed.",
    )

    @model_validator(mode="after")
    def _has_table_or_query(self) -> "DatabaseSource":
        if (self.table is None) == (self.query is None):
            found = "neither" if self.table is None else "both"
            raise ValueError(f"found {found} of `table` and `query`; expected one of them")
        return self

    def fingerprint(self, data_dir: Path) -> str:
        """Return the maximum of `fingerprint_column` and the number of rows; without it, a hash of the rows."""
        with self._opened(data_dir) as database:
            return self._fingerprint(database)

    def load(self, data_dir: Path) -> LoadedTable:
        """Load the table, or the rows of the query."""
        with self._opened(data_dir) as database:
            fingerprint = self._fingerprint(database)  # before reading, so that a change in between is found
            table = database.read(self._select(database), self.limit)
        refuse_names(table.column_names, origin=self._origin)
        return LoadedTable(to_frame(table), self.type, self._origin, fingerprint)

    @property
    @abstractmethod
    def _place(self) -> str:
        """Where the database is, without credentials."""

    @property
    def _origin(self) -> str:
        return f"{self._place}, {f'table {self.table}' if self.table else 'a query'}"

    @contextmanager
    @abstractmethod
    def _opened(self, data_dir: Path) -> Iterator["_Database"]:
        """Yield the open database; turn its errors into a `SourceError`."""

    def _select(self, database: "_Database", *, ordered: bool = True) -> str:
        if self.query is not None:
            return self.query.strip().rstrip(";")
        assert self.table is not None  # noqa: S101 - validated
        order = database.order(self.table) if ordered else ""
        return f"SELECT * FROM {database.quoted(self.table)}{order}"

    def _fingerprint(self, database: "_Database") -> str:
        select = self._select(database, ordered=False)
        if self.fingerprint_column is None:
            return f"rows:{database.hash_rows(select)}"
        column = database.quoted_name(self.fingerprint_column)
        (newest, count), *_ = database.fetch(f"SELECT max({column}), count(*) FROM ({select}) AS fingerprinted")
        return f"max-count:{newest}-{count}"


class SQLiteSource(DatabaseSource):
    """A table or a query of a SQLite file."""

    type: Literal["sqlite"] = "sqlite"
    path: DataFile = Field(description="SQLite file, inside the data folder.")

    @property
    def _place(self) -> str:
        return self.path

    @contextmanager
    def _opened(self, data_dir: Path) -> Iterator["_Database"]:
        path = _existing(data_dir, self.path)
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                yield _SQLite(connection)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _unreadable(self._origin, error) from error


class DuckDBSource(DatabaseSource):
    """A table or a query of a DuckDB file, which is opened read-only for as long as it is read."""

    type: Literal["duckdb"] = "duckdb"
    path: DataFile = Field(description="DuckDB file, inside the data folder.")

    @property
    def _place(self) -> str:
        return self.path

    @contextmanager
    def _opened(self, data_dir: Path) -> Iterator["_Database"]:
        import duckdb

        path = _existing(data_dir, self.path)
        try:
            # A query reads this file and no other.
            with duckdb.connect(str(path), read_only=True, config={"enable_external_access": False}) as connection:
                yield _DuckDB(connection)
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise _unreadable(self._origin, error) from error
            raise SourceError(
                f"{self._origin}: another process has the file open for writing. Try again when it has finished."
            ) from error
        except duckdb.Error as error:
            raise _unreadable(self._origin, error) from error


class ServerSource(DatabaseSource):
    """Base of the sources on a database server. The address comes from the environment, as it has the password."""

    schemes: ClassVar[tuple[str, ...]]
    """Schemes of an address of this server."""
    driver: ClassVar[str]
    """What SQLAlchemy calls the server and its driver."""
    package: ClassVar[str]
    """The package of the driver."""
    connect_args: ClassVar[dict[str, Any]]
    """Settings of a connection."""

    url_variable: Variable = Field(
        description="Environment variable with the address of the database, which has the user and the password."
    )

    @property
    def _place(self) -> str:
        return f"${self.url_variable}"

    @contextmanager
    def _opened(self, data_dir: Path) -> Iterator["_Database"]:
        try:
            import sqlalchemy
        except ImportError as error:
            raise missing_extra("sqlalchemy", self.type, origin=self._origin) from error
        url = self._url()
        try:
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=self.connect_args)
        except ImportError as error:
            raise missing_extra(self.package, self.type, origin=self._origin) from error
        try:
            # Without parameters, a driver leaves the percent signs of a query alone.
            with engine.connect().execution_options(no_parameters=True) as connection:
                yield self._database(connection)
        # The errors of drivers name the user and the host, and may repeat the address: chain none.
        except sqlalchemy.exc.SQLAlchemyError as error:
            original = getattr(error, "orig", None) or error
            arguments = getattr(original, "args", ())
            reason = reason_of(Exception(arguments[-1])) if arguments else reason_of(original)
            raise _unreadable(self._origin, Exception(_without(reason, url))) from None

    def _url(self) -> "sqlalchemy.URL":
        import sqlalchemy

        example = f"{self.schemes[0]}://user:password@host/database"
        stated = os.environ.get(self.url_variable)
        if not stated:
            raise SourceError(
                f"{self._origin}: the environment variable {self.url_variable} is not set. Set it to the address of "
                f"the database, such as {example}."
            )
        try:
            url = sqlalchemy.make_url(stated)
        except (sqlalchemy.exc.ArgumentError, ValueError):  # their messages may repeat the password
            url = None
        if url is None or url.get_backend_name() not in self.schemes or not url.database:
            raise SourceError(
                f"{self._origin}: the environment variable {self.url_variable} has no address of this kind of "
                f"database; expected one such as {example}, with special characters of the password as in URLs."
            )
        return url.set(drivername=self.driver)

    @abstractmethod
    def _database(self, connection: "sqlalchemy.Connection") -> "_Server":
        """Return the open database, set to read only."""


class PostgreSQLSource(ServerSource):
    """A table or a query of a PostgreSQL server."""

    schemes = ("postgresql", "postgres")
    driver = "postgresql+psycopg"
    package = "psycopg"
    connect_args: ClassVar[dict[str, Any]] = {"connect_timeout": TIMEOUT_S}

    type: Literal["postgresql"] = "postgresql"

    def _database(self, connection: "sqlalchemy.Connection") -> "_Server":
        return _PostgreSQL(connection.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ"))


class MySQLSource(ServerSource):
    """A table or a query of a MySQL or MariaDB server."""

    schemes = ("mysql", "mariadb")
    driver = "mysql+pymysql"
    package = "pymysql"
    connect_args: ClassVar[dict[str, Any]] = {"connect_timeout": TIMEOUT_S, "charset": "utf8mb4"}

    type: Literal["mysql"] = "mysql"

    def _database(self, connection: "sqlalchemy.Connection") -> "_Server":
        connection.exec_driver_sql("START TRANSACTION READ ONLY")
        return _MySQL(connection)


class _Database(ABC):
    """An open database: how names are quoted, rows are read and hashed."""

    def quoted_name(self, name: str) -> str:
        return quoted(name)

    def quoted(self, table: str) -> str:
        return ".".join(self.quoted_name(part) for part in table.split("."))

    def order(self, table: str) -> str:
        """Return the ORDER BY clause that gives rows the same order every time; empty where they have it anyway."""
        return ""

    @abstractmethod
    def fetch(self, select: str) -> Sequence[Sequence[Any]]: ...

    @abstractmethod
    def read(self, select: str, limit: int | None) -> Any:
        """Return the rows, at most `limit`, as an Arrow table."""

    @abstractmethod
    def hash_rows(self, select: str) -> str:
        """Return the number of rows, and a hash of them that does not depend on their order."""


class _HashingDatabase(_Database):
    """A database that hashes rows by itself."""

    def hash_rows(self, select: str) -> str:
        """Return the number of rows, and a hash of them that does not depend on their order."""
        (count, total), *_ = self.fetch(self._hashing(select))
        return f"{count}-{total}"

    @abstractmethod
    def _hashing(self, select: str) -> str: ...


class _SQLite(_Database):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fetch(self, select: str) -> Sequence[Sequence[Any]]:
        return self._connection.execute(select).fetchall()

    def read(self, select: str, limit: int | None) -> Any:
        cursor = self._connection.execute(select)
        return table_of_rows([column[0] for column in cursor.description], _batches(cursor, limit))

    def hash_rows(self, select: str) -> str:
        # SQLite has no hash function: hash the rows here, in their order.
        digest = hashlib.sha256()
        cursor = self._connection.execute(select)
        while rows := cursor.fetchmany(BATCH_ROWS):
            digest.update(marshal.dumps(rows, 2))  # the newest version without references between equal values
        return digest.hexdigest()


class _DuckDB(_HashingDatabase):
    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection

    def fetch(self, select: str) -> Sequence[Sequence[Any]]:
        return self._connection.execute(select).fetchall()

    def read(self, select: str, limit: int | None) -> Any:
        relation = self._connection.sql(select)
        return (relation if limit is None else relation.limit(limit)).to_arrow_table()

    def _hashing(self, select: str) -> str:
        return f"SELECT count(*), sum(hash(hashed)) FROM ({select}) AS hashed"


class _Server(_HashingDatabase):
    def __init__(self, connection: "sqlalchemy.Connection") -> None:
        self._connection = connection

    def quoted_name(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote_identifier(name)

    def order(self, table: str) -> str:
        import sqlalchemy

        *namespace, name = table.split(".")
        inspected = sqlalchemy.inspect(self._connection)
        schema = ".".join(namespace) or None
        try:
            key = inspected.get_pk_constraint(name, schema=schema)["constrained_columns"]
        except sqlalchemy.exc.NoSuchTableError:  # a view, or the SELECT says that there is no such table
            return ""
        return f" ORDER BY {', '.join(map(self.quoted_name, key))}" if key else ""

    def fetch(self, select: str) -> Sequence[Sequence[Any]]:
        return self._connection.exec_driver_sql(select).fetchall()

    def read(self, select: str, limit: int | None) -> Any:
        # A query is executed as it is stated: a server may drop the order of a query inside another.
        streaming = self._connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS)
        with streaming.exec_driver_sql(select) as rows:
            return table_of_rows(list(rows.keys()), _batches(rows, limit))


class _PostgreSQL(_Server):
    def _hashing(self, select: str) -> str:
        return f"SELECT count(*), sum(hashtextextended(hashed::text, 0)::numeric) FROM ({select}) AS hashed"


class _MySQL(_Server):
    def _hashing(self, select: str) -> str:
        with self._connection.exec_driver_sql(f"SELECT * FROM ({select}) AS hashed LIMIT 0") as rows:
            names = [f"quote({self.quoted_name(name)})" for name in rows.keys()]  # noqa: SIM118 - of a result, not a dict
        digest = f"conv(left(md5(concat_ws(',', {', '.join(names)})), 15), 16, 10)"
        return f"SELECT count(*), sum(cast({digest} AS unsigned)) FROM ({select}) AS hashed"


def _batches(cursor: Any, limit: int | None) -> Iterator[Sequence[Sequence[Any]]]:
    left = limit
    while rows := cursor.fetchmany(BATCH_ROWS if left is None else min(left, BATCH_ROWS)):
        yield rows
        if left is not None:
            left -= len(rows)
            if not left:
                return


def _existing(data_dir: Path, name: str) -> Path:
    path = data_dir / name
    if not path.is_file():
        raise SourceError(f"{name} in the data folder: there is no file {path}. Put the database there.")
    return path


def _unreadable(origin: str, error: Exception) -> SourceError:
    return SourceError(f"{origin} cannot be read: {reason_of(error)}. Check the source in the YAML, and the database.")


def _without(reason: str, url: "sqlalchemy.URL") -> str:
    """Return a message in which neither the user nor the password is repeated."""
    for part in (url.password, url.username):
        if part:
            reason = re.sub(rf"(?<!\w){re.escape(str(part))}(?!\w)", "***", reason)
    return reason
