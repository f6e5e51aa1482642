"""AverageWeight: the total weight of exponential averages whose decay has changed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gap_tune.control.step_counts import StepCounts

# Weight that changes no double-precision number.
_NOTHING = 1e-17
# Changes to remember of each parameter, for states that are loaded again.
_REMEMBERED = 64
# What is known of a parameter: steps taken, missing weight, and the steps after which it was that;
# where those are left out, the same steps. None where its decay never changed.
SavedNote = tuple[int, float] | tuple[int, float, int]
SavedNotes = list[list[SavedNote | None]]


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


@dataclass(frozen=True)
class _Change:
    """A note that was made, with what beta was at that count of steps; the last one holds on."""

    note: Missing
    betas: tuple[float, ...]

    def covers(self, steps: int, beta: float) -> bool:
        """Tell whether an average of so many steps, which beta came with, is one after this."""
        return beta == self.betas[-1] or (steps == self.note.steps and beta in self.betas)


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
        # A state that is loaded may be of any earlier step.
        self._changes: dict[Tensor, deque[_Change]] = defaultdict(_changes)
        # A group's last beta, by its first parameter, which outlives copies of the group.
        self._latest: dict[Tensor, float] = {}

    def beta(self, group: Mapping[str, Any]) -> float:
        """Return a group's beta."""
        return float(group["betas"][self._place])

    def follow(self, groups: list[dict[str, Any]]) -> None:
        """Note, before a step, where a group's beta is another than at its last step."""
        now = self._betas(groups)
        for group, (first, beta) in zip(_filled(groups), now.items(), strict=True):
            latest = self._latest.get(first, beta)
            if beta == latest:
                continue
            # Parameters that went the same way share a note, so that ``is`` tells who has.
            shared: dict[tuple[int, Missing | None], Missing] = {}
            for parameter, steps in zip(group["params"], self._counts.of_all(group), strict=True):
                known = self.note(parameter, steps)
                note = shared.get((steps, known))
                if note is None:
                    missing = (known or Missing(0, 1.0)).after(steps, latest)
                    note = shared[steps, known] = Missing(steps, missing)
                self._notes[parameter] = note
                self._remember(parameter, note, latest, beta)
        self._latest = now

    def _betas(self, groups: list[dict[str, Any]]) -> dict[Tensor, float]:
        return {group["params"][0]: self.beta(group) for group in _filled(groups)}

    def _remember(self, parameter: Tensor, note: Missing, *betas: float) -> None:
        changes = self._changes[parameter]
        # What came after this count was left when an earlier state was loaded.
        while changes and changes[-1].note.steps > note.steps:
            changes.pop()
        if changes and changes[-1].note.steps == note.steps:
            betas = (*changes.pop().betas, *betas)
        changes.append(_Change(note, betas))

    def has_notes(self) -> bool:
        """Tell whether any parameter's beta has changed, as far as it still matters."""
        return bool(self._notes)

    def notes(self, parameters: list[Tensor]) -> list[Missing | None]:
        """Return the notes of parameters, whether or not they still hold (``note``)."""
        # There hardly ever are any of beta2.
        return list(map(self._notes.get, parameters)) if self._notes else [None] * len(parameters)

    def note(self, parameter: Tensor, steps: int) -> Missing | None:
        """Return a parameter's note; None where its average has been started anew since."""
        note = self._notes.get(parameter)
        if note is not None and steps < note.steps:
            del self._notes[parameter]
            return None
        return note

    def settle(self, parameters: list[Tensor], steps: int, beta: float) -> Missing | None:
        """Return the note that parameters of as many steps share; None where ``note`` would.

        It is returned for the last time where both weights are whole: nothing is missing.
        """
        note = self._notes.get(parameters[0])
        if note is None:
            return None
        anew = steps < note.steps
        if anew or max(note.weight, beta**steps) < _NOTHING:
            for parameter in parameters:
                del self._notes[parameter]
        return None if anew else note

    def saved(self, groups: list[dict[str, Any]]) -> SavedNotes:
        """Return the notes by group and parameter, with the present steps.

        They are not brought up to these: that would round otherwise than without a stop.
        """
        notes: SavedNotes = []
        for group in groups:
            notes.append([])
            for parameter in group["params"]:
                steps = self._counts.of(parameter, group)
                note = self.note(parameter, steps)
                notes[-1].append(None if note is None else (steps, note.weight, note.steps))
        return notes

    def start(self, groups: list[dict[str, Any]], saved: SavedNotes) -> None:
        """Start from a state that was loaded: with the saved notes that are of its steps.

        Else with the note that was in force when the optimizer had taken as many steps with the
        beta that came with the state: it is then taken for one of the optimizer's own, as those
        who go back to their best state load it.
        """
        self._notes.clear()
        self._latest = self._betas(groups)
        for i, group in enumerate(groups):
            beta = self.beta(group)
            notes = dict(enumerate(saved[i] if i < len(saved) else []))
            shared: dict[tuple[float, ...], Missing] = {}
            for j, parameter in enumerate(group["params"]):
                steps, known = self._counts.of(parameter, group), notes.get(j)
                note: Missing | None
                if known is not None and known[0] == steps:
                    after = known[2] if len(known) == 3 else steps
                    note = shared.setdefault(tuple(known), Missing(after, known[1]))
                    self._remember(parameter, note, beta)
                else:
                    note = self._remembered(parameter, steps, beta)
                if note is not None:
                    self._notes[parameter] = note

    def _remembered(self, parameter: Tensor, steps: int, beta: float) -> Missing | None:
        earlier = (c for c in reversed(self._changes.get(parameter, ())) if c.note.steps <= steps)
        change = next(earlier, None)
        return change.note if change is not None and change.covers(steps, beta) else None

    def forget(self) -> None:
        """Forget all changes so far."""
        self._notes.clear()
        self._changes.clear()


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


def _changes() -> deque[_Change]:
    return deque(maxlen=_REMEMBERED)


def _filled(groups: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the groups that have parameters."""
    return (group for group in groups if group["params"])
