"""The peers of the benchmark: what all scripts share, and the environments that they run in."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers import environments
from benchmarks.peers.common import MISSING, coerce, fill_gaps, grid, read_rows, restore_gaps, snap, to_codes
from benchmarks.peers.environments import ENVIRONMENTS, PEERS, interpreter_of, requirements_of, script_of

TRAIN = pd.DataFrame({"Sex": ["F", "I", "M"], "Length": [0.455, 0.35, 0.53], "Rings": [15, 7, 9]})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.455, 0.35, 0.53], (5, 3)),
        ([0.5140, 0.2255], (5, 4)),
        ([15, 7, 9], (1, 0)),
        ([10, 20, 50], (10, 0)),
        ([0, 0], (1, 0)),
        ([np.pi, np.e], None),
    ],
)
def test_the_grid_is_the_largest_step_of_all_values(values: list[float], expected: tuple[int, int] | None) -> None:
    assert grid(np.array(values)) == expected


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 400), min_size=2), st.lists(st.floats(-10, 10), min_size=1))
def test_snapped_values_are_written_as_values_of_the_grid(train: list[int], drawn: list[float]) -> None:
    known = np.array([round(0.005 * k, 3) for k in train])
    for value in snap(np.array(drawn), known):
        assert known.min() <= value <= known.max()
        assert value in {round(0.005 * k, 3) for k in range(401)}


def test_rows_get_the_order_and_the_types_of_the_train_rows() -> None:
    drawn = pd.DataFrame({"Rings": [8.4, 99.0], "Length": [0.4567, -1.0], "Sex": ["M", "F"]}, index=[7, 3])
    found = coerce(drawn, TRAIN, ["Sex"], 2)
    expected = pd.DataFrame({"Sex": ["M", "F"], "Length": [0.455, 0.35], "Rings": [8, 15]})
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Sex": ["F", "I", "X"]}, "labels \\['X'\\]"),
        ({"Length": [0.4, np.nan, 0.5]}, "missing or infinite"),
        ({"Rings": [1, np.inf, 2]}, "missing or infinite"),
    ],
)
def test_rows_that_need_mending_are_refused(changed: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coerce(TRAIN.assign(**changed), TRAIN, ["Sex"], 3)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows were drawn; expected 4"):
        coerce(TRAIN, TRAIN, ["Sex"], 4)


def test_a_script_fits_samples_and_reports_and_may_have_the_name_of_its_library(tmp_path: Path) -> None:
    common = Path(environments.__file__).with_name("common.py")
    (tmp_path / "common.py").write_text(common.read_text())
    # The script is called as a package that is installed, which it imports.
    (tmp_path / "click.py").write_text(
        "from common import run_peer\n"
        "import click\n"
        "import numpy as np\n"
        "assert click.Command\n"
        "fit = lambda train, categories, seed: (train, lambda rows: train.sample(rows, replace=True))\n"
        "run_peer('click', fit)\n"
    )
    TRAIN.to_csv(tmp_path / "train.csv", index=False)

    def run(seed: int) -> pd.DataFrame:
        files = ["--train", "train.csv", "--out", "out.csv", "--report", "report.json"]
        asked = ["--rows", "50", "--seed", str(seed), "--categories", "Sex"]
        subprocess.run([sys.executable, "click.py", *files, *asked], cwd=tmp_path, check=True)
        return pd.read_csv(tmp_path / "out.csv")

    first, again, other = run(0), run(0), run(1)
    assert first.equals(again)
    assert not first.equals(other)
    assert list(first) == list(TRAIN)
    assert len(first) == 50
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["library"] == "click"
    assert re.fullmatch(r"[\d.]+", report["version"])
    assert report["fit_cpu_s"] >= 0
    assert report["sample_cpu_s"] >= 0
    assert report["peak_mb"] > 1
    assert 0 < report["model_mb"] < 1


def test_gaps_are_labels_to_a_peer_and_gaps_again_in_its_rows(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('Sex,Rings,Length\nF,7,0.5\n"",,0.25\nNA,9,0.75\nF,8,0.5\n')
    train = read_rows(tmp_path / "train.csv", ["Sex"])
    assert train["Sex"].tolist() == ["F", MISSING, "NA", "F"]
    filled, categories = fill_gaps(train, ["Sex"])
    assert categories == ["Sex", "Rings is missing"]
    assert filled["Rings"].tolist() == [7, 8, 9, 8]
    assert filled["Rings"].dtype == "int64"
    found = coerce(restore_gaps(filled, train), train, ["Sex"], 4)
    expected = pd.DataFrame(
        {
            "Sex": ["F", None, "NA", "F"],
            "Rings": pd.array([7, None, 9, 8], dtype="Int64"),
            "Length": [0.5, 0.25, 0.75, 0.5],
        }
    )
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_codes_of_labels_are_turned_back() -> None:
    matrix, decode = to_codes(TRAIN, ["Sex"])
    assert matrix[:, 0].tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(decode(matrix), TRAIN, check_dtype=False)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_has_a_script_and_an_environment(name: str) -> None:
    assert script_of(name).is_file()
    assert PEERS[name].environment in ENVIRONMENTS


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_has_pinned_requirements(name: str) -> None:
    lines = [*requirements_of(name).read_text().splitlines(), *ENVIRONMENTS[name].without_dependencies]
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)


@pytest.mark.slow
def test_an_environment_is_made_once_and_anew_when_its_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "VENVS", tmp_path / ".venvs")
    requirements = tmp_path / "arf.txt"
    requirements.write_text("# nothing\n")
    made = interpreter_of("arf")
    subprocess.run([made, "-c", ""], check=True)
    trace = made.parents[1] / "trace"
    trace.touch()
    assert interpreter_of("arf") == made
    assert trace.exists()
    requirements.write_text("# something else\n")
    assert interpreter_of("arf") == made
    assert not trace.exists()
    requirements.write_text("./not-there\n")
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            interpreter_of("arf")
