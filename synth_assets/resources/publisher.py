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

from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.warehouse import PARTITION_COLUMN, Warehouse, quoted

CONSUMER_TABLES = (
    "raw",
    "encoded_split",
    "synthetic_sample",
    "fidelity",
    "regression_comparison",
    "provenance",
)
"""The tables that consumers may rely on; `synthetic_latest` is a view on the newest sample."""


class PublishError(RuntimeError):
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
        """
        import duckdb

        # DuckDB names a database after its file: built under its final name, in a folder of its own.
        building = self.path.parent / f".building-{uuid4().hex}"
        try:
            building.mkdir(parents=True)
            counts = self._build(building / self.path.name)
            _sync(building / self.path.name)
            (building / self.path.name).replace(self.path)
            _sync(self.path.parent)
        except (duckdb.Error, OSError) as error:
            raise PublishError(
                f"{self.path} could not be replaced ({error}). What was published before is still there."
            ) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return counts

    def _build(self, path: Path) -> dict[str, int]:
        import duckdb

        counts = {}
        with closing(duckdb.connect(str(path))) as connection:
            self.warehouse.attach_to(connection, "warehouse")
            stored = connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'warehouse' ORDER BY ALL"
            ).fetchall()
            for schema, table in stored:
                if table in CONSUMER_TABLES:
                    target = f"{quoted(schema)}.{quoted(table)}"
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
                    copied = connection.execute(
                        f"CREATE TABLE {target} AS SELECT * FROM warehouse.{target} ORDER BY rowid"
                    ).fetchone()
                    counts[f"{schema}.{table}"] = copied[0] if copied else 0
                if table == "synthetic_sample":
                    latest = f"{quoted(schema)}.synthetic_latest"
                    date = quoted(PARTITION_COLUMN)
                    connection.execute(
                        f"CREATE VIEW {latest} AS SELECT * FROM {target} "
                        f"WHERE {date} = (SELECT max({date}) FROM {target})"
                    )
            connection.execute("DETACH warehouse")
        return counts


def _sync(path: Path) -> None:
    # A rename is only as lasting as what it renames: both the file and its folder go to the disk.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
