"""The placeholder: rows that are not real data, for development where the real table is out of reach."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from synth_assets.sources.base import DataFile, LoadedTable, Source, SourceError
from synth_assets.sources.file import fingerprint_of, read_file


class PlaceholderSource(Source):
    """A CSV file of rows that are not real data."""

    type: Literal["placeholder"] = "placeholder"
    path: DataFile = Field(description="CSV file, inside the data folder.")

    def load(self, data_dir: Path) -> LoadedTable:
        """Load the placeholder."""
        path = self._found(data_dir)
        fingerprint = fingerprint_of([path])
        return LoadedTable(read_file(path), "placeholder", path.name, fingerprint)

    def fingerprint(self, data_dir: Path) -> str:
        """Return the fingerprint of the file."""
        return fingerprint_of([self._found(data_dir)])

    def _found(self, data_dir: Path) -> Path:
        path = data_dir / self.path
        if not path.is_file():
            raise SourceError(f"the placeholder {path} is missing; restore it from version control.")
        return path
