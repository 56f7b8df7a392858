"""Synthetic tables: fit a model to a table, sample rows, evaluate and publish them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth_assets.api import evaluate, mock, synthesize
    from synth_assets.publishing.client import connect, read_table
    from synth_assets.synthesizers import load
    from synth_assets.synthesizers.base import Synthesizer

__all__ = ["Synthesizer", "connect", "evaluate", "load", "mock", "read_table", "synthesize"]

_MODULES = {
    "Synthesizer": "synth_assets.synthesizers.base",
    "connect": "synth_assets.publishing.client",
    "evaluate": "synth_assets.api",
    "load": "synth_assets.synthesizers",
    "mock": "synth_assets.api",
    "read_table": "synth_assets.publishing.client",
    "synthesize": "synth_assets.api",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import synth_assets` is fast.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
