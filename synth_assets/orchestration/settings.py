"""The settings of a table, as its `defs.yaml` states them: each key with its type, limits and default."""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import dagster as dg
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.gates import Gate, gates_with
from synth_assets.execution import LOCAL, AnyExecution
from synth_assets.publishing.publications import FOLDER
from synth_assets.publishing.retention import UNLIMITED, Retention
from synth_assets.schema.columns import Column, TableError
from synth_assets.schema.constraints import Constraint, check_constraints
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.lock import SchemaLock
from synth_assets.schema.split import Split
from synth_assets.schema.table import TableSchema
from synth_assets.sources import AnySource, Dialect
from synth_assets.sources.base import DataFile, inside_data_folder
from synth_assets.storage.sql import NAMESPACES
from synth_assets.synthesizers import SYNTHESIZERS, AnySettings, SampleSettings
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings


def _identifier(value: str) -> str:
    # Part of asset keys and of folder names.
    if not value.isidentifier():
        raise ValueError(
            f"found {value!r}; expected a name of letters, digits and '_' that does not begin with a digit"
        )
    return value


def _table_name(value: str) -> str:
    taken = (*NAMESPACES, FOLDER)
    if _identifier(value) != value.lower() or value in taken:
        raise ValueError(f"found {value!r}; expected a lower-case name other than {', '.join(taken)}")
    return value


def _owner(value: str) -> str:
    if "@" not in value and not value.startswith("team:"):
        raise ValueError(f"found {value!r}; expected an e-mail address, or 'team:<name>'")
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"found {value!r}; expected a time zone of the IANA database, such as 'Europe/Berlin'")
    return value


def _date(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f'found {value!r}; expected a date as "YYYY-MM-DD"') from None


def _choose_by_type(schema: Any) -> None:
    """Rewrite each discriminated union of a JSON schema, so that `dg check` names the wrong key and its line.

    Of `oneOf`, a validator can only say that none of the alternatives is valid.
    """
    if isinstance(schema, list):
        for each in schema:
            _choose_by_type(each)
    elif isinstance(schema, dict):
        if "discriminator" in schema:
            choices = schema.pop("discriminator")["mapping"]
            del schema["oneOf"]
            schema |= {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"enum": list(choices)}},
                "allOf": [
                    {"if": {"properties": {"type": {"const": choice}}, "required": ["type"]}, "then": {"$ref": ref}}
                    for choice, ref in choices.items()
                ],
            }
        else:
            _choose_by_type(list(schema.values()))


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TargetSettings(_Settings):
    """The column that is predicted from the others: by regressors, or by classifiers if it is categorical."""

    column: str = Field(description="Name of the target in the source.")
    rename: str | None = Field(default=None, min_length=1, description="Name of the target in encoded_split.")


def _target(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


_StatedTarget = str | TargetSettings | None


def _columns(value: Any) -> Any:
    """Return stated columns, or none for `infer`: they are read from the lock once its folder is known."""
    if isinstance(value, str):
        if value != "infer":
            raise ValueError(f"found {value!r}; expected a list of columns, or `infer`")
        return ()
    if isinstance(value, list | tuple) and not value:
        raise ValueError("found no column; expected at least one, or `infer`")
    return value


class ScheduleSettings(_Settings):
    """When the table is resampled, and how often its source is checked."""

    hour: int = Field(default=6, ge=0, le=23, description="Hour of the daily sample.")
    minute: int = Field(default=0, ge=0, le=59, description="Minute of the daily sample.")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(default="UTC", description="Time zone of the schedule.")
    start_date: Annotated[str, AfterValidator(_date)] = Field(
        default="2026-01-01", description="First resample date, as YYYY-MM-DD."
    )
    source_every_minutes: int = Field(
        default=15, ge=1, description="Minutes between two checks of the source; a change starts the whole lineage."
    )


class FreshnessSettings(_Settings):
    """How old the newest sample and the publication may be."""

    warn_hours: float = Field(default=26.0, gt=0.1, description="Age in hours after which the UI warns.")
    fail_hours: float = Field(default=50.0, gt=0.1, description="Age in hours after which the UI reports a failure.")

    @model_validator(mode="after")
    def _warns_first(self) -> "FreshnessSettings":
        if self.warn_hours >= self.fail_hours:
            raise ValueError(
                f"found warn_hours {self.warn_hours:g} and fail_hours {self.fail_hours:g}; "
                "expected warn_hours to be less"
            )
        return self

    def policy(self) -> dg.FreshnessPolicy:
        """Return the freshness policy of Dagster."""
        return dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=self.warn_hours), fail_window=timedelta(hours=self.fail_hours)
        )


def _of_schema(name: str) -> Any:
    """Return a setting that is a field of `TableSchema`, with its default, limits and description."""
    return TableSchema.model_fields[name]


_SPLIT = Split.model_validate({"train_size": 0.8, "random_state": 0})


class SyntheticTableSettings(_Settings):
    """The settings of a table."""

    table: Annotated[str, AfterValidator(_table_name)] = Field(
        description="Name of the table: the prefix of its asset keys, and its namespace in DuckDB."
    )
    owner: Annotated[str, AfterValidator(_owner)] = Field(
        default="team:synth_assets", description="Owner of the table: an e-mail address, or 'team:<name>'."
    )
    source: AnySource = Field(description="Source of the rows, by `type`.")
    columns: Annotated[tuple[Column, ...], BeforeValidator(_columns)] = Field(
        description="Columns of the table, in order; or `infer`, for those that `synth-assets init` found and wrote "
        "into schema.lock.yaml."
    )
    override: tuple[Column, ...] = Field(
        default=(), description="Columns that replace the inferred ones of the same names."
    )
    target: Annotated[TargetSettings | None, BeforeValidator(_target, json_schema_input_type=_StatedTarget)] = Field(
        default=None,
        description="Column that is predicted from the others, by its name; without one, no prediction is compared.",
    )
    max_missing_share: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="Share of the cells of a column that may be empty in the source; without one, any share may.",
    )
    split: Split = Field(default=_SPLIT, description="Division of the rows into train and holdout rows.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the model.")
    synthesizer: AnySettings = Field(default=LanguageModelSettings(), description="Synthesizer of the rows, by `type`.")
    checkpoints_dir: DataFile = Field(
        default="checkpoints", description="Folder of training checkpoints, inside the data folder."
    )
    sample: SampleSettings = Field(default=SampleSettings(), description="Size and conditions of a sample.")
    execution: AnyExecution = Field(
        default=LOCAL,
        description="Where a model is fitted, large samples are drawn and long tables are evaluated: `local`, in "
        "processes of this machine, or `ray`, on a cluster whose machines share the data folder. Results do not "
        "depend on it.",
    )
    constraints: tuple[Constraint, ...] = Field(default=(), description="Conditions in SQL that valid rows satisfy.")
    tolerances: dict[str, dict[str, float]] = Field(
        default={},
        description="By gate and metric: how much worse than real rows a sample may be and still be published.",
    )
    private: bool = Field(
        default=True, description="Whether the real rows are confidential: consumers get synthetic rows only."
    )
    publish_text: bool | None = _of_schema("publish_text")
    min_label_rows: int | None = _of_schema("min_label_rows")
    rare_labels: Literal["draw", "other"] = _of_schema("rare_labels")
    publish_real_rows: bool | None = Field(
        default=None,
        description="Whether raw and encoded_split are published; by default, if the table is not private.",
    )
    retention: Retention = Field(default=UNLIMITED, description="How long samples are kept.")
    schedule: ScheduleSettings = Field(default=ScheduleSettings(), description="Time of the daily sample.")
    freshness: FreshnessSettings = Field(
        default=FreshnessSettings(), description="Maximum age of the newest sample and of the publication."
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        _choose_by_type(properties)
        listed = properties["columns"]
        properties["columns"] = {
            "description": listed.pop("description"),
            "if": {"type": "string"},
            "then": {"enum": ["infer"]},
            "else": listed | {"minItems": 1},
        }
        return schema

    @field_validator("synthesizer")
    @classmethod
    def _base_is_inside_data_folder(cls, synthesizer: AnySettings) -> AnySettings:
        TypeAdapter(DataFile).validate_python(getattr(synthesizer, "base", "scratch"))
        return synthesizer

    @model_validator(mode="after")
    def _is_consistent(self) -> "SyntheticTableSettings":
        inside_data_folder(getattr(self.synthesizer, "base", "scratch"))
        try:
            self.gates()
            if self.is_inferred:
                return self  # the rest is checked once the columns are known
            if self.override:
                raise TableError("override: the columns are listed; change them there, or state `columns: infer`.")
            self.encoding()
            check_constraints(self.constraints, self.table_schema())
        except ForeseenError as error:
            raise ValueError(str(error)) from error
        names = self.table_schema().names
        unknown = [name for name in getattr(self.synthesizer, "column_order", ()) if name not in names]
        if unknown:
            raise ValueError(f"synthesizer.column_order names {', '.join(unknown)}; the columns are {', '.join(names)}")
        return self

    @property
    def is_inferred(self) -> bool:
        """Whether `columns: infer` is stated, and the columns are not known yet."""
        return not self.columns

    def resolved(self, folder: Path) -> "SyntheticTableSettings":
        """Return the settings with the columns of the lock in a folder, and its dialect, if they are inferred.

        Raises
        ------
        ForeseenError
            If there is no lock, or it is damaged.
        pydantic.ValidationError
            If the settings name a column that is not in the lock.
        """
        if not self.is_inferred:
            return self
        lock = SchemaLock.read(folder)
        source = self.source
        if "dialect" in lock.source and getattr(source, "dialect", ...) is None:
            source = source.model_copy(update={"dialect": Dialect.model_validate(lock.source["dialect"])})
        stated = {"source": source, "columns": lock.with_overrides(self.override), "override": ()}
        return SyntheticTableSettings.model_validate(dict(self) | stated)

    def table_schema(self) -> TableSchema:
        """Return the schema of the raw table, which publishes no text if the synthesizer writes none."""
        schema = TableSchema(
            columns=self.columns,
            target=self.target.column if self.target else None,
            private=self.private,
            publish_text=self.publish_text,
            min_label_rows=self.min_label_rows,
            rare_labels=self.rare_labels,
        )
        return SYNTHESIZERS[self.synthesizer.type].written_schema(schema)

    def encoding(self) -> Encoding:
        """Return the encoding of `encoded_split`."""
        return Encoding(self.table_schema(), self.target.rename if self.target else None)

    def gates(self) -> dict[str, Gate]:
        """Return the gates by name, with the tolerances of the table; without a target, there is no gate of utility.

        Raises
        ------
        ForeseenError
            If tolerances are stated for an unknown gate, or for a metric that is not one of the gate's, or for the
            gate of utility of a table without a target.
        """
        gates = gates_with(self.tolerances)
        if self.target is None:
            if "utility" in self.tolerances:
                raise ForeseenError(
                    "tolerances name the gate utility, which a table without a target does not have. State a "
                    "target, or remove them."
                )
            del gates["utility"]
        return gates

    @property
    def real_rows_are_published(self) -> bool:
        """Whether consumers get the real rows too."""
        return not self.private if self.publish_real_rows is None else self.publish_real_rows
