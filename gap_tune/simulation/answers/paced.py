"""Paced: a task whose trials take as long as a user's would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from gap_tune.rules import Decision
from gap_tune.simulation.task import Report, Task, Training
from gap_tune.tune import keys


class Paced:
    """A task whose trials take as long as a user's would, each report as long as every other.

    Recorded runs are of tiny networks. They take seconds, beside which starting a process would be
    all that counts; and looking at gradients takes about as long as their steps of a millisecond,
    which is not so of steps that take longer.

    Args:
        task: The task.
        seconds: How long a whole training takes whose momentum nobody tunes.
        step_cost: How long one takes whose momentum is tuned, in those.
    """

    def __init__(self, task: Task, seconds: float, step_cost: float) -> None:
        self._task, self._seconds, self._step_cost = task, seconds, step_cost
        self.name, self.reports = task.name, task.reports
        self.metric, self.mode = task.metric, task.mode

    def begin(self, config: Mapping[str, Any]) -> Training:
        """Return the training of a configuration, before its first step."""
        cost = self._step_cost if keys.asks_for_tuning(config) else 1.0
        return _PacedTraining(self._task.begin(config), cost * self._seconds / self.reports)


@dataclass
class _PacedTraining:
    training: Training
    seconds: float

    @property
    def done(self) -> bool:
        return self.training.done

    def advance(self) -> Report:
        return replace(self.training.advance(), seconds=self.seconds)

    def follow(self, decision: Decision) -> None:
        self.training.follow(decision)

    def change(self, config: Mapping[str, Any]) -> None:
        self.training.change(config)

    def copy(self) -> Self:
        return type(self)(self.training.copy(), self.seconds)
