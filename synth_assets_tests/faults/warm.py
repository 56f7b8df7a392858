"""A process that has imported everything, and forks one for each run of the lineage that it is asked for.

It takes lines of JSON, each a list of runs that begin at the same time, and prints lines of JSON: of each run its process
id, the steps that start, and how it ended. To import takes longer than a run of the tiny lineage: forks make
it possible to kill one fifty times.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

IMPORTED = (
    "be_great", "duckdb", "jinja2", "matplotlib.figure", "matplotlib.backends.backend_agg", "pandas", "rapidfuzz",
    "sdmetrics.reports.single_table", "safetensors.torch", "scipy.stats", "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.metrics", "sklearn.model_selection", "sklearn.neighbors", "sklearn.pipeline", "torch", "torch._dynamo",
    "transformers.models.gpt2.modeling_gpt2", "synth_assets.great.engine", "synth_assets_tests.world",
)  # fmt: skip


def run(number: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Run the lineage, or some assets of it, and tell of each step that starts."""
    from synth_assets_tests.world import World

    world = World(Path(asked["root"]))
    handle_new_event = world.instance.handle_new_event

    def telling(event: Any, **options: Any) -> None:
        handle_new_event(event, **options)
        if event.dagster_event and event.dagster_event.event_type_value in ("STEP_START", "STEP_SUCCESS"):
            tell(number, event=event.dagster_event.event_type_value, step=event.dagster_event.step_key)

    world.instance.handle_new_event = telling  # type: ignore[method-assign]
    outcome = world.run(*asked.get("assets", ()), day=asked["day"], **asked.get("changes", {}))
    return {"success": outcome.success, "messages": list(outcome.messages)}


def tell(number: int, **said: Any) -> None:
    os.write(1, (json.dumps({"run": number, **said}) + "\n").encode())  # one write: lines of several do not mix


def main() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    print("ready", flush=True)
    for line in sys.stdin:
        children: dict[int, int] = {}
        for number, asked in enumerate(json.loads(line)):
            pid = os.fork()
            if not pid:
                try:
                    tell(number, event="result", **run(number, asked))
                except BaseException:  # noqa: BLE001 - whatever it is, the test shall see it
                    tell(number, event="result", success=False, messages=[traceback.format_exc()])
                os._exit(0)
            children[pid] = number
            tell(number, event="forked", pid=pid)
        while children:
            pid, status = os.wait()
            tell(children.pop(pid), event="ended", code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
