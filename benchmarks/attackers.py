"""`make bench-attackers`: membership inference attacks on our synthesizers and on peers, table by table.

Each method fits the train rows of a table and draws 30 samples of 3,000 rows. Three attackers infer which real rows
were train rows: who sees the first sample, who sees all, and who holds the model (of the language model, whose
likelihood can be computed). The language model trained far too long shows what a leak looks like. Rows are kept in
`data/bench/` and used again while their inputs are the same. The numbers of each table are written between its markers
of `docs/results.md`.

TABLES=folder names the folder of the tables' files (see `tables.yaml`), ABALONE_CSV the file of abalone. `--rows
METHOD=FILE` attacks the rows of a CSV file, in the order of the days, in place of a method that is run.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tables
from methods import BE_GREAT, read_rows
from peers.environments import PEERS, interpreter_of, script_of
from runs import HERE, Limits, Runs, run_within
from tables_report import replace_between

from synth_assets.evaluation.evaluate import privacy_results
from synth_assets.evaluation.gates import GATES, evaluate_gate
from synth_assets.evaluation.metrics.attacks import (
    CALIBRATED,
    EVERY_SAMPLE,
    OUTLIERS,
    Knowledge,
)
from synth_assets.evaluation.metrics.membership import Attack, successes
from synth_assets.evaluation.samples import Samples
from synth_assets.storage.files import atomic_write
from synth_assets.storage.paths import DataPaths
from synth_assets.synthesizers import create, load
from synth_assets.synthesizers.base import Synthesizer
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings

OURS, OVERFITTED = "language_model", "language_model, overfitted"
METHODS = (OURS, OVERFITTED, "smote", "cart", "arf", "be_great")

SAMPLE_ROWS, DAYS = 3000, 30
FEWER_DAYS = {"be_great": 5}
"""Samples of a method that draws slowly."""

OVERFITTED_EPOCHS = 100
"""Epochs of the model that is trained too long, on every train row twice: 200 times each. Its validation rows are
train rows too, so that no epoch is one too many."""

NAMES = {OURS: "language model", "arf": "adversarial random forest", "cart": "CART", "smote": "SMOTE"}

REFERENCE_HOLDOUT = "reference model"
LIMITS = Limits(cpu_s=1800, memory_mb=8192)

RESULTS = HERE.parent / "docs" / "results.md"
BEGIN, END = "<!-- bench-attackers: {} -->", "<!-- end of bench-attackers: {} -->"
"""What stands between these lines is replaced."""

COLUMNS = {
    "one sample": [("attack_auc", None)],
    "at 1% / 0.1%": [("attack_tpr_1", None), ("attack_tpr_01", None)],
    "all samples": [("attack_auc", EVERY_SAMPLE)],
    "at 1% / 0.1% ": [("attack_tpr_1", EVERY_SAMPLE), ("attack_tpr_01", EVERY_SAMPLE)],
    "outliers, one / all samples": [("outlier_auc", None), ("outlier_auc", EVERY_SAMPLE)],
    "DCR share": [("dcr_share", None)],
}
"""Columns of the table of who sees rows: by metric, and by rows and samples."""

KINDS = {
    "plain": None,
    "outliers, plain": OUTLIERS,
    "calibrated by regression": CALIBRATED,
    "calibrated by a model of half of the held-out rows": REFERENCE_HOLDOUT,
}
"""Columns of the table of who holds the model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=tables.names(), default=["abalone", "adult"])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--rows", nargs="*", default=[], metavar="METHOD=FILE", help="rows of another method")
    parser.add_argument("--days", type=int, default=DAYS, help="samples of a model (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the page to write to (default: %(default)s)")
    arguments = parser.parse_args()
    given = dict(each.split("=", 1) for each in arguments.rows)
    folder = DataPaths.from_environment().root / "bench"
    for name in arguments.tables:
        runs = Runs(folder / name / "attackers", tables.load(name), 0)
        found = {}
        for method in (*arguments.methods, *given):
            measured = attack(runs, method, given.get(method), arguments.days)
            found[method] = measured
            print(f"{name}, {method}: {measured if isinstance(measured, str) else 'attacked'}", flush=True)
        text = section(found)
        print(text)
        replace_between(arguments.results, BEGIN.format(name), END.format(name), text)


def attack(runs: Runs, method: str, file: str | None, days: int) -> pd.DataFrame | str:
    """Return what the attackers find, or why there are no rows."""
    days = min(days, FEWER_DAYS.get(method, days))
    table = runs.table
    model = None
    if file is not None:
        rows = read_rows(Path(file), table.schema)
    elif method in (OURS, OVERFITTED):
        model = fitted(runs, method)
        rows = pd.concat([model.sample(SAMPLE_ROWS, seed=day) for day in range(days)], ignore_index=True)
    else:
        drawn = draw(runs, method, days * SAMPLE_ROWS)
        if isinstance(drawn, str):
            return drawn
        rows = drawn
    samples = Samples(table.train, table.holdout, rows.iloc[:SAMPLE_ROWS], table.schema)
    knowledge = Knowledge(rows.iloc[SAMPLE_ROWS:], None if model is None else model.log_likelihood)
    found = privacy_results(samples, knowledge=knowledge)
    failed = evaluate_gate(GATES["privacy"], found).findings.query("~passed")
    gate = pd.DataFrame({"metric": ["gate"], "column_name": [", ".join(dict.fromkeys(failed["metric"]))]})
    more = [gate] if model is None else [gate, pd.DataFrame(calibrated_by_a_model(runs, model))]
    return pd.concat([found, *more], ignore_index=True)


def fitted(runs: Runs, method: str) -> Synthesizer:
    """Fit a language model, or load the one that was fitted with the same inputs."""
    settings = LanguageModelSettings.model_validate(runs.table.language_model.model_dump())
    train = runs.table.train
    if method == OVERFITTED:
        settings = settings.model_copy(update={"epochs": OVERFITTED_EPOCHS, "patience": OVERFITTED_EPOCHS})
        train = pd.concat([train, train], ignore_index=True)
    return _kept(runs, method, f"{settings.model_dump_json()}/{runs.inputs(OURS)}", settings, train)


def _kept(runs: Runs, name: str, inputs: str, settings: LanguageModelSettings, train: pd.DataFrame) -> Synthesizer:
    folder = runs.folder / f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=runs.folder) as building:
            create(settings).fit(train, runs.table.schema, seed=0, log=print).save(Path(building) / "model")
            (Path(building) / "model").rename(folder)
    return load(folder)


def draw(runs: Runs, method: str, count: int) -> pd.DataFrame | str:
    """Return the rows of another method, or why there are none."""
    out, inputs = runs.path(method, "csv"), runs.path(method, "inputs")
    expected = f"{runs.inputs(method)} {count}"
    if not (inputs.is_file() and inputs.read_text() == expected):
        options = ["--train", runs.train, "--rows", count, "--seed", 0, "--out", out]
        command = [*_command(runs, method), *options, "--report", runs.path(method, "report")]
        status, reason = run_within([*map(str, command)], runs.path(method, "log"), LIMITS)
        if status != "finished":
            return f"{status}: {reason}"
        atomic_write(inputs, expected.encode())
    return read_rows(out, runs.table.schema)


def _command(runs: Runs, method: str) -> Sequence[object]:
    if method in PEERS:
        interpreter = interpreter_of(PEERS[method].environment)
        return [interpreter, script_of(method), "--categories", *runs.table.schema.categorical]
    settings = runs.path(method, "settings")
    settings.write_text(json.dumps(BE_GREAT.model_dump(mode="json")))
    script = HERE / "methods.py"
    return [sys.executable, script, "--method", method, "--schema", runs.schema, "--settings", settings]


def calibrated_by_a_model(runs: Runs, model: Synthesizer) -> Iterator[dict[str, object]]:
    """Attack with the likelihood under a model, compared with one that is fitted to half of the holdout rows.

    The other half, and as many train rows as the attacks take, are attacked.
    """
    settings = LanguageModelSettings.model_validate(runs.table.language_model.model_dump())
    samples = Samples(runs.table.train, runs.table.holdout, runs.table.train, runs.table.schema).neighbours
    train, holdout = samples.typed["train"], samples.typed["holdout"]
    is_known = np.random.default_rng(0).permutation(len(holdout)) % 2 == 0
    known = holdout[is_known].reset_index(drop=True)
    other = _kept(runs, REFERENCE_HOLDOUT, f"{settings.model_dump_json()}/{runs.inputs(OURS)}", settings, known)
    scores = [_difference(model.log_likelihood, other.log_likelihood, part) for part in (train, holdout[~is_known])]
    found = successes([Attack("reference", *scores)], seed=0)["reference"]
    for metric, success in zip(("likelihood_auc", "likelihood_tpr_1", "likelihood_tpr_01"), found, strict=True):
        yield {
            "metric": metric,
            "column_name": REFERENCE_HOLDOUT,
            "value": success.value,
            "value_low": success.interval[0],
            "value_high": success.interval[1],
        }


def _difference(
    model: Callable[[pd.DataFrame], np.ndarray], other: Callable[[pd.DataFrame], np.ndarray], rows: pd.DataFrame
) -> np.ndarray:
    """Return by how much more likely rows are under a model; a row that the other cannot generate has its least."""
    expected = other(rows)
    return model(rows) - np.where(np.isfinite(expected), expected, expected[np.isfinite(expected)].min())


def section(found: dict[str, pd.DataFrame | str]) -> str:
    """Return the tables of who sees rows and of who holds the model, as Markdown."""
    measured = {method: result for method, result in found.items() if not isinstance(result, str)}
    lines = [_line(["method", *map(str.strip, COLUMNS), "privacy gate"]), _line(["---"] * (len(COLUMNS) + 2))]
    chance = next(iter(measured.values()), None)
    if chance is not None:
        lines.append(_line(["chance (97.5% of it below)", *(_chance(chance, each) for each in COLUMNS.values()), ""]))
    for method, result in found.items():
        name = NAMES.get(method, method)
        if isinstance(result, str):
            lines.append(_line([name, *[result, *[""] * len(COLUMNS)]]))
            continue
        failed = result.loc[result["metric"] == "gate", "column_name"].iloc[0]
        numbers = [_numbers(result, each) for each in COLUMNS.values()]
        lines.append(_line([name, *numbers, "fails" if failed else "passes"]))
    lines += ["", "Who holds the model, by the log-likelihood of a row; AUC, and shares found at 1% / 0.1%:", ""]
    lines += [_line(["model", *KINDS]), _line(["---"] * (len(KINDS) + 1))]
    for method, result in measured.items():
        if (result["metric"] == "likelihood_auc").any():
            cells = (
                f"{_number(result, 'likelihood_auc', kind)}, "
                + _numbers(result, [("likelihood_tpr_1", kind), ("likelihood_tpr_01", kind)])
                for kind in KINDS.values()
            )
            lines.append(_line([NAMES.get(method, method), *cells]))
    return "\n".join(lines)


def _pick(result: pd.DataFrame, metric: str, name: str | None) -> pd.Series:
    names = result["column_name"]
    return result[(result["metric"] == metric) & (names.isna() if name is None else names == name)].iloc[0]


def _numbers(result: pd.DataFrame, columns: Sequence[tuple[str, str | None]]) -> str:
    """Return one AUC with its interval, or several numbers of a cell without."""
    if len(columns) == 1:
        return _number(result, *columns[0])
    return " / ".join(_format(metric).format(_pick(result, metric, name)["value"]) for metric, name in columns)


def _number(result: pd.DataFrame, metric: str, name: str | None) -> str:
    row = _pick(result, metric, name)
    interval = "" if np.isnan(row["value_low"]) else f" ({row['value_low']:.3f} to {row['value_high']:.3f})"
    return f"{row['value']:.3f}{interval}"


def _chance(result: pd.DataFrame, columns: Sequence[tuple[str, str | None]]) -> str:
    found = [(_format(metric), _pick(result, metric, name)) for metric, name in columns]
    means = " / ".join(form.format(row["reference"]) for form, row in found)
    return f"{means} ({' / '.join(form.format(row['reference_high']) for form, row in found)})"


def _format(metric: str) -> str:
    return "{:.1%}" if "tpr" in metric else "{:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
