"""Commands that read rows: `tables`, `query`, `export`, `sample`."""

import secrets
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth_assets.cli import output
from synth_assets.cli.options import (
    as_json_option,
    format_option,
    guard_option,
    name_argument,
    output_option,
    processes_option,
    selected_table,
)
from synth_assets.publishing import client
from synth_assets.storage.paths import DataPaths

if TYPE_CHECKING:
    import duckdb


@click.command()
@name_argument(required=False)
@as_json_option
@click.pass_obj
def tables(paths: DataPaths, name: str | None, as_json: bool) -> None:
    """List the published tables and views; with NAME, the columns of one."""
    with client.connect(paths.root) as connection:
        found = client.tables(connection) if name is None else [client.find_table(connection, name)]
    if as_json:
        listed = [
            {
                "name": table.full_name,
                "kind": "view" if table.is_view else "table",
                "description": table.description,
                "columns": [
                    {"name": column, "type": type_, "description": description}
                    for column, (type_, description) in table.columns.items()
                ],
            }
            for table in found
        ]
        click.echo(output.to_json(listed, indent=1))
    elif name is None:
        rows = [(table.full_name, "view" if table.is_view else "table", table.description) for table in found]
        output.write_text(["name", "type", "description"], [rows], sys.stdout)
    else:
        click.echo(f"{found[0].full_name}: {found[0].description}\n")
        columns = [(column, type_, description) for column, (type_, description) in found[0].columns.items()]
        output.write_text(["column", "type", "description"], [columns], sys.stdout)


@click.command()
@click.argument("sql")
@format_option("table", "csv", "json")
@guard_option
@output_option
@click.pass_obj
def query(paths: DataPaths, sql: str, format_: str, guard_formulas: bool, path: Path | None) -> None:
    """Run a query in the SQL of DuckDB; with - as SQL, read it from stdin.

    A query reads published tables only: it cannot change them, and has no access to files or the network. If only one
    source table is published, its name before the dot may be left out.
    """
    with client.connect(paths.root) as connection:
        client.restrict(connection)
        _export(connection, sys.stdin.read() if sql == "-" else sql, None, format_, path, guard_formulas)


@click.command()
@name_argument()
@format_option("csv", "parquet", "arrow", "json")
@click.option("--where", help="Condition in SQL: \"Length > 0.5 AND Sex = 'F'\".")
@click.option("--date", help="Resample date of a sample, as YYYY-MM-DD.")
@guard_option
@output_option
@click.pass_obj
def export(
    paths: DataPaths,
    name: str,
    format_: str,
    where: str | None,
    date: str | None,
    guard_formulas: bool,
    path: Path | None,
) -> None:
    """Write a table to stdout or a file.

    NAME is a table such as abalone.fidelity, or a source table such as abalone for its latest synthetic rows.
    """
    with client.connect(paths.root) as connection:
        sql, values = client.select(connection, name, where=where, date=date)
        _export(connection, sql, values, format_, path, guard_formulas)


@click.command()
@click.option("-n", "--rows", "n", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of rows.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help='Condition on every row: "Rings >= 15", "Sex == \'I\'". May be repeated.',
)
@click.option("--table", help="Source table; not needed if only one is published.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Random seed.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), help="Sampling temperature.")
@processes_option
@format_option("csv", "parquet", "arrow", "json", "table")
@guard_option
@output_option
@click.pass_obj
def sample(
    paths: DataPaths,
    n: int,
    conditions: tuple[str, ...],
    table: str | None,
    seed: int | None,
    temperature: float | None,
    processes: int | None,
    format_: str,
    guard_formulas: bool,
    path: Path | None,
) -> None:
    """Sample new rows from the model of the latest published sample.

    No gate is evaluated on these rows. Keys are unique in them alone, and may be those of stored samples.
    """
    import duckdb

    table = selected_table(paths, table)
    if seed is None:
        seed = secrets.randbelow(2**32)
        click.echo(f"--seed {seed}", err=True)
    with redirect_stdout(sys.stderr):  # libraries print their progress to stdout, where the rows go
        rows = client.sample_current_model(
            table,
            n,
            seed=seed,
            conditions=conditions,
            temperature=temperature,
            processes=processes,
            data=paths.root,
            log=lambda line: click.echo(line, err=True),
        )
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        _export(connection, "SELECT * FROM rows", None, format_, path, guard_formulas)


COMMANDS = (tables, query, export, sample)


def _export(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    values: list[str] | None,
    format_: str,
    path: Path | None,
    guard_formulas: bool,
) -> None:
    import duckdb

    if guard_formulas and format_ != "csv":
        raise click.UsageError("--guard-formulas requires --format csv.")
    try:
        if format_ in ("parquet", "arrow"):
            with output.bytes_to(path) as file:
                output.write_file(connection.sql(sql, params=values), format_, file)
        else:
            connection.execute(sql, values)
            names = [column[0] for column in connection.description or []]
            rows = output.batches(connection)
            with output.text_to(path) as text:
                match format_:
                    case "csv":
                        output.write_csv(names, rows, text, guard_formulas=guard_formulas)
                    case "json":
                        output.write_json(names, rows, text)
                    case _:
                        output.write_text(names, rows, text)
    except duckdb.Error as error:
        raise client.ReadError(str(error)) from error
