"""The lock keeps the inferred columns word by word, and a source that has changed is noticed."""

from pathlib import Path

import pandas as pd
import pytest

from synth_assets.schema.columns import Categorical, Date, Float, Id, Integer, TableError, Text
from synth_assets.schema.infer import infer
from synth_assets.schema.lock import LOCK, SchemaLock, changes


def test_labels_and_names_survive_yaml(tmp_path: Path) -> None:
    labels = [
        "no",
        "NA",
        "~",
        "02116",
        "1e5",
        "12:30:45",
        " led",
        "two\nlines",
        "\t",
        "\u2028",
        "é",
        "😀",
        "a: #b",
        "0x1",
    ]
    frame = pd.DataFrame({'a "q", b: {': labels * 2, "x" * 300: range(28), "raw": [b"\x00"] * 28})
    inference = infer(frame)

    SchemaLock.of(inference, {"dialect": {"delimiter": "\t"}}).write(tmp_path)
    read = SchemaLock.read(tmp_path)

    assert read.columns == inference.schema.columns
    assert read.left_out == {"raw": "holds bytes"}
    assert read.source == {"dialect": {"delimiter": "\t"}}
    assert "synth-assets init" in (tmp_path / LOCK).read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"`columns: infer` needs the file schema\.lock\.yaml beside defs\.yaml"),
        ("columns: [", r"^schema\.lock\.yaml is not YAML: .*Run `synth-assets init` on defs.yaml"),
        ("- a", r"^schema\.lock\.yaml has no keys; expected `columns`"),
        ("columns: []", r"^schema\.lock\.yaml: columns: found"),
        ("columns: [{name: a, type: cat}]", r"columns\.0: found type 'cat'; expected one of"),
    ],
)
def test_a_damaged_lock_is_refused_with_what_mends_it(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / LOCK).write_text(text)
    with pytest.raises(TableError, match=message) as caught:
        SchemaLock.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_override_replaces_the_column_of_its_name() -> None:
    lock = SchemaLock(columns=(Float(name="a"), Integer(name="b")))

    assert lock.with_overrides([Float(name="b")]) == (Float(name="a"), Float(name="b"))
    found = SchemaLock(columns=(Integer(name="a", nullable=True, missing_values=("?",), minimum=1), Integer(name="b")))
    merged = found.with_overrides([Integer(name="a", maximum=9, missing_values=("NA",))])[0]
    assert merged == Integer(name="a", nullable=True, missing_values=("NA",), minimum=1, maximum=9)
    retyped = found.with_overrides([Float(name="a", maximum=9)])[0]
    assert retyped == Float(name="a", nullable=True, missing_values=("?",), maximum=9)
    assert found.with_overrides([Float(name="a", nullable=False)])[0] == Float(name="a", missing_values=("?",))
    with pytest.raises(TableError, match=r"^override: 'c' is not a column of schema\.lock\.yaml; the columns are a, b"):
        lock.with_overrides([Float(name="c")])
    with pytest.raises(TableError, match=r"^override: a column is stated twice"):
        lock.with_overrides([Float(name="b"), Text(name="b")])


COLUMNS = (Id(name="key"), Categorical(name="label", categories=("a", "b")), Date(name="day"))
ROWS = pd.DataFrame({"key": ["1", "2"], "label": ["a", "b"], "day": ["2024-01-31", "2024-02-29"], "took": ["1", "2"]})


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (ROWS.drop(columns="day"), "'day' is missing in the source; add it there, or run"),
        (ROWS.assign(new=1), "'new' is new in the source and no part of the table; run"),
        (
            ROWS.assign(label=["a", "c"]),
            "'label' has 'c' in data row 2, which is not one of its labels (1 such cell); ",
        ),
        (
            ROWS.assign(day=["soon", "?"]),
            "'day' has 'soon' in data row 1, which is not a date such as 2024-01-31 (2 such ",
        ),
        (ROWS.assign(day=None), "'day' has 2 empty cells and may have none; state `nullable: true`"),
    ],
)
def test_a_changed_source_is_noticed(rows: pd.DataFrame, told: str) -> None:
    (change,) = changes(rows, COLUMNS, left_out=("took",))
    assert change.startswith(told)
    assert changes(ROWS, COLUMNS, left_out=("took",)) == []
