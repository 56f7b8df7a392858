"""Files that are cut off, and files in which a bit has flipped: each is found, and named with what to do."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from synth_assets.cli import main
from synth_assets.errors import ForeseenError
from synth_assets.publishing.publications import Publications
from synth_assets.storage.paths import DataPaths
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets_tests.faults.days import SECOND_DAY
from synth_assets_tests.faults.record import Record
from synth_assets_tests.faults.states import TABLE, States, assert_published, models_of, rows_of, warehouse_of
from synth_assets_tests.faults.warm_process import WarmProcess
from synth_assets_tests.storage.processes import contents

Damage = Callable[[Path, random.Random], None]


def cut(path: Path, rng: random.Random) -> None:
    """Cut a file off, at a random place."""
    replace(path, path.read_bytes()[: rng.randrange(path.stat().st_size)])


def flip(path: Path, rng: random.Random) -> None:
    """Flip a random bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    replace(path, bytes(content))


def replace(path: Path, content: bytes) -> None:
    """Return a file another content, and not the files that it shares its place on the disk with."""
    path.unlink()
    path.write_bytes(content)


@pytest.fixture(params=[cut, flip], ids=["cut off", "a bit flipped"])
def damage(request: pytest.FixtureRequest) -> Damage:
    return request.param  # type: ignore[no-any-return]


def name_of(damage: Damage, what: str) -> str:
    return f"{what} {'cut off' if damage is cut else 'with a bit flipped'}"


def verified(paths: DataPaths) -> tuple[int, str]:
    """Return the exit code of `synth-assets verify`, and what it says."""
    done = CliRunner().invoke(main, ["--data", str(paths.root), "verify"])
    return done.exit_code, done.output


def test_nothing_is_said_to_be_damaged_that_is_not(states: States, tmp_path: Path) -> None:
    code, said = verified(states.copied_to(tmp_path / "data"))
    assert code == 0, said
    assert said.count(" is intact.") == 3


@pytest.mark.parametrize(
    "name", ["model.safetensors", "synthesizer.json", "tokenizer.json", "card.json", "manifest.json"]
)
def test_a_damaged_model_is_found_and_fitted_anew(
    states: States, record: Record, rng: random.Random, damage: Damage, name: str, full: bool, tmp_path: Path
) -> None:
    for _ in range(5 if full else 1):
        paths = states.copied_to(tmp_path / "data")
        store = ModelStore(paths.models(TABLE))
        (version,) = store.versions()
        damage(store.path(version) / name, rng)
        with record.fault(name_of(damage, "a model's file")), pytest.raises(ForeseenError) as caught:
            store.load(version)
        said = str(caught.value)
        assert f"model {version} in {store.path(version)} is damaged: " in said
        # What is flipped in the manifest may be the name or the hash of another file.
        assert name in said or name == "manifest.json"
        assert "Materialize fine_tuned_model again" in said
        code, told = verified(paths)
        assert code == 1
        assert said in told


def test_a_damaged_model_is_replaced_by_the_same(
    warm: WarmProcess, states: States, rng: random.Random, tmp_path: Path
) -> None:
    paths = states.copied_to(tmp_path / "data")
    whole = models_of(states.after)
    done = warm.call(
        "lineage", root=str(paths.root), day=SECOND_DAY, assets=["raw", "encoded_split", "fine_tuned_model"]
    )
    assert done["success"], done
    newest = str(warehouse_of(paths).read(TABLE, "fine_tuned_model")["model_version"].iloc[0])
    flip(paths.models(TABLE) / newest / "model.safetensors", rng)

    done = warm.call("lineage", root=str(paths.root), day=SECOND_DAY, assets=["synthetic_sample"])
    assert not done["success"]
    assert "model.safetensors has another SHA-256. Materialize fine_tuned_model again" in done["messages"][0]
    assert warm.call("lineage", root=str(paths.root), day=SECOND_DAY)["success"]

    assert models_of(paths.root) == whole
    states.assert_after(paths.root)


def test_a_damaged_warehouse_is_found_and_what_is_published_stays(
    states: States, record: Record, rng: random.Random, damage: Damage, full: bool, tmp_path: Path
) -> None:
    kind = name_of(damage, "the warehouse")
    for _ in range(20 if full else 4):
        paths = states.copied_to(tmp_path / "data")
        damage(paths.warehouse, rng)
        with record.fault(kind):
            try:
                warehouse_of(paths).verify()
            except ForeseenError as error:
                said = str(error)
                assert str(paths.warehouse) in said
                assert "The file is damaged: restore it from a backup, or move it away" in said
                assert said in verified(paths)[1]
            else:
                # The place held nothing: all rows are there.
                assert rows_of(paths.root) == rows_of(states.before)
                record.note(kind, where_nothing_is_stored=1)
            assert_published(paths)


@pytest.mark.parametrize("suffix", [".duckdb", ".parquet"])
def test_a_damaged_publication_is_found_and_not_built_on(
    warm: WarmProcess, states: States, record: Record, rng: random.Random, damage: Damage, suffix: str, full: bool,
    tmp_path: Path,
) -> None:  # fmt: skip
    for _ in range(10 if full else 1):
        paths = states.copied_to(tmp_path / "data")
        publication = Publications(paths).current()
        names = [name for name in publication.manifest["files"] if name.endswith(suffix)]
        name = rng.choice(names)
        damage(publication.folder / name, rng)
        with record.fault(name_of(damage, f"a published {suffix[1:]} file")):
            with pytest.raises(ForeseenError) as caught:
                publication.verify()
            assert f"publication {publication.id} in {publication.folder} is damaged: {name} has " in str(caught.value)
            assert "the next publication does not build on it" in str(caught.value)
            code, told = verified(paths)
            assert (code, str(caught.value) in told) == (1, True)
    done = warm.call("publish", root=str(paths.root))
    assert done["damaged"] == [str(caught.value)]
    assert assert_published(paths).manifest["state"] == publication.manifest["state"]


def test_a_damaged_checkpoint_is_found_and_costs_time_alone(
    warm: WarmProcess, states: States, record: Record, rng: random.Random, damage: Damage, full: bool, tmp_path: Path
) -> None:
    kind = name_of(damage, "a checkpoint")
    for _ in range(5 if full else 1):
        paths = states.copied_to(tmp_path / "data")
        call = {"root": str(paths.root), "day": SECOND_DAY, "assets": ["raw", "encoded_split", "fine_tuned_model"]}
        warm.start(("lineage", {**call, "epochs_reported": 2}))
        ((code, _),) = warm.until_ended()
        assert code == -signal.SIGKILL
        (checkpoint,) = paths.root.rglob("checkpoint-*")
        damage(checkpoint, rng)
        with record.fault(kind):
            done = warm.call("lineage", **call)
            assert done["success"], done
            assert any(line.startswith(f"the checkpoint {checkpoint} is damaged") for line in done["logged"])
            assert models_of(paths.root) == models_of(states.after)


def test_a_damaged_published_file_is_refused_by_duckdb_or_read_as_it_was(
    states: States, record: Record, rng: random.Random, damage: Damage, full: bool, tmp_path: Path
) -> None:
    """Who does not verify is not handed other rows either: DuckDB compares every block that it reads."""
    expected = contents(states.before / "published" / "synthetic.duckdb")
    kind = name_of(damage, "a published file read without a look at its hash,")
    for _ in range(20 if full else 4):
        paths = states.copied_to(tmp_path / "data")
        damage(Publications(paths).current().file, rng)
        with record.fault(kind):
            try:
                assert contents(paths.published) == expected
            except duckdb.Error:
                record.note(kind, refused=1)
