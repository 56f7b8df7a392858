"""The lineage of tables with every column type, with a target and without one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from synth_assets import read_table
from synth_assets.evaluation.metrics.utility import NO_TARGET
from synth_assets.orchestration import SyntheticTable
from synth_assets.orchestration.days import UnknownDay
from synth_assets.orchestration.resources import shared_resources
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.table import content_hash
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets.synthesizers import SYNTHESIZERS
from synth_assets_tests.any_table import COLUMNS, ROWS, SQL_TYPES, any_rows, any_schema, any_source
from synth_assets_tests.stub_synthesizer import Stub, StubSettings
from synth_assets_tests.world import Outcome

MONDAY, TUESDAY = "2026-11-02", "2026-11-03"
OF_MODEL = ("raw", "encoded_split", "fine_tuned_model", "synthetic_sample")


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYNTHESIZERS, "stub", Stub)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Lineage:
    """A table in a data folder of its own, and runs of its assets."""

    def __init__(self, root: Path, instance: dg.DagsterInstance, source: pd.DataFrame, **settings: Any) -> None:
        self.paths, self.instance = DataPaths(root), instance
        root.mkdir(exist_ok=True)
        source.to_parquet(root / "odd.parquet")  # its text stays text
        stated = {
            "table": "odd",
            "source": {"type": "file", "path": "odd.parquet"},
            "columns": [column.model_dump() for column in COLUMNS],
            "schedule": {"start_date": "2026-11-01"},
            "sample": {"n_samples": 20},
            **settings,
        }
        found = SyntheticTableSettings(**stated)
        self.settings = found.model_copy(update={"synthesizer": StubSettings()})

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.paths)

    @property
    def definitions(self) -> dg.Definitions:
        table = dg.build_defs_for_component(SyntheticTable(self.settings))
        return dg.Definitions.merge(table, dg.Definitions(resources=shared_resources(self.paths)))

    def run(self, *assets: str, day: str | None = MONDAY) -> Outcome:
        job = self.definitions.resolve_job_def("odd_lineage")
        return Outcome(
            job.execute_in_process(
                partition_key=day,
                instance=self.instance,
                raise_on_error=False,
                asset_selection=[dg.AssetKey(["odd", name]) for name in assets] or None,
            )
        )

    def types(self, table: str, file: Path | None = None) -> dict[str, str]:
        with duckdb.connect(str(file or self.paths.warehouse), read_only=True) as connection:
            return {row[0]: row[1] for row in connection.execute(f"DESCRIBE odd.{table}").fetchall()}

    def published(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.paths.published), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def pass_gates(self, day: str) -> None:
        """Write metrics and verdicts of a sample as if they had been computed."""
        details = self.warehouse.latest_details("odd", "synthetic_sample", resample_date=day)
        assert details
        read = {"synthetic_sample": self.warehouse.read_with_version("odd", "synthetic_sample", resample_date=day)[1]}
        metrics = pd.DataFrame(
            {"metric": ["exact_copies"], "column_name": pd.Series([None], dtype="str"), "value": 0.0}
        )
        verdicts = pd.DataFrame({"gate": ["fidelity"], "blocking": [True], "passed": [True], "message": ["Fine."]})
        for table, frame in (("fidelity", metrics), ("privacy", metrics), ("report", verdicts)):
            made = Provenance("a run", data_version=content_hash(frame), details={"inputs": read})
            self.warehouse.write("odd", table, frame, provenance=made, resample_date=day)
            read = {table: content_hash(frame)} if table == "fidelity" else read


@pytest.fixture
def odd(tmp_path: Path, instance: dg.DagsterInstance) -> Lineage:
    return Lineage(tmp_path / "data", instance, any_source(), private=False)


@pytest.mark.slow
def test_every_type_is_stored_published_and_read_as_itself(odd: Lineage) -> None:
    for day in (MONDAY, TUESDAY):
        outcome = odd.run(*(OF_MODEL if day == MONDAY else OF_MODEL[-1:]), day=day)
        assert outcome.success, outcome.messages
        odd.pass_gates(day)
    schema = any_schema(private=False)

    assert odd.types("raw") == SQL_TYPES
    raw = odd.warehouse.read("odd", "raw")
    assert all(column.has_dtype(raw[column.name]) for column in COLUMNS)
    pd.testing.assert_frame_equal(schema.coerce(raw, origin="raw"), any_rows())

    encoded = odd.warehouse.read("odd", "encoded_split").sort_values("row_id", ignore_index=True)
    types = odd.types("encoded_split")
    assert [types[name] for name in ('quote"d', "load (%)", "no label", "1st reading")] == [*["TINYINT"] * 3, "BIGINT"]
    codes = encoded['quote"d'].astype("Int64")
    assert codes.iloc[:9].tolist()[:8] == list(range(8))
    assert codes.isna().tolist() == raw['quote"d'].isna().tolist()

    outcome = odd.run("published", day=TUESDAY)
    assert outcome.success, outcome.messages
    published = odd.types("synthetic_sample", odd.paths.published)
    assert {name: published[name] for name in SQL_TYPES} == SQL_TYPES
    rows = read_table("odd.synthetic_all", data=odd.paths.root)
    typed = schema.coerce(rows[schema.names], origin="published")
    for name in ('quote"d', "19 digits", "new\nline", "at, or before", "in Berlin", "note"):
        assert set(typed[name].dropna()) <= set(any_rows()[name].dropna())
    parquet = odd.paths.published.parent / "odd" / "synthetic_sample"
    with duckdb.connect() as connection:
        found = connection.execute(f"DESCRIBE FROM read_parquet('{parquet}/*/*.parquet')").fetchall()
    assert {row[0]: row[1] for row in found if row[0] in SQL_TYPES} == SQL_TYPES
    assert rows["key"].is_unique
    assert rows["code"].is_unique
    assert len(rows) == 40


def test_keys_that_occur_on_two_days_or_in_the_source_are_found(odd: Lineage) -> None:
    assert odd.run(*OF_MODEL).success
    sample = odd.warehouse.read("odd", "synthetic_sample", resample_date=MONDAY)
    sample.loc[0, "key"] = -1
    odd.warehouse.write("odd", "synthetic_sample", sample, provenance=None, resample_date="2026-11-05", types=SQL_TYPES)

    outcome = odd.run("synthetic_sample", day=TUESDAY)

    found = outcome.check("synthetic_sample", "keys_are_unique")
    assert not found.passed
    assert f"key: 19 keys occur more than once, on {MONDAY}, 2026-11-05" in str(found.description)
    assert "key: 1 keys are keys of real rows. State a `start` of the column" in str(found.description)


def test_a_sample_may_not_have_the_keys_of_the_next_day(odd: Lineage) -> None:
    assert odd.run(*OF_MODEL[:3]).success
    job = odd.definitions.resolve_job_def("odd_lineage")
    config = {"ops": {"odd__synthetic_sample": {"config": {"n_samples": 1_000_001}}}}
    selected = [dg.AssetKey(["odd", "synthetic_sample"])]
    done = job.execute_in_process(
        partition_key=MONDAY, instance=odd.instance, raise_on_error=False, run_config=config, asset_selection=selected
    )
    (message,) = Outcome(done).messages
    assert message.startswith("found n_samples 1,000,001; a day of odd has 1,000,000 keys")


@pytest.mark.slow
def test_text_and_rare_labels_of_a_private_table_are_not_published(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    lineage = Lineage(tmp_path / "data", instance, any_source())
    assert lineage.run(*OF_MODEL).success
    assert "note" in lineage.types("raw")
    assert "note" not in lineage.types("synthetic_sample")
    assert lineage.warehouse.latest_details("odd", "synthetic_sample")["hidden_labels"] == {'quote"d': 6}
    lineage.pass_gates(MONDAY)
    outcome = lineage.run("published")
    assert outcome.success, outcome.messages
    shown = {label for (label,) in lineage.published('SELECT DISTINCT "quote""d" FROM odd.synthetic_all') if label}
    manifest = json.loads((lineage.paths.published.parent / "publications" / "current" / "manifest.json").read_text())
    (column,) = [c for c in manifest["tables"]["odd"]["schema"]["columns"] if c["name"] == 'quote"d']
    assert set(column["categories"]) == shown
    assert len(shown) == 2
    assert lineage.published("SELECT count(*) FROM odd.provenance WHERE (details->'codes') IS NOT NULL") == [(0,)]


def test_gaps_above_the_stated_share_stop_what_follows(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    lineage = Lineage(tmp_path / "data", instance, any_source(), max_missing_share=0.9)
    outcome = lineage.run()
    assert outcome.materialized == {"raw"}
    found = str(outcome.check("raw", "missing_share").description)
    assert "no number: 100.0% of the cells are empty, expected at most 90.0%; find out why" in found
    assert found.endswith("or raise max_missing_share.")


@pytest.mark.slow
@pytest.mark.usefixtures("fast_evaluation")
def test_without_a_target_everything_but_utility_is_computed_and_published(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    rows = pd.DataFrame({"sex": ["F", "M"] * 40, "size": [round(1 + row * 0.37 % 5, 2) for row in range(80)]})
    columns = [{"name": "sex", "type": "categorical", "categories": ["F", "M"]}, {"name": "size", "type": "float"}]
    tolerant = {"fidelity": 1, "validity": 1, "privacy": 1}
    lineage = Lineage(tmp_path / "data", instance, rows, columns=columns, sample={"n_samples": 40})
    gates = lineage.settings.gates()
    lineage.settings = lineage.settings.model_copy(
        update={"tolerances": {name: dict.fromkeys(gates[name].tolerances, 1.0) for name in tolerant}}
    )

    outcome = lineage.run()

    assert outcome.success, outcome.messages
    assert "regression_comparison" not in outcome.materialized
    assert "published" in outcome.materialized
    gates_seen = {e.check_name for e in outcome.result.get_asset_check_evaluations() if e.asset_key.path[1] == "report"}
    assert gates_seen == set(tolerant)
    with duckdb.connect(str(lineage.paths.published), read_only=True) as connection:
        tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert "regression_comparison" not in tables
    assert {"synthetic_sample", "fidelity", "privacy", "report"} <= tables
    page = lineage.paths.report("odd", MONDAY).read_text(encoding="utf-8")
    assert "<td>float</td><td>not allowed</td>" in page  # a row of the table of columns
    assert NO_TARGET in page  # among what is not computed


@pytest.mark.slow
@pytest.mark.usefixtures("fast_evaluation")
def test_a_table_of_text_alone_has_a_report_without_distances(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    rows = pd.DataFrame({"note": [f"note {row * row}" for row in range(80)]})
    columns = [{"name": "note", "type": "text"}]
    lineage = Lineage(tmp_path / "data", instance, rows, columns=columns, private=False)

    outcome = lineage.run()

    assert {"privacy", "fidelity_plots", "report"} <= outcome.materialized, outcome.messages
    assert not (lineage.paths.plots("odd", MONDAY) / "distances.png").exists()


def test_a_day_that_does_not_exist_is_refused_in_one_line(odd: Lineage) -> None:
    job = odd.definitions.resolve_job_def("odd_lineage")
    with pytest.raises(UnknownDay, match=r"^2030-01-01 is no resample date: there are the days from 2026-11-01 to 20"):
        job.execute_in_process(partition_key="2030-01-01", instance=odd.instance)


def test_a_lineage_without_a_day_is_refused_before_anything_is_done(odd: Lineage) -> None:
    outcome = odd.run(day=None)
    (message,) = outcome.messages
    assert message.startswith("this run has no day: there are the days from 2026-11-01 to ")
    assert outcome.materialized == set()


def test_the_columns_say_what_they_are(odd: Lineage) -> None:
    specs = {spec.key.path[1]: spec for spec in odd.definitions.resolve_all_asset_specs()}
    columns = {each.name: each for each in specs["raw"].metadata["dagster/column_schema"].columns}
    assert columns["key"].constraints == dg.TableColumnConstraints(nullable=False, unique=True)
    assert columns["no date"].constraints.nullable
    assert columns["in Berlin"].type == "timestamptz"
    assert columns["note"].description == "Column of type text."
    assert len(columns) == len(COLUMNS)
    assert ROWS == 40
