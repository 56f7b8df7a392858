"""`synth-assets init`: the columns of a file are inferred, printed, and written beside settings that load."""

import http.server
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from synth_assets.cli import init, main
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.lock import SchemaLock
from synth_assets_tests.conftest import PROJECT

ROWS = "order_id;zip;when;paid;visits;open;note\n" + "".join(
    f"{i};0{i % 3};{i % 28 + 1}.1.2024;1.{i:03d},5;{i % 7 if i % 5 else 'NA'};TRUE;note {'ab' * i} of it\n"
    for i in range(1, 61)
)
COLUMNS = {
    "order_id": "id",
    "zip": "categorical",
    "when": "date",
    "paid": "float",
    "visits": "integer",
    "open": "boolean",
    "note": "text",
}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the settings go to `defs/` and the data to `data/` of the current folder."""
    monkeypatch.setattr(init, "DEFS", tmp_path / "defs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Big Sales.2024.csv").write_text(ROWS)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--data", "data", "init", *arguments])


def settings(table: str) -> SyntheticTableSettings:
    folder = Path("defs", table)
    stated: dict[str, Any] = yaml.safe_load((folder / "defs.yaml").read_text())
    assert stated["type"] == "synth_assets.orchestration.SyntheticTable"
    return SyntheticTableSettings(**stated["attributes"]).resolved(folder)


def test_a_file_becomes_a_table_with_short_settings() -> None:
    done = run("Big Sales.2024.csv", "--target", "zip")

    assert done.exit_code == 0, done.output
    found = settings("big_sales")
    assert {column.name: column.type for column in found.columns} == COLUMNS
    assert found.target is not None
    assert found.target.column == "zip"
    assert found.private
    assert (found.source.type, found.source.path) == ("file", "Big Sales.2024.csv")
    assert found.source.dialect.delimiter == ";"
    loaded = found.source.load(Path("data").resolve())
    assert len(found.table_schema().coerce(loaded.frame, origin=loaded.label)) == 60

    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert lines[0] == ["column", "type", "why"]
    assert lines[2] == ["order_id", "id", "unique in every row, and its name says 'id'"]
    assert ["visits", "integer", "whole numbers; 'NA' where a cell is empty; may be empty"] in lines
    assert "60 rows, 7 columns." in done.stderr
    assert "delimiter ';'" in done.stderr
    assert "decimal ','" in done.stderr
    assert "they hold text: 'note'" in done.stderr
    assert "The file is copied to " in done.stderr
    assert "lists every label of this private table" in done.stderr


def test_what_is_stated_of_a_file_stands_in_the_settings() -> None:
    Path("ankieta.csv").write_text("płeć\n" + "mężczyzna\nkobieta\n" * 20, encoding="cp1250")

    done = run("ankieta.csv")
    assert "cp1250 was taken: 'płeć', 'mężczyzna'. If these are wrong" in done.stderr

    done = run("ankieta.csv", "--force", "--dialect", "encoding=cp1252", "--dialect", "header=false")
    assert done.exit_code == 0, done.output
    source = settings("ankieta").source.model_dump(exclude_unset=True)
    assert source == {"type": "file", "path": "ankieta.csv", "dialect": {"encoding": "cp1252", "header": False}}

    with pd.ExcelWriter("book.xlsx") as book:
        pd.DataFrame({"read": ["me"]}).to_excel(book, sheet_name="About", index=False)
        pd.DataFrame({"x": [1, 2, 2]}).to_excel(book, sheet_name="2024", index=False)
    done = run("book.xlsx")
    assert "book.xlsx has the sheets 'About', '2024'; the first was read. State another by `--sheet" in done.stderr
    assert "book.xlsx has 1 row" in done.stderr
    assert run("book.xlsx", "--sheet", "2024").exit_code == 0
    assert settings("book").source.model_dump(exclude_unset=True)["sheet"] == "2024"

    done = run("ankieta.csv", "--force", "--dialect", "charset=cp1250")
    assert done.exit_code == 2
    assert "charset: there is no such key. The keys are delimiter, decimal," in done.stderr


def test_a_file_in_the_data_folder_stays_there_and_a_table_can_be_public() -> None:
    Path("data/sub").mkdir(parents=True)
    pd.DataFrame({"x": [1.5, 2.5] * 9, "y": range(18)}).to_parquet("data/sub/t.parquet")

    done = run("data/sub/t.parquet", "--table", "sales", "--public")

    assert done.exit_code == 0, done.output
    found = settings("sales")
    assert found.source.path == "sub/t.parquet"
    assert not found.private
    assert found.target is None
    assert "copied" not in done.stderr
    assert list(Path("data").iterdir()) == [Path("data/sub")]


def test_a_folder_of_files_in_the_data_folder_is_one_table() -> None:
    Path("data/sales").mkdir(parents=True)
    for month in (1, 2):
        pd.DataFrame({"x": [1.5, 2.5] * 9, "y": range(18)}).to_csv(f"data/sales/{month}.csv", index=False)

    done = run("data/sales")

    assert done.exit_code == 0, done.output
    assert settings("sales").source.path == "sales"
    assert "36 rows, 2 columns." in done.stderr
    Path("data/sales").rename("elsewhere")
    assert "elsewhere is a folder outside the data folder" in run("elsewhere").stderr


def test_a_url_is_read_and_stated(tmp_path: Path) -> None:
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            requests.append(format % args)

    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/Big%20Sales.2024.csv"
        done = run(url, "--table", "sales")
        missing = run(url.replace("2024", "2025"), "--table", "other")
        server.shutdown()

    assert done.exit_code == 0, done.output
    assert len([request for request in requests if "2024" in request]) == 1
    found = settings("sales")
    assert (found.source.type, found.source.url) == ("url", url)
    assert {column.name: column.type for column in found.columns} == COLUMNS
    assert not Path("data").exists()
    assert missing.exit_code == 1
    assert not Path("defs/other").exists()


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("2024 Größe.v2.csv", "table_2024_groe"),
        ("價格.csv", "table"),
        ("main.csv", "table_main"),
        ("Ab-Cd.csv", "ab_cd"),
    ],
)
def test_a_table_is_named_after_its_file(file: str, table: str) -> None:
    Path(file).write_text(ROWS)
    assert run(file).exit_code == 0
    assert settings(table).table == table


def test_settings_that_are_there_are_kept_unless_forced() -> None:
    assert run("Big Sales.2024.csv").exit_code == 0
    Path("defs/big_sales/defs.yaml").write_text("mine")

    again = run("Big Sales.2024.csv")
    assert again.exit_code == 1
    assert "the table big_sales has settings already" in again.stderr
    assert "there is no file big_sales.csv" in run("big_sales.csv").stderr
    assert Path("defs/big_sales/defs.yaml").read_text() == "mine"

    assert run("Big Sales.2024.csv", "--force").exit_code == 0
    assert settings("big_sales").table == "big_sales"


def test_another_file_of_that_name_in_the_data_folder_is_kept_unless_forced() -> None:
    Path("data").mkdir()
    Path("data/Big Sales.2024.csv").write_text("a\n1\n")

    done = run("Big Sales.2024.csv")

    assert done.exit_code == 1
    assert "the data folder has another Big Sales.2024.csv" in done.stderr
    assert Path("data/Big Sales.2024.csv").read_text() == "a\n1\n"
    assert run("Big Sales.2024.csv", "--force").exit_code == 0
    assert Path("data/Big Sales.2024.csv").read_text() == ROWS


def test_the_lock_of_settings_is_written_again() -> None:
    assert run("Big Sales.2024.csv", "--target", "zip").exit_code == 0
    stated = Path("defs/big_sales/defs.yaml").read_text()
    Path("data/Big Sales.2024.csv").write_text(ROWS.replace("TRUE", "perhaps"))

    done = run("defs/big_sales")

    assert done.exit_code == 0, done.output
    assert "Changed since the lock before: 'open'." in done.stderr
    assert Path("defs/big_sales/defs.yaml").read_text() == stated
    assert settings("big_sales").table_schema().column("open").labels == ("perhaps",)
    assert "nothing" in run("defs/big_sales/defs.yaml").stderr
    assert "states table, target and private" in run("defs/big_sales", "--target", "zip").stderr


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "there is no file t.csv. Expected a table in CSV, Parquet, JSON or Excel, or a URL."),
        ("a,split\n1,2\n3,4\n", (), "columns: 'split' would clash with a column that the pipeline adds; rename it in"),
        ("a,A\n1,2\n3,4\n", (), "columns: 'A', 'a' are one name to DuckDB"),
        ("a,b\n1,2\n", (), "t.csv has 1 row; at least 2 are needed to learn a table."),
        ("a,b\n1,2\n1,inf\n", (), "t.csv: column 'b' has inf in data row 2, which is not a finite number"),
        ("a,b\n1,2\n3,4\n", ("--target", "c"), "target: 'c' is not a column of the table; the columns are 'a', 'b'."),
        ("a,b\n1,2\n3,4\n", ("--table", "My table"), "found 'My table'; expected a lower-case name of letters, digits"),
        ("a,b\n1,2\n3,4\n", ("--table", "main"), "found 'main'; expected a lower-case name"),
    ],
)
def test_what_cannot_be_a_table_is_one_sentence_and_nothing_is_written(
    content: str | None, arguments: tuple[str, ...], message: str
) -> None:
    if content is not None:
        Path("t.csv").write_text(content)

    done = run("t.csv", *arguments)

    assert done.exit_code in (1, 2)
    assert message in done.stderr.splitlines()[-1]
    assert not Path("defs").exists()
    assert not list(Path("data").glob("*"))


def test_a_table_of_many_columns_gets_the_forest() -> None:
    codes = [f"{i * 7919 % 100000:05d}" for i in range(10)]
    pd.DataFrame([range(101)] * 10).add_prefix("x").assign(code=codes).to_csv("t.csv", index=False)

    done = run("t.csv")

    assert done.exit_code == 0, done.output
    assert "102 columns are to be learned, which a forest does better" in done.stderr
    assert "because the synthesizer forest writes no text and no codes, and language_model does: 'code'." in done.stderr
    assert settings("t").synthesizer.type == "forest"
    assert "a forest does better" not in run("Big Sales.2024.csv").stderr
    assert settings("big_sales").synthesizer.type == "language_model"


def test_long_names_are_shortened_in_print_alone() -> None:
    name = "a" * 150 + "b" * 150
    pd.DataFrame({name: [1, 2], "x": [[1], [2]]}).to_parquet("t.parquet")

    done = run("t.parquet")

    assert f"{'a' * 40}…{'b' * 19}  integer" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 100
    assert "Left out: 'x' holds lists or other nested values." in done.stderr
    assert [column.name for column in settings("t").columns] == [name]


@pytest.mark.slow
def test_dg_accepts_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "synth_assets", project / "synth_assets")
    shutil.copy(PROJECT / "pyproject.toml", project)
    monkeypatch.setattr(init, "DEFS", project / "synth_assets" / "defs")
    assert run("Big Sales.2024.csv").exit_code == 0
    dg = Path(sys.executable).with_name("dg")

    done = subprocess.run(
        [dg, "check", "defs"], cwd=project, env={"PATH": "/usr/bin", "PYTHONPATH": str(project)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert SchemaLock.read(project / "synth_assets" / "defs" / "big_sales").columns
