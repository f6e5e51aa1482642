"""Hypergradient descent: SGD and AdamW whose learning rate descends along its own gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from gap_tune.errors import check_range
from gap_tune.optim.group_optimizer import GroupOptimizer, StateShapes
from gap_tune.optim.momentum_sgd import MomentumSGD
from gap_tune.optim.vectors import inner_product, observed_gradient


class _Hypergradient(GroupOptimizer):
    """The part that SGD and AdamW share: how the learning rate follows."""

    def _measure(self) -> None:
        groups, products = [], []
        for group in self.param_groups:
            pieces = [inner_product(*pair) for pair in self._gradients_and_updates(group)]
            if pieces:
                groups.append(group)
                products.append(torch.stack([p.to(pieces[0].device) for p in pieces]).sum())
        if not products:
            return
        read = torch.stack([p.to(products[0].device) for p in products]).tolist()
        for group, product in zip(groups, read, strict=True):
            if math.isfinite(product):
                group["lr"] = max(0.0, float(group["lr"]) + group["hypergrad_lr"] * product)

    def _gradients_and_updates(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield gradients, each with what its parameter was moved along by the last step."""
        raise NotImplementedError


class HypergradientSGD(_Hypergradient, MomentumSGD):
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

    def _gradients_and_updates(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
        # Buffers are zero before the first step, and so is what they say.
        return ((gradient, buffer) for _, gradient, buffer in self._triples(group))

    def _update(self, group: dict[str, Any]) -> None:
        self._follow(group, group["momentum"], group["lr"])


class HypergradientAdamW(_Hypergradient):
    r"""``torch.optim.AdamW`` that also descends along the loss's derivative by the learning rate.

    With Adam's bias-corrected update ``u_t = m_t / (sqrt(v_t) + eps)``::

        lr_t    = max(0, lr_{t-1} + hypergrad_lr <g_t, u_{t-1}>)
        w_{t+1} = (1 - lr_t weight_decay) w_t - lr_t u_t

    What ``HypergradientSGD`` says of groups, schedules, the limit and waiting for the device holds
    here, too. Weight decay is decoupled, which the published rule does not have: it shrinks by the
    present learning rate and takes no part in the product. State as of ``torch.optim.AdamW``; the
    last update is computed again from it.

    Args:
        params: Parameters or parameter groups; every option below can be set per group.
        lr: Learning rate to start with, >= 0. Schedules multiply it, on top of its own changes.
        betas: Decay of the averages of gradients and of their squares, each in [0, 1).
        hypergrad_lr: Learning rate of the learning rate, >= 0, in units of lr^2 / loss; 0 is
            ``torch.optim.AdamW``. The example of the authors' program takes 1e-8; in small
            networks, where fewer gradients add up, even 1e-7 moves little.
        eps: Added to the root, >= 0.
        weight_decay: Decoupled weight decay, >= 0.
        maximize: Ascend instead of descend.

    Raises:
        InvalidValueError: When an option is out of range.
        UnsupportedError: When a parameter is complex or a gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    Source: "Online Learning Rate Adaptation with Hypergradient Descent" (arXiv 1703.04782),
    Adam-HD.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = HypergradientAdamW([weight], lr=0.01, hypergrad_lr=1e-4)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> round(optimizer.param_groups[0]["lr"], 4)
    0.0106
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        hypergrad_lr: float = 1e-7,
        *,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "hypergrad_lr": hypergrad_lr,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def _check_options(self, options: dict[str, Any]) -> None:
        for name in ("lr", "hypergrad_lr", "eps", "weight_decay"):
            check_range(name, options[name], 0.0, math.inf, high_open=True)
        for name, beta in zip(("beta1", "beta2"), options["betas"], strict=True):
            check_range(name, beta, 0.0, 1.0, high_open=True)

    def _gradients_and_updates(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            gradient = observed_gradient(parameter, group, decoupled=True)
            state = self.state.get(parameter)
            if gradient is None or not state:
                continue
            steps = float(state["step"])
            root = state["exp_avg_sq"].sqrt().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
            yield gradient, state["exp_avg"].div(root).div_(1 - beta1**steps)

    def _update(self, group: dict[str, Any]) -> None:
        trained = [parameter for parameter in group["params"] if parameter.grad is not None]
        states = [self._state_of(parameter) for parameter in trained]
        beta1, beta2 = group["betas"]
        adamw(
            trained,
            [parameter.grad for parameter in trained],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            **{name: group[name] for name in ("lr", "weight_decay", "eps", "maximize")},
        )

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            # On the host, as torch keeps it, where reading it waits for nothing.
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        return [
            {"step": (), "exp_avg": tuple(p.shape), "exp_avg_sq": tuple(p.shape)}
            for p in group["params"]
        ]
