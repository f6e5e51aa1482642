"""Substitution: learning rates of one step, put in place of the groups' own and taken out again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gap_tune.control.bias_correction import Part
from gap_tune.control.momentum import group_momentum, write
from gap_tune.theory.momentum import coupling_factor

# This runs at every step, for few momenta, where NumPy's checks would cost most of it.
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
    value. Decoupled weight decay, ``lr * weight_decay``, as AdamW's, stays that of this value.

    Args:
        optimizer: The optimizer.
        decouples: Whether its weight decay is decoupled unless a group says otherwise, as Muon's;
            else it is where a group says so.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, decouples: bool = False) -> None:
        self._optimizer, self._decouples = optimizer, decouples
        # Group, key, what was there, what is there for the time of the step.
        self._own: list[tuple[dict[str, Any], str, Any, Any]] = []
        self._split: _Split | None = None

    def put_in(self, parts: list[list[Part]]) -> None:
        """Put factors on every group's learning rate.

        Args:
            parts: Of each group. One of several parts is several groups for the time of the step.
        """
        groups = self._optimizer.param_groups
        for group, own in zip(groups, parts, strict=True):
            self._decay_on_device(group, own)
            if len(own) == 1:
                self._replace(group, own[0])
        if any(len(own) > 1 for own in parts):
            self._split = _Split(groups, parts, self._decouples)
            self._optimizer.param_groups = self._split.groups

    def take_out(self, *, stepped: bool = False) -> None:
        """Put back what ``put_in`` has replaced; harmless where it has not.

        Args:
            stepped: Whether the step was taken. A learning rate that a hook has written meanwhile
                stays; after a step that raised, the one before it is put back.
        """
        split, self._split = self._split, None
        if split is not None and self._optimizer.param_groups is split.groups:
            self._optimizer.param_groups = split.joined(stepped=stepped)
        while self._own:
            group, key, own, put = self._own.pop()
            # A tensor may be on a device, where asking would wait.
            written = not isinstance(put, Tensor) and group[key] is not put
            if not (stepped and written):
                write(group, key, own)

    def _decay_on_device(self, group: Mapping[str, Any], parts: list[Part]) -> None:
        """Decay weights here where the factor, and so what undoes it, is known to a device only.

        Fused optimizers take the weight decay as a number.
        """
        found_inf = getattr(self._optimizer, "found_inf", 0.0)
        for part in parts:
            if isinstance(part.factor, Tensor) and _decays_apart(group, self._decouples):
                kept = 1.0 - group["lr"] * group["weight_decay"] * (found_inf == 0)
                with torch.no_grad():
                    torch._foreach_mul_([p for p in part.parameters if p.grad is not None], kept)

    def _replace(self, group: dict[str, Any], part: Part) -> None:
        """Multiply a group's own numbers; in place where they are tensors, which graphs hold."""
        for key, value in _numbers(group, part, self._decouples).items():
            own = group[key]
            kept = own.clone() if isinstance(own, Tensor) else own
            write(group, key, value)
            self._own.append((group, key, kept, group[key]))


class _Split:
    """Groups some of which are several for the time of a step.

    Args:
        groups: The optimizer's own.
        parts: Of each group.
        decouples: As of ``Substitution``.

    Attributes:
        groups: The groups of the step.
    """

    def __init__(
        self, groups: list[dict[str, Any]], parts: list[list[Part]], decouples: bool
    ) -> None:
        self._whole = groups
        # Each part has: whose it is, its options as they were, those that are the step's alone.
        self._parts: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], set[str]]] = []
        self.groups: list[dict[str, Any]] = []
        for group, own in zip(groups, parts, strict=True):
            if len(own) <= 1:
                self.groups.append(group)
                continue
            for part in own:
                numbers = _numbers(group, part, decouples)
                one = {**group, **numbers, "params": part.parameters}
                self.groups.append(one)
                self._parts.append((group, one, dict(one), {"params", *numbers}))
        self._count = len(self.groups)

    def joined(self, *, stepped: bool) -> list[dict[str, Any]]:
        """Return the optimizer's own groups, with what was written into the parts meanwhile.

        Args:
            stepped: As of ``Substitution.take_out``.
        """
        for group, one, before, numbers in self._parts:
            for key, value in one.items():
                ours = key in numbers and (key == "params" or not stepped)
                if not ours and value is not before.get(key):
                    group[key] = value
        # A step that raised has left the parts behind, and others have joined them since.
        self._whole += self.groups[self._count :]
        return self._whole


def _numbers(group: Mapping[str, Any], part: Part, decouples: bool) -> dict[str, Any]:
    """Return what is another number at this step: the learning rate, and what goes with it."""
    factor = part.factor
    if isinstance(factor, float) and factor == part.eps == 1.0:
        return {}
    numbers = {"lr": group["lr"] * factor}
    if _decays_apart(group, decouples):
        on_device = isinstance(factor, Tensor)
        numbers["weight_decay"] = 0.0 if on_device else group["weight_decay"] / factor
    if part.eps != 1.0:
        numbers["eps"] = group["eps"] * part.eps
    return numbers


def _decays_apart(group: Mapping[str, Any], decouples: bool) -> bool:
    """Tell whether a group's weight decay is decoupled: no part of the gradient, but times lr."""
    # torch's optimizers and pytorch_optimizer's have a name each for it.
    said = group.get("decoupled_weight_decay", group.get("weight_decouple", decouples))
    # pytorch_optimizer's fixed decay is not times the learning rate.
    return bool(said and group.get("weight_decay") and not group.get("fixed_decay"))
