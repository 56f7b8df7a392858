"""Options and arguments of several commands."""

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth_assets.errors import ForeseenError, validation_message
from synth_assets.publishing import client
from synth_assets.publishing.publications import Publications
from synth_assets.storage.paths import DataPaths

if TYPE_CHECKING:
    from synth_assets.execution import Execution
    from synth_assets.sources import Dialect

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

output_option = click.option(
    "--output",
    "-o",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Output file, written atomically; by default stdout.",
)

guard_option = click.option(
    "--guard-formulas",
    is_flag=True,
    help="In CSV, prefix text that a spreadsheet would run as a formula with an apostrophe.",
)


private_option = click.option(
    "--private/--public",
    default=None,
    help="Whether the rows are confidential, as by default: labels that few rows have are hidden, and columns of text "
    "are left out.",
)


processes_option = click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Number of processes that draw the rows, which are the same for any; by default one a core and 100,000 rows.",
)


dialect_option = click.option(
    "--dialect",
    "dialect",
    multiple=True,
    metavar="KEY=VALUE",
    help="What is known of a CSV file: encoding=cp1250, delimiter=;, decimal=, (a comma), header=false, skip=2. May be "
    "repeated; the rest is found in the file.",
)

sheet_option = click.option("--sheet", help="Sheet of an Excel workbook; by default the first.")


def dialect_of(stated: Sequence[str]) -> "Dialect | None":
    """Return the dialect that `--dialect` states; None if it states nothing.

    Raises
    ------
    click.BadParameter
        If a key is unknown, or a value is none of it.
    """
    from pydantic import ValidationError

    from synth_assets.sources import Dialect

    pairs = dict(each.partition("=")[::2] for each in stated)
    try:
        return Dialect.model_validate(pairs) if pairs else None
    except ValidationError as error:
        keys = ", ".join(Dialect.model_fields)
        raise click.BadParameter(f"{validation_message(error)} The keys are {keys}.", param_hint="--dialect") from None


MAX_COUNT = 10**12
"""The greatest number of rows, as of `parts.MAX_ROWS`; the module is imported when a command runs."""


def count(value: str | int) -> int:
    """Return a whole number of at least 1, which may be written 1e9 or 1_000_000; a type of options."""
    try:
        number = Decimal(str(value).replace("_", ""))
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or not 1 <= number <= MAX_COUNT or number % 1:
        raise click.BadParameter(f"{value!r} is not a whole number from 1 to 1e12, such as 5000 or 1e9.")
    return int(number)


execution_option = click.option(
    "--execution",
    type=click.Choice(["local", "ray"]),
    help="Write a folder of Parquet files, --output, which a killed command resumes when it is repeated: in processes "
    "of this machine, or as tasks of a Ray cluster.",
)

address_option = click.option(
    "--address",
    metavar="HOST:PORT",
    help="Ray cluster; 'auto' for the one of this machine. By default, one is started and ended with the command.",
)


def execution_of(name: str, address: str | None, processes: int | None) -> "Execution":
    """Return the execution that options state."""
    from synth_assets.execution import LocalExecution, RayExecution

    if name == "local":
        if address is not None:
            raise click.UsageError("--address requires --execution ray.")
        return LocalExecution(processes=processes)
    if processes is not None:
        raise click.UsageError("--processes is for --execution local; a cluster decides itself how many tasks run.")
    return RayExecution(address=address)


def format_option(*formats: str) -> Callable[[Any], Any]:
    """Add the option `--format`; the first format is the default."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Format of the rows.",
    )


def _publications(ctx: click.Context) -> Publications:
    # During completion no command has run: only the environment and --data are known.
    return Publications(DataPaths.from_environment(ctx.find_root().params.get("folder")))


def _complete_published(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    try:
        tables = _publications(ctx).current().manifest["tables"]
    except ForeseenError:
        return []
    names = [*tables, *(f"{table}.{name}" for table, entry in tables.items() for name in entry["tables"])]
    return [name for name in names if name.startswith(incomplete)]


def _complete_table(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _complete_published(ctx, parameter, incomplete) if "." not in name]


def _complete_publication(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    return [each.id for each in _publications(ctx).all() if each.id.startswith(incomplete)]


def name_argument(**options: Any) -> Callable[[Any], Any]:
    """Add the argument NAME: a published table or view."""
    return click.argument("name", shell_complete=_complete_published, **options)


def table_argument(**options: Any) -> Callable[[Any], Any]:
    """Add the argument TABLE: a source table."""
    return click.argument("table", shell_complete=_complete_table, **options)


def publication_argument(**options: Any) -> Callable[[Any], Any]:
    """Add the argument PUBLICATION: an id."""
    return click.argument("publication", shell_complete=_complete_publication, required=False, **options)


def selected_table(paths: DataPaths, table: str | None) -> str:
    """Return the requested source table, or the only one that is published.

    Raises
    ------
    click.UsageError
        If several are published and none was requested.
    """
    known = list(client.current_publication(paths.readable).manifest["tables"])
    if table is None and len(known) != 1:
        raise click.UsageError(f"several tables are published ({', '.join(known)}): name one.")
    return table or known[0]
