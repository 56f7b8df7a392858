"""A sample of more rows than a table holds: drawn in parts, checked in all rows, and evaluated like any other."""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd
import pytest

from synth_assets.orchestration.assets import synthetic_sample
from synth_assets.orchestration.assets.common import Table
from synth_assets.orchestration.days import Days
from synth_assets.orchestration.io_manager import WarehouseIOManager
from synth_assets.orchestration.settings import FreshnessSettings
from synth_assets.schema.columns import Categorical, Float, Id
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import TableSchema
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets.synthesizers import parts
from synth_assets.synthesizers.base import SampleSettings
from synth_assets.synthesizers.model_store import ModelStore
from synth_assets_tests.stub_synthesizer import Stub


def test_a_large_sample_is_the_same_rows_in_parts(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = TableSchema(
        columns=(
            Id(name="key", start=1000),
            Categorical(name="Sex", categories=("F", "M")),
            Float(name="x", maximum=58),
        ),
        private=False,
    )
    train = pd.DataFrame({"key": range(60), "Sex": ["F", "M"] * 30, "x": [float(i) for i in range(60)]})
    stub = Stub().fit(train, schema)
    monkeypatch.setattr(ModelStore, "load", lambda *_: stub)
    monkeypatch.setattr(synthetic_sample, "LARGE_SAMPLE_ROWS", 1000)
    monkeypatch.setattr(parts, "SHARD_ROWS", 1000)
    day = datetime.now(UTC).date().isoformat()
    table = Table("toy", "team:toy", Encoding(schema, None), Days("2026-01-01", timezone="UTC"))
    assets = synthetic_sample.build(table, SampleSettings(n_samples=2500), freshness=FreshnessSettings().policy())
    warehouse.write("toy", "raw", train, provenance=None)
    warehouse.write("toy", "fine_tuned_model", pd.DataFrame({"model_version": ["v1"]}), provenance=Provenance("a run"))

    done = dg.materialize(
        [*assets, dg.AssetSpec(["toy", "fine_tuned_model"])],
        partition_key=day,
        resources={
            "io_manager": WarehouseIOManager(warehouse),
            "warehouse": warehouse,
            "paths": warehouse.paths,
        },
        instance=dg.DagsterInstance.ephemeral(),
    )

    stored = warehouse.parts("toy", "synthetic_sample", day)
    assert stored is not None
    assert [part.rows for part in stored.files] == [1000, 1000, 500]
    expected = stub.sample(
        2500, seed=synthetic_sample.seed_of("v1", day), first_key=table.partitions.index(day) * 10**6
    )
    expected = expected.assign(sample_id=range(2500), model_version="v1")
    found = warehouse.read("toy", "synthetic_sample", resample_date=day)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    results = {each.check_name: each for each in done.get_asset_check_evaluations()}
    assert {name: each.passed for name, each in results.items()} == {
        "valid_rows": True,
        "ranges": False,
        "keys_are_unique": True,
    }
    assert results["valid_rows"].description == "all 2,500 rows are as expected"
