"""`make bench-tables`: our synthesizers and peers on the field's tables, each within limits of CPU time and memory.

Each method fits the train rows of a table and draws as many synthetic ones, in a process of its own, with several
seeds; all are then measured by our measures and by the field's. Everything is kept in `data/bench/` and used again
while its inputs are the same. The results are written between the markers of `docs/results.md`.

TABLES=folder names the folder of the tables' files (see `tables.yaml`), ABALONE_CSV the file of abalone.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import tables
from measures import measure, measure_real_rows
from peers.environments import FIELD, PEERS, inputs_of, interpreter_of
from runs import HERE, OWN, PACKAGE, Limits, Run, Runs, add_execution, code_of, execution_of, run_within
from tables_report import REFERENCE, write_section

from synth_assets.errors import ForeseenError
from synth_assets.storage.files import atomic_write, sha256
from synth_assets.storage.paths import DataPaths

METHODS = (*OWN, *PEERS)
RESULTS = HERE.parent / "docs" / "results.md"

MEASURING = Limits(cpu_s=3600, memory_mb=16_384)
"""Limits of the field's measures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=tables.names(), default=tables.names())
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cpu-minutes", type=float, default=30, help="limit of a run (default: %(default)s)")
    parser.add_argument("--memory-gb", type=float, default=8, help="limit of a run (default: %(default)s)")
    parser.add_argument("--only-run", action="store_true", help="keep the rows, and measure them later")
    parser.add_argument("--only-stored", action="store_true", help="run nothing: report what is stored, of any limits")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the page to write to (default: %(default)s)")
    add_execution(parser)
    arguments = parser.parse_args()
    limits = Limits(arguments.cpu_minutes * 60, arguments.memory_gb * 1024)
    found: list[dict[str, object]] = []
    ended: list[Run] = []
    loaded: dict[str, str] = {}
    if not arguments.only_stored and (arguments.ray or arguments.processes > 1):
        import bench_tables  # by this name, other processes find it

        calls = list(product(arguments.seeds, arguments.methods, arguments.tables, [limits]))
        execution_of(arguments).results(bench_tables.run_elsewhere, calls)
    for seed in arguments.seeds:
        for method in arguments.methods:
            for name in arguments.tables:
                runs = runs_of(name, seed)
                if runs is None:
                    continue
                loaded[name] = describe(runs.table)
                run = run_one(runs, method, None if arguments.only_stored else limits)
                if run is None:
                    continue
                ended.append(run)
                if run.finished and not arguments.only_run:
                    found += measured(runs, run)
    if arguments.only_run:
        return
    for seed in arguments.seeds:
        for name in loaded:
            runs = runs_of(name, seed)
            if runs is not None:
                found += rows_of(name, REFERENCE, seed, measures_of(runs, None))
    write_section(arguments.results, pd.DataFrame(found), ended, loaded)
    print(f"written to {arguments.results}")


_LOADED: dict[tuple[str, int], Runs | None] = {}


def runs_of(name: str, seed: int) -> Runs | None:
    """Return the runs of a table; None, after a line that says why, if its rows cannot be had."""
    if (name, seed) not in _LOADED:
        if seed and _LOADED.get((name, 0), True) is None:
            return None
        try:
            _LOADED[name, seed] = Runs(folder_of(name), tables.load(name, seed), seed)
        except ForeseenError as error:
            print(f"{name}: skipped. {error}", flush=True)
            _LOADED[name, seed] = None
    return _LOADED[name, seed]


def folder_of(name: str) -> Path:
    """Return the folder of a table's runs."""
    return DataPaths.from_environment().root / "bench" / name


def describe(table: tables.Table) -> str:
    """Return a table's origin and size in words."""
    return (
        f"{table.source}: {len(table.train):,} train rows, {len(table.holdout):,} holdout rows, "
        f"{len(table.schema.columns)} columns, target `{table.schema.target}`"
    )


def run_one(runs: Runs, method: str, limits: Limits | None) -> Run | None:
    """Run a method, or find it stored if there are no limits; print a line. None if it is not to be run."""
    if method in PEERS and runs.seed >= (PEERS[method].max_seeds or runs.seed + 1):
        return None
    run = runs.stored(method) if limits is None else runs.run(method, limits)
    if run is not None:
        report = run.report
        said = run.reason or f"fit {report['fit_cpu_s']} CPU s, sampled in {report['sample_cpu_s']} CPU s"
        print(f"{run.table}, {method}, seed {run.seed}: {run.status}. {said}", flush=True)
    return run


def run_elsewhere(shared: None, seed: int, method: str, name: str, limits: Limits) -> None:
    """Run a method in any process that sees the data folder, unless that is stored."""
    del shared
    if (runs := runs_of(name, seed)) is not None:
        run_one(runs, method, limits)


def measured(runs: Runs, run: Run) -> list[dict[str, object]]:
    """Return the results of a run that finished."""
    report = run.report
    costs = {
        "fit CPU s": report["fit_cpu_s"],
        "rows per CPU s": len(runs.table.train) / max(report["sample_cpu_s"], 1e-9),
        "peak memory": report["peak_mb"],
        **({"model size": report["model_mb"]} if report["model_mb"] is not None else {}),
    }
    return rows_of(run.table, run.method, run.seed, {**costs, **measures_of(runs, run.method)})


def measures_of(runs: Runs, method: str | None) -> dict[str, float]:
    """Measure the rows of a method, or real rows, by our measures and the field's, unless that is stored."""
    name = method or "real"
    ours = _stored(
        runs.path(name, "ours.json"),
        [_data(runs, method), runs.schema.read_text(), _OWN_CODE],
        lambda: measure_real_rows(runs.table) if method is None else measure(runs.table, runs.rows(method)),
    )
    field = _stored(
        runs.path(name, "field.json"),
        [_data(runs, method), runs.table.schema.target, code_of(HERE / "field_measures.py"), inputs_of(FIELD)],
        lambda: _field_measures(runs, method),
    )
    return {**ours, **field}


_EVALUATION = (
    "samples",
    "learners",
    "intervals",
    *(f"metrics/{each}" for each in ("detection", "copies", "prediction", "shape", "utility")),
)
_OWN_CODE = code_of(HERE / "measures.py", *(PACKAGE / "evaluation" / f"{each}.py" for each in _EVALUATION))
"""A hash of the code of our measures."""


def _data(runs: Runs, method: str | None) -> list[str]:
    files = [runs.train, runs.holdout, *([] if method is None else [runs.path(method, "csv")])]
    return [sha256(file) for file in files]


def _stored(path: Path, inputs: Sequence[object], compute: Callable[[], dict[str, float]]) -> dict[str, float]:
    key = hashlib.sha256(repr(inputs).encode()).hexdigest()
    if path.is_file() and (stored := json.loads(path.read_text()))["inputs"] == key:
        return dict(stored["values"])
    values = {name: float(value) for name, value in compute().items()}
    atomic_write(path, json.dumps({"inputs": key, "values": values}, indent=2).encode())
    return values


def _field_measures(runs: Runs, method: str | None) -> dict[str, float]:
    schema, report = runs.table.schema, runs.path(method or "real", "found")
    command = [interpreter_of(FIELD), HERE / "field_measures.py", "--train", runs.train, "--holdout", runs.holdout]
    command += [] if method is None else ["--synthetic", runs.path(method, "csv")]
    command += ["--target", schema.target, "--report", report, "--categories", *schema.categorical]
    log = runs.path(method or "real", "field.log")
    status, reason = run_within([*map(str, command)], log, MEASURING)
    if status != "finished":
        raise SystemExit(f"the field's measures of {method or 'real rows'}: {reason}; see {log}.")
    found = dict(json.loads(report.read_text()))
    report.unlink()
    return found


def rows_of(table: str, method: str, seed: int, values: dict[str, float]) -> list[dict[str, object]]:
    """Return measured values as rows of results."""
    return [
        {"table": table, "method": method, "seed": seed, "measure": name, "value": float(value)}
        for name, value in values.items()
    ]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
