"""`synth-assets`: answers on stdout, messages on stderr, exit codes that a script can trust."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from synth_assets.cli import main
from synth_assets.cli.output import write_csv
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.warehouse import Provenance, Warehouse
from synth_assets_tests.conftest import PROJECT
from synth_assets_tests.storage.toy import MONDAY, TABLES, TUESDAY, WEDNESDAY, spec, write_sample
from synth_assets_tests.world import DAY, World

ODD = 'x"; drop table y; --'


def run(folder: Path | Publisher | World, *arguments: str, stdin: str | None = None) -> Result:
    root = folder if isinstance(folder, Path) else folder.paths.root if isinstance(folder, Publisher) else folder.root
    return CliRunner().invoke(main, ["--data", str(root), *arguments], input=stdin, prog_name="synth-assets")


def answer(*arguments: Any, **options: Any) -> str:
    done = run(*arguments, **options)
    assert done.exit_code == 0, done.output
    return done.stdout


def in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in which `synth-assets` is this package's."""
    environment = {
        **os.environ,
        "SYNTH_ASSETS_DATA": str(folder),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, sys.path)]),
    }
    command = f'synth-assets() {{ "{sys.executable}" -m synth_assets.cli "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [None, *sorted(main.commands)])
def test_help_tells_what_a_command_does(command: str | None) -> None:
    done = CliRunner().invoke(main, [*([command] if command else []), "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.stdout
    if command:
        assert main.commands[command].help
        assert all(each.help for each in main.commands[command].params if isinstance(each, click.Option))


def test_commands_import_only_what_they_need(toy: Publisher) -> None:
    """A fresh process runs commands one after the other, and prints the heavy modules that are loaded after each."""
    script = """
import contextlib, io, sys
from synth_assets.cli import main

for heavy, *arguments in (
    ("duckdb pandas dagster filelock torch", "--help"),
    ("duckdb pandas dagster filelock torch", "publications"),
    ("pandas dagster torch", "tables"),
    ("pandas dagster torch", "query", "from toy.raw"),
    ("pandas dagster torch", "status"),
    ("dagster torch", "verify"),
    ("dagster torch", "delete", "toy", "2026-01-05", "--yes"),
    ("dagster", "sample"),
):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit, Exception):
        main(["--data", sys.argv[1], *arguments], standalone_mode=False)
    print(arguments[0], sorted(set(heavy.split()) & set(sys.modules)))
from synth_assets import api
print("api", sorted({"dagster"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", script, str(toy.paths.root)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    assert [line for line in done.stdout.splitlines() if not line.endswith(" []")] == []
    assert len(done.stdout.splitlines()) == 9


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 2, "No such command 'nothing'"),
        (["query"], 2, "Missing argument 'SQL'"),
        (["query", "from toy.raw", "--format", "xml"], 2, "'xml' is not one of 'table', 'csv', 'json'"),
        (["query", "from toy.raw", "--guard-formulas"], 2, "--guard-formulas requires --format csv"),
        (["query", "selec 1"], 1, "Parser Error"),
        (["query", "from toy.nothing"], 1, "Catalog Error"),
        (["export", "nothing"], 1, "there is no published table 'nothing'"),
        (["export", "toy", "--date", "soon"], 1, "expected a date as 'YYYY-MM-DD'"),
        (["export", "toy", "-o", "/nowhere/rows.csv"], 1, "/nowhere/rows.csv cannot be written: No such file"),
        (["sample", "-n", "1e-1"], 2, "'1e-1' is not a whole number from 1 to 1e12, such as 5000 or 1e9."),
        (["sample", "-n", "1e30"], 2, "'1e30' is not a whole number from 1 to 1e12, such as 5000 or 1e9."),
        (["sample", "--execution", "ray"], 2, "--execution writes a folder of Parquet files: name it by --output"),
        (["sample", "--address", "auto"], 2, "--address requires --execution ray"),
        (["sample", "--output", "s3://shop/rows"], 2, "s3://shop/rows is an object store; --execution writes to one"),
        (
            ["sample", "-n", "1e9", "--execution", "local", "--output", "folder"],
            1,
            "the model store has no model 'm1'",
        ),
        (["sample", "--where", "many rings"], 1, "'many rings' is not a condition"),
        (["sample", "--table", "nothing"], 1, "there is no published table 'nothing'; there are toy"),
        (["sample", "--seed", "1"], 1, "the model store has no model 'm1'"),
        (["report"], 1, "there is no report"),
        (["report", "toy", "--date", WEDNESDAY], 1, f"no sample of toy of '{WEDNESDAY}' is published"),
        (["rollback"], 1, "is the first publication"),
        (["rollback", "nothing"], 1, "there is no publication 'nothing'"),
        (["verify", "nothing"], 1, "there is no publication 'nothing'"),
        (["delete", "toy", "monday"], 2, "found 'monday'; expected a date as YYYY-MM-DD"),
        (["delete", "toy", WEDNESDAY], 1, f"toy has no sample of {WEDNESDAY}"),
    ],
)
def test_what_is_wrong_is_one_message_on_stderr(toy: Publisher, arguments: list[str], code: int, message: str) -> None:
    done = run(toy, *arguments)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["status", "tables", "publications", "report", "sample", "rollback", "verify"])
def test_where_nothing_is_published_it_is_said_what_to_do(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command)
    assert done.exit_code == 1
    assert f"nothing is published in {tmp_path}/published/synthetic.duckdb yet; run `make demo`" in done.stderr


def test_tables_are_listed_and_described(toy: Publisher) -> None:
    lines = answer(toy, "tables").splitlines()
    assert "toy.raw               table  It's raw." in lines
    assert "toy.synthetic_latest  view   The synthetic rows of the latest resample date." in lines
    lines = answer(toy, "tables", "toy").splitlines()
    assert lines[0] == "toy.synthetic_latest: The synthetic rows of the latest resample date."
    assert "x              BIGINT   The x of synthetic_sample; it's one." in lines
    found = {each["name"]: each for each in json.loads(answer(toy, "tables", "--json"))}
    assert found["toy.raw"] == {
        "name": "toy.raw",
        "kind": "table",
        "description": "It's raw.",
        "columns": [{"name": "x", "type": "VARCHAR", "description": "The x of raw; it's one."}],
    }


def test_a_query_is_answered_in_the_requested_format(toy: Publisher) -> None:
    sql = "select x, x / 3 as third, resample_date as day, x > 3 as many, null as nothing from toy.synthetic_latest"
    assert answer(toy, "query", sql).splitlines() == [
        "x  third    day         many   nothing",
        "-  -------  ----------  -----  -------",
        "4  1.33333  2026-01-06  true",
        "3  1        2026-01-06  false",
    ]
    assert answer(toy, "query", sql, "--format", "csv").splitlines() == [
        "x,third,day,many,nothing",
        "4,1.3333333333333333,2026-01-06,true,",
        "3,1.0,2026-01-06,false,",
    ]
    assert json.loads(answer(toy, "query", sql, "--format", "json"))[0] == {
        "x": 4, "third": 4 / 3, "day": TUESDAY, "many": True, "nothing": None,
    }  # fmt: skip
    assert json.loads(answer(toy, "query", "select 'nan'::double as x, [1, 2] as y", "--format", "json")) == [
        {"x": None, "y": [1, 2]}
    ]
    assert json.loads(answer(toy, "query", "from toy.raw where false", "--format", "json")) == []
    assert answer(toy, "query", "-", "--format", "csv", stdin="select count(*) as n from synthetic_all") == "n\n4\n"


def test_what_is_in_the_data_does_not_reach_the_terminal_as_more_than_text(toy: Publisher) -> None:
    assert "\x1b" not in answer(toy, "query", "select chr(27) || '[2J' as x, 'a' || chr(10) || 'b' as y")


@pytest.mark.parametrize(
    "sql",
    [
        "from read_csv('{secret}')",
        "from '{secret}'",
        "select * from read_text('{secret}')",
        "select * from glob('/*')",
        "copy toy.raw to '{target}'",
        "export database '{target}'",
        "attach '{target}' as mine",
        "create table toy.mine as select 1",
        "delete from toy.raw",
        "drop view toy.synthetic_latest",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "reset enable_external_access",
        "select 1; copy toy.raw to '{target}'",
    ],
)
def test_a_query_changes_nothing_and_reaches_nothing_else(toy: Publisher, tmp_path: Path, sql: str) -> None:
    secret, target = tmp_path / "secret.csv", tmp_path / "target"
    secret.write_text("password\nhunter2\n")
    before = toy.publications.current().file.read_bytes()

    done = run(toy, "query", sql.format(secret=secret, target=target))

    assert done.exit_code == 1, done.stdout
    assert "hunter2" not in done.output
    assert not target.exists()
    assert toy.publications.current().file.read_bytes() == before


def test_a_table_is_exported_in_any_format(toy: Publisher, tmp_path: Path) -> None:
    expected = [{"resample_date": TUESDAY, "x": x, "model_version": "m1"} for x in (4, 3)]
    assert list(csv.DictReader(io.StringIO(answer(toy, "export", "toy")))) == [
        {name: str(value) for name, value in row.items()} for row in expected
    ]
    assert json.loads(answer(toy, "export", "toy", "--format", "json")) == expected
    files = {format_: tmp_path / f"rows.{format_}" for format_ in ("csv", "json", "parquet", "arrow")}
    for format_, file in files.items():
        file.write_text("what was there before")
        assert answer(toy, "export", "toy", "--format", format_, "--output", str(file)) == ""
    assert files["csv"].read_text() == answer(toy, "export", "toy")
    arrow = pa.ipc.open_file(files["arrow"]).read_all().to_pandas()
    for frame in (pd.read_parquet(files["parquet"]), arrow):
        assert frame.assign(resample_date=frame["resample_date"].astype("str")).to_dict("records") == expected
    assert sorted(tmp_path.glob("*rows*")) == sorted(files.values())
    done = run(toy, "export", "toy", "--format", "parquet")
    assert done.stdout_bytes == files["parquet"].read_bytes()
    assert answer(toy, "export", "toy", "--date", MONDAY, "--where", "x > 1").splitlines()[1:] == [f"{MONDAY},2,m1"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\uff1d1"])
def test_text_that_a_spreadsheet_would_calculate_is_guarded_on_request(text: str) -> None:
    for guard, expected in ((True, f"'{text}"), (False, text)):
        file = io.StringIO()
        write_csv([text, "x"], [[(text, -1.5), ("a=b", -2)]], file, guard_formulas=guard)
        assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [
            [expected, "x"], [expected, "-1.5"], ["a=b", "-2"],
        ]  # fmt: skip


def test_csv_gives_back_what_was_written() -> None:
    texts = ["plain", "a,b", 'a "b"', "a\nb", "a\rb", "", " ä ", ODD]
    file = io.StringIO()
    write_csv([ODD, "x"], [[(text, None) for text in texts]], file)
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [[ODD, "x"], *([text, ""] for text in texts)]
    found = pd.read_csv(io.StringIO(file.getvalue()), keep_default_na=False, dtype="str")
    assert found[ODD].tolist() == texts


def test_formulas_are_guarded_in_the_command_line_too(toy: Publisher) -> None:
    sql = ("query", "select '=1+1' as x, -1 as y", "--format", "csv")
    assert answer(toy, *sql) == "x,y\n=1+1,-1\n"
    assert answer(toy, *sql, "--guard-formulas") == "x,y\n'=1+1,-1\n"


def test_publications_rollback_and_history(toy: Publisher) -> None:
    first = toy.publications.current().id
    write_sample(toy.warehouse, WEDNESDAY, [7])
    second = toy.publish(spec(), run_id="run-7").publication.id

    kept = json.loads(answer(toy, "publications", "--json"))
    assert [(each["publication"], each["current"]) for each in kept] == [(second, True), (first, False)]
    assert kept[0]["samples"] == {"toy": 3}
    assert kept[0]["newest"] == {"toy": WEDNESDAY}
    assert f"{second}  current  toy: 3 up to {WEDNESDAY}" in answer(toy, "publications")
    assert answer(toy, "rollback") == f"{first}\n"
    assert answer(toy, "query", "select max(x) as x from synthetic_all", "--format", "csv") == "x\n4\n"
    assert answer(toy, "rollback", second) == f"{second}\n"
    entries = json.loads(answer(toy, "history", "--json"))
    assert [entry["action"] for entry in entries] == ["rollback", "rollback", "publish", "publish"]
    assert "publish   " + second + "  table toy, run_id run-7" in answer(toy, "history")
    assert answer(toy, "verify") == f"publication {second} is intact.\nthe warehouse is intact.\n"
    file = toy.publications.get(first).file
    file.write_bytes(file.read_bytes()[:100])
    done = run(toy, "verify", first)
    assert done.exit_code == 1
    assert "is damaged: synthetic.duckdb has 100 bytes instead of" in done.stderr


def test_a_day_is_deleted(toy: Publisher) -> None:
    done = run(toy, "delete", "toy", TUESDAY)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert f"toy of {TUESDAY}: deleted 8 rows from the warehouse" in done.stderr
    assert answer(toy, "query", "select distinct resample_date from synthetic_all", "--format", "csv").split() == [
        "resample_date", MONDAY,
    ]  # fmt: skip


def test_the_report_of_the_newest_published_sample_is_found(toy: Publisher) -> None:
    page = toy.paths.report("toy", TUESDAY)
    page.parent.mkdir(parents=True)
    page.write_text("<p>")
    assert answer(toy, "report") == f"{page}\n"
    assert json.loads(answer(toy, "report", "--json")) == {
        "table": "toy",
        "day": TUESDAY,
        "report": str(page),
    }


def test_where_there_are_several_tables_one_has_to_be_named(toy: Publisher) -> None:
    write_sample(toy.warehouse, MONDAY, [5], namespace="other")
    toy.publish(spec("other"))
    done = run(toy, "report")
    assert done.exit_code == 2
    assert "several tables are published (other, toy): name one" in done.stderr
    assert run(toy, "query", "from synthetic_latest").exit_code == 1
    assert answer(toy, "query", "select x from other.synthetic_latest", "--format", "csv") == "x\n5\n"


def test_pipes_work(toy: Publisher) -> None:
    folder = toy.paths.root
    for command in ("query 'from range(100000)' --format csv", "query 'from range(100000)' --format json"):
        done = in_a_shell(f"set -o pipefail; synth-assets {command} | head -1", folder)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert len(done.stdout.splitlines()) == 1
    done = in_a_shell("synth-assets export toy --format parquet | wc -c; synth-assets export toy | wc -l", folder)
    assert [int(count) for count in done.stdout.split()][1] == 3
    assert int(done.stdout.split()[0]) > 100
    assert done.stderr == ""
    done = in_a_shell("echo 'select 1 as one' | synth-assets query - --format csv", folder)
    assert (done.returncode, done.stdout) == (0, "one\n1\n")


def test_a_full_disk_behind_stdout_is_no_success(toy: Publisher) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = in_a_shell("synth-assets query 'from range(100000)' --format csv > /dev/full", toy.paths.root)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(shell: str) -> None:
    assert "_SYNTH_ASSETS_COMPLETE" in CliRunner().invoke(main, ["completion", shell]).stdout


def test_completion_knows_commands_and_tables(toy: Publisher) -> None:
    def completed(words: str) -> list[str]:
        variables = f"_SYNTH_ASSETS_COMPLETE=bash_complete COMP_WORDS='synth-assets {words}' COMP_CWORD=2"
        command = f'{variables} "{sys.executable}" -m synth_assets.cli'
        return in_a_shell(command, toy.paths.root).stdout.split()

    assert "plain,toy" in completed("delete t")
    assert {"plain,toy", "plain,toy.raw", "plain,toy.fidelity"} <= set(completed("export t"))


def test_status_shows_verdicts_metrics_and_what_failed_since(toy: Publisher) -> None:
    def write(table: str, day: str, inputs: dict[str, str], **columns: list[Any]) -> None:
        made = Provenance("a run", data_version=table, details={"inputs": inputs, "verdict": "Nearly as useful."})
        toy.warehouse.write("other", table, pd.DataFrame(columns), provenance=made, resample_date=day)

    sample = {"synthetic_sample": "synthetic_sample"}
    verdict = {"gate": ["fidelity"], "blocking": [True], "message": ["As expected."]}
    write("synthetic_sample", MONDAY, {}, x=[1, 2], model_version=["m1", "m1"])
    write("fidelity", MONDAY, sample, metric=["a", "b"], column_name=[None, "x"], value=[0.1, 2], reference=[0.25, 3])
    write(
        "regression_comparison", MONDAY, sample,
        regressor=["forest"], trained_on=["real"], metric=["r2"], value=[0.5], ci_low=[0.375], ci_high=[0.625],
    )  # fmt: skip
    write("report", MONDAY, {"fidelity": "fidelity"}, **verdict, passed=[True])
    write("report", TUESDAY, {}, **verdict, passed=[False])
    checks = pd.DataFrame(
        {"check_name": ["labels", "is_real"], "blocking": [True, False], "passed": False, "message": "'X' is new."}
    )
    for table in ("other", "unpublished"):
        toy.warehouse.write(table, "raw_checks", checks, provenance=None)
    for day in (MONDAY, TUESDAY):
        toy.warehouse.write("other", "synthetic_sample_checks", checks, provenance=None, resample_date=day)
    toy.publish(spec("other", [*TABLES, "regression_comparison"]))
    for day in (MONDAY, TUESDAY):
        toy.delete("toy", day)

    assert json.loads(answer(toy, "status", "--json"))["tables"][1] == {"table": "toy", "newest": None, "samples": 0}
    lines = answer(toy, "status").splitlines()
    assert lines[0] == f"other: 2 synthetic rows of {MONDAY}, model m1, source: unknown"
    assert "fidelity passed: As expected." in lines
    assert f"sample of {TUESDAY} not published, fidelity failed: As expected." in lines
    assert [line for line in lines if "the check" in line] == [
        "other/raw: the check labels found: 'X' is new.",
        f"other/synthetic_sample of {TUESDAY}: the check labels found: 'X' is new.",
        "unpublished/raw: the check labels found: 'X' is new.",
    ]
    assert "a       0.100  0.250" in lines
    assert "forest     real        r2      0.500  0.375   0.625" in lines
    assert "Nearly as useful." in lines


def test_status_says_what_stopped_the_first_run(warehouse: Warehouse) -> None:
    checks = pd.DataFrame({"check_name": ["keys"], "blocking": [True], "passed": [False], "message": ["2 keys occur."]})
    warehouse.write("other", "raw_checks", checks, provenance=None)
    verdict = pd.DataFrame({"gate": ["privacy"], "blocking": [True], "passed": [False], "message": ["It copies."]})
    warehouse.write("other", "report", verdict, provenance=None, resample_date=MONDAY)
    warehouse.write("running", "raw_checks", checks.assign(passed=True), provenance=None)  # it has no report yet
    done = CliRunner().invoke(main, ["--data", str(warehouse.paths.root), "status"])
    assert done.exit_code == 1
    assert done.stderr == "Error: nothing is published yet.\nother/raw: the check keys found: 2 keys occur.\n" + (
        f"other: sample of {MONDAY} not published, privacy failed: It copies.\n"
    )


def test_the_report_of_a_sample_that_failed_is_named(warehouse: Warehouse) -> None:
    verdict = pd.DataFrame({"gate": ["privacy"], "blocking": [True], "passed": [False], "message": ["It copies."]})
    warehouse.write("other", "report", verdict, provenance=None, resample_date=MONDAY)
    page = warehouse.paths.report("other", MONDAY)
    page.parent.mkdir(parents=True)
    page.touch()

    status, report = (
        CliRunner().invoke(main, ["--data", str(warehouse.paths.root), *arguments])
        for arguments in (("status",), ("report", "other", "--date", MONDAY))
    )
    assert f"other: report of {MONDAY}: {page}" in status.stderr.splitlines()
    assert report.stdout == f"{page}\n"


@pytest.mark.slow
def test_status_tells_how_it_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.root.parent)
    ((model,),) = world.query("SELECT model_version FROM abalone.fine_tuned_model")
    ((verdict,),) = world.query(
        "SELECT details->>'verdict' FROM abalone.provenance WHERE asset = 'regression_comparison'"
    )
    lines = answer(world, "status").splitlines()
    assert lines[0] == f"abalone: 40 synthetic rows of {DAY}, model {model}, source: file abalone.csv"
    assert any(line.startswith("privacy passed: ") for line in lines)
    assert verdict in lines
    assert f"plot: data/plots/abalone/{DAY}/densities.png" in lines
    assert "published: data/published/synthetic.duckdb" in lines
    assert "abalone as Parquet: data/published/abalone/synthetic_sample" in lines

    found = json.loads(answer(world, "status", "--json"))
    (table,) = found["tables"]
    assert (table["newest"], table["rows"], table["model_version"]) == (DAY, 40, model)
    assert table["days_old"] == (datetime.now(UTC).date() - datetime.fromisoformat(DAY).date()) / timedelta(days=1)
    assert {gate["gate"]: gate["passed"] for gate in table["gates"] if gate["blocking"]} == {
        "fidelity": True, "validity": True, "privacy": True,
    }  # fmt: skip
    assert table["stopped"] == []


@pytest.mark.slow
def test_rows_are_drawn_from_the_current_model(world: World) -> None:
    drawn = ("sample", "-n", "30", "--where", "Class_number_of_rings >= 10", "--where", "Sex == 'I'", "--seed", "3")
    frame = pd.read_csv(io.StringIO(answer(world, *drawn)))
    assert list(frame.columns) == ["Sex", "Length", "Class_number_of_rings"]
    assert len(frame) == 30
    assert set(frame["Sex"]) == {"I"}
    assert (frame["Class_number_of_rings"] >= 10).all()
    assert answer(world, *drawn) == frame.to_csv(index=False)
    done = run(world, "sample", "-n", "5", "--format", "json")
    assert len(json.loads(done.stdout)) == 5
    assert done.stderr.startswith("--seed ")
    done = run(world, "sample", "--where", "Wings > 1")
    assert done.exit_code == 1
    assert (
        "conditions name 'Wings', which is no column; the columns are Sex, Length, Class_number_of_rings" in done.stderr
    )
