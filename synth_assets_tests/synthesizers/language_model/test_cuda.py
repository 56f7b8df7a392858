"""Training and sampling on a CUDA device, as far as a machine without one can tell: see `fake_cuda`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.language_model.base_models import _is_causal, in_transformers, sentences
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, ScratchSettings
from synth_assets.synthesizers.language_model.tokenizer import END_OF_TEXT
from synth_assets_tests.synthesizers.language_model.tiny_bases import ARCHITECTURES, byte_level, tiny_model

SETTINGS = LanguageModelSettings(epochs=2, batch_size=16, learning_rate=0.01, pretrain={"rows": 0})
WITH_FOREST = SETTINGS.model_copy(
    update={"pretrain": LanguageModelSettings(pretrain={"rows": 64, "forest": {"n_estimators": 2}}).pretrain}
)


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


@pytest.fixture(params=["scratch", "llama"])
def untrained(request: pytest.FixtureRequest, table: pd.DataFrame) -> Callable[..., Any]:
    """Make a GPT-2 with the tokenizer of 'scratch', or a Llama with one of learned pieces, on a device."""

    def make(device: str = "cuda") -> Any:
        import torch

        from synth_assets.synthesizers.language_model.row_model import RowModel
        from synth_assets.synthesizers.language_model.scratch_model import make_scratch

        row_encoder = RowEncoder.fit(table)
        rows = sentences(row_encoder.to_text(table))
        torch.manual_seed(3)
        if request.param == "scratch":
            shape = ScratchSettings(n_layer=1, n_head=2, n_embd=16)
            base = make_scratch(shape, rows, list(table.columns), seed=3, row_encoder=row_encoder)
            model, tokenizer = in_transformers(*base)
        else:
            from tokenizers import ByteLevelBPETokenizer
            from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

            learned = ByteLevelBPETokenizer()
            learned.train_from_iterator(rows, 300, special_tokens=[END_OF_TEXT], show_progress=False)
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned._tokenizer, eos_token=END_OF_TEXT)
            shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
            model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
        return RowModel(model.to(device), tokenizer, row_encoder)

    return make


def rows_of(model: Any, n: int, **arguments: Any) -> pd.DataFrame:
    return pd.concat(list(model.sample_batches(n, seed=1, batch_rows=20, **arguments)), ignore_index=True)


def test_a_fit_with_a_forest_samples_within_conditions_and_imputes(
    untrained: Callable[..., Any], table: pd.DataFrame
) -> None:
    model = untrained()
    history, _ = model.fit(table, WITH_FOREST, seed=5)
    assert model.model.device.type == "cuda"
    assert np.isfinite([report["eval_loss"] for report in history]).all()
    assert len(rows_of(model, 20)) == 20
    rows = rows_of(model, 20, conditions={"half": ">= 1", "kind": "!= 'a'"})
    assert (rows["half"] >= 1).all()
    assert (rows["kind"] == "b").all()
    gaps = table.head(6).astype({"size": "float64"})
    gaps.loc[:3, "size"] = np.nan
    gaps.loc[2:, "kind"] = None
    filled = model.impute(gaps)
    assert not filled.isna().any().any()
    assert filled["half"].equals(gaps["half"])


def test_batches_that_are_generated_together_have_the_rows_of_each_by_itself(
    untrained: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from synth_assets.synthesizers.language_model import row_model

    model, conditions = untrained(), {"half": ">= 1"}
    whole, met = rows_of(model, 70), rows_of(model, 70, conditions=conditions)
    monkeypatch.setattr(row_model, "GPU_ROWS", 20)
    pd.testing.assert_frame_equal(rows_of(model, 70), whole)
    pd.testing.assert_frame_equal(rows_of(model, 70, conditions=conditions), met)


def test_a_fit_is_resumed_and_has_the_losses_of_one_on_a_cpu(
    untrained: Callable[..., Any], table: pd.DataFrame, tmp_path: Path
) -> None:
    def stop(line: str) -> None:
        if "epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        untrained().fit(table, SETTINGS, seed=5, checkpoints=tmp_path, log=stop)
    history, resumed_from = untrained().fit(table, SETTINGS, seed=5, checkpoints=tmp_path)
    assert resumed_from > 0
    on_cpu, _ = untrained("cpu").fit(table, SETTINGS, seed=5)
    for report, expected in zip(history, on_cpu, strict=True):
        assert report["eval_loss"] == pytest.approx(expected["eval_loss"], rel=0.02)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_base_of_any_architecture_is_fitted_and_sampled(table: pd.DataFrame, architecture: str) -> None:
    from synth_assets.synthesizers.language_model.row_model import RowModel

    tokenizer = byte_level(["size is 123, kind is a, half is 0.5", "kind is b, half is 1.0"])
    base = tiny_model(architecture, len(tokenizer)).to("cuda")
    assert _is_causal(base)  # a base in 4 bits is there already when it is checked
    model = RowModel(base, tokenizer, RowEncoder.fit(table))
    history, _ = model.fit(table, SETTINGS.model_copy(update={"base": architecture, "epochs": 1}), seed=5)
    assert np.isfinite(history[0]["eval_loss"])
    assert len(rows_of(model, 20)) == 20


def test_low_rank_adapters_are_trained_there_too(untrained: Callable[..., Any], table: pd.DataFrame) -> None:
    pytest.importorskip("peft")
    from synth_assets.synthesizers.language_model.synthesizer import _with_adapters

    model = untrained()
    model.model = _with_adapters(model.model).to("cuda")
    model.fit(table, SETTINGS.model_copy(update={"epochs": 1}), seed=5)
    assert len(rows_of(model, 5)) == 5


def test_where_memory_is_short_rows_go_through_the_model_in_chunks_or_the_fit_is_refused(
    untrained: Callable[..., Any], table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from synth_assets.synthesizers.base import ModelError
    from synth_assets.synthesizers.language_model.memory import Sizes

    def losses(free: int) -> list[float]:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))
        history, _ = untrained().fit(table, SETTINGS, seed=5)
        return [epoch["eval_loss"] for epoch in history]

    sizes, model = Sizes.of(untrained().model), untrained()
    beside = int((sizes.state_bytes - sizes.stored_bytes) / 0.9)
    few = 4 * model.trie.max_length * sizes.token_bytes(checkpoints_gradients=True)
    assert losses(beside + few) == pytest.approx(losses(10**9), rel=0.02)
    with pytest.raises(ModelError, match=r"training all \d+ million weights of"):
        losses(beside // 2)
