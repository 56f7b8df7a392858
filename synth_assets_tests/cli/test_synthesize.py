"""`synth-assets synthesize`: one file in, rows and a report out; bad input is one sentence."""

import re
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from synth_assets import api, synthesizers
from synth_assets.cli import main
from synth_assets_tests.stub_synthesizer import Stub


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(synthesizers.SYNTHESIZERS, "stub", Stub)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=100).round(3)
    frame = pd.DataFrame({"x": x, "label": np.where(x > 0, "high", "low"), "count": rng.integers(0, 9, 100)})
    frame.to_csv("table.csv", index=False)
    return frame


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["synthesize", *arguments])


OUTPUT = ("-n", "60", "-o", "rows.csv", "--synthesizer", "stub")


@pytest.mark.usefixtures("fast_evaluation")
def test_a_fifth_is_held_out_and_the_rows_are_evaluated(table: pd.DataFrame) -> None:
    done = run("table.csv", *OUTPUT, "--report", "report.html")

    assert done.exit_code == 3, done.output  # the stub repeats train rows
    assert "privacy: failed" in done.stderr
    assert done.stdout == ""
    assert "20 of the rows are held out for the report" in done.stderr
    assert "fitted to 80 rows" in done.stderr
    assert "\nevaluating 60 synthetic rows beside 80 train rows and 20 holdout rows: " in done.stderr
    assert re.search(r"^similarity of columns: \d+ results in \d+ s \(\d+ of \d+\)$", done.stderr, re.MULTILINE)
    assert len(pd.read_csv("rows.csv")) == 60
    page = Path("report.html").read_text()
    facts = {"Synthesizer": "stub", "Seed": "0", "Made with": f"synth-assets {version('synth-assets')}"}
    for fact, value in facts.items():
        assert f'<th scope="row">{fact}</th><td class="text">{value}</td>' in page


def test_without_holdout_all_rows_are_fitted_and_formats_go_by_suffix(table: pd.DataFrame) -> None:
    Path("schema.yaml").write_text("columns: [{name: x, type: float}, {name: count, type: integer}]")
    table.to_parquet("table.parquet")

    arguments = ("-n", "7", "-o", "rows.parquet", "--synthesizer", "stub", "--no-holdout", "--schema", "schema.yaml")
    done = run("table.parquet", *arguments)

    assert done.exit_code == 0, done.output
    assert "fitted to 100 rows" in done.stderr
    assert "held out" not in done.stderr
    assert "Left out: 'label'. The schema does not state them." in done.stderr
    rows = pd.read_parquet("rows.parquet")
    assert rows.dtypes.astype(str).to_dict() == {"x": "float64", "count": "int64"}
    assert len(rows) == 7


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("{name: zip, type: categorical, categories: ['02116', '09301']}", None),
        (
            "{name: zip, type: categorical, categories: ['02116']}",
            "zip: 10 of 20 values are not one of 02116: '09301'; add",
        ),
        ("{name: zip, type: integer, minimum: 5000}", "zip: 10 of 20 values are not >= 5000"),
    ],
)
def test_labels_and_limits_of_the_schema_hold(columns: str, message: str | None) -> None:
    Path("table.csv").write_text("zip\n" + "02116\n09301\n" * 10)
    Path("schema.yaml").write_text(f"columns: [{columns}]")

    done = run("table.csv", *OUTPUT, "--no-holdout", "--schema", "schema.yaml")

    if message is None:
        assert done.exit_code == 0, done.output
        assert set(pd.read_csv("rows.csv", dtype="str")["zip"]) == {"02116", "09301"}
    else:
        assert done.exit_code == 1
        assert message in done.stderr


@pytest.mark.usefixtures("fast_evaluation")
def test_constraints_of_the_schema_are_evaluated(table: pd.DataFrame) -> None:
    never = f"{{name: never, sql: 'x > {table['x'].max()}'}}"
    Path("schema.yaml").write_text(f"columns: [{{name: x, type: float}}]\nconstraints: [{never}]")

    counted = run("table.csv", *OUTPUT, "--schema", "schema.yaml", "--no-holdout")
    assert "constraint never: 60 of 60 synthetic rows violate it." in counted.stderr
    evaluated = run("table.csv", *OUTPUT, "--schema", "schema.yaml", "--report", "report.html")
    assert evaluated.exit_code == 3
    assert "never" in Path("report.html").read_text()

    Path("schema.yaml").write_text("columns: [{name: x, type: float}]\nconstraints: [{name: c, sql: 'y > 0'}]")
    refused = run("table.csv", *OUTPUT, "--schema", "schema.yaml")
    assert refused.exit_code == 1
    assert "constraint" in refused.stderr
    assert "fitted" not in refused.stderr


def test_types_are_inferred_and_written_as_they_came() -> None:
    lines = [
        "zip;when;paid;open;note",
        *(f"0{i % 3};{i % 28 + 1}.1.2024;{i % 7},5;TRUE;note {i * i} of {i}" for i in range(60)),
    ]
    Path("table.csv").write_text("\n".join(lines))
    Path("schema.yaml").write_text("columns: [{name: note, type: text}]\nprivate: false")

    done = run("table.csv", *OUTPUT, "--no-holdout")

    assert done.exit_code == 0, done.output
    assert "60 rows, 5 columns (1 categorical, 1 date, 1 float, 1 boolean, 1 text)." in done.stderr
    rows = pd.read_csv("rows.csv", dtype="str", sep=";")
    assert "note" not in rows
    assert set(rows["zip"]) == {"00", "01", "02"}
    assert rows["when"].str.fullmatch(r"\d\d\.01\.2024").all()
    assert rows["paid"].str.fullmatch(r"\d,5").all()

    assert run("table.csv", *OUTPUT, "-o", "rows.parquet", "--no-holdout").exit_code == 0
    assert pd.read_parquet("rows.parquet")["when"].map(type).eq(date).all()

    for arguments in (("--public",), ("--schema", "schema.yaml")):
        assert run("table.csv", *OUTPUT, "--no-holdout", *arguments).exit_code == 0
        assert "note" in pd.read_csv("rows.csv", sep=";")
    assert run("table.csv", *OUTPUT, "--no-holdout", "--schema", "schema.yaml", "--private").exit_code == 1


def test_a_csv_file_is_written_in_the_dialect_of_the_source() -> None:
    rows = "miasto;kwota\n" + "".join(f"{('Łódź', 'Żory')[i % 2]};{i},5\n" for i in range(30))
    Path("table.csv").write_text(rows, encoding="iso8859_2")
    stated = ("--dialect", "encoding=iso8859_2", "--no-holdout")

    done = run("table.csv", *OUTPUT, *stated)

    assert done.exit_code == 0, done.output
    assert "are in rows.csv, with delimiter ';' and decimal mark ',', in iso8859_2." in done.stderr
    assert "was taken" not in done.stderr
    text = Path("rows.csv").read_text("iso8859_2")
    assert re.fullmatch(r"miasto;kwota\n((Łódź|Żory);\d+,5\n){60}", text)
    run("table.csv", *OUTPUT, *stated, "-o", "rows.tsv")
    assert Path("rows.tsv").read_text("iso8859_2") == text.replace(";", "\t")


def test_a_rare_label_of_the_target_is_held_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("table.csv").write_text("x,fraud\n" + "".join(f"{i % 9},{'yes' if i < 10 else 'no'}\n" for i in range(500)))
    seen = {}
    monkeypatch.setattr(
        api, "evaluate", lambda synthetic, train, holdout, **_: seen.update(holdout=holdout) or _Passed()
    )

    done = run("table.csv", *OUTPUT, "--target", "fraud")

    assert done.exit_code == 0, done.output
    assert seen["holdout"]["fraud"].value_counts().to_dict() == {"no": 98, "yes": 2}


class _Passed:
    gates = ()
    passed = True


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "there is no file table.csv. Expected a table, as CSV with a header, Parquet, JSON or Excel."),
        ("", (), "table.csv is empty; expected a header and at least one row."),
        ("a,b\n", (), "table.csv has no row; at least 2 are needed"),
        ("a,b\n1,2\n", (), "table.csv has 1 row; at least 2 are needed"),
        ("a,b,a\n1,2,3\n4,5,6\n", (), "table.csv has the column 'a' twice; every name must be unique."),
        ("a,b\n" + "1,2\n" * 50, ("--target", "c"), "target: 'c' is not a column of the table"),
        ("a,b\n" + "1,2\n" * 14, (), "has 14 rows; an evaluation needs at least 15, of which 5 are held out."),
        ("id\n" + "\n".join(map(str, range(50))), (), "table.csv has nothing to learn: id (id). Add a column"),
        ("a,split\n" + "1,2\n" * 50, (), "columns: 'split' would clash with a column that the pipeline adds"),
        ("a,b\n" + "1,2\n" * 49 + "1,inf\n", (), "column 'b' has inf in data row 50, which is not a finite number"),
        ("a,b\n" + "1,2\n" * 50, ("-n", "3"), "--rows is 3; an evaluation needs at least 5 synthetic rows."),
        ("a,b\n" + "1,2\n" * 50, ("-n", "1e9"), "--rows is 1,000,000,000; the rows are held in memory, of this"),
        ("a,b\n" + "1,2\n" * 50, ("-n", "1.5"), "'1.5' is not a whole number from 1 to 1e12, such as 5000 or 1e9."),
        ("x:y\n" + "".join(f"{i}:a\n" for i in range(50)), (), "If the file has another delimiter than a comma,"),
        ("a,b\n" + "1,2\n" * 50, ("-o", "rows.xls"), "rows.xls: the suffix is '.xls'; expected .csv, .tsv,"),
        ("a,b\n" + "1,2\n" * 50, ("-o", "no/rows.csv"), "no/rows.csv cannot be written: there is no folder no."),
        ("a,b\n" + "1,2\n" * 50, ("--report", "r.html", "--no-holdout"), "--no-holdout leaves no row"),
        ("a,b\n" + "1,2\n" * 50, ("-o", "table.csv"), "--output and FILE are the same file, table.csv"),
        ("a,b\n" + "1,2\n" * 50, ("--report", "rows.csv"), "--output and --report are the same file, rows.csv"),
        ("a,b\n" + "1,2\n" * 50 + "1,2,3\n", (), "table.csv: line 52 has 3 cells, and the header has 2."),
        ("a,b\n" + "1,2\n" * 50, ("--schema", "none.yaml"), "the schema none.yaml cannot be read: No such file"),
        ("a,b\n" + "1,2\n" * 50, ("--synthesizer", "gan"), "'gan' is not one of language_model"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_before_anything_is_fitted(
    content: str | None, arguments: tuple[str, ...], message: str
) -> None:
    if content is not None:
        Path("table.csv").write_text(content)

    done = run("table.csv", *OUTPUT, *arguments)

    assert done.exit_code in (1, 2)
    assert message in done.stderr.splitlines()[-1]
    assert "fitted" not in done.stderr
    assert not Path("rows.csv").exists()
