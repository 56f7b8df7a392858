"""Log-likelihood of single rows under a language model of rows.

Importing this module imports torch: do so inside functions only.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch

from synth_assets.synthesizers.density_ratio import features_of
from synth_assets.synthesizers.language_model.backbone import hidden_states_at
from synth_assets.synthesizers.language_model.encoders import UNENCODABLE
from synth_assets.synthesizers.language_model.loss import TokenBatch
from synth_assets.synthesizers.language_model.row_model import RowModel
from synth_assets.synthesizers.language_model.training import threads_for

MAX_STATES = 4_000_000
"""Numbers in the hidden states of the rows that go through the model at once: 16 MB."""


@torch.inference_mode()
def log_likelihood(row_model: RowModel, rows: pd.DataFrame) -> np.ndarray:
    """Compute the log-likelihood of rows, as the training loss does: over the tokens of each slot, without bounds.

    Of several models, the probability is the mean. Where generated rows are kept by their density ratio, it is that of
    the rows that are kept.

    Parameters
    ----------
    row_model : RowModel
        A fitted model.
    rows : pandas.DataFrame
        n rows with the columns that the model learned; cells may be missing.

    Returns
    -------
    numpy.ndarray
        (n) nats; minus infinity for a row that the model cannot generate, with a label or a character that no train row
        has, or a number beyond their bounds. Numbers are rounded as the model rounds them.
    """
    encoder = row_model.row_encoder
    found = np.full(len(rows), -np.inf)
    quantised = encoder.quantise(rows)
    indices = encoder.to_indices(quantised)
    encodable = np.flatnonzero((indices != UNENCODABLE).all(axis=1))
    # Sorted, since neighbouring rows with the same prefix share its computation.
    order = encodable[np.lexsort(indices[encodable].T[::-1])]
    device = next(row_model.model.parameters()).device
    batch = TokenBatch.build(row_model.trie, indices[order]).to(device)
    n_states = batch.ids.shape[1] * int(row_model.model.get_output_embeddings().weight.shape[1])
    parts = []
    with threads_for(row_model.model):
        for chunk in torch.arange(len(batch)).split(max(1, MAX_STATES // n_states)):  # type: ignore[no-untyped-call]
            selected = batch.select(chunk)
            of_models = torch.stack([_log_likelihood(model.eval(), selected) for model in row_model.models])
            parts.append((of_models.logsumexp(0) - math.log(len(of_models))).cpu().numpy())
    found[order] = np.concatenate(parts) if parts else 0.0
    if row_model.rejection is not None and len(order):
        kept = row_model.rejection.log_probability(features_of(encoder, quantised[order]))
        found[order] += kept - math.log(row_model.rejection.kept_share)
    return found


def _log_likelihood(model: Any, batch: TokenBatch) -> torch.Tensor:
    """Return the log-likelihood of each row, (n), summed in double precision over the tokens that are not fixed."""
    total = torch.zeros(len(batch), dtype=torch.float64, device=batch.ids.device)
    slots = batch.slots[:, 1:]
    positions = (slots >= 0).any(0).nonzero()[:, 0]  # whose next token is not fixed in some row
    if not len(positions):
        return total
    hidden = hidden_states_at(model, batch.ids[:, : int(positions.max()) + 1], positions)  # (n, K, C)
    slots, targets = slots[:, positions], batch.targets[:, 1:][:, positions]
    head = model.get_output_embeddings()
    bias = getattr(head, "bias", None)
    for slot in torch.unique(slots[slots >= 0]).tolist():
        row, position = (slots == slot).nonzero(as_tuple=True)
        tokens = batch.candidates[slot]
        logits = hidden[row, position] @ head.weight[tokens].T
        logits = (logits if bias is None else logits + bias[tokens]).double()
        log_probabilities = logits.log_softmax(1).gather(1, targets[row, position][:, None])[:, 0]
        total.index_add_(0, row, log_probabilities)
    return total
