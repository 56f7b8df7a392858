"""The group of commands, and what all of them have in common: errors, exit codes, pipes."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from synth_assets.cli import operating, reading, status, synthesize
from synth_assets.errors import ForeseenError
from synth_assets.storage.paths import VARIABLE, DataPaths


class _Commands(click.Group):
    """Turns errors that were foreseen into one message, and lets a pipe be closed."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except ForeseenError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # `... | head -1`: the reader has what it wanted. What is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        return done


_EPILOG = """
\b
Examples:
  synth-assets synthesize table.csv --rows 1000 --output synthetic.csv --report report.html
  synth-assets tables
  synth-assets query "select Sex, count(*) from abalone.synthetic_latest group by all"
  synth-assets export abalone --format parquet --output rows.parquet
  synth-assets sample -n 1000 --where "Rings >= 15" > old.csv

\b
Exit codes:
  0  done
  1  it cannot be done; the message says why, and what to do
  2  the command line is wrong

\b
Completion in bash (zsh, fish):
  eval "$(synth-assets completion bash)"
"""


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="synth-assets")
@click.option(
    "--data",
    "folder",
    envvar=VARIABLE,
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The data folder; otherwise the project's own.",
)
@click.pass_context
def main(ctx: click.Context, folder: Path | None) -> None:
    """Synthesize a table in a file, read published synthetic tables, and operate what is published.

    Data goes to stdout, messages to stderr. What is read is the current publication: whole, and never half of the next.
    """
    ctx.obj = DataPaths(folder.expanduser().resolve()) if folder else DataPaths.from_environment()


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and tables."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has all three
    click.echo(found(main, {}, "synth-assets", "_SYNTH_ASSETS_COMPLETE").source())


for command in (*synthesize.COMMANDS, *reading.COMMANDS, *status.COMMANDS, *operating.COMMANDS):
    main.add_command(command)
