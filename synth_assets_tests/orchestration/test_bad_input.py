"""Bad input: one clear message each, what was stored is still there, and nothing downstream runs."""

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pandas as pd
import pytest

from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets_tests.live.tiny_location import ROWS
from synth_assets_tests.world import DAY, World

pytestmark = pytest.mark.slow


@pytest.fixture
def _no_openml(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to openml")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", unreachable)
    monkeypatch.setattr("synth_assets.sources.openml.urlopen", unreachable)


def edit(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def apply(csv: Path) -> None:
        change(pd.read_csv(csv)).to_csv(csv, index=False)

    return apply


def test_a_file_that_is_not_the_table_is_refused(world: World) -> None:
    before = world.stored()
    edit(lambda table: table.drop(columns="Length"))(world.csv)
    outcome = world.run()
    assert not outcome.success
    (message,) = outcome.messages
    assert "file abalone.csv lacks the column 'Length'" in message
    assert outcome.materialized == set()
    assert world.stored() == before


def test_a_file_that_is_named_and_missing_is_no_reason_to_take_another(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = world.stored()
    monkeypatch.setenv("ABALONE_CSV", str(tmp_path / "nowhere.csv"))
    outcome = world.run()
    (message,) = outcome.messages
    assert f"there is no file {tmp_path / 'nowhere.csv'}" in message
    assert world.stored() == before


@pytest.mark.usefixtures("_no_openml")
def test_without_file_and_network_the_placeholder_is_used_and_a_check_is_yellow(
    empty_world: World, placeholder_csv: Path
) -> None:
    (empty_world.root / placeholder_csv.name).write_bytes(placeholder_csv.read_bytes())
    outcome = empty_world.run("raw")
    assert outcome.success, outcome.messages
    check = outcome.check("raw", "is_real")
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert outcome.metadata("raw")["source"] == "PLACEHOLDER abalone_placeholder.csv, not real data"
    assert empty_world.query("SELECT count(*) FROM abalone.raw") == [(4177,)]


def test_more_train_rows_than_there_are_rows_are_refused(world: World) -> None:
    before = world.stored()
    outcome = world.run("encoded_split", split={"train_size": ROWS, "random_state": 420})
    (message,) = outcome.messages
    assert f"split.train_size is {ROWS} and the table has {ROWS} rows" in message
    assert world.stored() == before


def test_a_table_that_fails_a_check_stops_what_follows(world: World) -> None:
    before = {name: rows for name, rows in world.stored().items() if name != "raw"}
    edit(lambda table: table.assign(Sex=table["Sex"].where(table.index != 3, "X")))(world.csv)
    outcome = world.run()
    assert not outcome.success
    assert outcome.materialized == {"raw"}
    found = outcome.check("raw", "labels")
    assert not found.passed
    assert f"Sex: 1 of {ROWS:,} values is not one of" in str(found.description)
    assert {name: rows for name, rows in world.stored().items() if name != "raw"} == before


def test_a_sample_that_cannot_be_evaluated_is_refused_by_name(world: World) -> None:
    warehouse = Warehouse(DataPaths(world.root))
    sample = warehouse.read("abalone", "synthetic_sample", resample_date=DAY).drop(columns="Length")
    # The whole table, since one resample date cannot have other columns.
    stored = sample.assign(resample_date=pd.Timestamp(DAY).date())
    warehouse.write("abalone", "synthetic_sample", stored, provenance=Provenance(run_id="spoiled"))
    before = world.stored()
    outcome = world.run("fidelity", "privacy", "published")
    assert outcome.materialized == set()
    assert len(outcome.messages) == 2
    assert all("Length" in message for message in outcome.messages), outcome.messages
    assert world.stored() == before


def test_a_sample_without_a_model_says_what_to_materialize(empty_world: World) -> None:
    outcome = empty_world.run("synthetic_sample")
    assert not outcome.success
    (message,) = outcome.messages
    assert message.endswith("yet: materialize abalone/fine_tuned_model first.")
