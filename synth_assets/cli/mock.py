"""The command that draws mock rows from a schema."""

import sys
from pathlib import Path

import click

from synth_assets.cli.output import bytes_to
from synth_assets.storage.paths import DataPaths

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("schema", type=_FILE)
@click.option("--rows", "-n", type=click.IntRange(min=1), required=True, help="Number of mock rows.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True, help="Random seed.")
@click.option(
    "--base",
    help="Pretrained language model that chooses the values: a folder or a GGUF file, by its path or its name in "
    "base_models/ of the data folder, or a name on the model hub.",
)
@click.option(
    "--output",
    "-o",
    type=_FILE,
    help="File for the rows: .csv, .tsv, .parquet, .jsonl, .json or .xlsx; by default CSV to stdout.",
)
@click.pass_obj
def mock(paths: DataPaths, schema: Path, rows: int, seed: int, base: str | None, output: Path | None) -> None:
    """Draw mock rows from a schema alone, before there is a table.

    SCHEMA is a YAML file with `columns` and, optionally, `constraints`, or the defs.yaml of a table. Mock rows are of
    the declared types, limits, labels and keys, and meet the constraints. They are no synthetic rows: nothing is
    learned, and they say nothing about real ones. The first line on stderr and the metadata of a Parquet file say so.
    """
    from synth_assets.schema.definition import TableDefinition
    from synth_assets.schema.dtypes import as_in_source
    from synth_assets.sources.file import DELIMITERS_OF, require_suffix, write_file
    from synth_assets.synthesizers.mock import METADATA_KEY, mock_rows, notice

    if output is not None:
        require_suffix(output)
    stated = TableDefinition.from_yaml(schema)
    if base is not None:
        base = next((str(path) for path in (Path(base), paths.base_models / base) if _is_base(path)), base)
    remark = notice(seed, base)
    _say(remark)
    drawn = mock_rows(
        stated.schema, rows, seed=seed, constraints=stated.constraints, base=base, name=stated.name, log=_say
    )
    if output is None or output.suffix.lower() in DELIMITERS_OF:
        drawn = as_in_source(drawn, stated.schema)
    if output is None:
        drawn.to_csv(sys.stdout, index=False)
        return
    with bytes_to(output) as unfinished:
        write_file(drawn, unfinished, suffix=output.suffix, metadata={METADATA_KEY: remark})
    _say(f"{rows:,} mock rows are in {output}.")


def _is_base(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and path.suffix.lower() == ".gguf")


def _say(line: str) -> None:
    click.echo(line, err=True)


COMMANDS = (mock,)
