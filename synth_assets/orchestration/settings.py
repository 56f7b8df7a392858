"""What a `defs.yaml` may state of a table: every key, its type, its limits and its default."""

from datetime import date, timedelta
from typing import Annotated
from zoneinfo import available_timezones

import dagster as dg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.gates import GATES, Gate
from synth_assets.publishing.publications import FOLDER
from synth_assets.publishing.retention import Retention
from synth_assets.schema.columns import Column
from synth_assets.schema.constraints import Constraint, check_constraints
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import Split
from synth_assets.schema.table import TableSchema
from synth_assets.sources import AnySource
from synth_assets.sources.base import DataFile
from synth_assets.synthesizers.settings import (
    SCRATCH,
    Engine,
    ModelSpec,
    SampleSpec,
    ScratchBase,
    TeacherSpec,
    TrainingSpec,
)

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


class ScratchSettings(_Settings):
    """The shape of the base that is made from the table."""

    n_layer: int = Field(default=2, ge=1, description="Layers.")
    n_head: int = Field(default=4, ge=1, description="Attention heads.")
    n_embd: int = Field(default=64, ge=1, description="Width; a multiple of the number of heads.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="The share of activations dropped in training.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ScratchSettings":
        if self.n_embd % self.n_head:
            raise ValueError(f"found n_embd {self.n_embd} and n_head {self.n_head}; expected a multiple of n_head")
        return self


class TeacherSettings(_Settings):
    """The forest that writes a model's first rows."""

    trees: int = Field(default=100, ge=1, description="Trees a column.")
    leaf: int = Field(default=10, ge=1, description="Train rows a leaf, at least.")
    features: float = Field(default=1.0, gt=0.0, le=1.0, description="The share of columns a split chooses from.")
    smoothing: float = Field(default=0.15, ge=0.0, lt=1.0, description="Noise on a number, as a share of its leaf's.")


class TrainingSettings(_Settings):
    """How our engine trains, beyond what be_great has too."""

    validation: float = Field(default=0.1, gt=0.0, lt=1.0, description="The share of train rows held back.")
    patience: int = Field(default=3, ge=1, description="Epochs without a better validation loss before it stops.")
    averaging: float = Field(default=0.99, ge=0.0, lt=1.0, description="Of the moving average of the weights.")
    teacher_rows: int = Field(default=300_000, ge=0, description="Rows that a forest writes for the first lessons.")
    teacher_epochs: int = Field(default=1, ge=1, description="Epochs on these, at most.")
    teacher_learning_rate: float = Field(default=3e-3, gt=0.0, description="At its height, on these.")
    teacher: TeacherSettings = Field(default=TeacherSettings(), description="The forest.")
    save_epochs: int = Field(default=1, ge=1, description="Epochs between two checkpoints.")


class LanguageModelSettings(_Settings):
    """The language model and its training arguments."""

    engine: Engine = Field(default="great", description="What trains and samples: ours, or be_great as it is.")
    base: DataFile = Field(
        default=SCRATCH,
        description="'scratch', or a causal language model: a folder in base_models/ of the data folder, or the "
        "model hub's name for it.",
    )
    scratch: ScratchSettings = Field(default=ScratchSettings(), description="The shape of a 'scratch' base.")
    epochs: int = Field(ge=1, description="How often training goes through the train rows; ours: at most.")
    batch_size: int = Field(ge=1, description="Rows a training step.")
    learning_rate: float = Field(default=5e-4, gt=0.0, description="At its height; it falls to 0.")
    save_steps: int = Field(default=2000, ge=1, description="Training steps between two checkpoints; be_great only.")
    logging_steps: int = Field(default=500, ge=1, description="Steps between two reports of the loss; be_great only.")
    order: list[str] = Field(default=[], description="Columns that are written first, in order; ours only.")
    orders: int = Field(default=1, ge=1, description="In how many orders rows are learned; ours only.")
    differences: bool = Field(default=True, description="Whether numbers may be differences, in one order; ours only.")
    lora: bool = Field(default=False, description="Whether a large base learns through low-rank adapters.")
    training: TrainingSettings = Field(default=TrainingSettings(), description="More of how ours trains.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the random weights, of orders, of dropout.")
    experiment_dir: DataFile = Field(description="The folder for checkpoints, inside the data folder.")


class SampleSettings(_Settings):
    """How a day's rows are sampled."""

    n_samples: int = Field(ge=1, description="How many rows.")
    temperature: float = Field(default=1.0, gt=0.0, description="Of the softmax over the next token.")
    batch_size: int = Field(default=1000, ge=1, description="Rows that are written at a time.")
    conditions: dict[str, str] | None = Field(default=None, description="What rows have to meet; ours only.")
    max_length: int = Field(default=100, ge=2, description="Tokens a row may take; be_great only.")
    max_draws: int = Field(default=20, ge=1, description="Rows drawn for each one wanted, at most; be_great only.")


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
    language_model: LanguageModelSettings = Field(description="The language model of its rows.")
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
        unknown = [name for name in self.language_model.order if name not in names]
        if unknown:
            raise ValueError(f"language_model.order names {', '.join(unknown)}; the columns are {', '.join(names)}")
        return self

    def table_schema(self) -> TableSchema:
        """Return the raw table's schema."""
        return TableSchema(columns=self.columns, target=self.target.column)

    def encoding(self) -> Encoding:
        """Return how `encoded_split` writes the rows."""
        return Encoding(self.table_schema(), self.target.rename)

    def model_spec(self) -> ModelSpec:
        """Give how the language model is made."""
        settings = self.language_model
        arguments = settings.model_dump(exclude={"experiment_dir", "scratch", "order", "training"})
        return ModelSpec(
            **arguments,
            scratch=ScratchBase(**settings.scratch.model_dump()),
            order=tuple(settings.order),
            training=TrainingSpec(
                **settings.training.model_dump(exclude={"teacher"}),
                teacher=TeacherSpec(**settings.training.teacher.model_dump()),
            ),
        )

    def table_gates(self) -> dict[str, Gate]:
        """Give the gates of a sample, by name.

        Raises
        ------
        ForeseenError
            If allowances are given for what is no gate, or for a metric that a gate does not look at.
        """
        unknown = sorted(set(self.gates) - set(GATES))
        if unknown:
            raise ForeseenError(f"gates names {', '.join(unknown)}; the gates are {', '.join(GATES)}.")
        return {name: gate.with_allowances(self.gates.get(name, {})) for name, gate in GATES.items()}

    @property
    def real_rows_are_published(self) -> bool:
        """Whether consumers get the real rows too."""
        return not self.private if self.publish_real_rows is None else self.publish_real_rows

    def sample_retention(self) -> Retention:
        """Give how long samples are kept."""
        return Retention(**self.retention.model_dump())

    def sample_spec(self) -> SampleSpec:
        """Give how a day's rows are sampled."""
        return SampleSpec(**self.sample.model_dump())
