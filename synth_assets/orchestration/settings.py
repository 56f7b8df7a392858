"""What a `defs.yaml` may state of a table: every key, its type, its limits and its default."""

from datetime import date, timedelta
from typing import Annotated
from zoneinfo import available_timezones

import dagster as dg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.gates import Gate, gates_with
from synth_assets.publishing.publications import FOLDER
from synth_assets.publishing.retention import Retention
from synth_assets.schema.columns import Column
from synth_assets.schema.constraints import Constraint, check_constraints
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import Split
from synth_assets.schema.table import TableSchema
from synth_assets.sources import AnySource
from synth_assets.sources.base import DataFile, inside_data_folder
from synth_assets.synthesizers import AnySettings, SampleSettings

_SCHEMAS_OF_DUCKDB = ("information_schema", "main", "pg_catalog", "system", "temp")


def _identifier(value: str) -> str:
    # An asset key's part, and a folder's name.
    if not value.isidentifier():
        raise ValueError(f"found {value!r}; expected a name of letters, digits and '_' that no digit begins")
    return value


def _table_name(value: str) -> str:
    taken = (*_SCHEMAS_OF_DUCKDB, FOLDER)
    if _identifier(value) != value.lower() or value in taken:
        raise ValueError(f"found {value!r}; expected a name in small letters that is none of {', '.join(taken)}")
    return value


def _owner(value: str) -> str:
    if "@" not in value and not value.startswith("team:"):
        raise ValueError(f"found {value!r}; expected an e-mail address, or 'team:<name>'")
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"found {value!r}; expected a time zone of the IANA database, such as 'Europe/Berlin'")
    return value


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f'found {value!r}; expected a day as "YYYY-MM-DD"') from None


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetSettings(_Settings):
    """What is predicted from the other columns: by regressors, or by classifiers if it is a category."""

    column: str = Field(description="The target's name in the source.")
    rename: str | None = Field(default=None, min_length=1, description="Its name in encoded_split.")


class RetentionSettings(_Settings):
    """How long samples are kept, counted from the newest; without limits, for ever."""

    days: int | None = Field(default=None, ge=1, description="Samples of so many days are kept.")
    samples: int | None = Field(default=None, ge=1, description="So many samples are kept.")


class ScheduleSettings(_Settings):
    """When a new day's sample is made."""

    hour: int = Field(ge=0, le=23, description="The hour of the day.")
    minute: int = Field(default=0, ge=0, le=59, description="The minute of the hour.")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(default="UTC", description="Whose clock.")
    start_date: Annotated[str, AfterValidator(_day)] = Field(description="The first day that can be sampled.")
    source_every_minutes: int = Field(
        default=15, ge=1, description="How often the source is asked whether it has changed; then a model is fitted."
    )


class FreshnessSettings(_Settings):
    """How old what consumers read may get."""

    warn_hours: float = Field(default=26.0, gt=0.1, description="Older, and the UI warns.")
    fail_hours: float = Field(default=50.0, gt=0.1, description="Older, and the UI says that it is overdue.")

    @model_validator(mode="after")
    def _warns_first(self) -> "FreshnessSettings":
        if self.warn_hours >= self.fail_hours:
            raise ValueError(
                f"found warn_hours {self.warn_hours:g} and fail_hours {self.fail_hours:g}; expected a warning first"
            )
        return self

    def policy(self) -> dg.FreshnessPolicy:
        """Give it as Dagster takes it."""
        return dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=self.warn_hours), fail_window=timedelta(hours=self.fail_hours)
        )


class SyntheticTableSettings(_Settings):
    """What a `defs.yaml` states of a table."""

    table: Annotated[str, AfterValidator(_table_name)] = Field(
        description="The table's name: the prefix of its asset keys, and its schema in DuckDB."
    )
    owner: Annotated[str, AfterValidator(_owner)] = Field(
        description="Who answers for it: an e-mail address, or 'team:<name>'."
    )
    source: AnySource = Field(description="Source of its rows.")
    columns: tuple[Column, ...] = Field(min_length=2, description="Its columns, in order.")
    target: TargetSettings = Field(description="What is predicted from the other columns.")
    split: Split = Field(description="How rows are held out.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="Seed of the model.")
    synthesizer: AnySettings = Field(description="The synthesizer of its rows, by `type`.")
    checkpoints_dir: DataFile = Field(
        default="checkpoints", description="Folder for checkpoints, inside the data folder."
    )
    sample: SampleSettings = Field(description="How it is sampled.")
    constraints: tuple[Constraint, ...] = Field(
        default=(), description="Conditions that its rows keep to, but for errors."
    )
    gates: dict[str, dict[str, float]] = Field(
        default={}, description="By gate and metric: how much worse than real rows a sample may be and be published."
    )
    private: bool = Field(
        default=True,
        description="Whether its real rows are confidential: consumers then get synthetic rows alone, unless stated.",
    )
    publish_real_rows: bool | None = Field(
        default=None, description="Whether consumers get raw and encoded_split; unless stated, if it is not private."
    )
    retention: RetentionSettings = Field(default=RetentionSettings(), description="How long samples are kept.")
    schedule: ScheduleSettings = Field(description="When it is sampled anew.")
    freshness: FreshnessSettings = Field(
        default=FreshnessSettings(), description="How old the newest sample and the publication may get."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> "SyntheticTableSettings":
        try:
            self.encoding()
            self.table_gates()
            check_constraints(self.constraints, self.table_schema())
        except ForeseenError as error:
            raise ValueError(str(error)) from error
        names = self.table_schema().names
        unknown = [name for name in getattr(self.synthesizer, "column_order", ()) if name not in names]
        if unknown:
            raise ValueError(f"synthesizer.column_order names {', '.join(unknown)}; the columns are {', '.join(names)}")
        inside_data_folder(getattr(self.synthesizer, "base", "scratch"))
        return self

    def table_schema(self) -> TableSchema:
        """Return the raw table's schema."""
        return TableSchema(columns=self.columns, target=self.target.column)

    def encoding(self) -> Encoding:
        """Return how `encoded_split` writes the rows."""
        return Encoding(self.table_schema(), self.target.rename)

    def table_gates(self) -> dict[str, Gate]:
        """Give the gates of a sample, by name.

        Raises
        ------
        ForeseenError
            If allowances are given for what is no gate, or for a metric that a gate does not look at.
        """
        return gates_with(self.gates)

    @property
    def real_rows_are_published(self) -> bool:
        """Whether consumers get the real rows too."""
        return not self.private if self.publish_real_rows is None else self.publish_real_rows

    def sample_retention(self) -> Retention:
        """Give how long samples are kept."""
        return Retention(**self.retention.model_dump())
