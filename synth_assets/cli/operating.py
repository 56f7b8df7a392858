"""Commands that look after what is published: `publications`, `history`, `verify`, `rollback`, `delete`."""

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
    """List the publications that are kept, the newest first."""
    found = Publications(paths)
    current = found.current().id
    rows = [
        {
            "publication": each.id,
            "current": each.id == current,
            "published_at": each.manifest["published_at"],
            "samples": {table: len(of["samples"]) for table, of in each.manifest["tables"].items()},
            "newest": {table: max(of["samples"], default=None) for table, of in each.manifest["tables"].items()},
            "bytes": sum(file["bytes"] for file in each.manifest["files"].values()),
            "folder": str(each.folder),
        }
        for each in found.all()
    ]
    if as_json:
        click.echo(output.as_json(rows, indent=1))
        return
    cells = [
        (
            row["publication"],
            "current" if row["current"] else "",
            ", ".join(f"{table}: {n} up to {row['newest'][table]}" for table, n in row["samples"].items()),
            f"{row['bytes'] / 1e6:.1f}",
        )
        for row in rows
    ]
    output.write_text(["publication", "", "samples", "MB"], [cells], sys.stdout)


@click.command()
@as_json_option
@click.pass_obj
def history(paths: DataPaths, as_json: bool) -> None:
    """Tell what became current when, and why, the newest first."""
    entries = Publications(paths).history()[::-1]
    if as_json:
        click.echo(output.as_json(entries, indent=1))
        return
    cells = [
        (
            entry["at"][:19],
            entry["action"],
            entry["publication"],
            ", ".join(f"{key} {entry[key]}" for key in ("table", "day", "run_id") if entry.get(key)),
        )
        for entry in entries
    ]
    output.write_text(["at (UTC)", "by", "publication", ""], [cells], sys.stdout)


@click.command()
@publication_argument()
@click.pass_obj
def verify(paths: DataPaths, publication: str | None) -> None:
    """Compare every file of a publication with its hash; without an id, all that is stored.

    That is the current publication, the fitted models of its tables, and the warehouse, all of which is read. Each
    damaged file is named, with what to do.
    """
    found = Publications(paths)
    checked = found.current() if publication is None else found.get(publication)
    checks: list[tuple[str, Callable[[], object]]] = [(f"publication {checked.id}", checked.verify)]
    if publication is None:
        checks += _checks_of_the_pipeline(paths, list(checked.manifest["tables"]))
    damaged = []
    for name, check in checks:
        try:
            check()
        except ForeseenError as error:
            damaged.append(str(error))
        else:
            click.echo(f"{name} is what was stored.")
    if damaged:
        raise click.ClickException("\n".join(damaged))


@click.command()
@publication_argument()
@click.pass_obj
def rollback(paths: DataPaths, publication: str | None) -> None:
    """Make an earlier publication current again; without an id, the one before the current one.

    The next publication adds what the warehouse holds and the gates let through, as ever. To keep a day's sample out
    for good, delete that day.
    """
    click.echo(Publications(paths).rollback(publication).id)


@click.command()
@table_argument()
@click.argument("day", metavar="YYYY-MM-DD")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(paths: DataPaths, table: str, day: str, yes: bool) -> None:
    """Delete a day's sample everywhere.

    Its rows, evidence and records in the warehouse, its figures and report, and every publication that holds it go;
    consumers get one without it. Models stay, and so does what Dagster's event log says of the runs.
    """
    from synth_assets.publishing.publisher import Publisher
    from synth_assets.storage.warehouse import Warehouse

    try:
        day = date.fromisoformat(day).isoformat()
    except ValueError:
        raise click.BadParameter(f"found {day!r}; expected a day as YYYY-MM-DD", param_hint="YYYY-MM-DD") from None
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete the sample of {table} of {day}, here and in all publications?", abort=True, err=True)
    rows = Publisher(paths, Warehouse(paths)).delete(table, day)
    click.echo(
        f"{table} of {day}: {rows:,} rows were deleted from the warehouse; consumers have none of them.", err=True
    )


def _checks_of_the_pipeline(paths: DataPaths, tables: Sequence[str]) -> list[tuple[str, Callable[[], object]]]:
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
