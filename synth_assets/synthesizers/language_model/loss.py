"""How long rows are in a language model's eyes, in nats, and what it learns that from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synth_assets.synthesizers.language_model.fast_gpt2 import hidden_states_at, is_plain_gpt2
from synth_assets.synthesizers.language_model.tokens import TokenTrie


@dataclass(frozen=True)
class TokenBatch:
    """Rows in tokens, all in one order.

    Parameters
    ----------
    ids : torch.Tensor
        n by t token ids.
    levels, choices : torch.Tensor
        n by t: where the model has a choice, which of `options` a token was chosen from, and which of them it is; -1
        and 0 elsewhere.
    options : list of torch.Tensor
        Token ids.
    """

    ids: torch.Tensor
    levels: torch.Tensor
    choices: torch.Tensor
    options: list[torch.Tensor]

    @classmethod
    def of(cls, tokens: TokenTrie, codes: np.ndarray) -> "TokenBatch":
        """Write coded rows, n by m."""
        ids, levels, choices = map(torch.as_tensor, tokens.rows(codes))
        return cls(ids, levels, choices, [torch.as_tensor(options) for options in tokens.options])

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: torch.Tensor) -> "TokenBatch":
        """Give some of the rows."""
        rows = rows.to(self.ids.device)
        ids, levels, choices = (part.index_select(0, rows) for part in (self.ids, self.levels, self.choices))
        return TokenBatch(ids, levels, choices, self.options)

    def to(self, device: torch.device) -> "TokenBatch":
        """Give the rows on a device."""
        return TokenBatch(
            self.ids.to(device),
            self.levels.to(device),
            self.choices.to(device),
            [options.to(device) for options in self.options],
        )


def backbone(model: Any) -> Any:
    """Give what lies below a causal language model's head, low-rank adapters or not."""
    return (model.get_base_model() if hasattr(model, "peft_config") else model).base_model


def rows_loss(model: Any, written: TokenBatch) -> torch.Tensor:
    """Give how long rows are in the model's eyes, which sees only tokens that may come next, as in sampling.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model.
    written : TokenBatch
        The rows.

    Returns
    -------
    torch.Tensor
        A scalar: the sum over all rows and all choices, in nats.
    """
    levels = written.levels[:, 1:]
    places = (levels >= 0).any(0).nonzero()[:, 0]
    ids = written.ids[:, : int(places.max()) + 1]  # nothing is predicted from what comes later
    if is_plain_gpt2(model):
        hidden = hidden_states_at(model, ids, places)
    else:
        hidden = backbone(model)(input_ids=ids).last_hidden_state[:, places]
    levels = levels[:, places].flatten()
    among = levels.argsort(stable=True)
    counts = (levels + 1).bincount(minlength=len(written.options) + 1).tolist()
    told = among[counts[0] :]  # those before are no choice
    head, options = model.get_output_embeddings(), torch.cat(written.options)
    states, weights = hidden.flatten(0, 1).index_select(0, told), head.weight.index_select(0, options)
    if getattr(head, "bias", None) is not None:
        states = torch.cat([states, states.new_ones(len(states), 1)], 1)
        weights = torch.cat([weights, head.bias.index_select(0, options)[:, None]], 1)
    loss: torch.Tensor = _Choices.apply(  # type: ignore[no-untyped-call]
        states,
        weights,
        written.choices[:, 1:].index_select(1, places).flatten()[told],
        counts[1:],
        [len(options) for options in written.options],
    )
    return loss


class _Choices(torch.autograd.Function):
    """The cross-entropy of choices, each among options of its own, in single precision.

    Its slopes are found along with it, in a third of the operations that autograd takes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weights: torch.Tensor,
        choices: torch.Tensor,
        counts: list[int],
        options: list[int],
    ) -> torch.Tensor:
        """Give the sum over all states.

        Parameters
        ----------
        ctx : object
            Autograd's.
        states : torch.Tensor
            m by width, in parts of `counts`.
        weights : torch.Tensor
            By width; each part's `options`, one below the other.
        choices : torch.Tensor
            m: which of its part's options is chosen.
        counts, options : list of int
            The sizes of the parts.
        """
        ctx.dtypes = states.dtype, weights.dtype
        states, weights, choices = states.float(), weights.float(), choices[:, None]
        of_states, of_weights = torch.empty_like(states), torch.empty_like(weights)
        minus = -torch.ones_like(states[:, :1])
        losses = []
        for state, choice, once, of_state, weight, of_weight in zip(
            *(torch.split(each, counts) for each in (states, choices, minus, of_states)),
            *(torch.split(each, options) for each in (weights, of_weights)),
            strict=True,
        ):
            logs = torch.mm(state, weight.t()).float().log_softmax(1)
            losses.append(logs.gather(1, choice))
            if any(ctx.needs_input_grad):
                error = logs.exp_().scatter_add_(1, choice, once)
                torch.mm(error, weight, out=of_state)
                torch.mm(error.t(), state, out=of_weight)
        ctx.save_for_backward(of_states, of_weights)
        return -torch.cat(losses).sum()

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        found = ((slope * saved).to(dtype) for saved, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True))
        return *found, None, None, None
