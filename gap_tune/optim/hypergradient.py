"""HypergradientSGD: SGD whose learning rate descends along its own gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.errors import check_range
from gap_tune.optim.momentum_sgd import MomentumSGD


class HypergradientSGD(MomentumSGD):
    r"""SGD with momentum that also descends along the loss's derivative by the learning rate.

    The last step moved the weights by ``-lr m_{t-1}``, so the loss changes with its learning rate
    by ``-<g_t, m_{t-1}>``. With the minibatch gradient ``g_t`` (L2 weight decay included)::

        lr_t    = max(0, lr_{t-1} + hypergrad_lr <g_t, m_{t-1}>)
        m_t     = momentum m_{t-1} + g_t
        w_{t+1} = w_t - lr_t m_t

    Each parameter group has its own learning rate, led by its own inner product; the present one
    is ``param_groups[i]["lr"]``. The published rule has no lower limit; 0 keeps it from ascending.
    A step whose inner product is NaN or infinite leaves the learning rate as it is. ``step`` waits
    for the device once. State: one tensor of each parameter's shape.

    Args:
        params: Parameters or parameter groups; every option below can be set per group.
        lr: Learning rate to start with, >= 0. Schedules multiply it, on top of its own changes.
        momentum: Momentum, in [0, 1).
        hypergrad_lr: Learning rate of the learning rate, >= 0, in units of lr^2 / loss; 0 is
            ``torch.optim.SGD``. 1e-3 suits small networks; larger values can blow up where
            gradients are large, and smaller ones do little where they are small.
        weight_decay: L2 penalty, >= 0.
        maximize: Ascend instead of descend.

    Raises:
        InvalidValueError: When an option is out of range.
        UnsupportedError: When a parameter is complex or a gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    Source: "Online Learning Rate Adaptation with Hypergradient Descent" (arXiv 1703.04782),
    Section 3; with momentum as in the authors' program.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = HypergradientSGD([weight], lr=0.01, hypergrad_lr=1e-4)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> round(optimizer.param_groups[0]["lr"], 5)
    0.01196
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        momentum: float = 0.0,
        hypergrad_lr: float = 1e-3,
        *,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "hypergrad_lr": hypergrad_lr,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def _check_options(self, options: dict[str, Any]) -> None:
        for name in ("lr", "hypergrad_lr", "weight_decay"):
            check_range(name, options[name], 0.0, math.inf, high_open=True)
        check_range("momentum", options["momentum"], 0.0, 1.0, high_open=True)

    def _measure(self) -> None:
        groups, products = [], []
        for group in self.param_groups:
            # Buffers are zero before the first step, and so is what they say.
            pieces = [_inner(gradient, buffer) for _, gradient, buffer in self._triples(group)]
            if pieces:
                groups.append(group)
                products.append(torch.stack([p.to(pieces[0].device) for p in pieces]).sum())
        if not products:
            return
        read = torch.stack([p.to(products[0].device) for p in products]).tolist()
        for group, product in zip(groups, read, strict=True):
            if math.isfinite(product):
                group["lr"] = max(0.0, float(group["lr"]) + group["hypergrad_lr"] * product)

    def _update(self, group: dict[str, Any]) -> None:
        self._follow(group, group["momentum"], group["lr"])


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner product, 0-d; of half-precision tensors in float32."""
    wide = torch.promote_types(first.dtype, torch.float32)
    return torch.dot(first.reshape(-1).to(wide), second.reshape(-1).to(wide))
