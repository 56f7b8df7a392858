"""A plain implementation of the GPT-2 of a 'scratch' base: the reference that the faster `kernels` are tested against.

Learned positions, layer norm before each sublayer, causal self-attention, an MLP of four times the width, and a head
that shares its weights with the token embedding (Radford et al., 2019, *Language models are unsupervised multitask
learners*). Shapes: B rows, T tokens of a row, C channels, nh heads of hs = C / nh channels.
"""

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a position sees itself and those before it."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within each row, (B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.n_head, -1).transpose(1, 2)  # (B, nh, T, hs)
            for part in self.c_attn(x).split(C, dim=2)
        )
        att = q @ k.transpose(2, 3) / math.sqrt(k.shape[-1])  # (B, nh, T, T)
        att = att.masked_fill(torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1), -math.inf)
        att = self.attn_dropout(att.softmax(dim=-1))
        y = (att @ v).transpose(1, 2).reshape(B, T, C)  # (B, T, C), heads side by side
        return self.resid_dropout(self.c_proj(y))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.act = {"relu": nn.ReLU(), "gelu_new": nn.GELU(approximate="tanh")}[config.activation_function]
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform each position, (B, T, C) -> (B, T, C)."""
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A transformer layer: attention and MLP, each added to the residual stream."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer, (B, T, C) -> (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """A GPT-2 with a language-model head.

    Parameters
    ----------
    config : transformers.GPT2Config
        Sizes, dropout rates and the activation.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    @classmethod
    def from_transformers(cls, model: GPT2LMHeadModel) -> "GPT":
        """Copy the weights of a transformers model."""
        gpt = cls(model.config)
        weights: Mapping[str, torch.Tensor] = model.transformer.state_dict()
        # transformers keeps linear layers as Conv1D, whose weights are transposed.
        is_linear = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
        gpt.load_state_dict({name: w.T if name.endswith(is_linear) else w for name, w in weights.items()})
        return gpt.train(model.training)

    def hidden_states(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the states that the head reads, (B, T, C), for token ids (B, T)."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.drop(self.wte(ids) + self.wpe(positions))  # (B, T, C)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)  # type: ignore[no-any-return]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits of each next token, (B, T, vocab_size)."""
        return F.linear(self.hidden_states(ids), self.wte.weight)
