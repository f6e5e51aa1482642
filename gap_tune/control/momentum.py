"""Momentum in parameter groups: ``momentum``, or the first of ``betas``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import UnsupportedError, check_range

_HANDLED = "optimizers with 'momentum' (SGD, RMSprop) or 'betas' (Adam, AdamW, Lion) in every group"


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


def set_momentum(
    optimizer: torch.optim.Optimizer, groups: Sequence[dict[str, Any]], value: float
) -> None:
    """Write a momentum into groups; buffers stay, except at 0, where those of sums start anew.

    At momentum 0 torch's SGD and RMSprop stop updating their buffers, so a later momentum would
    revive an outdated direction.

    Raises:
        InvalidValueError: When ``value`` is outside [0, 1).
        UnsupportedError: When a group has no momentum, or asks for Nesterov momentum of 0; no
            group is changed then.
    """
    value = check_range("momentum", value, 0.0, 1.0, high_open=True)
    for group in groups:
        group_momentum(group)
        if value == 0.0 and group.get("nesterov") and "momentum" in group:
            raise UnsupportedError(
                "Nesterov momentum must be positive, but got 0: leave 0 out of the candidates."
            )
    for group in groups:
        if "momentum" in group:
            write(group, "momentum", value)
            if value == 0.0:
                _drop_buffers(optimizer, group)
            else:
                _make_buffers(optimizer, group)
        elif isinstance(group["betas"][0], Tensor):
            group["betas"][0].fill_(value)
        else:
            group["betas"] = (value, *group["betas"][1:])


def apply_beta2(group: dict[str, Any], value: float) -> None:
    """Set beta2 of a parameter group with ``betas``, in [0, 1)."""
    value = check_range("beta2", value, 0.0, 1.0, high_open=True)
    if isinstance(group["betas"][1], Tensor):
        group["betas"][1].fill_(value)
    else:
        group["betas"] = (group["betas"][0], value, *group["betas"][2:])


def write(group: dict[str, Any], key: str, value: Any) -> None:
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
        buffer = state.get("momentum_buffer")
        if isinstance(optimizer, torch.optim.SGD):
            if buffer is not None:
                state["momentum_buffer"] = None
        elif isinstance(buffer, Tensor):
            # Others expect the tensor that they have made.
            buffer.zero_()


def _make_buffers(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
    """Give RMSprop the buffers that it has not made where momentum was 0 at its first step."""
    if isinstance(optimizer, torch.optim.RMSprop):
        for parameter in group["params"]:
            state = optimizer.state.get(parameter)
            if state and "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(
                    parameter, memory_format=torch.preserve_format
                )
