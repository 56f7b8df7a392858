"""Our engine on a table small enough that all its rows can be counted."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.language_model.base_models import (
    make_scratch_base,
    row_encoder_of,
    sentences,
)
from synth_assets.synthesizers.settings import ModelError, ModelSpec, ScratchBase, TeacherSpec, TrainingSpec

LABELS, SIZES = ("a", "b"), (1, 2, 3)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 2, 300)
    size = np.clip(kind + rng.integers(1, 3, 300), 1, 3)
    total = (size * 1000 + kind * 500 + rng.integers(0, 60, 300) * 5) / 1e3
    return pd.DataFrame({"total": total, "size": size, "kind": pd.Series(np.array(LABELS)[kind], dtype="str")})


def make(table: pd.DataFrame, folder: Path, order: tuple[str, ...] = (), dropout: float = 0.0):  # type: ignore[no-untyped-def]
    from synth_assets.synthesizers.language_model.engine import GReaT

    spec = ModelSpec(scratch=ScratchBase(1, 2, 16, dropout), order=order)
    row_encoder = row_encoder_of(spec, table)
    base = folder / "base"
    if not base.exists():
        rows = sentences(row_encoder.to_text(table))
        make_scratch_base(base, spec.scratch, rows, list(table.columns), seed=3, row_encoder=row_encoder)
    return GReaT(str(base), experiment_dir=str(folder / "experiment"), epochs=2, batch_size=32), row_encoder


TRAINING = TrainingSpec(teacher_rows=600, teacher_epochs=2, teacher=TeacherSpec(trees=5))


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    great, row_encoder = make(table, tmp_path_factory.mktemp("fitted"), order=("size", "kind"))
    history = great.fit(table, row_encoder=row_encoder, training=TRAINING, learning_rate=0.01, seed=5)
    return great, history


def probabilities(great) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Give the exact probability of each size and kind, step by step over the values that the trie allows."""
    import torch

    from synth_assets.synthesizers.language_model.token_trie import TokenTrie

    tokens = TokenTrie.build(great.row_encoder, great.tokenizer)
    first, second = tokens.columns[:2]
    rows = []
    with torch.no_grad():
        for one, other in itertools.product(range(3), range(2)):
            ids = torch.tensor([[*first.prefix, *first.values[one], *second.prefix, *second.values[other]]])
            logits = great.model(input_ids=ids).logits[0]
            share = 1.0
            for at, column, code in ((len(first.prefix) - 1, first, one), (ids.shape[1] - 2, second, other)):
                among = logits[at, column.values[:, 0]].softmax(0)
                share *= float(among[code])
            rows.append((SIZES[one], LABELS[other], share))
    return pd.DataFrame(rows, columns=["size", "kind", "share"])


def close(found: np.ndarray, expected: np.ndarray, n: int) -> bool:
    return bool((np.abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n) + 1e-9).all())


def shares_of(rows: pd.DataFrame, exact: pd.DataFrame) -> np.ndarray:
    counts = rows.groupby(["size", "kind"]).size()
    return np.array([counts.get((s, k), 0) / len(rows) for s, k in zip(exact["size"], exact["kind"], strict=True)])


def test_the_loss_falls_and_the_best_weights_are_kept(fitted, table: pd.DataFrame) -> None:
    from synth_assets.synthesizers.language_model.engine import GReaT

    great, history = fitted
    assert isinstance(great, GReaT)
    assert history[-1]["loss"] < history[0]["loss"]
    assert [report["stage"] for report in history] == [0.0, 0.0, 1.0, 1.0]
    assert [report["step"] for report in history] == [19.0, 38.0, 47.0, 56.0]


def test_every_row_is_a_row_that_the_table_could_have(fitted, table: pd.DataFrame) -> None:
    great, _ = fitted
    rows = great.sample(2000, seed=1)
    assert list(rows.columns) == list(table.columns)
    assert rows.dtypes.to_dict() == table.dtypes.to_dict()
    assert len(rows) == 2000
    assert rows["total"].between(table["total"].min(), table["total"].max()).all()
    assert (np.rint(rows["total"] * 1e3) % 5 == 0).all()
    assert set(rows["kind"]) <= set(LABELS)
    assert (great.row_encoder.codes(great.row_encoder.quantise(rows)) >= 0).all()


def test_frequencies_are_the_models_probabilities(fitted) -> None:
    great, _ = fitted
    exact = probabilities(great)
    rows = great.sample(20_000, k=2000, seed=2)
    assert exact["share"].sum() == pytest.approx(1.0)
    assert close(shares_of(rows, exact), exact["share"].to_numpy(), len(rows))


def test_a_longer_sample_begins_with_the_shorter_one(fitted) -> None:
    great, _ = fitted
    longer = great.sample(130, k=50, seed=7)
    pd.testing.assert_frame_equal(great.sample(70, k=50, seed=7), longer.head(70))
    pd.testing.assert_frame_equal(great.sample(130, k=50, seed=7), longer)
    assert not great.sample(130, k=50, seed=8).equals(longer)
    chunks = list(great.sample_chunks(130, k=50, seed=7))
    assert [len(chunk) for chunk in chunks] == [50, 50, 30]
    assert not chunks[0].head(30).equals(chunks[2])


@pytest.mark.parametrize(
    ("conditions", "meets"),
    [
        ({"size": ">= 2"}, lambda r: r["size"] >= 2),
        ({"size": "> 1", "kind": "== 'b'"}, lambda r: (r["size"] > 1) & (r["kind"] == "b")),
        ({"kind": "!= 'a'"}, lambda r: r["kind"] != "a"),
        ({"size": "!= 2"}, lambda r: r["size"] != 2),
        ({"size": "== 3"}, lambda r: r["size"] == 3),
        ({"size": "<= 2"}, lambda r: r["size"] <= 2),
        ({"size": "< 2"}, lambda r: r["size"] < 2),
    ],
)
def test_conditions_are_met_and_leave_the_models_shares(fitted, conditions: dict[str, str], meets) -> None:
    great, _ = fitted
    exact = probabilities(great)
    exact = exact[meets(exact)]
    rows = great.sample(6000, k=1000, seed=3, conditions=conditions)
    assert len(rows) == 6000
    assert meets(rows).all()
    assert close(shares_of(rows, exact), (exact["share"] / exact["share"].sum()).to_numpy(), len(rows))


def test_a_condition_on_a_later_number_holds(fitted) -> None:
    great, _ = fitted
    assert (great.sample(200, seed=3, conditions={"total": "> 3.0"})["total"] > 3.0).all()
    assert (great.sample(200, seed=3, conditions={"total": "!= 1.5"})["total"] != 1.5).all()


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"colour": "== 1"}, "name 'colour', which is no column; the columns are total, size, kind"),
        ({"size": ">= 4"}, r"leaves no value: the train rows have 1 to 3 in steps of 1"),
        ({"size": "== 1.5"}, "leaves no value"),
        ({"size": "about 3"}, "Cannot parse condition"),
        ({"size": "== 'a'"}, "compares a column of numbers with 'a'"),
        ({"kind": "== 'c'"}, "one of a, b"),
        ({"kind": ">= 'a'"}, "a category takes == or !="),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(fitted, conditions: dict[str, str], words: str) -> None:
    great, _ = fitted
    with pytest.raises(ModelError, match=words):
        great.sample(5, conditions=conditions)


def test_what_is_too_rare_ends_at_its_bound(fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    from synth_assets.synthesizers.language_model import engine

    great, _ = fitted
    monkeypatch.setattr(engine, "MOST_DRAWS", 2)
    with pytest.raises(ModelError, match="too rare to be sampled"):
        great.sample(100, k=100, conditions={"total": "== 1.005"})


def test_filled_cells_follow_the_model_and_known_ones_stay(fitted, table: pd.DataFrame) -> None:
    great, _ = fitted
    exact = probabilities(great)
    gaps = pd.DataFrame({"total": np.nan, "size": np.nan, "kind": ["b"] * 600}, index=range(10, 610))
    filled = great.impute(gaps, k=6400, seed=1)
    assert filled.index.equals(gaps.index)
    assert (filled["kind"] == "b").all()
    assert not filled.isna().any().any()
    assert filled.dtypes.to_dict() == table.dtypes.to_dict()
    given = exact[exact["kind"] == "b"]
    assert close(shares_of(filled, given), (given["share"] / given["share"].sum()).to_numpy(), len(filled))


def test_a_full_row_is_left_alone_and_an_unknown_one_refused(fitted, table: pd.DataFrame) -> None:
    great, _ = fitted
    pd.testing.assert_frame_equal(great.impute(table.head(5)), table.head(5))
    with pytest.raises(
        ModelError, match=r"row 0 has 9.0 in column 'size'|row 0 has np.float64\(9.0\) in column 'size'"
    ):
        great.impute(pd.DataFrame({"total": [np.nan], "size": [9.0], "kind": ["a"]}))
    with pytest.raises(ModelError, match="the model's are total, size, kind"):
        great.impute(table[["size"]])


def test_saved_and_loaded_it_writes_the_same_rows_and_be_great_can_load_it(fitted, tmp_path: Path) -> None:
    import be_great
    import torch

    from synth_assets.synthesizers.language_model.engine import GReaT

    great, _ = fitted
    great.save(str(tmp_path / "saved"))
    again = GReaT.load_from_dir(str(tmp_path / "saved"))
    pd.testing.assert_frame_equal(again.sample(40, seed=1), great.sample(40, seed=1))
    theirs = be_great.GReaT.load_from_dir(str(tmp_path / "saved"))
    for one, other in zip(theirs.model.parameters(), great.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_be_great_saved_is_loaded_but_has_no_grid(fitted, tmp_path: Path) -> None:
    import be_great

    from synth_assets.synthesizers.language_model.engine import GReaT

    great, _ = fitted
    theirs = be_great.GReaT(great.llm)
    theirs._update_column_information(pd.DataFrame({"size": [1, 2]}))
    theirs._update_conditional_information(pd.DataFrame({"size": [1, 2]}), "size")
    theirs.save(str(tmp_path / "theirs"))
    ours = GReaT.load_from_dir(str(tmp_path / "theirs"))
    with pytest.raises(ModelError, match="does not know a table's grid"):
        ours.impute(pd.DataFrame({"size": [np.nan]}))


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_fit_that_was_stopped_and_resumed_gives_the_same_weights(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    import torch

    from synth_assets.synthesizers.language_model import training

    whole, row_encoder = make(table, tmp_path / "whole", dropout=0.2)
    whole.fit(table, row_encoder=row_encoder, training=TRAINING, seed=5)

    class Stopped(Exception):
        pass

    saved = training._save

    def save_and_stop(folder: Path, state: dict[str, object]) -> None:
        saved(folder, state)
        if len(state["history"]) == stop_after:  # type: ignore[arg-type]
            raise Stopped

    first, _ = make(table, tmp_path / "parts", dropout=0.2)
    monkeypatch.setattr(training, "_save", save_and_stop)
    with pytest.raises(Stopped):
        first.fit(table, row_encoder=row_encoder, training=TRAINING, seed=5)
    monkeypatch.undo()
    second, _ = make(table, tmp_path / "parts", dropout=0.2)
    lines: list[str] = []
    second.fit(table, row_encoder=row_encoder, training=TRAINING, seed=5, report=lines.append)
    assert any(line.startswith(f"resuming after epoch {stop_after}") for line in lines)
    for one, other in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def byte_level_base(table: pd.DataFrame, tmp_path: Path) -> Path:
    """Make a GPT-2 whose tokenizer, like GPT-2's own, writes the values of a column in different numbers of tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    rows = sentences(row_encoder_of(ModelSpec(), table).written(table))
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(rows, vocab_size=300, special_tokens=[END_OF_TEXT], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=END_OF_TEXT)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_layer=1, n_head=2, n_embd=16))
    tokenizer.save_pretrained(tmp_path / "bpe")
    model.save_pretrained(tmp_path / "bpe")
    return tmp_path / "bpe"


def test_a_base_with_ragged_values_writes_valid_rows_too(byte_level_base: Path, table: pd.DataFrame) -> None:
    from synth_assets.synthesizers.language_model.engine import GReaT
    from synth_assets.synthesizers.language_model.token_trie import PAD, TokenTrie

    great = GReaT(str(byte_level_base), experiment_dir=str(byte_level_base.parent / "e"), epochs=1, batch_size=32)
    great.fit(table, training=TrainingSpec(teacher_rows=0), seed=1)
    tokens = TokenTrie.build(great.row_encoder, great.tokenizer)
    assert any((column.values == PAD).any() for column in tokens.columns)
    ids, _, _ = tokens.tokenise(great.row_encoder.codes(great.row_encoder.quantise(table)))
    said = great.tokenizer(sentences(great.row_encoder.to_text(table)))["input_ids"]
    assert [row[: len(one)] for row, one in zip(ids.tolist(), said, strict=True)] == said
    rows = great.sample(300, seed=4)
    assert (great.row_encoder.codes(great.row_encoder.quantise(rows)) >= 0).all()
    assert great.sample(300, seed=4).equals(rows)


def test_a_base_too_short_for_a_row_is_refused(byte_level_base: Path, table: pd.DataFrame) -> None:
    from synth_assets.synthesizers.language_model.engine import GReaT

    great = GReaT(str(byte_level_base))
    great.model.config.n_positions = 10
    with pytest.raises(ModelError, match="the base has room for 10"):
        great.fit(table)


def test_the_forests_rows_are_on_the_grid_and_within_limits(table: pd.DataFrame) -> None:
    from synth_assets.synthesizers.forest import Teacher

    row_encoder = row_encoder_of(ModelSpec(), table)
    teacher = Teacher(row_encoder, row_encoder.quantise(table), TeacherSpec(trees=5), seed=1)
    rows = row_encoder.to_frame(teacher.sample(500, seed=2))
    assert rows["total"].between(table["total"].min(), table["total"].max()).all()
    assert (np.rint(rows["total"] * 1e3) % 5 == 0).all()
    assert abs(rows["total"].mean() - table["total"].mean()) < 0.15
    assert rows[["total", "size"]].corr().iloc[0, 1] == pytest.approx(
        table[["total", "size"]].corr().iloc[0, 1], abs=0.1
    )


@pytest.mark.slow
def test_low_rank_adapters_learn_and_are_merged_into_the_stored_model(
    byte_level_base: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    from synth_assets.synthesizers.model_store import ModelStore

    spec = ModelSpec(base=str(byte_level_base), epochs=2, lora=True, training=TrainingSpec(teacher_rows=0))
    store = ModelStore(tmp_path / "models")
    card = store.fit(table, spec, bases=tmp_path, experiments=tmp_path / "e", report=lambda line: None)
    assert card.losses[-1]["loss"] < card.losses[0]["loss"]
    assert len(store.load(card.version).sample(50, seed=1)) == 50


def test_adapters_without_their_package_are_refused(
    byte_level_base: Path, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synth_assets.synthesizers import model_store as store

    monkeypatch.setattr(store, "find_spec", lambda name: None)
    spec = ModelSpec(base=str(byte_level_base), lora=True)
    with pytest.raises(ModelError, match="pip install peft"):
        store.ModelStore(tmp_path / "models").fit(
            table, spec, bases=tmp_path, experiments=tmp_path / "e", report=lambda line: None
        )
