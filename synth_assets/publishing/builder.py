"""Builds a publication: selects the samples that may be published, and writes the files."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from filecmp import cmp
from hashlib import sha256 as sha256_of
from importlib.metadata import version as version_of
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

from synth_assets.publishing.publications import (
    FOLDER_VARIABLE,
    FORMAT,
    Publication,
    PublicationError,
    folder_name,
    now,
)
from synth_assets.schema.columns import Categorical, Column
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import OTHER, TableSchema
from synth_assets.storage.files import sha256
from synth_assets.storage.sql import quoted, text
from synth_assets.storage.warehouse import (
    CATALOG,
    FILE_COLUMN,
    INPUTS,
    PROVENANCE,
    PROVENANCE_COLUMNS,
    RESAMPLE_DATE,
    Parts,
    Warehouse,
    sample_id,
    sample_parts,
)
from synth_assets.synthesizers.base import SampleSettings

if TYPE_CHECKING:
    import duckdb

Verdicts = list[dict[str, Any]]
"""The verdicts of the gates on a sample: gate, blocking, passed, message."""

SAMPLE, REPORT = "synthetic_sample", "report"
"""The table of synthetic rows, and the table of the gates' verdicts on them."""

ENCODED, CODES = "encoded_split", "codes"
"""The encoded table, and the key of its provenance that lists the code of each label."""

VIEWS = {
    "synthetic_latest": (
        "The synthetic rows of the latest resample date.",
        "SELECT * FROM {sample} WHERE {date} = {latest}",
    ),
    "synthetic_all": ("The synthetic rows of all resample dates.", "SELECT * FROM {sample}"),
}
"""Description and query of each view."""

PUBLICATION_TABLE = "publication"
PUBLICATION_COLUMNS = {
    "publication": ("VARCHAR", "The id of the publication; the same in all rows of this file."),
    "published_at": ("TIMESTAMPTZ", "Time of publication."),
    "table_schema": ("VARCHAR", "The namespace (schema of DuckDB) of a table in this file."),
    "table_name": ("VARCHAR", "The name of the table."),
    "row_count": ("BIGINT", "Number of rows."),
    "content_hash": ("VARCHAR", "Hash of the rows; it changes when any row changes."),
}
"""Type and description of each column of the table `main.publication`."""

_FILE_KEYS = ("model_version", "parquet", "parts", "rows_per_part")
"""Keys of a sample in the manifest that say where its rows are."""

_BASE, _FILE = "base", "synthetic"
"""Names in queries of the publication that is built on, and of the one that is built."""


@dataclass(frozen=True)
class TableDescription:
    """Description of a published table.

    Parameters
    ----------
    description : str
        The comment on the table.
    columns : mapping of str to str
        The comment on each column.
    of_sample : bool
        Whether its rows belong to samples, and so have a `resample_date`.
    """

    description: str
    columns: Mapping[str, str]
    of_sample: bool


@dataclass(frozen=True)
class PublishSpec:
    """What is published of a table.

    Parameters
    ----------
    name : str
        The name of the table, and of its namespace in DuckDB.
    encoding : Encoding
        The schema of the table, and the encoding of `encoded_split`.
    sample : SampleSettings
        The settings of its samples; `synth-assets sample` uses them too.
    tables : mapping of str to TableDescription
        The tables that are published. Tables without an entry stay in the warehouse.
    """

    name: str
    encoding: Encoding
    sample: SampleSettings
    tables: Mapping[str, TableDescription]

    def to_json(self) -> dict[str, Any]:
        """Return the values of a manifest's entry."""
        return {
            "schema": self.encoding.schema.model_dump(mode="json"),
            "target_name": self.encoding.target_name,
            "sample": self.sample.model_dump(mode="json"),
            "tables": {name: asdict(table) for name, table in self.tables.items()},
        }

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> "PublishSpec":
        """Return the spec that `to_json` was called on."""
        return cls(
            name,
            Encoding(TableSchema.model_validate(entry["schema"]), entry["target_name"]),
            SampleSettings.model_validate(entry["sample"]),
            {
                table: TableDescription(each["description"], each["columns"], each["of_sample"])
                for table, each in entry["tables"].items()
            },
        )


class PublicationBuilder:
    """A publication under construction: a DuckDB file, and the samples as Parquet.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the publication.
    connection : duckdb.DuckDBPyConnection
        A connection to its DuckDB file, with the base attached as `base`.
    base : Publication, optional
        The publication that is built on: unchanged tables and samples are copied from it.
    warehouse : Warehouse
        The source of new rows.
    copied_rows : int
        Most synthetic rows of a table that are copied into the file. Of a table with more, or with a sample in parts,
        the file has a view over the Parquet files.
    """

    def __init__(
        self,
        folder: Path,
        connection: "duckdb.DuckDBPyConnection",
        base: Publication | None,
        *,
        warehouse: Warehouse,
        copied_rows: int,
    ) -> None:
        self.folder = folder
        self._connection = connection
        self._base = base
        self._warehouse = warehouse
        self._copied_rows = copied_rows
        self._tables: dict[str, Any] = {}
        self._specs: dict[str, PublishSpec] = {}
        self._views: dict[str, list[_Files]] = {}

    def publishable_samples(self, spec: PublishSpec) -> tuple[dict[str, Verdicts], dict[str, str]]:
        """Return the samples in the warehouse that may be published, and why the others may not.

        A sample may be published if it passed all blocking gates, and if its verdicts and metrics were computed from
        the rows that are stored now. The warehouse stays attached, and so locked against writing, until `finish`.

        Returns
        -------
        passed : dict of str to list of dict
            The verdicts on each publishable sample, by resample date.
        left_out : dict of str to str
            The reason why each other sample may not be published, by resample date.
        """
        self._warehouse.attach_to(self._connection, CATALOG)
        stored = self._stored_tables(CATALOG, spec.name)
        if SAMPLE not in stored:
            return {}, {}
        records = {
            (asset, resample_date): (version, json.loads(inputs or "{}"))
            for asset, resample_date, version, inputs in self._connection.execute(
                f"SELECT asset, partition_key, data_version, details->'{INPUTS}' "
                f"FROM {quoted(CATALOG, spec.name, PROVENANCE)} ORDER BY rowid"
            ).fetchall()
        }
        dependent = {name for name, table in spec.tables.items() if table.of_sample and name in stored}
        passed, left_out = {}, {}
        in_parts = sample_parts(self._connection, CATALOG, spec.name, SAMPLE)
        for resample_date in sorted({*self._stored_rows(CATALOG, spec.name), *in_parts}):
            verdicts = self._verdicts(spec.name, resample_date) if REPORT in stored else []
            reason = _failed_gates(verdicts) or _stale_assets({*dependent, REPORT} - {SAMPLE}, resample_date, records)
            if reason:
                left_out[resample_date] = reason
            else:
                passed[resample_date] = verdicts
        return passed, left_out

    def add_table(self, spec: PublishSpec, new: Mapping[str, Verdicts], carried_over: Collection[str]) -> None:
        """Add the tables of a spec.

        Parameters
        ----------
        spec : PublishSpec
            What is published.
        new : mapping of str to list of dict
            The verdicts on the samples that are copied from the warehouse, by resample date.
        carried_over : collection of str
            The resample dates whose samples are copied from the base.
        """
        self._add(spec, {CATALOG: sorted(new), _BASE: sorted(carried_over)}, new)

    def add_published(self, table: str, *, without: Collection[str] = ()) -> None:
        """Copy the tables of a source table from the base, without the samples of some resample dates."""
        assert self._base is not None  # noqa: S101 - only a base has published tables
        resample_dates = self._base.samples(table).keys() - set(without)
        spec = PublishSpec.from_json(table, self._base.manifest["tables"][table])
        self._add(spec, {_BASE: sorted(resample_dates)}, {})

    def finish(self, *, previous: str | None) -> dict[str, Any]:
        """Copy the remaining tables of the base, close the file, and return the manifest without the hashes of files.

        `previous` is the id of the current publication.
        """
        for table in self._base.manifest["tables"] if self._base else ():
            if table not in self._tables:
                self.add_published(table)
        state = sha256_of(json.dumps([FORMAT, self._tables], sort_keys=True).encode()).hexdigest()
        published_at = now()
        id_ = f"{published_at[:23].replace('-', '').replace(':', '')}Z-{state[:8]}"
        self._write_publication_table(id_, published_at)
        for spec in self._specs.values():
            self._create_views(spec, id_)
            self._comment_on_tables(spec)
        for (name,) in self._connection.execute(
            "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> $1", [_FILE]
        ).fetchall():
            self._connection.execute(f"DETACH {quoted(name)}")
        # When closing fails to checkpoint, DuckDB does not report it and leaves rows in the write-ahead log.
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

    def _add(self, spec: PublishSpec, dates: Mapping[str, list[str]], new: Mapping[str, Verdicts]) -> None:
        # `dates`: the resample dates that each database provides. Tables without samples come from the first one.
        stored = {database: self._stored_tables(database, spec.name) for database in dates}
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(_FILE, spec.name)}")
        entry = {**spec.to_json(), "samples": {}}
        for table, description in spec.tables.items():
            databases = [database for database, tables in stored.items() if table in tables]
            if not databases:
                del entry["tables"][table]
                continue
            if table == SAMPLE:
                of_databases = {database: dates[database] for database in databases}
                entry["samples"] = self._add_samples(spec.name, of_databases, new)
                entry["tables"][SAMPLE].update(self._sample_contents(spec.name, entry["samples"]))
                continue
            if description.of_sample:
                self._copy_samples(spec.name, table, {database: dates[database] for database in databases})
            else:
                self._connection.execute(
                    f"CREATE TABLE {quoted(_FILE, spec.name, table)} AS "
                    f"SELECT * FROM {quoted(databases[0], spec.name, table)} ORDER BY rowid"
                )
            entry["tables"][table].update(self._contents(spec.name, table))
        self._copy_provenance(spec.name, dates, stored, shows_codes=ENCODED in spec.tables)
        entry["schema"] = self._shown_schema(spec).model_dump(mode="json")
        self._tables[spec.name] = entry
        self._specs[spec.name] = spec

    def _shown_schema(self, spec: PublishSpec) -> TableSchema:
        """Return the schema with the labels that the published samples have, where labels of few rows are hidden."""
        schema = spec.encoding.schema
        sample = self._sample(spec.name)
        if schema.label_threshold == 1 or sample is None:
            return schema
        stored = {row[0] for row in self._connection.execute(f"DESCRIBE {sample}").fetchall()}
        columns: list[Column] = []
        for column in schema.columns:
            if isinstance(column, Categorical):
                name = quoted(column.name) if column.name in stored else "NULL"
                seen = {row[0] for row in self._connection.execute(f"SELECT DISTINCT {name} FROM {sample}").fetchall()}
                shown = tuple(label for label in column.categories if label in seen) or (OTHER,)
                column = column.model_copy(update={"categories": shown})
            columns.append(column)
        return schema.model_copy(update={"columns": tuple(columns)})

    def _stored_tables(self, database: str, namespace: str) -> set[str]:
        # With the view of synthetic rows, where the base has one instead of the table.
        return {
            row[0]
            for row in self._connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 AND schema_name = $2 UNION ALL "
                "SELECT view_name FROM duckdb_views() WHERE database_name = $1 AND schema_name = $2 AND view_name = $3",
                [database, namespace, SAMPLE],
            ).fetchall()
        }

    def _stored_rows(self, database: str, namespace: str) -> dict[str, int]:
        # By resample date, oldest first, the rows in the table itself.
        date = quoted(RESAMPLE_DATE)
        return dict(
            self._connection.execute(
                f"SELECT CAST({date} AS VARCHAR), count(*) FROM {quoted(database, namespace, SAMPLE)} "
                "GROUP BY ALL ORDER BY ALL"
            ).fetchall()
        )

    def _verdicts(self, namespace: str, resample_date: str) -> Verdicts:
        columns = ("gate", "blocking", "passed", "message")
        found = self._connection.execute(
            f"SELECT {', '.join(map(quoted, columns))} FROM {quoted(CATALOG, namespace, REPORT)} "
            f"WHERE {quoted(RESAMPLE_DATE)} = CAST($1 AS DATE) ORDER BY rowid",
            [resample_date],
        ).fetchall()
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _copy_samples(self, namespace: str, table: str, dates: Mapping[str, list[str]]) -> None:
        # The rows of a resample date come from one database, in the order of writing.
        date = quoted(RESAMPLE_DATE)
        views = self._connection.execute(
            "SELECT database_name FROM duckdb_views() WHERE schema_name = $1 AND view_name = $2", [namespace, table]
        ).fetchall()
        parts = " UNION ALL BY NAME ".join(
            f'SELECT *, {"row_number() OVER ()" if (database,) in views else "rowid"} AS "rowid" '
            f"FROM {quoted(database, namespace, table)} WHERE list_contains(CAST(${number} AS DATE[]), {date})"
            for number, database in enumerate(dates, 1)
        )
        self._connection.execute(
            f"CREATE TABLE {quoted(_FILE, namespace, table)} AS "
            f'SELECT * EXCLUDE ("rowid") FROM ({parts}) ORDER BY {date}, "rowid"',
            list(dates.values()),
        )

    def _copy_provenance(
        self, namespace: str, dates: Mapping[str, list[str]], stored: Mapping[str, set[str]], *, shows_codes: bool
    ) -> None:
        # For each sample, the last written record of each asset: by order of writing, since a clock may be set back.
        databases = [database for database, tables in stored.items() if PROVENANCE in tables]
        # The codes list every label of the real rows: they go with the table that they explain.
        codes = "" if shows_codes else f" REPLACE (json_merge_patch(details, '{json.dumps({CODES: None})}') AS details)"
        parts = " UNION ALL ".join(
            f'SELECT *, {number} AS "database", rowid AS "rowid" FROM {quoted(database, namespace, PROVENANCE)} '
            f"WHERE list_contains(CAST(${number} AS VARCHAR[]), partition_key)"
            for number, database in enumerate(databases, 1)
        )
        self._connection.execute(
            f"CREATE TABLE {quoted(_FILE, namespace, PROVENANCE)} AS "
            f'SELECT * EXCLUDE ("database", "rowid"){codes} FROM ('
            f'SELECT *, 0 AS "database", rowid AS "rowid" FROM {quoted(databases[0], namespace, PROVENANCE)} '
            f"WHERE partition_key IS NULL UNION ALL SELECT * FROM ({parts}) "
            'QUALIFY row_number() OVER (PARTITION BY asset, partition_key ORDER BY "rowid" DESC) = 1) '
            'ORDER BY "database" DESC, "rowid"',
            [dates[database] for database in databases],
        )

    def _contents(self, namespace: str, table: str) -> dict[str, Any]:
        name = quoted(_FILE, namespace, table)
        columns = [row[:2] for row in self._connection.execute(f"DESCRIBE {name}").fetchall()]
        found = self._connection.execute(
            f'SELECT count(*), sum(hash(row_, "rowid")) FROM (SELECT t AS row_, rowid AS "rowid" FROM {name} t)'
        ).fetchone()
        rows, content = found or (0, None)
        return {"rows": rows, "content": sha256_of(f"{columns} {rows} {content}".encode()).hexdigest()}

    def _create_views(self, spec: PublishSpec, id_: str) -> None:
        # Views name no database: they work whatever name the file is attached under.
        self._connection.execute(f"USE {quoted(_FILE, spec.name)}")
        latest = "(SELECT max({date}) FROM {sample})"
        if spec.name in self._views:
            folder = self.folder.parent.absolute() / id_
            self._connection.execute(f"SET VARIABLE {FOLDER_VARIABLE} = {text(str(self.folder))}")
            query = self._files_query(spec.name, f"coalesce(getvariable('{FOLDER_VARIABLE}'), {text(str(folder))})")
            self._connection.execute(f"CREATE VIEW {quoted(SAMPLE)} AS {query}")
            latest = (
                f"DATE '{max(self._tables[spec.name]['samples'])}'"  # a constant: only the files of this date are read
            )
        elif SAMPLE not in self._stored_tables(_FILE, spec.name):
            return
        names = {"sample": quoted(SAMPLE), "date": quoted(RESAMPLE_DATE)}
        for view, (_, query) in VIEWS.items():
            self._connection.execute(
                f"CREATE VIEW {quoted(view)} AS {query.format(**names, latest=latest.format(**names))}"
            )

    def _comment_on_tables(self, spec: PublishSpec) -> None:
        described = dict(spec.tables)
        if SAMPLE in described:
            for view, (description, _) in VIEWS.items():
                described[view] = TableDescription(description, spec.tables[SAMPLE].columns, of_sample=True)
        described[PROVENANCE] = TableDescription(
            "Materializations: time, run, inputs and versions of each asset.",
            {name: description for name, (_, description) in PROVENANCE_COLUMNS.items()},
            of_sample=False,
        )
        columns = self._connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = $1 AND schema_name = $2",
            [_FILE, spec.name],
        ).fetchall()
        for table in {table for table, _ in columns} & described.keys():
            name = quoted(_FILE, spec.name, table)
            is_view = table in VIEWS or (table == SAMPLE and spec.name in self._views)
            self._comment("VIEW" if is_view else "TABLE", name, described[table].description)
        for table, column in columns:
            if table in described and column in described[table].columns:
                name = quoted(_FILE, spec.name, table, column)
                self._comment("COLUMN", name, described[table].columns[column])

    def _comment(self, kind: str, name: str, text: str) -> None:
        self._connection.execute(f"COMMENT ON {kind} {name} IS '{text.replace(chr(39), chr(39) * 2)}'")

    def _add_samples(
        self, namespace: str, dates: Mapping[str, list[str]], new: Mapping[str, Verdicts]
    ) -> dict[str, Any]:
        """Add the samples, in the file or as a view, and as Parquet; return their entries of the manifest."""
        published = self._base.samples(namespace) if self._base else {}
        in_parts = sample_parts(self._connection, CATALOG, namespace, SAMPLE) if CATALOG in dates else {}
        stored = self._stored_rows(CATALOG, namespace) if CATALOG in dates else {}
        carried_over = dates.get(_BASE, [])
        rows = {
            **{each: len(in_parts[each]) if each in in_parts else stored[each] for each in dates.get(CATALOG, ())},
            **{each: int(published[each]["rows"]) for each in carried_over},
        }
        has_parts = {*in_parts, *(each for each in carried_over if "parts" in published[each])}
        is_view = sum(rows.values()) > self._copied_rows or not has_parts.isdisjoint(rows)
        if not is_view:
            self._copy_samples(namespace, SAMPLE, dates)
        samples: dict[str, Any] = {}
        for resample_date in sorted(rows):
            if is_view and resample_date in in_parts:
                found = self._link_parts(namespace, resample_date, in_parts[resample_date])
            elif is_view and resample_date in carried_over:
                assert self._base is not None  # noqa: S101 - only a base has published samples
                found = {
                    name: published[resample_date][name] for name in _FILE_KEYS if name in published[resample_date]
                }
                for file in files_of(found):
                    self._link(self._base.folder / file, file)
            else:
                found = self._write_parquet(namespace, resample_date, CATALOG if is_view else _FILE)
            gates = new[resample_date] if resample_date in new else published[resample_date]["gates"]
            samples[resample_date] = {"rows": rows[resample_date], **found, "gates": gates}
        if is_view:
            self._views[namespace] = self._grouped(samples)
        return samples

    def _write_parquet(self, namespace: str, resample_date: str, database: str) -> dict[str, Any]:
        sample = quoted(database, namespace, SAMPLE)
        where = f"WHERE {quoted(RESAMPLE_DATE)} = DATE '{resample_date}'"
        versions = self._connection.execute(f"SELECT any_value(model_version) FROM {sample} {where}").fetchone()
        folder = _sample_folder(namespace, resample_date)
        (self.folder / folder).mkdir(parents=True)
        written = self.folder / folder / "rows.parquet"
        self._connection.execute(
            f"COPY (SELECT * EXCLUDE ({quoted(RESAMPLE_DATE)}) FROM {sample} {where} ORDER BY rowid) "
            f"TO {text(str(written))} (FORMAT parquet, COMPRESSION zstd)"
        )
        # Named by its hash: a reader that lists the files of one publication and opens them in the next gets the
        # same rows or an error, never other rows.
        file = folder / f"{sha256(written)[:16]}.parquet"
        written.rename(self.folder / file)
        self._share(file)
        return {"model_version": versions[0] if versions else None, "parquet": file.as_posix()}

    def _link_parts(self, namespace: str, resample_date: str, parts: Parts) -> dict[str, Any]:
        folder = _sample_folder(namespace, resample_date) / f"model_version={folder_name(parts.model_version)}"
        files = []
        for part in parts.files:
            source = self._warehouse.paths.root / part.file
            if sha256(source) != part.sha256:
                raise PublicationError(
                    f"{source}, rows of the sample of {namespace} of {resample_date}, is damaged: it has another "
                    "SHA-256 than when it was written. Nothing was published; materialize the sample again."
                )
            files.append((folder / f"{source.stem}-{part.sha256[:16]}.parquet").as_posix())
            self._link(source, files[-1])
        return {
            "model_version": parts.model_version,
            "parquet": files[0],
            "parts": files,
            "rows_per_part": parts.files[0].rows,
        }

    def _link(self, source: Path, file: str) -> None:
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # no support for hard links, or another disk
            shutil.copy(source, target)

    def _grouped(self, samples: Mapping[str, Mapping[str, Any]]) -> list["_Files"]:
        """Return the files of samples in groups of the same columns."""
        groups: dict[tuple[tuple[str, ...], int | None], list[str]] = {}
        for sample in samples.values():
            files = files_of(sample)
            first = text(str(self.folder / files[0]))
            described = self._connection.execute(f"DESCRIBE FROM read_parquet({first}, hive_partitioning = false)")
            columns = tuple(row[0] for row in described.fetchall())
            groups.setdefault((columns, sample.get("rows_per_part")), []).extend(files)
        return [_Files(files, columns, rows_per_part) for (columns, rows_per_part), files in groups.items()]

    def _files_query(self, namespace: str, folder: str) -> str:
        return " UNION ALL BY NAME ".join(files.query(folder) for files in self._views[namespace])

    def _sample(self, namespace: str) -> str | None:
        """Return the synthetic rows as a relation in SQL, before the views exist; None if there are none."""
        if namespace in self._views:
            return f"({self._files_query(namespace, text(str(self.folder)))})"
        return quoted(_FILE, namespace, SAMPLE) if SAMPLE in self._stored_tables(_FILE, namespace) else None

    def _sample_contents(self, namespace: str, samples: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        if namespace not in self._views:
            return self._contents(namespace, SAMPLE)
        files = [file for sample in samples.values() for file in files_of(sample)]  # each is named by its hash
        return {
            "rows": sum(sample["rows"] for sample in samples.values()),
            "content": sha256_of(" ".join(files).encode()).hexdigest(),
        }

    def _share(self, file: Path) -> None:
        # An unchanged file is a hard link to the one of the base.
        if self._base is None:
            return
        before, built = self._base.folder / file, self.folder / file
        if before.is_file() and cmp(before, built, shallow=False):
            shared = built.with_suffix(".shared")
            with suppress(OSError):  # without support for hard links, the copy stays
                shared.hardlink_to(before)
                shared.replace(built)

    def _write_publication_table(self, id_: str, published_at: str) -> None:
        columns = ", ".join(f"{name} {type_}" for name, (type_, _) in PUBLICATION_COLUMNS.items())
        target = quoted(_FILE, "main", PUBLICATION_TABLE)
        self._connection.execute(f"CREATE TABLE {target} ({columns})")
        for namespace, entry in sorted(self._tables.items()):
            for table in (*entry["tables"], PROVENANCE):
                contents = entry["tables"].get(table) or self._contents(namespace, table)
                self._connection.execute(
                    f"INSERT INTO {target} VALUES ($1, $2, $3, $4, $5, $6)",
                    [id_, published_at, namespace, table, contents["rows"], contents["content"]],
                )
        self._comment("TABLE", target, "The tables of this publication.")
        for name, (_, description) in PUBLICATION_COLUMNS.items():
            self._comment("COLUMN", f"{target}.{quoted(name)}", description)


@dataclass(frozen=True)
class _Files:
    """Parquet files of samples, below the folder of a publication, that have the same columns.

    Parameters
    ----------
    files : list of str
        The files, in the order of their rows.
    columns : tuple of str
        The columns.
    rows_per_part : int, optional
        Where the files are parts of large samples: the rows of each but the last of a sample.
    """

    files: list[str]
    columns: tuple[str, ...]
    rows_per_part: int | None

    def query(self, folder: str) -> str:
        """Return the query of the rows, in the columns of a sample; `folder` is an expression in SQL."""
        names = [RESAMPLE_DATE, *self.columns]
        selected = ", ".join(map(quoted, names))
        types, options = f"{quoted(RESAMPLE_DATE)}: DATE", ""
        if self.rows_per_part is not None:
            selected += f", {sample_id(self.rows_per_part)} AS sample_id, model_version"
            types += ", model_version: VARCHAR"
            options = f", filename = '{FILE_COLUMN}', file_row_number = true"
        files = f"list_transform([{', '.join(map(text, self.files))}], lambda file: {folder} || '/' || file)"
        return (
            f"SELECT {selected} FROM read_parquet({files}, hive_partitioning = true, hive_types = {{{types}}}{options})"
        )


def files_of(sample: Mapping[str, Any]) -> list[str]:
    """Return the Parquet files of a sample, an entry of a manifest, below the folder of its publication."""
    return list(sample.get("parts") or [sample["parquet"]])


def _sample_folder(namespace: str, resample_date: str) -> Path:
    return Path(folder_name(namespace)) / SAMPLE / f"{RESAMPLE_DATE}={resample_date}"


@contextmanager
def build(
    folder: Path, base: Publication | None, *, warehouse: Warehouse, copied_rows: int
) -> Iterator[PublicationBuilder]:
    """Open a publication under construction in an empty folder, and close its file at the end."""
    import duckdb

    # Built under its final name, after which DuckDB names the database.
    with closing(duckdb.connect(str(folder / f"{_FILE}.duckdb"))) as connection:
        if base is not None:
            connection.execute(f"ATTACH {text(str(base.file))} AS {quoted(_BASE)} (READ_ONLY)")
            connection.execute(f"SET VARIABLE {FOLDER_VARIABLE} = {text(str(base.folder))}")
        yield PublicationBuilder(folder, connection, base, warehouse=warehouse, copied_rows=copied_rows)


def _failed_gates(verdicts: Collection[Mapping[str, Any]]) -> str:
    blocking = [verdict for verdict in verdicts if verdict["blocking"]]
    failed = [verdict["gate"] for verdict in blocking if not verdict["passed"]]
    if failed:
        return f"it did not pass {', '.join(failed)}"
    return "" if blocking else f"no gate has evaluated it yet; materialize {REPORT} of that date"


def _stale_assets(
    assets: Collection[str],
    resample_date: str,
    records: Mapping[tuple[str, str | None], tuple[str | None, Mapping[str, str]]],
) -> str:
    def is_current(asset: str) -> bool:
        if asset == SAMPLE:
            return True
        _, inputs = records.get((asset, resample_date), (None, {}))
        of_date = {name: version for name, version in inputs.items() if (name, resample_date) in records}
        return bool(of_date) and all(
            records[name, resample_date][0] == version and is_current(name) for name, version in of_date.items()
        )

    stale = [name for name in sorted(assets) if (name, resample_date) in records and not is_current(name)]
    if REPORT not in stale and (REPORT, resample_date) not in records:
        stale.append(REPORT)
    return f"{', '.join(stale)} was computed from other rows than those stored now; materialize again" if stale else ""
