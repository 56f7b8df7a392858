"""How a publication is built: what of the warehouse may be published, and what goes into its files."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from filecmp import cmp
from hashlib import sha256 as sha256_of
from importlib.metadata import version as version_of
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

from synth_assets.publishing.publications import FORMAT, Publication, folder_name, now
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema
from synth_assets.storage.files import sha256
from synth_assets.storage.sql import quoted
from synth_assets.storage.warehouse import (
    CATALOG,
    INPUTS,
    PARTITION_COLUMN,
    PROVENANCE,
    PROVENANCE_COLUMNS,
    Warehouse,
)
from synth_assets.synthesizers.base import SampleSettings

if TYPE_CHECKING:
    import duckdb

SAMPLE, VERDICTS = "synthetic_sample", "report"
"""The table with a sample's rows, and the one with its gates' verdicts."""

VIEWS = {
    "synthetic_latest": (
        "The synthetic rows of the newest day.",
        "SELECT * FROM {sample} WHERE {day} = (SELECT max({day}) FROM {sample})",
    ),
    "synthetic_all": ("The synthetic rows of all days.", "SELECT * FROM {sample}"),
}
"""By view: what it shows, and how it is made."""

PUBLICATION_TABLE = "publication"
PUBLICATION_COLUMNS = {
    "publication": ("VARCHAR", "The id of the publication: one and the same in all rows of this file."),
    "published_at": ("TIMESTAMPTZ", "When it was published."),
    "table_schema": ("VARCHAR", "The schema of a table in this file."),
    "table_name": ("VARCHAR", "The table's name."),
    "row_count": ("BIGINT", "How many rows it has."),
    "content_hash": ("VARCHAR", "A hash of its rows: where it is another one, the rows are others."),
}
"""By column of the table in `main` that says what is in the file: its type, and what it says."""

_BASE, _FILE = "base", "synthetic"
"""What the publication that is built on, and the one that is built, are called in queries."""


@dataclass(frozen=True)
class TableDescription:
    """What consumers are told of a table.

    Parameters
    ----------
    description : str
        What is in it.
    columns : mapping of str to str
        What each column says.
    of_sample : bool
        Whether its rows belong to the sample of a day.
    """

    description: str
    columns: Mapping[str, str]
    of_sample: bool


@dataclass(frozen=True)
class PublishSpec:
    """What consumers are offered of a table that is synthesized.

    Parameters
    ----------
    name : str
        Its name, which is that of its schema in DuckDB.
    encoding : Encoding
        Its schema, and how `encoded_split` writes its rows.
    sample : SampleSettings
        How its rows are sampled.
    tables : mapping of str to TableDescription
        The tables that are published. What is not named here stays in the warehouse.
    """

    name: str
    encoding: Encoding
    sample: SampleSettings
    tables: Mapping[str, TableDescription]

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return {
            "schema": self.encoding.schema.model_dump(mode="json"),
            "target_name": self.encoding.target_name,
            "sample_spec": self.sample.model_dump(mode="json"),
            "tables": {name: asdict(table) for name, table in self.tables.items()},
        }

    @classmethod
    def from_json(cls, name: str, stated: Mapping[str, Any]) -> "PublishSpec":
        """Read what `as_json` gave."""
        return cls(
            name,
            Encoding(TableSchema.model_validate(stated["schema"]), stated["target_name"]),
            SampleSettings.model_validate(stated["sample_spec"]),
            {
                table: TableDescription(each["description"], each["columns"], each["of_sample"])
                for table, each in stated["tables"].items()
            },
        )


class PublicationBuilder:
    """A publication that is being built: a DuckDB file, and the samples as Parquet.

    Parameters
    ----------
    folder : pathlib.Path
        Where.
    connection : duckdb.DuckDBPyConnection
        To the DuckDB file in it, with the publication that is built on attached as `base`.
    base : Publication, optional
        What is built on: what stays as it is comes from there.
    """

    def __init__(self, folder: Path, connection: "duckdb.DuckDBPyConnection", base: Publication | None) -> None:
        self.folder = folder
        self._connection = connection
        self._base = base
        self._tables: dict[str, Any] = {}

    def judged(
        self, offer: PublishSpec, warehouse: Warehouse
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
        """Find the samples in the warehouse that may be published.

        One may be if all blocking gates let it through, and if what judged it, and what is published beside it, is
        about the very rows that are stored now. The warehouse stays attached until `finish`: nobody can write to it.

        Parameters
        ----------
        offer : PublishSpec
            Whose samples.
        warehouse : Warehouse
            Where they are.

        Returns
        -------
        passed : dict of str to list of dict
            By day, the verdicts of its gates.
        left_out : dict of str to str
            By day, why it may not be published.
        """
        warehouse.attach_to(self._connection, CATALOG)
        stored = self._stored(CATALOG, offer.name)
        if SAMPLE not in stored:
            return {}, {}
        records = {
            (asset, day): (version, json.loads(inputs or "{}"))
            for asset, day, version, inputs in self._connection.execute(
                f"SELECT asset, partition_key, data_version, details->'{INPUTS}' "
                f"FROM {quoted(CATALOG, offer.name, PROVENANCE)} ORDER BY rowid"
            ).fetchall()
        }
        evidence = [name for name, table in offer.tables.items() if table.of_sample and name in stored]
        passed, left_out = {}, {}
        for day in self._days(CATALOG, offer.name):
            verdicts = self._verdicts(offer.name, day) if VERDICTS in stored else []
            reason = _why_not(verdicts) or _what_is_stale({*evidence, VERDICTS} - {SAMPLE}, day, records)
            if reason:
                left_out[day] = reason
            else:
                passed[day] = verdicts
        return passed, left_out

    def add_table(self, offer: PublishSpec, fresh: Mapping[str, list[dict[str, Any]]], kept: Collection[str]) -> None:
        """Add the tables of an offer.

        Parameters
        ----------
        offer : PublishSpec
            The offer.
        fresh : mapping of str to list of dict
            The days whose samples come from the warehouse, with their verdicts.
        kept : collection of str
            The days whose samples stay as they are published.
        """
        self._add(offer, {CATALOG: sorted(fresh), _BASE: sorted(kept)}, fresh)

    def add_published(self, table: str, *, without: Collection[str] = ()) -> None:
        """Add the tables of what is synthesized as they are published already, without some days."""
        assert self._base is not None  # noqa: S101 - there is no published table without a publication
        days = self._base.days(table).keys() - set(without)
        self._add(PublishSpec.from_json(table, self._base.manifest["tables"][table]), {_BASE: sorted(days)}, {})

    def finish(self, *, previous: str | None) -> dict[str, Any]:
        """Add what else is published, close the file, and give the manifest.

        Parameters
        ----------
        previous : str, optional
            The id of the publication that is current until now.

        Returns
        -------
        dict
            The manifest, but for the files' hashes.
        """
        for table in self._base.manifest["tables"] if self._base else ():
            if table not in self._tables:
                self.add_published(table)
        state = sha256_of(json.dumps([FORMAT, self._tables], sort_keys=True).encode()).hexdigest()
        published_at = now()
        id_ = f"{published_at[:23].replace('-', '').replace(':', '')}Z-{state[:8]}"
        self._write_contents(id_, published_at)
        for (name,) in self._connection.execute(
            "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> $1", [_FILE]
        ).fetchall():
            self._connection.execute(f"DETACH {quoted(name)}")
        # On closing, DuckDB would keep silent of a checkpoint that failed, and leave its rows beside the file.
        self._connection.execute("CHECKPOINT")
        self._connection.close()
        return {
            "publication": id_,
            "format": FORMAT,
            "published_at": published_at,
            "previous": previous,
            "state": state,
            "versions": {
                "python": python_version(),
                **{name: version_of(name) for name in ("synth-assets", "duckdb", "pandas")},
            },
            "tables": dict(sorted(self._tables.items())),
        }

    def _add(
        self, offer: PublishSpec, days: Mapping[str, list[str]], fresh: Mapping[str, list[dict[str, Any]]]
    ) -> None:
        # `days`: by source, the days that come from there; the first that has it gives what belongs to no day.
        here = {source: self._stored(source, offer.name) for source in days}
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(_FILE, offer.name)}")
        stated = offer.as_json()
        for table, description in offer.tables.items():
            sources = [source for source, tables in here.items() if table in tables]
            if not sources:
                del stated["tables"][table]
                continue
            if description.of_sample:
                self._copy_days(offer.name, table, {source: days[source] for source in sources})
            else:
                self._connection.execute(
                    f"CREATE TABLE {quoted(_FILE, offer.name, table)} AS "
                    f"SELECT * FROM {quoted(sources[0], offer.name, table)} ORDER BY rowid"
                )
            stated["tables"][table].update(self._contents_of(offer.name, table))
        self._copy_records(offer.name, days, here)
        self._describe(offer)
        stated["samples"] = self._write_samples(offer.name, fresh)
        self._tables[offer.name] = stated

    def _stored(self, source: str, schema: str) -> set[str]:
        return {
            row[0]
            for row in self._connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 AND schema_name = $2", [source, schema]
            ).fetchall()
        }

    def _days(self, source: str, schema: str) -> list[str]:
        day = quoted(PARTITION_COLUMN)
        found = self._connection.execute(
            f"SELECT DISTINCT CAST({day} AS VARCHAR) FROM {quoted(source, schema, SAMPLE)} ORDER BY ALL"
        ).fetchall()
        return [row[0] for row in found]

    def _verdicts(self, schema: str, day: str) -> list[dict[str, Any]]:
        columns = ("gate", "blocking", "passed", "message")
        found = self._connection.execute(
            f"SELECT {quoted(columns[0])}, {', '.join(map(quoted, columns[1:]))} "
            f"FROM {quoted(CATALOG, schema, VERDICTS)} WHERE {quoted(PARTITION_COLUMN)} = CAST($1 AS DATE) "
            "ORDER BY rowid",
            [day],
        ).fetchall()
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _copy_days(self, schema: str, table: str, days: Mapping[str, list[str]]) -> None:
        # Each day comes from one source, in the order in which it was written there.
        day = quoted(PARTITION_COLUMN)
        parts = " UNION ALL BY NAME ".join(
            f'SELECT *, rowid AS "rowid" FROM {quoted(source, schema, table)} '
            f"WHERE list_contains(CAST(${number} AS DATE[]), {day})"
            for number, source in enumerate(days, 1)
        )
        self._connection.execute(
            f"CREATE TABLE {quoted(_FILE, schema, table)} AS "
            f'SELECT * EXCLUDE ("rowid") FROM ({parts}) ORDER BY {day}, "rowid"',
            list(days.values()),
        )

    def _copy_records(self, schema: str, days: Mapping[str, list[str]], here: Mapping[str, set[str]]) -> None:
        # Of a day, what was recorded of the rows that are published: of each asset, the last that was written. The
        # clock may have been set back since.
        sources = [source for source, tables in here.items() if PROVENANCE in tables]
        parts = " UNION ALL ".join(
            f'SELECT *, {number} AS "source", rowid AS "rowid" FROM {quoted(source, schema, PROVENANCE)} '
            f"WHERE list_contains(CAST(${number} AS VARCHAR[]), partition_key)"
            for number, source in enumerate(sources, 1)
        )
        self._connection.execute(
            f"CREATE TABLE {quoted(_FILE, schema, PROVENANCE)} AS "
            'SELECT * EXCLUDE ("source", "rowid") FROM ('
            f'SELECT *, 0 AS "source", rowid AS "rowid" FROM {quoted(sources[0], schema, PROVENANCE)} '
            f"WHERE partition_key IS NULL UNION ALL SELECT * FROM ({parts}) "
            'QUALIFY row_number() OVER (PARTITION BY asset, partition_key ORDER BY "rowid" DESC) = 1) '
            'ORDER BY "source" DESC, "rowid"',
            [days[source] for source in sources],
        )

    def _contents_of(self, schema: str, table: str) -> dict[str, Any]:
        name = quoted(_FILE, schema, table)
        columns = [row[:2] for row in self._connection.execute(f"DESCRIBE {name}").fetchall()]
        found = self._connection.execute(
            f'SELECT count(*), sum(hash(row_, "rowid")) FROM (SELECT t AS row_, rowid AS "rowid" FROM {name} t)'
        ).fetchone()
        rows, content = found or (0, None)
        return {"rows": rows, "content": sha256_of(f"{columns} {rows} {content}".encode()).hexdigest()}

    def _describe(self, offer: PublishSpec) -> None:
        # Without the catalog in them, views work under any name that the file is attached as.
        self._connection.execute(f"USE {quoted(_FILE, offer.name)}")
        described = dict(offer.tables)
        if SAMPLE in self._stored(_FILE, offer.name):
            for view, (description, query) in VIEWS.items():
                names = {"sample": quoted(SAMPLE), "day": quoted(PARTITION_COLUMN)}
                self._connection.execute(f"CREATE VIEW {quoted(view)} AS {query.format(**names)}")
                described[view] = TableDescription(description, offer.tables[SAMPLE].columns, of_sample=True)
        described[PROVENANCE] = TableDescription(
            "A materialization: what was made when, from which inputs and versions.",
            {name: said for name, (_, said) in PROVENANCE_COLUMNS.items()},
            of_sample=False,
        )
        columns = self._connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = $1 AND schema_name = $2",
            [_FILE, offer.name],
        ).fetchall()
        for table in {table for table, _ in columns} & described.keys():
            name = quoted(_FILE, offer.name, table)
            self._comment("VIEW" if table in VIEWS else "TABLE", name, described[table].description)
        for table, column in columns:
            if table in described and column in described[table].columns:
                name = quoted(_FILE, offer.name, table, column)
                self._comment("COLUMN", name, described[table].columns[column])

    def _comment(self, kind: str, name: str, text: str) -> None:
        self._connection.execute(f"COMMENT ON {kind} {name} IS '{text.replace(chr(39), chr(39) * 2)}'")

    def _write_samples(self, schema: str, fresh: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if SAMPLE not in self._stored(_FILE, schema):
            return found
        published = self._base.days(schema) if self._base else {}
        day_column, sample = quoted(PARTITION_COLUMN), quoted(_FILE, schema, SAMPLE)
        for day in self._days(_FILE, schema):
            where = f"WHERE {day_column} = DATE '{day}'"
            counted = self._connection.execute(
                f"SELECT count(*), any_value(model_version) FROM {sample} {where}"
            ).fetchone()
            rows, model = counted or (0, None)
            folder = Path(folder_name(schema)) / SAMPLE / f"{PARTITION_COLUMN}={day}"
            (self.folder / folder).mkdir(parents=True)
            written = self.folder / folder / "rows.parquet"
            target = str(written).replace("'", "''")
            self._connection.execute(
                f"COPY (SELECT * EXCLUDE ({day_column}) FROM {sample} {where} ORDER BY rowid) "
                f"TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
            )
            # Under the hash of its rows: a reader who lists files of one publication, and opens them in the next, gets
            # the same rows or none.
            file = folder / f"{sha256(written)[:16]}.parquet"
            written.rename(self.folder / file)
            self._share(file)
            found[day] = {
                "rows": rows,
                "model_version": model,
                "parquet": file.as_posix(),
                "gates": fresh[day] if day in fresh else published[day]["gates"],
            }
        return found

    def _share(self, file: Path) -> None:
        # What did not change since the last publication takes no second place on the disk.
        if self._base is None:
            return
        before, built = self._base.folder / file, self.folder / file
        if before.is_file() and cmp(before, built, shallow=False):
            shared = built.with_suffix(".shared")
            with suppress(OSError):  # a file system without hard links: then it takes a second place
                shared.hardlink_to(before)
                shared.replace(built)

    def _write_contents(self, id_: str, published_at: str) -> None:
        columns = ", ".join(f"{name} {type_}" for name, (type_, _) in PUBLICATION_COLUMNS.items())
        target = quoted(_FILE, "main", PUBLICATION_TABLE)
        self._connection.execute(f"CREATE TABLE {target} ({columns})")
        for schema, of in sorted(self._tables.items()):
            for table in (*of["tables"], PROVENANCE):
                contents = self._contents_of(schema, table)
                self._connection.execute(
                    f"INSERT INTO {target} VALUES ($1, $2, $3, $4, $5, $6)",
                    [id_, published_at, schema, table, contents["rows"], contents["content"]],
                )
        self._comment("TABLE", target, "The tables of this publication.")
        for name, (_, said) in PUBLICATION_COLUMNS.items():
            self._comment("COLUMN", f"{target}.{quoted(name)}", said)


@contextmanager
def building(folder: Path, base: Publication | None) -> Iterator[PublicationBuilder]:
    """Begin a publication in an empty folder, on another one; the file is closed at the end in any case."""
    import duckdb

    # DuckDB names a database after its file: built under its final name.
    with closing(duckdb.connect(str(folder / f"{_FILE}.duckdb"))) as connection:
        if base is not None:
            path = str(base.file).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS {quoted(_BASE)} (READ_ONLY)")
        yield PublicationBuilder(folder, connection, base)


def _why_not(verdicts: Collection[Mapping[str, Any]]) -> str:
    blocking = [verdict for verdict in verdicts if verdict["blocking"]]
    failed = [verdict["gate"] for verdict in blocking if not verdict["passed"]]
    if failed:
        return f"it did not pass {', '.join(failed)}"
    return "" if blocking else f"no gate has judged it yet; materialize {VERDICTS} of that day"


def _what_is_stale(
    assets: Collection[str], day: str, records: Mapping[tuple[str, str | None], tuple[str | None, Mapping[str, str]]]
) -> str:
    def is_of_the_present_rows(asset: str) -> bool:
        if asset == SAMPLE:
            return True
        _, inputs = records.get((asset, day), (None, {}))
        of_day = {name: version for name, version in inputs.items() if (name, day) in records}
        return bool(of_day) and all(
            records[name, day][0] == version and is_of_the_present_rows(name) for name, version in of_day.items()
        )

    stale = [name for name in sorted(assets) if (name, day) in records and not is_of_the_present_rows(name)]
    if VERDICTS not in stale and (VERDICTS, day) not in records:
        stale.append(VERDICTS)
    return (
        f"{', '.join(stale)} of that day is not about the rows that are stored now; materialize it again"
        if stale
        else ""
    )
