"""History: what a simulated study does, written down as it happens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.result import DONE, TIME_THIS_ITER_S, TIMESTAMP, TRAINING_ITERATION

from gap_tune.simulation.clock import Clock
from gap_tune.simulation.simulated import LOST, Event, SentDecision, SimulatedReport, SimulatedTrial
from gap_tune.simulation.task import Task
from gap_tune.tune.ray_private.delivery import Directive


class _Course:
    """What is known of a trial so far."""

    def __init__(self, added: float) -> None:
        self.added = added
        self.ended: float | None = None
        self.config: Mapping[str, Any] = {}
        self.failures, self.stopped_early = 0, False
        self.reports: list[SimulatedReport] = []
        self.decisions: list[SentDecision] = []
        self.best: float | None = None
        self.best_at: float | None = None


class History(Callback):
    """Writes down what trials do; a callback of the controller, after all others.

    Args:
        task: What is trained.
        clock: Tells the time.
        keep: Keys of the metrics to keep of every report.
    """

    def __init__(self, task: Task, clock: Clock, keep: Collection[str]) -> None:
        self._task, self._clock, self._keep = task, clock, tuple(keep)
        self._sign = 1.0 if task.mode == "min" else -1.0
        self.courses: dict[str, _Course] = {}
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()

    def note(self, at: float, kind: str, subject: object) -> None:
        """Write down that something happened."""
        self.events.append(Event(at, kind, str(subject)))
        self.counts[kind] += 1

    def sent(self, trial_id: str, directive: Directive) -> Callable[[], None]:
        """Write down a directive; return what to call when the trial has taken it."""
        decision = directive.decision
        if decision is None:
            return _nothing
        course = self._course(trial_id)
        place = len(course.decisions)
        previous, momentum = float(decision.previous), float(decision.momentum)
        sent = SentDecision(directive.seq, self._clock.now, previous, momentum, False)
        course.decisions.append(sent)

        def taken() -> None:
            course.decisions[place] = course.decisions[place]._replace(applied=True)

        return taken

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Write down that a trial's process runs."""
        self._course(trial.trial_id)
        self.note(self._clock.now, "start", trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Write down a report."""
        course, now = self._course(trial.trial_id), self._clock.now
        kept = {name: result[name] for name in self._keep if name in result}
        seconds = result[TIME_THIS_ITER_S]
        report = SimulatedReport(result[TRAINING_ITERATION], result[TIMESTAMP], now, seconds, kept)
        course.reports.append(report)
        value = float(result[self._task.metric])
        better = course.best is None or self._sign * value < self._sign * course.best
        if math.isfinite(value) and better:
            course.best, course.best_at = value, now
        ended = result[TRAINING_ITERATION] >= self._task.reports
        course.stopped_early = bool(result.get(DONE)) and not ended
        self.note(now, "result", trial.trial_id)

    def on_trial_save(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Write down a checkpoint."""
        self.note(self._clock.now, "checkpoint", trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Write down the end of a trial."""
        self._course(trial.trial_id).ended = self._clock.now
        self.note(self._clock.now, "complete", trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Write down that a trial has failed for good."""
        course = self._course(trial.trial_id)
        course.ended, course.failures = self._clock.now, course.failures + 1
        self.note(self._clock.now, "error", trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Write down that a trial will start again."""
        self._course(trial.trial_id).failures += 1
        self.note(self._clock.now, "recover", trial.trial_id)

    def added(self, trial: Any) -> None:
        """Write down that a trial was made."""
        self._course(trial.trial_id).config = trial.config
        self.counts["suggestions"] += 1

    def trials(self, known: Iterable[Any]) -> tuple[SimulatedTrial, ...]:
        """Return what became of all trials, in the order in which they were made.

        Args:
            known: The trials that the controller knows; it has lost the others.
        """
        left = {trial.trial_id: trial for trial in known}
        return tuple(self._trial(trial_id, left.get(trial_id)) for trial_id in self.courses)

    def _trial(self, trial_id: str, trial: Any) -> SimulatedTrial:
        course = self.courses[trial_id]
        return SimulatedTrial(
            trial_id,
            dict(course.config if trial is None else trial.config),
            LOST if trial is None else trial.status,
            course.added,
            course.ended,
            course.stopped_early,
            course.failures,
            tuple(course.reports),
            tuple(course.decisions),
            course.best,
            course.best_at,
        )

    def _course(self, trial_id: str) -> _Course:
        if trial_id not in self.courses:
            self.courses[trial_id] = _Course(self._clock.now)
        return self.courses[trial_id]


def _nothing() -> None:
    """Do nothing."""
