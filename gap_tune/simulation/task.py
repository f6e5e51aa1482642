"""Task and Training: what a simulated trial does between two reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from gap_tune.rules import Decision


@dataclass(frozen=True)
class Report:
    """What a trial has to say after training up to its next report.

    Attributes:
        metrics: The flat result, as a trial reports it to Ray Tune: losses, and where its gradients
            are observed the keys of ``gap_tune.tune.keys`` as a session reports them.
        seconds: How long training took since the report before, in seconds.
    """

    metrics: dict[str, Any]
    seconds: float


class Training(Protocol):
    """A trial's training so far; a copy of it is a checkpoint.

    It can be pickled, and what it does depends on nothing but itself: the same copy advances to the
    same report.
    """

    @property
    def done(self) -> bool:
        """Whether it has reached the end of its training."""

    def advance(self) -> Report:
        """Train up to the next report."""

    def follow(self, decision: Decision) -> None:
        """Take a momentum that the scheduler has sent, as a session does."""

    def change(self, config: Mapping[str, Any]) -> None:
        """Go on with other hyperparameters, as a trial of population based training does."""

    def copy(self) -> Self:
        """Return a copy that advances by itself."""


class Task(Protocol):
    """Something to train, and what every trial of a study on it has in common.

    Attributes:
        name: What tables call it.
        reports: How many reports a full training makes.
        metric: The key of results to compare trials by.
        mode: "min" or "max".
    """

    name: str
    reports: int
    metric: str
    mode: str

    def begin(self, config: Mapping[str, Any]) -> Training:
        """Return the training of a configuration, before its first step.

        Raises:
            InvalidValueError: When the configuration lacks what the task needs.
        """
