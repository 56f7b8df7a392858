"""A stored 'scratch' model for generation on a CPU, without transformers, whose import takes longer than 10,000 rows.

The modules have the names and attributes of transformers' GPT-2 that `decoding` reads. Importing this module imports
torch: do so inside functions only.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from synth_assets.synthesizers.base import ModelError


def load_scratch(folder: Path) -> tuple["ScratchModel", "ScratchTokenizer"]:
    """Load the model and the tokenizer of a folder.

    Raises
    ------
    ModelError
        If a file is missing or damaged.
    """
    from tokenizers import Tokenizer

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = ScratchModel(config, load_file(folder / "model.safetensors"))
        tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        specials = [named[name] for name in ("eos_token", "unk_token")]
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} cannot be read ({error}); fit the model again.") from error
    return model, ScratchTokenizer(tokenizer, *specials)


class ScratchModel:
    """The weights of a GPT-2, under the attributes of transformers' `GPT2LMHeadModel`, without dropout.

    `config` is the content of config.json, `weights` of model.safetensors.
    """

    device = torch.device("cpu")
    training = False

    def __init__(self, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        self.config = SimpleNamespace(**config)
        self.weights = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
        n_embd, n_head = config["n_embd"], config["n_head"]
        no_dropout = torch.nn.Identity().eval()
        self.transformer = SimpleNamespace(
            config=self.config,
            embed_dim=n_embd,
            wte=self._embedding("wte"),
            wpe=self._embedding("wpe"),
            drop=no_dropout,
            ln_f=self._layer_norm("ln_f"),
            h=[
                SimpleNamespace(
                    ln_1=self._layer_norm(f"h.{i}.ln_1"),
                    ln_2=self._layer_norm(f"h.{i}.ln_2"),
                    attn=SimpleNamespace(
                        embed_dim=n_embd,
                        num_heads=n_head,
                        attn_dropout=no_dropout,
                        resid_dropout=no_dropout,
                        scaling=(n_embd // n_head) ** -0.5,
                        c_attn=self._linear(f"h.{i}.attn.c_attn"),
                        c_proj=self._linear(f"h.{i}.attn.c_proj"),
                    ),
                    mlp=SimpleNamespace(
                        c_fc=self._linear(f"h.{i}.mlp.c_fc"),
                        c_proj=self._linear(f"h.{i}.mlp.c_proj"),
                        act=torch.nn.ReLU(),
                        dropout=no_dropout,
                    ),
                )
                for i in range(config["n_layer"])
            ],
        )

    def parameters(self) -> Iterator[torch.Tensor]:
        """Iterate over the weights."""
        return iter(self.weights.values())

    def get_output_embeddings(self) -> Any:
        """Return the head, which shares its weights with the token embedding."""
        return self.transformer.wte

    def num_parameters(self) -> int:
        """Return the number of weights."""
        return sum(weight.numel() for weight in self.parameters())

    def to(self, device: torch.device) -> "ScratchModel":
        """Return the model itself, which is on the CPU."""
        if device.type != "cpu":
            raise ValueError(f"found {device}; expected the CPU")
        return self

    def eval(self) -> "ScratchModel":
        """Return the model itself, which has no dropout."""
        return self

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that it was loaded from."""
        from safetensors.torch import save_file

        (folder / "config.json").write_text(json.dumps(vars(self.config)), encoding="utf-8")
        save_file(
            {f"transformer.{n}": w for n, w in self.weights.items()}, folder / "model.safetensors", {"format": "pt"}
        )

    def _linear(self, name: str) -> Any:
        return SimpleNamespace(weight=self.weights[f"{name}.weight"], bias=self.weights[f"{name}.bias"])

    def _embedding(self, name: str) -> Any:
        return torch.nn.Embedding.from_pretrained(self.weights[f"{name}.weight"])  # type: ignore[no-untyped-call]

    def _layer_norm(self, name: str) -> torch.nn.LayerNorm:
        weight = self.weights[f"{name}.weight"]
        norm = torch.nn.LayerNorm(len(weight), eps=self.config.layer_norm_epsilon)
        norm.load_state_dict({"weight": weight, "bias": self.weights[f"{name}.bias"]})
        return norm.requires_grad_(False)


class ScratchTokenizer:
    """A tokenizer, with the part of transformers' interface that `TokenTrie` needs."""

    def __init__(self, tokenizer: Any, eos_token: str, unk_token: str) -> None:
        self.tokenizer, self.eos_token, self.unk_token = tokenizer, eos_token, unk_token
        self.eos_token_id: int = tokenizer.token_to_id(eos_token)
        self.all_special_ids: list[int] = [self.eos_token_id, tokenizer.token_to_id(unk_token)]

    def __call__(self, text: str | Sequence[str]) -> dict[str, Any]:
        """Return the token ids of a text, or of each of several, under 'input_ids'."""
        if isinstance(text, str):
            return {"input_ids": self.tokenizer.encode(text).ids}
        return {"input_ids": [encoded.ids for encoded in self.tokenizer.encode_batch(list(text))]}

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that it was loaded from, for transformers too."""
        from transformers import PreTrainedTokenizerFast

        PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, eos_token=self.eos_token, unk_token=self.unk_token
        ).save_pretrained(folder)
