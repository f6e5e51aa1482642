"""Small models that a switch trains, for tests of all of its kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gap_tune.optim.switch import SwitchAdam, SwitchAdamW, SwitchSGD
from gap_tune.optim.switch.base import SwitchOptimizer

KINDS = (SwitchSGD, SwitchAdam, SwitchAdamW)
kinds = pytest.mark.parametrize("kind", KINDS)
per_parameter = pytest.mark.parametrize("per_parameter", [False, True])


def tensors(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (), (5,))
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def gradients(step: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    while True:
        yield torch.randn((3, 4), generator=generator) + 0.7


def set_gradients(params: list[torch.nn.Parameter], step: int) -> None:
    for parameter, values in zip(params, gradients(step), strict=False):
        flat = values.flatten()[: parameter.numel()]
        parameter.grad = flat.view(parameter.shape).to(parameter.dtype)


def run(optimizer: SwitchOptimizer, params: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def equal(first: list[torch.nn.Parameter], second: list[torch.nn.Parameter]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
