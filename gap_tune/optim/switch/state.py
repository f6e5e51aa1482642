"""StatefulSwitch: shows, saves and restores which of K candidates is followed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from gap_tune.errors import StateError
from gap_tune.optim.switch.choice import MomentumChoice, SwitchOptions

_Shapes = dict[str, tuple[int, ...]]

_KEY = "gap_tune"
_VERSION = 1


class StatefulSwitch(Optimizer):
    """An optimizer with a ``MomentumChoice``, which exists from the first step on."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any], options: SwitchOptions) -> None:
        self._options = options
        self._choice: MomentumChoice | None = None
        super().__init__(params, defaults)

    @property
    def momenta(self) -> tuple[float, ...]:
        """The K candidates."""
        return self._options.momenta

    @property
    def momentum(self) -> float:
        """The momentum of the last step; reading it waits for the device once.

        Before the first observed step it is the lowest candidate. With ``per_parameter`` it is the
        mean over all coordinates; ``parameter_momenta`` tells the parameters apart.
        """
        chosen = [m for group in self.parameter_momenta() for m in group]
        sizes = [p.numel() for group in self.param_groups for p in group["params"]]
        if len(set(chosen)) == 1:
            return chosen[0]
        return float(np.average(chosen, weights=sizes))

    def parameter_momenta(self) -> list[list[float]]:
        """Return each parameter's momentum at the last step, one list per parameter group.

        Reading them waits for the device once.
        """
        sizes = [len(group["params"]) for group in self.param_groups]
        chosen = [self.momenta[0]] if self._choice is None else self._choice.momenta()
        if self._options.per_parameter:
            every = iter(chosen + [self.momenta[0]] * (sum(sizes) - len(chosen)))
            return [[next(every) for _ in range(size)] for size in sizes]
        return [chosen * size for size in sizes]

    @property
    def skipped_steps(self) -> int:
        """Steps not observed because a gradient was NaN or infinite; reading waits once."""
        return 0 if self._choice is None else self._choice.skipped_steps()

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state dict, with the choice's own state under the key "gap_tune"."""
        choice = None if self._choice is None else self._choice.state_dict()
        return {**super().state_dict(), _KEY: {**self._identity(), "choice": choice}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, in this optimizer's dtype and device.

        Raises:
            StateError: When it is of another optimizer, version, candidates or shapes.
        """
        own = state_dict.get(_KEY) or {}
        _check_identity(own, self._identity())
        _check_shapes(state_dict, self.param_groups, self._state_shapes)
        choice = None
        if own["choice"] is not None:
            device = next(p.device for group in self.param_groups for p in group["params"])
            choice = MomentumChoice.restored(
                self._options, own["choice"], self._row_count(), device
            )
        super().load_state_dict({k: v for k, v in state_dict.items() if k != _KEY})
        self._choice = choice

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_options": self._options, "_choice": self._choice}

    def _identity(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "optimizer": type(self).__name__,
            "momenta": list(self.momenta),
            "per_parameter": self._options.per_parameter,
        }

    def _row_count(self) -> int:
        count = sum(len(group["params"]) for group in self.param_groups)
        return count if self._options.per_parameter else 1

    def _state_shapes(self, parameter: Tensor, group: Mapping[str, Any]) -> _Shapes:
        state = self._new_state(torch.empty_like(parameter, device="meta"), group)
        return {name: tuple(value.shape) for name, value in state.items()}

    @abstractmethod
    def _new_state(self, parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return a parameter's state before its first step."""


def _check_identity(saved: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a state of another optimizer, version or candidates.

    Raises:
        StateError: When an entry differs.
    """
    found = {name: saved.get(name) for name in expected}
    if found != expected:
        raise StateError(f"the state must be that of {dict(expected)}, but got {found}.")


def _check_shapes(
    state_dict: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    shapes_of: Callable[[Tensor, Mapping[str, Any]], _Shapes],
) -> None:
    """Refuse a state whose groups or tensors have other sizes.

    Args:
        state_dict: What is to be loaded.
        groups: The optimizer's own parameter groups.
        shapes_of: Names and shapes of a parameter's state in a group with the saved options.

    Raises:
        StateError: When a number of parameters or a shape differs.
    """
    saved_groups = state_dict["param_groups"]
    sizes, saved_sizes = ([len(g["params"]) for g in some] for some in (groups, saved_groups))
    if sizes != saved_sizes:
        raise StateError(
            f"the state must be of groups of {sizes} parameters, but got {saved_sizes}."
        )
    for group, saved_group in zip(groups, saved_groups, strict=True):
        for number, parameter in zip(saved_group["params"], group["params"], strict=True):
            state = state_dict["state"].get(number, {})
            found = {k: tuple(v.shape) for k, v in state.items() if isinstance(v, Tensor)}
            expected = shapes_of(parameter, saved_group)
            if found and found != expected:
                raise StateError(
                    f"the state of parameter {number} must hold tensors of shapes {expected}, "
                    f"but got {found}."
                )
