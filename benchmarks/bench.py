"""`make bench`: the language model, be_great, and peers, side by side on the same train and holdout rows.

Each method fits the train rows and draws as many synthetic ones, in a process of its own, with several seeds; all are
then evaluated by the metrics of the gates on the holdout rows, which no method sees. Results go to
`data/bench/`: `bench.md`, `bench.parquet`, `bench.png`.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
from bench_report import write_report
from methods import Abalone, abalone
from peers.environments import PEERS, interpreter_of, requirements_of, script_of

from synth_assets.evaluation.metrics.attacks import attacks
from synth_assets.evaluation.metrics.copies import exact_copies, partial_copies
from synth_assets.evaluation.metrics.detection import Classifier, detection_auc
from synth_assets.evaluation.metrics.shape import column_similarity
from synth_assets.evaluation.metrics.utility import holdout_scores
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.constraints import Constraint, violations
from synth_assets.schema.table import TableSchema
from synth_assets.storage.files import sha256
from synth_assets.storage.paths import DataPaths

OWN_METHODS = ("language_model", "be_great")
IMPOSSIBLE = "parts_within_whole"
"""The constraint of abalone's `defs.yaml` that an impossible row violates: its parts weigh more than the whole."""

REFERENCE = "holdout real rows"
HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[n for n, p in PEERS.items() if p.by_default])
    parser.add_argument("--slow-peers", action="store_true", help="measure every peer, also those that take minutes")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    peers = list(PEERS) if arguments.slow_peers else arguments.peers

    table, folder = abalone(), DataPaths.from_environment().root / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    table.train.to_csv(folder / "train.csv", index=False)

    jobs = [(method, seed) for method in OWN_METHODS for seed in arguments.seeds]
    jobs += [(peer, seed) for peer in peers for seed in arguments.seeds[: PEERS[peer].max_seeds]]
    for peer in peers:
        interpreter_of(peer)
    constraints = table.settings.constraints
    found = _rows(
        REFERENCE, 0, measure_real_rows(Samples(table.train, table.holdout, table.train, table.schema), constraints)
    )
    with ProcessPoolExecutor(arguments.processes) as pool:
        running = {job: pool.submit(run_and_measure, *job, folder, table) for job in jobs}
        for (method, seed), result in running.items():
            measured = result.result()
            found += _rows(method, seed, measured)
            print(f"{method}, seed {seed}: {', '.join(f'{k} {v:.3f}' for k, v in measured.items())}", flush=True)
    # After the others: nothing else may run while speeds are compared.
    speed = run_method("speed", 0, folder, len(table.train))
    write_report(pd.DataFrame(found), folder, source=table.source, reference=REFERENCE)
    (folder / "speed.json").write_text(json.dumps(speed, indent=2) + "\n")
    print((folder / "bench.md").read_text())
    print(json.dumps(speed, indent=2))


def run_and_measure(method: str, seed: int, folder: Path, table: Abalone) -> dict[str, float]:
    """Fit a method, draw as many rows as it was fitted to, and measure them."""
    rows, report = run(method, seed, folder, len(table.train))
    synthetic = table.schema.coerce(rows, origin=method)
    return {
        "fit CPU s": report["fit_cpu_s"],
        "rows per CPU s": len(rows) / max(report["sample_cpu_s"], 1e-9),
        **measure(Samples(table.train, table.holdout, synthetic, table.schema), table.settings.constraints),
    }


def run(method: str, seed: int, folder: Path, rows: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Fit a method and draw its rows, in a process of its own on one thread.

    The rows of a peer are reused while its inputs are unchanged: the slow ones take hours. The language model and
    be_great are fitted each time.
    """
    out = folder / f"{method}-{seed}.csv"
    if method in OWN_METHODS:
        report = run_method(method, seed, folder, rows, "--out", str(out))
        return pd.read_csv(out), report
    interpreter = interpreter_of(method)
    inputs = _hash_inputs(method, seed, folder, rows)
    stored = folder / f"{method}-{seed}.inputs"
    if not stored.is_file() or stored.read_text() != inputs:
        stored.unlink(missing_ok=True)
        _call([str(interpreter), str(script_of(method))], method, seed, folder, rows, "--out", str(out))
        stored.write_text(inputs)
    return pd.read_csv(out), _report_of(method, seed, folder)


def _hash_inputs(peer: str, seed: int, folder: Path, rows: int) -> str:
    files = (script_of(peer), script_of(peer).with_name("common.py"), folder / "train.csv")
    inputs = [
        requirements_of(peer).read_text(),
        PEERS[peer].uninstalled,
        PEERS[peer].without_dependencies,
        *(sha256(file) for file in files),
        seed,
        rows,
    ]
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def run_method(method: str, seed: int, folder: Path, rows: int, *more: str) -> dict[str, float]:
    """Run one of `methods.py`'s methods."""
    return _call([sys.executable, str(HERE / "methods.py"), "--method", method], method, seed, folder, rows, *more)


def _call(command: list[str], method: str, seed: int, folder: Path, rows: int, *more: str) -> dict[str, float]:
    log = folder / f"{method}-{seed}.log"
    report = _report_path(method, seed, folder)
    options = ["--train", str(folder / "train.csv"), "--rows", str(rows), "--seed", str(seed), "--report", str(report)]
    with log.open("w") as output:
        done = subprocess.run(
            [*command, *options, *more, "--categories", "Sex"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    if done.returncode:
        raise SystemExit(
            f"{method} failed with seed {seed}; see {log}:\n" + "\n".join(log.read_text().splitlines()[-5:])
        )
    return _report_of(method, seed, folder)


def _report_of(method: str, seed: int, folder: Path) -> dict[str, float]:
    return dict(json.loads(_report_path(method, seed, folder).read_text()))


def _report_path(method: str, seed: int, folder: Path) -> Path:
    return folder / f"{method}-{seed}.json"


def measure(samples: Samples, constraints: Sequence[Constraint]) -> dict[str, float]:
    """Measure synthetic rows by the estimators and attacks of the gates, without references."""
    train, schema = samples.train, samples.schema
    return {
        **_similarity(samples, samples.subsample),
        "membership AUC": next(each.auc for each in attacks(samples) if each.metric == "membership_auc"),
        "partial copies": partial_copies(samples.subsample, train, schema),
        "exact copies": exact_copies(samples.synthetic, train, schema),
        "impossible rows": _impossible(samples.synthetic, schema, constraints),
    }


def measure_real_rows(samples: Samples, constraints: Sequence[Constraint]) -> dict[str, float]:
    """Measure real rows: train rows against holdout rows, and holdout rows instead of synthetic ones."""
    schema, half = samples.schema, samples.holdout.iloc
    # Every other one: an attack needs holdout rows that it does not know.
    unknown = Samples(samples.train, half[1::2], half[::2], schema)
    return {
        **_similarity(samples, samples.train),
        "membership AUC": next(each.auc for each in attacks(unknown) if each.metric == "membership_auc"),
        "partial copies": partial_copies(samples.holdout, samples.train, schema),
        "exact copies": exact_copies(samples.holdout, samples.train, schema),
        "impossible rows": _impossible(samples.holdout, schema, constraints),
    }


def _similarity(samples: Samples, rows: pd.DataFrame) -> dict[str, float]:
    holdout, schema = samples.holdout, samples.schema
    r2 = holdout_scores(samples, rows)
    return {
        "detection AUC (boosting)": _detection(rows, holdout, schema, "gradient boosting"),
        "detection AUC (forest)": _detection(rows, holdout, schema, "random forest"),
        "TSTR R2 (boosting)": r2["gradient boosting"],
        "TSTR R2 (forest)": r2["random forest"],
        "least KS similarity": min(
            column_similarity(rows[column.name], holdout[column.name], column)
            for column in schema.columns
            if column.is_numeric
        ),
    }


def _detection(rows: pd.DataFrame, holdout: pd.DataFrame, schema: TableSchema, classifier: Classifier) -> float:
    return detection_auc(rows, holdout, schema, classifier=classifier, interval=False).auc


def _impossible(rows: pd.DataFrame, schema: TableSchema, constraints: Sequence[Constraint]) -> float:
    return float(violations(rows, constraints, schema)[IMPOSSIBLE].mean())


def _rows(method: str, seed: int, measured: dict[str, float]) -> list[dict[str, object]]:
    return [
        {"method": method, "seed": seed, "measure": name, "value": float(value)} for name, value in measured.items()
    ]


if __name__ == "__main__":
    main()
