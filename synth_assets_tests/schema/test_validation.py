"""Each thing that can be wrong with a stored table is found by the check of its name, and by no other."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from synth_assets.schema.columns import Boolean, Date, Id, Integer, TableError, Text
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.counting import validate_files
from synth_assets.schema.table import TableSchema
from synth_assets.schema.validation import validate


def test_a_constraint_on_files_reads_no_other_file(
    small_table: pd.DataFrame, small_schema: TableSchema, tmp_path: Path
) -> None:
    for name in ("rows", "secret"):
        small_table.to_parquet(tmp_path / f"{name}.parquet")
    peeks = Constraint(name="peeks", sql=f"(SELECT count(*) > 0 FROM '{tmp_path / 'secret.parquet'}')")
    with pytest.raises(TableError, match="peeks"):
        validate_files([tmp_path / "rows.parquet"], small_schema, [peeks])


def test_a_table_of_its_schema_passes(small_table: pd.DataFrame, small_schema: TableSchema) -> None:
    found = validate(small_table, small_schema, minimum_rows=60)
    assert set(found) == {"columns", "types", "row_count", "no_missing_values", "labels", "ranges", "keys"}
    assert not any(found.values())


@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        (lambda t: t[["Size", "Colour", "Legs"]], "columns",
         "found Size, Colour, Legs; expected Colour, Size, Legs, in this order"),
        (lambda t: t.drop(columns="Legs"), "columns",
         "found Colour, Size; expected Colour, Size, Legs: Legs is missing"),
        (lambda t: t.assign(Legs=t["Legs"] + 0.5), "types",
         "Legs holds values of the type float, expected integer; correct the column's type, or the source"),
        (lambda t: t.assign(Size="big"), "types",
         "Size holds values of the type text, expected float; correct the column's type, or the source"),
        (lambda t: t.head(59), "row_count",
         "59 rows; expected at least 60. Add rows, or lower `split.train_size`"),
        (lambda t: t.assign(Size=t["Size"].where(t.index > 1)), "no_missing_values",
         "Size: 2 of 60 cells are empty; state `nullable: true` for the column, or fill the cells in the source"),
        (lambda t: t.assign(Colour=t["Colour"].where(t.index > 0, "green")), "labels",
         "Colour: 1 of 60 values is not one of blue, red: 'green'; add what is missing to the column's categories, or "
         "correct the source"),
        (lambda t: t.assign(Size=t["Size"].where(t.index > 0, 10.5)), "ranges",
         "Size: 1 of 60 values is not >= 0 and <= 10; correct the source, or the limits of the column"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_one_check(
    small_table: pd.DataFrame,
    small_schema: TableSchema,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    check: str,
    said: str,
    tmp_path: Path,
) -> None:
    spoilt = spoil(small_table)
    found = validate(spoilt, small_schema, minimum_rows=60)
    assert {name: problems for name, problems in found.items() if problems} == {check: [said]}
    spoilt.to_parquet(tmp_path / "rows.parquet")
    assert validate_files([tmp_path / "rows.parquet"], small_schema, minimum_rows=60) == {**found, "constraints": []}


def test_each_type_has_its_own_checks(tmp_path: Path) -> None:
    columns = (
        Id(name="key"),
        Boolean(name="flag", nullable=True),
        Date(name="day", minimum="2024-01-01"),
        Integer(name="count", nullable=True),
        Text(name="note"),
    )
    schema = TableSchema(columns=columns)
    rows = pd.DataFrame(
        {
            "key": ["1", "2", "1", "1"],
            "flag": ["true", None, "false", "no"],
            "day": ["2024-01-01", "2023-12-31", "2024-02-01", "2024-02-01"],
            "count": [None] * 4,
            "note": ["a", None, "a", "b"],
        }
    )

    typed = schema.coerce(rows, origin="rows")
    found = validate(typed, schema)

    days = []  # as files of two days, in which a key of one is a key of the other
    for name, of_day in (("monday", typed[:2]), ("tuesday", typed[2:])):
        days.append(tmp_path / f"{name}'s.parquet")
        of_day.to_parquet(days[-1])
    positive = Constraint(name="positive", sql="count > 0 AND day > '2024-01-01'")
    assert validate_files(days, schema, [positive]) == {
        **found,
        "constraints": [
            "positive (count > 0 AND day > '2024-01-01'): 2 of 4 rows violate it; fit the model for longer, or correct "
            "the constraint"
        ],
    }

    repeating = TableSchema(columns=(columns[0].model_copy(update={"repeats": True}), *columns[1:]))
    assert validate(schema.coerce(rows, origin="rows"), repeating)["keys"] == []
    assert {check: problems for check, problems in found.items() if problems} == {
        "keys": [
            "key: 2 of 4 keys are the key of an earlier row; remove the repeated rows, or state `repeats: "
            "true` for the column"
        ],
        "ranges": [
            "day: 1 of 4 values is not >= 2024-01-01; correct the source, or the limits of the column"
        ],
        "no_missing_values": [
            "note: 1 of 4 cells is empty; state `nullable: true` for the column, or fill the cells in the source"
        ],
    }  # fmt: skip
