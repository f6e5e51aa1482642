"""Substitution: learning rates of one step, put in place of the groups' own and taken out again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gap_tune.control.bias_correction import Factors
from gap_tune.control.momentum import group_momentum, write
from gap_tune.theory.momentum import coupling_factor

# At every step, for few momenta; NumPy's checks cost more than all else at a step.
_coupling_factor = lru_cache(maxsize=256)(coupling_factor)


def coupling(group: Mapping[str, Any]) -> float:
    """Return what keeps a group's learning rate in the trust region of its reference momentum.

    ``sqrt((1-beta^2) / (1-beta_ref^2))`` for the update ``lr * m`` (Cor. 5 of arXiv 2512.06370),
    ``(1-beta_ref) / (1-beta)`` times that where the optimizer averages gradients (Cor. 6).
    """
    beta = group_momentum(group)
    reference = group.get("reference_momentum", beta)
    if beta == reference:
        return 1.0
    factor = _coupling_factor(beta, reference)
    return factor if "momentum" in group else factor * (1.0 - reference) / (1.0 - beta)


class Substitution:
    """Multiplies learning rates for the time of one step.

    Whatever reads or writes ``lr`` between steps, as learning-rate schedulers do, sees its own
    value. AdamW's decoupled weight decay, ``lr * weight_decay``, stays that of this value.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._own: list[tuple[dict[str, Any], str, Any]] = []
        self._groups: list[dict[str, Any]] | None = None

    def put_in(self, factors: list[Factors]) -> None:
        """Put factors on every group's learning rate.

        Args:
            factors: For each group its factors, with the parameters that have each. A group whose
                parameters differ is several groups for the time of the step.
        """
        groups = self._optimizer.param_groups
        for group, parts in zip(groups, factors, strict=True):
            self._decay_on_device(group, parts)
            if len(parts) == 1 and not _is_one(parts[0][0]):
                self._replace(group, parts[0][0])
        if all(len(parts) <= 1 for parts in factors):
            return
        self._groups = groups
        self._optimizer.param_groups = [
            one
            for group, parts in zip(groups, factors, strict=True)
            for one in ([group] if len(parts) <= 1 else [_part(group, *part) for part in parts])
        ]

    def take_out(self) -> None:
        """Put back what ``put_in`` has replaced; harmless where it has not."""
        if self._groups is not None:
            self._optimizer.param_groups, self._groups = self._groups, None
        while self._own:
            write(*self._own.pop())

    def _decay_on_device(self, group: Mapping[str, Any], parts: Factors) -> None:
        """Decay weights here where the factor, and so what undoes it, is known to a device only.

        Fused optimizers take the weight decay as a number.
        """
        found_inf = getattr(self._optimizer, "found_inf", 0.0)
        for factor, parameters in parts:
            if isinstance(factor, Tensor) and decays_apart(group):
                kept = 1.0 - group["lr"] * group["weight_decay"] * (found_inf == 0)
                with torch.no_grad():
                    torch._foreach_mul_([p for p in parameters if p.grad is not None], kept)

    def _replace(self, group: dict[str, Any], factor: float | Tensor) -> None:
        """Multiply a group's own numbers; in place where they are tensors, which graphs hold."""
        for key, value in _numbers(group, factor).items():
            own = group[key]
            self._own.append((group, key, own.clone() if isinstance(own, Tensor) else own))
            write(group, key, value)


def _part(group: Mapping[str, Any], factor: float | Tensor, parameters: list[Tensor]) -> Any:
    """Return a group of some of the parameters, with their learning rate."""
    return {**group, "params": parameters, **_numbers(group, factor)}


def _numbers(group: Mapping[str, Any], factor: float | Tensor) -> dict[str, Any]:
    """Return the learning rate times a factor, and the weight decay that stays with it."""
    if _is_one(factor):
        return {}
    numbers = {"lr": group["lr"] * factor}
    if decays_apart(group):
        on_device = isinstance(factor, Tensor)
        numbers["weight_decay"] = 0.0 if on_device else group["weight_decay"] / factor
    return numbers


def decays_apart(group: Mapping[str, Any]) -> bool:
    """Tell whether a group's weight decay is decoupled: no part of the gradient, but times lr."""
    return bool(group.get("decoupled_weight_decay") and group["weight_decay"])


def _is_one(factor: float | Tensor) -> bool:
    return isinstance(factor, float) and factor == 1.0
