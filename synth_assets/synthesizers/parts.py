"""A large sample as a folder of Parquet files: its parts, and a manifest of them that is written last.

part-00000.parquet, part-00001.parquet, ...   SHARD_ROWS rows each, the last one the rest
manifest.json                                 a folder without it is incomplete
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from synth_assets.errors import ModelError
from synth_assets.storage.files import MANIFEST, atomic_write, sha256, sync
from synth_assets.storage.sql import quoted, text

SHARD_ROWS = 500_000
"""Rows of a part."""

ROW_GROUP_ROWS = 100_000
"""Rows of a row group at most."""


class Shard(BaseModel):
    """A part: its file in the folder, its number of rows, and its SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rows: int
    sha256: str


class Manifest(BaseModel):
    """What a folder of parts holds.

    Parameters
    ----------
    format : int
        Version of the layout.
    n : int
        Number of rows.
    seed : int
        Seed of the sample.
    shards : list of Shard
        The parts in the order of their rows.
    rows_sha256 : str
        Hash of all rows.
    model : str
        Version of the model.
    arguments : dict
        The other arguments of the sample.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    n: int
    seed: int
    shards: list[Shard]
    rows_sha256: str
    model: str
    arguments: dict[str, Any]


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a complete folder of parts.

    Raises
    ------
    ModelError
        If there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"the sample in {folder} is incomplete: it has no {MANIFEST}. Sample again.") from error
    except (OSError, ValidationError) as error:
        raise ModelError(
            f"the sample in {folder} is damaged: {path} cannot be read ({error}). Sample again."
        ) from error


def write_parts(
    folder: Path,
    batches: Iterable[pd.DataFrame],
    types: Mapping[str, str],
    *,
    seed: int,
    model: str,
    arguments: Mapping[str, Any],
    log: Callable[[str], None],
) -> Manifest:
    """Write the rows of a sample as parts, in memory that does not grow with their number.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the parts. Earlier files of the same names are replaced.
    batches : iterable of pandas.DataFrame
        The rows.
    types : mapping of str to str
        SQL types of the columns.
    seed, model, arguments
        As in `Manifest`.
    log : callable
        Receives a line for each part.

    Returns
    -------
    Manifest
        The manifest, which the folder holds now.
    """
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    columns = ", ".join(f"CAST({quoted(name)} AS {type_}) AS {quoted(name)}" for name, type_ in types.items())
    shards: list[Shard] = []
    for rows in _in_shards(batches):
        path = folder / f"part-{len(shards):05d}.parquet"
        unfinished = folder / f".{path.name}.{uuid4().hex}"
        with duckdb.connect() as connection:
            connection.register("new_rows", rows)
            connection.execute(
                f"COPY (SELECT {columns} FROM new_rows) TO {text(str(unfinished))} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
            )
        sync(unfinished)
        unfinished.replace(path)
        shards.append(Shard(name=path.name, rows=len(rows), sha256=sha256(path)))
        log(f"{sum(shard.rows for shard in shards):,} rows in {len(shards)} parts")
    manifest = Manifest(
        n=sum(shard.rows for shard in shards),
        seed=seed,
        shards=shards,
        rows_sha256=hashlib.sha256(" ".join(shard.sha256 for shard in shards).encode()).hexdigest(),
        model=model,
        arguments=dict(arguments),
    )
    atomic_write(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def _in_shards(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    held: list[pd.DataFrame] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= SHARD_ROWS:
            rows = pd.concat(held, ignore_index=True)
            yield rows.iloc[:SHARD_ROWS]
            held = [rows.iloc[SHARD_ROWS:]] if len(rows) > SHARD_ROWS else []
    if held:
        yield pd.concat(held, ignore_index=True)
