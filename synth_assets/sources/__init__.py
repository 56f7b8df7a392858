"""Sources of the rows of a table: one module for each type, chosen by `type:` in the YAML."""

from typing import Annotated

from pydantic import Field

from synth_assets.sources.auto import AutoSource
from synth_assets.sources.base import LoadedTable, Source, SourceError
from synth_assets.sources.file import FileSource
from synth_assets.sources.openml import OpenMLSource
from synth_assets.sources.placeholder import PlaceholderSource

__all__ = ["AnySource", "LoadedTable", "Source", "SourceError"]

AnySource = Annotated[AutoSource | FileSource | OpenMLSource | PlaceholderSource, Field(discriminator="type")]
"""Any source, chosen by its `type`."""
