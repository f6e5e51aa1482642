"""Simulated: what became of a study on the virtual clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

# The status of a trial that a restored study does not know: it was made after the last save.
LOST = "LOST"


class SimulatedReport(NamedTuple):
    """A report of a simulated trial.

    Attributes:
        iteration: Its number within the trial, from 1; again that of an earlier one where the
            trial has started again.
        sent: When the trial sent it, in seconds since the study began.
        answered: When the driver had dealt with it.
        seconds: How long the trial had trained since the report before.
        metrics: What ``simulate`` was asked to keep of it.
    """

    iteration: int
    sent: float
    answered: float
    seconds: float
    metrics: dict[str, Any]


class SentDecision(NamedTuple):
    """A change of momentum that the scheduler sent to a simulated trial.

    Attributes:
        seq: Its number within the trial.
        sent: When the driver sent it, in seconds since the study began.
        previous: The momentum that trained.
        momentum: The momentum that is to train.
        applied: Whether the trial took it; not where its process died first, or where it answers
            a report that the trial has gone back behind.
    """

    seq: int
    sent: float
    previous: float
    momentum: float
    applied: bool


class Event(NamedTuple):
    """Something that happened in a simulated study.

    Attributes:
        at: When, in seconds since the study began.
        kind: "start", "result", "checkpoint", "complete", "error", "recover" of trials; "lost",
            "notice", "back" of nodes; "killed", "restored" of the driver.
        subject: The trial's id, or the node's number; empty for the driver.
    """

    at: float
    kind: str
    subject: str


@dataclass(frozen=True)
class SimulatedTrial:
    """What became of a trial.

    Attributes:
        trial_id: Its id, by the study's seed.
        config: Its configuration at its end.
        status: "TERMINATED" or "ERROR" as Ray has it, or "LOST" where a restored study does not
            know the trial, which was made after its state was saved last.
        added: When it was made, in seconds since the study began.
        ended: When it ended; None where it has not.
        stopped_early: Whether the scheduler stopped it before the end of its training.
        failures: How often its process died or failed.
        reports: Its reports, in order; those that a restart from a checkpoint repeats, too.
        decisions: The changes of momentum that it was sent, in order.
        best: The best value of the task's metric among its reports; None without a finite one.
        best_at: When the driver knew that; None without one.
    """

    trial_id: str
    config: Mapping[str, Any]
    status: str
    added: float
    ended: float | None
    stopped_early: bool
    failures: int
    reports: tuple[SimulatedReport, ...]
    decisions: tuple[SentDecision, ...]
    best: float | None
    best_at: float | None

    @property
    def seconds(self) -> float:
        """How long it has trained, repeated training included."""
        return sum(report.seconds for report in self.reports)


@dataclass(frozen=True)
class Simulated:
    """A simulated study.

    The same arguments of ``simulate`` give an equal one.

    Attributes:
        task: The task's name.
        metric: The key by which trials were compared.
        mode: "min" or "max".
        trials: Its trials, in the order in which they were made.
        events: What happened, in order.
        counts: How often each kind of event happened, and "suggestions", and "turns" of the driver,
            each of which handles one message.
        seconds: How long it took on the virtual clock.
        busy_seconds: How long its slots were taken, start-up included, over all slots.
        driver_seconds: How long its driver was busy.
        longest_wait: The longest time from a report to its answer, messages not included.
    """

    task: str
    metric: str
    mode: str
    trials: tuple[SimulatedTrial, ...]
    events: tuple[Event, ...]
    counts: Mapping[str, int]
    seconds: float
    busy_seconds: float
    driver_seconds: float
    longest_wait: float

    @property
    def best(self) -> SimulatedTrial | None:
        """The trial with the best value; None where no trial has a finite one."""
        sign = 1.0 if self.mode == "min" else -1.0
        known = [trial for trial in self.trials if trial.best is not None]
        return min(known, key=lambda trial: sign * (trial.best or 0.0), default=None)
