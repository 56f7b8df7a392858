"""Mock rows by a pretrained base that has seen no row: it chooses values from the names and descriptions of columns."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from synth_assets.schema.columns import Column, Id, Text
from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers.base import Log, ModelError
from synth_assets.synthesizers.language_model.base_models import load_base
from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, RowEncoder, TokenTextEncoder
from synth_assets.synthesizers.language_model.settings import SCRATCH, LanguageModelSettings
from synth_assets.synthesizers.language_model.token_trie import TokenTrie

BATCH_ROWS = 100
"""Rows that are generated in parallel."""

CANDIDATES = 200
"""Values of a number or date among which the base chooses, drawn uniformly; of labels, it has all."""

TEXT_TOKENS = 12
"""Maximum number of tokens of a text, which ends before the first mark of punctuation."""

WORD, END_OF_TEXT = re.compile(r" ?[A-Za-z]+|[.,;]"), re.compile(r"[.,;].*")
"""Tokens that a text is written in, and what is cut off it."""


_NULLABLE = {"int64": "Int64", "bool": "boolean"}


class UntrainedModel:
    """A pretrained base that chooses among values that a schema allows.

    The prompt names the table and its columns, with their units, descriptions, limits and labels; a row is a sentence
    as in training ('Sex is M, Length is 0.4550, ...'). Tokens that lead to no candidate are masked.

    Parameters
    ----------
    schema : TableSchema
        The columns.
    base : str
        A folder, a GGUF file, or a name on the model hub.
    seed : int
        Seed of candidates and rows.
    name : str
        Name of the table; may be empty.

    Raises
    ------
    ModelError
        If the base cannot be loaded, is 'scratch', or has no room for the prompt and a row.
    """

    def __init__(self, schema: TableSchema, base: str, *, seed: int, name: str = "") -> None:
        from synth_assets.synthesizers.language_model.generation import Generator
        from synth_assets.synthesizers.language_model.row_model import best_device

        if base == SCRATCH:
            raise ModelError(
                "mock rows need a pretrained base, and 'scratch' has random weights; name another, or none."
            )
        self.schema, self.seed = schema, seed
        chosen = [column for column in schema.columns if not isinstance(column, Id | Text)]
        texts = [column for column in schema.columns if isinstance(column, Text)]
        if not chosen and not texts:
            raise ModelError("the schema has keys alone, among which a base chooses nothing; leave the base out.")
        model, tokenizer = load_base(
            LanguageModelSettings(base=base), pd.DataFrame(), None, seed=seed, base_models_dir=None
        )
        rng = np.random.default_rng(seed)
        self.candidates = {column.name: _candidates(column, rng) for column in chosen}
        encoder = RowEncoder(
            tuple(column.name for column in (*chosen, *texts)),
            tuple(_label_encoder(column, self.candidates[column.name]) for column in chosen),
            _text_encoders(texts, tokenizer),
        )
        trie = TokenTrie.build(encoder, tokenizer)
        opening = tokenizer(f"{_prompt(schema, name)}{encoder.all_columns[0].name} is")["input_ids"]
        trie = replace(trie, columns=[replace(trie.columns[0], prefix=opening), *trie.columns[1:]])
        context = getattr(model.config, "max_position_embeddings", None)  # some architectures have no limit
        if context is not None and trie.max_length > context:
            raise ModelError(
                f"the prompt and a row take up to {trie.max_length} tokens and the base has room for {context}; choose "
                "another base, shorten the descriptions of columns, or leave columns out."
            )
        self.encoder = encoder
        self.generator = Generator(model.to(best_device()).eval(), encoder, trie)

    def draw(self, batch: int, *, log: Log) -> pd.DataFrame:
        """Draw a batch of `BATCH_ROWS` rows in the schema's columns and dtypes, by its number."""
        from synth_assets.synthesizers.language_model.training import derive_seed, threads_for

        with threads_for(self.generator.model):
            quantised, _ = self.generator.generate(BATCH_ROWS, {}, seeds=[derive_seed(self.seed, batch)])
        written = self.encoder.to_frame(quantised)
        rng = np.random.default_rng((self.seed, batch))
        cells = {}
        for column in self.schema.columns:
            mock = column.mock(BATCH_ROWS, rng, offset=batch * BATCH_ROWS)
            if isinstance(column, Id):
                cells[column.name] = mock
            elif isinstance(column, Text):
                texts = written[column.name].str.replace(END_OF_TEXT, "", regex=True).str.strip()
                cells[column.name] = column.coerce(texts.where(texts != "", mock), origin="mock rows")
            else:
                chosen = self.candidates[column.name].reindex(written[column.name].tolist())
                cells[column.name] = column.coerce(chosen, origin="mock rows")
        log(f"{(batch + 1) * BATCH_ROWS:,} rows drawn from the base")
        return pd.DataFrame(cells)


def _candidates(column: Column, rng: np.random.Generator) -> pd.Series:
    """Return the values of a column among which a base chooses, by their texts, in a dtype that holds missing ones."""
    if column.role == "label":
        texts = pd.Series(column.labels, dtype="str")
        values = column.coerce(texts, origin="mock rows")
    else:
        values = column.model_copy(update={"nullable": False}).mock(CANDIDATES, rng).sort_values(ignore_index=True)
        texts = _texts(column, values)
    known = values.astype(_NULLABLE.get(values.dtype.name, values.dtype)).set_axis(texts.tolist())
    return known[~known.index.duplicated()]


def _texts(column: Column, values: pd.Series) -> pd.Series:
    """Return numbers and times as texts: floats with as many decimals as one of them needs."""
    if column.type in ("date", "datetime"):
        return values.dt.strftime("%Y-%m-%d" if column.type == "date" else "%Y-%m-%d %H:%M:%S")
    texts = values.map(
        lambda number: np.format_float_positional(number, trim="-") if column.type == "float" else str(number)
    )
    decimals = texts.str.partition(".")[2].str.len().max()
    return values.map(lambda number: f"{number:.{decimals}f}") if decimals else texts


def _label_encoder(column: Column, candidates: pd.Series) -> CategoricalEncoder:
    return CategoricalEncoder(column.name, tuple(sorted(candidates.index)), has_missing=column.nullable)


def _text_encoders(columns: Sequence[Text], tokenizer: Any) -> tuple[TokenTextEncoder, ...]:
    """Return encoders of texts of any of the base's words."""
    if not columns:
        return ()
    decoded = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    words = sorted({text.strip() for text in decoded if WORD.fullmatch(text)})
    encoders = []
    for column in columns:
        known = [*words, None] if column.nullable else words
        fitted = TokenTextEncoder.fit_tokens(
            pd.Series(known, name=column.name, dtype="str"), column.max_length, tokenizer
        )
        encoders.append(replace(fitted, length=min(column.max_length, TEXT_TOKENS)))
    return tuple(encoders)


def _prompt(schema: TableSchema, name: str) -> str:
    lines = [f"A table{f' of {name}' if name else ''} with the columns:"]
    for column in schema.columns:
        unit = f" ({column.unit})" if column.unit else ""
        facts = ". ".join(filter(None, [column.description.rstrip("."), ", ".join(column.range_text)]))
        lines.append(f"- {column.name}{unit}{f': {facts}' if facts else ''}")
    return "\n".join([*lines, "A row of it: "])
