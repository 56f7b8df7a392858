"""Mock rows: valid by schema for every column type, by constraints too, and marked as what they are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from synth_assets import mock
from synth_assets.cli import main
from synth_assets.errors import ModelError
from synth_assets.schema.columns import (
    Boolean,
    Categorical,
    Column,
    Date,
    Datetime,
    Float,
    Id,
    Integer,
    TableError,
    Text,
)
from synth_assets.schema.constraints import Constraint, violations
from synth_assets.schema.definition import TableDefinition
from synth_assets.schema.table import TableSchema
from synth_assets.schema.validation import validate
from synth_assets.sources.file import read_file
from synth_assets.synthesizers.mock import METADATA_KEY
from synth_assets_tests.any_table import COLUMNS
from synth_assets_tests.services.hub import make_tiny_gpt2

LIMITED: tuple[Column, ...] = (
    Integer(name="one value", minimum=7, maximum=7),
    Integer(name="64 bits", minimum=-(2.0**70), maximum=2.0**70),
    Integer(name="below", maximum=-500),
    Integer(name="between halves", minimum=0.5, maximum=1.5),
    Float(name="narrow", minimum=0.123456789, maximum=0.123456790, nullable=True),
    Float(name="a point", minimum=0.1, maximum=0.1),
    Float(name="infinite span", minimum=-1.7e308, maximum=1.7e308),
    Date(name="leap day", minimum="2024-02-29", maximum="2024-02-29"),
    Date(name="before 2020", maximum="1999-12-31"),
    Datetime(name="a microsecond", minimum="2024-01-31 08:30:00.123456", maximum="2024-01-31 08:30:00.123457"),
    Datetime(name="clocks set back", timezone="Europe/Berlin", minimum="2024-10-27 01:00", maximum="2024-10-27 04:00"),
    Datetime(name="German", format="%d.%m.%Y %H:%M:%S"),
    Text(name="one character", max_length=1),
    Categorical(name="quoted", categories=("no", "1.0", "a,b")),
    Id(name="nullable key", nullable=True),
    Id(name="uuid", pattern="uuid"),
    Id(name="customer", pattern="C-##", repeats=True),
)

ORDERS = """
columns:
  - { name: order_id, type: id, pattern: "AB-####", start: 5001 }
  - { name: items, type: integer, minimum: 1, maximum: 50 }
  - { name: price, type: float, minimum: 0, maximum: 20, nullable: true }
  - { name: ordered, type: date, format: "%d.%m.%Y" }
constraints:
  - { name: affordable, sql: items * price <= 200 }
"""


@pytest.fixture
def schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "orders.yaml"
    path.write_text(ORDERS)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["mock", *arguments])


def test_rows_are_valid_by_a_schema_of_every_type() -> None:
    schema = TableSchema(columns=(*COLUMNS, *LIMITED))
    rows = mock(schema, 12_000, progress=False)  # of several batches

    assert len(rows) == 12_000
    assert [problem for problems in validate(rows, schema).values() for problem in problems] == []
    pd.testing.assert_frame_equal(schema.coerce(rows, origin="rows"), rows)
    for column in schema.columns:
        assert rows[column.name].isna().any() == column.nullable, column.name
        if column.labels:
            assert set(rows[column.name].dropna().astype(str).str.lower()) == {each.lower() for each in column.labels}
    assert 2 < rows["customer"].value_counts().mean() < 4
    assert rows["one character"].str.len().eq(1).all()


def test_the_same_seed_gives_the_same_rows_and_more_begin_with_fewer(schema: Path) -> None:
    rows = mock(schema, 200, seed=3, progress=False)
    pd.testing.assert_frame_equal(mock(schema, 200, seed=3, progress=False), rows)
    pd.testing.assert_frame_equal(mock(schema, 20_000, seed=3, progress=False).head(200), rows)
    assert not mock(schema, 200, seed=4, progress=False).equals(rows)


def test_every_row_meets_the_constraints(schema: Path) -> None:
    cheap = Constraint(name="cheap", sql="price < 1")
    rows = mock(schema, 300, constraints=[cheap], progress=False)
    price = rows["price"].dropna()
    assert len(rows) == 300
    assert (price < 1).all()
    assert (rows["items"][price.index] * price <= 200).all()
    assert rows["order_id"].is_unique


def constraints_of(*conditions: str) -> list[Constraint]:
    return [Constraint(name=name, sql=sql) for name, sql in zip("abc", conditions, strict=False)]


@pytest.mark.parametrize(
    ("column", "constraints", "message"),
    [
        (Integer(name="x"), constraints_of("x >= 0", "x > 100"),
         r"the constraint 'b' \(x > 100\) is met by 0 of 100,000"),
        (Integer(name="x"), constraints_of("x < 40", "x >= 40"),
         r"'a' \(x < 40\) is met by 39,.*, 'b' by 60,\d+, and all constraints together by 0"),
        (Integer(name="x"), constraints_of("y > 1"), "constraint 'a'.*cannot be evaluated"),
        (Integer(name="x", minimum=0.2, maximum=0.8), [],
         "column 'x' has no value that is >= 0.2 and <= 0.8 and a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_named(column: Column, constraints: Sequence[Constraint], message: str) -> None:
    with pytest.raises(TableError, match=message):
        mock(TableSchema(columns=(column,)), 5, constraints=constraints, progress=False)


def test_a_csv_file_can_stand_in_for_the_source(schema: Path) -> None:
    done = run(str(schema), "-n", "50", "--seed", "1", "-o", "rows.csv")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("Mock data: drawn from the schema alone")
    assert done.stderr.endswith("50 mock rows are in rows.csv.\n")
    read = TableDefinition.from_yaml(schema).schema.coerce(read_file(Path("rows.csv")), origin="rows.csv")
    pd.testing.assert_frame_equal(read, mock(schema, 50, seed=1, progress=False))
    to_stdout = run(str(schema), "-n", "50", "--seed", "1")
    assert to_stdout.stdout == Path("rows.csv").read_text()


def test_a_parquet_file_and_a_frame_say_that_they_are_mock_data(schema: Path) -> None:
    done = run(str(schema), "-n", "50", "-o", "rows.parquet")
    assert done.exit_code == 0, done.output
    remark = parquet.read_schema("rows.parquet").metadata[METADATA_KEY.encode()].decode()
    assert remark.startswith("Mock data: drawn from the schema alone")
    rows = mock(schema, 50, progress=False)
    assert rows.attrs == {METADATA_KEY: remark}
    read = TableDefinition.from_yaml(schema).schema.coerce(read_file(Path("rows.parquet")), origin="rows.parquet")
    pd.testing.assert_frame_equal(read, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attributes: { table: orders, columns: [{ name: items, type: integer }], target: { column: items } }", None),
        ("attributes: { table: orders, columns: infer }", "needs the file schema.lock.yaml"),
        ("attributes: { table: orders }", "has `attributes` without `columns`"),
        ("columns: [{ name: items, type: number }]", "columns.0: found type 'number'; expected one of"),
        ("columns: [{ name: items, type: integer }]\nconstraint: []", "constraint: there is no such key"),
        ("columns: infer", "`columns: infer` without a table; expected the columns"),
        (
            "columns: [{ name: items, type: integer }]\nconstraints: [items > 3]",
            "constraints.0: found 'items > 3'; expected keys",
        ),
        ("columns: []", "columns: found 0 items; expected at least 1."),
        ("columns: { items: integer }", "columns: found keys and values; expected a list."),
        ("[]", "has no keys"),
    ],
)
def test_a_schema_may_be_a_defs_yaml_and_mistakes_are_named(schema: Path, text: str, message: str | None) -> None:
    schema.write_text(text)
    done = run(str(schema), "-n", "3")
    if message is None:
        assert done.stdout.startswith("items\n")
    else:
        assert done.exit_code == 1
        assert message in done.stderr


CHOSEN = TableSchema(
    columns=(
        Id(name="key"),
        Categorical(name="colour", categories=("blue", "red"), nullable=True),
        Boolean(name="paid", nullable=True),
        Integer(name="balance", minimum=-20, maximum=120, nullable=True),
        Float(name="rate", minimum=-1, maximum=1e-3),
        Date(name="born"),
        Datetime(name="seen", timezone="Europe/Berlin", nullable=True),
        Text(name="note", description="What the customer said", max_length=30),
    )
)


def test_a_base_chooses_among_valid_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_assets.synthesizers.language_model.untrained.BATCH_ROWS", 16)
    one, other = (str(make_tiny_gpt2(tmp_path / str(seed), seed=seed)) for seed in range(2))
    unequal = [Constraint(name="unequal", sql="colour = 'red' OR balance > 0")]
    rows = mock(CHOSEN, 40, base=one, constraints=unequal, progress=False)

    assert [problem for problems in validate(rows, CHOSEN).values() for problem in problems] == []
    pd.testing.assert_frame_equal(CHOSEN.coerce(rows, origin="rows"), rows)
    assert not violations(rows, unequal, CHOSEN)["unequal"].any()
    assert rows["note"].str.len().between(1, 30).all()
    assert "by the base model" in rows.attrs[METADATA_KEY]
    pd.testing.assert_frame_equal(mock(CHOSEN, 30, base=one, constraints=unequal, progress=False), rows.head(30))
    assert not mock(CHOSEN, 30, base=other, constraints=unequal, progress=False)["born"].equals(rows["born"].head(30))


def test_a_gguf_file_is_named_as_in_the_data_folder(schema: Path) -> None:
    (schema.parent / "data" / "base_models").mkdir(parents=True)
    (schema.parent / "data" / "base_models" / "torn.gguf").write_bytes(b"GGUF")
    done = CliRunner().invoke(main, ["--data", "data", "mock", str(schema), "-n", "3", "--base", "torn.gguf"])
    assert "base_models/torn.gguf' is no complete GGUF file" in done.stderr


@pytest.mark.parametrize(
    ("base", "columns", "message"),
    [
        ("scratch", CHOSEN.columns, "'scratch' has random weights"),
        ("tiny", (Integer(name="x", description="very " * 500),), "take up to .* tokens and the base has room for 512"),
        ("tiny", (Id(name="x"),), "keys alone"),
    ],
)
def test_a_base_that_cannot_choose_is_refused(
    tmp_path: Path, base: str, columns: tuple[Column, ...], message: str
) -> None:
    folder = str(make_tiny_gpt2(tmp_path / base)) if base == "tiny" else base
    with pytest.raises(ModelError, match=message):
        mock(TableSchema(columns=columns), 5, base=folder, progress=False)
