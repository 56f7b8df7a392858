"""Sampling: exactly the rows that were asked for, the same for the same seed, and an end where there can be none."""

from pathlib import Path

import pandas as pd
import pytest

from synth_assets.synthesizers.model_store import ModelStore
from synth_assets.synthesizers.settings import ModelError, ModelSpec, SampleSpec, ScratchBase

SPEC = SampleSpec(n_samples=25, temperature=0.7, batch_size=10, max_length=30)


@pytest.fixture(scope="module")
def great(tmp_path_factory: pytest.TempPathFactory, easy_rows: pd.DataFrame):  # type: ignore[no-untyped-def]
    """Fit a model that has learned the table well enough to write rows of it."""
    root = tmp_path_factory.mktemp("learned")
    spec = ModelSpec(
        engine="be_great",
        scratch=ScratchBase(n_layer=1, n_head=2, n_embd=32),
        epochs=25,
        batch_size=8,
        learning_rate=0.01,
        seed=1,
    )
    card = ModelStore(root / "models").fit(
        easy_rows, spec, bases=root / "bases", experiments=root / "experiments", report=lambda line: None
    )
    return ModelStore(root / "models").load(card.version)


def known_codes(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["Colour"].isin([0, 1])]


def draw(great, spec: SampleSpec = SPEC, seed: int = 1, decode=known_codes) -> tuple[pd.DataFrame, int, list[str]]:  # type: ignore[no-untyped-def]
    from synth_assets.synthesizers import be_great as reference

    lines: list[str] = []
    rows, drawn = reference.sample(great, decode, spec, seed=seed, report=lines.append)
    return rows, drawn, lines


def test_it_gives_exactly_the_rows_that_were_asked_for(great, easy_rows: pd.DataFrame) -> None:
    rows, drawn, lines = draw(great)
    assert len(rows) == 25
    assert list(rows.columns) == list(easy_rows.columns)
    assert rows.notna().all(axis=None)
    assert drawn >= 25
    assert lines[-1].startswith("25 of 25 rows, ")


def test_the_same_seed_gives_the_same_rows_and_another_others(great) -> None:
    one, other, third = (draw(great, seed=seed)[0] for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one, other)
    assert not one.equals(third)


def test_rows_that_cannot_be_decoded_are_replaced_and_counted(great) -> None:
    rows, drawn, _ = draw(great, decode=lambda frame: known_codes(frame).iloc[::2])
    assert len(rows) == 25
    assert drawn >= 45


def test_a_model_that_writes_no_row_fails_with_what_it_wrote(easy_rows: pd.DataFrame, tmp_path: Path) -> None:
    spec = ModelSpec(
        "be_great", scratch=ScratchBase(n_layer=1, n_head=2, n_embd=8), epochs=1, batch_size=64, learning_rate=1e-9
    )
    card = ModelStore(tmp_path / "models").fit(
        easy_rows, spec, bases=tmp_path / "bases", experiments=tmp_path / "e", report=lambda line: None
    )
    unlearned = ModelStore(tmp_path / "models").load(card.version)
    with pytest.raises(ModelError, match=r"only 0 of the 25 wanted could be read back.*The last that it wrote:\n  '"):
        draw(unlearned, SampleSpec(n_samples=25, batch_size=10, max_length=30))


def test_draws_end_at_their_limit_also_if_some_rows_are_good(great) -> None:
    with pytest.raises(ModelError, match=r"the model wrote \d+ rows and only \d+ of the 25") as caught:
        draw(great, SampleSpec(n_samples=25, batch_size=10, max_length=30, max_draws=4), decode=lambda f: f.iloc[:1])
    drawn = int(str(caught.value).split()[3])
    assert 100 < drawn <= 110


def test_more_tokens_than_the_model_has_room_for_are_refused(great) -> None:
    with pytest.raises(ModelError, match=r"sample\.max_length is 5000 and the model has room for 64 tokens"):
        draw(great, SampleSpec(n_samples=5, batch_size=5, max_length=5000))


def test_an_error_that_be_great_only_prints_is_not_lost(great, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(great.model, "generate", fail)
    with pytest.raises(ModelError, match=r"^be_great gave up sampling: no memory left\.$"):
        draw(great)


def test_be_great_is_left_as_it_was(great) -> None:
    import be_great.great as module

    before = dict(vars(module))
    draw(great)
    assert dict(vars(module)) == before
