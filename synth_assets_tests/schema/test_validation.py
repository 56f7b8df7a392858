"""Each thing that can be wrong with a stored table is found by the check of its name, and by no other."""

from collections.abc import Callable

import pandas as pd
import pytest

from synth_assets.schema.table import TableSchema
from synth_assets.schema.validation import validate


def test_a_table_of_its_schema_passes(small_table: pd.DataFrame, small_schema: TableSchema) -> None:
    found = validate(small_table, small_schema, minimum_rows=60)
    assert set(found) == {"columns", "types", "row_count", "no_missing_values", "labels", "ranges"}
    assert not any(found.values())


@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        (lambda t: t[["Size", "Colour", "Legs"]], "columns", "found Size, Colour, Legs; expected Colour, Size, Legs"),
        (lambda t: t.drop(columns="Legs"), "columns", "found Colour, Size; expected Colour, Size, Legs"),
        (lambda t: t.assign(Legs=t["Legs"] + 0.5), "types", "Legs holds float, expected integer"),
        (lambda t: t.assign(Size="big"), "types", "Size holds categorical, expected float"),
        (lambda t: t.head(59), "row_count", "59 rows; expected at least 60"),
        (lambda t: t.assign(Size=t["Size"].where(t.index > 1)), "no_missing_values", "Size: 2 of 60 cells are empty"),
        (lambda t: t.assign(Colour=t["Colour"].where(t.index > 0, "green")), "labels",
         "Colour: 1 of 60 values are not one of blue, red"),
        (lambda t: t.assign(Size=t["Size"].where(t.index > 0, 10.5)), "ranges",
         "Size: 1 of 60 values are not >= 0 and <= 10"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_one_check(
    small_table: pd.DataFrame,
    small_schema: TableSchema,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    check: str,
    said: str,
) -> None:
    found = validate(spoil(small_table), small_schema, minimum_rows=60)
    assert {name: problems for name, problems in found.items() if problems} == {check: [said]}
