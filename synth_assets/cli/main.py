"""The group of commands, with their common handling of errors, exit codes and pipes."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from synth_assets.cli import init, mock, operating, reading, status, synthesize
from synth_assets.errors import ForeseenError
from synth_assets.storage.paths import VARIABLE, DataPaths


class _Commands(click.Group):
    """Reports a `ForeseenError` as one message, and accepts that the reader of a pipe closes it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except ForeseenError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # `... | head -1`: the reader is done; discard what is still buffered.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        return done


_EPILOG = """
\b
Examples:
  synth-assets synthesize table.csv --rows 1000 --output synthetic.csv --report report.html
  synth-assets mock schema.yaml --rows 100 --output mock.csv
  synth-assets init table.csv --target price
  synth-assets tables
  synth-assets query "select Sex, count(*) from abalone.synthetic_latest group by all"
  synth-assets export abalone --format parquet --output rows.parquet
  synth-assets sample -n 1000 --where "Rings >= 15" > old.csv

\b
Exit codes:
  0  done
  1  failed; the message says why, and what to do
  2  invalid command line
  3  synthesize: the rows are written, but fail a gate

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
    help="Data folder; by default data/ of the project. With s3://bucket/prefix, that folder and its object store.",
)
@click.pass_context
def main(ctx: click.Context, folder: Path | None) -> None:
    """Synthesize a table in a file, mock one from a schema, read published synthetic tables, manage publications.

    Data goes to stdout, messages to stderr. Commands that read tables read one complete publication, the current one.
    """
    ctx.obj = DataPaths.from_environment(folder)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for shell completion of commands, options and tables."""
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None  # noqa: S101 - click has all three
    click.echo(completion_class(main, {}, "synth-assets", "_SYNTH_ASSETS_COMPLETE").source())


for commands in (init, synthesize, mock, reading, status, operating):
    for command in commands.COMMANDS:
        main.add_command(command)
