"""Tests of the metrics: their declarations, known answers, and that real rows lie within their references."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, spearmanr, wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier

from synth_assets.evaluation.evaluate import fidelity_results, privacy_results
from synth_assets.evaluation.gates import GATES
from synth_assets.evaluation.metrics import METRICS, RESULT_COLUMNS, Metric, detection, text
from synth_assets.evaluation.metrics.attacks import LEAKED_ROW, Knowledge, leaked_rows
from synth_assets.evaluation.metrics.copies import agreeing_cells, exact_copies, partial_copies
from synth_assets.evaluation.metrics.detection import detection_auc
from synth_assets.evaluation.metrics.shape import column_similarity
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Float
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema

LEGS = Constraint(name="legs", sql="Legs <= 2 * Size")


def rows(count: int, seed: int) -> pd.DataFrame:
    """Make rows whose legs depend on their size."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(1, 9, count).round(2)
    colour = pd.Series(rng.choice(["blue", "red"], count, p=[0.3, 0.7]), dtype="str")
    return pd.DataFrame({"Colour": colour, "Size": size, "Legs": (size + rng.uniform(0, 3, count)).astype("int64")})


TRAIN, HOLDOUT, OTHER = rows(300, 1), rows(150, 2), rows(300, 3)


def values(results: pd.DataFrame) -> dict[tuple[str, str | None], float]:
    names = [None if pd.isna(name) else name for name in results["column_name"]]
    return dict(zip(zip(results["metric"], names, strict=True), results["value"], strict=True))


@pytest.fixture(scope="module")
def schema() -> TableSchema:
    from synth_assets.schema.columns import Categorical, Integer

    columns = (
        Categorical(name="Colour", categories=("blue", "red")),
        Float(name="Size", minimum=0, maximum=10),
        Integer(name="Legs", minimum=0, maximum=12),
    )
    return TableSchema(columns=columns, target="Legs")


@pytest.fixture(scope="module", autouse=True)
def _small_classifiers() -> Iterator[None]:
    """Train fewer and smaller classifiers; everything else is as shipped."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"N_FOLDS": 2, "N_REPEATS": 1, "REFERENCE_SPLITS": 3, "N_TREES": 20}.items():
            patch.setattr(detection, name, value)
        patch.setitem(HistGradientBoostingClassifier.__init__.__kwdefaults__, "max_iter", 20)
        yield


@pytest.fixture(scope="module")
def real_results(schema: TableSchema) -> pd.DataFrame:
    samples = Samples(TRAIN, HOLDOUT, OTHER, schema)
    knowledge = Knowledge(rows(900, 4), lambda real: -real["Size"].to_numpy())
    privacy = privacy_results(samples, knowledge=knowledge)
    return pd.concat([fidelity_results(samples, [LEGS]), privacy], ignore_index=True)


def compute(metric: str, synthetic: pd.DataFrame, schema: TableSchema) -> dict[tuple[str, str | None], float]:
    samples = Samples(TRAIN, HOLDOUT, synthetic, schema)
    return {(row["metric"], row["column_name"]): row["value"] for row in METRICS[metric].compute(samples)}


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_metric_has_a_goal_a_range_and_a_citation(metric: Metric) -> None:
    assert METRICS[metric.name] is metric
    assert (metric.best > metric.worst) if metric.goal == "maximize" else (metric.best < metric.worst)
    assert np.isfinite(metric.best)
    assert metric.description.endswith(".")
    assert metric.citation


def test_each_metric_with_a_tolerance_belongs_to_one_gate() -> None:
    gated = [name for gate in GATES.values() for name in gate.tolerances]

    assert sorted(gated) == sorted(name for name, metric in METRICS.items() if metric.tolerance is not None)


def test_real_rows_lie_within_their_references(real_results: pd.DataFrame) -> None:
    assert tuple(real_results) == RESULT_COLUMNS
    of_other_columns = {
        "tstr_score",
        "leaked_row",
        "key_copies",
        "missing_share_difference",
        "missing_pairs_difference",
    }
    of_other_columns |= {metric.name for metric in text.METRICS}
    assert set(real_results["metric"]) - {"leaked_row"} == set(METRICS) - of_other_columns
    judged = real_results[real_results["reference_low"].notna()]
    assert judged["value"].between(judged["reference_low"] - 1e-9, judged["reference_high"] + 1e-9).mean() > 0.85
    referenced = real_results[real_results["reference"].notna()]
    assert (referenced["reference_low"] <= referenced["reference"]).all()
    assert set(real_results["metric"]) - set(referenced["metric"]) - {"leaked_row"} == {"rare_labels"}
    for row in real_results.itertuples():
        least, most = METRICS[row.metric].possible
        ends = [row.reference_low, row.reference_high, row.value_low, row.value_high]
        assert all(np.isnan(end) or least <= end <= most for end in ends)


def test_similarities_and_distances_are_scipys(real_results: pd.DataFrame) -> None:
    found = values(real_results)
    real = pd.concat([TRAIN, HOLDOUT])
    blue = [(part["Colour"] == "blue").mean() for part in (OTHER, HOLDOUT)]
    spearman = [spearmanr(part["Size"], part["Legs"]).statistic for part in (OTHER, HOLDOUT)]

    ks = 1 - ks_2samp(OTHER["Size"], HOLDOUT["Size"]).statistic
    assert found["ks_complement", "Size"] == pytest.approx(ks)
    assert found["tv_complement", "Colour"] == pytest.approx(1 - abs(blue[0] - blue[1]))
    assert found["correlation_similarity", "Size, Legs"] == pytest.approx(1 - abs(spearman[0] - spearman[1]) / 2)
    distance = wasserstein_distance(OTHER["Size"], HOLDOUT["Size"]) / real["Size"].std(ddof=0)
    assert found["wasserstein_distance", "Size"] == pytest.approx(distance)
    shapes = [found["tv_complement", "Colour"], ks, found["ks_complement", "Legs"]]
    assert found["column_shapes", None] == pytest.approx(np.mean(shapes))


def test_similarities_are_sdmetrics(schema: TableSchema) -> None:
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement

    for name, metric in (("Colour", TVComplement), ("Size", KSComplement), ("Legs", KSComplement)):
        found = column_similarity(OTHER[name], HOLDOUT[name], schema.column(name))
        assert found == pytest.approx(metric.compute(HOLDOUT[name], OTHER[name]), abs=1e-12)
    pair = compute("correlation_similarity", OTHER, schema)["correlation_similarity", "Size, Legs"]
    numbers = [part[["Size", "Legs"]] for part in (HOLDOUT, OTHER)]
    assert pair == pytest.approx(CorrelationSimilarity.compute(*numbers, coefficient="Spearman"))
    edges = np.quantile(pd.concat([TRAIN, HOLDOUT])["Size"], np.linspace(0, 1, 11)[1:-1])
    binned = [
        part[["Colour"]].assign(Size=np.searchsorted(edges, part["Size"], side="right")) for part in (HOLDOUT, OTHER)
    ]
    found = compute("contingency_similarity", OTHER, schema)["contingency_similarity", "Colour, Size"]
    assert found == pytest.approx(ContingencySimilarity.compute(*binned))


def test_a_constant_column_has_no_correlation(schema: TableSchema) -> None:
    found = compute("correlation_similarity", OTHER.assign(Size=3.0), schema)
    real = spearmanr(HOLDOUT["Size"], HOLDOUT["Legs"]).statistic

    assert found["correlation_similarity", "Size, Legs"] == pytest.approx(1 - real / 2)


def test_classifiers_detect_what_they_can_see(schema: TableSchema) -> None:
    shuffled = OTHER.assign(Legs=np.random.default_rng(0).permutation(OTHER["Legs"]))
    shifted = OTHER.assign(Size=OTHER["Size"] + 20)

    def auc(synthetic: pd.DataFrame, classifier: str) -> float:
        return detection_auc(synthetic, HOLDOUT, schema, classifier=classifier, repeats=1, interval=False).auc  # type: ignore[arg-type]

    assert auc(OTHER, "gradient boosting") == pytest.approx(0.5, abs=0.08)
    assert auc(shuffled, "gradient boosting") > 0.7
    assert auc(shuffled, "random forest") > 0.7
    assert auc(shuffled, "logistic regression") < 0.65  # means alone do not differ
    assert auc(shifted, "logistic regression") == 1.0


def test_detection_names_the_columns_and_pairs(schema: TableSchema) -> None:
    shuffled = OTHER.assign(Legs=np.random.default_rng(0).permutation(OTHER["Legs"]))

    importance = compute("detection_importance", shuffled, schema)
    pairs = compute("detection_auc_pair", shuffled, schema)

    assert min(importance[key] for key in importance if key[1] != "Colour") > 0.1
    assert importance["detection_importance", "Colour"] < 0.05
    assert next(iter(pairs)) == ("detection_auc_pair", "Size, Legs")


def test_each_invalid_cell_and_row_is_counted_where_it_is(schema: TableSchema) -> None:
    bad = OTHER.head(100).copy()
    bad["Colour"] = bad["Colour"].where(bad.index > 3, "mauve")
    bad["Size"] = bad["Size"].where(bad.index > 1, 99.5).where(bad.index != 50, 3.333)
    bad["Legs"] = bad["Legs"].where(bad.index != 9, 90)
    results = values(fidelity_without_detection(Samples(TRAIN, HOLDOUT, bad, schema)))

    faults = {key: value for key, value in results.items() if key[0] in ("out_of_range", "off_grid") and value}
    assert faults == {
        ("out_of_range", "Colour"): 0.04,
        ("out_of_range", "Size"): 0.02,
        ("out_of_range", "Legs"): 0.01,
        ("off_grid", "Size"): 0.01,
    }
    broken = (bad["Legs"] > 2 * bad["Size"]).mean()
    assert results["constraint_violations", "legs"] == pytest.approx(broken)


def fidelity_without_detection(samples: Samples) -> pd.DataFrame:
    names = ("out_of_range", "off_grid", "missing_cells")
    found = [row for name in names for row in METRICS[name].compute(samples)]
    found += METRICS["constraint_violations"].compute(samples, [LEGS])
    return pd.DataFrame(found)


def test_real_values_without_a_grid_have_none(schema: TableSchema) -> None:
    continuous = [part.assign(Size=part["Size"] + 1 / 3) for part in (TRAIN, HOLDOUT, OTHER)]
    found = list(METRICS["off_grid"].compute(Samples(*continuous, schema)))

    assert found[0]["value"] == 0


def test_copies_are_counted_cell_by_cell(schema: TableSchema) -> None:
    train = pd.DataFrame({"Colour": ["blue", "red"], "Size": [0.3, 2.0], "Legs": [4, 6]})
    sample = pd.DataFrame(
        {"Colour": ["blue", "blue", "red", "red"], "Size": [0.1 + 0.2, 0.3, 9.0, 9.0], "Legs": [4, 6, 6, 1]}
    )

    assert agreeing_cells(sample, train, schema).tolist() == [3, 2, 2, 1]
    assert exact_copies(sample, train, schema) == 0.25
    assert partial_copies(sample, train, schema) == 0.75


def test_a_copy_is_found_anywhere_in_a_long_sample(schema: TableSchema) -> None:
    long = pd.concat([OTHER] * 400, ignore_index=True).assign(Size=lambda frame: frame["Size"] + 100)
    long.loc[len(long) - 7] = TRAIN.loc[3]

    assert exact_copies(long, TRAIN, schema) * len(long) == pytest.approx(1)


def test_attacks_find_copied_rows_which_are_listed_by_their_row_id(real_results: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    train, holdout, other = (
        pd.DataFrame(rng.normal(size=(n, 4)).round(6), columns=["a", "b", "c", "d"]) for n in (200, 150, 100)
    )
    columns = tuple(Float(name=name) for name in train)
    samples = Samples(train, holdout, pd.concat([train.head(100), other]), TableSchema(columns=columns))

    found = values(privacy_results(samples, row_ids=range(1000, 1200)))
    real = values(real_results)

    for attack in ("membership_auc", "dcr_difference_auc", "domias_auc", "gen_lra_auc", "levenshtein_auc"):
        assert real[attack, None] == pytest.approx(0.5, abs=0.08)
        assert found[attack, None] > 0.57
    assert found["dcr_share", None] > 0.6
    assert found["exact_copies", None] == found["leaked_rows", None] == 0.5
    assert leaked_rows(samples)["row"].tolist() == list(range(100))
    assert {name for metric, name in found if metric == LEAKED_ROW} == {f"row_id {i}" for i in range(1000, 1100)}
