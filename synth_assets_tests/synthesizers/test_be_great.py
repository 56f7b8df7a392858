"""The adapter of be_great: valid rows, or an error that states why."""

import pandas as pd
import pytest

from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.be_great import BeGreat, BeGreatSettings
from synth_assets.synthesizers.language_model.settings import ScratchSettings

UNTRAINED = BeGreatSettings(
    scratch=ScratchSettings(n_layer=1, n_head=2, n_embd=8), epochs=1, batch_size=64, learning_rate=1e-9
)


@pytest.fixture(scope="module")
def untrained_be_great(easy_rows: pd.DataFrame, easy_schema: TableSchema) -> BeGreat:
    return BeGreat(UNTRAINED).fit(easy_rows, easy_schema, seed=1)


def test_a_model_that_writes_no_row_ends_with_a_message(untrained_be_great: BeGreat) -> None:
    with pytest.raises(ModelError, match=r"be_great drew \d+ rows, of which 0 are rows of the table; expected 25"):
        untrained_be_great.sample(25, seed=1)


def test_an_error_that_be_great_only_prints_is_in_the_message(
    untrained_be_great: BeGreat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(untrained_be_great.great.model, "generate", fail)
    with pytest.raises(ModelError, match="be_great reports: no memory left"):
        untrained_be_great.sample(25)


def test_the_draws_are_bounded_where_few_rows_are_valid(
    untrained_be_great: BeGreat, easy_rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    invalid = easy_rows.head(10).assign(Colour="green")
    monkeypatch.setattr(untrained_be_great.great, "sample", lambda *_, **__: invalid)
    with pytest.raises(ModelError, match="be_great drew 4000 rows, of which 0 are rows of the table; expected 200"):
        untrained_be_great.sample(200)


def test_training_logs_the_loss(
    easy_rows: pd.DataFrame, easy_schema: TableSchema, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = UNTRAINED.model_copy(update={"epochs": 120})
    fitted = BeGreat(settings).fit(easy_rows, easy_schema, log=print)
    assert [report["step"] for report in fitted.losses] == [100]
    assert capsys.readouterr().out.count("loss") == 1
