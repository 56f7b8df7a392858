"""The layout of the data folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from synth_assets.errors import ForeseenError

VARIABLE = "SYNTH_ASSETS_DATA"
"""Environment variable with the data folder, or the object store of `data/`; by default `data/` of the project."""


STORAGE_VARIABLE = "SYNTH_ASSETS_STORAGE"
"""Environment variable with the object store, as s3://bucket/prefix, in which publications and models are shared."""


@dataclass(frozen=True)
class DataPaths:
    """The layout of a data folder.

    Parameters
    ----------
    root : pathlib.Path
        The data folder, as an absolute path.
    storage : str, optional
        The object store in which publications and models are shared with other machines, as s3://bucket/prefix.
    """

    root: Path
    storage: str | None = None

    @classmethod
    def from_environment(cls, folder: str | Path | None = None) -> "DataPaths":
        """Return the layout of a folder, by default the one in `SYNTH_ASSETS_DATA`, or `data/` beside the package.

        Its object store is the one in `SYNTH_ASSETS_STORAGE`, if any. Where an object store is named in place of the
        folder, that is the store of `data/`.

        Raises
        ------
        ForeseenError
            If two object stores are named.
        """
        named, storage = folder or os.environ.get(VARIABLE), os.environ.get(STORAGE_VARIABLE) or None
        if str(named).startswith("s3:"):
            address = f"s3://{str(named).removeprefix('s3:').strip('/')}"  # a `Path` has one slash of two
            if storage is not None and storage.rstrip("/") != address:
                raise ForeseenError(
                    f"found the object store {address} as the data folder, and {storage} in {STORAGE_VARIABLE}; "
                    f"expected one. Unset {STORAGE_VARIABLE}, or name a folder of this machine as the data folder."
                )
            named, storage = None, address
        root = Path(named).expanduser().resolve() if named else Path(__file__).parents[2] / "data"
        return cls(root, storage)

    @property
    def warehouse(self) -> Path:
        """The DuckDB file of the pipeline."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The DuckDB file for consumers."""
        return self.root / "published" / "synthetic.duckdb"

    @property
    def readable(self) -> Path | str:
        """What consumers connect to: the data folder, or its object store where nothing was published in the folder."""
        return self.root if self.storage is None or self.published.exists() else self.storage

    @property
    def base_models(self) -> Path:
        """The folder of base language models."""
        return self.root / "base_models"

    def models(self, table: str) -> Path:
        """Return the folder of the fitted models of a table."""
        return self.root / "models" / table

    def checkpoints(self, checkpoints_dir: str) -> Path:
        """Return the folder of training checkpoints, as the settings of a table name it."""
        return self.root / checkpoints_dir

    def samples(self, table: str, resample_date: str) -> Path:
        """Return the folder of the Parquet files of a large sample."""
        return self.root / "samples" / table / resample_date

    def plots(self, table: str, resample_date: str) -> Path:
        """Return the folder of the full-size figures of a sample."""
        return self.root / "plots" / table / resample_date

    def report(self, table: str, resample_date: str) -> Path:
        """Return the path of the HTML report of a sample."""
        return self.root / "reports" / table / f"{resample_date}.html"
