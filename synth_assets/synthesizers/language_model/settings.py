"""Settings of the language model and of its parts."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synth_assets.synthesizers.base import SynthesizerSettings
from synth_assets.synthesizers.forest import ForestSettings

SCRATCH = "scratch"
"""The base that is made for the table, instead of being loaded by a name or a path."""

GGUF = ".gguf"
"""Suffix of a file with the weights, the configuration and the tokenizer of a model, as llama.cpp reads it."""


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
        "row and the number of train rows for a 'scratch' base, and is 0 for any other.",
    )
    epochs: int = Field(default=1, ge=1, description="Maximum number of epochs on these rows.")
    learning_rate: float | None = Field(
        default=None,
        gt=0.0,
        description="Peak learning rate on these rows; by default 0.003 for a 'scratch' base, 0.0002 for any other.",
    )
    forest: ForestSettings = Field(
        default=ForestSettings(n_estimators=TREES, max_samples=TREE_ROWS), description="Settings of the forest."
    )


SCRATCH_RECIPE: dict[str, Any] = {"use_density_ratio": True, "pretrain": {"learning_rate": 3e-3}}
"""Settings of a 'scratch' base where none are stated, except for those that depend on the train rows."""

PRETRAINED_RECIPE: dict[str, Any] = {
    "use_density_ratio": False,
    "learning_rate": 2e-4,
    "pretrain": {"rows": 0, "learning_rate": 2e-4},
}
"""Settings of any other base where none are stated. With them, boosted trees told rows of SmolLM2-135M from real ones
of abalone at an AUC of 0.536 (three seeds), and with 20,000 rows of the forest at 0.540."""

ADAPTERS_RECIPE: dict[str, Any] = {**PRETRAINED_RECIPE, "learning_rate": 1e-3}
"""The same with low-rank adapters, which need some ten times the rate of all weights (Schulman et al., *LoRA Without
Regret*, 2025). On 300 rows of abalone, validation rows took 33.9 nats with SmolLM2-135M; at 2e-4 in steps of 64, 34.5
nats."""


class BaseModelSettings(SynthesizerSettings):
    """Which causal language model is trained."""

    base: str = Field(
        default=SCRATCH,
        min_length=1,
        description="'scratch', or a causal language model: a folder or a GGUF file in base_models/ of the data "
        "folder, or its name on the model hub.",
    )
    scratch: ScratchSettings = Field(default=ScratchSettings(), description="Shape of a 'scratch' base.")
    lora: bool = Field(default=False, description="Train low-rank adapters instead of all weights.")


class LanguageModelSettings(BaseModelSettings):
    """Settings of the language model."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"checkpoint_every", "devices"})

    type: Literal["language_model"] = "language_model"
    epochs: int = Field(default=40, ge=1, description="Maximum number of epochs on the train rows.")
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Train rows of a training step; by default 64, 128 for a 'scratch' base with 20,000 train rows or "
        "more, and 16 for any other base with fewer than 1,000.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0.0,
        description="Learning rate, before it decays to 0 in the last fifth of the epochs; by default 0.002 for a "
        "'scratch' base, 0.006 with 20,000 train rows or more; for any other base 0.0002, 0.001 with `lora`.",
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
    n_models: int | None = Field(
        default=None,
        ge=1,
        description="Models that are trained, each from random weights and an order of rows of its own; each draws an "
        "equal share of a sample. By default 2 for a 'scratch' base with 20,000 train rows or more, else 1.",
    )
    use_residuals: bool = Field(
        default=True, description="Encode a number as a residual where the columns before it predict it well."
    )
    pretrain: PretrainSettings = Field(default=PretrainSettings(), description="Pretraining on rows of a forest.")
    use_density_ratio: bool | None = Field(
        default=None,
        description="Keep generated rows by their density ratio to the train rows, as boosted trees estimate it, if "
        "the rows that choose the best epoch show that this brings them closer to real ones; eight to nine of ten rows "
        "are kept then. By default for a 'scratch' base alone.",
    )
    quantized: bool = Field(
        default=False, description="Keep the base in 4 bits while low-rank adapters are trained; with `lora`, on a GPU."
    )
    devices: int = Field(
        default=1, ge=1, description="GPUs of this machine that train the model together; without a GPU, processes."
    )
    checkpoint_every: int = Field(
        default=1,
        ge=1,
        description="Epochs between two checkpoints, at least: "
        "a large model is written so rarely that this takes a tenth of the time at most.",
    )

    @model_validator(mode="after")
    def _adapters_on_a_quantized_base(self) -> "LanguageModelSettings":
        if self.quantized and (not self.lora or self.base == SCRATCH):
            raise ValueError(
                f"found quantized with base {self.base!r} and lora {str(self.lora).lower()}; expected a pretrained "
                "base and lora: true"
            )
        if self.quantized and self.base.lower().endswith(GGUF):
            raise ValueError(
                f"found quantized with the GGUF file {self.base!r}, whose weights are dequantised when it is loaded; "
                "expected a folder of safetensors, or a name on the model hub"
            )
        return self

    def resolved(self) -> "LanguageModelSettings":
        """Return the settings with the recipe of the base in place of what is not stated."""
        pretrained = ADAPTERS_RECIPE if self.lora else PRETRAINED_RECIPE
        recipe = SCRATCH_RECIPE if self.base == SCRATCH else pretrained
        pretrain = self.pretrain.model_copy(update=_unstated(self.pretrain, recipe["pretrain"]))
        rest = {name: value for name, value in recipe.items() if name != "pretrain"}
        return self.model_copy(update={**_unstated(self, rest), "pretrain": pretrain})

    def inputs(self) -> dict[str, Any]:
        """Return the resolved settings that the fitted model depends on, as JSON values."""
        return super(LanguageModelSettings, self.resolved()).inputs()


def _unstated(settings: BaseModel, recipe: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if getattr(settings, name) is None}
