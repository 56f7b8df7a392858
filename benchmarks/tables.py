"""The tables of the benchmarks, as `tables.yaml` names them: loaded, split, and with an inferred schema."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict

from synth_assets.errors import ForeseenError
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.infer import infer_schema
from synth_assets.schema.split import TEST, TRAIN, Split, select
from synth_assets.schema.table import TableSchema
from synth_assets.sources import AnySource, SourceError
from synth_assets.sources.file import FileSource
from synth_assets.storage.paths import DataPaths
from synth_assets.synthesizers.base import SynthesizerSettings
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings

HERE = Path(__file__).resolve().parent
DEFS = HERE.parent / "synth_assets" / "defs"

VARIABLE = "TABLES"
"""The environment variable that names the folder of the tables' files."""

TRAIN_SHARE = 0.9


class Files(BaseModel):
    """The files of a table, inside the folder of `VARIABLE`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: str
    test: str | None = None


class TableSettings(BaseModel):
    """An entry of `tables.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defs: str | None = None
    files: Files | None = None
    source: AnySource | None = None
    rename: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    target: str | None = None
    train_rows: int | None = None


@dataclass(frozen=True)
class Table:
    """A table, split into train and holdout rows.

    `source` says where the rows came from; `language_model` has the settings of the language model for this table.
    """

    name: str
    schema: TableSchema
    train: pd.DataFrame
    holdout: pd.DataFrame
    source: str
    constraints: tuple[Constraint, ...] = ()
    language_model: SynthesizerSettings = field(default_factory=LanguageModelSettings)


def names() -> list[str]:
    """Return the names of all tables."""
    return list(_stated())


def load(name: str, seed: int = 0) -> Table:
    """Load a table, and hold rows out.

    Parameters
    ----------
    name : str
        A name in `tables.yaml`.
    seed : int
        Seed of the split, for tables without a test part or a split of their own.

    Raises
    ------
    SourceError
        If its rows cannot be had.
    """
    stated = TableSettings.model_validate(_stated()[name])
    return _deployed(name, stated.defs) if stated.defs else _inferred(name, stated, seed)


def _stated() -> dict[str, object]:
    stated: dict[str, object] = yaml.safe_load((HERE / "tables.yaml").read_text())
    return stated


def deployed_settings(defs: str) -> SyntheticTableSettings:
    """Read a deployed table's `defs.yaml`."""
    return SyntheticTableSettings.model_validate(yaml.safe_load((DEFS / defs / "defs.yaml").read_text())["attributes"])


def _deployed(name: str, defs: str) -> Table:
    stated = deployed_settings(defs)
    schema = stated.table_schema()
    loaded = stated.source.load(DataPaths.from_environment().root)
    rows = schema.coerce(loaded.frame, origin=loaded.label)
    membership = stated.split.membership(len(rows))
    train, holdout = (select(rows, membership, part) for part in (TRAIN, TEST))
    return Table(name, schema, train, holdout, loaded.label, tuple(stated.constraints), stated.synthesizer)


def _inferred(name: str, stated: TableSettings, seed: int) -> Table:
    parts, source = _read(name, stated)
    parts = [part.rename(columns=stated.rename).drop(columns=list(stated.drop), errors="ignore") for part in parts]
    together = pd.concat(parts, ignore_index=True)
    schema = infer_schema(together, stated.target, origin=source, private=False)
    if unfit := [column.name for column in schema.columns if column.type not in _SUPPORTED]:
        raise ForeseenError(
            f"{name} has columns of other types than labels and numbers: {', '.join(unfit)}. Drop them."
        )
    rows = schema.coerce(together, origin=source)
    n_train = len(parts[0]) if len(parts) > 1 else stated.train_rows
    if n_train is not None:
        return Table(name, schema, rows.iloc[:n_train], rows.iloc[n_train:].reset_index(drop=True), source)
    membership = Split(train_size=TRAIN_SHARE, random_state=seed).membership(len(rows))
    train, holdout = (select(rows, membership, part) for part in (TRAIN, TEST))
    return Table(name, schema, train, holdout, source)


_SUPPORTED = ("categorical", "boolean", "integer", "float")
"""Types of columns that every peer gets as labels or numbers."""


def _read(name: str, stated: TableSettings) -> tuple[list[pd.DataFrame], str]:
    """Return the parts of a table, one or two, and their origin."""
    folder = os.environ.get(VARIABLE)
    if stated.files is not None and folder and (Path(folder) / stated.files.train).is_file():
        found = [each for each in (stated.files.train, stated.files.test) if each]
        loaded = [FileSource(path=each).load(Path(folder).resolve()) for each in found]
        return [each.frame for each in loaded], ", ".join(each.label for each in loaded)
    if stated.source is None:
        raise SourceError(f"{name} has no source. Set {VARIABLE} to the folder of its file.")
    remote = stated.source.load(DataPaths.from_environment().root)
    return [remote.frame], remote.label
