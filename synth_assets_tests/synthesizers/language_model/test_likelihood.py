"""Tests of the log-likelihood of rows."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from synth_assets.schema.columns import Categorical, Float, Id, Text
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import create, load
from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.forest import Forest
from synth_assets.synthesizers.language_model.likelihood import log_likelihood
from synth_assets.synthesizers.language_model.loss import TokenBatch, negative_log_likelihood
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings, PretrainSettings

QUICK = LanguageModelSettings(epochs=1, pretrain=PretrainSettings(rows=0))


def test_the_likelihoods_of_all_rows_sum_to_one_and_to_the_training_loss(untrained: Callable[..., Any]) -> None:
    values = {"a": ["x", "yy", None], "b": ["p", "q"], "c": [1, 2, 3, 4]}
    every = pd.DataFrame(list(product(*values.values())), columns=list(values)).astype({"a": "str", "b": "str"})
    model = untrained(every)

    found = log_likelihood(model, every)

    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-5)
    assert np.exp(found).max() > 1.5 * np.exp(found).min()
    encoder = model.row_encoder
    batch = TokenBatch.build(model.trie, encoder.to_indices(encoder.quantise(every)))
    model.model.eval()
    with torch.no_grad():
        assert -found.sum() == pytest.approx(float(negative_log_likelihood(model.model, batch)), rel=1e-5)


def test_a_likelihood_needs_no_keys_and_counts_gaps_hidden_labels_and_text(tmp_path: Path) -> None:
    n = 60
    rng = np.random.default_rng(0)
    labels = ["often"] * (n - 3) + ["once", "twice", "twice"]
    rows = pd.DataFrame(
        {
            "key": range(n),
            "kind": labels,
            "size": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n)),
            "note": rng.choice(["ab", "ba", "b"], n),
        }
    )
    columns = (
        Id(name="key"),
        Categorical(name="kind", categories=("often", "once", "twice")),
        Float(name="size", nullable=True),
        Text(name="note"),
    )
    schema = TableSchema(columns=columns, min_label_rows=5, publish_text=True)
    rows = schema.coerce(rows, origin="a test")
    fitted = create(QUICK).fit(rows, schema, seed=0)
    fitted.save(tmp_path)

    found = fitted.log_likelihood(rows.drop(columns="key"))

    assert np.isfinite(found).all()
    assert load(tmp_path).log_likelihood(rows) == pytest.approx(found, abs=1e-3)
    changed = pd.concat([rows.head(1)] * 4, ignore_index=True)
    changed["size"] = [3.0, 900.0, np.nan, np.nan]
    changed.loc[3, "note"] = "z"
    assert np.isfinite(fitted.log_likelihood(changed)).tolist() == [True, False, True, False]
    hidden = pd.concat([rows.tail(1)] * 2, ignore_index=True).assign(kind=["once", "twice"])
    assert len(set(fitted.log_likelihood(hidden))) == 1


def test_a_synthesizer_without_a_likelihood_says_so(easy_rows: pd.DataFrame, easy_schema: TableSchema) -> None:
    with pytest.raises(ModelError, match="computes no likelihood of a row; use 'language_model'"):
        Forest().fit(easy_rows, easy_schema).log_likelihood(easy_rows)
