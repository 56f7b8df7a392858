"""The drop-in for `be_great.GReaT`."""

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.forest import ForestSettings
from synth_assets.synthesizers.language_model.base_models import save_base, sentences
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.scratch_model import make_scratch
from synth_assets.synthesizers.language_model.settings import (
    LanguageModelSettings,
    PretrainSettings,
    ScratchSettings,
)
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel

SHAPE = ScratchSettings(n_layer=1, n_head=2, n_embd=16)
PRETRAIN = PretrainSettings(rows=200, forest=ForestSettings(n_estimators=3))


@pytest.fixture(scope="module")
def base(easy_rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    encoder = RowEncoder.fit(easy_rows)
    rows = sentences(encoder.to_text(easy_rows))
    save_base(*make_scratch(SHAPE, rows, list(easy_rows), seed=3, row_encoder=encoder), folder)
    return folder


@pytest.fixture(scope="module")
def great(base: Path, easy_rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from synth_assets.synthesizers.language_model.great import GReaT

    great = GReaT(str(base), epochs=2, batch_size=16, experiment_dir=str(tmp_path_factory.mktemp("experiment")))
    losses = great.fit(easy_rows, pretrain=PRETRAIN, seed=5)
    assert losses[-1]["loss"] < losses[0]["loss"]
    return great


def test_it_is_a_be_great_and_samples_and_imputes(great: Any, easy_rows: pd.DataFrame) -> None:
    import be_great

    assert isinstance(great, be_great.GReaT)
    rows = great.sample(70, k=50, seed=7, conditions={"Size": ">= 1.75"})
    assert len(rows) == 70
    assert (rows["Size"] >= 1.75).all()
    filled = great.impute(easy_rows.head(4).assign(Size=np.nan), seed=1)
    assert filled["Size"].notna().all()


def test_a_model_that_was_saved_writes_the_same_rows_and_be_great_loads_it(great: Any, tmp_path: Path) -> None:
    import be_great
    import torch

    great.save(str(tmp_path / "saved"))
    again = type(great).load_from_dir(str(tmp_path / "saved"))
    pd.testing.assert_frame_equal(again.sample(60, seed=2), great.sample(60, seed=2))
    theirs = be_great.GReaT.load_from_dir(str(tmp_path / "saved"))
    for name, weight in theirs.model.state_dict().items():
        assert torch.equal(weight, great.model.state_dict()[name])


def test_a_folder_of_the_model_store_is_loaded_and_writes_the_same_rows(
    great: Any, easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path
) -> None:
    settings = LanguageModelSettings(scratch=SHAPE, epochs=1, pretrain=PRETRAIN)
    fitted = LanguageModel(settings).fit(easy_rows, easy_schema)
    fitted.save(tmp_path)
    loaded = type(great).load_from_dir(str(tmp_path))
    pd.testing.assert_frame_equal(loaded.sample(60, seed=2), fitted.sample(60, seed=2))
    assert loaded.columns == list(easy_rows)


def test_what_be_great_saved_is_sampled_by_be_great(
    great: Any, base: Path, easy_rows: pd.DataFrame, tmp_path: Path
) -> None:
    import be_great

    theirs = be_great.GReaT(str(base))
    theirs._update_column_information(easy_rows)
    theirs._update_conditional_information(easy_rows, "Size")
    theirs.save(str(tmp_path / "theirs"))
    ours = type(great).load_from_dir(str(tmp_path / "theirs"))
    with mock.patch.object(be_great.GReaT, "sample", autospec=True, return_value=easy_rows) as sample:
        assert ours.sample(9, k=3, temperature=0.5, device="cpu", max_length=50) is easy_rows
    sample.assert_called_once_with(ours, 9, temperature=0.5, k=3, conditions=None, device="cpu", max_length=50)
    with pytest.raises(ModelError, match="no row encoder; fit it with this class first"):
        ours.impute(easy_rows)


def test_a_model_that_was_never_fitted_fails_clearly(great: Any, base: Path) -> None:
    with pytest.raises(ModelError, match="not fitted; call fit first"):
        type(great)(str(base)).sample(3)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "there is no folder"),
        ([], "is no saved model: it is empty"),
        (["notes.txt"], "is no saved model: it holds notes.txt"),
        (["checkpoint-8-0123.safetensors"], "is no saved model: it holds checkpoints of a training"),
    ],
)
def test_a_folder_that_is_no_saved_model_is_refused(files: list[str] | None, message: str, tmp_path: Path) -> None:
    from synth_assets.synthesizers.language_model.great import GReaT

    folder = tmp_path / "model"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).touch()
    with pytest.raises(ModelError, match=message):
        GReaT.load_from_dir(str(folder))


def test_text_is_written_in_the_tokens_of_the_base(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from synth_assets.synthesizers.language_model.great import GReaT

    rng = np.random.default_rng(0)
    words = ["ring", "the bell", "leave it", "größe", "🦪"]
    rows = pd.DataFrame({"n": rng.integers(0, 9, 60), "note": [" ".join(rng.choice(words, 4)) for _ in range(60)]})
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(rows["note"], vocab_size=320, special_tokens=["<|end|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token="<|end|>")  # noqa: S106
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_layer=1, n_head=2, n_embd=16))
    save_base(model, tokenizer, tmp_path / "base")
    great = GReaT(str(tmp_path / "base"), epochs=1, batch_size=16, experiment_dir=str(tmp_path))

    great.fit(rows, pretrain=PretrainSettings(rows=0), seed=1)

    written = great.sample(30, seed=1)
    assert set("".join(written["note"])) <= set("".join(rows["note"]))
    assert not written["note"].isin(rows["note"]).any()
    filled = great.impute(rows.head(3).assign(n=np.nan), seed=1)
    assert filled["note"].tolist() == rows["note"].head(3).tolist()
