"""Tests of privacy: planted copies are counted, and an attack succeeds where it must and fails where it must."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synth_assets.evaluation.privacy import (
    LEAK,
    LEAKS,
    agreeing_cells,
    attacks_on,
    closest_distances,
    exact_copies,
    leak_evidence,
    leaked_rows,
    membership_auc,
    partial_copies,
    privacy_table,
)
from synth_assets.evaluation.rows import as_points, judged_rows

from synth_assets.errors import ForeseenError
from synth_assets.evaluation import privacy
from synth_assets.evaluation.gates import PRIVACY, judge
from synth_assets.evaluation.metrics import EVIDENCE_COLUMNS
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.columns import Categorical, Float, Integer
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import rows_of
from synth_assets.schema.table import TableSchema

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
    schema = TableSchema(columns=(Float(name="Tiny"), Float(name="Huge"), Integer(name="Id")), target="Id")
    train = pd.DataFrame({"Tiny": [3e-12, -4e-12], "Huge": [5e15, 0.0], "Id": [2**52, 7]})
    near = pd.DataFrame({"Tiny": [3.000000000001e-12], "Huge": [5e15 + 2], "Id": [2**52]})
    far = pd.DataFrame({"Tiny": [3.1e-12], "Huge": [5.1e15], "Id": [2**52 + 1]})

    assert agreeing_cells(near, train, schema).tolist() == [3]
    assert agreeing_cells(far, train, schema).tolist() == [0]  # whole numbers are not rounded


def test_columns_of_zeros_and_indices_of_any_kind_are_compared() -> None:
    schema = TableSchema(columns=(Float(name="Size"),), target="Size")
    rows = pd.DataFrame({"Size": [0.0, -0.0, 1.0]}, index=[9, 9, 9])

    assert exact_copies(rows, pd.DataFrame({"Size": [0.0, 0.0]}), schema) == pytest.approx(2 / 3)


def test_a_short_sample_is_measured_by_as_few_real_rows(small_schema: TableSchema) -> None:
    def real(count: int, seed: int) -> pd.DataFrame:  # few different rows, so that many are copies by chance
        return _random(count, seed).round(0)

    def width(sample: int) -> float:
        found = privacy_table(real(sample, 3), real(400, 1), real(400, 2), small_schema).set_index("metric")
        return float(found.loc["exact_copies", "floor_high"] - found.loc["exact_copies", "floor_low"])

    assert width(20) > 2 * width(400)


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
    split = settings.table_split().apply(encoding.encode(schema.coerce(pd.read_csv(real_csv), origin="abalone")))
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

    from_synthetic = as_points(beside, train, small_schema)
    of_synthetic = as_points(synthetic, train, small_schema)

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

    points = as_points(synthetic, train, small_schema)

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


# The attacks


@pytest.fixture(scope="module")
def many_columns() -> TableSchema:
    """Give a table of numbers that all go together: rows are told apart, and lie close to a line."""
    return TableSchema(
        columns=(*(Float(name=name) for name in "abcd"), Categorical(name="k", categories=("p", "q"))), target="a"
    )


def _line(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    at = rng.normal(0, 1, count)
    numbers = {
        name: (5 + scale * at + rng.normal(0, 0.1, count)).round(3)
        for name, scale in zip("abcd", (1, 2, 3, 1), strict=True)
    }
    return pd.DataFrame({**numbers, "k": pd.Series(np.where(at > 0, "p", "q"), dtype="str")})


TRAIN_LINE, HELD_OUT_LINE, FRESH_LINE = _line(600, 1), _line(300, 2), _line(600, 3)


def _copied(count: int) -> pd.DataFrame:
    return pd.concat([TRAIN_LINE.head(count), FRESH_LINE.tail(600 - count)], ignore_index=True)


def _table(synthetic: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    return privacy_table(synthetic, TRAIN_LINE, HELD_OUT_LINE, schema).set_index("metric")


def test_fresh_rows_lie_within_every_floor(many_columns: TableSchema) -> None:
    found = _table(FRESH_LINE, many_columns)

    assert ["metric", *found] == list(EVIDENCE_COLUMNS)
    assert list(found.index) == [
        *("exact_copies", "partial_copies", "dcr_share", "membership_auc", "domias_auc", "levenshtein_auc"),
        "leaked_rows",
    ]
    attacks = found.loc["membership_auc":"levenshtein_auc"]
    assert judge(PRIVACY, found.reset_index()).passed
    assert ((attacks["value"] > attacks["floor_low"]) & (attacks["value"] < attacks["floor_high"])).all()
    assert ((attacks["value_low"] < attacks["value"]) & (attacks["value"] < attacks["value_high"])).all()
    assert (attacks["floor"] == 0.5).all()


def test_a_tenth_of_copied_rows_is_seen_by_every_attack(many_columns: TableSchema) -> None:
    found = _table(_copied(60), many_columns)

    assert found.loc["exact_copies", "value"] == pytest.approx(0.1)
    assert (found["value"] > found["floor"]).all()
    attacks = ["membership_auc", "domias_auc", "levenshtein_auc"]
    # The tenth of the train rows that lies at no distance wins every pair; the rest is chance: 0.1 + 0.9 / 2.
    assert found.loc[["membership_auc", "levenshtein_auc"], "value"].tolist() == pytest.approx([0.55] * 2, abs=0.04)
    assert not judge(PRIVACY, found.reset_index()).passed
    all_of_them = _table(TRAIN_LINE, many_columns)
    assert (all_of_them.loc[attacks, "value"] > all_of_them.loc[attacks, "floor_high"] + 0.1).all()
    assert all_of_them.loc["dcr_share", "value"] > 0.6


def test_one_copied_row_in_a_hundred_is_an_exact_copy_too_many(many_columns: TableSchema) -> None:
    verdict = judge(PRIVACY, _table(_copied(6), many_columns).reset_index())

    assert verdict.findings.set_index("metric")["passed"].to_dict()["exact_copies"] is False
    assert "Exact copies is 0.0100" in verdict.said


def test_copied_rows_are_named_and_others_are_not(many_columns: TableSchema) -> None:
    sample = _copied(12)
    attacks = attacks_on(sample, TRAIN_LINE, HELD_OUT_LINE, many_columns)
    leaks = leaked_rows(attacks, sample, TRAIN_LINE, many_columns)
    share = (
        privacy_table(sample, TRAIN_LINE, HELD_OUT_LINE, many_columns, attacks=attacks).set_index("metric").loc[LEAKS]
    )
    named = leak_evidence(leaks, np.arange(1000, 1600), many_columns)

    assert sorted(leaks["row"].head(12)) == list(range(12))
    assert len(leaks) <= 14
    assert (leaks["agreeing_cells"].head(12) == 5).all()
    assert leaks["attacks"].str.contains("membership_auc, levenshtein_auc|levenshtein_auc").head(12).all()
    assert share["value"] == len(leaks) / len(TRAIN_LINE)
    assert share["value"] > share["floor_high"] + 0.01
    assert tuple(named) == EVIDENCE_COLUMNS
    assert sorted(named["column_name"].head(12)) == [f"row_id {1000 + row}" for row in range(12)]
    assert (named["metric"] == LEAK).all()
    assert (named["value"].head(12) == 1.0).all()


def test_no_row_of_a_fresh_sample_is_named(many_columns: TableSchema) -> None:
    leaks = leaked_rows(
        attacks_on(FRESH_LINE, TRAIN_LINE, HELD_OUT_LINE, many_columns), FRESH_LINE, TRAIN_LINE, many_columns
    )

    assert len(leaks) <= 3
    assert list(leaks) == ["row", "attacks", "agreeing_cells"]
    none = leak_evidence(leaks.head(0), np.arange(600), many_columns)
    assert none.empty
    # Nothing changes the types of what it is put beside: the warehouse keeps one type a column.
    whole = privacy_table(FRESH_LINE, TRAIN_LINE, HELD_OUT_LINE, many_columns)
    assert pd.concat([whole, none]).dtypes.tolist() == whole.dtypes.tolist() == none.dtypes.tolist()


@pytest.mark.parametrize(("of_train", "share"), [(10, 1.0), (5, 0.5), (0, 0.0)])
def test_rows_on_train_rows_are_closer_to_these(of_train: int, share: float) -> None:
    train, held_out = np.arange(10.0)[:, np.newaxis], np.arange(100.0, 110.0)[:, np.newaxis]
    rows = np.concatenate([train[:of_train], held_out[of_train:]])

    assert privacy._closer_share(rows, train, held_out, np.random.default_rng(0)) == share
    assert privacy._closer_share(rows, train, train, np.random.default_rng(0)) == 0.5


def test_a_sample_that_lies_around_the_train_rows_alone_gives_every_one_away(many_columns: TableSchema) -> None:
    """The density of synthetic rows tells where the train rows are, and that of held-out rows where they are not."""
    elsewhere = HELD_OUT_LINE.assign(**{name: HELD_OUT_LINE[name] + 100 for name in "abcd"})

    found = privacy_table(FRESH_LINE, TRAIN_LINE, elsewhere, many_columns).set_index("metric")["value"]

    assert found["membership_auc"] == found["domias_auc"] == 1.0
    assert found["dcr_share"] == 1.0


def test_copies_are_found_wherever_they_stand(small_schema: TableSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    train, rows = _random(200, 1), _random(1000, 2)
    rows.iloc[[0, 499, 500, 999]] = train.iloc[[7, 7, 9, 199]].to_numpy()
    rows.loc[400, "Size"] = train.loc[3, "Size"]  # every cell is one of a train row, and the row is none
    rows.loc[400, ["Colour", "Legs"]] = train.loc[train["Legs"] != train.loc[3, "Legs"], ["Colour", "Legs"]].iloc[0]

    for at_once in (1000, 500, 7):
        monkeypatch.setattr(privacy, "_ROWS", at_once)
        assert exact_copies(rows, train, small_schema) == 4 / 1000


def test_edit_distances_are_of_the_written_rows(small_schema: TableSchema) -> None:
    synthetic = _rows(("blue", 0.3, 2), ("red", 0.55, 4))
    asked = _rows(("red", 0.5, 4), ("blue", 0.3, 2), ("red", 1.55, 14))

    assert privacy._edit_distances(synthetic, asked, small_schema).tolist() == [1, 0, 2]
    # 0.1 + 0.2 is written as 0.3 is, and a whole number without a point.
    same = synthetic.assign(Size=[0.1 + 0.2, 0.55], Legs=[2.0, 4.0])
    assert (
        privacy._written(same, small_schema)
        == privacy._written(synthetic, small_schema)
        == ["blue 0.3 2", "red 0.55 4"]
    )


def test_a_density_is_that_of_gaussian_kernels() -> None:
    points = np.array([[0.0], [2.0]])
    width = 2 ** (-1 / 5)
    at = np.array([[0.0], [1.0]])
    expected = [np.log(1 + np.exp(-2 / width**2)), np.log(2 * np.exp(-0.5 / width**2))]

    assert privacy._log_density(points, at).tolist() == pytest.approx(expected)


def test_columns_that_repeat_each_other_do_not_break_the_densities(many_columns: TableSchema) -> None:
    sets = [rows.assign(b=rows["a"], c=2 * rows["a"], d=7.0) for rows in (FRESH_LINE, TRAIN_LINE, HELD_OUT_LINE)]

    assert privacy_table(*sets, many_columns).set_index("metric").loc["domias_auc", "value"] == pytest.approx(
        0.5, abs=0.06
    )


def test_a_sample_of_one_value_gives_nothing_away(many_columns: TableSchema) -> None:
    same = FRESH_LINE.assign(a=5.0, b=5.0, c=5.0, d=5.0, k="p")

    found = _table(same, many_columns)["value"]

    assert found.notna().all()
    assert found["exact_copies"] == 0


def test_distances_to_the_closest_row(small_schema: TableSchema) -> None:
    train = _rows(("red", 0.0, 0), ("red", 2000.0, 4))
    beside = _rows(("red", 500.0, 0), ("blue", 2000.0, 4))

    assert closest_distances(beside, train, train, small_schema).tolist() == pytest.approx([0.5, 2**0.5])


def test_exact_copies_count_in_the_whole_sample_and_the_rest_in_as_many_rows_as_train(
    many_columns: TableSchema,
) -> None:
    longer = pd.concat([FRESH_LINE, TRAIN_LINE], ignore_index=True)
    found, fresh = _table(longer, many_columns), _table(FRESH_LINE, many_columns)

    assert found.loc["exact_copies", "value"] == 0.5
    drawn = _table(judged_rows(longer, TRAIN_LINE), many_columns)
    pd.testing.assert_frame_equal(found.drop(index="exact_copies"), drawn.drop(index="exact_copies"))
    # A draw of both halves: some three hundred of the train rows are in it.
    assert found.loc["membership_auc", "value"] == pytest.approx(0.75, abs=0.05)
    assert fresh.loc["membership_auc", "value"] == pytest.approx(0.5, abs=0.05)


def test_twice_the_same_numbers(many_columns: TableSchema) -> None:
    pd.testing.assert_frame_equal(_table(FRESH_LINE, many_columns), _table(FRESH_LINE, many_columns), check_exact=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.drop(columns="a"), "the synthetic rows lack the column a"),
        (lambda t: t.assign(a=t["a"].astype("str")), "column 'a' of the synthetic rows has the type str"),
        (lambda t: t.head(0), "found 0 synthetic rows"),
        (lambda t: t.assign(a=np.nan), "column 'a' of the synthetic rows has 600 empty"),
    ],
)
def test_rows_that_cannot_be_attacked_are_refused(many_columns: TableSchema, spoil: object, words: str) -> None:
    with pytest.raises(ForeseenError, match=words):
        _table(spoil(FRESH_LINE), many_columns)  # type: ignore[operator]


def test_five_held_out_rows_are_enough(many_columns: TableSchema) -> None:
    found = privacy_table(FRESH_LINE, TRAIN_LINE, HELD_OUT_LINE.head(5), many_columns)

    assert found["value"].notna().all()
    found = found.set_index("metric").loc["membership_auc":"levenshtein_auc"]
    assert (found["floor_high"] - found["floor_low"]).min() > 0.3  # and say next to nothing
