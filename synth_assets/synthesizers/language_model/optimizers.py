"""The weights of a model as one vector, and the optimizers of its parts: AdamW, and Muon for the matrices of blocks.

They are no `torch.optim.Optimizer`, since the first of a process imports torch's compiler, for a second.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.adamw import adamw

WEIGHT_DECAY = 0.01
"""With 0.1, boosted trees told rows of adult from real ones more easily (AUC 0.527 against 0.515 without, on a fold),
though their likelihood was as good."""

BETAS, EPSILON = (0.9, 0.99), 1e-8
"""Decays of the moments of AdamW, and what is added to the root of the second."""

MOMENTUM = 0.95
"""Momentum of Muon."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration that moves all singular values of a matrix towards 1 (Jordan et al., 2024)."""

NEWTON_SCHULZ_STEPS = 5

UPDATE_RMS = 0.2
"""Root mean square of an update of Muon before the learning rate: about as large as in AdamW, so that both share it."""


@dataclass(frozen=True)
class Part:
    """A part of the weights, and its gradient: two vectors."""

    values: torch.Tensor
    gradient: torch.Tensor


class Optimizer(ABC):
    """What updates parts of the weights from their gradients. `state` is a set of tensors by name for each part."""

    def __init__(self) -> None:
        self.learning_rate = 0.0
        self.state: list[dict[str, torch.Tensor]] = []

    @abstractmethod
    def step(self) -> None:
        """Update the weights."""


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
        self.hidden, self.embeddings, self.vectors = map(
            Part, self.values.tensor_split(ends), self.gradients.tensor_split(ends)
        )

    def optimizers(self, *, muon: bool) -> list[Optimizer]:
        """Return the optimizers of the three parts: AdamW, or AdamW with Muon for the matrices of the blocks."""
        decayed = [self.embeddings] if muon else [self.hidden, self.embeddings]
        adamw = AdamW(decayed, [self.vectors])
        return [adamw, Muon(self.hidden, self.hidden_shapes)] if muon else [adamw]

    def release(self) -> None:
        """Return each parameter to a tensor of its own, as `save_pretrained` expects."""
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2019).

    Parameters
    ----------
    decayed, kept : list of Part
        The parts whose weights decay, and those whose weights do not.
    """

    def __init__(self, decayed: list[Part], kept: list[Part]) -> None:
        super().__init__()
        self.parts = [(part, WEIGHT_DECAY) for part in decayed] + [(part, 0.0) for part in kept]
        for part, _ in self.parts:
            zeros = {name: torch.zeros_like(part.values) for name in ("exp_avg", "exp_avg_sq")}
            self.state.append({**zeros, "step": torch.zeros((), device=part.values.device)})

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights."""
        for (part, decay), state in zip(self.parts, self.state, strict=True):
            adamw(
                [part.values],
                [part.gradient],
                [state["exp_avg"]],
                [state["exp_avg_sq"]],
                [],
                [state["step"]],
                lr=self.learning_rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                eps=EPSILON,
                weight_decay=decay,
                amsgrad=False,
                maximize=False,
                fused=True,
            )


class Muon(Optimizer):
    """Momentum whose update of each matrix is orthogonalised, at the scale of AdamW's updates.

    Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024; the scale is from Liu et al., *Muon
    is Scalable for LLM Training*, 2025, section 2.2.

    `torch.optim.Muon` orthogonalises one matrix after another in bfloat16, which takes a CPU 3.4 times as long for the
    small matrices of a 'scratch' model; here, matrices of one shape are orthogonalised together, in single precision.

    Parameters
    ----------
    part : Part
        The matrices, flattened one after another.
    shapes : list of torch.Size
        The shape of each matrix. One that is three times as wide as high is taken for three: q, k and v.
    """

    def __init__(self, part: Part, shapes: list[torch.Size]) -> None:
        super().__init__()
        self.part = part
        self.state.append({"momentum": torch.zeros_like(part.values)})
        self._update = torch.empty_like(part.values)
        self._by_shape: dict[torch.Size, list[torch.Tensor]] = {}  # views of the update, none higher than wide
        sizes = [shape.numel() for shape in shapes]
        flat = torch.split(self._update, sizes)
        for update, (height, width) in zip(flat, shapes, strict=True):
            n_parts = 3 if width == 3 * height else 1
            for matrix in update.view(height, width).chunk(n_parts, dim=1):
                wide = matrix.T if height > matrix.shape[1] else matrix
                self._by_shape.setdefault(wide.shape, []).append(wide)

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights."""
        momentum = self.state[0]["momentum"]
        momentum.lerp_(self.part.gradient, 1 - MOMENTUM)
        torch.lerp(self.part.gradient, momentum, MOMENTUM, out=self._update)
        for shape, matrices in self._by_shape.items():
            orthogonal = orthogonalise(torch.stack(matrices)) * (UPDATE_RMS * math.sqrt(max(shape)))
            torch._foreach_copy_(matrices, list(orthogonal))
        self.part.values.mul_(1 - self.learning_rate * WEIGHT_DECAY).sub_(self._update, alpha=self.learning_rate)


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
