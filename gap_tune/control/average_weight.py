"""AverageWeight: the total weight of exponential averages whose decay has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gap_tune.control.step_counts import StepCounts

# Weight that changes no double-precision number.
_NOTHING = 1e-17
# Of a parameter: steps taken and missing weight, None where the decay has always been the same.
SavedNotes = list[list[tuple[int, float] | None]]


@dataclass(frozen=True)
class Missing:
    """How much weight an average lacked after some steps.

    An average ``m_t = beta m_{t-1} + (1 - beta) x_t`` that starts at zero has the total weight
    ``1 - w`` with ``w`` the product of all beta so far. Under a beta that stays, ``w`` shrinks by
    it with each step, so a note is made where beta changes and holds from there on.

    Attributes:
        steps: Steps that the parameter had taken, as the optimizer counts them.
        weight: ``w`` after them.
    """

    steps: int
    weight: float

    def after(self, steps: int, beta: float) -> float:
        """Return ``w`` after so many steps in all, the later ones with this beta."""
        return float(self.weight * beta ** max(0, steps - self.steps))


class AverageWeight:
    """What each parameter's average lacks, for one of an optimizer's betas.

    Args:
        place: Which of ``betas``.
        counts: The optimizer's steps.
    """

    def __init__(self, place: int, counts: StepCounts) -> None:
        self._place, self._counts = place, counts
        # Without a note, beta has been the same since the first step.
        self._notes: dict[Tensor, Missing] = {}
        # By the identity of a group: the beta of its last step.
        self._latest: dict[int, float] = {}

    def beta(self, group: Mapping[str, Any]) -> float:
        """Return a group's beta."""
        return float(group["betas"][self._place])

    def follow(self, groups: list[dict[str, Any]]) -> None:
        """Note, before a step, where a group's beta is another than at its last step."""
        now: dict[int, float] = {}
        for group in groups:
            beta = now[id(group)] = self.beta(group)
            latest = self._latest.get(id(group), beta)
            if beta == latest:
                continue
            for parameter in group["params"]:
                steps = self._counts.of(parameter, group)
                note = self.note(parameter, steps) or Missing(0, 1.0)
                self._notes[parameter] = Missing(steps, note.after(steps, latest))
        self._latest = now

    def has_note(self, parameter: Tensor) -> bool:
        """Tell whether a parameter's beta has changed, as far as it still matters."""
        return parameter in self._notes

    def note(self, parameter: Tensor, steps: int) -> Missing | None:
        """Return a parameter's note; None where its average has been started anew since."""
        note = self._notes.get(parameter)
        if note is not None and steps < note.steps:
            del self._notes[parameter]
            return None
        return note

    def settled(self, parameter: Tensor, steps: int, beta: float) -> Missing | None:
        """Return ``note``, for the last time where both weights are whole: nothing is missing."""
        note = self.note(parameter, steps)
        if note is not None and max(note.weight, beta**steps) < _NOTHING:
            del self._notes[parameter]
        return note

    def saved(self, groups: list[dict[str, Any]]) -> SavedNotes:
        """Return the notes by group and parameter, brought up to the present step."""
        notes: SavedNotes = []
        for group in groups:
            beta = self.beta(group)
            notes.append([])
            for parameter in group["params"]:
                steps = self._counts.of(parameter, group)
                note = self.note(parameter, steps)
                notes[-1].append(None if note is None else (steps, note.after(steps, beta)))
        return notes

    def start(self, groups: list[dict[str, Any]], saved: SavedNotes) -> None:
        """Start from a state that was loaded, with the saved notes that are of its steps."""
        self._notes.clear()
        self._latest = {id(group): self.beta(group) for group in groups}
        for group, notes in zip(groups, saved, strict=False):
            for parameter, note in zip(group["params"], notes, strict=False):
                if note is not None and note[0] == self._counts.of(parameter, group):
                    self._notes[parameter] = Missing(*note)


def notes_of_groups(
    averages: Mapping[int, tuple[int, float]], groups: list[dict[str, Any]]
) -> SavedNotes:
    """Return the notes in a checkpoint of an earlier version, which counted steps by group.

    They hold for the parameters that have taken all of their group's steps.

    Args:
        averages: By group, steps taken and the total weight of the average of gradients.
        groups: The optimizer's groups.
    """
    notes: SavedNotes = []
    for i, group in enumerate(groups):
        steps, weight = averages.get(i, (0, 0.0))
        notes.append([(steps, 1.0 - weight) if steps else None for _ in group["params"]])
    return notes
