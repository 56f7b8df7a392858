"""Training steps on a GPU as CUDA graphs: all kernels of a step are launched at once, instead of one by one.

The kernels of a small model are too short for Python to keep up with: without graphs, a GPU waits most of the time.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from synth_assets.synthesizers.language_model.backbone import backbone
from synth_assets.synthesizers.language_model.loss import TokenBatch

MAX_GRAPHS = 4
"""Graphs of a stage: rows are padded to the next of so many lengths."""

WARM_UP_STEPS = 2
"""Steps before a graph is captured, in which libraries allocate what they need."""


class GraphedLoss:
    """The loss of a batch and its gradients, from CUDA graphs.

    The function is `loss.negative_log_likelihood`, but every position is scored, over the candidates of all slots, of
    which all but the slot's own are masked: so that every batch takes the same operations.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model on a GPU, whose weights and gradients stay where they are in memory.
    gradients : torch.Tensor
        The gradients of all weights, as one vector.
    rows : TokenBatch
        Train rows.
    lengths : torch.Tensor
        (n) lengths that batches are padded to: each row's own length, or the longest one for all rows.
    batch_size : int
        Rows of a batch.
    share : torch.Tensor
        Rows of a batch that this process computes, by their index in it: consecutive ones.
    """

    def __init__(
        self,
        model: Any,
        gradients: torch.Tensor,
        rows: TokenBatch,
        lengths: torch.Tensor,
        *,
        batch_size: int,
        share: torch.Tensor,
    ) -> None:
        device = next(model.parameters()).device
        self.model, self.gradients, self.rows = model, gradients, rows.to(device)
        self.lengths = lengths - 1  # of the last token, no state is needed
        self.indices = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.share = slice(int(share[0]), int(share[-1]) + 1)
        self.candidates = torch.cat(self.rows.candidates)
        sizes = torch.tensor([len(tokens) for tokens in rows.candidates])
        slot_of_candidate = torch.arange(len(sizes)).repeat_interleave(sizes)
        is_other = slot_of_candidate != torch.arange(len(sizes))[:, None]  # (slots, V)
        self.is_other = torch.cat([is_other, torch.zeros_like(is_other[:1])]).to(device)  # the last row is for -1
        self.first = torch.cat([sizes.cumsum(0) - sizes, torch.zeros(1, dtype=torch.long)]).to(device)
        self.loss = torch.zeros((), device=device)
        longest, shortest = int(self.lengths.max()), int(self.lengths.min())
        step = max(1, -(-(longest - shortest) // MAX_GRAPHS))
        self.replays: dict[int, Callable[[], None]] = {}
        pool = torch.cuda.graph_pool_handle()  # in common, since one step follows another
        model.train()
        for length in sorted(range(longest, shortest - step, -step)[:MAX_GRAPHS]):
            self.replays[length] = captured(partial(self._run, length), pool)

    @staticmethod
    def scored_bytes(rows: TokenBatch, n_rows: int) -> int:
        """Return the bytes of the scores of some rows, and of their gradients."""
        return 4 * 4 * n_rows * rows.ids.shape[1] * sum(map(len, rows.candidates))

    def __call__(self, indices: torch.Tensor) -> torch.Tensor | None:
        """Compute the gradients of a batch, by its rows; return its loss, or None if it is a smaller batch."""
        if len(indices) != len(self.indices):
            return None
        length = int(self.lengths[indices].max())
        self.indices.copy_(indices.pin_memory(), non_blocking=True)
        next(replay for padded, replay in self.replays.items() if padded >= length)()
        return self.loss

    def _run(self, length: int) -> None:
        self.gradients.zero_()
        batch = self.rows.select(self.indices)
        n_predicted = (batch.slots >= 0).sum()
        ids, slots, targets = (part[self.share] for part in (batch.ids, batch.slots, batch.targets))
        slots, targets = slots[:, 1 : length + 1].flatten(), targets[:, 1 : length + 1].flatten()
        head = self.model.get_output_embeddings()
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            states = backbone(self.model)(input_ids=ids[:, :length], use_cache=False).last_hidden_state
        logits = states.float().flatten(0, 1) @ head.weight.index_select(0, self.candidates).float().T
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias.index_select(0, self.candidates)
        log_probabilities = logits.masked_fill(self.is_other[slots], -math.inf).log_softmax(1)
        chosen = log_probabilities.gather(1, (self.first[slots] + targets)[:, None])[:, 0]
        loss = -chosen.where(slots >= 0, 0.0).sum()
        (loss / n_predicted).backward()
        self.loss.copy_(loss.detach())


def captured(run: Callable[[], None], pool: Any) -> Callable[[], None]:
    """Return a function that launches the kernels of another one, which is called a few times."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_STEPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        run()
    replay: Callable[[], None] = graph.replay
    return replay
