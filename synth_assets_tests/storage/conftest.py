"""A warehouse and its publisher in a folder of their own."""

from pathlib import Path

import pytest

from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Give a warehouse that holds nothing yet."""
    return Warehouse(DataPaths(tmp_path / "data"))


@pytest.fixture
def publisher(warehouse: Warehouse) -> Publisher:
    """Give the publisher of `warehouse`."""
    return Publisher(warehouse.paths, warehouse=warehouse)
