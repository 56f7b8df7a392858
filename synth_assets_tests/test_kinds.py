"""Kinds of troublesome columns, together in one table: what a language model of any size must keep of each."""

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.infer import infer_schema
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import ModelError, Synthesizer
from synth_assets.synthesizers.language_model.encoders import NumericEncoder, RowEncoder
from synth_assets.synthesizers.language_model.encoders.support import find_forbidden_pairs
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel

ROWS, SYNTHETIC_ROWS = 600, 2000
LABELS = (
    "a, b",
    'said "no"',
    "two\nlines",
    " led by a space",
    "a",
    "aa",
    "x is 1, y is 2",
    "50%",
    "$5\t",
    "性別 😀",
    "NA",
)
LEVELS = {"none": 0, "school": 1, "college": 3, "master": 5, "doctor": 6}
EMPTY, CONSTANT, COPY = "1st (%)", 'quote"d', "select"
WORDS = ("咳嗽", "发烧", "疼痛", "正常")


def real_rows() -> pd.DataFrame:
    rng = np.random.default_rng(11)

    def without(values: object, share: float | np.ndarray) -> pd.Series:
        texts = pd.Series(values).astype("str")
        return texts.mask(rng.random(ROWS) < share)

    group = pd.Series(rng.choice(["a", "b", "c"], ROWS))
    admitted = pd.Series(pd.Timestamp("2023-01-02") + pd.to_timedelta(rng.integers(0, 700, ROWS), unit="D"))
    discharged = admitted + pd.to_timedelta(rng.exponential(5, ROWS).astype(int), unit="D")
    kind = rng.random(ROWS)
    education = rng.choice(list(LEVELS), ROWS, p=[0.32, 0.33, 0.25, 0.07, 0.03])
    net, tax = rng.gamma(2, 20, ROWS).round(2), rng.gamma(2, 9, ROWS).round(2)
    ratio = np.where(kind < 0.1, 0.2, np.where(kind < 0.16, 0.05, rng.lognormal(-3, 0.5, ROWS).round(9)))
    temperature = rng.normal(15, 6, ROWS).round()
    temperature[:2] = 9.333333333, 14.66666667
    frame = pd.DataFrame(
        {
            "order_id": range(1000, 1000 + ROWS),
            "group": without(group, 0.1),
            "lab": without(rng.normal(60, 9, ROWS).round(1), np.where(group == "a", 0.85, 0.2)),
            "visits": without(rng.integers(0, 9, ROWS), 0.3),
            "smoker": np.where(rng.random(ROWS) < 0.2, "TRUE", "FALSE"),
            "admitted": admitted.dt.strftime("%Y-%m-%d"),
            "discharged": discharged.dt.strftime("%Y-%m-%d"),
            "ratio": ratio,
            "claims": np.where(rng.random(ROWS) < 0.85, 0.0, rng.lognormal(6, 1.2, ROWS).round(2)),
            "dose": 10 ** rng.normal(-6, 1, ROWS),
            "temperature": temperature,
            "delta": np.where(rng.random(ROWS) < 0.3, -0.0, rng.normal(0, 1, ROWS).round(1)),
            "education": education,
            "level": [LEVELS[each] for each in education],
            "net": net,
            "tax": tax,
            "gross": (net + tax).round(2),
            COPY: net,
            "label": np.array(LABELS)[rng.integers(0, len(LABELS), ROWS)],
            "note": ["".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(ROWS)],
            CONSTANT: "EUR",
            EMPTY: None,
        }
    )
    return frame.astype("str").where(frame.notna())  # as a CSV file is read


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    return real_rows()


@pytest.fixture(scope="module")
def schema(real: pd.DataFrame) -> TableSchema:
    found = infer_schema(real, private=False)
    columns = [
        {"name": "note", "type": "text", "max_length": 10} if column.name == "note" else column.model_dump()
        for column in found.columns
    ]
    return TableSchema.model_validate({"columns": columns, "private": False})


@pytest.fixture(scope="module")
def model(real: pd.DataFrame, schema: TableSchema) -> Synthesizer:
    settings = LanguageModelSettings.model_validate({"epochs": 3, "pretrain": {"rows": 12000}})
    return LanguageModel(settings).fit(schema.coerce(real, origin="a test"), schema, seed=0)


@pytest.fixture(scope="module")
def synthetic(model: Synthesizer) -> pd.DataFrame:
    return model.sample(SYNTHETIC_ROWS, seed=1)


def assert_share(synthetic: pd.Series, real: pd.Series) -> None:
    """Assert that two shares differ by no more than chance and a model that was hardly trained explain."""
    expected = float(real.mean())
    error = np.sqrt(max(expected * (1 - expected), 0.002) * (1 / len(synthetic) + 1 / len(real)))
    assert abs(float(synthetic.mean()) - expected) < 4 * error


def test_types_are_found_and_come_back(schema: TableSchema, synthetic: pd.DataFrame) -> None:
    types = {column.name: column.type for column in schema.columns}
    assert (types["order_id"], types["smoker"], types["admitted"], types["visits"]) == (
        *("id", "boolean", "date", "integer"),
    )
    dtypes = synthetic.dtypes.astype("str")
    assert dtypes[["order_id", "smoker", "admitted", "visits"]].tolist() == [
        *("int64", "bool", "datetime64[s]", "Int64"),
    ]


def test_gaps_are_where_the_real_ones_are(real: pd.DataFrame, synthetic: pd.DataFrame) -> None:
    for name in ("group", "visits"):
        assert_share(synthetic[name].isna(), real[name].isna())
    gaps = synthetic["lab"].isna().groupby(synthetic["group"]).mean()  # of the real rows 83% and 19%
    assert gaps["a"] > 0.6
    assert gaps["b"] < 0.4


def test_keys_are_new_and_unique(real: pd.DataFrame, synthetic: pd.DataFrame) -> None:
    assert synthetic["order_id"].is_unique
    assert not set(synthetic["order_id"].astype("str")) & set(real["order_id"])


def test_no_end_is_before_its_start_and_stays_are_as_long(real: pd.DataFrame, synthetic: pd.DataFrame) -> None:
    days = pd.to_datetime(real["discharged"]) - pd.to_datetime(real["admitted"])
    stays = synthetic["discharged"] - synthetic["admitted"]
    assert stays.min() == pd.Timedelta(0)
    assert abs(stays.median() - days.median()) <= pd.Timedelta(days=1)
    assert synthetic["admitted"].min() >= pd.Timestamp(real["admitted"].min())
    assert synthetic["discharged"].max() <= pd.Timestamp(real["discharged"].max())


def test_frequent_values_in_a_continuous_column_keep_their_shares(real: pd.DataFrame, synthetic: pd.DataFrame) -> None:
    for name, value in (("ratio", 0.2), ("ratio", 0.05), ("claims", 0.0)):
        assert_share(synthetic[name] == value, real[name].astype("float") == value)


def test_a_tail_and_orders_of_magnitude_are_kept(real: pd.DataFrame, synthetic: pd.DataFrame) -> None:
    tails = [each["claims"].astype("float").quantile(0.99) for each in (synthetic, real)]
    assert 0.5 < tails[0] / tails[1] < 2
    spreads = [np.log10(each["dose"].astype("float")).std() for each in (synthetic, real)]
    assert 0.8 < spreads[0] / spreads[1] < 1.25


def test_whole_numbers_stay_whole_and_zero_has_no_sign(synthetic: pd.DataFrame) -> None:
    assert (synthetic["temperature"] % 1 == 0).mean() > 0.98
    zeros = synthetic["delta"][synthetic["delta"] == 0]
    assert len(zeros) > 0.2 * SYNTHETIC_ROWS
    assert not np.signbit(zeros).any()


def test_what_a_column_determines_it_determines_in_every_row(synthetic: pd.DataFrame) -> None:
    assert (synthetic["education"].map(LEVELS) == synthetic["level"]).all()
    assert set(synthetic["education"]) == set(LEVELS)
    assert ((synthetic["net"] + synthetic["tax"] - synthetic["gross"]).abs() < 0.005).mean() > 0.99
    assert (synthetic["net"] == synthetic[COPY]).mean() > 0.99


def test_labels_are_the_real_ones_character_by_character(synthetic: pd.DataFrame) -> None:
    assert set(synthetic["label"]) == set(LABELS)


def test_a_constant_column_stays_constant_and_an_empty_one_empty(synthetic: pd.DataFrame) -> None:
    assert set(synthetic[CONSTANT]) == {"EUR"}
    assert synthetic[EMPTY].isna().all()


def test_text_of_another_script_is_written_in_its_characters(synthetic: pd.DataFrame) -> None:
    assert synthetic["note"].str.len().between(1, 10).all()
    assert set("".join(synthetic["note"])) == set("".join(WORDS))
    assert synthetic["note"].nunique() > len(WORDS)


@pytest.mark.parametrize(
    ("name", "condition"),
    [("label", "== 'two\nlines'"), ("lab", "is null"), (COPY, "> 20 and <= 40"), ("level", "== 6")],
)
def test_conditions_hold_whatever_the_name_and_the_label(model: Synthesizer, name: str, condition: str) -> None:
    rows = model.sample(20, seed=2, conditions={name: condition})[name]
    holds = {"label": rows == "two\nlines", "lab": rows.isna(), "level": rows == 6}
    assert (holds[name] if name in holds else (rows > 20) & (rows <= 40)).all()


def test_a_condition_that_no_date_meets_says_which_there_are(model: Synthesizer, real: pd.DataFrame) -> None:
    first, last = min(real["admitted"]), max(real["admitted"])
    with pytest.raises(ModelError, match=f"leaves no value: the train rows have {first} to {last}[.]"):
        model.sample(1, conditions={"admitted": "< '2020-01-01'"})


def test_chance_forbids_no_pair_and_a_function_all_others() -> None:
    rng = np.random.default_rng(3)
    before = rng.choice(100, 900, p=[0.91, *[0.09 / 99] * 99])
    function = before % 7

    (found,) = find_forbidden_pairs(np.column_stack([before, function]), [0, 1])
    assert len(found.pairs) == len(np.unique(before)) * 6
    (found,) = find_forbidden_pairs(np.column_stack([before, 2 * function]), [0, 1])
    assert len(found.pairs) == len(np.unique(before)) * 12  # also the values in between, which no row has

    assert not find_forbidden_pairs(np.column_stack([before, rng.integers(0, 7, 900)]), [0, 1])
    rare = np.zeros(900, np.int64)
    rare[:3] = 1
    assert not find_forbidden_pairs(np.column_stack([np.repeat([0, 1], [895, 5]), rare[::-1]]), [0, 1])


def test_values_of_single_rows_make_no_function() -> None:
    rng = np.random.default_rng(3)
    numbers, labels = np.arange(200), rng.integers(0, 5, 200)
    assert not find_forbidden_pairs(np.column_stack([numbers, labels]), [0, 1])
    assert not find_forbidden_pairs(np.column_stack([labels, numbers]), [0, 1])
    assert find_forbidden_pairs(np.column_stack([numbers // 2, np.repeat(labels[:100], 2)]), [0, 1])

    rare = np.arange(200) // 4 == 7  # one of 50 arguments
    (found,) = find_forbidden_pairs(np.tile(np.column_stack([numbers // 4, rare]), (15, 1)), [0, 1])
    assert len(found.pairs) == 50

    amounts = np.r_[np.zeros(200, np.int64), numbers[:60] + 1]  # an amount of 0 has no label
    (found,) = find_forbidden_pairs(np.column_stack([np.r_[np.full(200, 9), labels[:60]], amounts]), [0, 1])
    assert {amount for _, amount in found.pairs} == {0}


@pytest.mark.parametrize(("noise", "step"), [(0, 1), (30, 1), (2000, 100)])
def test_a_relation_with_much_noise_is_kept_but_for_the_last_digits(noise: int, step: int) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 5000, (2, 400))
    table = pd.DataFrame({"x": x, "y": y, "total": x + y + rng.integers(0, noise + 1, 400)})

    encoder = RowEncoder.fit(table, ["x", "y"])
    total = encoder.columns[2]

    assert isinstance(total, NumericEncoder)
    assert total.predictor is not None
    assert total.prediction_step == step
    assert (total.cardinality == 1) == (not noise)
    indices = encoder.to_indices(encoder.quantise(table))
    pd.testing.assert_frame_equal(encoder.to_frame(encoder.from_indices(indices)), table)


def test_a_table_of_too_many_columns_is_refused_at_once() -> None:
    wide = pd.DataFrame({f"gene {i}": [0.5, 1.5] for i in range(1000)})
    message = "1,000 columns to learn, and the language_model synthesizer takes at most 400.*Choose the forest"
    with pytest.raises(ModelError, match=message):
        LanguageModel().fit(wide, infer_schema(wide), seed=0)
