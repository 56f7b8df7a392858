"""A table as a YAML file describes it before there are rows: its name, its schema and its constraints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from synth_assets.errors import validation_message
from synth_assets.schema.columns import Column, TableError
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.lock import SchemaLock
from synth_assets.schema.table import TableSchema, read_yaml


@dataclass(frozen=True)
class TableDefinition:
    """The description of a table.

    Parameters
    ----------
    name : str
        Name of the table; empty if none is stated.
    schema : TableSchema
        Its schema.
    constraints : tuple of Constraint
        Conditions that its rows satisfy.
    """

    name: str
    schema: TableSchema
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def from_yaml(cls, path: Path) -> "TableDefinition":
        """Read a schema with optional `constraints`, or the `defs.yaml` of a table, of which the source is not read.

        Raises
        ------
        TableError
            If there is no such file, or it states no schema.
        """
        stated = read_yaml(path)
        try:
            if "attributes" not in stated:
                if stated.get("columns") == "infer":
                    raise TableError(
                        f"the schema {path} has `columns: infer` without a table; expected the columns. List them, or "
                        "name the defs.yaml of a table."
                    )
                return cls("", *_parsed({"constraints": (), **stated}))
            attributes = stated["attributes"]
            if not isinstance(attributes, Mapping) or "columns" not in attributes:
                raise TableError(f"the schema {path} has `attributes` without `columns`; expected the columns.")
            of_schema = {name: attributes[name] for name in TableSchema.model_fields if name in attributes}
            if attributes["columns"] == "infer":
                overrides = TypeAdapter(tuple[Column, ...]).validate_python(attributes.get("override", ()))
                of_schema["columns"] = SchemaLock.read(path.parent).with_overrides(overrides)
            if isinstance(target := attributes.get("target"), Mapping):
                of_schema["target"] = target.get("column")
            constraints = attributes.get("constraints", ())
            return cls(str(attributes.get("table", "")), *_parsed({**of_schema, "constraints": constraints}))
        except ValidationError as error:
            raise TableError(f"the schema {path}: {validation_message(error)}") from error


class _Constraints(BaseModel):
    constraints: tuple[Constraint, ...]


def _parsed(stated: Mapping[str, Any]) -> tuple[TableSchema, tuple[Constraint, ...]]:
    of_schema = {name: value for name, value in stated.items() if name != "constraints"}
    constraints = _Constraints.model_validate({"constraints": stated["constraints"]}).constraints
    return TableSchema.model_validate(of_schema), constraints
