"""A 'scratch' base on a CPU, without transformers, whose import takes two seconds and 50 MB.

The modules have the names and attributes of transformers' GPT-2 that `kernels` and `decoding` read, and compute nothing
themselves. Importing this module imports torch: do so inside functions only.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from synth_assets.synthesizers.base import ModelError
from synth_assets.synthesizers.language_model.base_models import ACTIVATION
from synth_assets.synthesizers.language_model.encoders import RowEncoder
from synth_assets.synthesizers.language_model.settings import ScratchSettings
from synth_assets.synthesizers.language_model.token_trie import TokenTrie
from synth_assets.synthesizers.language_model.tokenizer import ScratchTokenizer, scratch_tokenizer

INITIAL_STD = 0.02
"""Standard deviation of initial weights, as in GPT-2."""


def make_scratch(
    shape: ScratchSettings,
    rows: Sequence[str],
    names: Sequence[str],
    *,
    seed: int,
    row_encoder: RowEncoder | None = None,
) -> tuple["ScratchModel", ScratchTokenizer]:
    """Make a GPT-2 with random weights, and the tokenizer of `scratch_tokenizer`, for rows as sentences.

    The rows supply the characters, and the longest of them the number of positions; an encoder supplies both, and the
    tokens of its values.
    """
    tokenizer = scratch_tokenizer(rows, names, row_encoder)
    if row_encoder is None:
        longest = max(len(ids) for ids in tokenizer(rows)["input_ids"])
    else:
        longest = TokenTrie.build(row_encoder, tokenizer).max_length
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": len(tokenizer),
        "n_positions": -(-2 * longest // 64) * 64,  # room for be_great's prompts and for rows that it never ends
        "n_layer": shape.n_layer,
        "n_head": shape.n_head,
        "n_embd": shape.n_embd,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": shape.dropout,
        "activation_function": ACTIVATION,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": INITIAL_STD,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "dtype": "float32",
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ScratchModel(config)
        model.draw_weights()
    return model, tokenizer


def load_scratch(folder: Path) -> tuple["ScratchModel", ScratchTokenizer]:
    """Load the model and the tokenizer of a folder.

    Raises
    ------
    ModelError
        If a file is missing or damaged.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.random.fork_rng(devices=[]):  # on the meta device, torch would import for a second
            model = ScratchModel(config)
        model.load_state_dict(load_file(folder / "model.safetensors"))
        tokenizer = ScratchTokenizer.load(folder)
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} cannot be read ({error}); fit the model again.") from error
    return model.requires_grad_(False).eval(), tokenizer


class ScratchModel(nn.Module):
    """A GPT-2 whose weights have the names of transformers' `GPT2LMHeadModel`; `config` is as in its config.json."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)
        self.transformer = _Transformer(self.config)

    def draw_weights(self) -> None:
        """Draw initial weights (Radford et al., 2019, section 2.3).

        Each is drawn as often, and in the order, as by transformers, which so makes the same model from a seed.
        """
        scaled = INITIAL_STD / (2 * self.config.n_layer) ** 0.5
        for embedding in (self.transformer.wte, self.transformer.wpe):
            nn.init.normal_(embedding.weight, std=INITIAL_STD)
        for block in cast(Iterable[_Block], self.transformer.h):
            for inner, outer in ((block.attn.c_attn, block.attn.c_proj), (block.mlp.c_fc, block.mlp.c_proj)):
                for linear, std in ((inner, INITIAL_STD), (outer, INITIAL_STD), (outer, scaled)):
                    nn.init.normal_(linear.weight, std=std)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.transformer.wte.weight.device

    def get_output_embeddings(self) -> nn.Embedding:
        """Return the head, which shares its weights with the token embedding."""
        return self.transformer.wte

    def num_parameters(self) -> int:
        """Return the number of weights."""
        return sum(weight.numel() for weight in self.parameters())

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that transformers reads."""
        (folder / "config.json").write_text(json.dumps(vars(self.config), indent=2), encoding="utf-8")
        save_file(self.state_dict(), folder / "model.safetensors", {"format": "pt"})


class _Linear(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.normal_(self.weight, std=INITIAL_STD)


class _Attention(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = config.n_embd, config.n_head
        self.scaling = (config.n_embd // config.n_head) ** -0.5
        self.c_attn = _Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = _Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)


class _MLP(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.c_fc = _Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = _Linear(4 * config.n_embd, config.n_embd)
        self.act = nn.ReLU()
        self.dropout = nn.Dropout(config.resid_pdrop)


class _Block(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = _Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = _MLP(config)


class _Transformer(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config, self.embed_dim = config, config.n_embd
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(_Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
