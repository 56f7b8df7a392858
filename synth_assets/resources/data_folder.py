"""The data folder as a Dagster resource."""

from pathlib import Path

import dagster as dg

from synth_assets.data_paths import DataPaths


class DataFolder(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The folder in which everything is kept that is no code.

    Parameters
    ----------
    root : str
        The folder, absolute.
    """

    root: str

    @property
    def paths(self) -> DataPaths:
        """The layout of the folder."""
        return DataPaths(Path(self.root))
