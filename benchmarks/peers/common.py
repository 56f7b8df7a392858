"""Shared by the scripts of all peers: command line, what is measured, gaps, and the grid that values are snapped to.

A script runs in its peer's environment, so this needs nothing but pandas and numpy, of any version that a peer wants.
"""

import argparse
import json
import pickle
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

MISSING = "(missing)"
"""The label of a missing label, for all peers."""

GAP = " is missing"
"""Ends the name of the column of labels that says where a number is missing, for peers that take no missing number."""

Sampler = Callable[[int], pd.DataFrame]
Fit = Callable[[pd.DataFrame, list[str], int], tuple[Any, Sampler]]


def run_peer(library: str, fit: Fit, *, takes_gaps: bool = False) -> None:
    """Run a peer from the command line: fit, sample, snap to the grid, write the rows and the report.

    Parameters
    ----------
    library : str
        The distribution whose version the report states.
    fit : callable
        Takes the train rows (labels as text, numbers as int64 or float64), the names of the columns of labels and a
        seed. Returns the fitted model, whose size is the size of its pickle, and a function that samples a number of
        rows.
    takes_gaps : bool
        Whether numbers may be missing. If not, they are filled with the median, and a column of labels beside them says
        where. A missing label is a label of its own, `MISSING`, for all peers.
    """
    parser = argparse.ArgumentParser(description=f"Fit {library} to the rows of a table and sample new ones.")
    parser.add_argument("--train", type=Path, required=True, help="CSV file with the train rows")
    parser.add_argument("--rows", type=int, required=True, help="how many rows to sample")
    parser.add_argument("--seed", type=int, required=True, help="the same seed gives the same rows")
    parser.add_argument("--out", type=Path, required=True, help="CSV file for the synthetic rows")
    parser.add_argument("--report", type=Path, required=True, help="JSON file for what is measured")
    parser.add_argument("--categories", nargs="*", default=[], metavar="COLUMN", help="columns that hold labels")
    arguments = parser.parse_args()
    train = read_rows(arguments.train, arguments.categories)
    filled, categories = (train, arguments.categories) if takes_gaps else fill_gaps(train, arguments.categories)
    # Some libraries take no seed and draw from the global generators.
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    start = cpu_seconds()
    model, sampler = fit(filled, categories, arguments.seed)
    fitted = cpu_seconds()
    rows = sampler(arguments.rows)
    sampled = cpu_seconds()
    peak = peak_mb()
    coerce(restore_gaps(rows, train), train, arguments.categories, arguments.rows).to_csv(arguments.out, index=False)
    report = {
        "library": library,
        "version": version(library),
        "fit_cpu_s": round(fitted - start, 3),
        "sample_cpu_s": round(sampled - fitted, 3),
        "peak_mb": round(peak, 1),
        "model_mb": pickled_mb(model),
    }
    arguments.report.write_text(json.dumps(report, indent=2) + "\n")


def read_rows(path: Path, categories: list[str]) -> pd.DataFrame:
    """Read rows: labels as text, numbers as int64 where all are whole and present, else as float64."""
    rows = pd.read_csv(path, dtype=dict.fromkeys(categories, "object"), keep_default_na=False, na_values=[""])
    return rows.assign(**{name: rows[name].fillna(MISSING) for name in categories})


def fill_gaps(train: pd.DataFrame, categories: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows without missing numbers, and the columns of labels, with those that say where one is missing."""
    columns, labels = {}, list(categories)
    for name, values in train.items():
        if name in categories or not values.isna().any():
            columns[name] = values
            continue
        filled = values.fillna(values.quantile(0.5, interpolation="nearest"))
        columns[name] = filled.astype("int64") if (filled == filled.round()).all() else filled
        columns[f"{name}{GAP}"] = values.isna().map({True: "yes", False: "no"}).astype("object")
        labels.append(f"{name}{GAP}")
    return pd.DataFrame(columns), labels


def restore_gaps(rows: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Return a peer's rows in the columns of the train rows, with numbers missing where its labels say so."""
    rows = rows.reset_index(drop=True)
    columns = {}
    for name in train:
        says = rows.get(f"{name}{GAP}")
        columns[name] = rows[name] if says is None else rows[name].astype(float).where(says.astype(str) != "yes")
    return pd.DataFrame(columns)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    """Return the largest memory that this process, or one of its children that have ended, has had."""
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return max(resource.getrusage(each).ru_maxrss for each in who) / 1024


def pickled_mb(model: Any) -> float | None:
    """Return the size of a model's pickle; None if it cannot be pickled."""
    counter = _Counter()
    try:
        pickle.dump(model, counter, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError, ValueError):
        return None
    return round(counter.count / 2**20, 3)


class _Counter:
    """A file that counts the bytes that are written to it."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, content: Any) -> int:
        """Count the bytes."""
        size = memoryview(content).nbytes
        self.count += size
        return size


def coerce(rows: pd.DataFrame, train: pd.DataFrame, categories: list[str], count: int) -> pd.DataFrame:
    """Return a peer's rows with the columns, types, ranges and grids of the train rows; a missing label is empty.

    Raises
    ------
    ValueError
        If there are not `count` rows, or values or labels are missing where no train row lacks one, or unknown.
    """
    if len(rows) != count:
        raise ValueError(f"{len(rows)} rows were drawn; expected {count}")
    result: dict[str, Any] = {}
    for column in train:
        values = rows[column]
        if column in categories:
            labels = values.astype("object").fillna(MISSING).astype(str).reset_index(drop=True)
            if unknown := set(labels) - set(train[column]):
                raise ValueError(f"column {column!r} has the labels {sorted(unknown)}, which no train row has")
            result[column] = labels.where(labels != MISSING)
        else:
            numbers = values.to_numpy(dtype=float, na_value=np.nan)
            known = train[column].dropna().to_numpy()
            present = np.isfinite(numbers) if len(known) < len(train) else np.full(count, True)
            if not np.isfinite(numbers[present]).all() or np.isinf(numbers).any():
                raise ValueError(f"column {column!r} has values that are missing or infinite")
            snapped = pd.Series(np.nan, index=range(count))
            snapped[present] = snap(numbers[present], known)
            whole = (known == np.rint(known)).all()
            result[column] = (
                snapped.astype("Int64").astype(train[column].dtype if present.all() else "Int64")
                if (whole)
                else snapped
            )
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
            return gcd(*map(int, np.unique(rounded))) or 1, decimals
    return None


def to_codes(train: pd.DataFrame, categories: list[str]) -> tuple[np.ndarray, Callable[[np.ndarray], pd.DataFrame]]:
    """Return rows as a matrix of float64 in which labels are codes, and a function that turns such a matrix back."""
    labels = {name: sorted(train[name].unique()) for name in categories}
    columns = [
        pd.Index(labels[name]).get_indexer(train[name]) if name in labels else train[name].to_numpy() for name in train
    ]

    def decode(matrix: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(
            {
                name: np.asarray(labels[name], dtype=object)[matrix[:, i].astype(int)]
                if name in labels
                else matrix[:, i]
                for i, name in enumerate(train)
            }
        )

    return np.column_stack([column.astype("float64") for column in columns]), decode


def fit_sdv(synthesizer: type) -> Fit:
    """Return the `Fit` of a synthesizer of SDV with its own settings, which takes gaps."""

    def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
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
        return model, lambda rows: model.sample(rows)["train"]

    return fit
