"""The weights of a model as one vector, and the optimizers of its parts: AdamW, and Muon for the matrices of blocks."""

import math
from typing import Any

import torch

WEIGHT_DECAY = 0.01
"""With 0.1, boosted trees told rows of adult from real ones more easily (AUC 0.527 against 0.515 without, on a fold),
though their likelihood was as good."""

MOMENTUM = 0.95
"""Momentum of Muon."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration that moves all singular values of a matrix towards 1 (Jordan et al., 2024)."""

NEWTON_SCHULZ_STEPS = 5

UPDATE_RMS = 0.2
"""Root mean square of an update of Muon before the learning rate: about as large as in AdamW, so that both share it."""


class FlatWeights:
    """The trainable weights of a model, and their gradients, each as one vector of which the parameters are views.

    A step is then a few long operations instead of many short ones. The vector has three parts: `hidden`, the matrices
    of the blocks; `embeddings`, the other matrices; and `vectors`, which are biases and norms.
    """

    def __init__(self, model: Any) -> None:
        embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
        embeddings.add(id(model.get_output_embeddings().weight))

        def part(parameter: torch.Tensor) -> int:
            return 2 if parameter.ndim < 2 else int(id(parameter) in embeddings)

        self.parameters = sorted((p for p in model.parameters() if p.requires_grad), key=part)
        self.values = torch.cat([p.detach().flatten() for p in self.parameters])
        self.gradients = torch.zeros_like(self.values)
        sizes = [p.numel() for p in self.parameters]
        ends = [sum(p.numel() for p in self.parameters if part(p) <= each) for each in (0, 1)]
        self.hidden_shapes = [p.shape for p in self.parameters if part(p) == 0]
        for parameter, values, gradients in zip(
            self.parameters, torch.split(self.values, sizes), torch.split(self.gradients, sizes), strict=True
        ):
            parameter.data, parameter.grad = values.view_as(parameter), gradients.view_as(parameter)
        self.hidden, self.embeddings, self.vectors = map(torch.nn.Parameter, self.values.tensor_split(ends))
        self.hidden.grad, self.embeddings.grad, self.vectors.grad = self.gradients.tensor_split(ends)

    def optimizers(self, *, muon: bool) -> list[torch.optim.Optimizer]:
        """Return the optimizers of the three parts: AdamW, or AdamW with Muon for the matrices of the blocks."""
        decayed = [self.embeddings] if muon else [self.hidden, self.embeddings]
        adamw = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": [self.vectors], "weight_decay": 0.0}],
            betas=(0.9, 0.99),
            fused=True,
        )
        return [adamw, Muon(self.hidden, self.hidden_shapes)] if muon else [adamw]

    def release(self) -> None:
        """Return each parameter to a tensor of its own, as `save_pretrained` expects."""
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each matrix is orthogonalised, at the scale of AdamW's updates.

    Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024; the scale is from Liu et al., *Muon
    is Scalable for LLM Training*, 2025, section 2.2.

    `torch.optim.Muon` orthogonalises one matrix after another in bfloat16, which takes a CPU 3.4 times as long for the
    small matrices of a 'scratch' model; here, matrices of one shape are orthogonalised together, in single precision.

    Parameters
    ----------
    vector : torch.nn.Parameter
        The matrices, flattened one after another, with its gradient.
    shapes : list of torch.Size
        The shape of each matrix. One that is three times as wide as high is taken for three: q, k and v.
    """

    def __init__(self, vector: torch.nn.Parameter, shapes: list[torch.Size]) -> None:
        super().__init__([vector], {"lr": 0.0})
        self._update = torch.empty_like(vector)
        self._by_shape: dict[torch.Size, list[torch.Tensor]] = {}  # views of the update, none higher than wide
        sizes = [shape.numel() for shape in shapes]
        flat = torch.split(self._update.detach(), sizes)
        for part, (height, width) in zip(flat, shapes, strict=True):
            n_parts = 3 if width == 3 * height else 1
            for matrix in part.view(height, width).chunk(n_parts, dim=1):
                wide = matrix.T if height > matrix.shape[1] else matrix
                self._by_shape.setdefault(wide.shape, []).append(wide)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the vector from its gradient."""
        (vector,), learning_rate = self.param_groups[0]["params"], self.param_groups[0]["lr"]
        state = self.state[vector]
        if not state:
            state["momentum"] = torch.zeros_like(vector)
        state["momentum"].lerp_(vector.grad, 1 - MOMENTUM)
        torch.lerp(vector.grad, state["momentum"], MOMENTUM, out=self._update)
        for shape, matrices in self._by_shape.items():
            orthogonal = orthogonalise(torch.stack(matrices)) * (UPDATE_RMS * math.sqrt(max(shape)))
            torch._foreach_copy_(matrices, list(orthogonal))
        vector.mul_(1 - learning_rate * WEIGHT_DECAY).sub_(self._update, alpha=learning_rate)


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """Return the nearest semi-orthogonal matrices, (n, r, c) with r <= c, approximately.

    The singular values of the result are between about 0.7 and 1.2, which an update needs no better.
    """
    a, b, c = NEWTON_SCHULZ
    x: torch.Tensor = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
