"""The command that synthesizes one file, without project and Dagster."""

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth_assets.cli.options import (
    count,
    dialect_of,
    dialect_option,
    private_option,
    processes_option,
    sheet_option,
)
from synth_assets.cli.output import bytes_to
from synth_assets.errors import ForeseenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from synth_assets.schema.constraints import Constraint
    from synth_assets.schema.table import TableSchema
    from synth_assets.sources import Dialect

HOLDOUT_SHARE = 0.2
"""The share of the rows that is held out for the report."""

MIN_HOLDOUT = 5
"""The number of rows that is held out of a small table, and of synthetic rows that an evaluation needs."""

FEW_ROWS = 200
"""A table of fewer rows is evaluated with the remark that this can tell little."""

GATE_FAILED = 3
"""Exit code after rows that fail a blocking gate."""

MAX_CELLS = 500_000_000
"""Cells of synthetic rows that are held in memory."""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--rows", "-n", type=count, required=True, help="Number of synthetic rows; 1e6 is one too.")
@click.option(
    "--output", "-o", type=_FILE, required=True, help="File for the rows: .csv, .tsv, .parquet, .jsonl, .json or .xlsx."
)
@click.option("--target", help="Column to predict from the others; the report compares estimators of it.")
@click.option("--report", type=_FILE, help="File for the report of the evaluation: one HTML page.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True, help="Random seed.")
@click.option(
    "--schema",
    "schema_file",
    type=_FILE,
    help="YAML file with the columns and, optionally, constraints, or a defs.yaml; otherwise columns are inferred.",
)
@click.option(
    "--synthesizer",
    help="language_model, be_great, forest or smote; by default language_model, and forest from 101 columns on.",
)
@private_option
@dialect_option
@sheet_option
@processes_option
@click.option("--no-holdout", is_flag=True, help="Fit to all rows; nothing is evaluated.")
def synthesize(
    file: Path,
    rows: int,
    output: Path,
    target: str | None,
    report: Path | None,
    seed: int,
    schema_file: Path | None,
    synthesizer: str | None,
    private: bool | None,
    dialect: tuple[str, ...],
    sheet: str | None,
    processes: int | None,
    no_holdout: bool,
) -> None:
    """Fit a synthesizer to the table in FILE, write synthetic rows, and evaluate them.

    FILE is a table in CSV of any dialect, Parquet, JSON or Excel; the types of its columns are inferred. From CSV to
    CSV, rows are written with the delimiter, the decimal mark and the encoding of FILE.

    A fifth of the rows is held out: the synthesizer is not fitted to it, and the synthetic rows are compared with it.
    Exit code 3 means that the rows are written, but fail a gate: do not publish them.
    """
    from synth_assets import api
    from synth_assets.schema.dtypes import as_in_source, restore_dtypes
    from synth_assets.schema.split import Split, select
    from synth_assets.schema.validation import refuse_invalid, refuse_unlearnable
    from synth_assets.sources.file import DELIMITERS_OF, found_dialect, read_file, reading_notice, require_suffix
    from synth_assets.synthesizers import SYNTHESIZERS, default_for

    if no_holdout and report is not None:
        raise click.UsageError("--no-holdout leaves no row for the evaluation; drop --no-holdout or --report.")
    require_suffix(output)
    _require_different_files(FILE=file, **{"--schema": schema_file, "--output": output, "--report": report})
    if synthesizer is not None and synthesizer not in SYNTHESIZERS:
        raise click.BadParameter(f"{synthesizer!r} is not one of {', '.join(SYNTHESIZERS)}", param_hint="--synthesizer")
    for result in (output, report):
        if result is not None and not result.parent.is_dir():
            raise ForeseenError(f"{result} cannot be written: there is no folder {result.parent}.")

    stated = dialect_of(dialect)
    frame = read_file(file, dialect=stated, sheet=sheet)
    found = found_dialect(file, stated)
    if notice := reading_notice(file, frame, stated, sheet, found):
        _say(notice)
    schema, constraints = _schema(file, frame, schema_file, target, private)
    table = schema.coerce(frame, origin=str(file))
    refuse_invalid(table, schema, origin=str(file))
    refuse_unlearnable(schema, len(table), origin=str(file))
    _require_memory(rows, schema)
    if synthesizer is None:
        synthesizer = default_for(schema)
        if synthesizer == "forest":
            _say(f"Synthesizer: forest, which learns a table of {len(schema.learned):,} columns better than a model.")
    types = Counter(column.type for column in schema.columns)
    _say(
        f"{file}: {len(table):,} rows, {len(schema.columns)} column{'s' if len(schema.columns) > 1 else ''} "
        f"({', '.join(f'{count} {type_}' for type_, count in types.items())})."
    )

    def write(synthetic: "pd.DataFrame") -> None:
        is_text = output.suffix.lower() in DELIMITERS_OF
        if schema_file is not None:
            _write(as_in_source(synthetic, schema) if is_text else synthetic, output, found)
            return
        restored = restore_dtypes(synthetic, frame, schema)
        if not is_text and found:  # where dates are text for want of a type
            times = [column.name for column in schema.columns if column.type in ("date", "datetime")]
            from synth_assets.schema.dtypes import with_columns

            restored = with_columns(restored, {name: synthetic[name] for name in times})
        _write(restored, output, found)

    if no_holdout:
        synthetic = api.synthesize(table, rows, schema=schema, seed=seed, synthesizer=synthesizer, processes=processes)
        write(synthetic)
        _say_violations(synthetic, constraints, schema)
        return
    held_out = max(round(HOLDOUT_SHARE * len(table)), MIN_HOLDOUT)
    _require_enough(file, len(table), rows)
    split = Split(train_size=len(table) - held_out, random_state=seed)
    membership = split.membership(len(table), split.strata(table, schema))
    train, holdout = select(table, membership, "train"), select(table, membership, "test")
    _say(f"{held_out:,} of the rows are held out for the report (--no-holdout fits to all).")
    if len(table) < FEW_ROWS:
        _say(f"An evaluation on {held_out:,} rows can tell little: intervals are wide, differences may be chance.")
    fitted = SYNTHESIZERS[synthesizer]()
    synthetic = api.synthesize(train, rows, schema=schema, seed=seed, synthesizer=fitted, processes=processes)
    write(synthetic)
    details = {"Synthesizer": synthesizer, "Seed": str(seed), "Made with": f"synth-assets {version('synth-assets')}"}
    evaluation = api.evaluate(
        synthetic,
        train,
        holdout,
        schema=schema,
        constraints=constraints,
        title=file.stem,
        source=file.name,
        synthesizer=fitted,
        details=details,
    )
    for verdict in evaluation.gates:
        _say(f"{verdict.gate.name}: {verdict.status}. {verdict.message}")
    if report is not None:
        with bytes_to(report) as unfinished:
            evaluation.save_html(unfinished)
        _say(f"The report is in {report}.")
    if not evaluation.passed:
        click.get_current_context().exit(GATE_FAILED)


def _schema(
    file: Path, frame: "pd.DataFrame", schema_file: Path | None, target: str | None, private: bool | None
) -> "tuple[TableSchema, tuple[Constraint, ...]]":
    """Return the schema and the constraints that a file states, or the inferred schema; print notices."""
    from synth_assets import api
    from synth_assets.schema.constraints import check_constraints
    from synth_assets.schema.definition import TableDefinition
    from synth_assets.schema.infer import infer

    if schema_file is None:
        inference = infer(frame, target, origin=str(file), private=private is not False)
        for line in filter(None, (inference.left_out_text, *inference.notices)):
            _say(line)
        return inference.schema, ()
    stated = TableDefinition.from_yaml(schema_file)
    check_constraints(stated.constraints, stated.schema)
    schema = stated.schema if target is None else stated.schema.with_target(target)
    schema = schema if private is None else schema.model_copy(update={"private": private})
    if unstated := api.unstated_text(frame, schema):
        _say(unstated)
    return schema, stated.constraints


def _require_different_files(**paths: Path | None) -> None:
    named = {name: path.resolve() for name, path in paths.items() if path is not None}
    for name in ("--output", "--report"):
        for other, path in named.items():
            if other != name and name in named and named[name] == path:
                raise ForeseenError(f"{name} and {other} are the same file, {paths[name]}; name another file.")


def _require_enough(file: Path, rows: int, synthetic: int) -> None:
    needed = 3 * MIN_HOLDOUT
    if rows < needed:
        raise ForeseenError(
            f"{file} has {rows:,} rows; an evaluation needs at least {needed}, of which {MIN_HOLDOUT} are held out. "
            "Use a larger table, or pass --no-holdout to fit to all rows without an evaluation."
        )
    if synthetic < MIN_HOLDOUT:
        raise ForeseenError(
            f"--rows is {synthetic}; an evaluation needs at least {MIN_HOLDOUT} synthetic rows. Request more, or pass "
            "--no-holdout for rows without an evaluation."
        )


def _require_memory(rows: int, schema: "TableSchema") -> None:
    most = MAX_CELLS // len(schema.published)
    if rows > most:
        raise ForeseenError(
            f"--rows is {rows:,}; the rows are held in memory, of this table at most {most:,}. Request fewer, or take "
            "the table into a project with `synth-assets init`: `synth-assets sample --execution local` writes any "
            "number in parts."
        )


def _say_violations(synthetic: "pd.DataFrame", constraints: "Sequence[Constraint]", schema: "TableSchema") -> None:
    from synth_assets.schema.constraints import violations

    if constraints:
        for name, violated in violations(synthetic, constraints, schema).items():
            _say(f"constraint {name}: {int(violated.sum()):,} of {len(synthetic):,} synthetic rows violate it.")


def _write(synthetic: "pd.DataFrame", output: Path, source: "Dialect | None") -> None:
    """Write synthetic rows, as text in the dialect of the source."""
    from synth_assets.sources.file import DELIMITERS_OF, dialect_for, write_file

    dialect, told = None, ""
    if output.suffix.lower() in DELIMITERS_OF:
        dialect = dialect_for(synthetic, output.suffix, source)
        if dialect != dialect_for(synthetic, output.suffix, None):
            told = f", with delimiter {dialect.delimiter!r} and decimal mark {dialect.decimal!r}, in {dialect.encoding}"
    with bytes_to(output) as unfinished:
        write_file(synthetic, unfinished, suffix=output.suffix, dialect=dialect)
    _say(f"{len(synthetic):,} synthetic rows are in {output}{told}.")


def _say(line: str) -> None:
    click.echo(line, err=True)


COMMANDS = (synthesize,)
