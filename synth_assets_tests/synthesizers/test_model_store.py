"""Fits: stored whole under the hash of what they are made from, resumed after a kill, made once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
from synth_assets.synthesizers.settings import ModelError, ModelSpec, TeacherSpec, TrainingSpec

from synth_assets.synthesizers.model_store import ModelCard, ModelStore
from synth_assets_tests.pickles import pickles_in
from synth_assets_tests.services.hub import make_tiny_gpt2, serve_hub
from synth_assets_tests.storage.processes import bound_by_permissions, on_a_small_disk, read_only

_FIT = """
import json, os, signal, sys
from pathlib import Path
import pandas as pd
from synth_assets.synthesizers.settings import ModelSpec, ScratchBase, TeacherSpec, TrainingSpec
from synth_assets.synthesizers.model_store import ModelStore

root, rows, spec, kill_at = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]

def report(line):
    print(line, flush=True)
    if kill_at and kill_at in line:
        os.kill(os.getpid(), signal.SIGKILL)

spec["scratch"] = ScratchBase(**spec["scratch"])
spec["training"] = TrainingSpec(**{**spec["training"], "teacher": TeacherSpec(**spec["training"]["teacher"])})
rows = pd.read_parquet(rows)
card = ModelStore(root / "models").fit(
    rows, ModelSpec(**spec), bases=root / "bases", experiments=root / "experiments", report=report
)
print(json.dumps({"version": card.version, "resumed_from_step": card.resumed_from_step}))
"""


def fit_here(root: Path, rows: pd.DataFrame, spec: ModelSpec) -> tuple[ModelCard, list[str]]:
    lines: list[str] = []
    card = ModelStore(root / "models").fit(
        rows, spec, bases=root / "bases", experiments=root / "experiments", report=lines.append
    )
    return card, lines


def fit_elsewhere(
    root: Path, rows: Path, spec: ModelSpec, kill_at: str = "", **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _FIT, str(root), str(rows), json.dumps(asdict(spec)), kill_at],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(root: Path, version: str) -> bytes:
    return (root / "models" / version / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, easy_rows: pd.DataFrame, quick_spec: ModelSpec
) -> tuple[Path, ModelCard, list[str]]:
    root = tmp_path_factory.mktemp("fitted")
    return root, *fit_here(root, easy_rows, quick_spec)


@pytest.fixture
def rows_file(easy_rows: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    easy_rows.to_parquet(path)
    return path


def test_the_card_says_what_the_model_was_made_from(fitted, easy_rows: pd.DataFrame, quick_spec: ModelSpec) -> None:
    root, card, _ = fitted
    assert card.rows == len(easy_rows)
    assert card.resumed_from_step == 0
    assert card.made_from["spec"] == json.loads(json.dumps(asdict(quick_spec)))
    assert card.made_from["base"].startswith("scratch-")
    assert {"be-great", "torch", "transformers"} <= set(card.made_from["libraries"])
    assert [report["step"] for report in card.losses] == [4, 8, 12, 16, 20, 24]
    assert card.losses[-1]["loss"] < card.losses[0]["loss"]
    assert ModelStore(root / "models").card(card.version) == card


def test_progress_tells_epoch_step_loss_and_time_left(fitted) -> None:
    _, _, lines = fitted
    assert any(line.startswith("epoch 2.0 of 3, step 16 of 24, loss ") and line.endswith(" s left") for line in lines)


def test_a_stored_model_holds_no_pickle_and_no_leftovers(fitted) -> None:
    root, card, _ = fitted
    files = {path.name for path in (root / "models" / card.version).rglob("*")}
    assert {"model.safetensors", "tokenizer.json", "great.json", "card.json"} <= files
    assert pickles_in(root) == []
    assert [path.name for path in (root / "models").iterdir()] == [card.version]
    assert not (root / "experiments" / card.version).exists()


def test_a_stored_model_that_got_a_pickle_is_refused(fitted, tmp_path: Path) -> None:
    root, card, _ = fitted
    shutil.copytree(root / "models", tmp_path / "models")
    store = ModelStore(tmp_path / "models")
    store.load(card.version)
    (store.path(card.version) / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"is not loaded, since pytorch_model\.bin may hold pickles"):
        store.load(card.version)


def test_be_great_itself_loads_the_stored_folder(fitted, easy_rows: pd.DataFrame) -> None:
    import be_great
    import torch

    root, card, _ = fitted
    ours = ModelStore(root / "models").load(card.version)
    theirs = be_great.GReaT(str(root / "models" / card.version))
    assert ours.columns == list(easy_rows.columns)
    assert ours.conditional_col in ours.columns
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_second_fit_takes_the_model_from_the_store(fitted, easy_rows: pd.DataFrame, quick_spec: ModelSpec) -> None:
    root, card, _ = fitted
    before = weights(root, card.version)
    again, lines = fit_here(root, easy_rows, quick_spec)
    assert again == card
    assert "the store has this model already" in lines
    assert weights(root, card.version) == before


@pytest.mark.parametrize("change", [{"seed": 8}, {"epochs": 4}, {"learning_rate": 0.004}])
def test_the_version_changes_with_what_the_model_is_made_from(
    fitted, easy_rows: pd.DataFrame, quick_spec: ModelSpec, change: dict[str, float], tmp_path: Path
) -> None:
    _, card, _ = fitted
    stopped = _version_of(tmp_path, easy_rows, replace(quick_spec, **change))
    assert stopped != card.version
    assert _version_of(tmp_path, easy_rows, quick_spec) == card.version
    assert _version_of(tmp_path, easy_rows.iloc[::-1], quick_spec) != card.version


def _version_of(root: Path, rows: pd.DataFrame, spec: ModelSpec) -> str:
    # The version is known, and reported, before training: stop there.
    found: list[str] = []

    class Known(Exception):
        pass

    def report(line: str) -> None:
        found.append(line.split()[1].rstrip(","))
        raise Known

    with pytest.raises(Known):
        ModelStore(root / "models").fit(rows, spec, bases=root / "b", experiments=root / "e", report=report)
    return found[0]


def test_a_version_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'abc'"):
        ModelStore(tmp_path).load("abc")


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", ["step 12 of 24", "step 20 of 24"])
def test_a_killed_fit_resumes_and_gives_the_same_weights(
    fitted, rows_file: Path, quick_spec: ModelSpec, tmp_path: Path, kill_at: str
) -> None:
    uninterrupted, card, _ = fitted
    killed = fit_elsewhere(tmp_path, rows_file, quick_spec, kill_at)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "models" / card.version).exists()
    resumed = fit_elsewhere(tmp_path, rows_file, quick_spec)
    output, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    result = json.loads(output.splitlines()[-1])
    assert result["version"] == card.version
    assert result["resumed_from_step"] >= 10
    assert weights(tmp_path, card.version) == weights(uninterrupted, card.version)
    ours, theirs = (
        json.loads((root / "models" / card.version / "great.json").read_text()) for root in (tmp_path, uninterrupted)
    )
    assert ours == theirs


@pytest.mark.slow
def test_a_killed_fit_of_our_engine_resumes_and_gives_the_same_weights(
    easy_rows: pd.DataFrame, rows_file: Path, quick_spec: ModelSpec, tmp_path: Path
) -> None:
    lessons = TrainingSpec(teacher_rows=400, teacher_epochs=2, teacher=TeacherSpec(trees=5, leaf=5))
    spec = replace(quick_spec, engine="great", training=lessons)
    card, _ = fit_here(tmp_path / "uninterrupted", easy_rows, spec)
    killed = fit_elsewhere(tmp_path / "killed", rows_file, spec, "real rows: ")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "models" / card.version).exists()
    output, errors = fit_elsewhere(tmp_path / "killed", rows_file, spec).communicate(timeout=120)
    result = json.loads(output.splitlines()[-1])
    assert result["version"] == card.version, errors
    assert result["resumed_from_step"] >= 100  # two epochs of the forest's rows, eight a step
    assert weights(tmp_path / "killed", card.version) == weights(tmp_path / "uninterrupted", card.version)


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_off_is_passed_over(
    fitted, rows_file: Path, quick_spec: ModelSpec, tmp_path: Path
) -> None:
    _, card, _ = fitted
    killed = fit_elsewhere(tmp_path, rows_file, quick_spec, "step 16 of 24")
    killed.communicate(timeout=120)
    checkpoints = tmp_path / "experiments" / card.version
    assert pickles_in(checkpoints) == []
    cut_off = checkpoints / "checkpoint-20"
    cut_off.mkdir()
    (cut_off / "model.safetensors").write_bytes(b"half")
    output, errors = fit_elsewhere(tmp_path, rows_file, quick_spec).communicate(timeout=120)
    assert json.loads(output.splitlines()[-1])["resumed_from_step"] == 15, errors


@pytest.mark.slow
def test_two_processes_that_want_the_same_model_train_it_once(
    rows_file: Path, quick_spec: ModelSpec, tmp_path: Path
) -> None:
    spec = replace(quick_spec, epochs=12)
    both = [fit_elsewhere(tmp_path, rows_file, spec) for _ in range(2)]
    outputs = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    trained = ["step 4 of 96" in output for output, _ in outputs]
    assert sorted(trained) == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [30, 300, 700])
def test_a_full_disk_gives_one_clear_message_and_leaves_no_half_model(
    rows_file: Path, quick_spec: ModelSpec, tmp_path: Path, kilobytes: int
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*on_a_small_disk(disk, f"{kilobytes}k"), sys.executable, "-c", _FIT]
    arguments = [str(disk), str(rows_file), json.dumps(asdict(quick_spec)), ""]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("synth_assets.synthesizers.settings.ModelError: no model could be fitted and saved in ")
    assert "MB are free" in last
    assert '"version"' not in done.stdout


@pytest.mark.slow
def test_a_folder_that_may_not_be_written_to_gives_one_clear_message(
    rows_file: Path, quick_spec: ModelSpec, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    command = [*bound_by_permissions(), sys.executable, "-c", _FIT]
    with read_only(data):
        done = subprocess.run(
            [*command, str(data), str(rows_file), json.dumps(asdict(quick_spec)), ""],
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("synth_assets.synthesizers.settings.ModelError: no model could be fitted and saved in ")
    assert "Permission denied" in last


@pytest.mark.slow
def test_a_model_of_the_hub_is_fitted_and_its_commit_is_on_record(
    rows_file: Path, quick_spec: ModelSpec, tmp_path: Path
) -> None:
    spec = replace(quick_spec, base="distilgpt2", epochs=1)
    with serve_hub({"distilgpt2": make_tiny_gpt2(tmp_path / "distilgpt2-files")}) as hub:
        process = fit_elsewhere(tmp_path, rows_file, spec, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "hf"))
        output, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        assert any(path.endswith("model.safetensors") for _, path in hub.requests)
    version = json.loads(output.splitlines()[-1])["version"]
    name, commit = ModelStore(tmp_path / "models").card(version).made_from["base"].split("@")
    assert name == "distilgpt2"
    assert len(commit) == 40


@pytest.mark.slow
def test_a_name_that_the_hub_does_not_know_gives_one_clear_message(
    rows_file: Path, quick_spec: ModelSpec, tmp_path: Path
) -> None:
    spec = replace(quick_spec, base="distilgtp2")
    with serve_hub({"distilgpt2": make_tiny_gpt2(tmp_path / "files")}) as hub:
        process = fit_elsewhere(tmp_path, rows_file, spec, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "hf"))
        _, errors = process.communicate(timeout=180)
    last = errors.strip().splitlines()[-1]
    assert last.startswith("synth_assets.synthesizers.settings.ModelError: base model 'distilgtp2' cannot be loaded")
    assert "set language_model.base to a folder or to 'scratch'" in last
