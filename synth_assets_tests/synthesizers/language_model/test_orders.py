"""Rows learned in several orders: each is learned, and what is given is given in the order that has it first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.synthesizers.language_model.base_models import resolve_base, row_encoder_of
from synth_assets.synthesizers.language_model.row_encoder import RowEncoder
from synth_assets.synthesizers.settings import ModelError, ModelSpec, ScratchBase, TrainingSpec

SPEC = ModelSpec(
    scratch=ScratchBase(n_layer=2, n_head=2, n_embd=32), orders=6, order=("n",), epochs=60, learning_rate=0.003, seed=4
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Give rows in which each column says much of the others: k is one of two labels, n and m its neighbours."""
    rng = np.random.default_rng(2)
    n = rng.integers(0, 6, 600)
    m = (n + rng.integers(0, 2, 600)) * 5
    return pd.DataFrame(
        {"m": m, "k": pd.Series(np.where(n + rng.integers(0, 2, 600) > 3, "p", "q"), dtype="str"), "n": n}
    )


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from synth_assets.synthesizers.language_model.engine import GReaT

    folder = tmp_path_factory.mktemp("orders")
    base, _ = resolve_base(SPEC, table, folder)
    great = GReaT(base, experiment_dir=str(folder / "experiment"), epochs=SPEC.epochs, batch_size=32)
    great.fit(
        table,
        row_encoder=row_encoder_of(SPEC, table),
        orders=SPEC.orders,
        training=TrainingSpec(teacher_rows=0, patience=30),
        learning_rate=SPEC.learning_rate,
        seed=SPEC.seed,
    )
    return great


def test_every_order_of_three_columns_is_learned(fitted: Any, table: pd.DataFrame) -> None:
    import torch

    from synth_assets.synthesizers.language_model.loss import TokenBatch, rows_loss
    from synth_assets.synthesizers.language_model.tokens import TokenTrie

    orders = [tuple(column.name for column in row_encoder.columns) for row_encoder in fitted.row_encoders]
    assert orders[0][0] == "n"
    assert len(set(orders)) == 6
    losses = []
    for row_encoder in fitted.row_encoders:
        written = TokenBatch.of(
            TokenTrie.of(row_encoder, fitted.tokenizer), row_encoder.codes(row_encoder.units(table))
        )
        with torch.no_grad():
            losses.append(float(rows_loss(fitted.model, written)) / len(table))
    entropy = np.log(6) + np.log(2) + np.log(2) / 6  # where n is 3, either label may stand
    assert max(losses) < entropy + 0.45
    assert min(losses) > 0.8 * entropy


def test_no_more_orders_are_made_than_there_are(table: pd.DataFrame, tmp_path: Path) -> None:
    from synth_assets.synthesizers.language_model.engine import _permutations

    row_encoder = RowEncoder.of(table, differences=False)
    found = _permutations(row_encoder, 99, seed=0)
    assert len({tuple(order) for order in found}) == 5
    assert found == _permutations(row_encoder, 99, seed=0)
    assert _permutations(row_encoder, 2, seed=0) == found[:2]
    assert _permutations(row_encoder, 0, seed=0) == []


@pytest.mark.parametrize(("name", "condition"), [("m", "== 10"), ("k", "== 'p'"), ("n", "<= 1")])
def test_a_condition_is_written_first(fitted: Any, monkeypatch: pytest.MonkeyPatch, name: str, condition: str) -> None:
    from synth_assets.synthesizers.language_model import generation as sampling

    firsts = []
    write = sampling.Generator.write

    def watched(self: Any, *arguments: Any, **named: Any) -> Any:
        firsts.append(self.row_encoder.columns[0].name)
        return write(self, *arguments, **named)

    monkeypatch.setattr(sampling.Generator, "write", watched)
    rows = fitted.sample(300, k=100, conditions={name: condition}, seed=1)

    assert firsts == [name] * 3  # and no row was rejected
    assert rows.eval(f"{name} {condition}").all()


def test_gaps_are_filled_in_the_order_that_knows_what_stands_before(fitted: Any, table: pd.DataFrame) -> None:
    gaps = pd.DataFrame(
        {"m": [10.0] * 300, "k": pd.Series([None] * 300, dtype="str"), "n": [np.nan] * 300}, index=range(5, 305)
    )
    gaps.loc[5:154, ["m", "n"]] = [np.nan, 4.0]  # half of them know m, half n
    filled = fitted.impute(gaps, seed=3)

    pd.testing.assert_series_equal(filled["m"].loc[155:], gaps["m"].loc[155:].astype("int64"))
    assert (filled["n"].loc[5:154] == 4).all()
    # As in the table: m is five times n, or five more.
    assert filled["n"].loc[155:].isin([1, 2]).mean() > 0.9
    assert filled["m"].loc[5:154].isin([20, 25]).mean() > 0.9


def test_differences_have_one_order(table: pd.DataFrame) -> None:
    plain = row_encoder_of(SPEC, table)
    assert all(getattr(column, "prediction", None) is None for column in plain.columns)
    with_differences = row_encoder_of(replace(SPEC, orders=1), table)
    assert any(getattr(column, "prediction", None) for column in with_differences.columns)
    with pytest.raises(ModelError, match="rows with differences have one order"):
        with_differences.reordered(["m", "n", "k"])


def test_a_loaded_model_knows_its_orders(fitted: Any, tmp_path: Path) -> None:
    fitted.save(str(tmp_path / "model"))
    loaded = type(fitted).load_from_dir(str(tmp_path / "model"))

    assert loaded.row_encoders == fitted.row_encoders
    conditions = {"k": "== 'q'"}
    pd.testing.assert_frame_equal(
        loaded.sample(50, conditions=conditions, seed=2), fitted.sample(50, conditions=conditions, seed=2)
    )
