"""A data folder, what the lineage does in it with a tiny model, and what a test asks of it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from synth_assets.storage.paths import DataPaths
from synth_assets_tests import fast_evaluation
from synth_assets_tests.live.tiny_location import tiny_definitions

DAY = "2026-11-20"


@dataclass
class World:
    """A data folder, and what the lineage does in it."""

    root: Path
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    definitions: dg.Definitions = field(default_factory=dg.Definitions)

    @property
    def paths(self) -> DataPaths:
        return DataPaths(self.root)

    @property
    def csv(self) -> Path:
        return self.root / "abalone.csv"

    def run(
        self,
        *assets: str,
        job: str = "abalone_lineage",
        day: str | None = DAY,
        config: dict[str, Any] | None = None,
        **changes: Any,
    ) -> "Outcome":
        """Run these assets of a job (all, if none is named), and their checks, with these changes of the settings."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNTH_ASSETS_DATA", str(self.root))
            fast_evaluation.reduce_constants(patch)
            fast_evaluation.reduce_libraries(patch)
            definitions = self.definitions = tiny_definitions(**changes)
            result = definitions.resolve_job_def(job).execute_in_process(
                partition_key=day,
                instance=self.instance,
                raise_on_error=False,
                run_config=config,
                asset_selection=[dg.AssetKey(["abalone", name]) for name in assets] or None,
            )
        return Outcome(result)

    def query(self, sql: str, file: Path | None = None) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(file or self.paths.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def stored(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return everything in the warehouse but the record of runs and checks, and the published file's bytes."""
        tables = self.query(
            "SELECT table_name FROM duckdb_tables() WHERE table_name <> 'provenance' "
            "AND NOT ends_with(table_name, '_checks') ORDER BY ALL"
        )
        rows = {name: self.query(f"FROM abalone.{name} ORDER BY ALL") for (name,) in tables}
        return {**rows, "published": [(self.paths.published.read_bytes(),)]}


@dataclass
class Outcome:
    """What a run did."""

    result: dg.ExecuteInProcessResult

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def materialized(self) -> set[str]:
        return {event.asset_key.path[1] for event in self.result.get_asset_materialization_events()}

    def metadata(self, asset: str) -> dict[str, Any]:
        (event,) = [e for e in self.result.get_asset_materialization_events() if e.asset_key.path[1] == asset]
        return {name: value.value for name, value in event.materialization.metadata.items()}

    def data_version(self, asset: str) -> str:
        (event,) = [e for e in self.result.get_asset_materialization_events() if e.asset_key.path[1] == asset]
        return event.materialization.tags["dagster/data_version"]

    def check(self, asset: str, name: str) -> dg.AssetCheckEvaluation:
        (found,) = [
            e for e in self.result.get_asset_check_evaluations() if (e.asset_key.path[1], e.check_name) == (asset, name)
        ]
        return found

    @property
    def messages(self) -> Sequence[str]:
        """What a person is told of the steps that failed."""
        failures = [e.step_failure_data for e in self.result.filter_events(lambda e: e.is_step_failure)]
        return [
            data.user_failure_data.description
            if data.user_failure_data and data.user_failure_data.description
            else str(data.error.message)
            for data in failures
        ]
