"""How consumers read what was published: the current publication, whole, and never a stale one.

from synth_assets import connect, read_table

read_table("abalone")                                          # the newest synthetic rows, as pandas
read_table("abalone.fidelity", date="2026-11-24", as_="polars")
with connect() as connection:
    connection.sql("SELECT Sex, avg(Length) FROM abalone.synthetic_all GROUP BY ALL")
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from synth_assets.errors import ForeseenError
from synth_assets.publishing.publications import Publication, PublicationError, Publications
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import quoted

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

Library = Literal["pandas", "arrow", "polars"]

DAY = "resample_date"
LATEST, ALL = "synthetic_latest", "synthetic_all"
_NEEDED = {"pandas": (), "arrow": ("pyarrow",), "polars": ("polars", "pyarrow")}


class ReadError(ForeseenError, ValueError):
    """What was asked for cannot be read; the message says what there is."""


@dataclass(frozen=True)
class PublishedTable:
    """A table or view that consumers can read.

    Parameters
    ----------
    schema, name : str
        Where it is: the table that was synthesized, and what of it.
    is_view : bool
        Whether it shows the rows of another.
    description : str
        What is in it.
    columns : dict of str to (str, str)
        By column: its type in DuckDB, and what it says.
    """

    schema: str
    name: str
    is_view: bool
    description: str
    columns: dict[str, tuple[str, str]]

    @property
    def full_name(self) -> str:
        """Its name with its schema, as it is asked for."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """Its name as SQL takes it."""
        return quoted(self.schema, self.name)


def connect(data: str | Path | None = None) -> "duckdb.DuckDBPyConnection":
    """Connect to the current publication, to read it.

    The connection keeps the publication that it opened, whatever is published meanwhile; connect anew to see what is
    newer. Where only one table was synthesized, its name before a dot may be left out: `FROM synthetic_latest`.

    Parameters
    ----------
    data : str or pathlib.Path, optional
        The data folder; otherwise the one that `SYNTH_ASSETS_DATA` names, or the project's own.

    Returns
    -------
    duckdb.DuckDBPyConnection
        Read-only; a context manager that closes it.

    Raises
    ------
    PublicationError
        If nothing is published, or it cannot be opened.
    """
    import duckdb

    publications = Publications(paths_of(data))
    while True:
        id_ = publications.current_id()
        try:
            return _opened(publications.current().file)
        except (duckdb.Error, PublicationError) as error:
            if publications.current_id() != id_:
                continue  # it was replaced and removed in the moment between
            if isinstance(error, PublicationError):
                raise
            raise PublicationError(
                f"publication {id_} cannot be opened ({error}). `synth-assets verify` tells whether it is damaged."
            ) from error


def _opened(file: Path) -> "duckdb.DuckDBPyConnection":
    import duckdb

    connection = duckdb.connect(str(file), read_only=True)
    schemas = connection.execute(
        "SELECT DISTINCT schema_name FROM duckdb_tables() WHERE NOT internal AND schema_name <> 'main'"
    ).fetchall()
    if len(schemas) == 1:
        connection.execute("SET schema = $1", schemas[0])
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
        `abalone.fidelity`, say; `abalone` alone is its newest synthetic rows, or with a date those of that day.
    where : str, optional
        A condition in SQL that rows have to meet: `"Length > 0.5 AND Sex = 'F'"`.
    date : str or datetime.date, optional
        The day of a sample; otherwise all days that the table has.
    as_ : {"pandas", "arrow", "polars"}
        What to give: a `pandas.DataFrame`, a `pyarrow.Table` or a `polars.DataFrame`.
    data : str or pathlib.Path, optional
        The data folder, as for `connect`.

    Returns
    -------
    pandas.DataFrame, pyarrow.Table or polars.DataFrame
        The rows, in the order in which they were written.

    Raises
    ------
    PublicationError
        If nothing is published.
    ReadError
        If there is no such table or day, the condition cannot be read, or the library is not installed.
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
            raise ReadError(f"{name} cannot be read as asked: {error}") from error


def select(
    connection: "duckdb.DuckDBPyConnection", name: str, *, where: str | None = None, date: str | dt.date | None = None
) -> tuple[str, list[str]]:
    """Write the query of `read_table`.

    Returns
    -------
    str
        The query.
    list of str
        The values of its parameters.

    Raises
    ------
    ReadError
        If there is no such table, or no such day in it.
    """
    table = find_table(connection, name, of_all_days=date is not None)
    conditions, values = [], []
    if date is not None:
        day = _day(date)
        if DAY not in table.columns:
            raise ReadError(f"{table.full_name} belongs to no day; ask for it without a date.")
        days = [
            row[0]
            for row in connection.execute(
                f"SELECT DISTINCT CAST({quoted(DAY)} AS VARCHAR) FROM {table.sql} ORDER BY ALL"
            ).fetchall()
        ]
        if day not in days:
            raise ReadError(f"{table.full_name} has no rows of {day}; it has those of {_listed(days)}.")
        conditions.append(f"{quoted(DAY)} = CAST($1 AS DATE)")
        values.append(day)
    if where is not None:
        conditions.append(f"(\n{where}\n)")  # on lines of its own: it may end in a comment
    return f"SELECT * FROM {table.sql}" + (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def tables(connection: "duckdb.DuckDBPyConnection") -> list[PublishedTable]:
    """Give the tables and views that can be read, by name."""
    found: dict[tuple[str, str], PublishedTable] = {}
    described = connection.execute(
        "SELECT schema_name, table_name, false, comment FROM duckdb_tables() WHERE NOT internal UNION ALL "
        "SELECT schema_name, view_name, true, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    ).fetchall()
    for schema, name, is_view, comment in described:
        found[schema, name] = PublishedTable(schema, name, is_view, comment or "", {})
    columns = connection.execute(
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY schema_name, table_name, column_index"
    ).fetchall()
    for schema, name, column, type_, comment in columns:
        found[schema, name].columns[column] = (type_, comment or "")
    return list(found.values())


def find_table(connection: "duckdb.DuckDBPyConnection", name: str, *, of_all_days: bool = False) -> PublishedTable:
    """Find a table by the name that it is asked for.

    Raises
    ------
    ReadError
        If there is none of that name.
    """
    known = {table.full_name: table for table in tables(connection)}
    samples = {table.schema: table for table in known.values() if table.name == (ALL if of_all_days else LATEST)}
    found = known.get(name) or samples.get(name) or known.get(f"main.{name}")
    if found is None:
        raise ReadError(f"nothing is published under the name {name!r}; there are {_listed([*samples, *known])}.")
    return found


def sample_current_model(
    table: str,
    n: int,
    *,
    seed: int,
    conditions: Sequence[str] = (),
    temperature: float | None = None,
    data: str | Path | None = None,
    report: Any = None,
) -> "pd.DataFrame":
    """Draw rows from the model that wrote a table's newest published sample.

    Parameters
    ----------
    table : str
        The table.
    n : int
        How many rows.
    seed : int
        The same publication, seed and conditions give the same rows.
    conditions : sequence of str
        What rows have to meet, in the engine's words: `"Rings >= 15"`, `"Sex == 'I'"`.
    temperature : float, optional
        Of the softmax over the next token; otherwise as defs.yaml states it.
    data : str or pathlib.Path, optional
        The data folder, as for `connect`.
    report : callable, optional
        Takes lines of progress.

    Returns
    -------
    pandas.DataFrame
        The rows, in the raw table's columns, types and labels.

    Raises
    ------
    ReadError
        If the table has no published sample, or a condition cannot be read.
    ModelError
        If the model store has not this model any more, or it cannot meet the conditions.
    """
    from synth_assets.schema.table import TableSchema
    from synth_assets.synthesizers.base import SampleSettings
    from synth_assets.synthesizers.model_store import ModelStore

    paths = paths_of(data)
    publication = Publications(paths).current()
    day = newest_day(publication, table)
    stated = publication.manifest["tables"][table]
    schema = TableSchema.model_validate(stated["schema"])
    names = {stated["target_name"]: schema.target}  # conditions may name the target as encoded_split does
    wanted = {str(names.get(name, name)): condition for name, condition in map(parse_condition, conditions)}
    settings = SampleSettings.model_validate(stated["sample_spec"])
    version = publication.days(table)[day]["model_version"]
    return (
        ModelStore(paths.models(table))
        .load(version)
        .sample(
            n,
            seed=seed,
            conditions={**(settings.conditions or {}), **wanted} or None,
            temperature=settings.temperature if temperature is None else temperature,
            log=report or (lambda _: None),
        )
    )


def parse_condition(condition: str) -> tuple[str, str]:
    """Split `"Rings >= 15"` into the column's name and the condition on it.

    Raises
    ------
    ReadError
        If there is no operator, or nothing on one side of it.
    """
    operators = [place for place, character in enumerate(condition) if character in "<>=!"]
    name, rest = (condition[: operators[0]].strip(), condition[operators[0] :].strip()) if operators else ("", "")
    if not name or not rest.strip("<>=! "):
        raise ReadError(
            f"{condition!r} is no condition; expected a column, one of >=, <=, >, <, ==, != and a value, "
            'such as "Rings >= 15" or "Sex == \'I\'".'
        )
    return name, rest


def newest_day(publication: Publication, table: str) -> str:
    """Give the day of a table's newest published sample.

    Raises
    ------
    ReadError
        If there is no such table, or no sample of it.
    """
    known = publication.manifest["tables"]
    if table not in known:
        raise ReadError(f"no table {table!r} is published; there are {_listed(list(known))}.")
    if not publication.days(table):
        raise ReadError(f"no sample of {table} is published.")
    return max(publication.days(table))


def paths_of(data: str | Path | None) -> DataPaths:
    """Give the layout of a data folder; without one, of the one that the environment names."""
    return DataPaths.from_environment() if data is None else DataPaths(Path(data).expanduser().resolve())


def _day(date: str | dt.date) -> str:
    try:
        return (date if isinstance(date, dt.date) else dt.date.fromisoformat(date)).isoformat()[:10]
    except ValueError:
        raise ReadError(f"date is {date!r}; expected a day as 'YYYY-MM-DD'.") from None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
