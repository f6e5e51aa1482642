"""What the tests of the probe train; it imports little, since the task imports it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def noisy(
    kind: Any = torch.optim.SGD, fail_at: int | None = None, **options: Any
) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    """Return the optimizer of a noisy quadratic, and a function that trains it one step."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.nn.Parameter(torch.ones(20, dtype=torch.float64))
    optimizer = kind([weight], lr=0.01, **options)
    calls = [0]

    def train_step() -> None:
        calls[0] += 1
        if calls[0] == fail_at:
            raise RuntimeError("out of data")
        weight.grad = weight.detach() + torch.randn(20, generator=generator)
        optimizer.step()

    return optimizer, train_step
