"""Samples in Parquet files: what the warehouse reads, counts and removes of them."""

import pandas as pd
import pytest

from synth_assets.storage import warehouse as module
from synth_assets.storage.warehouse import Warehouse, WarehouseError
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, write_large_sample, write_sample

SAMPLE = "synthetic_sample"


def test_an_evaluation_reads_evenly_spaced_rows(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = write_large_sample(warehouse, MONDAY, [9, 8, 7, 6, 5])
    whole = warehouse.read("toy", SAMPLE, resample_date=MONDAY)
    expected = pd.DataFrame({"x": [9, 8, 7, 6, 5], "sample_id": range(5)}).assign(model_version="m1")
    pd.testing.assert_frame_equal(whole, expected, check_dtype=False)
    monkeypatch.setattr(module, "LARGE_SAMPLE_ROWS", 3)
    drawn, version = warehouse.read_with_version("toy", SAMPLE, resample_date=MONDAY)
    assert drawn["x"].tolist() == [9, 7, 5]
    assert version == parts.content


def test_a_sample_that_is_replaced_leaves_no_file(warehouse: Warehouse) -> None:
    first = write_large_sample(warehouse, MONDAY, [9, 8, 7])
    second = write_large_sample(warehouse, MONDAY, [1, 2, 3])
    files = [[(warehouse.paths.root / part.file).exists() for part in parts.files] for parts in (first, second)]
    assert files == [[False, False], [True, True]]
    write_large_sample(warehouse, TUESDAY, [4, 5, 6])
    warehouse.write(
        "toy",
        SAMPLE,
        pd.DataFrame({"x": [1], "sample_id": [0], "model_version": "m2"}),
        provenance=None,
        resample_date=MONDAY,
    )
    assert warehouse.read("toy", SAMPLE, resample_date=MONDAY)["model_version"].tolist() == ["m2"]
    assert not any((warehouse.paths.root / part.file).exists() for part in second.files)
    assert len(warehouse.read("toy", SAMPLE, resample_date=TUESDAY)) == 3


def test_other_columns_than_the_stored_ones_are_refused_and_nothing_changes(warehouse: Warehouse) -> None:
    write_sample(warehouse, MONDAY, [1])  # the toy has no sample_id
    with pytest.raises(WarehouseError, match=r"has the columns .* Nothing was changed"):
        write_large_sample(warehouse, MONDAY, [9, 8, 7])
    assert warehouse.read("toy", SAMPLE, resample_date=MONDAY)["x"].tolist() == [1]


def test_keys_are_counted_over_all_samples(warehouse: Warehouse) -> None:
    write_large_sample(warehouse, MONDAY, [9, 8, 7])
    write_large_sample(warehouse, TUESDAY, [7, 6, 5])
    warehouse.write("toy", "raw", pd.DataFrame({"x": [5, 1]}), provenance=None)
    assert warehouse.count_repeated("toy", SAMPLE, "x") == (1, [MONDAY, TUESDAY])
    assert warehouse.count_shared("toy", SAMPLE, "raw", "x") == 1


def test_verify_names_a_damaged_part(warehouse: Warehouse) -> None:
    parts = write_large_sample(warehouse, MONDAY, [9, 8, 7])
    rows = warehouse.verify()
    (warehouse.paths.root / parts.files[1].file).write_bytes(b"other")
    with pytest.raises(WarehouseError, match=r"toy.synthetic_sample of 2026-01-05: .*part-00001\.parquet has another"):
        warehouse.verify()
    assert rows == 3 + 1 + 2 + 3  # of the sample, fidelity, report, provenance
