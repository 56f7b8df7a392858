"""The language model on a table small enough that all its rows can be counted."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from synth_assets.schema.columns import Categorical, Float, Integer, Text
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import load
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.forest import ForestSettings
from synth_assets.synthesizers.language_model import synthesizer as module
from synth_assets.synthesizers.language_model.base_models import sentences
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.likelihood import log_likelihood
from synth_assets.synthesizers.language_model.row_model import RowModel
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings, ScratchSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel
from synth_assets.synthesizers.language_model.tokenizer import END_OF_TEXT

LABELS, SIZES = ("a", "b"), (1, 2, 3)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 2, 300)
    size = np.clip(kind + rng.integers(1, 3, 300), 1, 3)
    total = (size * 1000 + kind * 500 + rng.integers(0, 60, 300) * 5) / 1e3
    return pd.DataFrame({"total": total, "size": size, "kind": pd.Series(np.array(LABELS)[kind], dtype="str")})


SCHEMA = TableSchema(
    columns=(Float(name="total"), Integer(name="size"), Categorical(name="kind", categories=LABELS)), target="size"
)
SETTINGS = LanguageModelSettings(
    scratch=ScratchSettings(n_layer=1, n_head=2, n_embd=16),
    epochs=2,
    batch_size=32,
    learning_rate=0.01,
    column_order=("size", "kind"),
    pretrain=PretrainSettings(rows=600, epochs=2, forest=ForestSettings(n_estimators=5)),
)


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame) -> LanguageModel:
    return LanguageModel(SETTINGS).fit(table, SCHEMA, seed=5)


def probabilities(fitted: LanguageModel) -> pd.DataFrame:
    """Compute the exact probability of each size and kind, step by step over the values that the trie allows."""
    of_models = [_probabilities(fitted, model) for model in fitted.row_model.models]
    return of_models[0].assign(share=np.mean([each["share"] for each in of_models], axis=0))


def _probabilities(fitted: LanguageModel, model: Any) -> pd.DataFrame:
    import torch

    from synth_assets.synthesizers.language_model.base_models import in_transformers

    model, _ = in_transformers(model, fitted.row_model.tokenizer)
    encoder = fitted.row_model.row_encoder
    forbidden = {pair for each in encoder.forbidden if (each.before, each.column) == (0, 1) for pair in each.pairs}
    assert forbidden == {(1, 1), (3, 0)}  # neither a 1 of kind b nor a 3 of kind a is in a train row
    (first, (one_part,)), (second, (other_part,)) = ((c, c.parts) for c in fitted.row_model.trie.columns[:2])
    rows = []
    with torch.no_grad():
        for one, other in itertools.product(range(3), range(2)):
            ids = torch.tensor([[*first.prefix, *one_part.values[one], *second.prefix, *other_part.values[other]]])
            logits = model(input_ids=ids).logits[0]
            share = 1.0
            for at, part, code in ((len(first.prefix) - 1, one_part, one), (ids.shape[1] - 2, other_part, other)):
                scores = logits[at, part.values[:-1, 0]]
                if part is other_part:
                    scores[[(SIZES[one], kind) in forbidden for kind in range(2)]] = -torch.inf
                share *= float(scores.softmax(0)[code])
            rows.append((SIZES[one], LABELS[other], share))
    return pd.DataFrame(rows, columns=["size", "kind", "share"])


def close(found: np.ndarray, expected: np.ndarray, n: int) -> bool:
    return bool((np.abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n) + 1e-9).all())


def shares_of(rows: pd.DataFrame, exact: pd.DataFrame) -> np.ndarray:
    counts = rows.groupby(["size", "kind"]).size()
    return np.array([counts.get((s, k), 0) / len(rows) for s, k in zip(exact["size"], exact["kind"], strict=True)])


def is_on_grid(rows: pd.DataFrame, fitted: LanguageModel) -> bool:
    encoder = fitted.row_model.row_encoder
    return bool(encoder.is_encodable(encoder.quantise(rows)).all())


def test_the_loss_falls_over_both_phases(fitted: LanguageModel) -> None:
    history = fitted.losses
    assert history[-1]["loss"] < history[0]["loss"]
    assert [report["stage"] for report in history] == [0.0, 0.0, 1.0, 1.0]
    assert [report["step"] for report in history] == [5.0, 10.0, 19.0, 28.0]


def test_every_row_is_a_row_that_the_table_could_have(fitted: LanguageModel, table: pd.DataFrame) -> None:
    rows = fitted.sample(2000, seed=1)
    assert rows["total"].between(table["total"].min(), table["total"].max()).all()
    assert (np.rint(rows["total"] * 1e3) % 5 == 0).all()
    assert is_on_grid(rows, fitted)


def test_frequencies_are_the_models_probabilities(fitted: LanguageModel) -> None:
    exact = probabilities(fitted)
    rows = fitted.sample(8000, seed=2)
    assert exact["share"].sum() == pytest.approx(1.0)
    assert close(shares_of(rows, exact), exact["share"].to_numpy(), len(rows))


def test_several_processes_draw_the_rows_of_one(fitted: LanguageModel) -> None:
    lines: list[str] = []
    arguments = {"seed": 7, "conditions": {"size": "<= 2"}}
    rows = fitted.sample(2300, processes=2, log=lines.append, **arguments)
    assert "2,300 of 2,300 rows" in lines[-1]
    pd.testing.assert_frame_equal(rows, fitted.sample(2300, processes=1, **arguments))


def test_a_longer_sample_begins_with_the_shorter_one(fitted: LanguageModel) -> None:
    longer = fitted.sample(2300, seed=7)
    pd.testing.assert_frame_equal(fitted.sample(1200, seed=7), longer.head(1200))
    assert [len(batch) for batch in fitted.sample_batches(2300, seed=7)] == [1000, 1000, 300]


def test_conditions_are_met_and_leave_the_models_shares(fitted: LanguageModel) -> None:
    exact = probabilities(fitted)
    exact = exact[(exact["size"] > 1) & (exact["kind"] == "b")]
    rows = fitted.sample(6000, seed=3, conditions={"size": "> 1", "kind": "== 'b'"})
    assert len(rows) == 6000
    assert ((rows["size"] > 1) & (rows["kind"] == "b")).all()
    assert close(shares_of(rows, exact), (exact["share"] / exact["share"].sum()).to_numpy(), len(rows))


def test_conditions_that_cannot_be_met_are_refused(fitted: LanguageModel) -> None:
    with pytest.raises(ModelError, match="one of a, b"):
        fitted.sample(5, conditions={"kind": "== 'c'"})


def test_filled_in_cells_follow_the_model_and_known_ones_stay(fitted: LanguageModel, table: pd.DataFrame) -> None:
    exact = probabilities(fitted)
    gaps = pd.DataFrame({"total": np.nan, "size": np.nan, "kind": ["b"] * 600}, index=range(10, 610))
    filled = fitted.impute(gaps, seed=1)
    assert filled.index.equals(gaps.index)
    assert (filled["kind"] == "b").all()
    assert not filled.isna().any().any()
    assert filled.dtypes.to_dict() == table.dtypes.to_dict()
    given = exact[exact["kind"] == "b"]
    assert close(shares_of(filled, given), (given["share"] / given["share"].sum()).to_numpy(), len(filled))


def test_rows_that_the_train_rows_are_unlike_are_filled_in(fitted: LanguageModel, table: pd.DataFrame) -> None:
    rows = pd.DataFrame(
        {
            "kind": ["a", None, "new", "b", None],
            "size": [np.nan, 2, 1, 99, np.nan],
            "total": [1.5, 1.0025, np.nan, np.nan, np.nan],
        },
        index=list("vwxyz"),
    )
    filled = fitted.impute(rows, seed=1)
    assert list(filled) == list(rows)
    assert filled.index.equals(rows.index)
    assert filled[list(table)].dtypes.to_dict() == table.dtypes.to_dict()
    assert not filled.isna().any(axis=None)
    known = rows.notna()
    assert filled.astype("object")[known].equals(rows.astype("object")[known])
    pd.testing.assert_frame_equal(fitted.impute(table.head(3)), table.head(3))


def test_filled_in_columns_keep_their_dtypes(fitted: LanguageModel, table: pd.DataFrame) -> None:
    rows = table.head(6).astype({"total": "float32", "size": "Int64", "kind": "category"})
    for row, name in enumerate(rows):
        rows.loc[row, name] = None
    filled = fitted.impute(rows, seed=1)
    assert filled.dtypes.equals(rows.dtypes)
    assert not filled.isna().any(axis=None)
    known = rows.notna()
    assert filled.astype("object")[known].equals(rows.astype("object")[known])


def test_cells_of_a_column_with_a_format_are_filled_in_in_it(table: pd.DataFrame) -> None:
    schema = TableSchema(columns=(Float(name="total", format="0.000 kg"), *SCHEMA.columns[1:]))
    settings = SETTINGS.model_copy(update={"epochs": 1, "pretrain": PretrainSettings(rows=0)})
    model = LanguageModel(settings).fit(table, schema, seed=5)
    rows = table.head(4).assign(total=["1.005 kg", None, None, "2.010 kg"])
    filled = model.impute(rows, seed=1)["total"]
    assert filled[[0, 3]].tolist() == ["1.005 kg", "2.010 kg"]
    assert filled[[1, 2]].str.fullmatch(r"\d\.\d\d\d kg").all()


def test_other_columns_are_refused(fitted: LanguageModel, table: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="lack the columns total, kind; expected total, size, kind"):
        fitted.impute(table[["size"]])


def test_a_fit_that_was_stopped_and_resumed_gives_the_same_weights(table: pd.DataFrame, tmp_path: Path) -> None:
    import torch

    settings = SETTINGS.model_copy(update={"scratch": ScratchSettings(n_layer=1, n_head=2, n_embd=16, dropout=0.2)})
    whole = LanguageModel(settings).fit(table, SCHEMA, seed=5)

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("finetune: "):
            raise Stopped

    with pytest.raises(Stopped):
        LanguageModel(settings).fit(table, SCHEMA, seed=5, checkpoints=tmp_path, log=stop)
    resumed = LanguageModel(settings).fit(table, SCHEMA, seed=5, checkpoints=tmp_path)
    assert resumed.resumed_from_step == 10
    for one, other in zip(resumed.row_model.model.parameters(), whole.row_model.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture(scope="module")
def ensemble(table: pd.DataFrame) -> LanguageModel:
    # After one epoch, the two models still differ much.
    settings = SETTINGS.model_copy(update={"n_models": 2, "epochs": 1, "pretrain": PretrainSettings(rows=0)})
    return LanguageModel(settings).fit(table, SCHEMA, seed=5)


def test_rows_of_two_models_are_draws_of_their_mean(ensemble: LanguageModel) -> None:
    exact = probabilities(ensemble)
    one, other = (_probabilities(ensemble, model)["share"].to_numpy() for model in ensemble.row_model.models)
    assert np.abs(one - other).max() > 0.05
    assert close(shares_of(ensemble.sample(8000, seed=2), exact), exact["share"].to_numpy(), 8000)
    given = exact[exact["kind"] == "b"]
    expected = (given["share"] / given["share"].sum()).to_numpy()
    assert close(shares_of(ensemble.sample(6000, seed=3, conditions={"kind": "== 'b'"}), given), expected, 6000)
    filled = ensemble.impute(pd.DataFrame({"total": np.nan, "size": np.nan, "kind": ["b"] * 600}), seed=1)
    assert close(shares_of(filled, given), expected, len(filled))


def test_a_row_of_two_models_has_the_mean_of_their_probabilities(ensemble: LanguageModel, table: pd.DataFrame) -> None:
    row_model = ensemble.row_model
    alone = [
        log_likelihood(RowModel(model, row_model.tokenizer, row_model.row_encoder), ensemble.preparation.prepare(table))
        for model in row_model.models
    ]
    assert np.exp(ensemble.log_likelihood(table)) == pytest.approx(np.exp(alone).mean(0), rel=1e-5)


def test_two_models_are_stored_and_depend_on_the_seed_alone(
    ensemble: LanguageModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    rows = ensemble.sample(100, seed=1)
    pd.testing.assert_frame_equal(ensemble.sample(2100, seed=1).head(100), rows)
    ensemble.save(tmp_path)
    loaded = load(tmp_path)
    pd.testing.assert_frame_equal(loaded.sample(100, seed=1), rows)
    assert loaded.fingerprint() == ensemble.fingerprint()
    assert loaded.n_parameters == 2 * ensemble.row_model.model.num_parameters()

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if "epoch 1 of" in line:
            raise Stopped

    with pytest.raises(Stopped):
        LanguageModel(ensemble.settings).fit(table, SCHEMA, seed=5, checkpoints=tmp_path / "checkpoints", log=stop)
    resumed = LanguageModel(ensemble.settings).fit(table, SCHEMA, seed=5, checkpoints=tmp_path / "checkpoints")
    pd.testing.assert_frame_equal(resumed.sample(100, seed=1), rows)


@pytest.fixture
def byte_level_base(table: pd.DataFrame, tmp_path: Path) -> Path:
    """Make a GPT-2 whose tokenizer, like GPT-2's own, writes the values of a column in different numbers of tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    rows = sentences(RowEncoder.fit(table).to_text(table))
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(rows, vocab_size=300, special_tokens=[END_OF_TEXT], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=END_OF_TEXT)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_layer=1, n_head=2, n_embd=16))
    tokenizer.save_pretrained(tmp_path / "bpe")
    model.save_pretrained(tmp_path / "bpe")
    return tmp_path


def of_bytes(**changed: object) -> LanguageModelSettings:
    return SETTINGS.model_copy(update={"base": "bpe", "pretrain": PretrainSettings(rows=0), **changed})


def test_a_base_with_a_tokenizer_of_its_own_writes_text(byte_level_base: Path, table: pd.DataFrame) -> None:
    notes = pd.Series(["größe a", "a ab", None, "東京 b"] * (len(table) // 4 + 1), dtype="str")[: len(table)]
    schema = TableSchema(
        columns=(*SCHEMA.columns[:1], Text(name="note", max_length=7, nullable=True)), target=None, private=False
    )
    fitted = LanguageModel(of_bytes(epochs=1, column_order=()), base_models_dir=byte_level_base).fit(
        table.assign(note=notes.to_numpy()), schema, seed=1
    )
    written = fitted.sample(20, seed=1)["note"].dropna()
    assert len(written)
    assert written.str.len().max() <= 7
    assert set("".join(written)) <= set("größe ab東京")


def test_a_base_with_ragged_values_is_fitted_saved_and_loaded(
    byte_level_base: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    fitted = LanguageModel(of_bytes(), base_models_dir=byte_level_base).fit(table, SCHEMA, seed=1)
    rows = fitted.sample(300, seed=4)
    assert is_on_grid(rows, fitted)
    fitted.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(LanguageModel.load(tmp_path / "saved").sample(300, seed=4), rows)


def test_a_base_too_short_for_a_row_is_refused(byte_level_base: Path, table: pd.DataFrame) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config.from_pretrained(byte_level_base / "bpe", n_positions=10)
    GPT2LMHeadModel(config).save_pretrained(byte_level_base / "bpe")
    with pytest.raises(ModelError, match="the base has room for 10"):
        LanguageModel(of_bytes(), base_models_dir=byte_level_base).fit(table, SCHEMA)


@pytest.mark.slow
def test_low_rank_adapters_learn_and_are_merged(byte_level_base: Path, table: pd.DataFrame) -> None:
    pytest.importorskip("peft")
    fitted = LanguageModel(of_bytes(lora=True), base_models_dir=byte_level_base).fit(table, SCHEMA)
    assert fitted.losses[-1]["loss"] < fitted.losses[0]["loss"]
    assert len(fitted.sample(50, seed=1)) == 50


def test_adapters_without_their_package_are_refused(
    byte_level_base: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install peft"):
        LanguageModel(of_bytes(lora=True), base_models_dir=byte_level_base).fit(table, SCHEMA)


@pytest.mark.slow
def test_adapters_depend_on_the_seed_alone(byte_level_base: Path, table: pd.DataFrame) -> None:
    pytest.importorskip("peft")
    one, other = (
        LanguageModel(of_bytes(lora=True, epochs=1), base_models_dir=byte_level_base).fit(table, SCHEMA, seed=3)
        for _ in range(2)
    )
    assert one.losses == other.losses


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"base": "bpe"}, "expected a pretrained base and lora: true"),
        ({"lora": True}, "expected a pretrained base and lora: true"),
        ({"base": "model.gguf", "lora": True}, "expected a folder of safetensors"),
    ],
)
def test_a_base_in_4_bits_is_for_adapters_on_a_pretrained_base(changed: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        LanguageModelSettings(quantized=True, **changed)


def test_a_base_in_4_bits_without_a_gpu_or_its_package_is_refused(
    byte_level_base: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from synth_assets.synthesizers.language_model import row_model

    synthesizer = LanguageModel(of_bytes(lora=True, quantized=True), base_models_dir=byte_level_base)
    with pytest.raises(ModelError, match=r"needs a CUDA GPU.*set quantized to false"):
        synthesizer.fit(table, SCHEMA)
    monkeypatch.setattr(row_model, "best_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'synth-assets\[quantized\]'"):
        synthesizer.fit(table, SCHEMA)
