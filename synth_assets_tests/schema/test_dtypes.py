"""Rows come back in the dtypes of the frame that they were learned from, where no value is lost."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synth_assets.schema.columns import Integer
from synth_assets.schema.dtypes import restore_dtypes
from synth_assets.schema.infer import infer
from synth_assets.schema.table import TableSchema


def _objects(*values: object) -> pd.Series:
    return pd.Series(values, dtype=object)


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["b", "a", None], categories=["c", "b", "a"]),
        pd.Categorical([3, 12, 3], ordered=True),
        [True, False, True],
        pd.array([True, None, False], dtype="boolean"),
        np.array([1, 2, 1], dtype="uint8"),
        pd.array([1, None, 2], dtype="Int16"),
        np.arange(2**64 - 12, 2**64 - 1, dtype="uint64"),
        [1.0, None, 2.0],
        np.array([1.5, 2, 1], dtype="float32"),
        pd.array([1.5, None, 2], dtype="Float64"),
        pd.to_datetime(["2024-01-31", None, "2024-02-01"]).as_unit("ns"),
        pd.to_datetime(["2024-01-31 08:30", "2024-02-01 00:00", None]).as_unit("ns").tz_localize("Europe/Berlin"),
        pd.to_timedelta(["1 day 08:30:00.1", None, "-00:00:07"]),
        pd.to_timedelta([90, 0, 60], unit="s").as_unit("s"),
        _objects(date(2024, 1, 31), None, date(1999, 12, 31)),
        _objects(Decimal("1.50"), Decimal("2.00"), Decimal("0.25")),
        _objects("a", "b", "a"),
        _objects(*(time(hour, 30) for hour in range(24)), None),
        _objects(time(8), time(9, 30), time(8)),
        pd.Series([*(f"${number:,}.50" for number in range(990, 1020)), None], dtype="str"),
        pd.Series(["31.01.2024", None, "01.02.2024"], dtype="str"),
        _objects("01/31/2024 08:30 PM", "02/01/2024 12:00 AM"),
        pd.Series(["2024-01-31T08:30:00+01:00", None, "2024-07-01T00:00:07+02:00"], dtype="str"),
        pd.Series(["2024-01-31 08:30+0530", "2024-02-01 00:00+0530"], dtype="str"),
        _objects("2024-01-31T08:30:00.125Z", None, "2024-02-01T00:00:00.000Z"),
        pd.Series(["2024-01-31 08:30:00 UTC", "2024-02-01 00:00:00 UTC"], dtype="str"),
        pd.to_datetime(["2024-01-31 08:30", "2024-02-01 00:00"]).tz_localize("-03:30").as_unit("us"),
        pd.PeriodIndex(["2024-01", "2023-12", None], freq="M"),
        pd.PeriodIndex(["2024Q1", "2023Q4"], freq="Q-NOV"),
        pd.arrays.SparseArray([0, 0, 5, 0]),
        pd.arrays.SparseArray([np.nan, 1.5, np.nan]),
        _objects(True, None, False),
        _objects(3, None, 4),
        _objects(2**70, 2**70 + 1),
        _objects(UUID(int=7), UUID(int=2**100)),
        _objects(timedelta(hours=30), None, timedelta(seconds=1)),
        pd.array(["a", "b", "a"], dtype="string"),
        pd.array([1, None, 2], dtype="int64[pyarrow]"),
        pd.array([Decimal("1.50"), None, Decimal("2.00")], dtype=pd.ArrowDtype(pa.decimal128(9, 2))),
        pd.array([Decimal(2), None, Decimal(30)], dtype=pd.ArrowDtype(pa.decimal128(9, 0))),
        pd.array([Decimal(10**30), Decimal(10**30 + 1)], dtype=pd.ArrowDtype(pa.decimal128(38, 0))),
        pd.array([date(2024, 1, 31), None, date(1999, 12, 31)], dtype="date32[pyarrow]"),
        pd.array([timedelta(seconds=90), None, timedelta(days=1)], dtype=pd.ArrowDtype(pa.duration("ms"))),
        pd.array([*(time(hour, 30) for hour in range(24)), None], dtype=pd.ArrowDtype(pa.time64("us"))),
        pd.array([datetime(2024, 1, 31, 8, tzinfo=UTC), None] * 2, dtype="timestamp[us, tz=Europe/Berlin][pyarrow]"),
    ],
)
def test_a_column_comes_back_as_it_came(values: Any) -> None:
    frame = pd.DataFrame({7: values})
    schema = infer(frame).schema

    restored = restore_dtypes(schema.coerce(frame.rename(columns=str), origin="x"), frame, schema)

    pd.testing.assert_frame_equal(restored, frame, check_exact=True)


@pytest.mark.parametrize(
    ("rows", "like"),
    [
        (pd.Series([1.5, 2.5]), pd.Series([1, 2])),
        (pd.Series([300, 2]), pd.Series([1, 2], dtype="uint8")),
        (pd.Series([1, None], dtype="Int64"), pd.Series([1, 2])),
        (pd.Series(["other", "a"], dtype="str"), pd.Series(["a", "a"], dtype="category")),
        (pd.Series([1, 2]), pd.Series(["1", "2"], dtype="str")),
        (pd.Series([1, 2]), pd.Series(["1", "2"], dtype="object")),
        (pd.Series(["9999-12-31"], dtype="datetime64[s]"), pd.Series(["2024-01-31"], dtype="datetime64[ns]")),
        (pd.Series([np.nan]), pd.Series([None], dtype=pd.ArrowDtype(pa.null()))),
    ],
)
def test_a_dtype_that_cannot_hold_a_value_is_not_forced(rows: pd.Series, like: pd.Series) -> None:
    schema = TableSchema(columns=(Integer(name="x"),))
    restored = restore_dtypes(rows.to_frame("x"), like.to_frame("x"), schema)

    pd.testing.assert_series_equal(restored["x"], rows.rename("x"))
