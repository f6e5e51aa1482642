"""StepCounts: how many steps an optimizer has taken with each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


class StepCounts:
    """An optimizer's own counts, ``state[parameter]["step"]``, read without waiting for a device.

    None is kept here where it can be read, so that whatever loads, replaces or advances the
    optimizer's state is followed. Counts on an accelerator (fused and capturable optimizers) are
    read when ``read`` is called, and the gradients that come tell how they go on.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._counted: dict[Tensor, int] = {}
        # Whether the counts were seen to be where they can be read; no step moves them.
        self._readable = False
        self.read()

    def of(self, parameter: Tensor, group: Mapping[str, Any]) -> int:
        """Return the steps that a parameter of a group has taken."""
        step = self._optimizer.state.get(parameter, {}).get("step", group.get("step", 0))
        if isinstance(step, Tensor):
            return round(step.item()) if on_host(step) else self._counted.get(parameter, 0)
        return int(step)

    def of_all(self, group: Mapping[str, Any]) -> list[int]:
        """Return the steps that each parameter of a group has taken."""
        # This runs at every step, for hundreds of parameters: it is ``of`` in few calls.
        state, default, counted = self._optimizer.state.get, group.get("step", 0), self._counted.get
        counts = []
        for parameter in group["params"]:
            own = state(parameter)
            step = own.get("step", default) if own else default
            if isinstance(step, Tensor):
                step = step.item() if step.is_cpu else counted(parameter, 0)
            counts.append(int(step))
        return counts

    def on_device(self, parameter: Tensor) -> Tensor | None:
        """Return a parameter's count where it cannot be read without waiting."""
        step = self._optimizer.state.get(parameter, {}).get("step")
        return step if isinstance(step, Tensor) and not on_host(step) else None

    def read(self) -> None:
        """Read counts that are on a device, all at once; waits for it where there are any."""
        self._counted.clear()
        self._readable = False
        found = [(p, step) for p in self._parameters() if (step := self.on_device(p)) is not None]
        if found:
            steps = torch.stack([step.float() for _, step in found]).tolist()
            self._counted = {p: round(n) for (p, _), n in zip(found, steps, strict=True)}

    def count(self) -> None:
        """Count, after a step, what cannot be read."""
        if self._readable:
            return
        if not self._counted:
            # The first step has made the counts, all of them in the same place.
            states = map(self._optimizer.state.get, self._parameters())
            first = next((state.get("step") for state in states if state), None)
            if isinstance(first, Tensor) and not on_host(first):
                self.read()
            else:
                self._readable = first is not None
            return
        for parameter in self._parameters():
            if parameter.grad is not None:
                self._counted[parameter] = self._counted.get(parameter, 0) + 1

    def _parameters(self) -> Iterator[Tensor]:
        return (p for group in self._optimizer.param_groups for p in group["params"])


def on_host(tensor: Tensor) -> bool:
    """Tell whether a tensor's value can be read without waiting for a device."""
    return tensor.device.type == "cpu"
