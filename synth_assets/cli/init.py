"""The command that takes a table into the project: its settings and its inferred columns."""

import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from synth_assets.cli.options import dialect_of, dialect_option, private_option, sheet_option
from synth_assets.cli.output import write_text
from synth_assets.errors import ForeseenError, validation_message
from synth_assets.publishing.publications import FOLDER
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import NAMESPACES

if TYPE_CHECKING:
    from synth_assets.schema.infer import Inference
    from synth_assets.sources.base import Source

DEFS = Path(__file__).parents[1] / "defs"
"""The folder with a folder for each table."""

SETTINGS = "defs.yaml"

DEFAULT = "language_model"
"""The synthesizer of settings that state none."""

MAX_NAME_LENGTH = 60
"""Characters of a column's name that are printed."""

_USUAL: dict[str, tuple[Any, ...]] = {
    "thousands": ("",),
    "quote": ('"',),
    "escape": ('"',),
    "header": (True,),
    "skip": (0,),
}
"""What is not said of a dialect."""

_TEMPLATE = """\
# Written by `synth-assets init`. Every other key has a default: docs/types-and-sources.md lists them.
type: synth_assets.orchestration.SyntheticTable

attributes:
  table: {table}
  source: {source}

  # What `init` found in the source, in {lock}. To change a column, state what differs here, for example:
  #   override: [{{ name: ..., type: integer, minimum: 0 }}]
  columns: infer
{target}
  # Whether the rows are confidential: consumers get synthetic rows only, labels that few rows have are hidden, and
  # columns of text are not published.
  private: {private}
{synthesizer}
  split: {{ train_size: 0.8, random_state: 0 }}
  schedule: {{ hour: 6, timezone: UTC, start_date: "{today}" }}
"""


@click.command()
@click.argument("source", metavar="FILE|URL")
@click.option("--table", help="Name of the table; by default the file's.")
@click.option("--target", help="Column to predict from the others; reports compare estimators of it.")
@private_option
@dialect_option
@sheet_option
@click.option(
    "--force", is_flag=True, help="Replace what is there: the settings of the table, and a file of that name."
)
@click.pass_obj
def init(
    paths: DataPaths,
    source: str,
    table: str | None,
    target: str | None,
    private: bool | None,
    dialect: tuple[str, ...],
    sheet: str | None,
    force: bool,
) -> None:
    """Infer the columns of a table, print them, and write the table's settings.

    FILE is a table in CSV of any dialect, Parquet, JSON or Excel, which is copied into the data folder if it is not
    in there, or a folder in there with several such files; URL begins with https:// or s3://. The settings go to
    defs/<table>/defs.yaml, the columns to a lock beside it. FILE may also be a defs.yaml, of any type of source: then
    its lock alone is written.
    """
    from synth_assets.schema.lock import LOCK
    from synth_assets.synthesizers import default_for

    file = Path(source)
    stated = dialect_of(dialect)
    if file.name == SETTINGS or (file / SETTINGS).is_file():
        if stated or sheet:
            raise click.UsageError(f"{file} states the source; state its dialect and its sheet there.")
        _refresh(paths, file if file.name == SETTINGS else file / SETTINGS, table, target, private)
        return
    if "://" not in source and not file.exists():
        raise ForeseenError(f"there is no file {file}. Expected a table in CSV, Parquet, JSON or Excel, or a URL.")
    name = _table_name(table or _stem(source), is_stated=table is not None)
    folder = DEFS / name
    if (folder / SETTINGS).exists() and not force:
        raise ForeseenError(
            f"the table {name} has settings already, {folder / SETTINGS}. Choose another --table, pass --force to "
            "replace them, or name that file as FILE to infer its columns again."
        )
    settings, copied = _settings_of(paths, source, file, force=force)
    settings |= {"dialect": stated.model_dump(exclude_unset=True)} if stated else {}
    settings |= {"sheet": sheet} if sheet else {}
    try:
        inference, facts = _inferred(paths, settings, target, private is not False)
    except ForeseenError:
        if copied is not None:
            copied.unlink()
        raise
    _print(inference, facts, default_for(inference.schema))
    folder.mkdir(parents=True, exist_ok=True)
    text = _yaml(name, settings, target, private is not False, is_wide=default_for(inference.schema) == "forest")
    (folder / SETTINGS).write_text(text, encoding="utf-8")
    _write_lock(folder, inference, facts)
    if copied is not None:
        _say(f"The file is copied to {copied}: sources are read from the data folder.")
    if inference.schema.private and inference.schema.categorical:
        _say(f"{LOCK} lists every label of this private table, also rare ones: keep it as confidential as the rows.")
    _say(f"The settings are in {folder / SETTINGS}, the columns in {LOCK} beside it. `dg check defs` checks them.")


def _refresh(paths: DataPaths, file: Path, table: str | None, target: str | None, private: bool | None) -> None:
    """Write the lock of settings that are there, and say what has changed since the last one."""
    import yaml

    from synth_assets.schema.columns import TableError
    from synth_assets.schema.lock import LOCK, SchemaLock

    if table is not None or target is not None or private is not None:
        raise click.UsageError(f"{file} states table, target and private; change them there.")
    try:
        stated = yaml.safe_load(file.read_text(encoding="utf-8"))["attributes"]
        settings, target = stated["source"], stated.get("target")
    except OSError as error:
        raise ForeseenError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ForeseenError(f"{file} has no `attributes` with a `source`; expected the settings of a table.") from error
    target = target.get("column") if isinstance(target, dict) else target
    inference, facts = _inferred(paths, settings, target, bool(stated.get("private", True)))
    synthesizer = stated.get("synthesizer")
    _print(inference, facts, str(synthesizer.get("type")) if isinstance(synthesizer, dict) else DEFAULT)
    try:
        before = SchemaLock.read(file.parent)
    except TableError:  # there is none, or it is damaged
        before = None
    _write_lock(file.parent, inference, facts)
    _say(f"The columns are in {file.parent / LOCK}.")
    if before is not None:
        old, new = (
            {column.name: column for column in columns} for columns in (before.columns, inference.schema.columns)
        )
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        _say(f"Changed since the lock before: {', '.join(map(repr, changed)) or 'nothing'}.")
    if stated.get("columns") != "infer":
        _say(f"{file} lists the columns itself; state `columns: infer` there to have the inferred ones.")


def _settings_of(paths: DataPaths, source: str, file: Path, *, force: bool) -> tuple[dict[str, Any], Path | None]:
    """Return the settings of a source, and the file in the data folder if it had to be copied there."""
    if "://" in source:
        return {"type": "s3" if source.startswith("s3://") else "url", "url": source}, None
    resolved = file.resolve()
    if not file.is_file() and not (resolved.is_relative_to(paths.root) and resolved != paths.root):
        raise ForeseenError(
            f"{file} is a folder outside the data folder; expected a file, or a folder in {paths.root} with files of "
            "one table. Copy it there."
        )
    if resolved.is_relative_to(paths.root):
        return {"type": "file", "path": resolved.relative_to(paths.root).as_posix()}, None
    copy = paths.root / file.name
    if copy.exists() and not force:
        if copy.is_file() and _are_equal(resolved, copy):
            return {"type": "file", "path": file.name}, None
        raise ForeseenError(
            f"the data folder has another {file.name}, {copy}. Rename the file, or pass --force to replace that one."
        )
    is_new = not copy.exists()
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resolved, copy)
    except OSError as error:
        raise ForeseenError(f"{copy} cannot be written: {error.strerror or error}.") from error
    return {"type": "file", "path": file.name}, copy if is_new else None


def _are_equal(one: Path, other: Path) -> bool:
    import filecmp

    return filecmp.cmp(one, other, shallow=False)


def _inferred(
    paths: DataPaths, settings: Mapping[str, Any], target: str | None, private: bool
) -> tuple["Inference", dict[str, Any]]:
    """Load a source; return its inferred schema, and what was found of it."""
    from pydantic import TypeAdapter, ValidationError

    from synth_assets.schema.infer import infer
    from synth_assets.schema.validation import refuse_invalid, refuse_unlearnable
    from synth_assets.sources import AnySource

    try:
        source: Source = TypeAdapter(AnySource).validate_python(settings)
    except ValidationError as error:
        raise ForeseenError(f"source: {validation_message(error)}") from error
    loaded = source.load(paths.root)
    if loaded.notice:
        _say(loaded.notice)
    inference = infer(loaded.frame, target, origin=loaded.origin, private=private)
    typed = inference.schema.coerce(loaded.frame.rename(columns=str), origin=loaded.origin)
    refuse_invalid(typed, inference.schema, origin=loaded.origin)
    refuse_unlearnable(inference.schema, len(typed), origin=loaded.origin)
    facts: dict[str, Any] = {"origin": loaded.origin, "rows": len(loaded.frame)}
    if loaded.dialect is not None:
        facts["dialect"] = loaded.dialect.model_dump(exclude_none=True)
    return inference, facts


def _print(inference: "Inference", facts: Mapping[str, Any], synthesizer: str) -> None:
    from synth_assets.synthesizers import SYNTHESIZERS, default_for

    columns = inference.schema.columns
    rows = [
        (
            _shortened(column.name),
            column.type,
            inference.reasons[column.name] + ("; may be empty" if column.nullable else ""),
        )
        for column in columns
    ]
    write_text(("column", "type", "why"), [rows], sys.stdout)
    sys.stdout.flush()
    _say(f"{facts['origin']}: {facts['rows']:,} rows, {len(columns)} column{'s' if len(columns) > 1 else ''}.")
    if dialect := facts.get("dialect"):
        told = (f"{key} {value!r}" for key, value in dialect.items() if value not in _USUAL.get(key, ()))
        _say(f"Dialect: {', '.join(told)}.")
    for line in filter(None, (inference.left_out_text, *inference.notices)):
        _say(line)
    if default_for(inference.schema) == "forest":
        _say(
            f"{len(inference.schema.learned):,} columns are to be learned, which a forest does better than a language "
            "model: the settings state `synthesizer: { type: forest }`. A forest takes no conditions, and its model "
            "contains the train rows."
        )
    schema, chosen = inference.schema, SYNTHESIZERS.get(synthesizer, SYNTHESIZERS[DEFAULT])
    if hidden := schema.unpublished:
        _say(f"Not published, because the table is private and they hold text: {', '.join(map(repr, hidden))}.")
    if schema.published_texts and not chosen.supports_text:
        texts = ", ".join(map(repr, schema.published_texts))
        _say(
            f"Left out of the synthetic rows, because the synthesizer {chosen.name} writes no text and no codes, and "
            f"{DEFAULT} does: {texts}."
        )


def _write_lock(folder: Path, inference: "Inference", facts: dict[str, Any]) -> None:
    from synth_assets.schema.lock import SchemaLock

    SchemaLock.of(inference, facts).write(folder)


def _yaml(table: str, source: Mapping[str, Any], target: str | None, private: bool, *, is_wide: bool) -> str:
    from synth_assets.schema.lock import LOCK, flow

    return _TEMPLATE.format(
        table=flow(table),
        source=flow(source),
        lock=LOCK,
        target="" if target is None else f"  target: {flow(target)}\n",
        private="true" if private else "false",
        synthesizer="  synthesizer: { type: forest }\n" if is_wide else "",
        today=datetime.now(UTC).date().isoformat(),
    )


def _stem(source: str) -> str:
    """Return the name of a file or of the last part of a URL, without its suffixes."""
    path = unquote(source.split("?")[0]) if "://" in source else source
    last = path.rstrip("/").replace("\\", "/").rsplit("/", 1)[-1]
    return last.split(".")[0] or last


def _table_name(name: str, *, is_stated: bool) -> str:
    """Return the name of the table: as it is stated, or made from the name of a file."""
    taken = (*NAMESPACES, FOLDER)
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    made = re.sub(r"[^a-z0-9_]+", "_", plain).strip("_")
    made = f"table_{made}".rstrip("_") if not made.isidentifier() or made in taken else made
    if is_stated and made != name:
        raise click.BadParameter(
            f"found {name!r}; expected a lower-case name of letters, digits and '_', such as {made!r}",
            param_hint="--table",
        )
    return made


def _shortened(name: str) -> str:
    """Return a name, of a long one the beginning and the end."""
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 20]}…{name[-19:]}"


def _say(line: str) -> None:
    click.echo(line, err=True)


COMMANDS = (init,)
