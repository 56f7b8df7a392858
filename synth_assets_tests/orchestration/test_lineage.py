"""The whole lineage, from a file to the published tables, with a tiny model."""

import base64
import html
import json
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from synth_assets.evaluation.report import PICTURES
from synth_assets.schema.split import TRAIN, select
from synth_assets.schema.table import content_hash
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets_tests.live.tiny_location import ROWS, SAMPLE_ROWS, TRAIN_ROWS, tiny_settings
from synth_assets_tests.world import DAY, Outcome, World

pytestmark = pytest.mark.slow

OF_A_DAY = {"synthetic_sample", "fidelity", "fidelity_plots", "privacy", "regression_comparison", "report"}
FAILED, PASSED = "2026-11-21", "2026-11-22"
RAW_TYPES = [("Sex", "VARCHAR"), ("Length", "DOUBLE"), ("Class_number_of_rings", "BIGINT")]


def test_every_asset_is_materialized_and_every_blocking_check_passes(first_run: tuple[World, Outcome]) -> None:
    _, outcome = first_run
    assert len(outcome.materialized) == 10
    evaluations = outcome.result.get_asset_check_evaluations()
    assert len(evaluations) == 13
    assert [e.check_name for e in evaluations if e.blocking and not e.passed] == []


def test_the_tables_hold_what_consumers_rely_on(first_run: tuple[World, Outcome]) -> None:
    world, outcome = first_run
    file = world.paths.published
    counts = {
        name: world.query(f"SELECT count(*) FROM abalone.{name}", file)[0][0]
        for (name,) in world.query("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'abalone'", file)
    }
    assert counts == {
        "raw": ROWS,
        "encoded_split": ROWS,
        "synthetic_sample": SAMPLE_ROWS,
        "fidelity": 33,
        "privacy": 30 + outcome.metadata("privacy")["leaks_named"],
        "regression_comparison": 36,
        "report": 4,
        "provenance": 9,  # not that of the publication itself
    }
    assert world.query("SELECT count(*) FROM abalone.synthetic_latest", file) == [(SAMPLE_ROWS,)]
    assert world.query("SELECT split, count(*) FROM abalone.encoded_split GROUP BY ALL ORDER BY ALL", file) == [
        ("test", ROWS - TRAIN_ROWS),
        ("train", TRAIN_ROWS),
    ]


def test_synthetic_rows_have_the_raw_columns_types_and_labels(first_run: tuple[World, Outcome]) -> None:
    world, _ = first_run
    columns = world.query("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'synthetic_sample'")
    assert columns == [
        ("resample_date", "DATE"),
        *RAW_TYPES,
        ("sample_id", "BIGINT"),
        ("model_version", "VARCHAR"),
    ]
    assert world.query("SELECT DISTINCT Sex FROM abalone.synthetic_sample WHERE Sex NOT IN ('F', 'I', 'M')") == []


def test_the_ui_gets_counts_pictures_and_a_verdict(first_run: tuple[World, Outcome]) -> None:
    world, outcome = first_run
    assert outcome.metadata("raw")["dagster/row_count"] == ROWS
    sample = outcome.metadata("synthetic_sample")
    assert sample["dagster/partition_row_count"] == SAMPLE_ROWS
    for asset, picture in (
        ("fine_tuned_model", "loss_curve"),
        ("fidelity_plots", "densities"),
        ("fidelity_plots", "correlations"),
        ("privacy", "distances"),
        ("regression_comparison", "regression_comparison"),
        ("report", "metrics"),
    ):
        assert outcome.metadata(asset)[picture].startswith(f"![{picture}](data:image/png;base64,")
    plots = world.paths.plots("abalone", DAY)
    assert {path.name for path in plots.iterdir()} == {
        "densities.png",
        "correlations.png",
        "pairs.png",
        "distances.png",
        "metrics.png",
        "regression_comparison.png",
    }
    verdict = outcome.metadata("regression_comparison")["verdict"]
    assert verdict.startswith(f"Adding {SAMPLE_ROWS} synthetic rows to the {TRAIN_ROWS:,} real training rows, by R2")
    differences = world.query(
        "SELECT trained_on, difference_ci_low <= difference AND difference <= difference_ci_high, regressor, verdict "
        "FROM abalone.regression_comparison WHERE difference IS NOT NULL"
    )
    assert [trained_on for trained_on, *_ in differences] == ["synthetic", "augmented"] * 4
    for _, within, regressor, said in differences:
        word, change = said.split(",")[0].split(": ")
        assert within
        assert word in verdict
        assert f"{regressor} {change}" in verdict


def test_the_report_is_a_page_that_says_what_its_table_says(first_run: tuple[World, Outcome]) -> None:
    world, outcome = first_run
    page = world.paths.report("abalone", DAY)
    assert outcome.metadata("report")["page"] == str(page)
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert outcome.metadata("report")["publishable"]
    assert f"<title>abalone, sample of {DAY}: publishable</title>" in text
    for (said,) in world.query("SELECT message FROM abalone.report"):
        assert said in text
    sample = outcome.metadata("synthetic_sample")
    for fact in ("file abalone.csv", sample["model_version"], str(sample["seed"]), f"torch {version('torch')}"):
        assert fact in text
    for metric, value in world.query(
        "SELECT metric, value FROM abalone.fidelity UNION SELECT metric, value FROM abalone.privacy"
    ):
        assert f"{round(value, 4) + 0.0:.4f}" in text, metric
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    plots = world.paths.plots("abalone", DAY)
    assert {base64.b64decode(picture) for picture in pictures} == {path.read_bytes() for path in plots.iterdir()}
    assert not list(page.parent.glob(".*"))


def test_the_report_says_which_pictures_are_missing(world: World) -> None:
    page = world.paths.report("abalone", DAY)
    before = page.read_bytes()
    (world.paths.plots("abalone", DAY) / "pairs.png").unlink()
    outcome = world.run("report")
    assert not outcome.success
    (message,) = outcome.messages
    assert "found no pairs.png in" in message
    assert "Materialize abalone/fidelity_plots, abalone/privacy" in message
    assert page.read_bytes() == before


def test_the_record_says_what_was_made_from_what(first_run: tuple[World, Outcome]) -> None:
    world, outcome = first_run
    records = world.query(
        "SELECT asset, partition_key, run_id, code_version, data_version, details->>'source', "
        "details->>'model_version' FROM abalone.provenance"
    )
    found = {record[0]: record[1:] for record in records}
    assert set(found) == outcome.materialized
    assert {record[1] for record in found.values()} == {outcome.result.run_id}
    assert found["raw"][4] == "file abalone.csv"
    assert found["synthetic_sample"][0] == DAY
    assert found["synthetic_sample"][3] == outcome.data_version("synthetic_sample")
    assert (
        found["synthetic_sample"][5]
        == found["fine_tuned_model"][5]
        == outcome.metadata("fine_tuned_model")["model_version"]
    )


def test_the_same_day_again_gives_the_same_rows_and_trains_nothing(
    world: World, first_run: tuple[World, Outcome]
) -> None:
    before, page = world.stored(), world.paths.report("abalone", DAY).read_bytes()
    fitted = "SELECT details->>'fitted_at' FROM abalone.provenance WHERE asset = 'fine_tuned_model'"
    ((fitted_at,),) = world.query(fitted)
    again = world.run()
    assert again.success
    assert again.metadata("fine_tuned_model")["fitted_at"] == fitted_at
    assert world.stored() == before
    assert again.metadata("published")["is_new"] is False
    assert world.paths.report("abalone", DAY).read_bytes() == page
    for asset in ("raw", "encoded_split", "fine_tuned_model", "synthetic_sample", "fidelity"):
        assert again.data_version(asset) == first_run[1].data_version(asset)


def test_a_source_that_did_not_change_leaves_what_follows_fresh(world: World, first_run: tuple[World, Outcome]) -> None:
    world = World(world.root, first_run[0].instance, first_run[0].definitions)

    def stale() -> set[str]:
        resolver = CachingStaleStatusResolver(
            world.instance,
            world.definitions.resolve_asset_graph(),
            loading_context=LoadingContextForTest(world.instance),
        )
        names = ("encoded_split", "fine_tuned_model", "synthetic_sample", "fidelity", "published")
        days = {"synthetic_sample": DAY, "fidelity": DAY}
        return {
            name
            for name in names
            if resolver.get_status(dg.AssetKey(["abalone", name]), days.get(name)) != StaleStatus.FRESH
        }

    assert world.run("raw").success
    assert stale() == set()
    changed = pd.read_csv(world.csv)
    changed.loc[0, "Length"] += 0.1
    changed.to_csv(world.csv, index=False)
    assert world.run("raw").success
    assert "encoded_split" in stale()


@dataclass(frozen=True)
class Later:
    """What two more days did in a world: the sample of the first of them failed."""

    world: World
    failed: Outcome
    passed: Outcome


@pytest.fixture(scope="module")
def later(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Later:
    """Run a day whose sample fails, and the day after it. Do not change this folder."""
    world = World(tmp_path_factory.mktemp("later") / "data")
    shutil.copytree(finished, world.root, symlinks=True)
    warehouse = Warehouse(DataPaths(world.root))
    bad = warehouse.read("abalone", "synthetic_sample", resample_date=DAY).assign(Length=0.9)
    made = Provenance(run_id="a bad model", data_version=content_hash(bad))
    warehouse.write("abalone", "synthetic_sample", bad, provenance=made, resample_date=FAILED)
    failed = world.run(*OF_A_DAY - {"synthetic_sample"}, "published", day=FAILED)
    return Later(world, failed, world.run(*OF_A_DAY, "published", day=PASSED))


def test_another_day_adds_other_rows_and_is_the_latest(later: Later) -> None:
    world, outcome = later.world, later.passed
    assert outcome.success, outcome.messages
    assert outcome.metadata("report")["history"].startswith("![history](data:image/png;base64,")
    assert PICTURES["history"].caption in world.paths.report("abalone", PASSED).read_text(encoding="utf-8")
    assert PICTURES["history"].caption not in world.paths.report("abalone", DAY).read_text(encoding="utf-8")
    file = world.paths.published
    days = world.query(
        "SELECT resample_date::VARCHAR, count(*) FROM abalone.synthetic_sample GROUP BY ALL ORDER BY ALL", file
    )
    assert days == [(DAY, SAMPLE_ROWS), (PASSED, SAMPLE_ROWS)]
    assert world.query("SELECT DISTINCT resample_date::VARCHAR FROM abalone.synthetic_latest", file) == [(PASSED,)]
    samples = pd.read_parquet(file.parent / "abalone" / "synthetic_sample")
    assert samples["resample_date"].value_counts().to_dict() == dict(days)
    shared = world.query(
        "SELECT count(*) FROM (SELECT * EXCLUDE (resample_date) FROM abalone.synthetic_sample "
        f"WHERE resample_date = '{DAY}' INTERSECT SELECT * EXCLUDE (resample_date) FROM abalone.synthetic_sample "
        f"WHERE resample_date = '{PASSED}')",
        file,
    )
    assert shared[0][0] < SAMPLE_ROWS / 2


def test_of_a_private_table_no_real_row_is_published(world: World) -> None:
    outcome = world.run("published", private=True)
    assert outcome.success, outcome.messages
    tables = {name for (name,) in world.query("SELECT table_name FROM duckdb_tables()", world.paths.published)}
    assert tables & {"raw", "encoded_split"} == set()
    assert "synthetic_sample" in tables


def test_every_published_column_is_described(first_run: tuple[World, Outcome]) -> None:
    world, _ = first_run
    silent = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
    assert world.query(silent, world.paths.published) == []
    columns = dict(
        world.query(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'synthetic_latest'",
            world.paths.published,
        )
    )
    assert columns["Length"] == "Longest shell measurement. Unit: mm / 200."
    assert columns["sample_id"] == "Number of the row in the sample, from 0."


def test_the_record_says_which_rows_were_judged(first_run: tuple[World, Outcome]) -> None:
    world, outcome = first_run
    inputs = dict(world.query("SELECT asset, details->'inputs' FROM abalone.provenance"))
    sample = outcome.data_version("synthetic_sample")
    assert json.loads(inputs["fidelity"])["synthetic_sample"] == sample
    assert json.loads(inputs["privacy"])["synthetic_sample"] == sample
    assert json.loads(inputs["report"])["fidelity"] == outcome.data_version("fidelity")
    assert json.loads(inputs["raw"]) == {}


def test_a_sample_that_failed_is_not_published_with_the_next_day(later: Later) -> None:
    """Its rows stay in the warehouse; a later day that passes must not carry them along."""
    world, passed = later.world, later.passed
    assert not later.failed.check("report", "fidelity").passed
    assert "published" not in later.failed.materialized
    assert passed.metadata("published")["left_out"] == {FAILED: "it did not pass fidelity"}
    assert passed.metadata("privacy")["earlier_rows"] == SAMPLE_ROWS  # nobody has seen the sample that failed
    for table in OF_A_DAY - {"fidelity_plots"}:
        days = "SELECT DISTINCT resample_date::VARCHAR FROM abalone." + table + " ORDER BY ALL"
        assert world.query(days, world.paths.published) == [(DAY,), (PASSED,)], table
        assert (FAILED,) in world.query(days), table


def test_a_run_may_ask_for_another_size(world: World) -> None:
    config = {"ops": {"abalone__synthetic_sample": {"config": {"n_samples": 7}}}}
    outcome = world.run("synthetic_sample", config=config)
    assert outcome.success, outcome.messages
    assert world.query("SELECT count(*) FROM abalone.synthetic_sample") == [(7,)]


def test_a_category_is_predicted_by_classifiers(world: World) -> None:
    model = tiny_settings().synthesizer.model_dump() | {"column_order": ["Sex"]}
    changes = {"target": {"column": "Sex", "rename": "Kind"}, "synthesizer": model}
    outcome = world.run("raw", "encoded_split", "regression_comparison", **changes)
    assert outcome.success, outcome.messages
    found = world.query("SELECT DISTINCT regressor, metric FROM abalone.regression_comparison")
    assert set(found) == {
        (classifier, metric)
        for classifier in ("logistic", "nearest neighbours", "random forest", "gradient boosting")
        for metric in ("roc_auc", "accuracy", "balanced_accuracy")
    }
    assert ", by the area under the ROC curve on " in outcome.metadata("regression_comparison")["verdict"]


def test_the_test_rows_do_not_reach_the_model(world: World) -> None:
    frame = pd.read_csv(world.csv)
    (versions,) = world.query("SELECT model_version FROM abalone.fine_tuned_model")
    held_out = [row for (row,) in world.query("SELECT row_id FROM abalone.encoded_split WHERE split = 'test'")]
    frame.loc[held_out, "Length"] = 0.9
    frame.to_csv(world.csv, index=False)
    outcome = world.run("raw", "encoded_split", "fine_tuned_model")
    assert outcome.success, outcome.messages
    assert world.query("SELECT model_version FROM abalone.fine_tuned_model") == [versions]


def test_a_sample_with_copied_train_rows_is_not_published(world: World) -> None:
    before = world.paths.published.read_bytes()
    warehouse = Warehouse(DataPaths(world.root))
    # The tiny table's rows are alike; here each is told apart by its length.
    raw = warehouse.read("abalone", "raw")
    raw = raw.assign(Length=raw.index / ROWS)
    split = warehouse.read("abalone", "encoded_split")
    train = select(raw, split, TRAIN)
    sample = warehouse.read("abalone", "synthetic_sample", resample_date=DAY)
    leaking = sample.assign(**{name: train[name].head(SAMPLE_ROWS) for name in train.columns})
    leak = Provenance(run_id="a leak", details=warehouse.latest_details("abalone", "raw"))
    warehouse.write("abalone", "raw", raw, provenance=leak)
    warehouse.write("abalone", "synthetic_sample", leaking, provenance=leak, resample_date=DAY)
    outcome = world.run("privacy", "report", "published")
    gate = outcome.check("report", "privacy")
    assert gate.blocking
    assert not gate.passed
    assert "Exact copies: 1.0000" in str(gate.description)
    named = {name for (name,) in world.query("SELECT column_name FROM abalone.privacy WHERE metric = 'leaked_row'")}
    assert named
    assert named <= {f"row_id {row}" for row in split.loc[split["split"] == "train", "row_id"].head(SAMPLE_ROWS)}
    assert outcome.materialized == {"privacy", "report"}
    assert world.paths.published.read_bytes() == before
