"""`synthetic_sample`: the synthetic rows of a resample date, in the columns, types and labels of the raw table."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.execution import LOCAL, Execution
from synth_assets.orchestration.assets import fine_tuned_model as model_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets.common import (
    LANGUAGE_MODEL_POOL,
    Table,
    check_results,
    column,
    preview,
    result,
)
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.publishing.shared import fetch_model
from synth_assets.schema.columns import Id
from synth_assets.schema.counting import validate_files
from synth_assets.schema.validation import validate
from synth_assets.storage.objects import ObjectStore
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import LARGE_SAMPLE_ROWS, Part, Parts, Warehouse
from synth_assets.synthesizers.base import SampleSettings, Synthesizer
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets.synthesizers.parts import SHARD_ROWS, complete_sample, copy_sample

NAME = "synthetic_sample"

KEYS = "keys_are_unique"
"""The check of the columns of keys, where there are any."""

KEYS_A_DAY = 1_000_000
"""Keys of a resample date; more where a sample has more rows."""


class SampleConfig(dg.Config):
    """Settings of a single run, which replace the ones in defs.yaml.

    Parameters
    ----------
    n_samples : int, optional
        Number of rows.
    temperature : float, optional
        Temperature of the softmax over the next token.
    conditions : dict of str to str, optional
        Conditions on columns: `{"Rings": ">= 15", "Sex": "== 'I'"}`.
    """

    n_samples: int | None = None
    temperature: float | None = None
    conditions: dict[str, str] | None = None


def build(
    table: Table, settings: SampleSettings, *, freshness: dg.FreshnessPolicy, execution: Execution = LOCAL
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Build the asset and its checks.

    Parameters
    ----------
    table : Table
        The table.
    settings : SampleSettings
        The settings of the sample, which a run may override.
    freshness : dagster.FreshnessPolicy
        Maximum age of the newest sample.
    execution : Execution
        Where the rows of a sample of more than one part are drawn, if not in processes of this machine.

    Returns
    -------
    list
        The asset, and its checks.
    """
    columns = [
        *table.raw_columns(only=table.schema.published),
        column("sample_id", "bigint", "Number of the row in the sample, from 0."),
        column("model_version", "varchar", "Version of the model that generated the row."),
    ]

    @table.asset(
        NAME,
        code_version="6",
        kinds={"python", "pytorch", "duckdb"},
        columns=columns,
        of_sample=True,
        inputs=(model_asset.NAME,),
        pool=LANGUAGE_MODEL_POOL,
        freshness_policy=freshness,
        description=(
            f"{settings.n_samples:,} synthetic rows, sampled from the current model each day. The seed is derived from "
            f"the model version and the resample date, so that a sample can be drawn again. More than "
            f"{LARGE_SAMPLE_ROWS:,} rows are stored as Parquet files, in parts."
        ),
    )
    def synthetic_sample(
        context: dg.AssetExecutionContext,
        config: SampleConfig,
        paths: dg.ResourceParam[DataPaths],
        fine_tuned_model: pd.DataFrame,
    ) -> dg.MaterializeResult[Any]:
        table.partitions.require(context)
        version = model_asset.current_version(fine_tuned_model)
        wanted = settings.model_copy(update=config.model_dump(exclude_none=True))
        seed = seed_of(version, context.partition_key)
        started = time.monotonic()
        with as_dagster_failure():
            models = ModelStore(paths.models(table.name))
            if paths.storage:
                fetch_model(ObjectStore(paths.storage), table.name, models.path(version))
            synthesizer = models.load(version)
            arguments: dict[str, Any] = {
                "seed": seed,
                "conditions": wanted.conditions,
                "temperature": wanted.temperature,
                "log": context.log.info,
                "first_key": first_key(table, context.partition_key, settings.n_samples, drawn=wanted.n_samples),
            }
            rows: pd.DataFrame | Parts
            if wanted.n_samples > (LARGE_SAMPLE_ROWS if execution.is_local else SHARD_ROWS):
                of_day = paths.samples(table.name, context.partition_key)
                rows = draw_parts(synthesizer, version, wanted.n_samples, arguments, of_day, paths, execution)
                shown = rows.head(paths.root)
            else:
                drawn = synthesizer.sample(wanted.n_samples, processes=execution.local_processes, **arguments)
                rows = shown = drawn.assign(sample_id=range(len(drawn)), model_version=version)
        seconds = time.monotonic() - started
        return result(
            rows,
            model_version=version,
            seed=seed,
            temperature=wanted.temperature,
            conditions=dict(wanted.conditions or {}),
            hidden_labels=synthesizer.hidden_labels,
            rows_per_second=round(len(rows) / seconds, 1),
            preview=preview(shown),
        )

    return [synthetic_sample, _checks(table)]


def draw_parts(
    synthesizer: Synthesizer,
    version: str,
    n: int,
    arguments: Mapping[str, Any],
    folder: Path,
    paths: DataPaths,
    execution: Execution,
) -> Parts:
    """Draw a large sample into Parquet files, unless they are there already.

    Parameters
    ----------
    synthesizer : Synthesizer
        The fitted model.
    version : str
        Its version.
    n : int
        Number of rows.
    arguments : mapping
        The other arguments of `Synthesizer.sample_to`.
    folder : pathlib.Path
        The folder of the samples of a resample date. Each has a folder there, named by the hash of its arguments.
    paths : DataPaths
        The data folder.
    execution : Execution
        Where the rows are drawn. A cluster writes them to the object store of the data folder, if it has one, from
        which they are copied: its machines need not share a disk.

    Returns
    -------
    Parts
        The files.
    """
    stated = json.dumps(
        [version, n, {name: value for name, value in arguments.items() if name != "log"}], sort_keys=True
    )
    of_sample = folder / hashlib.sha256(stated.encode()).hexdigest()[:16]
    below = of_sample.relative_to(paths.root)
    if paths.storage is None or execution.is_local:
        manifest = synthesizer.sample_to(of_sample, n, execution=execution, **arguments)
    else:
        store, objects = ObjectStore(paths.storage), below.as_posix()
        found = complete_sample(of_sample)
        if found is None:
            address = f"{store.url.rstrip('/')}/{objects}"
            synthesizer.sample_to(address, n, execution=execution, **arguments)
            found = copy_sample(address, of_sample)
            arguments["log"](f"copied {n:,} rows from {address}")
        manifest = found
        store.delete(store.names(objects))
    return Parts(
        [Part((below / shard.name).as_posix(), shard.rows, shard.sha256) for shard in manifest.shards], version
    )


def seed_of(model_version: str, partition: str) -> int:
    """Return the seed of a sample.

    Parameters
    ----------
    model_version : str
        Version of the model.
    partition : str
        Resample date, as an ISO date.

    Returns
    -------
    int
        From 0 to 2**32 - 1, the range of NumPy's seeds.
    """
    return int.from_bytes(hashlib.sha256(f"{model_version}/{partition}".encode()).digest()[:4])


def first_key(table: Table, day: str, n_samples: int, *, drawn: int) -> int:
    """Return how many keys are left to earlier resample dates: as many for each as fit the size of a sample.

    Parameters
    ----------
    table : Table
        The table.
    day : str
        Resample date, as an ISO date.
    n_samples : int
        Rows of a sample, as the table's settings state.
    drawn : int
        Rows of this sample, for which a run may state another number.

    Raises
    ------
    ForeseenError
        If the sample would have the keys of the next day.
    """
    keys_a_day: int = max(KEYS_A_DAY, 10 ** math.ceil(math.log10(n_samples)))
    if drawn > keys_a_day and table.schema.names_of("id"):
        raise ForeseenError(
            f"found n_samples {drawn:,}; a day of {table.name} has {keys_a_day:,} keys, so that the days do not share "
            "any. Draw fewer rows, or state sample.n_samples in the table's settings, which makes room for more."
        )
    return table.partitions.index(day) * keys_a_day


def _checks(table: Table) -> dg.AssetChecksDefinition:
    key, keys = table.key(NAME), table.schema.names_of("id")
    published = table.schema.select(table.schema.published)
    specs = [
        dg.AssetCheckSpec(
            "valid_rows",
            asset=key,
            blocking=True,
            description="Every row has the columns, types and labels of the raw table; only nullable ones have gaps.",
            partitions_def=table.partitions,
        ),
        dg.AssetCheckSpec(
            "ranges",
            asset=key,
            description="Each value is within the range of its column.",
            partitions_def=table.partitions,
        ),
    ]
    if keys:
        specs.append(
            dg.AssetCheckSpec(
                KEYS,
                asset=key,
                blocking=True,
                description="No key occurs twice in all resample dates together, or on two of them if it may repeat, "
                "and none is a real row's.",
                partitions_def=table.partitions,
            )
        )

    @dg.multi_asset_check(name=f"{table.name}_{NAME}_checks", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        parts = warehouse.parts(table.name, NAME, context.partition_key)
        if parts is None:
            frame = warehouse.read(table.name, NAME, resample_date=context.partition_key)
            checked = len(frame)
            problems = validate(frame.drop(columns=["sample_id", "model_version"]), published)
        else:
            checked = len(parts)
            with as_dagster_failure():
                problems = validate_files([warehouse.paths.root / part.file for part in parts.files], published)
        by_check = {"ranges": problems.pop("ranges"), KEYS: problems.pop("keys", [])}
        by_check["valid_rows"] = [problem for found in problems.values() for problem in found]
        for each in table.schema.columns:
            if isinstance(each, Id):
                by_check[KEYS] += repeated_keys(warehouse, table.name, each)
        yield from check_results(
            context,
            warehouse,
            key,
            {spec.name: by_check[spec.name] for spec in specs},
            warnings=("ranges",),
            passed=f"all {checked:,} rows are as expected",
            day=context.partition_key,
        )

    return checks


def repeated_keys(warehouse: Warehouse, table: str, column: Id) -> list[str]:
    """Return what is wrong with the keys in all stored samples of a table: repeated ones, and ones of real rows."""
    found = []
    name = column.name
    twice, days = warehouse.count_repeated(table, NAME, name, within_a_day=not column.repeats)
    if twice:
        found.append(
            f"{name}: {twice:,} keys occur more than once, on {', '.join(days)}, since start_date, n_samples or the "
            "column's start was changed after these days were sampled. Delete them with `synth-assets delete`, and "
            "sample them again"
        )
    real = warehouse.count_shared(table, NAME, raw_asset.NAME, name)
    if real:
        found.append(
            f"{name}: {real:,} keys are keys of real rows. State a `start` of the column beyond the real keys, and "
            "sample again"
        )
    return found
