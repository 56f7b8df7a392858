"""Commands that read rows: `tables`, `query`, `export`, `sample`."""

import secrets
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from synth_assets.cli import output
from synth_assets.cli.options import (
    address_option,
    as_json_option,
    count,
    execution_of,
    execution_option,
    format_option,
    guard_option,
    name_argument,
    output_option,
    processes_option,
    selected_table,
)
from synth_assets.publishing import client
from synth_assets.storage.objects import PREFIX
from synth_assets.storage.paths import DataPaths

if TYPE_CHECKING:
    import duckdb


@click.command()
@name_argument(required=False)
@as_json_option
@click.pass_obj
def tables(paths: DataPaths, name: str | None, as_json: bool) -> None:
    """List the published tables and views; with NAME, the columns of one."""
    with client.connect(paths.readable) as connection:
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
    with client.connect(paths.readable) as connection:
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
    with client.connect(paths.readable) as connection:
        sql, values = client.select(connection, name, where=where, date=date)
        _export(connection, sql, values, format_, path, guard_formulas)


@click.command()
@click.option("-n", "--rows", "n", type=count, default=1000, show_default=True, help="Number of rows; 1e9 is one too.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help='Condition on every row: "Rings >= 15", "Sex in (\'I\', \'F\')", "Rings between 5 and 9". May be repeated.',
)
@click.option("--table", help="Source table; not needed if only one is published.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Random seed.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), help="Sampling temperature.")
@processes_option
@execution_option
@address_option
@format_option("csv", "parquet", "arrow", "json", "table")
@guard_option
@click.option(
    "--output",
    "-o",
    "folder",
    type=click.Path(path_type=str),
    help="Output file, written atomically, by default stdout; with --execution, a folder, or s3://bucket/prefix.",
)
@click.pass_context
def sample(
    ctx: click.Context,
    n: int,
    conditions: tuple[str, ...],
    table: str | None,
    seed: int | None,
    temperature: float | None,
    processes: int | None,
    execution: str | None,
    address: str | None,
    format_: str,
    guard_formulas: bool,
    folder: str | None,
) -> None:
    """Sample new rows from the model of the latest published sample.

    No gate is evaluated on these rows. Keys are unique in them alone, and may occur in stored samples too.

    With --execution, rows are written to a folder of Parquet files with a manifest, part by part, in little memory. The
    rows of a seed are the same wherever they are drawn.
    """
    import duckdb

    paths: DataPaths = ctx.obj
    table = selected_table(paths, table)
    path = None if folder is None else Path(folder)
    if execution is None:
        if folder is not None and folder.startswith(PREFIX):
            raise click.BadParameter(f"{folder} is an object store; --execution writes to one.", param_hint="--output")
        if address is not None:
            raise click.UsageError("--address requires --execution ray.")
        if path is not None and path.is_dir():
            raise click.BadParameter(f"{path} is a folder; --execution writes to one.", param_hint="--output")
    elif execution == "local" and address is not None:
        raise click.UsageError("--address requires --execution ray.")
    elif path is None or guard_formulas or ctx.get_parameter_source("format_") is not ParameterSource.DEFAULT:
        raise click.UsageError("--execution writes a folder of Parquet files: name it by --output, without --format.")
    arguments: dict[str, Any] = {
        "conditions": conditions,
        "temperature": temperature,
        "data": paths.readable,
        "log": lambda line: click.echo(line, err=True),
    }
    if seed is None:
        seed = _unfinished_seed(folder) if execution else None
        seed = secrets.randbelow(2**32) if seed is None else seed
        click.echo(f"--seed {seed} draws the same rows again", err=True)
    with redirect_stdout(sys.stderr):  # libraries print their progress to stdout, where the rows go
        if execution is not None:
            assert folder is not None  # noqa: S101 - checked above
            chosen = execution_of(execution, address, processes)
            manifest = client.sample_current_model_to(table, folder, n, seed=seed, execution=chosen, **arguments)
            plural = "" if len(manifest.shards) == 1 else "s"
            click.echo(f"{manifest.n:,} rows in {len(manifest.shards):,} part{plural} are in {folder}.", err=True)
            return
        rows = client.sample_current_model(table, n, seed=seed, processes=processes, **arguments)
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        _export(connection, "SELECT * FROM rows", None, format_, path, guard_formulas)


def _unfinished_seed(folder: str | None) -> int | None:
    """Return the seed of a sample that a killed command has begun in a folder."""
    from synth_assets.synthesizers.parts import stated_seed

    return None if folder is None else stated_seed(folder)


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
