"""What the tests of optimizers that step a whole group share: tensors, gradients, a run."""

from __future__ import annotations

import numpy as np
import torch

from gap_tune.optim.group_optimizer import GroupOptimizer


def tensors(seed: int = 0, dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 3), (), (4,))
    return [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def set_gradients(params: list[torch.nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for parameter in params:
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.grad = 0.7 * parameter.detach() + noise


def joined(values: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([value.detach().reshape(-1) for value in values]).numpy()


def equal(first: list[torch.nn.Parameter], second: list[torch.nn.Parameter]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def run(optimizer: GroupOptimizer, params: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()
