"""Commands that manage publications: `publications`, `history`, `verify`, `rollback`, `delete`."""

import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

import click

from synth_assets.cli import output
from synth_assets.cli.options import as_json_option, publication_argument, table_argument
from synth_assets.errors import ForeseenError
from synth_assets.publishing.publications import Publications
from synth_assets.storage.paths import DataPaths


@click.command()
@as_json_option
@click.pass_obj
def publications(paths: DataPaths, as_json: bool) -> None:
    """List the publications, newest first."""
    store = Publications(paths)
    current = store.current().id
    rows = [
        {
            "publication": each.id,
            "current": each.id == current,
            "published_at": each.manifest["published_at"],
            "samples": {table: len(each.samples(table)) for table in each.manifest["tables"]},
            "newest": {table: max(each.samples(table), default=None) for table in each.manifest["tables"]},
            "bytes": sum(file["bytes"] for file in each.manifest["files"].values()),
            "folder": str(each.folder),
        }
        for each in store.all()
    ]
    cells = [
        (
            row["publication"],
            "current" if row["current"] else "",
            ", ".join(f"{table}: {n} up to {row['newest'][table]}" for table, n in row["samples"].items()),
            f"{row['bytes'] / 1e6:.1f}",
        )
        for row in rows
    ]
    output.write_list(rows, ["publication", "", "samples", "MB"], cells, as_json=as_json)


@click.command()
@as_json_option
@click.pass_obj
def history(paths: DataPaths, as_json: bool) -> None:
    """List every change of the current publication, newest first."""
    entries = Publications(paths).history()[::-1]
    cells = [
        (
            entry["at"][:19],
            entry["action"],
            entry["publication"],
            ", ".join(f"{key} {entry[key]}" for key in ("table", "resample_date", "run_id") if entry.get(key)),
        )
        for entry in entries
    ]
    output.write_list(entries, ["at (UTC)", "action", "publication", ""], cells, as_json=as_json)


@click.command()
@publication_argument()
@click.pass_obj
def verify(paths: DataPaths, publication: str | None) -> None:
    """Verify the files of a publication; without an id, all stored data.

    All stored data is the current publication, the fitted models of its tables, and the warehouse. Files are compared
    with their hashes, the warehouse is read completely. Each damaged file is named, with what to do.
    """
    store = Publications(paths)
    checked = store.current() if publication is None else store.get(publication)
    checks: list[tuple[str, Callable[[], object]]] = [(f"publication {checked.id}", checked.verify)]
    if publication is None:
        checks += _pipeline_checks(paths, list(checked.manifest["tables"]))
    damaged = []
    for name, check in checks:
        try:
            check()
        except ForeseenError as error:
            damaged.append(str(error))
        else:
            click.echo(f"{name} is intact.")
    if damaged:
        raise click.ClickException("\n".join(damaged))


@click.command()
@publication_argument()
@click.pass_obj
def rollback(paths: DataPaths, publication: str | None) -> None:
    """Make an earlier publication current again; without an id, the one before the current one.

    The next publication again adds the samples in the warehouse that passed their gates. To remove a sample
    permanently, delete it.
    """
    click.echo(Publications(paths).rollback(publication).id)


@click.command()
@table_argument()
@click.argument("resample_date", metavar="YYYY-MM-DD")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def delete(paths: DataPaths, table: str, resample_date: str, yes: bool) -> None:
    """Delete the sample of a resample date everywhere.

    Removes its rows, metrics and provenance from the warehouse, its figures and report, and every publication that
    contains it; a publication without it becomes current. Models and the event log of Dagster are not changed.
    """
    from synth_assets.publishing.publisher import Publisher
    from synth_assets.storage.warehouse import Warehouse

    try:
        resample_date = date.fromisoformat(resample_date).isoformat()
    except ValueError:
        raise click.BadParameter(
            f"found {resample_date!r}; expected a date as YYYY-MM-DD", param_hint="YYYY-MM-DD"
        ) from None
    if not yes and sys.stdin.isatty():
        click.confirm(
            f"Delete the sample of {table} of {resample_date} from the warehouse and all publications?",
            abort=True,
            err=True,
        )
    rows = Publisher(paths, Warehouse(paths)).delete(table, resample_date)
    click.echo(
        f"{table} of {resample_date}: deleted {rows:,} rows from the warehouse, and the sample from publications.",
        err=True,
    )


def _pipeline_checks(paths: DataPaths, tables: Sequence[str]) -> list[tuple[str, Callable[[], object]]]:
    from synth_assets.storage.warehouse import Warehouse
    from synth_assets.synthesizers.model_store import ModelStore

    stores = {table: ModelStore(paths.models(table)) for table in tables}
    checks: list[tuple[str, Callable[[], object]]] = [
        (f"model {version} of {table}", partial(store.verify, version))
        for table, store in stores.items()
        for version in store.versions()
    ]
    if paths.warehouse.exists():
        checks.append(("the warehouse", Warehouse(paths).verify))
    return checks


COMMANDS = (publications, history, verify, rollback, delete)
