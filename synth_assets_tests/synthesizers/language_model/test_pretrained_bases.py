"""Bases that are loaded: hub, folders and GGUF files of each architecture, and what is refused."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model import base_models, row_model, training
from synth_assets.synthesizers.language_model.base_models import fingerprint, load_base
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel
from synth_assets_tests.services.hub import serve_hub
from synth_assets_tests.synthesizers.language_model.tiny_bases import (
    ARCHITECTURES,
    TOKENIZERS,
    byte_level,
    save_base,
    save_gguf,
    tiny_model,
)

QUICK = LanguageModelSettings(base="base", epochs=1, batch_size=32)


def load(folder: Path, base: str = "base") -> Any:
    return load_base(QUICK.model_copy(update={"base": base}), None, None, seed=0, base_models_dir=folder)


@pytest.mark.parametrize(
    ("architecture", "tokenizer"),
    [
        *((architecture, "single digits") for architecture in ARCHITECTURES),
        *(("llama", tokenizer) for tokenizer in TOKENIZERS if tokenizer != "single digits"),
    ],
)
def test_a_base_of_any_architecture_and_tokenizer_is_fitted_saved_and_loaded(
    easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path, architecture: str, tokenizer: str
) -> None:
    rows = [f"Colour is {a}, Size is {b}, Count is {c}" for a, b, c in easy_rows.itertuples(index=False)]
    save_base(tmp_path / "base", architecture, TOKENIZERS[tokenizer](rows))
    fitted = LanguageModel(QUICK, base_models_dir=tmp_path).fit(easy_rows, easy_schema, seed=1)
    written = fitted.sample(20, seed=1)
    assert set(written["Colour"]) <= {"blue", "red"}
    fitted.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "base")
    pd.testing.assert_frame_equal(LanguageModel.load(tmp_path / "saved").sample(20, seed=1), written)


def test_a_gguf_file_is_fitted_and_needed_no_longer(
    easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path
) -> None:
    tensors = save_gguf(tmp_path / "tiny.gguf")
    settings = QUICK.model_copy(update={"base": "tiny.gguf"})
    model, tokenizer = load(tmp_path, "tiny.gguf")
    assert (model.model.embed_tokens.weight.detach().numpy() == tensors["token_embd.weight"]).all()
    assert tokenizer("kind is a")["input_ids"] == byte_level()("kind is a")["input_ids"]
    before = fingerprint(settings, 0, tmp_path)
    fitted = LanguageModel(settings, base_models_dir=tmp_path).fit(easy_rows, easy_schema, seed=1)
    fitted.save(tmp_path / "saved")
    with (tmp_path / "tiny.gguf").open("ab") as file:
        file.write(b"more")
    assert fingerprint(settings, 0, tmp_path) != before
    (tmp_path / "tiny.gguf").unlink()
    loaded = LanguageModel.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.sample(20, seed=1), fitted.sample(20, seed=1))


def test_a_large_model_draws_few_rows_at_once_on_a_cpu_and_more_begin_with_fewer(
    easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SMALL_MODEL", 0)
    monkeypatch.setattr(row_model, "LARGE_MODEL_ROWS", 8)
    save_base(tmp_path / "base", "llama")
    fitted = LanguageModel(QUICK, base_models_dir=tmp_path).fit(easy_rows, easy_schema, seed=1)
    conditions = {"Colour": "== 'red'"}
    rows = fitted.sample(20, seed=1, conditions=conditions)
    assert set(rows["Colour"]) == {"red"}
    pd.testing.assert_frame_equal(fitted.sample(9, seed=1, conditions=conditions), rows.head(9))
    monkeypatch.setattr(row_model, "LARGE_MODEL_ROWS", 16)
    assert not fitted.sample(20, seed=1, conditions=conditions).equals(rows)


def test_weights_in_half_precision_are_trained_in_single_precision(tmp_path: Path) -> None:
    import torch

    tokenizer = byte_level()
    tiny_model("llama", len(tokenizer)).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    assert next(load(tmp_path)[0].parameters()).dtype == torch.float32


def no_weights(folder: Path) -> None:
    (save_base(folder) / "model.safetensors").unlink()


def half_of_the_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(save_base(folder) / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".h.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def damaged_weights(folder: Path) -> None:
    (save_base(folder) / "model.safetensors").write_bytes(b"damaged")


def no_tokenizer(folder: Path) -> None:
    for path in save_base(folder).glob("tokenizer*"):
        path.unlink()


def an_encoder(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = byte_level()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def an_encoder_and_a_decoder(folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    T5ForConditionalGeneration(
        T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(folder)
    byte_level().save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_weights, "it has no weights: expected model.safetensors"),
        (half_of_the_weights, "lacks 12 of the weights of a GPT2LMHeadModel, such as transformer.h.1."),
        (damaged_weights, "transformers reports: Error while deserializing header"),
        (no_tokenizer, "has no tokenizer, or one that knows no letter"),
        (an_encoder, "is a BertLMHeadModel in which a token sees the ones after it: an encoder"),
        (an_encoder_and_a_decoder, "its architecture is none of a causal language model"),
    ],
)
def test_a_folder_that_is_no_causal_language_model_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "base")
    with pytest.raises(ModelError, match=f"^base model 'base' .*{message}"):
        load(tmp_path)


def test_a_damaged_gguf_file_is_refused(tmp_path: Path) -> None:
    save_gguf(tmp_path / "x.gguf")
    whole = (tmp_path / "x.gguf").read_bytes()
    for content in (b"", b"no GGUF file", whole[:60], whole[: len(whole) // 3], whole[:-300]):
        (tmp_path / "x.gguf").write_bytes(content)
        with pytest.raises(ModelError, match=r"'x.gguf' is no complete GGUF file .* bytes may be a part of a download"):
            load(tmp_path, "x.gguf")
    save_gguf(tmp_path / "x.gguf", n_layers=0)
    with pytest.raises(ModelError, match="lacks 9 of the weights of a LlamaForCausalLM"):
        load(tmp_path, "x.gguf")
    (tmp_path / "x.gguf").write_bytes(whole.replace(b"llama", b"lxama"))
    with pytest.raises(ModelError, match="GGUF model with architecture lxama is not supported yet"):
        load(tmp_path, "x.gguf")
    with pytest.raises(ModelError, match=r"no GGUF file 'y.gguf' in base_models/"):
        load(tmp_path, "y.gguf")


def test_a_gguf_file_without_its_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_gguf(tmp_path / "x.gguf")
    monkeypatch.setattr(base_models, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'synth-assets\[gguf\]'"):
        load(tmp_path, "x.gguf")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("huggingface_hub.constants.HF_HUB_CACHE", "transformers.utils.hub.TRANSFORMERS_CACHE"):
        monkeypatch.setattr(name, str(tmp_path / "cache"), raising=False)
    return tmp_path


def ask(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def test_a_hub_that_does_not_answer_is_named_or_its_cache_taken(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QUICK.model_copy(update={"base": "some/model"})
    monkeypatch.setattr(base_models, "HUB_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ask(monkeypatch, nowhere)
        with pytest.raises(ModelError, match=r"'some/model' cannot be loaded: .*no answer within 0.2 s"):
            fingerprint(settings, 0, hub_cache)
        with serve_hub({"some/model": save_base(hub_cache / "files")}) as hub:
            ask(monkeypatch, hub.url)
            load(hub_cache, "some/model")
            before = fingerprint(settings, 0, hub_cache)
        ask(monkeypatch, nowhere)
        assert fingerprint(settings, 0, hub_cache) == before
        load(hub_cache, "some/model")
