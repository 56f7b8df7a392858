"""The warehouse: one DuckDB file with a namespace for each table that is synthesized.

DuckDB lets one process write to a file, or several read it. So a connection is opened for the length of one read or
write, and one that finds the file taken tries again for a while.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import is_damage, quoted

if TYPE_CHECKING:
    import duckdb

PARTITION_COLUMN = "resample_date"
PROVENANCE = "provenance"
PROVENANCE_COLUMNS = {
    "asset": ("VARCHAR", "What was materialized."),
    "partition_key": ("VARCHAR", "The day, for what belongs to a sample."),
    "materialized_at": ("TIMESTAMPTZ", "When."),
    "run_id": ("VARCHAR", "By which run of Dagster."),
    "code_version": ("VARCHAR", "By which version of the asset's code."),
    "data_version": ("VARCHAR", "The hash of the rows."),
    "row_count": ("BIGINT", "How many rows."),
    "details": (
        "JSON",
        "The rest: settings and results; under 'inputs', the data version of each table that was read.",
    ),
}
"""By column: its type, and what it says."""
INPUTS = "inputs"
WAIT_FOR_LOCK_S = 100.0

CATALOG = "warehouse"
"""DuckDB names a database after its file. Written out, so that a table may be called like it."""

T = TypeVar("T")


class WarehouseError(ForeseenError, RuntimeError):
    """The warehouse cannot be read or written; the message says why, and that nothing was changed."""


@dataclass(frozen=True)
class Provenance:
    """What is recorded of a materialization, beside what it wrote.

    Parameters
    ----------
    run_id : str
        The Dagster run.
    code_version : str, optional
        The version of the asset's code.
    data_version : str, optional
        The version of what was made; for a table, the hash of its cells.
    details : mapping
        The asset's metadata, as JSON: its inputs, versions and results.
    """

    run_id: str
    code_version: str | None = None
    data_version: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB file in which the pipeline keeps its tables.

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
        schema: str,
        table: str,
        frame: pd.DataFrame,
        *,
        provenance: Provenance,
        partition: str | None = None,
    ) -> None:
        """Replace a table, or one partition of it, and record where it came from, in one transaction.

        Parameters
        ----------
        schema, table : str
            Where to write; any text, it is quoted.
        frame : pandas.DataFrame
            The rows. Columns are matched by name.
        provenance : Provenance
            What is recorded beside.
        partition : str, optional
            An ISO date: only the rows of that `resample_date` are replaced, and these rows get it.

        Raises
        ------
        WarehouseError
            If the frame is empty or its columns are not those of the partitions that are there, or if the file cannot
            be written. Nothing is changed then.
        """
        target = quoted(CATALOG, schema, table)
        if frame.empty:
            raise WarehouseError(f"{schema}.{table}: there is no row to write; what is stored stays as it is.")
        with self._connection(read_only=False) as connection, _transaction(connection, f"{schema}.{table}"):
            connection.register("new_rows", frame)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(CATALOG, schema)}")
            if partition is None:
                connection.execute(f"CREATE OR REPLACE TABLE {target} AS SELECT * FROM new_rows")
            else:
                rows = f"SELECT CAST($1 AS DATE) AS {quoted(PARTITION_COLUMN)}, * FROM new_rows"
                connection.execute(f"CREATE TABLE IF NOT EXISTS {target} AS {rows} LIMIT 0", [partition])
                _check_columns(connection, f"{schema}.{table}", target, rows, partition)
                connection.execute(
                    f"DELETE FROM {target} WHERE {quoted(PARTITION_COLUMN)} = CAST($1 AS DATE)",
                    [partition],
                )
                connection.execute(f"INSERT INTO {target} BY NAME {rows}", [partition])
            _record(connection, schema, table, partition, len(frame), provenance)

    def record(self, schema: str, asset: str, *, provenance: Provenance, partition: str | None = None) -> None:
        """Record a materialization that wrote no table.

        Parameters
        ----------
        schema, asset : str
            The table's schema, and the asset's name.
        provenance : Provenance
            What is recorded.
        partition : str, optional
            The partition that was materialized.

        Raises
        ------
        WarehouseError
            If the file cannot be written.
        """
        with (
            self._connection(read_only=False) as connection,
            _transaction(connection, f"{schema}.{PROVENANCE}"),
        ):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(CATALOG, schema)}")
            _record(connection, schema, asset, partition, None, provenance)

    def delete_partition(self, schema: str, partition: str) -> int:
        """Delete the rows of a partition from all tables of a schema, and the record of how they were made.

        Parameters
        ----------
        schema : str
            The table's schema.
        partition : str
            An ISO date.

        Returns
        -------
        int
            How many rows were deleted.

        Raises
        ------
        WarehouseError
            If the file cannot be written. Nothing is changed then.
        """
        if not self.path.exists():
            return 0
        deleted = 0
        with self._connection(read_only=False) as connection, _transaction(connection, f"{schema} of {partition}"):
            tables = connection.execute(
                "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = $1 "
                "AND schema_name = $2 AND (column_name = $3 AND data_type = 'DATE' OR table_name = $4 "
                "AND column_name = 'partition_key')",
                [CATALOG, schema, PARTITION_COLUMN, PROVENANCE],
            ).fetchall()
            for table, column, type_ in tables:
                done = connection.execute(
                    f"DELETE FROM {quoted(CATALOG, schema, table)} WHERE {quoted(column)} = CAST($1 AS {type_})",
                    [partition],
                ).fetchone()
                deleted += done[0] if done else 0
        return deleted

    def read(self, schema: str, table: str, *, partition: str | None = None) -> pd.DataFrame:
        """Read a table, or one partition of it without its `resample_date`, in the order in which it was written.

        Parameters
        ----------
        schema, table : str
            What to read.
        partition : str, optional
            An ISO date.

        Returns
        -------
        pandas.DataFrame
            The rows.

        Raises
        ------
        WarehouseError
            If there is no such table, or no row in the partition.
        """
        return self.read_with_version(schema, table, partition=partition)[0]

    def read_with_version(
        self, schema: str, table: str, *, partition: str | None = None
    ) -> tuple[pd.DataFrame, str | None]:
        """Read a table as `read` does, and its data version, if there is one on record.

        Raises
        ------
        WarehouseError
            If there is no such table, or no row in the partition.
        """
        import duckdb

        name = f"{schema}.{table}"
        target = quoted(CATALOG, schema, table)
        query, values = f"SELECT * FROM {target}", []
        if partition is not None:
            name += f" of {partition}"
            column = quoted(PARTITION_COLUMN)
            query, values = f"SELECT * EXCLUDE ({column}) FROM {target} WHERE {column} = CAST($1 AS DATE)", [partition]
        absent = f"the warehouse has no {name} yet: materialize {schema}/{table} first."
        if not self.path.exists():
            raise WarehouseError(absent)
        with self._connection(read_only=True) as connection:
            try:
                frame = connection.execute(f"{query} ORDER BY rowid", values).df()
                recorded = connection.execute(
                    f"SELECT data_version FROM {quoted(CATALOG, schema, PROVENANCE)} WHERE asset = $1 "
                    "AND partition_key IS NOT DISTINCT FROM $2 ORDER BY rowid DESC LIMIT 1",
                    [table, partition],
                ).fetchone()
            except duckdb.CatalogException as error:
                raise WarehouseError(absent) from error
            except duckdb.Error as error:
                raise WarehouseError(f"{name} cannot be read from {self.path}: {error}{_advice(error)}") from error
        if frame.empty:
            raise WarehouseError(absent)
        return frame, recorded[0] if recorded else None

    def verify(self) -> int:
        """Read every row of every table, by which DuckDB compares every block with its checksum.

        Returns
        -------
        int
            How many rows there are.

        Raises
        ------
        WarehouseError
            If the file cannot be opened, or a table cannot be read; the message names it.
        """
        import duckdb

        if not self.path.exists():
            raise WarehouseError(f"there is no warehouse {self.path} yet; `make demo` makes one.")
        rows = 0
        with self._connection(read_only=True) as connection:
            tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
            for schema, table in tables:
                try:
                    counted = connection.execute(
                        f"SELECT count(*), bit_xor(hash(t)) FROM {quoted(CATALOG, schema, table)} t"
                    ).fetchone()
                except duckdb.Error as error:
                    raise WarehouseError(
                        f"{schema}.{table} cannot be read from {self.path}: {error}{_advice(error)}"
                    ) from error
                rows += counted[0] if counted else 0
        return rows

    def latest_details(self, schema: str, asset: str, *, partition: str | None = None) -> dict[str, Any]:
        """Give the recorded details of an asset's last materialization, or of the last one of a partition.

        Raises
        ------
        WarehouseError
            If it was never materialized.
        """
        records = self.read(schema, PROVENANCE)
        records = records[records["asset"] == asset]
        if partition is not None:
            records = records[records["partition_key"] == partition]
        if records.empty:
            of = "" if partition is None else f" of {partition}"
            raise WarehouseError(f"{schema}/{asset}{of} was never materialized.")
        details: dict[str, Any] = json.loads(records["details"].iloc[-1])
        return details

    def attach_to(self, connection: "duckdb.DuckDBPyConnection", alias: str) -> None:
        """Attach the file, for reading, to a connection to another.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            The connection; as long as it is open, nothing can be written to the warehouse.
        alias : str
            The name of the warehouse in its queries.

        Raises
        ------
        WarehouseError
            If the file cannot be opened.
        """
        path = str(self.path).replace("'", "''")
        self._when_free(lambda: connection.execute(f"ATTACH '{path}' AS {quoted(alias)} (READ_ONLY)"))

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator["duckdb.DuckDBPyConnection"]:
        import duckdb

        def connect() -> "duckdb.DuckDBPyConnection":
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            return duckdb.connect(str(self.path), read_only=read_only)

        connection = self._when_free(connect)
        try:
            yield connection
        finally:
            connection.close()

    def _when_free(self, action: Callable[[], T]) -> T:
        import duckdb

        deadline = time.monotonic() + WAIT_FOR_LOCK_S
        while True:
            try:
                return action()
            except (duckdb.Error, OSError) as error:
                taken = "Could not set lock" in str(error)
                if taken and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                advice = self._how_to_free() if taken else _advice(error)
                raise WarehouseError(f"the warehouse {self.path} cannot be opened: {error}{advice}") from error

    def _how_to_free(self) -> str:
        return (
            f" It was waited for, for {WAIT_FOR_LOCK_S:.0f} s; nothing was changed. End that process (who only reads "
            f"can read {self.paths.published} instead, which no run ever locks), then materialize again."
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
        raise WarehouseError(
            f"{name} could not be written ({error}). Nothing was changed: what was stored is still there."
            f"{_advice(error)}"
        ) from error
    except BaseException:
        _roll_back(connection)
        raise


def _advice(error: BaseException) -> str:
    if not is_damage(error):
        return ""
    return (
        " The file is damaged: restore it from a backup, or move it away and materialize the lineage again. What is "
        "published does not depend on it."
    )


def _roll_back(connection: "duckdb.DuckDBPyConnection") -> None:
    import duckdb

    # After a failed commit, or an error that the file did not survive, there is no transaction left to roll back.
    with suppress(duckdb.TransactionException, duckdb.FatalException):
        connection.rollback()


def _check_columns(connection: "duckdb.DuckDBPyConnection", name: str, target: str, rows: str, partition: str) -> None:
    # INSERT BY NAME would fill a column that is missing with NULL, and round a number to the stored type, without a
    # word.
    stored = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {target}").fetchall()}
    new = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {rows}", [partition]).fetchall()}
    if stored != new:
        raise WarehouseError(
            f"{name} has the columns {_listed(stored)} and the new rows have {_listed(new)}. Nothing was changed. "
            "Earlier partitions and new ones share one table: drop it to start anew."
        )


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in sorted(columns.items()))


def _record(
    connection: "duckdb.DuckDBPyConnection",
    schema: str,
    asset: str,
    partition: str | None,
    row_count: int | None,
    provenance: Provenance,
) -> None:
    target = quoted(CATALOG, schema, PROVENANCE)
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {target} "
        f"({', '.join(f'{name} {type_}' for name, (type_, _) in PROVENANCE_COLUMNS.items())})"
    )
    # A step that is retried within its run takes the place of its first attempt.
    connection.execute(
        f"DELETE FROM {target} WHERE asset = $1 AND partition_key IS NOT DISTINCT FROM $2 AND run_id = $3",
        [asset, partition, provenance.run_id],
    )
    connection.execute(
        f"INSERT INTO {target} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [
            asset,
            partition,
            datetime.now(UTC),
            provenance.run_id,
            provenance.code_version,
            provenance.data_version,
            row_count,
            json.dumps(provenance.details),
        ],
    )
