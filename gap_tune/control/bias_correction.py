"""BiasCorrection: Adam's averages divided by the weight that they really hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gap_tune.control.momentum import group_momentum

# Weight that changes no double-precision number.
_NOTHING = 1e-17
# What a learning rate is multiplied by, with the parameters that it is multiplied by it for.
Factors = list[tuple[float | Tensor, list[Tensor]]]


@dataclass(frozen=True)
class Missing:
    """How much weight an average lacked after some steps.

    An average ``m_t = beta1 m_{t-1} + (1 - beta1) g_t`` that starts at zero has the total weight
    ``1 - w`` with ``w`` the product of all beta1 so far. Under a beta1 that stays, ``w`` shrinks by
    it with each step, so a note is made where beta1 changes and holds from there on.

    Attributes:
        steps: Steps that the parameter had taken, as the optimizer counts them.
        weight: ``w`` after them.
    """

    steps: int
    weight: float

    def after(self, steps: int, momentum: float) -> float:
        """Return ``w`` after so many steps in all, the later ones with this momentum."""
        return float(self.weight * momentum ** max(0, steps - self.steps))


class BiasCorrection:
    """Turns the bias correction of Adam and its like into that of the momenta really used.

    These optimizers divide their average by ``1 - beta1^t``, the total weight of an average whose
    beta1 never changed: going from 0.5 to 0.99 at step 10 would enlarge the step tenfold. The
    factor ``(1 - beta1^t) / (1 - w_t)`` on the learning rate puts the true total weight there. It
    is each parameter's own, as t is: one whose gradients began late, or came now and then, has
    another than its neighbours in the same group.

    Steps are the optimizer's own count, never one kept here, so that whatever loads, replaces or
    advances the optimizer's state is followed. Where that count lies on an accelerator (fused and
    capturable optimizers) it is read when momentum changes, and the gradients that come tell how
    it goes on: nothing waits for the device at a step. Only ``torch.amp.GradScaler`` can make a
    fused optimizer skip a step without the host knowing; then the factor is computed on the device.

    Args:
        optimizer: An optimizer that divides its average by ``1 - beta1^t``.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        # Without a note, beta1 has been the same since the first step.
        self._notes: dict[Tensor, Missing] = {}
        # By the identity of a group: the momentum of its last step.
        self._latest: dict[int, float] = {}
        # Steps of parameters whose count is on a device.
        self._counted: dict[Tensor, int] = {}
        self._saved: list[list[tuple[int, float] | None]] = []
        self.read_counts()

    def follow(self) -> None:
        """Note, before a step, where a group's momentum is another than at its last step."""
        now: dict[int, float] = {}
        for group in self._optimizer.param_groups:
            momentum = now[id(group)] = group_momentum(group)
            latest = self._latest.get(id(group), momentum)
            if momentum != latest:
                self._note(group, latest)
        self._latest = now

    def _note(self, group: Mapping[str, Any], momentum: float) -> None:
        """Note what the averages of a group lack that were made with this momentum."""
        for parameter in group["params"]:
            steps = self._steps(parameter, group)
            note = self._note_of(parameter, steps) or Missing(0, 1.0)
            self._notes[parameter] = Missing(steps, note.after(steps, momentum))

    def _note_of(self, parameter: Tensor, steps: int) -> Missing | None:
        """Return a parameter's note; None where its average has been started anew since."""
        note = self._notes.get(parameter)
        if note is not None and steps < note.steps:
            del self._notes[parameter]
            return None
        return note

    def factors(self, group: Mapping[str, Any]) -> Factors:
        """Return the factors of the coming step, with the parameters of the group that have each.

        Parameters without a note have the factor 1 exactly: an optimizer whose momentum never
        changed follows torch bit for bit.
        """
        found_inf = getattr(self._optimizer, "found_inf", None)
        on_device = found_inf is not None and not on_host(found_inf)
        momentum = group_momentum(group)
        known: dict[tuple[int, Missing | None], float | Tensor] = {}
        factors: dict[Any, tuple[float | Tensor, list[Tensor]]] = {}
        for parameter in group["params"]:
            note: Missing | None = None
            key: tuple[int, Missing | None] = (0, None)
            if parameter in self._notes:
                steps = self._steps(parameter, group)
                note = self._note_of(parameter, steps)
                key = (steps, note)
                if note is not None and max(note.weight, momentum**steps) < _NOTHING:
                    # Both weights are whole: as if momentum had never changed.
                    del self._notes[parameter]
            if key not in known:
                step = self._step_tensor(parameter) if on_device and note else None
                known[key] = _factor(momentum, key[0] if step is None else step, note)
            factor = known[key]
            by = factor if isinstance(factor, float) else key
            factors.setdefault(by, (factor, []))[1].append(parameter)
        return list(factors.values())

    def count(self) -> None:
        """Count, after a step, the steps that cannot be read without waiting for a device."""
        groups = self._optimizer.param_groups
        if not self._counted:
            # The first step has made the counts, all of them in the same place.
            states = (self._optimizer.state.get(p) for g in groups for p in g["params"])
            first = next((state.get("step") for state in states if state), None)
            if isinstance(first, Tensor) and not on_host(first):
                self.read_counts()
            return
        for group in groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._counted[parameter] = self._counted.get(parameter, 0) + 1

    def read_counts(self) -> None:
        """Read counts that are on a device, all at once; waits for it where there are any."""
        parameters = [p for g in self._optimizer.param_groups for p in g["params"]]
        on_device = [(p, step) for p in parameters if (step := self._step_tensor(p)) is not None]
        if on_device:
            steps = torch.stack([step.float() for _, step in on_device]).tolist()
            self._counted = {p: round(n) for (p, _), n in zip(on_device, steps, strict=True)}

    def _step_tensor(self, parameter: Tensor) -> Tensor | None:
        """Return a parameter's count where it is on a device."""
        step = self._optimizer.state.get(parameter, {}).get("step")
        return step if isinstance(step, Tensor) and not on_host(step) else None

    def _steps(self, parameter: Tensor, group: Mapping[str, Any]) -> int:
        """Return the steps that a parameter has taken."""
        step = self._optimizer.state.get(parameter, {}).get("step", group.get("step", 0))
        if isinstance(step, Tensor):
            return round(step.item()) if on_host(step) else self._counted.get(parameter, 0)
        return int(step)

    def release(self) -> None:
        """Leave averages with the weight that the optimizer will divide them by, uncorrected."""
        self.follow()
        self.read_counts()
        for group in self._optimizer.param_groups:
            momentum = group_momentum(group)
            for parameter in group["params"]:
                steps = self._steps(parameter, group)
                note = self._note_of(parameter, steps)
                if steps and note is not None:
                    held = 1.0 - note.after(steps, momentum)
                    _rescale(self._optimizer, parameter, (1.0 - momentum**steps) / held)
        self._notes.clear()

    def state_dict(self) -> list[list[tuple[int, float] | None]]:
        """Return the notes by group and parameter, brought up to the present step."""
        self.follow()
        self.read_counts()
        state: list[list[tuple[int, float] | None]] = []
        for group in self._optimizer.param_groups:
            momentum = group_momentum(group)
            notes: list[tuple[int, float] | None] = []
            for parameter in group["params"]:
                steps = self._steps(parameter, group)
                note = self._note_of(parameter, steps)
                notes.append(None if note is None else (steps, note.after(steps, momentum)))
            state.append(notes)
        return state

    def load_state_dict(self, state: list[list[tuple[int, float] | None]]) -> None:
        """Continue from what ``state_dict`` returned, before or after the optimizer does."""
        self._saved = state
        self.reread()

    def reread(self) -> None:
        """Start from an optimizer's state that has just been loaded.

        Saved notes hold where the parameter's count is theirs, whichever was loaded first. Other
        averages were made with the momentum that came with them.
        """
        self._notes.clear()
        self._counted.clear()
        self.read_counts()
        groups = self._optimizer.param_groups
        self._latest = {id(group): group_momentum(group) for group in groups}
        for group, notes in zip(groups, self._saved, strict=False):
            for parameter, note in zip(group["params"], notes, strict=False):
                if note is not None and note[0] == self._steps(parameter, group):
                    self._notes[parameter] = Missing(*note)


def rescale_averages(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], momentum: float
) -> None:
    """Make a group's averages what they would be had beta1 always been the given one.

    For momentum that is changed once, by nobody who could correct later steps: multiplied by
    ``(1 - beta1_new^t) / (1 - beta1_old^t)``, an average stays the mean of gradients that it was,
    as the optimizer will divide it.
    """
    present = group_momentum(group)
    for parameter in group["params"]:
        steps = int(optimizer.state.get(parameter, {}).get("step", group.get("step", 0)))
        if steps:
            _rescale(optimizer, parameter, (1.0 - momentum**steps) / (1.0 - present**steps))


def _rescale(optimizer: torch.optim.Optimizer, parameter: Tensor, factor: float) -> None:
    average = optimizer.state.get(parameter, {}).get("exp_avg")
    if average is not None:
        with torch.no_grad():
            average.mul_(factor)


def on_host(tensor: Tensor) -> bool:
    """Tell whether a tensor's value can be read without waiting for a device."""
    return tensor.device.type == "cpu"


def _factor(momentum: float, steps: int | Tensor, note: Missing | None) -> float | Tensor:
    """Return ``(1 - beta1^t) / (1 - w_t)`` of the step after so many."""
    if note is None:
        return 1.0
    after = steps + 1
    held = 1.0 - note.weight * momentum ** (after - note.steps)
    factor = (1.0 - momentum**after) / held
    return factor if isinstance(factor, Tensor) else float(factor)
