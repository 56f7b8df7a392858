"""The run of the benchmark: what is fitted each time, and what is reused."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the script as it is run: from its own folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import bench

    monkeypatch.setattr(bench, "interpreter_of", lambda name: Path(sys.executable))
    return bench


@pytest.fixture
def peer(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a peer's script that notes each of its runs in 'runs'."""
    script = tmp_path / "peer" / "arf.py"
    script.parent.mkdir()
    script.with_name("common.py").touch()
    script.write_text(
        "import json, pathlib, sys\n"
        "asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "with pathlib.Path(asked['--out']).with_name('runs').open('a') as runs: runs.write(asked['--seed'])\n"
        "pathlib.Path(asked['--out']).write_text('a\\n' + asked['--seed'])\n"
        "pathlib.Path(asked['--report']).write_text(json.dumps({'fit_cpu_s': 3}))\n"
    )
    monkeypatch.setattr(bench, "script_of", lambda name: script)
    return script


def test_what_a_peer_wrote_is_used_again_while_nothing_has_changed(
    bench: ModuleType, peer: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "train.csv").write_text("a\n1")
    for seed in (4, 5, 4, 5):
        rows, report = bench.run("arf", seed, folder, 10)
        assert rows["a"].tolist() == [seed]
        assert report == {"fit_cpu_s": 3}
    assert (folder / "runs").read_text() == "45"
    (folder / "train.csv").write_text("a\n2")
    bench.run("arf", 4, folder, 10)
    bench.run("arf", 4, folder, 11)
    peer.write_text(peer.read_text() + "# changed")
    bench.run("arf", 4, folder, 11)
    bench.run("arf", 4, folder, 11)
    assert (folder / "runs").read_text() == "45444"


def test_a_peer_that_failed_is_run_again(bench: ModuleType, peer: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    works = peer.read_text()
    bench.run("arf", 1, tmp_path, 10)
    peer.write_text("print('no rows today'); raise SystemExit(1)")
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"arf failed with seed 1.*\nno rows today"):
            bench.run("arf", 1, tmp_path, 10)
    peer.write_text(works)
    bench.run("arf", 1, tmp_path, 10)
    assert (tmp_path / "runs").read_text() == "11"


def test_the_language_model_is_fitted_each_time(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def run_method(method: str, seed: int, folder: Path, rows: int, *more: str) -> dict[str, float]:
        runs.append((method, seed, rows))
        Path(more[1]).write_text("a\n1")
        return json.loads('{"fit_cpu_s": 1.5}')

    monkeypatch.setattr(bench, "run_method", run_method)
    for _ in range(2):
        assert bench.run("language_model", 3, tmp_path, 7)[1] == {"fit_cpu_s": 1.5}
    assert runs == [("language_model", 3, 7)] * 2
