"""Bad input, at every entry of the evaluation: a message that says what is wrong, or a number that is defined."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest
from synth_assets.evaluation.detection import IMPORTANCE, detection_table, pairs_told_apart
from synth_assets.evaluation.fidelity import fidelity_table
from synth_assets.evaluation.privacy import attacks_on, privacy_table
from synth_assets.evaluation.validity import validity_table

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import detection
from synth_assets.evaluation.gates import GATES, judge
from synth_assets.evaluation.metrics import EVIDENCE_COLUMNS, METRICS
from synth_assets.schema.columns import Categorical, Float, Integer
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema

Table = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, TableSchema], pd.DataFrame]
Spoil = Callable[[pd.DataFrame], pd.DataFrame]

SCHEMA = TableSchema(
    columns=(
        Categorical(name="Colour", categories=("blue", "red")),
        Float(name="Size", minimum=0.0, maximum=10.0),
        Integer(name="Legs", minimum=0, maximum=30),
    ),
    target="Legs",
)


def _areas(*sets: pd.DataFrame) -> pd.DataFrame:
    """Attacks give scores: their means, as evidence."""
    found = attacks_on(*sets[:3], SCHEMA)
    assert all(np.isfinite(attack.train).all() and np.isfinite(attack.held_out).all() for attack in found)
    return pd.DataFrame({"metric": [attack.metric for attack in found], "value": 0.5})


ENTRIES: dict[str, Table] = {
    "fidelity": fidelity_table,
    "detection": detection_table,
    "pairs": pairs_told_apart,
    "validity": partial(validity_table, constraints=[Constraint("legs", "Legs <= 3 * Size")]),
    "privacy": privacy_table,
    "attacks": lambda *sets: _areas(*sets),
}
each_entry = pytest.mark.parametrize(
    "entry", [pytest.param(name, marks=[pytest.mark.slow] if name == "detection" else []) for name in ENTRIES]
)


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save time: what is refused does not depend on how many trees there are."""
    monkeypatch.setattr(detection, "TREES", 5)
    monkeypatch.setattr(detection, "FLOOR_SPLITS", 2)


def _rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.uniform(1, 9, count).round(2)
    return pd.DataFrame(
        {
            "Colour": pd.Series(rng.choice(["blue", "red"], count), dtype="str"),
            "Size": size,
            "Legs": (2 * size + rng.normal(0, 1, count)).round().clip(0, 30).astype("int64"),
        }
    )


SYNTHETIC, TRAIN, HELD_OUT = _rows(60, 1), _rows(80, 2), _rows(40, 3)


def _assert_defined(found: pd.DataFrame) -> None:
    """Areas and shares are from 0 to 1, but for what SDMetrics adds to each count; an importance may be negative."""
    for row in found.itertuples():
        low = -1.0 if row.metric == IMPORTANCE else 0.0
        high = np.inf if np.isinf(METRICS[row.metric].worst) else 1.0
        assert low - 1e-6 <= row.value <= high + 1e-6, row


SPOILED: dict[str, tuple[Spoil, str]] = {
    "a column is missing": (lambda t: t.drop(columns="Size"), "the {} rows lack the column Size; expected Colour, S"),
    "text for numbers": (
        lambda t: t.assign(Size=t["Size"].astype("str")),
        "column 'Size' of the {} rows has the type str; expected numbers",
    ),
    "no row": (lambda t: t.head(0), "0 {} rows|there are no {} rows"),
}
EMPTY_CELLS: dict[str, tuple[Spoil, str]] = {
    "an empty number": (
        lambda t: t.assign(Size=t["Size"].where(t.index != 3)),
        "column 'Size' of the {} rows has 1 empty or infinite cell;",
    ),
    "an empty label": (
        lambda t: t.assign(Colour=t["Colour"].where(t.index > 4)),
        "column 'Colour' of the {} rows has 5 empty or infinite cells;",
    ),
    "an infinite number": (
        lambda t: t.assign(Size=t["Size"].where(t.index != 3, -np.inf)),
        "column 'Size' of the {} rows has 1 empty or infinite cell;",
    ),
}


@each_entry
@pytest.mark.parametrize("at", [0, 1, 2], ids=["synthetic", "train", "held-out"])
@pytest.mark.parametrize("case", SPOILED)
def test_what_is_no_table_is_refused_by_name(entry: str, case: str, at: int) -> None:
    spoil, words = SPOILED[case]
    sets = [SYNTHETIC, TRAIN, HELD_OUT]
    sets[at] = spoil(sets[at])

    with pytest.raises(ForeseenError, match=words.replace("{}", ("synthetic", "train", "held-out")[at])):
        ENTRIES[entry](*sets, SCHEMA)


@pytest.mark.parametrize("entry", [name for name in ENTRIES if name != "validity"])
@pytest.mark.parametrize("case", EMPTY_CELLS)
def test_a_cell_that_is_no_value_is_refused_by_name(entry: str, case: str) -> None:
    spoil, words = EMPTY_CELLS[case]

    with pytest.raises(ForeseenError, match=words.format("synthetic")):
        ENTRIES[entry](spoil(SYNTHETIC), TRAIN, HELD_OUT, SCHEMA)


@pytest.mark.parametrize("case", EMPTY_CELLS)
def test_validity_counts_cells_that_are_no_values(case: str) -> None:
    """It is what says so of a sample; the other measures need every cell."""
    found = ENTRIES["validity"](EMPTY_CELLS[case][0](SYNTHETIC), TRAIN, HELD_OUT, SCHEMA)

    _assert_defined(found)
    faults = found[found["metric"].isin(["missing_cells", "out_of_range"])]
    assert faults["value"].sum() == pytest.approx((5 if "label" in case else 1) / 60)
    assert not judge(GATES["validity"], found).passed


DEFINED: dict[str, Callable[[], list[pd.DataFrame]]] = {
    "a sample of one row, many times": lambda: [SYNTHETIC.iloc[[0] * 60].reset_index(drop=True), TRAIN, HELD_OUT],
    "five held-out rows": lambda: [SYNTHETIC, TRAIN, HELD_OUT.head(5)],
    "a sample of five rows": lambda: [SYNTHETIC.head(5), TRAIN, HELD_OUT],
    "a constant target": lambda: [part.assign(Legs=4) for part in (SYNTHETIC, TRAIN, HELD_OUT)],
    "a target that only the sample has constant": lambda: [SYNTHETIC.assign(Legs=4), TRAIN, HELD_OUT],
    "a column unique in every row": lambda: [
        part.assign(Size=np.random.default_rng(i).permutation(len(part)) / 97 + i / 1000)
        for i, part in enumerate((SYNTHETIC, TRAIN, HELD_OUT))
    ],
    "one label alone": lambda: [part.assign(Colour="red") for part in (SYNTHETIC, TRAIN, HELD_OUT)],
    "labels that nobody knows": lambda: [SYNTHETIC.assign(Colour="mauve"), TRAIN, HELD_OUT],
    "labels that are numbers": lambda: [SYNTHETIC.assign(Colour=1), TRAIN, HELD_OUT],
    "whole numbers with fractions": lambda: [SYNTHETIC.assign(Legs=SYNTHETIC["Legs"] + 0.5), TRAIN, HELD_OUT],
    "numbers beyond all measure": lambda: [SYNTHETIC.assign(Size=1e300), TRAIN, HELD_OUT],
    "everything the same": lambda: [TRAIN, TRAIN, TRAIN],
    "every cell of one value": lambda: [pd.concat([TRAIN.head(1)] * n, ignore_index=True) for n in (60, 80, 40)],
    "more rows than train rows": lambda: [_rows(500, 4), TRAIN, HELD_OUT],
    "an index that says nothing": lambda: [part.set_index([[7] * len(part)]) for part in (SYNTHETIC, TRAIN, HELD_OUT)],
}  # fmt: skip


@each_entry
@pytest.mark.parametrize("case", DEFINED)
@pytest.mark.filterwarnings("ignore:.*Exact calculation unsuccessful:RuntimeWarning")
def test_what_is_odd_has_numbers_that_are_defined(entry: str, case: str) -> None:
    found = ENTRIES[entry](*DEFINED[case](), SCHEMA)

    assert found["value"].notna().all()
    _assert_defined(found)


@pytest.mark.slow
def test_a_constant_sample_is_stopped_by_fidelity_and_one_with_unknown_labels_by_validity() -> None:
    sets = DEFINED["a sample of one row, many times"]()
    evidence = pd.concat([ENTRIES[name](*sets, SCHEMA) for name in ("fidelity", "detection", "validity", "privacy")])

    assert [name for name in ("fidelity", "validity", "privacy") if not judge(GATES[name], evidence).passed] == [
        "fidelity"
    ]
    found = ENTRIES["validity"](*DEFINED["labels that nobody knows"](), SCHEMA)
    assert "Cells of a column out of range of Colour is 1.0000" in judge(GATES["validity"], found).said


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_refuses_what_is_no_evidence(gate: str) -> None:
    nothing = pd.DataFrame(columns=list(EVIDENCE_COLUMNS))
    with pytest.raises(ForeseenError, match="the evidence has none of these"):
        judge(GATES[gate], nothing)
