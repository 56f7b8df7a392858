"""Tests of the committed placeholder: drawn from the published figures, true to them, and no copy of a real row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.sources.draw_placeholder import GRID_STEPS, SEED, draw_placeholder

RANK_TOLERANCE = 0.03
"""How far the share of rows below a published quantile may be from the quantile's level. A drawn share's standard
deviation is at most 0.014 here, the committed table's largest distance is 0.019, and rows of another sex are off by
0.117 at least, in whatever column."""

SPEARMAN_TOLERANCE = 0.03
"""How far a correlation may be from the published one. The committed table's largest distance is 0.020; columns that
are drawn independently of each other are off by 0.99, rows of another sex by 0.38."""


@pytest.fixture(scope="module")
def summary(placeholder_csv: Path) -> dict[str, Any]:
    return json.loads((placeholder_csv.parent / "abalone_summary.json").read_text())


@pytest.fixture(scope="module")
def drawn(placeholder_csv: Path) -> pd.DataFrame:
    return pd.read_csv(placeholder_csv)


def test_the_committed_table_is_what_the_committed_figures_give(placeholder_csv: Path, summary: dict[str, Any]) -> None:
    assert placeholder_csv.read_text() == draw_placeholder(summary, seed=SEED).to_csv(index=False, lineterminator="\n")


def test_another_seed_draws_other_rows(summary: dict[str, Any], drawn: pd.DataFrame) -> None:
    other = draw_placeholder(summary, seed=SEED + 1)

    assert other.shape == drawn.shape
    assert _shared(other, drawn) < 10


def test_there_are_as_many_rows_of_each_sex_as_published(summary: dict[str, Any], drawn: pd.DataFrame) -> None:
    counts = {sex: figures["rows"] for sex, figures in summary["by_sex"].items()}

    assert drawn["Sex"].value_counts().to_dict() == counts == {"M": 1528, "I": 1342, "F": 1307}
    assert len(drawn) == summary["rows"] == 4177
    assert (drawn["Sex"].head(300).value_counts() > 60).all()  # no block of one sex: rows are shuffled


def test_it_has_the_columns_of_the_schema_in_range(drawn: pd.DataFrame, abalone: SyntheticTableSettings) -> None:
    schema = abalone.table_schema()

    assert_frame_equal(schema.coerce(drawn, origin="the placeholder"), drawn, check_exact=True)
    assert {c.name: c.count_out_of_range(drawn[c.name]) for c in schema.columns} == dict.fromkeys(schema.names, 0)
    assert not drawn.isna().any(axis=None)
    assert not drawn.duplicated().any()


@pytest.mark.parametrize(("column", "step"), GRID_STEPS.items())
def test_every_value_lies_on_its_grid_and_within_the_published_limits(
    drawn: pd.DataFrame, summary: dict[str, Any], column: str, step: float
) -> None:
    steps = drawn[column] / step
    assert np.abs(steps - steps.round()).max() < 1e-6

    for sex, figures in summary["by_sex"].items():
        values, published = drawn.loc[drawn["Sex"] == sex, column], figures["quantiles"][column]
        assert published[0] <= values.min() < values.max() <= published[-1]


def _rank_distances(frame: pd.DataFrame, summary: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Give, for each sex and column, the largest distance of a published quantile's level from what `frame` has."""
    distances = {}
    for sex, figures in summary["by_sex"].items():
        for column, quantiles in figures["quantiles"].items():
            values = frame.loc[frame["Sex"] == sex, column].to_numpy()
            # A published quantile may lie between two steps, and many values on one: its level is anywhere between
            # the shares that lie below and not above, half a step around it.
            half = GRID_STEPS[column] / 2 + 1e-9
            distances[sex, column] = max(
                max((values < quantile - half).mean() - level, level - (values <= quantile + half).mean())
                for level, quantile in zip(summary["quantile_levels"], quantiles, strict=True)
            )
    return distances


def _spearman_distance(frame: pd.DataFrame, summary: dict[str, Any]) -> float:
    return max(
        np.abs(
            frame.loc[frame["Sex"] == sex, summary["columns"]].corr(method="spearman").to_numpy()
            - np.array(figures["spearman"])
        ).max()
        for sex, figures in summary["by_sex"].items()
    )


def test_the_quantiles_within_each_sex_are_near_the_published(summary: dict[str, Any], drawn: pd.DataFrame) -> None:
    far = {key: d for key, d in _rank_distances(drawn, summary).items() if d > RANK_TOLERANCE}

    assert far == {}


def test_the_correlations_within_each_sex_are_near_the_published(summary: dict[str, Any], drawn: pd.DataFrame) -> None:
    assert _spearman_distance(drawn, summary) < SPEARMAN_TOLERANCE


def test_the_tolerances_would_tell_an_independent_draw(summary: dict[str, Any], drawn: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    without_sex = drawn.assign(Sex=rng.permutation(drawn["Sex"]))
    independent = drawn.copy()
    for sex in summary["by_sex"]:
        of_sex = drawn["Sex"] == sex
        for column in summary["columns"]:
            independent.loc[of_sex, column] = rng.permutation(drawn.loc[of_sex, column])

    assert min(_rank_distances(without_sex, summary).values()) > 3 * RANK_TOLERANCE
    assert _spearman_distance(without_sex, summary) > 10 * SPEARMAN_TOLERANCE
    assert _spearman_distance(independent, summary) > 30 * SPEARMAN_TOLERANCE
    assert max(_rank_distances(independent, summary).values()) < RANK_TOLERANCE  # each column by itself is as it was


def _shared(one: pd.DataFrame, other: pd.DataFrame) -> int:
    """Count the rows of `one` that are also rows of `other`, cell by cell to four decimals."""
    other_rows = set(other.round(4).itertuples(index=False, name=None))
    return sum(row in other_rows for row in one[list(other)].round(4).itertuples(index=False, name=None))


def test_no_row_is_a_real_row(
    drawn: pd.DataFrame, real_csv: Path, record_property: Callable[[str, object], None]
) -> None:
    real = pd.read_csv(real_csv)

    shared = _shared(drawn, real)

    record_property("placeholder rows that are real rows", shared)
    assert shared == 0
    assert _shared(pd.concat([drawn, real.head(3)]), real) == 3  # the count would see them


def test_the_published_figures_are_those_of_the_real_table(summary: dict[str, Any], real_csv: Path) -> None:
    real = pd.read_csv(real_csv)

    assert len(real) == summary["rows"]
    assert max(_rank_distances(real, summary).values()) < 0.001
    assert _spearman_distance(real, summary) < 0.001
