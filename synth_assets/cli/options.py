"""Options and arguments that several commands take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from synth_assets.errors import ForeseenError
from synth_assets.publishing.publications import Publications
from synth_assets.storage.paths import DataPaths

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")

output_option = click.option(
    "--output",
    "-o",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file, there once it is whole; otherwise stdout.",
)

guard_option = click.option(
    "--guard-formulas",
    is_flag=True,
    help="In CSV, put an apostrophe before text that a spreadsheet would take for a formula.",
)


def format_option(*formats: str) -> Callable[[Any], Any]:
    """Let the format be chosen; the first is the default."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to write rows.",
    )


def _paths(ctx: click.Context) -> DataPaths:
    # While a shell completes, no command has run, and only the environment and --data are known.
    folder = ctx.find_root().params.get("folder")
    return DataPaths(folder.expanduser().resolve()) if folder else DataPaths.from_environment()


def _complete_published(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    try:
        tables = Publications(_paths(ctx)).current().manifest["tables"]
    except ForeseenError:
        return []
    names = [*tables, *(f"{table}.{name}" for table, of in tables.items() for name in of["tables"])]
    return [name for name in names if name.startswith(incomplete)]


def _complete_table(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _complete_published(ctx, parameter, incomplete) if "." not in name]


def _complete_publication(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    return [each.id for each in Publications(_paths(ctx)).all() if each.id.startswith(incomplete)]


def name_argument(**options: Any) -> Callable[[Any], Any]:
    """Take the name of something that can be read."""
    return click.argument("name", shell_complete=_complete_published, **options)


def table_argument(**options: Any) -> Callable[[Any], Any]:
    """Take the name of a table that is synthesized."""
    return click.argument("table", shell_complete=_complete_table, **options)


def publication_argument(**options: Any) -> Callable[[Any], Any]:
    """Take the id of a publication."""
    return click.argument("publication", shell_complete=_complete_publication, required=False, **options)


def the_table(paths: DataPaths, table: str | None) -> str:
    """Give the table that is asked for; if none is, the only one that there is.

    Raises
    ------
    click.UsageError
        If there are several.
    """
    known = list(Publications(paths).current().manifest["tables"])
    if table is None and len(known) != 1:
        raise click.UsageError(f"there are several tables ({', '.join(known)}): say which.")
    return table or known[0]
