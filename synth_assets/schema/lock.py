"""The lock of an inferred schema: the columns that were found in a source, in a file beside its `defs.yaml`.

A table whose YAML states `columns: infer` has these columns until the lock is written again, so that a source that has
changed is noticed and does not change the types unnoticed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synth_assets.errors import validation_message
from synth_assets.schema.columns import Column, TableError
from synth_assets.schema.infer import Inference

LOCK = "schema.lock.yaml"
"""Name of the file."""

_HEADER = """\
# Written by `synth-assets init`. The columns of the table for `columns: infer` in defs.yaml: what the source held when
# this file was written. To change a column, state its name, its type and what differs under `override:` in defs.yaml;
# after the source has changed, run `synth-assets init` on defs.yaml.
"""


class SchemaLock(BaseModel):
    """The columns that were found in a source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: dict[str, Any] = Field(default={}, description="What was found of the source, such as a file's dialect.")
    left_out: dict[str, str] = Field(default={}, description="Columns of the source that no type holds, and why.")
    columns: tuple[Column, ...] = Field(min_length=1, description="The other columns, in the order of the source.")

    @classmethod
    def of(cls, inference: Inference, source: dict[str, Any]) -> "SchemaLock":
        """Return the lock of an inferred schema.

        Parameters
        ----------
        inference : Inference
            The inferred schema.
        source : dict
            What was found of the source, as YAML values.
        """
        return cls(source=source, left_out=inference.left_out, columns=inference.schema.columns)

    @classmethod
    def read(cls, folder: Path) -> "SchemaLock":
        """Read the lock in a folder.

        Raises
        ------
        TableError
            If there is none, or it is not a lock.
        """
        import yaml

        path = folder / LOCK
        try:
            # The loader in C, where PyYAML has it, reads a column of 20,000 labels in a fraction of a second.
            stated = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        except FileNotFoundError:
            raise TableError(
                f"`columns: infer` needs the file {LOCK} beside defs.yaml, and there is none. Run `synth-assets init` "
                "on defs.yaml, which writes it, or list the columns."
            ) from None
        except OSError as error:
            raise TableError(f"{LOCK} cannot be read: {error.strerror or error}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise TableError(f"{LOCK} is not YAML: {' '.join(str(error).split())}. {_AGAIN}") from error
        if not isinstance(stated, dict):
            raise TableError(f"{LOCK} has no keys; expected `columns`. {_AGAIN}")
        try:
            return cls.model_validate(stated)
        except ValidationError as error:
            raise TableError(f"{LOCK}: {validation_message(error)} {_AGAIN}") from error

    def write(self, folder: Path) -> Path:
        """Write the lock into a folder, one line for each column, and return its path."""
        path = folder / LOCK
        path.write_text(self.to_yaml(), encoding="utf-8")
        return path

    def to_yaml(self) -> str:
        """Return the text of the file."""
        parts = [_HEADER]
        if self.source:
            parts.append(f"source: {flow(self.source)}\n")
        if self.left_out:
            parts.append(f"left_out: {flow(self.left_out)}\n")
        parts.append("columns:\n")
        parts += [f"  - {flow(stated_column(column))}\n" for column in self.columns]
        return "".join(parts)

    def with_overrides(self, overrides: Sequence[Column]) -> tuple[Column, ...]:
        """Return the columns, some of which are overridden.

        What an override states replaces what was inferred; the rest stays. If it states another type, only `nullable`
        and `missing_values` stay.

        Raises
        ------
        TableError
            If an override has the name of no column, or two have one name.
        """
        names = [column.name for column in self.columns]
        by_name = {column.name: column for column in overrides}
        unknown = [repr(name) for name in by_name if name not in names]
        if unknown:
            raise TableError(
                f"override: {', '.join(unknown)} is not a column of {LOCK}; the columns are {', '.join(names)}."
            )
        if len(by_name) < len(overrides):
            raise TableError("override: a column is stated twice; state each once.")
        return tuple(
            _overridden(column, by_name[column.name]) if column.name in by_name else column for column in self.columns
        )


def _overridden(column: Column, override: Column) -> Column:
    is_same_type = type(override) is type(column)
    kept = column.model_fields_set if is_same_type else {"nullable", "missing_values"}
    inferred = {name: getattr(column, name) for name in kept - override.model_fields_set}
    stated = {name: getattr(override, name) for name in override.model_fields_set}
    return type(override)(**inferred, **stated)


_AGAIN = "Run `synth-assets init` on defs.yaml, which writes it again."


def stated_column(column: Column) -> dict[str, Any]:
    """Return what a YAML file has to state of a column: name, type, and what differs from the defaults."""
    stated = column.model_dump(mode="json", exclude_defaults=True)
    return {"name": column.name, "type": column.type, **stated}


def changes(frame: pd.DataFrame, columns: Sequence[Column], left_out: Sequence[str] = ()) -> list[str]:
    """Compare the rows of a source with the columns that are stated of it.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows as the source returns them.
    columns : sequence of Column
        The columns of the table.
    left_out : sequence of str
        Columns of the source that are known and no part of the table.

    Returns
    -------
    list of str
        A sentence for each column that is missing, is new, cannot be read as its type any more, or has empty cells
        where none may be.
    """
    found = [str(name) for name in frame.columns]
    expected = [column.name for column in columns]
    told = [
        f"{name!r} is missing in the source; add it there, or run `synth-assets init` on defs.yaml"
        for name in expected
        if name not in found
    ]
    told += [
        f"{name!r} is new in the source and no part of the table; run `synth-assets init` on defs.yaml to have it"
        for name in found
        if name not in expected and name not in left_out
    ]
    for column in columns:
        if column.name not in found:
            continue
        values = frame[column.name]
        allowed = column.model_copy(update={"nullable": True})
        unreadable = ~allowed.is_readable(values)
        empty = int((~column.is_readable(values) & ~unreadable).sum())
        if unreadable.any():
            count, row = int(unreadable.sum()), int(unreadable.argmax())
            told.append(
                f"{column.name!r} has {str(values.iloc[row])!r} in data row {row + 1}, which is not "
                f"{_expected(column)} ({count:,} such cell{'s' if count > 1 else ''}); correct the source, or run "
                "`synth-assets init` on defs.yaml"
            )
        elif empty:
            told.append(
                f"{column.name!r} has {empty:,} empty cell{'s' if empty > 1 else ''} and may have none; state "
                "`nullable: true` for the column, or fill the cells"
            )
    return told


def _expected(column: Column) -> str:
    return "one of its labels" if column.role == "label" and column.type == "categorical" else column.noun


def flow(value: Any) -> str:
    """Return a value as YAML in the flow style."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        value, Dumper=dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**31 - 1
    )
    return text.strip().removesuffix("\n...")  # the end of a document that is a single value
