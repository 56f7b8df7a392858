"""`make bench`: the language model, be_great, and peers, side by side on abalone.

It makes the runs of `make bench-tables` for one table, with the same measures; a figure and a comparison of speeds are
added.
Results go to `data/bench/`: `bench.md`, `bench.parquet`, `bench.png`, `speed.json`.
"""

import argparse
import json

import pandas as pd
from bench_report import write_report
from bench_tables import folder_of, measured, measures_of, rows_of, run_one, runs_of
from peers.environments import PEERS
from runs import Limits
from tables_report import REFERENCE

TABLE = "abalone"
OWN_METHODS = ("language_model", "be_great")
LIMITS = Limits(cpu_s=2 * 3600, memory_mb=8 * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[n for n, p in PEERS.items() if p.by_default])
    parser.add_argument("--slow-peers", action="store_true", help="measure every peer, also those that take minutes")
    arguments = parser.parse_args()
    peers = list(PEERS) if arguments.slow_peers else arguments.peers
    found: list[dict[str, object]] = []
    for seed in arguments.seeds:
        runs = runs_of(TABLE, seed)
        if runs is None:
            raise SystemExit(f"Without the rows of {TABLE}, there is nothing to measure.")
        if seed == arguments.seeds[0]:
            found += rows_of(TABLE, REFERENCE, seed, measures_of(runs, None))
        for method in (*OWN_METHODS, *peers):
            run = run_one(runs, method, LIMITS)
            if run is not None and run.finished:
                found += measured(runs, run)
    # After the others: nothing else may run while speeds are compared.
    speed = runs.run_method("speed", LIMITS)
    folder = folder_of(TABLE).parent
    write_report(pd.DataFrame(found), folder, source=runs.table.source, reference=REFERENCE)
    (folder / "speed.json").write_text(json.dumps(speed, indent=2) + "\n")
    print((folder / "bench.md").read_text())
    print(json.dumps(speed, indent=2))


if __name__ == "__main__":
    main()
