"""A schema inferred from a frame: which type each dtype becomes, and which frames are refused."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.columns import TableError
from synth_assets.schema.infer import infer_schema


@pytest.mark.parametrize(
    ("values", "expected", "coerced"),
    [
        (["b", "a", "b"], ("a", "b"), ["b", "a", "b"]),
        (pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]), ("a", "b"), ["b", "a", "b"]),
        (pd.Categorical([12, 3, 12]), ("12", "3"), ["12", "3", "12"]),
        ([True, False, True], ("False", "True"), ["True", "False", "True"]),
        (np.array(["b", 1, True], dtype=object), ("1", "True", "b"), ["b", "1", "True"]),
        ([1, 2, 3], "integer", [1, 2, 3]),
        (pd.array([1, 2, 3], dtype="Int64"), "integer", [1, 2, 3]),
        (np.array([1, 2, 3], dtype="uint8"), "integer", [1, 2, 3]),
        (np.array([1, 2, 3], dtype=object), "integer", [1, 2, 3]),
        ([1.0, 2.0, 3.0], "float", [1.0, 2.0, 3.0]),
        (np.array([1.5, 2.0, 3.0], dtype="float32"), "float", [1.5, 2.0, 3.0]),
        (np.array([1, 2.5, 3], dtype=object), "float", [1.0, 2.5, 3.0]),
    ],
)
def test_a_dtype_becomes_a_type_that_coerces_its_values(
    values: object, expected: object, coerced: list[object]
) -> None:
    frame = pd.DataFrame({"x": values})

    schema = infer_schema(frame)

    (column,) = schema.columns
    assert (column.type if column.is_numeric else column.categories) == expected
    assert schema.coerce(frame, origin="frame")["x"].tolist() == coerced


def test_missing_values_do_not_change_the_type() -> None:
    frame = pd.DataFrame({"label": ["a", None], "number": [1.5, None], "whole": pd.array([1, None], dtype="Int64")})

    assert [column.type for column in infer_schema(frame, "label").columns] == ["categorical", "float", "integer"]
    assert infer_schema(frame).column("label").categories == ("a",)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(), r"^the frame has no column"),
        (pd.DataFrame({"x": []}), r"^the frame has no row; at least 2 are needed"),
        (pd.DataFrame({"x": [1]}), r"^the frame has 1 row; at least 2 are needed"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"]), r"^the frame has the column 'x' twice"),
        (pd.DataFrame([[1, 2], [3, 4]]), r"^the frame has a column named 0; expected names that are text"),
        (pd.DataFrame({"x": [1, 2], "X": [1, 2]}), r"^columns: X, x named twice"),
        (pd.DataFrame({"y": [1, 2]}), r"^target: 'x' is not a column of the table; the columns are 'y'\.$"),
        (pd.DataFrame({"x": [None, None]}), r"column 'x' is empty in every row\. Drop"),
        (pd.DataFrame({"x": [1.0, np.inf]}), r"column 'x' has 1 infinite value\."),
        (pd.DataFrame({"x": [1, 2**60]}), r"column 'x' has an integer of 19 digits"),
        (pd.DataFrame({"x": [f"name {n}" for n in range(1001)]}), r"column 'x' has 1,001 different labels;"),
        (pd.DataFrame({"x": pd.to_datetime(["2026-01-01", "2026-01-02"])}), r"column 'x' holds datetimes, "),
        (pd.DataFrame({"x": [date(2026, 1, 1)] * 2}), r"column 'x' holds dates, .*Convert it to numbers or labels"),
        (pd.DataFrame({"x": pd.to_timedelta([1, 2])}), r"column 'x' holds time differences"),
        (pd.DataFrame({"x": [Decimal("1.1"), Decimal("2")]}), r"column 'x' holds decimals"),
        (pd.DataFrame({"x": [1j, 2j]}), r"column 'x' holds complex numbers"),
    ],
)  # fmt: skip
def test_a_frame_that_no_schema_describes_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(TableError, match=message):
        infer_schema(frame, "x" if "x" not in frame and len(frame) else None)
