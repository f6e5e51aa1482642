"""MomentumControl: writes momentum, and the learning rate coupled to it, into an optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import UnsupportedError, check_range
from gap_tune.theory.momentum import coupling_factor

_HANDLED = "optimizers with 'momentum' (SGD, RMSprop) or 'betas' (Adam, AdamW, Lion) in every group"
# At every step, for few momenta; NumPy's checks cost more than all else at a step.
_coupling_factor = lru_cache(maxsize=256)(coupling_factor)
# Optimizers that divide the averaged gradient by 1 - beta1^t; Lion and NAdam do otherwise.
_BIAS_CORRECTED = (torch.optim.Adam, torch.optim.AdamW)


def group_momentum(group: Mapping[str, Any]) -> float:
    """Return a parameter group's momentum: ``momentum``, or the first of ``betas``.

    Raises:
        UnsupportedError: When the group has neither.
    """
    if "momentum" in group:
        return float(group["momentum"])
    if "betas" in group:
        return float(group["betas"][0])
    raise UnsupportedError(
        f"momentum can be read and set in {_HANDLED}, but got a group with {sorted(group)}."
    )


def has_momentum(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether every parameter group holds ``momentum`` or ``betas``."""
    return all("momentum" in group or "betas" in group for group in optimizer.param_groups)


def apply_momentum(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the momentum (``momentum``, or beta1 of ``betas``) of every parameter group.

    Buffers stay as they are, with one exception: at momentum 0 torch's SGD stops updating its
    buffers, so they are dropped; otherwise a later momentum would revive an outdated direction.

    Args:
        optimizer: Any optimizer whose groups hold ``momentum`` or ``betas``.
        value: The momentum, in [0, 1).

    Raises:
        InvalidValueError: When ``value`` is outside [0, 1).
        UnsupportedError: When a group has no momentum, or asks for Nesterov momentum of 0; no
            group is changed then.

    >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])
    >>> apply_momentum(optimizer, 0.8)
    >>> optimizer.param_groups[0]["betas"]
    (0.8, 0.999)
    """
    _apply(optimizer, optimizer.param_groups, value)


def apply_beta2(group: dict[str, Any], value: float) -> None:
    """Set beta2 of a parameter group with ``betas``, in [0, 1)."""
    value = check_range("beta2", value, 0.0, 1.0, high_open=True)
    if isinstance(group["betas"][1], Tensor):
        group["betas"][1].fill_(value)
    else:
        group["betas"] = (group["betas"][0], value, *group["betas"][2:])


class MomentumControl:
    """Sets an optimizer's momentum and keeps its learning rate in the same trust region.

    A momentum beta turns a gradient into a step ``lr / (1 - beta)`` in total, so changing momentum
    alone changes the effective step up to 50-fold. In a trust region of fixed budget the learning
    rate of the update ``lr * m`` is ``lr_ref sqrt((1-beta^2) / (1-beta_ref^2))`` (Cor. 5 of arXiv
    2512.06370), and ``1 / (1 - beta)`` times that where the optimizer averages gradients (Cor. 6).
    ``lr_ref`` is whatever the group's ``lr`` says, so learning-rate schedulers keep working: the
    value in use replaces it during ``step()`` only and can be read afterwards as
    ``param_groups[i]["coupled_lr"]``.

    AdamW's weight decay stays that of ``lr_ref``.

    Adam divides its average by ``1 - beta1^t``, the total weight of an average whose beta1 never
    changed. Once it has changed, the same mechanism puts the true total weight in its place:
    going from 0.5 to 0.99 at step 10 would otherwise enlarge the step tenfold.

    Args:
        optimizer: An optimizer whose groups hold ``momentum`` or ``betas``.
        couple_lr: Whether to couple; None couples optimizers with ``momentum`` and leaves those
            with ``betas``.
        reference_momentum: ``beta_ref`` that ``lr`` belongs to; None takes each group's present
            momentum.

    Raises:
        InvalidValueError: When ``reference_momentum`` is outside [0, 1).
        UnsupportedError: When a group has no momentum.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        couple_lr: bool | None = None,
        reference_momentum: float | None = None,
    ) -> None:
        self._optimizer = optimizer
        for group in optimizer.param_groups:
            present = group_momentum(group)
            if reference_momentum is not None:
                present = check_range(
                    "reference_momentum", reference_momentum, 0.0, 1.0, high_open=True
                )
            group["reference_momentum"] = present
        if couple_lr is None:
            couple_lr = all("momentum" in group for group in optimizer.param_groups)
        self.couples = couple_lr
        self._corrects = isinstance(optimizer, _BIAS_CORRECTED)
        # Per group: steps and total weight of Adam's average, and the momentum applied last.
        self._averages: dict[int, tuple[int, float]] = {}
        self._applied: dict[int, float] = {}
        self._warned = False
        self._references: list[tuple[dict[str, Any], str, Any]] = []

    @property
    def momentum(self) -> float:
        """The first group's momentum."""
        return group_momentum(self._optimizer.param_groups[0])

    def apply(self, value: float, *, group: int | None = None) -> None:
        """Set the momentum of one group, or of all; the learning rate follows at the next step.

        Raises:
            InvalidValueError: When ``value`` is outside [0, 1).
        """
        groups = self._optimizer.param_groups
        chosen = range(len(groups)) if group is None else (group,)
        for i in chosen:
            self._overruled(i, groups[i])
            # What the average holds so far was made with the momentum before.
            if self._corrects and i not in self._averages:
                self._averages[i] = self._taken(groups[i], group_momentum(groups[i]))
        _apply(self._optimizer, [groups[i] for i in chosen], value)
        self._applied |= dict.fromkeys(chosen, float(value))

    def before_step(self, *_: Any) -> None:
        """Put the learning rate to use into every group. Register as a step pre-hook."""
        self.after_step()
        for i, group in enumerate(self._optimizer.param_groups):
            self._insist(i, group)
            factor = self._coupling(group) * self._correction(i, group)
            if self.couples or factor != 1.0:
                self._substitute(group, factor)

    def after_step(self, *_: Any) -> None:
        """Put the reference learning rate back. Register as a step post-hook.

        Also called before each step: a step that raised has not reached its post-hook.
        """
        while self._references:
            _write(*self._references.pop())

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs besides the optimizer's own state."""
        return {"averages": dict(self._averages), "applied": dict(self._applied)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned; an empty mapping starts anew."""
        self._averages = {i: tuple(pair) for i, pair in state.get("averages", {}).items()}
        self._applied = dict(state.get("applied", {}))

    def differs(self, value: float, *, group: int | None = None) -> bool:
        """Tell whether a group, or any of them, has another momentum than ``value``."""
        groups = self._optimizer.param_groups
        chosen = groups if group is None else [groups[group]]
        return any(group_momentum(g) != value for g in chosen)

    def _insist(self, i: int, group: dict[str, Any]) -> None:
        """Put the applied momentum back where something else, such as OneCycleLR, changed it."""
        if self._overruled(i, group):
            _apply(self._optimizer, [group], self._applied[i])

    def _overruled(self, i: int, group: dict[str, Any]) -> bool:
        """Tell whether something else changed what was applied; warn once."""
        # Groups may hold float32 tensors.
        if i not in self._applied or abs(group_momentum(group) - self._applied[i]) < 1e-6:
            return False
        if not self._warned:
            self._warned = True
            warnings.warn(
                "a learning-rate scheduler or the training code also sets momentum; gap_tune's "
                "value is kept: pass cycle_momentum=False to OneCycleLR or CyclicLR.",
                stacklevel=2,
            )
        return True

    def _coupling(self, group: dict[str, Any]) -> float:
        beta = group_momentum(group)
        reference = group.get("reference_momentum", beta)
        if not self.couples or beta == reference:
            return 1.0
        factor = _coupling_factor(beta, reference)
        return factor if "momentum" in group else factor * (1.0 - reference) / (1.0 - beta)

    def _correction(self, i: int, group: dict[str, Any]) -> float:
        """Return what turns Adam's bias correction into that of the betas really used."""
        if not self._corrects:
            return 1.0
        beta = group_momentum(group)
        steps, mass = self._averages.get(i) or self._taken(group, beta)
        found_inf = getattr(self._optimizer, "found_inf", None)
        if found_inf is not None and bool(found_inf):
            # GradScaler makes a fused optimizer skip this step, and torch does not count it.
            return 1.0
        steps, mass = steps + 1, beta * mass + (1.0 - beta)
        self._averages[i] = steps, mass
        if i not in self._applied:
            # Exactly 1, so that an optimizer that is never changed follows torch bit for bit.
            return 1.0
        return float((1.0 - beta**steps) / mass)

    def _taken(self, group: dict[str, Any], beta: float) -> tuple[int, float]:
        """Return the steps that a group's average already holds, and its total weight."""
        states = (self._optimizer.state.get(p, {}) for p in group["params"])
        steps = max((int(state["step"]) for state in states if "step" in state), default=0)
        return steps, 1.0 - beta**steps

    def _substitute(self, group: dict[str, Any], factor: float) -> None:
        group["coupled_lr"] = self._replace(group, "lr", factor)
        if group.get("decoupled_weight_decay") and group["weight_decay"]:
            # AdamW shrinks weights by lr * weight_decay; that is the schedule's lr, not ours.
            self._replace(group, "weight_decay", 1.0 / factor)

    def _replace(self, group: dict[str, Any], key: str, factor: float) -> Any:
        """Multiply a group's number until ``after_step``; return what it becomes."""
        reference = group[key]
        reference = reference.clone() if isinstance(reference, Tensor) else reference
        self._references.append((group, key, reference))
        _write(group, key, reference * factor)
        return reference * factor


def _apply(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], value: float) -> None:
    value = check_range("momentum", value, 0.0, 1.0, high_open=True)
    for group in groups:
        group_momentum(group)
        if value == 0.0 and group.get("nesterov") and "momentum" in group:
            raise UnsupportedError(
                "Nesterov momentum must be positive, but got 0: leave 0 out of the candidates."
            )
    for group in groups:
        if "momentum" in group:
            _write(group, "momentum", value)
            if value == 0.0:
                _drop_buffers(optimizer, group)
        elif isinstance(group["betas"][0], Tensor):
            group["betas"][0].fill_(value)
        else:
            group["betas"] = (value, *group["betas"][1:])


def _write(group: dict[str, Any], key: str, value: Any) -> None:
    """Write a number into a group; in place where it is a tensor, which graphs may hold."""
    if isinstance(group[key], Tensor):
        if isinstance(value, Tensor):
            group[key].copy_(value)
        else:
            group[key].fill_(value)
    else:
        group[key] = value


def _drop_buffers(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
    for parameter in group["params"]:
        state = optimizer.state.get(parameter, {})
        if state.get("momentum_buffer") is not None:
            state["momentum_buffer"] = None
