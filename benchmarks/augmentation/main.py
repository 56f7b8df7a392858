"""`make augmentation`: the gain by 1 to 10 synthetic rows per real row, by the number of real rows.

Fits the language model, SMOTE and CART to 50 to 3,000 of abalone's train rows (some 12 CPU minutes). A study that was
stopped resumes. Writes `study.csv`, `study.md` and `study.png` to `data/bench/augmentation/`.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))

import tables
from augmentation.figure import augmentation_curves
from augmentation.study import REPEATS, answer, key_of, run_shared, summarise, trials_of
from runs import add_execution, execution_of

from synth_assets.storage.files import atomic_write
from synth_assets.storage.paths import DataPaths
from synth_assets.synthesizers.base import SynthesizerSettings
from synth_assets.synthesizers.forest import ForestSettings
from synth_assets.synthesizers.smote import SmoteSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(REPEATS), help="numbers of real rows")
    parser.add_argument("--repeats", type=int, help="subsamples of each size; by default 5, and 3 of 3,000")
    add_execution(parser)
    arguments = parser.parse_args()
    table = tables.load("abalone")
    synthesizers: dict[str, SynthesizerSettings] = {
        "language_model": table.language_model,
        "smote": SmoteSettings(),
        "cart": ForestSettings(n_estimators=1, min_samples_leaf=5, kernel_bandwidth=0.0),
    }
    folder = DataPaths.from_environment().root / "bench" / "augmentation"
    repeats = {size: arguments.repeats or REPEATS.get(size, 5) for size in arguments.sizes}
    trials = trials_of(repeats, list(synthesizers), len(table.train))
    stored = {
        trial: folder
        / f"{key_of(trial, table.train, table.holdout, table.schema, synthesizers[trial.synthesizer])}.csv"
        for trial in trials
    }
    missing = [trial for trial in trials if not stored[trial].exists()]
    calls = [(trial, synthesizers[trial.synthesizer]) for trial in missing]
    rows = table.train, table.holdout, table.schema
    n_done = len(trials) - len(missing)
    for report in execution_of(arguments).completed(run_shared, calls, shared=rows):
        for number, found in report.results:
            trial, n_done = missing[number], n_done + 1
            atomic_write(stored[trial], found.to_csv(index=False).encode())
            print(
                f"{n_done} of {len(trials)}: {trial.real_rows:,} real rows, repeat {trial.repeat + 1}, "
                f"{trial.synthesizer}"
            )
    results = [pd.read_csv(stored[trial]) for trial in trials]
    study = summarise(pd.concat(results, ignore_index=True))
    atomic_write(folder / "study.csv", study.to_csv(index=False).encode())
    atomic_write(folder / "study.md", f"{answer(study)}\n\n{markdown(study)}\n".encode())
    atomic_write(folder / "study.png", augmentation_curves(study, source=table.source))
    print((folder / "study.md").read_text())


def markdown(study: pd.DataFrame) -> str:
    """Write the gains of the largest ratio as a Markdown table: a row for each size, a column for each arm."""
    most = study[study["synthetic_ratio"] == study["synthetic_ratio"].max()]
    arms = list(most[["estimator", "synthesizer"]].drop_duplicates().itertuples(index=False, name=None))
    lines = [["real rows", *(f"{estimator}: {synthesizer}" for estimator, synthesizer in arms)]]
    lines.append(["---"] * len(lines[0]))
    for size, rows in most.groupby("real_rows"):
        by_arm = rows.set_index(["estimator", "synthesizer"])
        cells = [by_arm.loc[arm] for arm in arms]
        lines.append(
            [f"{size:,}", *(f"{c['gain']:+.3f} ({c['gain_low']:+.3f} to {c['gain_high']:+.3f})" for c in cells)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
