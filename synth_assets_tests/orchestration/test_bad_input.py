"""Bad input: one clear message each, what was stored is still there, and nothing downstream runs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pandas as pd
import pytest

from synth_assets.orchestration.settings import SplitSettings
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.live.tiny_location import ROWS, TRAIN_ROWS, tiny_settings
from synth_assets_tests.storage.processes import bound_by_permissions, read_only
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


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (edit(lambda t: t.drop(columns="Length")), "lacks the column 'Length'"),
        (edit(lambda t: t.assign(Length=t["Length"].astype(object).where(t.index != 16, "long"))),
         "column 'Length' has 'long' in data row 17, which is not a number (1 such cell)"),
        (edit(lambda t: t.assign(Class_number_of_rings=t["Class_number_of_rings"] + 0.5)), "not a whole number"),
        (edit(lambda t: t.head(0)), "has no row"),
        (lambda csv: csv.write_text(""), "is empty; expected a header"),
        (lambda csv: csv.write_bytes(b"\xff\xfe\x00\x01" * 50), "is not a CSV table in UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_the_table_is_refused(world: World, spoil: Callable[[Path], None], said: str) -> None:
    before = world.stored()
    spoil(world.csv)
    outcome = world.run()
    assert not outcome.success
    (message,) = outcome.messages
    assert said in message
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
def test_openml_that_cannot_be_reached_is_an_error_where_it_is_asked_for(world: World) -> None:
    before = world.stored()
    outcome = world.run(source={"type": "openml", "name": "abalone"})
    (message,) = outcome.messages
    assert "OpenML data set 'abalone', version 1 cannot be reached" in message
    assert "no route to openml" in message
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
    split = SplitSettings(train_size=ROWS, random_state=420)
    outcome = world.run("encoded_split", split=split.model_dump())
    (message,) = outcome.messages
    assert f"split.train_size is {ROWS} and the table has {ROWS} rows" in message
    assert world.stored() == before


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        (
            lambda t: t.assign(Length=t["Length"].where(t.index != 3)),
            "no_missing_values",
            f"Length: 1 of {ROWS:,} cells",
        ),
        (lambda t: t.assign(Length=t["Length"] * 100), "ranges", "Length:"),
        (
            lambda t: t.assign(Sex=t["Sex"].where(t.index != 3, "X")),
            "labels",
            f"Sex: 1 of {ROWS:,} values are not one of",
        ),
        (lambda t: t.head(200), "row_count", f"200 rows; expected at least {TRAIN_ROWS + 1:,}"),
    ],
)
def test_a_table_that_fails_its_checks_stops_what_follows(
    world: World, change: Callable[[pd.DataFrame], pd.DataFrame], check: str, said: str
) -> None:
    before = {name: rows for name, rows in world.stored().items() if name != "raw"}
    edit(change)(world.csv)
    outcome = world.run()
    assert not outcome.success
    assert outcome.materialized == {"raw"}
    found = outcome.check("raw", check)
    assert not found.passed
    assert said in str(found.description)
    assert {name: rows for name, rows in world.stored().items() if name != "raw"} == before


def test_a_model_that_learned_nothing_stops_at_the_sample_and_says_what_it_wrote(world: World) -> None:
    before = world.stored()
    model = tiny_settings().language_model.model_dump()
    outcome = world.run(
        "fine_tuned_model",
        "synthetic_sample",
        "fidelity",
        "published",
        language_model={**model, "engine": "be_great", "epochs": 1, "learning_rate": 1e-9},
        sample={"n_samples": 10, "max_draws": 10, "max_length": 40},
    )
    (message,) = outcome.messages
    assert "only 0 of the 10 wanted could be read back as rows of the table. The last that it wrote:" in message
    assert outcome.materialized == {"fine_tuned_model"}
    after = world.stored()
    assert after["synthetic_sample"] == before["synthetic_sample"]
    assert after["published"] == before["published"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.drop(columns="Length"), "the synthetic rows lack the column Length; expected Sex, Length"),
        (lambda t: t.assign(Length="long"), "column 'Length' of the synthetic rows has the type"),
        (
            lambda t: t.assign(Length=t["Length"].where(t.index != 3)),
            "column 'Length' of the synthetic rows has 1 empty",
        ),
        (lambda t: t.assign(Sex=t["Sex"].where(t.index > 1)), "column 'Sex' of the synthetic rows has 2 empty"),
        (lambda t: t.head(1), "found 1 synthetic row; this measure needs at least"),
    ],
)
def test_a_sample_that_cannot_be_judged_is_refused_by_name(
    world: World, spoil: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    warehouse = Warehouse(DataPaths(world.root))
    sample = spoil(warehouse.read("abalone", "synthetic_sample", partition=DAY))
    # The whole table, since one partition could not have other columns.
    stored = sample.assign(resample_date=pd.Timestamp(DAY).date())
    warehouse.write("abalone", "synthetic_sample", stored, provenance=Provenance(run_id="spoiled"))
    before = world.stored()
    outcome = world.run("fidelity", "privacy", "published")
    assert outcome.materialized == set()
    assert len(outcome.messages) == 2
    assert all(said in message for message in outcome.messages)
    assert world.stored() == before


def test_a_sample_without_a_model_says_what_to_materialize(empty_world: World) -> None:
    outcome = empty_world.run("synthetic_sample")
    assert not outcome.success
    (message,) = outcome.messages
    assert message.endswith("yet: materialize abalone/fine_tuned_model first.")


def test_a_data_folder_that_may_not_be_written_to_gives_one_clear_message(world: World, tmp_path: Path) -> None:
    before = world.stored()
    script = (
        "import sys; from pathlib import Path; from synth_assets_tests.world import World\n"
        "print(*World(Path(sys.argv[1])).run('raw', 'encoded_split').messages, sep='\\n')"
    )
    with read_only(world.root):
        done = subprocess.run(
            [*bound_by_permissions(), sys.executable, "-c", script, str(world.root)],
            capture_output=True, text=True, cwd=PROJECT, check=True,
        )  # fmt: skip
    (message,) = done.stdout.splitlines()
    assert message.startswith(f"the warehouse {world.paths.warehouse} cannot be opened: ")
    assert "Permission denied" in message
    assert world.stored() == before
