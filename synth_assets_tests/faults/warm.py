"""A process that has imported everything, and forks one for each call that it is asked for.

It takes lines of JSON, each a list of calls that begin at the same time, and prints lines of JSON: of each call its
process id, what it tells, and how it ended. To import takes longer than a run of the tiny lineage: with forks, many can
be killed.
"""

import importlib
import json
import os
import sys
import traceback
from functools import wraps
from typing import Any

IMPORTED = (
    "be_great", "duckdb", "jinja2", "matplotlib.figure", "matplotlib.backends.backend_agg", "pandas", "rapidfuzz",
    "sdmetrics.reports.single_table", "safetensors.torch", "scipy.stats", "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.metrics", "sklearn.model_selection", "sklearn.neighbors", "sklearn.pipeline", "torch",
    "transformers.models.gpt2.modeling_gpt2", "synth_assets.evaluation.figures",
    "synth_assets.synthesizers.language_model.row_model",
    "synth_assets_tests.faults.calls",
)  # fmt: skip

TREES, DPI, SPLITS, RESAMPLES = 3, 20, 2, 5


def hasten() -> None:
    """Judge by few trees, splits and resamples, and draw small: these tests ask what is written, not what it says."""
    from matplotlib.figure import Figure
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.ensemble._forest import BaseForest

    for boosting in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        boosting.__init__.__kwdefaults__["max_iter"] = TREES
    fit, savefig = BaseForest.fit, Figure.savefig

    @wraps(fit)
    def fit_few(self: Any, *arguments: Any, **options: Any) -> Any:
        return fit(self.set_params(n_estimators=TREES), *arguments, **options)

    @wraps(savefig)
    def save_small(self: Any, *arguments: Any, **options: Any) -> Any:
        self.set_layout_engine("none")
        return savefig(self, *arguments, **{**options, "dpi": DPI})

    BaseForest.fit, Figure.savefig = fit_few, save_small  # type: ignore[method-assign]
    for name, module in list(sys.modules.items()):
        if name.startswith("synth_assets.evaluation."):
            for attribute, cheaper in (
                ("SPLITS", SPLITS), ("RESAMPLES", RESAMPLES), ("N_FOLDS", 2), ("SEEDS", 1), ("REPEATS", 1),
            ):  # fmt: skip
                if hasattr(module, attribute):
                    setattr(module, attribute, cheaper)


def tell(number: int, **said: Any) -> None:
    os.write(1, (json.dumps({"call": number, **said}) + "\n").encode())  # one write: lines of several do not mix


def main() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    hasten()
    calls = importlib.import_module("synth_assets_tests.faults.calls")
    os.write(1, b"ready\n")
    for line in sys.stdin:
        children: dict[int, int] = {}
        for number, (name, arguments) in enumerate(json.loads(line)):
            pid = os.fork()
            if not pid:
                try:
                    told = getattr(calls, name)(lambda n=number, **said: tell(n, **said), **arguments)
                    tell(number, event="result", value=told)
                except BaseException:  # noqa: BLE001 - whatever it is, the test shall see it
                    tell(number, event="error", value=traceback.format_exc())
                os._exit(0)
            children[pid] = number
            tell(number, event="forked", pid=pid)
        while children:
            pid, status = os.wait()
            tell(children.pop(pid), event="ended", code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
