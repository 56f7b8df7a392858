"""Tests of the attackers: who sees one sample, who sees every sample, and who holds the model."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde
from sklearn.metrics import roc_curve

from synth_assets.evaluation.evaluate import privacy_results
from synth_assets.evaluation.gates import GATES, evaluate_gate
from synth_assets.evaluation.metrics import attacks
from synth_assets.evaluation.metrics.attacks import (
    CALIBRATED,
    EVERY_SAMPLE,
    Knowledge,
)
from synth_assets.evaluation.metrics.membership import MAXIMUM, Attack, successes
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Categorical, Float
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import create
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings, ScratchSettings

NUMBERS = TableSchema(columns=tuple(Float(name=name) for name in "abcd"))


def numbers(count: int, seed: int) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).normal(size=(count, 4)).round(2)
    return pd.DataFrame(drawn, columns=list("abcd"))


def best_auc(found: pd.DataFrame, metric: str = "attack_auc") -> dict[str | None, float]:
    some = found[found["metric"] == metric]
    names = [None if pd.isna(name) else name for name in some["column_name"]]
    return dict(zip(names, some["value"], strict=True))


def test_success_is_measured_as_by_a_roc_curve() -> None:
    rng = np.random.default_rng(0)
    attack = Attack("one", rng.normal(1, 1, 400).round(1), rng.normal(size=300).round(1))

    found = successes([attack], seed=0)["one"]

    is_train = np.repeat([1, 0], [400, 300])
    fpr, tpr, _ = roc_curve(is_train, np.concatenate([attack.train, attack.holdout]), drop_intermediate=False)
    assert found.auc.value == pytest.approx(np.trapezoid(tpr, fpr))
    assert found.tpr_1.value == pytest.approx(tpr[fpr <= 0.01].max())
    assert found.tpr_01.value == pytest.approx(tpr[fpr == 0].max())
    for each in found:
        assert each.interval[0] <= each.value <= each.interval[1]
        assert each.value > each.reference.high


def test_the_best_of_useless_attacks_is_no_better_than_its_reference() -> None:
    rng = np.random.default_rng(1)
    useless = [Attack(str(i), rng.normal(size=500), rng.normal(size=300)) for i in range(10)]

    found = successes(useless, seed=0)

    best = found[MAXIMUM].auc
    assert best.value == max(found[each.metric].auc.value for each in useless)
    assert found["0"].auc.reference.mean == pytest.approx(0.5, abs=0.005)
    assert found["0"].auc.reference.high < best.reference.high
    assert best.reference.mean > 0.52
    assert best.reference.low <= best.value <= best.reference.high


def test_gen_lra_is_what_a_density_fitted_again_gives() -> None:
    reference, drawn = (numbers(count, seed).to_numpy() for count, seed in ((40, 2), (50, 1)))
    reference, drawn = attacks._whitened(reference, drawn)
    point = drawn[7] + 0.2
    closest = np.argsort(((drawn - point) ** 2).sum(axis=1))[:3]

    found = attacks._influences(reference, drawn, point[None], closest[None], closest)

    # The same bandwidth: by one more row, covariance and bandwidth of a density that is fitted again hardly change.
    before = gaussian_kde(reference.T, bw_method="silverman")
    bandwidth = before.factor * np.cov(reference.T, bias=True)[0, 0] ** 0.5
    kernels = [
        np.exp(-((drawn[closest][:, None] - rows) ** 2).sum(axis=2) / (2 * bandwidth**2)).mean(axis=1)
        for rows in (reference, np.vstack([reference, point]))
    ]
    assert found[0] == pytest.approx(np.log(kernels[1] / kernels[0]).sum(), rel=1e-4)
    again = gaussian_kde(np.vstack([reference, point]).T, bw_method="silverman")
    assert found[0] == pytest.approx(np.log(again(drawn[closest].T) / before(drawn[closest].T)).sum(), rel=0.2)


def test_every_sample_reveals_more_than_one() -> None:
    """Each day repeats other train rows: a few a day, all of them in a month."""
    train, holdout = numbers(400, 1), numbers(300, 2)
    days = [
        pd.concat([train.iloc[day * 40 : day * 40 + 40], numbers(360, 10 + day)], ignore_index=True)
        for day in range(10)
    ]
    alone = Samples(train, holdout, days[-1], NUMBERS)
    found = privacy_results(alone, knowledge=Knowledge(pd.concat(days[:-1], ignore_index=True)))

    best = best_auc(found)
    assert set(best) == {None, EVERY_SAMPLE}
    assert best[None] < 0.6
    assert best[EVERY_SAMPLE] > 0.75
    assert best_auc(found, "outlier_auc")[EVERY_SAMPLE] > 0.75
    failed = evaluate_gate(GATES["privacy"], found).findings.query("~passed")
    assert "every_sample_auc" in set(failed["metric"])
    assert "Publish no further sample of this model" in evaluate_gate(GATES["privacy"], found).message
    without = privacy_results(alone)
    assert EVERY_SAMPLE not in set(without["column_name"])
    assert "the model has drawn no other row that is known" in [
        each["reason"] for each in without.attrs["not_computed"]
    ]


def test_a_single_sample_longer_than_what_is_compared_is_attacked_as_a_whole() -> None:
    train, holdout = numbers(200, 1), numbers(150, 2)
    samples = Samples(train, holdout, pd.concat([numbers(800, 3), train], ignore_index=True), NUMBERS)

    found = {name: each[MAXIMUM].auc.value for name, each in attacks._measured(samples, attacks.ONE_SAMPLE).items()}

    assert found[EVERY_SAMPLE] > 0.9 > found[None]


def test_outliers_are_attacked_by_themselves() -> None:
    """A synthesizer that repeats outliers alone hides in the mean over all rows."""
    train, holdout = numbers(600, 1), numbers(400, 2)
    is_outlier = attacks._outliers(Samples(train, holdout, numbers(600, 3), NUMBERS))
    assert sum(mask.sum() for mask in is_outlier) == 50
    sample = pd.concat([train[is_outlier[0]], numbers(600 - is_outlier[0].sum(), 3)], ignore_index=True)

    found = privacy_results(Samples(train, holdout, sample, NUMBERS))

    best = best_auc(found)
    assert best[None] < 0.56
    assert best_auc(found, "outlier_auc")[None] > 0.8


def test_a_likelihood_is_calibrated_by_what_rows_of_such_values_have() -> None:
    """The likelihood differs by kind far more than by membership."""
    rng = np.random.default_rng(0)
    schema = TableSchema(columns=(Categorical(name="kind", categories=("rare", "often")), Float(name="size")))

    def rows(count: int) -> pd.DataFrame:
        return pd.DataFrame({"kind": rng.choice(["rare", "often"], count), "size": rng.normal(size=count)})

    train, holdout = rows(400), rows(400)
    members = set(train["size"])

    def log_likelihood(real: pd.DataFrame) -> np.ndarray:
        return (
            np.where(real["kind"] == "often", 9.0, 0.0) + 1.0 * real["size"].isin(members) + rng.normal(size=len(real))
        )

    found = attacks._measured_with_model(Samples(train, holdout, rows(400), schema), Knowledge(None, log_likelihood))

    assert 0.55 < found[None][MAXIMUM].auc.value < found[CALIBRATED][MAXIMUM].auc.value - 0.05


@pytest.mark.slow
def test_an_overfitted_model_is_caught_by_every_attacker() -> None:
    train, holdout = (rows.round(1) for rows in (numbers(60, 1), numbers(60, 2)))
    settings = LanguageModelSettings(
        epochs=100,
        patience=100,
        batch_size=100,
        learning_rate=1e-2,
        scratch=ScratchSettings(n_layer=1, n_head=2, n_embd=64),
        pretrain=PretrainSettings(rows=0),
    )
    # Each row twice: the validation rows are train rows too, so that no epoch is one too many.
    model = create(settings).fit(pd.concat([train, train], ignore_index=True), NUMBERS, seed=0)
    samples = Samples(train, holdout, model.sample(60, seed=1), NUMBERS)

    found = privacy_results(samples, knowledge=Knowledge(model.sample(300, seed=2), model.log_likelihood))

    likelihood = best_auc(found, "likelihood_auc")
    assert likelihood[None] > 0.9
    assert likelihood[CALIBRATED] > 0.9
    verdict = evaluate_gate(GATES["privacy"], found)
    failed = verdict.findings[~verdict.findings["passed"]]
    assert {"membership_auc", "every_sample_auc"} <= set(failed["metric"])
    assert {None, EVERY_SAMPLE} <= set(best_auc(failed))
    assert verdict.status == "failed"
