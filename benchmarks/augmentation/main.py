"""`augmentation_study`: from how many real rows on synthetic ones are of no use, on demand."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path

import dagster as dg
import pandas as pd
from filelock import FileLock
from synth_assets.evaluation.augmentation import (
    Generator,
    StudyPlan,
    answer,
    described,
    key_of,
    run_unit,
    summarise,
    units_of,
)

from synth_assets.evaluation.learners import Task
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets.common import Table, column, markdown_table, picture, row_count
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.split import rows_of
from synth_assets.schema.table import content_hash
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets.synthesizers import model_store
from synth_assets.synthesizers.model_store import ModelStore, sample_rows
from synth_assets.synthesizers.settings import ModelSpec, SampleSpec
from synth_assets.synthesizers.smote import ALGORITHM_VERSION, by_trees, interpolated

NAME = "augmentation_study"

GREAT, SMOTE, CART = "great", "smote", "cart"
GENERATORS = (GREAT, SMOTE, CART)

_COLUMNS = [
    column(
        "generator", "varchar", "What made the synthetic rows: 'great', the table's language model; 'smote'; 'cart'."
    ),
    column("regressor", "varchar", "What learned from them; a classifier, for a category."),
    column("metric", "varchar", "The score on held-out rows: 'r2', or 'roc_auc' for a category."),
    column("real_rows", "bigint", "How many train rows there were to make rows from, and to learn from."),
    column("synthetic_ratio", "double", "How many synthetic rows were added for each real one."),
    column("repeats", "bigint", "How often that was done, each time with other real rows."),
    column("score", "double", "The mean over the repeats."),
    column("score_low", "double", "The lower end of its 95% interval.", nullable=True),
    column("score_high", "double", "Its upper end.", nullable=True),
    column("gain", "double", "The score less that of the real rows alone, on average."),
    column("gain_low", "double", "The lower end of its 95% interval.", nullable=True),
    column("gain_high", "double", "Its upper end.", nullable=True),
]


class StudyConfig(dg.Config):
    """What a single run may ask for instead of what defs.yaml says.

    Parameters
    ----------
    repeats : dict of int to int, optional
        By how many real rows: how many subsamples. `{50: 2}` is the smallest study that has intervals.
    ratios : list of float, optional
        How many synthetic rows a real one.
    generators : list of str, optional
        Of 'great', 'smote', 'cart'.
    """

    repeats: dict[int, int] | None = None
    ratios: list[float] | None = None
    generators: list[str] | None = None


def build(table: Table, plan: StudyPlan, model: ModelSpec, sample: SampleSpec) -> list[dg.AssetsDefinition]:
    """Build the asset.

    Parameters
    ----------
    table : Table
        The table.
    plan : StudyPlan
        What is studied, unless a run asks for something else.
    model, sample : ModelSpec, SampleSpec
        How the language model is fitted to a subsample, and how its rows are drawn.

    Returns
    -------
    list
        The asset. It has a group of its own: whoever materializes all of the table's does not mean an hour of fits.
        And it is not in the language model's pool, where the day's sample would wait for it.
    """

    @dg.asset(
        **table.asset(
            NAME,
            code_version="1",
            kinds={"python", "pytorch", "scikitlearn", "duckdb"},
            columns=_COLUMNS,
            group_name=f"{table.name}_on_demand",
            ins={"encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME))},
            description=(
                f"How much better {table.schema.target_renamed} of held-out rows is predicted when synthetic rows are "
                "added, by how many real rows there are: rows of the language model, fitted anew to each subsample, "
                "against interpolation (SMOTE) and trees (CART). On demand: it fits dozens of models. A study that "
                "was stopped goes on where it was."
            ),
        )
    )
    def augmentation_study(
        context: dg.AssetExecutionContext,
        config: StudyConfig,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from synth_assets.evaluation.figures import augmentation_curves

        folder = paths.augmentation(table.name)
        train, held_out = rows_of(encoded_split, "train"), rows_of(encoded_split, "test")
        generators = _generators(table, model, sample, folder, len(train), context.log.info)
        asked = _asked(plan, config)
        with as_dagster_failure():
            task = Task.of(table.schema.target_renamed, table.encoding.categories, train, held_out)
            units = units_of(asked, len(train))
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "study.lock"):  # a second study waits, and then uses what the first has found
                results = []
                for number, unit in enumerate(units, start=1):
                    generator = generators[unit.generator]
                    found = _stored(
                        folder,
                        key_of(unit, train, held_out, generator, asked, task),
                        partial(run_unit, unit, train, held_out, generator, asked, task),
                    )
                    context.log.info(f"{number} of {len(units)}: {described(unit, found)}")
                    results.append(found)
        study = summarise(pd.concat(results, ignore_index=True))
        said = answer(study)
        context.log.info(said)
        figure = augmentation_curves(
            study,
            ratios=sorted(set(study["synthetic_ratio"]) - {0.0}),
            title=f"{table.schema.target_renamed} of held-out {table.name} rows: what synthetic rows add",
            source=raw_asset.source_label(warehouse, table.name),
        )
        return dg.MaterializeResult(
            value=study,
            data_version=dg.DataVersion(content_hash(study)),
            metadata={
                **row_count(study),
                "answer": said,
                "plan": asdict(asked),
                "gains": markdown_table(study[study["synthetic_ratio"] > 0]),
                **picture(figure, paths.plots(table.name, NAME) / f"{NAME}.png"),
            },
        )

    return [augmentation_study]


def _asked(plan: StudyPlan, config: StudyConfig) -> StudyPlan:
    generators = config.generators or plan.generators
    unknown = [name for name in generators if name not in GENERATORS]
    if unknown:
        raise dg.Failure(
            description=f"the study was asked for {', '.join(unknown)}; what makes rows is one of "
            f"{', '.join(GENERATORS)}.",
            allow_retries=False,
        )
    return StudyPlan(config.repeats or plan.repeats, tuple(config.ratios or plan.ratios), tuple(generators))


LEAST_LESSONS = 60_000
"""Rows that the forest writes for the language model of a small subsample, at least. From 100 real rows of abalone, the
validation loss within the subsample was 42.8 nats a row with 20,000 lessons, 42.3 with 60,000 and 43.5 with 300,000,
each row being a lesson twice."""


def _generators(
    table: Table,
    model: ModelSpec,
    sample: SampleSpec,
    folder: Path,
    train_rows: int,
    report: Callable[[str], None],
) -> dict[str, Generator]:
    target, categories = table.schema.target_renamed, table.encoding.categories
    lessons = model.training.teacher_rows
    sample = replace(sample, conditions=None)

    def write(real: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
        # As many lessons a real row as the table's own model has.
        fewer = min(lessons, max(LEAST_LESSONS, round(lessons * len(real) / train_rows)))
        # A fit that was killed resumes from its checkpoints here; once its rows are drawn, nothing of it is needed.
        fits = folder / "fits"
        store = ModelStore(fits / "models")
        card = store.fit(
            table.encoding.label(real) if model.engine == "great" else real,
            replace(model, seed=seed, training=replace(model.training, teacher_rows=fewer)),
            bases=fits / "bases",
            experiments=fits / "experiments",
            report=report,
        )
        rows, _ = sample_rows(
            store, card.version, table.encoding, replace(sample, n_samples=n), seed=seed, report=report
        )
        shutil.rmtree(fits)
        return table.encoding.encode(rows)

    great = {
        "spec": asdict(model),
        "sample": {name: value for name, value in asdict(sample).items() if name != "n_samples"},
        "lessons": [LEAST_LESSONS, train_rows],
        "recipe": model_store.ALGORITHM_VERSION,
        "libraries": {name: version_of(name) for name in model_store.LIBRARIES},
    }
    return {
        GREAT: Generator(GREAT, write, great),
        SMOTE: Generator(
            SMOTE,
            lambda real, n, seed: interpolated(real, n, categories=categories, seed=seed),
            {"recipe": ALGORITHM_VERSION},
        ),
        CART: Generator(
            CART,
            lambda real, n, seed: by_trees(real, n, target=target, categories=categories, seed=seed),
            {"recipe": ALGORITHM_VERSION},
        ),
    }


def _stored(folder: Path, key: str, run: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Give what a unit gave before, or run it and keep what it gives."""
    path = folder / f"{key}.csv"
    if not path.exists():
        building = path.with_name(f".{path.name}")
        run().to_csv(building, index=False)
        building.replace(path)
    return pd.read_csv(path)
