r"""Adaptive memory: SGD and AdamW whose momentum weighs two planes that model the loss.

Both follow "Adaptive Memory Momentum via a Model-Based Framework for Deep Learning Optimization"
(arXiv 2510.04988). With the gradient ``g`` and the direction ``d`` of the last step, the loss near
``x_t`` is taken to be the larger one of two planes, ``f(x_t) + <g, x - x_t>`` and
``F + <d, x - x_t>``, and the next step minimises it, held to ``x_t`` and, by ``lam``, to the last
step. The weight ``beta`` of the second plane is the momentum. For SGD::

    max over beta of the min over x of
        (1 - beta) (f(x_t) + <g, x - x_t>) + beta (F + <d, x - x_t>)
        + |x - x_t|^2 / (2 lr) + lam |x - x_t + lr d|^2 / (2 lr)

    beta = [(1 + lam) (F - f(x_t)) / lr - <d - g, g + lam d>] / |d - g|^2    within [0, beta_max]
    d'   = [(beta + lam) d + (1 - beta) g] / (1 + lam),    x' = x - lr d'

What is from where: the two planes, the proximal step and that SGD and AdamW have such a variant are
in the paper's abstract, the recursion of ``d`` in a published summary of it. The paper's own text
was not at hand. ``beta`` is derived here from those two, as above. Three things are from a public
program that states to follow the paper's algorithms: ``F`` is the loss one step before, so that to
first order ``F - f(x_t)`` is the product of ``g`` and that step; ``lam`` is 0.1, and ``beta_max``
lets ``(beta + lam) / (1 + lam)`` reach about 0.9; and AdamW's preconditioner, below. So what a
study measures of these arms is this reading of the method.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.errors import check_range
from gap_tune.optim.group_optimizer import GroupOptimizer, StateShapes
from gap_tune.optim.vectors import inner_product, observed_gradient

_DIRECTION = "direction"


class AdaptiveMemorySGD(GroupOptimizer):
    r"""SGD that averages gradients with the momentum of arXiv 2510.04988; see the module.

    The learning rate counts as unchanged from one step to the next, which makes ``F - f(x_t)``
    equal to ``lr <g, d>``; the first direction is the first gradient. Each parameter group has its
    own ``beta``. Gradients are averaged, not summed up: at a momentum of 0.9, steps are as long as
    those of ``torch.optim.SGD`` at a tenth of the learning rate. A step reads nothing back to the
    host. State: one tensor of each parameter's shape.

    Args:
        params: Parameters or parameter groups; every option below can be set per group.
        lr: Learning rate, >= 0.
        lam: Weight of the last step, >= 0.
        beta_max: Upper limit of ``beta``, in [0, 1).
        weight_decay: L2 penalty, >= 0, part of the gradient.
        maximize: Ascend instead of descend.

    Raises:
        InvalidValueError: When an option is out of range.
        UnsupportedError: When a parameter is complex or a gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdaptiveMemorySGD([weight], lr=0.3)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> weight.norm().item() < 1e-3
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        lam: float = 0.1,
        beta_max: float = 0.9,
        *,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lam": lam,
            "beta_max": beta_max,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def _check_options(self, options: dict[str, Any]) -> None:
        _check_options(options)

    def _update(self, group: dict[str, Any]) -> None:
        weights, gradients, directions = [], [], []
        known = []
        for parameter in group["params"]:
            gradient = observed_gradient(parameter, group)
            if gradient is None:
                continue
            state = self.state[parameter]
            if _DIRECTION in state:
                known.append((gradient, state[_DIRECTION]))
            else:
                state[_DIRECTION] = gradient.clone()
            weights.append(parameter)
            gradients.append(gradient)
            directions.append(state[_DIRECTION])
        if known:
            beta = _momentum(known, group["lam"], group["beta_max"])
            fresh = (1 - beta) / (1 + group["lam"])
            for gradient, direction in known:
                direction.lerp_(gradient, fresh.to(direction))
        torch._foreach_add_(weights, directions, alpha=-group["lr"])

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        return [{_DIRECTION: tuple(parameter.shape)} for parameter in group["params"]]


class AdaptiveMemoryAdamW(GroupOptimizer):
    r"""AdamW with the momentum of arXiv 2510.04988 in place of beta1; see the module.

    Lengths are measured by Adam's preconditioner, with ``n`` the number of the step::

        P  = (1 - beta_max prod_{i<n} beta_i) (sqrt(v / (1 - beta2^n)) + eps)
        d' = [(1 - beta) g + (beta + lam P) d] / (1 + lam P)
        x' = (1 - lr weight_decay) x - lr d' / P

    and ``beta`` maximises the same model in them, weight decay being one more quadratic of it
    (exactly so where one of ``lam`` and ``weight_decay`` is 0)::

        gap  = lr_before <g, d / P + weight_decay x>
        beta = [(1 + lr weight_decay) gap / lr - <d - g, (g + lam P d) / (P (1 + lam P))>
                - weight_decay <x, d - g>] / <d - g, (d - g) / (P (1 + lam P))>

    within [0, beta_max]. Each tensor has its own ``beta``; that of the first step is ``beta_max``,
    which makes it Adam's. Where the learning rate is 0, ``gap`` is left out. A step reads nothing
    back to the host. State: two tensors of each parameter's shape.

    Args:
        params: Parameters or parameter groups; every option below can be set per group.
        lr: Learning rate, >= 0.
        lam: Weight of the last step, >= 0.
        beta_max: Upper limit of ``beta``, in [0, 1).
        beta2: Decay of the average of squared gradients, in [0, 1).
        eps: Added to the root, > 0.
        weight_decay: Decoupled weight decay, >= 0.
        maximize: Ascend instead of descend.

    Raises:
        InvalidValueError: When an option is out of range.
        UnsupportedError: When a parameter is complex or a gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another kind or size.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdaptiveMemoryAdamW([weight], lr=0.03, weight_decay=0.0)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> weight.norm().item() < 0.1
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        lam: float = 0.1,
        beta_max: float = 0.89,
        *,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lam": lam,
            "beta_max": beta_max,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "steps": 0,
            "lr_before": 0.0,
        }
        super().__init__(params, defaults)

    def _check_options(self, options: dict[str, Any]) -> None:
        _check_options(options)
        check_range("beta2", options["beta2"], 0.0, 1.0, high_open=True)
        check_range("eps", options["eps"], 0.0, math.inf, low_open=True, high_open=True)

    def _update(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            gradient = observed_gradient(parameter, group, decoupled=True)
            if gradient is not None:
                self._move(parameter, gradient, group)
        group["lr_before"] = float(group["lr"])

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Take a step on a tensor."""
        state = self._state_of(parameter)
        direction = state[_DIRECTION]
        metric = _preconditioner(state, gradient, group)
        held = 1 + group["lam"] * metric
        if state["step"] == 1:
            beta = torch.full_like(state["product"], group["beta_max"])
        else:
            beta = _preconditioned_momentum(
                parameter, gradient, direction, metric=metric, held=held, group=group
            )
        state["product"].mul_(beta)
        direction.lerp_(gradient, (1 - beta.to(direction)) / held)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(direction, metric, value=-group["lr"])

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = 0
            state[_DIRECTION] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
            state["product"] = torch.ones((), device=parameter.device, dtype=_wide(parameter))
        state["step"] += 1
        return state

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        return [
            {_DIRECTION: tuple(p.shape), "exp_avg_sq": tuple(p.shape), "product": ()}
            for p in group["params"]
        ]


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what both take where it is out of range."""
    for name in ("lr", "lam", "weight_decay"):
        check_range(name, options[name], 0.0, math.inf, high_open=True)
    check_range("beta_max", options["beta_max"], 0.0, 1.0, high_open=True)


def _momentum(pairs: list[tuple[Tensor, Tensor]], lam: float, limit: float) -> Tensor:
    """Return ``beta`` for the gradients and directions of a group, 0-d."""
    device = pairs[0][0].device
    products = [
        torch.stack([inner_product(g, g), inner_product(g, d), inner_product(d, d)]).to(device)
        for g, d in pairs
    ]
    new, across, old = torch.stack(products).sum(0)
    return _within((2 * lam) * across + new - lam * old, new - 2 * across + old, limit)


def _preconditioned_momentum(
    weight: Tensor,
    gradient: Tensor,
    direction: Tensor,
    *,
    metric: Tensor,
    held: Tensor,
    group: dict[str, Any],
) -> Tensor:
    """Return ``beta`` for a tensor, 0-d, with ``P`` and ``1 + lam P``."""
    lr, decay = group["lr"], group["weight_decay"]
    turn = direction - gradient
    scaled = turn / (metric * held)
    ahead = torch.addcmul(gradient, metric, direction, value=group["lam"])
    wanted: Tensor = -inner_product(scaled, ahead)
    gap: Tensor = inner_product(gradient, direction / metric)
    if decay:
        gap = gap + decay * inner_product(gradient, weight)
        wanted = wanted - decay * inner_product(weight, turn)
    if lr:
        wanted = wanted + (1 + lr * decay) * (group["lr_before"] / lr) * gap
    return _within(wanted, inner_product(turn, scaled), group["beta_max"])


def _preconditioner(state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Take the gradient into the second moment and return ``P``."""
    second, beta2 = state["exp_avg_sq"], group["beta2"]
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    root: Tensor = (second / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
    return root.mul_((1 - group["beta_max"] * state["product"]).to(root))


def _within(numerator: Tensor, denominator: Tensor, limit: float) -> Tensor:
    """Return the quotient within [0, limit]; where both directions are one, any will do."""
    tiny = torch.finfo(denominator.dtype).tiny
    return (numerator / denominator.clamp_min(tiny)).clamp(0.0, limit)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
