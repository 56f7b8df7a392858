"""Tests of conditions as text."""

import pytest

from synth_assets.errors import ModelError
from synth_assets.schema.conditions import Condition, split_column

LABELS = ("a and b", "x' and != 'y", "'quoted'", "a, b", "it''s", "a') and in ('b")


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        (">=15", [(">=", "15")]),
        (" = 'I' ", [("==", "I")]),
        ("<> 5", [("!=", "5")]),
        ("== =5", [("==", "=5")]),
        ("== 'a, b'", [("==", "a, b")]),
        ("> 2024-01-31 08:00 and <= '2024-02-01'", [(">", "2024-01-31 08:00"), ("<=", "2024-02-01")]),
        ("IS  NULL", [("is null",)]),
        ("is not null AND != 3", [("is not null",), ("!=", "3")]),
        ("between 1 and 5", [(">=", "1"), ("<=", "5")]),
        ("Between '1' And 5 and != 3", [(">=", "1"), ("<=", "5"), ("!=", "3")]),
        ("!= 3 and between 2024-01-01 08:00 and 2024-02-01 and is not null",
         [("!=", "3"), (">=", "2024-01-01 08:00"), ("<=", "2024-02-01"), ("is not null",)]),
        ("in (1)", [("in", "1")]),
        ("IN(1,2 , 3,)", [("in", "1", "2", "3")]),
        ("in ('a, b', \"it's\", 'it''s', plain text, b (c))", [("in", "a, b", "it's", "it's", "plain text", "b (c)")]),
        ("not in ('a', 2) and >= 1", [("!=", "a"), ("!=", "2"), (">=", "1")]),
        ("in (1, 2) and in (2, 3)", [("in", "1", "2"), ("in", "2", "3")]),
        ("== ')' and in ('(', 'x')", [("==", ")"), ("in", "(", "x")]),
    ],
)  # fmt: skip
def test_clauses_are_operators_and_values(text: str, clauses: list[tuple[str, ...]]) -> None:
    found = [(clause.operator, *clause.values) for clause in Condition.parse(text, "x").clauses]
    assert found == clauses


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("== a and b", ["a and b"]),
        ("== x' and != 'y", ["x' and != 'y"]),
        ("== ''quoted''", ["'quoted'"]),
        ("== 'quoted'", ["'quoted'"]),
        ("== 'it''s'", ["it''s"]),
        ("in ('a, b', a and b, ''quoted'')", ["a, b", "a and b", "'quoted'"]),
    ],
)
def test_a_label_is_a_value_as_it_stands(text: str, values: list[str]) -> None:
    (clause,) = Condition.parse(text, "x", LABELS).clauses
    assert list(clause.values) == values


@pytest.mark.parametrize(
    "text",
    ["", "15", ">=", ">= ", "=== 3", "=> 3", "is nothing", "in ()", "in (1,,2)", "in 1, 2", "in (1", "between 1",
     "between 1 and", "between 1 or 2", "like 5", "not between 1 and 2"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be read; expected one of >=, .*in \('I', 'F'\)"):
        Condition.parse(text, "x")


def test_values_are_converted_and_the_text_is_kept() -> None:
    condition = Condition.parse("in (1, 2) and is not null", "x").with_values(lambda value: value + "0").excluding("7")
    assert condition == Condition.parse("in (10, 20) and is not null and != 7", "x")
    assert str(condition) == "in (1, 2) and is not null"
    assert [Condition.parse(each, "x").is_about_gaps for each in ("is null", "is not null and > 3")] == [True, False]


def test_the_column_ends_where_a_condition_begins() -> None:
    assert split_column("day of birth in (1, 2)") == ("day of birth", "in (1, 2)")
    assert split_column("x<=3") == ("x", "<=3")
    assert split_column("between 1 and 2") is None
    assert split_column("x is nothing") is None
