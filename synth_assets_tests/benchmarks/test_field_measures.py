"""The field's measures that need no XGBoost, against values computed by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.field_measures import (
    MISSING,
    alpha_precision_beta_recall,
    dcr_share,
    read,
    shape_error,
    trend_error,
)


def _rows(**columns: list[object]) -> pd.DataFrame:
    rows = pd.DataFrame(columns)
    return rows.astype({name: "category" for name in rows if rows[name].dtype.kind not in "fi"})


def test_shape_error_is_the_mean_of_ks_statistics_and_total_variations() -> None:
    real = _rows(size=[1.0, 2.0, 3.0, np.nan], kind=["a", "a", "b", "b"])
    rows = _rows(size=[1.0, 1.0, 3.0, 3.0], kind=["a", "c", "c", "c"])
    # At 1: 1/2 against 1/3. Shares of a, b, c: 1/4, 0, 3/4 against 1/2, 1/2, 0.
    assert shape_error(rows, real) == pytest.approx((1 / 6 + 3 / 4) / 2)
    assert shape_error(real, real) == 0


def test_trend_error_of_numbers_is_half_the_difference_of_correlations() -> None:
    real = _rows(a=[0.0, 1.0, 2.0], b=[0.0, 2.0, 4.0])
    rows = _rows(a=[0.0, 1.0, 2.0], b=[4.0, 2.0, 0.0])
    assert trend_error(rows, real) == pytest.approx(1)
    assert trend_error(real, real) == 0


def test_trend_error_with_labels_is_the_total_variation_of_contingency_tables() -> None:
    # Ten bins from 0 to 100: 1 and 9 are in the first one.
    real = _rows(kind=["a", "a", "b", "b"], size=[0.0, 1.0, 100.0, 100.0])
    rows = _rows(kind=["a", "b", "b", "b"], size=[0.0, 9.0, 100.0, 100.0])
    assert trend_error(rows, real) == pytest.approx(1 / 4)


def test_copies_are_typical_and_cover_all_and_rows_elsewhere_do_neither() -> None:
    values = np.random.default_rng(0).normal(size=300)
    real = _rows(a=list(values), b=list(values[::-1]))
    assert alpha_precision_beta_recall(real, real) == pytest.approx((1, 1), abs=0.01)
    elsewhere = _rows(a=list(values + 1000), b=list(values[::-1]))
    # The curves are flat: 1 - 2 * mean of 0, 1/29, ..., 1 over 30 steps of 1/29.
    assert alpha_precision_beta_recall(elsewhere, real) == pytest.approx((1 - 30 / 29, 1 - 30 / 29))


def test_dcr_share_is_the_share_of_rows_that_are_closer_to_train_rows() -> None:
    train = _rows(size=[0.0, 10.0], kind=["a", "b"])
    holdout = _rows(size=[5.0, 10.0], kind=["a", "a"])
    rows = _rows(size=[1.0, 6.0, 10.0, 10.0], kind=["a", "a", "b", "a"])
    assert dcr_share(rows, train, holdout) == 0.5
    assert dcr_share(train, train, holdout) == 1
    # As close to either: half of it counts.
    assert dcr_share(train, train, train) == 0.5


def test_booleans_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("kind\nTrue\nfalse\n")
    assert read(tmp_path / "rows.csv", ["kind"])["kind"].tolist() == ["true", "false"]


def test_an_empty_label_is_a_label_and_other_text_is_kept(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("kind,size\nNA,1\n,\n")
    found = read(tmp_path / "rows.csv", ["kind"])
    assert found["kind"].tolist() == ["NA", MISSING]
    assert found["size"].isna().tolist() == [False, True]
