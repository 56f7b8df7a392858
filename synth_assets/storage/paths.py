"""Where the project keeps its data: one folder, whose layout is stated here and nowhere else."""

import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SYNTH_ASSETS_DATA"
"""The environment variable that names another data folder than the project's own."""


@dataclass(frozen=True)
class DataPaths:
    """The layout of a data folder.

    Parameters
    ----------
    root : pathlib.Path
        The folder itself, absolute.
    """

    root: Path

    @classmethod
    def from_environment(cls) -> "DataPaths":
        """Give the folder that `SYNTH_ASSETS_DATA` names, or `data/` beside the package."""
        named = os.environ.get(VARIABLE)
        return cls(Path(named).expanduser().resolve() if named else Path(__file__).parents[2] / "data")

    @property
    def warehouse(self) -> Path:
        """The pipeline's own DuckDB file."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The DuckDB file for consumers."""
        return self.root / "published" / "synthetic.duckdb"

    @property
    def bases(self) -> Path:
        """The base models that are made from a table."""
        return self.root / "base_models"

    def models(self, table: str) -> Path:
        """Give the folder of the fitted models of a table."""
        return self.root / "models" / table

    def experiments(self, experiment_dir: str) -> Path:
        """Give the folder of the checkpoints of an experiment."""
        return self.root / experiment_dir

    def augmentation(self, table: str) -> Path:
        """Give the folder of what an augmentation study has found so far."""
        return self.root / "augmentation" / table

    def plots(self, table: str, partition: str) -> Path:
        """Give the folder of the full-size figures of a sample."""
        return self.root / "plots" / table / partition

    def report(self, table: str, partition: str) -> Path:
        """Give the HTML report of a sample."""
        return self.root / "reports" / table / f"{partition}.html"
