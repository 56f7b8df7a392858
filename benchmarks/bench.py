"""`make bench`: our engine, be_great as it is, and peers, side by side in one run on the same train and held-out rows.

Each method fits the train rows and draws as many synthetic ones, in a process of its own, with several seeds; all are
then judged by `synth_assets.evaluation` against the held-out rows, which no method sees. Results go to
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
from engines import settings
from peers.environments import PEERS, interpreter_of, requirements_of, script_of

from synth_assets.evaluation.detection import Classifier, detection_auc
from synth_assets.evaluation.fidelity import column_similarity
from synth_assets.evaluation.privacy import cells_of_a_partial_copy, exact_copies, membership_auc, partial_copies
from synth_assets.evaluation.utility import held_out_r2
from synth_assets.schema.constraints import Constraint, violations
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import rows_of
from synth_assets.schema.table import TableSchema
from synth_assets.storage.files import sha256
from synth_assets.storage.paths import DataPaths

ENGINES = ("great", "be_great")
REPEATS = 3
"""Shuffles of the classifier two-sample test."""

IMPOSSIBLE = "parts_within_whole"
"""The constraint of abalone's `defs.yaml` that an impossible row breaks: its parts weigh more than the whole."""

FLOOR = "held-out real rows"
HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[n for n, p in PEERS.items() if p.by_default])
    parser.add_argument("--slow-peers", action="store_true", help="measure every peer, also those that take minutes")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    peers = list(PEERS) if asked.slow_peers else asked.peers

    table, paths = settings(), DataPaths.from_environment()
    schema = table.table_schema()
    encoding = Encoding(schema)
    loaded = table.source.load(paths.root)
    split = table.table_split().apply(encoding.encode(schema.coerce(loaded.frame, origin=loaded.label)))
    train, held_out = rows_of(split, "train"), rows_of(split, "test")
    folder = paths.root / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    encoding.label(train).to_csv(folder / "train.csv", index=False)

    jobs = [(method, seed) for method in ENGINES for seed in asked.seeds]
    jobs += [(peer, seed) for peer in peers for seed in asked.seeds[: PEERS[peer].most_seeds]]
    for peer in peers:
        interpreter_of(peer)
    real, unseen, constraints = encoding.decode(train), encoding.decode(held_out), table.table_constraints()
    found = _rows(FLOOR, 0, floor(real, unseen, encoding, constraints))
    with ProcessPoolExecutor(asked.processes) as pool:
        running = {job: pool.submit(run_and_judge, *job, folder, real, unseen, encoding, constraints) for job in jobs}
        for (method, seed), result in running.items():
            measured = result.result()
            found += _rows(method, seed, measured)
            said = ", ".join(f"{name} {value:.3f}" for name, value in measured.items())
            print(f"{method}, seed {seed}: {said}", flush=True)
    # Alone on the machine: a ratio of speeds.
    speed = run_engine("speed", 0, folder, len(train))
    write_report(pd.DataFrame(found), folder, source=loaded.label, floor=FLOOR)
    (folder / "speed.json").write_text(json.dumps(speed, indent=2) + "\n")
    print((folder / "bench.md").read_text())
    print(json.dumps(speed, indent=2))


def run_and_judge(
    method: str,
    seed: int,
    folder: Path,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    encoding: Encoding,
    constraints: Sequence[Constraint],
) -> dict[str, float]:
    """Fit a method, draw as many rows as it was fitted to, and measure them."""
    rows, report = run(method, seed, folder, len(train))
    return {
        "fit CPU s": report["fit_cpu_s"],
        "rows per CPU s": len(rows) / max(report["sample_cpu_s"], 1e-9),
        **judge(encoding.unlabel(rows), train, held_out, encoding, constraints),
    }


def run(method: str, seed: int, folder: Path, rows: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Fit a method and draw its rows, in a process of its own on one thread.

    What a peer wrote is used again while nothing that it was made from has changed: the slow ones take hours. Our
    engine and be_great are fitted anew each time.
    """
    out = folder / f"{method}-{seed}.csv"
    if method in ENGINES:
        report = run_engine(method, seed, folder, rows, "--out", str(out))
        return pd.read_csv(out), report
    interpreter = interpreter_of(method)
    made_from = _made_from(method, seed, folder, rows)
    kept = folder / f"{method}-{seed}.made_from"
    if not kept.is_file() or kept.read_text() != made_from:
        kept.unlink(missing_ok=True)
        _call([str(interpreter), str(script_of(method))], method, seed, folder, rows, "--out", str(out))
        kept.write_text(made_from)
    return pd.read_csv(out), _report_of(method, seed, folder)


def _made_from(peer: str, seed: int, folder: Path, rows: int) -> str:
    files = (script_of(peer), script_of(peer).with_name("common.py"), folder / "train.csv")
    asked = [
        requirements_of(peer).read_text(),
        PEERS[peer].unwanted,
        PEERS[peer].alone,
        *(sha256(file) for file in files),
        seed,
        rows,
    ]
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def run_engine(method: str, seed: int, folder: Path, rows: int, *more: str) -> dict[str, float]:
    """Run one of `engines.py`'s methods."""
    return _call([sys.executable, str(HERE / "engines.py"), "--method", method], method, seed, folder, rows, *more)


def _call(command: list[str], method: str, seed: int, folder: Path, rows: int, *more: str) -> dict[str, float]:
    log = folder / f"{method}-{seed}.log"
    arguments = [
        "--train",
        str(folder / "train.csv"),
        "--rows",
        str(rows),
        "--seed",
        str(seed),
        "--report",
        str(_report_path(method, seed, folder)),
    ]
    with log.open("w") as said:
        done = subprocess.run(
            [*command, *arguments, *more, "--categories", "Sex"],
            stdout=said,
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


def judge(
    rows: pd.DataFrame,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    encoding: Encoding,
    constraints: Sequence[Constraint],
) -> dict[str, float]:
    """Measure synthetic rows: what `bench_report` shows of them."""
    return {
        **_likeness(rows, held_out, encoding),
        "membership AUC": membership_auc(rows, train, held_out, encoding.schema),
        **_copies(rows, train, encoding, constraints),
    }


def floor(
    train: pd.DataFrame, held_out: pd.DataFrame, encoding: Encoding, constraints: Sequence[Constraint]
) -> dict[str, float]:
    """Measure real rows: train rows against held-out ones, and held-out rows as if they were synthetic."""
    return {
        **_likeness(train, held_out, encoding),
        # Every other one: an attack needs held-out rows that it does not know.
        "membership AUC": membership_auc(held_out.iloc[::2], train, held_out.iloc[1::2], encoding.schema),
        **_copies(held_out, train, encoding, constraints),
    }


def _likeness(rows: pd.DataFrame, held_out: pd.DataFrame, encoding: Encoding) -> dict[str, float]:
    schema = encoding.schema
    scores = held_out_r2(
        encoding.encode(rows),
        encoding.encode(held_out),
        target=schema.target_renamed,
        categories=[column.name for column in schema.columns if not column.is_numeric],
    )
    return {
        "detection AUC (boosting)": _detection(rows, held_out, schema, "gradient boosting"),
        "detection AUC (forest)": _detection(rows, held_out, schema, "random forest"),
        "TSTR R2 (boosting)": scores["gradient boosting"],
        "TSTR R2 (forest)": scores["random forest"],
        "least KS similarity": min(
            column_similarity(rows[column.name], held_out[column.name], column)
            for column in schema.columns
            if column.is_numeric
        ),
    }


def _detection(rows: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema, classifier: Classifier) -> float:
    return detection_auc(rows, held_out, schema, classifier=classifier, repeats=REPEATS).auc


def _copies(
    rows: pd.DataFrame, train: pd.DataFrame, encoding: Encoding, constraints: Sequence[Constraint]
) -> dict[str, float]:
    schema = encoding.schema
    return {
        "partial copies": partial_copies(rows, train, schema, cells=cells_of_a_partial_copy(schema)),
        "exact copies": exact_copies(rows, train, schema),
        "impossible rows": float(violations(rows, constraints, schema)[IMPOSSIBLE].mean()),
    }


def _rows(method: str, seed: int, measured: dict[str, float]) -> list[dict[str, object]]:
    return [
        {"method": method, "seed": seed, "measure": name, "value": float(value)} for name, value in measured.items()
    ]


if __name__ == "__main__":
    main()
