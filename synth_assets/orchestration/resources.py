"""Resources shared by all tables."""

from synth_assets.orchestration.io_manager import WarehouseIOManager
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse


def shared_resources(paths: DataPaths | None = None) -> dict[str, object]:
    """Return the resources of every table by name.

    Parameters
    ----------
    paths : DataPaths, optional
        The data folder; by default, `DataPaths.from_environment()`.

    Returns
    -------
    dict
        `paths`, `warehouse`, `io_manager` and `publisher`.
    """
    paths = paths or DataPaths.from_environment()
    warehouse = Warehouse(paths)
    return {
        "paths": paths,
        "warehouse": warehouse,
        "io_manager": WarehouseIOManager(warehouse),
        "publisher": Publisher(paths, warehouse),
    }
