"""Rows that a model writes: valid whatever its weights, as frequent as the model has it, the same for the same seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.language_model import decoding
from synth_assets.synthesizers.language_model.encoders import NumericEncoder


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return rows where c = a + b + small noise, on a grid of 5 thousandths, and labels."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-50, 900, (2, 300)) * 5
    return pd.DataFrame(
        {
            "c": (a + b + rng.integers(0, 12, 300) * 5) / 1e3,
            "kind": pd.Series(rng.choice(["x", "y", "z"], 300), dtype="str"),
            "a": a / 1e3,
            "b": b / 1e3,
            "count": rng.integers(2, 7, 300),
        }
    )


@pytest.fixture
def tiny() -> pd.DataFrame:
    """Return a table of two columns with three values each; their texts share digits."""
    return pd.DataFrame(
        {"k": pd.Series(["ab", "b", "cab"] * 3, dtype="str"), "n": [7, 10, 105, 10, 105, 7, 105, 7, 10]}
    )


def assert_valid(rows: pd.DataFrame, table: pd.DataFrame) -> None:
    assert list(rows.columns) == list(table.columns)
    assert rows.dtypes.to_dict() == table.dtypes.to_dict()
    assert not rows.isna().any().any()
    for name in ("a", "b", "c", "count"):
        assert rows[name].min() >= table[name].min()
        assert rows[name].max() <= table[name].max()
    for name in ("a", "b", "c"):
        units = rows[name] * 1e3
        assert np.allclose(units, np.rint(units))
        assert (np.rint(units) % 5 == 0).all()
    assert set(rows["kind"]) <= set(table["kind"])


@pytest.mark.parametrize("byte_level", [0, 300])
def test_whatever_the_weights_every_row_is_on_the_grid_and_within_limits(
    untrained: Callable[..., Any], table: pd.DataFrame, byte_level: int
) -> None:
    great = untrained(table, byte_level=byte_level)
    column = next(column for column in great.row_encoder.columns if column.name == "c")
    assert isinstance(column, NumericEncoder)
    assert column.predictor is not None
    for seed in range(4):
        rows = great.sample(173, k=100, seed=seed)
        assert len(rows) == 173
        assert_valid(rows, table)
        assert (great.row_encoder.codes(great.row_encoder.quantise(rows)) >= 0).all()


def test_a_residual_reaches_the_ends_of_its_column_and_not_beyond(
    untrained: Callable[..., Any], table: pd.DataFrame
) -> None:
    great = untrained(table, ["a", "b"])
    high, low = table["c"].max(), table["c"].min()
    for condition, end in (({"c": f">= {high - 1.5:.3f}"}, high), ({"c": f"<= {low + 1.5:.3f}"}, low)):
        rows = great.sample(100, k=400, seed=1, conditions=condition)
        assert (rows["c"] - end).abs().max() <= 1.5 + 1e-9
        assert_valid(rows, table)


@pytest.mark.parametrize("n", [1, 99, 100, 101, 250])
def test_there_are_exactly_as_many_rows_as_asked_for(
    untrained: Callable[..., Any], table: pd.DataFrame, n: int
) -> None:
    rows = untrained(table).sample(n, k=100, seed=1)
    assert rows.index.equals(pd.RangeIndex(n))


def test_rows_depend_on_seed_and_position_alone(untrained: Callable[..., Any], table: pd.DataFrame) -> None:
    great = untrained(table)
    longer = great.sample(250, k=100, seed=4)
    for n in (1, 40, 100, 130, 250):
        pd.testing.assert_frame_equal(great.sample(n, k=100, seed=4), longer.head(n))
    assert not great.sample(250, k=100, seed=5).equals(longer)
    for conditions in ({"kind": "== 'x'"}, {"count": ">= 4"}):
        longer = great.sample(250, k=100, seed=4, conditions=conditions)
        pd.testing.assert_frame_equal(great.sample(130, k=100, seed=4, conditions=conditions), longer.head(130))


def test_a_batch_depends_on_the_seed_and_its_number(untrained: Callable[..., Any], table: pd.DataFrame) -> None:
    great = untrained(table)
    chunks = list(great.sample_batches(300, batch_rows=100, seed=4))
    later = great.sample_batches(300, batch_rows=100, seed=4)
    next(later)
    great.sample(50, seed=9)  # what is drawn in between changes nothing
    np.random.default_rng().random()
    pd.testing.assert_frame_equal(next(later), chunks[1])
    assert not chunks[0].equals(chunks[1])
    assert not chunks[1].equals(next(great.sample_batches(100, batch_rows=100, seed=5)))


@pytest.mark.parametrize("byte_level", [0, 262, 275])
@pytest.mark.parametrize("order", [("k", "n"), ("n", "k")])
def test_frequencies_are_the_probabilities_of_the_tries(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    assert_shares: Callable[..., None],
    tiny: pd.DataFrame,
    byte_level: int,
    order: tuple[str, str],
) -> None:
    great = untrained(tiny, order, use_residuals=False, byte_level=byte_level)
    exact = exact_shares(great)
    assert exact["share"].sum() < 1 + 1e-9
    exact = exact[exact["n"].between(7, 105)]
    rows = great.sample(20_000, k=4000, seed=3)
    assert_shares(rows[rows["n"].isin(tiny["n"])], exact[exact["n"].isin(tiny["n"])], ["k", "n"])
    assert_shares(rows, exact, ["k"])


def test_ragged_values_are_padded_without_a_trace(untrained: Callable[..., Any], tiny: pd.DataFrame) -> None:
    import torch

    from synth_assets.synthesizers.language_model.backbone import decoder_for

    great = untrained(tiny, byte_level=262)
    ids = torch.tensor([[5, 9, 3, 7, 11, 2], [5, 9, 8, 8, 11, 2]])
    skips = torch.tensor([[False] * 6, [False, False, True, True, False, False]])
    with torch.no_grad():
        decoder = decoder_for(great.model, 2, ragged=True, max_length=6)
        for at in range(6):
            decoder.append(ids[:, at], skip=skips[:, at])
            if at in (1, 2, 3, 5):
                found = decoder.forward()
        plain = great.model.base_model(input_ids=ids[:1]).last_hidden_state[0, -1]
        short = great.model.base_model(input_ids=ids[1:, [0, 1, 4, 5]]).last_hidden_state[0, -1]
    assert torch.allclose(found[0], plain, atol=1e-4)
    assert torch.allclose(found[1], short, atol=1e-4)


def test_a_low_temperature_gives_the_likeliest_rows(
    untrained: Callable[..., Any], exact_shares: Callable[..., pd.DataFrame], tiny: pd.DataFrame
) -> None:
    great = untrained(tiny, ["k", "n"], use_residuals=False)
    shares = exact_shares(great).groupby("k")["share"].sum()
    rows = great.sample(500, temperature=0.05, seed=1)
    assert (rows["k"] == shares.idxmax()).mean() > 0.95
    hot = great.sample(6000, temperature=50.0, seed=1)["k"].value_counts(normalize=True)
    assert (hot - 1 / 3).abs().max() < 0.06


def test_the_frequencies_of_a_batch_are_those_of_the_model(
    untrained: Callable[..., Any],
    exact_shares: Callable[..., pd.DataFrame],
    tiny: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "has_bfloat16", lambda: False)  # which moves a share of 500 rows by a tenth of a row
    great = untrained(tiny, ["k", "n"], use_residuals=False)
    shares = exact_shares(great).groupby("k")["share"].sum()
    for seed in range(5):
        counts = great.sample(500, k=500, seed=seed)["k"].value_counts().reindex(shares.index, fill_value=0)
        assert (counts - 500 * shares).abs().max() <= 1  # independent rows would differ by 10 and more
