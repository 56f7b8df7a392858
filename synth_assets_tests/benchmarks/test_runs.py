"""Runs of methods: what is kept and used again, and what becomes of one that fails or reaches a limit."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from synth_assets.schema.infer import infer_schema

ROWS = pd.DataFrame({"Sex": ["F", "I", "M", "M"] * 5, "Rings": [15, 7, 9, 9] * 5})

WORKS = """
import json, pathlib, sys
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
out = pathlib.Path(asked["--out"])
with out.with_name("runs").open("a") as runs: runs.write(asked["--seed"])
out.write_text("Sex,Rings\\nF," + asked["--rows"])
pathlib.Path(asked["--report"]).write_text(json.dumps({"fit_cpu_s": 3, "sample_cpu_s": 1, "peak_mb": 50}))
"""


@pytest.fixture
def runs() -> ModuleType:
    import runs

    return runs


@pytest.fixture
def peer(runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the script of a peer; its options come in pairs, which the labels of '--categories' end."""
    script = tmp_path / "peer" / "arf.py"
    script.parent.mkdir()
    script.with_name("common.py").touch()
    script.write_text(WORKS)
    monkeypatch.setattr(runs, "script_of", lambda name: script)
    monkeypatch.setattr(runs, "interpreter_of", lambda environment: Path(sys.executable))
    return script


@pytest.fixture
def runs_of(runs: ModuleType, tmp_path: Path) -> Callable[..., object]:
    import tables

    def make(seed: int = 0, rows: pd.DataFrame = ROWS) -> object:
        schema = infer_schema(rows, "Rings", private=False)
        typed = schema.coerce(rows, origin="the rows")
        table = tables.Table("creatures", schema, typed, typed, "creatures.csv")
        return runs.Runs(tmp_path / "bench", table, seed)

    return make


def test_rows_are_used_again_while_their_inputs_are_the_same(
    runs: ModuleType, peer: Path, tmp_path: Path, runs_of: Callable[..., object]
) -> None:
    limits = runs.Limits(60, 4096)
    for seed in (4, 5, 4, 5):
        made = runs_of(seed)
        found = made.run("arf", limits)
        assert (found.status, found.seed, found.report["fit_cpu_s"]) == ("finished", seed, 3)
        assert made.rows("arf")["Rings"].tolist() == [20]
    noted = tmp_path / "bench" / "runs"
    assert noted.read_text() == "45"
    peer.write_text(f'"""Another docstring."""{WORKS}# and a comment')
    runs_of(4).run("arf", limits)
    assert noted.read_text() == "45"
    peer.write_text(WORKS.replace('"a"', "'a'").replace("pathlib", "pathlib ") + "x = 1")
    runs_of(4).run("arf", limits)
    runs_of(4, ROWS.head(12)).run("arf", limits)
    runs_of(4, ROWS.head(12)).run("arf", limits)
    assert noted.read_text() == "4544"


def test_a_failure_is_kept_with_the_last_line(
    runs: ModuleType, peer: Path, tmp_path: Path, runs_of: Callable[..., object]
) -> None:
    peer.write_text("with open(__file__ + '.runs', 'a') as runs: runs.write('1')\nraise ValueError('no rows today')")
    for _ in range(2):
        found = runs_of().run("arf", runs.Limits(60, 4096))
        assert (found.status, found.reason) == ("failed", "ValueError: no rows today")
    assert peer.with_name("arf.py.runs").read_text() == "1"


def test_a_run_ends_at_its_limit_of_cpu_time_and_is_repeated_under_a_greater_one(
    runs: ModuleType, peer: Path, runs_of: Callable[..., object]
) -> None:
    peer.write_text("while True: pass")
    found = runs_of().run("arf", runs.Limits(0.3, 4096))
    assert (found.status, found.reason) == ("CPU limit", "more than 0.005 CPU minutes")
    peer.write_text(WORKS)
    # Another script is another input: write the first one's outcome under it.
    made = runs_of()
    stored = made.path("arf", "json")
    stored.write_text(stored.read_text().replace(found.inputs, made.inputs("arf")))
    assert made.run("arf", runs.Limits(0.2, 4096)).status == "CPU limit"
    assert made.run("arf", runs.Limits(60, 4096)).status == "finished"


def test_a_run_ends_at_its_limit_of_memory(runs: ModuleType, peer: Path, runs_of: Callable[..., object]) -> None:
    peer.write_text("import time\nheld = b'x' * 400_000_000\ntime.sleep(60)")
    found = runs_of().run("arf", runs.Limits(60, 256))
    assert (found.status, found.reason) == ("memory limit", "more than 0.25 GB of memory")


def test_a_run_that_used_more_than_a_limit_is_no_result_within_it(runs: ModuleType) -> None:
    report = {"fit_cpu_s": 30, "sample_cpu_s": 5, "peak_mb": 500}
    run = runs.Run("creatures", "arf", 0, "", runs.Limits(60, 1000), "finished", report=report)
    assert run.is_valid_within(runs.Limits(36, 501))
    assert not run.is_valid_within(runs.Limits(34, 501))
    assert not run.is_valid_within(runs.Limits(36, 499))
