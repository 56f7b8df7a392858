"""The model store: models are complete, under the hash of their inputs, fitted once, and resumed after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from synth_assets.schema.columns import Categorical
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import ModelError, SynthesizerSettings
from synth_assets.synthesizers.forest import ForestSettings
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings, ScratchSettings
from synth_assets.synthesizers.model_store import ModelCard, ModelStore
from synth_assets.synthesizers.smote import SmoteSettings
from synth_assets_tests.pickles import pickles_in
from synth_assets_tests.services.hub import make_tiny_gpt2, serve_hub
from synth_assets_tests.storage.processes import bound_by_permissions, bound_by_permissions_if_possible, read_only

SETTINGS = LanguageModelSettings(
    scratch=ScratchSettings(n_layer=1, n_head=2, n_embd=32, dropout=0.1),
    epochs=3,
    batch_size=8,
    pretrain=PretrainSettings(rows=400, epochs=2, forest=ForestSettings(n_estimators=5, min_samples_leaf=5)),
)
QUICK = SETTINGS.model_copy(update={"epochs": 1, "pretrain": PretrainSettings(rows=0)})
SEED = 7

_FIT = """
import json, os, signal, sys
from pathlib import Path
import pandas as pd
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets.synthesizers.model_store import ModelStore

rows, schema, attempts = sys.argv[1:]

for root, settings, kill_at in json.loads(attempts):

    def log(line):
        if kill_at and kill_at in line:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        card = ModelStore(Path(root) / "models").fit(
            pd.read_parquet(rows),
            TableSchema.model_validate_json(schema),
            LanguageModelSettings.model_validate(settings),
            seed=7,
            checkpoints_dir=Path(root) / "checkpoints",
            log=log,
        )
        print(card.version, flush=True)
    except ModelError as error:
        print(error, flush=True)
"""
"""Fits a model for each attempt: its folder, its settings, and the line of the log at which the process is killed.
Prints the version, or the error."""


def fit_here(
    root: Path, rows: pd.DataFrame, schema: TableSchema, settings: SynthesizerSettings = SETTINGS, seed: int = SEED
) -> tuple[ModelCard, list[str]]:
    lines: list[str] = []
    card = ModelStore(root / "models").fit(
        rows, schema, settings, seed=seed, checkpoints_dir=root / "checkpoints", log=lines.append
    )
    return card, lines


def weights(root: Path, version: str) -> bytes:
    return (root / "models" / version / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, easy_rows: pd.DataFrame, easy_schema: TableSchema
) -> tuple[Path, ModelCard, list[str]]:
    root = tmp_path_factory.mktemp("fitted")
    return root, *fit_here(root, easy_rows, easy_schema)


def test_the_card_has_the_inputs_of_the_model(fitted, easy_rows: pd.DataFrame) -> None:
    root, card, _ = fitted
    assert card.rows == len(easy_rows)
    assert card.synthesizer == "language_model"
    assert card.resumed_from_step == 0
    assert card.inputs["settings"]["scratch"]["n_embd"] == 32
    assert card.inputs["seed"] == SEED
    assert card.inputs["base"].startswith("scratch-")
    assert {"torch", "transformers"} <= set(card.inputs["libraries"])
    assert card.final_loss == card.losses[-1]["loss"] < card.losses[0]["loss"]
    assert ModelStore(root / "models").card(card.version) == card


def test_the_card_has_what_an_evaluation_measures_later(fitted, tmp_path: Path) -> None:
    root, card, _ = fitted
    shutil.copytree(root, tmp_path / "copy")
    store = ModelStore(tmp_path / "copy" / "models")

    store.record_attacks(card.version, {"likelihood_auc": 0.53})

    assert store.card(card.version).attacks == {"likelihood_auc": 0.53}
    store.verify(card.version)


def test_the_schema_decides_the_version_and_the_card_counts_hidden_labels(
    easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path
) -> None:
    rows = easy_rows.assign(Colour=easy_rows["Colour"].mask(easy_rows.index < 2, "ochre"))
    columns = (Categorical(name="Colour", categories=("blue", "ochre", "red")), *easy_schema.columns[1:])
    schema = TableSchema(columns=columns)
    settings = ({}, {"private": False}, {"publish_text": True}, {"min_label_rows": 3}, {"rare_labels": "other"})
    cards = [fit_here(tmp_path, rows, TableSchema(**{**dict(schema), **each}), SmoteSettings())[0] for each in settings]
    assert len({card.version for card in cards}) == len(settings)
    assert [card.hidden_labels for card in cards] == [{"Colour": 1}, {}, *[{"Colour": 1}] * 3]
    for card in cards:
        files = (path.read_bytes() for path in (tmp_path / "models" / card.version).iterdir())
        assert any(b"ochre" in content for content in files) == (not card.hidden_labels)
    described = (columns[0].model_copy(update={"description": "of the coat"}), *columns[1:])
    again, _ = fit_here(tmp_path, rows, TableSchema(columns=described), SmoteSettings())
    assert again == cards[0]


def test_a_stored_model_holds_no_pickle_and_nothing_is_left_over(fitted) -> None:
    root, card, _ = fitted
    files = {path.name for path in (root / "models" / card.version).rglob("*")}
    assert {"model.safetensors", "tokenizer.json", "synthesizer.json", "card.json", "manifest.json"} <= files
    assert pickles_in(root) == []
    assert [path.name for path in (root / "models").iterdir()] == [card.version]
    assert not (root / "checkpoints" / card.version).exists()


def test_a_stored_model_that_got_a_pickle_is_refused(fitted, tmp_path: Path) -> None:
    root, card, _ = fitted
    shutil.copytree(root / "models", tmp_path / "models")
    store = ModelStore(tmp_path / "models")
    store.load(card.version)
    (store.path(card.version) / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"is not loaded, since pytorch_model\.bin may hold pickles"):
        store.load(card.version)


def test_a_model_of_an_earlier_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "great.json").write_text("{}")
    (tmp_path / "abc" / "card.json").write_text(json.dumps({"version": "abc", "made_from": {}}))
    with pytest.raises(ModelError, match="stored by an earlier version of synth_assets; materialize fine_tuned_model"):
        ModelStore(tmp_path).load("abc")


def test_be_great_itself_loads_the_stored_folder(fitted) -> None:
    import be_great
    import torch

    root, card, _ = fitted
    ours = ModelStore(root / "models").load(card.version)
    theirs = be_great.GReaT(str(root / "models" / card.version)).model.transformer.state_dict()
    assert all(
        torch.equal(weight, theirs[name]) for name, weight in ours.row_model.model.transformer.state_dict().items()
    )


def test_a_second_fit_takes_the_model_from_the_store(fitted, easy_rows: pd.DataFrame, easy_schema: TableSchema) -> None:
    root, card, _ = fitted
    again, lines = fit_here(root, easy_rows, easy_schema)
    assert again == card
    assert "the store has this model already" in lines


def test_the_version_changes_with_the_inputs_and_not_with_how_training_is_carried_out(
    fitted, easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path
) -> None:
    _, card, _ = fitted

    def version(rows: pd.DataFrame = easy_rows, seed: int = SEED, **changed: object) -> str:
        # The version is known, and logged, before training: stop there.
        class Known(Exception):
            pass

        def log(line: str) -> None:
            raise Known(line.split()[1].rstrip(":"))

        settings = SETTINGS.model_copy(update=changed)
        with pytest.raises(Known) as found:
            ModelStore(tmp_path / "m").fit(rows, easy_schema, settings, seed=seed, checkpoints_dir=tmp_path, log=log)
        return str(found.value)

    assert version() == card.version == version(checkpoint_every=5)
    others = {
        version(seed=8), version(epochs=4), version(learning_rate=0.004), version(rows=easy_rows.iloc[::-1])
    }  # fmt: skip
    assert len(others | {card.version}) == 5


def test_a_version_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'abc'"):
        ModelStore(tmp_path).load("abc")


@dataclass(frozen=True)
class Elsewhere:
    """What another process did: fits in folders of `root`.

    Parameters
    ----------
    root : pathlib.Path
        Its folders: `read_only`, `hub` and `killed`.
    code : int
        The exit code of the process.
    lines : list of str
        What it printed: a version or an error for each fit that ended.
    """

    root: Path
    code: int
    lines: list[str]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, easy_rows: pd.DataFrame, easy_schema: TableSchema) -> Elsewhere:
    """Fit four times in one process: without permission to write, bases of a hub with two names, and to a kill."""
    root = tmp_path_factory.mktemp("elsewhere")
    easy_rows.to_parquet(root / "rows.parquet")
    (root / "read_only").mkdir()
    attempts = [
        ("read_only", QUICK, ""),
        ("hub", QUICK.model_copy(update={"base": "distilgpt2"}), ""),
        ("hub", QUICK.model_copy(update={"base": "distilgtp2"}), ""),
        ("killed", SETTINGS, "finetune: "),
    ]
    given = [(str(root / name), settings.model_dump(mode="json"), kill_at) for name, settings, kill_at in attempts]
    arguments = [str(root / "rows.parquet"), easy_schema.model_dump_json(), json.dumps(given)]
    command = [*bound_by_permissions_if_possible(), sys.executable, "-c", _FIT, *arguments]
    with serve_hub({"distilgpt2": make_tiny_gpt2(root / "files")}) as hub, read_only(root / "read_only"):
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(root / "hf")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    return Elsewhere(root, done.returncode, lines)


@pytest.mark.slow
def test_a_killed_fit_resumes_and_gives_the_same_weights(
    fitted, elsewhere: Elsewhere, easy_rows: pd.DataFrame, easy_schema: TableSchema
) -> None:
    uninterrupted, card, _ = fitted
    assert elsewhere.code == -signal.SIGKILL
    root = elsewhere.root / "killed"
    assert not (root / "models" / card.version).exists()
    (root / "models" / f".{card.version}-left-by-a-kill").mkdir()
    resumed, _ = fit_here(root, easy_rows, easy_schema)
    assert resumed.version == card.version
    assert resumed.resumed_from_step == 8  # the steps of the pretraining
    assert weights(root, card.version) == weights(uninterrupted, card.version)
    assert [path.name for path in (root / "models").iterdir()] == [card.version]


@pytest.mark.slow
def test_a_folder_that_may_not_be_written_to_gives_one_clear_message(elsewhere: Elsewhere) -> None:
    bound_by_permissions()  # or it is skipped
    line = elsewhere.lines[0]
    assert line.startswith("no model could be fitted and saved in ")
    assert "Permission denied" in line


@pytest.mark.slow
def test_a_model_of_the_hub_is_fitted_with_its_commit_on_record_or_named(elsewhere: Elsewhere) -> None:
    version, error = elsewhere.lines[1:]
    base, commit = ModelStore(elsewhere.root / "hub" / "models").card(version).inputs["base"].split("@")
    assert base == "distilgpt2"
    assert len(commit) == 40
    assert error.startswith("base model 'distilgtp2' cannot be loaded")
    assert "set synthesizer.base to a folder, a GGUF file or 'scratch'" in error
