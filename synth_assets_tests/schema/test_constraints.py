"""Constraints: violations are found row by row, in a database that reaches nothing else."""

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.columns import Boolean, Date, Datetime, Float, TableError
from synth_assets.schema.constraints import Constraint, check_constraints, violations
from synth_assets.schema.table import TableSchema

ROWS = pd.DataFrame(
    {"Colour": ["blue", "red", "red", "blue"], "Size": [1.5, 2.0, 3.5, 2.5], "Legs": [2, 4, 4, 4]}
).astype({"Colour": "str"})


def constraint(sql: str) -> Constraint:
    return Constraint(name="it", sql=sql)


@pytest.mark.parametrize(
    ("sql", "violated"),
    [
        ("Legs <= 2 * Size", [False, False, False, False]),
        ("Legs < 2 * Size", [False, True, False, False]),
        ("Colour = 'red' OR Size < 2.5", [False, False, False, True]),
        ("Size > avg(Size) OVER ()", [True, True, False, False]),
    ],
)
def test_rows_that_violate_a_constraint_are_found(small_schema: TableSchema, sql: str, violated: list[bool]) -> None:
    assert violations(ROWS, [constraint(sql)], small_schema)["it"].tolist() == violated


def test_numbers_are_compared_as_decimals() -> None:
    schema = TableSchema(columns=tuple(Float(name=name) for name in "abc"))
    rows = pd.DataFrame({"a": [0.1, 0.1], "b": [0.2, 0.2], "c": [0.3, 0.2999]})
    assert 0.1 + 0.2 > 0.3
    assert violations(rows, [constraint("a + b <= c")], schema)["it"].tolist() == [False, True]


def test_a_missing_or_infinite_cell_violates_a_constraint(small_schema: TableSchema) -> None:
    rows = ROWS.assign(Size=[1.5, np.nan, np.inf, 2.5])
    assert violations(rows, [constraint("Size > 0")], small_schema)["it"].tolist() == [False, True, True, False]


def test_where_a_column_may_be_empty_an_unknown_constraint_is_no_violation() -> None:
    columns = (Date(name="start"), Date(name="end", nullable=True), Boolean(name="paid"))
    schema = TableSchema(columns=columns)
    texts = {"start": ["2024-01-02"] * 3, "end": ["2024-01-03", "", "2024-01-01"], "paid": ["yes"] * 3}
    rows = schema.coerce(pd.DataFrame(texts, dtype="str"), origin="a test")
    assert violations(rows, [constraint('paid AND "end" >= start')], schema)["it"].tolist() == [False, False, True]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "+01:30"])
def test_hours_are_the_ones_of_the_columns_zone(zone: str) -> None:
    schema = TableSchema(columns=(Datetime(name="at", timezone=zone), Boolean(name="b")))
    texts = {"at": ["2024-07-01T22:30:00Z", "2024-01-01T22:30:00Z"], "b": ["no", "no"]}
    rows = schema.coerce(pd.DataFrame(texts, dtype="str"), origin="a test")
    is_off = violations(rows, [constraint('hour("at") = 23')], schema)["it"].tolist()
    assert is_off == ([True, False] if zone == "Europe/Berlin" else [True, True])


def test_names_are_quoted() -> None:
    name = 'x"; drop table rows; --'
    schema = TableSchema(columns=(Float(name=name), Float(name="y")))
    rows = pd.DataFrame({name: [1.0, 3.0], "y": [2.0, 2.0]})
    quoted = constraint('"x""; drop table rows; --" < y')
    check_constraints([quoted], schema)
    assert violations(rows, [quoted], schema)["it"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("Legs <=", r"constraint 'it' \(Legs <=\) cannot be evaluated"),
        ("Wings > 0", "Wings"),
        ("Legs + 1", "expected a condition"),
        ("Legs > (SELECT count(*) FROM read_csv('/etc/passwd'))", "cannot be evaluated: Permission Error"),
        ("true); DROP TABLE rows; SELECT (true", "cannot be evaluated|expected"),
    ],
)
def test_what_is_no_constraint_is_refused_before_a_row_is_seen(small_schema: TableSchema, sql: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        check_constraints([constraint(sql)], small_schema)


def test_a_constraint_needs_a_name_of_its_own(small_schema: TableSchema) -> None:
    with pytest.raises(TableError, match="it stated twice"):
        check_constraints([constraint("Legs > 0"), constraint("Size > 0")], small_schema)
