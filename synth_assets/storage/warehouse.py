"""The warehouse: the DuckDB file of the pipeline, with one namespace (a schema of DuckDB) for each source table.

DuckDB allows one writing process or several reading ones. A connection is therefore open for one read or write only,
and retries for a while when another process holds the file.
"""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synth_assets.errors import ForeseenError
from synth_assets.storage.files import sha256
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import is_damage, quoted, text

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

FORMAT = 2
"""Version of the layout of the stored tables. Increase it when a stored column is renamed or changes its meaning."""

RESAMPLE_DATE = "resample_date"
"""The column that assigns rows to a sample."""

CHECKS = "_checks"
"""Suffix of the table with the findings of an asset's checks."""

PARTS = "_parts"
"""Suffix of the table that lists the Parquet files of the samples that are stored in parts."""

PARTS_COLUMNS = {
    RESAMPLE_DATE: "DATE",
    "file": "VARCHAR",
    "row_count": "BIGINT",
    "sha256": "VARCHAR",
    "model_version": "VARCHAR",
}
"""Types of its columns. `file` is a path below the data folder; rows of the table are in the order of the files."""

FILE_COLUMN = "synth_assets_file"
"""Name under which a query has the path of the Parquet file of a row."""

LARGE_SAMPLE_ROWS = 1_000_000
"""A sample of more rows is stored in parts, and a table with more synthetic rows is published as a view over Parquet.
An evaluation reads as many rows of a sample in parts."""

WAIT_FOR_WRITER_S = 1.0
"""How long a file that ends too early is opened again: another process may be extending it. A damaged one stays so."""

PROVENANCE = "provenance"
PROVENANCE_COLUMNS = {
    "asset": ("VARCHAR", "The asset that was materialized."),
    "partition_key": ("VARCHAR", "The resample date, for assets of a sample."),
    "materialized_at": ("TIMESTAMPTZ", "Time of the materialization."),
    "run_id": ("VARCHAR", "The Dagster run."),
    "code_version": ("VARCHAR", "Version of the asset's code."),
    "data_version": ("VARCHAR", "Hash of the rows."),
    "row_count": ("BIGINT", "Number of rows."),
    "details": ("JSON", "Settings and results; `inputs` holds the data version of each table that was read."),
}
"""Type and description of each column of the provenance table."""

INPUTS = "inputs"
"""Key of `details`: the data versions of the tables that were read."""

WAIT_FOR_LOCK_S, TELL_AFTER_S = 100.0, 2.0
"""Seconds that a connection waits for another process, and after which it logs for which one."""

DAYS_NAMED = 3
"""Resample dates that a message names."""

IN_UTC = "SET TimeZone = 'UTC'"
"""Statement with which a connection reads times that have a zone in UTC, whatever the zone of the machine."""

CATALOG = "warehouse"
"""DuckDB names a database after its file; with the name in every identifier, a namespace may have the same name."""

_FORMAT_COMMENT = f"Format {FORMAT}"

_log = logging.getLogger(__name__)

T = TypeVar("T")


class WarehouseError(ForeseenError, RuntimeError):
    """The warehouse cannot be read or written; nothing was changed."""


@dataclass(frozen=True)
class Provenance:
    """Record of a materialization.

    Parameters
    ----------
    run_id : str
        The Dagster run.
    code_version : str, optional
        The version of the asset's code.
    data_version : str, optional
        The version of the result; for a table, the hash of its cells.
    details : mapping
        The asset's metadata as JSON values: inputs, versions and results.
    """

    run_id: str
    code_version: str | None = None
    data_version: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A Parquet file with rows of a sample: its path below the data folder, its number of rows, and its SHA-256."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Parts:
    """A sample whose rows are Parquet files, in the table's own columns.

    Where the sample is read, it has the columns `sample_id`, the number of the row from 0, and `model_version` too.

    Parameters
    ----------
    files : sequence of Part
        The files `part-<number>.parquet`, in the order of their rows. All but the last have as many rows.
    model_version : str
        Version of the model that generated the rows.
    """

    files: Sequence[Part]
    model_version: str

    def __len__(self) -> int:
        return sum(part.rows for part in self.files)

    @property
    def content(self) -> str:
        """Hash of the rows."""
        return hashlib.sha256(
            " ".join([self.model_version, *(part.sha256 for part in self.files)]).encode()
        ).hexdigest()

    def head(self, root: Path, rows: int = 10) -> "pd.DataFrame":
        """Return the first rows of files below a folder."""
        import duckdb

        with duckdb.connect() as connection:
            return connection.sql(f"{self.query(root)} LIMIT {rows}").df()

    def query(self, root: Path) -> str:
        """Return the query of the rows, in the order of the files, for files below a folder."""
        listed = ", ".join(text(str(root / part.file)) for part in self.files)
        return (
            f"SELECT * EXCLUDE ({FILE_COLUMN}, file_row_number), {sample_id(self.files[0].rows)} AS sample_id, "
            f"{text(self.model_version)} AS model_version "
            f"FROM read_parquet([{listed}], filename = '{FILE_COLUMN}', file_row_number = true)"
        )


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB file of the pipeline.

    Parameters
    ----------
    paths : DataPaths
        The data folder that holds the file.
    """

    paths: DataPaths

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return self.paths.warehouse

    def write(
        self,
        namespace: str,
        table: str,
        frame: "pd.DataFrame",
        *,
        provenance: Provenance | None,
        resample_date: str | None = None,
        types: Mapping[str, str] | None = None,
    ) -> None:
        """Replace a table, or its rows of one resample date, and record the provenance, in one transaction.

        Parameters
        ----------
        namespace, table : str
            The table; any text, it is quoted.
        frame : pandas.DataFrame
            The rows. Columns are matched by name.
        provenance : Provenance or None
            The record of the materialization; None for rows that no asset materialized.
        resample_date : str, optional
            An ISO date. Only the rows of this date are replaced; the new rows get it as `resample_date`.
        types : mapping of str to str, optional
            SQL types of columns by name. A column without one gets the type that DuckDB infers from its dtype.

        Raises
        ------
        WarehouseError
            If the frame is empty, its columns differ from the stored ones, or the file cannot be written.
        """
        target = quoted(CATALOG, namespace, table)
        if frame.empty:
            raise WarehouseError(f"{namespace}.{table}: there is no row to write. Nothing was changed.")
        with self._connection() as connection, _transaction(connection, f"{namespace}.{table}"):
            connection.register("new_rows", frame)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(CATALOG, namespace)}")
            columns = ", ".join(_typed(str(name), (types or {}).get(str(name))) for name in frame.columns)
            replaced: list[str] = []
            if resample_date is None:
                connection.execute(f"CREATE OR REPLACE TABLE {target} AS SELECT {columns} FROM new_rows")
            else:
                rows = f"SELECT CAST($1 AS DATE) AS {quoted(RESAMPLE_DATE)}, {columns} FROM new_rows"
                replaced = self._make_room(connection, namespace, table, rows, resample_date)
                connection.execute(f"INSERT INTO {target} BY NAME {rows}", [resample_date])
            if provenance is not None:
                _record(connection, namespace, table, resample_date, len(frame), provenance)
        self._remove_files(replaced)

    def write_parts(
        self, namespace: str, table: str, parts: Parts, *, provenance: Provenance, resample_date: str
    ) -> None:
        """Replace the rows of a resample date by Parquet files, which stay where they are, and record the provenance.

        Parameters
        ----------
        namespace, table : str
            The table of samples.
        parts : Parts
            The files, complete and below the data folder. The files of the sample that they replace are removed.
        provenance : Provenance
            The record of the materialization.
        resample_date : str
            An ISO date.

        Raises
        ------
        WarehouseError
            If the columns differ from the stored ones, or a file cannot be read or written.
        """
        listed = quoted(CATALOG, namespace, table + PARTS)
        with self._connection() as connection, _transaction(connection, f"{namespace}.{table}"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(CATALOG, namespace)}")
            columns = ", ".join(f"{name} {type_}" for name, type_ in PARTS_COLUMNS.items())
            connection.execute(f"CREATE TABLE IF NOT EXISTS {listed} ({columns})")
            rows = f"SELECT CAST($1 AS DATE) AS {quoted(RESAMPLE_DATE)}, * FROM ({parts.query(self.paths.root)})"
            replaced = self._make_room(connection, namespace, table, rows, resample_date)
            connection.executemany(
                f"INSERT INTO {listed} VALUES ($1, $2, $3, $4, $5)",
                [(resample_date, part.file, part.rows, part.sha256, parts.model_version) for part in parts.files],
            )
            _record(connection, namespace, table, resample_date, len(parts), provenance)
        self._remove_files(set(replaced) - {part.file for part in parts.files})

    def parts(self, namespace: str, table: str, resample_date: str) -> Parts | None:
        """Return the files of a sample; None if its rows are in the table itself.

        Raises
        ------
        WarehouseError
            If the file cannot be read.
        """
        if not self.path.exists():
            return None
        with self._connection(read_only=True) as connection:
            return sample_parts(connection, CATALOG, namespace, table).get(resample_date)

    def record(self, namespace: str, asset: str, *, provenance: Provenance, resample_date: str | None = None) -> None:
        """Record a materialization that wrote no table, for a namespace and the name of an asset.

        Raises
        ------
        WarehouseError
            If the file cannot be written.
        """
        with self._connection() as connection, _transaction(connection, f"{namespace}.{PROVENANCE}"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(CATALOG, namespace)}")
            _record(connection, namespace, asset, resample_date, None, provenance)

    def delete_sample(self, namespace: str, resample_date: str) -> int:
        """Delete the rows of a resample date from all tables of a namespace, and their provenance; return their number.

        Raises
        ------
        WarehouseError
            If the file cannot be written.
        """
        if not self.path.exists():
            return 0
        deleted = 0
        with (
            self._connection(any_format=True) as connection,
            _transaction(connection, f"{namespace} of {resample_date}"),
        ):
            tables = connection.execute(
                "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = $1 "
                "AND schema_name = $2 AND (column_name = $3 AND data_type = 'DATE' OR table_name = $4 "
                "AND column_name = 'partition_key')",
                [CATALOG, namespace, RESAMPLE_DATE, PROVENANCE],
            ).fetchall()
            for table, column, type_ in tables:
                if table.endswith(PARTS) and (
                    parts := sample_parts(connection, CATALOG, namespace, table[: -len(PARTS)])
                ):
                    of_date = parts.get(resample_date)
                    deleted += len(of_date) - len(of_date.files) if of_date else 0
                done = connection.execute(
                    f"DELETE FROM {quoted(CATALOG, namespace, table)} WHERE {quoted(column)} = CAST($1 AS {type_})",
                    [resample_date],
                ).fetchone()
                deleted += done[0] if done else 0
        shutil.rmtree(self.paths.samples(namespace, resample_date), ignore_errors=True)
        return deleted

    def read(self, namespace: str, table: str, *, resample_date: str | None = None) -> "pd.DataFrame":
        """Read a table, or the rows of one resample date without that column, in the order of writing.

        Of a sample in parts, `LARGE_SAMPLE_ROWS` rows at most are read, evenly spaced.

        Raises
        ------
        WarehouseError
            If there is no such table, or it has no row of the date.
        """
        return self.read_with_version(namespace, table, resample_date=resample_date)[0]

    def read_with_version(
        self, namespace: str, table: str, *, resample_date: str | None = None
    ) -> "tuple[pd.DataFrame, str | None]":
        """Read a table as `read` does, with its recorded data version, if it has one."""
        import duckdb

        name = f"{namespace}.{table}"
        target = quoted(CATALOG, namespace, table)
        query, values = f"SELECT * FROM {target}", []
        if resample_date is not None:
            name += f" of {resample_date}"
            column = quoted(RESAMPLE_DATE)
            query = f"SELECT * EXCLUDE ({column}) FROM {target} WHERE {column} = CAST($1 AS DATE)"
            values = [resample_date]
        absent = f"the warehouse has no {name} yet: materialize {namespace}/{table} first."
        if not self.path.exists():
            raise WarehouseError(absent)
        with self._connection(read_only=True) as connection:
            try:
                parts = (
                    sample_parts(connection, CATALOG, namespace, table).get(resample_date) if resample_date else None
                )
                if parts is None:
                    frame = connection.execute(f"{query} ORDER BY rowid", values).df()
                else:
                    step = -(-len(parts) // LARGE_SAMPLE_ROWS)
                    drawn = f"SELECT * FROM ({parts.query(self.paths.root)}) WHERE sample_id % {step} = 0"
                    frame = connection.execute(drawn).df()
                recorded = connection.execute(
                    f"SELECT data_version FROM {quoted(CATALOG, namespace, PROVENANCE)} WHERE asset = $1 "
                    "AND partition_key IS NOT DISTINCT FROM $2 ORDER BY rowid DESC LIMIT 1",
                    [table, resample_date],
                ).fetchone()
            except duckdb.CatalogException as error:
                raise WarehouseError(absent) from error
            except duckdb.IOException as error:
                raise WarehouseError(f"{name}: {_unreadable(error)}") from error
            except duckdb.Error as error:
                raise WarehouseError(f"{name} cannot be read from {self.path}: {error}{_advice(error)}") from error
        if frame.empty:
            raise WarehouseError(absent)
        return frame, recorded[0] if recorded else None

    def count_repeated(
        self, namespace: str, table: str, column: str, *, within_a_day: bool = True
    ) -> tuple[int, list[str]]:
        """Count the values that a column of a table of samples has in more than one row.

        Without `within_a_day`, only those in rows of more than one resample date count.

        Returns
        -------
        count : int
            Number of such values.
        days : list of str
            The first resample dates that have them.

        Raises
        ------
        WarehouseError
            If there is no such table.
        """
        date, name = quoted(RESAMPLE_DATE), quoted(column)
        repeated = (
            f"SELECT list(DISTINCT {date}) AS days FROM ({self._values(namespace, table, column)}) "
            f"WHERE {name} IS NOT NULL GROUP BY {name} HAVING count({'*' if within_a_day else f'DISTINCT {date}'}) > 1"
        )
        count, days = self._row(
            f"SELECT count(*), list_sort(list_distinct(flatten(list(days))))[:{DAYS_NAMED}] FROM ({repeated})"
        )
        return count, [day.isoformat() for day in days or ()]

    def count_shared(self, namespace: str, table: str, other: str, column: str) -> int:
        """Count the values of a column that occur in two tables.

        Raises
        ------
        WarehouseError
            If there is no such table.
        """
        values = [
            f"SELECT {quoted(column)} FROM ({self._values(namespace, table, column)})",
            f"SELECT {quoted(column)} FROM {quoted(CATALOG, namespace, other)}",
        ]
        (count,) = self._row(f"SELECT count({quoted(column)}) FROM ({' INTERSECT '.join(values)})")
        return int(count)

    def _values(self, namespace: str, table: str, column: str) -> str:
        """Return the query of a column of all samples, wherever their rows are, with the resample dates."""
        names = f"{quoted(RESAMPLE_DATE)}, {quoted(column)}"
        queries = [f"SELECT {names} FROM {quoted(CATALOG, namespace, table)}"]
        with self._connection(read_only=True) as connection:
            for resample_date, parts in sample_parts(connection, CATALOG, namespace, table).items():
                files = ", ".join(text(str(self.paths.root / part.file)) for part in parts.files)
                queries.append(
                    f"SELECT CAST({text(resample_date)} AS DATE), {quoted(column)} FROM read_parquet([{files}])"
                )
        return " UNION ALL ".join(queries)

    def _row(self, sql: str) -> tuple[Any, ...]:
        import duckdb

        with self._connection(read_only=True) as connection:
            try:
                found = connection.execute(sql).fetchone()
            except duckdb.Error as error:
                raise WarehouseError(f"{self.path} cannot be queried: {error}{_advice(error)}") from error
        return found or ()

    def verify(self) -> int:
        """Read every row of every table and return their number; DuckDB compares every block with its checksum.

        The files of samples in parts are compared with their hashes.

        Raises
        ------
        WarehouseError
            If the file or a table cannot be read.
        """
        import duckdb

        if not self.path.exists():
            raise WarehouseError(f"there is no warehouse {self.path} yet; `make demo` creates one.")
        rows = 0
        with self._connection(read_only=True, any_format=True) as connection:
            tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
            for namespace, table in tables:
                try:
                    counted = connection.execute(
                        f"SELECT count(*), bit_xor(hash(t)) FROM {quoted(CATALOG, namespace, table)} t"
                    ).fetchone()
                except duckdb.Error as error:
                    raise WarehouseError(
                        f"{namespace}.{table} cannot be read from {self.path}: {error}{_advice(error)}"
                    ) from error
                rows += counted[0] if counted else 0
            listed = [
                (f"{namespace}.{table.removesuffix(PARTS)} of {resample_date}", part)
                for namespace, table in tables
                if table.endswith(PARTS)
                for resample_date, parts in sample_parts(
                    connection, CATALOG, namespace, table.removesuffix(PARTS)
                ).items()
                for part in parts.files
            ]
        for name, part in listed:
            path = self.paths.root / part.file
            if not path.is_file() or sha256(path) != part.sha256:
                how = "has another SHA-256" if path.is_file() else "is missing"
                raise WarehouseError(f"{name}: {path} {how}. Materialize the sample again, or delete it.")
            rows += part.rows - 1
        return rows

    def latest_details(self, namespace: str, asset: str, *, resample_date: str | None = None) -> dict[str, Any]:
        """Return the recorded details of the last materialization of an asset, or of one of its resample dates.

        Raises
        ------
        WarehouseError
            If it was never materialized.
        """
        import duckdb

        absent = f"{namespace}/{asset}{'' if resample_date is None else f' of {resample_date}'} was never materialized."
        if not self.path.exists():
            raise WarehouseError(absent)
        of_date, values = (
            ("", [asset]) if resample_date is None else ("AND partition_key = $2 ", [asset, resample_date])
        )
        with self._connection(read_only=True) as connection:
            try:
                record = connection.execute(
                    f"SELECT details FROM {quoted(CATALOG, namespace, PROVENANCE)} WHERE asset = $1 {of_date}"
                    "ORDER BY rowid DESC LIMIT 1",
                    values,
                ).fetchone()
            except duckdb.CatalogException as error:
                raise WarehouseError(absent) from error
            except duckdb.Error as error:
                raise WarehouseError(f"{self.path} cannot be queried: {error}{_advice(error)}") from error
        if record is None:
            raise WarehouseError(absent)
        details: dict[str, Any] = json.loads(record[0])
        return details

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Open the file once for all reads of the block, each of which takes 30 ms otherwise. It cannot be written to.

        Raises
        ------
        WarehouseError
            If there is no warehouse, or the file cannot be opened.
        """
        with self._connection(read_only=True):  # DuckDB gives the connections of a process the same database
            yield

    def attach_to(self, connection: "duckdb.DuckDBPyConnection", alias: str) -> None:
        """Attach the warehouse, read-only, to a connection to another file, under an alias.

        While the connection is open, nothing can be written to the warehouse.

        Raises
        ------
        WarehouseError
            If the file cannot be opened, or has another format.
        """
        path = str(self.path).replace("'", "''")
        self._retry_while_locked(lambda: connection.execute(f"ATTACH '{path}' AS {quoted(alias)} (READ_ONLY)"))
        self._check_format(connection, alias)

    def _make_room(
        self, connection: "duckdb.DuckDBPyConnection", namespace: str, table: str, rows: str, resample_date: str
    ) -> list[str]:
        """Delete the rows of a resample date, where the new ones have the same columns; return its files."""
        target = quoted(CATALOG, namespace, table)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {target} AS {rows} LIMIT 0", [resample_date])
        self._check_columns(connection, f"{namespace}.{table}", target, rows, resample_date)
        is_date = f"{quoted(RESAMPLE_DATE)} = CAST($1 AS DATE)"
        connection.execute(f"DELETE FROM {target} WHERE {is_date}", [resample_date])
        parts = sample_parts(connection, CATALOG, namespace, table).get(resample_date)
        if parts is None:
            return []
        connection.execute(f"DELETE FROM {quoted(CATALOG, namespace, table + PARTS)} WHERE {is_date}", [resample_date])
        return [part.file for part in parts.files]

    def _remove_files(self, files: Collection[str]) -> None:
        # No sample refers to them any more; a publication has links of its own.
        for folder in {(self.paths.root / file).parent for file in files}:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _connection(
        self, *, read_only: bool = False, any_format: bool = False
    ) -> Iterator["duckdb.DuckDBPyConnection"]:
        import duckdb

        def connect() -> "duckdb.DuckDBPyConnection":
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            return duckdb.connect(str(self.path), read_only=read_only)

        connection = self._retry_while_locked(connect)
        try:
            connection.execute(IN_UTC)
            if not any_format:
                self._check_format(connection, CATALOG)
            yield connection
        finally:
            connection.close()

    def _check_format(self, connection: "duckdb.DuckDBPyConnection", catalog: str) -> None:
        # The comment on each provenance table states the format of its namespace; format 1 had no comment.
        other = connection.execute(
            "SELECT coalesce(comment, 'Format 1') FROM duckdb_tables() WHERE database_name = $1 AND table_name = $2 "
            "AND comment IS DISTINCT FROM $3 LIMIT 1",
            [catalog, PROVENANCE, _FORMAT_COMMENT],
        ).fetchone()
        if other:
            raise WarehouseError(
                f"the warehouse {self.path} was written by another version of synth-assets ({other[0]}; this version "
                f"needs {_FORMAT_COMMENT}): move it away and materialize the lineage again."
            )

    def _check_columns(
        self, connection: "duckdb.DuckDBPyConnection", name: str, target: str, rows: str, resample_date: str
    ) -> None:
        # INSERT BY NAME would silently fill a missing column with NULL and round a number to the stored type.
        stored = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {target}").fetchall()}
        new = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {rows}", [resample_date]).fetchall()}
        if stored != new:
            raise WarehouseError(
                f"{name} has the columns {_listed(stored)} and the new rows have {_listed(new)}. Nothing was changed. "
                f"All resample dates share one table: to change its columns, move {self.path} away and materialize the "
                "lineage again."
            )

    def _retry_while_locked(self, action: Callable[[], T]) -> T:
        import duckdb

        deadline = time.monotonic() + WAIT_FOR_LOCK_S
        half_written_deadline = time.monotonic() + WAIT_FOR_WRITER_S
        is_told = False
        while True:
            try:
                return action()
            except (duckdb.Error, OSError) as error:
                is_locked = "Could not set lock" in str(error)
                if "Could not read enough bytes" in str(error) and time.monotonic() < half_written_deadline:
                    time.sleep(0.1)
                    continue
                if is_locked and time.monotonic() < deadline:
                    if not is_told and deadline - time.monotonic() < WAIT_FOR_LOCK_S - TELL_AFTER_S:
                        _log.warning("waiting up to %.0f s for %s: %s", WAIT_FOR_LOCK_S, self.path.name, _holder(error))
                        is_told = True
                    time.sleep(0.1)
                    continue
                advice = self._how_to_unlock() if is_locked else _advice(error)
                raise WarehouseError(f"the warehouse {self.path} cannot be opened: {error}{advice}") from error

    def _how_to_unlock(self) -> str:
        return (
            f" After {WAIT_FOR_LOCK_S:.0f} s of waiting, nothing was changed. End that process, then materialize again "
            f"(to read only, open {self.paths.published}: no run locks it)."
        )


@contextmanager
def _transaction(connection: "duckdb.DuckDBPyConnection", name: str) -> Iterator[None]:
    import duckdb

    connection.begin()
    try:
        yield
        connection.commit()
    except duckdb.Error as error:
        _roll_back(connection)
        raise WarehouseError(f"{name} could not be written ({error}). Nothing was changed.{_advice(error)}") from error
    except BaseException:
        _roll_back(connection)
        raise


def _advice(error: BaseException) -> str:
    if "No space left on device" in str(error):
        return " Free disk space, then materialize again."
    if not is_damage(error):
        return ""
    return (
        " The file is damaged: restore it from a backup, or move it away and materialize the lineage again. "
        "Publications do not depend on it."
    )


def _roll_back(connection: "duckdb.DuckDBPyConnection") -> None:
    import duckdb

    # After a failed commit, or an error that the file did not survive, there is no transaction left to roll back.
    with suppress(duckdb.TransactionException, duckdb.FatalException):
        connection.rollback()


def _holder(error: BaseException) -> str:
    """Return the part of an error of DuckDB that names the process which holds the file."""
    found = re.search(r"lock is held in .*?\(PID \d+\)[^.]*", str(error))
    return found[0] if found else str(error)


def sample_id(rows_per_part: int) -> str:
    """Return the expression of the number of a row in its sample, where `read_parquet` states file and row."""
    return rf"CAST(regexp_extract({FILE_COLUMN}, 'part-(\d+)[^/]*$', 1) AS BIGINT) * {rows_per_part} + file_row_number"


def sample_parts(connection: "duckdb.DuckDBPyConnection", catalog: str, namespace: str, table: str) -> dict[str, Parts]:
    """Return the samples in parts of a table, by resample date, from a warehouse that is attached under a name."""
    known = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = $1 AND schema_name = $2 AND table_name = $3",
        [catalog, namespace, table + PARTS],
    ).fetchone()
    if known is None:
        return {}
    found: dict[str, tuple[list[Part], str]] = {}
    rows = connection.execute(
        f"SELECT CAST({quoted(RESAMPLE_DATE)} AS VARCHAR), file, row_count, sha256, model_version "
        f"FROM {quoted(catalog, namespace, table + PARTS)} ORDER BY {quoted(RESAMPLE_DATE)}, rowid"
    ).fetchall()
    for resample_date, file, row_count, hashed, model_version in rows:
        found.setdefault(resample_date, ([], model_version))[0].append(Part(file, row_count, hashed))
    return {resample_date: Parts(*of_date) for resample_date, of_date in found.items()}


def _unreadable(error: BaseException) -> str:
    return f"a Parquet file of the sample cannot be read ({error}). Materialize the sample again, or delete it."


def _typed(name: str, sql_type: str | None) -> str:
    column = quoted(name)
    return column if sql_type is None else f"CAST({column} AS {sql_type}) AS {column}"


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in sorted(columns.items()))


def _record(
    connection: "duckdb.DuckDBPyConnection",
    namespace: str,
    asset: str,
    resample_date: str | None,
    row_count: int | None,
    provenance: Provenance,
) -> None:
    target = quoted(CATALOG, namespace, PROVENANCE)
    columns = ", ".join(f"{name} {type_}" for name, (type_, _) in PROVENANCE_COLUMNS.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {target} ({columns})")
    connection.execute(f"COMMENT ON TABLE {target} IS '{_FORMAT_COMMENT}'")
    # A step that is retried within its run replaces the record of its first attempt.
    connection.execute(
        f"DELETE FROM {target} WHERE asset = $1 AND partition_key IS NOT DISTINCT FROM $2 AND run_id = $3",
        [asset, resample_date, provenance.run_id],
    )
    connection.execute(
        f"INSERT INTO {target} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [
            asset,
            resample_date,
            datetime.now(UTC),
            provenance.run_id,
            provenance.code_version,
            provenance.data_version,
            row_count,
            json.dumps(provenance.details),
        ],
    )
