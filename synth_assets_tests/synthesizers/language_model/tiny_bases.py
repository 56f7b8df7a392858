"""Tiny causal language models with random weights, one for each architecture, and tokenizers of each kind."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
CORPUS = (
    "size is 1, kind is a, half is 0.5",
    "size is 23, kind is b, half is 1.5",
    "kind is red wine, label is <other>, x is 0.4567, note is please ring the bell",
)

ARCHITECTURES = {
    "gpt2": {"n_positions": 128, "n_layer": 2, "n_head": 2, "n_embd": 16, "attn_pdrop": 0.0},
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    # Shorter windows than the rows of the tests, in every other layer.
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8},
    "gemma3_text": {
        "num_key_value_heads": 1,
        "head_dim": 8,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}
"""Settings of a configuration, by its model type: grouped-query attention, rotary positions, sliding windows."""


def tiny_model(architecture: str, vocab_size: int, **changed: Any) -> Any:
    """Return a model of two layers with random weights, which biases and norms have too."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = ARCHITECTURES[architecture]
    if architecture != "gpt2":
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape = {**sizes, "max_position_embeddings": 128, **shape}
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = AutoConfig.for_model(architecture, vocab_size=vocab_size, **special, **{**shape, **changed})
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return model.eval()


def byte_level(corpus: Sequence[str] = CORPUS, *, single_digits: bool = False, size: int = 300) -> Any:
    """Return a tokenizer of byte-level BPE: GPT-2's, or with each digit a token, as SmolLM2's and Qwen's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if single_digits else []
    trained.pre_tokenizer = pre_tokenizers.Sequence([*digits, pieces])
    trained.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=trained, eos_token=END)


def byte_fallback(corpus: Sequence[str] = CORPUS) -> Any:
    """Return a tokenizer like Llama 2's and Gemma's: a beginning token, words with their space, bytes for the rest."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))  # noqa: S106
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # when trained: no token has two words
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False)
    trained.train_from_iterator(corpus, trainer)
    plain = Tokenizer(trained.model)
    plain.normalizer = trained.normalizer
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    plain.decoder = decoders.Sequence(steps)
    plain.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>")  # noqa: S106


def unigram(corpus: Sequence[str] = CORPUS) -> Any:
    """Return a tokenizer of a unigram model, as XGLM's: words with their space, an end token after a text, unknowns."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=["<unk>", "</s>"],
        unk_token="<unk>",  # noqa: S106
        initial_alphabet=list("0123456789"),
        show_progress=False,
    )
    trained.train_from_iterator(corpus, trainer)
    trained.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=trained, eos_token="</s>", unk_token="<unk>")  # noqa: S106


def lower_case(corpus: Sequence[str] = CORPUS) -> Any:
    """Return a tokenizer that writes no capital letters."""
    from tokenizers import normalizers

    tokenizer = byte_level(corpus)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def without_end(corpus: Sequence[str] = CORPUS) -> Any:
    """Return a tokenizer that has a padding token, and no end token."""
    tokenizer = byte_level(corpus)
    tokenizer.eos_token, tokenizer.pad_token = None, END
    return tokenizer


TOKENIZERS = {
    "byte-level": byte_level,
    "single digits": lambda corpus=CORPUS: byte_level(corpus, single_digits=True),
    "byte fallback": byte_fallback,
    "unigram": unigram,
    "no end token": without_end,
}


def save_base(folder: Path, architecture: str = "gpt2", tokenizer: Any = None, **changed: Any) -> Path:
    """Write a base to a folder."""
    tokenizer = tokenizer or byte_level()
    tiny_model(architecture, len(tokenizer), **changed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_gguf(path: Path, *, n_layers: int = 1) -> dict[str, Any]:
    """Write a tiny Llama of one layer as a GGUF file, and return its tensors; without layers, it is not complete."""
    import gguf
    import numpy as np

    tokenizer = byte_level()
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(24)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token == END else 1 for token in tokens])  # a control token, or a normal one
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(vocabulary[END])
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(vocabulary), 16), "output_norm": (16,)}
    if n_layers:
        shapes |= {
            "blk.0.attn_norm": (16,),
            "blk.0.ffn_norm": (16,),
            "blk.0.attn_q": (16, 16),
            "blk.0.attn_k": (8, 16),
            "blk.0.attn_v": (8, 16),
            "blk.0.attn_output": (16, 16),
            "blk.0.ffn_gate": (24, 16),
            "blk.0.ffn_up": (24, 16),
            "blk.0.ffn_down": (16, 24),
        }
    tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors
