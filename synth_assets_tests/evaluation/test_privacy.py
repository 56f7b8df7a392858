"""Tests of privacy: planted copies are counted, and an attack succeeds where it must and fails where it must."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from synth_assets.components.settings import SyntheticTableSettings
from synth_assets.errors import ForeseenError
from synth_assets.evaluation import privacy
from synth_assets.evaluation.privacy import (
    agreeing_cells,
    exact_copies,
    leaks,
    membership_auc,
    partial_copies,
    privacy_table,
)
from synth_assets.tables.encoding import Encoding
from synth_assets.tables.schema import Column, TableSchema
from synth_assets.tables.split import rows_of

DEFS = Path(__file__).parents[2] / "synth_assets" / "defs" / "abalone" / "defs.yaml"


def _rows(*rows: tuple[str, float, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["Colour", "Size", "Legs"])
    return frame.astype({"Colour": "str", "Size": "float64", "Legs": "int64"})


def _random(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "Colour": pd.Series(rng.choice(["blue", "red"], count), dtype="str"),
            "Size": rng.normal(5, 1, count),
            "Legs": rng.integers(0, 13, count),
        }
    )


TRAIN = _rows(("blue", 0.3, 2), ("red", 0.5, 4), ("red", 0.7, 6))


# Copies


@pytest.mark.parametrize(
    ("row", "agreeing"),
    [
        (("red", 0.5, 4), 3),
        (("blue", 0.5, 4), 2),
        (("red", 0.7, 4), 2),  # three cells known, but not of one row
        (("blue", 0.7, 4), 1),
        (("green", 0.1, 9), 0),
        (("blue", 0.1 + 0.2, 2), 3),  # which is no 0.3
        (("blue", 0.3000001, 2), 2),
        (("blue", 0.3, 3), 2),
    ],
)
def test_the_cells_of_the_train_row_that_agrees_most_are_counted(
    row: tuple[str, float, int], agreeing: int, small_schema: TableSchema
) -> None:
    assert agreeing_cells(_rows(row), TRAIN, small_schema).tolist() == [agreeing]


def test_planted_copies_are_counted(small_schema: TableSchema) -> None:
    train, rows = _random(200, 1), _random(100, 2)
    rows.iloc[:7] = train.iloc[20:27].to_numpy()
    rows["Size"] = np.nextafter(rows["Size"], np.inf)

    assert exact_copies(rows, train, small_schema) == 0.07
    assert partial_copies(rows, train, small_schema, cells=3) == 0.07
    assert partial_copies(rows, train, small_schema, cells=0) == 1.0
    assert exact_copies(train, train, small_schema) == 1.0


def test_blocks_leave_no_row_out(small_schema: TableSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    train, rows = _random(30, 1), _random(101, 2)
    rows.iloc[[0, 50, 100]] = train.iloc[[5, 5, 29]].to_numpy()
    whole = agreeing_cells(rows, train, small_schema)

    for pairs in (1, 70, 30 * 101):
        monkeypatch.setattr(privacy, "_PAIRS", pairs)
        assert agreeing_cells(rows, train, small_schema).tolist() == whole.tolist()
    assert np.flatnonzero(whole == 3).tolist() == [0, 50, 100]


def test_each_column_is_rounded_at_its_own_scale() -> None:
    schema = TableSchema((Column("Tiny", "number"), Column("Huge", "number"), Column("Id", "integer")), "Id", "Id")
    train = pd.DataFrame({"Tiny": [3e-12, -4e-12], "Huge": [5e15, 0.0], "Id": [2**52, 7]})
    near = pd.DataFrame({"Tiny": [3.000000000001e-12], "Huge": [5e15 + 2], "Id": [2**52]})
    far = pd.DataFrame({"Tiny": [3.1e-12], "Huge": [5.1e15], "Id": [2**52 + 1]})

    assert agreeing_cells(near, train, schema).tolist() == [3]
    assert agreeing_cells(far, train, schema).tolist() == [0]  # whole numbers are not rounded


def test_columns_of_zeros_and_indices_of_any_kind_are_compared() -> None:
    schema = TableSchema((Column("Size", "number"),), "Size", "Size")
    rows = pd.DataFrame({"Size": [0.0, -0.0, 1.0]}, index=[9, 9, 9])

    assert exact_copies(rows, pd.DataFrame({"Size": [0.0, 0.0]}), schema) == pytest.approx(2 / 3)


def test_copies_of_nothing_are_refused(small_schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match="found 0 train rows"):
        exact_copies(TRAIN, TRAIN.head(0), small_schema)
    with pytest.raises(ForeseenError, match="found 0 compared rows"):
        partial_copies(TRAIN.head(0), TRAIN, small_schema, cells=2)


def test_held_out_abalones_agree_with_train_rows_by_chance(real_csv: Path) -> None:
    """The floor: chance makes no copy, and partial copies of one row in twelve."""
    settings = SyntheticTableSettings(**yaml.safe_load(DEFS.read_text())["attributes"])
    schema = settings.table_schema()
    encoding = Encoding(schema)
    split = settings.table_split().apply(encoding.encode(schema.conform(pd.read_csv(real_csv), origin="abalone")))
    train, held_out = (encoding.decode(rows_of(split, part)) for part in ("train", "test"))

    assert exact_copies(held_out, train, schema) == 0
    assert partial_copies(held_out, train, schema, cells=5) == pytest.approx(98 / 1177)


# Membership


def test_the_train_rows_themselves_give_every_train_row_away(small_schema: TableSchema) -> None:
    train, held_out = _random(200, 1), _random(100, 2)

    assert membership_auc(train, train, held_out, small_schema) == 1.0
    assert membership_auc(held_out, train, held_out, small_schema) == 0.0


def test_rows_of_the_same_source_give_none_away(small_schema: TableSchema) -> None:
    # The deviation of the area is 0.013 at these sizes.
    found = membership_auc(_random(1000, 1), _random(1000, 2), _random(1000, 3), small_schema)

    assert found == pytest.approx(0.5, abs=0.04)


def test_the_share_of_train_rows_that_were_copied_shows(small_schema: TableSchema) -> None:
    """Half of the train rows lie at no distance; the other half and the held-out rows are ranked by chance."""
    train, held_out = _random(1000, 1), _random(1000, 2)
    synthetic = pd.concat([train.head(500), _random(500, 3)])

    assert membership_auc(synthetic, train, held_out, small_schema) == pytest.approx(0.75, abs=0.04)


def test_distances_are_in_standard_deviations_of_the_train_rows(small_schema: TableSchema) -> None:
    train = _rows(("red", 0.0, 0), ("red", 2000.0, 4))  # deviations 1000 and 2
    synthetic = _rows(("red", 0.0, 0), ("red", 2000.0, 4))
    beside = _rows(("red", 500.0, 0), ("red", 0.0, 3), ("blue", 0.0, 0))

    from_synthetic = privacy._points(beside, train, small_schema, {"Colour": ["blue", "red"]})
    of_synthetic = privacy._points(synthetic, train, small_schema, {"Colour": ["blue", "red"]})

    distances = np.linalg.norm(from_synthetic - of_synthetic[0], axis=1)
    assert distances.tolist() == pytest.approx([0.5, 1.5, 2**0.5])


@pytest.mark.parametrize(
    ("train", "held_out"),
    [(("blue", 0.1, 2), ("red", 0.1, 2)), (("blue", 0.1, 2), ("mauve", 0.1, 2)), (("red", 0.1, 2), ("red", 0.2, 2))],
    ids=["a label", "a label that only held-out rows have", "a column that is constant in train"],
)
def test_one_row_of_each_is_enough(
    train: tuple[str, float, int], held_out: tuple[str, float, int], small_schema: TableSchema
) -> None:
    assert membership_auc(_rows(train), _rows(train), _rows(held_out), small_schema) == 1.0


def test_constant_decimals_do_not_drown_the_other_columns(small_schema: TableSchema) -> None:
    """The deviation of equal decimals is a rounding error; as a unit it would make all else count nothing."""
    train = _random(300, 1).assign(Size=0.1)
    held_out, synthetic = _random(300, 2).assign(Size=0.1), train.assign(Size=0.3)
    assert train["Size"].to_numpy().std() > 0

    points = privacy._points(synthetic, train, small_schema, {})

    assert points[:, 0] == pytest.approx(np.full(300, 0.2))
    assert membership_auc(train, train, held_out, small_schema) == membership_auc(
        synthetic, train, held_out, small_schema
    )


def test_everything_the_same_is_even_odds(small_schema: TableSchema) -> None:
    same = _rows(("red", 0.1, 2), ("red", 0.1, 2))

    assert membership_auc(same, same, same, small_schema) == 0.5


def test_an_attack_on_nothing_is_refused(small_schema: TableSchema) -> None:
    with pytest.raises(ForeseenError, match="found 0 held-out rows"):
        membership_auc(TRAIN, TRAIN, TRAIN.head(0), small_schema)


# The table and its limits


def test_rows_of_the_same_source_pass_and_copied_ones_are_named(small_schema: TableSchema) -> None:
    train, held_out, others = _random(600, 1), _random(300, 2), _random(600, 3)
    honest = privacy_table(others, train, held_out, small_schema)
    assert honest["metric"].tolist() == ["exact_copies", "partial_copies", "membership_auc"]
    assert leaks(honest) == []
    copied = pd.concat([train.head(60), others.tail(540)], ignore_index=True)
    found = privacy_table(copied, train, held_out, small_schema)
    assert found.set_index("metric").loc["exact_copies", "value"] == pytest.approx(0.1)
    assert leaks(found) == [
        f"exact_copies is 0.1000; real rows that were held out score 0.0000, and up to {found['limit'].iloc[0]:.4f} "
        "is allowed"
    ]


def test_the_train_rows_themselves_exceed_every_limit(small_schema: TableSchema) -> None:
    sets = [_random(count, seed) for count, seed in ((600, 1), (300, 2))]
    train, held_out = (rows.assign(Legs=np.random.default_rng(9).integers(0, 10**6, len(rows))) for rows in sets)
    held_out["Legs"] += 10**6  # by chance no two cells agree but labels
    assert len(leaks(privacy_table(train, train, held_out, small_schema))) == 3


def test_a_limit_is_the_floor_what_is_allowed_and_three_errors(small_schema: TableSchema) -> None:
    table = privacy_table(_random(400, 3), _random(400, 1), _random(100, 2), small_schema).set_index("metric")
    exact = 3 * np.sqrt(0.01 * 0.99 * (1 / 400 + 1 / 100))  # none of 100 held-out rows is a copy: up to one may be
    assert table.loc["exact_copies", "limit"] == pytest.approx(exact)
    area = 0.5 + 0.03 + 3 * np.sqrt(501 / (12 * 400 * 100))
    assert table.loc["membership_auc", "limit"] == pytest.approx(area)
    assert (table["floor"] <= table["limit"]).all()


def test_copies_are_counted_among_as_many_rows_as_there_are_train_rows(small_schema: TableSchema) -> None:
    train, held_out = _random(200, 1), _random(100, 2)
    long = pd.concat([_random(200, 3), train], ignore_index=True)
    table = privacy_table(long, train, held_out, small_schema).set_index("metric")
    assert table.loc["exact_copies", "value"] == 0.0
    assert table.loc["membership_auc", "value"] > 0.7  # the attack sees all rows
