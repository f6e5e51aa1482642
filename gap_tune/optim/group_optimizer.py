"""The part of an optimizer that is the same for all that update one parameter group at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gap_tune.errors import StateError, UnsupportedError

StateShapes = dict[str, tuple[int, ...]]


class GroupOptimizer(Optimizer):
    """Checks options, parameters and saved states, and counts each group's steps.

    Subclasses write ``_update``, which steps a group some of whose parameters have a gradient, and
    ``_state_shapes``, which tells their saved states from others. Options and counts live in
    ``param_groups`` and tensors in ``state``: all that torch saves, copies and pickles.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own options, after checking them.

        Raises:
            InvalidValueError: When an option is out of range.
            UnsupportedError: When the optimizer cannot handle a parameter.
        """
        self._check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            self._check_parameters(self.param_groups[-1])
        except Exception:
            # A caller that catches the error must not be left with the refused group.
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step.

        Args:
            closure: Evaluates the loss again and returns it, as in every torch optimizer.

        Raises:
            UnsupportedError: When a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._measure()
        for group in self.param_groups:
            if any(parameter.grad is not None for parameter in group["params"]):
                self._update(group)
                group["steps"] += 1
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            StateError: When the state was saved by an optimizer of another kind or size.
        """
        saved_groups = state_dict["param_groups"]
        # Differing numbers of groups and parameters are left to torch, which names them.
        for group, saved in zip(self.param_groups, saved_groups, strict=False):
            shapes = self._state_shapes(group)
            for index, expected in zip(saved["params"], shapes, strict=False):
                _check_state(index, state_dict["state"].get(index, {}), expected)
        super().load_state_dict(state_dict)

    def _check_options(self, options: dict[str, Any]) -> None:
        """Refuse options out of range."""
        raise NotImplementedError

    def _check_parameters(self, group: dict[str, Any]) -> None:
        """Refuse parameters that the optimizer cannot handle."""
        for parameter in group["params"]:
            if not parameter.is_floating_point():
                raise UnsupportedError(
                    f"{type(self).__name__} needs floating-point parameters, "
                    f"but got {parameter.dtype}."
                )

    def _measure(self) -> None:
        """Look at all gradients before any group is stepped; by default not."""

    def _update(self, group: dict[str, Any]) -> None:
        """Step the group, some of whose parameters have a gradient."""
        raise NotImplementedError

    def _state_shapes(self, group: dict[str, Any]) -> list[StateShapes]:
        """Return for each parameter the names and shapes of the tensors in its full state."""
        raise NotImplementedError


def _check_state(index: int, saved: dict[str, Any], expected: StateShapes) -> None:
    found = {name: tuple(value.shape) for name, value in saved.items() if isinstance(value, Tensor)}
    if not found.items() <= expected.items():
        raise StateError(
            f"The state of parameter {index} must hold tensors of shapes {expected}, "
            f"but got {found}."
        )
