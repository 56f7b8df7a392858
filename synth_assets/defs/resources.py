"""The resources that all tables share, in the data folder that the environment names."""

import dagster as dg

from synth_assets.data_paths import DataPaths
from synth_assets.resources.data_folder import DataFolder
from synth_assets.resources.publisher import Publisher
from synth_assets.resources.warehouse import Warehouse, WarehouseIOManager


@dg.definitions
def resources() -> dg.Definitions:
    """Give the data folder, and the warehouse and the publisher that lie in it."""
    folder = DataFolder(root=str(DataPaths.from_environment().root))
    warehouse = Warehouse(folder=folder)
    return dg.Definitions(
        resources={
            "data_folder": folder,
            "warehouse": warehouse,
            "io_manager": WarehouseIOManager(warehouse=warehouse),
            "publisher": Publisher(folder=folder, warehouse=warehouse),
        }
    )
