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
from typing import Any

import dagster as dg

IMPORTED = (
    "duckdb", "jinja2", "matplotlib.figure", "matplotlib.backends.backend_agg", "pandas", "rapidfuzz",
    "safetensors.torch", "scipy.stats",
    "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.metrics", "sklearn.model_selection", "sklearn.neighbors", "sklearn.pipeline", "torch",
    "transformers.models.gpt2.modeling_gpt2", "synth_assets.evaluation.figures",
    "synth_assets.synthesizers.language_model.row_model",
    "synth_assets_tests.faults.calls",
)  # fmt: skip


def tell(number: int, **said: Any) -> None:
    os.write(1, (json.dumps({"call": number, **said}) + "\n").encode())  # one write: lines of several do not mix


def main() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    calls = importlib.import_module("synth_assets_tests.faults.calls")
    dg.DagsterInstance.ephemeral().dispose()  # imports 400 modules of storages and daemons, as each call would
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
