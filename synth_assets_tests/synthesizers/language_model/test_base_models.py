"""The base that is made from a table: its tokenizer loses nothing, and the same rows give the same weights."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.base_models import (
    fingerprint,
    in_transformers,
    load_base,
    load_folder,
    save_base,
    sentences,
)
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.scratch_model import load_scratch, make_scratch
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, ScratchSettings

ROWS = ["Sex is 2, Length is 0.455, Length_is_odd is 1.0", "Sex is 0, Length is 1e-05, Length_is_odd is -3.0"]
NAMES = ["Sex", "Length", "Length_is_odd"]


SHAPE = ScratchSettings(n_layer=1, n_head=2, n_embd=8)


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    return in_transformers(*make_scratch(SHAPE, ROWS, NAMES, seed=3))


@pytest.fixture(scope="module")
def tokenizer(base: tuple[Any, Any]) -> Any:
    return base[1]


@pytest.mark.parametrize("text", ROWS)
def test_a_row_is_the_same_text_after_the_tokenizer(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_column_name_is_one_piece_also_where_one_name_begins_another(tokenizer) -> None:
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("Length_is_odd is 1.0, Length is 5")["input_ids"])
    assert pieces == [" Length_is_odd", " is", " 1", ".", "0", ",", " Length", " is", " 5"]


@pytest.mark.parametrize("prompt", ["Length is 9.00000,", "Sex is ", "Sex is 2; Length is", "Sex is 2,"])
def test_the_prompts_of_be_great_hold_no_unknown_piece(tokenizer, prompt: str) -> None:
    ids = tokenizer(prompt)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == prompt


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.floats(-1e9, 1e9, allow_nan=False) | st.integers(-99, 99) | st.text("ab :;'M", max_size=6),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_sentence_of_known_characters_survives(tokenizer, cells: list[tuple[str, object]]) -> None:
    text = ", ".join(f"{name} is {value}" for name, value in cells)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_sentences_are_those_of_be_great(easy_rows: pd.DataFrame) -> None:
    from be_great.great_dataset import GReaTDataset

    data = GReaTDataset.from_pandas(easy_rows)
    data.set_tokenizer(lambda text, **_: text)
    theirs = [set(text.split(", ")) for text in data.__getitems__(list(range(len(easy_rows))))]
    assert [set(text.split(", ")) for text in sentences(easy_rows)] == theirs


def test_the_base_has_room_for_the_longest_row(base: tuple[Any, Any], tokenizer: Any) -> None:
    longest = max(len(ids) for ids in tokenizer(ROWS)["input_ids"])
    assert base[0].config.n_positions >= 2 * longest


def test_the_same_rows_and_seed_give_the_same_base(easy_rows: pd.DataFrame) -> None:
    import torch

    settings, encoder = LanguageModelSettings(scratch=SHAPE), RowEncoder.fit(easy_rows)
    one, same, other = (
        load_base(settings, easy_rows, encoder, seed=seed, base_models_dir=None)[0].state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_scratch_base_has_the_weights_and_the_files_that_transformers_gives_it(tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    def is_same(one: Any, other: Any) -> bool:
        return all(map(torch.equal, one.parameters(), other.parameters()))

    model, tokenizer = make_scratch(ScratchSettings(n_layer=3, n_head=2, n_embd=8), ROWS, NAMES, seed=3)
    torch.manual_seed(3)
    expected = GPT2LMHeadModel(GPT2Config(**vars(model.config)))
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in expected.named_parameters()]
    assert is_same(model, expected)
    assert model.num_parameters() == expected.num_parameters()
    for folder, base in {"ours": (model, tokenizer), "theirs": in_transformers(model, tokenizer)}.items():
        (tmp_path / folder).mkdir()
        save_base(*base, tmp_path / folder)
        for again, splitter in (load_scratch(tmp_path / folder), load_folder(tmp_path / folder)):
            assert is_same(again, model)
            assert splitter(ROWS)["input_ids"] == tokenizer(ROWS)["input_ids"]
            assert splitter.eos_token_id == tokenizer.eos_token_id


def test_another_seed_or_shape_is_another_fingerprint() -> None:
    wider = LanguageModelSettings(scratch=ScratchSettings(n_layer=1, n_head=2, n_embd=16))
    settings = LanguageModelSettings(scratch=SHAPE)
    assert len({fingerprint(settings, 1, None), fingerprint(settings, 2, None), fingerprint(wider, 1, None)}) == 3


def test_the_files_of_a_folder_are_its_fingerprint(tmp_path: Path) -> None:
    settings = LanguageModelSettings(base="mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"")
    before = fingerprint(settings, 0, tmp_path)
    (tmp_path / "mine" / "note.txt").write_text("changed")
    assert fingerprint(settings, 0, tmp_path) != before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.PT", "deep/optimizer.pth", "a.pkl"])
def test_a_folder_with_a_pickle_is_refused(easy_rows: pd.DataFrame, tmp_path: Path, name: str) -> None:
    path = tmp_path / "base" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=rf"is not loaded, since {name} may hold pickles"):
        load_base(LanguageModelSettings(base="base"), easy_rows, None, seed=0, base_models_dir=tmp_path)


def test_pickled_weights_of_the_hub_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cached_file(name: str, file: str, **_: object) -> str | None:
        return str(tmp_path / "a_commit" / file) if file == "config.json" else None

    monkeypatch.setattr("transformers.utils.cached_file", cached_file)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
    with pytest.raises(ModelError, match="'some/model' has no safetensors on the model hub"):
        fingerprint(LanguageModelSettings(base="some/model"), 0, tmp_path)


def test_what_is_not_stated_depends_on_the_base_and_decides_the_version() -> None:
    scratch, pretrained = LanguageModelSettings(), LanguageModelSettings(base="distilgpt2")
    assert scratch.resolved().pretrain.learning_rate == 3e-3
    assert (scratch.resolved().learning_rate, scratch.resolved().pretrain.rows) == (None, None)  # the table decides
    assert pretrained.resolved().learning_rate == 2e-4
    assert pretrained.model_copy(update={"lora": True}).resolved().learning_rate == 1e-3
    assert pretrained.resolved().pretrain.rows == 0
    assert (scratch.resolved().use_density_ratio, pretrained.resolved().use_density_ratio) == (True, False)
    pretrain = {"rows": 5, "learning_rate": 0.02}
    stated = LanguageModelSettings(base="distilgpt2", batch_size=8, learning_rate=0.01, pretrain=pretrain)
    assert stated.resolved() == stated.model_copy(update={"use_density_ratio": False})
    assert pretrained.inputs() == LanguageModelSettings(base="distilgpt2", learning_rate=2e-4).inputs()
    assert pretrained.inputs() != stated.inputs()
