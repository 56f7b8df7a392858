"""The density ratio: its trees are scikit-learn's, and rows that are kept by it are distributed as it says."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from synth_assets.schema.columns import Categorical, Integer
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import load
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.density_ratio import MAX_LEAVES, RATIO_FILE, DensityRatio, Rejection
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings, ScratchSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel

KINDS, SIZES = ("a", "b", "c"), (1, 2, 3, 4)
EVERY = pd.DataFrame(list(product(KINDS, SIZES)), columns=["kind", "size"]).astype({"kind": "str"})
SCHEMA = TableSchema(columns=(Categorical(name="kind", categories=KINDS), Integer(name="size")))


def with_gaps(rng: np.random.Generator, n: int, shift: float = 0.0) -> np.ndarray:
    rows = rng.normal(size=(n, 4)) + shift
    rows[rng.random(rows.shape) < 0.2 + 0.2 * (shift > 0)] = np.nan
    rows[:, 3] = np.round(rows[:, 3])
    return rows.astype("float32")


def test_the_stored_trees_predict_as_the_fitted_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.vstack([with_gaps(rng, 1500), with_gaps(rng, 1500, 0.5)])
    is_second = np.repeat([0, 1], 1500)
    classifier = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=MAX_LEAVES).fit(rows, is_second)
    ratio = DensityRatio._of(classifier, 20, rows.shape[1])
    ratio.save(tmp_path)
    other = np.vstack([with_gaps(rng, 700), np.full((1, 4), np.nan, "float32")])
    np.testing.assert_array_equal(DensityRatio.load(tmp_path).log_ratio(other), classifier.decision_function(other))
    (tmp_path / RATIO_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="fit the model again"):
        DensityRatio.load(tmp_path)


def test_rows_are_rejected_where_held_back_rows_show_a_difference_and_hardly_elsewhere() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for shift in (0.0, 0.5):
        real, generated = with_gaps(rng, 3000, shift), with_gaps(rng, 3000)
        rejection, gain = Rejection.fit(real[500:], generated[500:], (real[:500], generated[:500]), seed=0)
        assert (gain > 0.02) == (shift > 0)
        shares.append(1.0 if rejection is None else rejection.kept_share)
    assert shares[0] > 0.9 > 0.6 > shares[1]


@pytest.fixture(scope="module")
def rough() -> LanguageModel:
    """Fit a model that has hardly learned how size depends on kind, so that rows are rejected."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 2500)
    size = 1 + rng.binomial(3, np.array([0.3, 0.5, 0.8])[kind])
    settings = LanguageModelSettings(
        scratch=ScratchSettings(n_layer=1, n_head=2, n_embd=16),
        epochs=1,
        validation_fraction=0.25,
        batch_size=512,
        learning_rate=1e-4,
        column_order=("kind", "size"),
        pretrain=PretrainSettings(rows=0),
    )
    rows = pd.DataFrame({"kind": pd.Series(np.array(KINDS)[kind], dtype="str"), "size": size})
    return LanguageModel(settings).fit(rows, SCHEMA, seed=1)


def shares(rows: pd.DataFrame) -> np.ndarray:
    counts = rows.groupby(["kind", "size"]).size()
    return np.array([counts.get((kind, size), 0) for kind, size in EVERY.itertuples(index=False)]) / len(rows)


def test_samples_conditions_and_filled_in_rows_have_the_likelihood_of_those_kept(
    rough: LanguageModel,
) -> None:
    assert rough.row_model.rejection is not None
    exact = np.exp(rough.log_likelihood(EVERY))
    assert exact.sum() == pytest.approx(1.0, abs=0.04)  # the share that is kept is an estimate
    exact /= exact.sum()
    assert shares(rough.sample(20_000, seed=3)) == pytest.approx(exact, abs=0.012)
    given = np.where(EVERY["size"] == 4, exact, 0.0)
    given /= given.sum()
    assert shares(rough.sample(5000, seed=3, conditions={"size": "== 4"})) == pytest.approx(given, abs=0.025)
    filled = rough.impute(pd.DataFrame({"kind": pd.Series([None] * 1500, dtype="str"), "size": [4] * 1500}), seed=3)
    assert shares(filled) == pytest.approx(given, abs=0.045)


def test_the_rows_that_are_kept_are_closer_to_the_real_ones(rough: LanguageModel) -> None:
    def mean_size(rows: pd.DataFrame) -> float:
        return float(rows.loc[rows["kind"] == "c", "size"].mean())  # 3.4 in real rows

    rejection = rough.row_model.rejection
    kept = mean_size(rough.sample(4000, seed=1))
    rough.row_model.rejection = None
    try:
        generated = mean_size(rough.sample(4000, seed=1))
    finally:
        rough.row_model.rejection = rejection
    assert generated + 0.1 < kept < 3.4


def test_a_loaded_model_keeps_the_same_rows(rough: LanguageModel, tmp_path: Path) -> None:
    rough.save(tmp_path)
    loaded = load(tmp_path)
    assert loaded.fingerprint() == rough.fingerprint()
    rows = rough.sample(2500, seed=4)
    pd.testing.assert_frame_equal(loaded.sample(2500, seed=4, processes=2), rows)
    pd.testing.assert_frame_equal(rough.sample(100, seed=4), rows.head(100))
