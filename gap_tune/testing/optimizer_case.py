"""OptimizerCase: an optimizer to test, with parameters and gradients for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

Params = list[nn.Parameter]


class OptimizerCase:
    """What the tests of ``OptimizerContract`` are made of; its attributes are described there."""

    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64)
    steps: int = 12
    interruptions: Sequence[int] = (0, 1, 5)
    has_groups: bool = True
    steps_alike_by_closure: bool = True
    every_gradient_moves: bool = True
    stays_on_device: bool = True

    def optimizer(self, params: Any) -> torch.optim.Optimizer:
        """Return the optimizer of parameters, or of groups of them; always with the same options.

        Learning rates must be of a size that trains parameters and gradients of about one.
        """
        raise NotImplementedError("optimizer(params) must return an optimizer, but is not written.")

    def loader(self, params: Any) -> torch.optim.Optimizer:
        """Return what a saved state is loaded into; by default another ``optimizer(params)``.

        One with other options shows that a state brings those which the run had.
        """
        return self.optimizer(params)

    def parameters(self, dtype: torch.dtype = torch.float64) -> Params:
        """Return parameters to train: a matrix, a number and a vector, the same at every call."""
        generator = torch.Generator().manual_seed(0)
        shapes = ((2, 3), (), (4,))
        return [nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]

    def set_gradients(self, params: Iterable[nn.Parameter], step: int) -> None:
        """Give each parameter its gradient of a step, which depends on its value and on noise.

        Their mean turns around after a few steps, so that a choice made before is made anew.
        """
        generator = torch.Generator().manual_seed(1000 + step)
        drift = 1.0 if step < 7 else -2.0
        for parameter in params:
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            parameter.grad = 0.7 * parameter.detach() + noise + drift

    def run(self, optimizer: torch.optim.Optimizer, params: Params, steps: range) -> None:
        """Take steps, in every fourth of which the last parameter has no gradient."""
        for step in steps:
            self.set_gradients(params, step)
            if step % 4 == 2:
                params[-1].grad = None
            optimizer.step()

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Cross tests with what the class says the optimizer can do."""
        for name, values in (("dtype", cls.dtypes), ("at", cls.interruptions)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values)

    def _needs_groups(self) -> None:
        if not self.has_groups:
            pytest.skip("has_groups is False")

    def _needs_option(self, optimizer: torch.optim.Optimizer, name: str) -> None:
        if name not in optimizer.defaults:
            pytest.skip(f"{type(optimizer).__name__} has no option {name}")
