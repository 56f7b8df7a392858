"""The base that is made from a table: its tokenizer loses nothing, and the same rows give the same weights."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.synthesizers.language_model.base_models import make_scratch_base, resolve_base, sentences
from synth_assets.synthesizers.settings import ModelError, ModelSpec, ScratchBase

ROWS = ["Sex is 2, Length is 0.455, Length_is_odd is 1.0", "Sex is 0, Length is 1e-05, Length_is_odd is -3.0"]
NAMES = ["Sex", "Length", "Length_is_odd"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "scratch"
    make_scratch_base(folder, ScratchBase(n_layer=1, n_head=2, n_embd=8), ROWS, NAMES, seed=3)
    return folder


@pytest.fixture(scope="module")
def tokenizer(base: Path):  # type: ignore[no-untyped-def]
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(base))


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


def test_the_base_has_room_for_the_longest_row(base: Path, tokenizer) -> None:
    from transformers import AutoConfig

    longest = max(len(ids) for ids in tokenizer(ROWS)["input_ids"])
    assert AutoConfig.from_pretrained(str(base)).n_positions >= 2 * longest


def test_the_same_rows_and_seed_give_the_same_base(easy_rows: pd.DataFrame, tmp_path: Path) -> None:
    spec = ModelSpec(scratch=ScratchBase(n_layer=1, n_head=2, n_embd=8), seed=1)
    one, fingerprint = resolve_base(spec, easy_rows, tmp_path / "one")
    other, same = resolve_base(spec, easy_rows, tmp_path / "other")
    assert fingerprint == same
    assert (Path(one) / "model.safetensors").read_bytes() == (Path(other) / "model.safetensors").read_bytes()
    assert [path.name for path in (tmp_path / "one").glob("*/*")] == [fingerprint]


def test_a_damaged_base_is_made_anew(easy_rows: pd.DataFrame, tmp_path: Path) -> None:
    spec = ModelSpec(scratch=ScratchBase(n_layer=1, n_head=2, n_embd=8), seed=1)
    weights = Path(resolve_base(spec, easy_rows, tmp_path)[0]) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    left = weights.parent.with_name(f".{weights.parent.name}-left-by-a-kill")
    left.mkdir()
    resolve_base(spec, easy_rows, tmp_path)
    assert weights.read_bytes() == whole
    assert not left.exists()


def test_another_seed_or_shape_or_table_is_another_base(easy_rows: pd.DataFrame, tmp_path: Path) -> None:
    shape = ScratchBase(n_layer=1, n_head=2, n_embd=8)
    fingerprints = [
        resolve_base(spec, rows, tmp_path)[1]
        for spec, rows in (
            (ModelSpec(scratch=shape, seed=1), easy_rows),
            (ModelSpec(scratch=shape, seed=2), easy_rows),
            (ModelSpec(scratch=ScratchBase(n_layer=1, n_head=2, n_embd=16), seed=1), easy_rows),
            (ModelSpec(scratch=shape, seed=1), easy_rows.head(10)),
        )
    ]
    assert len(set(fingerprints)) == 4


def test_a_folder_is_a_base_too_and_its_files_are_its_fingerprint(
    base: Path, easy_rows: pd.DataFrame, tmp_path: Path
) -> None:
    path, fingerprint = resolve_base(ModelSpec(base=str(base)), easy_rows, tmp_path)
    assert path == str(base)
    (base / "note.txt").write_text("changed")
    assert resolve_base(ModelSpec(base=str(base)), easy_rows, tmp_path)[1] != fingerprint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.PT", "deep/optimizer.pth", "a.pkl"])
def test_a_folder_with_a_pickle_is_refused(easy_rows: pd.DataFrame, tmp_path: Path, name: str) -> None:
    base = tmp_path / "base"
    (base / name).parent.mkdir(parents=True)
    (base / "model.safetensors").write_bytes(b"")
    assert resolve_base(ModelSpec(base="base"), easy_rows, tmp_path)[0] == str(base)
    (base / name).write_bytes(b"")
    with pytest.raises(ModelError, match=rf"is not loaded, since {name} may hold pickles"):
        resolve_base(ModelSpec(base="base"), easy_rows, tmp_path)


def test_pickled_weights_of_the_hub_are_refused(
    easy_rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cached_file(name: str, file: str, **_: object) -> str | None:
        asked.append(file)
        return str(tmp_path / "a_commit" / file) if file == "config.json" else None

    monkeypatch.setattr("transformers.utils.cached_file", cached_file)
    with pytest.raises(ModelError, match="'some/model' has no safetensors on the model hub"):
        resolve_base(ModelSpec(base="some/model"), easy_rows, tmp_path)
    assert asked == ["config.json", "model.safetensors", "model.safetensors.index.json"]
