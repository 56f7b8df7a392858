"""A warehouse and its publisher in a folder of their own."""

from pathlib import Path

import pytest

from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.publisher import Publisher
from synth_assets.resources.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Give a warehouse that holds nothing yet."""
    return Warehouse(folder=DataFolder(root=str(tmp_path / "data")))


@pytest.fixture
def publisher(warehouse: Warehouse) -> Publisher:
    """Give the publisher of `warehouse`."""
    return Publisher(folder=warehouse.folder, warehouse=warehouse)
