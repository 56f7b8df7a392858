"""A table that a tiny model learns in seconds."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from synth_assets.schema.columns import Categorical, Float, Integer
from synth_assets.schema.table import TableSchema


@pytest.fixture(scope="session")
def easy_rows() -> pd.DataFrame:
    """Return 64 rows with few distinct values."""
    rng = np.random.default_rng(5)
    is_red = rng.integers(0, 2, 64)
    return pd.DataFrame(
        {
            "Colour": pd.Series(np.array(["blue", "red"])[is_red], dtype="str"),
            "Size": np.where(is_red == 1, 2.5, 1.5) + rng.choice([0.0, 0.25], 64),
            "Count": is_red * 3 + rng.integers(1, 3, 64),
        }
    )


@pytest.fixture(scope="session")
def easy_schema() -> TableSchema:
    """Return the schema of `easy_rows`."""
    columns = (Categorical(name="Colour", categories=("blue", "red")), Float(name="Size"), Integer(name="Count"))
    return TableSchema(columns=columns, target="Count")


@pytest.fixture
def untrained() -> Callable[..., Any]:
    """Make a row model that was never trained, with weights large enough that it prefers some rows."""

    def make(table: pd.DataFrame, order: Sequence[str] = (), *, use_residuals: bool = True, byte_level: int = 0) -> Any:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel

        from synth_assets.synthesizers.language_model.base_models import make_scratch_base, sentences
        from synth_assets.synthesizers.language_model.encoders import RowEncoder
        from synth_assets.synthesizers.language_model.row_model import RowModel
        from synth_assets.synthesizers.language_model.settings import ScratchSettings
        from synth_assets.synthesizers.language_model.tokenizer import END_OF_TEXT

        class Model(RowModel):
            def sample(self, n: int, *, k: int = 1000, **arguments: Any) -> pd.DataFrame:
                return pd.concat(self.sample_batches(n, batch_rows=k, **arguments), ignore_index=True)

        row_encoder = RowEncoder.fit(table, order, use_residuals=use_residuals)
        rows = sentences(row_encoder.to_text(table))
        if byte_level:
            from tokenizers import ByteLevelBPETokenizer
            from transformers import PreTrainedTokenizerFast

            trained = ByteLevelBPETokenizer()
            trained.train_from_iterator(rows, byte_level, special_tokens=[END_OF_TEXT], show_progress=False)
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=END_OF_TEXT)
            torch.manual_seed(3)
            model = GPT2LMHeadModel(
                GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_layer=1, n_head=2, n_embd=16)
            )
        else:
            shape = ScratchSettings(n_layer=1, n_head=2, n_embd=16)
            model, tokenizer = make_scratch_base(shape, rows, list(table.columns), seed=3, row_encoder=row_encoder)
        model.eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight *= 20
        return Model(model, tokenizer, row_encoder)

    return make


@pytest.fixture
def exact_shares() -> Callable[..., pd.DataFrame]:
    """Compute the probability of every row of a small table, one row at a time, without cache or padding."""

    def compute(great: Any) -> pd.DataFrame:
        import torch

        from synth_assets.synthesizers.language_model.token_trie import PAD

        row_encoder = great.row_encoder
        assert all(getattr(column, "predictor", None) is None for column in row_encoder.columns)
        tokens = great.trie
        values = [[[t for t in v if t != PAD] for v in column.values.tolist()] for column in tokens.columns]
        # In double precision: the same beginning of two rows gives the same digits, and the shares add up.
        model = copy.deepcopy(great.model).double()
        units, shares = [], []
        for codes in itertools.product(*(range(len(column)) for column in values)):
            ids: list[int] = []
            choices = []
            for column, written, code in zip(tokens.columns, values, codes, strict=True):
                ids += column.prefix
                for depth, token in enumerate(written[code]):
                    so_far = written[code][:depth]
                    options = sorted({v[depth] for v in written if v[:depth] == so_far and len(v) > depth})
                    choices.append((len(ids) - 1, options, options.index(token)))
                    ids.append(token)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0]
            shares.append(math.prod(float(logits[at, among].softmax(0)[chosen]) for at, among, chosen in choices))
            offsets = [column.offsets(np.zeros((1, len(codes)), np.int64))[0] for column in row_encoder.columns]
            units.append(
                [c * column.grid_step + o for c, column, o in zip(codes, row_encoder.columns, offsets, strict=True)]
            )
        return row_encoder.to_frame(np.array(units)).assign(share=shares)

    return compute


@pytest.fixture
def assert_shares() -> Callable[..., None]:
    """Assert that rows are as frequent as they should be, to 4.5 standard errors."""

    def compare(rows: pd.DataFrame, exact: pd.DataFrame, by: list[str]) -> None:
        expected = exact.groupby(by)["share"].sum() / exact["share"].sum()
        assert expected.max() > 1.5 * expected.min()  # the model has preferences, or nothing is tested
        found = rows.groupby(by).size().reindex(expected.index, fill_value=0) / len(rows)
        assert found.sum() == pytest.approx(1.0)
        off = (found - expected).abs() / np.sqrt(expected * (1 - expected) / len(rows)).clip(lower=1 / len(rows))
        assert off.max() < 4.5, pd.DataFrame({"found": found, "expected": expected, "off": off})

    return compare
