"""The adapter of be_great: valid rows, or an error that states why."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.columns import Boolean, Categorical, Date, Datetime, Float, Integer
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


def test_every_type_is_written_and_read_as_be_great_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import be_great
    from be_great.great_utils import _convert_text_to_tabular_data

    from synth_assets.synthesizers.language_model.base_models import sentences

    given = []

    def fit(great: be_great.GReaT, cells: pd.DataFrame) -> SimpleNamespace:
        given.append(cells)
        return SimpleNamespace(state=SimpleNamespace(log_history=[]))

    monkeypatch.setattr(be_great.GReaT, "fit", fit)
    n = 100
    schema = TableSchema(
        columns=(
            Categorical(name="label", categories=("None", "missing", "x"), nullable=True),
            Boolean(name="flag", nullable=True),
            Integer(name="count", nullable=True),
            Integer(name="long"),
            Float(name="size", nullable=True),
            Float(name="full"),
            Date(name="day", format="%d.%m.%Y", nullable=True),
            Datetime(name="at", nullable=True),
            Datetime(name="in_zone", timezone="Europe/Berlin"),
        )
    )
    rng = np.random.default_rng(0)
    times = pd.Series(pd.date_range("2024-03-30", periods=n, freq="37min"))
    cells = {
        "label": rng.choice(["None", "missing", "x"], n),
        "flag": rng.choice([True, False], n),
        "count": rng.integers(-5, 2000, n),
        "long": 2**60 + rng.integers(0, 9, n),
        "size": rng.random(n),
        "full": rng.random(n),
        "day": times.dt.strftime("%d.%m.%Y"),
        "at": times,
        "in_zone": times.dt.tz_localize("UTC"),
    }
    frame = pd.DataFrame({name: pd.Series(values) for name, values in cells.items()})
    for column in schema.columns:
        if column.nullable:
            frame[column.name] = frame[column.name].mask(pd.Series(rng.random(n) < 0.2))
    rows = schema.coerce(frame, origin="frame")

    fitted = BeGreat(UNTRAINED).fit(rows, schema)
    texts = sentences(given[0])
    assert texts[0].startswith("label is ")
    assert not [text for text in texts if "nan" in text.lower() or "NaT" in text or "<NA>" in text]
    read = _convert_text_to_tabular_data(texts, list(given[0]))
    monkeypatch.setattr(fitted.great, "sample", lambda *_, **__: read)
    pd.testing.assert_frame_equal(fitted.sample(n), rows)
