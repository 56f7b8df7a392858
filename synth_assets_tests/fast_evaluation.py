"""Makes an evaluation cheap, for tests of what is written and not of the numbers.

One place reduces everything: splits, repeats and resamples (constants of `synth_assets.evaluation`), trees, and what is
drawn of figures. The gates themselves are tested with the shipped constants (`test_gates_of_abalone`), figures in
`test_figures`; the pictures of `live/test_live.py` are drawn whole. The fixture `fast_evaluation` does both for the
tests of a module.
"""

import importlib
import pkgutil
import sys
from functools import wraps
from typing import Any

import pytest

CONSTANTS = {
    "SPLITS": 2,
    "REFERENCE_SPLITS": 2,
    "N_FOLDS": 2,
    "N_REPEATS": 1,
    "REPEATS": 2,
    "SEEDS": 1,
    "PAIR_TREES": 2,
    "RESAMPLES": 10,
    "LEVEL": 1,  # few splits are no basis for the tail of chance
}
"""By name, in every module of `synth_assets.evaluation`."""

TREES, DPI = 2, 30


def reduce_constants(patch: pytest.MonkeyPatch) -> None:
    """Evaluate with few splits, repeats and resamples. Imports no heavy library."""
    package = importlib.import_module("synth_assets.evaluation")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{package.__name__}.")]
    for name, value in CONSTANTS.items():
        having = [module for module in modules if hasattr(module, name)]
        if not having:
            raise AssertionError(f"no module of synth_assets.evaluation has {name}: what is it called now?")
        for module in having:
            patch.setattr(module, name, value)


def reduce_libraries(patch: pytest.MonkeyPatch, *, draw_panels: bool = False) -> None:
    """Fit few trees, and draw small: of a figure its title alone, unless `draw_panels`.

    Text beside the axes is most of the work of a run of the tiny lineage.
    """
    from matplotlib.figure import Figure, FigureBase
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.ensemble._forest import BaseForest

    from synth_assets.evaluation.learners import BOOSTING_SETTINGS

    patch.setitem(BOOSTING_SETTINGS, "max_iter", TREES)
    for boosting in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        patch.setitem(boosting.__init__.__kwdefaults__, "max_iter", TREES)
    fit, savefig = BaseForest.fit, Figure.savefig

    @wraps(fit)
    def fit_few(self: Any, *arguments: Any, **options: Any) -> Any:
        return fit(self.set_params(n_estimators=TREES, n_jobs=1), *arguments, **options)

    @wraps(savefig)
    def save_small(self: Any, *arguments: Any, **options: Any) -> Any:
        self.set_layout_engine("none")
        for panel in () if draw_panels else (*self.axes, *self.legends):
            panel.set_visible(False)
        return savefig(self, *arguments, **{**options, "dpi": DPI})

    add_subplot = FigureBase.add_subplot

    @wraps(add_subplot)
    def add_one_panel(self: Any, *arguments: Any, **options: Any) -> Any:
        return self.axes[0] if self.axes else add_subplot(self, *arguments, **options)

    patch.setattr(BaseForest, "fit", fit_few)
    patch.setattr(Figure, "savefig", save_small)
    if not draw_panels:  # to make the axes of a panel takes longer than to draw small ones
        patch.setattr(FigureBase, "add_subplot", add_one_panel)
