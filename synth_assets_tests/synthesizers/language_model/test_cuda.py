"""Fitting and sampling on a GPU, as far as a machine without one can tell: see `fake_cuda`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.language_model.base_models import make_scratch_base, sentences
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.tokenizer import END_OF_TEXT
from synth_assets.synthesizers.settings import ScratchBase, TeacherSpec, TrainingSpec

FOREST = TrainingSpec(teacher_rows=64, teacher_epochs=1, teacher=TeacherSpec(trees=2))
NO_FOREST = TrainingSpec(teacher_rows=0)


@pytest.fixture(autouse=True)
def _gpu() -> Iterator[None]:
    from synth_assets_tests.synthesizers.language_model.fake_cuda import fake_cuda

    with fake_cuda():
        yield


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    size = rng.integers(1, 4, 60)
    kind = pd.Series(rng.choice(["a", "b"], 60), dtype="str")
    return pd.DataFrame({"size": size, "kind": kind, "half": rng.integers(1, 4, 60) / 2})


@pytest.fixture(scope="module", params=["scratch", "llama"])
def base(request: pytest.FixtureRequest, table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a GPT-2 with the tokenizer of 'scratch', or a Llama with one of learned pieces."""
    folder = tmp_path_factory.mktemp("bases") / request.param
    row_encoder = RowEncoder.fit(table)
    rows = sentences(row_encoder.to_text(table))
    if request.param == "scratch":
        make_scratch_base(folder, ScratchBase(1, 2, 16), rows, list(table.columns), seed=3, row_encoder=row_encoder)
        return folder
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator(rows, 300, special_tokens=[END_OF_TEXT], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned._tokenizer, eos_token=END_OF_TEXT)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fit(
    base: Path,
    table: pd.DataFrame,
    folder: Path,
    *,
    epochs: int = 2,
    lora: str = "",
    device: str = "cuda",
    training: TrainingSpec = NO_FOREST,
    **more: Any,
) -> Any:
    from synth_assets.synthesizers.language_model.engine import GReaT

    great = GReaT(str(base), experiment_dir=str(folder), epochs=epochs, batch_size=16, efficient_finetuning=lora)
    history = great.fit(table, learning_rate=0.01, device=device, seed=5, training=training, **more)
    assert great.model.device.type == device
    return great, history


def test_a_fit_with_a_forest_samples_within_conditions_and_imputes(
    base: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    great, history = fit(base, table, tmp_path, training=FOREST)
    assert [report["stage"] for report in history] == [0.0, 1.0, 1.0]
    assert np.isfinite([report["eval_loss"] for report in history]).all()
    assert len(great.sample(20, seed=1, device="cuda")) == 20
    asked = {"half": ">= 1", "kind": "!= 'a'"}
    rows = great.sample(20, seed=1, conditions=asked, device="cuda")
    assert (rows["half"] >= 1).all()
    assert (rows["kind"] == "b").all()
    gaps = table.head(6).astype({"size": "float64"})
    gaps.loc[:3, "size"] = np.nan
    gaps.loc[2:, "kind"] = None
    filled = great.impute(gaps, device="cuda")
    assert not filled.isna().any().any()
    assert filled["half"].equals(gaps["half"])


def test_a_fit_is_resumed_and_has_the_losses_of_one_on_a_cpu(base: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    _, first = fit(base, table, tmp_path / "gpu", epochs=1)
    lines: list[str] = []
    great, history = fit(base, table, tmp_path / "gpu", report=lines.append)
    assert lines[0].startswith("resuming after epoch 1")
    assert history[0] == first[0]
    assert len(great.sample(5, device="cuda")) == 5
    _, on_cpu = fit(base, table, tmp_path / "cpu", device="cpu")
    for report, expected in zip(history, on_cpu, strict=True):
        assert report["eval_loss"] == pytest.approx(expected["eval_loss"], rel=0.02)


def test_a_model_saved_on_a_gpu_is_moved_there_again_when_loaded(
    base: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    import torch

    from synth_assets.synthesizers.language_model.engine import GReaT

    great, _ = fit(base, table, tmp_path / "experiment", epochs=1, device="cpu")
    great.device = torch.device("cuda")  # what be_great's `save` writes of a model on a GPU
    great.save(str(tmp_path / "saved"))
    loaded = GReaT.load_from_dir(str(tmp_path / "saved"))
    assert len(loaded.sample(5, device="cuda")) == 5
    assert loaded.model.device.type == "cuda"


def test_low_rank_adapters_are_trained_there_too(base: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    great, _ = fit(base, table, tmp_path, lora="lora", epochs=1)
    assert len(great.sample(5, device="cuda")) == 5
    great.model = great.model.merge_and_unload()
    assert len(great.sample(5, device="cuda")) == 5
