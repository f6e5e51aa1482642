"""MomentumSchedule: momentum as a function of the step, such as one that a study recorded."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.files import parsed_json, write_text
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules.base import Decision, MomentumRule, Reason
from gap_tune.rules.recorded import RecordedDecision, read_decisions
from gap_tune.rules.registry import register

_MOST_NAMED = 5


@register("schedule")
class MomentumSchedule(MomentumRule):
    """Sets momentum by the step alone, piecewise constant.

    From the first decision at ``steps[i]`` or later, momentum is ``momenta[i]``; before
    ``steps[0]`` it stays as it is. Steps are optimizer steps that were observed
    (``AlignmentStatistics.steps``), the count that decision logs hold. A step whose gradient was
    NaN or infinite is not one of them, since mixed-precision training does not take it.

    Args:
        steps: Whole numbers of at least 0, increasing.
        momenta: As many momentum values in [0, 1).

    Raises:
        InvalidValueError: When there are no steps, lengths differ, or a value is out of range.

    >>> MomentumSchedule([0, 1000], [0.9, 0.99])
    MomentumSchedule(steps=(0, 1000), momenta=(0.9, 0.99))
    """

    def __init__(self, steps: Sequence[int], momenta: Sequence[float]) -> None:
        self.steps = tuple(check_count("each step", step, low=0) for step in steps)
        self.momenta = tuple(
            check_range("each momentum", value, 0.0, 1.0, high_open=True) for value in momenta
        )
        if not self.steps or len(self.steps) != len(self.momenta):
            raise InvalidValueError(
                "steps and momenta must be equally many, at least one, "
                f"but got {len(self.steps)} and {len(self.momenta)}."
            )
        if any(a >= b for a, b in pairwise(self.steps)):
            raise InvalidValueError(f"steps must increase strictly, but got {self.steps}.")

    @classmethod
    def from_decisions(cls, path: str | Path, trial: str | None = None) -> MomentumSchedule:
        """Return the schedule that a trial of an earlier study went through.

        A run with the same seed and the same configuration that reports at the same steps makes
        the same changes at the same steps.

        Args:
            path: ``decisions.jsonl``, or the experiment folder that holds it.
            trial: The trial's id; may be left out when the log holds one trial only.

        Raises:
            InvalidValueError: When there is no such file, the trial is not in it, or it holds
                several trials and none is named.
        """
        made = [decision for decision in read_decisions(path) if decision.made]
        name = _choose(trial, made, path)
        own = [(d.step, d) for d in made if d.trial == name and d.step is not None]
        # A line of no known step may hide that the trial had gone back before it.
        own.sort(key=itemgetter(0))
        momenta: dict[int, float] = {}
        for step, decision in own:
            if not momenta and decision.old is not None:
                momenta[0] = decision.old
            if decision.new is not None:
                momenta[step] = decision.new
        return cls(*_changes(momenta))

    @classmethod
    def from_file(cls, path: str | Path) -> MomentumSchedule:
        """Return the schedule that ``save`` wrote.

        Args:
            path: The file.

        Raises:
            InvalidValueError: When it cannot be read, or holds no schedule.
        """
        try:
            said = parsed_json(Path(path).read_text())
            return cls(said["steps"], said["momenta"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidValueError(
                f"path must be a file that MomentumSchedule.save wrote, but got {str(path)!r}: "
                f"{error}."
            ) from None

    def save(self, path: str | Path) -> Path:
        """Write the schedule as JSON, and return the file.

        It is a specification of the rule, as ``config["gap"]["rule"]`` and ``get_rule`` take it.

        Args:
            path: The file; it appears whole or not at all.

        Raises:
            InvalidValueError: When it cannot be written.
        """
        said = {"name": "schedule", "steps": self.steps, "momenta": self.momenta}
        return write_text(Path(path), json.dumps(said, indent=1) + "\n")

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        """Return the momentum of the present step."""
        place = bisect_right(self.steps, statistics.steps) - 1
        if place < 0:
            why = f"The schedule starts at step {self.steps[0]}, so {momentum:g} stays."
            return Decision(momentum, momentum, Reason.SCHEDULE, why)
        chosen, since = self.momenta[place], self.steps[place]
        why = f"The schedule has {chosen:g} from step {since} on."
        return Decision(chosen, momentum, Reason.SCHEDULE, why)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(steps={self.steps}, momenta={self.momenta})"


def _choose(trial: str | None, made: list[RecordedDecision], path: str | Path) -> str:
    """Return the trial to replay."""
    names = list(dict.fromkeys(decision.trial for decision in made))
    if trial is None and len(names) == 1:
        return names[0]
    if trial in names:
        return trial
    if not names:
        raise InvalidValueError(
            f"path must hold decisions that were sent to a trial, but got none in {str(path)!r}."
        )
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    raise InvalidValueError(
        f"trial must be one of {', '.join(names[:_MOST_NAMED])}{more}, but got {trial!r}."
    )


def _changes(momenta: dict[int, float]) -> tuple[list[int], list[float]]:
    """Leave out the steps at which momentum stays as it is."""
    steps: list[int] = []
    for step, value in momenta.items():
        if not steps or value != momenta[steps[-1]]:
            steps.append(step)
    return steps, [momenta[step] for step in steps]
