"""The first source that is available: a file, OpenML, the placeholder."""

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field

from synth_assets.sources.base import DataFile, LoadedTable, Source, SourceError, Variable
from synth_assets.sources.dialects import Dialect
from synth_assets.sources.file import FileSource
from synth_assets.sources.openml import OpenMLSource
from synth_assets.sources.placeholder import PlaceholderSource

log = logging.getLogger(__name__)


class AutoSource(Source):
    """The first of: the file, OpenML, the placeholder.

    OpenML is used only if no file is named: a file that the variable names must exist.
    """

    type: Literal["auto"] = "auto"
    path: DataFile = Field(description="File of CSV, Parquet, JSON or Excel, inside the data folder.")
    variable: Variable | None = Field(default=None, description="Environment variable that names another file.")
    dialect: Dialect | None = Field(
        default=None, description="Dialect of a CSV file; what is not stated is found in the file."
    )
    sheet: str | None = Field(default=None, description="Sheet of an Excel workbook; by default the first.")
    openml: OpenMLSource | None = Field(default=None, description="Data set on OpenML.")
    placeholder: DataFile | None = Field(
        default=None, description="CSV file of the placeholder, inside the data folder."
    )

    def load(self, data_dir: Path) -> LoadedTable:
        """Load the first source that is available. OpenML out of reach leads on to the placeholder, with a warning."""
        if self._file.exists(data_dir) or not (self.openml or self._placeholder):
            return self._file.load(data_dir)
        if self.openml is not None:
            try:
                return self.openml.load(data_dir)
            except SourceError as error:
                if self._placeholder is None:
                    raise
                log.warning("%s", error)
        assert self._placeholder is not None  # noqa: S101 - checked above
        return self._placeholder.load(data_dir)

    def fingerprint(self, data_dir: Path) -> str:
        """Return the fingerprint of the first source that is configured and can be there.

        OpenML out of reach is an error here and does not lead on to the placeholder: nothing is known to have changed.
        """
        if self._file.exists(data_dir):
            return self._file.fingerprint(data_dir)
        return (self.openml or self._placeholder or self._file).fingerprint(data_dir)

    @property
    def _file(self) -> FileSource:
        return FileSource(path=self.path, variable=self.variable, dialect=self.dialect, sheet=self.sheet)

    @property
    def _placeholder(self) -> PlaceholderSource | None:
        return PlaceholderSource(path=self.placeholder) if self.placeholder else None
