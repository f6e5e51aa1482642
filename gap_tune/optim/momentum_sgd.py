"""MomentumSGD: the step of optimizers that tune SGD's own learning rate or momentum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gap_tune.optim.group_optimizer import GroupOptimizer, StateShapes
from gap_tune.optim.vectors import observed_gradient

_BUFFER = "momentum_buffer"


class MomentumSGD(GroupOptimizer):
    """SGD with one momentum buffer per parameter, for subclasses that choose its coefficients.

    Unlike ``torch.optim.SGD``, momentum 0 keeps the buffer: it holds the gradient then, and a
    momentum that comes back later finds no outdated direction.
    """

    def _follow(self, group: dict[str, Any], momentum: float, lr: float) -> None:
        """Take the step ``m = momentum m + g``, ``w = w - lr m`` on a group."""
        weights, gradients, buffers = [], [], []
        for parameter, gradient, buffer in self._triples(group):
            weights.append(parameter)
            gradients.append(gradient)
            buffers.append(buffer)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        torch._foreach_add_(weights, buffers, alpha=-lr)

    def _triples(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield weights, gradient and buffer of the group's parameters that have a gradient."""
        for parameter in group["params"]:
            gradient = observed_gradient(parameter, group)
            if gradient is not None:
                state = self.state[parameter]
                # None is what a change from momentum 0 leaves.
                if state.get(_BUFFER) is None:
                    state[_BUFFER] = torch.zeros_like(parameter)
                yield parameter, gradient, state[_BUFFER]

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        return [{_BUFFER: tuple(parameter.shape)} for parameter in group["params"]]
