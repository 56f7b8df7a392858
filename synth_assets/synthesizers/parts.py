"""A large sample as a folder of Parquet files with a manifest, which a killed run resumes.

The folder is one of a file system, or a prefix of an object store.

Part k holds the batches of rows that depend on the model, the seed and their numbers alone, so that it is the same
wherever it is written. It gets its name when it is complete and on the disk, and its footer names the sample that it
is a part of: a part with the right footer is whole, and is not written again. The manifest is written last.
"""

import hashlib
import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from synth_assets.errors import ModelError
from synth_assets.execution import LOCAL, Completed, Execution
from synth_assets.execution.processes import cores
from synth_assets.schema.columns import Datetime
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.storage.files import MANIFEST
from synth_assets.storage.paths import STORAGE_VARIABLE
from synth_assets.synthesizers.sample_folder import SampleFolder, StoreFolder, sample_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from synth_assets.synthesizers.base import Log, Synthesizer

SHARD_ROWS = 100_000
"""Rows of a part: a whole number of batches, in one row group."""

UNFINISHED = "unfinished.json"
"""In the folder of a sample that is not complete: what it is a sample of."""

MAX_ROWS = 10**12
"""Rows of a sample at most: the driver keeps a few hundred bytes of each part."""

LOG_INTERVAL_S = 5.0
"""Seconds between two lines of progress."""


_SHARED = (
    "Name a folder on storage that all machines of the cluster share, or an object store; for a lineage, state it in "
    f"{STORAGE_VARIABLE}."
)


class SampleSpec(BaseModel):
    """What a sample is drawn from, which decides its rows.

    Parameters
    ----------
    format : int
        Version of the layout of the folder.
    n, seed : int
        As of `Synthesizer.sample_to`.
    model : str
        The fingerprint of the model.
    arguments : dict
        The other arguments that rows depend on, the rows of a part, and the versions of the libraries.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    n: int
    seed: int
    model: str
    arguments: dict[str, Any]

    @property
    def n_shards(self) -> int:
        """The number of parts."""
        return -(-self.n // self._shard_rows)

    def rows_of(self, number: int) -> int:
        """Return the number of rows of a part."""
        return min(self._shard_rows, self.n - number * self._shard_rows)

    def batches_of(self, number: int) -> range:
        """Return the numbers of the batches of a part."""
        batch_rows = int(self.arguments["batch_rows"])
        per_shard = self._shard_rows // batch_rows
        return range(number * per_shard, number * per_shard - (-self.rows_of(number) // batch_rows))

    @property
    def _shard_rows(self) -> int:
        return int(self.arguments["shard_rows"])

    @property
    def fingerprint(self) -> str:
        """A hash of all of it."""
        stated = self.model_dump(mode="json", include=set(SampleSpec.model_fields))
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


class Shard(BaseModel):
    """A part of a sample: its file in the folder, its rows, and the SHA-256 of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rows: int
    sha256: str


class Manifest(SampleSpec):
    """What a complete sample consists of.

    Parameters
    ----------
    shards : tuple of Shard
        The parts, in the order of the rows.
    rows_sha256 : str
        A hash of all rows in their order, equal for equal rows; see `rows_hash`.
    """

    shards: tuple[Shard, ...]
    rows_sha256: str


def read_manifest(folder: Path | str) -> Manifest:
    """Read the manifest of a complete sample.

    Raises
    ------
    ModelError
        If the folder has none, or a part of it is missing or has another size of rows.
    """
    found = sample_folder(folder)
    content = found.read(MANIFEST)
    if content is None:
        raise ModelError(
            f"{found} holds no complete sample: there is no {MANIFEST}. Run the command that writes the sample again; "
            "it resumes."
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(
            f"{MANIFEST} in {found} cannot be read as the manifest of a sample; write the sample again."
        ) from error
    missing = found.missing(shard.name for shard in manifest.shards)
    if missing:
        raise ModelError(
            f"{found} lacks {len(missing)} of {len(manifest.shards)} parts, {missing[0]} first. Run the command that "
            "writes the sample again; it writes the missing ones."
        )
    return manifest


def complete_sample(folder: Path) -> Manifest | None:
    """Return the manifest of a sample whose parts are all in a folder as it states them; None if there is none."""
    found = sample_folder(folder)
    try:
        manifest = read_manifest(folder)
    except ModelError:
        return None
    return manifest if all(found.sha256(shard.name) == shard.sha256 for shard in manifest.shards) else None


def copy_sample(address: str, folder: Path) -> Manifest:
    """Copy a complete sample from an object store into a folder, whose manifest is written last.

    Parts that the folder has already are kept.

    Raises
    ------
    ModelError
        If the store has no complete sample, a part of it is damaged, or a file cannot be read or written.
    """
    manifest, source, target = read_manifest(address), sample_folder(address), sample_folder(folder)
    assert isinstance(source, StoreFolder)  # noqa: S101 - of an object store
    with target.writing(), source.clearly():
        for shard in manifest.shards:
            if target.sha256(shard.name) != shard.sha256:
                source.store.download(shard.name, folder / shard.name)
                if target.sha256(shard.name) != shard.sha256:
                    source.remove([shard.name])
                    raise ModelError(
                        f"{shard.name} in {source} had another SHA-256 than its manifest states, and was removed. Draw "
                        "the sample again: it resumes."
                    )
        target.finish(MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def stated_seed(folder: Path | str) -> int | None:
    """Return the seed of the sample that a folder holds, complete or not; None if it holds none that can be read."""
    try:
        _, content = _stated(sample_folder(folder))
        return None if content is None else int(json.loads(content)["seed"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def rows_hash(frames: Iterable[pd.DataFrame]) -> str:
    """Hash rows, as a manifest does: the frames are consecutive rows, `SHARD_ROWS` each."""
    return _combined(content_hash(frame) for frame in frames)


def write_sample(
    synthesizer: "Synthesizer",
    path: Path | str,
    n: int,
    *,
    seed: int,
    conditions: Mapping[str, str] | None,
    temperature: float,
    first_key: int,
    execution: Execution = LOCAL,
    log: "Log",
) -> Manifest:
    """Write a sample; see `Synthesizer.sample_to`."""
    if n < 1:
        raise ModelError(f"n is {n}; expected at least 1 row.")
    if n > MAX_ROWS:
        raise ModelError(f"n is {n}; expected at most {MAX_ROWS:,} rows. Write several samples with different seeds.")
    if synthesizer.draws_in_sequence and not execution.is_local:
        raise ModelError(
            f"the {synthesizer.name} synthesizer draws its rows one after the other, so that no other machine can help "
            "it. Use execution `local`, or 'language_model', which does not."
        )
    arguments = {
        "conditions": dict(conditions or {}),
        "temperature": temperature,
        "first_key": first_key,
        "shard_rows": SHARD_ROWS,
        "batch_rows": synthesizer.batch_rows,
        "libraries": _libraries(synthesizer),
    }
    spec = SampleSpec(n=n, seed=seed, model=synthesizer.fingerprint(), arguments=arguments)
    folder = sample_folder(path)
    with folder.writing():
        _refuse_another(folder, spec)
        if (manifest := _intact(folder, log)) is not None:
            return manifest
        folder.begin(UNFINISHED, spec.model_dump_json(indent=1).encode())
        folder.remove([MANIFEST])
        written = _write_shards(synthesizer, folder, spec, execution, log)
        manifest = Manifest(
            **spec.model_dump(),
            shards=tuple(each.shard for each in written),
            rows_sha256=_combined(each.rows_sha256 for each in written),
        )
        folder.finish(MANIFEST, manifest.model_dump_json(indent=1).encode())
        folder.remove([UNFINISHED])
        return manifest


@dataclass(frozen=True)
class _Written:
    """A part that is whole, the hash of its rows, and whether it was written now."""

    shard: Shard
    rows_sha256: str
    is_new: bool


def _write_shards(
    synthesizer: "Synthesizer", folder: SampleFolder, spec: SampleSpec, execution: Execution, log: "Log"
) -> list[_Written]:
    n_shards = spec.n_shards
    reports: Iterator[Completed[_Written]]
    if synthesizer.draws_in_sequence:
        reports = _in_sequence(synthesizer, folder, spec)
    else:
        # Processes take seconds to begin; a model that uses all cores, or a GPU, draws no faster from several.
        processes = min(cores(), n_shards) if synthesizer.supports_processes else 1
        calls = ((folder, spec, number) for number in range(n_shards))
        reports = execution.completed(write_shard, calls, shared=synthesizer, processes=processes)
    written: list[_Written | None] = [None] * n_shards
    done = new_rows = n_done = 0
    started = reported = time.monotonic()
    for report in reports:
        for number, each in report.results:
            if not folder.has_arrived(each.shard.name):
                raise ModelError(
                    f"{each.shard.name} was written on another machine, and is not in {folder} here. {_SHARED}"
                )
            written[number] = each
            done, n_done = done + each.shard.rows, n_done + 1
            new_rows += each.shard.rows if each.is_new else 0
        now = time.monotonic()
        if now - reported >= LOG_INTERVAL_S or n_done == n_shards:
            reported, rate = now, new_rows / (now - started)
            left = f", {(spec.n - done) / rate:,.0f} s left" if rate else ""
            log(
                f"{done:,} of {spec.n:,} rows, {n_done:,} of {n_shards:,} parts, {rate:,.0f} rows/s from "
                f"{report.workers:,} worker{'' if report.workers == 1 else 's'}{left}"
            )
    return [each for each in written if each is not None]


def write_shard(synthesizer: "Synthesizer", folder: SampleFolder, spec: SampleSpec, number: int) -> _Written:
    """Write a part of a sample, unless it is whole, in any process of any machine that sees the folder."""
    _require_begun(folder, spec)
    if (found := _libraries(synthesizer)) != spec.arguments["libraries"]:
        different = ", ".join(
            f"{name} {found[name]} (expected {expected})"
            for name, expected in spec.arguments["libraries"].items()
            if found[name] != expected
        )
        raise ModelError(
            f"the machine {socket.gethostname()} has other libraries than the one that started the sample, and would "
            f"draw other rows: {different}. Install the same versions on every machine."
        )
    if (whole := _whole(folder, spec, number)) is not None:
        return whole
    frames = synthesizer.draw_batches(
        spec.n,
        spec.batches_of(number),
        seed=spec.seed,
        conditions=spec.arguments["conditions"],
        temperature=spec.arguments["temperature"],
        first_key=spec.arguments["first_key"],
    )
    return _write(folder, spec, number, pd.concat(frames, ignore_index=True), synthesizer.schema)


def _require_begun(folder: SampleFolder, spec: SampleSpec) -> None:
    name, content = _stated(folder)
    if content is None:
        raise ModelError(
            f"the machine {socket.gethostname()} has no {UNFINISHED} in {folder}; expected the folder of the sample. "
            f"{_SHARED}"
        )
    if _spec_of(folder, name, content) != spec:
        raise ModelError(
            f"another process has begun another sample in {folder}. Name another folder, or end that process and empty "
            "this one."
        )


def _in_sequence(synthesizer: "Synthesizer", folder: SampleFolder, spec: SampleSpec) -> Iterator[Completed[_Written]]:
    """Write the parts of a sample whose rows depend on all earlier ones: if one is missing, all are drawn again."""
    n_shards = spec.n_shards
    found = [_whole(folder, spec, number) for number in range(n_shards)]
    if all(found):
        yield Completed([(number, each) for number, each in enumerate(found) if each is not None], 1)
        return
    batches = synthesizer.draw_batches(
        spec.n,
        range(spec.batches_of(n_shards - 1).stop),
        seed=spec.seed,
        conditions=spec.arguments["conditions"],
        temperature=spec.arguments["temperature"],
        first_key=spec.arguments["first_key"],
    )
    for number in range(n_shards):
        rows = pd.concat([next(batches) for _ in spec.batches_of(number)], ignore_index=True)
        yield Completed([(number, found[number] or _write(folder, spec, number, rows, synthesizer.schema))], 1)


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _whole(folder: SampleFolder, spec: SampleSpec, number: int) -> _Written | None:
    """Return a part that is there and whole: its footer names this sample and its rows."""
    found, name, rows = folder.part(_name(number)), _name(number), spec.rows_of(number)
    if found is None:
        return None
    stated = [found.footer.get(each) for each in ("sample", "part", "rows")]
    if stated != [spec.fingerprint, number, rows]:
        return None
    return _Written(Shard(name=name, rows=rows, sha256=found.sha256), str(found.footer["rows_sha256"]), False)


def _write(folder: SampleFolder, spec: SampleSpec, number: int, rows: pd.DataFrame, schema: TableSchema) -> _Written:
    import pyarrow as pa

    name, hashed = _name(number), content_hash(rows)
    footer = {"sample": spec.fingerprint, "part": number, "rows_sha256": hashed}
    table = pa.Table.from_pandas(rows, schema=arrow_schema(schema), preserve_index=False)
    digest = folder.write_part(name, table, footer, lambda: _require_begun(folder, spec))
    return _Written(Shard(name=name, rows=len(rows), sha256=digest), hashed, True)


def arrow_schema(schema: TableSchema) -> "pa.Schema":
    """Return the Arrow types of the published columns of a schema, which DuckDB reads as their SQL types."""
    import pyarrow as pa

    types = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
    }
    columns = (schema.column(name) for name in schema.published)
    return pa.schema(
        [
            (
                column.name,
                pa.timestamp("us", column.timezone)
                if isinstance(column, Datetime) and column.timezone
                else types[column.sql_type],
            )
            for column in columns
        ]
    )


def _combined(hashes: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for each in hashes:
        digest.update(bytes.fromhex(each))
    return digest.hexdigest()


def _libraries(synthesizer: "Synthesizer") -> dict[str, str]:
    return {name: version_of(name) for name in (*synthesizer.libraries, "pandas", "pyarrow")}


def _stated(folder: SampleFolder) -> tuple[str, bytes | None]:
    """Return what says what a folder holds a sample of, and its name."""
    for name in (MANIFEST, UNFINISHED):
        if (content := folder.read(name)) is not None:
            return name, content
    return UNFINISHED, None


def _spec_of(folder: SampleFolder, name: str, content: bytes) -> SampleSpec:
    try:
        found = json.loads(content)
        return SampleSpec(**{each: found[each] for each in SampleSpec.model_fields})
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{name} in {folder} cannot be read as the description of a sample. Name another folder, or empty it."
        ) from error


def _refuse_another(folder: SampleFolder, spec: SampleSpec) -> None:
    """Refuse a folder that holds something else than this sample, or a beginning of it."""
    name, content = _stated(folder)
    if name == UNFINISHED:
        has_rows = folder.has_parts()
        if content is None and has_rows:
            raise ModelError(
                f"{folder} holds Parquet files of something else; expected an empty folder, or an unfinished sample. "
                "Name another folder."
            )
        if not has_rows:
            return
    assert content is not None  # noqa: S101 - else there is nothing
    found = _spec_of(folder, name, content)
    if found != spec:
        wanted = spec.model_dump()
        different = [
            f"{name} {value} (expected {wanted[name]})"
            for name, value in found.model_dump(exclude={"arguments"}).items()
            if value != wanted[name]
        ]
        different += [
            f"{name} {found.arguments.get(name)} (expected {value})"
            for name, value in spec.arguments.items()
            if found.arguments.get(name) != value
        ]
        raise ModelError(
            f"{folder} holds another sample: {', '.join(different)}. Name another folder, empty this one, or use the "
            "arguments of its sample to resume it."
        )


def _intact(folder: SampleFolder, log: "Log") -> Manifest | None:
    """Return the manifest of a complete sample; parts that have changed are removed, to be written again."""
    content = folder.read(MANIFEST)
    if content is None:
        return None
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError:
        log(f"{MANIFEST} in {folder} is damaged, and is written again")
        return None
    changed = [shard.name for shard in manifest.shards if folder.sha256(shard.name) != shard.sha256]
    if not changed:
        log(f"{folder} holds this sample already, complete: {manifest.n:,} rows in {len(manifest.shards):,} parts")
        return manifest
    log(f"{len(changed)} of {len(manifest.shards):,} parts are missing or have changed, and are written again")
    folder.remove(changed)
    return None
