"""`python benchmarks/bench_ray.py`: rows of the abalone model by one process, and on Ray nodes of one CPU each.

Draws the same sample by one process, on a cluster of one node, of two, and of two of which a worker and then a node are
killed. Prints rates, peak memory of the driver and of the workers, and whether all hashes of the rows are equal.
Rates by the clock depend on what else the machine does; rows per CPU second of driver and workers hardly do.
`--fits` compares 12 fits (3 seeds of 4 tables, in the folder TABLES) one after the other and on two nodes. Needs the
extra `ray`.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import tables

from synth_assets.execution import Execution, LocalExecution, RayExecution
from synth_assets.synthesizers import load, parts
from synth_assets.synthesizers.base import Synthesizer
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel
from synth_assets.synthesizers.model_store import fit_one

NODE = {"num_cpus": 1, "object_store_memory": 200_000_000}
POLL_S = 0.5
FITTED = ["abalone", "adult", "beijing", "shoppers"]
FIT_SEEDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--part-rows", type=int, default=parts.SHARD_ROWS, help="rows of a part")
    parser.add_argument(
        "--fits",
        nargs="*",
        metavar="TABLE",
        help=f"measure {FIT_SEEDS} fits of each table side by side, and no sample; by default {', '.join(FITTED)}",
    )
    parser.add_argument("--train-rows", type=int, help="with --fits, fit to so many train rows of a table at most")
    parser.add_argument("--draw", nargs=4, metavar=("MODEL", "FOLDER", "ROWS", "ADDRESS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    parts.SHARD_ROWS = arguments.part_rows
    if arguments.draw:
        draw(*arguments.draw)
    elif arguments.fits is not None:
        measure_fits(arguments.fits or FITTED, arguments.train_rows)
    else:
        measure_samples(arguments.rows)


def draw(model: str, folder: str, rows: str, address: str) -> None:
    """Draw a sample in a process of its own, the driver, and print what it found as JSON."""
    execution: Execution = LocalExecution(processes=1) if address == "local" else RayExecution(address=address)
    started = time.monotonic()
    manifest = load(model).sample_to(
        folder, int(rows), seed=1, execution=execution, log=lambda line: print(line, file=sys.stderr, flush=True)
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "seconds": time.monotonic() - started,
        "driver_cpu_s": used.ru_utime + used.ru_stime,
        "hash": manifest.rows_sha256,
        "driver_mb": used.ru_maxrss / 1024,
        "bytes": sum(file.stat().st_size for file in Path(folder).glob("*.parquet")),
    }
    print(json.dumps(found))


@dataclass
class Watch:
    """Peak memory and CPU seconds of the worker processes below this one, polled while a sample is drawn."""

    worker_mb: float = 0.0
    cpu_s: dict[int, float] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> None:
        """Poll until it is stopped."""
        while not self.stopped.wait(POLL_S):
            for process in workers():
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self.worker_mb = max(self.worker_mb, process.memory_info().rss / 2**20)
                    self.cpu_s[process.pid] = times.user + times.system


def workers() -> list[psutil.Process]:
    """Return the processes that run a task."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "ray::write_shard" in " ".join(process.cmdline()):
                found.append(process)
    return found


def prepare() -> None:
    """Set what nodes are started with: no report to Ray's makers, and workers of the same priority as the driver."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")


def measure_samples(rows: int) -> None:
    prepare()
    table = tables.load("abalone")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        LanguageModel(quick_settings(table)).fit(table.train, table.schema, seed=0).save(root / "model")
        print_samples(rows, draw_everywhere(root, rows))


def draw_everywhere(root: Path, rows: int) -> dict[str, dict[str, Any]]:
    """Draw rows of the model in a folder by a process, and on a cluster, and return what was measured."""
    from ray.cluster_utils import Cluster

    measured = {"1 process": measured_draw(root, "process", rows, "local")}
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        measured["1 node of 1 CPU"] = measured_draw(root, "one", rows, cluster.address)
        second = cluster.add_node(**NODE)
        measured["2 nodes of 1 CPU"] = measured_draw(root, "two", rows, cluster.address)

        def kill(folder: Path) -> None:
            wait_for(folder, rows // parts.SHARD_ROWS // 4)
            victim = workers()[0]
            victim.send_signal(signal.SIGKILL)
            print(f"killed the worker {victim.pid}", file=sys.stderr)
            wait_for(folder, rows // parts.SHARD_ROWS // 2)
            cluster.remove_node(second, allow_graceful=False)
            print("killed a node", file=sys.stderr)

        measured["a worker, then a node killed"] = measured_draw(root, "killed", rows, cluster.address, kill)
    finally:
        cluster.shutdown()
    return measured


def quick_settings(table: tables.Table) -> LanguageModelSettings:
    """Return settings of one epoch without pretraining: quality changes neither time nor memory of a sample."""
    stated = table.language_model
    return stated.model_copy(update={"epochs": 1, "pretrain": stated.pretrain.model_copy(update={"rows": 0})})


def wait_for(folder: Path, n_parts: int) -> None:
    while len(list(folder.glob("part-*.parquet"))) < max(1, n_parts):
        time.sleep(POLL_S)


def measured_draw(
    root: Path, name: str, rows: int, address: str, meanwhile: Callable[[Path], None] | None = None
) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        "--part-rows",
        parts.SHARD_ROWS,
        "--draw",
        root / "model",
        root / name,
        rows,
        address,
    ]
    watch, load_before = Watch(), os.getloadavg()[0]
    poller = threading.Thread(target=watch.poll)
    poller.start()
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as driver:
        if meanwhile is not None:
            meanwhile(root / name)
        output = driver.communicate()[0]
    watch.stopped.set()
    poller.join()
    if driver.returncode:
        raise SystemExit(f"{name} failed with status {driver.returncode}; its messages are above.")
    found = {
        **json.loads(output.splitlines()[-1]),
        "worker_mb": watch.worker_mb,
        "worker_cpu_s": sum(watch.cpu_s.values()),
        "load": load_before,
    }
    print(name, found, file=sys.stderr, flush=True)
    return found


def print_samples(rows: int, measured: dict[str, dict[str, Any]]) -> None:
    one = measured["1 node of 1 CPU"]["seconds"]
    print(f"{rows:,} rows; load: of the machine before")
    print(
        "| drawn by | seconds | rows/s | times 1 node | rows per CPU s | driver's peak MB | a worker's peak MB "
        "| load | rows equal |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    expected = measured["1 process"]["hash"]
    for name, found in measured.items():
        print(
            f"| {name} | {found['seconds']:.0f} | {rows / found['seconds']:,.0f} | {one / found['seconds']:.2f} | "
            f"{rows / (found['driver_cpu_s'] + found['worker_cpu_s']):,.0f} | "
            f"{found['driver_mb']:,.0f} | {found['worker_mb']:,.0f} | {found['load']:.1f} | "
            f"{'yes' if found['hash'] == expected else 'NO'} |"
        )
    print(f"{measured['1 process']['bytes'] / rows:.1f} bytes a row")


def measure_fits(names: list[str], train_rows: int | None) -> None:
    """Compare fits of a quick language model to tables."""
    from ray.cluster_utils import Cluster

    prepare()
    found = [tables.load(name) for name in names]
    calls = [
        (table.train.iloc[:train_rows].reset_index(drop=True), quick_settings(table), table.schema, seed)
        for table in found
        for seed in range(FIT_SEEDS)
    ]
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    executions: dict[str, Execution] = {
        "one after the other": LocalExecution(processes=1),
        "2 nodes of 1 CPU": RayExecution(address=cluster.address),
    }
    fingerprints = []
    try:
        cluster.add_node(**NODE)
        for name, execution in executions.items():
            load, started = os.getloadavg()[0], time.monotonic()
            fitted = execution.results(fit, calls)
            print(
                f"{len(fitted)} fits, {name}: {time.monotonic() - started:.0f} s; load before: {load:.1f}", flush=True
            )
            fingerprints.append([each.fingerprint() for each in fitted])
    finally:
        cluster.shutdown()
    print(f"models equal: {'yes' if fingerprints[0] == fingerprints[1] else 'NO'}")


def fit(_: None, train: pd.DataFrame, *arguments: Any) -> Synthesizer:
    """Fit a model to a table of its own."""
    return fit_one(train, *arguments)


if __name__ == "__main__":
    main()
