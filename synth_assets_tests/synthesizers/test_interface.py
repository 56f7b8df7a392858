"""What every synthesizer of the registry does alike."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from synth_assets.schema.columns import Boolean, Categorical, Date, Datetime, Float, Integer, TableError, Text
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import SYNTHESIZERS, AnySettings, ModelError, Synthesizer, create, load
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets_tests.pickles import pickles_in

SETTINGS = {
    "language_model": {
        "scratch": {"n_layer": 1, "n_head": 2, "n_embd": 16},
        "epochs": 1,
        "pretrain": {"rows": 200, "forest": {"n_estimators": 3}},
    },
    "be_great": {
        "scratch": {"n_layer": 1, "n_head": 2, "n_embd": 32},
        "epochs": 25,
        "batch_size": 8,
        "learning_rate": 0.01,
    },
    "forest": {"n_estimators": 5},
    "smote": {},
}


@pytest.fixture(scope="module", params=SYNTHESIZERS)
def fitted(request: pytest.FixtureRequest, easy_rows: pd.DataFrame, easy_schema: TableSchema) -> Synthesizer:
    settings = TypeAdapter(AnySettings).validate_python({"type": request.param, **SETTINGS[request.param]})
    return create(settings).fit(easy_rows, easy_schema, seed=1)


def test_rows_have_the_columns_order_and_dtypes_of_the_schema(fitted: Synthesizer, easy_rows: pd.DataFrame) -> None:
    rows = fitted.sample(130, seed=1)
    assert rows.dtypes.to_dict() == easy_rows.dtypes.to_dict()
    assert list(rows) == list(easy_rows)
    assert len(rows) == 130
    assert rows.notna().all(axis=None)
    assert set(rows["Colour"]) <= {"blue", "red"}
    assert fitted.sample(0).dtypes.to_dict() == easy_rows.dtypes.to_dict()


def test_the_seed_decides_and_a_saved_synthesizer_draws_the_same_rows(fitted: Synthesizer, tmp_path: Path) -> None:
    rows = fitted.sample(40, seed=3)
    assert not fitted.sample(40, seed=4).equals(rows)
    fitted.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert type(again) is type(fitted)
    assert again.settings == fitted.settings
    assert again.n_parameters == fitted.n_parameters
    assert again.fingerprint() == fitted.fingerprint()
    pd.testing.assert_frame_equal(again.sample(40, seed=3), rows)
    assert pickles_in(tmp_path) == []


EVERY_TYPE = TableSchema(
    columns=(
        Categorical(name="town", categories=tuple(f"t{i}" for i in range(80)), nullable=True),
        Boolean(name="flag", nullable=True),
        Integer(name="number", nullable=True),
        Float(name="rate", nullable=True),
        Date(name="day", nullable=True),
        Datetime(name="at", timezone="Europe/Berlin"),
        Float(name="empty", nullable=True),
        Categorical(name="no label", categories=("a",), nullable=True),
        Integer(name="constant"),
        Text(name="note", nullable=True),
    ),
    private=False,
)


def rows_of_every_type(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "town": [f"t{i}" for i in rng.integers(0, 80, n)],
            "flag": rng.random(n) < 0.3,
            "number": 10**17 + rng.integers(0, 10**17, n),
            "rate": np.where(rng.random(n) < 0.2, 0.2, rng.gamma(2, 0.01, n).round(9)),
            "day": pd.date_range("2024-01-01", periods=n),
            "at": pd.date_range("2024-01-01", periods=n, freq="h", tz="Europe/Berlin"),
            "empty": np.nan,
            "no label": None,
            "constant": 3,
            "note": rng.choice(["call; mail", "no answer", "日本"], n),
        },
        dtype="object",
    )
    can_miss = [column.name for column in EVERY_TYPE.columns if column.nullable]
    rows[can_miss] = rows[can_miss].mask(rng.random((n, len(can_miss))) < 0.15)
    return EVERY_TYPE.coerce(rows, origin="test")


@pytest.mark.parametrize("name", ["language_model", "forest", "smote"])
def test_rows_of_every_type_are_learned_saved_and_can_be_encoded(name: str, tmp_path: Path) -> None:
    supported = [column for column in EVERY_TYPE.names if name == "language_model" or column != "note"]
    schema, train = EVERY_TYPE.select(supported), rows_of_every_type()[supported]
    settings = TypeAdapter(AnySettings).validate_python({"type": name, **SETTINGS[name]})
    create(settings).fit(train, schema, seed=1).save(tmp_path)
    rows = load(tmp_path).sample(300, seed=2)
    assert rows.dtypes.to_dict() == train.dtypes.to_dict()
    assert rows[["empty", "no label"]].isna().all(axis=None)
    assert (rows["constant"] == 3).all()
    assert set(rows["town"].dropna()) <= set(train["town"].dropna())
    encoder = RowEncoder.fit(train, use_residuals=False, texts={"note": 200} if "note" in train else {})
    assert encoder.is_encodable(encoder.quantise(rows)).all()
    if name != "language_model":  # after one epoch it has learned no share
        for column in ("town", "flag", "number", "rate", "day"):
            assert rows[column].isna().mean() == pytest.approx(train[column].isna().mean(), abs=0.1)
        assert (rows["rate"] == 0.2).mean() == pytest.approx((train["rate"] == 0.2).mean(), abs=0.1)


@pytest.mark.parametrize("name", SYNTHESIZERS)
def test_missing_values_and_columns_are_refused(name: str, easy_rows: pd.DataFrame, easy_schema: TableSchema) -> None:
    gaps = easy_rows.assign(Size=easy_rows["Size"].mask(easy_rows.index < 3))
    with pytest.raises(
        ModelError, match=r"the 64 train rows have missing values \(3 in 'Size'\) in columns that are not"
    ):
        SYNTHESIZERS[name]().fit(gaps, easy_schema)
    with pytest.raises(TableError, match="lacks the column 'Size'"):
        SYNTHESIZERS[name]().fit(easy_rows.drop(columns="Size"), easy_schema)
    with pytest.raises(ModelError, match="not fitted; call fit first"):
        SYNTHESIZERS[name]().sample(1)


def test_conditions_are_refused_where_they_are_not_supported(easy_rows: pd.DataFrame, easy_schema: TableSchema) -> None:
    smote = SYNTHESIZERS["smote"]().fit(easy_rows, easy_schema)
    with pytest.raises(ModelError, match="smote synthesizer takes no conditions"):
        smote.sample(1, conditions={"Size": "> 1"})
    smote.supports_conditions = True
    with pytest.raises(ModelError, match="expected texts by column"):
        smote.sample(1, conditions={"Size": 1})
    with pytest.raises(ModelError, match="smote synthesizer has no temperature"):
        smote.sample(1, temperature=0.5)


def test_settings_are_chosen_by_their_type_and_an_unknown_field_is_refused() -> None:
    adapter = TypeAdapter(AnySettings)
    assert adapter.validate_python({"type": "forest", "n_estimators": 1}).n_estimators == 1
    for wrong in ({"type": "forest", "trees": 1}, {"type": "wood"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_a_folder_that_holds_no_synthesizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        load(tmp_path / "none")
    with pytest.raises(ModelError, match="fit the model again"):
        load(tmp_path)
    (tmp_path / "synthesizer.json").write_text(
        json.dumps({"name": "wood", "settings": {}, "schema": {}, "learned": {}})
    )
    with pytest.raises(ModelError, match="a synthesizer 'wood'; the known ones are language_model"):
        load(tmp_path)


def test_importing_the_synthesizers_imports_no_heavy_library() -> None:
    code = "import sys, synth_assets.synthesizers, synth_assets.synthesizers.model_store; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "sklearn", "scipy", "be_great", "datasets"} & set(loaded)


def test_sampling_a_stored_language_model_imports_no_transformers(
    easy_rows: pd.DataFrame, easy_schema: TableSchema, tmp_path: Path
) -> None:
    settings = TypeAdapter(AnySettings).validate_python({"type": "language_model", **SETTINGS["language_model"]})
    create(settings).fit(easy_rows, easy_schema).save(tmp_path)
    code = (
        "import sys; from synth_assets.synthesizers import load; "
        f"load({str(tmp_path)!r}).sample(20, conditions={{'Size': '> 1.5'}}); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"CUDA_VISIBLE_DEVICES": ""}
    )
    assert not {"transformers", "accelerate", "be_great", "sklearn"} & set(done.stdout.split())
