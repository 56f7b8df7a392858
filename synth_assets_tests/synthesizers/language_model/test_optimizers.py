"""Tests of the optimizers."""

import torch

from synth_assets.synthesizers.language_model.optimizers import (
    BETAS,
    UPDATE_RMS,
    WEIGHT_DECAY,
    AdamW,
    Muon,
    Part,
    orthogonalise,
)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    matrices = torch.randn(3, 8, 24, generator=torch.Generator().manual_seed(0))
    singular_values = torch.linalg.svdvals(orthogonalise(matrices))
    assert 0.6 < float(singular_values.min()) <= float(singular_values.max()) < 1.3


def test_muon_updates_each_matrix_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [torch.Size(shape) for shape in ((8, 8), (8, 16), (16, 8))]
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    vector = torch.cat([value.flatten() for value in values])
    matrices = [torch.nn.Parameter(value) for value in values]
    optimizer = Muon(part := Part(vector, torch.empty_like(vector)), shapes)
    optimizer.learning_rate = 0.1
    reference = torch.optim.Muon(matrices, lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradients = [torch.randn(shape, generator=generator) for shape in shapes]
        part.gradient.copy_(torch.cat([gradient.flatten() for gradient in gradients]))
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.grad = gradient
        optimizer.step()
        reference.step()
    found = vector.split([shape.numel() for shape in shapes])
    for value, matrix in zip(found, matrices, strict=True):
        # torch orthogonalises in bfloat16
        torch.testing.assert_close(value.view_as(matrix), matrix.detach(), rtol=0.02, atol=0.02 * UPDATE_RMS)


def test_a_fused_projection_is_updated_as_its_three_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 4, generator=generator) for _ in range(3))
    updates = []
    for parts in ([q, k, v], [torch.cat([q, k, v], dim=1)]):
        vector = torch.zeros(48)
        gradient = torch.cat([part.flatten() for part in parts])
        optimizer = Muon(Part(vector, gradient), [part.shape for part in parts])
        optimizer.learning_rate = 0.1
        optimizer.step()
        updates.append(vector.view(len(parts), 4, -1))
    torch.testing.assert_close(torch.cat(list(updates[0]), dim=1), updates[1][0])


def test_adamw_updates_the_weights_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(9, generator=generator) for _ in range(2)]
    parts = [Part(values.clone(), torch.empty(9)) for values in start]
    weights = [torch.nn.Parameter(values) for values in start]
    optimizer = AdamW(parts[:1], parts[1:])
    optimizer.learning_rate = 0.1
    decays = ({"params": weights[:1], "weight_decay": WEIGHT_DECAY}, {"params": weights[1:], "weight_decay": 0.0})
    reference = torch.optim.AdamW(list(decays), lr=0.1, betas=BETAS)
    for _ in range(3):
        for part, weight in zip(parts, weights, strict=True):
            weight.grad = torch.randn(9, generator=generator)
            part.gradient.copy_(weight.grad)
        optimizer.step()
        reference.step()
    for part, weight in zip(parts, weights, strict=True):
        torch.testing.assert_close(part.values, weight.detach())
