"""Diffusion of numbers and labels (TabDDPM, Kotelnikov et al., ICML 2023), by synthcity's ddpm plugin.

Its own settings, but for the steps: it takes 3,000 for 3,000 rows, with which detection is far easier; here there
are 30,000 on every table, as in the authors' tuned setting for abalone (`exp/abalone/ddpm_cb_best` of their
repository). Some rows diverge, to the least or greatest value of every column; the plugin keeps one of equal rows, and
draws more.
"""

import sys
import tempfile
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pandas as pd
from common import Sampler, run_peer

STEPS = 30_000
BATCH = 1024
"""Rows of a step, the plugin's own number."""

NEVER_CALLED = {
    "PIL",
    "geomloss",
    "lifelines",
    "monai",
    "opacus",
    "optuna",
    "pycox",
    "redis",
    "shap",
    "torchtuples",
    "torchvision",
    "tsai",
    "xgboost",
    "xgbse",
}
"""Packages that synthcity imports for its metrics and its other plugins only."""


class EmptyModules(MetaPathFinder, Loader):
    """Import nothing under these names, so that they need not be installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Claim a module of `NEVER_CALLED`."""
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in NEVER_CALLED else None

    def create_module(self, spec: ModuleSpec) -> MagicMock:
        """Return a module that has every name."""
        return MagicMock(name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


sys.meta_path.append(EmptyModules())

from synthcity.plugins.generic.plugin_ddpm import TabDDPMPlugin  # noqa: E402 - it needs the empty modules


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Train the network; see `run_peer`."""
    import torch

    torch.set_num_threads(1)
    # Integers as floats: the plugin truncates the values that it draws for integers, where the grid rounds.
    table = train.astype({name: float for name in train if name not in categories})
    with tempfile.TemporaryDirectory() as folder:
        model = TabDDPMPlugin(
            n_iter=ceil(STEPS / ceil(len(train) / BATCH)),  # epochs
            batch_size=BATCH,
            random_state=seed,
            # Its defaults, and the seed, which would be 0 otherwise and seed all later draws.
            model_params={"n_layers_hidden": 3, "n_units_hidden": 256, "dropout": 0.0, "random_state": seed},
            device=torch.device("cpu"),
            workspace=Path(folder),
        )
        model.fit(table)
    return model.model, lambda rows: model.generate(rows).dataframe()


if __name__ == "__main__":
    run_peer("synthcity", fit)
