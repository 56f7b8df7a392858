"""`make baseline`: be_great as released, on the 'scratch' base, at its own temperature and at 1.0.

Fits be_great to abalone's train rows with three seeds, draws three samples of each at each temperature, and prints two
Markdown tables: the similarity of each column, and R2 on holdout rows, as means over the nine samples (least to
greatest).
"""

import argparse

import pandas as pd
import tables
from measures import IMPOSSIBLE
from methods import BE_GREAT

from synth_assets.evaluation.metrics import FIDELITY, result_frame
from synth_assets.evaluation.metrics.utility import compare_training_sets
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.constraints import violations
from synth_assets.synthesizers.be_great import BeGreat

SEEDS, SAMPLES, TEMPERATURES = (420, 421, 422), (0, 1, 2), (0.7, 1.0)
METRICS = ("ks_complement", "tv_complement", "column_shapes", "pair_trends")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    table = tables.load("abalone")
    similarities, scores = [], []
    for seed in SEEDS:
        fitted = BeGreat(BE_GREAT).fit(table.train, table.schema, seed=seed, log=print)
        for temperature in TEMPERATURES:
            for sample in SAMPLES:
                rows = fitted.sample(len(table.train), seed=1000 * seed + sample, temperature=temperature)
                similarity, score = measure(rows, table)
                similarities.append(similarity.assign(temperature=temperature))
                scores.append(score.assign(temperature=temperature))
                print(f"seed {seed}, temperature {temperature}, sample {sample}: done", flush=True)
    print(f"\nreal rows: {table.source}\n")
    print(markdown(pd.concat(similarities), ["metric", "column_name"]))
    print()
    print(markdown(pd.concat(scores), ["regressor", "trained_on"]))


def measure(rows: pd.DataFrame, table: tables.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the similarity of columns and pairs, impossible rows, and R2 by what a regressor was trained on."""
    samples = Samples(table.train, table.holdout, rows, table.schema)
    found = result_frame(row for metric in FIDELITY if metric.name in METRICS for row in metric.compute(samples))
    shares = [violations(part, table.constraints, table.schema)[IMPOSSIBLE].mean() for part in (rows, table.holdout)]
    impossible = pd.DataFrame({"metric": ["impossible rows"], "value": shares[:1], "reference": shares[1:]})
    r2 = compare_training_sets(samples).scores.query("metric == 'r2'")
    return pd.concat([found, impossible], ignore_index=True), r2[["regressor", "trained_on", "value"]]


def markdown(found: pd.DataFrame, by: list[str]) -> str:
    """Write a table with a row for each measure and a column for each temperature: mean (least to greatest)."""
    has_reference = "reference" in found
    lines = [[*by, *(["real rows"] if has_reference else []), *(f"temperature {t}" for t in TEMPERATURES)]]
    lines.append(["---"] * len(lines[0]))
    for names, group in found.groupby(by, sort=False, dropna=False):
        cells = ["" if pd.isna(name) else str(name) for name in names]
        if has_reference:
            cells.append(f"{group['reference'].iloc[0]:.3f}")
        for temperature in TEMPERATURES:
            values = group.loc[group["temperature"] == temperature, "value"]
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
