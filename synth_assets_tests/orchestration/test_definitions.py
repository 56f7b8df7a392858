"""What is deployed: it loads quickly and whole, and the schedule asks for the right day once."""

import importlib.util
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import ScheduleSnap

from synth_assets.orchestration.definitions import defs
from synth_assets.orchestration.executor import PRELOADED, step_executor

ASSETS = {
    "raw",
    "encoded_split",
    "fine_tuned_model",
    "synthetic_sample",
    "fidelity",
    "fidelity_plots",
    "privacy",
    "regression_comparison",
    "report",
    "published",
}
OF_A_DAY = {"synthetic_sample", "fidelity", "fidelity_plots", "privacy", "regression_comparison", "report"}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    loaded = defs()
    dg.Definitions.validate_loadable(loaded)
    return loaded


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.path[1]: spec for spec in definitions.resolve_all_asset_specs() if spec.key.path[0] == "abalone"}


def test_the_assets_of_abalone_are_there(definitions: dg.Definitions) -> None:
    assert set(specs(definitions)) == ASSETS


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_every_asset_says_what_it_is(definitions: dg.Definitions, name: str) -> None:
    spec = specs(definitions)[name]
    assert spec.description
    assert spec.owners == ["team:synth_assets"]
    assert spec.kinds
    assert spec.group_name == "abalone"
    assert spec.code_version
    assert (spec.partitions_def is not None) == (name in OF_A_DAY)
    assert ("dagster/column_schema" in spec.metadata) == (name not in {"fidelity_plots", "published"})


def test_every_column_is_described(definitions: dg.Definitions) -> None:
    for spec in specs(definitions).values():
        for column in spec.metadata.get("dagster/column_schema", dg.TableSchema(columns=[])).columns:
            assert column.description, f"{spec.key.to_user_string()}: {column.name}"
            assert column.type


def test_everything_flows_in_one_direction(definitions: dg.Definitions) -> None:
    found = {name: {dep.asset_key.path[1] for dep in spec.deps} for name, spec in specs(definitions).items()}
    evaluated = {"synthetic_sample", "raw", "encoded_split"}
    assert found == {
        "raw": set(),
        "encoded_split": {"raw"},
        "fine_tuned_model": {"raw", "encoded_split"},
        "synthetic_sample": {"fine_tuned_model"},
        "fidelity": evaluated,
        "fidelity_plots": {*evaluated, "fidelity"},
        "privacy": evaluated,
        "regression_comparison": evaluated,
        "report": {"fidelity", "fidelity_plots", "privacy", "regression_comparison"},
        "published": ASSETS - {"published", "fine_tuned_model"},
    }


def test_the_schedule_asks_for_the_day_of_its_tick_once(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("abalone_daily")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "0 6 * * *"
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 23, 6, 0, tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    )
    requests = schedule.evaluate_tick(context).run_requests
    assert [request.partition_key for request in requests] == ["2026-11-23"]
    assert requests[0].run_key  # two evaluations of the same tick make one run
    again = schedule.evaluate_tick(context).run_requests
    assert [request.run_key for request in again] == [requests[0].run_key]


def test_of_missed_ticks_the_last_one_alone_is_made_up_for(definitions: dg.Definitions) -> None:
    # Dagster's scheduler makes up for several only where a schedule names a partition set; those of assets do not.
    schedule = definitions.resolve_schedule_def("abalone_daily")
    assert ScheduleSnap.from_def(schedule, definitions.get_repository_def()).partition_set_name is None


def test_samples_and_what_is_published_have_to_be_fresh(definitions: dg.Definitions) -> None:
    found = {name: spec.freshness_policy for name, spec in specs(definitions).items() if spec.freshness_policy}
    policy = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))
    assert found == {"synthetic_sample": policy, "published": policy}


def test_the_source_is_watched_without_being_switched_on(definitions: dg.Definitions) -> None:
    sensor = definitions.resolve_sensor_def("abalone_source")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert (sensor.job_name, sensor.minimum_interval_seconds) == ("abalone_lineage", 900)


def test_a_resampling_run_makes_the_sample_and_what_follows_and_no_new_model(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("abalone_resample")
    selected = {key.path[1] for key in job.asset_layer.executable_asset_keys}
    assert selected == OF_A_DAY | {"published"}


def test_every_job_forks_its_steps_from_a_server_with_the_libraries(definitions: dg.Definitions) -> None:
    for job in ("abalone_lineage", "abalone_resample"):
        assert definitions.resolve_job_def(job).executor_def is step_executor
    for module in PRELOADED:  # the fork server skips a module that is missing, without a word
        assert importlib.util.find_spec(module), module


def test_blocking_checks_guard_what_follows(definitions: dg.Definitions) -> None:
    checks = {
        (spec.asset_key.path[1], spec.name): spec.blocking
        for node in definitions.get_repository_def().asset_checks_defs_by_key.values()
        for spec in node.check_specs
    }
    assert checks == {
        ("raw", "columns"): True,
        ("raw", "types"): True,
        ("raw", "row_count"): True,
        ("raw", "no_missing_values"): True,
        ("raw", "labels"): True,
        ("raw", "ranges"): True,
        ("raw", "is_real"): False,
        ("synthetic_sample", "valid_rows"): True,
        ("synthetic_sample", "ranges"): False,
        ("report", "fidelity"): True,
        ("report", "validity"): True,
        ("report", "privacy"): True,
        ("report", "utility"): False,
    }


def test_loading_imports_no_heavy_library() -> None:
    script = (
        "import sys\n"
        "from synth_assets.orchestration.definitions import defs; defs()\n"
        "heavy = {'torch', 'transformers', 'be_great', 'tokenizers', 'sklearn', 'scipy', 'matplotlib'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert output == []
