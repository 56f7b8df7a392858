"""The baseline: be_great as it is on the 'scratch' base, at its own temperature and at 1.0.

Fits be_great to abalone's train rows with three seeds, draws three days' samples of each at each
temperature, and prints two Markdown tables: the similarity of each column, and R2 on held-out rows, as means over the
nine samples with the least and the greatest. Run it as `make baseline`; models are kept in data/models/ as the
pipeline keeps them.
"""

import argparse
from dataclasses import replace

import pandas as pd
from engines import BE_GREAT, BE_GREATS_SAMPLE
from engines import settings as abalone_settings
from synth_assets.evaluation.fidelity import fidelity_table
from synth_assets.evaluation.utility import compare_training_sets

from synth_assets.orchestration.assets.synthetic_sample import seed_of
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import rows_of
from synth_assets.storage.paths import DataPaths
from synth_assets.synthesizers.model_store import ModelStore

SEEDS, DAYS, TEMPERATURES = (420, 421, 422), ("2026-11-21", "2026-11-22", "2026-11-23"), (0.7, 1.0)
PARTS = ["Shucked_weight", "Viscera_weight", "Shell_weight"]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    settings = abalone_settings()
    paths = DataPaths.from_environment()
    schema = settings.table_schema()
    encoding = Encoding(schema)
    loaded = settings.source.load(paths.root)
    split = settings.table_split().apply(encoding.encode(schema.coerce(loaded.frame, origin=loaded.label)))
    train, held_out = rows_of(split, "train"), rows_of(split, "test")
    shapes, scores = [], []
    for seed in SEEDS:
        store = ModelStore(paths.models(settings.table))
        card = store.fit(
            train,
            replace(settings.model_spec(), seed=seed, **BE_GREAT),
            bases=paths.bases,
            experiments=paths.experiments(settings.language_model.experiment_dir),
            report=print,
        )
        for temperature in TEMPERATURES:
            for day in DAYS:
                found = measure(store, card.version, settings, temperature, day, encoding, train, held_out)
                print(f"seed {seed}, temperature {temperature}, {day}: done", flush=True)
                shapes.append(found[0].assign(temperature=temperature))
                scores.append(found[1].assign(temperature=temperature))
    print(f"\nreal rows: {loaded.label}\n")
    print(markdown(pd.concat(shapes), ["metric", "column_name"]))
    print()
    print(markdown(pd.concat(scores), ["regressor", "trained_on"]))


def measure(
    store: ModelStore,
    version: str,
    settings: SyntheticTableSettings,
    temperature: float,
    day: str,
    encoding: Encoding,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from synth_assets.synthesizers import be_great as reference

    spec = replace(settings.sample_spec(), **{**BE_GREATS_SAMPLE, "temperature": temperature})
    great = store.load(version)
    rows, drawn = reference.sample(great, encoding.decode, spec, seed=seed_of(version, day), report=lambda line: None)
    shapes = fidelity_table(rows, encoding.decode(train), encoding.decode(held_out), encoding.schema)
    shapes = shapes[shapes["metric"].isin(["ks_complement", "tv_complement", "column_shapes", "pair_trends"])]
    real = encoding.decode(held_out)
    extra = pd.DataFrame(
        {
            "metric": ["rows that cannot be read back", "parts heavier than the whole"],
            "value": [1 - len(rows) / drawn, (rows[PARTS].sum(axis="columns") > rows["Whole_weight"]).mean()],
            "floor": [0.0, (real[PARTS].sum(axis="columns") > real["Whole_weight"]).mean()],
        }
    )
    compared = compare_training_sets(
        train,
        encoding.encode(rows),
        held_out,
        target=encoding.schema.target_renamed,
        categories=encoding.categories,
    )
    r2 = compared.scores[compared.scores["metric"] == "r2"]
    return pd.concat([shapes, extra], ignore_index=True), r2[["regressor", "trained_on", "value"]]


def markdown(found: pd.DataFrame, by: list[str]) -> str:
    """Write a table with a row for each measure and a column for each temperature: mean (least to greatest)."""
    has_floor = "floor" in found
    lines = [[*by, *(["real rows"] if has_floor else []), *(f"temperature {t}" for t in TEMPERATURES)]]
    lines.append(["---"] * len(lines[0]))
    for names, group in found.groupby(by, sort=False, dropna=False):
        cells = ["" if pd.isna(name) else str(name) for name in names]
        if has_floor:
            cells.append(f"{group['floor'].iloc[0]:.3f}")
        for temperature in TEMPERATURES:
            values = group.loc[group["temperature"] == temperature, "value"]
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
