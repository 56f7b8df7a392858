"""Sources of the rows of a table: one class for each type, chosen by `type:` in the YAML."""

from typing import Annotated

from pydantic import Field

from synth_assets.sources.auto import AutoSource
from synth_assets.sources.base import LoadedTable, Source, SourceError
from synth_assets.sources.database import DuckDBSource, MySQLSource, PostgreSQLSource, SQLiteSource
from synth_assets.sources.dialects import Dialect
from synth_assets.sources.file import FileSource
from synth_assets.sources.openml import OpenMLSource
from synth_assets.sources.placeholder import PlaceholderSource
from synth_assets.sources.remote import S3Source, URLSource

__all__ = ["AnySource", "Dialect", "LoadedTable", "Source", "SourceError"]

AnySource = Annotated[
    AutoSource
    | FileSource
    | SQLiteSource
    | DuckDBSource
    | PostgreSQLSource
    | MySQLSource
    | S3Source
    | URLSource
    | OpenMLSource
    | PlaceholderSource,
    Field(discriminator="type"),
]
"""Any source, chosen by its `type`."""
