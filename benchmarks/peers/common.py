"""Shared by the scripts of all peers: the command line, CPU times, and the grid that values are snapped to.

A script runs in its peer's environment, so this needs nothing but pandas and numpy, of any version that a peer wants.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# A script has its peer's name. With its folder on the path, 'ctgan.py' would be imported where a library wants the
# package of that name; the scripts have found this module by now, and need nothing else from here.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

MAX_DECIMALS = 9
"""A column with more decimals is treated as continuous."""

Sampler = Callable[[int], pd.DataFrame]
Fit = Callable[[pd.DataFrame, list[str], int], Sampler]


def run_peer(library: str, fit: Fit) -> None:
    """Run a peer from the command line: fit, sample, snap to the grid, write the rows and the report.

    The report states the version of the distribution `library`. `fit` takes the train rows, the names of the category
    columns and a seed, and returns a function that samples a number of rows.
    """
    parser = argparse.ArgumentParser(description=f"Fit {library} to the rows of a table and sample new ones.")
    parser.add_argument("--train", type=Path, required=True, help="CSV file with the train rows")
    parser.add_argument("--rows", type=int, required=True, help="how many rows to sample")
    parser.add_argument("--seed", type=int, required=True, help="the same seed gives the same rows")
    parser.add_argument("--out", type=Path, required=True, help="CSV file for the synthetic rows")
    parser.add_argument("--report", type=Path, required=True, help="JSON file for CPU seconds and versions")
    parser.add_argument("--categories", nargs="*", default=[], metavar="COLUMN", help="columns that hold labels")
    arguments = parser.parse_args()
    train = pd.read_csv(arguments.train, dtype=dict.fromkeys(arguments.categories, str), keep_default_na=False)
    # Some libraries take no seed and draw from the global generators.
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    start = cpu_seconds()
    sampler = fit(train, arguments.categories, arguments.seed)
    fitted = cpu_seconds()
    rows = sampler(arguments.rows)
    sampled = cpu_seconds()
    coerce(rows, train, arguments.categories, arguments.rows).to_csv(arguments.out, index=False)
    report = {
        "library": library,
        "version": version(library),
        "fit_cpu_s": round(fitted - start, 3),
        "sample_cpu_s": round(sampled - fitted, 3),
    }
    arguments.report.write_text(json.dumps(report, indent=2) + "\n")


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def coerce(rows: pd.DataFrame, train: pd.DataFrame, categories: list[str], count: int) -> pd.DataFrame:
    """Return a peer's rows with the columns, types, ranges and grids of the train rows.

    Raises
    ------
    ValueError
        If there are not `count` rows, or values or labels are missing or unknown.
    """
    if len(rows) != count:
        raise ValueError(f"{len(rows)} rows were drawn; expected {count}")
    result: dict[str, Any] = {}
    for column in train:
        values = rows[column].to_numpy()
        if column in categories:
            labels = pd.Series(values).astype(str)
            if unknown := set(labels) - set(train[column]):
                raise ValueError(f"column {column!r} has the labels {sorted(unknown)}, which no train row has")
            result[column] = labels
        else:
            numbers = values.astype(float)
            if not np.isfinite(numbers).all():
                raise ValueError(f"column {column!r} has values that are missing or infinite")
            result[column] = snap(numbers, train[column].to_numpy()).astype(train[column].dtype)
    return pd.DataFrame(result)


def snap(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the values within the range of the train values, each at the nearest point of their grid."""
    clipped = np.clip(values, train.min(), train.max())
    found = grid(train)
    if found is None:
        return clipped
    step, decimals = found
    # Rounded once more: 3 * 0.005 is a little more than 0.015.
    return np.round(np.rint(clipped * 10**decimals / step) * step / 10**decimals, decimals)


def grid(train: np.ndarray) -> tuple[int, int] | None:
    """Return the largest step that all values are multiples of, in units of the last decimal, and the decimals.

    The step of 0.455, 0.35 and 0.09 is (5, 3), that is 0.005. Values that need more than nine decimals have none.
    """
    for decimals in range(MAX_DECIMALS + 1):
        scaled = train.astype(float) * 10**decimals
        rounded = np.rint(scaled)
        if np.allclose(scaled, rounded, rtol=1e-12, atol=1e-6):
            return gcd(*map(int, rounded)) or 1, decimals
    return None


def fit_sdv(synthesizer: type) -> Fit:
    """Return the `Fit` of a synthesizer of SDV with its own settings."""

    def fit(train: pd.DataFrame, categories: list[str], seed: int) -> Sampler:
        import torch
        from sdv.metadata import Metadata

        # Fits draw from the global generators, torch's among them.
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        columns = {name: {"sdtype": "categorical" if name in categories else "numerical"} for name in train}
        model = synthesizer(Metadata.load_from_dict({"tables": {"train": {"columns": columns}}}))
        model.fit({"train": train})
        # SDV has no public parameter for the seed of a sample; by default it always draws the same rows.
        model._set_random_state(seed)
        return lambda rows: model.sample(rows)["train"]

    return fit
