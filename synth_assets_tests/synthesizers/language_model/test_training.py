"""The training loop keeps the best weights, and a run that was killed ends with the weights of one that was not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model import graphs, training
from synth_assets.synthesizers.language_model.loss import TokenBatch, negative_log_likelihood
from synth_assets.synthesizers.language_model.memory import Sizes, capacity_for, require_room
from synth_assets.synthesizers.language_model.training import (
    DECAY,
    Stage,
    derive_seed,
    latest_checkpoint,
    step_of,
    threads_for,
    train,
)


class Killed(Exception):
    pass


def silent(line: str) -> None:
    del line


def model_of(dropout: float = 0.0, seed: int = 0) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    drops = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
    return GPT2LMHeadModel(GPT2Config(vocab_size=12, n_positions=16, n_layer=1, n_head=2, n_embd=16, **drops))


def rows_of(n: int, seed: int, *, noise: bool = False) -> TokenBatch:
    """Return rows of 0, a digit, 0, the same digit (or, as noise, another), and the end."""
    import torch

    rng = np.random.default_rng(seed)
    first = rng.integers(1, 9, n)
    second = rng.integers(1, 9, n) if noise else first
    ids = torch.tensor(np.column_stack([np.zeros(n), first, np.zeros(n), second, np.full(n, 11)])).long()
    slots = torch.tensor([[-1, 0, -1, 1, -1]]).expand(n, 5)
    return TokenBatch(ids, slots, torch.where(slots >= 0, ids - 1, 0), [torch.arange(1, 9)] * 2)


def stage(rows: TokenBatch, name: str = "finetune", **changed: Any) -> Stage:
    return Stage(
        name,
        rows,
        **{
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 0.01,
            "patience": 99,
            "ema_decay": 0.9,
            "muon": True,
            **changed,
        },
    )


def run(model: Any, stages: list[Stage], folder: Path, log: Any = silent, **changed: Any) -> list[dict[str, float]]:
    arguments = {"validation": rows_of(40, 99), "seed": 5, "checkpoints_dir": folder, "checkpoint_every": 1, "log": log}
    return train(model, stages, **{**arguments, **changed})


def loss_of(model: Any, rows: TokenBatch) -> float:
    import torch

    with torch.no_grad():
        return float(negative_log_likelihood(model, rows)) / len(rows)


def same(one: Any, other: Any) -> bool:
    import torch

    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_loss_falls(tmp_path: Path) -> None:
    model = model_of()
    before = loss_of(model, rows_of(40, 99))
    history = run(model, [stage(rows_of(200, 1), epochs=12, learning_rate=0.03)], tmp_path)
    losses = [epoch["loss"] for epoch in history]
    assert losses[-1] < 0.6 * losses[0]
    assert loss_of(model, rows_of(40, 99)) < 0.6 * before
    assert not model.training


def test_the_loss_covers_valid_tokens_alone() -> None:
    import torch

    model = model_of().eval()
    rows = rows_of(7, 1)
    with torch.no_grad():
        logs = model(input_ids=rows.ids).logits[:, :, 1:9].log_softmax(-1)  # over the valid tokens
    expected = -sum(float(logs[r, t - 1, rows.targets[r, t]]) for r in range(7) for t in (1, 3))
    assert loss_of(model, rows) * 7 == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_rows_of_different_lengths() -> None:
    import torch

    model = model_of().eval()
    ids = torch.tensor([[0, 1, 2, 0, 5], [0, 3, 0, 6, 11]])
    slots = torch.tensor([[-1, 0, 1, -1, 2], [-1, 0, -1, 2, -1]])
    candidates = [torch.tensor([1, 3]), torch.tensor([2, 4]), torch.tensor([5, 6, 7])]
    targets = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 0, 1, 0]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    expected = 0.0
    for row in range(2):
        for at in range(1, 5):
            if slots[row, at] >= 0:
                among = logits[row, at - 1, candidates[slots[row, at]]].log_softmax(-1)
                expected -= float(among[targets[row, at]])
    assert loss_of(model, TokenBatch(ids, slots, targets, candidates)) * 2 == pytest.approx(expected, rel=1e-5)


def tiny(name: str) -> Any:
    """Return a model with a bias in its head (GPT-J), or one in half precision (Llama)."""
    import torch
    from transformers import GPTJConfig, GPTJForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    if name == "GPT-J":
        model = GPTJForCausalLM(GPTJConfig(vocab_size=12, n_positions=16, n_embd=16, n_layer=1, n_head=2, rotary_dim=8))
        torch.nn.init.normal_(model.lm_head.bias)
        return model.eval()
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=12, **shape)).to(torch.bfloat16).eval()


@pytest.mark.parametrize("name", ["GPT-J", "Llama"])
def test_the_gradients_of_the_loss_are_those_of_autograd(name: str) -> None:
    import torch

    model = tiny(name)
    ids = torch.tensor([[0, 1, 2, 0, 5], [0, 3, 0, 6, 11]])
    slots = torch.tensor([[-1, 0, 1, -1, 2], [-1, 0, -1, 2, -1]])
    candidates = [torch.tensor([1, 3]), torch.tensor([2, 4]), torch.tensor([5, 6, 7]), torch.tensor([8])]
    targets = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 0, 1, 0]])
    logits = model(input_ids=ids).logits.float()
    chosen = [(r, t) for r in range(2) for t in range(1, 5) if slots[r, t] >= 0]
    whole = -sum(logits[r, t - 1, candidates[slots[r, t]]].log_softmax(-1)[targets[r, t]] for r, t in chosen)
    found = negative_log_likelihood(model, TokenBatch(ids, slots, targets, candidates))
    weights = list(model.parameters())
    expected = torch.autograd.grad(3 * whole, weights)
    gradients = torch.autograd.grad(3 * found, weights)
    most = 1e-5 if model.dtype == torch.float32 else 3e-2  # of bfloat16, a factor keeps eight bits
    assert found.item() == pytest.approx(whole.item(), rel=most)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert gradient.dtype == wanted.dtype
        assert (gradient - wanted).norm() <= most * wanted.norm() + 1e-6


def test_a_trained_model_has_each_weight_for_itself(tmp_path: Path) -> None:
    model = model_of()
    run(model, [stage(rows_of(64, 1))], tmp_path)
    for weight in model.parameters():
        assert weight.untyped_storage().nbytes() == weight.nbytes
        assert weight.grad is None


@pytest.mark.parametrize("stages", [1, 2])
def test_the_model_ends_with_the_best_weights(tmp_path: Path, stages: int) -> None:
    model = model_of()
    few = rows_of(12, 1, noise=True)
    history = run(
        model, [stage(few, epochs=15, learning_rate=0.05, ema_decay=0.0)] * stages, tmp_path, log=silent, seed=1
    )
    last = [epoch["eval_loss"] for epoch in history if epoch["stage"] == stages - 1]
    if stages == 1:
        assert min(last) < last[-1]  # else the last weights would do
    assert loss_of(model, rows_of(40, 99)) == pytest.approx(min(last), rel=1e-6)


def test_a_stage_starts_from_the_best_weights_of_the_one_before(tmp_path: Path) -> None:
    model = model_of()
    few = rows_of(12, 1, noise=True)
    stages = [
        stage(few, epochs=15, learning_rate=0.05, ema_decay=0.0),
        stage(few, epochs=1, learning_rate=0.0, ema_decay=0.0),
    ]
    history = run(model, stages, tmp_path)
    first = [epoch["eval_loss"] for epoch in history if epoch["stage"] == 0]
    assert min(first) < first[-1]
    assert history[-1]["stage"] == 1
    assert history[-1]["eval_loss"] == pytest.approx(min(first), rel=1e-6)


def test_the_learning_rate_decays_once_the_validation_loss_gains_little(tmp_path: Path) -> None:
    history = run(model_of(), [stage(rows_of(12, 1, noise=True), epochs=60, learning_rate=0.05, patience=2)], tmp_path)
    losses, rates = ([epoch[name] for epoch in history] for name in ("eval_loss", "learning_rate"))
    first_decay_epoch = int(np.argmin(losses)) + 1 + 2
    assert len(losses) == first_decay_epoch + max(1, round(DECAY * first_decay_epoch))
    assert rates[first_decay_epoch - 1] == 0.05
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_epochs_and_steps_are_numbered_over_stages(tmp_path: Path) -> None:
    history = run(model_of(), [stage(rows_of(40, 1), epochs=2), stage(rows_of(16, 2), epochs=2)], tmp_path)
    assert [epoch["epoch"] for epoch in history] == [1.0, 2.0, 3.0, 4.0]
    assert [epoch["step"] for epoch in history] == [3.0, 6.0, 7.0, 8.0]
    assert [epoch["stage"] for epoch in history] == [0.0, 0.0, 1.0, 1.0]
    assert history[1]["learning_rate"] == pytest.approx(0.0, abs=1e-12)
    checkpoint = latest_checkpoint(tmp_path, silent)
    assert checkpoint is not None
    assert step_of(checkpoint) == 8


@pytest.mark.parametrize("checkpoint_every", [1, 2])
@pytest.mark.parametrize("killed_at", range(1, 7))
def test_a_killed_run_that_is_resumed_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, checkpoint_every: int
) -> None:
    monkeypatch.setattr(training, "LOG_INTERVAL_S", 0.0)
    stages = [stage(rows_of(64, 1), "first"), stage(rows_of(48, 2), "second", learning_rate=0.003)]
    whole = model_of(dropout=0.1)
    expected = run(whole, stages, tmp_path / "whole", checkpoint_every=checkpoint_every)
    assert len(expected) == 6
    epochs = []

    def kill(line: str) -> None:
        if ": epoch " in line:
            epochs.append(line)
        if len(epochs) == killed_at:
            raise Killed

    with pytest.raises(Killed):
        run(model_of(dropout=0.1), stages, tmp_path / "parts", log=kill, checkpoint_every=checkpoint_every)
    lines: list[str] = []
    resumed = model_of(dropout=0.1)
    history = run(resumed, stages, tmp_path / "parts", log=lines.append, checkpoint_every=checkpoint_every)
    saved = (killed_at - 1) // checkpoint_every * checkpoint_every
    assert (f"resuming after epoch {saved}" in lines[0]) == bool(saved)
    assert same(resumed, whole)
    assert history == expected


def test_a_run_that_had_ended_is_not_run_again(tmp_path: Path) -> None:
    stages = [stage(rows_of(64, 1)), stage(rows_of(48, 2))]
    whole, again = model_of(dropout=0.1), model_of(dropout=0.1)
    expected = run(whole, stages, tmp_path)
    assert run(again, stages, tmp_path) == expected
    assert same(again, whole)


def test_the_seed_decides(tmp_path: Path) -> None:
    one, same_seed, other = (model_of(dropout=0.1) for _ in range(3))
    for name, model, seed in (("a", one, 5), ("b", same_seed, 5), ("c", other, 6)):
        run(model, [stage(rows_of(64, 1))], tmp_path / name, seed=seed)
    assert same(one, same_seed)
    assert not same(one, other)


def test_a_checkpoint_is_one_flat_safetensors(tmp_path: Path) -> None:
    from safetensors import safe_open

    history = run(model_of(), [stage(rows_of(64, 1))], tmp_path)
    (checkpoint,) = tmp_path.iterdir()  # no temporary file is left
    with safe_open(checkpoint, framework="pt") as file:
        assert {"model.weights", "model.ema", "model.best", "optimizer.0.0.exp_avg"} <= set(file.keys())
        assert json.loads(file.metadata()["progress"])["history"] == history
    assert latest_checkpoint(tmp_path, silent) == checkpoint
    assert step_of(checkpoint) == 12
    assert latest_checkpoint(tmp_path / "elsewhere", silent) is None


def test_a_large_model_is_not_written_more_often_than_it_is_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "is_small", lambda _: False)
    for name, bytes_s in (("slow", 1.0), ("fast", 1e15)):
        monkeypatch.setattr(training, "CHECKPOINT_BYTES_S", bytes_s)
        run(model_of(), [stage(rows_of(60, 1))], tmp_path / name)
    assert latest_checkpoint(tmp_path / "slow", silent) is None
    assert latest_checkpoint(tmp_path / "fast", silent) is not None


def test_a_checkpoint_of_another_version_gets_one_clear_message(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from synth_assets.storage.files import sha256

    save_file({"0": torch.zeros(1)}, tmp_path / "other", metadata={"state": "{}"})
    name = f"checkpoint-12-{sha256(tmp_path / 'other')[:16]}.safetensors"
    (tmp_path / "other").rename(tmp_path / name)
    with pytest.raises(ModelError, match="was not written by this version of synth_assets"):
        run(model_of(), [stage(rows_of(64, 1))], tmp_path)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_named_and_not_resumed_from(tmp_path: Path, damage: str) -> None:
    expected = run(model_of(), [stage(rows_of(64, 1))], tmp_path)
    (checkpoint,) = tmp_path.iterdir()
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    lines: list[str] = []
    assert run(model_of(), [stage(rows_of(64, 1))], tmp_path, log=lines.append) == expected
    assert lines[0].startswith(f"the checkpoint {checkpoint} is damaged")
    assert not any("resuming" in line for line in lines)


def test_seeds_depend_on_all_parts() -> None:
    assert derive_seed(1, 2) == derive_seed(1, 2) == derive_seed("1", "2")
    assert len({derive_seed(1, 2), derive_seed(2, 1), derive_seed(12), derive_seed(1, 2, 0)}) == 4
    assert all(0 <= derive_seed(i) < 2**32 for i in range(100))


def test_a_small_model_gets_one_thread_and_others_their_threads_back() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(model_of()):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_model_can_be_fitted_to_a_handful_of_rows(untrained: Any, n: int) -> None:
    from synth_assets.synthesizers.forest import ForestSettings
    from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings

    table = pd.DataFrame({"x": [1.5, 2.0, 3.5, 4.0, 4.5], "k": pd.Series(list("abaab"), dtype="str")}).head(n)
    model = untrained(table)
    pretrain = PretrainSettings(rows=50, forest=ForestSettings(n_estimators=3))
    history, _ = model.fit(table, LanguageModelSettings(epochs=2, batch_size=32, pretrain=pretrain), seed=0)
    assert np.isfinite([epoch["loss"] for epoch in history]).all()
    rows = model.sample(30)
    assert rows["x"].between(table["x"].min(), table["x"].max()).all()
    assert set(rows["k"]) <= set(table["k"])


def llama_of(**changed: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    shape = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=12, **{**shape, **changed}))


def ragged_rows(n: int, seed: int) -> TokenBatch:
    """Return rows of 2 to 13 digits and the end."""
    import torch

    ids = torch.from_numpy(np.random.default_rng(seed).integers(1, 9, (n, 15)))
    lengths = torch.arange(n) % 12 + 2
    is_digit = (torch.arange(15) > 0) & (torch.arange(15) <= lengths[:, None])
    ids = torch.where(is_digit, ids, 11)
    return TokenBatch(ids, torch.where(is_digit, 0, -1), torch.where(is_digit, ids - 1, 0), [torch.arange(1, 9)])


def close(one: Any, other: Any) -> bool:
    import torch

    return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_graphed_step_has_the_loss_and_the_gradients_of_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from synth_assets.synthesizers.language_model.optimizers import FlatWeights

    monkeypatch.setattr(graphs, "captured", lambda run, pool: run)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    rows, model = ragged_rows(40, 1), llama_of()
    gradients = FlatWeights(model).gradients
    indices, share = torch.tensor([3, 0, 29, 14]), torch.tensor([1, 2])
    graphed = graphs.GraphedLoss(model, gradients, rows, rows.lengths, batch_size=4, share=share)
    assert graphed(indices[:3]) is None
    loss = graphed(indices)
    assert loss is not None
    found = loss.item(), gradients.clone()
    gradients.zero_()
    n_predicted = (rows.select(indices).slots >= 0).sum()
    expected = negative_log_likelihood(model, rows.select(indices[share]).trimmed())
    (expected / n_predicted).backward()
    assert found[0] == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(found[1], gradients, atol=1e-5, rtol=1e-4)


def test_rows_of_similar_length_share_a_batch(tmp_path: Path) -> None:
    rows = ragged_rows(480, 1)
    shapes: list[tuple[int, int]] = []
    model, again = llama_of(), llama_of()
    model.model.register_forward_pre_hook(
        lambda module, _, arguments: shapes.append(tuple(arguments["input_ids"].shape)) if module.training else None,
        with_kwargs=True,
    )
    run(model, [stage(rows, epochs=1)], tmp_path / "one")
    assert sum(n for n, _ in shapes) == len(rows)
    assert sum(n * length for n, length in shapes) < 1.15 * int(rows.lengths.sum())
    assert shapes != sorted(shapes, key=lambda shape: shape[1])
    run(again, [stage(rows, epochs=1)], tmp_path / "other")
    assert same(model, again)


@pytest.mark.parametrize("most", [5, 0])
def test_a_step_that_runs_out_of_memory_is_computed_in_smaller_chunks(tmp_path: Path, most: int) -> None:
    import torch

    as_it_is, model = llama_of(), llama_of()
    stages = [stage(rows_of(48, 1), epochs=2), stage(rows_of(48, 2), epochs=1)]
    run(as_it_is, stages, tmp_path / "as it is")

    def run_out(_: Any, arguments: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")

    model.model.register_forward_pre_hook(run_out, with_kwargs=True)
    lines: list[str] = []
    if not most:
        with pytest.raises(ModelError, match=r"too small for one row of 5 tokens .*Set lora: true"):
            run(model, stages, tmp_path / "in chunks")
        return
    run(model, stages, tmp_path / "in chunks", log=lines.append)
    assert [line for line in lines if "out of memory" in line] == [
        "finetune: out of memory with 16 rows at once; going on with 8",
        "finetune: out of memory with 8 rows at once; going on with 4",
    ]
    assert close(model, as_it_is)


def test_what_a_failed_chunk_added_to_the_gradients_is_dropped(tmp_path: Path) -> None:
    import torch

    as_it_is, model = llama_of(), llama_of()
    run(as_it_is, [stage(rows_of(48, 1))], tmp_path / "as it is")
    n_backward = 0

    def run_out(*_: Any) -> None:
        nonlocal n_backward
        n_backward += 1
        if n_backward == 2:  # in the first layer, after the others have their gradients
            raise torch.OutOfMemoryError("CUDA out of memory.")

    model.model.layers[0].register_full_backward_hook(run_out)
    run(model, [stage(rows_of(48, 1))], tmp_path / "in chunks")
    assert n_backward > 2
    assert close(model, as_it_is)


def test_a_base_in_half_precision_is_trained_in_single_precision(tmp_path: Path) -> None:
    import torch

    model, expected = llama_of().to(torch.bfloat16), llama_of().to(torch.bfloat16).float()
    for each, folder in ((model, "half"), (expected, "single")):
        run(each, [stage(rows_of(64, 1), learning_rate=1e-4)], tmp_path / folder)
    assert same(model, expected)


SIZES = Sizes(
    trained=1_700_000_000,
    weights=1_700_000_000,
    stored_bytes=3_400_000_000,
    frozen_bytes=0,
    layers=24,
    width=2048,
    inner_width=8192,
)


def test_a_large_model_learns_the_same_in_bfloat16_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(*, bfloat16: bool) -> list[float]:
        monkeypatch.setattr(training, "has_bfloat16", lambda: bfloat16)
        history = run(llama_of(), [stage(rows_of(100, 1))], tmp_path / str(bfloat16))  # 21 steps
        return [epoch["loss"] for epoch in history]

    single = losses(bfloat16=True)  # a small model
    assert losses(bfloat16=False) == single
    monkeypatch.setattr(training, "SMALL_MODEL", 0)
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    bfloat16 = losses(bfloat16=True)
    assert bfloat16 != single
    assert bfloat16 == pytest.approx(single, rel=0.02)


def test_a_fit_that_does_not_fit_the_gpu_is_refused_with_what_would() -> None:
    require_room(SIZES, 80 * 10**9, "big")
    with pytest.raises(ModelError) as refused:
        require_room(SIZES, 24 * 10**9, "big")
    assert str(refused.value) == (
        "training all 1.7 billion weights of 'big' takes 51.0 GB before any row, and 24.0 GB of the GPU's memory are "
        "free; expected at least 56.7 GB. To fit: set lora: true (3.4 GB), or set lora: true and quantized: true "
        "(1.0 GB), or choose a base of at most 720 million weights. A smaller batch_size does not help, since a batch "
        "is split as needed."
    )
    adapters = replace(SIZES, trained=10_000_000, frozen_bytes=3_400_000_000)
    require_room(adapters, 5 * 10**9, "big")
    with pytest.raises(ModelError, match=r"training adapters .* To fit: set lora: true and quantized: true"):
        require_room(adapters, 2 * 10**9, "big")


def test_rows_that_go_through_the_model_at_once_follow_from_the_free_memory() -> None:
    plenty = capacity_for(SIZES, 60 * 10**9, length=100, batch_size=64)
    assert not plenty.checkpoints_gradients
    assert plenty.rows(100) >= 64
    assert plenty.rows(50) // 2 == plenty.rows(100)
    little = capacity_for(SIZES, 3 * 10**9, length=100, batch_size=64)
    assert little.checkpoints_gradients
    assert little.rows(100) >= 8
    with pytest.raises(ModelError, match=r"a row of 1000 tokens takes .* GB .* leave columns out"):
        capacity_for(SIZES, 10**8, length=1000, batch_size=64)
