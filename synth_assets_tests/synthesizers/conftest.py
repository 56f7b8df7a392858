"""A table that a tiny model learns in seconds."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    def make(
        table: pd.DataFrame,
        order: Sequence[str] = (),
        *,
        use_residuals: bool = True,
        byte_level: int = 0,
        texts: Mapping[str, int] | None = None,
    ) -> Any:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel

        from synth_assets.synthesizers.language_model.base_models import in_transformers, sentences
        from synth_assets.synthesizers.language_model.encoders import RowEncoder
        from synth_assets.synthesizers.language_model.row_model import RowModel
        from synth_assets.synthesizers.language_model.scratch_model import make_scratch
        from synth_assets.synthesizers.language_model.settings import ScratchSettings
        from synth_assets.synthesizers.language_model.tokenizer import END_OF_TEXT

        class Model(RowModel):
            def sample(self, n: int, *, k: int = 1000, **arguments: Any) -> pd.DataFrame:
                return pd.concat(self.sample_batches(n, batch_rows=k, **arguments), ignore_index=True)

        row_encoder = RowEncoder.fit(table, order, use_residuals=use_residuals, texts=texts)
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
            base = make_scratch(shape, rows, list(table.columns), seed=3, row_encoder=row_encoder)
            model, tokenizer = in_transformers(*base)
        model.eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight *= 20
        return Model(model, tokenizer, row_encoder)

    return make


def index_sequences(parts: Sequence[Any], so_far: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the parts of every value, in the order of the indices."""
    if len(so_far) == len(parts):
        yield so_far
        return
    part = parts[len(so_far)]
    for index in range(len(part)):
        if index < part.n_ending:
            yield (*so_far, index, *[-1] * (len(parts) - len(so_far) - 1))
        else:
            yield from index_sequences(parts, (*so_far, index))


def is_valid(row_encoder: Any, i: int, cells: Sequence[int], value: np.ndarray) -> bool:
    """Return whether a row that begins with these cells may have this value in column i."""
    from synth_assets.synthesizers.language_model.encoders import MISSING, TextEncoder

    column, value_or_first = row_encoder.all_columns[i], int(value[0])
    if value_or_first == MISSING and not column.has_missing:
        return False
    if isinstance(column, TextEncoder):
        return True
    together = [(cells[each.before], each) for each in row_encoder.forbidden if each.column == i]
    if any((before, value_or_first) in each.pairs for before, each in together):
        return False
    if getattr(column, "listed", ()) and value_or_first not in (MISSING, *column.listed):
        return False
    return value_or_first == MISSING or column.low <= value_or_first <= column.high


@pytest.fixture
def exact_shares() -> Callable[..., pd.DataFrame]:
    """Compute the probability of every valid row of a small table, without cache or padding.

    At each token the model chooses among those with which a valid value goes on.
    """

    def compute(great: Any) -> pd.DataFrame:
        import torch

        from synth_assets.synthesizers.language_model.encoders import MISSING, UNENCODABLE
        from synth_assets.synthesizers.language_model.token_trie import PAD

        row_encoder, trie = great.row_encoder, great.trie
        assert not row_encoder.not_before
        rows: list[tuple[list[int], list[int], list[tuple[int, list[int], int]]]] = [([], [], [])]
        for i, (column, tokens) in enumerate(zip(row_encoder.all_columns, trie.columns, strict=True)):
            indices = np.array(list(index_sequences(column.parts)))
            written = [
                [t for part, index in zip(tokens.parts, value, strict=True) for t in part.values[index].tolist()]
                for value in indices
            ]
            longer = []
            for cells, ids, choices in rows:
                quantised = np.full((len(indices), row_encoder.n_cells), MISSING)
                quantised[:, : len(cells)] = cells
                values = column.from_indices(quantised, indices)
                found = values.reshape(len(indices), -1)
                # The last digits of the largest residual may be followed by larger ones, which are not encoded.
                encodable = (column.to_indices(quantised, values) != UNENCODABLE).all(axis=1)
                valid = [j for j in np.flatnonzero(encodable) if is_valid(row_encoder, i, cells, found[j])]
                options: dict[tuple[int, ...], set[int]] = {}
                for value in (written[j] for j in valid):
                    for depth, token in enumerate(value):
                        options.setdefault(tuple(value[:depth]), set()).add(token)
                for j in valid:
                    new_ids, new_choices = [*ids, *tokens.prefix], list(choices)
                    for depth, token in enumerate(written[j]):
                        if token != PAD:
                            among = sorted(options[tuple(written[j][:depth])])
                            new_choices.append((len(new_ids) - 1, among, among.index(token)))
                        if token != PAD or trie.fills:
                            new_ids.append(trie.end if token == PAD else token)
                    longer.append(([*cells, *found[j].tolist()], new_ids, new_choices))
            rows = longer
        # In double precision: the same beginning of two rows gives the same digits, and the shares add up.
        model = copy.deepcopy(great.model).double()
        shares = np.ones(len(rows))
        lengths = np.array([len(ids) for _, ids, _ in rows])
        for length in np.unique(lengths):
            for of_length in np.array_split(np.flatnonzero(lengths == length), -(-len(lengths) // 500)):
                if len(of_length):
                    with torch.no_grad():
                        logits = model(input_ids=torch.tensor([rows[r][1] for r in of_length])).logits
                    for r, scores in zip(of_length, logits, strict=True):
                        for at, among, chosen in rows[r][2]:
                            shares[r] *= float(scores[at, among].softmax(0)[chosen])
        assert shares.sum() == pytest.approx(1.0)
        return row_encoder.to_frame(np.array([cells for cells, _, _ in rows])).assign(share=shares)

    return compute


@pytest.fixture
def assert_shares() -> Callable[..., None]:
    """Assert that rows are as frequent as they should be, to 4.5 standard errors."""

    def compare(rows: pd.DataFrame, exact: pd.DataFrame, by: list[str]) -> None:
        expected = exact.groupby(by, dropna=False)["share"].sum() / exact["share"].sum()
        assert expected.max() > 1.5 * expected.min()  # the model has preferences, or nothing is tested
        found = rows.groupby(by, dropna=False).size().reindex(expected.index, fill_value=0) / len(rows)
        assert found.sum() == pytest.approx(1.0)
        off = (found - expected).abs() / np.sqrt(expected * (1 - expected) / len(rows)).clip(lower=1 / len(rows))
        assert off.max() < 4.5, pd.DataFrame({"found": found, "expected": expected, "off": off})

    return compare
