"""Access to the published tables for consumers.

from synth_assets import connect, read_table

read_table("abalone")                                          # the latest synthetic rows, as pandas
read_table("abalone.fidelity", date="2026-11-24", as_="polars")
with connect() as connection:
    connection.sql("SELECT Sex, avg(Length) FROM abalone.synthetic_all GROUP BY ALL")
"""

import datetime as dt
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from synth_assets.errors import ForeseenError
from synth_assets.publishing.publications import FOLDER_VARIABLE, Publication, PublicationError, Publications
from synth_assets.schema.conditions import FORMS, begins_condition, split_column
from synth_assets.storage.objects import PREFIX, ObjectStore
from synth_assets.storage.paths import VARIABLE, DataPaths
from synth_assets.storage.sql import quoted, text
from synth_assets.storage.warehouse import IN_UTC

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from synth_assets.execution import Execution
    from synth_assets.publishing.shared import SharedPublications
    from synth_assets.synthesizers.base import Synthesizer
    from synth_assets.synthesizers.parts import Manifest

Library = Literal["pandas", "arrow", "polars"]

LATEST, ALL = "synthetic_latest", "synthetic_all"
"""Views of the synthetic rows: of the latest resample date, and of all."""

_RESAMPLE_DATE = "resample_date"
_NEEDED = {"pandas": (), "arrow": ("pyarrow",), "polars": ("polars", "pyarrow")}


class ReadError(ForeseenError, ValueError):
    """A table cannot be read as requested."""


@dataclass(frozen=True)
class PublishedTable:
    """A published table or view: its namespace is the source table, `columns` holds type and description of each."""

    namespace: str
    name: str
    is_view: bool
    description: str
    columns: dict[str, tuple[str, str]]

    @property
    def full_name(self) -> str:
        """The name with its namespace."""
        return f"{self.namespace}.{self.name}"

    @property
    def sql(self) -> str:
        """The full name as an SQL identifier."""
        return quoted(self.namespace, self.name)


def connect(data: str | Path | None = None) -> "duckdb.DuckDBPyConnection":
    """Connect to the current publication.

    The connection reads the publication that it opened, even after a newer one is published; new connections see the
    latest publication. If only one source table is published, its name may be left out: `FROM synthetic_latest`.

    Parameters
    ----------
    data : str or pathlib.Path, optional
        The data folder, or the object store that it shares publications in, as s3://bucket/prefix; by default the one
        in `SYNTH_ASSETS_DATA`, or `data/` of the project.

    Returns
    -------
    duckdb.DuckDBPyConnection
        A read-only connection; as a context manager, it closes itself.

    Raises
    ------
    PublicationError
        If nothing is published, or it cannot be opened.
    """
    import duckdb

    if shared := _shared(data):
        return _prepared(shared.connect())
    publications = Publications(DataPaths.from_environment(data))
    while True:
        id_ = publications.current_id()
        try:
            return _open(publications.current())
        except (duckdb.Error, PublicationError) as error:
            if publications.current_id() != id_:
                continue  # it was replaced and removed in between
            if isinstance(error, PublicationError):
                raise
            raise PublicationError(
                f"publication {id_} cannot be opened ({error}). Check it with `synth-assets verify`."
            ) from error


def current_publication(data: str | Path | None = None) -> Publication:
    """Return the current publication of a data folder or an object store, as `connect` reads it.

    Raises
    ------
    PublicationError
        If nothing is published.
    """
    shared = _shared(data)
    return shared.current() if shared else Publications(DataPaths.from_environment(data)).current()


def _open(publication: Publication) -> "duckdb.DuckDBPyConnection":
    import duckdb

    connection = duckdb.connect(str(publication.file), read_only=True)
    # The folder may have been moved since its views were written.
    connection.execute(f"SET VARIABLE {FOLDER_VARIABLE} = {text(str(publication.folder))}")
    return _prepared(connection)


def _shared(data: str | Path | None) -> "SharedPublications | None":
    """Return the publications of an object store, where one is named instead of a folder."""
    named = str(data or os.environ.get(VARIABLE) or "")
    if not named.startswith(PREFIX):
        return None
    from synth_assets.publishing.shared import SharedPublications

    return SharedPublications(ObjectStore(named))


def _prepared(connection: "duckdb.DuckDBPyConnection") -> "duckdb.DuckDBPyConnection":
    connection.execute(IN_UTC)
    namespaces = connection.execute(
        "SELECT DISTINCT schema_name FROM duckdb_tables() WHERE NOT internal AND schema_name <> 'main'"
    ).fetchall()
    if len(namespaces) == 1:
        connection.execute("SET schema = $1", namespaces[0])
    return connection


def read_table(
    name: str,
    *,
    where: str | None = None,
    date: str | dt.date | None = None,
    as_: Library = "pandas",
    data: str | Path | None = None,
) -> "pd.DataFrame | Any":
    """Read a published table.

    Parameters
    ----------
    name : str
        A table such as `abalone.fidelity`. The name of a source table, such as `abalone`, stands for its latest
        synthetic rows, or for the rows of `date`.
    where : str, optional
        A condition in SQL: `"Length > 0.5 AND Sex = 'F'"`.
    date : str or datetime.date, optional
        The resample date of a sample; by default all rows of the table.
    as_ : {"pandas", "arrow", "polars"}
        The library of the result.
    data : str or pathlib.Path, optional
        The data folder, as for `connect`.

    Returns
    -------
    pandas.DataFrame, pyarrow.Table or polars.DataFrame
        The rows, in the order of writing.

    Raises
    ------
    PublicationError
        If nothing is published.
    ReadError
        If there is no such table or resample date, the condition is invalid, or the library is not installed.
    """
    import duckdb

    if as_ not in _NEEDED:
        raise ReadError(f"as_ is {as_!r}; expected one of {', '.join(_NEEDED)}.")
    missing = [library for library in _NEEDED[as_] if find_spec(library) is None]
    if missing:
        raise ReadError(f"as_={as_!r} needs {' and '.join(missing)}: `pip install {' '.join(missing)}`.")
    with connect(data) as connection:
        query, values = select(connection, name, where=where, date=date)
        try:
            relation = connection.sql(query, params=values)
            match as_:
                case "pandas":
                    return relation.df()
                case "arrow":
                    return relation.to_arrow_table()
                case _:
                    return relation.pl()
        except duckdb.Error as error:
            raise ReadError(f"{name} cannot be read as requested: {error}") from error


def restrict(connection: "duckdb.DuckDBPyConnection") -> None:
    """Let a connection from `connect` read its publication, and no other file."""
    connection.execute(f"SET allowed_directories = [getvariable('{FOLDER_VARIABLE}')]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def select(
    connection: "duckdb.DuckDBPyConnection", name: str, *, where: str | None = None, date: str | dt.date | None = None
) -> tuple[str, list[str]]:
    """Return the query of `read_table`, and its parameters.

    Raises
    ------
    ReadError
        If there is no such table, or it has no rows of the date.
    """
    table = find_table(connection, name, all_dates=date is not None)
    conditions, values = [], []
    if date is not None:
        resample_date = _iso_date(date)
        if _RESAMPLE_DATE not in table.columns:
            raise ReadError(f"{table.full_name} has no resample date; read it without a date.")
        column = quoted(_RESAMPLE_DATE)
        of_date = f"SELECT 1 FROM {table.sql} WHERE {column} = CAST($1 AS DATE) LIMIT 1"
        if not connection.execute(of_date, [resample_date]).fetchall():
            known = connection.execute(f"SELECT DISTINCT CAST({column} AS VARCHAR) FROM {table.sql} ORDER BY ALL")
            listed = _listed([row[0] for row in known.fetchall()])
            raise ReadError(f"{table.full_name} has no rows of {resample_date}; it has rows of {listed}.")
        conditions.append(f"{quoted(_RESAMPLE_DATE)} = CAST($1 AS DATE)")
        values.append(resample_date)
    if where is not None:
        conditions.append(f"(\n{where}\n)")  # on its own line: it may end in a comment
    return f"SELECT * FROM {table.sql}" + (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def tables(connection: "duckdb.DuckDBPyConnection") -> list[PublishedTable]:
    """Return the published tables and views, sorted by name."""
    found: dict[tuple[str, str], PublishedTable] = {}
    described = connection.execute(
        "SELECT schema_name, table_name, false, comment FROM duckdb_tables() WHERE NOT internal UNION ALL "
        "SELECT schema_name, view_name, true, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    ).fetchall()
    for namespace, name, is_view, comment in described:
        found[namespace, name] = PublishedTable(namespace, name, is_view, comment or "", {})
    columns = connection.execute(
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY schema_name, table_name, column_index"
    ).fetchall()
    for namespace, name, column, type_, comment in columns:
        found[namespace, name].columns[column] = (type_, comment or "")
    return list(found.values())


def find_table(connection: "duckdb.DuckDBPyConnection", name: str, *, all_dates: bool = False) -> PublishedTable:
    """Return the published table or view that a name stands for, as `read_table` takes it.

    Raises
    ------
    ReadError
        If there is none.
    """
    known = {table.full_name: table for table in tables(connection)}
    samples = {table.namespace: table for table in known.values() if table.name == (ALL if all_dates else LATEST)}
    found = known.get(name) or samples.get(name) or known.get(f"main.{name}")
    if found is None:
        raise ReadError(f"there is no published table {name!r}; there are {_listed([*samples, *known])}.")
    return found


def sample_current_model(
    table: str,
    n: int,
    *,
    seed: int,
    conditions: Sequence[str] = (),
    temperature: float | None = None,
    processes: int | None = None,
    data: str | Path | None = None,
    log: Callable[[str], None] | None = None,
) -> "pd.DataFrame":
    """Sample rows from the model of the latest published sample of a table.

    Parameters
    ----------
    table : str
        The source table.
    n : int
        Number of rows.
    seed : int
        Random seed. The same publication, seed and conditions return the same rows.
    conditions : sequence of str
        Conditions on every row: `"Rings >= 15"`, `"Sex == 'I'"`.
    temperature : float, optional
        Sampling temperature; by default the one of the published sample.
    processes : int, optional
        Number of processes, as for `Synthesizer.sample`.
    data : str or pathlib.Path, optional
        The data folder, as for `connect`.
    log : callable, optional
        Called with lines of progress.

    Returns
    -------
    pandas.DataFrame
        The rows, with the columns, types and labels of the raw table. Keys are unique in these rows alone: they may
        occur in stored samples too.

    Raises
    ------
    ReadError
        If the table has no published sample, or a condition is invalid.
    PublicationError
        If nothing is published, or another version of this package published it.
    ModelError
        If the model is no longer in the model store, or cannot meet the conditions.
    """
    synthesizer, arguments = _current_model(table, conditions, temperature, data, log)
    return synthesizer.sample(n, seed=seed, processes=processes, **arguments)


def sample_current_model_to(
    table: str,
    folder: Path | str,
    n: int,
    *,
    seed: int,
    conditions: Sequence[str] = (),
    temperature: float | None = None,
    execution: "Execution",
    data: str | Path | None = None,
    log: Callable[[str], None] | None = None,
) -> "Manifest":
    """Sample rows as `sample_current_model` does, into a folder of Parquet files; see `Synthesizer.sample_to`."""
    synthesizer, arguments = _current_model(table, conditions, temperature, data, log)
    return synthesizer.sample_to(folder, n, seed=seed, execution=execution, **arguments)


def _current_model(
    table: str,
    conditions: Sequence[str],
    temperature: float | None,
    data: str | Path | None,
    log: Callable[[str], None] | None,
) -> "tuple[Synthesizer, dict[str, Any]]":
    """Return the model of the latest published sample of a table, and the arguments that rows are drawn with."""
    from synth_assets.publishing.builder import PublishSpec
    from synth_assets.publishing.shared import fetch_model
    from synth_assets.synthesizers.model_store import ModelStore

    shared = _shared(data)
    paths = DataPaths.from_environment(shared.folder if shared else data)
    publication = shared.current() if shared else Publications(paths).current()
    publication.require_format()
    version = publication.samples(table)[latest_resample_date(publication, table)]["model_version"]
    spec = PublishSpec.from_json(table, publication.manifest["tables"][table])
    # Conditions may name the target as encoded_split does.
    schema = spec.encoding.schema
    aliases = {spec.encoding.target_name: schema.target} if schema.target and spec.encoding.target_name else {}
    by_column: dict[str, str] = {}
    for stated in conditions:
        name, condition = parse_condition(stated, (*schema.names, *filter(None, aliases)))
        name = aliases.get(name, name) or name
        by_column[name] = f"{by_column[name]} and {condition}" if name in by_column else condition
    models = ModelStore(paths.models(table))
    if storage := shared.store if shared else paths.storage and ObjectStore(paths.storage):
        fetch_model(storage, table, models.path(version))
    synthesizer = models.load(version)
    log = log or (lambda _: None)
    if keys := schema.names_of("id"):
        log(f"keys begin as in the first sample, and may occur in stored rows too: {', '.join(keys)}")
    return synthesizer, {
        "conditions": {**(spec.sample.conditions or {}), **by_column} or None,
        "temperature": spec.sample.temperature if temperature is None else temperature,
        "log": log,
    }


def parse_condition(condition: str, names: Collection[str] = ()) -> tuple[str, str]:
    """Split a condition such as `"Rings >= 15"` into the column and the rest, `">= 15"`.

    Parameters
    ----------
    condition : str
        The condition: a column, then a comparison, `between`, `in`, `is null` or `is not null`.
    names : collection of str
        The columns. The longest name that the condition begins with is the column, whatever characters it has, also in
        double quotes; without one, the column ends before the first operator.

    Raises
    ------
    ReadError
        If it has no operator, or nothing on one side of it.
    """
    for known in sorted(names, key=len, reverse=True):
        for name in (known, quoted(known)):
            rest = condition.strip().removeprefix(name)
            if rest != condition.strip() and begins_condition(rest):
                return known, rest.strip()
    found = split_column(condition)
    if found is None:
        raise ReadError(
            f'{condition!r} is not a condition; expected a column, then {FORMS}. An example is "Rings >= 15".'
        )
    return found


def latest_resample_date(publication: Publication, table: str) -> str:
    """Return the latest resample date of the published samples of a table.

    Raises
    ------
    ReadError
        If there is no such table, or no sample of it.
    """
    known = publication.manifest["tables"]
    if table not in known:
        raise ReadError(f"there is no published table {table!r}; there are {_listed(list(known))}.")
    if not publication.samples(table):
        raise ReadError(f"no sample of {table} is published.")
    return max(publication.samples(table))


def _iso_date(date: str | dt.date) -> str:
    try:
        return (date if isinstance(date, dt.date) else dt.date.fromisoformat(date)).isoformat()[:10]
    except ValueError:
        raise ReadError(f"date is {date!r}; expected a date as 'YYYY-MM-DD'.") from None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
