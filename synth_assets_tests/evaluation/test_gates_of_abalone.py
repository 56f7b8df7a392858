"""The gates on whole tables: rows that are real pass every one, and each kind of bad sample is stopped by its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from synth_assets.evaluation import detection
from synth_assets.evaluation.detection import detection_auc, detection_table
from synth_assets.evaluation.fidelity import fidelity_table
from synth_assets.evaluation.gates import FIDELITY, PRIVACY, VALIDITY, Verdict, judge
from synth_assets.evaluation.privacy import privacy_table
from synth_assets.evaluation.validity import validity_table
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.table import content_hash
from synth_assets.synthesizers.base import SampleSettings

pytestmark = pytest.mark.slow

DEFS = Path(__file__).parents[2] / "synth_assets" / "defs" / "abalone" / "defs.yaml"
SETTINGS = SyntheticTableSettings(**yaml.safe_load(DEFS.read_text())["attributes"])
SCHEMA = SETTINGS.table_schema()

PART = 1390
"""Rows of each part: to learn from, to judge, and to judge against; a third of the table. Of 600, real rows often fail:
one in twenty of some fifty numbers lies beyond its floor by chance, and with few rows by more than is allowed for."""

SPLITS = 2
"""Enough to see a gate that is too narrow; each takes half a minute."""


@dataclass(frozen=True)
class Parts:
    """Three sets of rows of a table that have no row in common."""

    train: pd.DataFrame
    unseen: pd.DataFrame
    held_out: pd.DataFrame

    def failed(self, sample: pd.DataFrame) -> dict[str, str]:
        """Judge a sample as the assets do, and give what the gates that it fails say of it."""
        return {verdict.gate.name: verdict.said for verdict in self.verdicts(sample) if not verdict.passed}

    def verdicts(self, sample: pd.DataFrame) -> list[Verdict]:
        """Judge a sample as the assets do."""
        sets = sample, self.train, self.held_out
        evidence = pd.concat(
            [
                fidelity_table(*sets, SCHEMA),
                detection_table(*sets, SCHEMA),
                validity_table(*sets, SCHEMA, SETTINGS.table_constraints()),
                privacy_table(*sets, SCHEMA),
            ],
            ignore_index=True,
        )
        return [judge(gate, evidence) for gate in (FIDELITY, VALIDITY, PRIVACY)]


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save time: a forest is most of an evaluation."""
    monkeypatch.setattr(detection, "TREES", 20)
    monkeypatch.setattr(detection, "FLOOR_SPLITS", 4)
    monkeypatch.setattr(detection, "detection_auc", _asked_once)


_TOLD: dict[tuple[str, ...], detection.Detection] = {}


def _asked_once(synthetic: pd.DataFrame, held_out: pd.DataFrame, **how: Any) -> detection.Detection:
    """Save time: each bad sample is beside the same real rows, of which the same is told."""
    key = content_hash(synthetic), content_hash(held_out), repr(how)
    if key not in _TOLD:
        _TOLD[key] = detection_auc(synthetic, held_out, **how)
    return _TOLD[key]


@pytest.fixture(scope="module", params=["placeholder", "real"])
def table(request: pytest.FixtureRequest, placeholder_csv: Path) -> pd.DataFrame:
    csv = request.getfixturevalue("real_csv") if request.param == "real" else placeholder_csv
    return SCHEMA.coerce(pd.read_csv(csv), origin=str(csv))


def _parts(table: pd.DataFrame, seed: int) -> Parts:
    drawn = table.sample(3 * PART, random_state=seed, ignore_index=True)
    return Parts(*(drawn.iloc[at : at + PART].reset_index(drop=True) for at in range(0, 3 * PART, PART)))


@pytest.mark.parametrize("seed", range(SPLITS))
def test_real_rows_pass_every_gate(table: pd.DataFrame, seed: int) -> None:
    parts = _parts(table, seed)

    assert parts.failed(parts.unseen) == {}


def _copied(parts: Parts, rng: np.random.Generator, share: float) -> pd.DataFrame:
    """Give rows that nobody saw, some of which have been replaced by train rows."""
    copies = parts.train.sample(int(share * PART), random_state=int(rng.integers(1000)))
    return pd.concat([copies, parts.unseen.iloc[len(copies) :]], ignore_index=True)


def _shuffled(parts: Parts, rng: np.random.Generator) -> pd.DataFrame:
    columns = {name: rng.permutation(parts.unseen[name]) for name in SCHEMA.names}
    return SCHEMA.coerce(pd.DataFrame(columns), origin="shuffled")


def _one_shuffled(parts: Parts, rng: np.random.Generator) -> pd.DataFrame:
    return parts.unseen.assign(**{SCHEMA.target: rng.permutation(parts.unseen[SCHEMA.target])})


def _constant(parts: Parts, _: np.random.Generator) -> pd.DataFrame:
    return parts.unseen.iloc[[0] * PART].reset_index(drop=True)


@pytest.mark.parametrize(
    ("spoil", "stopped_by", "words"),
    [
        (lambda p, rng: _copied(p, rng, 0.2), ["privacy"], "Exact copies is 0.2000; real rows score 0.0000, and at"),
        (lambda p, rng: _copied(p, rng, 0.01), ["privacy"], "Exact copies is 0.0094"),
        (_shuffled, ["fidelity", "validity"], "Likeness of a pair's correlation of "),
        (_one_shuffled, ["fidelity"], "Likeness of a pair's correlation of "),
        (_constant, ["fidelity"], "Likeness of a pair's joint shares of "),
    ],
    ids=["a fifth copied", "one in a hundred copied", "shuffled columns", "a shuffled target", "constant values"],
)  # fmt: skip
def test_each_bad_sample_is_stopped_by_the_gate_that_ought_to(
    table: pd.DataFrame,
    spoil: Callable[[Parts, np.random.Generator], pd.DataFrame],
    stopped_by: list[str],
    words: str,
) -> None:
    parts = _parts(table, 0)
    failed = parts.failed(spoil(parts, np.random.default_rng(0)))

    assert list(failed) == stopped_by
    assert words in failed[stopped_by[0]]


def test_a_model_that_was_trained_for_one_epoch_and_without_a_teacher_is_stopped_by_fidelity(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    from synth_assets.synthesizers.model_store import ModelStore, sample_rows

    parts, encoding = _parts(table, 0), Encoding(SCHEMA)
    spec = SETTINGS.model_spec()
    spec = replace(spec, epochs=1, training=replace(spec.training, teacher_rows=0))
    store = ModelStore(tmp_path / "models")
    card = store.fit(
        encoding.label(encoding.encode(parts.train)),
        spec,
        bases=tmp_path / "bases",
        experiments=tmp_path / "experiments",
        report=lambda _: None,
    )
    rows, _ = sample_rows(store, card.version, encoding, SampleSettings(n_samples=PART), seed=0, report=lambda _: None)
    fidelity, _, privacy = parts.verdicts(rows)

    assert privacy.passed
    told = fidelity.findings.set_index("metric")["passed"]
    assert not told["detection_auc_boosting"]
    assert not told["detection_auc_forest"]
