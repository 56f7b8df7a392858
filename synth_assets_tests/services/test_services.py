"""Tests of the stand-ins, each through the unchanged library that uses the service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import fetch_openml

from synth_assets_tests.services.hub import make_tiny_gpt2, serve_hub
from synth_assets_tests.services.openml import fill_openml_cache

_ASK_THE_HUB = """
from huggingface_hub import HfApi, errors

api = HfApi()
print(sorted(api.list_repo_files("some/model")))
print([entry.path for entry in api.list_repo_tree("some/model", "extra")])
print(open(api.hf_hub_download("some/model", "extra/a b.txt")).read())
for name, file, revision in (
    ("other/model", "config.json", None),
    ("some/model", "missing.json", None),
    ("some/model", "config.json", "v2"),
):
    try:
        api.hf_hub_download(name, file, revision=revision)
    except errors.HfHubHTTPError as error:
        print(type(error).__name__)
"""


def _run(code: str, *arguments: str, url: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run code against a hub, in a process of its own: the libraries read these variables once, at import."""
    # Offline mode, a shared cache or a token from the caller's environment must not get in between.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=120, check=False)


def test_hub_client_reads_the_answers(tmp_path: Path) -> None:
    """Listings, files in folders and each kind of "not found" are what the hub's client expects."""
    folder = tmp_path / "model"
    (folder / "extra").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "extra" / "a b.txt").write_text("content")

    with serve_hub({"some/model": folder}) as hub:
        done = _run(_ASK_THE_HUB, url=hub.url, home=tmp_path)

    assert done.stdout.splitlines() == [
        "['config.json', 'extra/a b.txt']",
        "['extra/a b.txt']",
        "content",
        "RepositoryNotFoundError",
        "RemoteEntryNotFoundError",
        "RevisionNotFoundError",
    ], done.stderr


@pytest.fixture
def table() -> pd.DataFrame:
    """Return a table with text, decimals, floats that are whole numbers, and integers."""
    return pd.DataFrame(
        {
            "Sex": ["M", "F", "I", "M", "F"],
            "Length": [0.455, 0.35, 0.53, 0.44, 0.33],
            "Height": [0.0, 1.0, 0.0, 1.0, 2.0],
            "Class_number_of_rings": [15, 7, 9, 10, 7],
        }
    )


@pytest.fixture(autouse=True)
def _no_openml(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("fetch_openml did not find a file in the cache")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", refuse)


@pytest.mark.parametrize(("parser", "quoted"), [("auto", True), ("liac-arff", True), ("liac-arff", False)])
def test_fetch_openml_loads_the_filled_cache(tmp_path: Path, table: pd.DataFrame, parser: str, quoted: bool) -> None:
    """The table arrives as it was, but for its nominal columns, which arrive as categories of text."""
    fill_openml_cache(tmp_path, table, quoted=quoted)

    got = fetch_openml(name="abalone", version=1, data_home=tmp_path, as_frame=True, parser=parser)

    assert [str(dtype) for dtype in got.frame.dtypes] == ["category", "float64", "float64", "category"]
    assert got.target.name == "Class_number_of_rings"
    assert set(got.target.cat.categories) == {"7", "9", "10", "15"}
    plain = got.frame.astype({"Sex": str, "Class_number_of_rings": int})
    pd.testing.assert_frame_equal(plain, table, check_exact=True)


def test_two_tables_share_a_cache(tmp_path: Path, table: pd.DataFrame) -> None:
    """Versions of one name are kept apart, and the name is found however it is spelled."""
    fill_openml_cache(tmp_path, table)
    fill_openml_cache(tmp_path, table.head(2), name="Abalone", version=2)

    rows = [len(fetch_openml(name="Abalone", version=v, data_home=tmp_path).frame) for v in (1, 2)]

    assert rows == [5, 2]


def test_tiny_gpt2_depends_on_the_seed_alone(tmp_path: Path) -> None:
    """The same seed gives the same weights."""
    seeds = (0, 0, 1)
    folders = [make_tiny_gpt2(tmp_path / str(run), seed=seed) for run, seed in enumerate(seeds)]

    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1] != weights[2]
