"""Tests of metrics on tables of any kind: missing cells, keys, text, rare and many labels, many columns, few rows."""

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import KDTree
from scipy.stats import spearmanr

from synth_assets.evaluation import associations, learners, samples
from synth_assets.evaluation.evaluate import Evaluation, evaluate
from synth_assets.evaluation.metrics import METRICS, NotComputed, copies, prediction, text, trend
from synth_assets.evaluation.metrics.text import _best_jaccard, _grams
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Boolean, Categorical, Column, Date, Datetime, Float, Id, Integer, Text
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema

pytestmark = pytest.mark.usefixtures("fast_evaluation")

RNG = np.random.default_rng(0)
N = 240


@pytest.fixture(autouse=True)
def _small_estimators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prediction.SETTINGS, "max_iter", 10)
    monkeypatch.setitem(learners.FOREST_SETTINGS, "n_estimators", 4)


def split(
    frame: pd.DataFrame, schema: TableSchema, change: Callable[[pd.DataFrame], pd.DataFrame] | None = None
) -> Samples:
    """Return a third of a table each as train, holdout and synthetic rows, the latter changed."""
    typed = schema.coerce(frame, origin="the table")
    third = len(typed) // 3
    parts = [typed.iloc[at : at + third].reset_index(drop=True) for at in (0, third, 2 * third)]
    return Samples(parts[0], parts[1], change(parts[2]) if change else parts[2], schema)


def computed(samples: Samples, *metrics: str) -> dict[tuple[str, str | None], float]:
    rows = [row for name in metrics for row in METRICS[name].compute(samples)]
    return {(row["metric"], row["column_name"]): row["value"] for row in rows if not isinstance(row, NotComputed)}


def reasons(samples: Samples, metric: str) -> list[str]:
    return [row.reason for row in METRICS[metric].compute(samples) if isinstance(row, NotComputed)]


# Whole evaluations


def _labels(n: int = N) -> np.ndarray:
    return RNG.choice(["a", "b", "c"], n)


KIND = Categorical(name="kind", categories=("a", "b", "c"))
SIZE = Float(name="size")
TABLES: dict[str, tuple[pd.DataFrame, Sequence[Column], str | None]] = {
    "labels alone": (
        pd.DataFrame({name: _labels() for name in ("kind", "other")}),
        (KIND, KIND.model_copy(update={"name": "other"})),
        "kind",
    ),
    "one column": (pd.DataFrame({"size": RNG.normal(size=N)}), (SIZE,), "size"),
    "keys alone": (pd.DataFrame({"key": range(N)}), (Id(name="key"),), None),
    "constant and empty": (
        pd.DataFrame({"one": 1, "same": "a", "none": np.nan, "never": None, "size": RNG.normal(size=N)}),
        (
            Integer(name="one"),
            Categorical(name="same", categories=("a",)),
            Float(name="none", nullable=True),
            Date(name="never", nullable=True),
            SIZE,
        ),
        "same",
    ),
    "few rows": (
        pd.DataFrame({"size": RNG.normal(size=21), "kind": _labels(21), "whole": range(21)}),
        (SIZE, KIND, Integer(name="whole")),
        "kind",
    ),
    "a class of one row": (
        pd.DataFrame({"size": RNG.normal(size=N), "kind": ["a"] * (N // 2) + ["b"] + ["a"] * (N // 2 - 1)}),
        (SIZE, KIND),
        "kind",
    ),
    "every type, with gaps": (
        pd.DataFrame(
            {
                "key": range(N),
                "kind": pd.Series(_labels()).mask(RNG.random(N) < 0.2),
                "is": pd.Series(RNG.random(N) < 0.5).astype("object").mask(RNG.random(N) < 0.2),
                "whole": pd.Series(RNG.integers(0, 9, N)).astype("Int64").mask(RNG.random(N) < 0.2),
                "size": pd.Series(RNG.normal(size=N)).mask(RNG.random(N) < 0.2),
                "day": pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 90, N), unit="D")),
                "at": pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 9000, N), unit="min")),
                "note": "some words",
            }
        ),
        (
            Id(name="key"),
            Categorical(name="kind", categories=("a", "b", "c"), nullable=True),
            Boolean(name="is", nullable=True),
            Integer(name="whole", nullable=True),
            Float(name="size", nullable=True),
            Date(name="day"),
            Datetime(name="at", timezone="Europe/Berlin"),
            Text(name="note"),
        ),
        "kind",
    ),
}


@cache
def evaluated(name: str) -> Evaluation:
    frame, columns, target = TABLES[name]
    schema = TableSchema(columns=tuple(columns), target=target, private=name != "few rows")
    return evaluate(split(frame, schema, lambda rows: rows[schema.published]))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_each_number_is_a_number_and_what_is_not_computed_has_a_reason(name: str) -> None:
    found = evaluated(name)

    assert found.metrics["value"].notna().all()
    assert all(each.reason and each.metric in METRICS for each in found.not_computed)
    every = set(found.metrics["metric"]) | {each.metric for each in found.not_computed} | {"leaked_row"}
    assert every | {"constraint_violations"} == set(METRICS)
    for verdict in found.gates:
        assert not verdict.findings["value"].isna().any()


def test_a_target_that_cannot_be_predicted_has_no_utility_gate_and_the_reason_is_said() -> None:
    by_table = {name: evaluated(name) for name in ("one column", "constant and empty")}

    for found in by_table.values():
        assert [verdict.gate.name for verdict in found.gates] == ["fidelity", "validity", "privacy"]
    said = {name: {each.metric: each.reason for each in found.not_computed} for name, found in by_table.items()}
    assert said["one column"]["tstr_score"] == "there is no other column from which 'size' could be predicted"
    assert said["constant and empty"]["tstr_score"] == "all holdout rows have the same target value"


def test_progress_says_what_is_evaluated_and_which_families_begin_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_assets.evaluation.evaluate.STEP_S", 0.0)  # every step takes long
    frame, columns, _ = TABLES["labels alone"]
    lines: list[str] = []
    samples = split(frame, TableSchema(columns=tuple(columns)))
    evaluate(samples, log=lines.append)

    first, *others = lines
    what, names = first.split(": ")
    families = names.split(", ")
    rows = f"{len(samples.synthetic):,} synthetic rows beside {len(samples.train):,} train rows"
    assert what.startswith(f"evaluating {rows} and ")
    assert families[:3] == ["rare labels and keys", "copies of rows", "attacks"]
    assert "text" not in families  # there is none
    assert [line for line in others if line.endswith(": started")] == [f"{name}: started" for name in families]
    ended = [line for line in others if re.search(r": \d+ results? in \d+ s \(\d+ of \d+\)$", line)]
    assert [line.split(":")[0] for line in ended] == families
    assert ended[-1].endswith(f"({len(families)} of {len(families)})")
    assert any(re.match(r"attacks: 1 of \d+ metrics in \d+ s$", line) for line in others)


# Missing cells


GAPS = TableSchema(columns=(Float(name="x", nullable=True), Float(name="y", nullable=True), SIZE))


def _with_gaps(n: int = 900) -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(n, 3)), columns=["x", "y", "size"])
    both = np.random.default_rng(2).random(n) < 0.3
    return frame.assign(x=frame["x"].mask(both), y=frame["y"].mask(both))


def test_shares_of_missing_cells_and_of_pairs_of_them_are_compared() -> None:
    def apart(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(y=rows["y"].sample(frac=1, random_state=0, ignore_index=True))

    metrics = "missing_share_difference", "missing_pairs_difference"
    real, moved = (computed(split(_with_gaps(), GAPS, change), *metrics) for change in (None, apart))
    filled = computed(split(_with_gaps(), GAPS, lambda rows: rows.assign(x=rows["x"].fillna(0.0))), *metrics)

    assert max(real.values()) < 0.1
    assert moved["missing_share_difference", "y"] == real["missing_share_difference", "y"]
    assert moved["missing_pairs_difference", "x, y"] > 0.15
    assert filled["missing_share_difference", "x"] > 0.2
    assert "size" not in [column for _, column in real]


def test_present_values_are_compared_and_a_missing_label_is_a_label() -> None:
    schema = TableSchema(columns=(GAPS.columns[0], Categorical(name="kind", categories=("a", "b"), nullable=True)))
    real = _with_gaps()[["x"]].assign(kind=["a", "b"] * 450)
    found = computed(
        split(real, schema, lambda rows: rows.assign(kind=rows["kind"].mask(rows.index % 2 == 0))),
        "ks_complement",
        "tv_complement",
    )

    assert found["ks_complement", "x"] > 0.9
    assert found["tv_complement", "kind"] == pytest.approx(0.5)


def test_rank_correlations_are_spearmans_where_both_are_present() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 20, size=(100, 3)).astype("float64")
    numbers[:, 1] += numbers[:, 0]
    expected = spearmanr(numbers).statistic
    assert trend.rank_correlations(numbers) == pytest.approx(expected)

    numbers[rng.random(100) < 0.3, 0] = np.nan
    numbers[:, 2] = 7.0
    found = trend.rank_correlations(numbers)
    present = numbers[~np.isnan(numbers[:, 0])]
    assert found[0, 1] == pytest.approx(spearmanr(present[:, 0], present[:, 1]).statistic, abs=0.02)
    assert found[0, 2] == 0


# Many columns


def _wide(columns: int) -> Samples:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(150, columns)), columns=[f"c{i}" for i in range(columns)])
    frame["c7"] = frame["c3"] + rng.normal(0, 0.1, 150)
    frame["c1"] = np.where(frame["c5"] > 0, "a", "b")
    made = tuple(Categorical(name=n, categories=("a", "b")) if n == "c1" else Float(name=n) for n in frame)
    return split(frame, TableSchema(columns=made))


def test_of_many_pairs_the_strongest_and_some_at_random_are_chosen() -> None:
    wide = _wide(12)

    chosen = associations.chosen_pairs(wide, 9)

    assert len(set(chosen)) == 9
    assert {("c3", "c7"), ("c1", "c5")} <= set(chosen)
    assert chosen == associations.chosen_pairs(_wide(12), 9)
    assert len(associations.chosen_pairs(wide, 66)) == 66


def test_no_more_pairs_and_columns_than_stated_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from synth_assets.evaluation.metrics import detection

    monkeypatch.setattr(trend, "MOST_PAIRS", 9)
    monkeypatch.setattr(detection, "MOST_PAIRS", 4)
    monkeypatch.setattr(detection, "MOST_PERMUTED", 3)
    monkeypatch.setattr(prediction, "MOST_PREDICTED", 2)
    wide = _wide(12)

    def count(*metrics: str) -> int:
        return len(computed(wide, *metrics))

    assert count("correlation_similarity", "contingency_similarity") == 9
    assert count("detection_auc_pair") == 4
    assert count("detection_importance") == 3
    assert set(computed(wide, "column_prediction")) == {("column_prediction", "c1"), ("column_prediction", "c5")}


def test_neighbours_in_many_dimensions_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(50, 40)) + 100, rng.normal(size=(90, 40)) + 100
    points[:5] = others[:5]

    distances, positions = copies.nearest(points, others, 7)

    expected = KDTree(others).query(points, k=7)
    assert distances == pytest.approx(expected[0])
    assert (positions == expected[1]).all()
    assert (distances[:5, 0] == 0).all()


# Many labels, rare ones, keys


def test_many_labels_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_LABELS", 10)
    many = tuple(f"l{i}" for i in range(300))
    frame = pd.DataFrame({"many": np.resize(many, 600), "size": RNG.normal(size=600)})
    schema = TableSchema(columns=(Categorical(name="many", categories=many), SIZE), private=False)

    assert evaluate(split(frame, schema)).metrics["value"].notna().all()


def test_labels_that_too_few_train_rows_have_may_not_be_shown() -> None:
    frame = pd.DataFrame({"kind": [*["a"] * 90, *["b"] * 8, "c", "c"] * 3})

    def rare(**options: object) -> float:
        schema = TableSchema(columns=(KIND,), **options)  # type: ignore[arg-type]
        return computed(split(frame, schema), "rare_labels").get(("rare_labels", "kind"), np.nan)

    assert rare() == pytest.approx(0.02)  # of c; eight train rows have b
    assert rare(min_label_rows=10) == pytest.approx(0.1)
    assert np.isnan(rare(private=False))


def test_no_synthetic_key_may_be_a_real_one() -> None:
    schema = TableSchema(columns=(Id(name="key"), SIZE))
    frame = pd.DataFrame({"key": range(90), "size": 1.0})

    def copied(keys: Sequence[int]) -> float:
        return computed(split(frame, schema, lambda rows: rows.assign(key=keys)), "key_copies")["key_copies", "key"]

    assert copied(range(1000, 1030)) == 0
    assert copied([0, 59, 60, *range(1000, 1027)]) == pytest.approx(2 / 30)


@pytest.mark.parametrize("scale", [2.0**-1030, 2.0**900])
def test_scores_do_not_depend_on_the_unit_of_a_column(scale: float) -> None:
    schema = TableSchema(columns=(Float(name="x"), Float(name="y")))
    rng = np.random.default_rng(0)
    sets = [pd.DataFrame(rng.lognormal(size=(60, 2)).round(6), columns=["x", "y"]) for _ in range(3)]
    sets[0].iloc[:5] = sets[1].iloc[:5]
    metrics = ("ks_complement", "wasserstein_distance", "dcr_share", "partial_copies", "exact_copies")
    plain, scaled = (
        computed(Samples(*(rows.assign(x=rows["x"] * unit) for rows in sets), schema), *metrics)
        for unit in (1.0, scale)
    )
    assert scaled == pytest.approx(plain, rel=1e-6)


def test_rows_that_many_train_rows_have_in_common_are_no_copies() -> None:
    schema = TableSchema(columns=(KIND,))
    train = pd.DataFrame({"kind": [*["a"] * 5, *["b"] * 4]})

    assert copies.exact_copies(pd.DataFrame({"kind": ["a", "b", "c"]}), train, schema) == pytest.approx(1 / 3)


def test_leaked_rows_of_a_long_table_are_named_by_their_position_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from synth_assets.evaluation.metrics.attacks import leaked_rows

    monkeypatch.setattr(samples, "MOST_NEIGHBOURS", 150)
    rng = np.random.default_rng(0)
    train, holdout = (pd.DataFrame(rng.normal(size=(300, 3)).round(6), columns=["x", "y", "size"]) for _ in range(2))
    made = Samples(train, holdout, train.iloc[:150], TableSchema(columns=tuple(Float(name=n) for n in train)))

    leaked = leaked_rows(made)["row"]

    assert len(leaked) > 20
    assert leaked.max() < 150  # only the first half was copied


# Structure without a target


def test_a_lost_dependence_shows_in_the_prediction_of_columns() -> None:
    rng = np.random.default_rng(0)
    size = rng.normal(size=900)
    frame = pd.DataFrame({"size": size, "x": size + rng.normal(0, 0.2, 900), "kind": np.where(size > 0, "a", "b")})
    schema = TableSchema(columns=(SIZE, Float(name="x"), KIND))

    def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(**{name: rng.permutation(rows[name]) for name in rows})

    kept, lost = (computed(split(frame, schema, change), "column_prediction_gap") for change in (None, shuffled))

    assert abs(kept["column_prediction_gap", None]) < 0.1
    assert lost["column_prediction_gap", None] > 0.4


# Grids and constraints

HOURS = pd.date_range("2024-01-01", periods=3000, freq="h")


@pytest.mark.parametrize(
    ("column", "real", "made", "off"),
    [
        (Float(name="x"), [*range(2999), 0.123456789], [1.0, 1.5], 0.5),  # one odd value is no grid
        (Datetime(name="x"), HOURS, ["2024-01-01", "2024-01-01 05:01"], 0.5),
        (Float(name="x", nullable=True), [*range(2999), np.nan], [np.nan, 7.5], 0.5),
        (Integer(name="x"), [2**60 + i for i in range(3000)], [2**60, 2**60 + 2], 0.0),
    ],
    ids=["odd decimals", "hours", "missing", "large"],
)  # fmt: skip
def test_the_grid_is_the_one_that_nearly_all_real_values_keep(
    column: Column, real: Sequence[object], made: list[object], off: float
) -> None:
    schema = TableSchema(columns=(column,))
    rows = schema.coerce(pd.DataFrame({"x": real}), origin="rows")
    synthetic = schema.coerce(pd.DataFrame({"x": made * 5}), origin="rows")

    assert computed(Samples(rows, rows, synthetic, schema), "off_grid")["off_grid", "x"] == off


def test_a_constraint_on_text_that_is_not_published_is_not_computed() -> None:
    frame, columns, _ = TABLES["every type, with gaps"]
    schema = TableSchema(columns=tuple(columns))
    made = split(frame, schema, lambda rows: rows[schema.published])
    constraints = [Constraint(name="long", sql="length(note) > 1"), Constraint(name="early", sql="day < '2030-01-01'")]

    row, skipped = sorted(
        METRICS["constraint_violations"].compute(made, constraints), key=lambda each: isinstance(each, NotComputed)
    )

    assert row["value"] == 0
    assert isinstance(skipped, NotComputed)
    assert "note" in skipped.reason


# Text


NOTED = TableSchema(columns=(Text(name="note"), SIZE), publish_text=True)
TEXT = tuple(metric.name for metric in text.METRICS)


def _notes(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    words = ["fever", "cough", "dry", "night", "tablets", "monday", "was", "the", "since", "reports", "mild", "pain"]
    return [" ".join(rng.choice(words, rng.integers(6, 12))) for _ in range(count)]


def _noted(synthetic: list[str]) -> Samples:
    real = pd.DataFrame({"note": _notes(200, 1), "size": 1.0})
    return Samples(real.head(100), real.tail(100), pd.DataFrame({"note": synthetic, "size": 1.0}), NOTED)


def test_texts_are_compared_by_length_characters_words_and_copies() -> None:
    alike = computed(_noted(_notes(100, 2)), *TEXT)
    other = computed(_noted(["xyz"] * 100), *TEXT)
    copied = computed(_noted(_notes(200, 1)[:100]), *TEXT)
    nearly = computed(_noted([note.replace("was", "is") + "." for note in _notes(200, 1)[:100]]), *TEXT)

    assert min(alike[name, "note"] for name in TEXT[:3]) > 0.85
    assert max(alike[name, "note"] for name in TEXT[3:]) < 0.05
    assert max(other[name, "note"] for name in TEXT[:3]) < 0.2
    assert copied["text_copies", "note"] == copied["text_near_copies", "note"] == 1.0
    assert nearly["text_copies", "note"] == 0
    assert nearly["text_near_copies", "note"] > 0.5


def test_near_copies_are_all_that_a_comparison_of_each_pair_would_find() -> None:
    texts, others = (_grams(np.array(_notes(60, seed) + _notes(20, 9), dtype=object)) for seed in (3, 4))

    found = np.array(_best_jaccard(texts, others))
    expected = np.array([max(len(a & b) / len(a | b) for b in others) for a in texts])

    assert ((found > text.NEAR) == (expected > text.NEAR)).all()
    assert (expected > text.NEAR).sum() >= 20


def test_text_that_is_not_published_is_not_compared() -> None:
    schema = NOTED.model_copy(update={"publish_text": False})
    real = pd.DataFrame({"note": _notes(20, 1), "size": 1.0})

    assert reasons(Samples(real, real, real[["size"]], schema), "text_copies") == ["text is not published"]


def test_the_message_about_copied_texts_names_the_column() -> None:
    found = evaluate(_noted(_notes(200, 1)[:100]))
    privacy = next(verdict for verdict in found.gates if verdict.gate.name == "privacy")

    assert "Texts of real rows are repeated in note: state publish_text: false" in privacy.message
