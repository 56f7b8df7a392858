"""Synthesizers: one interface, one module for each method.

To add a method, add a module with a `Synthesizer`, and a line in `_CLASSES`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import (
    ModelError,
    SampleSettings,
    Synthesizer,
    SynthesizerSettings,
    read_description,
)
from synth_assets.synthesizers.be_great import BeGreat
from synth_assets.synthesizers.forest import Forest
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel
from synth_assets.synthesizers.smote import Smote

__all__ = [
    "SYNTHESIZERS",
    "AnySettings",
    "ModelError",
    "SampleSettings",
    "Synthesizer",
    "SynthesizerSettings",
    "create",
    "default_for",
    "load",
]

_CLASSES: tuple[type[Synthesizer], ...] = (
    LanguageModel,
    BeGreat,
    Forest,
    Smote,
)

SYNTHESIZERS: dict[str, type[Synthesizer]] = {each.name: each for each in _CLASSES}
"""The synthesizers by name."""

if TYPE_CHECKING:
    AnySettings = SynthesizerSettings
else:
    AnySettings = Annotated[Union[tuple(each.Settings for each in _CLASSES)], Field(discriminator="type")]  # noqa: UP007
    """The settings of any synthesizer, chosen by their `type`."""


MODEL_COLUMNS = 100
"""Columns that are learned by a language model where no synthesizer is stated; more are learned by a forest."""


def default_for(schema: TableSchema) -> str:
    """Return the name of the synthesizer of a table for which none is stated."""
    return LanguageModel.name if len(schema.learned) <= MODEL_COLUMNS else Forest.name


def create(settings: SynthesizerSettings, *, base_models_dir: Path | None = None) -> Synthesizer:
    """Create the unfitted synthesizer that settings are for; `base_models_dir` is as in `Synthesizer`."""
    return SYNTHESIZERS[settings.type](settings, base_models_dir=base_models_dir)


def load(path: Path | str) -> Synthesizer:
    """Load a synthesizer that was saved, whichever it is; a folder of the model store is one too.

    Raises
    ------
    ModelError
        If the folder holds no synthesizer that this version of synth_assets can read.
    """
    name = read_description(Path(path))["name"]
    if name not in SYNTHESIZERS:
        raise ModelError(f"{path} holds a synthesizer {name!r}; the known ones are {', '.join(SYNTHESIZERS)}.")
    return SYNTHESIZERS[name].load(path)
