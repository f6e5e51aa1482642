"""BiasCorrection: Adam's averages divided by the weight that they really hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gap_tune.control.average_weight import AverageWeight, Missing, SavedNotes
from gap_tune.control.step_counts import StepCounts, on_host

# Optimizers that divide an average of squared gradients by 1 - beta2^t as well.
_SECOND = (torch.optim.Adam, torch.optim.AdamW)
_NO_NOTE = id(None)


@dataclass(frozen=True)
class Part:
    """Parameters of a group that take the coming step alike.

    Attributes:
        factor: What their learning rate is multiplied by; a 0-d tensor where only a device knows.
        parameters: The parameters.
        eps: What the optimizer's epsilon is multiplied by.
    """

    factor: float | Tensor
    parameters: list[Tensor]
    eps: float = 1.0


class BiasCorrection:
    """Turns the bias correction of Adam and its like into that of the momenta really used.

    These optimizers divide their average by ``1 - beta1^t``, the total weight of an average whose
    beta1 never changed: going from 0.5 to 0.99 at step 10 would enlarge the step tenfold. The
    factor ``(1 - beta1^t) / (1 - w_t)`` on the learning rate puts the true total weight there
    (``Missing``). It is each parameter's own, as t is: one whose gradients began late, or came now
    and then, has another than its neighbours in the same group. With beta2, whose average is under
    a root beside epsilon, both are multiplied by ``sqrt((1 - w_t) / (1 - beta2^t))``.

    Nothing waits for the device at a step. Only ``torch.amp.GradScaler`` can make a fused optimizer
    skip a step without the host knowing; then the factor is computed on the device.

    Args:
        optimizer: An optimizer that divides its average by ``1 - beta1^t``.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._counts = StepCounts(optimizer)
        places = range(2 if isinstance(optimizer, _SECOND) else 1)
        self._weights = [AverageWeight(place, self._counts) for place in places]
        self._saved: list[SavedNotes] = []

    def follow(self, *, read: bool = False) -> None:
        """Note where a beta is another than at the last step.

        Args:
            read: Whether to make sure of the steps before, which may wait for a device.
        """
        if read:
            self._counts.read()
        for weight in self._weights:
            weight.follow(self._optimizer.param_groups)

    def parts(self, group: Mapping[str, Any]) -> list[Part]:
        """Return how the parameters of a group take the coming step.

        Parameters whose betas never changed have the factor 1 exactly: an optimizer that is never
        changed follows torch bit for bit.
        """
        if not any(weight.has_notes() for weight in self._weights):
            return [Part(1.0, group["params"])]
        found_inf = getattr(self._optimizer, "found_inf", None)
        on_device = found_inf is not None and not on_host(found_inf)
        parts: dict[Any, Part] = {}
        for (steps, *noted), members in self._alike(group).items():
            factor: float | Tensor = 1.0
            eps = 1.0
            if any(each != _NO_NOTE for each in noted):
                step = self._counts.on_device(members[0]) if on_device else None
                factor, eps = self._factors(group, members, steps, step)
            by = (factor, eps) if isinstance(factor, float) else (steps, *noted)
            if by in parts:
                members = parts[by].parameters + members
            parts[by] = Part(factor, members, eps)
        return list(parts.values())

    def _alike(self, group: Mapping[str, Any]) -> dict[tuple[int, ...], list[Tensor]]:
        """Return the parameters of a group by steps and, for each beta, the note's identity."""
        parameters = group["params"]
        noted = (map(id, weight.notes(parameters)) for weight in self._weights)
        keys = list(zip(self._counts.of_all(group), *noted, strict=True))
        # Almost always all have gone the same way.
        if keys and keys.count(keys[0]) == len(keys):
            return {keys[0]: parameters}
        alike: dict[tuple[int, ...], list[Tensor]] = {}
        for parameter, key in zip(parameters, keys, strict=True):
            alike.setdefault(key, []).append(parameter)
        return alike

    def _factors(
        self, group: Mapping[str, Any], members: list[Tensor], steps: int, step: Tensor | None
    ) -> tuple[float | Tensor, float]:
        """Return what learning rate and epsilon of parameters with the same notes are times."""
        after: Any = (steps if step is None else step) + 1
        ratios = []
        for weight in self._weights:
            beta = weight.beta(group)
            ratios.append(_ratio(beta, after, weight.settle(members, steps, beta)))
        second = 1.0 if len(ratios) < 2 else ratios[1] ** -0.5
        # Fused kernels take epsilon as a number; it matters where gradients are as small.
        return ratios[0] * second, second if isinstance(second, float) else 1.0

    def count(self) -> None:
        """Count, after a step, the steps that cannot be read without waiting for a device."""
        self._counts.count()

    def release(self) -> None:
        """Leave averages with the weight that the optimizer will divide them by, uncorrected."""
        self.follow(read=True)
        names = ("exp_avg", "exp_avg_sq")
        groups = self._optimizer.param_groups
        for name, weight in zip(names, self._weights, strict=False):
            for group in groups:
                for parameter in group["params"]:
                    steps = self._counts.of(parameter, group)
                    note = weight.note(parameter, steps)
                    if steps and note is not None:
                        ratio = _ratio(weight.beta(group), steps, note)
                        _rescale(self._optimizer, parameter, name, float(ratio))
            weight.forget()
            weight.start(groups, [])

    def state_dict(self) -> list[SavedNotes]:
        """Return the notes for each beta, brought up to the present step."""
        self.follow(read=True)
        return [weight.saved(self._optimizer.param_groups) for weight in self._weights]

    def load_state_dict(self, state: list[SavedNotes]) -> None:
        """Continue from what ``state_dict`` returned, before or after the optimizer does."""
        self._saved = state
        for weight in self._weights:
            weight.forget()
        self.reread()

    def reread(self) -> None:
        """Start from an optimizer's state that has just been loaded.

        Saved notes hold where the parameter's count is theirs, whichever was loaded first; then
        those that were made here (``AverageWeight.start``). Other averages were made with the
        betas that came with them.
        """
        self._counts.read()
        for i, weight in enumerate(self._weights):
            saved = self._saved[i] if i < len(self._saved) else []
            weight.start(self._optimizer.param_groups, saved)


def rescale_averages(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], momentum: float
) -> None:
    """Make a group's averages what they would be had beta1 always been the given one.

    For momentum that is changed once, by nobody who could correct later steps: multiplied by
    ``(1 - beta1_new^t) / (1 - beta1_old^t)``, an average stays the mean of gradients that it was,
    as the optimizer will divide it.
    """
    present = float(group["betas"][0])
    for parameter in group["params"]:
        steps = int(optimizer.state.get(parameter, {}).get("step", group.get("step", 0)))
        if steps:
            ratio = (1.0 - momentum**steps) / (1.0 - present**steps)
            _rescale(optimizer, parameter, "exp_avg", ratio)


@torch.no_grad()
def _rescale(optimizer: torch.optim.Optimizer, parameter: Tensor, name: str, ratio: float) -> None:
    average = optimizer.state.get(parameter, {}).get(name)
    if average is not None:
        average.mul_(ratio)


def _ratio(beta: float, steps: int | Tensor, note: Missing | None) -> Any:
    """Return ``(1 - beta^t) / (1 - w_t)`` after t steps."""
    if note is None:
        return 1.0
    return (1.0 - beta**steps) / (1.0 - note.weight * beta ** (steps - note.steps))
