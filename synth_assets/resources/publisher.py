"""The publisher: gives consumers one DuckDB file of their own, replaced whole by a rename.

Readers of the old file go on reading it; whoever opens the path next reads the new one. At no moment is there none,
or half of one.
"""

import os
import shutil
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import dagster as dg
from filelock import FileLock

from synth_assets.errors import ForeseenError
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.warehouse import CATALOG, PARTITION_COLUMN, Warehouse, quoted

CONSUMER_TABLES = (
    "raw",
    "encoded_split",
    "synthetic_sample",
    "fidelity",
    "privacy",
    "regression_comparison",
    "report",
    "provenance",
)
"""The tables that consumers may rely on; `synthetic_latest` is a view on the newest sample."""


class PublishError(ForeseenError, RuntimeError):
    """Nothing could be published; the message says why. What was published before is still there."""


class Publisher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Copies the consumers' tables of the warehouse into a file of their own.

    Parameters
    ----------
    folder : DataFolder
        The data folder that holds the file.
    warehouse : Warehouse
        Where the tables are copied from.
    """

    folder: DataFolder
    warehouse: Warehouse

    @property
    def path(self) -> Path:
        """The published DuckDB file."""
        return self.folder.paths.published

    def publish(self) -> dict[str, int]:
        """Replace the published file by one with the present state of the warehouse.

        Returns
        -------
        dict
            The number of rows of each table in it, by `schema.table`.

        Raises
        ------
        PublishError
            If the new file cannot be written.
        WarehouseError
            If the warehouse cannot be read.
        """
        import duckdb

        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.paths.root / ".publishing.lock"):
                for left_by_a_kill in folder.glob(".building-*"):
                    shutil.rmtree(left_by_a_kill)
                # DuckDB names a database after its file: built under its final name, in a folder of its own.
                building = folder / f".building-{uuid4().hex}"
                building.mkdir()
                try:
                    counts = self._build(building / self.path.name)
                    _sync(building / self.path.name)
                    (building / self.path.name).replace(self.path)
                    _sync(folder)
                finally:
                    shutil.rmtree(building, ignore_errors=True)
        except (duckdb.Error, OSError) as error:
            raise PublishError(
                f"{self.path} could not be replaced ({error}). What was published before is still there."
            ) from error
        return counts

    def _build(self, path: Path) -> dict[str, int]:
        import duckdb

        counts = {}
        with closing(duckdb.connect(str(path))) as connection:
            self.warehouse.attach_to(connection, CATALOG)
            stored = connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1 ORDER BY ALL", [CATALOG]
            ).fetchall()
            for schema, table in stored:
                if table in CONSUMER_TABLES:
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(path.stem, schema)}")
                    copied = connection.execute(
                        f"CREATE TABLE {quoted(path.stem, schema, table)} AS "
                        f"SELECT * FROM {quoted(CATALOG, schema, table)} ORDER BY rowid"
                    ).fetchone()
                    counts[f"{schema}.{table}"] = copied[0] if copied else 0
                if table == "synthetic_sample":
                    # Without the catalog in it, the view works under any name that the file is attached as.
                    connection.execute(f"USE {quoted(path.stem, schema)}")
                    day = quoted(PARTITION_COLUMN)
                    connection.execute(
                        "CREATE VIEW synthetic_latest AS SELECT * FROM synthetic_sample "
                        f"WHERE {day} = (SELECT max({day}) FROM synthetic_sample)"
                    )
            connection.execute(f"DETACH {quoted(CATALOG)}")
            # On closing, DuckDB would keep silent of a checkpoint that failed, and leave its rows beside the file.
            connection.execute("CHECKPOINT")
        return counts


def _sync(path: Path) -> None:
    # A rename is only as lasting as what it renames: both the file and its folder go to the disk.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
