"""Settings of the language model and of its parts."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synth_assets.synthesizers.base import SynthesizerSettings
from synth_assets.synthesizers.forest import ForestSettings

SCRATCH = "scratch"
"""The base that is made for the table, instead of being loaded by a name or a path."""


class ScratchSettings(BaseModel):
    """Shape of a GPT-2 with random weights, which the base 'scratch' is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_layer: int = Field(default=2, ge=1, description="Number of layers.")
    n_head: int = Field(default=4, ge=1, description="Number of attention heads.")
    n_embd: int = Field(default=64, ge=1, description="Width; a multiple of the number of heads.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout rate in training.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ScratchSettings":
        if self.n_embd % self.n_head:
            raise ValueError(f"found n_embd {self.n_embd} and n_head {self.n_head}; expected a multiple of n_head")
        return self


TREES, TREE_ROWS = 30, 3000
"""Trees of a column in the pretraining's forest, and train rows that a tree is fitted to, at most. With 100 trees,
boosted trees told synthetic rows of shoppers as easily."""


class PretrainSettings(BaseModel):
    """Pretraining on rows of a sequential forest that is fitted to the train rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int | None = Field(
        default=None,
        ge=0,
        description="Number of rows that the forest generates; 0 for none. By default, it depends on the length of a "
        "row and the number of train rows.",
    )
    epochs: int = Field(default=1, ge=1, description="Maximum number of epochs on these rows.")
    learning_rate: float = Field(default=3e-3, gt=0.0, description="Peak learning rate on these rows.")
    forest: ForestSettings = Field(
        default=ForestSettings(n_estimators=TREES, max_samples=TREE_ROWS), description="Settings of the forest."
    )


class BaseModelSettings(SynthesizerSettings):
    """Which causal language model is trained."""

    base: str = Field(
        default=SCRATCH,
        min_length=1,
        description="'scratch', or a causal language model: a folder in base_models/ of the data folder, or its name "
        "on the model hub.",
    )
    scratch: ScratchSettings = Field(default=ScratchSettings(), description="Shape of a 'scratch' base.")
    lora: bool = Field(default=False, description="Train low-rank adapters instead of all weights.")


class LanguageModelSettings(BaseModelSettings):
    """Settings of the language model."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"checkpoint_every"})

    type: Literal["language_model"] = "language_model"
    epochs: int = Field(default=40, ge=1, description="Maximum number of epochs on the train rows.")
    batch_size: int = Field(default=64, ge=1, description="Train rows of a training step.")
    learning_rate: float = Field(
        default=2e-3, gt=0.0, description="Learning rate, before it decays to 0 in the last fifth of the epochs."
    )
    validation_fraction: float = Field(
        default=0.1, gt=0.0, lt=1.0, description="Share of the train rows that choose the best epoch, up to 2,000 rows."
    )
    max_train_rows: int = Field(
        default=100_000, ge=2, description="Maximum number of train rows that are learned from, drawn at random."
    )
    patience: int = Field(
        default=1, ge=1, description="Epochs of little gain in validation loss after which the learning rate decays."
    )
    ema_decay: float = Field(
        default=0.998, ge=0.0, lt=1.0, description="Decay of the exponential moving average of the weights."
    )
    column_order: tuple[str, ...] = Field(
        default=(), description="Columns that come first in a row, in order; the others are ordered automatically."
    )
    use_residuals: bool = Field(
        default=True, description="Encode a number as a residual where the columns before it predict it well."
    )
    pretrain: PretrainSettings = Field(default=PretrainSettings(), description="Pretraining on rows of a forest.")
    checkpoint_every: int = Field(default=1, ge=1, description="Epochs between two checkpoints.")
